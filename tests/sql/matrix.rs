//! Every operator over all pairs of kinds of values, as tables in `matrix.txt` that are read by people.
//!
//! A cell is what the operator gives as a value. The same operation is then made in the other ways
//! that the engine knows, as a condition, negated, and with one side or both as a constant, and must
//! agree with its cell. `UPDATE_EXPECT=1` writes the tables; read the difference before committing it.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use contract::{Message, NoFacts, Topic, TopicLimits};
use sql::{Input, Options, Plan, Query, Scratch, Verdict};

/// The kinds: a heading, the value in a document, and the value as a constant of SQL.
const KINDS: [(&str, Option<&str>, Option<&str>); 11] = [
    ("MISSING", None, None),
    ("null", Some("null"), Some("NULL")),
    ("true", Some("true"), Some("TRUE")),
    ("false", Some("false"), Some("FALSE")),
    ("2", Some("2"), Some("2")),
    ("2.5", Some("2.5"), Some("2.5")),
    ("'2'", Some("\"2\""), Some("'2'")),
    ("'x'", Some("\"x\""), Some("'x'")),
    ("''", Some("\"\""), Some("''")),
    ("[1]", Some("[1]"), None),
    ("{k:1}", Some("{\"k\":1}"), None),
];

/// The operators of two operands; `{a}` and `{b}` stand for them.
const BINARY: [&str; 23] = [
    "{a} = {b}",
    "{a} <> {b}",
    "{a} < {b}",
    "{a} <= {b}",
    "{a} > {b}",
    "{a} >= {b}",
    "{a} BETWEEN {b} AND 3",
    "{a} NOT BETWEEN 1 AND {b}",
    "{a} IN ({b})",
    "{a} NOT IN ({b})",
    "{a} IN (7, {b}, NULL)",
    "{a} LIKE {b}",
    "{a} NOT LIKE {b}",
    "{a} AND {b}",
    "{a} OR {b}",
    "{a} + {b}",
    "{a} - {b}",
    "{a} * {b}",
    "{a} / {b}",
    "{a} % {b}",
    "{a} DIV {b}",
    "{a} || {b}",
    "CASE {a} WHEN {b} THEN 'same' END",
];

/// The operators of one operand.
const UNARY: [&str; 9] = [
    "NOT {a}",
    "- {a}",
    "+ {a}",
    "{a} IS NULL",
    "{a} IS NOT NULL",
    "{a} IS MISSING",
    "{a} IS NOT MISSING",
    "CASE WHEN {a} THEN 'yes' ELSE 'no' END",
    "{a} LIKE 'x%'",
];

/// What an evaluation gave: the record, and whether an error was counted.
fn evaluate(sql: &str, payload: &str) -> (Option<String>, bool) {
    let query = Query::compile(sql, &Options::default()).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let plan = Plan::new(vec![Arc::new(query)]);
    let mut scratch = Scratch::new();
    plan.prepare(payload.as_bytes(), &mut scratch).expect("JSON");
    let topic = Topic::parse("t", TopicLimits::default()).expect("a topic");
    let message = Message::new(topic, payload.to_owned(), 0);
    let input = Input { message: &message, facts: &NoFacts, rule: "r", has_topic: true };
    let mut out = Vec::new();
    let verdict = plan.evaluate(0, &input, payload.as_bytes(), &mut scratch, &mut out);
    let record = String::from_utf8(out).expect("UTF-8");
    let fired = matches!(verdict, Verdict::Selected(_));
    (fired.then_some(record), !scratch.errors().is_empty())
}

/// The value of an expression as a cell shows it.
fn cell(expr: &str, payload: &str) -> String {
    let (record, error) = evaluate(&format!("SELECT {expr} AS r FROM \"t\""), payload);
    let record = record.expect("nothing filters");
    let value = record.strip_prefix("{\"r\":").and_then(|rest| rest.strip_suffix('}'));
    match (value, error) {
        (Some(value), false) => value.to_owned(),
        (None, false) => "missing".to_owned(),
        (None, true) => "error".to_owned(),
        (Some(value), true) => format!("{value} (error)"),
    }
}

