//! Every word that SQL knows, as a key, as a part of a path and as an alias.

use std::sync::Arc;

use contract::{Message, NoFacts, Topic, TopicLimits};
use sql::{Input, Options, Plan, Query, Scratch, Verdict};
use sqlparser::keywords::ALL_KEYWORDS;

/// The words that a bare key may not be.
const RESERVED: &[&str] = &[
    "AND", "OR", "NOT", "IN", "LIKE", "BETWEEN", "IS", "CASE", "WHEN", "THEN", "ELSE", "SELECT",
    "FROM", "WHERE", "AS", "NULL", "TRUE", "FALSE", "DIV",
];

fn evaluate(sql: &str, payload: &str) -> String {
    let query = Query::compile(sql, &Options::default()).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let plan = Plan::new(vec![Arc::new(query)]);
    let mut scratch = Scratch::new();
    let topic = Topic::parse("t", TopicLimits::default()).expect("topic");
    let message = Message::new(topic, payload.to_owned(), 0);
    let input = Input { message: &message, facts: &NoFacts, rule: "r", has_topic: true };
    plan.prepare(payload.as_bytes(), &mut scratch).expect("JSON");
    let mut out = Vec::new();
    match plan.evaluate(0, &input, payload.as_bytes(), &mut scratch, &mut out) {
        Verdict::Selected(_) => String::from_utf8(out).expect("UTF-8"),
        other => panic!("{sql}: {other:?} {:?}", scratch.errors()),
    }
}

#[test]
fn every_word_is_a_key() {
    assert!(ALL_KEYWORDS.len() > 700, "the list of words is there");
    // `END-EXEC` is a subtraction here.
    for upper in ALL_KEYWORDS.iter().filter(|word| !word.contains('-')) {
        for word in [(*upper).to_owned(), upper.to_lowercase()] {
            let payload = format!(r#"{{"{word}":7,"o":{{"{word}":[8]}},"x":1}}"#);
            if !RESERVED.contains(upper) {
                let sql = format!(
                    "SELECT {word}, x, {word} AS a, abs({word}) b, {word} + 1 c FROM \"t\" \
                     WHERE {word} = 7 AND ({word} > 6 OR {word} IN (7)) AND {word} IS NOT NULL"
                );
                let want = format!(r#"{{"{word}":7,"x":1,"a":7,"b":7,"c":8}}"#);
                assert_eq!(evaluate(&sql, &payload), want, "{sql}");
                let sql =
                    format!("SELECT x {word}, CASE {word} WHEN 7 THEN {word} END e FROM \"t\"");
                assert_eq!(evaluate(&sql, &payload), format!(r#"{{"{word}":1,"e":7}}"#), "{sql}");
            }
            let sql = format!(
                "SELECT o.{word}[0] AS {word}, `{word}` k FROM \"t\" \
                 WHERE o.{word}[0] = 8 AND `{word}` = 7 AND \"{word}\" = 7"
            );
            assert_eq!(evaluate(&sql, &payload), format!(r#"{{"{word}":8,"k":7}}"#), "{sql}");
        }
    }
}

#[test]
fn reserved_words_are_refused_as_bare_keys() {
    for word in RESERVED.iter().filter(|word| !["TRUE", "FALSE", "NULL"].contains(word)) {
        let sql = format!("SELECT x, {word} FROM \"t\"");
        let error = Query::compile(&sql, &Options::default()).expect_err(&sql).first();
        assert!(error.hint.is_some(), "{sql}: {error}");
    }
}

#[test]
fn end_is_a_key_where_no_case_can_end() {
    let sql = "SELECT time, end FROM \"t\" WHERE x > 1";
    assert_eq!(evaluate(sql, r#"{"time":1,"end":2,"x":3}"#), r#"{"time":1,"end":2}"#);
    let sql = "SELECT CASE WHEN end > 1 THEN end ELSE 0 END AS e, end.x y, case end when 2 then 'a' end z FROM \"t\"";
    assert_eq!(evaluate(sql, r#"{"end":2}"#), r#"{"e":2,"z":"a"}"#);
}
