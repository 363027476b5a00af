//! The catalogue's declarations: a connector's name, documentation, settings and constructor, once.
//!
//! Parsing, JSON schema, `tidegate describe` and the README tables are made from them. The settings
//! structs derive `Deserialize` with `deny_unknown_fields` and `JsonSchema`, so that a doc comment is
//! the documentation of a field.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::{JsonSchema, Schema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Network, Publisher, Sink, Source, TopicLimits};

/// A connection as the catalogue keeps it; each connector knows its own type.
pub type AnyConnection = Arc<dyn Any + Send + Sync>;

/// A settings parser and constructor that makes a source of a name.
type BuildSource = fn(&str, &Value, &Env) -> Result<Box<dyn Source>, ConfigError>;

/// A settings parser and constructor that makes a sink.
type BuildSink = fn(&Value, &Env) -> Result<Arc<dyn Sink>, ConfigError>;

/// A settings parser and constructor that makes a connection.
type OpenConnection = fn(&Value, &Env) -> Result<AnyConnection, ConfigError>;

/// A setting that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if path.is_empty() { String::new() } else { format!("`{path}`: ") })]
pub struct ConfigError {
    /// The setting as a dotted path below the one that is parsed; empty for the whole.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl ConfigError {
    /// An error about a setting.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// How often a message may be republished by rules before it is refused, unless `limits:` says
/// otherwise: enough for a chain of rules, few enough to end a loop.
pub const HOPS_MAX: u8 = 8;

/// What a connector may use when it is built.
#[derive(Clone)]
pub struct Env {
    /// Relative paths in settings are relative to this folder.
    pub base_dir: PathBuf,
    /// What a connector makes below this folder is for the daemon's user only.
    pub private_dir: Option<PathBuf>,
    /// The named connections of the configuration.
    pub connections: Arc<Connections>,
    /// Where `republish` publishes; `None` outside the daemon.
    pub publisher: Option<Arc<dyn Publisher>>,
    /// Limits on topics that a connector makes or takes.
    pub topic_limits: TopicLimits,
    /// The largest payload that a source takes, in bytes.
    pub payload_max: usize,
    /// How often a message may be republished, see [`HOPS_MAX`].
    pub hops_max: u8,
    /// Which addresses may be reached when the settings of an action say where to.
    pub network: Network,
}

/// The current folder, no connection, no publisher, and the limits that hold unless others are set.
impl Default for Env {
    fn default() -> Self {
        Self {
            base_dir: ".".into(),
            private_dir: None,
            connections: Arc::default(),
            publisher: None,
            topic_limits: TopicLimits::default(),
            payload_max: 1 << 20,
            hops_max: HOPS_MAX,
            network: Network::default(),
        }
    }
}

impl Env {
    /// A path from the settings, made absolute.
    #[must_use]
    pub fn path(&self, path: &Path) -> PathBuf {
        self.base_dir.join(path)
    }

    /// True for a path below the folder that is the daemon's user's alone.
    #[must_use]
    pub fn is_private(&self, path: &Path) -> bool {
        self.private_dir.as_ref().is_some_and(|folder| path.starts_with(folder))
    }
}

/// The connections of the configuration by name: opened once, used by any number of actions and
/// sources.
#[derive(Default)]
pub struct Connections(BTreeMap<String, (&'static str, AnyConnection)>);

impl Connections {
    /// Adds a connection of a kind (the connector's name). Returns false when the name is taken.
    pub fn insert(&mut self, name: &str, kind: &'static str, connection: AnyConnection) -> bool {
        self.0.insert(name.to_owned(), (kind, connection)).is_none()
    }

    /// The connection of that name and type.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the connections that there are.
    pub fn get<T: Any + Send + Sync>(&self, name: &str, kind: &str) -> Result<Arc<T>, ConfigError> {
        let Some((have, connection)) = self.0.get(name) else {
            let known: Vec<_> = self.names(kind).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(ConfigError::new(
                "connection",
                format!(
                    "there is no connection `{name}`; of kind `{kind}` there is: {known} (see `connections:` in the configuration)"
                ),
            ));
        };
        connection.clone().downcast().map_err(|_| {
            ConfigError::new(
                "connection",
                format!("connection `{name}` is of kind `{have}`, `{kind}` is needed"),
            )
        })
    }

    /// The kind (the connector's name) of a connection.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&'static str> {
        self.0.get(name).map(|(kind, _)| *kind)
    }

    /// The names of all connections of a kind.
    pub fn names(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(_, (have, _))| *have == kind).map(|(name, _)| name.as_str())
    }
}

/// The settings of a connection (`connections:`), shared by several actions or sources.
pub trait ConnectionConfig: DeserializeOwned + JsonSchema + 'static {
    /// The connector's name in the configuration.
    const NAME: &'static str;
    /// One sentence.
    const SUMMARY: &'static str;
    /// The settings in YAML, as below the name.
    const EXAMPLE: &'static str;

