//! The `kafka` sink and source against a real broker, and against librdkafka's own mock for faults.

use std::net::SocketAddr;
use std::time::Duration;

use connectors::contract::{Env, FailureKind, Outcome, Record};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, StreamConsumer};
use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use super::inbox::{Inbox, Running, texts};
use super::outages::{Through, Way};
use super::source_suite::{self, SourcePeer};
use super::suite::{self, Peer};
use super::{Folder, binary, env, record, record_of, sink, unique, with_connection};
use crate::services::service;

pub(crate) struct KafkaPeer(Folder, pub(crate) String);

impl KafkaPeer {
    pub(crate) fn new() -> Option<Self> {
        Some(Self(Folder::new(), service("Kafka", "TIDEGATE_TEST_KAFKA")?))
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.1);
        config
    }

    pub(crate) async fn create(&self, topic: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("a client");
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let made = admin.create_topics([&topic], &AdminOptions::new()).await.expect("an answer");
        made.into_iter().for_each(|result| drop(result.expect("a topic")));
    }

    /// The first messages of a topic with one partition.
    pub(crate) async fn read(&self, topic: &str, count: usize) -> Vec<OwnedMessage> {
        let mut config = self.client();
        // librdkafka asks for a group id, also of who reads a partition without a group.
        config.set("group.id", unique("reader"));
        let consumer: StreamConsumer = config.create().expect("a consumer");
        let mut from_start = TopicPartitionList::new();
        let added = from_start.add_partition_offset(topic, 0, Offset::Beginning);
        added.expect("an offset");
        consumer.assign(&from_start).expect("assigned");
        let mut messages = Vec::new();
        while messages.len() < count {
            let next = tokio::time::timeout(Duration::from_secs(30), consumer.recv()).await;
            messages.push(next.expect("a message within 30 s").expect("no error").detach());
        }
        messages
    }

    /// How many messages a topic with one partition has.
    pub(crate) async fn count(&self, topic: &str) -> usize {
        let (config, topic) = (self.client(), topic.to_owned());
        let end = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create().expect("a consumer");
            consumer.fetch_watermarks(&topic, 0, Duration::from_secs(30)).expect("an end").1
        });
        usize::try_from(end.await.expect("an end")).expect("small")
    }

    pub(crate) async fn produce(
        &self,
        topic: &str,
        partition: i32,
        key: &str,
        payloads: &[String],
    ) {
        let producer: FutureProducer = self.client().create().expect("a producer");
        let send = |payload: &String| {
            let record = FutureRecord::to(topic).partition(partition).key(key).payload(payload);
            producer.send_result(record).map_err(|(error, _)| error).expect("room in the queue")
        };
        let sent: Vec<_> = payloads.iter().map(send).collect();
        for delivery in sent {
            let delivered = delivery.await.expect("the producer lives");
            delivered.map_err(|(error, _)| error).expect("produced");
        }
    }

    /// What the group of a source has committed in each partition of its topic.
    async fn committed(&self, topic: &str, partitions: i32) -> Vec<Option<i64>> {
        let (consumer, topic) = (self.outsider(topic), topic.to_owned());
        let ask = move || {
            let mut list = TopicPartitionList::new();
            list.add_partition_range(&topic, 0, partitions - 1);
            let found = consumer.committed_offsets(list, Duration::from_secs(30)).expect("offsets");
            let offset = |offset| match offset {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            found.elements().iter().map(|element| offset(element.offset())).collect()
        };
        tokio::task::spawn_blocking(ask).await.expect("no panic")
    }

    /// Commits an offset for the group of a source that does not run.
    async fn commit(&self, topic: &str, offset: i64) {
        let (consumer, topic) = (self.outsider(topic), topic.to_owned());
        let commit = move || {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&topic, 0, Offset::Offset(offset)).expect("an offset");
            consumer.commit(&list, CommitMode::Sync).expect("committed");
        };
        tokio::task::spawn_blocking(commit).await.expect("no panic");
    }

    /// Looks at the group of a source without being its member.
    fn outsider(&self, topic: &str) -> BaseConsumer {
        let mut config = self.client();
        config.set("group.id", format!("g_{topic}")).create().expect("a consumer")
    }

    /// Settings of a source on a topic of its own.
    fn source(&self, topic: &str) -> Value {
        json!({ "connection": "it", "group": format!("g_{topic}"), "topics": [topic] })
    }
}

