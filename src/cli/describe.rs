//! `tidegate describe`: what there is, from the one declaration of each; the README's tables too.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use schemars::Schema;
use serde_json::{Map, Value, json};

use super::{Outcome, refused, usage};
use crate::api::{KNOWN, operations};
use crate::problem::nearest;
use crate::rule::file::FileForm;
use crate::sql::functions::{self, FUNCTIONS, Function};
use crate::sql::instead;

/// Arguments of `describe`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to describe.
    what: What,
    /// One of them; of functions also a family.
    name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// The functions of the SQL.
    Functions,
    /// Where actions deliver to.
    Sinks,
    /// Where messages come from.
    Sources,
    /// The JSON schema of rule files.
    Schema,
}

pub(super) fn run(args: &Args) -> Outcome {
    let text = match (args.what, args.name.as_deref()) {
        (What::Functions, None) => functions_list(),
        (What::Sinks, None) => sinks_table(),
        (What::Sources, None) => sources_table(),
        (What::Schema, _) => rule_schema(),
        (What::Functions, Some(name)) => {
            let known = functions::find(name).map(function);
            known.or_else(|| family(name)).ok_or_else(|| unknown_function(name))?
        }
        (What::Sinks, Some(name)) => {
            let known = connectors::SINKS.iter().find(|spec| spec.name == name);
            let known = known.ok_or_else(|| {
                unknown("sink", name, connectors::SINKS.iter().map(|spec| spec.name))
            })?;
            connector(known.name, known.summary, known.example, &(known.schema)())
        }
        (What::Sources, Some(name)) => {
            let known = connectors::SOURCES.iter().find(|spec| spec.name == name);
            let known = known.ok_or_else(|| {
                unknown("source", name, connectors::SOURCES.iter().map(|spec| spec.name))
            })?;
            connector(known.name, known.summary, known.example, &(known.schema)())
        }
    };
    // A reader that closes the pipe has seen enough.
    use std::io::Write as _;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(refused(error)),
        _ => Ok(()),
    }
}

fn unknown<'a>(
    kind: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> super::Failure {
    let hint = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", known.collect::<Vec<_>>().join(", ")),
    };
    usage(anyhow::anyhow!("there is no {kind} `{name}`; {hint}"))
}

/// As a statement that calls it is answered, and with the families.
fn unknown_function(name: &str) -> super::Failure {
    let near = nearest(name, families()).map(|near| format!("did you mean `{near}`?"));
    let hint = near
        .or_else(|| instead(name))
        .unwrap_or_else(|| format!("the families are {}", families().join(", ")));
    usage(anyhow::anyhow!("there is no function or family `{name}`; {hint}"))
}

fn function(function: &Function) -> String {
    let mut text = format!("{}\n\n{}\n", function.signature, function.summary);
    if !function.aliases.is_empty() {
        writeln!(text, "\nAlso: {}", function.aliases.join(", ")).ok();
    }
    writeln!(text, "\nExamples").ok();
    for example in function.examples {
        writeln!(text, "  {}", example.sql).ok();
        if !example.payload.is_empty() {
            writeln!(text, "    payload: {}", example.payload).ok();
        }
        writeln!(text, "    gives:   {}", example.result.unwrap_or("MISSING")).ok();
    }
    text
}

fn connector(name: &str, summary: &str, example: &str, schema: &Schema) -> String {
    let mut text = format!("{name}: {summary}\n\nExample\n  {name}: {example}\n\nSettings\n");
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    for (key, property) in properties.into_iter().flatten() {
        let must = if required.contains(&json!(key)) { " (required)" } else { "" };
        let help = property.get("description").and_then(Value::as_str).unwrap_or_default();
        let default = property.get("default").filter(|value| !value.is_null());
        let default = default.map(|value| format!(" Default: {value}.")).unwrap_or_default();
        writeln!(text, "  {key}{must}: {}{default}", help.replace('\n', " ")).ok();
    }
    text
}

/// All functions with their summaries, by family, for a terminal.
fn functions_list() -> String {
    let mut text = format!(
        "{} functions; `tidegate describe functions NAME` shows examples\n",
        FUNCTIONS.len()
    );
    families().into_iter().filter_map(family).for_each(|family| text.push_str(&family));
    text
}

/// The functions of a family with their summaries; `None` when there is no such family.
fn family(name: &str) -> Option<String> {
    let members = FUNCTIONS.iter().filter(|function| function.family.eq_ignore_ascii_case(name));
    let mut text = String::new();
    for function in members {
        if text.is_empty() {
            writeln!(text, "\n{}", function.family).ok();
        }
        writeln!(text, "  {}\n      {}", function.signature, function.summary).ok();
    }
    (!text.is_empty()).then_some(text)
}

/// The README's line about functions: how many there are of each family.
#[must_use]
pub fn functions_summary() -> String {
    let count = |family: &str| FUNCTIONS.iter().filter(|f| f.family == family).count();
    let families: Vec<String> =
        families().iter().map(|family| format!("{family} {}", count(family))).collect();
    format!("{} functions: {}.\n", FUNCTIONS.len(), families.join(", "))
}

