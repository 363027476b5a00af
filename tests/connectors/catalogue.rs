//! What the catalogue declares: order, documentation, examples.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use connectors::contract::{Body, Env, Message, Record, Topic, TopicLimits};
use connectors::{CONNECTIONS, SINKS, SOURCES};
use schemars::Schema;
use serde_json::{Value, json};
use tidegate::yaml::Document;

use super::{Folder, env, open};

/// Name, summary, example and schema of every line.
fn lines() -> Vec<(&'static str, &'static str, &'static str, &'static str, Schema)> {
    let mut lines = Vec::new();
    lines.extend(
        CONNECTIONS.iter().map(|s| ("connection", s.name, s.summary, s.example, (s.schema)())),
    );
    lines.extend(SINKS.iter().map(|s| ("sink", s.name, s.summary, s.example, (s.schema)())));
    lines.extend(SOURCES.iter().map(|s| ("source", s.name, s.summary, s.example, (s.schema)())));
    lines
}

#[test]
fn tables_are_sorted_and_names_unique() {
    let sorted = |names: Vec<&str>| {
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "not sorted: {names:?}");
    };
    sorted(CONNECTIONS.iter().map(|spec| spec.name).collect());
    sorted(SINKS.iter().map(|spec| spec.name).collect());
    sorted(SOURCES.iter().map(|spec| spec.name).collect());
}

#[test]
fn everything_is_documented_and_refuses_unknown_keys() {
    for (table, name, summary, example, schema) in lines() {
        assert!(summary.ends_with('.') && summary.len() > 15, "{table} {name}: {summary}");
        assert!(example.starts_with('{'), "{table} {name}");
        assert_eq!(schema.get("additionalProperties"), Some(&Value::Bool(false)), "{table} {name}");
        let fields = schema.get("properties").and_then(Value::as_object).expect("properties");
        for (field, schema) in fields {
            let text = schema.get("description").and_then(Value::as_str).unwrap_or("");
            assert!(text.len() > 10, "{table} {name}: field `{field}` has no documentation");
        }
    }
}

/// An example as the loader of rule files reads it.
fn parse(example: &str) -> Value {
    let file = Path::new("example.yaml");
    let read = Document::parse(file, example).map(|mut document| document.take());
    read.unwrap_or_else(|problem| panic!("{example}: {problem}"))
}

/// A publisher, and the connections under the names that the examples use.
fn with_connections(base: Env) -> Env {
    let names =
        [("floor", "mqtt"), ("history", "sqlite"), ("local_kafka", "kafka"), ("plant", "postgres")];
    let mut connections = connectors::contract::Connections::default();
    for (name, kind) in names {
        let spec = CONNECTIONS.iter().find(|spec| spec.name == kind).expect("the kind");
        connections.insert(name, kind, open(kind, &parse(spec.example), &base).expect("opened"));
    }
    let base = Env { connections: connections.into(), ..base };
    super::with_publisher(base, std::sync::Arc::new(super::local::Published::default()))
}

#[tokio::test]
async fn examples_are_accepted() {
    let folder = Folder::new();
    let base = env(folder.path());
    for spec in CONNECTIONS {
        (spec.open)(&parse(spec.example), &base).unwrap_or_else(|e| panic!("{}: {e}", spec.name));
    }
    let base = with_connections(base);
    for spec in SINKS {
        let built = (spec.build)(&parse(spec.example), &base);
        let sink = built.unwrap_or_else(|error| panic!("{}: {error}", spec.name));
        assert!(sink.batch_max() >= 1 && !sink.resource().is_empty(), "{}", spec.name);
    }
    for spec in SOURCES {
        let built = (spec.build)("a_source", &parse(spec.example), &base);
        built.map(drop).unwrap_or_else(|error| panic!("{}: {error}", spec.name));
    }
}

