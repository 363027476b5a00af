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
    daemon.wait_for_log("the last good version of the file stays");
    let log = daemon.log();
    assert!(log.contains("rules/test.yaml:3:"), "the place is named: {log}");
    assert!(log.contains("nosuch"), "the function is named: {log}");
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
