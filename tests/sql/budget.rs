//! What a rule may cost for one message: units of work, the same everywhere. How they become time is
//! measured by `cargo bench --bench work`.

use sql::{Limits, Scratch, Verdict};

use super::hard::{Case, evaluate, functions, plan, shapes, statements};

const HARD: &str = "(a{1,50}){1,50}b";

fn case(sql: &str, payload: String) -> Case {
    Case { shape: "", sql: sql.into(), payload: payload.into_bytes() }
}

/// Runs a statement over 200,000 letters, a temperature and a pattern.
fn over(sql: &str) -> (Verdict, Vec<&'static str>, String, u64) {
    let text = "a".repeat(200_000);
    let case =
        case(sql, format!(r#"{{"t":21.5,"p":"{HARD}","text":"{text}","l":["a","{text}"]}}"#));
    let plan = plan(&case).expect(sql);
    let came = evaluate(&plan, &case, &mut Scratch::new());
    let record = String::from_utf8(came.record).expect("JSON");
    (came.verdict, came.codes, record, came.used)
}

#[test]
fn a_hard_pattern_is_refused_before_it_searches() {
    for (sql, codes, record) in [
        // The item is MISSING, and the others are there.
        (
            format!("SELECT regexp_matches(text, '{HARD}') AS m, t FROM \"#\""),
            &["too_costly"][..],
            r#"{"t":21.5}"#,
        ),
        (
            format!("SELECT regexp_count(text, '{HARD}') AS m, t FROM \"#\""),
            &["too_costly"],
            r#"{"t":21.5}"#,
        ),
        (
            format!("SELECT regexp_replace(text, '{HARD}', '$1') AS m, t FROM \"#\""),
            &["too_costly"],
            r#"{"t":21.5}"#,
        ),
        // What a message brings has a smaller limit.
        ("SELECT regexp_matches(text, p) AS m, t FROM \"#\"".into(), &["pattern"], r#"{"t":21.5}"#),
        (
            "SELECT regexp_matches(text, '(a{1,9}){1,9}' || 'b' || t) AS m, t FROM \"#\"".into(),
            &["too_costly"],
            r#"{"t":21.5}"#,
        ),
        (
            "SELECT ilike(text, repeat_text('%a', 90) || t) AS m, t FROM \"#\"".into(),
            &["too_costly"],
            r#"{"t":21.5}"#,
        ),
        // WHERE is UNKNOWN, with the error, and so is its opposite.
        (format!("SELECT t FROM \"#\" WHERE regexp_matches(text, '{HARD}')"), &["too_costly"], ""),
        (
            format!("SELECT t FROM \"#\" WHERE NOT regexp_matches(text, '{HARD}')"),
            &["too_costly"],
            "",
        ),
        (
            format!("SELECT t FROM \"#\" WHERE t > 1 OR regexp_matches(text, '{HARD}')"),
            &[],
            r#"{"t":21.5}"#,
        ),
        // A short text costs little.
        (format!("SELECT regexp_matches('aab', '{HARD}') AS m FROM \"#\""), &[], r#"{"m":true}"#),
    ] {
        let (verdict, have, out, used) = over(&sql);
        assert_eq!((&*have, &*out), (codes, record), "{sql}: {verdict:?}");
        assert!(used < Limits::default().work / 4, "{sql}: {used} units for what is refused");
    }
}

#[test]
fn some_elements_of_unnest_do_not_look_like_all() {
    for sql in [
        format!("SELECT i FROM \"#\", UNNEST(l) AS i WHERE regexp_like(i, '{HARD}')"),
        format!("SELECT regexp_like(i, '{HARD}') AS m FROM \"#\", UNNEST(l) AS i"),
        format!("SELECT i FROM \"#\", UNNEST(l) AS i WHERE regexp_like(text, '{HARD}')"),
    ] {
        let (verdict, codes, record, _) = over(&sql);
        assert_eq!(
            (verdict, &*codes, &*record),
            (Verdict::Aborted, &["too_costly"][..], ""),
            "{sql}"
        );
    }
}

#[test]
fn patterns_as_they_are_written_read_long_texts() {
    let words = "pump off, valve on; ".repeat(10_000);
    for (pattern, count) in [
        ("error|warning|critical|fatal", "0"),
        (r"\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}", "0"),
        (r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\\.[A-Za-z]{2,}", "0"),
        (r"\\bpump\\b", "10000"),
        ("(?i)VALVE (on|off)", "10000"),
    ] {
        let pattern = pattern.replace(r"\\", r"\");
        let sql = format!("SELECT regexp_count(x, '{pattern}') AS r FROM \"#\"");
        let case = case(&sql, format!(r#"{{"x":"{words}"}}"#));
        let came = evaluate(&plan(&case).expect(&sql), &case, &mut Scratch::new());
        let record = String::from_utf8(came.record).expect("JSON");
        assert_eq!(record, format!(r#"{{"r":{count}}}"#), "{pattern}: {:?}", came.codes);
    }
}

/// No function gets a message for nothing, and none takes more than there is.
#[test]
fn every_function_pays_for_what_it_reads() {
    const BYTES: usize = 4 * 1024;
    // A part of the cases: `cargo bench --bench work` goes through all of them.
    let shapes = shapes(BYTES);
    let mut scratch = Scratch::new();
    let (mut count, mut free) = (0, Vec::new());
    for function in functions() {
        for case in super::hard::cases(function, &shapes).into_iter().step_by(9) {
            let Some(plan) = plan(&case) else { continue };
            let came = evaluate(&plan, &case, &mut scratch);
            count += 1;
            // A number of 8 KiB is read as one where no text is wanted.
            if came.used < BYTES as u64 && case.payload.len() > BYTES {
                free.push(format!("{} over {}: {} units", case.sql, case.shape, came.used));
            }
        }
    }
    println!("{count} cases");
    assert!(count > 500, "{count} cases");
    assert!(free.is_empty(), "{} are free:\n{}", free.len(), free.join("\n"));
    for case in statements(&shapes).into_iter().step_by(5) {
        let plan = plan(&case).unwrap_or_else(|| panic!("{} is no statement", case.sql));
        evaluate(&plan, &case, &mut scratch);
    }
}

#[test]
fn what_is_made_again_and_again_is_paid() {
    // Each of these is small by itself.
    let long = "a".repeat(100_000);
    let payload = format!(
        r#"{{"a":"{long}","l":[{}1],"s":{{"a":[{}1]}}}}"#,
        "1,".repeat(500),
        "1,".repeat(20_000)
    );
    for (sql, code) in [
        (format!("SELECT {} AS r FROM \"#\"", vec!["a"; 3000].join(" || ")), "too_costly"),
        (
            format!(
                "SELECT 1 AS r FROM \"#\" WHERE {}",
                vec!["length(repeat_text(a, 9)) = 1"; 900].join(" OR ")
            ),
            "too_costly",
        ),
        (
            format!("SELECT 1 AS r FROM \"#\" WHERE {}", vec!["a LIKE '%b%c%'"; 3000].join(" OR ")),
            "too_costly",
        ),
        (
            format!(
                "SELECT 1 AS r FROM \"#\" WHERE {}",
                vec!["s = parse_json(to_json(s))"; 300].join(" AND ")
            ),
            "too_costly",
        ),
        (
            format!(
                "SELECT {} AS r FROM \"#\", UNNEST(l) AS i",
                vec!["md5(a)"; 20].join(" = 'x' OR ") + " = 'x'"
            ),
            "too_costly",
        ),
        (
            format!("SELECT {} AS r FROM \"#\", UNNEST(l) AS i", vec!["i"; 5000].join(" + ")),
            "too_costly",
        ),
        ("SELECT *, i FROM \"#\", UNNEST(l) AS i WHERE i = 2".into(), ""),
    ] {
        let case = case(&sql, payload.clone());
        let came = evaluate(&plan(&case).expect("a statement"), &case, &mut Scratch::new());
        let want: &[&str] = if code.is_empty() { &[] } else { &[code] };
        assert_eq!(
            came.codes.first().into_iter().copied().collect::<Vec<_>>(),
            want,
            "{:.90}",
            sql
        );
    }
}

/// A JSONPath notes the place of every value that it comes by: with a long key that was the length of
/// the document times the number of its values.
#[test]
fn a_json_path_pays_for_the_places_it_notes() {
    let payload = |key: usize, values: usize| {
        format!(r#"{{"x":{{"{}":[{}1]}},"p":"$..*"}}"#, "k".repeat(key), "1,".repeat(values))
    };
    for sql in [
        "SELECT \"$.x.*[*]\" AS r FROM \"#\"",
        "SELECT json_path_exists(x, '$.*[*]') AS r FROM \"#\"",
        "SELECT json_path_query(x, p) AS r FROM \"#\"",
    ] {
        for (key, values, code) in [(3, 500, None), (100_000, 100_000, Some("too_costly"))] {
            let case = case(sql, payload(key, values));
            let came = evaluate(&plan(&case).expect(sql), &case, &mut Scratch::new());
            assert_eq!(came.codes.first().copied(), code, "{sql} with a key of {key} bytes");
        }
    }
}