#[tokio::test]
async fn dry_runs_show_what_would_be_sent() {
    let folder = Folder::new();
    let base = with_connections(env(folder.path()));
    let preview = |name: &str, settings: &Value, body: Body, bytes: &'static [u8]| {
        let spec = SINKS.iter().find(|spec| spec.name == name).expect("the sink");
        let topic = Topic::parse("/pk/d1/user/data", TopicLimits::default()).expect("topic");
        let batch: Arc<[Message]> = vec![Message::new(topic, "", 0)].into();
        let record = Record::new(batch, 0, "a_rule".into(), body, Bytes::from(bytes));
        let sink = (spec.build)(settings, &base).unwrap_or_else(|error| panic!("{name}: {error}"));
        let parts = sink.preview(&record).map(|preview| Value::Object(preview.into_parts()));
        parts.map_err(|error| error.to_string())
    };
    let row = json!({ "device": "dev1", "t": 39.5 });
    let headers = json!({ "tidegate-rule": "a_rule", "tidegate-message-id": "0" });
    let want = [
        ("file", json!({ "body": row })),
        (
            "http",
            json!({ "method": "POST", "url": "http://127.0.0.1:9000/invoke/dev1",
                "headers": { "content-type": "application/json" }, "body": row }),
        ),
        ("kafka", json!({ "topic": "alerts", "key": "dev1", "headers": headers, "body": row })),
        ("log", json!({ "body": "dev1 is at 39.5 °C" })),
        ("mqtt", json!({ "topic": "plant/dev1/alert", "qos": 1, "retain": false, "body": row })),
        ("postgres", json!({ "table": "public.alerts", "row": row })),
        (
            "republish",
            json!({ "topic": "/a1Pk/dev1/user/alert", "qos": 1, "retain": false, "body": row }),
        ),
        ("sqlite", json!({ "table": "alerts", "row": row })),
    ];
    assert_eq!(
        want.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        SINKS.iter().map(|s| s.name).collect::<Vec<_>>()
    );
    for (spec, (name, want)) in SINKS.iter().zip(want) {
        let settings = parse(spec.example);
        let got = preview(name, &settings, Body::Json, br#"{"device":"dev1","t":39.5}"#);
        assert_eq!(got, Ok(want), "{name}");
        // Without the device there is no topic, no key and no URL.
        let got = preview(name, &settings, Body::Json, br#"{"t":39.5}"#);
        assert_eq!(got.is_err(), name != "file", "{name}: {got:?}");
    }
    let bytes = preview("file", &json!({ "path": "x" }), Body::Binary, b"\x00\xff");
    assert_eq!(bytes, Ok(json!({ "body": { "base64": "AP8=" } })));
    let hidden = json!({ "url": "http://user:hunter2@127.0.0.1/x", "headers": { "Authorization": "hunter2" } });
    let shown = preview("http", &hidden, Body::Json, b"{}").expect("a request").to_string();
    assert!(!shown.contains("hunter2") && shown.contains("http://127.0.0.1/x"), "{shown}");
}

#[test]
fn templates_are_told_from_other_text() {
    let is_template = |name: &str, path: &[&str]| {
        let spec = SINKS.iter().find(|spec| spec.name == name).expect("the sink");
        spec.is_template(&path.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>())
    };
    for (name, path) in [
        ("http", &["url"][..]),
        ("http", &["body"]),
        ("http", &["headers", "X-Device"]),
        ("kafka", &["key"]),
        ("postgres", &["columns", "a"]),
        ("republish", &["topic"]),
        ("sqlite", &["columns", "a"]),
    ] {
        assert!(is_template(name, path), "{name} {path:?}");
    }
    for (name, path) in [
        ("file", &["path"][..]),
        ("http", &["method"]),
        ("http", &["headers"]),
        ("kafka", &["connection"]),
        ("sqlite", &["key", "0"]),
        ("sqlite", &["columns", "a", "b"]),
        ("republish", &[]),
    ] {
        assert!(!is_template(name, path), "{name} {path:?}");
    }
}

#[test]
fn a_wrong_setting_is_named_with_what_was_expected() {
    let folder = Folder::new();
    let base = env(folder.path());
    let refused = |name: &str, settings: Value| match super::sink(name, &settings, &base) {
        Ok(_) => panic!("{name} takes {settings}"),
        Err(error) => error.to_string(),
    };
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("json");
    let cases = [
        ("http", r#"{"url":"http://${host}/x"}"#, "url", "host may not hold"),
        ("http", r#"{"url":"ftp://a/x"}"#, "url", "http://"),
        ("http", r#"{"url":"http://a/${x"}"#, "url", "closing"),
        ("http", r#"{"url":"http://a/","timeout":"5"}"#, "timeout", "1m30s"),
        ("http", r#"{"url":"http://a/","headers":{"a b":"x"}}"#, "headers.a b", "header"),
        ("republish", r#"{"topic":"/a/b"}"#, "", "tidegate run"),
        ("sqlite", r#"{"table":"a.b","connection":"x"}"#, "table", "double quotes"),
        ("postgres", r#"{"table":"a.b.c","connection":"x"}"#, "table", "`schema.table`"),
        ("postgres", r#"{"table":"\"a","connection":"x"}"#, "table", "double quotes"),
        ("sqlite", r#"{"table":"a"}"#, "connection", "`connections:`"),
        ("kafka", r#"{"connection":"x","topic":"a b"}"#, "topic", "may not contain ' '"),
        ("mqtt", r#"{"connection":"x","topic":"a/+"}"#, "topic", "'+'"),
        ("mqtt", r#"{"connection":"x","topic":"a","qos":2}"#, "qos", "0 or 1"),
        ("log", r#"{"level":"loud"}"#, "level", "`warn`"),
    ];
    for (name, settings, path, hint) in cases {
        let text = refused(name, json(settings));
        assert!(text.contains(path) && text.contains(hint), "{name} {settings}: {text}");
    }
}

#[test]
fn all_settings_that_cannot_be_read_are_named_at_once() {
    let cases = [
        (r#"{"connection":"x","topic":"a"}"#, &[][..]),
        (r#"{"connection":"x","topic":1,"qos":"a","retan":true}"#, &["topic", "qos", "retan"]),
        (r#"{"connection":2}"#, &["connection"]),
        (r#"{"topic":"a","no":1}"#, &["no"]),
        (r#"{"connection":"x","topic":{"a":1},"retain":0}"#, &["topic", "retain"]),
        (r#"[1]"#, &[""]),
        ("null", &["connection"]),
    ];
    let spec = SINKS.iter().find(|spec| spec.name == "mqtt").expect("the sink");
    for (settings, wanted) in cases {
        let found = (spec.misread)(&serde_json::from_str(settings).expect("json"));
        let places: Vec<String> = found.iter().map(ToString::to_string).collect();
        let all = places.iter().zip(wanted).all(|(place, wanted)| place.contains(wanted));
        assert!(all && places.len() == wanted.len(), "{settings}: {places:?}");
    }
    let many = (0..100).map(|n| format!("\"k{n}\":1")).collect::<Vec<_>>().join(",");
    let many = serde_json::from_str(&format!("{{{many}}}")).expect("json");
    assert_eq!((spec.misread)(&many).len(), 20);
}

#[test]
fn secrets_are_not_shown() {
    let folder = Folder::new();
    let base = env(folder.path());
    let cases = [
        ("postgres", r#"{"url":"postgres://u:hunter2@ho st:x/d"}"#),
        ("kafka", r#"{"brokers":"a:1","settings":{"sasl.password":["hunter2"]}}"#),
        ("kafka", r#"{"brokers":"a:1","settings":{"no.such.option":"hunter2"}}"#),
        ("mqtt", r#"{"host":"a","password":"hunter2"}"#),
    ];
    for (kind, settings) in cases {
        let settings: Value = serde_json::from_str(settings).expect("json");
        let error = open(kind, &settings, &base).map(drop).expect_err("refused");
        assert!(!error.to_string().contains("hunter2"), "{kind}: {error}");
    }
    let secret: connectors::contract::Secret = serde_json::from_str("\"hunter2\"").expect("secret");
    assert_eq!(format!("{secret:?}"), "(secret)");
}
