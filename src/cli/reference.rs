//! The reference pages in Markdown, from the declarations: rule files, connectors, functions.

use std::fmt::Write as _;

use schemars::Schema;
use serde_json::{Value, json};

use super::describe::families;
use crate::rule::file::FileForm;
use crate::sql::functions::{FUNCTIONS, Nulls};

/// The reference of rule files: `rules/README.md`.
#[must_use]
pub fn rules_reference() -> String {
    let schema = schemars::schema_for!(FileForm).to_value();
    let mut text = String::from(
        "# Rule files\n\n\
         <!-- generated from the code; tests/docs.rs rewrites it -->\n\n\
         Each file of this folder holds one idea, runs as it is, and carries its own tests (`tidegate test`).\n\
         Editors complete and check rule files with `rule.schema.json`. YAML 1.2: `on`, `off`, `yes` and `no`\n\
         are text. `${env:NAME}` in any text is the environment.\n",
    );
    let parts = [
        ("FileForm", "A file"),
        ("RuleForm", "A rule"),
        ("RetryForm", "`retry`"),
        ("TestForm", "A test"),
        ("MessageForm", "A test's message"),
        ("DeviceForm", "A test's device"),
    ];
    for (name, title) in parts {
        let part = match name {
            "FileForm" => Some(&schema),
            _ => schema.pointer(&format!("/$defs/{name}")),
        };
        let Some(part) = part else { continue };
        write!(text, "\n## {title}\n\n{}", settings_table(part)).ok();
    }
    text.push_str(
        "\n## An action\n\n\
         A map with one connector's name as key (see [connectors/README.md](../connectors/README.md)), and beside it:\n\n\
         | key | meaning |\n| --- | --- |\n\
         | `name` | for people and metrics; the connector's name by default |\n\
         | `retry` | instead of the rule's |\n\
         | `deadline` | the longest that one delivery may take, `10s` by default |\n\
         | `batch` | records in one delivery at most |\n\n\
         In its settings `${key}` and `${a.b}` are values of the SQL result, and `$${` is a literal `${`. A text that\n\
         is only `${x}` keeps the value's type. In a topic, a key or a path a value that is missing, null or holds\n\
         `/`, `+`, `#` or a control character makes the record undeliverable: it goes to the error action.\n",
    );
    text
}

/// The reference of connectors: `connectors/README.md`.
#[must_use]
pub fn connectors_reference() -> String {
    let mut text = String::from(
        "# Connectors\n\n<!-- generated from the code; tests/docs.rs rewrites it -->\n\n\
         One file per system, source and sink together. A connector only speaks its protocol and says per record what\n\
         happened; deadlines, retry and the error action are the engine's.\n",
    );
    text.push_str("\n# Connections\n\nNamed under `connections:` in the configuration, used by actions and sources.\n");
    for spec in connectors::CONNECTIONS {
        section(&mut text, spec.name, spec.summary, spec.example, &(spec.schema)());
    }
    text.push_str("\n# Sinks\n\nUsed under `actions:` and `error_action:` in rules.\n");
    for spec in connectors::SINKS {
        section(&mut text, spec.name, spec.summary, spec.example, &(spec.schema)());
    }
    text.push_str("\n# Sources\n\nNamed under `sources:` in the configuration.\n");
    for spec in connectors::SOURCES {
        section(&mut text, spec.name, spec.summary, spec.example, &(spec.schema)());
    }
    text
}

/// The reference of the functions of SQL: `docs/functions.md`.
#[must_use]
pub fn functions_reference() -> String {
    let mut text = format!(
        "# The functions of SQL\n\n<!-- generated from the code; tests/docs.rs rewrites it -->\n\n\
         {} functions by family. Names are found without regard to case. A function with a MISSING argument is\n\
         MISSING, else with a NULL argument NULL; a function marked ∅ decides for itself. An argument of the wrong\n\
         kind or outside its range makes the result MISSING and is counted with its reason. Positions count code\n\
         points from 0. `tidegate describe functions NAME` shows all examples.\n",
        FUNCTIONS.len()
    );
    for family in families() {
        write!(
            text,
            "\n## {family}\n\n| function | what it gives | example |\n| --- | --- | --- |\n"
        )
        .ok();
        for function in FUNCTIONS.iter().filter(|function| function.family == family) {
            let own = if function.nulls == Nulls::Own { " ∅" } else { "" };
            let also = match function.aliases {
                [] => String::new(),
                aliases => format!(" Also `{}`.", aliases.join("`, `")),
            };
            let example = function.examples.first().map_or_else(String::new, |example| {
                format!("`{}` → `{}`", example.sql, example.result.unwrap_or("MISSING"))
            });
            let (signature, summary) = (function.signature, function.summary);
            let row = [format!("`{signature}`{own}"), format!("{summary}{also}"), example];
            writeln!(text, "| {} |", row.map(|cell| cell.replace('|', "\\|")).join(" | ")).ok();
        }
    }
    text
}

fn section(text: &mut String, name: &str, summary: &str, example: &str, schema: &Schema) {
    write!(text, "\n## {name}\n\n{summary}\n\n```yaml\n{name}: {example}\n```\n").ok();
    let table = settings_table(schema.as_value());
    if !table.is_empty() {
        write!(text, "\n{table}").ok();
    }
}

/// A table of the properties of a schema; empty when there are none.
fn settings_table(schema: &Value) -> String {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return String::new();
    };
    if properties.is_empty() {
        return String::new();
    }
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut text = String::from("| key | meaning | default |\n| --- | --- | --- |\n");
    for (key, property) in properties {
        let help = property.get("description").and_then(Value::as_str).unwrap_or_default();
        let help = help.replace('\n', " ").replace('|', "\\|");
        let default = match property.get("default") {
            Some(Value::Null) | None if required.contains(&json!(key)) => "required".to_owned(),
            Some(Value::Null) | None => String::new(),
            Some(value) => format!("`{value}`"),
        };
        writeln!(text, "| `{key}` | {help} | {default} |").ok();
    }
    text
}
