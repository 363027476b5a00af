//! The rest of the hostile input that every release has to bear, by its number: R21 documents, R22
//! statements, R23 patterns, R25 what grows when it is unpacked. In a debug build, on 2 MiB of stack.
//!
//! Times are the processor's, and bounds for a debug build: they catch what is not linear.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use contract::{Body, NoFacts};
use sql::functions::{FUNCTIONS, Function, Kind};
use sql::{DataType, Error, Input, Limits, Mistakes, Options, Plan, Query, Scratch, Verdict};

use super::hostile::{message, small_stack};

/// Processor time that this thread has used; a busy machine makes it no longer.
fn used() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = text.split_whitespace().next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanos.expect("a number"))
}

/// Runs something on the small stack and holds it against a time.
fn timed<T: Send + 'static>(
    what: &str,
    most: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    small_stack({
        let what = what.to_owned();
        move || {
            let start = used();
            let result = work();
            let took = used() - start;
            assert!(took < most, "{what} took {took:?}");
            result
        }
    })
}

fn plan(sql: &str, data_type: DataType) -> Plan {
    let options = Options { data_type, ..Options::default() };
    Plan::new(vec![Arc::new(Query::compile(sql, &options).expect(sql))])
}

/// Evaluates a plan that was prepared, if it has to be.
fn evaluate(plan: &Plan, payload: &[u8], scratch: &mut Scratch) -> (Verdict, Vec<u8>) {
    let mut message = message("");
    message.payload = payload.to_vec().into();
    let input = Input { message: &message, facts: &NoFacts, rule: "r", has_topic: true };
    let mut out = Vec::new();
    let verdict = plan.evaluate(0, &input, payload, scratch, &mut out);
    (verdict, out)
}

