//! Heap allocations, counted: none of the hot path per message beyond the output buffer, none of a
//! function whose result is a number or a boolean, one of a function whose result is text.
//!
//! Not a timing: it asserts, so that it fails in `./scripts/test` when an allocation creeps in.

use std::sync::Arc;

use connectors::contract::{Message, NoFacts, Topic, TopicLimits};
use tidegate::engine::FilterIndex;
use tidegate::sql::functions::{Example, FUNCTIONS};
use tidegate::sql::{Input, Options, Plan, Query, Scratch, Verdict};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Messages that are evaluated while counting.
const MESSAGES: u64 = 10_000;

const PAYLOAD: &str = r#"{"deviceType":"CustomCategory","iotId":"4z819VQHk6VSLmmBJfrf00107e","requestId":"2","productKey":"a1Pk","gmtCreate":1763000000000,"deviceName":"dev1","items":{"temperature":{"value":39.5,"time":1763000000000},"humidity":{"value":60,"time":1763000000000},"Power":{"value":"on","time":1763000000000}},"history":[{"value":1},{"value":2},{"value":3}]}"#;

const STATEMENTS: &[&str] = &[
    "SELECT deviceName() AS d, items.temperature.value AS t, items.humidity.value AS h \
     FROM \"/a1Pk/+/thing/event/property/post\" WHERE items.temperature.value > 38",
    "SELECT items.Power.value AS p FROM \"/a1Pk/+/thing/event/property/post\" \
     WHERE items.humidity.value BETWEEN 50 AND 70 AND (deviceName LIKE 'dev%' OR gmtCreate IN (1, 2, 3))",
    "SELECT * FROM \"/a1Pk/+/thing/event/property/post\"",
    "SELECT deviceName() AS d, i.value AS v FROM \"/a1Pk/+/thing/event/property/post\", \
     UNNEST(history) AS i WHERE items.humidity.value > 50 AND i.value > 1",
];

/// Evaluations of an example while counting.
const CALLS: u64 = 50;

/// Functions that may allocate more, and why.
const EXCEPTIONS: &[(&str, u64, &str)] = &[];

fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();
    hot_path();
    functions();
}

/// How many allocations an example may make; `None` for one that is not counted: with more in
/// or around the call, or a result that is built of parts.
fn allowed(example: &Example) -> Option<u64> {
    if example.sql.matches('(').count() != 1 || !example.sql.ends_with(')') {
        return None;
    }
    match example.result?.as_bytes().first()? {
        b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => Some(0),
        b'"' => Some(1),
        _ => None,
    }
}

fn functions() {
    let topic = Topic::parse("/a1Pk/dev1/user/data", TopicLimits::default()).expect("topic");
    let (mut counted, mut failures) = (0, Vec::new());
    for function in FUNCTIONS {
        for example in function.examples {
            let Some(allowed) = allowed(example) else { continue };
            let exception = EXCEPTIONS.iter().find(|(name, ..)| *name == function.name);
            let allowed = exception.map_or(allowed, |(_, more, _)| *more);
            let sql = format!("SELECT {} AS r FROM \"#\"", example.sql);
            let query = Query::compile(&sql, &Options::default()).expect("an example");
            let plan = Plan::new(vec![Arc::new(query)]);
            let message = Message::new(topic.clone(), example.payload, 1_543_373_798_943);
            let input = Input { message: &message, facts: &NoFacts, rule: "r", has_topic: true };
            let (mut scratch, mut out) = (Scratch::default(), Vec::with_capacity(1 << 20));
            plan.prepare(&message.payload, &mut scratch).expect("valid");
            let mut before = 0;
            for call in 0..=CALLS {
                out.clear();
                plan.evaluate(0, &input, &message.payload, &mut scratch, &mut out);
                if call == 0 {
                    before = dhat::HeapStats::get().total_blocks;
                }
            }
            let per_call = (dhat::HeapStats::get().total_blocks - before).div_ceil(CALLS);
            if per_call > allowed {
                failures.push(format!("{}: {per_call}, not {allowed}", example.sql));
            }
            counted += 1;
        }
    }
    println!("allocations of {counted} examples of {} functions counted", FUNCTIONS.len());
    assert!(failures.is_empty(), "allocations per call:\n{}", failures.join("\n"));
}

fn hot_path() {
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
                selected += u64::from(matches!(verdict, Verdict::Selected(_) | Verdict::Unnested));
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
    assert_eq!(selected, (MESSAGES + 10) * STATEMENTS.len() as u64, "all rules fire");
    assert_eq!(allocations, 0, "the hot path allocates");
}
