//! Generated statements: what is printed of them reads back as the same statement.

use std::sync::Arc;

use connectors::contract::{Message, NoFacts, Topic, TopicLimits};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use tidegate::sql::functions::{FUNCTIONS, Kind};
use tidegate::sql::{Explanation, Input, Options, Plan, Query, Scratch, Verdict};

const PAYLOADS: &[&str] = &[
    r#"{"a":1,"b":"x","c":{"d":[1,2,{"e":"7"}],"odd key":true},"from":null,"x`y":2,"a.b":"dot"}"#,
    r#"{"a":-2.5,"b":"5","c":[3,4],"q\"q":"it's","温度":21,"missing":1,"":0,"$a":"%"}"#,
    r#"{"a":"100%","b":true,"c":{"d":[]},"end":"\\","x":1e3,"y":{"z":[{"v":1},{"v":2}]}}"#,
    r#"[{"a":1},{"a":"x"}]"#,
];

/// Names in all their spellings.
fn path() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a",
        "b",
        "c",
        "c.d",
        "c.d[0]",
        "c.d[-1].e",
        "`c`.`odd key`",
        "\"c.odd key\"",
        "`from`",
        "\"x`y\"",
        "`x``y`",
        "`a.b`",
        "`q\"q`",
        "\"q\"\"q\"",
        "温度",
        "`missing`",
        "``",
        "\"$a\"",
        "\"$.a\"",
        "\"$\"",
        "\"$[0].a\"",
        "\"[1].a\"",
        "\"$[0]\".`odd key`",
        "end",
        "`end`.`case`",
        "a.select",
        "x",
        "y.z",
        "time",
        "interval",
        "`1a`.`b c`[0]",
        "\"a-b\".c",
        "missing",
        "\".c\"",
        "\".c.d[0]\"",
        "\".[0].a\"",
        "\".c\".`odd key`",
        "\"$.y.z[*].v\"",
        "\"$..v\"",
        "\"$.y.z[?(@.v > 1)]\"",
        "\"$.y['z']\"",
        "v1",
        "`v 2`",
        "\"$.v1\"",
        "`$.v1`",
    ])
    .prop_map(str::to_owned)
}

fn constant() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "0",
            "1",
            "-1",
            "- -5",
            "+3",
            "2.50",
            ".5",
            "5.",
            "007",
            "1E5",
            "1e999",
            "-1e999",
            "18446744073709551615",
            "9223372036854775808",
            "-9223372036854775808",
            "-0.0",
            "NULL",
            "TRUE",
            "false",
            "''",
            "'it''s'",
            "'it\\'s'",
            "'\\d'",
            "'a\\\\'",
            "'%'",
            "'温'",
            "'a\nb'",
            "'\"'",
            "'5'",
        ])
        .prop_map(str::to_owned),
        any::<i32>().prop_map(|n| n.to_string()),
        "'[a-c%_\\\\ ]{0,6}[a-c]'",
    ]
}

fn call(inner: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    (any::<prop::sample::Index>(), prop::collection::vec(inner, 6), 0..4usize).prop_map(
        |(which, arguments, extra)| {
            let function = which.get(FUNCTIONS);
            let (least, most) = function.arity();
            let count = (least + extra).min(most).min(arguments.len());
            let star = count == 1 && extra == 0 && function.kind(0) == Kind::Bytes;
            let arguments = if star { "*".into() } else { arguments[..count].join(", ") };
            format!("{}({arguments})", function.name)
        },
    )
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![3 => path(), 2 => constant()];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let i = || inner.clone();
        let list = || prop::collection::vec(inner.clone(), 2..4);
        let not = || prop::sample::select(vec!["", "NOT "]);
        let words = |all: &[&'static str]| prop::sample::select(all.to_vec());
        prop_oneof![
            (i(), words(&["+", "-", "*", "/", "%", "DIV", "||"]), i())
                .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (i(), words(&["=", "<>", "!=", "<", "<=", ">", ">="]), i())
                .prop_map(|(a, op, b)| format!("({a}) {op} ({b})")),
            (list(), words(&[" AND ", " OR ", " + ", " * ", " || "]))
                .prop_map(|(l, op)| l.join(op)),
            i().prop_map(|a| format!("({a})")),
            i().prop_map(|a| format!("NOT {a}")),
            i().prop_map(|a| format!("- {a}")),
            i().prop_map(|a| format!("+({a})")),
            (i(), not(), i(), i())
                .prop_map(|(a, n, b, c)| format!("({a}) {n}BETWEEN ({b}) AND ({c})")),
            (i(), not(), prop::collection::vec(constant(), 1..5))
                .prop_map(|(a, n, l)| format!("({a}) {n}IN ({})", l.join(", "))),
            (i(), not(), list()).prop_map(|(a, n, l)| format!("({a}) {n}IN ({})", l.join(", "))),
            (i(), not(), i()).prop_map(|(a, n, b)| format!("({a}) {n}LIKE ({b})")),
            (i(), words(&["IS NULL", "IS NOT NULL", "IS MISSING", "IS NOT MISSING"]))
                .prop_map(|(a, test)| format!("({a}) {test}")),
            (i(), list(), i()).prop_map(|(a, l, e)| {
                format!("CASE {a} WHEN {} THEN {} ELSE {e} END", l[0], l[1])
            }),
            (list(), list()).prop_map(|(l, m)| {
                format!("CASE WHEN {} THEN {} WHEN {} THEN {} END", l[0], l[1], m[0], m[1])
            }),
            call(inner.clone().boxed()),
            call(inner.clone().boxed()),
        ]
    })
}

