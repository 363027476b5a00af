//! R37 and R38: starting while every destination is down, stopping while one of them hangs, and
//! starting again over a long log.

use std::time::Duration;

use super::amounts::{amount, figure, optimised, reached};
use super::oracle::Oracle;
use super::process::{PATIENCE, Site};
use super::producer::{Plan, Producers};
use super::sink::{Mode, Sink};
use super::{broker, rule, two_rules};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r37_it_serves_while_every_destination_is_down() {
    let messages = amount("R37_MESSAGES", [400, 4_000, 40_000]);
    let plan = Plan { http: 0..0, most: messages / 4, ..Plan::default() };
    let oracle = Oracle::new(plan.devices(), 128);
    let calls = Sink::http("calls", &oracle).await;
    let topics = Sink::mqtt("topics", &oracle).await;
    for sink in [&calls, &topics] {
        sink.set(Mode::Refuse);
    }
    let nowhere = rule("nowhere", "http: { url: \"http://no-such-host.invalid/\" }");
    let rules = format!("{}{nowhere}", two_rules(&calls));
    let site = Site::new(&broker(&topics), &rules);
    let process = site.start().await;
    figure("R37", "start until serving, ms", process.took.as_millis());
    assert!(!optimised() || process.took <= Duration::from_secs(1), "{:?}", process.took);
    Producers::start(&oracle, &process, &plan, false).end().await;
    assert_eq!(oracle.acknowledged(), messages / 4 * 4, "all is accepted");
    let mut names = vec!["calls", "topics", "nowhere"];
    let began = std::time::Instant::now();
    while !names.is_empty() {
        let (status, text) = process.get("/readyz").await;
        assert_eq!(status, 200, "devices are not turned away: {text}");
        names.retain(|name| !text.contains(name));
        assert!(began.elapsed() < PATIENCE, "{names:?} are not shown as abnormal: {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for sink in [&calls, &topics] {
        sink.set(Mode::Up);
    }
    for sink in [&calls, &topics] {
        sink.seen.complete(PATIENCE).await;
        sink.seen.check();
    }
    figure("R37", "delivered when they came back, each", oracle.acknowledged());
    oracle.check();
    process.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r38_it_stops_in_time_while_a_destination_hangs() {
    let seconds = amount("R38_STOP_SECONDS", [1, 5, 10]);
    let plan = Plan { rate: 1_000, ..Plan::default() };
    let oracle = Oracle::new(plan.devices(), 128);
    let calls = Sink::http("calls", &oracle).await;
    let topics = Sink::mqtt("topics", &oracle).await;
    let config = format!("{}limits: {{ stop_seconds: {seconds} }}\n", broker(&topics));
    let site = Site::new(&config, &two_rules(&calls));
    let process = site.start().await;
    calls.set(Mode::Hang);
    let producers = Producers::start(&oracle, &process, &plan, false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ended = process.stop().await;
    producers.end().await;
    assert_eq!(ended.code, Some(0), "{}", site.last_words());
    figure("R38", &format!("stopped with a limit of {seconds} s, ms"), ended.took.as_millis());
    // Connections have some seconds to close.
    let rest = if optimised() { 4 } else { 10 };
    assert!(ended.took <= Duration::from_secs(seconds + rest), "{:?}", ended.took);
    let left = calls.seen.missing().0;
    figure("R38", "left for the next start", left);
    assert!(left >= 100, "too little work: {left}");
    calls.set(Mode::Up);
    let process = site.start().await;
    for sink in [&calls, &topics] {
        sink.seen.complete(PATIENCE).await;
        sink.seen.check();
    }
    process.balanced().await;
    oracle.check();
    assert_eq!(process.stop().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r38_it_serves_at_once_over_a_long_log() {
    if !reached(1, "R38, a start over a long log") {
        return;
    }
    let mib = amount("R38_MIB", [64, 1_024, 1_024]);
    let bytes = 64 << 10;
    let plan = Plan { http: 0..0, most: (mib << 20) / bytes / 4, ..Plan::default() };
    let oracle = Oracle::new(plan.devices(), bytes as usize);
    let topics = Sink::mqtt("topics", &oracle).await;
    topics.set(Mode::Refuse);
    let rules = format!("rules:\n{}", rule("topics", super::MQTT_ACTION));
    let site = Site::new(&broker(&topics), &rules);
    let process = site.start().await;
    Producers::start(&oracle, &process, &plan, false).end().await;
    process.kill().await;
    let mut starts = Vec::new();
    for _ in 0..5 {
        let process = site.start().await;
        starts.push(process.took.as_millis() as u64);
        process.kill().await;
    }
    let most = starts.iter().copied().max().unwrap_or(0);
    figure("R38", &format!("start until serving with {mib} MiB of log, at most of 5, ms"), most);
    topics.set(Mode::Up);
    let process = site.start().await;
    topics.seen.complete(PATIENCE).await;
    topics.seen.check();
    oracle.check();
    process.stop().await;
    assert!(oracle.acknowledged() * bytes >= (mib << 20) * 9 / 10, "the log is long");
    assert!(!optimised() || most <= 1_000, "{most} ms");
}
