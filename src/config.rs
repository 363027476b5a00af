//! The daemon's configuration: one struct, from which parsing, defaults and schema come.

mod api;
mod files;
mod history;
mod metrics;
mod network;
mod promises;
mod store;
mod users;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use connectors::contract::{Network, Period, TopicLimits};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::broker;
use crate::engine::spool::{SpoolLimits, WhenFull};
use crate::problem::Problem;
use crate::registry;
use crate::sql;
use crate::web::Pages;
use crate::yaml::Document;

pub use api::ApiBounds;
pub use files::FilesForm;
pub use history::HistoryForm;
pub use metrics::MetricsForm;
pub use network::NetworkForm;
pub use promises::{PromiseForm, Promises, SourceForm, in_force};
pub use store::StoreForm;
pub use users::UserForm;

/// The file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "tidegate.yaml";

/// Everything that can be set. All of it is optional.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the daemon listens.
    pub listen: Listen,
    /// The certificate of the listeners `mqtts` and `wss`; read again when the files change.
    pub tls: Option<broker::TlsFiles>,
    /// The folder of the store and of what actions write by default.
    pub data_dir: PathBuf,
    /// Where rules, access keys, products and devices are kept, if not in `data_dir`.
    pub store: StoreForm,
    /// The folder of rule files.
    pub rules: PathBuf,
    /// The zone of `timestamp(format)`, such as `Asia/Shanghai`; the system's by default.
    pub time_zone: Option<String>,
    /// Who may connect.
    pub auth: Auth,
    /// Clients with a user name and a password, for `auth.devices: password`, and for `required`
    /// beside devices.
    pub users: Vec<UserForm>,
    /// Access keys beside those that `tidegate keys create` makes.
    pub access_keys: Vec<AccessKey>,
    /// Named connections to other systems: each a map with the connector's name as its one key.
    pub connections: BTreeMap<String, Map<String, Value>>,
    /// Named sources: each a map with the connector's name as key, and beside it what the source
    /// promises.
    pub sources: BTreeMap<String, SourceForm>,
    /// The thing models of products, by product key: each a file in YAML or JSON. An imported model
    /// of the same product does not count.
    pub things: BTreeMap<String, PathBuf>,
    /// Files that devices send.
    pub files: FilesForm,
    /// What the listeners promise about the messages that they take.
    pub promises: Promises,
    /// Which connection stands for a destination of the vendor; the first that fits counts.
    pub endpoints: Vec<crate::api::Endpoint>,
    /// What the API tells of LoRaWAN networks.
    pub lora: LoraForm,
    /// What keeps messages that were acknowledged until they are delivered.
    pub spool: Spool,
    /// What is kept of what devices post.
    pub history: HistoryForm,
    /// Which addresses rules may reach.
    pub network: NetworkForm,
    /// Who may read the metrics.
    pub metrics: MetricsForm,
    /// Bounds of everything.
    pub limits: Limits,
    /// Paths are relative to this folder: the file's, or the current one.
    #[serde(skip)]
    pub base_dir: PathBuf,
    /// The file as written, to point at what turns out to be wrong later.
    #[serde(skip)]
    document: Option<Arc<Mutex<Document>>>,
}

/// Where the daemon listens.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// MQTT over TCP.
    #[schemars(with = "String")]
    #[serde(deserialize_with = "address")]
    pub mqtt: SocketAddr,
    /// MQTT over TLS, such as `0.0.0.0:8883`; needs `tls`. Not there by default.
    #[schemars(with = "Option<String>")]
    #[serde(deserialize_with = "optional_address")]
    pub mqtts: Option<SocketAddr>,
    /// MQTT over WebSocket at the path `/mqtt`, such as `127.0.0.1:8083`. Not there by default.
    #[schemars(with = "Option<String>")]
    #[serde(deserialize_with = "optional_address")]
    pub ws: Option<SocketAddr>,
    /// MQTT over WebSocket and TLS; needs `tls`. Not there by default.
    #[schemars(with = "Option<String>")]
    #[serde(deserialize_with = "optional_address")]
    pub wss: Option<SocketAddr>,
    /// The API, `/ingest`, `/healthz`, `/readyz` and `/metrics`.
    #[schemars(with = "String")]
    #[serde(deserialize_with = "address")]
    pub http: SocketAddr,
    /// Names, without port, under which clients reach the listeners for HTTP and WebSocket, beside IP
    /// addresses, `localhost` and names without dots; `*` is any. Without a list, listeners whose
    /// clients all have to prove who they are take any.
    pub allow_hosts: Vec<String>,
    /// Origins of web pages, such as `https://desk.example`, that may speak to these listeners,
    /// beside pages of the same host and port; `*` is any.
    pub allow_origins: Vec<String>,
}

