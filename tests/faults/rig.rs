//! One rule in an engine on a runtime of its own, so that its tasks can be counted, and what every
//! delivery through a fault has to keep.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors::contract::{Batch, Env, Ingress as _, Message, NoFacts, Topic, TopicLimits};
use tidegate::engine::{Engine, EngineLimits, LaneCounts, LaneLimits, RuleSet};
use tidegate::rule::{Compiler, file};
use tokio::runtime::Runtime;

use crate::connectors::Folder;

/// Devices whose messages take turns.
pub const DEVICES: usize = 4;

/// The longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// The engine with its rule.
pub struct Rig {
    runtime: Option<Runtime>,
    engine: Arc<Engine>,
    rules: RuleSet,
    _folder: Folder,
}

impl Rig {
    /// Runs the rules of a YAML text.
    pub fn start(env: Env, text: &str) -> Self {
        let folder = Folder::new();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let limits = EngineLimits { shards: 1, messages: 1 << 14, bytes: 1 << 24 };
        let engine = Engine::start(limits, Arc::new(NoFacts), None, 0).expect("threads");
        let compiler = Compiler::new(connectors::SINKS, env);
        let path = folder.path().join("rule.yaml");
        std::fs::write(&path, text).expect("a file");
        let file = file::parse(&path, text, &compiler).expect("a rule file");
        assert!(file.problems().is_empty(), "{:?}\n{text}", file.problems());
        let lanes = LaneLimits { records: 1 << 14, bytes: 1 << 24 };
        let rules = RuleSet::new(engine.clone(), compiler, lanes, runtime.handle().clone());
        assert_eq!(rules.load_folder(folder.path()).rules, 1);
        Self { runtime: Some(runtime), engine, rules, _folder: folder }
    }

    /// Sends messages with the numbers from `from` to `to`, one device after the other.
    pub async fn send(&self, from: usize, to: usize) {
        let batch = (from..to).map(|n| message(n % DEVICES, n)).collect();
        self.engine.submit(Batch::unacknowledged(batch)).await;
    }

    /// Sends these payloads of one device.
    pub async fn send_texts(&self, texts: impl Iterator<Item = String>) {
        let topic = Topic::parse("/pk/dev0/x", TopicLimits::default()).expect("topic");
        let batch = texts.map(|text| Message::new(topic.clone(), text, 0)).collect();
        self.engine.submit(Batch::unacknowledged(batch)).await;
    }

    /// What the rule's first action has done.
    pub fn counts(&self) -> LaneCounts {
        self.rules.report()[0].actions[0].1
    }

    /// What the rule's error action has done.
    pub fn error_counts(&self) -> LaneCounts {
        self.rules.report()[0].actions.last().expect("an action").1
    }

    /// Tasks that the rule's actions have running.
    pub fn tasks(&self) -> usize {
        self.runtime.as_ref().map_or(0, |runtime| runtime.metrics().num_alive_tasks())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.engine.stop();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn message(device: usize, n: usize) -> Message {
    let topic = Topic::parse(format!("/pk/dev{device}/x"), TopicLimits::default()).expect("topic");
    Message::new(topic, format!(r#"{{"d":{device},"n":{n}}}"#), 0)
}

/// Waits for something that has to happen; says what it was when it does not.
pub async fn until(what: &str, happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One arrival at a destination.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The idempotency key, where the sink carries one.
    pub key: Option<String>,
    pub device: usize,
    pub n: usize,
}

impl Arrival {
    /// Reads device and number out of a body.
    pub fn read(key: Option<String>, body: &[u8]) -> Self {
        let body: serde_json::Value = serde_json::from_slice(body).expect("a record");
        let number = |name: &str| {
            let number = body[name].as_u64().expect("a number");
            usize::try_from(number).expect("small")
        };
        Self { key, device: number("d"), n: number("n") }
    }
}

/// Each message arrived, those of one device in order, and what came twice had one key.
pub fn arrived_in_order(seen: &[Arrival], sent: usize, keyed: bool, what: &str) {
    let mut keys: BTreeMap<usize, &Option<String>> = BTreeMap::new();
    let mut first: Vec<&Arrival> = Vec::new();
    for arrival in seen {
        assert_eq!(arrival.key.is_some(), keyed, "{what}: {arrival:?}");
        match keys.insert(arrival.n, &arrival.key) {
            Some(before) => {
                assert_eq!(before, &arrival.key, "{what}: what comes twice has one key");
            }
            None => first.push(arrival),
        }
    }
    let distinct: std::collections::BTreeSet<_> = keys.values().collect();
    assert!(!keyed || distinct.len() == keys.len(), "{what}: each record has a key of its own");
    for device in 0..DEVICES {
        let got: Vec<usize> = first.iter().filter(|a| a.device == device).map(|a| a.n).collect();
        let want: Vec<usize> = (0..sent).filter(|n| n % DEVICES == device).collect();
        assert_eq!(got, want, "{what}: all of device {device}, in order");
    }
}
