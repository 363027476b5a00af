//! `OTS`: each record is a row of a table.

use connectors::contract::Template;
use serde_json::{Value, json};

use super::configuration::{Configuration, Settings};
use super::target::{Target, unfit};
use crate::api::aliyun::wire::error::{self, ApiError};

/// The settings of a table: a row's primary keys come from templates, and each further key of the
/// record is a column of its own.
pub(super) fn ots(configuration: &Configuration<'_>, target: &Target<'_>) -> Settings {
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
