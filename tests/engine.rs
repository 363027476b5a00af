//! The engine in process, with a sink that remembers: order, conservation, changes of rules.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use connectors::contract::{
    Batch, ConfigError, DeliveryError, Env, FailureKind, Ingress, Message, NoFacts, Outcome,
    Record, Sink, SinkSpec, Topic, TopicLimits,
};
use proptest::prelude::*;
use serde_json::Value;
use tidegate::engine::{Engine, EngineLimits, LaneLimits, RuleSet};
use tidegate::rule::{
    Action, Batching, Compiler, DEADLINE, DataType, Owner, Pending, Retry, Rule, Statement,
};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

/// What was delivered: mailbox → bodies in order. A test has mailboxes of its own.
static MAIL: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());

struct Mailbox(String);

/// Mailboxes whose name begins so take records only when there is a permit.
const LOCKED: &str = "locked";
/// Mailboxes whose name begins so reject records that say `bad`.
const PICKY: &str = "picky";
static KEY: Semaphore = Semaphore::const_new(0);

#[async_trait::async_trait]
impl Sink for Mailbox {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        if self.0.starts_with(LOCKED) {
            KEY.acquire().await.expect("open").forget();
        }
        let mut mail = MAIL.lock().expect("lock");
        let bodies = records.iter().map(|r| String::from_utf8_lossy(r.bytes()).into_owned());
        let (bad, good): (Vec<_>, Vec<_>) =
            bodies.partition(|body| self.0.starts_with(PICKY) && body.contains("bad"));
        mail.entry(self.0.clone()).or_default().extend(good);
        let rejected = DeliveryError::new(FailureKind::Rejected, "a bad one");
        let outcome = |record: &Record| match String::from_utf8_lossy(record.bytes()) {
            body if bad.iter().any(|bad| *bad == body) => Outcome::Poison(rejected.clone()),
            _ => Outcome::Ok,
        };
        records.iter().map(outcome).collect()
    }

    async fn check(&self) -> Result<(), DeliveryError> {
        Ok(())
    }

    fn resource(&self) -> String {
        self.0.clone()
    }

    fn batch_max(&self) -> usize {
        16
    }
}

const SINKS: &[SinkSpec] = &[SinkSpec {
    name: "mailbox",
    summary: "Remembers.",
    example: "{}",
    schema: || schemars::json_schema!({}),
    build: |settings: &Value, _: &Env| -> Result<Arc<dyn Sink>, ConfigError> {
        let name = settings.as_str().ok_or_else(|| ConfigError::new("", "a name"))?;
        Ok(Arc::new(Mailbox(name.to_owned())))
    },
    misread: |_| Vec::new(),
}];

fn mail(name: &str) -> Vec<String> {
    MAIL.lock().expect("lock").get(name).cloned().unwrap_or_default()
}

struct Rig {
    runtime: Runtime,
    engine: Arc<Engine>,
    rules: RuleSet,
}

impl Rig {
    fn new(shards: usize, queue: usize) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("runtime");
        let limits = EngineLimits { shards, messages: queue, bytes: 1 << 30 };
        let engine = Engine::start(limits, Arc::new(NoFacts), None, 0).expect("threads");
        let compiler = Compiler::new(SINKS, Env::default());
        let lanes = LaneLimits { records: 100_000, bytes: 1 << 30 };
        let rules = RuleSet::new(engine.clone(), compiler, lanes, runtime.handle().clone());
        Self { runtime, engine, rules }
    }

    fn submit(&self, messages: Vec<Message>) {
        self.runtime.block_on(self.engine.submit(Batch::unacknowledged(messages)));
    }

    fn settle(&self) {
        let start = Instant::now();
        while self.engine.counts().queued > 0 || self.rules.queued() > 0 {
            assert!(start.elapsed() < Duration::from_secs(20), "the engine comes to rest");
            std::thread::yield_now();
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.engine.stop();
    }
}

fn action(mailbox: &str) -> Action {
    Action {
        name: None,
        connector: "mailbox".to_owned(),
        settings: Value::from(mailbox),
        retry: None,
        deadline: DEADLINE,
        batch: Batching::default(),
        vendor: None,
    }
}

fn rule(id: u64, name: &str, sql: &str, mailbox: &str) -> Rule {
    let action = action(mailbox);
    Rule {
        name: name.to_owned(),
        description: String::new(),
        enabled: true,
        data_type: DataType::Json,
        sql: Some(Statement::Text(sql.to_owned())),
        actions: vec![action],
        error_action: None,
        retry: Retry::default(),
        pending: Pending::Finish,
        owner: Owner::Api(id),
    }
}

fn message(topic: &str, payload: String) -> Message {
    Message::new(Topic::parse(topic.to_owned(), TopicLimits::default()).expect("topic"), payload, 0)
}

