//! `tidegate bench --mqtt`: messages over loopback, through the broker and the rules, to a subscriber.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::bail;
use connectors::contract::{Message, QoS, TopicFilter};

use super::bench::{self, Args, Progress};
use super::daemon::Daemon;
use crate::broker::client::{Client, Options};
use crate::config::Config;

/// The longest that the subscriber waits for a message.
const PATIENCE: Duration = Duration::from_secs(10);
/// Single messages whose latency is measured.
const PROBES: usize = 2_000;

/// Runs a daemon of its own on free ports and sends the messages through it.
pub(super) async fn run(args: &Args, config: &Config) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("tidegate-bench-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&folder)?;
    let mut config = config.clone();
    config.rules = std::path::absolute(args.rules())?;
    config.listen.mqtt.set_port(0);
    config.listen.http.set_port(0);
    config.data_dir.clone_from(&folder);
    config.base_dir.clone_from(&folder);
    config.limits.shards = args.shards;
    let result = measure(args, &config).await;
    std::fs::remove_dir_all(&folder).ok();
    result
}

async fn measure(args: &Args, config: &Config) -> anyhow::Result<()> {
    let daemon = Daemon::start(config).await?;
    let messages = Arc::new(bench::messages(args, &daemon.rules)?);
    let qos = if args.qos() == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
    let mut receiver = Client::connect(daemon.ports.mqtt, Options::new("bench-receiver")).await?;
    let filter = TopicFilter::parse("#", config.limits.topic())?;
    receiver.subscribe(&filter, QoS::AtMostOnce).await?;
    let mut sender = Client::connect(daemon.ports.mqtt, Options::new("bench-sender")).await?;

    let count = args.count();
    let start = Instant::now();
    let sending = {
        let messages = Arc::clone(&messages);
        tokio::spawn(async move {
            send(&mut sender, &messages, count, qos).await?;
            anyhow::Ok((sender, start.elapsed()))
        })
    };
    let saying = Progress::start("messages received", count);
    let (received, elapsed) = receive(&mut receiver, start, &saying).await?;
    drop(saying);
    let (mut sender, sending_took) = sending.await??;

    let mut latencies = Vec::with_capacity(PROBES);
    for message in messages.iter().cycle().take(PROBES) {
        let start = Instant::now();
        sender.publish(&message.topic, &message.payload, QoS::AtMostOnce, false).await?;
        sender.flush().await?;
        loop {
            match tokio::time::timeout(PATIENCE, receiver.next()).await {
                Ok(got) => {
                    if got?.topic == message.topic.as_str() {
                        break;
                    }
                }
                Err(_) => bail!("a message did not arrive within {PATIENCE:?}"),
            }
        }
        latencies.push(start.elapsed());
    }
    println!("over MQTT on loopback, one publisher, one subscriber of `#`, QoS {}", qos.level());
    let sent = count as u64;
    if received < sent {
        println!(
            "note          {} messages were dropped at the subscriber's full queue; sent were {:.0} messages/s",
            sent - received,
            sent as f64 / sending_took.as_secs_f64()
        );
    }
    bench::report(count, received, (received, "delivered messages"), elapsed, latencies);
    daemon.stop().await;
    Ok(())
}

async fn send(
    sender: &mut Client,
    messages: &[Message],
    count: usize,
    qos: QoS,
) -> anyhow::Result<()> {
    for message in messages.iter().cycle().take(count) {
        sender.publish(&message.topic, &message.payload, qos, false).await?;
    }
    Ok(sender.flush().await?)
}

/// Receives until nothing has come for a second.
async fn receive(
    receiver: &mut Client,
    start: Instant,
    progress: &Progress,
) -> anyhow::Result<(u64, Duration)> {
    let mut received = 0_usize;
    let mut last = start.elapsed();
    loop {
        match tokio::time::timeout(Duration::from_secs(1), receiver.next()).await {
            Ok(message) => {
                message?;
                received += 1;
                progress.done.store(received, Ordering::Relaxed);
                last = start.elapsed();
            }
            Err(_) if received > 0 || start.elapsed() > PATIENCE => break,
            Err(_) => {}
        }
    }
    Ok((received as u64, last))
}
