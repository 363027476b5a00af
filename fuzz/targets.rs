//! What is fuzzed: one function per target, each of which takes any bytes and panics where something
//! does not hold. libFuzzer calls them (`fuzz/bin`, `scripts/fuzz`), and so does `tests/fuzz.rs`.
//!
//! How inputs are made is no business of this file.

mod calls;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use connectors::contract::{
    Body, Message, NoFacts, PathGuard, Record, Template, Topic, TopicError, TopicFilter,
    TopicLimits,
};
use serde_json::Value;
use serde_json::value::RawValue;
use tidegate::api::form::{self, Parameters};
use tidegate::api::signature::acs3::{Authorization, HeaderMap};
use tidegate::api::signature::{Claim, string_to_sign};
use tidegate::broker::codec::{Packet, Properties, Version, decode, decode_in, encode, frame_len};
use tidegate::sql::functions::FUNCTIONS;
use tidegate::sql::peers::{self, Peer};
use tidegate::sql::{DataType, Input, Options, Plan, Query, Scratch, Verdict};

#[path = "../tests/sql/paths.rs"]
mod paths;
use paths::PATHS;

/// A target: any bytes in, a panic when something is wrong.
pub type Target = fn(&[u8]);

/// All targets by their names.
pub const TARGETS: &[(&str, Target)] = &[
    ("statement", statement),
    ("payload", payload),
    ("call", call),
    ("template", template),
    ("topic_filter", topic_filter),
    ("mqtt_packet", mqtt_packet),
    ("api_request", api_request),
];

/// Runs the target of a name.
pub fn run(target: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    (found.expect("a target of this name").1)(data);
}

/// Payloads over which each statement runs that compiles.
const PAYLOADS: &[&str] = &[
    r#"{"a":1,"b":"x","c":null,"d":[1,{"a":2.50,"b":[true]},"温"],"e":{"a":{"b":-7}},"temperature":"38.5"}"#,
    r#"{"a":9223372036854775807,"b":"\ud83d\ude00é","c":1e300,"d":[],"e":{},"items":{"t":{"value":1,"time":2}}}"#,
    r#"[{"a":1},"2024-02-29T23:59:60Z",0.1,false]"#,
    "{}",
    r#""text""#,
];

fn message(payload: &[u8]) -> Message {
    let topic = Topic::parse("/a1Pk/dev1/user/data", TopicLimits::default()).expect("a topic");
    let mut message = Message::new(topic, payload.to_vec(), 1_543_373_798_943);
    message.id = 7;
    message
}

/// Evaluates a query; evaluating again must give the same, and a record that is JSON.
fn evaluate(plan: &Plan, index: usize, payload: &[u8], scratch: &mut Scratch) -> Option<Vec<u8>> {
    let message = message(payload);
    let input = Input { message: &message, facts: &NoFacts, rule: "fuzz", has_topic: true };
    let (mut out, mut again) = (Vec::new(), Vec::new());
    let verdict = plan.evaluate(index, &input, payload, scratch, &mut out);
    let second = plan.evaluate(index, &input, payload, scratch, &mut again);
    assert!(verdict == second && out == again, "evaluating again gives something else");
    for (body, place) in verdict.records(scratch, 0..out.len()) {
        let record = &out[place];
        let json = body == Body::Binary || serde_json::from_slice::<&RawValue>(record).is_ok();
        assert!(json, "not JSON: {}", String::from_utf8_lossy(record));
    }
    match verdict {
        Verdict::Selected(Body::Json) => Some(out),
        Verdict::Unnested => None,
        Verdict::Selected(Body::Binary) => {
            assert_eq!(out, payload, "the bytes are passed on as they are");
            None
        }
        Verdict::Filtered | Verdict::Aborted => {
            assert!(out.is_empty(), "nothing is appended");
            None
        }
    }
}