    /// Makes the connection object without any input or output: connecting is lazy.
    ///
    /// # Errors
    /// A setting that can't be right.
    fn open(self, env: &Env) -> Result<AnyConnection, ConfigError>;
}

/// The settings of an action.
pub trait SinkConfig: DeserializeOwned + JsonSchema + 'static {
    /// The connector's name in a rule.
    const NAME: &'static str;
    /// One sentence.
    const SUMMARY: &'static str;
    /// The settings in YAML, as below the name.
    const EXAMPLE: &'static str;

    /// Makes the sink without any input or output.
    ///
    /// # Errors
    /// A setting that can't be right.
    fn build(self, env: &Env) -> Result<Arc<dyn Sink>, ConfigError>;
}

/// The settings of a source (`sources:`).
pub trait SourceConfig: DeserializeOwned + JsonSchema + 'static {
    /// The connector's name in the configuration.
    const NAME: &'static str;
    /// One sentence.
    const SUMMARY: &'static str;
    /// The settings in YAML, as below the name.
    const EXAMPLE: &'static str;

    /// Makes the source without any input or output. `name` is its name in the configuration.
    ///
    /// # Errors
    /// A setting that can't be right.
    fn build(self, name: &str, env: &Env) -> Result<Box<dyn Source>, ConfigError>;
}

/// One line of the catalogue of sinks.
pub struct SinkSpec {
    /// The name in a rule.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The settings in YAML.
    pub example: &'static str,
    /// The JSON schema of the settings.
    pub schema: fn() -> Schema,
    /// Parses the settings and makes the sink.
    pub build: BuildSink,
    /// Every setting that can't be read, or that there is none of; what `build` finds in settings
    /// that can be read is not among them.
    pub misread: fn(&Value) -> Vec<ConfigError>,
}

/// One line of the catalogue of sources.
pub struct SourceSpec {
    /// The name in the configuration.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The settings in YAML.
    pub example: &'static str,
    /// The JSON schema of the settings.
    pub schema: fn() -> Schema,
    /// Parses the settings and makes the source of that name.
    pub build: BuildSource,
}

/// One line of the catalogue of connections.
pub struct ConnectionSpec {
    /// The name in the configuration.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The settings in YAML.
    pub example: &'static str,
    /// The JSON schema of the settings.
    pub schema: fn() -> Schema,
    /// Parses the settings and makes the connection.
    pub open: OpenConnection,
}

/// The catalogue line of a sink.
#[must_use]
pub const fn sink<C: SinkConfig>() -> SinkSpec {
    SinkSpec {
        name: C::NAME,
        summary: C::SUMMARY,
        example: C::EXAMPLE,
        schema: || schema_for!(C),
        build: |value, env| parse::<C>(value)?.build(env),
        misread: |value| read_fitting::<C>(value.clone(), |_| {}).1,
    }
}

/// The catalogue line of a source.
#[must_use]
pub const fn source<C: SourceConfig>() -> SourceSpec {
    SourceSpec {
        name: C::NAME,
        summary: C::SUMMARY,
        example: C::EXAMPLE,
        schema: || schema_for!(C),
        build: |name, value, env| parse::<C>(value)?.build(name, env),
    }
}

