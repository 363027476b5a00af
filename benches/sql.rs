//! The SQL engine against the usual way to build one (`baseline.rs`), and its parts by themselves.
//!
//! Besides criterion's figures it prints two ratios, each from rounds of both sides in turn, so that
//! a busy machine disturbs both alike.

mod baseline;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use contract::{Message, NoFacts, Topic, TopicLimits};
use criterion::{BatchSize, Criterion};
use sql::functions::FUNCTIONS;
use sql::{Input, Options, Plan, Query, Scratch, Verdict};

const TOPIC: &str = "/a1Pk/dev-0001/thing/event/property/post";

const FIELDS: &str = r#"SELECT deviceName() AS d, items.temperature.value AS t, items.humidity.value AS h
  FROM "/a1Pk/+/thing/event/property/post" WHERE items.temperature.value > 38"#;

/// How many messages take turns.
const MESSAGES: usize = 256;

/// A property message of about 330 bytes.
fn payload(n: usize) -> Vec<u8> {
    let temperature = 20.0 + (n * 7 % 400) as f64 / 10.0;
    let humidity = 30 + n % 60;
    let time = 1_510_799_670_000_u64 + n as u64;
    format!(
        r#"{{"iotId":"4z819VQHk6VSLmmBJfrf00107e{n:04}","productKey":"a1Pk","deviceName":"dev-{n:04}","gmtCreate":{time},"deviceType":"Ammeter","items":{{"temperature":{{"value":{temperature:.1},"time":{time}}},"humidity":{{"value":{humidity},"time":{time}}},"power":{{"value":"on","time":{time}}}}},"checkFailedData":{{}},"requestId":"{n:08}"}}"#
    )
    .into_bytes()
}

fn messages() -> Vec<Message> {
    let topic = Topic::parse(TOPIC, TopicLimits::default()).expect("topic");
    (0..MESSAGES).map(|n| Message::new(topic.clone(), payload(n), 1_510_799_670_074)).collect()
}

fn query(sql: &str) -> Arc<Query> {
    Arc::new(Query::compile(sql, &Options::default()).expect(sql))
}

fn input(message: &Message) -> Input<'_> {
    Input { message, facts: &NoFacts, rule: "bench", has_topic: true }
}

/// One message through a plan: how many rules fire.
fn engine(plan: &Plan, message: &Message, scratch: &mut Scratch, out: &mut Vec<u8>) -> usize {
    out.clear();
    plan.prepare(&message.payload, scratch).expect("JSON");
    let input = input(message);
    let all = 0..plan.queries().len();
    all.filter(|index| {
        let verdict = plan.evaluate(*index, &input, &message.payload, scratch, out);
        matches!(verdict, Verdict::Selected(_) | Verdict::Unnested)
    })
    .count()
}

/// Nanoseconds per call of two sides, measured in turn; medians.
fn race(
    rounds: usize,
    calls: usize,
    mut a: impl FnMut(usize),
    mut b: impl FnMut(usize),
) -> (f64, f64) {
    let time = |side: &mut dyn FnMut(usize)| {
        let start = Instant::now();
        (0..calls).for_each(&mut *side);
        start.elapsed().as_nanos() as f64 / calls as f64
    };
    let (mut left, mut right): (Vec<f64>, Vec<f64>) =
        (0..rounds).map(|_| (time(&mut a), time(&mut b))).unzip();
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    (median(&mut left), median(&mut right))
}

/// Three fields of a property message against the baseline.
fn fields(rounds: usize, calls: usize) {
    let plan = Plan::new(vec![query(FIELDS)]);
    let rule = baseline::Rule {
        items: vec![
            ("d".into(), baseline::Expr::DeviceName),
            ("t".into(), baseline::path("items.temperature.value")),
            ("h".into(), baseline::path("items.humidity.value")),
        ],
        condition: baseline::greater("items.temperature.value", 38.0),
    };
    let messages = messages();
    let (mut scratch, mut out) = (Scratch::new(), Vec::new());
    for message in &messages {
        let fired = engine(&plan, message, &mut scratch, &mut out);
        let want = rule.run(TOPIC, &baseline::decode(&message.payload));
        assert_eq!(fired, usize::from(want.is_some()), "both sides agree");
        let value = |bytes: &[u8]| baseline::decode(bytes);
        assert!(want.is_none_or(|want| value(&want) == value(&out)), "both sides agree");
    }
    let (ours, theirs) = race(
        rounds,
        calls,
        |n| {
            black_box(engine(&plan, &messages[n % MESSAGES], &mut scratch, &mut out));
        },
        |n| {
            let message = &messages[n % MESSAGES];
            black_box(rule.run(message.topic.as_str(), &baseline::decode(&message.payload)));
        },
    );
    if quick() {
        return;
    }
    println!(
        "three fields of {} bytes: engine {ours:.0} ns, baseline {theirs:.0} ns\n\
         ratio engine/baseline = {:.2} (must be <= 0.25)",
        messages[0].payload.len(),
        ours / theirs
    );
}

