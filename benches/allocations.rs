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

const OBJECTS: &str = "the members of objects are gathered, to compare them in any order";
const PER_MESSAGE: &str = "what is compiled once of a constant is compiled for each message";
const TREE: &str = "a JSONPath with wildcards, slices or filters works on a tree of the document";

/// Calls that may allocate more, and why.
const EXCEPTIONS: &[(&str, u64, &str)] = &[
    ("array_contains(a, b)", 14, OBJECTS),
    ("json_equal(a, b)", 14, OBJECTS),
    ("format(p, 255, 7, 7)", 5, PER_MESSAGE),
    ("format(p, 12345)", 2, PER_MESSAGE),
    ("get(a, k, 0)", 2, PER_MESSAGE),
    ("regexp_like(a, b)", 400, PER_MESSAGE),
    ("json_path_exists(a, '$..z')", 14, TREE),
    ("json_path_query_first(a, '$..t')", 63, TREE),
];

fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();
    hot_path();
    functions();
}

/// How many allocations an example may make; `None` for one that is not counted: with more in
/// or around the call, or a result that is built of parts. Text that is written with escapes takes
/// one before any function sees it.
fn allowed(example: &Example) -> Option<u64> {
    let escapes = u64::from(example.payload.contains('\\'));
    if example.sql.matches('(').count() != 1 || !example.sql.ends_with(')') {
        return None;
    }
    match example.result?.as_bytes().first()? {
        b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => Some(escapes),
        b'"' => Some(1 + escapes),
        _ => None,
    }
}

/// An example whose first argument is a constant, with that argument in the payload: a call of
/// constants alone is computed when the statement is compiled, and would count nothing.
fn unfolded(sql: &str, payload: &str) -> Option<(String, String)> {
    let (name, rest) = sql.split_once('(')?;
    let end = match rest.strip_prefix('\'') {
        Some(text) => 2 + text.find('\'').filter(|end| text.get(end + 1..end + 2) != Some("'"))?,
        None => rest.find([',', ')'])?,
    };
    let (argument, behind) = rest.split_at(end);
    let text = argument.trim_matches('\'');
    let value = if argument.starts_with('\'') {
        serde_json::to_string(text).ok()?
    } else {
        argument.parse::<f64>().ok().map(|_| argument.to_owned())?
    };
    let is_plain = payload == "{}" && !value.contains('\\');
    is_plain.then(|| (format!("{name}(p{behind}"), format!("{{\"p\":{value}}}")))
}

fn functions() {
    let topic = Topic::parse("/a1Pk/dev1/user/data", TopicLimits::default()).expect("topic");
    let (mut counted, mut failures) = (0, Vec::new());
    for function in FUNCTIONS {
        for example in function.examples {
            let Some(allowed) = allowed(example) else { continue };
            let written = Some((example.sql.to_owned(), example.payload.to_owned()));
            for (sql, payload) in written.into_iter().chain(unfolded(example.sql, example.payload))
            {
                let exception = EXCEPTIONS.iter().find(|(call, ..)| *call == sql);
                let allowed = exception.map_or(allowed, |(_, more, _)| *more);
                let made = allocations(&topic, &sql, payload);
                if made > allowed {
                    failures.push(format!("{sql}: {made}, not {allowed}"));
                }
                counted += 1;
            }
        }
    }
    println!("allocations of {counted} examples of {} functions counted", FUNCTIONS.len());
    assert!(failures.is_empty(), "allocations per call:\n{}", failures.join("\n"));
}

/// The allocations of one evaluation, when others have gone before.
fn allocations(topic: &Topic, sql: &str, payload: String) -> u64 {
    let sql = format!("SELECT {sql} AS r FROM \"#\"");
    let query = Query::compile(&sql, &Options::default()).expect("an example");
    let plan = Plan::new(vec![Arc::new(query)]);
    let message = Message::new(topic.clone(), payload, 1_543_373_798_943);
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
    (dhat::HeapStats::get().total_blocks - before).div_ceil(CALLS)
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
