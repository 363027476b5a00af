//! Sessions and retained messages over a restart, an orderly one and one without warning.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use connectors::contract::{Shutdown, ShutdownHandle, shutdown};
use tidegate::broker::codec::{Name, Packet, Properties, Publish, Reason, Value, Version};
use tidegate::broker::{Broker, Config, FILE, Hooks, KeptError, Limits};
use tokio::task::JoinHandle;

use crate::broker::rig::{BOTH, Engine, Raw, START_MS, connect, kept, message, puback, text, to};

/// A run of a broker with a file.
pub struct Life {
    pub broker: Arc<Broker>,
    pub engine: Arc<Engine>,
    stop: Arc<ShutdownHandle>,
    stopped: Shutdown,
    running: JoinHandle<std::io::Result<()>>,
}

async fn open(
    folder: &Path,
    limits: Limits,
    now_ms: u64,
) -> Result<(Broker, Arc<Engine>), KeptError> {
    let engine = Arc::new(Engine::default());
    let clock = Arc::new(AtomicU64::new(now_ms));
    let clock = Arc::new(move || clock.load(Ordering::Relaxed));
    let config = Config { limits, ..Config::default() };
    let file = folder.join(FILE);
    let broker = Broker::open(config, Hooks::default(), engine.clone(), clock, &file).await?;
    Ok((broker, engine))
}

impl Life {
    pub async fn start(folder: &Path) -> Self {
        Self::at(folder, Limits::default(), START_MS).await
    }

    pub async fn at(folder: &Path, limits: Limits, now_ms: u64) -> Self {
        let (broker, engine) = open(folder, limits, now_ms).await.unwrap();
        let broker = Arc::new(broker);
        let (stop, stopped) = shutdown();
        let serving = (broker.clone(), stopped.clone());
        let running = tokio::spawn(async move { serving.0.serve_all(vec![], serving.1).await });
        Self { broker, engine, stop: Arc::new(stop), stopped, running }
    }

    pub fn raw(&self, version: Version) -> Raw {
        let (mine, theirs) = tokio::io::duplex(1 << 20);
        let (broker, stopped) = (self.broker.clone(), self.stopped.clone());
        let peer = "10.0.0.7:5000".parse().unwrap();
        tokio::spawn(async move { broker.serve_stream(theirs, peer, stopped).await });
        Raw::over(mine, version, self.stop.clone())
    }

    pub async fn client(&self, id: &str, version: Version) -> Raw {
        let mut raw = self.raw(version);
        raw.hello(connect(id, version)).await;
        raw
    }

    pub async fn keeper(&self, id: &str, version: Version) -> (Raw, bool) {
        let mut raw = self.raw(version);
        let ack = raw.hello(kept(id, version)).await;
        (raw, ack.session_present)
    }

