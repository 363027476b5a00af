//! Generated statements over generated documents: the compiled evaluator against the plainest
//! interpreter that follows the semantics, which walks a tree over serde_json's values.
//!
//! It shares no code with the engine on purpose.

use std::cmp::Ordering;
use std::sync::Arc;

use contract::{Message, NoFacts, Topic, TopicLimits};
use proptest::prelude::*;
use serde_json::Value as Json;
use sql::{Input, Options, Plan, Query, Scratch, Verdict};

/// An expression.
#[derive(Debug, Clone)]
enum Expr {
    /// A constant, as SQL and as a value.
    Const(&'static str, Json),
    /// A path as written.
    Path(&'static str),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(&'static str, Box<Expr>, Box<Expr>),
    Between(bool, Box<[Expr; 3]>),
    In(bool, Box<Expr>, Vec<Expr>),
    Is(&'static str, Box<Expr>),
    /// Operand, arms, ELSE.
    Case(Option<Box<Expr>>, Vec<(Expr, Expr)>, Option<Box<Expr>>),
    Nanvl(Box<Expr>, Box<Expr>),
}

/// A value; `None` is MISSING.
type Value = Option<Json>;

/// A number: an exact integer or a float.
#[derive(Debug, Clone, Copy)]
enum Number {
    Int(i128),
    Float(f64),
}

impl Expr {
    /// SQL with all parentheses.
    fn sql(&self) -> String {
        let list = |list: &[Expr]| list.iter().map(Expr::sql).collect::<Vec<_>>().join(", ");
        let not = |negated: &bool| if *negated { " NOT" } else { "" };
        match self {
            Self::Const(sql, _) => (*sql).to_owned(),
            Self::Path(path) => format!("\"{path}\""),
            Self::Not(inner) => format!("(NOT {})", inner.sql()),
            Self::Negate(inner) => format!("(- {})", inner.sql()),
            Self::Binary(op, a, b) => format!("({} {op} {})", a.sql(), b.sql()),
            Self::Between(negated, parts) => {
                let [value, low, high] = &**parts;
                let not = not(negated);
                format!("({}{not} BETWEEN {} AND {})", value.sql(), low.sql(), high.sql())
            }
            Self::In(negated, value, all) => {
                format!("({}{} IN ({}))", value.sql(), not(negated), list(all))
            }
            Self::Is(what, inner) => format!("({} {what})", inner.sql()),
            Self::Case(operand, arms, otherwise) => {
                let mut text = "CASE".to_owned();
                if let Some(operand) = operand {
                    text = format!("CASE {}", operand.sql());
                }
                for (when, then) in arms {
                    text = format!("{text} WHEN {} THEN {}", when.sql(), then.sql());
                }
                match otherwise {
                    Some(otherwise) => format!("({text} ELSE {} END)", otherwise.sql()),
                    None => format!("({text} END)"),
                }
            }
            Self::Nanvl(a, b) => format!("nanvl({}, {})", a.sql(), b.sql()),
        }
    }

    /// True for a constant that is a number other than 0.
    fn is_number(&self) -> bool {
        matches!(self, Self::Const(_, Json::Number(number)) if number.as_f64() != Some(0.0))
    }

    fn eval(&self, document: &Json) -> Value {
        match self {
            Self::Const(_, value) => Some(value.clone()),
            Self::Path(path) => lookup(document, path),
            Self::Not(inner) => {
                let value = inner.eval(document)?;
                Some(truth(&Some(value)).map_or(Json::Null, |value| Json::Bool(!value)))
            }
            // A negative constant is a constant: it keeps its text.
            Self::Negate(inner) if inner.is_number() => {
                serde_json::from_str(&format!("-{}", inner.sql())).ok()
            }
            Self::Negate(inner) => arithmetic("-", &Some(Json::from(0)), &inner.eval(document)),
            Self::Binary(op @ ("AND" | "OR"), a, b) => {
                junction(*op == "OR", [truth(&a.eval(document)), truth(&b.eval(document))])
            }
            Self::Binary(op @ ("LIKE" | "NOT LIKE"), a, b) => {
                like(op.starts_with("NOT"), &a.eval(document), &b.eval(document))
            }
            Self::Binary(op @ ("=" | "<>" | "<" | "<=" | ">" | ">="), a, b) => {
                let (a, b) = (a.eval(document), b.eval(document));
                answer(compare(op, &a, &b), false, &[a, b])
            }
            Self::Binary(op, a, b) => arithmetic(op, &a.eval(document), &b.eval(document)),
            Self::Between(negated, parts) => {
                let parts = parts.each_ref().map(|part| part.eval(document));
                let sides =
                    [compare(">=", &parts[0], &parts[1]), compare("<=", &parts[0], &parts[2])];
                let both =
                    if sides.contains(&Some(false)) { Some(false) } else { sides[0].and(sides[1]) };
                answer(both, *negated, &parts)
            }
            Self::In(negated, value, list) => {
                let value = value.eval(document);
                let list: Vec<Value> = list.iter().map(|item| item.eval(document)).collect();
                answer(among(&value, &list), *negated, &[value])
            }
            Self::Is(what, inner) => {
                let value = inner.eval(document);
                Some(Json::Bool(match *what {
                    "IS NULL" => value.is_none_or(|value| value.is_null()),
                    "IS NOT NULL" => value.is_some_and(|value| !value.is_null()),
                    "IS MISSING" => value.is_none(),
                    _ => value.is_some(),
                }))
            }
            Self::Case(operand, arms, otherwise) => {
                let operand = operand.as_ref().map(|operand| operand.eval(document));
                let arm = arms.iter().find(|(when, _)| match &operand {
                    Some(operand) => compare("=", operand, &when.eval(document)) == Some(true),
                    None => truth(&when.eval(document)) == Some(true),
                });
                match (arm, otherwise) {
                    (Some((_, then)), _) => then.eval(document),
                    (None, Some(otherwise)) => otherwise.eval(document),
                    (None, None) => Some(Json::Null),
                }
            }
            Self::Nanvl(a, b) => match a.eval(document) {
                None | Some(Json::Null) => b.eval(document),
                value => value,
            },
        }
    }
}

/// AND is decided by FALSE, OR by TRUE.
fn junction(decides: bool, sides: [Option<bool>; 2]) -> Value {
    Some(if sides.contains(&Some(decides)) {
        Json::Bool(decides)
    } else if sides.contains(&None) {
        Json::Null
    } else {
        Json::Bool(!decides)
    })
}

fn among(value: &Value, list: &[Value]) -> Option<bool> {
    let each: Vec<Option<bool>> = list.iter().map(|item| compare("=", value, item)).collect();
    if each.contains(&Some(true)) {
        Some(true)
    } else if each.contains(&None) {
        None
    } else {
        Some(false)
    }
}

fn lookup(document: &Json, path: &str) -> Value {
    let mut value = document;
    for part in path.split(['.', '[']) {
        value = match part.strip_suffix(']').map(|index| index.parse::<i64>().expect("an index")) {
            Some(index) => {
                let list = value.as_array()?;
                let length = i64::try_from(list.len()).expect("short");
                list.get(usize::try_from(if index < 0 { length + index } else { index }).ok()?)?
            }
            None => value.as_object()?.get(part)?,
        };
    }
    Some(value.clone())
}

fn truth(value: &Value) -> Option<bool> {
    value.as_ref()?.as_bool()
}

/// A condition as a value: UNKNOWN is MISSING when an operand is, else NULL.
fn answer(known: Option<bool>, negated: bool, operands: &[Value]) -> Value {
    match known {
        Some(known) => Some(Json::Bool(known != negated)),
        None if operands.contains(&None) => None,
        None => Some(Json::Null),
    }
}

fn read(number: &serde_json::Number) -> Number {
    match (number.as_i64(), number.as_u64()) {
        (Some(value), _) => Number::Int(value.into()),
        (_, Some(value)) => Number::Int(value.into()),
        _ => Number::Float(number.as_f64().expect("a float")),
    }
}

/// A NUMBER, or text that reads as one.
fn number(value: &Json) -> Option<Number> {
    match value {
        Json::Number(number) => Some(read(number)),
        Json::String(text) if text.trim() == text => {
            let read = serde_json::from_str(text).ok().map(|number| read(&number))?;
            // serde_json does not read all floats exactly.
            Some(match (read, text.split_once('.')) {
                (Number::Int(_), _) => read,
                (_, Some((whole, fraction))) if fraction.bytes().all(|b| b == b'0') => {
                    whole.parse::<i64>().map_or(read, |whole| Number::Int(whole.into()))
                }
                _ => Number::Float(text.parse().expect("a number")),
            })
        }
        _ => None,
    }
}

fn float(number: Number) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "as the language has it")]
    match number {
        Number::Int(value) => value as f64,
        Number::Float(value) => value,
    }
}