/// The families of functions in alphabetical order.
pub(super) fn families() -> Vec<&'static str> {
    let mut families: Vec<&str> = FUNCTIONS.iter().map(|function| function.family).collect();
    families.sort_unstable();
    families.dedup();
    families
}

/// The README's table of sinks, in Markdown.
#[must_use]
pub fn sinks_table() -> String {
    let rows = connectors::SINKS.iter().map(|spec| (spec.name, spec.summary, spec.example));
    connectors_table("sink", rows)
}

/// The README's table of sources, in Markdown.
#[must_use]
pub fn sources_table() -> String {
    let built_in = [
        (
            "(listener)",
            "The embedded MQTT broker: 3.1, 3.1.1 and 5 on one port, also over TLS and WebSocket.",
            "listen: { mqtt: \"127.0.0.1:1883\" }",
        ),
        (
            "(listener)",
            "HTTP: `POST /ingest/a1Pk/dev1/user/data` or `POST /ingest?topic=a%2Fb`.",
            "listen: { http: \"127.0.0.1:8080\" }",
        ),
    ];
    let rows = connectors::SOURCES.iter().map(|spec| (spec.name, spec.summary, spec.example));
    connectors_table("source", built_in.into_iter().chain(rows))
}

/// The README's table of the API's operations, in Markdown: which of the vendor's work, and what else.
#[must_use]
pub fn operations_table() -> String {
    let offered: BTreeSet<&str> = operations().map(|operation| operation.name).collect();
    let listed = |names: Vec<&str>| match names.is_empty() {
        true => "–".to_owned(),
        false => names.join(", "),
    };
    let mut text =
        String::from("| chapter | works | 404 `InvalidApi.NotFound` |\n| --- | --- | --- |\n");
    for (chapter, names) in KNOWN {
        let (works, not): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| offered.contains(**name));
        // Writing to a String can't fail.
        writeln!(text, "| {chapter} | {} | {} |", listed(works), listed(not)).ok();
    }
    let known = |name: &&&str| KNOWN.iter().any(|(_, names)| names.contains(*name));
    let beyond: Vec<&str> = offered.iter().filter(|name| !known(name)).copied().collect();
    if !beyond.is_empty() {
        writeln!(text, "| of later documents | {} | all others |", listed(beyond)).ok();
    }
    text
}

fn connectors_table<'a>(
    kind: &str,
    rows: impl Iterator<Item = (&'a str, &'a str, &'a str)>,
) -> String {
    let mut text = format!("| {kind} | what it does | example |\n| --- | --- | --- |\n");
    for (name, summary, example) in rows {
        let example = example.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        writeln!(text, "| `{name}` | {} | `{example}` |", summary.replace('|', "\\|")).ok();
    }
    text
}

/// The JSON schema of rule files, with the settings of every sink.
#[must_use]
pub fn rule_schema() -> String {
    let mut schema = schemars::schema_for!(FileForm).to_value();
    let mut definitions = Map::new();
    let mut actions = Map::new();
    for spec in connectors::SINKS {
        let mut settings = (spec.schema)().to_value();
        if let Some(settings) = settings.as_object_mut() {
            settings.remove("$schema");
            settings.insert("description".to_owned(), json!(spec.summary));
            if let Some(Value::Object(inner)) = settings.remove("$defs") {
                definitions.extend(inner);
            }
        }
        actions.insert(spec.name.to_owned(), settings);
    }
    let beside = [
        ("name", json!({ "type": "string", "description": "For people and metrics." })),
        (
            "deadline",
            json!({ "type": "string", "description": "The longest that one delivery may take, such as `10s`." }),
        ),
        (
            "batch",
            json!({
                "description": "Records in one delivery at most, or rows, bytes and how long to wait for more.",
                "anyOf": [
                    { "type": "integer", "minimum": 1, "maximum": 10_000 },
                    {
                        "type": "object",
                        "properties": {
                            "rows": { "type": "integer", "minimum": 1, "maximum": 10_000 },
                            "bytes": { "type": "integer", "minimum": 1, "maximum": 67_108_864 },
                            "linger": { "type": "string", "description": "Such as `50ms`, at most `1m`." },
                        },
                        "additionalProperties": false,
                    },
                ],
            }),
        ),
        ("retry", json!({ "$ref": "#/$defs/RetryForm" })),
    ];
    actions.extend(beside.map(|(key, value)| (key.to_owned(), value)));
    let action = json!({
        "type": "object",
        "description": "One connector's name with its settings.",
        "properties": actions,
        "additionalProperties": false,
    });
    if let Some(all) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        all.extend(definitions);
        all.insert("Action".to_owned(), action);
    }
    let reference = json!({ "$ref": "#/$defs/Action" });
    if let Some(items) = schema.pointer_mut("/$defs/RuleForm/properties/actions/items") {
        *items = reference.clone();
    }
    if let Some(error) = schema.pointer_mut("/$defs/RuleForm/properties/error_action") {
        *error = reference;
    }
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}
