//! The engine with a log, in process: what was accepted is delivered through outages, changes of rules
//! and restarts, in order and once while nothing crashes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use connectors::contract::{
    Batch, ConfigError, DeliveryError, Env, FailureKind, Ingress, Message, NoFacts, Outcome, QoS,
    Record, Sink, SinkSpec, Topic, TopicLimits,
};
use serde_json::Value;
use tidegate::engine::spool::{SpoolLimits, WhenFull};
use tidegate::engine::{Engine, EngineLimits, LaneLimits, RuleSet, Storage};
use tidegate::rule::{
    Action, Batching, Compiler, DEADLINE, DataType, Owner, Pending, Retry, Rule, Statement, Then,
};
use tokio::runtime::Runtime;

/// What boxes have got, and whether they take anything.
static BOXES: Mutex<BTreeMap<String, Contents>> = Mutex::new(BTreeMap::new());

#[derive(Default, Clone)]
struct Contents {
    bodies: Vec<String>,
    keys: Vec<String>,
    closed: bool,
}

struct MailBox(String);

#[async_trait::async_trait]
impl Sink for MailBox {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        let mut boxes = BOXES.lock().expect("lock");
        let own = boxes.entry(self.0.clone()).or_default();
        let error = |kind, text: &str| DeliveryError::new(kind, text);
        let mut outcome = |record: &Record| {
            if own.closed {
                return Outcome::Retry(error(FailureKind::Unreachable, "closed"));
            }
            let body = String::from_utf8_lossy(record.bytes()).into_owned();
            if body.contains("bad") && self.0.ends_with("picky") {
                return Outcome::Poison(error(FailureKind::Rejected, "a bad one"));
            }
            own.bodies.push(body);
            own.keys.push(record.idempotency_key().unwrap_or_default());
            Outcome::Ok
        };
        records.iter().map(&mut outcome).collect()
    }

    async fn check(&self) -> Result<(), DeliveryError> {
        Ok(())
    }

    fn resource(&self) -> String {
        self.0.clone()
    }

    fn batch_max(&self) -> usize {
        64
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
    BOXES.lock().expect("lock").entry(name.to_owned()).or_default().closed = closed;
}

fn contents(name: &str) -> Contents {
    BOXES.lock().expect("lock").get(name).cloned().unwrap_or_default()
}

fn clock() -> u64 {
    1_800_000_000_000
}

/// An engine with a log in a folder.
struct Rig {
    runtime: Runtime,
    engine: Arc<Engine>,
    rules: Arc<RuleSet>,
}

impl Rig {
    fn new(folder: &Path) -> Self {
        Self::with(folder, LaneLimits { records: 50, bytes: 1 << 20 }, SpoolLimits::default())
    }

    fn with(folder: &Path, lanes: LaneLimits, spool: SpoolLimits) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("runtime");
        let limits = EngineLimits { shards: 2, messages: 1 << 16, bytes: 1 << 30 };
        let opened = Storage::open(folder, spool, 2, Arc::new(NoFacts), None, clock);
        let (storage, _) = opened.expect("the log");
        let engine =
            Engine::start(limits, Arc::new(NoFacts), Some(storage), clock()).expect("threads");
        let compiler = Compiler::new(SINKS, Env::default());
        let handle = runtime.handle().clone();
        let rules = Arc::new(RuleSet::new(Arc::clone(&engine), compiler, lanes, handle));
        let tended = Arc::downgrade(&rules);
        runtime.spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            while let Some(rules) = tended.upgrade() {
                rules.tend();
                drop(rules);
                tick.tick().await;
            }
        });
        Self { runtime, engine, rules }
    }

    /// With rules, started.
    fn running(folder: &Path, rules: impl IntoIterator<Item = Rule>) -> Self {
        let rig = Self::new(folder);
        for rule in rules {
            rig.rules.put(rule).expect("rule");
        }
        rig.rules.start();
        rig
    }

    /// Hands messages in one by one, waits until all are accepted.
    fn submit(&self, messages: impl IntoIterator<Item = Message>) {
        let mut waits = Vec::new();
        for message in messages {
            let (batch, wait) = Batch::awaited(vec![message]);
            self.runtime.block_on(self.engine.submit(batch));
            waits.push(wait);
        }
        for wait in waits {
            self.runtime.block_on(wait.wait()).expect("accepted");
        }
    }

    /// A destination works again, and somebody says so: otherwise its breaker takes its time.
    fn open(&self, name: &str) {
        close(name, false);
        self.rules.lanes().iter().for_each(|lane| lane.resume());
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(20), "{what}: {:?}", self.rules.report());
            std::thread::yield_now();
        }
    }

    fn settle(&self) {
        self.until("the engine comes to rest", || {
            let lanes = self.rules.lanes();
            let idle = lanes.iter().map(|lane| lane.counts()).all(|c| c.queued == 0 && !c.behind);
            self.engine.counts().queued == 0 && idle
        });
        self.balanced();
    }

    fn balanced(&self) {
        for report in self.rules.report() {
            for (action, counts) in report.actions {
                let sum = counts.delivered + counts.failed + counts.queued;
                assert_eq!(counts.received, sum, "{action}: {counts:?}");
            }
        }
    }

    /// Ends as the daemon does.
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