#[test]
fn r21_documents() {
    const DEEP: usize = 1_000_000;
    let keys: String = (0..DEEP).map(|n| format!("\"k{n}\":{n},")).collect();
    let same: String = "\"a\":1,".repeat(DEEP);
    let some: String = (0..100_000).map(|n| format!("\"k{n}\":{n},")).collect();
    let cases: Vec<(&str, Vec<u8>, Option<&str>)> = vec![
        ("arrays", "[".repeat(DEEP).into(), Some("nested deeper than 128 levels")),
        ("objects", "{\"a\":".repeat(DEEP).into(), Some("nested deeper than 128 levels")),
        (
            "closed",
            format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP)).into(),
            Some("nested deeper than 128 levels"),
        ),
        (
            "ignored field",
            format!("{{\"z\":{}{},\"a\":1}}", "[".repeat(DEEP), "]".repeat(DEEP)).into(),
            Some("nested deeper than 128 levels"),
        ),
        ("inside a string", format!("{{\"a\":\"{}\"}}", "[{\\\"".repeat(DEEP)).into(), None),
        ("unclosed string", format!("{{\"a\":\"{}", "x".repeat(DEEP)).into(), Some("ends early")),
        ("escapes", format!("{{\"a\":\"{}\"}}", "\\u0041".repeat(DEEP)).into(), None),
        ("keys", format!("{{{keys}\"a\":1}}").into(), None),
        ("some keys", format!("{{{some}\"a\":1}}").into(), None),
        ("one key again and again", format!("{{{same}\"a\":2}}").into(), None),
        ("a long key", format!("{{\"{}\":1}}", "a".repeat(DEEP)).into(), None),
        ("a long number", format!("{{\"a\":{}}}", "9".repeat(DEEP)).into(), None),
        ("a long fraction", format!("{{\"a\":0.{}1e-{DEEP}}}", "0".repeat(DEEP)).into(), None),
        ("a long exponent", format!("{{\"a\":1e{}}}", "9".repeat(DEEP)).into(), None),
        ("many elements", format!("{{\"b\":[{}0],\"a\":1}}", "0,".repeat(DEEP)).into(), None),
        ("high surrogate", br#"{"a":"\ud800"}"#.to_vec(), Some("a lone surrogate in a string")),
        ("low surrogate", br#"{"a":"\udc00x"}"#.to_vec(), Some("a lone surrogate in a string")),
        ("two high ones", br#"{"a":"\ud800\ud800"}"#.to_vec(), Some("a lone surrogate")),
        ("ignored surrogate", br#"{"z":"\ud800","a":1}"#.to_vec(), Some("a lone surrogate")),
        ("byte order mark", b"\xef\xbb\xbf{\"a\":1}".to_vec(), Some("")),
        ("NUL", b"\0".to_vec(), Some("")),
        ("NUL in a string", b"{\"a\":\"\0\"}".to_vec(), Some("a control character in a string")),
        ("NUL behind", b"{\"a\":1}\0".to_vec(), Some("text after the document")),
        ("nothing", Vec::new(), Some("")),
        ("spaces", " ".repeat(DEEP).into(), Some("")),
    ];
    let sql = "SELECT a AS x, a + 1 AS y, a || 'x' AS z, \"b[-1]\" AS w FROM \"t\" \
               WHERE a = a OR a < 5 OR a LIKE '%x%y%' OR b[1] = 0 OR true";
    let whole = "SELECT *, \"$..k7\" AS x FROM \"t\"";
    for (name, payload, want) in cases {
        // Two seconds and two more for each MiB.
        let most = Duration::from_secs(2 + 2 * (payload.len() as u64 >> 20));
        timed(name, most, move || {
            // Merging documents and JSONPath take them apart: in a debug build not for the largest.
            let plan = plan(if payload.len() > 2 << 20 { sql } else { whole }, DataType::Json);
            let mut scratch = Scratch::new();
            match (plan.prepare(&payload, &mut scratch), want) {
                (Err(invalid), Some(want)) => {
                    assert!(invalid.reason.contains(want), "{name}: {invalid}");
                }
                (Ok(()), None) => {
                    let (verdict, _) = evaluate(&plan, &payload, &mut scratch);
                    assert_eq!(verdict, Verdict::Selected(Body::Json), "{name}");
                }
                (result, _) => panic!("{name}: {result:?}"),
            }
        });
    }
}

fn compile(sql: &str, limits: Limits) -> Result<(), Error> {
    let options = Options { limits, ..Options::default() };
    let compiled = Query::compile(sql, &options).map_err(Mistakes::first);
    compiled.map(drop).inspect_err(|error| {
        assert!(error.line >= 1 && error.column >= 1, "{error}");
        assert!(error.expected.is_some() && error.hint.is_some(), "{error}");
        assert!(error.to_string().len() < 600, "an error is short: {error}");
    })
}

/// Statements of a size that only a configuration with larger limits lets through to the parser.
#[test]
fn r22_large_statements() {
    const MANY: usize = 100_000;
    const SOME: usize = 20_000;
    let wide = Limits { text: 4 << 20, ..Limits::default() };
    let nested = |open: &str, close: &str| {
        let count = if open.len() == 1 { MANY } else { SOME };
        format!("{}1{}", open.repeat(count), close.repeat(count))
    };
    let list: Vec<String> = (0..SOME).map(|n| n.to_string()).collect();
    let cases = [
        ("parentheses", nested("(", ")"), "nested deeper"),
        ("CASE", nested("CASE WHEN a THEN ", " END"), "nested deeper"),
        ("functions", nested("abs(", ")"), "nested deeper"),
        ("lists in lists", nested("1 IN (", ")"), "nested deeper"),
        ("NOT", nested("NOT ", ""), "nested deeper"),
        ("signs", nested("- ", ""), "nested deeper"),
        ("only open", "(".repeat(MANY), "nested deeper"),
        ("only closed", ")".repeat(MANY), "unexpected `)`"),
        ("a sum", vec!["1"; MANY].join("+"), "more than 10000 parts"),
        ("a product", vec!["a"; SOME].join(" DIV "), "more than 10000 parts"),
        ("OR", vec!["a"; SOME].join(" OR "), "more than 10000 parts"),
        ("comparisons", vec!["a"; SOME].join(" = "), "comparisons do not chain"),
        ("a list", format!("a IN ({})", list.join(",")), "at most 10000"),
        ("arguments", format!("concat({})", list.join(",")), ""),
        ("WHEN", format!("CASE {} END", "WHEN a THEN 1 ".repeat(SOME)), "more than 10000 parts"),
        ("a name without end", "x".repeat(1 << 20), ""),
        ("a function without end", format!("{}()", "x".repeat(1 << 20)), "unknown function"),
        ("a string without end", format!("'{}", "x".repeat(1 << 20)), "not closed"),
        ("a number without end", "9".repeat(1 << 20), ""),
        ("a path without end", "a.".repeat(MANY) + "a", ""),
        ("quotes", "\"".repeat(MANY + 1), "not closed"),
        ("commas", ",".repeat(MANY), "unexpected `,`"),
        ("comments", "/*".repeat(MANY), "not closed"),
        ("lines", "\n".repeat(MANY) + "(", "line 100001"),
    ];
    for (name, text, part) in cases {
        timed(name, Duration::from_secs(10), move || {
            let select = compile(&format!("SELECT {text} AS x FROM \"t\""), wide);
            let filter = compile(&format!("SELECT * FROM \"t\" WHERE {text}"), wide);
            for result in [select, filter] {
                let error = result.map_or_else(|error| error.to_string(), |()| String::new());
                assert!(error.contains(part), "{name}: {error}");
            }
            let error = compile(&text, Limits::default()).expect_err(name);
            assert!(error.to_string().contains(" bytes") || text.len() <= 64 * 1024, "{error}");
        });
    }
}

#[test]
fn r22_random_bytes() {
    timed("random bytes", Duration::from_secs(30), || {
        let mut state = 11_u64;
        let mut left = 1_000_000;
        while left > 0 {
            let mut next = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                state >> 33
            };
            let count = usize::try_from(next() % 400).expect("small") + 1;
            let bytes: Vec<u8> = (0..count).map(|_| next().to_le_bytes()[0]).collect();
            left -= count.min(left);
            drop(compile(&String::from_utf8_lossy(&bytes), Limits::default()));
            let text: String = bytes.iter().map(|b| char::from(b % 95 + 32)).collect();
            drop(compile(&text, Limits::default()));
            drop(compile(&format!("SELECT {text} FROM \"t\""), Limits::default()));
        }
    });
}

/// Every prefix of every statement that the cases hold.
#[test]
fn r22_prefixes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql");
    let mut statements = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder of cases") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "slt") {
            let text = std::fs::read_to_string(path).expect("cases");
            let sql = text.lines().filter_map(|line| line.strip_prefix("sql "));
            statements.extend(sql.filter(|sql| sql.len() < 300).map(str::to_owned));
        }
    }
    assert!(statements.len() > 200, "{} statements", statements.len());
    timed("prefixes", Duration::from_secs(120), move || {
        let mut count = 0;
        // A part of them, so that the test stays short when the cases become thousands.
        let step = statements.len().div_ceil(400);
        for sql in statements.iter().step_by(step) {
            for (end, _) in sql.char_indices() {
                drop(compile(sql.get(..end).expect("a character"), Limits::default()));
                count += 1;
            }
        }
        println!("{count} prefixes");
    });
}

