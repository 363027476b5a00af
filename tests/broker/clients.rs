//! Unmodified clients against the broker: mosquitto's, Eclipse Paho's, MQTT.js.
//!
//! What is not installed is reported as skipped.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tidegate::broker::Tls;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::connections::tls::{Server, file, files};
use super::handle::listening;
use crate::services::service;

const PATIENCE: Duration = Duration::from_secs(180);

/// Runs a program to its end and returns what it printed; it must succeed.
async fn run(program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("an end in time").unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// True when mosquitto's clients are there.
async fn mosquitto() -> bool {
    let found = Command::new("mosquitto_pub").arg("--help").output().await.is_ok();
    if !found {
        let required = std::env::var("TIDEGATE_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
        assert!(!required, "mosquitto's clients are required: install mosquitto-clients");
        eprintln!("skipped: mosquitto clients (mosquitto_pub is not in PATH)");
    }
    found
}

/// Subscribes with mosquitto_sub, publishes with mosquitto_pub, and compares.
async fn exchange(address: SocketAddr, version: &str, qos: &str, more: &[&str]) {
    let port = address.port().to_string();
    let common = [&["-h", "127.0.0.1", "-p", &port, "-V", version, "-q", qos], more].concat();
    let mut subscriber = Command::new("stdbuf")
        .args(["-oL", "mosquitto_sub", "-d", "-t", "车间/#", "-F", "%t|%q|%p", "-C", "3"])
        .args(&common)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    while let Some(line) = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap()
    {
        if line.contains("SUBACK") {
            for payload in ["一", "two", "three"] {
                let message = ["-t", "车间/1", "-m", payload];
                run("mosquitto_pub", &[&common[..], &message].concat()).await;
            }
        }
        if line.contains('|') {
            seen.push(line);
        }
    }
    let expected = ["一", "two", "three"].map(|payload| format!("车间/1|{qos}|{payload}"));
    assert_eq!(seen, expected, "version {version}, QoS {qos}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_clients_exchange_messages() {
    if !mosquitto().await {
        return;
    }
    let (address, engine, end) = listening().await;
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            exchange(address, version, qos, &[]).await;
        }
    }
    engine.until(27).await;
    end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_clients_exchange_messages_over_tls() {
    if !mosquitto().await {
        return;
    }
    let server = Server::start(Some(Arc::new(Tls::load(files()).unwrap())), false).await;
    let authority = file("ca.pem").display().to_string();
    exchange(server.address, "mqttv5", "2", &["--cafile", &authority]).await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_clients_exchange_messages() {
    let Some(python) = service("paho-mqtt", "TIDEGATE_TEST_PYTHON") else { return };
    let (address, _, end) = listening().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/broker/clients/paho_client.py");
    let said = run(python, &[script, "127.0.0.1", &address.port().to_string()]).await;
    assert_eq!(said.trim(), "ok");
    end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_js_clients_exchange_messages() {
    if service("MQTT.js", "TIDEGATE_TEST_NODE_MODULES").is_none() {
        return;
    }
    let tls = Arc::new(Tls::load(files()).unwrap());
    for (tls, websocket, scheme, path) in [
        (None, false, "mqtt", ""),
        (Some(tls.clone()), false, "mqtts", ""),
        (None, true, "ws", "/mqtt"),
        (Some(tls), true, "wss", "/mqtt"),
    ] {
        let server = Server::start(tls, websocket).await;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/broker/clients/mqttjs.cjs");
        let url = format!("{scheme}://localhost:{}{path}", server.address.port());
        let authority = format!("NODE_EXTRA_CA_CERTS={}", file("ca.pem").display());
        // Node resolves `localhost` to ::1 first where there is one.
        let order = "NODE_OPTIONS=--dns-result-order=ipv4first";
        let said = run("env", &[&authority, order, "node", script, &url]).await;
        assert_eq!(said.trim(), "ok", "{url}");
        server.end().await;
    }
}
