//! The vendor's own clients, unmodified, against a real listener.
//!
//! `TIDEGATE_TEST_PYTHON` names a Python that has aliyun-python-sdk-iot and alibabacloud_iot20180120,
//! `TIDEGATE_TEST_NODE_MODULES` a folder node_modules that has @alicloud/pop-core.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tidegate::rule::store::Role;
use tokio::process::Command;

use super::server::{Server, key};
use crate::services::service;

async fn run(mut command: Command, script: &str) {
    let server = Server::with(|state| {
        // These clients know only the system's clock.
        state.clock = Arc::new(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            u64::try_from(now.as_millis()).unwrap()
        });
    })
    .await;
    let key = key(Role::Admin);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/sdk").join(script);
    command.arg(script).arg(server.address.to_string()).args([&key.id, &key.secret]);
    // One of them uses a proxy for loopback, too.
    for proxy in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
        command.env_remove(proxy);
    }
    let output = command.output().await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    server.end().await;
}

#[tokio::test]
async fn the_python_core_client_manages_rules() {
    if let Some(python) = service("aliyun-python-sdk-iot", "TIDEGATE_TEST_PYTHON") {
        run(Command::new(python), "core.py").await;
    }
}

#[tokio::test]
async fn the_typed_python_client_manages_rules() {
    if let Some(python) = service("alibabacloud_iot20180120", "TIDEGATE_TEST_PYTHON") {
        run(Command::new(python), "tea.py").await;
    }
}

#[tokio::test]
async fn the_node_client_manages_rules() {
    if let Some(modules) = service("@alicloud/pop-core", "TIDEGATE_TEST_NODE_MODULES") {
        let mut node = Command::new("node");
        node.env("NODE_PATH", modules);
        run(node, "pop.js").await;
    }
}
