//! Delivery as a table: what a sink answers, and what must come of it. The clock is paused.

mod course;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contract::{
    Body, DeliveryError, FailureKind, Message, Outcome, Record, Sink, Topic, TopicLimits,
};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::backoff::Jitter;
use super::breaker::BreakerState;
use super::{Fanout, Item, Lane, LaneLimits, LaneParts, Reason};
use rule::{Action, ActionPlace, Batching, DataType, Owner, Pending, Retry, Rule};

/// What the scripted sink does with one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Ok,
    Retry,
    Misconfigured,
    Poison,
    Hang,
    /// Ok, a second after the deadline.
    Late,
    Panic,
    /// Retry, but not before so many seconds.
    After(u64),
}

/// Answers as its script says, and `Ok` after that; notes what it was given and when.
struct Scripted {
    script: Mutex<VecDeque<Step>>,
    /// What it does after its script.
    otherwise: Mutex<Step>,
    seen: Mutex<Vec<(Duration, String)>>,
    keys: Mutex<Vec<Option<String>>>,
    /// The number of the call that each record came with.
    calls: Mutex<Vec<usize>>,
    start: Instant,
    batch: usize,
}

impl Scripted {
    fn new(script: &[Step], batch: usize) -> Arc<Self> {
        let script = Mutex::new(script.iter().copied().collect());
        let (seen, keys, calls) = Default::default();
        let otherwise = Mutex::new(Step::Ok);
        Arc::new(Self { script, otherwise, seen, keys, calls, start: Instant::now(), batch })
    }

    /// Does that from now on.
    fn always(&self, step: Step) {
        *self.otherwise.lock().expect("lock") = step;
    }

    fn calls(&self) -> Vec<usize> {
        self.calls.lock().expect("lock").clone()
    }

    fn seen(&self) -> Vec<(u64, String)> {
        let seen = self.seen.lock().expect("lock");
        seen.iter().map(|(at, body)| (at.as_secs(), body.clone())).collect()
    }
}

#[async_trait::async_trait]
impl Sink for Scripted {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let call = self.calls.lock().expect("lock").last().map_or(0, |last| last + 1);
        for record in records {
            self.calls.lock().expect("lock").push(call);
            let body = String::from_utf8_lossy(record.bytes()).into_owned();
            self.seen.lock().expect("lock").push((self.start.elapsed(), body));
            self.keys.lock().expect("lock").push(record.idempotency_key());
            let next = self.script.lock().expect("lock").pop_front();
            let step = next.unwrap_or(*self.otherwise.lock().expect("lock"));
            let error = |kind| DeliveryError::new(kind, format!("{step:?}"));
            outcomes.push(match step {
                Step::Ok => Outcome::Ok,
                Step::Retry => Outcome::Retry(error(FailureKind::Unreachable)),
                Step::Misconfigured => Outcome::Misconfigured(error(FailureKind::Misconfigured)),
                Step::Poison => Outcome::Poison(error(FailureKind::Rejected)),
                Step::Hang => std::future::pending().await,
                Step::Late => {
                    tokio::time::sleep(Duration::from_secs(6)).await;
                    Outcome::Ok
                }
                Step::Panic => panic!("a defect"),
                Step::After(seconds) => Outcome::Retry(DeliveryError {
                    retry_after: Some(Duration::from_secs(seconds)),
                    ..error(FailureKind::Busy)
                }),
            });
        }
        outcomes
    }

    async fn check(&self) -> Result<(), DeliveryError> {
        Ok(())
    }

    fn resource(&self) -> String {
        "scripted".to_owned()
    }

    fn batch_max(&self) -> usize {
        self.batch
    }
}

fn action(name: &str) -> Action {
    Action {
        name: Some(name.to_owned()),
        connector: "scripted".to_owned(),
        settings: Value::Null,
        retry: None,
        deadline: Duration::from_secs(5),
        batch: Batching::default(),
        vendor: None,
    }
}

const LIMITS: LaneLimits = LaneLimits { records: 100, bytes: 10_000 };

/// A lane of a rule with an error action.
fn lane(name: &str, sink: &Arc<Scripted>, limits: LaneLimits) -> Arc<Lane> {
    make(name, Arc::clone(sink) as Arc<dyn Sink>, limits, true, Retry::default())
}

/// A lane of a rule without one.
fn keeping(sink: &Arc<Scripted>, retry: Retry) -> Arc<Lane> {
    make("main", Arc::clone(sink) as Arc<dyn Sink>, LIMITS, false, retry)
}

fn make(
    name: &str,
    sink: Arc<dyn Sink>,
    limits: LaneLimits,
    error_action: bool,
    retry: Retry,
) -> Arc<Lane> {
    make_of(action(name), sink, limits, error_action, retry)
}

