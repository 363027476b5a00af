//! The real destinations of the fault matrix: how an action reaches each through a proxy, and what
//! has arrived there, read beside the proxy.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use connectors::contract::Env;
use rdkafka::message::{BorrowedHeaders, Headers as _, Message as _};
use serde_json::json;
use tokio::net::TcpListener;

use super::rig::{Arrival, until};
use crate::connectors::kafka::{KafkaPeer, front};
use crate::connectors::mqtt::MqttPeer;
use crate::connectors::outages::Way;
use crate::connectors::tables::PostgresPeer;
use crate::connectors::{Folder, env, unique, with_connection};

/// What every record holds, for faults to wait for.
pub const MARK: &[u8] = b"strike";

/// A destination, for one cell of the matrix.
#[async_trait::async_trait]
pub trait Target: Send + Sync {
    /// Where the service is.
    fn upstream(&self) -> String;

    /// Where the proxy has to stand.
    fn front(&self) -> String {
        "127.0.0.1:0".to_owned()
    }

    /// The connection through a proxy.
    fn env(&self, proxy: SocketAddr) -> Env;

    /// The action, in YAML's flow style.
    fn action(&self, proxy: SocketAddr) -> String;

    /// Whether arrivals have an idempotency key.
    fn keyed(&self) -> bool {
        true
    }

    /// Whether the destination itself drops what comes twice over one producer.
    fn drops_twice(&self) -> bool {
        false
    }

    /// What has arrived, in order, when all of that many records have.
    async fn arrived(&self, count: usize) -> Vec<Arrival>;
}

/// The destination of that name; `None` when its service is not there.
pub async fn target(name: &str) -> Option<Box<dyn Target>> {
    match name {
        "http" => Some(Box::new(HttpTarget::new().await)),
        "kafka" => Some(Box::new(KafkaTarget::new().await?)),
        "mqtt" => Some(Box::new(MqttTarget::new().await?)),
        "postgres" => Some(Box::new(PostgresTarget::new().await?)),
        other => panic!("no target {other}"),
    }
}

// --- http -----------------------------------------------------------------------------------------

/// Keys and bodies in the order in which they came.
type Requests = Arc<Mutex<Vec<Arrival>>>;

struct HttpTarget {
    folder: Folder,
    upstream: String,
    requests: Requests,
}

async fn note(State(requests): State<Requests>, request: Request) -> &'static str {
    let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok());
    let key = key.map(str::to_owned);
    // A request that breaks off has not arrived.
    if let Ok(body) = axum::body::to_bytes(request.into_body(), 1 << 20).await {
        requests.lock().expect("lock").push(Arrival::read(key, &body));
    }
    "taken"
}

impl HttpTarget {
    async fn new() -> Self {
        let requests = Requests::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let upstream = listener.local_addr().expect("an address").to_string();
        let app = axum::Router::new().fallback(note).with_state(Arc::clone(&requests));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { folder: Folder::new(), upstream, requests }
    }
}

#[async_trait::async_trait]
impl Target for HttpTarget {
    fn upstream(&self) -> String {
        self.upstream.clone()
    }

    fn env(&self, _: SocketAddr) -> Env {
        env(self.folder.path())
    }

    fn action(&self, proxy: SocketAddr) -> String {
        format!("http: {{ url: \"http://{proxy}/\", timeout: 500ms }}")
    }

    async fn arrived(&self, _: usize) -> Vec<Arrival> {
        self.requests.lock().expect("lock").clone()
    }
}

// --- kafka ----------------------------------------------------------------------------------------

struct KafkaTarget {
    peer: KafkaPeer,
    folder: Folder,
    topic: String,
    way: Way,
}

impl KafkaTarget {
    async fn new() -> Option<Self> {
        let peer = KafkaPeer::new()?;
        let way = front().await?;
        let topic = unique("faults");
        peer.create(&topic, 1).await;
        Some(Self { peer, folder: Folder::new(), topic, way })
    }
}

fn header(headers: &BorrowedHeaders, name: &str) -> Option<String> {
    let found = headers.iter().find(|header| header.key == name)?;
    Some(String::from_utf8_lossy(found.value?).into_owned())
}

#[async_trait::async_trait]
impl Target for KafkaTarget {
    fn upstream(&self) -> String {
        self.way.upstream.clone()
    }

    fn front(&self) -> String {
        self.way.front.clone()
    }

    fn env(&self, proxy: SocketAddr) -> Env {
        let settings = json!({ "brokers": proxy.to_string(), "settings": {
            // As with the defaults, its time is over before the engine's.
            "message.timeout.ms": 1500, "reconnect.backoff.max.ms": 100,
            // The mark has to be seen.
            "compression.type": "none",
        } });
        with_connection(env(self.folder.path()), "kafka", &settings)
    }

    fn action(&self, _: SocketAddr) -> String {
        format!("kafka: {{ connection: it, topic: {} }}", self.topic)
    }

    fn drops_twice(&self) -> bool {
        true
    }

