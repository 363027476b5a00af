//! Heap allocations of the hot path, counted: none per message beyond the output buffer.
//!
//! Not a timing: it asserts, so that it fails in `./scripts/test` when an allocation creeps in.

use std::sync::Arc;

use connectors::contract::{Message, NoFacts, Topic, TopicLimits};
use tidegate::engine::FilterIndex;
use tidegate::sql::{Input, Options, Plan, Query, Scratch, Verdict};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Messages that are evaluated while counting.
const MESSAGES: u64 = 10_000;

const PAYLOAD: &str = r#"{"deviceType":"CustomCategory","iotId":"4z819VQHk6VSLmmBJfrf00107e","requestId":"2","productKey":"a1Pk","gmtCreate":1763000000000,"deviceName":"dev1","items":{"temperature":{"value":39.5,"time":1763000000000},"humidity":{"value":60,"time":1763000000000},"Power":{"value":"on","time":1763000000000}}}"#;

const STATEMENTS: &[&str] = &[
    "SELECT deviceName() AS d, items.temperature.value AS t, items.humidity.value AS h \
     FROM \"/a1Pk/+/thing/event/property/post\" WHERE items.temperature.value > 38",
    "SELECT items.Power.value AS p FROM \"/a1Pk/+/thing/event/property/post\" \
     WHERE items.humidity.value BETWEEN 50 AND 70 AND (deviceName LIKE 'dev%' OR gmtCreate IN (1, 2, 3))",
    "SELECT * FROM \"/a1Pk/+/thing/event/property/post\"",
];

fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let compile =
        |text: &&str| Arc::new(Query::compile(text, &Options::default()).expect("statement"));
    let queries: Vec<Arc<Query>> = STATEMENTS.iter().map(compile).collect();
    let mut index = FilterIndex::default();
    for (id, query) in (0..).zip(&queries) {
        index.insert(query.filter(), id);
    }
    let plan = Plan::new(queries);
    let topic = "/a1Pk/dev1/thing/event/property/post".to_owned();
    let topic = Topic::parse(topic, TopicLimits::default()).expect("topic");
    let message = Message::new(topic, PAYLOAD, 0);
    let (mut scratch, mut out, mut ids) = (Scratch::default(), Vec::new(), Vec::new());

    let mut selected = 0;
    let mut evaluate = |count: u64| {
        for _ in 0..count {
            ids.clear();
            out.clear();
            index.lookup(&message.topic, &mut ids);
            plan.prepare(&message.payload, &mut scratch).expect("valid");
            for id in &ids {
                let input =
                    Input { message: &message, facts: &NoFacts, rule: "r", has_topic: true };
                let at = *id as usize;
                let verdict = plan.evaluate(at, &input, &message.payload, &mut scratch, &mut out);
                selected += u64::from(matches!(verdict, Verdict::Selected(_)));
            }
        }
    };
    evaluate(10);
    let before = dhat::HeapStats::get().total_blocks;
    evaluate(MESSAGES);
    let allocations = dhat::HeapStats::get().total_blocks - before;
    println!(
        "allocations for {MESSAGES} messages and {} rules: {allocations} (promise: 0)",
        STATEMENTS.len()
    );
    assert_eq!(selected, (MESSAGES + 10) * 3, "all three rules fire");
    assert_eq!(allocations, 0, "the hot path allocates");
}
