//! Sinks that need no service: `file`, `log`, `republish`, and `http` against a server of our own.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use connectors::contract::{
    Confirms, DeliveryError, Env, FailureKind, Message, Outcome, Publisher, QoS, Record,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::outages::{Through, Way};
use super::suite::{self, Peer};
use super::{Folder, binary, env, record, record_of, sink, with_publisher};

fn n_of(text: &str) -> i64 {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    value["n"].as_i64().expect("a number n")
}

fn poison(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Poison(error) => &error.message,
        other => panic!("not poison: {other:?}"),
    }
}

// --- file -----------------------------------------------------------------------------------------

struct FilePeer(Folder);

#[async_trait::async_trait]
impl Peer for FilePeer {
    fn connector(&self) -> &'static str {
        "file"
    }

    fn env(&self) -> Env {
        env(self.0.path())
    }

    fn settings(&self, place: &str) -> Value {
        json!({ "path": format!("some/folder/{place}.jsonl"), "sync": "batch" })
    }

    fn unreachable(&self) -> Option<(Env, Value)> {
        None
    }

    async fn received(&self, place: &str, _: usize) -> Vec<i64> {
        let path = self.0.path().join(format!("some/folder/{place}.jsonl"));
        std::fs::read_to_string(path).expect("the file").lines().map(n_of).collect()
    }
}

#[tokio::test]
async fn file_conforms() {
    suite::run(&FilePeer(Folder::new())).await;
}

#[tokio::test]
async fn file_keeps_one_record_a_line_and_follows_rotation() {
    let folder = Folder::new();
    let env = env(folder.path());
    let file = sink("file", &json!({ "path": "a.jsonl" }), &env).expect("settings");
    let path = folder.path().join("a.jsonl");
    let lines = [record("{\"t\": 1,\n \"s\": \"x\\ny\"}"), binary(&[0, 255, 10])];
    assert_eq!(file.deliver(&lines).await, [Outcome::Ok, Outcome::Ok]);
    let text = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(text, "{\"t\": 1,  \"s\": \"x\\ny\"}\n{\"base64\":\"AP8K\"}\n");

    std::fs::rename(&path, folder.path().join("a.jsonl.1")).expect("rotated");
    assert_eq!(file.deliver(&[record("{}")]).await, [Outcome::Ok]);
    assert_eq!(std::fs::read_to_string(&path).expect("the new file"), "{}\n");
}

#[cfg(unix)]
#[tokio::test]
async fn file_writes_to_what_is_no_file() {
    let folder = Folder::new();
    let settings = json!({ "path": "/dev/null", "sync": "batch" });
    let file = sink("file", &settings, &env(folder.path())).expect("settings");
    assert_eq!(file.deliver(&[record("{}")]).await, [Outcome::Ok]);
}

#[tokio::test]
async fn sinks_say_when_they_do_not_know_what_is_kept() {
    let folder = Folder::new();
    let env = with_publisher(env(folder.path()), Arc::new(Published::default()));
    let cases = [
        ("file", json!({ "path": "a.jsonl" }), Confirms::Kept),
        ("file", json!({ "path": "a.jsonl", "sync": "never" }), Confirms::HandedOver),
        ("log", json!({}), Confirms::HandedOver),
        ("republish", json!({ "topic": "/a" }), Confirms::Kept),
        ("republish", json!({ "topic": "/a", "qos": 0 }), Confirms::HandedOver),
        ("http", json!({ "url": "http://127.0.0.1/" }), Confirms::Kept),
    ];
    for (name, settings, want) in cases {
        let sink = sink(name, &settings, &env).expect("settings");
        assert_eq!(sink.confirms(), want, "{name} {settings}");
    }
}

#[tokio::test]
async fn file_says_what_is_in_the_way() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("plain"), "").expect("a file");
    let env = env(folder.path());
    let below = sink("file", &json!({ "path": "plain/a.jsonl" }), &env).expect("settings");
    let outcomes = below.deliver(&[record("{}")]).await;
    assert!(matches!(&outcomes[0], Outcome::Misconfigured(e) if e.message.contains("plain")));
}

// --- log ------------------------------------------------------------------------------------------

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("lock").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct LogPeer(Folder, Written);

#[async_trait::async_trait]
impl Peer for LogPeer {
    fn connector(&self) -> &'static str {
        "log"
    }

    fn env(&self) -> Env {
        env(self.0.path())
    }

    fn settings(&self, place: &str) -> Value {
        json!({ "message": format!("{place}={{\"n\":${{n}}}}"), "level": "warn" })
    }

    fn unreachable(&self) -> Option<(Env, Value)> {
        None
    }

    async fn received(&self, place: &str, _: usize) -> Vec<i64> {
        let text = String::from_utf8(self.1.0.lock().expect("lock").clone()).expect("text");
        let start = format!("{place}=");
        let of = |line: &str| {
            let (_, json) = line.split_once(&start)?;
            let (json, _) = json.split_once(" rule=")?;
            Some(n_of(json))
        };
        text.lines().filter_map(of).collect()
    }
}

