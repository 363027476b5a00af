//! `tidegate bench`: how fast given rules run on given or generated messages.
//!
//! In process the actions are replaced by a sink that counts, so that only the engine is measured;
//! with `--mqtt` messages travel over loopback through the broker to a subscriber.

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use connectors::contract::{
    Batch, ConfigError, DeliveryError, Env, Ingress as _, Message, NoFacts, Outcome as Delivery,
    Record, Sink, SinkSpec, Topic,
};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{NoPublisher, Outcome, compiler, refused};
use crate::config::Config;
use crate::engine::{Engine, EngineLimits, LaneLimits, RuleSet};

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A rule file or a folder of them.
    #[arg(long)]
    rules: PathBuf,
    /// Messages, one JSON object `{"topic": …, "payload": …}` per line.
    #[arg(long, conflicts_with = "generate", required_unless_present = "generate")]
    messages: Option<PathBuf>,
    /// Make this many messages for the rules' topic filters instead.
    #[arg(long, value_name = "N")]
    generate: Option<usize>,
    /// Messages to send in all, repeated as needed: 1,000,000 by default, of generated ones N.
    #[arg(long)]
    count: Option<usize>,
    /// Send over MQTT on loopback instead of in process.
    #[arg(long)]
    mqtt: bool,
    /// Quality of service with `--mqtt`.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: u8,
    /// Threads that evaluate rules.
    #[arg(long, default_value_t = 1)]
    pub(super) shards: usize,
}

/// Messages to send in all, unless something else is said.
const COUNT: usize = 1_000_000;
/// Between two lines of progress.
const SAY_EVERY: Duration = Duration::from_secs(2);
/// Messages in one batch, as a busy connection gives them.
const BATCH: usize = 256;
/// Single messages whose latency is measured.
const PROBES: usize = 5_000;
/// The longest that a measurement may wait for its records.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn run(args: &Args, config: &Config) -> Outcome {
    super::install_tls();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(refused)?;
    let result = runtime.block_on(async {
        if args.mqtt {
            super::bench_mqtt::run(args, config).await
        } else {
            in_process(args, config).await
        }
    });
    result.map_err(refused)
}

impl Args {
    /// The folder or file of rules.
    pub(super) fn rules(&self) -> &Path {
        &self.rules
    }

    /// Messages to send in all.
    pub(super) fn count(&self) -> usize {
        self.count.or(self.generate).unwrap_or(COUNT)
    }

    /// Quality of service over MQTT.
    pub(super) fn qos(&self) -> u8 {
        self.qos
    }
}

async fn in_process(args: &Args, config: &Config) -> anyhow::Result<()> {
    let limits = EngineLimits { shards: args.shards, messages: 65_536, bytes: 256 << 20 };
    let engine = Engine::start(limits, Arc::new(NoFacts), None, 0)?;
    let mut compiler = compiler(config, Some(Arc::new(NoPublisher)))?;
    compiler.sinks = &COUNTING;
    let lanes = LaneLimits { records: 1 << 20, bytes: 1 << 30 };
    let runtime = tokio::runtime::Handle::current();
    let rules = RuleSet::new(Arc::clone(&engine), compiler, lanes, runtime);
    load(&rules, args.rules())?;
    let messages = messages(args, &rules)?;

    let warm = messages.len().min(args.count());
    submit(&engine, &messages, warm, None).await;
    settle(&engine, &rules).await?;
    let delivered = DELIVERED.load(Ordering::Relaxed);
    let start = Instant::now();
    let saying = Progress::start("messages sent", args.count());
    submit(&engine, &messages, args.count(), Some(&saying)).await;
    settle(&engine, &rules).await?;
    let elapsed = start.elapsed();
    drop(saying);
    let records = DELIVERED.load(Ordering::Relaxed) - delivered;

    let mut latencies = Vec::with_capacity(PROBES);
    let probes = messages.iter().cycle().take(PROBES);
    for message in probes {
        if let Some(latency) = probe(&engine, message).await? {
            latencies.push(latency);
        }
    }
    let count = args.count();
    report(count, records, (count as u64, "messages"), elapsed, latencies);
    engine.stop();
    Ok(())
}

/// Loads rules, or fails with what is wrong with them.
pub(super) fn load(rules: &RuleSet, path: &Path) -> anyhow::Result<()> {
    let loaded = rules.load_folder(path);
    if let Some(problem) = loaded.refused.iter().flat_map(|refused| &refused.problems).next() {
        bail!("{problem}");
    }
    if loaded.rules == 0 {
        bail!("there are no rules in {}", path.display());
    }
    Ok(())
}

async fn submit(engine: &Engine, messages: &[Message], count: usize, progress: Option<&Progress>) {
    let mut sent = 0;
    while sent < count {
        let size = BATCH.min(count - sent);
        let batch = (sent..sent + size).map(|n| messages[n % messages.len()].clone());
        engine.submit(Batch::unacknowledged(batch.collect())).await;
        sent += size;
        if let Some(progress) = progress {
            progress.done.store(sent, Ordering::Relaxed);
        }
    }
}

/// Says on standard error how far long work has come, until it is dropped.
pub(super) struct Progress {
    /// How much is done.
    pub(super) done: Arc<AtomicUsize>,
    saying: tokio::task::JoinHandle<()>,
}

impl Progress {
    /// Of so many.
    pub(super) fn start(what: &'static str, total: usize) -> Self {
        let done = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&done);
        let saying = tokio::spawn(async move {
            loop {
                tokio::time::sleep(SAY_EVERY).await;
                let done = seen.load(Ordering::Relaxed);
                // Who does not read it does not stop the work.
                writeln!(std::io::stderr(), "{done} of {total} {what}").ok();
            }
        });
        Self { done, saying }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.saying.abort();
    }
}

