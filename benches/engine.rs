//! The engine end to end in process: 100 rules on 100 topics, a sink that counts.
//!
//! Promises: at most 650 ns of a shard's CPU time per message on one shard, and at most 1.15 times
//! that per message on two. The baseline beside it parses each payload into a `serde_json::Value`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use connectors::contract::{
    Batch, ConfigError, DeliveryError, Env, Ingress as _, Message, NoFacts, Outcome, Record, Sink,
    SinkSpec, Topic, TopicLimits,
};
use serde_json::Value;
use tidegate::engine::{Engine, EngineLimits, LaneLimits, RuleSet};
use tidegate::rule::{
    Action, Batching, Compiler, DEADLINE, DataType, Owner, Pending, Retry, Rule, Statement,
};
use tokio::runtime::{Handle, Runtime};

const RULES: usize = 100;
const MESSAGES: usize = 1 << 20;
const BATCH: usize = 256;
const ROUNDS: usize = 5;

static DELIVERED: AtomicU64 = AtomicU64::new(0);

struct Counting;

#[async_trait::async_trait]
impl Sink for Counting {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        DELIVERED.fetch_add(records.len() as u64, Ordering::Relaxed);
        vec![Outcome::Ok; records.len()]
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

const SINKS: &[SinkSpec] = &[SinkSpec {
    name: "count",
    summary: "Counts.",
    example: "{}",
    schema: || schemars::json_schema!({}),
    build: |_: &Value, _: &Env| -> Result<Arc<dyn Sink>, ConfigError> { Ok(Arc::new(Counting)) },
    misread: |_| Vec::new(),
}];

fn compiler() -> Compiler {
    Compiler::new(SINKS, Env::default())
}

fn rule(n: usize) -> Rule {
    let action = Action {
        name: None,
        connector: "count".to_owned(),
        settings: Value::Null,
        retry: None,
        deadline: DEADLINE,
        batch: Batching::default(),
        vendor: None,
    };
    let sql = format!(
        "SELECT deviceName() AS d, items.temperature.value AS t, items.humidity.value AS h, gmtCreate AS at \
         FROM \"/pk{n}/+/thing/event/property/post\" WHERE items.temperature.value > 24"
    );
    Rule {
        name: format!("rule_{n}"),
        description: String::new(),
        enabled: true,
        data_type: DataType::Json,
        sql: Some(Statement::Text(sql)),
        actions: vec![action],
        error_action: None,
        retry: Retry::default(),
        pending: Pending::Finish,
        owner: Owner::Api(n as u64),
    }
}

fn payload(n: usize) -> String {
    let (temperature, humidity) = (10.0 + (n % 260) as f64 / 10.0, 30 + n % 60);
    let time = 1_763_000_000_000_u64 + n as u64;
    format!(
        r#"{{"deviceType":"CustomCategory","iotId":"4z819VQHk6VSLmmBJfrf00107e","requestId":"{n}","productKey":"pk","gmtCreate":{time},"deviceName":"dev{}","items":{{"temperature":{{"value":{temperature:.1},"time":{time}}},"humidity":{{"value":{humidity},"time":{time}}},"Power":{{"value":"on","time":{time}}}}}}}"#,
        n % 1000
    )
}

fn messages() -> Vec<Message> {
    let message = |n: usize| {
        let topic = format!("/pk{}/dev{}/thing/event/property/post", n % RULES, n % RULES);
        let topic = Topic::parse(topic, TopicLimits::default()).expect("topic");
        Message::new(topic, Bytes::from(payload(n)), 0)
    };
    (0..4_000).map(message).collect()
}

/// CPU time of the shards' threads, from the scheduler's own account.
fn shard_cpu() -> Duration {
    let mut sum = 0;
    for task in std::fs::read_dir("/proc/self/task").expect("tasks").flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.starts_with("shard-") {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let time = text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
            sum += time.expect("schedstat");
        }
    }
    Duration::from_nanos(sum)
}

/// Nanoseconds of shard CPU per message with that many shards: the median of several rounds.
fn run(runtime: &Runtime, shards: usize, count: usize) -> f64 {
    let limits = EngineLimits { shards, messages: 16_384, bytes: 64 << 20 };
    let engine = Engine::start(limits, Arc::new(NoFacts), None, 0).expect("threads");
    let lanes = LaneLimits { records: 1 << 20, bytes: 1 << 30 };
    let handle: Handle = runtime.handle().clone();
    let rules = RuleSet::new(Arc::clone(&engine), compiler(), lanes, handle);
    for n in 0..RULES {
        rules.put(rule(n)).expect("rule");
    }
    let messages = messages();
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let before = shard_cpu();
        runtime.block_on(async {
            for start in (0..count).step_by(BATCH) {
                // One connection sends one device's messages: a batch goes to one shard.
                let device = start / BATCH;
                let batch = (0..BATCH).map(|n| {
                    messages[(device + n * RULES) % messages.len() / RULES * RULES + device % RULES]
                        .clone()
                });
                engine.submit(Batch::unacknowledged(batch.collect())).await;
            }
            while engine.counts().queued > 0 || rules.queued() > 0 {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        });
        if round > 0 {
            rounds.push((shard_cpu() - before).as_nanos() as f64 / count as f64);
        }
    }
    engine.stop();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// The same work the usual way: a tree per message, a map per record.
fn baseline(count: usize) -> f64 {
    let messages = messages();
    let start = std::time::Instant::now();
    let mut bytes = 0;
    for n in 0..count {
        let message = &messages[n % messages.len()];
        let value: Value = serde_json::from_slice(&message.payload).expect("json");
        let temperature = &value["items"]["temperature"]["value"];
        if temperature.as_f64().is_some_and(|t| t > 24.0) {
            let record = serde_json::json!({
                "d": message.device_name(), "t": temperature,
                "h": value["items"]["humidity"]["value"], "at": value["gmtCreate"],
            });
            bytes += serde_json::to_vec(&record).expect("json").len();
        }
    }
    std::hint::black_box(bytes);
    start.elapsed().as_nanos() as f64 / count as f64
}

fn main() {
    let test = std::env::args().any(|argument| argument == "--test");
    let count = if test { BATCH * 4 } else { MESSAGES };
    let runtime = Runtime::new().expect("runtime");
    let one = run(&runtime, 1, count);
    let two = run(&runtime, 2, count);
    let usual = baseline(count);
    assert!(DELIVERED.load(Ordering::Relaxed) > 0, "records were delivered");
    if test {
        println!("quick run: it works, and there are no figures");
        return;
    }
    println!(
        "engine, 100 rules on 100 topics: one shard {one:.0} ns/msg, two shards {two:.0} ns/msg"
    );
    println!("baseline, serde_json::Value and no engine around it: {usual:.0} ns/msg");
    println!("ratio engine / 650 ns = {:.2} (promise: <= 1)", one / 650.0);
    println!("ratio two shards / one = {:.2} (promise: <= 1.15)", two / one);
    println!("ratio engine / baseline = {:.2}", one / usual);
}