fn make_of(
    action: Action,
    sink: Arc<dyn Sink>,
    limits: LaneLimits,
    error_action: bool,
    retry: Retry,
) -> Arc<Lane> {
    let errors = || Action { name: Some("errors".to_owned()), ..action.clone() };
    let error_action = error_action.then(|| Box::new(errors()));
    let rule = Rule {
        name: "rule".to_owned(),
        description: String::new(),
        enabled: true,
        data_type: DataType::Json,
        sql: None,
        actions: vec![action],
        error_action,
        retry,
        pending: Pending::Finish,
        owner: Owner::Api(1),
    };
    let parts = LaneParts {
        rule: Arc::new(rule),
        query: None,
        place: ActionPlace::Nth(0),
        sink,
        limits,
        runtime: Handle::current(),
    };
    Lane::with_jitter(parts, None, || Jitter::seeded(1))
}

fn record(body: &str) -> Record {
    let topic = Topic::parse("/pk/dev1/user/data", TopicLimits::default()).expect("topic");
    let mut message = Message::new(topic, "{\"t\":1}", 0);
    message.id = 7;
    Record::new(vec![message].into(), 0, "rule".into(), Body::Json, body.to_owned().into())
}

fn items<'a>(bodies: &'a [&str], errors: Option<&'a Arc<Lane>>) -> impl Iterator<Item = Item> + 'a {
    bodies.iter().map(move |body| {
        let record = record(body);
        let fanout = errors.map(|lane| Fanout::new(record.clone(), Arc::clone(lane), false));
        Item { fanout, ..Item::volatile(record, 0) }
    })
}

