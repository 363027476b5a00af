//! The vendor's destinations as sinks of the catalogue: what a `Configuration` asks for, and which
//! connection stands for it here.
//!
//! Nothing here connects to anything; whether a sink takes the settings, its own parser decides.

use std::sync::Arc;

use connectors::contract::{Connections, Template, TopicLimits, tree};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::{self, ApiError, ErrorCode};
use super::{form, topics};
use crate::rule::{Action, Batching, DEADLINE, VendorAction};

/// The longest tag of a message queue, in bytes (vendor's guide "forward to RocketMQ").
const TAG_MAX: usize = 128;

/// What a destination of the vendor's protocol is on this installation (`endpoints:`). The first
/// that matches type, region and instance is used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// `ONS`, `MNS`, `DATAHUB`, `FC` or `OTS`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The configuration's `regionName`; `*` is any.
    #[serde(default = "any")]
    pub region: String,
    /// The configuration's `instanceId` (ONS), `instanceName` (OTS), `projectName` (DATAHUB) or
    /// `serviceName` (FC); `*` is any.
    #[serde(default = "any")]
    pub instance: String,
    /// The name of a connection of kind `kafka`, `sqlite` or `postgres`.
    #[serde(default)]
    pub connection: Option<String>,
    /// Instead of a connection: the URL of a function or webhook that gets each record in a POST.
    /// `{serviceName}`, `{functionName}`, `{themeName}`, `{topicName}` and so on stand for the texts
    /// of the configuration, percent-encoded; not in the host, which only this file names.
    #[serde(default)]
    pub url: Option<String>,
}

/// The types of destinations that an endpoint may stand for.
pub const ENDPOINT_TYPES: [&str; 5] = ["DATAHUB", "FC", "MNS", "ONS", "OTS"];

fn any() -> String {
    "*".to_owned()
}

/// Where the actions of the API deliver to.
#[derive(Clone, Default)]
pub struct Destinations {
    /// `endpoints:` of the configuration.
    pub endpoints: Vec<Endpoint>,
    /// `connections:` of the configuration.
    pub connections: Arc<Connections>,
    /// Limits on the topics of `REPUBLISH`.
    pub topics: TopicLimits,
}

/// A destination's type: what it needs, and what it says when nothing stands for it.
struct Kind {
    name: &'static str,
    /// The key that an endpoint's `instance` is compared with.
    instance: &'static str,
    /// Keys that must be there, with the code that says so.
    needs: &'static [(&'static str, &'static ErrorCode)],
    missing: &'static ErrorCode,
    translate: fn(&Configuration<'_>, &Target<'_>) -> Settings,
}

/// A connector's name and its settings.
type Settings = Result<(&'static str, Value), ApiError>;

/// All types that need an endpoint, sorted by name.
const KINDS: &[Kind] = &[
    Kind {
        name: "DATAHUB",
        instance: "projectName",
        needs: &[
            ("projectName", error::NULL_DATAHUB_PROJECT),
            ("topicName", error::NULL_DATAHUB_TOPIC),
        ],
        missing: error::NO_DATAHUB,
        translate: datahub,
    },
    Kind {
        name: "FC",
        instance: "serviceName",
        needs: &[
            ("serviceName", error::NULL_FC_SERVICE),
            ("functionName", error::NULL_FC_FUNCTION),
        ],
        missing: error::NO_FC,
        translate: |configuration, target| {
            let [service, function] =
                ["serviceName", "functionName"].map(|k| configuration.text(k));
            queue(configuration, target, &format!("{service}.{function}"))
        },
    },
    Kind {
        name: "MNS",
        instance: "themeName",
        needs: &[("themeName", error::NULL_MNS_TOPIC)],
        missing: error::NO_MNS,
        translate: |configuration, target| {
            queue(configuration, target, configuration.text("themeName"))
        },
    },
    Kind {
        name: "ONS",
        instance: "instanceId",
        needs: &[("topic", error::NULL_TOPIC)],
        missing: error::NO_ONS,
        translate: |configuration, target| {
            queue(configuration, target, configuration.text("topic"))
        },
    },
    Kind {
        name: "OTS",
        instance: "instanceName",
        needs: &[("instanceName", error::NULL_OTS_INSTANCE), ("tableName", error::NULL_OTS_TABLE)],
        missing: error::ENDPOINT,
        translate: ots,
    },
];

/// The types that `CreateRuleAction` takes.
#[must_use]
pub fn is_type(kind: &str) -> bool {
    kind == REPUBLISH || KINDS.iter().any(|known| known.name == kind)
}

/// The one type that stays inside.
const REPUBLISH: &str = "REPUBLISH";

/// Names of all types, for messages.
#[must_use]
pub fn types() -> String {
    let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
    format!("{} or {REPUBLISH}", names.join(", "))
}

/// What stands for a destination.
enum Target<'a> {
    Connection { name: &'a str, kind: &'static str },
    Url(&'a str),
}

/// A configuration that is a JSON object.
struct Configuration<'a>(&'a Map<String, Value>);

