//! What somebody meets in the first hour with the program: words that say what is the matter and what to
//! do, and nothing made where nobody wanted it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

use super::{Daemon, PATIENCE, eventually, run};
use crate::program;

#[test]
fn nothing_is_made_where_nothing_of_tidegate_is() {
    let folder = tempfile::tempdir().expect("folder");
    for verb in
        [&["keys", "list"][..], &["keys", "create"], &["dlq", "list"], &["check"], &["test"]]
    {
        let (code, text, error) = run(folder.path(), verb, "");
        assert_eq!((code, text.as_str()), (1, ""), "{verb:?}: {error}");
        for part in
            ["nothing of Tidegate is in", "tidegate.yaml", "rules/", "data/", "--config FILE"]
        {
            assert!(error.contains(part), "{verb:?}: `{part}` is not in {error}");
        }
    }
    let left = std::fs::read_dir(folder.path()).expect("folder").count();
    assert_eq!(left, 0, "nothing is made");
    // The daemon itself says where it is about to work; its ports may be taken.
    let mut child = Command::new(program())
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
    child.kill().ok();
    child.wait().expect("the end");
    for part in ["data goes to ", "/data", "no rules were found", "--config FILE"] {
        assert!(line.contains(part), "`{part}` is not in {line}");
    }
}

#[test]
fn check_tells_all_mistakes_and_counts_right() {
    let folder = tempfile::tempdir().expect("folder");
    let rules = r#"
vesion: 2
rules:
  - name: good_rule
    sql: SELECT a FROM "t"
    actions: [{ log: {} }]
  - name: ab
    descripton: x
    enabled: 7
    sql: SELECT nosuch(a) FROM "t"
    actions:
      - log: { levle: info }
      - republish: { topic: "x${" }
      - {}
    retry: { delay: [1s] }
    tests: [{ name: x, mesage: {} }]
  - name: other_rule
    sql: SELECT a FROM "t"
    actions: [{ republish: { topic: "${b}/${c}" } }]
"#;
    std::fs::write(folder.path().join("rule.yaml"), rules).expect("written");
    let (code, text, error) = run(folder.path(), &["check", "rule.yaml"], "");
    assert_eq!(code, 1, "{text}{error}");
    for part in [
        "rule.yaml:2:1: unknown key `vesion`",
        "rule.yaml:7:11: rule `ab`: a rule's name has 4 to 30 characters",
        "rule.yaml:8:5: unknown key `descripton`",
        "rule.yaml:9:14: ",
        "rule.yaml:10:17: rule `ab`: unknown function `nosuch`",
        "rule.yaml:12:16: rule `ab`: unknown key `levle`",
        "rule.yaml:13:29: rule `ab`: `${` at character 1 has no closing",
        "rule.yaml:14:9: rule `ab`: the action names no connector",
        "rule.yaml:15:14: unknown key `delay`",
        "rule.yaml:16:24: unknown key `mesage`",
        "`${b}`: SELECT gives no key",
        "`${c}`: SELECT gives no key",
        "\n1 rule is right, 12 findings\n",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    std::fs::write(folder.path().join("one.yaml"), "rules: [\n").expect("written");
    let (_, text, _) = run(folder.path(), &["check", "one.yaml"], "");
    assert!(text.ends_with("0 rules are right, 1 finding\n"), "{text}");
}

#[test]
fn each_statement_on_lines_of_its_own_is_looked_at() {
    let folder = tempfile::tempdir().expect("folder");
    let text = "SELECT a FROM \"t/1\"\nSELECT b\n  FROM \"t/2\" WHERE b > (\n  SELECT 1)\nselect c FROM \"t/3\"\n-- the last\nSELECT d FROM \"t/4\"\nUNION\nSELECT e FROM \"t/5\"\n";
    std::fs::write(folder.path().join("rules.sql"), text).expect("written");
    for peer in ["aws", "emqx", "ekuiper"] {
        let (_, text, error) = run(folder.path(), &["check", "--from", peer, "rules.sql"], "");
        let lines: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("rules.sql:")?.split(':').next())
            .collect();
        assert_eq!(lines, ["1", "2", "5", "7"], "{peer}: {text}{error}");
    }
}

