//! Searching with patterns is linear: LIKE, `ilike` and regular expressions over texts made to be hard.
//!
//! Time is measured only as a ratio between sizes, the best of several rounds, with wide margins:
//! several times what engines that change with the size make of it, a quarter of what is quadratic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::{Message, NoFacts, Topic, TopicLimits};
use sql::{Input, Options, Plan, Query, Scratch};

/// The lesser size, in characters.
const SHORT: usize = 2_000;

/// How many times longer the other text is.
const TIMES: u32 = 64;

/// What the long text may cost, in costs of the short one. Linear is 64, quadratic 4096.
const MOST: u32 = TIMES * 16;

/// The least time that an expression takes over a text.
fn cost(expression: &str, unit: &str, length: usize, end: &str) -> Duration {
    let sql = format!("SELECT {expression} AS r FROM \"#\"");
    let query = Arc::new(Query::compile(&sql, &Options::default()).expect(&sql));
    let plan = Plan::new(vec![query]);
    let text: String = unit.chars().cycle().take(length).collect();
    let payload = format!(r#"{{"a":"{text}{end}"}}"#).into_bytes();
    let topic = Topic::parse("t".to_owned(), TopicLimits::default()).expect("a topic");
    let message = Message::new(topic, payload.clone(), 0);
    let input = Input { message: &message, facts: &NoFacts, rule: "rule", has_topic: true };
    let mut scratch = Scratch::new();
    let mut least = Duration::MAX;
    for _ in 0..5 {
        plan.prepare(&payload, &mut scratch).expect("JSON");
        let start = Instant::now();
        plan.evaluate(0, &input, &payload, &mut scratch, &mut Vec::new());
        least = least.min(start.elapsed());
    }
    least
}

#[test]
fn hard_patterns_cost_in_proportion_to_the_text() {
    for (expression, unit, end) in [
        ("regexp_like(a, '^(a+)+$')", "a", "!"),
        ("regexp_like(a, '(a|aa)+$')", "a", "!"),
        ("regexp_like(a, '(a|a?)+$')", "a", "!"),
        ("regexp_like(a, '^(.*a){12}$')", "a", "!"),
        ("regexp_like(a, '(x+x+)+y')", "x", ""),
        ("regexp_instr(a, '(a*)*b')", "a", ""),
        ("regexp_substr(a, '.*.*=.*')", "a", ""),
        ("regexp_groups(a, '^(a+)+!$')", "a", "?"),
        ("regexp_replace(a, '(a+)+$', 'x')", "a", "!"),
        ("regexp_count(a, '(a|b)+c?')", "ab", ""),
        ("regexp_split(a, '(?:,\\s?)+')", ", ", "x"),
        ("a LIKE '%a%a%a%a%b'", "a", "!"),
        ("a LIKE '%ab%ab%ab%abb%'", "ab", "!"),
        ("ilike(a, '%a%a%a%a%b')", "a", "!"),
    ] {
        let short = cost(expression, unit, SHORT, end).max(Duration::from_micros(1));
        let long = cost(expression, unit, SHORT * TIMES as usize, end);
        assert!(long < short * MOST, "{expression}: {short:?} grows to {long:?}");
    }
}