impl Configuration<'_> {
    /// A text; empty when it is missing or no text.
    fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or("")
    }
}

/// Parses a configuration.
///
/// # Errors
/// [`error::NULL_CONFIGURATION`], [`error::NOT_JSON`] or [`error::CONFIGURATION`].
pub fn parse(configuration: &str) -> Result<Map<String, Value>, ApiError> {
    if configuration.trim().is_empty() {
        return Err(error::NULL_CONFIGURATION.plain());
    }
    match tree(configuration.as_bytes()) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(error::CONFIGURATION.with("expected a JSON object")),
        Err(problem) => Err(error::NOT_JSON.with(problem)),
    }
}

impl Destinations {
    /// The action that stands for a type and configuration of the API. `name` is for metrics.
    ///
    /// # Errors
    /// What is missing or wrong in the configuration, or that no endpoint fits, with a code of the
    /// type.
    pub fn action(
        &self,
        name: String,
        kind: &str,
        configuration: &Map<String, Value>,
    ) -> Result<Action, ApiError> {
        let configuration = Configuration(configuration);
        let (connector, settings) = if kind == REPUBLISH {
            self.republish(&configuration)?
        } else {
            let Some(known) = KINDS.iter().find(|known| known.name == kind) else {
                return Err(error::ACTION_TYPE.with(format!("`{kind}`; expected {}", types())));
            };
            for (key, code) in known.needs {
                if configuration.text(key).is_empty() {
                    return Err(code.plain());
                }
            }
            check_role(&configuration)?;
            let target = self.target(known, &configuration)?;
            (known.translate)(&configuration, &target)?
        };
        let region = configuration.text("regionName").to_owned();
        Ok(Action {
            name: Some(name),
            connector: connector.to_owned(),
            settings,
            retry: None,
            deadline: DEADLINE,
            batch: Batching::default(),
            vendor: Some(VendorAction { kind: kind.to_owned(), region }),
        })
    }

    fn republish(&self, configuration: &Configuration<'_>) -> Settings {
        let topic = configuration.text("topic");
        if topic.is_empty() {
            return Err(error::NULL_TOPIC.plain());
        }
        // Some clients send the number as a text.
        let topic_type = match configuration.0.get("topicType") {
            None => Some(1),
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_i64(),
        };
        let Some(topic_type) = topic_type else {
            return Err(error::TOPIC_TYPE.with("topicType is no number; expected 0 or 1"));
        };
        topics::check_target(topic, topic_type, self.topics)?;
        Ok(("republish", json!({ "topic": topic })))
    }

    fn target(
        &self,
        kind: &Kind,
        configuration: &Configuration<'_>,
    ) -> Result<Target<'_>, ApiError> {
        let region = configuration.text("regionName");
        let instance = configuration.text(kind.instance);
        let fits = |want: &str, have: &str| want == "*" || want == have;
        let of_kind = || self.endpoints.iter().filter(|endpoint| endpoint.kind == kind.name);
        let found = of_kind()
            .find(|endpoint| fits(&endpoint.region, region) && fits(&endpoint.instance, instance));
        let Some(endpoint) = found else {
            if of_kind().next().is_some() && !of_kind().any(|e| fits(&e.region, region)) {
                let known: Vec<_> = of_kind().map(|e| e.region.as_str()).collect();
                let text = format!(
                    "`{region}`; `endpoints:` of the configuration has {} for {}",
                    known.join(", "),
                    kind.name
                );
                return Err(error::REGION.with(text));
            }
            let text = format!(
                "nothing stands for {} `{instance}` in region `{region}`; add to the configuration: endpoints: [{{ type: {}, region: \"{region}\", connection: … }}]",
                kind.name, kind.name
            );
            return Err(kind.missing.with(text));
        };
        match (&endpoint.url, &endpoint.connection) {
            (Some(url), None) if !names_host(url) => {
                Err(error::ENDPOINT.with(format!("`endpoints:` has `{url}`: {HOST_IS_WRITTEN}")))
            }
            (Some(url), None) => Ok(Target::Url(url)),
            (None, Some(name)) => match self.connections.kind(name) {
                Some(kind) => Ok(Target::Connection { name, kind }),
                None => Err(error::ENDPOINT.with(format!(
                    "`endpoints:` names connection `{name}`, which is not below `connections:`"
                ))),
            },
            _ => Err(error::ENDPOINT.with(format!(
                "the entry for {} in `endpoints:` needs either `connection` or `url`",
                kind.name
            ))),
        }
    }
}