fn order(a: Number, b: Number) -> Ordering {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => a.cmp(&b),
        (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b).expect("finite"),
        (Number::Float(_), Number::Int(_)) => order(b, a).reverse(),
        (Number::Int(a), Number::Float(b)) => {
            // The floats here are far below i128.
            #[expect(clippy::cast_possible_truncation, reason = "floor first")]
            let floor = b.floor() as i128;
            a.cmp(&floor).then(if b.fract() == 0.0 { Ordering::Equal } else { Ordering::Less })
        }
    }
}

fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => order(read(a), read(b)).is_eq(),
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

fn compare(op: &str, a: &Value, b: &Value) -> Option<bool> {
    let (a, b) = (a.as_ref()?, b.as_ref()?);
    if a.is_null() || b.is_null() {
        return None;
    }
    let order = match (a, b) {
        (Json::String(a), Json::String(b)) => Some(a.chars().cmp(b.chars())),
        (Json::Number(_), Json::Number(_) | Json::String(_))
        | (Json::String(_), Json::Number(_)) => number(a).zip(number(b)).map(|(a, b)| order(a, b)),
        _ => None,
    };
    match op {
        "=" => Some(order.map_or_else(|| same(a, b), Ordering::is_eq)),
        "<>" => Some(!order.map_or_else(|| same(a, b), Ordering::is_eq)),
        "<" => order.map(Ordering::is_lt),
        "<=" => order.map(Ordering::is_le),
        ">" => order.map(Ordering::is_gt),
        _ => order.map(Ordering::is_ge),
    }
}