#[test]
fn a_devices_records_stay_in_order_over_shards_and_batches() {
    let rig = Rig::new(2, 1 << 16);
    rig.rules.put(rule(1, "order_rule", "SELECT n FROM \"/pk/+/x\"", "order")).expect("rule");
    for start in 0..50 {
        let batch = (0..40).map(|n| {
            let n = start * 40 + n;
            message(&format!("/pk/dev{}/x", n % 7), format!(r#"{{"n":"{}:{n}"}}"#, n % 7))
        });
        rig.submit(batch.collect());
    }
    rig.settle();
    let mut last = BTreeMap::new();
    let bodies = mail("order");
    assert_eq!(bodies.len(), 2_000);
    for body in bodies {
        let value: Value = serde_json::from_str(&body).expect("json");
        let (device, n) = value["n"].as_str().and_then(|text| text.split_once(':')).expect("n");
        let n: u64 = n.parse().expect("a number");
        let before = last.insert(device.to_owned(), n);
        assert!(before.is_none_or(|before| before < n), "device {device}: {n} after {before:?}");
    }
}

#[test]
fn a_batch_is_acknowledged_when_it_is_taken_and_refused_when_the_queue_is_full() {
    let rig = Rig::new(1, 4);
    let messages = vec![message("/pk/d/x", "{}".to_owned())];
    let (batch, wait) = Batch::awaited(messages);
    rig.engine.try_submit(batch).expect("there is room");
    rig.runtime.block_on(wait.wait()).expect("accepted");
    rig.settle();
    rig.engine.stop();
    let messages = vec![message("/pk/d/x", "{}".to_owned())];
    let (batch, wait) = Batch::awaited(messages);
    let back = rig.engine.try_submit(batch).expect_err("the engine has stopped");
    assert_eq!(back.messages.len(), 1, "the batch comes back whole");
    drop(back);
    assert!(rig.runtime.block_on(wait.wait()).is_err(), "what is dropped is not acknowledged");
}

#[test]
fn a_full_queue_pushes_back_and_nothing_is_lost() {
    let rig = Rig::new(1, 8);
    rig.rules.put(rule(1, "push_back", "SELECT n FROM \"#\"", "push back")).expect("rule");
    for n in 0..2_000 {
        rig.submit(vec![message("/pk/d/x", format!(r#"{{"n":{n}}}"#))]);
    }
    rig.settle();
    let want: Vec<String> = (0..2_000).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    assert_eq!(mail("push back"), want);
}

#[test]
fn what_waits_for_an_action_that_is_replaced_or_removed_still_counts() {
    let rig = Rig::new(1, 8);
    let sql = "SELECT n FROM \"#\"";
    rig.rules.put(rule(1, "old_rule", sql, "locked")).expect("rule");
    rig.submit(vec![message("/pk/d/x", r#"{"n":1}"#.to_owned())]);
    while rig.rules.queued() == 0 {
        std::thread::yield_now();
    }
    rig.rules.put(rule(1, "old_rule", sql, "replaced")).expect("rule");
    assert_eq!(rig.rules.queued(), 1, "the daemon must not end before it is delivered");
    rig.rules.remove("old_rule");
    assert_eq!(rig.rules.queued(), 1);
    KEY.add_permits(1);
    rig.settle();
    assert_eq!(mail("locked"), [r#"{"n":1}"#]);
}

#[test]
fn a_bad_payload_stops_no_binary_rule_on_the_same_topic() {
    let rig = Rig::new(1, 64);
    rig.rules.put(rule(1, "json_rule", "SELECT n FROM \"t\"", "mixed json")).expect("rule");
    let mut binary = rule(2, "binary_rule", "SELECT to_hex(*) AS h FROM \"t\"", "mixed binary");
    binary.data_type = DataType::Binary;
    rig.rules.put(binary).expect("rule");
    rig.submit(vec![message("t", "{".to_owned()), message("t", r#"{"n":1}"#.to_owned())]);
    rig.settle();
    assert_eq!(mail("mixed json"), [r#"{"n":1}"#]);
    assert_eq!(mail("mixed binary"), [r#"{"h":"7b"}"#, r#"{"h":"7b226e223a317d"}"#]);
    let report = rig.rules.report();
    let counts =
        |name: &str| report.iter().find(|r| r.rule.name == name).expect("rule").counts.clone();
    assert_eq!((counts("json_rule").invalid, counts("json_rule").selected), (1, 1));
    assert_eq!((counts("binary_rule").invalid, counts("binary_rule").selected), (0, 2));
}

#[test]
fn the_records_of_one_message_go_in_order_through_all_actions_under_one_acknowledgement() {
    let rig = Rig::new(1, 1 << 10);
    let sql = "SELECT n, i.v AS v FROM \"#\", UNNEST(l) AS i WHERE i.v IS NOT NULL";
    let mut several = rule(1, "several_rule", sql, "picky several");
    several.actions.push(action("several"));
    several.error_action = Some(Box::new(action("several errors")));
    rig.rules.put(several).expect("rule");
    rig.rules.put(rule(2, "other_rule", "SELECT n FROM \"#\"", "beside several")).expect("rule");
    let bodies = [
        r#"{"n":1,"l":[{"v":"a"},{"v":"bad"},{},{"v":"c"}]}"#,
        r#"{"n":2,"l":[]}"#,
        r#"{"n":3,"l":[{"v":"bad"},{"v":"e"}]}"#,
        r#"{"n":4,"l":5}"#,
    ];
    let many = format!(r#"{{"n":5,"l":[{}]}}"#, vec![r#"{"v":1}"#; 1001].join(","));
    let messages: Vec<Message> = bodies
        .iter()
        .map(|body| (*body).to_owned())
        .chain([many])
        .map(|body| message("/pk/d/x", body))
        .collect();
    let (batch, wait) = Batch::awaited(messages);
    rig.engine.try_submit(batch).expect("there is room");
    rig.runtime.block_on(wait.wait()).expect("one answer for all messages and records");
    rig.settle();

    let record = |n: u8, v: &str| format!(r#"{{"n":{n},"v":"{v}"}}"#);
    assert_eq!(mail("picky several"), [record(1, "a"), record(1, "c"), record(3, "e")]);
    let all = [record(1, "a"), record(1, "bad"), record(1, "c"), record(3, "bad"), record(3, "e")];
    assert_eq!(mail("several"), all);
    assert_eq!(mail("beside several").len(), 5, "other rules see each message once");
    let errors: Vec<Value> = mail("several errors")
        .iter()
        .map(|body| serde_json::from_str(body).expect("JSON"))
        .collect();
    let named: Vec<String> = errors.iter().map(|error| error["record"].to_string()).collect();
    assert_eq!(named, [record(1, "bad"), record(3, "bad")], "each failure says its record");

    let report = rig.rules.report();
    let report = report.iter().find(|report| report.rule.name == "several_rule").expect("rule");
    let counts = &report.counts;
    assert_eq!((counts.received, counts.selected, counts.filtered, counts.aborted), (5, 2, 2, 1));
    assert_eq!(
        counts.errors.iter().collect::<Vec<_>>(),
        [(&"too_many_records", &1), (&"wrong_type", &1)]
    );
    let lanes: Vec<_> =
        report.actions.iter().map(|(_, c)| (c.received, c.delivered, c.failed)).collect();
    assert_eq!(lanes, [(5, 3, 2), (5, 5, 0), (2, 2, 0)]);
}

/// A change of the set of rules, or a message.
#[derive(Debug, Clone)]
enum Step {
    Put(u8, bool),
    Remove(u8),
    Send(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6_u8, any::<bool>()).prop_map(|(rule, enabled)| Step::Put(rule, enabled)),
        (0..6_u8).prop_map(Step::Remove),
        (0..4_u8).prop_map(Step::Send),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn after_any_changes_messages_reach_exactly_the_rules_that_run(
        steps in prop::collection::vec(step(), 1..40),
        case in any::<u64>(),
    ) {
        let rig = Rig::new(2, 1 << 12);
        let mut running: BTreeMap<u8, bool> = BTreeMap::new();
        let mut want: BTreeMap<u8, Vec<String>> = BTreeMap::new();
        let mut sent = 0;
        for step in steps {
            match step {
                Step::Put(n, enabled) => {
                    let sql = format!("SELECT n FROM \"/pk/dev{}/#\"", n % 4);
                    let mut rule = rule(u64::from(n), &format!("rule_{n}"), &sql, &format!("{case} {n}"));
                    rule.enabled = enabled;
                    rig.rules.put(rule).expect("rule");
                    running.insert(n, enabled);
                }
                Step::Remove(n) => {
                    rig.rules.remove(&format!("rule_{n}"));
                    running.remove(&n);
                }
                Step::Send(device) => {
                    sent += 1;
                    rig.submit(vec![message(&format!("/pk/dev{device}/x"), format!(r#"{{"n":{sent}}}"#))]);
                    // A change takes effect from the next batch on: let this one pass first.
                    rig.settle();
                    for (n, _) in running.iter().filter(|(n, enabled)| *n % 4 == device && **enabled) {
                        want.entry(*n).or_default().push(format!(r#"{{"n":{sent}}}"#));
                    }
                }
            }
        }
        rig.settle();
        for n in 0..6 {
            prop_assert_eq!(mail(&format!("{case} {n}")), want.remove(&n).unwrap_or_default(), "rule {}", n);
        }
        prop_assert_eq!(rig.engine.counts().received, sent);
    }
}