/// What a text matches, in time, with the pattern written in the statement and in the document.
fn match_everything(function: &Function, pattern: &'static str, text: &str) {
    let name = function.name;
    let more = if function.params.iter().filter(|param| param.required).count() > 2 {
        ", 'x'"
    } else {
        ""
    };
    let text = text.to_owned();
    timed(&format!("{name} with {pattern:.30}"), Duration::from_secs(30), move || {
        let quoted = pattern.replace('\'', "''");
        for sql in [
            format!("SELECT {name}(a, '{quoted}'{more}) AS x FROM \"t\""),
            format!("SELECT {name}(a, b{more}) AS x FROM \"t\""),
        ] {
            let start = used();
            let query = Query::compile(&sql, &Options::default());
            let took = used() - start;
            assert!(took < Duration::from_secs(5), "{name} with {pattern:.30}: {took:?}");
            let Ok(query) = query else { continue };
            let plan = Plan::new(vec![Arc::new(query)]);
            let payload = serde_json::json!({ "a": text, "b": pattern }).to_string();
            let mut scratch = Scratch::new();
            plan.prepare(payload.as_bytes(), &mut scratch).expect("JSON");
            evaluate(&plan, payload.as_bytes(), &mut scratch);
        }
    });
}

#[test]
fn r23_patterns() {
    let patterns: Vec<&'static str> = vec![
        "(a{0,1000}){0,1000}",
        "(a+)+$",
        "(a|a)*b",
        "(.*)*(.*)*(.*)*x",
        "((a{0,100}){0,100}){0,100}",
        "\\w{1000}{1000}",
        String::leak("(".repeat(20_000) + &")".repeat(20_000)),
        String::leak("a?".repeat(25_000) + &"a".repeat(5_000)),
        String::leak("[a-z]".repeat(12_000)),
        String::leak("x".repeat(60_000)),
    ];
    let text = "a".repeat(100_000) + "!";
    for function in FUNCTIONS.iter().filter(|function| function.name.starts_with("regexp")) {
        for pattern in &patterns {
            match_everything(function, pattern, &text);
        }
    }
    let text: &'static str = String::leak("ab".repeat(500_000));
    for pattern in ["%_".repeat(30_000), "%a%b".repeat(15_000) + "%c", "%".repeat(60_000)] {
        for sql in [
            format!("SELECT a LIKE '{pattern}' AS x FROM \"t\""),
            "SELECT a LIKE b AS x FROM \"t\"".to_owned(),
        ] {
            let payload = serde_json::json!({ "a": text, "b": pattern }).to_string();
            timed("LIKE", Duration::from_secs(10), move || {
                let plan = plan(&sql, DataType::Json);
                let mut scratch = Scratch::new();
                plan.prepare(payload.as_bytes(), &mut scratch).expect("JSON");
                evaluate(&plan, payload.as_bytes(), &mut scratch);
            });
        }
    }
}

