//! R13: a dead, slow or hanging destination costs the others next to nothing. Two daemons with the
//! same load take turns: one with a healthy second action, one with a broken one.

use std::time::{Duration, Instant};

use super::amounts::{amount, figure, reached};
use super::oracle::Oracle;
use super::process::{PATIENCE, Process, Site};
use super::producer::{Plan, Producers};
use super::sink::{HOST, Mode, Sink};
use super::{broker, rule};

/// A daemon with a healthy destination whose speed is measured, and something beside it.
struct Side {
    process: Process,
    topics: Sink,
    _site: Site,
}

impl Side {
    async fn new(plan: &Plan, beside: &str) -> Self {
        let oracle = Oracle::new(plan.devices(), 256);
        let topics = Sink::mqtt("topics", &oracle).await;
        let rules =
            format!("rules:\n{}{}", rule("topics", super::MQTT_ACTION), rule("beside", beside));
        let site = Site::new(&broker(&topics), &rules);
        Self { process: site.start().await, topics, _site: site }
    }

    /// Messages a second from the first PUBLISH to the last arrival.
    async fn run(&self, plan: &Plan) -> f64 {
        let oracle = &self.topics.seen.oracle;
        let (before, began) = (oracle.acknowledged(), Instant::now());
        Producers::start(oracle, &self.process, plan, false).end().await;
        self.topics.seen.complete(PATIENCE).await;
        (oracle.acknowledged() - before) as f64 / began.elapsed().as_secs_f64()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r13_a_broken_destination_costs_the_others_nothing() {
    if !reached(1, "R13, isolation of destinations") {
        return;
    }
    let pairs = amount("R13_PAIRS", [1, 7, 7]);
    let messages = amount("R13_MESSAGES", [1_000, 20_000, 40_000]);
    let plan = Plan { http: 0..0, most: messages / 4, ..Plan::default() };
    let broken = Oracle::new(plan.devices(), 256);
    let modes = [
        ("dead", Mode::Refuse),
        ("slow", Mode::Slow(Duration::from_secs(1))),
        ("hanging", Mode::Hang),
    ];
    let mut worst = f64::MAX;
    for (name, mode) in modes {
        let other = Sink::http("broken", &broken).await;
        other.set(mode);
        let well = Side::new(&plan, "file: { path: beside.jsonl }").await;
        let ill =
            Side::new(&plan, &format!("http: {{ url: \"http://{HOST}:{}/\" }}", other.port)).await;
        // Not measured: caches and connections.
        well.run(&plan).await;
        ill.run(&plan).await;
        let mut ratios = Vec::new();
        for pair in 0..pairs {
            let (one, two) = if pair % 2 == 0 { (&well, &ill) } else { (&ill, &well) };
            let (first, second) = (one.run(&plan).await, two.run(&plan).await);
            let ratio = if pair % 2 == 0 { second / first } else { first / second };
            ratios.push(ratio);
        }
        ratios.sort_by(f64::total_cmp);
        let median = ratios[ratios.len() / 2];
        figure(
            "R13",
            &format!("{name}: speed of the other, of {pairs} pairs"),
            format!("{median:.3} ({:.3} to {:.3})", ratios[0], ratios[ratios.len() - 1]),
        );
        for side in [&well, &ill] {
            side.topics.seen.check();
            assert!(side.topics.seen.seen().first >= messages * pairs, "too little work");
        }
        worst = worst.min(median);
    }
    assert!(worst >= 0.95, "a broken destination costs the others {:.1} %", (1.0 - worst) * 100.0);
}
