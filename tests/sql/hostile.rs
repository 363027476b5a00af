//! Input made to break the parser or the evaluator, on a thread with a stack of 2 MiB.

use std::sync::Arc;

use contract::{Message, NoFacts, Topic, TopicLimits};
use sql::{Input, JSON_DEPTH, Mistakes, Options, Plan, Query, Scratch, Verdict};

/// Runs something where a stack overflow would show.
pub(super) fn small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    thread.spawn(work).expect("a thread").join().expect("no overflow and no panic")
}

pub(super) fn message(payload: &str) -> Message {
    let topic = Topic::parse("t", TopicLimits::default()).expect("topic");
    Message::new(topic, payload.to_owned(), 0)
}

/// Compiles a statement, evaluates it over a payload, drops everything.
pub(super) fn once(sql: String, payload: &'static str) -> Result<String, Mistakes> {
    small_stack(move || {
        let query = Query::compile(&sql, &Options::default())?;
        let plan = Plan::new(vec![Arc::new(query)]);
        let mut scratch = Scratch::new();
        let message = message(payload);
        let input = Input { message: &message, facts: &NoFacts, rule: "r", has_topic: true };
        plan.prepare(payload.as_bytes(), &mut scratch).expect("valid JSON");
        let mut out = Vec::new();
        let verdict = plan.evaluate(0, &input, payload.as_bytes(), &mut scratch, &mut out);
        Ok(match verdict {
            Verdict::Selected(_) | Verdict::Unnested => String::from_utf8(out).expect("UTF-8"),
            other => {
                assert_eq!(out, b"", "nothing stays of what does not fire");
                let errors = scratch.errors().iter().map(|error| format!(" {}", error.code));
                format!("{other:?}{}", errors.collect::<String>())
            }
        })
    })
}

fn refused(sql: String, part: &str) {
    let shown: String = sql.chars().take(60).collect();
    let error = once(sql, "{}").expect_err(&shown);
    assert!(error.to_string().contains(part), "{shown}: {error}");
}

#[test]
fn deep_statements_are_refused() {
    for count in [65, 1000, 100_000] {
        for (open, close) in [
            ("(", ")"),
            ("NOT ", ""),
            ("- ", ""),
            ("abs(", ")"),
            ("CASE WHEN ", " THEN 1 END"),
            ("CASE ", " WHEN 1 THEN 1 END"),
            ("x IN (", ")"),
            ("NOT (", ")"),
            ("a + (", ")"),
            ("a[", "]"),
            ("(", ""),
            ("abs(", ""),
            ("CASE WHEN ", ""),
            ("x BETWEEN ( ", ") AND 1"),
        ] {
            let deep = format!("{}1{}", open.repeat(count), close.repeat(count));
            let wanted = if deep.len() > 60_000 { "bytes" } else { "nested deeper than 64 levels" };
            refused(format!("SELECT {deep} AS x FROM \"t\""), wanted);
            refused(format!("SELECT * FROM \"t\" WHERE {deep}"), wanted);
        }
    }
}

