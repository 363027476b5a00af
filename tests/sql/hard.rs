//! Hard messages for every function of the table: its own examples, with arguments in turn replaced by
//! a value that fills a message. Shared with `benches/work.rs`, which measures times.

use std::sync::Arc;

use contract::{Message, NoFacts, Topic, TopicLimits};
use sql::functions::{Example, FUNCTIONS, Function, Kind};
use sql::{Input, Limits, Options, Plan, Query, Scratch, Verdict};

/// A value that is hard on functions, and its JSON text.
pub struct Shape {
    /// What it is.
    pub name: &'static str,
    json: String,
}

/// As many pieces as fit, with commas between them.
fn list(bytes: usize, piece: impl Fn(usize) -> String) -> String {
    let mut all = String::with_capacity(bytes);
    for n in 0.. {
        let next = piece(n);
        if all.len() + next.len() + 1 > bytes {
            break;
        }
        if n > 0 {
            all.push(',');
        }
        all.push_str(&next);
    }
    all
}

fn text(bytes: usize, unit: &str) -> String {
    format!("\"{}\"", unit.repeat(bytes / unit.len()))
}

/// Text that no compression makes shorter.
fn noise(bytes: usize) -> String {
    let mut state = 1_u64;
    let letters = (0..bytes).map(|_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
                [(state >> 58) as usize],
        )
    });
    format!("\"{}\"", letters.collect::<String>())
}

fn deep(bytes: usize, open: &str, close: &str) -> String {
    let inner = list(bytes, |_| "0".into());
    format!("{}[{inner}]{}", open.repeat(120), close.repeat(120))
}

/// Values of about so many bytes.
pub fn shapes(bytes: usize) -> Vec<Shape> {
    let shape = |name, json| Shape { name, json };
    vec![
        shape("equal letters", text(bytes, "a")),
        shape("accents", text(bytes, "é")),
        shape("words", text(bytes, "ab, ")),
        shape("escapes", text(bytes, "\\n")),
        shape("digits", text(bytes, "7")),
        shape("marks", text(bytes, "%&")),
        shape("noise", noise(bytes)),
        shape("numbers", format!("[{}]", list(bytes, |n| (n * 7919 % 1000).to_string()))),
        shape("empty texts", format!("[{}]", list(bytes, |_| "\"\"".into()))),
        shape("records", format!("[{}]", list(bytes, |n| format!("{{\"a\":{n}}}")))),
        shape("pairs", format!("[{}]", list(bytes, |n| format!("[\"k{n}\",{n}]")))),
        shape("arrays in arrays", deep(bytes, "[", "]")),
        shape("members", format!("{{{}}}", list(bytes, |n| format!("\"k{n}\":{n}")))),
        shape("equal keys", format!("{{{}}}", list(bytes, |_| "\"k\":1".into()))),
        shape(
            "a long key",
            format!("{{\"{}\":[{}]}}", "k".repeat(bytes / 2), list(bytes / 2, |_| "0".into())),
        ),
        shape("objects in objects", deep(bytes, "{\"a\":", "}")),
        shape("a large integer", "4611686018427387904".into()),
        shape("a million", "1000000".into()),
        shape("a long number", format!("1{}", "0".repeat(bytes))),
    ]
}

/// Whether an argument of that kind takes that value.
fn takes(kind: Kind, shape: &Shape) -> bool {
    let is = |start: &[char]| shape.json.starts_with(start);
    let number = is(&['1', '4']);
    match kind {
        Kind::Any => true,
        Kind::Boolean => false,
        Kind::Number | Kind::Integer => number || shape.name == "digits",
        Kind::Text | Kind::Bytes => is(&['"']),
        Kind::Array => is(&['[']),
        Kind::Object => is(&['{']),
    }
}

/// A statement and the payload that is hard on it.
pub struct Case {
    pub shape: &'static str,
    pub sql: String,
    pub payload: Vec<u8>,
}