/// The text of a scalar.
fn text(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        // Numbers of documents and statements keep their text; here those are all short.
        Json::Number(number) if number.is_f64() => Some(match number.as_f64()? {
            value if value.fract() == 0.0 && value.abs() < 1e15 => number.to_string(),
            value if (1e-6..9_007_199_254_740_992.0).contains(&value.abs()) => value.to_string(),
            value => format!("{value:e}"),
        }),
        Json::Bool(_) | Json::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

/// LIKE by trying all splits; `%` alone is special here.
fn like(negated: bool, value: &Value, pattern: &Value) -> Value {
    fn matches(text: &str, pattern: &str) -> bool {
        match pattern.split_once('%') {
            None => text == pattern,
            Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
                let cuts = rest.char_indices().map(|(at, _)| rest.split_at(at).1);
                cuts.chain([""]).any(|rest| matches(rest, tail))
            }),
        }
    }
    let (value, pattern) = (value.as_ref()?, pattern.as_ref()?);
    match (text(value), text(pattern)) {
        (Some(text), Some(pattern)) => Some(Json::Bool(matches(&text, &pattern) != negated)),
        _ => {
            [value, pattern].iter().all(|v| v.is_null() || text(v).is_some()).then_some(Json::Null)
        }
    }
}

fn arithmetic(op: &str, a: &Value, b: &Value) -> Value {
    let (a, b) = (a.as_ref()?, b.as_ref()?);
    if a.is_null() || b.is_null() {
        return Some(Json::Null);
    }
    if op == "||" {
        if let (Json::Array(a), Json::Array(b)) = (a, b) {
            return Some(Json::Array([a.clone(), b.clone()].concat()));
        }
        return Some(Json::String(text(a)? + &text(b)?));
    }
    let (a, b) = (number(a)?, number(b)?);
    if matches!(op, "/" | "%" | "DIV") && float(b) == 0.0 {
        return None;
    }
    let exact = match (a, b, op) {
        (Number::Int(a), Number::Int(b), "+") => Some(a + b),
        (Number::Int(a), Number::Int(b), "-") => Some(a - b),
        (Number::Int(a), Number::Int(b), "*") => a.checked_mul(b),
        (Number::Int(a), Number::Int(b), "/") if a % b == 0 => Some(a / b),
        (Number::Int(a), Number::Int(b), "%") => Some(a % b),
        (Number::Int(a), Number::Int(b), "DIV") => Some(a / b),
        _ => None,
    };
    if let Some(exact) = exact {
        // Exact within 64 bits, an error beyond.
        let signed = i64::try_from(exact).map(Json::from);
        return signed.or_else(|_| u64::try_from(exact).map(Json::from)).ok();
    }
    let (a, b) = (float(a), float(b));
    let value = match op {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" => a / b,
        "%" => a % b,
        _ => (a / b).trunc(),
    };
    #[expect(clippy::cast_possible_truncation, reason = "an integer below 2^53")]
    if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
        return Some(Json::from(value as i64));
    }
    serde_json::Number::from_f64(value).map(Json::Number)
}

