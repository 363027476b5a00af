//! Posts of five properties over MQTT on loopback, with the history and without it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use connectors::contract::{QoS, Topic, TopicLimits};
use tidegate::broker::client::{Client, Options};

use crate::process::Daemon;
use crate::{NAMES, devices};

/// Devices that post.
const PUBLISHERS: usize = 50;

/// Posts of each that are on their way at once, when the speed counts.
const WINDOW: usize = 10;

/// Posts a second of all of them, when the time of an answer counts: a fraction of what is possible.
const PACE: u64 = 2_000;

/// The daemon, and the product whose devices post.
async fn daemon(folder: &Path, history: bool) -> (Daemon, String) {
    let (store, _, pk, _) = devices(&folder.join("data"), PUBLISHERS).await;
    store.close().await;
    (Daemon::start(folder, &format!("history: {{ enabled: {history} }}")), pk)
}

fn post(n: u64) -> String {
    let values: Vec<_> =
        NAMES.iter().map(|name| format!(r#""{name}":{}.{:02}"#, 20 + n % 20, n % 100)).collect();
    format!(r#"{{"id":"{n}","version":"1.0","sys":{{"ack":0}},"params":{{{}}}}}"#, values.join(","))
}

/// What one publisher got acknowledged, and how long each answer took.
async fn publish(
    (to, pk, number): (SocketAddr, String, usize),
    qos: QoS,
    time: Duration,
    pace: Option<Duration>,
) -> (u64, Vec<Duration>) {
    let mut client = Client::connect(to, Options::new(format!("p{number}"))).await.expect("client");
    let topic = format!("/sys/{pk}/dev{number}/thing/event/property/post");
    let topic = Topic::parse(topic, TopicLimits::default()).expect("topic");
    let window = if pace.is_some() { 1 } else { WINDOW };
    let (start, mut count, mut times) = (Instant::now(), 0_u64, Vec::new());
    while start.elapsed() < time {
        let sent = Instant::now();
        for _ in 0..window {
            client.publish(&topic, post(count).as_bytes(), qos, false).await.expect("published");
        }
        client.flush().await.expect("acknowledged");
        times.push(sent.elapsed());
        count += window as u64;
        if let Some(pace) = pace {
            tokio::time::sleep(pace.saturating_sub(sent.elapsed())).await;
        }
    }
    (count, times)
}

/// Messages a second, and the 99th percentile of an answer in milliseconds.
async fn measure(
    (daemon, pk): &(Daemon, String),
    qos: QoS,
    time: Duration,
    paced: bool,
) -> (f64, f64) {
    let pace = paced.then(|| Duration::from_secs(PUBLISHERS as u64) / PACE as u32);
    let start = Instant::now();
    let tasks: Vec<_> = (0..PUBLISHERS)
        .map(|number| {
            let who = (daemon.mqtt, pk.clone(), number);
            tokio::spawn(publish(who, qos, time, pace))
        })
        .collect();
    let (mut sum, mut times) = (0, Vec::new());
    for task in tasks {
        let (count, took) = task.await.expect("a publisher");
        sum += count;
        times.extend(took);
    }
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100].as_secs_f64() * 1_000.0;
    (sum as f64 / start.elapsed().as_secs_f64(), p99)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Compares the two in turns.
pub async fn compare(rounds: usize, time: Duration, qos: QoS) {
    let (mut rates, mut tails) = ([vec![], vec![], vec![]], [vec![], vec![], vec![]]);
    for round in 0..rounds {
        let mut seen = [(0.0, 0.0); 2];
        for turn in 0..2 {
            let at = (turn + round) % 2;
            // One at a time, each with nothing of the past: a history that catches up is none of the other's.
            let folder = tempfile::tempdir().expect("folder");
            let daemon = daemon(folder.path(), at == 0).await;
            let (rate, _) = measure(&daemon, qos, time, false).await;
            let (_, p99) = measure(&daemon, qos, time, true).await;
            seen[at] = (rate, p99);
        }
        let [(rate, tail), (rate_without, tail_without)] = seen;
        for (into, value) in rates.iter_mut().zip([rate, rate_without, rate / rate_without]) {
            into.push(value);
        }
        for (into, value) in tails.iter_mut().zip([tail, tail_without, tail / tail_without]) {
            into.push(value);
        }
    }
    let [rate, rate_without, rate_ratio] = rates.map(median);
    let [tail, tail_without, tail_ratio] = tails.map(median);
    println!(
        "ingest of 5 properties a post with the history: {rate:.0} messages/s, without {rate_without:.0}, ratio {rate_ratio:.2}"
    );
    println!(
        "PUBACK at {PACE} posts a second with the history: p99 {tail:.1} ms, without {tail_without:.1} ms, ratio {tail_ratio:.2}"
    );
}
