//! R36: a rule that changes while its destination fails and many records wait. Nothing is lost, and
//! the change does not wait for the destination.

use std::time::{Duration, Instant};

use super::amounts::{amount, figure, optimised};
use super::oracle::Oracle;
use super::process::{PATIENCE, Process, Site};
use super::producer::{Plan, Producers};
use super::rule;
use super::sink::{Mode, Sink};

/// Writes the rule anew and waits until the daemon has read it.
async fn change(site: &Site, rules: &str) -> Duration {
    const TOLD: &str = "rules were read again";
    let before = site.log().matches(TOLD).count();
    let began = Instant::now();
    site.write("rules/test.yaml", rules);
    while site.log().matches(TOLD).count() == before {
        assert!(began.elapsed() < PATIENCE, "not read again: {}", site.last_words());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

/// Rules with the old or new destination, and with what becomes of pending records.
fn rules(sink: &Sink, pending: &str) -> String {
    format!("rules:\n{}    pending: {pending}\n", rule("calls", &sink.http_action()))
}

async fn pending(site: &Site, old: &Sink, messages: u64) -> Process {
    let plan = Plan { http: 0..0, most: messages / 4, ..Plan::default() };
    let process = site.start().await;
    let (status, text) = process.get("/readyz").await;
    assert_eq!(status, 200, "the rule runs: {text}");
    old.set(Mode::Answer(503));
    Producers::start(&old.seen.oracle, &process, &plan, false).end().await;
    assert_eq!(old.seen.oracle.acknowledged(), messages / 4 * 4);
    process
}

fn told(took: Duration, how: &str, messages: u64) {
    figure("R36", &format!("{how}: change with {messages} pending, ms"), took.as_millis());
    assert!(!optimised() || took <= Duration::from_secs(1), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r36_pending_records_finish_as_they_were_accepted() {
    let messages = amount("R36_PENDING", [1_000, 100_000, 100_000]);
    let oracle = Oracle::new(Plan::default().devices(), 128);
    let (old, new) = (Sink::http("old", &oracle).await, Sink::http("new", &oracle).await);
    let site = Site::new("", &rules(&old, "finish"));
    let process = pending(&site, &old, messages).await;
    told(change(&site, &rules(&new, "finish")).await, "finish", messages);
    // Also a daemon that is started anew knows where they belong.
    process.kill().await;
    old.set(Mode::Up);
    let process = site.start().await;
    old.seen.complete(PATIENCE).await;
    old.seen.check();
    assert_eq!(new.seen.seen().first, 0, "the new destination gets new messages only");
    let more = Plan { http: 0..0, most: 50, ..Plan::default() };
    Producers::start(&oracle, &process, &more, false).end().await;
    let began = Instant::now();
    while old.seen.seen().first + new.seen.seen().first < oracle.acknowledged() {
        assert!(began.elapsed() < PATIENCE, "the new destination gets new messages");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((old.seen.seen().first, new.seen.seen().first), (messages / 4 * 4, 200));
    oracle.check();
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r36_pending_records_are_handed_over() {
    let messages = amount("R36_PENDING", [1_000, 100_000, 100_000]);
    let oracle = Oracle::new(Plan::default().devices(), 128);
    let (old, new) = (Sink::http("old", &oracle).await, Sink::http("new", &oracle).await);
    let site = Site::new("", &rules(&old, "hand_over"));
    let process = pending(&site, &old, messages).await;
    told(change(&site, &rules(&new, "hand_over")).await, "hand_over", messages);
    new.seen.complete(PATIENCE).await;
    new.seen.check();
    assert_eq!(old.seen.seen().first, 0);
    process.balanced().await;
    oracle.check();
    process.stop().await;
}