/// Any text as a statement: it compiles or is refused with advice; what compiles, evaluates. By its
/// length it is one of a peer too.
fn statement(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(peer) = [Peer::Aws, Peer::Emqx, Peer::Ekuiper].get(data.len() % 8) {
        for finding in peers::check(*peer, &text, &Options::default()) {
            assert!(finding.line >= 1 && !finding.report.to_string().is_empty());
        }
    }
    for data_type in [DataType::Json, DataType::Binary] {
        let options = Options { data_type, ..Options::default() };
        match Query::compile(&text, &options) {
            Ok(query) => {
                query.warnings().iter().for_each(|warning| drop(warning.to_string()));
                let plan = Plan::new(vec![Arc::new(query)]);
                let mut scratch = Scratch::new();
                for payload in PAYLOADS {
                    plan.prepare(payload.as_bytes(), &mut scratch).expect("valid JSON");
                    evaluate(&plan, 0, payload.as_bytes(), &mut scratch);
                }
            }
            Err(mistakes) => {
                let error = mistakes.first();
                assert!(error.line >= 1 && error.column >= 1, "no place: {error}");
                assert!(error.expected.is_some() && error.hint.is_some(), "no advice: {error}");
            }
        }
    }
}

/// All that `payload` evaluates: first the paths, then the examples of all functions in parts.
static FIXED: LazyLock<Vec<Plan>> = LazyLock::new(|| {
    let paths: Vec<String> =
        PATHS.iter().enumerate().map(|(at, path)| format!("\"{path}\" AS p{at}")).collect();
    let mut sql = vec![
        format!("SELECT {}, a || '' AS text FROM \"#\"", paths.join(", ")),
        "SELECT *, a + b * 2 - c / d % 3 AS x, -a DIV b AS y, a || b || c AS z, a.*, \".a[1].b\" AS w \
         FROM \"#\" WHERE a > 1 AND b LIKE '%x%' OR c IN (1, '2', null) OR NOT d BETWEEN 1 AND a \
         OR a = b OR c <> d OR a IS MISSING OR b IS NOT NULL OR a LIKE b"
            .to_owned(),
        "SELECT CASE a WHEN 1 THEN b WHEN '2' THEN c ELSE d END AS x, \"$..a\" AS y, \
         CASE WHEN a < b THEN 'less' WHEN a >= b THEN 'more' END AS z, \"$.d[?(@.a > 1)].b\" AS w \
         FROM \"#\" WHERE a IN (b, c, d) OR a NOT IN (1, 2) OR true"
            .to_owned(),
    ];
    let examples: Vec<&str> =
        FUNCTIONS.iter().flat_map(|f| f.examples.iter().map(|example| example.sql)).collect();
    for part in examples.chunks(12) {
        let items: Vec<String> =
            part.iter().enumerate().map(|(at, call)| format!("{call} AS x{at}")).collect();
        sql.push(format!("SELECT {} FROM \"#\"", items.join(", ")));
    }
    let compile = |sql: &String| {
        let query = Query::compile(sql, &Options::default());
        Plan::new(vec![Arc::new(query.unwrap_or_else(|error| panic!("{sql}: {error}")))])
    };
    sql.iter().map(compile).collect()
});

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

/// Any bytes as a payload: accepted and refused as serde_json does, and read as it reads them. Known
/// differences: it stops at 127 levels and refuses numbers beyond f64; both are left out.
fn payload(data: &[u8]) {
    let mut scratch = Scratch::new();
    let ours = FIXED[0].prepare(data, &mut scratch);
    let theirs = serde_json::from_slice::<Value>(data);
    let limited = |error: &serde_json::Error| {
        let text = error.to_string();
        text.contains("number out of range") || text.contains("recursion limit")
    };
    if !theirs.as_ref().is_err_and(limited) {
        assert_eq!(ours.is_ok(), theirs.is_ok(), "ours {ours:?}, theirs {theirs:?}");
    }
    if ours.is_err() {
        return;
    }
    let record = evaluate(&FIXED[0], 0, data, &mut scratch).expect("there is no WHERE");
    if let (Ok(tree), Ok(record)) = (theirs, serde_json::from_slice::<Value>(&record)) {
        for (at, path) in PATHS.iter().enumerate() {
            assert_eq!(record.get(format!("p{at}")), lookup(&tree, path), "{path}");
        }
        if let Some(Value::String(text)) = lookup(&tree, "a") {
            assert_eq!(record.get("text").and_then(Value::as_str), Some(&**text));
        }
    }
    // One part for each input, by its length: a mutation reaches another, the same input the same.
    let part = &FIXED[1 + data.len() % (FIXED.len() - 1)];
    part.prepare(data, &mut scratch).expect("it was valid");
    evaluate(part, 0, data, &mut scratch);
}

