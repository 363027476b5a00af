//! Changes of rules while the log cannot write: nothing that was accepted is lost by them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use contract::{
    Batch, ConfigError, DeliveryError, Env, FailureKind, Ingress as _, Message, NoFacts, Outcome,
    QoS, Record, Sink, SinkSpec, Topic, TopicLimits,
};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::RuleSet;
use crate::delivery::LaneLimits;
use crate::dispatch::{Engine, EngineLimits};
use crate::spool::tests::sim::{Faults, SimFs};
use crate::spool::{Spool, SpoolLimits};
use crate::storage::Storage;
use rule::{Action, Batching, Compiler, DataType, Owner, Pending, Retry, Rule, Statement, Then};

/// What boxes have got, and whether they take anything.
static BOXES: Mutex<BTreeMap<String, (bool, Vec<String>)>> = Mutex::new(BTreeMap::new());

struct MailBox(String);

#[async_trait::async_trait]
impl Sink for MailBox {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        let mut boxes = BOXES.lock().expect("lock");
        let (closed, got) = boxes.entry(self.0.clone()).or_default();
        let mut outcome = |record: &Record| match *closed {
            true => Outcome::Retry(DeliveryError::new(FailureKind::Unreachable, "closed")),
            false => {
                got.push(String::from_utf8_lossy(record.bytes()).into_owned());
                Outcome::Ok
            }
        };
        records.iter().map(&mut outcome).collect()
    }

    async fn check(&self) -> Result<(), DeliveryError> {
        Ok(())
    }

    fn resource(&self) -> String {
        self.0.clone()
    }
}

const SINKS: &[SinkSpec] = &[SinkSpec {
    name: "mailbox",
    summary: "Remembers.",
    example: "{}",
    schema: || schemars::json_schema!({}),
    build: |settings: &Value, _: &Env| -> Result<Arc<dyn Sink>, ConfigError> {
        let name = settings.as_str().ok_or_else(|| ConfigError::new("", "a name"))?;
        Ok(Arc::new(MailBox(name.to_owned())))
    },
    misread: |_| Vec::new(),
}];

fn close(name: &str, closed: bool) {
    BOXES.lock().expect("lock").entry(name.to_owned()).or_default().0 = closed;
}

fn got(name: &str) -> Vec<String> {
    BOXES.lock().expect("lock").get(name).cloned().unwrap_or_default().1
}

/// An engine with a log on a disk that fails when it is told to.
struct Rig {
    runtime: Runtime,
    engine: Arc<Engine>,
    rules: RuleSet,
}