    /// Waits until everything so far is on disk.
    async fn saved(&self) {
        while self.broker.handle().snapshot().unsaved > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn end(self) {
        self.stop.stop();
        self.running.await.unwrap().unwrap();
        self.broker.handle().save().await;
    }

    /// Ends without warning: what is on disk at this moment is all that the next run finds.
    async fn crash(self, folder: &Path) -> tempfile::TempDir {
        self.saved().await;
        cut(folder)
    }
}

/// What is on disk at this moment.
pub fn cut(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn exact(id: u16, payload: &str) -> Publish {
    Publish { packet_id: id, ..message("rules", payload, 2) }
}

/// Leaves something of every kind behind: a client that was sent four messages and has two more waiting, a
/// message of QoS 2 that it published, and retained messages.
async fn fill(life: &Life, version: Version) -> Vec<u16> {
    let (mut raw, _) = life.keeper("s", version).await;
    let filters = vec![to("a/+", 2), to("b", 1)];
    raw.subscribe_all(filters, Properties::default()).await;
    let mut publisher = life.client("p", version).await;
    let mut ids = Vec::new();
    for (n, qos) in [(1, 1), (2, 2), (3, 2), (4, 1)] {
        publisher.publish("a/x", &n.to_string(), qos).await;
        ids.push(raw.message().await.packet_id);
    }
    raw.acknowledge(ids[0]).await;
    raw.send(Packet::PubRec(puback(ids[1]))).await;
    assert_eq!(raw.recv().await, Packet::PubRel(puback(ids[1])));
    raw.send(Packet::Publish(exact(77, "own"))).await;
    assert_eq!(raw.recv().await, Packet::PubRec(puback(77)));
    raw.hang_up().await;
    publisher.publish("a/y", "5", 2).await;
    publisher.publish("b", "6", 2).await;
    publisher.publish("a/y", "nothing", 0).await;
    publisher.publish_retained("kept/1", "old", 1).await;
    publisher.publish_retained("kept/1", "new", 1).await;
    publisher.publish_retained("kept/2", "x", 1).await;
    publisher.publish_retained("kept/2", "", 1).await;
    ids
}

async fn check(life: &Life, version: Version, ids: &[u16]) {
    let (mut raw, present) = life.keeper("s", version).await;
    assert!(present);
    assert_eq!(raw.recv().await, Packet::PubRel(puback(ids[1])));
    for (at, payload, qos) in [(2, "3", 2), (3, "4", 1)] {
        let again = raw.message().await;
        assert_eq!((again.packet_id, again.dup, again.qos), (ids[at], true, qos));
        assert_eq!(text(&again.payload), payload);
    }
    assert_eq!(raw.brief().await, ("a/y".into(), "5".into(), 2, false));
    let last = raw.message().await;
    assert_eq!((text(&last.payload), last.qos, last.dup), ("6", 1, false));
    assert!(!ids.contains(&last.packet_id));
    raw.send(Packet::PubComp(puback(ids[1]))).await;
    raw.complete(ids[2]).await;
    raw.acknowledge(ids[3]).await;
    raw.complete(last.packet_id - 1).await;
    raw.acknowledge(last.packet_id).await;
    // The message that it published before is known.
    raw.send(Packet::Publish(Publish { dup: true, ..exact(77, "own") })).await;
    assert_eq!(raw.recv().await, Packet::PubRec(puback(77)));
    raw.send(Packet::PubRel(puback(77))).await;
    assert_eq!(raw.recv().await, Packet::PubComp(puback(77)));
    assert!(life.engine.messages().is_empty());
    raw.subscribe("kept/#", 1).await;
    assert_eq!(raw.brief().await, ("kept/1".into(), "new".into(), 1, true));
    raw.quiet().await;
    let mut publisher = life.client("p", version).await;
    publisher.publish("a/z", "live", 0).await;
    assert_eq!(raw.brief().await.1, "live");
    raw.goodbye(Reason::SUCCESS).await;
    let counted = life.broker.handle().snapshot();
    assert_eq!((counted.subscriptions, counted.retained), (3, 1));
}

#[tokio::test]
async fn a_restart_changes_nothing_for_clients() {
    for version in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let life = Life::start(folder.path()).await;
        let ids = fill(&life, version).await;
        life.end().await;
        let life = Life::start(folder.path()).await;
        check(&life, version, &ids).await;
        life.end().await;
        // What was settled does not come back.
        let life = Life::start(folder.path()).await;
        let (mut raw, present) = life.keeper("s", version).await;
        assert!(present);
        assert_eq!(raw.brief().await.1, "new", "retained, not acknowledged");
        raw.quiet().await;
        life.end().await;
    }
}

#[tokio::test]
async fn neither_does_a_crash_once_it_is_on_disk() {
    for version in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let life = Life::start(folder.path()).await;
        let ids = fill(&life, version).await;
        let copy = life.crash(folder.path()).await;
        let life = Life::start(copy.path()).await;
        check(&life, version, &ids).await;
        life.end().await;
    }
}

