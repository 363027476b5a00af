//! What becomes of each kind of JSON in a column of each type: the stored value, or the refusal. The
//! tables below are the specification; real databases are asked.

use connectors::contract::{Decimal, FailureKind, Outcome};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::tables::PostgresPeer;
use super::{Folder, env, record, sink, unique, with_connection};

/// What a column has afterwards.
#[derive(Debug, Clone, Copy)]
enum Want {
    /// The value as the database prints it.
    Is(&'static str),
    /// NULL.
    Null,
    /// The record is poison, and the sentence holds this.
    No(&'static str),
}

use Want::{Is, No, Null};

/// A type, and JSON texts with what becomes of them.
type Column = (&'static str, &'static [(&'static str, Want)]);

/// Types that the tables below use besides PostgreSQL's own.
const TYPES: &[&str] = &[
    "CREATE DOMAIN whole AS int CHECK (VALUE < 1000)",
    "CREATE DOMAIN positive AS whole CHECK (VALUE > 0)",
    "CREATE DOMAIN document AS jsonb CHECK (VALUE ? 'a')",
    "CREATE DOMAIN moment AS timestamptz",
    "CREATE DOMAIN money2 AS numeric(10,2)",
    "CREATE DOMAIN short AS varchar(3)",
    "CREATE DOMAIN list AS int[]",
    "CREATE TYPE level AS ENUM ('low', 'high')",
    "CREATE TYPE pair AS (a int, b text)",
];

const NUMBERS: &[Column] = &[
    (
        "smallint",
        &[
            ("7", Is("7")),
            ("39.0", Is("39")),
            ("1e3", Is("1000")),
            ("0.5e1", Is("5")),
            ("-0", Is("0")),
            ("true", Is("1")),
            ("\" 12 \"", Is("12")),
            ("null", Null),
            ("39.5", No("whole number")),
            ("40000", No("smallint")),
            ("\"x\"", No("invalid input syntax")),
            ("[1]", No("smallint")),
        ],
    ),
    ("integer", &[("2147483647", Is("2147483647")), ("2147483648", No("integer"))]),
    (
        "bigint",
        &[
            ("9223372036854775807", Is("9223372036854775807")),
            ("-9223372036854775808", Is("-9223372036854775808")),
            ("9007199254740993.0", Is("9007199254740993")),
            ("9223372036854775808", No("bigint")),
            ("1e400", No("bigint")),
            ("1e99999999999999999999", No("bigint")),
            ("1e-400", No("whole number")),
        ],
    ),
    (
        "numeric(38,18)",
        &[
            (
                "12345678901234567890.123456789012345678",
                Is("12345678901234567890.123456789012345678"),
            ),
            ("18446744073709551616", Is("18446744073709551616.000000000000000000")),
            ("1e-18", Is("0.000000000000000001")),
            ("1e-19", No("exactly")),
            ("1e20", No("numeric(38,18)")),
        ],
    ),
    (
        "numeric(8,2)",
        &[
            ("1.230", Is("1.23")),
            ("\"1.23\"", Is("1.23")),
            ("\"NaN\"", Is("NaN")),
            ("false", Is("0.00")),
            ("1.239", No("exactly")),
            ("\"1.239\"", No("exactly")),
            ("1000000", No("numeric(8,2)")),
            ("{}", No("numeric(8,2)")),
        ],
    ),
    ("numeric(3,-2)", &[("12300", Is("12300")), ("12345", No("exactly"))]),
    (
        "numeric",
        &[
            ("1.10", Is("1.10")),
            ("1e2", Is("100")),
            (
                "0.1234567890123456789012345678901234567890",
                Is("0.1234567890123456789012345678901234567890"),
            ),
            ("1e200000", No("numeric")),
        ],
    ),
    ("money", &[("12.30", Is("$12.30")), ("12.345", No("exactly"))]),
    (
        "double precision",
        &[
            ("0.1", Is("0.1")),
            ("1e300", Is("1e+300")),
            ("0.30000000000000004", Is("0.30000000000000004")),
            ("0.10000000000000001", Is("0.1")),
            ("103.10000000000001", Is("103.10000000000001")),
            ("18446744073709551616", Is("1.8446744073709552e+19")),
            ("true", Is("1")),
            ("\"Infinity\"", Is("Infinity")),
            ("9007199254740993", No("exactly")),
            ("\"9007199254740993\"", No("exactly")),
            ("12345678901234567890.123456", No("exactly")),
            ("0.12345678901234567890", No("exactly")),
            ("1e400", No("exactly")),
            ("1e-400", No("exactly")),
        ],
    ),
    (
        "real",
        &[
            ("0.1", Is("0.1")),
            ("39.5", Is("39.5")),
            ("36.599998474121094", Is("36.6")),
            ("16777216", Is("1.6777216e+07")),
            ("16777217", No("exactly")),
            ("121.473701123", No("exactly")),
        ],
    ),
];

const TEXTS: &[Column] = &[
    (
        "text",
        &[
            ("\"温\\n\\\"x\"", Is("温\n\"x")),
            ("1.10", Is("1.10")),
            ("12345678901234567890.12345", Is("12345678901234567890.12345")),
            ("true", Is("true")),
            (r#"{"a": 1.10}"#, Is(r#"{"a": 1.10}"#)),
            ("[1.0]", Is("[1.0]")),
            ("\"nul \\u0000\"", No("0x00")),
        ],
    ),
    (
        "varchar(3)",
        &[("\"温度1\"", Is("温度1")), ("\"four\"", No("too long")), ("1.25", No("too long"))],
    ),
    ("char(4)", &[("\"ab\"", Is("ab")), ("\"abcde\"", No("too long"))]),
    ("short", &[("\"abc\"", Is("abc")), ("\"abcd\"", No("too long"))]),
    ("bit(3)", &[("\"101\"", Is("101")), ("\"1011\"", No("bit"))]),
    (
        "boolean",
        &[("true", Is("true")), ("0", Is("false")), ("\"yes\"", Is("true")), ("2", No("boolean"))],
    ),
    ("level", &[("\"low\"", Is("low")), ("\"mid\"", No("level")), ("1", No("level"))]),
    (
        "uuid",
        &[
            (
                "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"",
                Is("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            ),
            ("1", No("uuid")),
        ],
    ),
    ("inet", &[("\"10.0.0.1/8\"", Is("10.0.0.1/8")), ("\"x\"", No("inet"))]),
    ("pair", &[("\"(1,x)\"", Is("(1,x)")), (r#"{"a":1}"#, No("record"))]),
    (
        "bytea",
        &[
            ("\"aGVsbG8=\"", Is("\\x68656c6c6f")),
            ("\"aGVsbG8\"", Is("\\x68656c6c6f")),
            ("\"_-8=\"", Is("\\xffef")),
            ("\"\\\\x00ff\"", Is("\\x00ff")),
            ("\"\"", Is("\\x")),
            ("\"hello\"", No("base64")),
            ("\"\\\\x0\"", No("hexadecimal")),
            ("12", No("base64")),
            ("[1,2]", No("base64")),
        ],
    ),
    (
        "jsonb",
        &[
            (
                r#"{"a":12345678901234567890.12345,"z":1.10}"#,
                Is(r#"{"a": 12345678901234567890.12345, "z": 1.10}"#),
            ),
            ("18446744073709551616", Is("18446744073709551616")),
            ("\"x\"", Is("\"x\"")),
            ("[1,null]", Is("[1, null]")),
            ("null", Null),
            ("\"nul \\u0000\"", No("Unicode")),
            ("1e200000", No("numeric")),
        ],
    ),
    ("json", &[(r#"{"b":1.0, "b":2e5}"#, Is(r#"{"b":1.0, "b":2e5}"#)), ("true", Is("true"))]),
    ("document", &[(r#"{"a":1.0}"#, Is(r#"{"a": 1.0}"#)), (r#"{"b":1}"#, No("document"))]),
];

const TIMES: &[Column] = &[
    (
        "timestamptz",
        &[
            ("1784000000", Is("2026-07-14 03:33:20+00")),
            ("1784000000.25", Is("2026-07-14 03:33:20.25+00")),
            ("1784000000123", Is("2026-07-14 03:33:20.123+00")),
            ("1784000000123456", Is("2026-07-14 03:33:20.123456+00")),
            ("1784000000123456789", Is("2026-07-14 03:33:20.123456+00")),
            ("\"2026-01-02T03:04:05+08:00\"", Is("2026-01-01 19:04:05+00")),
            ("0", No("time_unit")),
            ("20260102", No("time_unit")),
            ("1e400", No("time_unit")),
            ("-1784000000", No("time_unit")),
            ("\"soon\"", No("timestamp")),
            ("true", No("timestamp")),
            ("[2026,7,14]", No("no time")),
            ("[[1],[2,3]]", No("no time")),
            (r#"{"July":14,"y":2026}"#, No("no time")),
        ],
    ),
    ("timestamp", &[("1784000000123", Is("2026-07-14 03:33:20.123"))]),
    ("moment", &[("1784000000", Is("2026-07-14 03:33:20+00"))]),
    (
        "date",
        &[
            ("1784000000", Is("2026-07-14")),
            ("1784073599999", Is("2026-07-14")),
            ("\"2026-07-14\"", Is("2026-07-14")),
            ("20260714", No("time_unit")),
            ("[1,2,3]", No("no time")),
        ],
    ),
    (
        "time",
        &[("\"12:34:56\"", Is("12:34:56")), ("123456", No("time")), ("[\"12:30\"]", No("no time"))],
    ),
    (
        "interval",
        &[
            ("\"90 s\"", Is("00:01:30")),
            ("90", Is("00:01:30")),
            ("[5]", No("no time")),
            (r#"{"3":"days"}"#, No("no time")),
        ],
    ),
    // They refuse with codes that otherwise say that the statement is wrong.
    ("tsquery", &[("\"a & b\"", Is("'a' & 'b'")), ("\"a b\"", No("tsquery"))]),
    ("regclass", &[("\"pg_class\"", Is("pg_class")), ("\"nowhere\"", No("nowhere"))]),
];

const LISTS: &[Column] = &[
    (
        "double precision[]",
        &[
            ("[1,2.5,null]", Is("{1,2.5,NULL}")),
            ("[]", Is("{}")),
            ("[[1,2],[3,4]]", Is("{{1,2},{3,4}}")),
            ("\"{1,2}\"", Is("{1,2}")),
            ("null", Null),
            ("[[1,2],[3]]", No("array")),
            ("[[],[]]", No("empty")),
            ("[[[[[[[1]]]]]]]", No("deep")),
            ("[9007199254740993]", No("exactly")),
            ("5", No("list")),
            ("{}", No("list")),
        ],
    ),
    (
        "text[]",
        &[
            (
                r#"["x","y\"z","a\\b","null","",null,"{,}",1.10,{"k":"v"}]"#,
                Is(r#"{x,"y\"z","a\\b","null","",NULL,"{,}",1.10,"{\"k\":\"v\"}"}"#),
            ),
            ("[]", Is("{}")),
        ],
    ),
    ("varchar(2)[]", &[("[\"ab\"]", Is("{ab}")), ("[\"abc\"]", No("too long"))]),
    ("numeric(8,2)[]", &[("[1.25,2]", Is("{1.25,2.00}")), ("[1.255]", No("exactly"))]),
    ("integer[]", &[("[39.0,1e3,true]", Is("{39,1000,1}")), ("[1.5]", No("whole number"))]),
    ("boolean[]", &[("[true,false]", Is("{t,f}"))]),
    (
        "timestamptz[]",
        &[(
            "[1784000000,1784000000123]",
            Is(r#"{"2026-07-14 03:33:20+00","2026-07-14 03:33:20.123+00"}"#),
        )],
    ),
    ("jsonb[]", &[(r#"[[1],{"a":1.10},"x"]"#, Is(r#"{[1],"{\"a\": 1.10}","\"x\""}"#))]),
    ("level[]", &[("[\"low\",\"high\"]", Is("{low,high}")), ("[\"mid\"]", No("level"))]),
    ("positive[]", &[("[1,2]", Is("{1,2}")), ("[0]", No("positive"))]),
    ("bytea[]", &[("[\"aGVsbG8=\"]", Is(r#"{"\\x68656c6c6f"}"#))]),
    ("box[]", &[("[\"(1,1),(0,0)\",\"(2,2),(1,1)\"]", Is("{(1,1),(0,0);(2,2),(1,1)}"))]),
    ("list", &[("[1,2]", Is("{1,2}"))]),
    ("int4range", &[("\"[1,5)\"", Is("[1,5)")), ("[1,5]", Is("[1,6)")), ("[5,1]", No("range"))]),
    ("whole", &[("7.0", Is("7")), ("1000", No("whole")), ("7.5", No("whole number"))]),
    ("positive", &[("7", Is("7")), ("0", No("positive")), ("1000", No("whole"))]),
    ("money2", &[("1.25", Is("1.25")), ("1.255", No("exactly"))]),
];

/// Rows as the database prints them, with their numbers.
type Rows = Vec<(i64, Option<String>)>;

/// Holds what became of a batch against a line of the tables, and collects what differs.
fn compare(column: &Column, outcomes: &[Outcome], rows: &Rows, wrong: &mut Vec<String>) {
    let (kind, cases) = column;
    for (at, (json, want)) in cases.iter().enumerate() {
        let number = i64::try_from(at).expect("few cases");
        let stored = rows.iter().find(|(k, _)| *k == number).map(|(_, value)| value.as_deref());
        let right = match (&outcomes[at], want) {
            (Outcome::Ok, Is(text)) => stored == Some(Some(*text)),
            (Outcome::Ok, Null) => stored == Some(None),
            (Outcome::Poison(error), No(part)) => {
                error.kind == FailureKind::Rejected
                    && stored.is_none()
                    && error.message.contains(part)
            }
            _ => false,
        };
        if !right {
            let outcome = &outcomes[at];
            wrong.push(format!("{json} into {kind}: {want:?}, but {stored:?}, {outcome:?}"));
        }
    }
}

#[tokio::test]
async fn postgres_keeps_each_kind_in_each_type_or_says_why_not() {
    let Some(peer) = PostgresPeer::new().await else { return };
    let schema = unique("Each \"kind\"");
    let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
    let mut own = PgConnection::connect(&peer.1).await.expect("a connection");
    let setup = [
        format!("CREATE SCHEMA {quoted}"),
        format!("SET search_path = {quoted}"),
        "SET TIME ZONE 'UTC'".to_owned(),
    ];
    for sql in setup.into_iter().chain(TYPES.iter().map(|sql| (*sql).to_owned())) {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut own).await.expect("set up");
    }
    let mut wrong = Vec::new();
    let columns = [NUMBERS, TEXTS, TIMES, LISTS].concat();
    for (at, column) in columns.iter().enumerate() {
        let table = format!("{quoted}.\"t {at}\"");
        let sql = format!("CREATE TABLE {table} (k bigint, v {})", column.0);
        sqlx::query(AssertSqlSafe(sql)).execute(&mut own).await.expect(column.0);
        let settings = json!({ "connection": "it", "table": table });
        let sink = sink("postgres", &settings, &super::suite::Peer::env(&peer)).expect("settings");
        let records = column.1.iter().enumerate();
        let records: Vec<_> =
            records.map(|(k, (json, _))| record(&format!(r#"{{"k":{k},"v":{json}}}"#))).collect();
        let outcomes = sink.deliver(&records).await;
        let sql = format!("SELECT k, v::text FROM {table}");
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut own).await.expect("rows");
        let rows = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        compare(column, &outcomes, &rows, &mut wrong);
    }
    let sql = format!("DROP SCHEMA {quoted} CASCADE");
    sqlx::query(AssertSqlSafe(sql)).execute(&mut own).await.expect("dropped");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// SQLite has affinities, not types: each line is the declared type of a column.
const SQLITE: &[Column] = &[
    (
        "",
        &[
            ("1", Is("integer 1")),
            ("9223372036854775807", Is("integer 9223372036854775807")),
            ("9223372036854775808", Is("text 9223372036854775808")),
            ("12345678901234567890.123", Is("text 12345678901234567890.123")),
            ("1.10", Is("real 1.1")),
            ("39.0", Is("real 39.0")),
            ("1e400", Is("text 1e400")),
            ("true", Is("integer 1")),
            ("\"007\"", Is("text 007")),
            ("null", Null),
            (r#"{"a":1.10}"#, Is(r#"text {"a":1.10}"#)),
            ("[1.0]", Is("text [1.0]")),
        ],
    ),
    (
        "INTEGER",
        &[
            ("1", Is("integer 1")),
            ("39.0", Is("integer 39")),
            ("39.5", Is("real 39.5")),
            ("true", Is("integer 1")),
            ("\"12\"", Is("integer 12")),
            ("\"x\"", Is("text x")),
            ("9223372036854775808", No("exactly")),
            ("\"12345678901234567890\"", No("exactly")),
        ],
    ),
    (
        "REAL",
        &[
            ("1", Is("real 1.0")),
            ("0.1", Is("real 0.1")),
            ("9007199254740993", No("exactly")),
            ("\"9007199254740993\"", No("exactly")),
            ("1e400", No("exactly")),
        ],
    ),
    (
        "NUMERIC(10,2)",
        &[("1.255", Is("real 1.255")), ("\"1e2\"", Is("integer 100")), ("1e-400", No("exactly"))],
    ),
    (
        "VARCHAR(3)",
        &[
            ("1.10", Is("text 1.10")),
            ("9223372036854775808", Is("text 9223372036854775808")),
            ("1e3", Is("text 1e3")),
            ("true", Is("text 1")),
            ("\"longer\"", Is("text longer")),
        ],
    ),
    ("BLOB", &[("1.5", Is("real 1.5")), ("\"aGk=\"", Is("text aGk="))]),
    ("TEXT CHECK (length(v) < 4)", &[("\"abc\"", Is("text abc")), ("\"abcd\"", No("CHECK"))]),
    (
        "INTEGER UNIQUE NOT NULL",
        &[("1", Is("integer 1")), ("null", No("NOT NULL")), ("1", No("UNIQUE"))],
    ),
];

/// The same for strict tables, which refuse what a type does not hold.
const STRICT: &[Column] = &[
    (
        "INT",
        &[
            ("1", Is("integer 1")),
            ("39.0", Is("integer 39")),
            ("39.5", No("INT")),
            ("\"x\"", No("INT")),
        ],
    ),
    ("REAL", &[("1", Is("real 1.0")), ("9007199254740993", No("exactly"))]),
    ("TEXT", &[("1.10", Is("text 1.10")), ("\"x\"", Is("text x"))]),
    ("BLOB", &[("\"x\"", No("BLOB"))]),
    (
        "ANY",
        &[
            ("\"007\"", Is("text 007")),
            ("9223372036854775808", Is("text 9223372036854775808")),
            ("1.5", Is("real 1.5")),
        ],
    ),
];

#[tokio::test]
async fn sqlite_keeps_each_kind_in_each_type_or_says_why_not() {
    let folder = Folder::new();
    let options = SqliteConnectOptions::new().filename(folder.path().join("h.db"));
    let pool = SqlitePool::connect_with(options.create_if_missing(true)).await.expect("a file");
    let env = with_connection(env(folder.path()), "sqlite", &json!({ "path": "h.db" }));
    let mut wrong = Vec::new();
    let tables = SQLITE.iter().map(|column| (column, ""));
    let tables = tables.chain(STRICT.iter().map(|column| (column, " STRICT")));
    for (at, (column, strict)) in tables.enumerate() {
        let table = format!("t{at}");
        let sql = format!("CREATE TABLE {table} (k INTEGER, v {}){strict}", column.0);
        sqlx::query(AssertSqlSafe(sql)).execute(&pool).await.expect(column.0);
        let settings = json!({ "connection": "it", "table": table });
        let sink = sink("sqlite", &settings, &env).expect("settings");
        let records = column.1.iter().enumerate();
        let records: Vec<_> =
            records.map(|(k, (json, _))| record(&format!(r#"{{"k":{k},"v":{json}}}"#))).collect();
        let outcomes = sink.deliver(&records).await;
        let sql = format!(
            "SELECT k, iif(v IS NULL, NULL, typeof(v) || ' ' || iif(typeof(v) = 'real', \
             printf('%!.16g', v), v)) FROM {table}"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&pool).await.expect("rows");
        let rows = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        compare(column, &outcomes, &rows, &mut wrong);
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Decimal texts of all shapes that JSON allows, within what `numeric` holds.
fn decimals(count: usize) -> Vec<String> {
    let digits = |most| proptest::collection::vec(0_u8..10, 0..most);
    let text = |digits: Vec<u8>| -> String { digits.iter().map(u8::to_string).collect() };
    let shape = (proptest::bool::ANY, digits(45), digits(35), -40_i32..40, 0_u8..6);
    let shape = shape.prop_map(move |(negative, whole, fraction, exponent, form)| {
        let (whole, fraction) = (text(whole), text(fraction));
        let whole = whole.trim_start_matches('0');
        let sign = if negative { "-" } else { "" };
        let whole = if whole.is_empty() { "0" } else { whole };
        let fraction = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
        match form {
            0 => format!("{sign}{whole}{fraction}e{exponent}"),
            1 => format!("{sign}{whole}{fraction}E{exponent:+}"),
            2 => format!("{sign}{whole}"),
            _ => format!("{sign}{whole}{fraction}"),
        }
    });
    let mut runner = TestRunner::deterministic();
    let one = |_| shape.new_tree(&mut runner).expect("a shape").current();
    (0..count).map(one).collect()
}

#[tokio::test]
async fn postgres_gives_every_digit_back() {
    let Some(peer) = PostgresPeer::new().await else { return };
    let name = unique("digits");
    let sql = format!("CREATE TABLE {name} (k int, n numeric, j jsonb, l numeric[], t text)");
    peer.query(&sql).await;
    let settings = json!({ "connection": "it", "table": name });
    let sink = sink("postgres", &settings, &super::suite::Peer::env(&peer)).expect("settings");
    let texts = decimals(1000);
    let row = |(k, n): (usize, &String)| {
        record(&format!(r#"{{"k":{k},"n":{n},"j":{{"n":{n}}},"l":[{n}],"t":{n}}}"#))
    };
    let records: Vec<_> = texts.iter().enumerate().map(row).collect();
    for records in records.chunks(500) {
        assert_eq!(sink.deliver(records).await, vec![Outcome::Ok; records.len()]);
    }
    for column in ["n::text", "j->>'n'", "l[1]::text", "t"] {
        let back = peer.texts(&format!("SELECT {column} FROM {name} ORDER BY k")).await;
        assert_eq!(back.len(), texts.len());
        for (sent, back) in texts.iter().zip(&back) {
            let (sent, back) = (Decimal::parse(sent), Decimal::parse(back));
            let (sent, back) = sent.zip(back).expect("numbers");
            assert!(sent.equals(back), "{column}: {sent:?} {back:?}");
        }
    }
}