/// Any call of any function over values that are almost right for it.
fn call(data: &[u8]) {
    let (call, values) = calls::make(data);
    let Ok(query) = Query::compile(&format!("SELECT {call} AS r FROM \"#\""), &Options::default())
    else {
        return;
    };
    let members: Vec<String> =
        values.iter().enumerate().map(|(at, value)| format!("\"v{at}\":{value}")).collect();
    let payload = format!("{{{}}}", members.join(","));
    let plan = Plan::new(vec![Arc::new(query)]);
    let mut scratch = Scratch::new();
    plan.prepare(payload.as_bytes(), &mut scratch).expect("our own JSON");
    evaluate(&plan, 0, payload.as_bytes(), &mut scratch);
}

/// A template, a line break, a record.
fn template(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (text, record) = text.split_once('\n').unwrap_or((&text, "{}"));
    let Ok(template) = Template::parse(text) else { return };
    if let Some(literal) = template.literal() {
        assert_eq!(literal, text.replace("$${", "${"), "a text without `${{…}}` stays");
    }
    let json = serde_json::from_str::<&RawValue>(record).is_ok();
    let body = if json { Body::Json } else { Body::Binary };
    let bytes = Bytes::copy_from_slice(record.as_bytes());
    let record = Record::new(vec![message(b"{}")].into(), 0, "r".into(), body, bytes);
    let literals = Template::parse(text).and_then(|template| {
        // With every value empty, only the literal parts are left.
        template.render_with(&record, PathGuard::Free, |_, _| {})
    });
    let bad = |text: &str| text.chars().filter(|c| "/+#".contains(*c) || c.is_control()).count();
    if let Ok(rendered) = template.render(&record, PathGuard::Segment) {
        assert_eq!(bad(&rendered), bad(&literals.expect("it renders")), "a value got through");
    }
    drop(template.render(&record, PathGuard::Line));
    drop(template.value(&record));
    drop(template.render_json(&record));
    // Between the right braces a value can't break out of the JSON that it is put into.
    for path in template.paths().filter(|path| json && !path.contains(['}', '\n'])).take(3) {
        let wrapped = format!("{{\"v\":${{{path}}},\"t\":\"is ${{{path}}}\"}}");
        let rendered = Template::parse(&wrapped).expect("a template").render_json(&record);
        assert!(serde_json::from_str::<&RawValue>(&rendered).is_ok(), "{wrapped}: {rendered}");
    }
}

/// The rules of MQTT 5.0 §4.7, level by level.
fn naive(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => naive(filter, topic),
        ([want, filter @ ..], [have, topic @ ..]) if want == have => naive(filter, topic),
        _ => false,
    }
}