/// What the API tells of LoRaWAN networks. There is no network server: nodes are registered, not reached.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoraForm {
    /// Permissions to join, which products of the network type `LORA` are made for.
    pub join_permissions: Vec<crate::api::JoinPermission>,
}

/// Who may connect.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// How devices prove who they are. Needed when a listener is not on loopback.
    pub devices: Option<DeviceAuth>,
    /// Keys of products whose devices gateways may ask for with `thing/sub/register`: the answer has the
    /// device's secret.
    pub sub_register: Vec<String>,
}

/// How devices prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceAuth {
    /// Not at all.
    None,
    /// Not as devices: only `users` may connect.
    Password,
    /// They are registered, and sign with their secret as the vendor's devices do.
    Required,
}

/// An access key of the API.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessKey {
    /// The id that requests name.
    pub id: String,
    /// What signs them; write it as `${env:NAME}`.
    pub secret: String,
    /// What the key may do.
    pub role: crate::rule::store::Role,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The log in `data_dir/spool` that keeps messages until every action has them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// Without it, messages are acknowledged when they are in memory, and a restart loses what waits.
    pub enabled: bool,
    /// Bytes of log that may be kept, 8 GiB by default.
    pub max_bytes: u64,
    /// The longest that a message is kept, `7d` by default.
    pub max_age: Period,
    /// What happens when the log is full: `block` (sources wait), `drop_oldest` or `drop_newest`.
    pub when_full: WhenFull,
    /// Bytes of a file of the log.
    pub segment_bytes: u64,
    /// Bytes that may wait in memory for the disk.
    pub queue_bytes: usize,
}

impl Default for Spool {
    fn default() -> Self {
        let limits = SpoolLimits::default();
        Self {
            enabled: true,
            max_bytes: limits.bytes,
            max_age: Period::new(limits.max_age),
            when_full: limits.when_full,
            segment_bytes: limits.segment_bytes,
            queue_bytes: limits.queue_bytes,
        }
    }
}

/// Bytes of a message in the log beyond its payload, at most: topic, properties, headers.
const RECORD_BEYOND_PAYLOAD: usize = 256 << 10;

impl Spool {
    /// The same with the largest payload, as the log takes it.
    #[must_use]
    pub fn limits(&self, payload: usize) -> SpoolLimits {
        let record_bytes = payload.saturating_add(RECORD_BEYOND_PAYLOAD);
        SpoolLimits {
            bytes: self.max_bytes,
            max_age: self.max_age.get(),
            when_full: self.when_full,
            segment_bytes: self.segment_bytes,
            record_bytes,
            queue_bytes: self.queue_bytes.max(record_bytes),
        }
    }
}

/// Bounds of everything; each has a default.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest payload, in bytes.
    pub payload: usize,
    /// How often rules may republish what came of one message.
    pub hops: u8,
    /// Bytes of a topic.
    pub topic_bytes: usize,
    /// Levels of a topic.
    pub topic_levels: usize,
    /// Actions of a rule.
    pub actions: usize,
    /// Messages that wait in one shard's queue.
    pub queue_messages: usize,
    /// Bytes of their payloads.
    pub queue_bytes: usize,
    /// Records that wait for one action.
    pub action_records: usize,
    /// Bytes of their bodies.
    pub action_bytes: usize,
    /// Products that may be registered.
    pub products: u64,
    /// Devices that may be registered, of all products together.
    pub devices: u64,
    /// Groups of devices that may be made, of all levels together.
    pub groups: u64,
    /// Dead letters that are kept; then the oldest make room.
    pub dead_letters: u64,
    /// Bytes that they may take.
    pub dead_letter_bytes: u64,
    /// Threads that evaluate rules; 0 means one per core.
    pub shards: usize,
    /// Seconds that the daemon waits for its actions when it stops.
    pub stop_seconds: u64,
    /// Bounds of statements.
    pub sql: sql::Limits,
    /// Bounds of the API.
    pub api: ApiBounds,
    /// Bounds of the MQTT broker.
    pub mqtt: broker::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        let topic = TopicLimits::default();
        let registry = registry::Limits::default();
        Self {
            payload: 1 << 20,
            hops: 8,
            topic_bytes: topic.bytes,
            topic_levels: topic.levels,
            actions: 10,
            queue_messages: 65_536,
            queue_bytes: 64 << 20,
            action_records: 10_000,
            action_bytes: 64 << 20,
            products: registry.products,
            devices: registry.devices,
            groups: registry.groups,
            dead_letters: 1_000_000,
            dead_letter_bytes: 4 << 30,
            shards: 0,
            stop_seconds: 10,
            sql: sql::Limits::default(),
            api: ApiBounds::default(),
            mqtt: broker::Limits::default(),
        }
    }
}

/// The most threads that evaluate rules.
const SHARDS_MAX: usize = 256;