#[test]
fn what_is_named_wrongly_is_answered_with_what_there_is() {
    let folder = tempfile::tempdir().expect("folder");
    let (code, _, error) = run(folder.path(), &["describe", "sinks", "oracle"], "");
    assert!(code == 2 && error.contains("there are file, http, kafka, log"), "{error}");
    let (code, _, error) = run(folder.path(), &["describe", "sources", "amqp"], "");
    assert!(code == 2 && error.contains("there are kafka, mqtt"), "{error}");
    for (config, text) in [
        ("auth:\n  users: []\n", "tidegate.yaml:2:3: unknown key `users`"),
        ("auth:\n  users: []\n", "`users:` stands at the top"),
        ("mqtts: \"127.0.0.1:8883\"\n", "`mqtts:` stands below `listen:`"),
        ("topic_bytes: 9\n", "`topic_bytes:` stands below `limits:`"),
        ("listne: {}\n", "did you mean `listen`?"),
    ] {
        std::fs::write(folder.path().join("tidegate.yaml"), config).expect("written");
        let (code, said, error) = run(folder.path(), &["check"], "");
        assert!(code == 1 && said.contains(text), "{config}: {said}{error}");
    }
}

/// A daemon as it is started in a shell, and what it prints.
fn greeting(folder: &Path) -> (std::process::Child, String) {
    let mut child = Command::new(program())
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout"));
    let mut text = String::new();
    while !text.contains("\nTry,") {
        assert!(lines.read_line(&mut text).expect("a line") > 0, "{text}");
    }
    if text.trim_end().ends_with(':') {
        lines.read_line(&mut text).expect("a line");
    }
    (child, text)
}

#[test]
fn what_the_daemon_says_to_try_fires_a_rule() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::create_dir(folder.path().join("rules")).expect("rules");
    let config = "listen: { mqtt: \"127.0.0.1:0\", http: \"127.0.0.1:0\" }\n";
    std::fs::write(folder.path().join("tidegate.yaml"), config).expect("written");
    let rules = r#"
rules:
  - name: stopped_rule
    enabled: false
    sql: SELECT a FROM "stopped"
    actions: [{ log: {} }]
    tests: [{ name: x, message: { topic: stopped, payload: {} }, expect: [{}] }]
  - name: hot_rule
    sql: SELECT t, note FROM "/a1Pk/+/user/data" WHERE t > 38
    actions: [{ file: { path: hot.jsonl } }]
    tests:
      - name: cold
        message: { topic: /a1Pk/dev9/user/data, payload: { t: 1 } }
        expect: []
      - name: hot
        message: { topic: /a1Pk/dev9/user/data, payload: { t: 41, note: "it's" } }
        expect: [{ t: 41, note: "it's" }]
"#;
    std::fs::write(folder.path().join("rules/test.yaml"), rules).expect("written");
    let (mut child, text) = greeting(folder.path());
    let command = text.lines().last().expect("a line").trim();
    assert!(command.contains("/a1Pk/dev9/user/data"), "{text}");
    let said = Command::new("sh").args(["-c", command]).current_dir(folder.path()).output();
    let said = said.expect("sh");
    assert!(said.status.success(), "{command}: {}", String::from_utf8_lossy(&said.stderr));
    let line = eventually("the rule fires", || {
        std::fs::read_to_string(folder.path().join("hot.jsonl"))
            .ok()
            .filter(|text| !text.is_empty())
    });
    assert_eq!(line, "{\"t\":41,\"note\":\"it's\"}\n");
    child.kill().ok();
    child.wait().expect("the end");
    // Without a test of its own, at least the topic is one that the rule reads.
    std::fs::write(
        folder.path().join("rules/test.yaml"),
        rules.split("    tests:\n").next().expect("text"),
    )
    .expect("written");
    let (mut child, text) = greeting(folder.path());
    assert!(
        text.contains("--rule hot_rule`, a message on the topic /a1Pk/dev1/user/data"),
        "{text}"
    );
    child.kill().ok();
    child.wait().expect("the end");
}

#[test]
fn generated_messages_are_as_many_as_were_asked_for() {
    let folder = tempfile::tempdir().expect("folder");
    let rule = "rules:\n  - name: good_rule\n    sql: SELECT temperature FROM \"t/+\"\n    actions: [{ log: {} }]\n";
    std::fs::write(folder.path().join("rule.yaml"), rule).expect("written");
    for (more, count) in
        [(&["--generate", "700"][..], 700), (&["--generate", "3", "--count", "50"], 50)]
    {
        let args = [&["bench", "--rules", "rule.yaml"], more].concat();
        let (code, text, error) = run(folder.path(), &args, "");
        assert_eq!(code, 0, "{error}");
        assert!(text.starts_with(&format!("messages      {count}\n")), "{text}");
    }
}

