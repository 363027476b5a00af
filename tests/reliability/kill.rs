//! R1: a daemon that is killed again and again loses nothing that it has acknowledged.

use std::time::Duration;

use super::amounts::{Chance, amount, figure, millis, optimised, quantile, tier};
use super::oracle::Oracle;
use super::process::{PATIENCE, Site};
use super::producer::{Plan, Producers};
use super::sink::Sink;
use super::{broker, two_rules};

/// Every so many cycles another start is killed before or just after it serves.
const EARLY_EVERY: u64 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_killed_again_and_again_it_loses_nothing_acknowledged() {
    let cycles = amount("R1_CYCLES", [3, 60, 1_000]);
    let least = amount("R1_ACKED", [300, 30_000, 1_000_000]);
    let rate = amount("R1_RATE", [1_000, 2_000, 2_500]);
    // What was delivered so long before a kill is known to be delivered after it.
    let window = millis("R1_WINDOW_MS", [2_000, 1_000, 1_000]);
    let mut chance = Chance::new("R1");
    let plan = Plan { rate, ..Plan::default() };
    let oracle = Oracle::new(plan.devices(), 128);
    let calls = Sink::http("calls", &oracle).await;
    let topics = Sink::mqtt("topics", &oracle).await;
    let site = Site::new(&broker(&topics), &two_rules(&calls));
    let (mut starts, mut done) = (Vec::new(), 0);
    while done < cycles || oracle.acknowledged() < least {
        let process = site.start().await;
        starts.push(process.took.as_micros() as u64);
        let producers = Producers::start(&oracle, &process, &plan, false);
        tokio::time::sleep(Duration::from_millis(chance.within(50..2_000))).await;
        process.kill().await;
        [&calls, &topics].iter().for_each(|sink| sink.seen.killed());
        producers.end().await;
        if done % EARLY_EVERY == EARLY_EVERY - 1 {
            site.start_and_kill(Duration::from_millis(chance.within(1..150))).await;
            [&calls, &topics].iter().for_each(|sink| sink.seen.killed());
        }
        done += 1;
        if done % 50 == 0 {
            println!("R1: {done} kills, {} acknowledged", oracle.acknowledged());
        }
        assert!(done < cycles.max(3) * 4, "too few messages: {}", oracle.acknowledged());
    }
    let process = site.start().await;
    for sink in [&calls, &topics] {
        sink.seen.complete(PATIENCE).await;
    }
    process.balanced().await;
    process.stop().await;

    oracle.check();
    figure("R1", "kills", done);
    figure("R1", "acknowledged", oracle.acknowledged());
    figure("R1", "acknowledged and lost", calls.seen.missing().0 + topics.seen.missing().0);
    let start_ms = quantile(&mut starts, 990) / 1_000;
    figure("R1", "start until serving, p50 ms", quantile(&mut starts, 500) / 1_000);
    figure("R1", "start until serving, p99 ms", start_ms);
    for (name, sink) in [("http", &calls), ("mqtt", &topics)] {
        let seen = sink.seen.seen();
        figure("R1", &format!("{name}: arrived"), seen.first);
        figure("R1", &format!("{name}: twice"), seen.repeated);
        figure("R1", &format!("{name}: twice, most after a kill"), seen.most_per_kill);
        figure("R1", &format!("{name}: twice, without a kill"), seen.unprovoked);
        figure(
            "R1",
            &format!("{name}: twice, oldest before its kill"),
            format!("{:?}", seen.oldest),
        );
        sink.seen.check();
        assert!(seen.oldest <= window, "{name}: delivered {:?} before a kill", seen.oldest);
        assert!(seen.first >= oracle.acknowledged());
    }
    assert!(!optimised() || tier() == 0 || start_ms <= 1_000, "a start takes {start_ms} ms");
}