impl Limits {
    /// The first bound with which nothing could run, and why.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let queues = [
            ("limits.queue_messages", self.queue_messages),
            ("limits.queue_bytes", self.queue_bytes),
            ("limits.action_records", self.action_records),
            ("limits.action_bytes", self.action_bytes),
        ];
        if let Some((path, _)) = queues.into_iter().find(|(_, bound)| *bound == 0) {
            return Err((path, "nothing passes a queue without room; expected 1 or more".into()));
        }
        if self.shards > SHARDS_MAX {
            let text = format!("expected 0 (one per core) to {SHARDS_MAX} threads");
            return Err(("limits.shards", text));
        }
        self.api.check()
    }

    /// The bounds of topics.
    #[must_use]
    pub fn topic(&self) -> TopicLimits {
        TopicLimits { bytes: self.topic_bytes, levels: self.topic_levels }
    }
}

/// Reads an address, and says how one is written.
fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| {
        let example = "an IP address and a port, such as `127.0.0.1:1883`";
        D::Error::custom(format!("`{text}` is no address; expected {example}"))
    })
}

fn optional_address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    address(from).map(Some)
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            mqtt: SocketAddr::from(([127, 0, 0, 1], 1883)),
            mqtts: None,
            ws: None,
            wss: None,
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            allow_hosts: Vec::new(),
            allow_origins: Vec::new(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let history = serde_json::json!({ "sqlite": { "path": "data/history.db" } });
        let connections = match history {
            Value::Object(map) => BTreeMap::from([("history".to_owned(), map)]),
            _ => BTreeMap::new(),
        };
        Self {
            listen: Listen::default(),
            tls: None,
            data_dir: PathBuf::from("data"),
            store: StoreForm::default(),
            rules: PathBuf::from("rules"),
            time_zone: None,
            auth: Auth::default(),
            users: Vec::new(),
            access_keys: Vec::new(),
            connections,
            sources: BTreeMap::new(),
            things: BTreeMap::new(),
            files: FilesForm::default(),
            promises: Promises::default(),
            endpoints: Vec::new(),
            lora: LoraForm::default(),
            spool: Spool::default(),
            history: HistoryForm::default(),
            network: NetworkForm::default(),
            metrics: MetricsForm::default(),
            limits: Limits::default(),
            base_dir: PathBuf::from("."),
            document: None,
        }
    }
}

