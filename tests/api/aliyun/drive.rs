//! The scenarios once more, played by the vendor's own typed clients: each reads what to call from its
//! standard input, calls its method of that name, and writes what it made of the answer.
//!
//! ```text
//! > {"address":"127.0.0.1:1234","action":"GetRule","parameters":{"RuleId":"1"}}
//! < {"answer":{"Success":true,…}}   the typed answer, by names of the wire
//! < {"refused":"MissingRuleId"}     the code that the client raises
//! < {"unfit":"…"}                   the client has no way to say that
//! ```
//!
//! What a client can't say is said without it, so that the next steps find what they expect. Times are not
//! compared: these clients know only the system's clock.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tidegate::rule::store::Role;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::scenario::{SCENARIOS, Step, filled, happen, parse, shown};
use crate::api::server::{Home, NOW_MS, Server, key};
use crate::services::service;

/// What the models of some clients lack, by operation.
const LACKING: &[(&str, &str)] = &[
    ("BatchCheckDeviceNames", "Data.InvalidDetailList."),
    ("BatchCheckDeviceNames", "Data.RepeatedDeviceNameList."),
];

/// A client of the vendor, running.
struct Client {
    _child: Child,
    say: ChildStdin,
    hear: Lines<BufReader<ChildStdout>>,
    /// Fields are known by their getters: lists stand in the place of what holds them on the wire, and
    /// all names begin with a capital.
    flat: bool,
}

impl Client {
    fn start(mut command: Command, which: &str) -> Self {
        let key = key(Role::Admin);
        command.arg(which).args([&key.id, &key.secret]);
        // One of them uses a proxy for loopback, too.
        for proxy in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
            command.env_remove(proxy);
        }
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = piped.spawn().expect("the client starts");
        let (say, hear) =
            (child.stdin.take().expect("stdin"), child.stdout.take().expect("stdout"));
        Self { _child: child, say, hear: BufReader::new(hear).lines(), flat: false }
    }

    async fn call(&mut self, address: &str, action: &str, parameters: &Value) -> Value {
        let asked = json!({ "address": address, "action": action, "parameters": parameters });
        self.say.write_all(format!("{asked}\n").as_bytes()).await.expect("the client listens");
        let line = self.hear.next_line().await.expect("a line");
        let line = line.unwrap_or_else(|| panic!("the client has ended on {asked}"));
        serde_json::from_str(&line).unwrap_or_else(|problem| panic!("{problem}: {line}"))
    }

    /// The value at a path of an answer. What a typed client fills in for what is not there is nothing.
    fn at<'a>(&self, answer: &'a Value, path: &str) -> Option<&'a Value> {
        let mut value = answer;
        for name in path.split('.') {
            value = match value {
                Value::Array(list) => match name.parse::<usize>() {
                    Ok(place) => list.get(place)?,
                    Err(_) if self.flat => value,
                    Err(_) => return None,
                },
                Value::Object(fields) if self.flat => {
                    let mut fields = fields.iter();
                    fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?.1
                }
                _ => value.get(name)?,
            };
        }
        Some(value)
    }
}

fn is_nothing(value: Option<&Value>) -> bool {
    match value {
        None => true,
        Some(Value::Object(fields)) => fields.values().all(|value| is_nothing(Some(value))),
        Some(Value::Array(list)) => list.is_empty(),
        Some(value) => [Value::Null, json!(""), json!(0), json!(false)].contains(value),
    }
}

/// The steps of all scenarios that a client could make, and those that it could not.
#[derive(Debug, Default)]
struct Count {
    made: usize,
    unfit: BTreeMap<String, usize>,
}

async fn play(client: &mut Client, (name, text): (&str, &str), count: &mut Count) {
    let is_theirs = Arc::new(AtomicBool::new(true));
    let whose = is_theirs.clone();
    let server = Server::open(Home::new(), |state| {
        state.limits.rules = 12;
        state.limits.actions = 2;
        state.clock = Arc::new(move || match whose.load(Ordering::Relaxed) {
            true => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
                u64::try_from(now.as_millis()).expect("milliseconds")
            }
            false => NOW_MS,
        });
    })
    .await;
    let address = server.address.to_string();
    let mut kept: BTreeMap<String, String> = BTreeMap::new();
    for step in parse(text) {
        let action = filled(step.action, &kept);
        if let Some(event) = action.strip_prefix('@') {
            happen(event, &server).await;
            continue;
        }
        let parameters: BTreeMap<&str, String> =
            step.parameters.iter().map(|(name, value)| (*name, filled(value, &kept))).collect();
        let mut told = client.call(&address, &action, &json!(parameters)).await;
        if told["unfit"].is_string() {
            let all: Vec<_> = parameters.iter().map(|(name, value)| (*name, &**value)).collect();
            is_theirs.store(false, Ordering::Relaxed);
            told = json!({ "answer": server.client().call(&action, &all).await.json() });
            is_theirs.store(true, Ordering::Relaxed);
            *count.unfit.entry(action).or_default() += 1;
        } else {
            count.made += 1;
        }
        check(client, name, &step, &told, &mut kept);
    }
    server.end().await;
}

