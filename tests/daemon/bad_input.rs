//! Bad input of every kind: a clear error, and the daemon goes on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::{Daemon, PATIENCE, eventually, run};

const RULE: &str = "rules:\n  - name: good_rule\n    sql: SELECT a FROM \"t\"\n    actions: [{ file: { path: good.jsonl } }]\n";

/// What `check` says about a rule file.
fn check(rules: &str) -> String {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("bad.yaml"), rules).expect("written");
    let (code, text, error) = run(folder.path(), &["check", "bad.yaml"], "");
    assert_eq!(code, 1, "{text}{error}");
    text
}

#[test]
fn bad_rule_files_are_explained() {
    let sql = |sql: &str| {
        format!("rules:\n  - name: bad_rule\n    sql: {sql}\n    actions: [{{ log: {{}} }}]\n")
    };
    let cases: &[(&str, String, &[&str])] = &[
        ("no YAML", "rules: [".to_owned(), &["bad.yaml:", "not valid YAML"]),
        (
            "unknown key",
            RULE.replace("sql:", "sqll:"),
            &["bad.yaml:3:5", "unknown key `sqll`", "did you mean `sql`?"],
        ),
        (
            "unknown connector",
            RULE.replace("file:", "fiel:"),
            &["bad.yaml:4:", "there is no connector `fiel`", "did you mean `file`?"],
        ),
        ("unknown setting", RULE.replace("path:", "paht:"), &["bad.yaml:4:", "paht"]),
        ("bad name", RULE.replace("good_rule", "a b"), &["bad.yaml:2:11", "may not contain ' '"]),
        (
            "duplicate name",
            format!("{RULE}{}", RULE.trim_start_matches("rules:\n")),
            &["bad.yaml:5:", "used twice"],
        ),
        ("bad SQL", sql("SELECT a FORM \"t\""), &["bad.yaml:3:", "expected", "hint"]),
        ("unknown function", sql("SELECT uper(a) FROM \"t\""), &["bad.yaml:3:17", "uper", "upper"]),
        ("wrong arity", sql("SELECT upper(a, b) FROM \"t\""), &["bad.yaml:3:", "upper"]),
        ("bad filter", sql("SELECT a FROM \"t/#/x\""), &["bad.yaml:3:", "`#`"]),
        (
            "eleven actions",
            RULE.replace(
                "[{ file: { path: good.jsonl } }]",
                &format!("[{}]", ["{ log: {} }"; 11].join(",")),
            ),
            &["11 actions are too many"],
        ),
        (
            "bad template",
            RULE.replace("file: { path: good.jsonl }", "republish: { topic: \"x${a\" }"),
            &["bad.yaml:4:", "has no closing `}`"],
        ),
        ("no rules", String::new(), &["bad.yaml:1:1", "a map with the key `rules`"]),
        ("no map", "rules: [a]".to_owned(), &["bad.yaml:1:9", "a map with `name`"]),
        (
            "no time at all",
            RULE.replace(" } }]", " }, deadline: 0s }]"),
            &["bad.yaml:4:", "longer than nothing"],
        ),
        ("bad delay", format!("{RULE}    retry: {{ delays: [soon] }}\n"), &["bad.yaml:5:", "soon"]),
    ];
    for (what, rules, texts) in cases {
        let said = check(rules);
        for text in *texts {
            assert!(said.contains(text), "{what}: `{text}` is not in:\n{said}");
        }
    }
}