/// Files and folders that others may read, below a folder and itself.
fn open_to_others(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let data = std::fs::symlink_metadata(&path).expect("there");
        if data.permissions().mode() & 0o077 != 0 {
            found.push(format!("{} {:o}", path.display(), data.permissions().mode()));
        }
        if data.is_dir() {
            let entries = std::fs::read_dir(&path).expect("readable");
            open.extend(entries.map(|entry| entry.expect("entry").path()));
        }
    }
    found
}

#[test]
fn nobody_else_can_read_the_data() {
    let rule = r#"
rules:
  - name: some_rule
    sql: SELECT a FROM "t"
    actions:
      - sqlite: { table: rows, create: true }
      - http: { url: "http://127.0.0.1:1/x" }
        retry: { delays: [], max_age: 1ms }
"#;
    let daemon = Daemon::with_rules(rule);
    assert_eq!(daemon.post("/ingest?topic=t", br#"{"a":1}"#).0, 202);
    eventually("a dead letter", || (daemon.metric("tidegate_dead_letters ") == 1).then_some(()));
    eventually("the table", || daemon.path("data/history.db").exists().then_some(()));
    eventually("the journal", || daemon.path("data/spool/rules.jsonl").exists().then_some(()));
    assert_eq!(open_to_others(&daemon.path("data")), Vec::<String>::new());
    let folder = daemon.stop();
    // As an earlier version, or a copy, may have left it.
    let data = folder.path().join("data");
    let loose = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("changed");
    };
    for path in ["lock", "tidegate.db", "broker.db", "dead_letters.db", "access-key", "spool/lock"]
    {
        loose(&data.join(path), 0o644);
    }
    loose(&data.join("spool"), 0o755);
    loose(&data, 0o755);
    let daemon = Daemon::in_folder(folder);
    assert_eq!(open_to_others(&daemon.path("data")), Vec::<String>::new());
    let log = daemon.log();
    assert!(log.contains("8 files and folders of the data could be read by other users"), "{log}");
}

/// A destination over HTTP that answers with what it is told to.
fn destination() -> (u16, Arc<AtomicU16>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("port");
    let port = listener.local_addr().expect("address").port();
    let status = Arc::new(AtomicU16::new(200));
    let told = Arc::clone(&status);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut got = Vec::new();
            let mut block = [0; 4096];
            while !got.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut block) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => got.extend_from_slice(&block[..read]),
                }
            }
            let status = told.load(Ordering::Acquire);
            let answer =
                format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).ok();
        }
    });
    (port, status)
}

#[test]
fn a_replay_by_hand_tries_at_once_and_says_what_it_waits_for() {
    let (port, status) = destination();
    let rule = format!(
        "rules:\n  - name: call_rule\n    sql: SELECT a FROM \"t\"\n    actions: [{{ http: {{ url: \"http://127.0.0.1:{port}/x\" }} }}]\n"
    );
    let daemon = Daemon::with_rules(&rule);
    let config = format!("listen: {{ http: \"127.0.0.1:{}\" }}\n", daemon.http);
    daemon.write("cli.yaml", &config);
    status.store(422, Ordering::Release);
    assert_eq!(daemon.post("/ingest?topic=t", br#"{"a":1}"#).0, 202);
    eventually("a dead letter", || (daemon.metric("tidegate_dead_letters ") == 1).then_some(()));
    // What comes next finds a wrong configuration: the action looks again once a minute.
    status.store(401, Ordering::Release);
    assert_eq!(daemon.post("/ingest?topic=t", br#"{"a":2}"#).0, 202);
    eventually("it is paused", || {
        (daemon.metric("tidegate_action_paused{rule=\"call_rule\"") == 1).then_some(())
    });
    let mut child = Command::new(program())
        .args(["--config", "cli.yaml", "dlq", "replay"])
        .current_dir(daemon.folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
    let waits = lines.map_while(Result::ok).find(|line| line.starts_with("waits: "));
    child.kill().ok();
    child.wait().expect("the end");
    let waits = waits.expect("what it waits for");
    assert!(
        waits.contains("rule `call_rule`: action `http`: paused, the configuration is wrong"),
        "{waits}"
    );
    // Somebody mends the destination, and asks once more.
    status.store(200, Ordering::Release);
    let began = Instant::now();
    let (code, text, error) =
        run(daemon.folder.path(), &["--config", "cli.yaml", "dlq", "replay"], "");
    assert_eq!(code, 0, "{text}{error}");
    assert!(text.starts_with("1 dead letter was delivered"), "{text}");
    assert!(began.elapsed() < PATIENCE, "it did not wait for the minute to end");
}