/// A thousand rules on one topic, of which one fires: read once for all, or once per rule.
fn rules(rounds: usize, calls: usize) {
    let queries: Vec<Arc<Query>> = (0..1000)
        .map(|n| {
            let limit = if n == 500 { 0 } else { 1000 + n };
            query(&format!(
                "SELECT deviceName() AS d, items.temperature.value AS t FROM \"{TOPIC}\" \
                 WHERE items.temperature.value > {limit}"
            ))
        })
        .collect();
    let shared = Plan::new(queries.clone());
    let single: Vec<Plan> = queries.into_iter().map(|query| Plan::new(vec![query])).collect();
    let messages = messages();
    let (mut scratch, mut out) = (Scratch::new(), Vec::new());
    let (mut scratch_single, mut out_single) = (Scratch::new(), Vec::new());
    let (once, each) = race(
        rounds,
        calls,
        |n| {
            let fired = engine(&shared, &messages[n % MESSAGES], &mut scratch, &mut out);
            assert_eq!(fired, 1, "one rule fires");
        },
        |n| {
            let message = &messages[n % MESSAGES];
            let fired: usize = single
                .iter()
                .map(|plan| engine(plan, message, &mut scratch_single, &mut out_single))
                .sum();
            assert_eq!(fired, 1, "one rule fires");
        },
    );
    if quick() {
        return;
    }
    println!(
        "1000 rules on one topic: read once {once:.0} ns, read per rule {each:.0} ns\n\
         ratio once/each = {:.3} (must be <= 0.10)",
        once / each
    );
}

fn bench_messages(criterion: &mut Criterion) {
    let messages = messages();
    let mut group = criterion.benchmark_group("message");
    for (name, sql) in [
        ("three fields", FIELDS),
        ("whole document", "SELECT * FROM \"#\""),
        ("document and a key", "SELECT *, deviceName() AS dn FROM \"#\""),
    ] {
        let plan = Plan::new(vec![query(sql)]);
        let (mut scratch, mut out, mut n) = (Scratch::new(), Vec::new(), 0);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                n += 1;
                engine(&plan, &messages[n % MESSAGES], &mut scratch, &mut out)
            });
        });
    }
    group.finish();
}