/// The catalogue line of a connection.
#[must_use]
pub const fn connection<C: ConnectionConfig>() -> ConnectionSpec {
    ConnectionSpec {
        name: C::NAME,
        summary: C::SUMMARY,
        example: C::EXAMPLE,
        schema: || schema_for!(C),
        open: |value, env| parse::<C>(value)?.open(env),
    }
}

/// How the schema of a template is told from that of other text.
pub(super) const TEMPLATE_FORMAT: &str = "template";

/// References and alternatives that are followed on the way to one setting.
const SCHEMA_STEPS: usize = 16;

impl SinkSpec {
    /// True when `${…}` is replaced in the setting at a path: keys, and positions in lists, from the
    /// outermost.
    #[must_use]
    pub fn is_template(&self, path: &[String]) -> bool {
        let schema = (self.schema)().to_value();
        leads_to_template(&schema, &schema, path, SCHEMA_STEPS)
    }
}

fn leads_to_template(root: &Value, schema: &Value, path: &[String], steps: usize) -> bool {
    let Some(steps) = steps.checked_sub(1) else { return false };
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(name.trim_start_matches('#'));
        return target.is_some_and(|target| leads_to_template(root, target, path, steps));
    }
    let Some((key, below)) = path.split_first() else {
        return schema.get("format").is_some_and(|format| format == TEMPLATE_FORMAT)
            || alternatives(schema).any(|one| leads_to_template(root, one, path, steps));
    };
    let next = schema
        .get("properties")
        .and_then(|properties| properties.get(key))
        .or_else(|| schema.get("additionalProperties"))
        .or_else(|| schema.get("items"));
    next.is_some_and(|next| leads_to_template(root, next, below, SCHEMA_STEPS))
        || alternatives(schema).any(|one| leads_to_template(root, one, path, steps))
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array());
    lists.flatten()
}

fn parse<C: DeserializeOwned>(value: &Value) -> Result<C, ConfigError> {
    // `kafka:` with nothing below it means: no settings.
    let empty = Value::Object(Map::new());
    let value = if value.is_null() { &empty } else { value };
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        ConfigError::new(if path == "." { "" } else { &path }, super::misfit(value, &error))
    })
}

/// The most mistakes of one block of settings that are told.
const MISREAD_MAX: usize = 20;

/// How serde begins what it says of a key that there is none of, and of one that must be there.
const UNKNOWN: &str = "unknown field `";
const MISSING: &str = "missing field `";

/// Reads a map as a type, and says of each member why it does not fit: such a member is left out, so
/// that the next is found. `fill` puts in, before each reading, what must be there.
///
/// The type comes with what is wrong when the rest of the map makes one. At most 20 mistakes are told;
/// then, and when more is missing, there is no type.
pub fn read_fitting<T: DeserializeOwned>(
    mut value: Value,
    fill: impl Fn(&mut Map<String, Value>),
) -> (Option<T>, Vec<ConfigError>) {
    let mut found: Vec<ConfigError> = Vec::new();
    loop {
        if let Some(map) = value.as_object_mut() {
            fill(map);
        }
        let error = match parse(&value) {
            Ok(read) => return (Some(read), found),
            Err(error) => error,
        };
        // What is missing now may be what was left out, or what was misspelt; the rest was looked at.
        if !found.is_empty() && error.message.starts_with(MISSING) {
            return (None, found);
        }
        let setting = setting_of(&error).to_owned();
        found.push(error);
        let removed = value.as_object_mut().and_then(|map| map.shift_remove(&setting));
        if removed.is_none() || found.len() == MISREAD_MAX {
            return (None, found);
        }
    }
}

/// The setting that an error of [`parse`] is about, by serde's words where they alone name it.
fn setting_of(error: &ConfigError) -> &str {
    let first = error.path.split(['.', '[']).next().unwrap_or_default();
    let words = [UNKNOWN, MISSING];
    let named = words.iter().find_map(|start| error.message.strip_prefix(start));
    let named = named.and_then(|rest| rest.split('`').next()).filter(|_| first.is_empty());
    named.unwrap_or(first)
}