#[test]
fn statements_at_the_limit_work() {
    let parens = format!("{}1{}", "(".repeat(64), ")".repeat(64));
    assert_eq!(
        once(format!("SELECT {parens} AS x FROM \"t\" WHERE {parens} = 1"), "{}"),
        Ok(r#"{"x":1}"#.into())
    );
    let calls = format!("{}-1{}", "abs(".repeat(62), ")".repeat(62));
    assert_eq!(
        once(format!("SELECT {calls} AS x FROM \"t\" WHERE {calls} = 1"), "{}"),
        Ok(r#"{"x":1}"#.into())
    );
    // All levels of precedence within each parenthesis: refused, not overflown.
    let mixed = format!("{}1{}", "(a OR b AND NOT c = 1 + 2 * -".repeat(60), ")".repeat(60));
    refused(format!("SELECT {mixed} AS x FROM \"t\""), "nested deeper");
    let case = format!("{}1{}", "CASE WHEN true THEN ".repeat(62), " END".repeat(62));
    assert_eq!(once(format!("SELECT {case} AS x FROM \"t\""), "{}"), Ok(r#"{"x":1}"#.into()));
    let lists = format!("{}1{}", "1 IN (a, ".repeat(60), ")".repeat(60));
    assert!(once(format!("SELECT {lists} AS x FROM \"t\""), "{}").is_ok());
}

#[test]
fn long_chains_are_flat() {
    for op in ["OR", "AND", "+", "-", "||", "*", "%", "DIV"] {
        let chain = vec!["a"; 4000].join(&format!(" {op} "));
        for sql in [
            format!("SELECT {chain} AS x FROM \"t\""),
            format!("SELECT * FROM \"t\" WHERE {chain}"),
            format!("SELECT * FROM \"t\" WHERE NOT ({chain}) OR b"),
        ] {
            once(sql, r#"{"a":1,"b":true}"#).expect(op);
        }
        let chain = vec!["a"; 10_000].join(op).replace("aORa", "a OR a");
        let chain = if op.len() > 1 && op != "||" {
            vec!["a"; 10_001].join(&format!(" {op} "))
        } else {
            chain + op + "a"
        };
        refused(
            format!("SELECT * FROM \"t\" WHERE {chain}"),
            if chain.len() > 65_000 { "bytes" } else { "more than 10000 parts" },
        );
    }
    let or = vec!["a"; 9_990].join(" OR ");
    assert_eq!(
        once(format!("SELECT b FROM \"t\" WHERE {or}"), r#"{"a":true,"b":1}"#),
        Ok(r#"{"b":1}"#.into())
    );
    for chain in [vec!["a"; 4000].join(" = "), format!("a{}", " IS NULL".repeat(4000))] {
        refused(format!("SELECT * FROM \"t\" WHERE {chain}"), "comparisons do not chain");
    }
    refused(
        format!("SELECT * FROM \"t\" WHERE {}", vec!["a LIKE 'x'"; 4000].join(" LIKE 'x' = ")),
        "",
    );
}

#[test]
fn long_lists_work() {
    let list: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
    let list = list.join(",");
    let sql = format!("SELECT a FROM \"t\" WHERE a IN ({list})");
    assert_eq!(once(sql.clone(), r#"{"a":9999}"#), Ok(r#"{"a":9999}"#.into()));
    assert_eq!(once(sql, r#"{"a":10000}"#), Ok("Filtered".into()));
    refused(format!("SELECT a FROM \"t\" WHERE a IN ({list},1)"), "at most 10000");
    let path = "a.".repeat(10_000) + "a";
    assert_eq!(once(format!("SELECT {path} AS x FROM \"t\""), "{}"), Ok("{}".into()));
    let index = "a".to_owned() + &"[0]".repeat(10_000);
    assert_eq!(once(format!("SELECT {index} AS x FROM \"t\""), "{}"), Ok("{}".into()));
}

#[test]
fn aliases_do_not_explode() {
    let mut items = vec!["a + a AS x0".to_owned()];
    items.extend((1..50).map(|n| format!("x{0} + x{0} AS x{n}", n - 1)));
    refused(format!("SELECT {} FROM \"t\"", items.join(", ")), "with its aliases");
    let mut items = vec!["a AS x0".to_owned()];
    items.extend((1..50).map(|n| format!("x{} AS x{n}", n - 1)));
    let sql = format!("SELECT {} FROM \"t\" WHERE x49 = 1", items.join(", "));
    assert!(once(sql, r#"{"a":1}"#).is_ok());
}

#[test]
fn json_paths_are_bounded() {
    for path in [
        format!("$[?({}@.a{})]", "(".repeat(300), ")".repeat(300)),
        format!("$[?({}@.a)]", "!".repeat(20_000)),
        format!("${}", "[0]".repeat(20_000)) + "[*]",
        "$".to_owned() + &"..a".repeat(20),
        "$[?".repeat(300),
    ] {
        refused(format!("SELECT \"{path}\" AS x FROM \"t\""), "JSONPath");
    }
}

#[test]
fn deep_documents_are_refused() {
    let plan = |sql: &str| {
        let query = Query::compile(sql, &Options::default()).expect("SQL");
        Plan::new(vec![Arc::new(query)])
    };
    let depth = JSON_DEPTH as usize;
    for sql in ["SELECT * FROM \"t\"", "SELECT a[0] AS x, \"$..b\" AS y FROM \"t\" WHERE a = b"] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[[1],", "]")] {
            let plan = plan(sql);
            small_stack(move || {
                let mut scratch = Scratch::new();
                for levels in [depth + 1, 1_000_000] {
                    let text = open.repeat(levels);
                    let invalid = plan.prepare(text.as_bytes(), &mut scratch).expect_err("deep");
                    assert_eq!(invalid.reason, "nested deeper than 128 levels");
                }
                let levels = depth - usize::from(open.len() == 5);
                let text = format!("{}1{}", open.repeat(levels), close.repeat(levels));
                let message = message(&text);
                plan.prepare(text.as_bytes(), &mut scratch).expect("128 levels");
                let input =
                    Input { message: &message, facts: &NoFacts, rule: "r", has_topic: true };
                plan.evaluate(0, &input, text.as_bytes(), &mut scratch, &mut Vec::new());
            });
        }
    }
}

#[test]
fn garbage_is_refused_without_panic() {
    let pieces = [
        "SELECT", "FROM", "WHERE", "\"t\"", "'x", "(", ")", "[", "]", ",", ".", "*", "a", "1", "-",
        "CASE", "WHEN", "END", "IN", "IS", "NOT", "NULL", "LIKE", "BETWEEN", "AND", "AS", ";",
        "温", "`", "\"", "\\", "/*", "--", "\n", "abs", "$", "{", "1e", ".5", "x'41'", "N'a'",
        "@a", "?",
    ];
    let mut state = 7_u64;
    let mut next = move |bound: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % bound
    };
    for _ in 0..20_000 {
        let count = 1 + next(12);
        let words: Vec<&str> = (0..count).map(|_| pieces[next(pieces.len())]).collect();
        let text = words.join([" ", ""][next(2)]);
        let check = |result: Result<Query, Mistakes>| {
            for error in result.err().into_iter().flat_map(Mistakes::all) {
                assert!(error.line >= 1 && error.column >= 1, "{text:?}: {error}");
                assert!(error.expected.is_some() && error.hint.is_some(), "{text:?}: {error}");
            }
        };
        check(Query::compile(&text, &Options::default()));
        check(Query::compile(&format!("SELECT {text} FROM \"t\""), &Options::default()));
        check(Query::from_parts("*", "t", Some(&text), &Options::default()));
        check(Query::from_parts(&text, "t", None, &Options::default()));
    }
}

#[test]
fn results_do_not_explode() {
    let many = "a".repeat(200_000);
    let payload: &'static str = format!(
        r#"{{"a":"{many}","items":{{"{many}":{{"value":{{{}"z":1}}}}}}}}"#,
        (0..1000).map(|n| format!("\"k{n}\":1,")).collect::<String>()
    )
    .leak();
    for (sql, want) in [
        ("SELECT replace(a, 'a', a) AS x, 1 AS y FROM \"t\"", r#"{"y":1}"#),
        ("SELECT thingPropertyFlatMap() AS x, 1 AS y FROM \"t\"", r#"{"y":1}"#),
    ] {
        assert_eq!(once(sql.into(), payload), Ok(want.into()));
    }
    let sql = format!("SELECT {} AS x, 1 AS y FROM \"t\"", vec!["a"; 1000].join("||"));
    assert_eq!(once(sql, payload), Ok(r#"{"y":1}"#.into()));
    let deep: &'static str = format!("{}\"{many}\"{}", "[".repeat(120), "]".repeat(120)).leak();
    assert_eq!(
        once("SELECT \"$..*\" AS x, 1 AS y FROM \"t\"".into(), deep),
        Ok(r#"{"y":1}"#.into())
    );
}

#[test]
fn arrays_do_not_explode() {
    let array = |count: usize| vec!["1"; count].join(",");
    let long = "a".repeat(100_000);
    let payload = |count: usize| -> &'static str {
        format!(r#"{{"long":"{long}","l":[{}]}}"#, array(count)).leak()
    };
    for (sql, count, want) in [
        // A thousand are taken apart, one more is an error; nothing is left out in silence.
        (r#"SELECT i FROM "t", UNNEST(l) AS i"#, 1000, r#"{"i":1}"#.repeat(1000)),
        (r#"SELECT i FROM "t", UNNEST(l) AS i"#, 1001, "Aborted too_many_records".into()),
        (r#"SELECT unnest(l) AS i FROM "t""#, 1001, "Aborted too_many_records".into()),
        // It is the elements that count, for each is evaluated.
        (
            r#"SELECT i FROM "t", UNNEST(l) AS i WHERE i > 1"#,
            100_000,
            "Aborted too_many_records".into(),
        ),
        // A message that is filtered anyway is no error.
        (r#"SELECT i FROM "t", UNNEST(l) AS i WHERE a = 1"#, 100_000, "Filtered".into()),
        // All records of a message together are bounded as one value is.
        (r#"SELECT *, i FROM "t", UNNEST(l) AS i"#, 100, "Aborted too_costly".into()),
        (r#"SELECT long FROM "t", UNNEST(l || l) AS i"#, 100, "Aborted too_large".into()),
    ] {
        assert_eq!(once(sql.into(), payload(count)), Ok(want), "{sql} over {count} elements");
    }
    let deep: &'static str = format!(r#"{{"l":[{}1{}]}}"#, "[".repeat(126), "]".repeat(126)).leak();
    let want = deep.replace(r#"{"l":["#, r#"{"i":"#).replace("]}", "}");
    assert_eq!(once(r#"SELECT i FROM "t", UNNEST(l) AS i"#.into(), deep), Ok(want));
    let items = (1..20).fold("i + 1 AS a0".to_owned(), |items, n| {
        format!("{items}, a{} + a{} AS a{n}", n - 1, n - 1)
    });
    refused(
        format!("SELECT {items} FROM \"t\", UNNEST(l) AS i WHERE a19 > 1"),
        "more than 10000 parts",
    );
    refused(format!("SELECT {items}, unnest(a19) AS b FROM \"t\""), "more than 10000 parts");
    refused(
        format!("SELECT i FROM \"t\", UNNEST({}l{}) AS i", "(".repeat(65), ")".repeat(65)),
        "nested deeper",
    );
}
