//! Rules that change while the daemon runs.

use super::{Daemon, eventually};

fn rule(name: &str, item: &str) -> String {
    format!(
        "rules:\n  - name: {name}\n    sql: SELECT {item} FROM \"/t/+\"\n    actions: [{{ file: {{ path: {name}.jsonl }} }}]\n"
    )
}

#[test]
fn a_changed_file_applies_and_a_bad_one_keeps_its_last_good_version() {
    let daemon = Daemon::with_rules(&rule("first_rule", "a"));
    assert_eq!(daemon.post("/ingest/t/1", br#"{"a":1,"b":2}"#).0, 202);
    assert_eq!(daemon.lines("first_rule.jsonl", 1), [r#"{"a":1}"#]);

    daemon.write("rules/test.yaml", &rule("first_rule", "b"));
    daemon.wait_for_log("rules were read again");
    eventually("the new version runs", || {
        daemon.post("/ingest/t/1", br#"{"a":1,"b":2}"#);
        let lines = std::fs::read_to_string(daemon.path("first_rule.jsonl")).ok()?;
        lines.contains(r#"{"b":2}"#).then_some(())
    });

    daemon.write("rules/test.yaml", &rule("first_rule", "nosuch(b)"));
    daemon.wait_for_log("its last good version runs on, as it was read at 2");
    let log = daemon.log();
    assert!(log.contains("rules/test.yaml:3:"), "the place is named: {log}");
    assert!(log.contains("nosuch"), "the function is named: {log}");
    assert!(
        log.contains("rules were read again: 1 rule runs, 1 in its last good version"),
        "what runs now is said: {log}"
    );
    let (status, reasons) = daemon.get("/readyz");
    assert_eq!(status, 503, "a bad rule file is not ready");
    assert!(reasons.contains("test.yaml"), "{reasons}");
    daemon.write("rules/second.yaml", &rule("second_rule", "a"));
    eventually("good files beside the bad one apply", || {
        daemon.post("/ingest/t/1", br#"{"a":3,"b":4}"#);
        std::fs::metadata(daemon.path("second_rule.jsonl")).ok().map(drop)
    });
    let lines = std::fs::read_to_string(daemon.path("first_rule.jsonl")).expect("file");
    assert!(lines.contains(r#"{"b":4}"#), "the last good version still runs: {lines}");

    daemon.write("rules/test.yaml", &rule("first_rule", "a"));
    eventually("ready again", || (daemon.get("/readyz").0 == 200).then_some(()));
}

/// Several rules in one file, each a name and an item.
fn several(rules: &[(&str, &str)]) -> String {
    let one = |(name, item): &(&str, &str)| rule(name, item).replace("rules:\n", "");
    format!("rules:\n{}", rules.iter().map(one).collect::<String>())
}

/// What runs, seen from outside: the names of the rules in `/metrics` that are not stopped.
fn running(daemon: &Daemon) -> Vec<String> {
    let (_, text) = daemon.get("/metrics");
    let of = |line: &str| {
        Some(
            line.strip_prefix("tidegate_rule_received_total{rule=\"")?
                .split_once('"')?
                .0
                .to_owned(),
        )
    };
    text.lines().filter_map(of).collect()
}

#[test]
fn a_wrong_rule_is_refused_alone_at_the_first_start() {
    let rules = several(&[("first_rule", "a"), ("abc", "a"), ("last_rule", "a")]);
    let daemon = Daemon::with_rules(&rules);
    assert_eq!(daemon.post("/ingest/t/1", br#"{"a":1}"#).0, 202);
    assert_eq!(daemon.lines("first_rule.jsonl", 1), [r#"{"a":1}"#]);
    assert_eq!(daemon.lines("last_rule.jsonl", 1), [r#"{"a":1}"#]);
    let log = daemon.log();
    assert!(log.contains("rules/test.yaml:5:11: rule `abc`"), "{log}");
    assert!(log.contains("`abc` has 3; the rule does not run"), "{log}");
    assert!(!log.contains("last good version"), "there is none: {log}");
    let (status, reasons) = daemon.get("/readyz");
    assert_eq!(status, 503);
    assert!(reasons.contains("`abc` has 3; the rule does not run"), "{reasons}");
    assert_eq!(daemon.metric("tidegate_rules{state=\"running\"}"), 2);
    assert_eq!(daemon.metric("tidegate_rules{state=\"refused\"}"), 1);
    assert_eq!(daemon.metric("tidegate_rule_refused{rule=\"abc\",runs=\"nothing\"}"), 1);
}

/// What is written, by file; the rules that then run; and a part of what `/readyz` says, empty when all
/// is well.
type Step = (&'static str, Vec<(&'static str, String)>, &'static [&'static str], &'static str);

/// Takes a daemon through the steps.
fn walk(steps: Vec<Step>) {
    let daemon = Daemon::start("", &[]);
    for (what, files, rules, reason) in steps {
        for (name, text) in files {
            daemon.write(&format!("rules/{name}"), &text);
        }
        daemon.signal("HUP");
        eventually(what, || {
            let (status, said) = daemon.get("/readyz");
            let right = said.contains(reason) && (status == 200) == reason.is_empty();
            (running(&daemon) == rules && right).then_some(())
        });
    }
}

#[test]
fn each_rule_of_a_file_has_its_own_last_good_version() {
    let file = |rules: &[(&str, &str)]| vec![("test.yaml", several(rules))];
    let place = "`first`, which stood in its place, runs on";
    walk(vec![
        ("good", file(&[("first", "a"), ("second", "b")]), &["first", "second"], ""),
        (
            "one is wrong, one is new",
            file(&[("first", "nosuch(a)"), ("third", "a"), ("second", "b")]),
            &["first", "second", "third"],
            "`nosuch`",
        ),
        (
            "a wrong name in the place of another rule",
            file(&[("abc", "a"), ("third", "a"), ("second", "b")]),
            &["first", "second", "third"],
            place,
        ),
        (
            "the same once more, below a new rule, and another is gone",
            file(&[("fourth", "a"), ("abc", "a"), ("second", "b")]),
            &["first", "fourth", "second"],
            place,
        ),
        (
            "a new name that is right takes the place",
            file(&[("fourth", "a"), ("first_one", "a"), ("second", "b")]),
            &["first_one", "fourth", "second"],
            "",
        ),
        (
            "a wrong rule that is new",
            file(&[("fourth", "a"), ("first_one", "a"), ("second", "b"), ("fifth", "nosuch(a)")]),
            &["first_one", "fourth", "second"],
            "the rule does not run",
        ),
        (
            "no YAML",
            vec![("test.yaml", "rules: [".to_owned())],
            &["first_one", "fourth", "second"],
            "the 3 rules of its last good version run on",
        ),
        (
            "a wrong key beside the rules",
            vec![("test.yaml", format!("{}rulse: []\n", several(&[("first", "a")])))],
            &["first"],
            "the rules of the file run without it",
        ),
    ]);
}

#[test]
fn a_name_belongs_to_the_rule_that_has_it() {
    let both = |one: &[(&str, &str)], other: &[(&str, &str)]| {
        // The other first: the daemon may read between the two, and what moves is never nowhere.
        vec![("a.yaml", several(other)), ("test.yaml", several(one))]
    };
    let two: &[(&str, &str)] = &[("first", "a"), ("second", "b")];
    walk(vec![
        (
            "a name twice",
            vec![("test.yaml", several(&[("first", "a"), ("second", "b"), ("first", "b")]))],
            &["first", "second"],
            "used twice in this file, first in line 2; the rule does not run",
        ),
        (
            "a name that another file has",
            both(two, &[("sixth", "a"), ("second", "a")]),
            &["first", "second", "sixth"],
            "the name is used by the rule at",
        ),
        ("the wrong one is gone", both(two, &[("sixth", "a")]), &["first", "second", "sixth"], ""),
        (
            "a rule moves to another file and is wrong there",
            both(&[("first", "a")], &[("second", "nosuch(b)")]),
            &["first", "second"],
            "its last good version runs on",
        ),
        ("it is mended", both(&[("first", "a")], &[("second", "b")]), &["first", "second"], ""),
        (
            "and taken out",
            vec![("test.yaml", rule("first", "a")), ("a.yaml", "rules: []\n".to_owned())],
            &["first"],
            "",
        ),
    ]);
}

#[test]
fn a_wrong_test_does_not_stop_its_rule() {
    let rules = format!("{}    tests: [{{ name: x, mesage: {{}} }}]\n", rule("first_rule", "a"));
    let daemon = Daemon::with_rules(&rules);
    assert_eq!(daemon.post("/ingest/t/1", br#"{"a":1}"#).0, 202);
    assert_eq!(daemon.lines("first_rule.jsonl", 1), [r#"{"a":1}"#]);
    let log = daemon.log();
    assert!(log.contains("unknown key `mesage`"), "{log}");
    assert!(log.contains("the rule runs, its test does not"), "{log}");
    assert_eq!(daemon.get("/readyz").0, 200);
}

#[test]
fn a_variable_that_is_not_set_stops_its_rule_only() {
    let daemon = Daemon::with_rules(&several(&[
        ("first_rule", "a"),
        ("other_rule", "${env:TIDEGATE_NO_SUCH}"),
    ]));
    assert_eq!(daemon.post("/ingest/t/1", br#"{"a":1}"#).0, 202);
    assert_eq!(daemon.lines("first_rule.jsonl", 1), [r#"{"a":1}"#]);
    let (status, reasons) = daemon.get("/readyz");
    assert_eq!(status, 503);
    assert!(reasons.contains("`TIDEGATE_NO_SUCH` is not set"), "{reasons}");
    assert_eq!(daemon.metric("tidegate_rules{state=\"refused\"}"), 1);
}

#[test]
fn hang_up_reads_the_rules_again() {
    let daemon = Daemon::with_rules(&rule("first_rule", "a"));
    daemon.signal("HUP");
    daemon.wait_for_log("rules were read again");
}

#[test]
fn a_folder_that_is_gone_shows_and_is_watched_again_after_a_hang_up() {
    let daemon = Daemon::with_rules(&rule("first_rule", "a"));
    std::fs::rename(daemon.path("rules"), daemon.path("elsewhere")).expect("moved");
    daemon.signal("HUP");
    eventually("it shows", || (daemon.get("/readyz").0 == 503).then_some(()));
    daemon.post("/ingest/t/1", br#"{"a":1}"#);
    assert_eq!(daemon.lines("first_rule.jsonl", 1), [r#"{"a":1}"#], "its rules stay");
    std::fs::create_dir(daemon.path("rules")).expect("folder");
    daemon.signal("HUP");
    eventually("ready again", || (daemon.get("/readyz").0 == 200).then_some(()));
    daemon.write("rules/second.yaml", &rule("second_rule", "a"));
    eventually("a new file applies by itself", || {
        daemon.post("/ingest/t/1", br#"{"a":3}"#);
        std::fs::metadata(daemon.path("second_rule.jsonl")).ok().map(drop)
    });
}

#[test]
fn the_rules_of_a_deleted_file_stop() {
    let daemon = Daemon::with_rules(&rule("first_rule", "a"));
    std::fs::remove_file(daemon.path("rules/test.yaml")).expect("removed");
    daemon.wait_for_log("rules were read again");
    eventually("the rule is gone", || {
        daemon.post("/ingest/t/1", br#"{"a":1}"#);
        (daemon.metric("tidegate_messages_unmatched_total") > 0).then_some(())
    });
}
