//! The vendor's own device clients, unmodified, against the built program: posts and their answers,
//! properties, services of both kinds, remote calls, shadows.
//!
//! `TIDEGATE_TEST_DEVICE_PYTHON` names a Python that has aliyun-iot-linkkit with paho-mqtt 1,
//! `TIDEGATE_TEST_TENCENT_PYTHON` one that has tencent-iot-device, `TIDEGATE_TEST_NODE_MODULES` a folder node_modules that has alibabacloud-iot-device-sdk.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;

use connectors::contract::{QoS, Topic, TopicLimits};
use serde_json::{Value, json};
use tidegate::broker::client::{Client, Options};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::things::{Api, CONFIG, RULES};
use super::{Daemon, PATIENCE};
use crate::services::service;

const MODEL: &str = r#"{
    "properties": [{ "identifier": "Level", "accessMode": "rw", "dataType": { "type": "int", "specs": { "min": "0", "max": "10" } } }],
    "events": [{ "identifier": "Alarm", "type": "alert", "outputData": [{ "identifier": "level", "dataType": { "type": "int" } }] }],
    "services": [
        { "identifier": "Blink", "callType": "sync", "inputData": [{ "identifier": "n", "dataType": { "type": "int" } }] },
        { "identifier": "Later", "callType": "async", "inputData": [{ "identifier": "n", "dataType": { "type": "int" } }] }
    ]
}"#;

/// What clients have published.
const MESSAGES: &str = "tidegate_mqtt_received_total";

/// A device that runs, and what it tells.
struct Device {
    _child: Child,
    /// It ends with this.
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    told: VecDeque<Value>,
}

impl Device {
    fn start(mut command: Command, daemon: &Daemon, pk: &str, secret: &str) -> Self {
        command.args(["127.0.0.1", &daemon.mqtt.to_string(), pk, "dev1", secret]);
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let input = child.stdin.take().unwrap();
        Self { _child: child, input, lines, told: VecDeque::new() }
    }

    /// What it tells next under that name; what it tells of other things is kept.
    async fn tells(&mut self, name: &str) -> Value {
        let found = self.told.iter().position(|told| told[0] == name);
        if let Some(told) = found.and_then(|at| self.told.remove(at)) {
            return told;
        }
        loop {
            let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
            let line =
                line.unwrap_or_else(|_| panic!("the device tells no {name}: {:?}", self.told));
            let line = line.unwrap().expect("the device lives");
            // Clients also print what is none of ours.
            let Ok(told @ Value::Array(_)) = serde_json::from_str::<Value>(&line) else { continue };
            if told[0] == name {
                return told;
            }
            self.told.push_back(told);
        }
    }
}