/// Waits until nothing is under way.
async fn settle(engine: &Engine, rules: &RuleSet) -> anyhow::Result<()> {
    let start = Instant::now();
    while engine.counts().queued > 0 || rules.queued() > 0 {
        if start.elapsed() > PATIENCE {
            bail!("the engine did not come to rest within {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    Ok(())
}

/// The time from one message to its first delivered record; `None` when no rule selected it.
async fn probe(engine: &Engine, message: &Message) -> anyhow::Result<Option<Duration>> {
    let (delivered, received) = (DELIVERED.load(Ordering::Acquire), engine.counts().received);
    let start = Instant::now();
    engine.submit(Batch::unacknowledged(vec![message.clone()])).await;
    loop {
        if DELIVERED.load(Ordering::Acquire) > delivered {
            return Ok(Some(start.elapsed()));
        }
        let waited = start.elapsed();
        let evaluated = engine.counts().received > received;
        if evaluated && waited > Duration::from_millis(5) {
            return Ok(None);
        }
        if waited > PATIENCE {
            bail!("a message was not evaluated within {PATIENCE:?}");
        }
        tokio::task::yield_now().await;
    }
}

/// Prints the figures; the throughput is that of what has gone all the way, and of what kind that is.
pub(super) fn report(
    count: usize,
    records: u64,
    (done, what): (u64, &str),
    elapsed: Duration,
    mut latencies: Vec<Duration>,
) {
    let seconds = elapsed.as_secs_f64();
    println!("messages      {count}");
    println!("records       {records}");
    println!("throughput    {:.0} {what}/s", done as f64 / seconds);
    println!("per message   {:.0} ns", seconds * 1e9 / done.max(1) as f64);
    latencies.sort_unstable();
    let at = |part: usize| {
        latencies.get((latencies.len() * part / 100).min(latencies.len().saturating_sub(1)))
    };
    match (at(50), at(99)) {
        (Some(p50), Some(p99)) => {
            println!("latency       p50 {p50:?}, p99 {p99:?} (one message at a time)")
        }
        _ => println!("latency       no message was selected"),
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    topic: String,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// The messages to send: from the file, or made for the rules' filters.
pub(super) fn messages(args: &Args, rules: &RuleSet) -> anyhow::Result<Vec<Message>> {
    let limits = rules.compiler().env.topic_limits;
    let mut messages = Vec::new();
    if let Some(path) = &args.messages {
        let file =
            std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        for (number, line) in std::io::BufReader::new(file).lines().enumerate() {
            let (line, place) = (line?, format!("{}:{}", path.display(), number + 1));
            let line: Line<'_> = serde_json::from_str(&line)
                .with_context(|| format!("{place}: expected {{\"topic\": …, \"payload\": …}}"))?;
            let topic = Topic::parse(line.topic, limits).with_context(|| place)?;
            messages.push(Message::new(topic, Bytes::from(line.payload.get().to_owned()), 0));
        }
    } else {
        let filters = rules.filters();
        for n in 0..args.generate.unwrap_or(0) {
            let Some(filter) = filters.get(n % filters.len().max(1)) else { break };
            let topic =
                filter.as_str().replace('+', &format!("dev{}", n % 1000)).replace('#', "data");
            let topic = Topic::parse(topic, limits).context("a generated topic")?;
            messages.push(Message::new(topic, Bytes::from(payload(n)), 0));
        }
    }
    if messages.is_empty() {
        bail!("there is no message to send");
    }
    Ok(messages)
}

/// A property message of about 330 bytes with varying values.
fn payload(n: usize) -> String {
    let (temperature, humidity) = (15.0 + (n % 400) as f64 / 10.0, 30 + n % 60);
    let time = 1_763_000_000_000_u64 + n as u64;
    format!(
        r#"{{"temperature":{temperature:.1},"deviceType":"CustomCategory","iotId":"4z819VQHk6VSLmmBJfrf00107e","requestId":"{n}","productKey":"a1Pk","gmtCreate":{time},"deviceName":"dev{}","items":{{"temperature":{{"value":{temperature:.1},"time":{time}}},"humidity":{{"value":{humidity},"time":{time}}},"Power":{{"value":"on","time":{time}}}}}}}"#,
        n % 1000
    )
}

static DELIVERED: AtomicU64 = AtomicU64::new(0);

/// The catalogue with every sink replaced by one that counts.
static COUNTING: LazyLock<Vec<SinkSpec>> = LazyLock::new(|| {
    let counting = |spec: &SinkSpec| SinkSpec {
        name: spec.name,
        summary: spec.summary,
        example: spec.example,
        schema: spec.schema,
        build: |_: &Value, _: &Env| -> Result<Arc<dyn Sink>, ConfigError> {
            Ok(Arc::new(Counting))
        },
        misread: spec.misread,
    };
    connectors::SINKS.iter().map(counting).collect()
});

/// Counts records.
struct Counting;

#[async_trait::async_trait]
impl Sink for Counting {
    async fn deliver(&self, records: &[Record]) -> Vec<Delivery> {
        DELIVERED.fetch_add(records.len() as u64, Ordering::Release);
        vec![Delivery::Ok; records.len()]
    }

    async fn check(&self) -> Result<(), DeliveryError> {
        Ok(())
    }

    fn resource(&self) -> String {
        "counting".to_owned()
    }

    fn batch_max(&self) -> usize {
        1_024
    }
}