/// What is wrong with a URL whose host somebody else would choose.
pub const HOST_IS_WRITTEN: &str = "the host may not hold `{…}`: write it out, in one entry for each `instance` or `region` when there are several";

/// True when the URL of an endpoint says itself which host it leads to.
#[must_use]
pub fn names_host(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#', '\\']).next().unwrap_or(rest);
    !host.contains('{')
}

/// A role means nothing here, but one that is given must look like one.
fn check_role(configuration: &Configuration<'_>) -> Result<(), ApiError> {
    let role = match configuration.0.get("role") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Object(role)) => Configuration(role),
        Some(_) => return Err(error::ROLE.with("expected {\"roleArn\": …, \"roleName\": …}")),
    };
    if role.text("roleArn").is_empty() {
        return Err(error::NULL_ROLE_ARN.plain());
    }
    if role.text("roleName").is_empty() {
        return Err(error::NULL_ROLE_NAME.plain());
    }
    Ok(())
}

/// `ONS`, `MNS` and `FC`: each record is a message of a topic, or a call.
fn queue(configuration: &Configuration<'_>, target: &Target<'_>, topic: &str) -> Settings {
    let mut headers = Map::new();
    let tag = configuration.text("tag");
    if tag.len() > TAG_MAX {
        return Err(error::TAG.with(format!("{} bytes, at most {TAG_MAX} are allowed", tag.len())));
    }
    if !tag.is_empty() {
        Template::parse(tag).map_err(|problem| error::TAG.with(problem))?;
        headers.insert("tag".to_owned(), tag.into());
    }
    let mut settings = match target {
        Target::Url(url) => return Ok(("http", json!({ "url": filled(url, configuration) }))),
        Target::Connection { name, kind: "kafka" } => {
            // A `$` of the configuration is no placeholder: topics of queues are constants.
            json!({ "connection": name, "topic": literal(topic) })
        }
        Target::Connection { name, kind } => return Err(unfit(name, kind, "kafka")),
    };
    if !headers.is_empty() {
        settings["headers"] = Value::Object(headers);
    }
    Ok(("kafka", settings))
}

/// `DATAHUB`: each record is a row of named values.
fn datahub(configuration: &Configuration<'_>, target: &Target<'_>) -> Settings {
    let columns = schema(configuration)?;
    let topic = configuration.text("topicName");
    let body = || {
        let fields: Vec<_> =
            columns.iter().map(|c| format!("{}:{}", Value::from(c.name), c.json)).collect();
        format!("{{{}}}", fields.join(","))
    };
    match target {
        Target::Url(url) => {
            Ok(("http", json!({ "url": filled(url, configuration), "body": body() })))
        }
        Target::Connection { name, kind: "kafka" } => {
            let topic = literal(&format!("{}.{topic}", configuration.text("projectName")));
            Ok(("kafka", json!({ "connection": name, "topic": topic, "payload": body() })))
        }
        Target::Connection { name, kind: kind @ ("sqlite" | "postgres") } => {
            let columns: Map<_, _> =
                columns.iter().map(|c| (c.name.to_owned(), c.value.into())).collect();
            Ok((kind, json!({ "connection": name, "table": topic, "columns": columns })))
        }
        Target::Connection { name, kind } => Err(unfit(name, kind, "kafka, sqlite or postgres")),
    }
}

/// A column of a DataHub topic.
struct Column<'a> {
    name: &'a str,
    /// As given.
    value: &'a str,
    /// A template that renders to the value in JSON.
    json: String,
}

fn schema<'a>(configuration: &'a Configuration<'_>) -> Result<Vec<Column<'a>>, ApiError> {
    let columns = configuration.0.get("schemaVals").and_then(Value::as_array);
    let columns = columns.filter(|columns| !columns.is_empty());
    let columns = columns.ok_or_else(|| error::NULL_DATAHUB_SCHEMA.plain())?;
    columns.iter().map(column).collect()
}

fn column(column: &Value) -> Result<Column<'_>, ApiError> {
    let text = |key: &str| column.get(key).and_then(Value::as_str).unwrap_or("");
    let (name, value, kind) = (text("name"), text("value"), text("type"));
    if name.is_empty() {
        return Err(error::EMPTY_SCHEMA_NAME.plain());
    }
    if kind.is_empty() {
        return Err(error::EMPTY_SCHEMA_TYPE.plain());
    }
    if value.is_empty() {
        return Err(error::EMPTY_SCHEMA_VALUE.plain());
    }
    let wrong = |problem: String| error::SCHEMA_VALUE.with(format!("`{name}`: {problem}"));
    let template = Template::parse(value).map_err(|problem| wrong(problem.to_string()))?;
    let constant = template.literal();
    let fits = |check: fn(&str) -> bool| constant.is_none_or(check);
    let json = match kind {
        "STRING" => Value::from(value).to_string(),
        "BIGINT" | "TIMESTAMP" if fits(|text| text.parse::<i64>().is_ok()) => value.to_owned(),
        "DOUBLE" | "DECIMAL"
            if fits(|text| serde_json::from_str::<serde_json::Number>(text).is_ok()) =>
        {
            value.to_owned()
        }
        "BOOLEAN" if fits(|text| matches!(text, "true" | "false")) => value.to_owned(),
        "BIGINT" | "TIMESTAMP" | "DOUBLE" | "DECIMAL" | "BOOLEAN" => {
            return Err(wrong(format!("`{value}` is no {kind}")));
        }
        _ => {
            let text = format!(
                "type `{kind}`; expected BIGINT, DOUBLE, BOOLEAN, TIMESTAMP, STRING or DECIMAL"
            );
            return Err(wrong(text));
        }
    };
    Ok(Column { name, value, json })
}

