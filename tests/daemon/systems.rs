//! The whole daemon with real systems around it: messages from them, records to them, and rules that
//! the API makes and a restart keeps.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::mpsc;

use rdkafka::message::{Message as _, OwnedMessage};
use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tidegate::rule::store::{AccessKey, KEY_FILE, Role};

use super::{Daemon, PATIENCE, eventually};
use crate::api::client::{Client, Reply};
use crate::connectors::kafka::KafkaPeer;
use crate::connectors::mqtt::MqttPeer;
use crate::connectors::tables::PostgresPeer;
use crate::connectors::unique;

/// The rows of a query on a database file of the daemon; none while there is no such table.
async fn sqlite_rows(folder: &Path, sql: &'static str) -> Vec<String> {
    let file = folder.join("data/history.db");
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let Ok(pool) = SqlitePool::connect_with(options).await else { return Vec::new() };
    let rows = sqlx::query(sql).fetch_all(&pool).await.unwrap_or_default();
    pool.close().await;
    rows.iter().map(|row| row.get(0)).collect()
}

/// Waits until actions of a rule have delivered a number of records.
fn delivered(daemon: &Daemon, rule: &str, count: u64) {
    let of_rule = format!("tidegate_action_delivered_total{{rule=\"{rule}\"");
    eventually(&format!("{rule} has delivered {count} records"), || {
        let (_, text) = daemon.get("/metrics");
        let lines = text.lines().filter(|line| line.starts_with(&of_rule));
        let sum: u64 = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
        (sum >= count).then_some(())
    });
}

