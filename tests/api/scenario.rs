//! Operations and their answers as text: `scenarios/*.txt`.
//!
//! ```text
//! CreateRule                  an operation; each line below it is a parameter
//!   Name = iot_test1
//! => RuleId = 100000          what the answer has at a path; nothing: Success is true
//! => iot.rule.NotFoundRule    or the code that it says no with
//! ~> column 8                 or a part of its message
//! ```

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tidegate::api::error::CODES;

use super::model;
use super::server::Server;

struct Step<'a> {
    line: usize,
    action: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    expect: Vec<&'a str>,
}

fn parse(text: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        if line.starts_with("=>") || line.starts_with("~>") {
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

async fn run(name: &str, text: &str, server: &Server, format: &str) {
    let client = server.client();
    for step in parse(text) {
        let mut parameters = step.parameters.clone();
        parameters.push(("Format", format));
        let reply = client.call(step.action, &parameters).await;
        let json = match format {
            "XML" => model::read_xml(step.action, reply.status, &reply.body),
            _ => reply.json(),
        };
        let at_step = format!("{name}:{} {}: {}", step.line, step.action, reply.body);
        // A string that XML shows as elements is null there, which the model would not allow.
        if format != "XML" || !reply.body.contains("<Configuration>") {
            model::check(step.action, reply.status, &json);
        }
        if step.expect.is_empty() {
            assert_eq!(json["Success"], true, "{at_step}");
        }
        for expect in step.expect {
            if let Some(part) = expect.strip_prefix("~>") {
                let message = json["ErrorMessage"].as_str().unwrap_or("");
                assert!(message.contains(part.trim()), "{at_step}\nexpected: {part}");
                continue;
            }
            let expect = expect.trim_start_matches("=>").trim();
            match expect.split_once(" = ") {
                None => {
                    let code = json["Code"].as_str();
                    assert_eq!(
                        (code, json["Success"].as_bool()),
                        (Some(expect), Some(false)),
                        "{at_step}"
                    );
                    assert_eq!(reply.status, 200, "{at_step}");
                }
                Some((path, want)) => {
                    if format == "XML" && at(&json, path) == Some(&Value::Null) {
                        continue;
                    }
                    let got = at(&json, path).map_or("(none)".to_owned(), |value| match value {
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    });
                    assert_eq!(got, want.trim(), "{at_step}\nat {path}");
                }
            }
        }
    }
}

const SCENARIOS: &[(&str, &str)] = &[
    ("rules.txt", include_str!("scenarios/rules.txt")),
    ("topics.txt", include_str!("scenarios/topics.txt")),
    ("actions.txt", include_str!("scenarios/actions.txt")),
    ("running.txt", include_str!("scenarios/running.txt")),
    ("destinations.txt", include_str!("scenarios/destinations.txt")),
];

/// Each scenario has a server of its own, with room for twelve rules of two actions, once for each form
/// of answers; both must be what the vendor's models say.
#[tokio::test]
async fn scenarios_answer_as_they_say_and_leave_no_code_out() {
    let codes: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    for (name, text) in SCENARIOS {
        for format in ["JSON", "XML"] {
            let mut server = Server::with(|state| {
                state.limits.rules = 12;
                state.limits.actions = 2;
            })
            .await;
            server.codes = codes.clone();
            run(name, text, &server, format).await;
            server.end().await;
        }
    }
    super::gateway::produce_all(&codes).await;
    super::store_fails::produce_all(&codes).await;
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