fn item() -> impl Strategy<Value = String> {
    let alias = prop::sample::select(vec![
        "",
        "",
        "",
        " AS v1",
        " AS `v 2`",
        " AS \"$.v1\"",
        " AS a",
        " AS select",
        " 'q''q'",
        " AS `x.y`",
        " AS \"a-b.c\"",
    ]);
    prop_oneof![
        8 => (expression(), alias).prop_map(|(expr, alias)| format!("{expr}{alias}")),
        1 => Just("*".to_owned()),
        1 => Just("c.*".to_owned()),
        1 => Just("`c`.`odd key`.*".to_owned()),
    ]
}

fn statement() -> impl Strategy<Value = String> {
    (prop::collection::vec(item(), 1..4), prop::option::of(expression())).prop_map(
        |(items, condition)| {
            let condition = condition.map_or(String::new(), |text| format!(" WHERE {text}"));
            format!("SELECT {} FROM \"/+/x\"{condition}", items.join(", "))
        },
    )
}

/// What a statement makes of all payloads.
fn outcomes(sql: &str) -> Vec<(Verdict, String, Vec<&'static str>)> {
    let query = Arc::new(Query::compile(sql, &Options::default()).expect("it was compiled before"));
    let plan = Plan::new(vec![query]);
    let mut scratch = Scratch::new();
    let topic = Topic::parse("/pk/x", TopicLimits::default()).expect("a topic");
    let run = |payload: &&str| {
        let message = Message::new(topic.clone(), payload.as_bytes().to_vec(), 1_543_373_798_943);
        let input = Input { message: &message, facts: &NoFacts, rule: "r", has_topic: true };
        plan.prepare(payload.as_bytes(), &mut scratch).expect("JSON");
        let mut out = Vec::new();
        let verdict = plan.evaluate(0, &input, payload.as_bytes(), &mut scratch, &mut out);
        let errors = scratch.errors().iter().map(|error| error.code).collect();
        (verdict, String::from_utf8(out).expect("a record is text"), errors)
    };
    PAYLOADS.iter().map(run).collect()
}

/// Checks a statement; false when it does not compile.
fn check(sql: &str) -> Result<bool, TestCaseError> {
    let Ok(first) = Explanation::new(sql, &Options::default()) else { return Ok(false) };
    let printed = first.text();
    let second = Explanation::new(&printed, &Options::default());
    let second = second.map_err(|e| TestCaseError::fail(format!("{sql}\n{printed}\n{e}")))?;
    prop_assert_eq!(&second.text(), &printed, "{}", sql);
    prop_assert_eq!(outcomes(&printed), outcomes(sql), "{}\n{}", sql, printed);
    Ok(true)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_back(sql in statement()) {
        check(&sql)?;
    }
}

#[test]
fn most_generated_statements_compile() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let tree = |_| statement().new_tree(&mut runner).expect("a statement").current();
    let good = (0..500).map(tree).filter(|sql| Query::compile(sql, &Options::default()).is_ok());
    let good = good.count();
    assert!(good > 350, "only {good} of 500");
}

#[test]
fn statements_are_printed_in_one_way() {
    for (sql, want) in [
        ("select  a  from 't';", r#"SELECT a FROM "t""#),
        (r#"SELECT * FROM "/sys/pk/+/thing/#""#, r#"SELECT * FROM "/pk/+/thing/#""#),
        (
            r#"SELECT abs( a ), "$.a", a."b", "a-b" AS x FROM "t" WHERE ((x)) != 1 and not (b or c)"#,
            r#"SELECT abs(a) AS `abs( a )`, a AS `$.a`, a.b, "a-b" AS x FROM "t" WHERE x <> 1 AND NOT (b OR c)"#,
        ),
        (
            r#"SELECT a FROM "t" WHERE (1 < a AND b like 'x\%%') AND a NOT IN ('b', 2, 'a', NULL)"#,
            r#"SELECT a FROM "t" WHERE (1 < a AND b LIKE 'x\%%') AND a NOT IN (2, 'a', 'b', NULL)"#,
        ),
        (
            r#"SELECT (a - b) - c AS d, a - (b - c), -(a), - -a, (a + b) * c FROM "t""#,
            r#"SELECT (a - b) - c AS d, a - (b - c), -a AS `-(a)`, -(-a) AS `- -a`, (a + b) * c FROM "t""#,
        ),
        (
            r#"SELECT b AS a FROM "t" WHERE "$.a" > 1 AND a < 2"#,
            r#"SELECT b AS a FROM "t" WHERE "$".a > 1 AND a < 2"#,
        ),
    ] {
        let printed = Explanation::new(sql, &Options::default()).expect(sql).text();
        assert_eq!(printed, want);
        check(sql).expect(sql);
    }
}