fn constant() -> impl Strategy<Value = Expr> {
    const ALL: &[(&str, &str)] = &[
        ("NULL", "null"),
        ("TRUE", "true"),
        ("FALSE", "false"),
        ("0", "0"),
        ("1", "1"),
        ("2", "2"),
        ("1.0", "1.0"),
        ("2.5", "2.5"),
        ("0.1", "0.1"),
        ("9007199254740993", "9007199254740993"),
        ("9223372036854775807", "9223372036854775807"),
        ("''", "\"\""),
        ("'1'", "\"1\""),
        ("'2.50'", "\"2.50\""),
        ("'x'", "\"x\""),
        ("'x1'", "\"x1\""),
        ("'温度'", "\"温度\""),
        ("'it''s'", "\"it's\""),
        ("'x%'", "\"x%\""),
        ("'%1'", "\"%1\""),
        ("'%'", "\"%\""),
    ];
    prop::sample::select(ALL)
        .prop_map(|(sql, json)| Expr::Const(sql, serde_json::from_str(json).expect("a constant")))
}

const PATHS: &[&str] = &["a", "b", "c", "d", "a.b", "c[0]", "c[-1]", "b.c[1].d", "d.a"];

const OPERATORS: &[&str] = &[
    "=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "DIV", "||", "LIKE", "NOT LIKE",
    "AND", "AND", "OR", "OR",
];

fn expression() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        constant(),
        prop::sample::select(PATHS).prop_map(Expr::Path),
        prop::sample::select(PATHS).prop_map(Expr::Path),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let case = (
            prop::option::of(boxed.clone()),
            prop::collection::vec((inner.clone(), inner.clone()), 1..3),
            prop::option::of(boxed.clone()),
        );
        let is =
            prop::sample::select(&["IS NULL", "IS NOT NULL", "IS MISSING", "IS NOT MISSING"][..]);
        let binary = (prop::sample::select(OPERATORS), boxed.clone(), boxed.clone());
        let list = prop::collection::vec(prop_oneof![constant(), inner.clone()], 1..4);
        prop_oneof![
            8 => binary.prop_map(|(op, a, b)| Expr::Binary(op, a, b)),
            1 => boxed.clone().prop_map(Expr::Not),
            1 => boxed.clone().prop_map(Expr::Negate),
            1 => (any::<bool>(), inner.clone(), inner.clone(), inner)
                .prop_map(|(negated, a, b, c)| Expr::Between(negated, Box::new([a, b, c]))),
            1 => (any::<bool>(), boxed.clone(), list).prop_map(|(not, v, l)| Expr::In(not, v, l)),
            1 => (any::<bool>(), boxed.clone(), prop::collection::vec(constant(), 1..12))
                .prop_map(|(not, v, l)| Expr::In(not, v, l)),
            1 => (is, boxed.clone()).prop_map(|(what, inner)| Expr::Is(what, inner)),
            1 => case.prop_map(|(operand, arms, otherwise)| Expr::Case(operand, arms, otherwise)),
            1 => (boxed.clone(), boxed).prop_map(|(a, b)| Expr::Nanvl(a, b)),
        ]
    })
}