/// Waits until the lanes hold nothing; the paused clock runs on while all tasks wait.
async fn settle(lanes: &[&Arc<Lane>]) {
    while lanes.iter().any(|lane| lane.counts().queued > 0) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_answer_of_a_sink_leads_where_the_table_says() {
    use Step::{After, Hang, Misconfigured, Ok, Panic, Poison, Retry};
    // (script, seconds at which the record is tried, the error that the envelope names)
    let table: &[(&[Step], &[u64], Option<&str>)] = &[
        (&[Ok], &[0], None),
        (&[Retry, Ok], &[0, 1], None),
        (&[Retry, Retry, Ok], &[0, 1, 4], None),
        (&[Retry, Retry, Retry, Ok], &[0, 1, 4, 14], None),
        (&[Retry, Retry, Retry, Retry], &[0, 1, 4, 14], Some("Retry")),
        (&[Poison], &[0], Some("Poison")),
        (&[Misconfigured, Ok], &[0, 60], None),
        (&[Misconfigured, Misconfigured, Ok], &[0, 60, 120], None),
        (&[Misconfigured, Retry, Ok], &[0, 60, 61], None),
        (&[Misconfigured, Poison], &[0, 60], Some("Poison")),
        (&[After(20), Ok], &[0, 20], None),
        (&[Retry, After(2), Ok], &[0, 1, 4], None),
        (&[After(1_000_000), Ok], &[0, 300], None),
        (&[Retry, Poison], &[0, 1], Some("Poison")),
        (&[Hang, Ok], &[0, 6], None),
        (&[Hang, Hang, Hang, Hang], &[0, 6, 14, 29], Some("no answer within the deadline of 5s")),
        (&[Panic], &[0], Some("the sink failed unexpectedly; this is a defect of the sink")),
    ];
    for (script, tries, error) in table {
        let (sink, errors) = (Scripted::new(script, 1), Scripted::new(&[], 1));
        let error_lane = lane("error_action", &errors, LIMITS);
        let lane = lane("main", &sink, LIMITS);
        lane.push(0, items(&["a"], Some(&error_lane)));
        settle(&[&lane, &error_lane]).await;
        let seen: Vec<u64> = sink.seen().iter().map(|(at, _)| *at).collect();
        assert_eq!(&seen, tries, "{script:?}");
        let counts = lane.counts();
        assert_eq!(counts.received, 1);
        assert_eq!(counts.delivered, u64::from(error.is_none()), "{script:?}");
        assert_eq!(counts.failed, u64::from(error.is_some()), "{script:?}");
        assert_eq!(counts.retried, tries.len() as u64 - 1, "{script:?}");
        assert_eq!(counts.dropped, 0, "{script:?}");
        match (error, errors.seen().as_slice()) {
            (None, []) => {}
            (Some(error), [(_, body)]) => {
                let body: Value = serde_json::from_str(body).expect("json");
                assert_eq!(body["failures"][0]["errorMessage"], json!(error), "{script:?}");
            }
            other => panic!("{script:?}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failed_actions_of_one_record_share_one_envelope() {
    let (first, second) = (Scripted::new(&[Step::Poison], 1), Scripted::new(&[Step::Retry; 4], 1));
    let errors = Scripted::new(&[], 1);
    let error_lane = lane("error_action", &errors, LIMITS);
    let (one, two) = (lane("one", &first, LIMITS), lane("two", &second, LIMITS));
    let both: Vec<Item> = items(&["a"], Some(&error_lane)).collect();
    one.push(0, both.iter().cloned());
    two.push(0, both.into_iter());
    settle(&[&one, &two, &error_lane]).await;
    let seen = errors.seen();
    assert_eq!(seen.len(), 1);
    let envelope: Value = serde_json::from_str(&seen[0].1).expect("json");
    let mut failures = envelope["failures"].as_array().expect("failures").clone();
    failures.sort_by_key(|failure| failure["errorMessage"].to_string());
    let failure = |message: &str| json!({ "actionType": "scripted", "actionRegion": "", "actionResource": "scripted", "errorMessage": message });
    assert_eq!(failures, [failure("Poison"), failure("Retry")]);
    assert_eq!(
        envelope.as_object().expect("object").keys().collect::<Vec<_>>(),
        [
            "ruleName",
            "topic",
            "productKey",
            "deviceName",
            "messageId",
            "base64OriginalPayload",
            "failures"
        ]
    );
    assert_eq!(envelope["messageId"], json!("7"));
    assert_eq!(envelope["base64OriginalPayload"], json!("eyJ0IjoxfQ=="));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_action_holds_up_no_other() {
    let (stuck, free) = (Scripted::new(&[Step::Hang; 4], 1), Scripted::new(&[], 1));
    let (slow, quick) = (lane("slow", &stuck, LIMITS), lane("quick", &free, LIMITS));
    let bodies = ["1", "2", "3"];
    slow.push(0, items(&bodies, None));
    quick.push(0, items(&bodies, None));
    settle(&[&quick]).await;
    assert!(free.seen().iter().all(|(at, _)| *at == 0), "{:?}", free.seen());
    assert_eq!(quick.counts().delivered, 3);
    assert_eq!(slow.counts().delivered, 0);
    settle(&[&slow]).await;
    let counts = slow.counts();
    assert_eq!((counts.delivered, counts.dropped), (2, 1), "only the record that hung is given up");
}

#[tokio::test(start_paused = true)]
async fn records_stay_in_order_and_only_what_failed_is_tried_again() {
    use Step::{Ok, Retry};
    let sink = Scripted::new(&[Ok, Retry, Ok], 10);
    let lane = lane("main", &sink, LIMITS);
    lane.push(0, items(&["1", "2", "3"], None));
    settle(&[&lane]).await;
    lane.push(0, items(&["4"], None));
    settle(&[&lane]).await;
    let bodies: Vec<String> = sink.seen().into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, ["1", "2", "3", "2", "4"]);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_has_its_bytes_and_waits_for_more() {
    let sink = Scripted::new(&[], 4);
    let mut batched = action("main");
    batched.batch = Batching { rows: None, bytes: 4, linger: Duration::from_secs(3) };
    let lane =
        make_of(batched, Arc::clone(&sink) as Arc<dyn Sink>, LIMITS, false, Retry::default());
    // One that is alone waits; what is too large for all goes by itself; a full one goes at once.
    lane.push(0, items(&["1"], None));
    settle(&[&lane]).await;
    lane.push(0, items(&["22", "333", "44444", "5", "6"], None));
    settle(&[&lane]).await;
    lane.push(0, items(&["a", "b", "c", "d"], None));
    settle(&[&lane]).await;
    let mut calls: Vec<(u64, Vec<String>)> = Vec::new();
    for (call, (at, body)) in sink.calls().into_iter().zip(sink.seen()) {
        match calls.get_mut(call) {
            Some((_, bodies)) => bodies.push(body),
            None => calls.push((at, vec![body])),
        }
    }
    let bodies: Vec<Vec<&str>> =
        calls.iter().map(|(_, bodies)| bodies.iter().map(String::as_str).collect()).collect();
    let expected: [&[&str]; 6] =
        [&["1"], &["22"], &["333"], &["44444"], &["5", "6"], &["a", "b", "c", "d"]];
    assert_eq!(bodies, expected);
    let at: Vec<u64> = calls.iter().map(|(at, _)| *at).collect();
    assert_eq!((at[0], at[1], at[4] - at[1]), (3, at[3], 3), "{at:?}");
    assert!(at[5] <= at[4] + 1, "a full one waits for nothing: {at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_gives_up_what_does_not_fit_and_says_so() {
    let (stuck, errors) = (Scripted::new(&[Step::Hang], 1), Scripted::new(&[], 1));
    let error_lane = lane("error_action", &errors, LIMITS);
    let small = LaneLimits { records: 2, bytes: 10_000 };
    let lane = lane("main", &stuck, small);
    lane.push(0, items(&["1", "2", "3", "4"], Some(&error_lane)));
    settle(&[&error_lane]).await;
    let counts = lane.counts();
    assert_eq!((counts.received, counts.overflowed, counts.failed), (4, 2, 2));
    assert!(errors.seen().iter().all(|(_, body)| body.contains("the action's queue is full")));
    settle(&[&lane]).await;
    let counts = lane.counts();
    assert_eq!(counts.received, counts.delivered + counts.failed + counts.queued);
}
