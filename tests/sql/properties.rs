//! Generated and broken documents: what `prepare` accepts and finds against serde_json.

use std::sync::Arc;

use contract::{Message, NoFacts, Topic, TopicLimits};
use proptest::prelude::*;
use serde_json::Value;
use sql::{Input, Num, Options, Plan, Query, Scratch, Verdict};

use super::paths::PATHS;

/// Documents over a few keys, so that the paths below often hit.
fn document() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(str::to_owned),
        1 => Just("\\u0061".to_owned()),
        1 => Just("温度".to_owned()),
        1 => Just(String::new()),
        1 => "[a-z ]{8,20}",
    ];
    let number = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        (-1e9..1e9f64).prop_map(|n| n.to_string()),
        prop::sample::select(vec!["0", "-0", "0.5", "1E5", "1e-7", "12.50", "-1.25e+3"])
            .prop_map(str::to_owned),
    ];
    let string = prop_oneof![
        any::<String>().prop_map(|text| Value::String(text).to_string()),
        prop::sample::select(vec![
            r#""\ud83d\ude00""#,
            r#""\n\t\"\\\/""#,
            r#""plain""#,
            r#""seven77""#,
            r#""eightxyz""#,
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        number,
        string,
        prop::sample::select(vec!["true", "false", "null", "[]", "{}"]).prop_map(str::to_owned),
    ];
    let space = prop::sample::select(vec!["", "", "", " ", "\n\t", "\r  "]);
    leaf.prop_recursive(6, 60, 6, move |inner| {
        let member = (key.clone(), space.clone(), inner.clone())
            .prop_map(|(key, space, value)| format!("{space}\"{key}\"{space}:{space}{value}"));
        prop_oneof![
            2 => prop::collection::vec(member, 0..6).prop_map(|m| format!("{{{}}}", m.join(","))),
            1 => (prop::collection::vec(inner, 0..5), space.clone())
                .prop_map(|(list, space)| format!("[{space}{}{space}]", list.join(","))),
        ]
    })
}

fn plan() -> Plan {
    let items: Vec<String> =
        PATHS.iter().enumerate().map(|(at, path)| format!("\"{path}\" AS p{at}")).collect();
    let sql = format!("SELECT {} FROM \"t\"", items.join(", "));
    Plan::new(vec![Arc::new(Query::compile(&sql, &Options::default()).expect("SQL"))])
}

/// The value at a path, found in serde_json's tree.
fn lookup<'v>(mut value: &'v Value, path: &str) -> Option<&'v Value> {
    let path = path.strip_prefix('$').unwrap_or(path);
    for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
        value = match part.strip_suffix(']') {
            Some(index) => {
                let list = value.as_array()?;
                let index: i64 = index.parse().expect("an index");
                let length = i64::try_from(list.len()).expect("short");
                list.get(usize::try_from(if index < 0 { length + index } else { index }).ok()?)?
            }
            None => value.as_object()?.get(part)?,
        };
    }
    Some(value)
}

/// Both ways of reading a payload; they must agree.
fn check(payload: &[u8]) -> Result<(), TestCaseError> {
    let plan = plan();
    let mut scratch = Scratch::new();
    let ours = plan.prepare(payload, &mut scratch);
    let theirs = serde_json::from_slice::<Value>(payload);
    let shown = String::from_utf8_lossy(payload);
    // serde_json refuses numbers beyond f64, which are valid JSON.
    if theirs.as_ref().is_err_and(|error| error.to_string().contains("number out of range")) {
        return Ok(());
    }
    prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{} ours {:?}, theirs {:?}", shown, ours, theirs);
    let Ok(tree) = theirs else { return Ok(()) };
    let topic = Topic::parse("t", TopicLimits::default()).expect("topic");
    let message = Message::new(topic, payload.to_vec(), 0);
    let input = Input { message: &message, facts: &NoFacts, rule: "r", has_topic: true };
    let mut out = Vec::new();
    let verdict = plan.evaluate(0, &input, payload, &mut scratch, &mut out);
    prop_assert!(matches!(verdict, Verdict::Selected(_)));
    let record: Value = serde_json::from_slice(&out).expect("a record is JSON");
    for (at, path) in PATHS.iter().enumerate() {
        let found = record.get(format!("p{at}"));
        prop_assert_eq!(found, lookup(&tree, path), "{} in {}", path, shown);
    }
    Ok(())
}

/// A path of [`PATHS`] that starts at the element `e`.
fn of_element(path: &str) -> String {
    match path.strip_prefix('$') {
        Some(rest) => format!("e{rest}"),
        None => format!("e.{path}"),
    }
}