fn document() -> impl Strategy<Value = Json> {
    const LEAVES: &[&str] = &[
        "null",
        "true",
        "false",
        "0",
        "1",
        "2",
        "-1",
        "2.5",
        "0.1",
        "1e3",
        "9007199254740992",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "\"\"",
        "\"1\"",
        "\"2.5\"",
        "\"x\"",
        "\"x1\"",
        "\"温度\"",
        "[]",
        "[1]",
        "[1.0]",
        "{}",
    ];
    let leaf =
        prop::sample::select(LEAVES).prop_map(|text| serde_json::from_str(text).expect("JSON"));
    let value = leaf.prop_recursive(3, 12, 3, |inner| {
        let key = prop::sample::select(&["a", "b", "c", "d"][..]).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::Array),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    });
    let key = prop::sample::select(&["a", "b", "c", "d"][..]).prop_map(str::to_owned);
    prop::collection::btree_map(key, value, 0..5)
        .prop_map(|all| Json::Object(all.into_iter().collect()))
}

/// Floats that differ in the last place alone: serde_json does not read the record's exactly.
fn close(a: &Json, b: &Json) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= 2.0 * f64::EPSILON * a.abs(),
        _ => false,
    }
}

/// The records and verdicts of three statements: the value, the condition, its negation. `None` for
/// a statement that is refused because a constant in it can never work.
fn run(expr: &str, payload: &str) -> Option<(Json, bool, bool)> {
    let statements = [
        format!("SELECT {expr} AS r FROM \"t\""),
        format!("SELECT 1 AS x FROM \"t\" WHERE {expr}"),
        format!("SELECT 1 AS x FROM \"t\" WHERE NOT {expr}"),
    ];
    let compile = |sql: &String| match Query::compile(sql, &Options::default()) {
        Ok(query) => Some(Arc::new(query)),
        Err(error) if error.to_string().contains("does not read as one") => None,
        Err(error) => panic!("{sql}: {error}"),
    };
    let plan = Plan::new(statements.iter().map(compile).collect::<Option<_>>()?);
    let mut scratch = Scratch::new();
    plan.prepare(payload.as_bytes(), &mut scratch).expect("JSON");
    let topic = Topic::parse("t", TopicLimits::default()).expect("a topic");
    let message = Message::new(topic, payload.to_owned(), 0);
    let input = Input { message: &message, facts: &NoFacts, rule: "r", has_topic: true };
    let mut out = Vec::new();
    plan.evaluate(0, &input, payload.as_bytes(), &mut scratch, &mut out);
    let record = serde_json::from_slice(&out).expect("a record");
    let mut fires = |index| {
        let verdict =
            plan.evaluate(index, &input, payload.as_bytes(), &mut scratch, &mut Vec::new());
        matches!(verdict, Verdict::Selected(_))
    };
    Some((record, fires(1), fires(2)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn evaluates_as_the_naive_interpreter(expr in expression(), document in document()) {
        let (sql, payload) = (expr.sql(), document.to_string());
        let want = expr.eval(&document);
        let Some((record, fires, fails)) = run(&sql, &payload) else { return Ok(()) };
        let got = record.get("r").cloned();
        let agree = match (&got, &want) {
            (Some(got), Some(want)) => same(got, want) || close(got, want),
            (got, want) => got == want,
        };
        prop_assert!(agree, "{sql}\n over {payload}\n gave {got:?}\n want {want:?}");
        prop_assert_eq!(fires, truth(&want) == Some(true), "WHERE {} over {}", sql, payload);
        prop_assert_eq!(fails, truth(&want) == Some(false), "WHERE NOT {} over {}", sql, payload);
    }
}
