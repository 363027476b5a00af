//! R17 and R18: what no action and no error action could deliver is kept, can be looked at, and is
//! given again once.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::amounts::{amount, figure, optimised, tier};
use super::oracle::Oracle;
use super::process::{PATIENCE, Process, Site};
use super::producer::{Plan, Producers};
use super::sink::{Mode, Sink};
use super::{MQTT_ACTION, broker, rule};

/// What `tidegate dlq list --json` shows: one document a line, or one list.
async fn listed(site: &Site, args: &[&str]) -> (Vec<Value>, Duration) {
    let (code, text, took) = site.run(&[&["dlq", "list", "--json"], args].concat()).await;
    assert_eq!(code, 0, "{text}");
    let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let values = values.map(|value| value.unwrap_or_else(|error| panic!("{error}: {text}")));
    let entries = values.flat_map(|value| match value {
        Value::Array(entries) => entries,
        other => vec![other],
    });
    (entries.collect(), took)
}

/// Waits until there are so many entries.
async fn entries(site: &Site, count: usize) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let limit = (count + 1).to_string();
        let (entries, _) = listed(site, &["--limit", &limit]).await;
        // Those that a replay has delivered go a moment after the destination has them.
        assert!(count == 0 || entries.len() <= count, "{} entries, not {count}", entries.len());
        if entries.len() == count {
            return entries;
        }
        assert!(began.elapsed() < PATIENCE, "{} entries, not {count}", entries.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn one_message(process: &Process, oracle: &std::sync::Arc<Oracle>) {
    let one = Plan { mqtt: 0..1, http: 0..0, connections: 1, most: 1, ..Plan::default() };
    Producers::start(oracle, process, &one, false).end().await;
    assert_eq!(oracle.acknowledged(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r17_an_error_action_that_fails_too_ends_in_the_dead_letters() {
    let oracle = Oracle::new(1, 128);
    let (first, second) = (Sink::http("first", &oracle).await, Sink::http("second", &oracle).await);
    first.set(Mode::Answer(400));
    second.set(Mode::Answer(422));
    let rules = format!(
        "rules:\n{}    error_action: {{ {} }}\n",
        rule("fails", &first.http_action()).replace(", then: keep", ""),
        second.http_action()
    );
    let site = Site::new("", &rules);
    let process = site.start().await;
    one_message(&process, &oracle).await;
    let entries = entries(&site, 1).await;
    let id = entries[0]["id"].to_string();
    let (code, text, _) = site.run(&["dlq", "show", id.trim_matches('"'), "--json"]).await;
    assert_eq!(code, 0, "{text}");
    // Both failures in one document, with the message as it came.
    for part in ["400", "422", "fails", "/pk/dev0/user/data"] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    process.balanced().await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r17_an_error_action_that_feeds_its_own_rule_is_cut() {
    let oracle = Oracle::new(1, 128);
    let failing = Sink::http("failing", &oracle).await;
    failing.set(Mode::Answer(400));
    let rules = format!(
        "rules:\n{}    error_action: {{ republish: {{ topic: /pk/dev0/user/data }} }}\n",
        rule("fails", &failing.http_action()).replace(", then: keep", "")
    );
    let site = Site::new("", &rules);
    let process = site.start().await;
    one_message(&process, &oracle).await;
    entries(&site, 1).await;
    let metrics = process.balanced().await;
    let hops = metrics.sum("tidegate_rule_received_total{rule=\"fails\"}");
    figure("R17", "messages that a loop makes of one", hops);
    assert!((2..=9).contains(&hops), "{hops}: {metrics:#?}");
    process.stop().await;
}

/// Messages that end in the dead letters, because their topic can't be made.
async fn bury(site: &Site, oracle: &std::sync::Arc<Oracle>, count: u64) -> Process {
    let process = site.start().await;
    let plan = Plan { http: 0..0, most: count / 4, ..Plan::default() };
    Producers::start(oracle, &process, &plan, false).end().await;
    assert_eq!(oracle.acknowledged(), count);
    let began = Instant::now();
    while process.metrics().await.sum("tidegate_action_failed_total") < count {
        assert!(began.elapsed() < PATIENCE * 5, "not all are given up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r18_dead_letters_are_replayed_once() {
    let count = amount("R18_ENTRIES", [2_000, 10_000, 1_000_000]) / 4 * 4;
    let oracle = Oracle::new(Plan::default().devices(), 128);
    let topics = Sink::mqtt("topics", &oracle).await;
    let good = format!("rules:\n{}", rule("topics", MQTT_ACTION));
    let site = Site::new(&broker(&topics), &good.replace("topic: out", "topic: \"${gone}\""));
    let process = bury(&site, &oracle, count).await;
    let (page, took) = listed(&site, &["--limit", "50"]).await;
    assert_eq!(page.len(), 50);
    figure(
        "R18",
        &format!("a page of 50 of {count}, with the start of the program, ms"),
        took.as_millis(),
    );
    // The time of the program itself is not that of the page.
    let (_, _, bare) = site.run(&["--version"]).await;
    let page_time = took.saturating_sub(bare);
    assert!(!optimised() || page_time <= Duration::from_millis(50), "{page_time:?}");

    site.write("rules/test.yaml", &good);
    process.signal("HUP").await;
    let began = Instant::now();
    while site.log().matches("rules were read again").count() == 0 {
        assert!(began.elapsed() < PATIENCE, "{}", site.last_words());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (code, text, took) = site.run(&["dlq", "replay", "--rule", "topics"]).await;
    assert_eq!(code, 0, "{text}");
    topics.seen.complete(PATIENCE).await;
    topics.seen.check();
    let speed = count as f64 / took.as_secs_f64();
    figure("R18", "replayed, records/s", format!("{speed:.0}"));
    assert_eq!((topics.seen.seen().first, topics.seen.seen().repeated), (count, 0));
    entries(&site, 0).await;
    process.balanced().await;
    process.stop().await;
    assert!(tier() < 2 || speed >= 20_000.0, "{speed:.0} records/s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r18_a_replay_goes_on_after_a_kill() {
    let count = amount("R18_KILLED_ENTRIES", [400, 10_000, 100_000]) / 4 * 4;
    let oracle = Oracle::new(Plan::default().devices(), 128);
    let topics = Sink::mqtt("topics", &oracle).await;
    let good = format!("rules:\n{}", rule("topics", MQTT_ACTION));
    let site = Site::new(&broker(&topics), &good.replace("topic: out", "topic: \"${gone}\""));
    bury(&site, &oracle, count).await.stop().await;
    site.write("rules/test.yaml", &good);
    // Slow enough that the kill comes in the middle.
    topics.set(Mode::Slow(Duration::from_millis(30)));
    let process = site.start().await;
    let (code, text, _) = site.run(&["dlq", "replay", "--rule", "topics", "--no-wait"]).await;
    assert_eq!(code, 0, "{text}");
    let began = Instant::now();
    while topics.seen.seen().first < count / 4 {
        assert!(began.elapsed() < PATIENCE, "the replay begins: {}", topics.seen.seen().first);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    process.kill().await;
    topics.seen.killed();
    let before = topics.seen.seen().first;
    topics.set(Mode::Up);
    let process = site.start().await;
    topics.seen.complete(PATIENCE).await;
    entries(&site, 0).await;
    topics.seen.check();
    figure("R18", "replayed before the kill, of", format!("{before} {count}"));
    figure("R18", "given twice", topics.seen.seen().repeated);
    assert!(topics.seen.seen().repeated <= 2_000, "no more than were in flight");
    process.stop().await;
}