impl Rig {
    fn new(disk: &SimFs, folder: &Path) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime");
        let (spool, _) =
            Spool::open_on(Arc::new(disk.clone()), SpoolLimits::default()).expect("the log");
        let storage = Storage::over(spool, folder, 1, Arc::new(NoFacts), None, || 0);
        let limits = EngineLimits { shards: 1, messages: 1000, bytes: 1 << 24 };
        let storage = Some(storage.expect("the journal"));
        let engine = Engine::start(limits, Arc::new(NoFacts), storage, 0).expect("threads");
        let compiler = Compiler::new(SINKS, Env::default());
        let lanes = LaneLimits { records: 10, bytes: 1 << 20 };
        let rules = RuleSet::new(engine.clone(), compiler, lanes, runtime.handle().clone());
        Self { runtime, engine, rules }
    }

    fn put(&self, name: &str, version: u64, pending: Pending) {
        let action = Action {
            name: Some("box".to_owned()),
            connector: "mailbox".to_owned(),
            settings: Value::from(name),
            retry: None,
            deadline: Duration::from_secs(5),
            batch: Batching::default(),
            vendor: None,
        };
        let delays = [Duration::from_millis(5)].into();
        let rule = Rule {
            name: name.to_owned(),
            description: String::new(),
            enabled: true,
            data_type: DataType::Json,
            sql: Some(Statement::Text(format!("SELECT n, {version} AS v FROM \"/pk/dev/{name}\""))),
            actions: vec![action],
            error_action: None,
            retry: Retry { delays, then: Some(Then::Keep), ..Retry::default() },
            pending,
            owner: Owner::Api(name.len() as u64),
        };
        self.rules.put(rule).expect("rule");
    }

    fn submit(&self, name: &str, numbers: std::ops::Range<usize>) {
        let topic = Topic::parse(format!("/pk/dev/{name}"), TopicLimits::default()).expect("topic");
        for n in numbers {
            let message = Message::new(topic.clone(), format!("{{\"n\":{n}}}"), 0);
            let (batch, wait) = Batch::awaited(vec![Message { qos: QoS::AtLeastOnce, ..message }]);
            self.runtime.block_on(self.engine.submit(batch));
            self.runtime.block_on(wait.wait()).expect("accepted");
        }
    }

    /// A change of rules is not in force yet.
    fn waits(&self) -> bool {
        self.rules.problems().iter().any(|problem| problem.contains("a change of rules waits"))
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(20), "{what}: {:?}", self.rules.report());
            self.rules.tend();
            std::thread::yield_now();
        }
    }

    fn stop(self) {
        self.engine.stop();
        let storage = self.engine.storage().expect("storage").clone();
        storage.end();
        self.rules.tend();
        storage.close();
        drop((self.rules, self.engine));
        self.runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

/// The numbers, each once and in order, and the versions that they were delivered under.
fn versions(name: &str, count: usize) -> Vec<u64> {
    let bodies: Vec<Value> =
        got(name).iter().map(|body| serde_json::from_str(body).expect("json")).collect();
    let numbers: Vec<u64> = bodies.iter().filter_map(|body| body["n"].as_u64()).collect();
    assert_eq!(numbers, (0..count as u64).collect::<Vec<_>>());
    let mut versions: Vec<u64> = bodies.iter().filter_map(|body| body["v"].as_u64()).collect();
    versions.dedup();
    versions
}

/// A change, and another one on top, while no cursor can be made; both ways of what is pending.
#[test]
fn r36_changes_that_had_to_wait_lose_nothing() {
    let cases = [("finish", Pending::Finish, vec![1, 3]), ("over", Pending::HandOver, vec![3])];
    for (name, pending, expected) in cases {
        let (disk, folder) = (SimFs::new(1), tempfile::tempdir().expect("folder"));
        let rig = Rig::new(&disk, folder.path());
        rig.put(name, 1, pending);
        rig.rules.start();
        close(name, true);
        rig.submit(name, 0..30);
        disk.set_faults(Faults { dead: true, ..Faults::default() });
        rig.put(name, 2, pending);
        rig.until("the first change waits", || rig.waits());
        rig.put(name, 3, pending);
        disk.set_faults(Faults::default());
        rig.until("the change is in force", || !rig.waits());
        rig.submit(name, 30..60);
        close(name, false);
        rig.rules.lanes().iter().for_each(|lane| lane.resume());
        rig.until("all is delivered", || got(name).len() >= 60);
        assert_eq!(versions(name, 60), expected, "{name}");
        rig.until("the earlier versions are gone", || rig.rules.lanes().len() == 1);
        rig.stop();
    }
}

/// What waited for the rules of the last run is theirs, too, when their cursors open late.
#[test]
fn a_backlog_survives_a_start_on_a_failing_disk() {
    let (disk, folder) = (SimFs::new(2), tempfile::tempdir().expect("folder"));
    let rig = Rig::new(&disk, folder.path());
    rig.put("late", 1, Pending::Finish);
    rig.rules.start();
    close("late", true);
    rig.submit("late", 0..30);
    rig.stop();
    let rig = Rig::new(&disk, folder.path());
    disk.set_faults(Faults { dead: true, ..Faults::default() });
    rig.put("late", 1, Pending::Finish);
    // A new one, whose cursor has to be made.
    rig.put("newer", 1, Pending::Finish);
    rig.rules.start();
    rig.until("the rules wait", || rig.waits());
    disk.set_faults(Faults::default());
    close("late", false);
    rig.until("all is delivered", || got("late").len() >= 30);
    assert_eq!(versions("late", 30), [1]);
    rig.stop();
}
