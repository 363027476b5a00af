//! Operations and their answers as text: `scenarios/*.txt`.
//!
//! ```text
//! CreateRule                  an operation; each line below it is a parameter
//!   Name = iot_test1
//! => RuleId = 100000          what the answer has at a path; nothing: Success is true
//! => iot.rule.NotFoundRule    or the code that it says no with
//! ~> column 8                 or a part of its message
//! := PK ProductKey            keeps what the answer has at a path: <PK> stands for it from here on
//! @came <PK> dev1             a device has connected; @went: its connection has ended
//! @attach <GW> gw1 <PK> dev1   a gateway has added a device
//! @sent /sys/… {"id":"1"}     a device sends this on that topic
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tidegate::api::error::CODES;

use super::model;
use crate::api::server::{Home, Server};

pub(super) struct Step<'a> {
    pub(super) line: usize,
    pub(super) action: &'a str,
    pub(super) parameters: Vec<(&'a str, &'a str)>,
    pub(super) expect: Vec<&'a str>,
}

pub(super) fn parse(text: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        if ["=>", "~>", ":="].iter().any(|start| line.starts_with(start)) {
            steps.last_mut().expect("an operation comes first").expect.push(trimmed);
        } else if line.starts_with(' ') {
            let (name, value) = trimmed.split_once('=').expect("name = value");
            let step = steps.last_mut().expect("an operation comes first");
            step.parameters.push((name.trim(), value.trim()));
        } else {
            let (parameters, expect) = (Vec::new(), Vec::new());
            steps.push(Step { line: index + 1, action: trimmed, parameters, expect });
        }
    }
    steps
}

/// The value at a path such as `Data.RuleInfo.0.Name`, as text.
fn at<'a>(json: &'a Value, path: &str) -> Option<&'a Value> {
    json.pointer(&format!("/{}", path.trim().replace('.', "/")))
}

pub(super) async fn run(name: &str, text: &str, server: &Server, format: &str) {
    let client = server.client();
    let mut kept: BTreeMap<String, String> = BTreeMap::new();
    for step in parse(text) {
        let action = filled(step.action, &kept);
        if let Some(event) = action.strip_prefix('@') {
            happen(event, server).await;
            continue;
        }
        let parameters: Vec<_> =
            step.parameters.iter().map(|(name, value)| (*name, filled(value, &kept))).collect();
        let mut parameters: Vec<_> =
            parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        parameters.push(("Format", format));
        let reply = client.call(&action, &parameters).await;
        let json = match format {
            "XML" => model::read_xml(&action, reply.status, &reply.body),
            _ => reply.json(),
        };
        let at_step = format!("{name}:{} {}: {}", step.line, step.action, reply.body);
        // A string that XML shows as elements is null there, which the model would not allow.
        let nested = ["<Configuration>", "<Props>"].iter().any(|name| reply.body.contains(name));
        if format != "XML" || !nested {
            model::check(&action, reply.status, &json);
        }
        if !step.expect.iter().any(|expect| expect.starts_with("=>")) {
            assert_eq!(json["Success"], true, "{at_step}");
        }
        for expect in step.expect {
            let expect = filled(expect, &kept);
            if let Some(part) = expect.strip_prefix("~>") {
                let message = json["ErrorMessage"].as_str().unwrap_or("");
                assert!(message.contains(part.trim()), "{at_step}\nexpected: {part}");
                continue;
            }
            if let Some(keep) = expect.strip_prefix(":=") {
                let (name, path) = keep.trim().split_once(' ').expect(":= name path");
                kept.insert(format!("<{name}>"), shown(at(&json, path)));
                continue;
            }
            check(&expect, &reply, &json, format, &at_step);
        }
    }
}

/// One line that starts with `=>`.
fn check(
    expect: &str,
    reply: &crate::api::client::Reply,
    json: &Value,
    format: &str,
    at_step: &str,
) {
    let expect = expect.trim_start_matches("=>").trim();
    match expect.split_once(" = ") {
        None => {
            let code = json["Code"].as_str();
            assert_eq!((code, json["Success"].as_bool()), (Some(expect), Some(false)), "{at_step}");
            assert_eq!(reply.status, 200, "{at_step}");
        }
        Some((path, _)) if format == "XML" && at(json, path) == Some(&Value::Null) => {}
        Some((path, want)) => {
            assert_eq!(shown(at(json, path)), want.trim(), "{at_step}\nat {path}");
        }
    }
}