/// 1 GiB of zeros as zstd: frames of runs, 4 bytes for each 128 KiB.
fn zstd_bomb() -> Vec<u8> {
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    for block in 0..8192_u32 {
        let head = u32::from(block == 8191) | 1 << 1 | (128 << 10) << 3;
        bytes.extend_from_slice(&head.to_le_bytes()[..3]);
        bytes.push(0);
    }
    bytes
}

/// 64 MiB of zeros in what flate2 writes.
fn zero_bombs() -> Vec<Vec<u8>> {
    use std::io::Write as _;
    let level = flate2::Compression::fast();
    let zeros = vec![0; 1 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), level);
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), level);
    for _ in 0..64 {
        gzip.write_all(&zeros).expect("memory");
        zlib.write_all(&zeros).expect("memory");
        deflate.write_all(&zeros).expect("memory");
    }
    let finished = [gzip.finish(), zlib.finish(), deflate.finish()];
    finished.into_iter().map(|bytes| bytes.expect("memory")).collect()
}

/// Every function that takes bytes gets every bomb, with each algorithm that its examples name.
#[test]
fn r25_bombs_in_functions() {
    let mut bombs = zero_bombs();
    bombs.push(zstd_bomb());
    let bombs = Arc::new(bombs);
    for function in FUNCTIONS.iter().filter(|function| function.kind(0) == Kind::Bytes) {
        let sql = function.examples.iter().map(|example| example.sql);
        let mut second: Vec<&str> =
            sql.flat_map(|sql| sql.split('\'').skip(1).step_by(2)).collect();
        second.extend(["gzip", "zlib", "deflate", "flate", "zstd"]);
        let calls = second.into_iter().map(|text| format!("{}(*, '{text}')", function.name));
        for call in calls.chain([format!("{}(*)", function.name)]) {
            let sql = format!("SELECT {call} AS x FROM \"t\"");
            let options = Options { data_type: DataType::Binary, ..Options::default() };
            let Ok(query) = Query::compile(&sql, &options) else { continue };
            let bombs = Arc::clone(&bombs);
            timed(&call, Duration::from_secs(60), move || {
                let plan = Plan::new(vec![Arc::new(query)]);
                for bomb in bombs.iter() {
                    let (_, out) = evaluate(&plan, bomb, &mut Scratch::new());
                    assert!(out.len() <= 9 << 20, "{sql}: {} bytes", out.len());
                }
            });
        }
    }
}