#[tokio::test]
async fn messages_of_an_external_mqtt_broker_reach_rules() {
    let Some(peer) = MqttPeer::new() else { return };
    let product = unique("pk");
    let config = format!(
        "connections: {{ floor: {{ mqtt: {{ host: \"{}\", port: {} }} }} }}\n\
         sources: {{ plant: {{ mqtt: {{ connection: floor, filters: [\"/{product}/#\"] }} }} }}\n",
        peer.host, peer.port
    );
    let rule = format!(
        "rules:\n  - name: from_plant\n    sql: SELECT topic(1) AS pk, deviceName() AS device, t FROM \"/{product}/+/user/data\"\n    actions: [{{ file: {{ path: plant.jsonl }} }}]\n"
    );
    let daemon = Daemon::start(&config, &[("rules/test.yaml", &rule)]);
    // The source subscribes in its own time: publish until a message has come.
    let topic = format!("/{product}/dev1/user/data");
    for _ in 0..600 {
        peer.publish(&topic, &[r#"{"t":39.5}"#]).await;
        if daemon.metric("tidegate_messages_received_total") > 0 {
            break;
        }
    }
    let want = format!(r#"{{"pk":"{product}","device":"dev1","t":39.5}}"#);
    assert_eq!(daemon.lines("plant.jsonl", 1)[0], want);
}

#[tokio::test]
async fn kafka_records_become_messages_and_records_go_to_kafka() {
    let Some(peer) = KafkaPeer::new() else { return };
    let (from, to) = (unique("telemetry"), unique("alerts"));
    peer.create(&from, 1).await;
    peer.create(&to, 1).await;
    let config = format!(
        "connections: {{ bus: {{ kafka: {{ brokers: \"{}\" }} }} }}\n\
         sources: {{ stream: {{ kafka: {{ connection: bus, group: {from}, topics: [{from}], topic: \"/a1Pk/${{key}}/user/data\" }} }} }}\n",
        peer.1
    );
    let rule = format!(
        "rules:\n  - name: to_kafka\n    sql: SELECT deviceName() AS device, t FROM \"/a1Pk/+/user/data\" WHERE t > 38\n    actions: [{{ kafka: {{ connection: bus, topic: {to}, key: \"k-${{device}}\" }} }}]\n"
    );
    let daemon = Daemon::start(&config, &[("rules/test.yaml", &rule)]);
    peer.produce(&from, 0, "dev9", &[r#"{"t":1}"#.into(), r#"{"t":39.50}"#.into()]).await;
    let [message] = <[OwnedMessage; 1]>::try_from(peer.read(&to, 1).await).expect("one message");
    assert_eq!(message.key(), Some(&b"k-dev9"[..]));
    assert_eq!(message.payload(), Some(&br#"{"device":"dev9","t":39.50}"#[..]));
    assert_eq!(daemon.metric("tidegate_messages_received_total"), 2);
}

#[tokio::test]
async fn the_same_key_twice_is_one_row() {
    let Some(peer) = PostgresPeer::new().await else { return };
    let table = unique("readings");
    let config = format!("connections: {{ plant: {{ postgres: {{ url: \"{}\" }} }} }}\n", peer.1);
    let row = "key: [id, device], columns: { id: \"${id}\", device: \"${device}\", t: \"${t}\" }";
    let rule = format!(
        "rules:\n  - name: readings\n    sql: SELECT id, deviceName() AS device, t FROM \"/a1Pk/+/user/data\"\n    actions:\n      - sqlite: {{ table: readings, {row} }}\n      - postgres: {{ connection: plant, table: {table}, create: true, {row} }}\n"
    );
    let daemon = Daemon::start(&config, &[("rules/test.yaml", &rule)]);
    let mut count = 0;
    for (device, t) in [("dev1", "1"), ("dev2", "2"), ("dev1", "3.5")] {
        let body = format!(r#"{{"id":"m1","t":{t}}}"#);
        let topic = format!("/ingest/a1Pk/{device}/user/data");
        assert_eq!(daemon.post(&topic, body.as_bytes()).0, 202);
        // Each in a batch of its own, so that the second write finds the row of the first.
        count += 2;
        delivered(&daemon, "readings", count);
    }
    let want = ["m1 dev1 3.5", "m1 dev2 2"];
    let sql = "SELECT id || ' ' || device || ' ' || t FROM readings ORDER BY 1";
    assert_eq!(sqlite_rows(daemon.folder.path(), sql).await, want);
    let sql = format!("SELECT concat_ws(' ', id, device, t) FROM {table} ORDER BY 1");
    assert_eq!(peer.texts(&sql).await, want);
}

/// A function of the vendor: tells path and body of each call, and answers 200.
fn function() -> (u16, mpsc::Receiver<(String, String)>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (tell, calls) = mpsc::channel();
    std::thread::spawn(move || {
        // Ends with the test's process, or when nobody listens any more.
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(&stream);
            let (mut head, mut line) = (String::new(), String::new());
            while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
                head.push_str(&std::mem::take(&mut line).to_lowercase());
            }
            let length = head.split_once("content-length: ").and_then(|(_, rest)| {
                rest.split_once("\r\n").and_then(|(length, _)| length.parse().ok())
            });
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).expect("the body");
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            (&stream).write_all(answer.as_bytes()).ok();
            if tell.send((path, String::from_utf8_lossy(&body).into_owned())).is_err() {
                return;
            }
        }
    });
    (port, calls)
}

/// A signed call of the API with the daemon's own first key.
pub(super) async fn call(daemon: &Daemon, action: &str, own: &[(&str, &str)]) -> Reply {
    let file = std::fs::read_to_string(daemon.path("data").join(KEY_FILE)).expect("the key's file");
    let value = |name: &str| {
        let line = file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.expect("a line of the key's file").to_owned()
    };
    let key = AccessKey {
        id: value("TIDEGATE_ACCESS_KEY_ID"),
        secret: value("TIDEGATE_ACCESS_KEY_SECRET"),
        role: Role::Admin,
        created_ms: 0,
        revoked_ms: None,
    };
    let address = (Ipv4Addr::LOCALHOST, daemon.http).into();
    let client = Client::new(address, key, std::sync::Arc::default());
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut all = vec![("Timestamp", now.as_str())];
    all.extend(own);
    client.call(action, &all).await
}

/// A number of an answer as text.
fn id(reply: &Reply, name: &str) -> String {
    let json = reply.json();
    assert_eq!(json["Success"], true, "{json}");
    json[name].as_i64().unwrap_or_else(|| panic!("no {name} in {json}")).to_string()
}

/// Types and configurations of actions for a Kafka topic and a DataHub project.
fn destinations(topic: &str, project: &str) -> [(&'static str, Value); 4] {
    let region = "cn-shanghai";
    let column =
        |name: &str, kind: &str, value: &str| json!({ "name": name, "type": kind, "value": value });
    [
        ("ONS", json!({ "instanceId": "MQ_1", "topic": topic, "regionName": region })),
        ("FC", json!({ "serviceName": "weather", "functionName": "hot", "regionName": region })),
        (
            "DATAHUB",
            json!({
                "projectName": project, "topicName": "rows", "regionName": region,
                "schemaVals": [column("d", "STRING", "${device}"), column("v", "DOUBLE", "${t}")],
            }),
        ),
        (
            "OTS",
            json!({
                "instanceName": "i", "tableName": "hot", "regionName": region,
                "primaryKeys": [
                    { "columnType": "STRING", "columnName": "id", "columnValue": "x-${device}" },
                ],
            }),
        ),
    ]
}

#[tokio::test]
async fn a_template_of_the_api_that_can_never_be_filled_is_refused() {
    let daemon = Daemon::start("endpoints: [{ type: OTS, connection: history }]\n", &[]);
    let made = [
        ("Name", "api_rule"),
        ("ProductKey", "a1Pk"),
        ("ShortTopic", "+/user/data"),
        ("TopicType", "1"),
        ("Select", "deviceName() as device, t"),
    ];
    let rule = id(&call(&daemon, "CreateRule", &made).await, "RuleId");
    let add = async |kind: &str, configuration: serde_json::Value| {
        let text = configuration.to_string();
        let own = [("RuleId", &*rule), ("Type", kind), ("Configuration", &text)];
        call(&daemon, "CreateRuleAction", &own).await
    };
    let topic = |key: &str| serde_json::json!({ "topic": format!("/a1Pk/${{{key}}}/user/alert"), "topicType": 1 });
    let refused = add("REPUBLISH", topic("devcie")).await;
    assert_eq!(refused.outcome(), "200 iot.rule.ParseRuleActionConfigError", "{}", refused.body);
    assert!(refused.body.contains("did you mean `${device}`?"), "{}", refused.body);
    let key = |value: &str| {
        serde_json::json!({ "instanceName": "i", "tableName": "t", "regionName": "cn-shanghai", "primaryKeys": [
            { "columnType": "STRING", "columnName": "id", "columnValue": value } ] })
    };
    let refused = add("OTS", key("${name}")).await;
    assert_eq!(refused.outcome(), "200 iot.rule.ParseRuleActionConfigError", "{}", refused.body);
    id(&add("OTS", key("${device}")).await, "ActionId");
    id(&add("REPUBLISH", topic("device")).await, "ActionId");
    let started = call(&daemon, "StartRule", &[("RuleId", &rule)]).await;
    assert_eq!(started.outcome(), "200 OK", "{}", started.body);
    // The key must not go away while an action needs it.
    let changed = call(&daemon, "UpdateRule", &[("RuleId", &*rule), ("Select", "t")]).await;
    assert_eq!(changed.outcome(), "200 iot.rule.UpdateRuleFailed", "{}", changed.body);
    let changed = call(&daemon, "UpdateRule", &[("RuleId", &*rule), ("Select", "*")]).await;
    assert_eq!(changed.outcome(), "200 OK", "{}", changed.body);
}

#[tokio::test]
async fn a_rule_of_the_api_reaches_all_destinations_also_after_a_restart() {
    let Some(peer) = KafkaPeer::new() else { return };
    let (topic, project) = (unique("ons"), unique("datahub"));
    let rows = format!("{project}.rows");
    peer.create(&topic, 1).await;
    peer.create(&rows, 1).await;
    let (port, calls) = function();
    let config = format!(
        "connections: {{ bus: {{ kafka: {{ brokers: \"{}\" }} }} }}\nendpoints:\n\
         \x20 - {{ type: ONS, connection: bus }}\n\
         \x20 - {{ type: DATAHUB, connection: bus }}\n\
         \x20 - {{ type: OTS, connection: history }}\n\
         \x20 - {{ type: FC, url: \"http://127.0.0.1:{port}/{{serviceName}}/{{functionName}}\" }}\n",
        peer.1
    );
    let daemon = Daemon::start(&config, &[]);
    let made = [
        ("Name", "api_rule"),
        ("ProductKey", "a1Pk"),
        ("ShortTopic", "+/user/data"),
        ("TopicType", "1"),
        ("Select", "deviceName() as device, t"),
        ("Where", "t > 38"),
    ];
    let rule = id(&call(&daemon, "CreateRule", &made).await, "RuleId");
    for (kind, configuration) in destinations(&topic, &project) {
        let text = configuration.to_string();
        let own = [("RuleId", rule.as_str()), ("Type", kind), ("Configuration", &text)];
        id(&call(&daemon, "CreateRuleAction", &own).await, "ActionId");
    }
    let own = [("RuleId", &*rule), ("Type", "MNS"), ("Configuration", r#"{"themeName":"t"}"#)];
    let refused = call(&daemon, "CreateRuleAction", &own).await;
    assert_eq!(refused.outcome(), "200 iot.ruleng.NotFoundTopicInMns", "{}", refused.body);
    let started = call(&daemon, "StartRule", &[("RuleId", &rule)]).await;
    assert_eq!(started.outcome(), "200 OK", "{}", started.body);

    let publish = |daemon: &Daemon, t: &str| {
        let body = format!(r#"{{"t":{t}}}"#);
        assert_eq!(daemon.post("/ingest/a1Pk/dev1/user/data", body.as_bytes()).0, 202);
        let call = calls.recv_timeout(PATIENCE).expect("a call of the function");
        let record = format!(r#"{{"device":"dev1","t":{t}}}"#);
        assert_eq!(call, ("/weather/hot".to_owned(), record));
        delivered(daemon, "api_rule", 4);
    };
    publish(&daemon, "39.5");
    let daemon = Daemon::in_folder(daemon.stop());
    publish(&daemon, "40");

    let payloads = async |topic: &str| {
        let text = |message: &OwnedMessage| {
            String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned()
        };
        peer.read(topic, 2).await.iter().map(text).collect::<Vec<_>>()
    };
    let records = [r#"{"device":"dev1","t":39.5}"#, r#"{"device":"dev1","t":40}"#];
    assert_eq!(payloads(&topic).await, records);
    assert_eq!(payloads(&rows).await, [r#"{"d":"dev1","v":39.5}"#, r#"{"d":"dev1","v":40}"#]);
    let sql = "SELECT id || ' ' || device || ' ' || t FROM hot";
    assert_eq!(sqlite_rows(daemon.folder.path(), sql).await, ["x-dev1 dev1 40"]);
    let running = call(&daemon, "GetRule", &[("RuleId", &rule)]).await;
    assert_eq!(running.json()["RuleInfo"]["Status"], "RUNNING");
}
