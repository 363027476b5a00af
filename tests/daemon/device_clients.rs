//! The vendor's own device clients, unmodified, against the built program: posts and their answers,
//! properties, services of both kinds, remote calls, shadows.
//!
//! `TIDEGATE_TEST_DEVICE_PYTHON` names a Python that has aliyun-iot-linkkit with paho-mqtt 1,
//! `TIDEGATE_TEST_NODE_MODULES` a folder node_modules that has alibabacloud-iot-device-sdk.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

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

/// A device that runs, and what it tells.
struct Device {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    told: VecDeque<Value>,
}

impl Device {
    fn start(mut command: Command, daemon: &Daemon, pk: &str, secret: &str) -> Self {
        command.args(["127.0.0.1", &daemon.mqtt.to_string(), pk, "dev1", secret]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { _child: child, lines, told: VecDeque::new() }
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