/// What UNNEST costs: ten elements as ten records, and the same document as one record.
fn bench_unnest(criterion: &mut Criterion) {
    let element =
        |n| format!(r#"{{"sensor":"s{n}","value":{n}.5,"time":{}}}"#, 1_763_000_000_000_u64 + n);
    let elements: Vec<String> = (0..10).map(element).collect();
    let payload = format!(r#"{{"page":2,"info":[{}]}}"#, elements.join(","));
    let topic = Topic::parse(TOPIC, TopicLimits::default()).expect("topic");
    let message = Message::new(topic, payload, 0);
    let mut group = criterion.benchmark_group("array of ten");
    for (name, sql) in [
        (
            "one record",
            r##"SELECT info[0].sensor AS s, info[0].value AS v FROM "#" WHERE page = 2"##,
        ),
        (
            "ten records",
            r##"SELECT i.sensor AS s, i.value AS v FROM "#", UNNEST(info) AS i WHERE page = 2"##,
        ),
        ("one of ten", r##"SELECT i.sensor AS s FROM "#", UNNEST(info) AS i WHERE i.value > 9"##),
        (
            "page refused",
            r##"SELECT i.sensor AS s FROM "#", UNNEST(info) AS i WHERE page = 3 AND i.value > 9"##,
        ),
    ] {
        let plan = Plan::new(vec![query(sql)]);
        let (mut scratch, mut out) = (Scratch::new(), Vec::new());
        group.bench_function(name, |bencher| {
            bencher.iter(|| engine(&plan, &message, &mut scratch, &mut out));
        });
    }
    group.finish();
}

/// What WHERE costs on values that are extracted already, whichever part decides.
fn predicate(rounds: usize, calls: usize) {
    let sql = "SELECT 1 AS x FROM \"#\" WHERE a > 30 AND b LIKE 'x%' OR c IN (1,2,3)";
    let plan = Plan::new(vec![query(sql)]);
    let topic = Topic::parse(TOPIC, TopicLimits::default()).expect("topic");
    for (name, text) in [
        ("first part decides", r#"{"a":31,"b":"xyz","c":4}"#),
        ("last part decides", r#"{"a":29.5,"b":"xyz","c":3}"#),
        ("nothing holds", r#"{"a":31,"b":"yz","c":4}"#),
    ] {
        let message = Message::new(topic.clone(), text, 0);
        let mut scratch = Scratch::new();
        plan.prepare(text.as_bytes(), &mut scratch).expect("JSON");
        let input = input(&message);
        let mut out = Vec::new();
        let (time, _) = race(
            rounds,
            calls,
            |_| {
                out.clear();
                black_box(plan.evaluate(
                    0,
                    black_box(&input),
                    text.as_bytes(),
                    &mut scratch,
                    &mut out,
                ));
            },
            |_| (),
        );
        if !quick() {
            println!("predicate, {name}: {time:.0} ns (must be <= 60)");
        }
    }
}

/// A row for each class of operator, on values that are extracted already.
const OPERATORS: &[(&str, &str)] = &[
    ("constant", "1"),
    ("path", "a"),
    ("number = constant", "a = 31"),
    ("number > number", "a > n"),
    ("text = constant", "b = 'xyz'"),
    ("text < text", "b < s"),
    ("array = array", "l = l"),
    ("BETWEEN", "a BETWEEN 10 AND 40"),
    ("IN constants", "a IN (1, 2, 3, 31)"),
    ("IN values", "a IN (n, 2, 31)"),
    ("LIKE prefix", "b LIKE 'x%'"),
    ("LIKE middle", "s LIKE '%middle%'"),
    ("IS NULL", "a IS NULL"),
    ("IS MISSING", "gone IS MISSING"),
    ("AND", "a > 30 AND b = 'xyz'"),
    ("OR", "a > 99 OR b = 'xyz'"),
    ("NOT", "NOT a > 99"),
    ("+", "a + n"),
    ("/", "a / n"),
    ("DIV", "a DIV 7"),
    ("unary -", "-a"),
    ("||", "b || s"),
    ("CASE searched", "CASE WHEN a > 99 THEN 1 WHEN a > 30 THEN 2 ELSE 3 END"),
    ("CASE simple", "CASE a WHEN 1 THEN 'x' WHEN 31 THEN 'y' END"),
    ("CAST", "CAST(t AS integer)"),
    ("JSONPath", "\"$.l[*]\""),
];

fn bench_operators(criterion: &mut Criterion) {
    const PAYLOAD: &str =
        r#"{"a":31,"n":2.5,"b":"xyz","s":"a text with a middle part","t":"31","l":[1,2,{"k":3}]}"#;
    let mut group = criterion.benchmark_group("operator");
    for (name, sql) in OPERATORS {
        let plan = Plan::new(vec![query(&format!("SELECT {sql} AS r FROM \"#\""))]);
        let topic = Topic::parse(TOPIC, TopicLimits::default()).expect("topic");
        let message = Message::new(topic, PAYLOAD, 0);
        let (mut scratch, mut out) = (Scratch::new(), Vec::new());
        plan.prepare(&message.payload, &mut scratch).expect("JSON");
        let input = input(&message);
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                out.clear();
                plan.evaluate(0, black_box(&input), &message.payload, &mut scratch, &mut out)
            });
        });
    }
    group.finish();
}

fn bench_functions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("function");
    for function in FUNCTIONS {
        let example = function.examples.first().expect("an example");
        let plan = Plan::new(vec![query(&format!("SELECT {} AS r FROM \"#\"", example.sql))]);
        let topic = Topic::parse(TOPIC, TopicLimits::default()).expect("topic");
        let message = Message::new(topic, example.payload, 1_543_373_798_943);
        let (mut scratch, mut out) = (Scratch::new(), Vec::new());
        plan.prepare(&message.payload, &mut scratch).expect("JSON");
        let input = input(&message);
        group.bench_function(function.name, |bencher| {
            bencher.iter(|| {
                out.clear();
                plan.evaluate(0, black_box(&input), &message.payload, &mut scratch, &mut out)
            });
        });
    }
    group.finish();
}

fn bench_compile(criterion: &mut Criterion) {
    criterion.bench_function("compile", |bencher| {
        bencher.iter_batched(|| FIELDS, query, BatchSize::SmallInput);
    });
}

/// True when the benches only show that they work; there are no figures then.
fn quick() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

fn main() {
    let (rounds, calls) = if quick() { (1, 10) } else { (15, 20_000) };
    fields(rounds, calls);
    rules(rounds, calls / 100 + 1);
    predicate(rounds, calls * 10);
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(500))
        .configure_from_args();
    bench_messages(&mut criterion);
    bench_unnest(&mut criterion);
    bench_operators(&mut criterion);
    bench_functions(&mut criterion);
    bench_compile(&mut criterion);
    criterion.final_summary();
}
