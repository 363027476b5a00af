//! Generated statements: what is printed of them reads back as the same statement.

use std::sync::Arc;

use contract::{Message, NoFacts, Topic, TopicLimits};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use sql::functions::{FUNCTIONS, Kind};
use sql::{Explanation, Input, Options, Plan, Query, Scratch, Verdict};

const PAYLOADS: &[&str] = &[
    r#"{"a":1,"b":"x","c":{"d":[1,2,{"e":"7"}],"odd key":true},"from":null,"x`y":2,"a.b":"dot"}"#,
    r#"{"a":-2.5,"b":"5","c":[3,4],"q\"q":"it's","温度":21,"missing":1,"":0,"$a":"%"}"#,
    r#"{"a":"100%","b":true,"c":{"d":[]},"end":"\\","x":1e3,"y":{"z":[{"v":1},{"v":2}]}}"#,
    r#"[{"a":1},{"a":"x"}]"#,
    r#"{"a":[{"a":1,"v":"x","d":[1,{"odd key":"y"}]},{"a":"2"},[3,4],null,"s",5],"i":{"a":"outer"},"n":7}"#,
    r#"{"y":{"z":[[1,2],{"v":{"odd key":1}}]},"c":{"d":[{"a":0,"d":[[],{"odd key":null}]}]},"a b":[1],"a.b":[2]}"#,
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

/// Names of an element, or of its index: as they are written, and without quotes.
const NAMES: &[(&str, &str)] = &[
    ("i", "i"),
    ("n", "n"),
    ("a", "a"),
    ("c", "c"),
    ("x", "x"),
    ("unnest", "unnest"),
    ("offset", "offset"),
    ("v1", "v1"),
    ("`v 2`", "v 2"),
    ("`an element`", "an element"),
    ("`a.b`", "a.b"),
    ("`a[0]`", "a[0]"),
    ("`end`", "end"),
    ("`from`", "from"),
    ("`with`", "with"),
    ("`$`", "$"),
    ("`$a`", "$a"),
    ("`$.a`", "$.a"),
    ("`q\"q`", "q\"\"q"),
    ("\"x`y\"", "x`y"),
    ("温度", "温度"),
    ("``", ""),
    ("distinct", "distinct"),
];

/// What names (a part of) an element, its index, or what they hide: `@E`, `@N` stand for the names,
/// `@e`, `@n` for them without quotes.
const PARTS: &[&str] = &[
    "@E",
    "@E",
    "@E.a",
    "@E.v",
    "@E[0]",
    "@E[-1].v",
    "@E.d[1].`odd key`",
    "@E.v.\"odd key\"",
    "\"@e\"",
    "\"@e.a\"",
    "\"@e\".d[0]",
    "\".@e\"",
    "\".@e.a\"",
    "\".@e\".v.`odd key`",
    "\"$.@e\"",
    "\"$.@e.a\"",
    "\"$\".@E",
    "\"$\".@E.`odd key`[0]",
    "\"$.@e[*]\"",
    "@N",
    "@N",
    "\"@n\"",
    "\"$.@n\"",
    "\"$\".@N.a",
];

const ARRAYS: &[&str] = &[
    "a",
    "c.d",
    "y.z",
    "\"$\"",
    "\".c\"",
    "\"$..v\"",
    "`a b`",
    "\"a b\" || `a.b`",
    "c.d || y.z",
    "CASE WHEN c IS MISSING THEN a ELSE c.d END",
    "i",
    "\"$.v1\"",
    "v1",
];

/// Statements that name elements in FROM.
fn unnesting() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(NAMES.to_vec());
    let part = || prop::sample::select(PARTS.to_vec()).prop_map(str::to_owned);
    let array = prop_oneof![
        5 => prop::sample::select(ARRAYS.to_vec()).prop_map(str::to_owned),
        1 => expression(),
    ];
    let item = prop_oneof![
        3 => item(),
        3 => part(),
        2 => (part(), part()).prop_map(|(a, b)| format!("{a} || {b} AS v1")),
        1 => part().prop_map(|part| format!("abs({part}) `v 2`")),
        1 => prop::sample::select(vec!["@E.*", "@E.v.*", "unnest", "v1", "@E AS x", "@N + 1"])
            .prop_map(str::to_owned),
    ];
    let test = prop_oneof![
        expression(),
        part(),
        (part(), expression()).prop_map(|(a, b)| format!("{a} = ({b})")),
        (part(), part()).prop_map(|(a, b)| format!("NOT ({a} > 1 OR {b} IS NULL)")),
        (part(), part()).prop_map(|(a, b)| format!("v1 <> {a} OR {b} IN (1, 'x', 2)")),
    ];
    let condition = prop::collection::vec(test, 0..3);
    let index = prop::option::of(name());
    (prop::collection::vec(item, 1..4), array, name(), index, condition).prop_map(
        |(items, array, element, index, condition)| {
            let condition: Vec<String> = condition.iter().map(|c| format!("({c})")).collect();
            let condition = match condition.as_slice() {
                [] => String::new(),
                all => format!(" WHERE {}", all.join(" AND ")),
            };
            let offset = index.map_or("", |_| " WITH OFFSET AS @N");
            let (written, bare) = index.unwrap_or(("n", "n"));
            let items = items.join(", ");
            format!("SELECT {items} FROM \"/+/x\", UNNEST({array}) AS @E{offset}{condition}")
                .replace("@E", element.0)
                .replace("@e", element.1)
                .replace("@N", written)
                .replace("@n", bare)
        },
    )
}