/// The arguments of a call of a function within an example, and what stands before and behind them.
fn arguments<'e>(function: &Function, sql: &'e str) -> Option<(&'e str, Vec<&'e str>, &'e str)> {
    let start =
        sql.to_ascii_lowercase().find(&format!("{}(", function.name.to_ascii_lowercase()))?;
    let open = start + function.name.len() + 1;
    let (mut depth, mut quoted, mut from, mut all) = (0, false, open, Vec::new());
    for (at, char) in sql.char_indices().skip_while(|(at, _)| *at < open) {
        match char {
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' => depth += 1,
            ')' if depth == 0 => {
                all.push(sql.get(from..at)?.trim());
                all.retain(|argument| !argument.is_empty());
                return Some((sql.get(..open)?, all, sql.get(at..)?));
            }
            ')' | ']' => depth -= 1,
            ',' if depth == 0 => {
                all.push(sql.get(from..at)?.trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    None
}

fn of_example(function: &Function, example: &Example, shapes: &[Shape], cases: &mut Vec<Case>) {
    let Some((head, given, tail)) = arguments(function, example.sql) else { return };
    let inside = example.payload.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let members = inside.unwrap_or_default().trim();
    for shape in shapes {
        let fits = |at: usize| takes(function.kind(at), shape);
        let one = (0..given.len()).filter(|at| fits(*at)).map(|at| vec![at]);
        let all: Vec<usize> = (0..given.len()).filter(|at| fits(*at)).collect();
        let more = (all.len() > 1).then_some(all);
        for places in one.chain(more) {
            let mut given = given.clone();
            places.iter().for_each(|at| given[*at] = "x_");
            let call = format!("{head}{}{tail}", given.join(", "));
            let comma = if members.is_empty() { "" } else { "," };
            cases.push(Case {
                shape: shape.name,
                sql: format!("SELECT {call} AS r FROM \"#\""),
                payload: format!("{{\"x_\":{}{comma}{members}}}", shape.json).into_bytes(),
            });
        }
    }
}

/// The hard cases of a function.
pub fn cases(function: &Function, shapes: &[Shape]) -> Vec<Case> {
    let mut cases = Vec::new();
    for example in function.examples.iter().take(3) {
        of_example(function, example, shapes, &mut cases);
    }
    cases
}

/// Statements that are hard beside the calls of single functions.
pub fn statements(shapes: &[Shape]) -> Vec<Case> {
    let many = |part: &str, joint: &str| vec![part; 100].join(joint);
    let statements = [
        format!("SELECT 1 AS r FROM \"#\" WHERE {}", many("x_ LIKE '%b%c%'", " OR ")),
        format!("SELECT 1 AS r FROM \"#\" WHERE {}", many("x_ = 'b'", " OR ")),
        format!("SELECT 1 AS r FROM \"#\" WHERE {}", many("x_ > 5", " AND ")),
        format!("SELECT 1 AS r FROM \"#\" WHERE {}", many("x_ = y_", " OR ")),
        format!("SELECT 1 AS r FROM \"#\" WHERE x_ IN ({})", many("x_ || 'a'", ", ")),
        format!("SELECT {} AS r FROM \"#\"", many("x_", " || ")),
        "SELECT x_ LIKE x_ AS r FROM \"#\"".into(),
        "SELECT *, 1 AS r FROM \"#\"".into(),
        "SELECT x_.*, 1 AS r FROM \"#\"".into(),
        "SELECT \"$..*\" AS r FROM \"#\"".into(),
        "SELECT \"$.x_[?(@.a > 5 && @.a < 4)]\" AS r FROM \"#\"".into(),
        "SELECT \"$..[?search(@, 'a+b')]\" AS r FROM \"#\"".into(),
        "SELECT \"$..[?in(@, $.x_)]\" AS r FROM \"#\"".into(),
        "SELECT \"$..[0,0][0,0]\" AS r FROM \"#\"".into(),
        "SELECT i FROM \"#\", UNNEST(x_) AS i".into(),
        "SELECT *, i FROM \"#\", UNNEST(x_) AS i WHERE i = x_".into(),
        "SELECT regexp_like(x_, '(a{1,50}){1,50}b') AS r FROM \"#\"".into(),
        "SELECT regexp_like(x_, '^(.*a){12}b$') AS r FROM \"#\"".into(),
        "SELECT regexp_count(x_, '(a|b)+c?|a(.*c)?') AS r FROM \"#\"".into(),
        "SELECT regexp_replace(x_, '(a)(b)?([a-z]{1,9})?', '$2$1') AS r FROM \"#\"".into(),
        "SELECT regexp_like(x_, '\\b\\w+\\b\\s[a-z]{5,300}é') AS r FROM \"#\"".into(),
    ];
    let one = |sql: String, shape: &Shape| Case {
        shape: shape.name,
        sql,
        payload: format!("{{\"x_\":{},\"y_\":{{\"a\":[1]}}}}", shape.json).into_bytes(),
    };
    statements
        .into_iter()
        .flat_map(|sql| shapes.iter().map(move |shape| one(sql.clone(), shape)).collect::<Vec<_>>())
        .collect()
}

/// All functions of the table.
pub fn functions() -> &'static [Function] {
    FUNCTIONS
}

/// What an evaluation came to.
pub struct Came {
    pub verdict: Verdict,
    /// Units of work that it has taken.
    pub used: u64,
    pub codes: Vec<&'static str>,
    pub record: Vec<u8>,
}

/// Compiles the statement of a case; `None` when its constants do not suit the function.
pub fn plan(case: &Case) -> Option<Plan> {
    Some(Plan::new(vec![Arc::new(Query::compile(&case.sql, &Options::default()).ok()?)]))
}

/// Evaluates a case.
pub fn evaluate(plan: &Plan, case: &Case, scratch: &mut Scratch) -> Came {
    let topic = Topic::parse("/pk/dn/user/a".to_owned(), TopicLimits::default()).expect("a topic");
    let message = Message::new(topic, case.payload.clone(), 1_700_000_000_000);
    let input = Input { message: &message, facts: &NoFacts, rule: "rule", has_topic: true };
    plan.prepare(&case.payload, scratch).expect("JSON");
    let mut record = Vec::new();
    let verdict = plan.evaluate(0, &input, &case.payload, scratch, &mut record);
    let used = Limits::default().work - scratch.work_left();
    let codes = scratch.errors().iter().map(|error| error.code).collect();
    Came { verdict, used, codes, record }
}
