//! The `mqtt` sink and source against Mosquitto, and against a broker of our own for faults.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use connectors::contract::{Env, FailureKind, Outcome, QoS, Record};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::inbox::{Inbox, Running, texts};
use super::outages::{Through, Way};
use super::source_suite::{self, SourcePeer};
use super::suite::{self, Peer};
use super::{Folder, env, record, sink, unique, with_connection};
use crate::services::service;

pub(crate) struct MqttPeer {
    folder: Folder,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl MqttPeer {
    pub(crate) fn new() -> Option<Self> {
        let address = service("Mosquitto", "TIDEGATE_TEST_MOSQUITTO")?;
        let (host, port) = address.rsplit_once(':').expect("host:port");
        let port = port.parse().expect("a port");
        Some(Self { folder: Folder::new(), host: host.to_owned(), port })
    }

    fn env_as(&self, client_id: Option<&str>) -> Env {
        let mut settings = json!({ "host": self.host, "port": self.port });
        if let Some(client_id) = client_id {
            settings["client_id"] = client_id.into();
        }
        with_connection(env(self.folder.path()), "mqtt", &settings)
    }

    /// Runs one of Mosquitto's clients to its end.
    async fn client(&self, program: &str, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new(program)
            .args(["-h", &self.host, "-p", &port])
            .args(arguments)
            .stdin(Stdio::null())
            .output();
        let output = output.await.expect("mosquitto-clients are installed");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program} {arguments:?}: {text}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// A session that keeps what is published to a topic, for `kept`.
    async fn keep(&self, topic: &str) {
        let id = format!("keeper_{}", topic.replace('/', "_"));
        self.client("mosquitto_sub", &["-i", &id, "-c", "-q", "1", "-t", topic, "-E"]).await;
    }

    async fn kept(&self, topic: &str, count: usize) -> Vec<String> {
        let id = format!("keeper_{}", topic.replace('/', "_"));
        let count = count.to_string();
        let arguments = [
            "-i",
            &id,
            "-c",
            "-q",
            "1",
            "-t",
            topic,
            "-C",
            &count,
            "-W",
            "30",
            "-F",
            "%q %r %t %p",
        ];
        let text = self.client("mosquitto_sub", &arguments).await;
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) async fn publish(&self, topic: &str, payloads: &[&str]) {
        for payload in payloads {
            self.client("mosquitto_pub", &["-q", "1", "-t", topic, "-m", payload]).await;
        }
    }

    /// Publishes numbers over one connection.
    async fn publish_numbers(&self, topic: &str, from: usize, to: usize) {
        let port = self.port.to_string();
        let mut client = Command::new("mosquitto_pub")
            .args(["-h", &self.host, "-p", &port, "-q", "1", "-t", topic, "-l"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("mosquitto-clients are installed");
        let lines: String = (from..to).map(|n| format!("{n}\n")).collect();
        let mut input = client.stdin.take().expect("a pipe");
        input.write_all(lines.as_bytes()).await.expect("written");
        drop(input);
        assert!(client.wait().await.expect("its end").success());
    }

    fn source(&self, filter: &str) -> Value {
        json!({ "connection": "it", "filters": [filter] })
    }
}

#[async_trait::async_trait]
impl Peer for MqttPeer {
    fn connector(&self) -> &'static str {
        "mqtt"
    }

    fn env(&self) -> Env {
        self.env_as(None)
    }

    fn settings(&self, place: &str) -> Value {
        json!({ "connection": "it", "topic": format!("{place}/${{device}}") })
    }

    fn unreachable(&self) -> Option<(Env, Value)> {
        let nobody = json!({ "host": "127.0.0.1", "port": 1 });
        Some((with_connection(env(self.folder.path()), "mqtt", &nobody), self.settings("anything")))
    }

    fn poison(&self) -> Option<Record> {
        Some(record(r#"{"n":9}"#))
    }

    async fn way(&self) -> Option<Way> {
        Some(Way::to(format!("{}:{}", self.host, self.port)))
    }

    fn through(&self, place: &str, proxy: SocketAddr) -> Through {
        let settings = json!({ "host": proxy.ip().to_string(), "port": proxy.port() });
        let env = with_connection(env(self.folder.path()), "mqtt", &settings);
        Through { env, settings: self.settings(place) }
    }

    async fn received_at_least_once(&self, place: &str, count: usize) -> Vec<i64> {
        let mut seen: Vec<i64> = Vec::new();
        loop {
            let distinct = seen.iter().collect::<std::collections::BTreeSet<_>>().len();
            if distinct >= count {
                return seen;
            }
            seen.extend(self.received(place, count - distinct).await);
        }
    }

    async fn prepare(&self, place: &str) {
        self.keep(&format!("{place}/dev1")).await;
    }

    async fn received(&self, place: &str, count: usize) -> Vec<i64> {
        let n = |line: &String| {
            let (_, json) = line.split_once("/dev1 ").expect("the topic");
            serde_json::from_str::<Value>(json).expect("json")["n"].as_i64().expect("n")
        };
        self.kept(&format!("{place}/dev1"), count).await.iter().map(n).collect()
    }
}

#[tokio::test]
async fn mqtt_sink_conforms() {
    let Some(peer) = MqttPeer::new() else { return };
    suite::run(&peer).await;
}

#[tokio::test]
async fn mqtt_sink_publishes_as_it_is_told() {
    let Some(peer) = MqttPeer::new() else { return };
    let place = unique("told");
    let env = peer.env();
    let settings = json!({ "connection": "it", "topic": place, "qos": 0, "retain": true });
    let retained = sink("mqtt", &settings, &env).expect("settings");
    assert_eq!(retained.deliver(&[record("{}")]).await, [Outcome::Ok]);
    let template = json!({ "connection": "it", "topic": "x/${d}" });
    let template = sink("mqtt", &template, &env).expect("settings");
    let outcomes = template.deliver(&[record(r#"{"d":"a/b"}"#), record("{}")]).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Poison(_))), "{outcomes:?}");
    // A QoS 1 delivery over the same connection has come behind the QoS 0 one.
    assert_eq!(template.deliver(&[record(r#"{"d":"a"}"#)]).await, [Outcome::Ok]);
    let arguments = ["-t", &place, "-C", "1", "-W", "30", "-F", "%r %p"];
    let text = peer.client("mosquitto_sub", &arguments).await;
    assert_eq!(text, "1 {}\n");
}

/// A broker that answers CONNECT, and each PUBLISH with the given reason, or not at all.
struct OddBroker {
    port: u16,
}

impl OddBroker {
    async fn start(puback: Option<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Self::serve(stream, puback));
            }
        });
        Self { port }
    }

    async fn serve(mut stream: TcpStream, puback: Option<u8>) -> Option<()> {
        loop {
            let (kind, body) = read_packet(&mut stream).await?;
            match kind >> 4 {
                // CONNECT → CONNACK without properties.
                1 => stream.write_all(&[0x20, 3, 0, 0, 0]).await.ok()?,
                3 => {
                    let topic = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
                    let id = body.get(2 + topic..4 + topic)?;
                    if let Some(reason) = puback {
                        stream.write_all(&[0x40, 3, id[0], id[1], reason]).await.ok()?;
                    }
                }
                _ => {}
            }
        }
    }
}

/// The first byte and the body of an MQTT packet.
async fn read_packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await.ok()?;
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((kind, body))
}

#[tokio::test]
async fn mqtt_sink_counts_nothing_as_delivered_before_puback() {
    let broker = OddBroker::start(None).await;
    let folder = Folder::new();
    let settings = json!({ "host": "127.0.0.1", "port": broker.port });
    let env = with_connection(env(folder.path()), "mqtt", &settings);
    let silent = sink("mqtt", &json!({ "connection": "it", "topic": "t" }), &env).expect("sink");
    silent.check().await.expect("it connects");
    for _ in 0..2 {
        let records = [record("{}")];
        let delivery = silent.deliver(&records);
        let outcome = tokio::time::timeout(Duration::from_millis(300), delivery).await;
        assert!(outcome.is_err(), "no PUBACK has come: {outcome:?}");
    }
    // The deadlines that passed cost the connection; the next one is fresh.
    silent.check().await.expect("it connects again");
}

#[tokio::test]
async fn mqtt_sink_tells_refusals_apart() {
    let cases = [
        (0x00, None),
        (0x10, None),
        (0x87, Some(FailureKind::Denied)),
        (0x90, Some(FailureKind::Rejected)),
        (0x97, Some(FailureKind::Busy)),
        (0x99, Some(FailureKind::Rejected)),
    ];
    for (reason, want) in cases {
        let broker = OddBroker::start(Some(reason)).await;
        let folder = Folder::new();
        let settings = json!({ "host": "127.0.0.1", "port": broker.port });
        let env = with_connection(env(folder.path()), "mqtt", &settings);
        let odd = sink("mqtt", &json!({ "connection": "it", "topic": "t" }), &env).expect("sink");
        let outcomes = odd.deliver(&[record("{}")]).await;
        let kind = match &outcomes[0] {
            Outcome::Ok => None,
            Outcome::Retry(e) | Outcome::Misconfigured(e) | Outcome::Poison(e) => Some(e.kind),
        };
        assert_eq!(kind, want, "{reason:#x}: {outcomes:?}");
    }
}

#[tokio::test]
async fn mqtt_source_acknowledges_only_what_was_accepted() {
    let Some(peer) = MqttPeer::new() else { return };
    let place = unique("ack");
    let env = peer.env_as(Some(&place));
    let topic = format!("{place}/车间/1");
    let start = || Running::start("mqtt", &peer.source(&format!("{place}/#")), &env);
    // The session exists from here on; the broker keeps messages for it.
    let source = start();
    ready(&peer, &source, &format!("{place}/ready")).await;
    source.stop().await;

    peer.publish(&topic, &["1", "2", "3"]).await;
    let source = start();
    let batch = source.inbox.take().await;
    assert_eq!(
        (batch.messages[0].topic.as_str(), batch.messages[0].qos),
        (&*topic, QoS::AtLeastOnce)
    );
    // Stopped without being accepted, and then refused: both times they come again.
    source.stop().await;
    drop(batch);
    let source = start();
    drop(source.inbox.take().await);
    assert_eq!(source.inbox.accept_until("3").await, ["1", "2", "3"]);
    source.stop().await;

    peer.publish(&topic, &["last"]).await;
    let source = start();
    assert_eq!(source.inbox.accept_until("last").await, ["last"]);
    source.stop().await;
}

/// Publishes to a topic of the source until it hears it: the subscription stands. At QoS 0, so that
/// the broker keeps none of it.
async fn ready(peer: &MqttPeer, source: &Running, topic: &str) {
    let heard = async {
        loop {
            let messages = source.inbox.accept(1).await;
            // What was sent to another topic may come late.
            if messages.iter().any(|m| m.topic.as_str() == topic && m.payload == "ready") {
                return;
            }
        }
    };
    tokio::pin!(heard);
    let arguments = ["-t", topic, "-m", "ready"];
    loop {
        tokio::select! {
            () = &mut heard => return,
            _ = peer.client("mosquitto_pub", &arguments) => {}
        }
    }
}

/// The peer of the source.
struct MqttTopics(MqttPeer);

#[async_trait::async_trait]
impl SourcePeer for MqttTopics {
    fn connector(&self) -> &'static str {
        "mqtt"
    }

    async fn way(&self) -> Option<Way> {
        Some(Way::to(format!("{}:{}", self.0.host, self.0.port)))
    }

    fn env(&self, place: &str, proxy: Option<SocketAddr>) -> Env {
        let (host, port) = match proxy {
            Some(proxy) => (proxy.ip().to_string(), proxy.port()),
            None => (self.0.host.clone(), self.0.port),
        };
        let settings = json!({ "host": host, "port": port, "client_id": place });
        with_connection(env(self.0.folder.path()), "mqtt", &settings)
    }

    fn settings(&self, place: &str) -> Value {
        self.0.source(&format!("{place}/#"))
    }

    async fn prepare(&self, place: &str) {
        // The session exists from here on; the broker keeps messages for it.
        let (env, settings) = (self.env(place, None), self.settings(place));
        let source = Running::start("mqtt", &settings, &env);
        ready(&self.0, &source, &format!("{place}/ready")).await;
        source.stop().await;
    }

    async fn produce(&self, place: &str, from: usize, to: usize) {
        self.0.publish_numbers(&format!("{place}/n"), from, to).await;
    }
}

#[tokio::test]
async fn r11_mqtt_source_conforms() {
    let Some(peer) = MqttPeer::new() else { return };
    source_suite::run(&MqttTopics(peer)).await;
}

#[tokio::test]
async fn mqtt_source_takes_devices_and_limits_from_its_settings() {
    let Some(peer) = MqttPeer::new() else { return };
    let place = unique("device");
    let mut settings = peer.source(&format!("{place}/+"));
    settings["product_key"] = "pk".into();
    settings["device_name"] = "dn".into();
    let env = Env { payload_max: 10, ..peer.env() };
    let source = Running::start("mqtt", &settings, &env);
    ready(&peer, &source, &format!("{place}/a")).await;
    peer.publish(&format!("{place}/a"), &["far too long for it", "short"]).await;
    let seen = source.inbox.accept_until("short").await;
    assert!(seen.iter().all(|text| text == "ready" || text == "short"), "{seen:?}");
    peer.publish(&format!("{place}/a"), &["x"]).await;
    let message = source.inbox.accept(1).await.remove(0);
    assert_eq!((message.product_key(), message.device_name()), (Some("pk"), Some("dn")));
    source.stop().await;
}

#[tokio::test]
async fn mqtt_sources_share_a_subscription() {
    let Some(peer) = MqttPeer::new() else { return };
    let place = unique("share");
    let mut settings = peer.source(&format!("{place}/#"));
    settings["share"] = "group".into();
    let inbox = Inbox::new(1000);
    let start = || Running::start_into("mqtt", &settings, &peer.env(), inbox.clone());
    let (first, second) = (start(), start());
    ready(&peer, &first, &format!("{place}/r")).await;
    let payloads: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let texts: Vec<&str> = payloads.iter().map(String::as_str).collect();
    peer.publish(&format!("{place}/t"), &texts).await;
    let mut seen: Vec<String> = Vec::new();
    while !payloads.iter().all(|payload| seen.contains(payload)) {
        seen.extend(super::inbox::texts(&inbox.accept(1).await));
    }
    let mut numbers: Vec<_> = seen.into_iter().filter(|text| text != "ready").collect();
    numbers.sort_by_key(|n| n.parse::<i32>().expect("a number"));
    assert_eq!(numbers, payloads, "each message came once");
    first.stop().await;
    second.stop().await;
}

/// A Mosquitto of the test's own, to be killed and started again.
fn mosquitto(folder: &Folder, port: u16) -> Child {
    let conf = folder.path().join("conf");
    std::fs::write(&conf, format!("listener {port} 127.0.0.1\nallow_anonymous true\n"))
        .expect("conf");
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new("mosquitto")
        .env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"))
        .arg("-c")
        .arg(conf)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("mosquitto is installed")
}

#[tokio::test]
async fn mqtt_source_and_sink_survive_a_restart_of_the_broker() {
    if MqttPeer::new().is_none() {
        return;
    }
    let folder = Folder::new();
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let mut broker = mosquitto(&folder, port);
    let peer = MqttPeer { folder: Folder::new(), host: "127.0.0.1".into(), port };
    let settings = json!({ "connection": "it", "topic": "t", "qos": 1 });
    let sink = sink("mqtt", &settings, &peer.env()).expect("settings");
    let source = Running::start("mqtt", &peer.source("t"), &peer.env());
    let deliver = |text: &'static str| {
        let sink = sink.clone();
        async move { sink.deliver(&[record(text)]).await.remove(0) }
    };
    // The source may connect later than the sink: deliver until it hears.
    let until_heard = |text: &'static str| {
        let (deliver, inbox) = (&deliver, &source.inbox);
        async move {
            let heard = inbox.accept_until(text);
            tokio::pin!(heard);
            loop {
                tokio::select! {
                    _ = &mut heard => return,
                    outcome = deliver(text) => assert!(matches!(outcome, Outcome::Ok | Outcome::Retry(_))),
                }
            }
        }
    };
    until_heard("{\"n\":1}").await;
    broker.kill().await.expect("killed");
    let outcome = deliver("{\"n\":2}").await;
    assert!(matches!(&outcome, Outcome::Retry(_)), "{outcome:?}");
    let _broker = mosquitto(&folder, port);
    until_heard("{\"n\":3}").await;
    source.stop().await;
}

/// The next connection of a source to a broker of the test's own, from CONNECT to SUBACK.
async fn accept_source(listener: &TcpListener, session_present: bool) -> TcpStream {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let (kind, _) = read_packet(&mut stream).await.expect("CONNECT");
    assert_eq!(kind >> 4, 1);
    let conn_ack = [0x20, 3, u8::from(session_present), 0, 0];
    stream.write_all(&conn_ack).await.expect("written");
    let (kind, body) = read_packet(&mut stream).await.expect("SUBSCRIBE");
    assert_eq!(kind >> 4, 8);
    stream.write_all(&[0x90, 4, body[0], body[1], 0, 1]).await.expect("written");
    stream
}

/// Sends a message of QoS 1 on the topic `t`.
async fn send(stream: &mut TcpStream, id: u8, dup: bool, payload: &str) {
    let length = u8::try_from(6 + payload.len()).expect("short");
    let head = [0x32 | u8::from(dup) << 3, length, 0, 1, b't', 0, id, 0];
    stream.write_all(&[&head[..], payload.as_bytes()].concat()).await.expect("written");
}

/// The packet identifier of the next PUBACK; `None` when the source has closed.
async fn puback(stream: &mut TcpStream) -> Option<u8> {
    loop {
        let (kind, body) = read_packet(stream).await?;
        if kind >> 4 == 4 {
            return Some(body[1]);
        }
    }
}

async fn own_broker() -> (TcpListener, Folder, Env) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let folder = Folder::new();
    let settings = json!({ "host": "127.0.0.1", "port": port });
    let env = with_connection(env(folder.path()), "mqtt", &settings);
    (listener, folder, env)
}

#[tokio::test]
async fn r28_acknowledgements_keep_their_order_however_late_they_come() {
    let (listener, _folder, env) = own_broker().await;
    let settings = json!({ "connection": "it", "filters": ["t"] });
    let source = Running::start("mqtt", &settings, &env);
    let mut stream = accept_source(&listener, false).await;
    let mut held = Vec::new();
    for id in 1..=3 {
        // The same message twice is two messages: nothing is taken out of QoS 1.
        send(&mut stream, id, id == 2, "same").await;
        held.push(source.inbox.take().await);
    }
    for batch in held.drain(..).rev() {
        assert_eq!(texts(&batch.messages), ["same"]);
        batch.ack.accept();
    }
    for id in 1..=3 {
        assert_eq!(puback(&mut stream).await, Some(id));
    }
    source.stop().await;
}

#[tokio::test]
async fn r28_an_acknowledgement_does_not_outlive_its_connection() {
    let (listener, _folder, env) = own_broker().await;
    let settings = json!({ "connection": "it", "filters": ["t"] });
    let source = Running::start("mqtt", &settings, &env);
    let mut first = accept_source(&listener, false).await;
    send(&mut first, 7, false, "old").await;
    let old = source.inbox.take().await;
    drop(first);
    // The broker has lost the session and uses the identifier for another message.
    let mut second = accept_source(&listener, false).await;
    send(&mut second, 7, false, "new").await;
    let new = source.inbox.take().await;
    assert_eq!(texts(&new.messages), ["new"]);
    old.ack.accept();
    // Refused: no PUBACK, neither for this one nor the stale one, and a new connection instead, as a
    // broker sends nothing again on one that lives.
    drop(new);
    assert_eq!(puback(&mut second).await, None);
    let mut third = accept_source(&listener, true).await;
    send(&mut third, 7, true, "new").await;
    assert_eq!(texts(&source.inbox.accept(1).await), ["new"]);
    assert_eq!(puback(&mut third).await, Some(7));
    source.stop().await;
}

#[tokio::test]
async fn r28_a_broker_that_forgets_everything_costs_only_what_it_forgot() {
    if MqttPeer::new().is_none() {
        return;
    }
    let folder = Folder::new();
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let peer = MqttPeer { folder: Folder::new(), host: "127.0.0.1".into(), port };
    let start = || Running::start("mqtt", &peer.source("t/#"), &peer.env_as(Some("r28")));
    let mut broker = mosquitto(&folder, port);
    let source = start();
    let before = publish_and_take(&peer, &source, "before").await;
    broker.kill().await.expect("killed");
    let _broker = mosquitto(&folder, port);
    let after = publish_and_take(&peer, &source, "after").await;
    // The first one's session is gone, and with it the one to whom it could be acknowledged.
    before.ack.accept();
    after.ack.accept();
    source.stop().await;
    // The session of now has been kept, and what was acknowledged does not come again.
    peer.publish("t/last", &["last"]).await;
    let source = start();
    assert_eq!(source.inbox.accept_until("last").await, ["last"]);
    source.stop().await;
}

/// Publishes to `t/TEXT` as soon as the source is there; the batch with it, not accepted.
async fn publish_and_take(
    peer: &MqttPeer,
    source: &Running,
    text: &str,
) -> connectors::contract::Batch {
    while TcpStream::connect((&*peer.host, peer.port)).await.is_err() {
        tokio::task::yield_now().await;
    }
    let topic = format!("t/{text}");
    ready(peer, source, &topic).await;
    peer.publish(&topic, &[text]).await;
    loop {
        let batch = source.inbox.take().await;
        if texts(&batch.messages).iter().any(|payload| payload == text) {
            return batch;
        }
        batch.ack.accept();
    }
}