/// Statements with the elements as an item.
fn selecting() -> impl Strategy<Value = String> {
    let array = prop_oneof![
        5 => prop::sample::select(ARRAYS.to_vec()).prop_map(str::to_owned),
        1 => expression(),
    ];
    let alias = prop::sample::select(vec!["", " AS x", " v1", " AS a", " AS `x y`", " AS \"$.a\""]);
    let elements = (array, alias, prop::sample::select(vec!["unnest", "UNNEST"]))
        .prop_map(|(array, alias, word)| format!("{word}( {array}){alias}"));
    let items = || prop::collection::vec(item(), 0..3);
    (items(), elements, items(), prop::option::of(expression())).prop_map(
        |(before, elements, after, condition)| {
            let items: Vec<String> = before.into_iter().chain([elements]).chain(after).collect();
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

    #[test]
    fn what_is_printed_of_elements_reads_back(sql in unnesting()) {
        check(&sql)?;
    }

    #[test]
    fn what_is_printed_of_an_item_of_elements_reads_back(sql in selecting()) {
        check(&sql)?;
    }
}

/// How many of 500 generated statements compile, and how many of them give a record for a payload.
fn good(statements: impl Strategy<Value = String>) -> (usize, usize) {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let tree = |_| statements.new_tree(&mut runner).expect("a statement").current();
    let good = (0..500).map(tree).filter(|sql| Query::compile(sql, &Options::default()).is_ok());
    let good: Vec<String> = good.collect();
    let fires = |sql: &&String| outcomes(sql).iter().any(|(_, records, _)| !records.is_empty());
    (good.len(), good.iter().filter(fires).count())
}

#[test]
fn most_generated_statements_compile() {
    let all = [good(statement()), good(unnesting()), good(selecting())];
    println!("{all:?}");
    assert!(all.iter().all(|(good, _)| *good > 300), "{all:?}");
    assert!(all.iter().all(|(_, fire)| *fire > 80), "{all:?}");
}

#[test]
fn statements_are_printed_in_one_way() {
    for (sql, want) in [
        ("select  a  from 't';", r#"SELECT a FROM "t""#),
        (r#"SELECT * FROM "/sys/pk/+/thing/#""#, r#"SELECT * FROM "/pk/+/thing/#""#),
        (
            r#"SELECT abs( a ), "$.a", a."b", "a-b" AS x FROM "t" WHERE ((x)) != 1 and not (b or c)"#,
            r#"SELECT abs(a) AS `abs( a )`, "$.a", a.b, "a-b" AS x FROM "t" WHERE x <> 1 AND NOT (b OR c)"#,
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
            r#"SELECT i.cmd t, "i.a[0]", "$.i", i.*, n FROM "t", unnest( info ) i with offset n WHERE ".i.x" IS NULL AND "$.i.x" = n"#,
            r#"SELECT i.cmd AS t, i.a[0], "$.i", i.*, n FROM "t", UNNEST(info) AS i WITH OFFSET AS n WHERE ".i.x" IS NULL AND "$.i.x" = n"#,
        ),
        (
            r#"SELECT `my i`.`a.b` AS x FROM "t", UNNEST(CASE WHEN a THEN b END) `my i` WHERE `$`.i = `odd n`.x"#,
            r#"SELECT `my i`.`a.b` AS x FROM "t", UNNEST(CASE WHEN a THEN b END) AS `my i` WHERE "$.$.i" = "odd n.x""#,
        ),
        (
            r#"SELECT b AS f, UNNEST(f || c) AS x, unnest AS u FROM "t" WHERE x > 1"#,
            r#"SELECT b AS f, unnest(f || c) AS x, unnest AS u FROM "t" WHERE x > 1"#,
        ),
        (r#"SELECT UNNEST( a.b ) FROM "t""#, r#"SELECT unnest(a.b) AS `UNNEST( a.b )` FROM "t""#),
        (r#"SELECT `all` * 2 AS x FROM "t""#, r#"SELECT "all" * 2 AS x FROM "t""#),
        (
            r#"SELECT b AS a FROM "t" WHERE "$.a" > 1 AND a < 2"#,
            r#"SELECT b AS a FROM "t" WHERE "$".a > 1 AND a < 2"#,
        ),
        // A key that begins like a path of the document names the element all the same.
        (
            r#"SELECT `$.a`, a AS a FROM "t", UNNEST(a) AS `$.a` WHERE "$.a" IN (1)"#,
            r#"SELECT `$.a`, a AS a FROM "t", UNNEST(a) AS `$.a` WHERE "$".a IN (1)"#,
        ),
        (
            r#"SELECT b AS `$.k`, `$.k`.i AS x FROM "t""#,
            r#"SELECT b AS `$.k`, `$.k`.i AS x FROM "t""#,
        ),
    ] {
        let printed = Explanation::new(sql, &Options::default()).expect(sql).text();
        assert_eq!(printed, want);
        check(sql).expect(sql);
    }
}