/// `OTS`: each record is a row; its primary keys come from templates, and each further key of the
/// record is a column of its own.
fn ots(configuration: &Configuration<'_>, target: &Target<'_>) -> Settings {
    let keys = configuration.0.get("primaryKeys").and_then(Value::as_array);
    let keys = keys.filter(|keys| !keys.is_empty()).ok_or_else(|| error::NULL_OTS_KEY.plain())?;
    let keys = keys.iter().map(primary_key).collect::<Result<Vec<_>, _>>()?;
    let (name, connector) = match target {
        Target::Connection { name, kind: kind @ ("sqlite" | "postgres") } => (name, *kind),
        Target::Connection { name, kind } => return Err(unfit(name, kind, "sqlite or postgres")),
        Target::Url(url) => {
            let text =
                format!("OTS needs a connection of kind sqlite or postgres, not url `{url}`");
            return Err(error::ENDPOINT.with(text));
        }
    };
    let mut settings = json!({ "connection": name, "table": configuration.text("tableName") });
    // A row whose number the table gives is a new one each time, so nothing identifies it.
    if keys.iter().all(Option::is_some) {
        settings["key"] = keys.iter().flatten().map(|(name, _)| Value::from(*name)).collect();
    }
    // Without `columns` each key of the record is a column, which is right when the primary keys
    // only repeat keys of the record.
    if keys.iter().flatten().any(|(name, value)| *value != format!("${{{name}}}")) {
        let columns = keys.iter().flatten().map(|(n, v)| ((*n).to_owned(), Value::from(*v)));
        settings["columns"] = Value::Object(columns.collect());
        settings["rest"] = Value::Bool(true);
    }
    Ok((connector, settings))
}

/// Name and value of a primary key; `None` for one that the table counts.
fn primary_key(key: &Value) -> Result<Option<(&str, &str)>, ApiError> {
    let text = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or("");
    let (name, kind, value) = (text("columnName"), text("columnType"), text("columnValue"));
    if name.is_empty() {
        return Err(error::NULL_OTS_KEY_NAME.plain());
    }
    if kind.is_empty() {
        return Err(error::NULL_OTS_KEY_TYPE.plain());
    }
    let wrong = |problem: String| error::OTS_KEY_VALUE.with(format!("`{name}`: {problem}"));
    if !matches!(kind, "INTEGER" | "STRING" | "BINARY") {
        return Err(wrong(format!("type `{kind}`; expected INTEGER, STRING or BINARY")));
    }
    match text("option") {
        "AUTO_INCREMENT" if kind == "INTEGER" => return Ok(None),
        "" => {}
        other => {
            return Err(wrong(format!(
                "option `{other}`; expected none, or AUTO_INCREMENT for an INTEGER"
            )));
        }
    }
    if value.is_empty() {
        return Err(error::NULL_OTS_KEY_VALUE.plain());
    }
    let template = Template::parse(value).map_err(|problem| wrong(problem.to_string()))?;
    if kind == "INTEGER" && template.literal().is_some_and(|text| text.parse::<i64>().is_err()) {
        return Err(wrong(format!("`{value}` is no INTEGER")));
    }
    Ok(Some((name, value)))
}

fn unfit(name: &str, kind: &str, expected: &str) -> ApiError {
    let text = format!("connection `{name}` is of kind {kind}; expected {expected}");
    error::ENDPOINT.with(text)
}

/// A text as a template that renders to the same text.
fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

/// A URL with the texts of the configuration in the place of `{key}`; `${…}` stays for the record.
fn filled(url: &str, configuration: &Configuration<'_>) -> String {
    let mut out = String::with_capacity(url.len());
    let mut rest = url;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        match after.split_once('}') {
            Some((key, after)) if !before.ends_with('$') && configuration.0.contains_key(key) => {
                out.push_str(&form::encode(configuration.text(key)));
                rest = after;
            }
            _ => {
                out.push('{');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