pub(super) fn shown(value: Option<&Value>) -> String {
    match value {
        None => "(none)".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Puts what was kept in the place of its names.
pub(super) fn filled(text: &str, kept: &BTreeMap<String, String>) -> String {
    kept.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// What the broker would tell the registry.
pub(super) async fn happen(event: &str, server: &Server) {
    let words: Vec<_> = event.split(' ').collect();
    match words.as_slice() {
        ["came", product_key, device_name] => {
            let from = std::net::IpAddr::from([10, 0, 0, 1]);
            let at_ms = crate::api::server::NOW_MS + 1_000;
            let number = server.connections.fetch_add(1, Ordering::Relaxed);
            assert!(server.registry.came(product_key, device_name, at_ms, from, number), "{event}");
        }
        ["went", product_key, device_name] => {
            let number = server.connections.fetch_add(1, Ordering::Relaxed);
            assert!(server.registry.went(product_key, device_name, number), "{event}");
        }
        ["attach", gateway_key, gateway, product_key, device_name] => {
            let devices = [((*product_key).to_owned(), (*device_name).to_owned())];
            server.registry.attach((gateway_key, gateway), &devices).await.expect(event);
        }
        ["sent", topic, payload @ ..] => {
            crate::api::devices::post(server, topic, &payload.join(" "));
        }
        _ => panic!("{event}: no such event"),
    }
}

pub(super) const SCENARIOS: &[(&str, &str)] = &[
    ("rules.txt", include_str!("scenarios/rules.txt")),
    ("topics.txt", include_str!("scenarios/topics.txt")),
    ("actions.txt", include_str!("scenarios/actions.txt")),
    ("running.txt", include_str!("scenarios/running.txt")),
    ("destinations.txt", include_str!("scenarios/destinations.txt")),
    ("products.txt", include_str!("scenarios/products.txt")),
    ("product_tags.txt", include_str!("scenarios/product_tags.txt")),
    ("devices.txt", include_str!("scenarios/devices.txt")),
    ("device_batches.txt", include_str!("scenarios/device_batches.txt")),
    ("device_tags.txt", include_str!("scenarios/device_tags.txt")),
    ("device_groups.txt", include_str!("scenarios/device_groups.txt")),
    ("group_members.txt", include_str!("scenarios/group_members.txt")),
    ("device_topology.txt", include_str!("scenarios/device_topology.txt")),
    ("lora.txt", include_str!("scenarios/lora.txt")),
    ("product_topics.txt", include_str!("scenarios/product_topics.txt")),
    ("topic_routes.txt", include_str!("scenarios/topic_routes.txt")),
];

/// One scenario, on a server with room for twelve rules of two actions.
async fn play(
    home: Home,
    (name, text): (&str, &str),
    format: &str,
    codes: &Arc<Mutex<BTreeSet<String>>>,
) {
    let mut server = Server::open(home, |state| {
        state.limits.rules = 12;
        state.limits.actions = 2;
    })
    .await;
    server.codes = codes.clone();
    run(name, text, &server, format).await;
    server.end().await;
}

/// The same scenarios with the store in PostgreSQL.
#[tokio::test]
async fn scenarios_answer_the_same_on_postgres() {
    for scenario in SCENARIOS {
        let Some(home) = Home::postgres().await else { return };
        play(home, *scenario, "JSON", &Arc::default()).await;
    }
}

/// Each scenario has a server of its own, once for each form of answers; both must be what the vendor's
/// models say.
#[tokio::test]
async fn scenarios_answer_as_they_say_and_leave_no_code_out() {
    let codes: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    for scenario in SCENARIOS {
        for format in ["JSON", "XML"] {
            play(Home::new(), *scenario, format, &codes).await;
        }
    }
    super::gateway::produce_all(&codes).await;
    super::history::produce_all(&codes).await;
    super::registry::produce_all(&codes).await;
    super::groups::produce_all(&codes).await;
    super::store_fails::produce_all(&codes).await;
    super::things::produce_all(&codes).await;
    let seen = codes.lock().unwrap();
    let missing: Vec<_> = CODES
        .iter()
        .map(|row| row.code)
        .filter(|code| match code.strip_suffix("{}") {
            Some(start) => !seen.iter().any(|code| code.starts_with(start)),
            None => !seen.contains(*code),
        })
        .collect();
    assert_eq!(missing, [""; 0], "no scenario produces these codes");
}