    async fn arrived(&self, _: usize) -> Vec<Arrival> {
        let count = self.peer.count(&self.topic).await;
        let messages = self.peer.read(&self.topic, count).await;
        let arrival = |message: &rdkafka::message::OwnedMessage| {
            let headers = message.headers().map(rdkafka::message::OwnedHeaders::as_borrowed);
            let key = headers.and_then(|headers| header(headers, "tidegate-idempotency-key"));
            Arrival::read(key, message.payload().expect("a payload"))
        };
        messages.iter().map(arrival).collect()
    }
}

// --- mqtt -----------------------------------------------------------------------------------------

/// What a client of Mosquitto has written, line by line.
type Lines = Arc<Mutex<Vec<String>>>;

struct MqttTarget {
    peer: MqttPeer,
    folder: Folder,
    topic: String,
    subscriber: Child,
    lines: Lines,
}

impl MqttTarget {
    async fn new() -> Option<Self> {
        let peer = MqttPeer::new()?;
        let topic = unique("faults");
        let filter = format!("{topic}/#");
        let mut subscriber = Command::new("mosquitto_sub")
            .args(["-h", &peer.host, "-p", &peer.port.to_string(), "-V", "5", "-q", "1"])
            .args(["-t", &filter, "-F", "%P %p"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("mosquitto-clients are installed");
        let (lines, output) = (Lines::default(), subscriber.stdout.take().expect("a pipe"));
        let sink = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                sink.lock().expect("lock").push(line);
            }
        });
        let ready = || lines.lock().expect("lock").iter().any(|line| line.ends_with("ready"));
        while !ready() {
            peer.publish(&format!("{topic}/ready"), &["ready"]).await;
        }
        Some(Self { peer, folder: Folder::new(), topic, subscriber, lines })
    }

    fn arrivals(&self) -> Vec<Arrival> {
        let arrival = |line: &String| {
            let (key, body) = line.split_once('{')?;
            let key = key.trim().strip_prefix("idempotency-key:").map(str::to_owned);
            Some(Arrival::read(key, format!("{{{body}").as_bytes()))
        };
        self.lines.lock().expect("lock").iter().filter_map(arrival).collect()
    }
}

impl Drop for MqttTarget {
    fn drop(&mut self) {
        self.subscriber.kill().ok();
        self.subscriber.wait().ok();
    }
}

#[async_trait::async_trait]
impl Target for MqttTarget {
    fn upstream(&self) -> String {
        format!("{}:{}", self.peer.host, self.peer.port)
    }

    fn env(&self, proxy: SocketAddr) -> Env {
        let settings = json!({ "host": proxy.ip().to_string(), "port": proxy.port() });
        with_connection(env(self.folder.path()), "mqtt", &settings)
    }

    fn action(&self, _: SocketAddr) -> String {
        format!("mqtt: {{ connection: it, topic: \"{}/${{d}}\", qos: 1 }}", self.topic)
    }

    async fn arrived(&self, count: usize) -> Vec<Arrival> {
        let all = || {
            let seen: std::collections::BTreeSet<_> = self.arrivals().iter().map(|a| a.n).collect();
            seen.len() == count
        };
        until("the subscriber has all", all).await;
        self.arrivals()
    }
}

// --- postgres -------------------------------------------------------------------------------------

struct PostgresTarget {
    peer: PostgresPeer,
    folder: Folder,
    table: String,
}

impl PostgresTarget {
    async fn new() -> Option<Self> {
        let peer = PostgresPeer::new().await?;
        let table = unique("faults");
        peer.texts(&format!("CREATE TABLE {table} (at bigserial, d int, n int, m text)")).await;
        Some(Self { peer, folder: Folder::new(), table })
    }
}

/// The address in a URL, and the URL with another one.
pub fn through(url: &str, proxy: Option<SocketAddr>) -> (String, String) {
    let (start, rest) = url.split_once('@').expect("a user");
    let (address, end) = rest.split_once('/').expect("a database");
    let shown = proxy.map_or_else(|| address.to_owned(), |proxy| proxy.to_string());
    (address.to_owned(), format!("{start}@{shown}/{end}"))
}

#[async_trait::async_trait]
impl Target for PostgresTarget {
    fn upstream(&self) -> String {
        through(&self.peer.1, None).0
    }

    fn env(&self, proxy: SocketAddr) -> Env {
        let url = through(&self.peer.1, Some(proxy)).1;
        with_connection(env(self.folder.path()), "postgres", &json!({ "url": url }))
    }

    fn action(&self, _: SocketAddr) -> String {
        format!("postgres: {{ connection: it, table: {} }}", self.table)
    }

    fn keyed(&self) -> bool {
        false
    }

    async fn arrived(&self, _: usize) -> Vec<Arrival> {
        let sql = format!(
            "SELECT json_build_object('d', d, 'n', n)::text FROM {} ORDER BY at",
            self.table
        );
        self.peer.texts(&sql).await.iter().map(|row| Arrival::read(None, row.as_bytes())).collect()
    }
}