#[tokio::test]
async fn log_conforms() {
    let written = Written::default();
    let lines = written.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || lines.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let peer = LogPeer(Folder::new(), written.clone());
    suite::run(&peer).await;

    let plain = sink("log", &json!({}), &peer.env()).expect("settings");
    let outcomes = plain.deliver(&[record("{\"forged\":\n\"line\"}"), binary(b"x")]).await;
    assert_eq!(outcomes, [Outcome::Ok, Outcome::Ok]);
    let text = String::from_utf8(written.0.lock().expect("lock").clone()).expect("text");
    assert!(text.contains("tidegate::action: {\"forged\": \"line\"}"), "{text}");
    assert!(text.contains("{\"base64\":\"eA==\"}"), "{text}");
}

// --- republish ------------------------------------------------------------------------------------

/// Stands in for the broker: keeps what was published.
#[derive(Default)]
pub struct Published(Mutex<Vec<Message>>);

#[async_trait::async_trait]
impl Publisher for Published {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), DeliveryError> {
        if messages.iter().any(|message| message.topic.as_str() == "/full") {
            return Err(DeliveryError::new(FailureKind::Busy, "the queue is full"));
        }
        self.0.lock().expect("lock").extend(messages);
        Ok(())
    }
}

struct RepublishPeer(Folder, Arc<Published>);

