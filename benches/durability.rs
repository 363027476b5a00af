//! QoS 1 over MQTT on loopback with the spool and without it, in one run.
//!
//! Promise: 100 publishers, each waiting for its PUBACKs: with the spool at least half of the speed
//! without it; one group commit serves many of them. Also reported: one publisher alone, and what a
//! subscriber with a kept session gets, from the publishers themselves and from a rule that republishes.

mod process;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use connectors::contract::{QoS, Topic, TopicFilter, TopicLimits};
use tidegate::broker::client::{Client, Options};

use process::Daemon;

const PAYLOAD: [u8; 200] = [b'x'; 200];
/// How often, and how long each time, a side is measured.
const FULL: (usize, Duration) = (7, Duration::from_secs(3));
/// The same as a mere test of the bench.
const QUICK: (usize, Duration) = (1, Duration::from_millis(100));

/// A rule that wants nothing of the messages.
const PICKY: &str = "WHERE x = 1\n    actions: [{ log: {} }]\n    data_type: json";
/// A rule that publishes each of them again.
const REPUBLISH: &str =
    "\n    actions: [{ republish: { topic: /out/data } }]\n    data_type: binary";

fn daemon(folder: &Path, spool: bool, rest: &str) -> Daemon {
    std::fs::create_dir_all(folder.join("rules")).expect("folder");
    let rule =
        format!("rules:\n  - name: bench_rule\n    sql: SELECT * FROM \"/pk/+/data\" {rest}\n");
    std::fs::write(folder.join("rules/rule.yaml"), rule).expect("rule");
    Daemon::start(folder, &format!("spool: {{ enabled: {spool} }}"))
}

/// Messages acknowledged per second, with so many publishers of which each has `window` on their way.
async fn rate(to: SocketAddr, publishers: usize, window: usize, time: Duration) -> f64 {
    let start = Instant::now();
    let tasks: Vec<_> = (0..publishers)
        .map(|number| {
            tokio::spawn(async move {
                let mut client =
                    Client::connect(to, Options::new(format!("p{number}"))).await.expect("client");
                let topic = format!("/pk/dev{number}/data");
                let topic = Topic::parse(topic, TopicLimits::default()).expect("topic");
                let mut count = 0_u64;
                while start.elapsed() < time {
                    for _ in 0..window {
                        client
                            .publish(&topic, &PAYLOAD, QoS::AtLeastOnce, false)
                            .await
                            .expect("published");
                    }
                    client.flush().await.expect("acknowledged");
                    count += window as u64;
                }
                count
            })
        })
        .collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await.expect("a publisher");
    }
    sum as f64 / start.elapsed().as_secs_f64()
}

/// Messages per second that publishers get acknowledged, and that a subscriber with a kept session gets.
async fn kept(to: SocketAddr, filter: &str, time: Duration) -> (f64, f64) {
    let mut options = Options::new("keeper");
    (options.clean_start, options.session_expiry_s) = (false, 3_600);
    let mut client = Client::connect(to, options).await.expect("client");
    let filter = TopicFilter::parse(filter, TopicLimits::default()).expect("filter");
    client.subscribe(&filter, QoS::AtLeastOnce).await.expect("subscribed");
    let publishing = rate(to, 100, 10, time);
    let receiving = async {
        let (start, mut count, mut last) = (Instant::now(), 0_u64, Duration::ZERO);
        // Silence after the publishers have ended is the end.
        while let Ok(got) = tokio::time::timeout(Duration::from_secs(1), client.next()).await {
            got.expect("message");
            count += 1;
            last = start.elapsed();
        }
        count as f64 / last.as_secs_f64()
    };
    tokio::join!(publishing, receiving)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let (rounds, time) = if quick { QUICK } else { FULL };
    let folder = tempfile::tempdir().expect("folder");
    let durable = daemon(&folder.path().join("durable"), true, PICKY);
    let volatile = daemon(&folder.path().join("volatile"), false, PICKY);
    for (publishers, window) in [(100, 10), (100, 1), (1, 100)] {
        let (mut with, mut without, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            // In turns, so that what the machine does besides hits both.
            let (first, second) =
                if round % 2 == 0 { (&durable, &volatile) } else { (&volatile, &durable) };
            let a = rate(first.mqtt, publishers, window, time).await;
            let b = rate(second.mqtt, publishers, window, time).await;
            let (d, v) = if round % 2 == 0 { (a, b) } else { (b, a) };
            with.push(d);
            without.push(v);
            ratios.push(d / v);
        }
        println!(
            "durable QoS 1, {publishers} publishers with {window} on their way: {:.0} messages/s, without the spool {:.0}, ratio {:.2}",
            median(with),
            median(without),
            median(ratios)
        );
    }
    drop((durable, volatile));
    for (what, rest, filter) in
        [("plain", PICKY, "/pk/+/data"), ("republished", REPUBLISH, "/out/#")]
    {
        let daemon = daemon(&folder.path().join(what), true, rest);
        let (acknowledged, got) = kept(daemon.mqtt, filter, time).await;
        println!(
            "kept session, {what}: {acknowledged:.0} messages/s acknowledged, {got:.0} messages/s received"
        );
    }
}
