//! The shipped rules: each compiles and does what its own tests say.

use std::path::Path;
use std::process::Command;

use crate::program;

#[test]
fn every_shipped_rule_passes_its_own_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(program()).args(["test"]).current_dir(root).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    let rules = std::fs::read_dir(root.join("rules")).expect("rules").filter(|entry| {
        entry.as_ref().expect("entry").path().extension().is_some_and(|end| end == "yaml")
    });
    let rules = rules.count();
    assert!(rules >= 5, "{rules} rule files are shipped");
    for name in
        ["temperature_alert", "property_data", "property_history", "binary_frame", "remote_switch"]
    {
        assert!(text.contains(&format!("ok    {name}: ")), "{name} has tests: {text}");
    }
}

#[test]
fn a_rule_that_does_something_else_than_its_test_says_fails() {
    let folder = tempfile::tempdir().expect("folder");
    let rule = r#"
rules:
  - name: wrong_test
    sql: SELECT a FROM "t"
    actions: [{ log: {} }]
    tests:
      - { name: differs, message: { topic: t, payload: { a: 1 } }, expect: [{ a: 2 }] }
"#;
    std::fs::write(folder.path().join("rule.yaml"), rule).expect("written");
    let output = Command::new(program())
        .args(["test", "rule.yaml"])
        .current_dir(folder.path())
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("FAIL  wrong_test: differs"), "{text}");
    assert!(
        text.contains(r#"expected: [{"a":2}]"#) && text.contains(r#"got: [{"a":1}]"#),
        "{text}"
    );
}

#[test]
fn the_records_of_one_message_are_expected_in_order() {
    let folder = tempfile::tempdir().expect("folder");
    let rule = r#"
rules:
  - name: several_records
    sql: SELECT i.cmd AS t, page FROM "a/+", UNNEST(info) AS i WHERE page = 2 AND i.cmd IS NOT NULL
    actions: [{ log: {} }]
    tests:
      - name: two of three
        message: { topic: a/b, payload: { page: 2, info: [{ cmd: on }, {}, { cmd: off }] } }
        expect: [{ t: on, page: 2 }, { t: off, page: 2 }]
      - name: of two messages
        messages:
          - { topic: a/b, payload: { page: 2, info: [{ cmd: 1 }, { cmd: 2 }] } }
          - { topic: a/b, payload: { page: 2, info: [] } }
          - { topic: a/b, payload: { page: 2, info: [{ cmd: 3 }] } }
        expect: [{ t: 1, page: 2 }, { t: 2, page: 2 }, { t: 3, page: 2 }]
  - name: other_records
    select: unnest(a) AS x, b
    from: t
    actions: [{ log: {} }]
    tests:
      - { name: as an item, message: { topic: t, payload: { a: [1, 2], b: 0 } }, expect: [{ x: 1, b: 0 }, { x: 2, b: 0 }] }
      - { name: in order, message: { topic: t, payload: { a: [1, 2] } }, expect: [{ x: 2 }, { x: 1 }] }
"#;
    std::fs::write(folder.path().join("rule.yaml"), rule).expect("written");
    let output = Command::new(program())
        .args(["test", "rule.yaml"])
        .current_dir(folder.path())
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in [
        "ok    several_records: two of three",
        "ok    several_records: of two messages",
        "ok    other_records: as an item",
        "FAIL  other_records: in order",
        r#"got: [{"x":1},{"x":2}]"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}