impl Config {
    /// Reads a configuration: the file that is named, else `tidegate.yaml` if it exists, else the
    /// defaults. The connection `history` exists in any case.
    ///
    /// # Errors
    /// A [`Problem`] with the place of what is wrong.
    pub fn load(file: Option<&Path>) -> Result<Self, Problem> {
        let default = Path::new(DEFAULT_FILE);
        let path = match file {
            Some(path) => path,
            None if default.exists() => default,
            None => return Ok(Self::default()),
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            let mut problem = Problem::new(format!("cannot be read: {error}"));
            problem.file = Some(path.to_owned());
            problem
        })?;
        Self::parse(path, &text)
    }

    /// Reads a configuration from the text of a file.
    ///
    /// # Errors
    /// A [`Problem`] with the place of what is wrong.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Problem> {
        let mut document = Document::parse(path, text)?;
        document.substitute(&|name| std::env::var(name).ok())?;
        let mut config: Self = document.read().map_err(misplaced)?;
        config.base_dir = path.parent().map(Path::to_owned).unwrap_or_default();
        for (name, connection) in Self::default().connections {
            config.connections.entry(name).or_insert(connection);
        }
        let connections = config.connections.iter().map(|(name, map)| ("connections", name, map));
        let sources = config.sources.iter().map(|(name, form)| ("sources", name, &form.connector));
        for (part, name, map) in connections.chain(sources) {
            one_key(map).map_err(|message| document.problem(&format!("{part}.{name}"), message))?;
        }
        let bounds = config.limits.check().and_then(|()| config.history.check());
        bounds.map_err(|(path, message)| document.problem(path, message))?;
        config.files.check().map_err(|message| document.problem("files.url", message))?;
        let spool = config.spool.limits(config.limits.payload).check();
        spool.map_err(|error| document.problem("spool", error.to_string()))?;
        let secure = [("listen.mqtts", config.listen.mqtts), ("listen.wss", config.listen.wss)];
        if let Some((path, _)) = secure.iter().find(|(_, wanted)| wanted.is_some())
            && config.tls.is_none()
        {
            let message = "TLS needs a certificate; add `tls: { cert: FILE, key: FILE }`";
            return Err(document.problem(path, message));
        }
        config.store.server().map_err(|message| document.problem("store.postgres", message))?;
        config.zone().map_err(|message| document.problem("time_zone", message))?;
        config
            .network()
            .map_err(|(list, message)| document.problem(&format!("network.{list}"), message))?;
        config
            .pages()
            .map_err(|(list, message)| document.problem(&format!("listen.{list}"), message))?;
        config.users().map_err(|(path, message)| document.problem(&path, message))?;
        config
            .check_exposure()
            .map_err(|problem| problem.in_file(path, document.position("listen")))?;
        config.document = Some(Arc::new(Mutex::new(document)));
        Ok(config)
    }

    /// The file that it was read from.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        let document = self.document.as_ref()?;
        Some(document.lock().unwrap_or_else(PoisonError::into_inner).file().to_owned())
    }

    /// A finding at a setting such as `sources.plant.mqtt.qos`, with its place in the file.
    #[must_use]
    pub fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        match &self.document {
            Some(document) => {
                document.lock().unwrap_or_else(PoisonError::into_inner).problem(path, message)
            }
            None => Problem::new(message),
        }
    }

    /// A finding that a parser reported at a setting; a key that it does not know is pointed to.
    #[must_use]
    pub fn mismatch(&self, path: &str, message: &str) -> Problem {
        match &self.document {
            Some(document) => {
                document.lock().unwrap_or_else(PoisonError::into_inner).mismatch(path, message)
            }
            None => Problem::new(message),
        }
    }

    /// The users.
    ///
    /// # Errors
    /// The setting that is wrong, and why.
    pub fn users(&self) -> Result<broker::Users, (String, String)> {
        users::read(&self.users, self.limits.topic())
    }

    /// Which addresses rules may reach.
    ///
    /// # Errors
    /// The list of `network` that has a wrong entry, and why.
    pub fn network(&self) -> Result<Network, (&'static str, String)> {
        Network::new(&self.network.allow, &self.network.deny)
    }

    /// Which web pages may speak to the listeners.
    ///
    /// # Errors
    /// The list of `listen` that has a wrong entry, and why.
    pub fn pages(&self) -> Result<Pages, (&'static str, String)> {
        Pages::new(&self.listen.allow_hosts, &self.listen.allow_origins)
    }

    /// The configured time zone.
    ///
    /// # Errors
    /// When there is no zone of that name.
    pub fn zone(&self) -> Result<jiff::tz::TimeZone, String> {
        match &self.time_zone {
            None => Ok(jiff::tz::TimeZone::system()),
            Some(name) => jiff::tz::TimeZone::get(name).map_err(|_| {
                format!("there is no time zone `{name}`; write it like `Asia/Shanghai`")
            }),
        }
    }

    /// True when every listener is on loopback.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let Listen { mqtt, http, mqtts, ws, wss, .. } = &self.listen;
        let all = [Some(mqtt), Some(http), mqtts.as_ref(), ws.as_ref(), wss.as_ref()];
        all.into_iter().flatten().all(|address| address.ip().is_loopback())
    }

    /// Deny by default: on a public address somebody must have said who may connect.
    ///
    /// # Errors
    /// When nobody has.
    pub fn check_exposure(&self) -> Result<(), Problem> {
        if self.is_local() || self.auth.devices.is_some() {
            return Ok(());
        }
        Err(Problem::new(
            "a listener is not on loopback, and `auth.devices` does not say who may connect",
        )
        .hint("write `auth: { devices: none }` if anybody who reaches the port may connect"))
    }

    /// A path of the configuration, made relative to the file's folder.
    #[must_use]
    pub fn path(&self, path: &Path) -> PathBuf {
        self.base_dir.join(path)
    }
}

/// Where a key that is not known where it stands is known.
fn misplaced(problem: Problem) -> Problem {
    let key = problem.message.strip_prefix("unknown key `").and_then(|rest| rest.strip_suffix('`'));
    let Some(key) = key else { return problem };
    let schema = schemars::schema_for!(Config).to_value();
    let of = |schema: &Value| {
        let here = schema.get("properties").and_then(Value::as_object);
        here.cloned().unwrap_or_default()
    };
    let top = of(&schema);
    let hint = if top.contains_key(key) {
        format!("`{key}:` stands at the top, not below another key")
    } else {
        let below = |part: &Value| {
            let any = part.pointer("/anyOf/0/$ref").or_else(|| part.get("$ref"))?.as_str()?;
            Some(of(schema.pointer(any.strip_prefix('#')?)?))
        };
        let part = top.iter().find(|(_, part)| below(part).is_some_and(|of| of.contains_key(key)));
        let Some((part, _)) = part else { return problem };
        format!("`{key}:` stands below `{part}:`")
    };
    problem.hint(hint)
}

/// The one key of a map and its value.
///
/// # Errors
/// When there is not exactly one.
pub fn one_key(map: &Map<String, Value>) -> Result<(&str, &Value), String> {
    let mut entries = map.iter();
    match (entries.next(), entries.next()) {
        (Some((key, value)), None) => Ok((key, value)),
        _ => Err("exactly one connector is expected here, such as `kafka: { … }`".to_owned()),
    }
}
