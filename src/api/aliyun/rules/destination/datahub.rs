//! `DATAHUB`: each record is a row of named values.

use connectors::contract::Template;
use serde_json::{Map, Value, json};

use super::configuration::{Configuration, Settings};
use super::target::{Target, filled, literal, unfit};
use crate::api::aliyun::wire::error::{self, ApiError};

/// The settings of a table, a topic or a URL.
pub(super) fn datahub(configuration: &Configuration<'_>, target: &Target<'_>) -> Settings {
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
