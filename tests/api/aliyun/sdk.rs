//! The vendor's own clients, unmodified, against a real listener.
//!
//! `TIDEGATE_TEST_PYTHON` names a Python that has aliyun-python-sdk-iot and alibabacloud_iot20180120,
//! `TIDEGATE_TEST_NODE_MODULES` a folder node_modules that has @alicloud/pop-core and
//! @alicloud/iot20180120; `scripts/services` installs them.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tidegate::rule::store::Role;
use tokio::process::Command;

use crate::api::server::{Server, key};
use crate::services::service;

/// Runs a script with the address, id and secret of a key, and further arguments.
async fn run(mut command: Command, script: &str, further: &[&str]) {
    let server = Server::with(|state| {
        // These clients know only the system's clock.
        state.clock = Arc::new(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            u64::try_from(now.as_millis()).unwrap()
        });
    })
    .await;
    let key = key(Role::Admin);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/aliyun/sdk").join(script);
    command.arg(script).arg(server.address.to_string()).args([&key.id, &key.secret]).args(further);
    // One of them uses a proxy for loopback, too.
    for proxy in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
        command.env_remove(proxy);
    }
    let output = command.output().await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "done", "{stderr}");
    assert!(server.engine.running.lock().unwrap().is_empty());
    server.end().await;
}

async fn python(package: &str, script: &str, further: &[&str]) {
    if let Some(python) = service(package, "TIDEGATE_TEST_PYTHON") {
        run(Command::new(python), script, further).await;
    }
}

async fn node(package: &str, script: &str, further: &[&str]) {
    if let Some(modules) = service(package, "TIDEGATE_TEST_NODE_MODULES") {
        let mut node = Command::new("node");
        node.env("NODE_PATH", modules);
        run(node, script, further).await;
    }
}

#[tokio::test]
async fn the_python_core_client_manages_rules() {
    python("aliyun-python-sdk-iot", "core.py", &[]).await;
}

#[tokio::test]
async fn the_typed_python_client_manages_rules() {
    python("alibabacloud_iot20180120", "tea.py", &[]).await;
}

#[tokio::test]
async fn the_typed_python_client_manages_rules_with_the_older_signature() {
    python("alibabacloud_iot20180120", "tea.py", &["v2"]).await;
}

#[tokio::test]
async fn the_node_core_client_manages_rules() {
    node("@alicloud/pop-core", "pop.js", &[]).await;
}

#[tokio::test]
async fn the_typed_node_client_manages_rules() {
    node("@alicloud/iot20180120", "tea.js", &[]).await;
}

#[tokio::test]
async fn the_typed_node_client_manages_rules_with_the_older_signature() {
    node("@alicloud/iot20180120", "tea.js", &["v2"]).await;
}

#[tokio::test]
async fn the_typed_python_client_manages_devices() {
    python("alibabacloud_iot20180120", "devices.py", &[]).await;
    python("alibabacloud_iot20180120", "devices.py", &["v2"]).await;
}

#[tokio::test]
async fn the_typed_node_client_manages_devices() {
    node("@alicloud/iot20180120", "devices.js", &[]).await;
    node("@alicloud/iot20180120", "devices.js", &["v2"]).await;
}

#[tokio::test]
async fn the_typed_python_client_manages_groups() {
    python("alibabacloud_iot20180120", "groups.py", &[]).await;
    python("alibabacloud_iot20180120", "groups.py", &["v2"]).await;
}

#[tokio::test]
async fn the_typed_node_client_manages_groups() {
    node("@alicloud/iot20180120", "groups.js", &[]).await;
    node("@alicloud/iot20180120", "groups.js", &["v2"]).await;
}

#[tokio::test]
async fn the_typed_python_client_reads_histories() {
    python("alibabacloud_iot20180120", "history.py", &[]).await;
    python("alibabacloud_iot20180120", "history.py", &["v2"]).await;
}

#[tokio::test]
async fn the_typed_node_client_reads_histories() {
    node("@alicloud/iot20180120", "history.js", &[]).await;
    node("@alicloud/iot20180120", "history.js", &["v2"]).await;
}
