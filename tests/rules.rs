//! Rule files and their tests, as the program itself sees them: the shipped rules, and sessions whose
//! whole output is kept.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::program;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_shipped_rule_passes_its_own_tests() {
    let output = Command::new(program()).args(["test"]).current_dir(root()).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    let mut rules = 0;
    for entry in std::fs::read_dir(root().join("rules")).expect("rules") {
        let path = entry.expect("entry").path();
        if path.extension().is_none_or(|end| end != "yaml") {
            continue;
        }
        rules += 1;
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let tests = text.matches(&format!("ok    {name}: ")).count();
        assert!(tests >= 2, "{name} has {tests} tests: {text}");
        let rule = std::fs::read_to_string(&path).expect("text");
        for part in ["messages:", "expect_actions:"] {
            assert!(rule.contains(part), "{name} has no test with `{part}`");
        }
    }
    assert!(rules >= 5, "{rules} rule files are shipped");
}

/// The example of the reference is a whole file and passes.
#[test]
fn the_example_of_the_reference_passes() {
    let page = std::fs::read_to_string(root().join("rules/README.md")).expect("page");
    let (_, rest) = page.split_once("```yaml\nrules:").expect("an example");
    let (example, _) = rest.split_once("```").expect("an end");
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("rule.yaml"), format!("rules:{example}")).expect("written");
    let output = Command::new(program())
        .args(["test", "rule.yaml"])
        .current_dir(folder.path())
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("ok    "), "{text}");
}

/// Commands after `$ `, each with what it prints and, when it is not 0, its exit code. They run in a
/// copy of `tests/rules`; `UPDATE_EXPECT=1` writes what they print.
#[test]
fn sessions_print_what_is_kept() {
    let session = root().join("tests/rules/session.txt");
    let want = std::fs::read_to_string(&session).expect("session");
    let folder = tempfile::tempdir().expect("folder");
    copy_rules(folder.path());
    let mut got = String::new();
    for command in want.lines().filter_map(|line| line.strip_prefix("$ ")) {
        writeln!(got, "$ {command}").expect("text");
        got.push_str(&run(command, folder.path()));
    }
    if got == want {
        return;
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&session, &got).expect("written");
        return;
    }
    let line = want.lines().zip(got.lines()).take_while(|(a, b)| a == b).count();
    panic!(
        "{}:{}: expected\n{}\ngot\n{}\n(UPDATE_EXPECT=1 writes what came)",
        session.display(),
        line + 1,
        want.lines().skip(line).take(5).collect::<Vec<_>>().join("\n"),
        got.lines().skip(line).take(5).collect::<Vec<_>>().join("\n"),
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
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

fn copy_rules(folder: &Path) {
    for entry in std::fs::read_dir(root().join("tests/rules")).expect("rules") {
        let path = entry.expect("entry").path();
        std::fs::copy(&path, folder.join(path.file_name().expect("a name"))).expect("copied");
    }
    std::fs::create_dir(folder.join("folder")).expect("folder");
    std::fs::copy(folder.join("UPPER.YAML"), folder.join("folder/UPPER.YAML")).expect("copied");
    std::fs::write(folder.join("latin1.yaml"), b"rules:\n  # 20 \xb0C\n").expect("written");
}

/// What a command prints on both streams, and its exit code when that is not 0.
fn run(command: &str, folder: &Path) -> String {
    let parts: Vec<&str> = command.split('"').collect();
    let mut words: Vec<&str> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        // What stands between quotes is one word.
        match index % 2 {
            0 => words.extend(part.split_whitespace()),
            _ => words.push(part),
        }
    }
    if let ["cat", file] = words.as_slice() {
        return std::fs::read_to_string(folder.join(file)).expect("file");
    }
    let output = Command::new(program())
        .args(words.iter().skip(1))
        .current_dir(folder)
        .env("RULES_TEST_SECRET", "hunter2-hunter2")
        .output()
        .expect("runs");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("hunter2"), "a secret is shown: {text}");
    if let Some(code @ 1..) = output.status.code() {
        writeln!(text, "[{code}]").expect("text");
    }
    text
}