/// Holds what a client tells against what the scenario expects.
fn check(
    client: &Client,
    name: &str,
    step: &Step<'_>,
    told: &Value,
    kept: &mut BTreeMap<String, String>,
) {
    let refused = json!({ "Code": told["refused"] });
    let answer = if told["refused"].is_string() { &refused } else { &told["answer"] };
    let at_step = format!("{name}:{} {}: {told}", step.line, step.action);
    if !step.expect.iter().any(|expect| expect.starts_with("=>")) {
        assert_eq!(answer["Success"], true, "{at_step}");
    }
    for expect in &step.expect {
        let expect = filled(expect, kept);
        if let Some(keep) = expect.strip_prefix(":=") {
            let (name, path) = keep.trim().split_once(' ').expect(":= name path");
            let found = client.at(answer, path.trim());
            assert!(!is_nothing(found), "{at_step}\nnothing at {path}");
            kept.insert(format!("<{name}>"), shown(found));
        } else if let Some(part) = expect.strip_prefix("~>") {
            let message = answer["ErrorMessage"].as_str().unwrap_or("");
            assert!(message.contains(part.trim()), "{at_step}\nexpected: {part}");
        } else if let Some((path, want)) = expect.trim_start_matches("=>").trim().split_once(" = ")
        {
            let found = client.at(answer, path.trim());
            if told["refused"].is_string() && path.trim() != "Code" {
                // What is raised has no more that all of them show.
                continue;
            }
            let is_time = ["2019-02-28", "Feb", "1551334"].iter().any(|part| want.contains(part));
            match want.trim() {
                want if shown(found) == want => {}
                _ if LACKING.iter().any(|(of, at)| *of == step.action && path.starts_with(at)) => {
                    assert!(is_nothing(found), "{at_step}\nat {path}");
                }
                "(none)" | "null" | "" | "[]" | "0" | "false" => {
                    assert!(is_nothing(found), "{at_step}\nat {path}");
                }
                want if is_time && want.parse::<u64>().is_ok() => {
                    // One that a client has cut to 32 bits is smaller.
                    let told = shown(found).parse::<u64>();
                    assert!(told.is_ok_and(|told| told >= NOW_MS), "{at_step}\nat {path}");
                }
                _ if is_time => assert!(!is_nothing(found), "{at_step}\nat {path}"),
                want => assert_eq!(shown(found), want, "{at_step}\nat {path}"),
            }
        } else {
            assert_eq!(
                answer["Code"].as_str(),
                Some(expect.trim_start_matches("=>").trim()),
                "{at_step}"
            );
        }
    }
}

/// All scenarios; most of their steps must be such that the client can make them.
async fn drive(mut client: Client) {
    let mut count = Count::default();
    for scenario in SCENARIOS {
        play(&mut client, *scenario, &mut count).await;
    }
    let unfit: usize = count.unfit.values().sum();
    println!("{} steps, and {unfit} that the client can't make: {:?}", count.made, count.unfit);
    assert!(count.made > 9 * unfit, "{count:?}");
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/aliyun/sdk/drive").join(name)
}

async fn python(which: &str) {
    if let Some(python) = service("aliyun-python-sdk-iot", "TIDEGATE_TEST_PYTHON") {
        let mut command = Command::new(python);
        command.arg(script("drive.py"));
        drive(Client::start(command, which)).await;
    }
}

async fn java(which: &str) {
    if let Some(folder) = service("aliyun-java-sdk-iot", "TIDEGATE_TEST_JAVA") {
        let mut command = Command::new("java");
        command.args(["-cp", &format!("{folder}/*")]).arg(script("Drive.java"));
        let flat = which == "core";
        drive(Client { flat, ..Client::start(command, which) }).await;
    }
}

async fn go(which: &str) {
    if let Some(program) = service("alibaba-cloud-sdk-go", "TIDEGATE_TEST_GO") {
        drive(Client::start(Command::new(program), which)).await;
    }
}

#[tokio::test]
async fn the_python_core_client_plays_all_scenarios() {
    python("core").await;
}

#[tokio::test]
async fn the_typed_python_client_plays_all_scenarios() {
    python("tea").await;
}

#[tokio::test]
async fn the_typed_node_client_plays_all_scenarios() {
    if let Some(modules) = service("@alicloud/iot20180120", "TIDEGATE_TEST_NODE_MODULES") {
        let mut node = Command::new("node");
        node.env("NODE_PATH", modules).arg(script("drive.js"));
        drive(Client::start(node, "tea")).await;
    }
}

#[tokio::test]
async fn the_java_core_client_plays_all_scenarios() {
    java("core").await;
}

#[tokio::test]
async fn the_typed_java_client_plays_all_scenarios() {
    java("tea").await;
}

#[tokio::test]
async fn the_go_core_client_plays_all_scenarios() {
    go("core").await;
}

#[tokio::test]
async fn the_typed_go_client_plays_all_scenarios() {
    go("tea").await;
}