#[test]
fn bad_configurations_are_explained_with_their_place() {
    for (config, place, text) in [
        ("sources:\n  a: { mqt: {} }\n", "2:8", "did you mean `mqtt`?"),
        (
            "sources:\n  a: { mqtt: { connection: no, filters: [x] } }\n",
            "2:28",
            "no connection `no`",
        ),
        ("sources:\n  a: { mqtt: {}, ack: soon }\n", "2:23", "`received`"),
        ("promises: { mqtt: { ack: soon } }\n", "1:26", "`received`"),
        ("promises: { mqtt: { durabel: true } }\n", "1:21", "did you mean `durable`?"),
        ("connections:\n  a: { sqlit: { path: x } }\n", "2:8", "did you mean `sqlite`?"),
        ("connections:\n  a: { sqlite: { pat: x } }\n", "2:18", "did you mean `path`?"),
        ("endpoints: [{ type: ONS, connection: no }]\n", "1:38", "`no` is not below"),
        ("endpoints: [{ type: SNO, url: \"http://x\" }]\n", "1:21", "there is no type `SNO`"),
        ("endpoints: [{ type: ONS }]\n", "1:13", "either `connection` or `url`"),
        ("endpoints: [{ type: FC, url: \"http://{serviceName}/\" }]\n", "1:30", "write it out"),
        ("network: { allow: [10.0.0.0/33] }\n", "1:12", "`10.0.0.0/8`"),
        ("network: { deny: [a.example] }\n", "1:12", "`10.1.2.3`"),
        ("listen: { allow_hosts: [\"http://a.example\"] }\n", "1:11", "`iot.plant.example`"),
        ("listen: { allow_origins: [desk.example] }\n", "1:11", "`https://desk.example`"),
        ("limits: { queue_messages: 0 }\n", "1:27", "expected 1 or more"),
        ("limits: { shards: 1000000 }\n", "1:19", "256 threads"),
        ("listen: { mqtt: \"localhost:1883\" }\n", "1:17", "`127.0.0.1:1883`"),
        ("listen: { mqtts: \"127.0.0.1:8883\" }\n", "1:18", "`tls: { cert: FILE, key: FILE }`"),
        ("listen: { wss: 8084 }\n", "1:16", "expected a string"),
        ("tls: { cert: a.pem }\n", "1:1", "`key`"),
    ] {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::create_dir(folder.path().join("rules")).expect("rules");
        std::fs::write(folder.path().join("tidegate.yaml"), config).expect("written");
        let (code, said, error) = run(folder.path(), &["check"], "");
        assert_eq!(code, 1, "{config}{error}");
        assert!(said.contains(&format!("tidegate.yaml:{place}: ")), "{config}{said}");
        assert!(said.contains(text), "{config}{said}");
    }
}

#[test]
fn bad_statements_are_refused_with_a_place_and_a_hint() {
    let folder = tempfile::tempdir().expect("folder");
    for (statement, texts) in [
        ("SELECT FROM \"t\"", &["column 8"][..]),
        ("SELECT a FROM \"t\" GROUP BY a", &["column 19", "GROUP", "hint"]),
        ("SELECT nosuch(a) FROM \"t\"", &["column 8", "nosuch"]),
        ("SELECT 'a FROM \"t\"", &["column 8"]),
        ("SELECT a", &["FROM"]),
    ] {
        let (code, text, error) = run(folder.path(), &["sql", statement, "--json"], "{}\n");
        assert_eq!((code, text.as_str()), (1, ""), "{statement}: {error}");
        assert!(error.contains("line 1"), "{statement}: {error}");
        for part in texts {
            assert!(error.contains(part), "{statement}: `{part}` is not in {error}");
        }
    }
}