#[tokio::test]
async fn options_and_properties_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::start(folder.path()).await;
    let (mut raw, _) = life.keeper("s", Version::V5).await;
    let mut own = to("own", 1);
    own.no_local = true;
    let mut retained = to("flag", 1);
    retained.retain_as_published = true;
    let ids = Properties::default().with(Name::SubscriptionId, Value::Var(300_000));
    raw.subscribe_all(vec![own, retained, to("$share/g/work", 1)], ids).await;
    raw.goodbye(Reason::SUCCESS).await;
    let mut publisher = life.client("p", Version::V5).await;
    let mut sent = message("flag", "x", 1);
    sent.retain = true;
    sent.properties = Properties::default()
        .with(Name::ContentType, Value::Text("text/plain".into()))
        .with(Name::User, Value::Pair("unit".into(), "°C".into()))
        .with(Name::MessageExpiry, Value::Long(100));
    publisher.send(Packet::Publish(sent.clone())).await;
    publisher.ack().await;
    life.end().await;
    let life = Life::at(folder.path(), Limits::default(), START_MS + 40_000).await;
    let (mut raw, _) = life.keeper("s", Version::V5).await;
    let got = raw.message().await;
    assert!(got.retain);
    assert_eq!(got.properties.number(Name::MessageExpiry), Some(60));
    assert_eq!(got.properties.number(Name::SubscriptionId), Some(300_000));
    assert_eq!(got.properties.text(Name::ContentType).map(|t| &**t), Some("text/plain"));
    assert_eq!(got.properties.user().count(), 1);
    raw.acknowledge(got.packet_id).await;
    raw.publish("own", "x", 1).await;
    raw.quiet().await;
    raw.publish("work", "x", 0).await;
    life.end().await;
}

#[tokio::test]
async fn what_has_ended_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::start(folder.path()).await;
    for id in ["clean", "cleared"] {
        let (mut raw, _) = life.keeper(id, Version::V311).await;
        raw.subscribe("a", 1).await;
        raw.goodbye(Reason::SUCCESS).await;
    }
    life.client("p", Version::V311).await.publish("a", "x", 1).await;
    life.saved().await;
    // One is started clean and ends, of the other a new session is made.
    life.client("clean", Version::V311).await.goodbye(Reason::SUCCESS).await;
    life.client("cleared", Version::V311).await.goodbye(Reason::SUCCESS).await;
    life.keeper("cleared", Version::V311).await.0.goodbye(Reason::SUCCESS).await;
    life.end().await;
    let life = Life::start(folder.path()).await;
    assert_eq!(life.broker.handle().sessions(), ["cleared"]);
    let (mut raw, present) = life.keeper("cleared", Version::V311).await;
    assert!(present);
    raw.quiet().await;
    let counted = life.broker.handle().snapshot();
    assert_eq!((counted.subscriptions, counted.queued_bytes), (0, 0));
    life.end().await;
}

#[tokio::test]
async fn the_time_of_a_session_goes_on_while_nothing_runs() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::start(folder.path()).await;
    let (raw, _) = life.keeper("s", Version::V5).await;
    raw.goodbye(Reason::SUCCESS).await;
    life.client("p", Version::V5).await.publish_retained("r", "x", 1).await;
    life.end().await;
    let hour = 3_600_000;
    for (at, sessions) in [(START_MS + hour - 1, 1), (START_MS + hour, 0), (START_MS, 0)] {
        let life = Life::at(folder.path(), Limits::default(), at).await;
        assert_eq!(life.broker.handle().sessions().len(), sessions, "{at}");
        life.end().await;
    }
}