fn action(mailbox: &str) -> Action {
    Action {
        name: Some("box".to_owned()),
        connector: "mailbox".to_owned(),
        settings: Value::from(mailbox),
        retry: None,
        deadline: DEADLINE,
        batch: Batching::default(),
        vendor: None,
    }
}

/// A rule that tries again soon, and for ever.
fn rule(name: &str, select: &str, mailbox: &str) -> Rule {
    Rule {
        name: name.to_owned(),
        description: String::new(),
        enabled: true,
        data_type: DataType::Json,
        sql: Some(Statement::Text(format!("SELECT {select} FROM \"/pk/+/{name}\""))),
        actions: vec![action(mailbox)],
        error_action: None,
        retry: Retry {
            delays: [Duration::from_millis(5)].into(),
            then: Some(Then::Keep),
            ..Retry::default()
        },
        pending: Pending::Finish,
        owner: Owner::Api(name.bytes().fold(7, |id, byte| id * 31 + u64::from(byte)) % 1_000_003),
    }
}

fn message(rule: &str, device: u64, number: usize, qos: QoS) -> Message {
    let topic = format!("/pk/dev{device}/{rule}");
    let topic = Topic::parse(topic, TopicLimits::default()).expect("topic");
    let payload = format!(r#"{{"d":{device},"n":{number}}}"#);
    Message { qos, ..Message::new(topic, payload, clock()) }
}

/// So many messages of four devices.
fn messages(rule: &str, numbers: std::ops::Range<usize>) -> impl Iterator<Item = Message> {
    let rule = rule.to_owned();
    numbers.map(move |n| message(&rule, n as u64 % 4, n, QoS::AtLeastOnce))
}

/// The numbers of each device, as they came.
fn by_device(bodies: &[String]) -> BTreeMap<u64, Vec<u64>> {
    let mut numbers: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for body in bodies {
        let body: Value = serde_json::from_str(body).expect("json");
        let number = |key: &str| body[key].as_u64().expect("number");
        numbers.entry(number("d")).or_default().push(number("n"));
    }
    numbers
}

fn in_order(mailbox: &str, count: usize) {
    let bodies = contents(mailbox).bodies;
    assert_eq!(bodies.len(), count, "each once");
    for (device, numbers) in by_device(&bodies) {
        assert!(numbers.is_sorted(), "device {device}: {numbers:?}");
    }
}

#[test]
fn a_backlog_is_read_from_the_log_in_order() {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::running(
        folder.path(),
        [rule("backlog", "d, n", "backlog"), rule("well", "d, n", "well")],
    );
    close("backlog", true);
    rig.submit(messages("backlog", 0..3000).chain(messages("well", 0..500)));
    rig.until("the other action", || contents("well").bodies.len() == 500);
    let waits = rig.rules.lane("backlog", "box").expect("lane").counts();
    assert!(waits.spooled > 2500, "memory is bounded: {waits:?}");
    assert_eq!((waits.received, waits.queued), (3000, 3000));
    rig.open("backlog");
    rig.submit(messages("backlog", 3000..3500));
    rig.settle();
    in_order("backlog", 3500);
    in_order("well", 500);
    rig.stop();
}

#[test]
fn a_restart_goes_on_where_the_actions_were() {
    let folder = tempfile::tempdir().expect("folder");
    let rules = || [rule("first", "d, n", "restart_1"), rule("second", "d, n", "restart_2")];
    let rig = Rig::running(folder.path(), rules());
    close("restart_2", true);
    rig.submit(messages("first", 0..300).chain(messages("second", 0..300)));
    rig.until("one action", || contents("restart_1").bodies.len() == 300);
    rig.stop();
    close("restart_2", false);
    let rig = Rig::running(folder.path(), rules());
    rig.submit(messages("second", 300..400));
    rig.settle();
    in_order("restart_1", 300);
    in_order("restart_2", 400);
    let keys = contents("restart_2").keys;
    let different: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(different.len(), keys.len());
    rig.stop();
}

#[test]
fn r36_pending_records_finish_under_the_version_that_accepted_them() {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::running(folder.path(), [rule("version", "d, n", "version")]);
    close("version", true);
    rig.submit(messages("version", 0..200));
    rig.rules.put(rule("version", "d, n, 2 AS v", "version")).expect("changed");
    rig.submit(messages("version", 200..300));
    // The daemon ends, and comes back with a third version.
    rig.stop();
    let rig = Rig::running(folder.path(), [rule("version", "d, n, 3 AS v", "version")]);
    rig.submit(messages("version", 300..400));
    rig.open("version");
    rig.until("all versions", || contents("version").bodies.len() >= 400);
    rig.settle();
    let bodies = contents("version").bodies;
    let version = |body: &String| {
        let body: Value = serde_json::from_str(body).expect("json");
        (body["n"].as_u64().expect("n"), body["v"].as_u64())
    };
    let mut versions: Vec<_> = bodies.iter().map(version).collect();
    versions.sort_unstable();
    let expected = (0..400).map(|n| (n, [None, None, Some(2), Some(3)][n as usize / 100]));
    assert_eq!(versions, expected.collect::<Vec<_>>());
    rig.until("earlier versions are let go", || rig.rules.retired() == 0);
    rig.stop();
}

#[test]
fn r36_a_changed_rule_may_take_over_what_waits() {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::running(folder.path(), [rule("taken", "d, n", "takeover_old")]);
    close("takeover_old", true);
    rig.submit(messages("taken", 0..500));
    let new = Rule { pending: Pending::HandOver, ..rule("taken", "d, n, 2 AS v", "takeover_new") };
    rig.rules.put(new).expect("changed");
    rig.submit(messages("taken", 500..600));
    rig.settle();
    in_order("takeover_new", 600);
    assert!(contents("takeover_new").bodies.iter().all(|body| body.contains("\"v\":2")));
    assert_eq!(contents("takeover_old").bodies.len(), 0);
    rig.stop();
}

#[test]
fn messages_of_qos_0_keep_their_place_among_those_that_are_kept() {
    let folder = tempfile::tempdir().expect("folder");
    let limits = LaneLimits { records: 100, bytes: 1 << 20 };
    let rig = Rig::with(folder.path(), limits, SpoolLimits::default());
    rig.rules.put(rule("mixed", "d, n", "mixed")).expect("rule");
    rig.rules.start();
    close("mixed", true);
    let qos = |n: usize| if n.is_multiple_of(5) { QoS::AtMostOnce } else { QoS::AtLeastOnce };
    let many = (0..400).map(|n| message("mixed", n as u64 % 4, n, qos(n)));
    rig.submit(many);
    rig.until("spooled", || rig.rules.lane("mixed", "box").expect("lane").counts().received == 400);
    rig.open("mixed");
    rig.settle();
    in_order("mixed", 400);
    rig.stop();
}

#[test]
fn what_a_poison_leaves_goes_to_the_error_action_also_after_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let rules = || {
        let mut picky = rule("picky", "n, text", "box_of_picky");
        let retry = Some(picky.retry.clone());
        picky.error_action = Some(Box::new(Action { retry, ..action("picky_errors") }));
        picky.retry.then = None;
        [picky]
    };
    let rig = Rig::running(folder.path(), rules());
    close("picky_errors", true);
    let topic = |n: usize| Topic::parse(format!("/pk/dev{}/picky", n % 4), TopicLimits::default());
    let text = |n: usize| if n.is_multiple_of(10) { "bad" } else { "good" };
    let messages = (0..100).map(|n| Message {
        qos: QoS::AtLeastOnce,
        ..Message::new(
            topic(n).expect("topic"),
            format!(r#"{{"n":{n},"text":"{}"}}"#, text(n)),
            clock(),
        )
    });
    rig.submit(messages);
    rig.until("the good ones", || contents("box_of_picky").bodies.len() == 90);
    rig.until("the envelopes are in the log", || {
        rig.rules.lane("picky", "error_action").expect("lane").counts().received == 10
    });
    rig.stop();
    close("picky_errors", false);
    let rig = Rig::running(folder.path(), rules());
    rig.settle();
    rig.until("the envelopes", || contents("picky_errors").bodies.len() == 10);
    assert_eq!(contents("box_of_picky").bodies.len(), 90, "the good ones are not repeated");
    rig.stop();
}

#[test]
fn a_full_log_holds_the_source_back_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let limits = LaneLimits { records: 10, bytes: 1 << 20 };
    let segment = 16 << 10;
    let spool = SpoolLimits {
        bytes: 4 * segment,
        segment_bytes: segment,
        record_bytes: 8 << 10,
        when_full: WhenFull::Block,
        ..SpoolLimits::default()
    };
    let rig = Rig::with(folder.path(), limits, spool);
    rig.rules.put(rule("full", "d, n", "full")).expect("rule");
    rig.rules.start();
    close("full", true);
    let mut refused = 0;
    let mut waits = Vec::new();
    let mut sent = 0;
    while refused < 50 {
        let (batch, wait) = Batch::awaited(vec![message("full", 1, sent, QoS::AtLeastOnce)]);
        match rig.engine.try_submit(batch) {
            Ok(()) => {
                waits.push(wait);
                sent += 1;
                refused = 0;
            }
            Err(_) => {
                refused += 1;
                rig.runtime.block_on(rig.engine.ready());
            }
        }
        assert!(sent < 5000, "the limit is heeded");
    }
    for wait in waits {
        rig.runtime.block_on(wait.wait()).expect("accepted");
    }
    rig.open("full");
    rig.submit((sent..sent + 10).map(|n| message("full", 1, n, QoS::AtLeastOnce)));
    rig.settle();
    in_order("full", sent + 10);
    rig.stop();
}
