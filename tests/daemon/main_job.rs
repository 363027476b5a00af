//! The main job on real input: devices publish, rules select, actions deliver, failures end well.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Daemon, eventually, run};

const ALERT: &str = r#"
rules:
  - name: alert_rule
    sql: |
      SELECT deviceName() AS device, temperature AS t
      FROM "/a1Pk/+/user/data" WHERE temperature > 38
    actions:
      - republish: { topic: "/a1Pk/${device}/user/alert" }
      - file: { path: alerts.jsonl }
"#;

fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    let found = command.arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let required = std::env::var_os("TIDEGATE_REQUIRE_SERVICES").is_some_and(|value| value == "1");
    assert!(found || !required, "{program} is required and not installed");
    if !found {
        eprintln!("skipped: {program} (not installed)");
    }
    found
}

#[test]
fn the_readme_example_works_with_the_clients_of_mosquitto() {
    if !has("mosquitto_pub") {
        return;
    }
    let daemon = Daemon::with_rules(ALERT);
    let port = daemon.mqtt.to_string();
    let subscriber = Command::new("mosquitto_sub")
        .args(["-p", &port, "-t", "/a1Pk/+/user/alert", "-v", "-C", "1", "-W", "20"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("mosquitto_sub");
    eventually("the subscriber is there", || {
        (daemon.metric("tidegate_mqtt_connections") >= 1).then_some(())
    });
    let publisher = |topic: &str, payload: &str| {
        let status = Command::new("mosquitto_pub")
            .args(["-p", &port, "-q", "1", "-t", topic, "-m", payload])
            .status();
        assert!(status.expect("mosquitto_pub").success());
    };
    // Subscribing takes a moment after connecting: publish until the answer is there.
    let output = std::thread::spawn(move || subscriber.wait_with_output().expect("output"));
    eventually("the alert arrives", || {
        publisher("/a1Pk/dev1/user/data", r#"{"temperature": 20}"#);
        publisher("/a1Pk/dev1/user/data", r#"{"temperature": 39.5}"#);
        output.is_finished().then_some(())
    });
    let output = output.join().expect("joined");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.trim(), r#"/a1Pk/dev1/user/alert {"device":"dev1","t":39.5}"#);
    assert_eq!(daemon.lines("alerts.jsonl", 1)[0], r#"{"device":"dev1","t":39.5}"#);
}

#[test]
fn tidegate_pub_and_tap_speak_with_the_daemon() {
    let daemon = Daemon::with_rules(ALERT);
    let port = format!("127.0.0.1:{}", daemon.mqtt);
    let folder = daemon.folder.path().to_owned();
    let tap = {
        let (folder, port) = (folder.clone(), port.clone());
        std::thread::spawn(move || {
            run(&folder, &["tap", "/a1Pk/+/user/alert", "--count", "1", "--to", &port], "")
        })
    };
    eventually("the alert arrives", || {
        let args = ["pub", "/a1Pk/dev1/user/data", r#"{"temperature": 39.5}"#, "--to", &port];
        let (code, _, error) = run(&folder, &args, "");
        assert_eq!(code, 0, "{error}");
        tap.is_finished().then_some(())
    });
    let (code, text, error) = tap.join().expect("joined");
    assert_eq!(code, 0, "{error}");
    assert_eq!(text.trim(), r#"/a1Pk/dev1/user/alert {"device":"dev1","t":39.5}"#);
}

#[test]
fn tap_shows_what_one_rule_selects() {
    let daemon = Daemon::with_rules(
        "rules:\n  - name: hot_devices\n    sql: SELECT items.t.value AS t FROM \"/a1Pk/+/thing/event/property/post\" WHERE items.t.value > 38\n    actions: [{ log: {} }]\n",
    );
    let port = format!("127.0.0.1:{}", daemon.mqtt);
    let folder = daemon.folder.path().to_owned();
    let tap = {
        let (folder, port) = (folder.clone(), port.clone());
        std::thread::spawn(move || {
            run(&folder, &["tap", "--rule", "hot_devices", "--count", "1", "--to", &port], "")
        })
    };
    eventually("the result is shown", || {
        for t in [20, 39] {
            let body = format!(r#"{{"params":{{"t":{t}}}}}"#);
            let topic = "/sys/a1Pk/dev1/thing/event/property/post";
            let (code, _, error) = run(&folder, &["pub", topic, &body, "--to", &port], "");
            assert_eq!(code, 0, "{error}");
        }
        tap.is_finished().then_some(())
    });
    let (code, text, error) = tap.join().expect("joined");
    assert_eq!(
        (code, text.trim()),
        (0, r#"/a1Pk/dev1/thing/event/property/post {"t":39}"#),
        "{error}"
    );
    let (code, _, error) = run(&folder, &["tap", "--rule", "nosuch"], "");
    assert_eq!(code, 2, "{error}");
}

#[test]
fn the_shipped_rules_do_what_the_readme_says() {
    let folder = tempfile::tempdir().expect("folder");
    let rules = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    std::fs::create_dir(folder.path().join("rules")).expect("rules");
    for entry in std::fs::read_dir(rules).expect("rules") {
        let path = entry.expect("entry").path();
        if path.extension().is_some_and(|end| end == "yaml") {
            let name = path.file_name().expect("a name");
            std::fs::copy(&path, folder.path().join("rules").join(name)).expect("copied");
        }
    }
    let config = "listen: { mqtt: \"127.0.0.1:0\", http: \"127.0.0.1:0\" }\n";
    std::fs::write(folder.path().join("tidegate.yaml"), config).expect("configuration");
    let daemon = Daemon::in_folder(folder);
    assert_eq!(daemon.get("/readyz").0, 200, "{}", daemon.log());

    let property = br#"{"id":"1","version":"1.0","method":"thing.event.property.post","params":{"temperature":21.50,"humidity":{"value":60,"time":1510292697470},"Power":"on"}}"#;
    assert_eq!(daemon.post("/ingest/sys/a1Pk/dev1/thing/event/property/post", property).0, 202);
    let line: Value =
        serde_json::from_str(&daemon.lines("data/properties.jsonl", 1)[0]).expect("json");
    assert_eq!(line["device"], "dev1");
    assert_eq!(line["temperature"], 21.5);
    assert_eq!(line["running"], true);

    assert_eq!(daemon.post("/ingest/a1Pk/plc1/user/raw", &[0, 1, 255]).0, 202);
    assert_eq!(daemon.lines("data/frames.jsonl", 1), [r#"{"device":"plc1","frame":"0001ff"}"#]);

    assert_eq!(daemon.post("/ingest/a1Pk/remote/user/command", br#"{"Switch":"off"}"#).0, 202);
    let envelope: Value =
        serde_json::from_str(&daemon.lines("data/errors.jsonl", 1)[0]).expect("json");
    assert_eq!(envelope["ruleName"], "remote_switch");
    assert_eq!(envelope["base64OriginalPayload"], "eyJTd2l0Y2giOiJvZmYifQ==");
    assert!(
        envelope["failures"][0]["errorMessage"].to_string().contains("${target}"),
        "{envelope}"
    );

    eventually("the row is in the table", || {
        (daemon.metric("tidegate_action_delivered_total{rule=\"property_history\"") == 1)
            .then_some(())
    });
}

#[test]
fn an_unreachable_destination_ends_in_the_error_action_and_holds_up_nothing() {
    // A port that was free a moment ago: nobody answers there.
    let closed =
        std::net::TcpListener::bind("127.0.0.1:0").expect("port").local_addr().expect("address");
    let daemon = Daemon::with_rules(&format!(
        r#"
rules:
  - name: two_actions
    sql: SELECT * FROM "t"
    actions:
      - http: {{ url: "http://{closed}/invoke" }}
        retry: {{ delays: [10ms, 20ms] }}
      - file: {{ path: good.jsonl }}
    error_action:
      file: {{ path: errors.jsonl }}
"#
    ));
    assert_eq!(daemon.post("/ingest?topic=t", br#"{"a":1}"#).0, 202);
    assert_eq!(daemon.lines("good.jsonl", 1), [r#"{"a":1}"#]);
    let envelope: Value = serde_json::from_str(&daemon.lines("errors.jsonl", 1)[0]).expect("json");
    assert_eq!(envelope["ruleName"], "two_actions");
    assert_eq!(envelope["failures"].as_array().map(Vec::len), Some(1));
    assert_eq!(envelope["failures"][0]["actionType"], "http");
    assert_eq!(
        daemon.metric("tidegate_action_retried_total{rule=\"two_actions\",action=\"http\"}"),
        2
    );
}

#[test]
fn every_metric_stands_there_once() {
    let two = ALERT.replace("- file: { path: alerts.jsonl }", "- log: {}\n      - log: {}");
    let daemon = Daemon::with_rules(&two);
    let (_, text) = daemon.get("/metrics");
    let mut seen = std::collections::HashSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(value.parse::<u64>().is_ok(), "{line}");
        assert!(seen.insert(series.to_owned()), "twice: {series}");
    }
    assert!(text.contains("action=\"log_2\""), "{text}");
}

#[test]
fn a_republish_loop_is_cut_by_the_hop_limit() {
    let daemon = Daemon::with_rules(
        r#"
rules:
  - name: loop_rule
    sql: SELECT * FROM "a/#"
    actions: [{ republish: { topic: a/b } }]
    error_action: { file: { path: errors.jsonl } }
"#,
    );
    assert_eq!(daemon.post("/ingest?topic=a%2Fb", b"{}").0, 202);
    let errors = daemon.lines("errors.jsonl", 1);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("hop"), "{}", errors[0]);
    assert_eq!(daemon.metric("tidegate_rule_selected_total{rule=\"loop_rule\"}"), 9);
}

#[test]
fn received_messages_are_all_accounted_for() {
    let daemon = Daemon::with_rules(ALERT);
    for (topic, body) in [
        ("/ingest/a1Pk/dev1/user/data", &br#"{"temperature":39}"#[..]),
        ("/ingest/a1Pk/dev1/user/data", br#"{"temperature":1}"#),
        ("/ingest/a1Pk/dev1/user/data", b"not json"),
        ("/ingest/a1Pk/dev1/other", b"{}"),
    ] {
        assert_eq!(daemon.post(topic, body).0, 202);
    }
    let count = |name: &str| daemon.metric(name);
    eventually("all is evaluated, the alert's own message too", || {
        (count("tidegate_messages_received_total") == 5).then_some(())
    });
    let rule = |name: &str| count(&format!("tidegate_rule_{name}_total{{rule=\"alert_rule\"}}"));
    assert_eq!(rule("received"), 3);
    assert_eq!((rule("selected"), rule("filtered"), rule("invalid_payload")), (1, 1, 1));
    assert_eq!(count("tidegate_messages_unmatched_total"), 2);
}

#[test]
fn memory_stays_small() {
    let idle = Daemon::start("", &[]);
    assert_eq!(idle.get("/readyz").0, 200);
    let idle_kib = idle.memory_kib();
    let mut rules = String::from("rules:\n");
    for n in 0..10_000 {
        rules.push_str(&format!(
            "  - name: rule_{n}\n    sql: SELECT deviceName() AS d, items.t{n}.value AS t FROM \"/pk{n}/+/user/data\" WHERE items.t{n}.value > {n}\n    actions: [{{ republish: {{ topic: \"/pk{n}/${{d}}/alert\" }} }}]\n"
        ));
    }
    let loaded = Daemon::with_rules(&rules);
    let (status, reasons) = loaded.get("/readyz");
    assert_eq!(status, 200, "{reasons}");
    let loaded_kib = loaded.memory_kib();
    println!("memory: idle {idle_kib} KiB, with 10000 rules {} KiB more", loaded_kib - idle_kib);
    // Unoptimised, a third of it is the program itself; the history's file takes some 4 MiB.
    assert!(idle_kib <= 52 * 1024, "idle: {idle_kib} KiB");
    // Some 5.4 KiB a rule, with its lane, its cursor in the log and where its reader is; what the
    // allocator keeps free differs from run to run by 1,500 KiB.
    assert!(loaded_kib - idle_kib <= 58_000, "10000 rules: {} KiB", loaded_kib - idle_kib);
}

#[test]
fn what_the_broker_keeps_and_the_engine_has_ends_in_order() {
    let daemon = Daemon::with_rules(ALERT);
    for n in 0..200 {
        let body = format!(r#"{{"temperature":{}}}"#, 100 + n);
        assert_eq!(daemon.post("/ingest/a1Pk/dev1/user/data", body.as_bytes()).0, 202);
    }
    // Stopped at once: what was accepted is still delivered, and republishing ends with it.
    let start = std::time::Instant::now();
    let folder = daemon.stop();
    assert!(start.elapsed().as_secs() < 9, "stopping waits for nothing that can't come");
    let text = std::fs::read_to_string(folder.path().join("alerts.jsonl")).expect("file");
    let want: Vec<String> =
        (0..200).map(|n| format!(r#"{{"device":"dev1","t":{}}}"#, 100 + n)).collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), want);
}

#[test]
fn devices_that_come_and_go_are_reported_to_rules() {
    if !has("mosquitto_pub") {
        return;
    }
    let daemon = Daemon::with_rules(
        r#"
rules:
  - name: status_rule
    sql: SELECT status, productKey AS pk, deviceName AS dn, topic() AS topic FROM "/as/mqtt/status/+/+"
    actions: [{ file: { path: status.jsonl } }]
"#,
    );
    let port = daemon.mqtt.to_string();
    let args = ["-p", &port, "-u", "dev1&a1Pk", "-q", "1", "-t", "t", "-m", "x"];
    assert!(Command::new("mosquitto_pub").args(args).status().expect("mosquitto_pub").success());
    let line = |status: &str| {
        format!(
            r#"{{"status":"{status}","pk":"a1Pk","dn":"dev1","topic":"/as/mqtt/status/a1Pk/dev1"}}"#
        )
    };
    assert_eq!(daemon.lines("status.jsonl", 2), [line("online"), line("offline")]);
}