#[test]
fn statements_of_other_engines_are_checked_by_file() {
    let folder = tempfile::tempdir().expect("folder");
    let text = "-- as it was\nSELECT payload.t AS t FROM \"a/+\";\nSELECT a FROM \"b\"\n\nSELECT sum(a) FROM \"b\"\n";
    std::fs::write(folder.path().join("rules.sql"), text).expect("written");
    let (code, text, error) = run(folder.path(), &["check", "--from", "emqx", "rules.sql"], "");
    assert_eq!(code, 1, "{text}{error}");
    for part in [
        "rules.sql:2: works after one change\n",
        "  write: SELECT t AS t FROM \"a/+\"\n",
        "rules.sql:3: works as it stands\n",
        "rules.sql:5: cannot be said here\n",
        "1 work as they stand, 1 after changes, 1 cannot be said here",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (code, _, error) = run(folder.path(), &["check", "--from", "emqx"], "");
    assert_eq!(code, 2, "{error}");
    let (code, _, error) = run(folder.path(), &["check", "--from", "aws", "none.sql"], "");
    assert_eq!(code, 2, "{error}");
}

#[test]
fn the_sql_verb_answers_one_line_per_payload() {
    let folder = tempfile::tempdir().expect("folder");
    let statement = "SELECT a, deviceName() AS d FROM \"/pk/+/x\" WHERE a > 1";
    let input = "{\"a\":2}\n{\"a\":1}\nnot json\n{\"a\":1e2}\n";
    let (code, text, _) =
        run(folder.path(), &["sql", statement, "--topic", "/pk/d1/x", "--json"], input);
    assert_eq!(code, 0);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], r#"{"matched":true,"records":[{"a":2,"d":"d1"}],"errors":[]}"#);
    assert_eq!(lines[1], r#"{"matched":false,"records":[],"errors":[]}"#);
    assert!(
        lines[2]
            .starts_with(r#"{"matched":false,"records":[],"errors":[{"code":"invalid_payload""#)
    );
    assert_eq!(lines[3], r#"{"matched":true,"records":[{"a":1e2,"d":"d1"}],"errors":[]}"#);
    assert_eq!(lines.len(), 4);

    let (_, text, _) =
        run(folder.path(), &["sql", statement, "--topic", "/other", "--json"], "{\"a\":2}\n");
    assert_eq!(text, "{\"matched\":false,\"records\":[],\"errors\":[]}\n");
    let whole = "{\n\"a\":\n2}\n";
    let (_, text, _) =
        run(folder.path(), &["sql", statement, "--json", "--payload-file", "-"], whole);
    assert_eq!(text, "{\"matched\":true,\"records\":[{\"a\":2}],\"errors\":[]}\n");
    let binary =
        ["sql", "SELECT * FROM \"t\"", "--json", "--data-type", "binary", "--payload-file", "-"];
    let (_, text, _) = run(folder.path(), &binary, "ab");
    assert_eq!(text, "{\"matched\":true,\"records\":[{\"base64\":\"YWI=\"}],\"errors\":[]}\n");
    let deep = format!("{}\n{{\"a\":3}}\n", "[".repeat(1_000_000));
    let (code, text, _) = run(folder.path(), &["sql", "SELECT a FROM \"t\"", "--json"], &deep);
    assert_eq!(code, 0);
    assert!(text.lines().next().is_some_and(|line| line.contains("invalid_payload")), "{text}");
    assert_eq!(text.lines().nth(1), Some(r#"{"matched":true,"records":[{"a":3}],"errors":[]}"#));
}

#[test]
fn the_sql_verb_explains() {
    let folder = tempfile::tempdir().expect("folder");
    let statement = "SELECT t FROM \"/pk/+/x\" WHERE t > 30 AND kind = NULL";
    let ask = |more: &[&str], input: &str| {
        let args = [&["sql", statement, "--explain", "--topic", "/pk/d1/x"], more].concat();
        let (code, text, error) = run(folder.path(), &args, input);
        assert_eq!((code, error.as_str()), (0, ""), "{text}");
        text
    };
    let text = ask(&[], "{\"t\":12}\nnot json\n");
    for part in [
        "1. t > 30 [free]",
        "warning: line 1, column 42: `kind = NULL` is never TRUE",
        "payload 1 does not fire: WHERE is FALSE because t > 30 is FALSE: t is 12\n",
        "payload 2 invalid payload: the payload is no JSON document: byte 0",
    ] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
    assert!(!ask(&[], "").contains("payload 1"));
    let text = ask(&["--json"], "{\"t\":12}\n");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["plan"]["tests"][0]["test"], "t > 30");
    assert_eq!(lines[1]["message"]["outcome"], "filtered");
}

#[test]
fn remarks_on_statements_are_told_with_their_place() {
    let folder = tempfile::tempdir().expect("folder");
    let rules = "rules:\n  - name: odd_rule\n    select: a\n    from: t\n    where: a > 1 AND b = NULL\n    actions: [{ log: {} }]\n";
    std::fs::write(folder.path().join("odd.yaml"), rules).expect("written");
    let (code, text, _) = run(folder.path(), &["check", "odd.yaml"], "");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("odd.yaml:5:22: rule `odd_rule`: `b = NULL` is never TRUE"), "{text}");
    assert!(text.contains("hint: write `b IS NULL`"), "{text}");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
    let address = taken.local_addr().expect("address");
    let folder = tempfile::tempdir().expect("folder");
    let config = format!("listen: {{ mqtt: \"{address}\", http: \"127.0.0.1:0\" }}\n");
    std::fs::write(folder.path().join("tidegate.yaml"), config).expect("written");
    let (code, _, error) = run(folder.path(), &["run"], "");
    assert_eq!(code, 3, "{error}");
    assert!(error.contains(&address.to_string()) && error.contains("listen.mqtt"), "{error}");
}

#[test]
fn a_data_folder_has_one_daemon() {
    let daemon = Daemon::start("", &[]);
    let (code, _, error) = run(daemon.folder.path(), &["run"], "");
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("another daemon") && error.contains("data_dir"), "{error}");
    assert_eq!(run(daemon.folder.path(), &["keys", "list"], "").0, 0, "keys are made beside it");
}

#[test]
fn a_public_address_needs_a_decision() {
    let folder = tempfile::tempdir().expect("folder");
    let config = "listen: { mqtt: \"0.0.0.0:0\", http: \"127.0.0.1:0\" }\n";
    std::fs::write(folder.path().join("tidegate.yaml"), config).expect("written");
    let (code, _, error) = run(folder.path(), &["run"], "");
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("auth") && error.contains("tidegate.yaml:1:1"), "{error}");
}

#[test]
fn bad_payloads_cost_nothing_else() {
    let mut daemon = Daemon::start("limits: { payload: 2000000 }\n", &[("rules/test.yaml", RULE)]);
    let deep = "[".repeat(1_000_000);
    for body in ["not json", "{\"a\":1", "", "{\"a\":1} x", deep.as_str()] {
        assert_eq!(daemon.post("/ingest?topic=t", body.as_bytes()).0, 202);
    }
    let (status, answer) = daemon.post("/ingest?topic=t", &vec![b'x'; 3_000_000]);
    assert_eq!(status, 413, "{answer}");
    let (status, answer) = daemon.post("/ingest?topic=t%2F%23", b"{}");
    assert_eq!(status, 400, "{answer}");
    assert!(answer.contains('#'), "the reason is given: {answer}");
    assert_eq!(daemon.post("/ingest", b"{}").0, 400);
    for bad in ["/ingest/a%2", "/ingest/a%zz", "/ingest?topic=a%", "/ingest?topic=a&topic=b"] {
        let (status, answer) = daemon.post(bad, b"{}");
        assert_eq!(status, 400, "{bad}: {answer}");
    }
    assert_eq!(daemon.get("/ingest/t").0, 405);
    assert_eq!(daemon.post("/ingest?topic=t", br#"{"a":1}"#).0, 202);
    assert_eq!(daemon.lines("good.jsonl", 1), [r#"{"a":1}"#]);
    eventually("the bad ones are counted", || {
        let name = "tidegate_rule_invalid_payload_total{rule=\"good_rule\"}";
        (daemon.metric(name) == 5).then_some(())
    });
    assert!(daemon.is_running());
}

#[test]
fn a_payload_over_the_limit_is_refused_by_the_broker_too() {
    let daemon = Daemon::start("limits: { payload: 1000 }\n", &[("rules/test.yaml", RULE)]);
    let to = format!("127.0.0.1:{}", daemon.mqtt);
    let folder = daemon.folder.path();
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(1_000));
    let (code, _, error) = run(folder, &["pub", "t", &large, "--to", &to], "");
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("a limit is exceeded"), "{error}");
    assert_eq!(daemon.metric("tidegate_mqtt_dropped_total{reason=\"payload\"}"), 1);
    let (code, _, error) = run(folder, &["pub", "t", r#"{"a":1}"#, "--to", &to], "");
    assert_eq!(code, 0, "{error}");
    assert_eq!(daemon.lines("good.jsonl", 1), [r#"{"a":1}"#]);
}

#[test]
fn hostile_bytes_close_their_own_connection_only() {
    let mut daemon = Daemon::with_rules(RULE);
    let hostile: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 4096],
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0x10, 0x04, 0x00, 0x04, b'M', b'Q'],
        &[0x30, 0x00],
        &[0x10, 0x10, 0x00, 0x04, b'M', b'Q', b'T', b'T', 0x04, 0xff, 0, 0, 0xff, 0xff, 0, 0, 0, 0],
    ];
    for bytes in hostile {
        let mut stream = TcpStream::connect(("127.0.0.1", daemon.mqtt)).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.write_all(bytes).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).ok();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).ok();
    }
    let closed = "tidegate_mqtt_closed_total{reason=\"protocol_error\"}";
    eventually("they are counted", || (daemon.metric(closed) > 0).then_some(()));
    assert_eq!(daemon.post("/ingest?topic=t", br#"{"a":1}"#).0, 202);
    assert_eq!(daemon.lines("good.jsonl", 1), [r#"{"a":1}"#]);
    assert!(daemon.is_running());
}