/// A topic filter, a line break, a topic.
fn topic_filter(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (filter, topic) = text.split_once('\n').unwrap_or((&text, ""));
    let limits = TopicLimits::default();
    let slashes = |text: &str| text.split('/').count() - usize::from(text.starts_with('/'));
    let parsed = Topic::parse(topic.to_owned(), limits);
    if let Ok(name) = &parsed {
        assert!(!topic.is_empty() && topic.len() <= limits.bytes);
        assert!(slashes(topic) <= limits.levels && !topic.contains(['+', '#', '\0']));
        assert_eq!(name.levels().count(), slashes(topic));
        let exact = TopicFilter::parse(topic.to_owned(), limits).expect("a topic is a filter");
        assert!(exact.is_exact() && exact.matches(name), "a topic matches itself");
    }
    match TopicFilter::parse(filter.to_owned(), limits) {
        Ok(found) => {
            assert!(!filter.is_empty() && filter.len() <= limits.bytes);
            assert!(slashes(filter) <= limits.levels);
            let as_topic = Topic::parse(filter.to_owned(), limits);
            assert_eq!(found.is_exact(), as_topic.is_ok(), "{filter:?}: {as_topic:?}");
            if let Ok(name) = &parsed {
                let levels: Vec<&str> = topic.split('/').collect();
                let hidden = topic.starts_with('$') && filter.starts_with(['+', '#']);
                let wanted: Vec<&str> = filter.split('/').collect();
                assert_eq!(found.matches(name), !hidden && naive(&wanted, &levels));
            }
        }
        Err(TopicError::TooLong { got, most }) => assert!(got > most),
        Err(TopicError::TooDeep { got, most }) => assert!(got > most && got == slashes(filter)),
        Err(_) => {}
    }
}

/// Any bytes as an MQTT packet: reading ends, and what was read can be written and read again.
fn mqtt_packet(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let Ok(Some(len)) = frame_len(&bytes, 1 << 20) else { return };
    if len > bytes.len() {
        return;
    }
    // What is written of a message's properties is read back from a file that others may have touched.
    Properties::from_bytes(&bytes).ok();
    for version in Version::ALL {
        if let Ok(packet) = decode_in(&bytes, 0, len, version) {
            let mut out = Vec::new();
            encode(&packet, version, &mut out);
            let out = Bytes::from(out);
            assert_eq!(frame_len(&out, usize::MAX), Ok(Some(out.len())));
            assert_eq!(decode(&out, version).as_ref(), Ok(&packet));
            if let Packet::Publish(publish) = &packet {
                let kept = Bytes::from(publish.properties.to_bytes());
                assert_eq!(Properties::from_bytes(&kept).as_ref(), Ok(&publish.properties));
            }
        }
    }
}

/// A query or form, a line break, a header `Authorization`: what is read is signed the same however it
/// was written, and everything else is refused.
fn api_request(data: &[u8]) {
    const NOW_MS: u64 = 1_551_334_473_000;
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (query, rest) = data.split_at(at);
    let mut parameters = Parameters::new();
    if form::read(query, &mut parameters).is_err() {
        return;
    }
    let pairs = parameters.iter().map(|(k, v)| format!("{}={}", form::encode(k), form::encode(v)));
    // In another order, with other forms of the space.
    let written: Vec<_> = pairs.rev().collect();
    let mut again = Parameters::new();
    form::read(written.join("&").replace("%20", "+").as_bytes(), &mut again).expect("a form");
    assert_eq!(again, parameters);
    let text = string_to_sign("POST", &parameters);
    assert_eq!(text, string_to_sign("POST", &again));
    let parts: Vec<_> = text.split('&').collect();
    assert!(matches!(parts[..], ["POST", "%2F", _]), "{text}");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~%".contains(&byte);
    assert!(parts[2].bytes().all(plain), "{text}");
    if let Ok(claim) = Claim::read(&parameters, NOW_MS) {
        assert!(
            claim.stamp.time_ms.abs_diff(NOW_MS) <= 15 * 60 * 1000 && !claim.stamp.nonce.is_empty()
        );
    }
    let mut headers = HeaderMap::new();
    let Ok(value) = String::from_utf8_lossy(rest).trim().parse() else { return };
    headers.insert("authorization", value);
    headers.insert("host", "127.0.0.1".parse().expect("a value"));
    if let Ok(Some(read)) = Authorization::read(&headers) {
        let text = read.string_to_sign("POST", &parameters, &headers, rest);
        assert_eq!(text, read.string_to_sign("POST", &again, &headers, rest));
        assert_eq!(text.len(), "ACS3-HMAC-SHA256\n".len() + 64);
        read.claim(&headers, NOW_MS).expect_err("there is no nonce");
    }
}
