//! Explanations as people read them: `tests/sql/explain/*.txt`.
//!
//! A file holds a statement and payloads, a line `---`, and what is said about them. `topic …` is
//! the topic of the payloads, `binary` makes the rule a binary one. `UPDATE_EXPECT=1` writes what
//! comes out into the files.

use std::fmt::Write as _;
use std::path::Path;

use contract::{Message, NoFacts, Topic, TopicLimits};
use sql::explain::{ELEMENTS, ElementReport, MessageReport, NODES, Node, Outcome, SHOWN};
use sql::{DataType, Explanation, Input, Options, Scratch};

/// What is said about the statement and the payloads of a file.
fn explained(head: &str) -> String {
    let lines = |word: &str| {
        let lines = head.lines().filter_map(move |line| line.strip_prefix(word));
        lines.map(str::trim_start).map(str::to_owned).collect::<Vec<_>>()
    };
    let binary = head.lines().any(|line| line == "binary");
    let data_type = if binary { DataType::Binary } else { DataType::Json };
    let sql = lines("sql ").join("\n");
    let explanation = Explanation::new(&sql, &Options { data_type, ..Options::default() });
    let explanation = explanation.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let topic = lines("topic ").pop().unwrap_or_else(|| "/a1Pk/dev1/user/data".into());
    let mut text = explanation.plan().to_string();
    let mut scratch = Scratch::new();
    for payload in lines("payload ") {
        let topic = Topic::parse(topic.clone(), TopicLimits::default()).expect("a topic");
        let mut message = Message::new(topic, payload.clone().into_bytes(), 1_543_373_798_943);
        message.id = 1;
        let input = Input { message: &message, facts: &NoFacts, rule: "rule", has_topic: true };
        let report = explanation.message(&input, &mut scratch);
        write!(text, "\npayload {payload}\n{report}").expect("a string");
    }
    text
}

#[test]
fn explanations_say_what_happens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql/explain");
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut failures = String::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of cases") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a case");
        let (head, want) = text.split_once("---\n").expect("a line `---`");
        let got = explained(head);
        if update && got != want {
            std::fs::write(&path, format!("{head}---\n{got}")).expect("write the case");
        } else if got != want {
            write!(failures, "{}:\n{got}\n", path.display()).expect("a string");
        }
        count += 1;
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(count >= 10, "only {count} cases");
}

fn count(node: &Node) -> usize {
    1 + node.parts.iter().map(count).sum::<usize>()
}

#[test]
fn explanations_are_bounded() {
    let condition = vec!["abs(a + 1) > 2"; 600].join(" OR ");
    let sql = format!("SELECT a || a AS b FROM \"#\" WHERE {condition}");
    let explanation = Explanation::new(&sql, &Options::default()).expect("SQL");
    let payload = format!("{{\"a\":\"{}\"}}", "x".repeat(100_000));
    let topic = Topic::parse("t", TopicLimits::default()).expect("a topic");
    let message = Message::new(topic, payload.into_bytes(), 0);
    let input = Input { message: &message, facts: &NoFacts, rule: "rule", has_topic: true };
    let report = explanation.message(&input, &mut Scratch::new());
    assert!(report.cut);
    let nodes = report.condition.iter().map(count).sum::<usize>();
    assert!((NODES - 10..=NODES).contains(&nodes), "{nodes}");
    assert!(report.because.len() < 20 * SHOWN, "{}", report.because);
    let text = serde_json::to_string(&report).expect("JSON");
    assert!(text.len() < 200_000, "{}", text.len());
}

/// What is said of a message whose array has that many elements, all of which fire.
fn elements(count: usize, sql: &str) -> MessageReport {
    let explanation = Explanation::new(sql, &Options::default()).expect("SQL");
    let list: Vec<String> = (1..=count).map(|n| format!("{{\"v\":{n}}}")).collect();
    let payload = format!("{{\"l\":[{}]}}", list.join(","));
    let topic = Topic::parse("t", TopicLimits::default()).expect("a topic");
    let message = Message::new(topic, payload.into_bytes(), 0);
    let input = Input { message: &message, facts: &NoFacts, rule: "rule", has_topic: true };
    explanation.message(&input, &mut Scratch::new())
}

#[test]
fn the_first_elements_are_shown_and_the_rest_is_counted() {
    let report = elements(1000, "SELECT i.v FROM \"#\", UNNEST(l) AS i WHERE i.v > 3");
    assert_eq!(report.because, "997 of 1000 elements give a record");
    let array = report.unnest.as_ref().expect("elements");
    assert_eq!((array.elements.len(), array.count, array.fire), (ELEMENTS, 1000, 997));
    let records: Vec<Option<usize>> = array.elements.iter().map(|e| e.record).collect();
    assert_eq!(records, [None, None, None, Some(0), Some(1)]);
    let shown: Vec<&str> = report.records.iter().flatten().map(|r| r.get()).collect();
    assert_eq!(shown, [r#"{"i.v":4}"#, r#"{"i.v":5}"#]);
    assert!(report.to_string().ends_with("… and 995 more, 995 of them fire\n"));
}

#[test]
fn too_many_elements_are_told() {
    let report = elements(1001, "SELECT i.v FROM \"#\", UNNEST(l) AS i");
    assert_eq!(report.outcome, Outcome::Aborted);
    assert!(report.because.contains("more than 1000 elements"), "{}", report.because);
    assert!(report.unnest.expect("the array").elements.is_empty());
    assert!(report.records.is_empty());
}

#[test]
fn explanations_of_elements_are_bounded() {
    let condition = vec!["abs(i.v + 1) > 2"; 150].join(" AND ");
    let report = elements(9, &format!("SELECT i FROM \"#\", UNNEST(l) AS i WHERE {condition}"));
    assert!(report.cut);
    let array = report.unnest.expect("elements");
    let item = |element: &ElementReport| {
        let items = element.items.iter().filter_map(|item| item.value.as_ref());
        items.chain(&element.condition).map(count).sum::<usize>()
    };
    let nodes = array.elements.iter().map(item).sum::<usize>();
    assert!((NODES - 10..=NODES).contains(&nodes), "{nodes}");
}
