//! The catalogue of connectors: what is declared, the conformance suite that every sink passes
//! against the real system, and what is special about each.

mod catalogue;
mod columns;
mod inbox;
pub(crate) mod kafka;
mod local;
pub(crate) mod mqtt;
mod names;
mod network;
pub(crate) mod outages;
mod source_suite;
mod suite;
pub(crate) mod tables;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use connectors::contract::{
    Body, ConfigError, Connections, Env, Message, Publisher, Record, Sink, Topic, TopicLimits,
};
use serde_json::Value;

/// A folder of its own for one test, removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(unique("tidegate-test"));
        std::fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A name that no other test of this or another run uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = started.expect("a clock after 1970").as_nanos();
    format!("{prefix}_{nanos:x}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn env(base: &Path) -> Env {
    Env { base_dir: base.to_owned(), ..Env::default() }
}

pub fn with_publisher(env: Env, publisher: Arc<dyn Publisher>) -> Env {
    Env { publisher: Some(publisher), ..env }
}

/// The environment with one connection in it, named `it`.
pub fn with_connection(env: Env, kind: &'static str, settings: &Value) -> Env {
    let mut connections = Connections::default();
    let opened = open(kind, settings, &env).expect("the connection's settings");
    connections.insert("it", kind, opened);
    Env { connections: Arc::new(connections), ..env }
}

pub fn open(
    kind: &str,
    settings: &Value,
    env: &Env,
) -> Result<connectors::contract::AnyConnection, ConfigError> {
    let spec = connectors::CONNECTIONS.iter().find(|spec| spec.name == kind).expect("the kind");
    (spec.open)(settings, env)
}

pub fn sink(name: &str, settings: &Value, env: &Env) -> Result<Arc<dyn Sink>, ConfigError> {
    let spec = connectors::SINKS.iter().find(|spec| spec.name == name).expect("the connector");
    (spec.build)(settings, env)
}

/// A record out of a message of device `dev1`.
pub fn record(json: &str) -> Record {
    record_of("/a1Pk/dev1/user/data", json)
}

pub fn record_of(topic: &str, json: &str) -> Record {
    let topic = Topic::parse(topic, TopicLimits::default()).expect("a topic");
    let message = Message { id: 7, ..Message::new(topic, "", 1_784_000_000_000) };
    let batch: Arc<[Message]> = vec![message].into();
    Record::new(batch, 0, "a_rule".into(), Body::Json, Bytes::copy_from_slice(json.as_bytes()))
}

pub fn binary(bytes: &'static [u8]) -> Record {
    record("{}").with_body(Body::Binary, Bytes::from_static(bytes))
}
