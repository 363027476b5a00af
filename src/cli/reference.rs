//! The reference pages in Markdown, from the declarations: rule files, connectors, functions.

use std::fmt::Write as _;

use schemars::Schema;
use serde_json::{Value, json};

use super::describe::families;
use crate::api::error::CODES;
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
    text.push_str(TESTS);
    text.push_str(
        "\n## An action\n\n\
         A map with one connector's name as key (see [connectors/README.md](../connectors/README.md)), and beside it:\n\n\
         | key | meaning |\n| --- | --- |\n\
         | `name` | for people and metrics; the connector's name by default |\n\
         | `retry` | instead of the rule's |\n\
         | `deadline` | the longest that one delivery may take, `10s` by default |\n\
         | `batch` | records in one delivery at most (`500`), or `{ rows: 500, bytes: 1000000, linger: 50ms }`: bytes of bodies (default 4 MiB), and how long a delivery that is not full waits for more |\n\n\
         In its settings `${key}` and `${a.b}` are values of the SQL result, and `$${` is a literal `${`. A text that\n\
         is only `${x}` keeps the value's type. In a topic, a key or a path a value that is missing, null or holds\n\
         `/`, `+`, `#` or a control character makes the record undeliverable: it goes to the error action.\n",
    );
    text
}

/// How tests are written; the example runs as a test.
const TESTS: &str = r#"
## How a test reads

A test says what must come of its messages: the records of SELECT, and what each action would send for
them. Actions are rendered as for a delivery, but nothing is reached. Only what a test names is looked at.

```yaml
rules:
  - name: hot_device
    sql: |
      SELECT deviceName() AS device, t, newuuid() AS id FROM "/a1Pk/+/user/data" WHERE t > 38
    actions:
      - republish: { topic: "/a1Pk/${device}/user/alert" }
      - name: history
        sqlite: { table: alerts, columns: { device: "${device}", t: "${t}" } }
    error_action:
      file: { path: data/errors.jsonl }
    tests:
      - name: tells the device and keeps the value
        clock: 2026-11-20T08:00:00Z
        uuid: 00000000-0000-4000-8000-000000000000
        messages:
          - { topic: /a1Pk/dev1/user/data, payload: { t: 39.5 } }
          - { topic: /a1Pk/dev2/user/data, payload: { t: 12 } }
        expect: [{ device: dev1, t: 39.5, id: 00000000-0000-4000-8000-000000000000 }]
        expect_actions:
          republish: [{ topic: /a1Pk/dev1/user/alert, qos: 1 }]
          history: [{ table: alerts, row: { device: dev1, t: 39.5 } }]
      - name: what the database does not take goes to the error action
        message: { topic: /a1Pk/dev1/user/data, payload: { t: 39.5 }, id: 7 }
        fails: { history: the disk is full }
        expect_actions:
          history: [{ error: the disk is full }]
          error_action: [{}]
      - name: stays quiet at 38, and when there is no number
        messages:
          - { topic: /a1Pk/dev1/user/data, payload: { t: 38 } }
          - { topic: /a1Pk/dev1/user/data, payload: { t: hot } }
        expect: []
        expect_errors: []
```

An entry of `expect_actions` has the parts that the connector sends: `republish` and `mqtt` have `topic`,
`qos`, `retain`, `body`; `kafka` has `topic`, `key`, `headers`, `body`; `http` has `method`, `url`, `headers`,
`body`; `sqlite` and `postgres` have `table` and `row`, and `left_out` for keys that no column can have; `file`
and `log` have `body`. Passwords are `(secret)`, and values of the environment are shown by their names. The second of two actions with the same name is
called `republish_2`.

`tidegate test --update` writes what comes into the file: into tests that expect nothing yet, and later only
into those that say `snapshot: true`. All other text stays as it is. Look at the difference before you commit
it. `--filter TEXT` runs the tests whose `rule: test` holds a text, `--json` prints a JSON object for each test
and one with the counts. The exit code is 0 when all tests pass and all files are right, else 1.
"#;

/// What all sources have in common.
const SOURCES: &str = r#"
# Sources

Named under `sources:` in the configuration: a map with one connector's name as key, and beside it:

| key | meaning |
| --- | --- |
| `ack` | when a message is acknowledged to its system: `durable` (default), when it is on disk; `received`, when it is in memory: faster, but a crash loses what was acknowledged and was not yet on disk |
| `durable` | `true` also writes messages of QoS 0 to disk; `false` by default |

The embedded MQTT broker and `/ingest` have the same two: `promises: { mqtt: { durable: true }, http: { ack: received } }`.
The gauge `tidegate_source_promise` shows what is in force.
"#;

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
    text.push_str(SOURCES);
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

/// The page of the API's error codes: `docs/api-errors.md`.
#[must_use]
pub fn errors_reference() -> String {
    let mut text = String::from(
        "# Error codes of the API\n\n\
         <!-- generated from the code; tests/docs.rs rewrites it -->\n\n\
         Calls are in the vendor's RPC form and signed with an access key: HMAC-SHA1 over the sorted parameters\n\
         (`AccessKeyId`, `Signature`, `SignatureNonce`, `SignatureMethod`, `Timestamp` and the operation's own), or\n\
         `ACS3-HMAC-SHA256` in the header `Authorization`. The vendor's SDKs do that by themselves: give them the\n\
         daemon's address as endpoint, and a key. The first key is in the file `access-key` of `data_dir`;\n\
         `tidegate keys create` makes more.\n\n\
         A code with a status comes from the gateway: the call reached no operation. One without comes with HTTP 200\n\
         and `Success: false`. `{}` stands for what is particular to the case.\n\n\
         | code | status | text | after |\n| --- | --- | --- | --- |\n",
    );
    for row in CODES {
        let status = row.status.map_or_else(String::new, |status| status.to_string());
        let message = row.message.replace('|', "\\|");
        writeln!(text, "| `{}` | {status} | {message} | {} |", row.code, row.source).ok();
    }
    text
}