/// Kafka tells its clients one address that leads through a proxy: one test at a time has it.
static FRONT: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The way through a proxy; `None` when the service is not there.
pub(crate) async fn front() -> Option<Way> {
    let upstream = service("Kafka behind a proxy", "TIDEGATE_TEST_KAFKA_BEHIND")?;
    let front = service("Kafka's proxy", "TIDEGATE_TEST_KAFKA_FRONT")?;
    Some(Way { front, upstream, alone: Some(FRONT.lock().await) })
}

fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| n.to_string()).collect()
}

#[async_trait::async_trait]
impl Peer for KafkaPeer {
    fn connector(&self) -> &'static str {
        "kafka"
    }

    fn env(&self) -> Env {
        with_connection(env(self.0.path()), "kafka", &json!({ "brokers": self.1 }))
    }

    fn settings(&self, place: &str) -> Value {
        json!({ "connection": "it", "topic": place, "key": "${device}" })
    }

    fn unreachable(&self) -> Option<(Env, Value)> {
        let nobody =
            json!({ "brokers": "127.0.0.1:1", "settings": { "message.timeout.ms": 1500 } });
        Some((with_connection(env(self.0.path()), "kafka", &nobody), self.settings("anything")))
    }

    fn poison(&self) -> Option<Record> {
        Some(record(r#"{"n":9}"#))
    }

    async fn way(&self) -> Option<Way> {
        front().await
    }

    fn through(&self, place: &str, proxy: SocketAddr) -> Through {
        let settings = json!({ "brokers": proxy.to_string(), "settings": {
            "message.timeout.ms": 1500, "reconnect.backoff.max.ms": 100,
        } });
        let env = with_connection(env(self.0.path()), "kafka", &settings);
        Through { env, settings: self.settings(place) }
    }

    async fn received_at_least_once(&self, place: &str, _: usize) -> Vec<i64> {
        let count = self.count(place).await;
        self.received(place, count).await
    }

    async fn prepare(&self, place: &str) {
        self.create(place, 1).await;
    }

    async fn received(&self, place: &str, count: usize) -> Vec<i64> {
        let n = |message: &OwnedMessage| {
            let value: Value = serde_json::from_slice(message.payload()?).ok()?;
            value["n"].as_i64()
        };
        self.read(place, count).await.iter().map(|message| n(message).expect("n")).collect()
    }
}

#[tokio::test]
async fn kafka_sink_conforms() {
    let Some(peer) = KafkaPeer::new() else { return };
    suite::run(&peer).await;
}

#[tokio::test]
async fn kafka_sink_sends_keys_headers_and_bytes() {
    let Some(peer) = KafkaPeer::new() else { return };
    let place = unique("headers");
    let topic = format!("{place}.a");
    peer.create(&topic, 1).await;
    let settings = json!({
        "connection": "it", "topic": format!("{place}.${{to}}"), "headers": { "unit": "${u}" },
    });
    let kafka = sink("kafka", &settings, &peer.env()).expect("settings");
    let good = r#"{"to":"a","u":"°C"}"#;
    let records = [
        record(good),
        record_of("nodevice", good),
        record(r#"{"to":"/x","u":""}"#),
        record(r#"{"to":"温","u":""}"#),
        record(r#"{"u":""}"#),
        binary(&[0, 255]),
    ];
    let outcomes = kafka.deliver(&records).await;
    assert_eq!(outcomes[..2], [Outcome::Ok, Outcome::Ok]);
    for outcome in &outcomes[2..] {
        assert!(matches!(outcome, Outcome::Poison(_)), "{outcome:?}");
    }
    let plain = json!({ "connection": "it", "topic": topic });
    let plain = sink("kafka", &plain, &peer.env()).expect("settings");
    assert_eq!(plain.deliver(&[binary(&[0, 255])]).await, [Outcome::Ok]);

    let filled =
        json!({ "connection": "it", "topic": topic, "payload": "{\"unit\":${u},\"x\":${x}}" });
    let filled = sink("kafka", &filled, &peer.env()).expect("settings");
    let outcomes = filled.deliver(&[record(good), binary(&[0, 255])]).await;
    assert_eq!(outcomes[0], Outcome::Ok);
    assert!(matches!(&outcomes[1], Outcome::Poison(e) if e.message.contains("payload")));

    let messages = peer.read(&topic, 4).await;
    assert_eq!((messages[0].key(), messages[1].key()), (Some(&b"dev1"[..]), None));
    assert_eq!(messages[0].payload(), Some(good.as_bytes()));
    assert_eq!(messages[2].payload(), Some(&[0, 255][..]));
    assert_eq!(messages[3].payload(), Some(r#"{"unit":"°C","x":null}"#.as_bytes()));
    let headers = messages[0].headers().expect("headers");
    let header = |at: usize| {
        let header = headers.get_as::<str>(at).expect("text");
        (header.key, header.value)
    };
    assert_eq!(header(0), ("tidegate-rule", Some("a_rule")));
    assert_eq!(header(1), ("tidegate-message-id", Some("7")));
    assert_eq!(header(2), ("unit", Some("°C")));
}

#[tokio::test]
async fn kafka_sink_tells_failures_apart() {
    let Some(peer) = KafkaPeer::new() else { return };
    let missing = json!({ "connection": "it", "topic": unique("nobody_made_it") });
    let missing = sink("kafka", &missing, &peer.env()).expect("settings");
    let outcomes = missing.deliver(&[record("{}"), record("{}")]).await;
    for outcome in &outcomes {
        assert!(matches!(outcome, Outcome::Misconfigured(_)), "{outcome:?}");
    }
    assert_eq!(missing.check().await.map_err(|e| e.kind), Err(FailureKind::Misconfigured));

    let topic = unique("large");
    peer.create(&topic, 1).await;
    let settings = json!({ "connection": "it", "topic": topic });
    let sink = sink("kafka", &settings, &peer.env()).expect("settings");
    let large = record(&format!(r#"{{"x":"{}"}}"#, "y".repeat(2_000_000)));
    let outcomes = sink.deliver(&[record("{}"), large, record("{}")]).await;
    assert_eq!((&outcomes[0], &outcomes[2]), (&Outcome::Ok, &Outcome::Ok));
    assert!(matches!(&outcomes[1], Outcome::Poison(_)), "{:?}", outcomes[1]);
}

#[tokio::test]
async fn kafka_sink_waits_for_a_broker_that_comes_back() {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic("t", 1, 1).expect("a topic");
    let folder = Folder::new();
    let settings = json!({
        "brokers": cluster.bootstrap_servers(),
        "settings": { "message.timeout.ms": 1500, "reconnect.backoff.max.ms": 100 },
    });
    let env = with_connection(env(folder.path()), "kafka", &settings);
    let kafka = sink("kafka", &json!({ "connection": "it", "topic": "t" }), &env).expect("sink");
    assert_eq!(kafka.deliver(&[record("{}")]).await, [Outcome::Ok]);
    cluster.broker_down(1).expect("down");
    let outcomes = kafka.deliver(&[record("{}"), record("{}")]).await;
    for outcome in &outcomes {
        assert!(matches!(outcome, Outcome::Retry(_)), "{outcome:?}");
    }
    cluster.broker_up(1).expect("up");
    let mut outcomes = kafka.deliver(&[record("{}")]).await;
    // The first try may still fall into a pause before reconnecting.
    if outcomes != [Outcome::Ok] {
        outcomes = kafka.deliver(&[record("{}")]).await;
    }
    assert_eq!(outcomes, [Outcome::Ok]);
}

#[test]
fn kafka_settings_that_delivery_depends_on_are_fixed() {
    let folder = Folder::new();
    for option in ["acks", "enable.idempotence", "enable.auto.commit", "plugin.any"] {
        let settings = json!({ "brokers": "a:1", "settings": { option: "x" } });
        let error =
            super::open("kafka", &settings, &env(folder.path())).map(drop).expect_err("fixed");
        assert_eq!(error.path, format!("settings.{option}"));
        assert!(error.message.starts_with("this option is fixed"), "{error}");
    }
}

/// The peer of the source.
struct KafkaTopics(KafkaPeer);

#[async_trait::async_trait]
impl SourcePeer for KafkaTopics {
    fn connector(&self) -> &'static str {
        "kafka"
    }

    async fn way(&self) -> Option<Way> {
        front().await
    }

    fn env(&self, _: &str, proxy: Option<SocketAddr>) -> Env {
        let brokers = proxy.map_or_else(|| self.0.1.clone(), |proxy| proxy.to_string());
        let settings =
            json!({ "brokers": brokers, "settings": { "reconnect.backoff.max.ms": 100 } });
        with_connection(env(self.0.0.path()), "kafka", &settings)
    }

    fn settings(&self, place: &str) -> Value {
        self.0.source(place)
    }

    async fn prepare(&self, place: &str) {
        self.0.create(place, 1).await;
    }

    async fn produce(&self, place: &str, from: usize, to: usize) {
        self.0.produce(place, 0, "k", &numbers(from, to)).await;
    }
}

#[tokio::test]
async fn r11_kafka_source_conforms() {
    let Some(peer) = KafkaPeer::new() else { return };
    source_suite::run(&KafkaTopics(peer)).await;
}

#[tokio::test]
async fn kafka_source_maps_messages_and_keeps_order() {
    let Some(peer) = KafkaPeer::new() else { return };
    let topic = unique("mapped");
    peer.create(&topic, 1).await;
    peer.produce(&topic, 0, "dev9", &numbers(0, 700)).await;
    let mut settings = peer.source(&topic);
    settings["topic"] = "/a1Pk/${key}/user/${partition}".into();
    settings["product_key"] = "a1Pk".into();
    settings["device_name"] = "${key}".into();
    let source = Running::start("kafka", &settings, &peer.env());
    let messages = source.inbox.accept(700).await;
    assert_eq!(texts(&messages), numbers(0, 700));
    assert_eq!(messages[0].topic.as_str(), "/a1Pk/dev9/user/0");
    assert_eq!(
        (messages[0].product_key(), messages[0].device_name()),
        (Some("a1Pk"), Some("dev9"))
    );
    assert_eq!(messages[0].origin.source.as_deref(), Some("plant"));
    source.stop().await;
}

#[tokio::test]
async fn kafka_source_commits_only_what_was_accepted() {
    let Some(peer) = KafkaPeer::new() else { return };
    let topic = unique("commit");
    peer.create(&topic, 1).await;
    peer.produce(&topic, 0, "k", &numbers(0, 3)).await;
    // Taken, but not accepted: stopped, they are still there.
    let source = Running::start("kafka", &peer.source(&topic), &peer.env());
    let batch = source.inbox.take().await;
    assert_eq!(batch.messages[0].payload, "0");
    source.stop().await;
    drop(batch);
    // Refused: they come again without a restart of the source. Then accepted.
    let source = Running::start("kafka", &peer.source(&topic), &peer.env());
    drop(source.inbox.take().await);
    assert_eq!(source.inbox.accept_until("2").await, numbers(0, 3));
    source.stop().await;
    // Accepted: they do not come again.
    peer.produce(&topic, 0, "k", &["last".into()]).await;
    let source = Running::start("kafka", &peer.source(&topic), &peer.env());
    assert_eq!(source.inbox.accept_until("last").await, ["last"]);
    source.stop().await;
}

#[tokio::test]
async fn kafka_source_stops_reading_while_the_engine_is_full() {
    let Some(peer) = KafkaPeer::new() else { return };
    let topic = unique("full");
    peer.create(&topic, 1).await;
    peer.produce(&topic, 0, "k", &numbers(0, 1200)).await;
    let inbox = Inbox::new(1);
    let source = Running::start_into("kafka", &peer.source(&topic), &peer.env(), inbox.clone());
    assert_eq!(texts(&inbox.accept(1200).await), numbers(0, 1200));
    source.stop().await;
    // Also a source that waits for room stops soon.
    peer.produce(&topic, 0, "k", &numbers(0, 1200)).await;
    let inbox = Inbox::new(0);
    let source = Running::start_into("kafka", &peer.source(&topic), &peer.env(), inbox);
    source.stop().await;
}

#[tokio::test]
async fn kafka_sources_of_a_group_share_and_take_over() {
    let Some(peer) = KafkaPeer::new() else { return };
    let topic = unique("shared");
    peer.create(&topic, 4).await;
    let inbox = Inbox::new(1000);
    let start = || Running::start_into("kafka", &peer.source(&topic), &peer.env(), inbox.clone());
    let (first, second) = (start(), start());
    let mut wanted: Vec<String> = numbers(0, 400);
    for partition in 0..4 {
        let from = usize::try_from(partition).expect("small") * 50;
        peer.produce(&topic, partition, "k", &numbers(from, from + 50)).await;
    }
    let mut seen: Vec<String> = Vec::new();
    while !numbers(0, 200).iter().all(|n| seen.contains(n)) {
        seen.extend(texts(&inbox.accept(1).await));
    }
    first.stop().await;
    for partition in 0..4 {
        let from = 200 + usize::try_from(partition).expect("small") * 50;
        peer.produce(&topic, partition, "k", &numbers(from, from + 50)).await;
    }
    while !wanted.iter().all(|n| seen.contains(n)) {
        seen.extend(texts(&inbox.accept(1).await));
    }
    // At least once: what moved between members may have come twice, but nothing is lost.
    seen.sort();
    seen.dedup();
    wanted.sort();
    assert_eq!(seen, wanted);
    second.stop().await;
}

#[tokio::test]
async fn r29_a_partition_that_is_taken_away_is_not_committed_afterwards() {
    let Some(peer) = KafkaPeer::new() else { return };
    let topic = unique("revoked");
    peer.create(&topic, 2).await;
    for partition in 0..2 {
        peer.produce(&topic, partition, "k", &numbers(0, 10)).await;
    }
    let mut settings = peer.source(&topic);
    settings["topic"] = "/p/${partition}".into();
    // The first member has all messages, and none is accepted.
    let first = Running::start("kafka", &settings, &peer.env());
    let (mut held, mut count) = (Vec::new(), 0);
    while count < 20 {
        let batch = first.inbox.take().await;
        count += batch.messages.len();
        held.push(batch);
    }
    // The second one is given a partition, and reads it from its start.
    let second = Running::start("kafka", &settings, &peer.env());
    let moved = second.inbox.take().await;
    let partition = match moved.messages[0].topic.as_str() {
        "/p/0" => 0,
        _ => 1,
    };
    assert_eq!(moved.messages[0].payload, "0");
    // Now the engine accepts what the first one had read of both.
    held.into_iter().for_each(|batch| batch.ack.accept());
    first.stop().await;
    let mut want = [Some(10), Some(10)];
    want[partition] = None;
    assert_eq!(peer.committed(&topic, 2).await, want);
    // The second one's, when they are accepted.
    let mut seen = texts(&moved.messages);
    moved.ack.accept();
    while seen.len() < 10 {
        seen.extend(texts(&second.inbox.accept(1).await));
    }
    assert_eq!(seen, numbers(0, 10));
    second.stop().await;
    assert_eq!(peer.committed(&topic, 2).await, [Some(10); 2]);
}

#[tokio::test]
async fn r29_offsets_that_are_gone_skip_nothing_that_is_there() {
    let Some(peer) = KafkaPeer::new() else { return };
    let topic = unique("gone");
    peer.create(&topic, 1).await;
    peer.produce(&topic, 0, "k", &numbers(0, 10)).await;
    let mut settings = peer.source(&topic);
    settings["start"] = "latest".into();
    // The cluster has deleted what would be next, or it has lost what was read last.
    let admin: AdminClient<DefaultClientContext> = peer.client().create().expect("a client");
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&topic, 0, Offset::Offset(6)).expect("an offset");
    admin.delete_records(&before, &AdminOptions::new()).await.expect("deleted");
    for committed in [3, 1000] {
        peer.commit(&topic, committed).await;
        let source = Running::start("kafka", &settings, &peer.env());
        assert_eq!(source.inbox.accept_until("9").await, numbers(6, 10), "{committed}");
        source.stop().await;
        assert_eq!(peer.committed(&topic, 1).await, [Some(10)]);
    }
}

#[tokio::test]
async fn r29_a_source_that_starts_at_the_end_skips_nothing_from_then_on() {
    let Some(peer) = KafkaPeer::new() else { return };
    let topic = unique("latest");
    peer.create(&topic, 1).await;
    peer.produce(&topic, 0, "k", &numbers(0, 3)).await;
    let mut settings = peer.source(&topic);
    settings["start"] = "latest".into();
    let source = Running::start("kafka", &settings, &peer.env());
    while peer.committed(&topic, 1).await != [Some(3)] {
        tokio::task::yield_now().await;
    }
    peer.produce(&topic, 0, "k", &["new".to_owned()]).await;
    // Refused before anything was accepted: it is still the next one.
    drop(source.inbox.take().await);
    assert_eq!(source.inbox.accept_until("new").await, ["new"]);
    source.stop().await;
}

#[tokio::test]
#[ignore = "T1: waits longer than the shortest time after which a silent member is expelled"]
async fn r29_a_full_engine_does_not_cost_a_member_its_partitions() {
    let Some(peer) = KafkaPeer::new() else { return };
    let topic = unique("silent");
    peer.create(&topic, 1).await;
    peer.produce(&topic, 0, "k", &numbers(0, 12_000)).await;
    let limits = json!({ "session.timeout.ms": 6000, "max.poll.interval.ms": 6000 });
    let connection = json!({ "brokers": peer.1, "settings": limits });
    let env = with_connection(env(peer.0.path()), "kafka", &connection);
    let inbox = Inbox::new(1);
    let source = Running::start_into("kafka", &peer.source(&topic), &env, inbox.clone());
    let first = inbox.take().await;
    let longer = std::future::pending::<()>();
    assert!(tokio::time::timeout(Duration::from_secs(10), longer).await.is_err());
    let mut seen = texts(&first.messages);
    first.ack.accept();
    seen.extend(texts(&inbox.accept(12_000 - seen.len()).await));
    assert_eq!(seen, numbers(0, 12_000), "once each, in order");
    source.stop().await;
    assert_eq!(peer.committed(&topic, 1).await, [Some(12_000)]);
}
