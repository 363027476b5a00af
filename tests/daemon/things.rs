//! Requests to devices through the whole program: an API call, the broker, a device, and back.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use connectors::contract::{QoS, Topic, TopicFilter, TopicLimits};
use serde_json::{Value, json};
use tidegate::broker::client::{Client as Mqtt, Options};
use tidegate::broker::codec::Version;
use tidegate::rule::store::{AccessKey, Role};

use super::{Daemon, PATIENCE};
use crate::api::client::{Client, query};

/// A key for the API.
pub(crate) const CONFIG: &str =
    "access_keys: [{ id: test-admin, secret: testsecret, role: admin }]\n";

/// Rules that write what devices post and answer to files.
pub(super) const RULES: (&str, &str) = (
    "rules/things.yaml",
    r#"
rules:
  - name: device_posts
    sql: SELECT * FROM "/+/+/thing/event/property/post"
    actions: [{ file: { path: posts.jsonl } }]
  - name: device_replies
    sql: SELECT * FROM "/+/+/thing/downlink/reply/message"
    actions: [{ file: { path: replies.jsonl } }]
"#,
);

/// The API of a running program.
pub(crate) struct Api {
    client: Client,
    address: SocketAddr,
}

impl Api {
    pub(crate) fn of(daemon: &Daemon) -> Self {
        let key = AccessKey {
            id: "test-admin".into(),
            secret: "testsecret".into(),
            role: Role::Admin,
            created_ms: 0,
            revoked_ms: None,
        };
        let address = SocketAddr::from(([127, 0, 0, 1], daemon.http));
        let codes: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        Self { client: Client::new(address, key, codes), address }
    }

    /// The target of a signed request.
    fn target(&self, action: &str, own: &[(&str, &str)]) -> String {
        let mut parameters = self.client.parameters(action, own);
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        parameters.insert("Timestamp".to_owned(), now);
        self.client.sign("POST", &mut parameters);
        format!("/?{}", query(&parameters))
    }

    /// The answer to an operation.
    pub(crate) async fn call(&self, action: &str, own: &[(&str, &str)]) -> Value {
        self.client.send("POST", &self.target(action, own), &[], b"").await.json()
    }

    /// The same, which must be a success.
    pub(crate) async fn ok(&self, action: &str, own: &[(&str, &str)]) -> Value {
        let answer = self.call(action, own).await;
        assert_eq!(answer["Success"], true, "{action}: {answer}");
        answer
    }
}

fn topic(text: &str) -> Topic {
    Topic::parse(text, TopicLimits::default()).unwrap()
}

/// A device of the product `a1Pk`, which listens to all that is its own.
async fn device(daemon: &Daemon, name: &str) -> Mqtt {
    device_of(daemon, "a1Pk", name).await
}

pub(super) async fn device_of(daemon: &Daemon, pk: &str, name: &str) -> Mqtt {
    let mut options = Options::new(format!("{name}&{pk}"));
    options.username = Some(format!("{name}&{pk}").into());
    options.version = Version::V311;
    let mut mqtt = Mqtt::connect(("127.0.0.1", daemon.mqtt), options).await.unwrap();
    for filter in [format!("/sys/{pk}/{name}/#"), format!("$sys/{pk}/{name}/#"), "/ping".into()] {
        let filter = TopicFilter::parse(filter, TopicLimits::default()).unwrap();
        mqtt.subscribe(&filter, QoS::AtLeastOnce).await.unwrap();
    }
    mqtt
}

/// A product with a device `dev1`; its key.
pub(super) async fn registered(api: &Api) -> String {
    let own = [("ProductName", "meters"), ("NodeType", "0"), ("DataFormat", "1")];
    let pk = api.ok("CreateProduct", &own).await["ProductKey"].as_str().unwrap().to_owned();
    api.ok("RegisterDevice", &[("ProductKey", &pk), ("DeviceName", "dev1")]).await;
    pk
}