#[async_trait::async_trait]
impl Peer for RepublishPeer {
    fn connector(&self) -> &'static str {
        "republish"
    }

    fn env(&self) -> Env {
        with_publisher(env(self.0.path()), self.1.clone())
    }

    fn settings(&self, place: &str) -> Value {
        json!({ "topic": format!("/{place}/${{device}}") })
    }

    fn unreachable(&self) -> Option<(Env, Value)> {
        None
    }

    fn poison(&self) -> Option<Record> {
        Some(record(r#"{"n":9}"#))
    }

    async fn received(&self, place: &str, _: usize) -> Vec<i64> {
        let topic = format!("/{place}/dev1");
        let all = self.1.0.lock().expect("lock");
        let here = all.iter().filter(|message| message.topic.as_str() == topic);
        here.map(|message| n_of(std::str::from_utf8(&message.payload).expect("text"))).collect()
    }
}

#[tokio::test]
async fn republish_conforms() {
    suite::run(&RepublishPeer(Folder::new(), Arc::default())).await;
}

#[tokio::test]
async fn republish_counts_hops_and_guards_topics() {
    let (folder, published) = (Folder::new(), Arc::new(Published::default()));
    let env = with_publisher(env(folder.path()), published.clone());
    let settings = json!({ "topic": "/a1Pk/${device}/user/alert", "payload": "{\"t\":${t}}" });
    let alert = sink("republish", &settings, &env).expect("settings");
    let outcomes = alert
        .deliver(&[
            record(r#"{"device":"dev1","t":39.0}"#),
            record(r#"{"device":"a/b","t":1}"#),
            record(r#"{"t":1}"#),
            hopped(8),
            hopped(7),
        ])
        .await;
    assert_eq!((&outcomes[0], &outcomes[4]), (&Outcome::Ok, &Outcome::Ok));
    assert!(poison(&outcomes[1]).contains("'/'"));
    assert!(poison(&outcomes[2]).contains("missing"));
    assert!(poison(&outcomes[3]).starts_with("hop limit reached"));
    let sent = published.0.lock().expect("lock");
    let first = &sent[0];
    assert_eq!(first.topic.as_str(), "/a1Pk/dev1/user/alert");
    assert_eq!(first.payload, r#"{"t":39.0}"#);
    assert_eq!((first.qos, first.retain, first.hops), (QoS::AtLeastOnce, false, 1));
    assert_eq!(first.received_ms, 1_784_000_000_000);
    assert_eq!(first.origin.source.as_deref(), Some("republish"));
    assert_eq!(sent[1].hops, 8);
}

fn hopped(hops: u8) -> Record {
    let message = Message { hops, ..record("{}").message().clone() };
    let batch: Arc<[Message]> = vec![message].into();
    let body = r#"{"device":"dev1","t":1}"#.into();
    Record::new(batch, 0, "a_rule".into(), connectors::contract::Body::Json, body)
}

#[tokio::test]
async fn republish_passes_on_that_the_broker_is_full() {
    let folder = Folder::new();
    let env = with_publisher(env(folder.path()), Arc::new(Published::default()));
    let full = sink("republish", &json!({ "topic": "/${to}" }), &env).expect("settings");
    let to = |to: &str| record(&format!(r#"{{"to":"{to}"}}"#));
    let outcomes = full.deliver(&[to("a"), record("{}"), to("full")]).await;
    // They go together, or not at all; what can't be published is told apart.
    for busy in [&outcomes[0], &outcomes[2]] {
        assert!(matches!(busy, Outcome::Retry(error) if error.kind == FailureKind::Busy));
    }
    assert!(poison(&outcomes[1]).contains("missing"));
    assert_eq!(full.deliver(&[to("a")]).await, [Outcome::Ok]);
}

// --- http -----------------------------------------------------------------------------------------

/// Method and path, headers, body.
type Seen = (String, Vec<(String, String)>, String);

/// A server that notes requests. `/status/N` answers N, `/wait` answers when the test says so.
#[derive(Clone)]
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Seen>>>,
    go: Arc<Semaphore>,
}

impl Server {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = Self {
            address: listener.local_addr().expect("an address").to_string(),
            requests: Arc::default(),
            go: Arc::new(Semaphore::new(0)),
        };
        let app = axum::Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    fn url(&self, rest: &str) -> String {
        format!("http://{}{rest}", self.address)
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    let path = request.uri().path().to_owned();
    let header = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap_or("").to_owned())
    };
    let headers = request.headers().iter().map(header).collect();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.expect("a body");
    let body = String::from_utf8_lossy(&body).into_owned();
    if !line.starts_with("HEAD") {
        server.requests.lock().expect("lock").push((line, headers, body));
    }
    if path == "/wait" {
        server.go.acquire().await.expect("open").forget();
    }
    let status = path.strip_prefix("/status/").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = StatusCode::from_u16(status.unwrap_or(200)).expect("a status");
    (status, "x".repeat(300)).into_response()
}

struct HttpPeer(Folder, Server);

#[async_trait::async_trait]
impl Peer for HttpPeer {
    fn connector(&self) -> &'static str {
        "http"
    }

    fn env(&self) -> Env {
        env(self.0.path())
    }

    fn settings(&self, place: &str) -> Value {
        json!({ "url": self.1.url(&format!("/{place}")) })
    }

    fn unreachable(&self) -> Option<(Env, Value)> {
        Some((self.env(), json!({ "url": "http://127.0.0.1:1/x", "timeout": "2s" })))
    }

    async fn way(&self) -> Option<Way> {
        Some(Way::to(self.1.address.clone()))
    }

    fn through(&self, place: &str, proxy: SocketAddr) -> Through {
        let settings = json!({ "url": format!("http://{proxy}/{place}"), "timeout": "1s" });
        Through { env: self.env(), settings }
    }

    async fn received(&self, place: &str, _: usize) -> Vec<i64> {
        let line = format!("POST /{place}");
        let all = self.1.requests.lock().expect("lock");
        all.iter().filter(|(l, _, _)| *l == line).map(|(_, _, body)| n_of(body)).collect()
    }
}

#[tokio::test]
async fn http_conforms() {
    suite::run(&HttpPeer(Folder::new(), Server::start().await)).await;
}

#[tokio::test]
async fn http_encodes_values_and_sends_headers() {
    let (folder, server) = (Folder::new(), Server::start().await);
    let settings = json!({
        "url": server.url("/f/${device}?q=${q}"), "method": "put",
        "headers": { "x-device": "${device}" }, "body": "{\"t\":${t},\"text\":\"is ${q}\"}",
    });
    let http = sink("http", &settings, &env(folder.path())).expect("settings");
    let outcomes = http
        .deliver(&[
            record(r#"{"device":"d1","q":"a b/&温","t":1.50}"#),
            record(r#"{"device":"..","q":"x","t":1}"#),
            record(r#"{"device":"a\r\nb","q":"x","t":1}"#),
            record(r#"{"q":"x"}"#),
        ])
        .await;
    assert_eq!(outcomes[0], Outcome::Ok);
    for outcome in &outcomes[1..] {
        poison(outcome);
    }
    let requests = server.requests.lock().expect("lock");
    let [(line, headers, body)] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(line, "PUT /f/d1?q=a%20b%2F%26%E6%B8%A9");
    assert!(headers.contains(&("x-device".into(), "d1".into())), "{headers:?}");
    assert!(headers.contains(&("content-type".into(), "application/json".into())), "{headers:?}");
    assert_eq!(body, r#"{"t":1.50,"text":"is a b/&温"}"#);
}

#[tokio::test]
async fn http_answers_are_told_apart() {
    let (folder, server) = (Folder::new(), Server::start().await);
    let settings = json!({ "url": server.url("/status/${s}?token=hunter2") });
    let http = sink("http", &settings, &env(folder.path())).expect("settings");
    let cases = [
        (204, None),
        (302, Some(FailureKind::Misconfigured)),
        (400, Some(FailureKind::Rejected)),
        (401, Some(FailureKind::Denied)),
        (403, Some(FailureKind::Denied)),
        // The record has named the path: only it is to blame.
        (404, Some(FailureKind::Rejected)),
        (405, Some(FailureKind::Misconfigured)),
        (408, Some(FailureKind::Timeout)),
        (413, Some(FailureKind::Rejected)),
        (425, Some(FailureKind::Busy)),
        (429, Some(FailureKind::Busy)),
        (500, Some(FailureKind::Unreachable)),
        (503, Some(FailureKind::Busy)),
    ];
    for (status, want) in cases {
        let outcomes = http.deliver(&[record(&format!(r#"{{"s":{status}}}"#))]).await;
        let kind = match &outcomes[0] {
            Outcome::Ok => None,
            Outcome::Retry(e) | Outcome::Misconfigured(e) | Outcome::Poison(e) => {
                assert!(!e.message.contains("hunter2") && e.message.len() < 350, "{e}");
                Some(e.kind)
            }
        };
        assert_eq!(kind, want, "{status}");
    }
    let settings = json!({ "url": server.url("/status/404") });
    let http = sink("http", &settings, &env(folder.path())).expect("settings");
    let outcomes = http.deliver(&[record("{}"), record("{}")]).await;
    assert!(outcomes.iter().all(|o| matches!(o, Outcome::Misconfigured(_))), "{outcomes:?}");
    let sent = server.requests.lock().expect("lock").len();
    assert_eq!(sent, cases.len() + 1, "nothing overtakes what waits for the configuration");
}

#[tokio::test]
async fn http_says_which_record_it_is_about() {
    let (folder, server) = (Folder::new(), Server::start().await);
    let own = json!({ "url": server.url("/x"), "headers": { "idempotency-key": "${k}" } });
    for settings in [json!({ "url": server.url("/x") }), own] {
        let http = sink("http", &settings, &env(folder.path())).expect("settings");
        let one = record(r#"{"k":"mine"}"#).bound_for(&"http_2".into());
        for _ in 0..2 {
            assert_eq!(http.deliver(&[one.clone(), one.clone().numbered(1)]).await.len(), 2);
        }
    }
    let requests = server.requests.lock().expect("lock");
    let key = |(_, headers, _): &Seen| {
        headers.iter().find(|(name, _)| name == "idempotency-key").map(|(_, value)| value.clone())
    };
    let keys: Vec<String> = requests.iter().filter_map(key).collect();
    let (first, second) = ("a_rule/http_2/7", "a_rule/http_2/7/1");
    assert_eq!(keys, [first, second, first, second, "mine", "mine", "mine", "mine"]);
}

#[tokio::test]
async fn http_keeps_the_order_of_a_device_and_lets_others_pass() {
    let (folder, server) = (Folder::new(), Server::start().await);
    let settings = json!({ "url": server.url("${path}"), "timeout": "60s" });
    let error = sink("http", &settings, &env(folder.path())).map(drop).expect_err("a host");
    assert!(error.to_string().contains("host"), "{error}");

    let settings = json!({ "url": server.url("/${path}"), "timeout": "60s" });
    let http = sink("http", &settings, &env(folder.path())).expect("settings");
    let of = |device: &str, path: &str| {
        record_of(&format!("/pk/{device}/data"), &format!(r#"{{"path":"{path}"}}"#))
    };
    let records = [of("d1", "wait"), of("d1", "after"), of("d2", "other")];
    let delivery = tokio::spawn(async move { http.deliver(&records).await });
    let lines = || -> Vec<String> {
        server.requests.lock().expect("lock").iter().map(|(line, _, _)| line.clone()).collect()
    };
    while lines().len() < 2 {
        tokio::task::yield_now().await;
    }
    let mut early = lines();
    early.sort();
    assert_eq!(early, ["POST /other", "POST /wait"]);
    server.go.add_permits(1);
    assert_eq!(delivery.await.expect("delivered"), vec![Outcome::Ok; 3]);
    assert_eq!(lines().last().map(String::as_str), Some("POST /after"));
}

#[tokio::test]
async fn http_gives_up_in_time_and_sends_nothing_after_it() {
    let (folder, server) = (Folder::new(), Server::start().await);
    let settings = json!({ "url": server.url("/wait"), "timeout": "100ms" });
    let http = sink("http", &settings, &env(folder.path())).expect("settings");
    let records = [record("{}"), record("{}")];
    let outcomes = tokio::time::timeout(Duration::from_secs(10), http.deliver(&records))
        .await
        .expect("in time");
    for outcome in &outcomes {
        assert!(matches!(outcome, Outcome::Retry(e) if e.kind == FailureKind::Unknown));
    }
    assert_eq!(server.requests.lock().expect("lock").len(), 1);
}