/// Everything that both clients can do. `extended` is whether calls come on topics below `/ext`.
async fn play(command: Command, extended: bool) {
    let daemon = Daemon::start(&format!("{CONFIG}auth: {{ devices: required }}\n"), &[RULES]);
    let api = Api::of(&daemon);
    let product = api.ok("CreateProduct", &[("ProductName", "meters"), ("NodeType", "0")]).await;
    let pk = product["ProductKey"].as_str().unwrap();
    let device = api.ok("RegisterDevice", &[("ProductKey", pk), ("DeviceName", "dev1")]).await;
    let secret = device["Data"]["DeviceSecret"].as_str().unwrap();
    api.ok("ImportThingModelTsl", &[("ProductKey", pk), ("TslStr", MODEL)]).await;
    let mut device = Device::start(command, &daemon, pk, secret);
    let target = [("ProductKey", pk), ("DeviceName", "dev1")];
    let call = async |action: &str, own: &[(&str, &str)]| {
        let own: Vec<_> = target.iter().chain(own).copied().collect();
        api.ok(action, &own).await
    };

    device.tells("enabled").await;
    assert_eq!(device.tells("posted").await, json!(["posted", 200, "success"]));
    assert_eq!(device.tells("event").await, json!(["event", "Alarm", 200]));
    let shadow = device.tells("shadow").await;
    assert_eq!(shadow[1]["payload"]["status"], "success", "{shadow}");
    let posted = daemon.lines("posts.jsonl", 1);
    let posted: Value = serde_json::from_str(&posted[0]).unwrap();
    assert_eq!(posted["items"]["Level"]["value"], 7);
    assert_eq!(posted["checkFailedData"], json!({}));
    let status = call("QueryDevicePropertyStatus", &[]).await;
    assert_eq!(status["Data"]["List"]["PropertyStatusInfo"][0]["Value"], "7", "{status}");

    call("SetDeviceProperty", &[("Items", r#"{"Level":3}"#)]).await;
    assert_eq!(device.tells("set").await[1], json!({ "Level": 3 }));
    let own = [("Identifier", "Blink"), ("Args", r#"{"n":2}"#)];
    let done = call("InvokeThingService", &own).await;
    let result: Value = serde_json::from_str(done["Data"]["Result"].as_str().unwrap()).unwrap();
    assert_eq!((&result["code"], &result["data"]), (&json!(200), &json!({ "n": 2 })), "{done}");
    let own = [("Identifier", "Later"), ("Args", r#"{"n":5}"#)];
    let done = call("InvokeThingService", &own).await;
    assert_eq!(done["Data"].get("Result"), None);
    assert_eq!(device.tells("service").await[1], "Blink");
    assert_eq!(device.tells("service").await[1], "Later");
    let id: u64 = done["Data"]["MessageId"].as_str().unwrap().parse().unwrap();
    let told = super::eventually("the answer is told to rules", || {
        let text = std::fs::read_to_string(daemon.path("replies.jsonl")).ok()?;
        let mut told = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        told.find(|told| told["requestId"].as_u64() == Some(id))
    });
    assert_eq!((&told["code"], &told["data"]), (&json!(200), &json!({ "n": 5 })));

    let hello = ("RequestBase64Byte", "aGVsbG8=");
    let done = call("RRpc", &[hello, ("Timeout", "5000")]).await;
    assert_eq!(done["RrpcCode"], "SUCCESS", "{done}");
    assert_eq!(done["PayloadBase64Byte"], "b2xsZWg=");
    if extended {
        let topic = format!("/{pk}/dev1/user/get");
        let done = call("RRpc", &[hello, ("Timeout", "5000"), ("Topic", &topic)]).await;
        assert_eq!(done["RrpcCode"], "SUCCESS", "{done}");
    }
    let version = shadow[1]["version"].as_i64().unwrap() + 1;
    let wish = json!({ "method": "update", "state": { "desired": { "color": "green" } }, "version": version });
    call("UpdateDeviceShadow", &[("ShadowMessage", &wish.to_string())]).await;
    let told = device.tells("shadow").await;
    assert_eq!(told[1]["method"], "control");
    assert_eq!(told[1]["payload"]["state"]["desired"], json!({ "color": "green" }));
    // No answer came back to the device, which would have answered it, without end.
    let (received, calls) =
        (daemon.metric(MESSAGES), device.told.iter().filter(|t| t[0] == "rrpc"));
    assert!(received < 30, "the device sent {received} messages: {:?}", device.told);
    assert_eq!(calls.count(), usize::from(extended), "{:?}", device.told);
}

#[tokio::test]
async fn the_python_device_client_is_served() {
    if let Some(python) = service("aliyun-iot-linkkit", "TIDEGATE_TEST_DEVICE_PYTHON") {
        let mut command = Command::new(python);
        command.arg(script("python_device.py"));
        play(command, true).await;
    }
}

#[tokio::test]
async fn the_node_device_client_is_served() {
    if let Some(modules) = service("alibabacloud-iot-device-sdk", "TIDEGATE_TEST_NODE_MODULES") {
        let mut command = Command::new("node");
        command.env("NODE_PATH", modules).arg(script("node_device.js"));
        play(command, false).await;
    }
}

/// Everything that both gateway clients can do with a sub-device.
async fn play_gateway(mut command: Command) {
    let daemon = Daemon::start(&format!("{CONFIG}auth: {{ devices: required }}\n"), &[RULES]);
    let api = Api::of(&daemon);
    command.args(["127.0.0.1", &daemon.mqtt.to_string()]);
    let mut keys = Vec::new();
    for (product, kind, name) in [("gateways", "1", "gateway1"), ("meters", "0", "meter1")] {
        let product = [("ProductName", product), ("NodeType", kind)];
        let product = api.ok("CreateProduct", &product).await;
        let pk = product["ProductKey"].as_str().unwrap().to_owned();
        let device = api.ok("RegisterDevice", &[("ProductKey", &*pk), ("DeviceName", name)]).await;
        command.args([&pk, name, device["Data"]["DeviceSecret"].as_str().unwrap()]);
        keys.push(pk);
    }
    api.ok("ImportThingModelTsl", &[("ProductKey", &*keys[1]), ("TslStr", MODEL)]).await;
    let mut gateway = Device::run(command);
    let target = [("ProductKey", &*keys[1]), ("DeviceName", "meter1")];
    let call = async |action: &str, own: &[(&str, &str)]| {
        let own: Vec<_> = target.iter().chain(own).copied().collect();
        api.ok(action, &own).await
    };
    let named = json!({ "productKey": keys[1], "deviceName": "meter1" });

    gateway.tells("enabled").await;
    assert_eq!(gateway.tells("added").await, json!(["added", 200]));
    assert_eq!(gateway.tells("login").await, json!(["login", 200, [named]]));
    assert_eq!(gateway.tells("posted").await, json!(["posted", 200]));
    let posted: Value = serde_json::from_str(&daemon.lines("posts.jsonl", 1)[0]).unwrap();
    assert_eq!(
        (&posted["deviceName"], &posted["items"]["Level"]["value"]),
        (&json!("meter1"), &json!(7))
    );
    assert_eq!(call("GetDeviceStatus", &[]).await["Data"]["Status"], "ONLINE");
    let answer = call("GetGatewayBySubDevice", &[]).await;
    assert_eq!(
        (&answer["Data"]["DeviceName"], &answer["Data"]["Status"]),
        (&json!("gateway1"), &json!("ONLINE"))
    );

    call("SetDeviceProperty", &[("Items", r#"{"Level":3}"#)]).await;
    assert_eq!(gateway.tells("set").await[1], json!({ "Level": 3 }));
    let own = [("Identifier", "Blink"), ("Args", r#"{"n":2}"#)];
    let done = call("InvokeThingService", &own).await;
    let result: Value = serde_json::from_str(done["Data"]["Result"].as_str().unwrap()).unwrap();
    assert_eq!((&result["code"], &result["data"]), (&json!(200), &json!({ "n": 2 })), "{done}");

    call("DisableThing", &[]).await;
    assert_eq!(gateway.tells("error").await[1], 522);
    gateway.tells("disabled").await;
    assert_eq!(call("GetDeviceStatus", &[]).await["Data"]["Status"], "DISABLE");
    call("EnableThing", &[]).await;
    assert_eq!(gateway.tells("login").await[1], 200);
    assert_eq!(gateway.tells("posted").await, json!(["posted", 200]));
    assert_eq!(call("GetDeviceStatus", &[]).await["Data"]["Status"], "ONLINE");
    gateway.input.write_all(b"\n").await.unwrap();
    assert_eq!(gateway.tells("logout").await[1], 200);
    assert_eq!(gateway.tells("removed").await[1], 200);
    assert_eq!(call("GetDeviceStatus", &[]).await["Data"]["Status"], "OFFLINE");
    let answer = api.call("GetGatewayBySubDevice", &target).await;
    assert_eq!(answer["Code"], "iot.device.QueryTopoRelationFailed", "{answer}");
}

#[tokio::test]
async fn the_python_gateway_client_is_served() {
    if let Some(python) = service("aliyun-iot-linkkit", "TIDEGATE_TEST_DEVICE_PYTHON") {
        let mut command = Command::new(python);
        command.arg(script("python_gateway.py"));
        play_gateway(command).await;
    }
}

#[tokio::test]
async fn the_node_gateway_client_is_served() {
    if let Some(modules) = service("alibabacloud-iot-device-sdk", "TIDEGATE_TEST_NODE_MODULES") {
        let mut command = Command::new("node");
        command.env("NODE_PATH", modules).arg(script("node_gateway.js"));
        play_gateway(command).await;
    }
}

/// What another platform does for its devices: it acknowledges reports, and takes note of answers.
const OTHER_RULES: (&str, &str) = (
    "rules/other.yaml",
    r#"
rules:
  - name: reports
    sql: SELECT deviceName() AS device, clientToken, params FROM "$thing/up/property/+/+" WHERE method = 'report'
    actions:
      - file: { path: reports.jsonl }
      - republish:
          topic: "$thing/down/property/PK/${device}"
          payload: '{"method":"report_reply","clientToken":"${clientToken}","code":0,"status":"success"}'
  - name: events
    sql: SELECT deviceName() AS device, events FROM "$thing/up/event/+/+"
    actions: [{ file: { path: events.jsonl } }]
  - name: answers
    sql: SELECT clientToken, code, response FROM "$thing/up/+/+/+" WHERE code IS NOT NULL
    actions: [{ file: { path: answers.jsonl } }]
"#,
);

/// Another vendor's device client, of MQTT 3.1: it signs, reports, tells of an event, and is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_client_of_mqtt_3_1_is_served() {
    let Some(python) = service("tencent-iot-device", "TIDEGATE_TEST_TENCENT_PYTHON") else {
        return;
    };
    // The password is `password`, in few rounds: the program under test is not optimized.
    let hash = "$pbkdf2-sha256$i=4096$c2FsdA$xeR41ZKIyEGqUw22hFxMjZYok6ABzk4RpJY4c6qYE0o";
    let desk = format!(r#"{{ name: desk, password_hash: "{hash}", publish: ["$thing/down/#"] }}"#);
    let config = format!("{CONFIG}auth: {{ devices: required }}\nusers: [{desk}]\n");
    let daemon = Daemon::start(&config, &[]);
    let api = Api::of(&daemon);
    let product = api.ok("CreateProduct", &[("ProductName", "meters"), ("NodeType", "0")]).await;
    let pk = product["ProductKey"].as_str().unwrap();
    daemon.write(OTHER_RULES.0, &OTHER_RULES.1.replace("PK", pk));
    super::eventually("the rules run", || {
        daemon.get("/metrics").1.contains("rule=\"answers\"").then_some(())
    });
    let device = api.ok("RegisterDevice", &[("ProductKey", pk), ("DeviceName", "dev1")]).await;
    let secret = device["Data"]["DeviceSecret"].as_str().unwrap();
    let mut command = Command::new(python);
    command.arg(script("tencent_device.py"));
    let mut device = Device::start(command, &daemon, pk, secret);

    // MQTT 3.1 has no flag for a session that was kept.
    assert_eq!(device.tells("enabled").await, json!(["enabled", 0, 0]));
    for _ in 0..4 {
        assert_eq!(device.tells("granted").await[1], 0);
    }
    let acknowledged = device.tells("report_reply").await;
    assert_eq!(acknowledged[1]["status"], "success");
    let lines = daemon.lines("reports.jsonl", 1);
    let report: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&report["device"], &report["params"]), (&json!("dev1"), &json!({ "Level": 7 })));
    assert_eq!(report["clientToken"], acknowledged[1]["clientToken"]);
    let lines = daemon.lines("events.jsonl", 1);
    let told: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(told["events"][0]["eventId"], "Alarm", "{told}");
    let of = [("ProductKey", pk), ("DeviceName", "dev1")];
    assert_eq!(api.ok("GetDeviceStatus", &of).await["Data"]["Status"], "ONLINE");

    let mut options = Options::new("desk");
    options.username = Some("desk".into());
    options.password = Some("password".into());
    let mut desk = Client::connect(("127.0.0.1", daemon.mqtt), options).await.unwrap();
    for (kind, request) in [
        ("property", json!({ "method": "control", "clientToken": "c1", "params": { "Level": 3 } })),
        (
            "action",
            json!({ "method": "action", "clientToken": "c2", "actionId": "Blink", "params": {} }),
        ),
    ] {
        let topic = format!("$thing/down/{kind}/{pk}/dev1");
        let topic = Topic::parse(topic, TopicLimits::default()).unwrap();
        desk.publish(&topic, request.to_string().as_bytes(), QoS::AtLeastOnce, false)
            .await
            .unwrap();
        desk.flush().await.unwrap();
        assert_eq!(device.tells(request["method"].as_str().unwrap()).await[1], request);
    }
    let mut lines = daemon.lines("answers.jsonl", 2);
    lines.sort();
    assert_eq!(lines[0], r#"{"clientToken":"c1","code":0}"#);
    assert_eq!(lines[1], r#"{"clientToken":"c2","code":0,"response":{"ok": 1}}"#);
    assert!(!device.told.iter().any(|told| told[0] == "gone"), "{:?}", device.told);
}

#[tokio::test]
async fn from_a_product_to_a_republished_message_with_the_vendors_clients_alone() {
    let Some(modules) = service("alibabacloud-iot-device-sdk", "TIDEGATE_TEST_NODE_MODULES") else {
        return;
    };
    let daemon = Daemon::start(&format!("{CONFIG}auth: {{ devices: required }}\n"), &[]);
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules).arg(script("whole.js"));
    command.args([&daemon.mqtt.to_string(), &daemon.http.to_string()]);
    command.args(["test-admin", "testsecret"]).kill_on_drop(true);
    let ended = tokio::time::timeout(3 * PATIENCE, command.output()).await;
    let output = ended.expect("it comes to an end").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/daemon/devices").join(name)
}