/// What a device is told next on a topic that ends so.
pub(super) async fn told(mqtt: &mut Mqtt, end: &str) -> Value {
    loop {
        let told = tokio::time::timeout(PATIENCE, mqtt.next()).await.unwrap().unwrap();
        if told.topic.ends_with(end) {
            return serde_json::from_slice(&told.payload).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_finds_what_was_desired_while_it_was_away() {
    let daemon = Daemon::start(CONFIG, &[]);
    let api = Api::of(&daemon);
    let pk = registered(&api).await;
    let target = [("ProductKey", &*pk), ("DeviceName", "dev1")];
    let set = async |items: &str| {
        let own = [target[0], target[1], ("Items", items)];
        api.ok("SetDeviceDesiredProperty", &own).await["Data"]["MessageId"].clone()
    };
    set(r#"{"Power":1,"Level":2.50}"#).await;
    let mut mqtt = device_of(&daemon, &pk, "dev1").await;
    let ask = async |mqtt: &mut Mqtt, what: &str, params: &str| {
        let asked = topic(&format!("/sys/{pk}/dev1/thing/property/desired/{what}"));
        let payload = format!(r#"{{"id":"1","version":"1.0","params":{params}}}"#);
        mqtt.publish(&asked, payload.as_bytes(), QoS::AtMostOnce, false).await.unwrap();
        mqtt.flush().await.unwrap();
        told(mqtt, &format!("desired/{what}_reply")).await
    };
    let found = ask(&mut mqtt, "get", r#"["Power","Level"]"#).await;
    assert_eq!(found["code"], 200);
    assert_eq!(
        found["data"].to_string(),
        r#"{"Level":{"value":2.50,"version":1},"Power":{"value":1,"version":1}}"#
    );
    // One that is there is told at once.
    let id = set(r#"{"Power":0}"#).await;
    let pushed = told(&mut mqtt, "thing/service/property/set").await;
    assert_eq!((&pushed["id"], &pushed["params"]), (&id, &json!({ "Power": 0 })));
    let seen = ask(&mut mqtt, "delete", r#"{"Power":{"version":1},"Level":{"version":1}}"#).await;
    assert_eq!(seen["code"], 200);
    let left = api.ok("QueryDeviceDesiredProperty", &target).await;
    let left = &left["Data"]["List"]["DesiredPropertyInfo"];
    assert_eq!((&left[0]["Value"], &left[0]["Version"]), (&json!("0"), &json!(2)));
    assert_eq!(left.as_array().map(Vec::len), Some(1), "{left}");
}

/// Answers everything that a device is asked, in the form in which it is asked.
async fn obey(mut mqtt: Mqtt) {
    loop {
        let asked = mqtt.next().await.unwrap();
        let text = asked.topic.to_string();
        let answered = if text == "/ping" {
            "/pong".to_owned()
        } else if text.contains("/rrpc/request/") {
            text.replace("/request/", "/response/")
        } else if text.contains("/thing/service/") && !text.ends_with("_reply") {
            format!("{text}_reply")
        } else {
            continue;
        };
        let payload = match serde_json::from_slice::<Value>(&asked.payload) {
            Ok(asked) => {
                json!({ "id": asked["id"], "code": 200, "data": asked["params"] }).to_string()
            }
            Err(_) => String::from_utf8_lossy(&asked.payload).chars().rev().collect(),
        };
        mqtt.publish(&topic(&answered), payload.as_bytes(), QoS::AtMostOnce, false).await.unwrap();
        mqtt.flush().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_does_what_it_is_asked() {
    let daemon = Daemon::start(CONFIG, &[RULES]);
    let api = Api::of(&daemon);
    let playing = tokio::spawn(obey(device(&daemon, "dev1").await));
    let target = [("ProductKey", "a1Pk"), ("DeviceName", "dev1")];
    let call = async |action: &str, own: &[(&str, &str)]| {
        let own: Vec<_> = target.iter().chain(own).copied().collect();
        api.ok(action, &own).await
    };
    let service = [("Identifier", "Blink"), ("Args", r#"{"n":2}"#)];
    let done = call("InvokeThingService", &service).await;
    let id = done["Data"]["MessageId"].as_str().unwrap();
    let result: Value = serde_json::from_str(done["Data"]["Result"].as_str().unwrap()).unwrap();
    assert_eq!(result, json!({ "id": id, "code": 200, "data": { "n": 2 } }));
    let done = call("RRpc", &[("RequestBase64Byte", "aGVsbG8="), ("Timeout", "5000")]).await;
    assert_eq!(
        (&done["RrpcCode"], &done["PayloadBase64Byte"]),
        (&json!("SUCCESS"), &json!("b2xsZWg="))
    );
    let done = call("SetDeviceProperty", &[("Items", r#"{"Level":1}"#)]).await;
    let set = done["Data"]["MessageId"].as_str().unwrap().to_owned();
    let many = [("ProductKey", "a1Pk"), ("DeviceName.1", "dev1"), service[0], service[1]];
    api.ok("InvokeThingsService", &many).await;
    let replies = daemon.lines("replies.jsonl", 2);
    let replies: Vec<Value> =
        replies.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(replies[0]["requestId"].to_string(), set);
    assert_eq!(replies[0]["topic"], "/sys/a1Pk/dev1/thing/service/property/set");
    assert_eq!(replies[1]["topic"], "/sys/a1Pk/dev1/thing/service/Blink");
    assert_eq!(replies[1]["data"], json!({ "n": 2 }));
    // A device that nobody knows, and that is not there.
    let own = [("ProductKey", "a1Pk"), ("DeviceName", "dev2"), service[0], service[1]];
    let answer = api.call("InvokeThingService", &own).await;
    assert_eq!(answer["Code"], "iot.device.NotExistedDevice");
    let body =
        br#"{"product_id":"a1Pk","device_name":"dev1","identifier":"Blink","params":{"a":1}}"#;
    let head = [("Authorization", "Bearer test-admin:testsecret")];
    let answer = api.client.send("POST", "/thingmodel/call-service", &head, body).await.json();
    assert_eq!((&answer["code"], &answer["data"]), (&json!(200), &json!({ "a": 1 })));
    playing.abort();
}

#[tokio::test]
async fn a_message_of_the_api_reaches_its_subscribers_and_rules() {
    let rules = "rules:\n  - name: all_of_one\n    sql: SELECT text FROM \"/a1Pk/+/user/get\"\n    actions: [{ file: { path: got.jsonl } }]\n";
    let daemon = Daemon::start(CONFIG, &[("rules/test.yaml", rules)]);
    let mut mqtt = device(&daemon, "dev1").await;
    let filter = TopicFilter::parse("/a1Pk/dev1/user/get", TopicLimits::default()).unwrap();
    mqtt.subscribe(&filter, QoS::AtLeastOnce).await.unwrap();
    let own = [
        ("ProductKey", "a1Pk"),
        ("TopicFullName", "/a1Pk/dev1/user/get"),
        ("MessageContent", "eyJ0ZXh0IjoiaGkifQ=="),
        ("Qos", "1"),
    ];
    Api::of(&daemon).ok("Pub", &own).await;
    let got = tokio::time::timeout(PATIENCE, mqtt.next()).await.unwrap().unwrap();
    assert_eq!((got.qos, &got.payload[..]), (1, &br#"{"text":"hi"}"#[..]));
    assert_eq!(daemon.lines("got.jsonl", 1)[0], r#"{"text":"hi"}"#);
}

const MODEL: &str = r#"
properties:
  - identifier: Level
    dataType: { type: int, specs: { min: "0", max: "10" } }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_of_the_configuration_sorts_out_what_does_not_fit() {
    let config = format!("{CONFIG}things: {{ a1Pk: model.yaml }}\n");
    let daemon = Daemon::start(&config, &[RULES, ("model.yaml", MODEL)]);
    let mut mqtt = device(&daemon, "dev1").await;
    let post = topic("/sys/a1Pk/dev1/thing/event/property/post");
    let payload = br#"{"id":"1","params":{"Level":11,"Heat":1}}"#;
    mqtt.publish(&post, payload, QoS::AtLeastOnce, false).await.unwrap();
    mqtt.flush().await.unwrap();
    // It hears itself, too.
    let told = loop {
        let told = tokio::time::timeout(PATIENCE, mqtt.next()).await.unwrap().unwrap();
        if told.topic.ends_with("_reply") {
            break told;
        }
    };
    let told: Value = serde_json::from_slice(&told.payload).unwrap();
    assert_eq!((&told["code"], &told["id"]), (&json!(200), &json!("1")));
    let posted: Value = serde_json::from_str(&daemon.lines("posts.jsonl", 1)[0]).unwrap();
    assert_eq!(posted["items"], json!({}));
    assert_eq!(posted["checkFailedData"]["Level"]["code"], 6306);
    assert_eq!(posted["checkFailedData"]["Heat"]["code"], 6304);
    let answer = Api::of(&daemon).call("ImportThingModelTsl", &[("ProductKey", "a1Pk")]).await;
    assert_eq!(answer["Code"], "iot.prod.NotExistedProduct", "{answer}");
}

#[test]
fn a_bad_model_keeps_the_program_from_starting_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        "listen: { mqtt: \"127.0.0.1:0\", http: \"127.0.0.1:0\" }\nthings: { a1Pk: model.yaml }\n";
    std::fs::write(folder.path().join("tidegate.yaml"), config).unwrap();
    std::fs::write(folder.path().join("model.yaml"), MODEL.replace("int", "number")).unwrap();
    let (code, _, error) = super::run(folder.path(), &["run"], "");
    assert_ne!(code, 0);
    assert!(error.contains("model.yaml:4") && error.contains("`number`; expected int"), "{error}");
}

/// One HTTP request over a connection that is kept; the length of the answer's body.
fn request(stream: &mut BufReader<TcpStream>, target: &str) -> usize {
    let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    stream.get_mut().write_all(head.as_bytes()).unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["Success"], true, "{answer}");
    length
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// How long a synchronous service takes over loopback, beside a plain round trip over the same broker
/// between two clients. Prints the figures; the bound holds for release builds on a quiet machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_service_is_quick() {
    const CALLS: usize = 300;
    let daemon = Daemon::start(CONFIG, &[]);
    let api = Api::of(&daemon);
    let playing = tokio::spawn(obey(device(&daemon, "dev1").await));
    let mut asker = Mqtt::connect(("127.0.0.1", daemon.mqtt), Options::new("asker")).await.unwrap();
    let pong = TopicFilter::parse("/pong", TopicLimits::default()).unwrap();
    asker.subscribe(&pong, QoS::AtMostOnce).await.unwrap();
    let mut plain = Vec::new();
    for _ in 0..CALLS {
        let start = Instant::now();
        asker.publish(&topic("/ping"), b"ping", QoS::AtMostOnce, false).await.unwrap();
        asker.flush().await.unwrap();
        asker.next().await.unwrap();
        plain.push(start.elapsed());
    }
    let own = [
        ("ProductKey", "a1Pk"),
        ("DeviceName", "dev1"),
        ("Identifier", "Blink"),
        ("Args", r#"{"n":2}"#),
    ];
    let targets: Vec<_> = (0..CALLS).map(|_| api.target("InvokeThingService", &own)).collect();
    let address = api.address;
    let service = tokio::task::spawn_blocking(move || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut stream = BufReader::new(stream);
        let time = |target: &String| {
            let start = Instant::now();
            request(&mut stream, target);
            start.elapsed()
        };
        targets.iter().map(time).collect::<Vec<_>>()
    });
    let (plain, service) = (median(plain), median(service.await.unwrap()));
    println!("figure sync_service_p50 {service:?}, plain MQTT round trip {plain:?}");
    assert!(service < Duration::from_millis(200), "{service:?}");
    playing.abort();
}