/// Documents as elements of an array: what UNNEST reads from each is what serde_json reads.
fn check_elements(documents: &[String]) -> Result<(), TestCaseError> {
    let items: Vec<String> = PATHS
        .iter()
        .enumerate()
        .map(|(at, path)| format!("\"{}\" AS p{at}", of_element(path)))
        .collect();
    let items = items.join(", ");
    // An array of the document, a computed one, and a rule beside them, in one plan.
    let compile = |sql: String| Arc::new(Query::compile(&sql, &Options::default()).expect("SQL"));
    let plan = Plan::new(vec![
        compile(format!("SELECT {items}, k FROM \"t\", UNNEST(l) AS e WHERE k = 1")),
        compile("SELECT k, l[0].a AS a FROM \"t\"".to_owned()),
        compile(format!("SELECT {items}, k FROM \"t\", UNNEST(CASE k WHEN 1 THEN l END) AS e")),
        compile("SELECT unnest(l) AS p0, k FROM \"t\"".to_owned()),
    ]);
    let payload = format!(r#"{{"k":1,"l":[{}]}}"#, documents.join(" ,"));
    let mut scratch = Scratch::new();
    let Ok(tree) = serde_json::from_str::<Value>(&payload) else { return Ok(()) };
    plan.prepare(payload.as_bytes(), &mut scratch).expect("JSON");
    let topic = Topic::parse("t", TopicLimits::default()).expect("topic");
    let message = Message::new(topic, payload.clone(), 0);
    let input = Input { message: &message, facts: &NoFacts, rule: "r", has_topic: true };
    let elements = tree["l"].as_array().expect("an array");
    for query in [0, 2, 1, 3, 0] {
        let mut out = Vec::new();
        let verdict = plan.evaluate(query, &input, payload.as_bytes(), &mut scratch, &mut out);
        let records: Vec<Value> = verdict
            .records(&scratch, 0..out.len())
            .map(|(_, place)| serde_json::from_slice(&out[place]).expect("a record is JSON"))
            .collect();
        if query == 1 {
            prop_assert_eq!(records.len(), 1);
            prop_assert_eq!(records[0].get("a"), lookup(&tree, "l[0].a"), "{}", payload);
            continue;
        }
        prop_assert_eq!(records.len(), elements.len(), "query {} over {}", query, payload);
        for (record, element) in records.iter().zip(elements) {
            prop_assert_eq!(&record["k"], &tree["k"]);
            for (at, path) in PATHS.iter().enumerate().take(if query == 3 { 1 } else { 99 }) {
                let found = record.get(format!("p{at}"));
                prop_assert_eq!(found, lookup(element, path), "{} in {}", path, payload);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn elements_are_read_as_serde_json_reads_them(
        documents in prop::collection::vec(document(), 0..5),
    ) {
        check_elements(&documents)?;
    }

    #[test]
    fn documents_are_read_as_serde_json_reads_them(text in document()) {
        check(text.as_bytes())?;
    }

    #[test]
    fn broken_documents_are_refused_as_serde_json_refuses_them(
        text in document(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..5u8), 1..4),
    ) {
        const BYTES: &[u8] = b"\"\\{}[],:0-.eEtu/ \x00\x1f\x7f\xff\xc3\xa9dD8";
        let mut bytes = text.into_bytes();
        for (place, byte, kind) in edits {
            let at = place.index(bytes.len() + 1);
            let byte = if kind > 2 { byte } else { BYTES[usize::from(byte) % BYTES.len()] };
            match kind {
                0 if at < bytes.len() => { bytes.remove(at); }
                1 | 3 if at < bytes.len() => bytes[at] = byte,
                2 => bytes.truncate(at),
                _ => bytes.insert(at, byte),
            }
        }
        check(&bytes)?;
    }

    #[test]
    fn numbers_are_read_exactly(a in any::<i64>(), b in any::<u64>(), c in any::<f64>()) {
        prop_assert_eq!(Num::parse(a.to_string().as_bytes()), Some(Num::Int(a)));
        let wide = Num::parse(b.to_string().as_bytes()).expect("u64");
        prop_assert_eq!(wide.as_i128(), Some(i128::from(b)));
        if c.is_finite() {
            let text = serde_json::to_string(&c).expect("finite");
            let read = Num::parse(text.as_bytes()).expect("finite");
            prop_assert_eq!(read.as_f64(), c, "{}", text);
            let again = Num::parse(read.text().as_bytes()).expect("our own text");
            prop_assert!(again.compare(read).is_eq(), "{} {}", text, read.text());
        }
    }

    #[test]
    fn numbers_are_ordered_by_value(a in any::<i64>(), b in any::<i64>(), half in -3..4i64) {
        prop_assert_eq!(Num::Int(a).compare(Num::Int(b)), a.cmp(&b));
        // An integer against the f64 nearest to another: exact in i128.
        #[expect(clippy::cast_precision_loss, reason = "the float is the point")]
        let float = b as f64 + half as f64 / 2.0;
        #[expect(clippy::cast_possible_truncation, reason = "within i128")]
        let doubled = (float * 2.0) as i128;
        let want = (i128::from(a) * 2).cmp(&doubled);
        prop_assert_eq!(Num::Int(a).compare(Num::Float(float)), want);
        prop_assert_eq!(Num::Float(float).compare(Num::Int(a)), want.reverse());
    }

    #[test]
    fn short_decimals_are_read_as_std_reads_them(whole in 0..1_000_000u64, places in "[0-9]{1,12}") {
        let text = format!("{whole}.{places}");
        let want: f64 = text.parse().expect("a decimal");
        prop_assert_eq!(Num::parse(text.as_bytes()).expect("a number").as_f64(), want);
    }
}