fn document(a: usize, b: usize) -> String {
    let members = [("a", KINDS[a].1), ("b", KINDS[b].1)];
    let members =
        members.iter().filter_map(|(key, value)| Some(format!("\"{key}\":{}", (*value)?)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// Holds the cell of an operation against all other ways to ask for it; the number of ways.
fn agree(operator: &str, a: usize, b: usize, want: &str) -> usize {
    let payload = document(a, b);
    let mut ways = 0;
    let mut forms = vec![operator.replace("{a}", "a").replace("{b}", "b")];
    for (left, right) in [(true, false), (false, true), (true, true)] {
        let side = |constant: bool, name: &'static str, kind: usize| {
            if constant { KINDS[kind].2 } else { Some(name) }
        };
        if let (Some(left), Some(right)) = (side(left, "a", a), side(right, "b", b)) {
            let form = operator.replace("{a}", left).replace("{b}", right);
            // Some constants are refused where they can never work; that is checked elsewhere.
            if Query::compile(&format!("SELECT {form} AS r FROM \"t\""), &Options::default())
                .is_ok()
            {
                assert_eq!(cell(&form, &payload), want, "{form} over {payload}");
                ways += 1;
                forms.push(form);
            }
        }
    }
    for form in forms {
        for (condition, fires) in [(form.clone(), "true"), (format!("NOT ({form})"), "false")] {
            let sql = format!("SELECT 1 AS x FROM \"t\" WHERE {condition}");
            let (record, _) = evaluate(&sql, &payload);
            assert_eq!(record.is_some(), want == fires, "WHERE {condition} over {payload}");
            ways += 1;
        }
    }
    ways
}

/// Rows of cells as text in columns.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join(" | ");
        writeln!(text, "{}", line.trim_end()).expect("a string");
    }
    text
}

#[test]
fn operators_over_all_pairs_of_kinds() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql/matrix.txt");
    let mut text = String::from(
        "What every operator gives for every pair of kinds: a is the row, b the column. `missing` is no\n\
         value, `error` no value and an error that is counted. Written and checked by matrix.rs.\n",
    );
    let (mut pairs, mut ways) = (0, 0);
    for operator in BINARY {
        let shown = operator.replace("{a}", "a").replace("{b}", "b");
        let mut rows = vec![vec![shown.clone()]];
        rows[0].extend(KINDS.iter().map(|kind| kind.0.to_owned()));
        for (a, kind) in KINDS.iter().enumerate() {
            let mut row = vec![kind.0.to_owned()];
            for b in 0..KINDS.len() {
                let value = cell(&shown, &document(a, b));
                ways += agree(operator, a, b, &value);
                row.push(value);
                pairs += 1;
            }
            rows.push(row);
        }
        write!(text, "\n{}", aligned(&rows)).expect("a string");
    }
    let mut rows = vec![vec!["a".to_owned()]];
    rows[0].extend(KINDS.iter().map(|kind| kind.0.to_owned()));
    for operator in UNARY {
        let shown = operator.replace("{a}", "a");
        let mut row = vec![shown.clone()];
        for a in 0..KINDS.len() {
            let value = cell(&shown, &document(a, 0));
            ways += agree(operator, a, 0, &value);
            row.push(value);
        }
        rows.push(row);
    }
    write!(text, "\n{}", aligned(&rows)).expect("a string");
    println!("{} operators, {pairs} pairs, {ways} other ways agree", BINARY.len() + UNARY.len());
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &text).expect("write the tables");
    }
    let have = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (have, got)) in have.lines().zip(text.lines()).enumerate() {
        assert_eq!(have, got, "matrix.txt, line {}", number + 1);
    }
    assert_eq!(have, text, "matrix.txt");
}