#[tokio::test]
async fn limits_hold_for_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::start(folder.path()).await;
    let (mut raw, _) = life.keeper("s", Version::V311).await;
    raw.subscribe("#", 1).await;
    raw.goodbye(Reason::SUCCESS).await;
    let mut publisher = life.client("p", Version::V311).await;
    for n in 0..5 {
        publisher.publish("a", &n.to_string(), 1).await;
        publisher.publish_retained(&format!("r{n}"), "x", 0).await;
    }
    life.end().await;
    // A message counts 66 bytes.
    let limits = Limits { queue_bytes: 3 * 66, retained_messages: 2, ..Limits::default() };
    for _ in 0..2 {
        let life = Life::at(folder.path(), limits.clone(), START_MS).await;
        let counted = life.broker.handle().snapshot();
        assert_eq!((counted.queued_bytes, counted.retained), (3 * 66, 2));
        life.end().await;
    }
    let life = Life::start(folder.path()).await;
    assert_eq!(life.broker.handle().snapshot().retained, 2);
    let (mut raw, _) = life.keeper("s", Version::V311).await;
    for n in 0..3 {
        assert_eq!(raw.brief().await.1, n.to_string());
    }
    raw.quiet().await;
    life.end().await;
}

#[tokio::test]
async fn what_is_published_after_the_end_is_saved_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::start(folder.path()).await;
    let (mut raw, _) = life.keeper("s", Version::V5).await;
    raw.subscribe("a", 1).await;
    raw.goodbye(Reason::SUCCESS).await;
    let handle = life.broker.handle();
    life.stop.stop();
    life.running.await.unwrap().unwrap();
    let mut late =
        connectors::contract::Message::new(crate::broker::rig::topic("a"), "late", START_MS);
    late.qos = connectors::contract::QoS::AtLeastOnce;
    assert_eq!(handle.publish(&late).queued, 1);
    handle.save().await;
    let life = Life::start(folder.path()).await;
    let (mut raw, _) = life.keeper("s", Version::V5).await;
    assert_eq!(raw.brief().await.1, "late");
    life.end().await;
}

#[tokio::test]
async fn what_comes_and_goes_meanwhile_is_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::start(folder.path()).await;
    let (mut raw, _) = life.keeper("s", Version::V5).await;
    raw.subscribe("a", 2).await;
    let mut publisher = life.client("p", Version::V5).await;
    for n in 0..200 {
        publisher.publish("a", &n.to_string(), 1 + n % 2).await;
        let got = raw.message().await;
        match got.qos {
            1 => raw.acknowledge(got.packet_id).await,
            _ => raw.complete(got.packet_id).await,
        }
    }
    raw.quiet().await;
    raw.hang_up().await;
    life.end().await;
    let life = Life::start(folder.path()).await;
    assert_eq!(life.broker.handle().snapshot().queued_bytes, 0);
    let (mut raw, _) = life.keeper("s", Version::V5).await;
    raw.quiet().await;
    life.end().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE);
    let wrong = async || {
        let opened = open(folder.path(), Limits::default(), START_MS).await;
        opened.err().expect("an error").to_string()
    };
    std::fs::write(&file, "this is no database, and was not meant to be one").unwrap();
    assert!(wrong().await.contains("not a database"));
    std::fs::remove_file(&file).unwrap();
    let life = Life::start(folder.path()).await;
    let (mut raw, _) = life.keeper("s", Version::V5).await;
    raw.subscribe("a", 1).await;
    raw.goodbye(Reason::SUCCESS).await;
    life.end().await;
    let sql = async |statement: &'static str| {
        let path = format!("sqlite://{}", file.display());
        let pool = sqlx::SqlitePool::connect(&path).await.unwrap();
        sqlx::raw_sql(statement).execute(&pool).await.unwrap();
        pool.close().await;
    };
    sql("UPDATE sessions SET subscriptions = '[{'").await;
    let error = wrong().await;
    assert!(error.starts_with("the session of `s` cannot be read: "), "{error}");
    sql("PRAGMA user_version = 99").await;
    let error = wrong().await;
    assert!(error.contains("version 99") && error.contains(FILE), "{error}");
}
