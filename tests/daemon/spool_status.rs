//! `GET /spool` and `tidegate spool status` of a running daemon.

use super::{Daemon, eventually, run};

#[test]
fn the_promise_is_told_in_words_and_as_json() {
    let daemon = Daemon::with_rules("rules: []\n");
    let (status, body) = daemon.get("/spool");
    assert_eq!(status, 200);
    let told: tidegate::api::SpoolStatus = serde_json::from_str(&body).expect("a status");
    assert!(!told.promise.is_empty());
    let to = format!("127.0.0.1:{}", daemon.http);
    let status = |more: &[&str]| {
        run(daemon.folder.path(), &[&["spool", "status", "--to", &to], more].concat(), "")
    };
    let (code, out, _) = status(&[]);
    assert!(code == 0 && out.starts_with(&format!("promise  {}\n", told.promise)), "{out}");
    assert!(out.contains("backlog  0 records"), "{out}");
    let (code, out, _) = status(&["--json"]);
    assert_eq!((code, out.trim_end()), (0, body.as_str()));
}

#[test]
fn actions_outside_of_the_promise_are_named() {
    let daemon = Daemon::with_rules(
        "rules:\n  - name: loose\n    sql: SELECT * FROM \"/a\"\n    actions:\n      - log: {}\n      \
         - file: { path: kept.jsonl }\n      - file: { path: loose.jsonl, sync: never }\n",
    );
    let (_, body) = daemon.get("/spool");
    let told: tidegate::api::SpoolStatus = serde_json::from_str(&body).expect("a status");
    assert_eq!(told.unconfirmed, ["loose/log", "loose/file_2"]);
    let to = format!("127.0.0.1:{}", daemon.http);
    let (_, out, _) = run(daemon.folder.path(), &["spool", "status", "--to", &to], "");
    assert!(out.contains("handed over to loose/log, loose/file_2"), "{out}");
    let (_, metrics) = daemon.get("/metrics");
    for (action, value) in [("log", 1), ("file", 0), ("file_2", 1)] {
        let line =
            format!("tidegate_action_unconfirmed{{rule=\"loose\",action=\"{action}\"}} {value}\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[test]
fn keys_that_no_column_can_have_are_counted() {
    let daemon = Daemon::with_rules(
        "rules:\n  - name: rows\n    sql: SELECT * FROM \"/a\"\n    actions:\n      \
         - sqlite: { table: t }\n",
    );
    let body = format!("{{\"t\":1,\"{}\":2,\"\":3}}", "x".repeat(300));
    assert_eq!(daemon.post("/ingest?topic=%2Fa", body.as_bytes()).0, 202);
    let counted = "tidegate_action_keys_left_out_total{rule=\"rows\",action=\"sqlite\"} 2\n";
    eventually("the keys are counted", || daemon.get("/metrics").1.contains(counted).then_some(()));
    assert_eq!(daemon.log().matches("a key of a record is left out").count(), 1);
}

#[test]
fn a_public_listener_asks_for_a_key() {
    let folder = tempfile::tempdir().expect("folder");
    let config =
        "listen: { mqtt: \"127.0.0.1:0\", http: \"0.0.0.0:0\" }\nauth: { devices: none }\n";
    std::fs::write(folder.path().join("tidegate.yaml"), config).expect("configuration");
    let daemon = Daemon::in_folder(folder);
    assert_eq!(daemon.get("/spool").0, 401);
    let to = format!("127.0.0.1:{}", daemon.http);
    let args = ["spool", "status", "--to", &to];
    // The key that the daemon has made is at hand.
    let (code, out, error) = run(daemon.folder.path(), &args, "");
    assert!(code == 0 && out.starts_with("promise  "), "{out}{error}");
    std::fs::remove_file(daemon.path("data/access-key")).expect("removed");
    let (code, _, error) = run(daemon.folder.path(), &args, "");
    assert!(code == 1 && error.contains("TIDEGATE_ACCESS_KEY_ID"), "{error}");
}

#[test]
fn without_a_daemon_the_command_says_so() {
    let folder = tempfile::tempdir().expect("folder");
    let args = ["spool", "status", "--to", "127.0.0.1:1"];
    let (code, _, error) = run(folder.path(), &args, "");
    assert!(code == 1 && error.contains("is it running?"), "{error}");
}
