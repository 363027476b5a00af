//! The `kafka` source: a member of a consumer group that commits an offset only after the engine has
//! accepted the message. It keeps each partition's order and does not look into payloads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use futures_util::FutureExt as _;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use super::connection::Cluster;
use super::member::{Member, Moment};
use super::sink::check_topic;
use crate::contract::{
    Batch, Body, ConfigError, Device, Env, InFlight, Ingress, Message, Origin, PathGuard, QoS,
    Reconnect, Record, Shutdown, Source, SourceConfig, SourceError, Template, Topic, TopicLimits,
    device_pair, now_ms,
};

/// Messages and bytes in one batch.
const BATCH_MAX: usize = 500;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// How long the engine may have no room before the consumer is only polled.
const PAUSE_AFTER: Duration = Duration::from_secs(2);

/// How long a stop waits for batches that the engine still holds.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// What every consumer is made with; the connection's `settings` may say otherwise.
const DEFAULTS: [(&str, &str); 5] = [
    ("auto.commit.interval.ms", "1000"),
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("topic.metadata.refresh.interval.ms", "10000"),
    ("queued.max.messages.kbytes", "16384"),
    ("fetch.message.max.bytes", "1048576"),
];

/// Reads topics of a cluster as a member of a consumer group. In the templates `topic`, `key`,
/// `partition`, `offset` and `headers.NAME` are those of the Kafka message.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaSourceSettings {
    /// The name of a `kafka` connection.
    connection: String,
    /// The consumer group; its members share the work.
    group: String,
    /// The topics to read; one that starts with `^` is a regular expression.
    topics: Vec<String>,
    /// The topic that rules see.
    #[serde(default = "slash_topic")]
    topic: Template,
    /// The product key of the device that sent the message; without it, it is read from the topic.
    product_key: Option<Template>,
    /// The name of the device; goes with `product_key`.
    device_name: Option<Template>,
    /// Where a group starts in a partition of which it has read nothing yet. Where what it would read
    /// next is gone, it goes on with the oldest that there is.
    #[serde(default)]
    start: Start,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Start {
    #[default]
    Earliest,
    Latest,
}

fn slash_topic() -> Template {
    Template::parse("/${topic}").expect("invariant: a constant with one closed path")
}

impl SourceConfig for KafkaSourceSettings {
    const NAME: &'static str = "kafka";
    const SUMMARY: &'static str = "Reads topics of a Kafka cluster as a member of a group.";
    const EXAMPLE: &'static str = r#"{ connection: local_kafka, group: tidegate, topics: [telemetry], topic: "/a1Pk/${key}/user/${topic}" }"#;

    fn build(self, name: &str, env: &Env) -> Result<Box<dyn Source>, ConfigError> {
        if self.topics.is_empty() {
            return Err(ConfigError::new("topics", "name at least one topic"));
        }
        for topic in self.topics.iter().filter(|topic| !topic.starts_with('^')) {
            check_topic(topic).map_err(|text| ConfigError::new("topics", text))?;
        }
        if self.group.is_empty() {
            return Err(ConfigError::new("group", "a group has a name"));
        }
        let device = device_pair(self.product_key, self.device_name)?;
        Ok(Box::new(KafkaSource {
            cluster: env.connections.get(&self.connection, "kafka")?,
            mapping: Mapping {
                only_topic: device.is_none() && self.topic.as_str() == "/${topic}",
                limits: env.topic_limits,
                payload_max: env.payload_max,
                origin: Arc::new(Origin { source: Some(name.into()), ..Origin::default() }),
                topic: self.topic,
                device,
            },
            name: name.to_owned(),
            group: self.group,
            topics: self.topics,
            start: self.start,
        }))
    }
}

struct KafkaSource {
    cluster: Arc<Cluster>,
    mapping: Mapping,
    name: String,
    group: String,
    topics: Vec<String>,
    start: Start,
}

type Consumer = StreamConsumer<Member>;

/// The last offset of each partition of a batch, and when it was read.
type Offsets = BTreeMap<(String, i32), (i64, Moment)>;

/// Why a consumer ended.
enum End {
    Stopped,
    Failed(String),
}

#[async_trait::async_trait]
impl Source for KafkaSource {
    async fn run(
        self: Box<Self>,
        ingress: Arc<dyn Ingress>,
        mut shutdown: Shutdown,
    ) -> Result<(), SourceError> {
        let mut reconnect = Reconnect::default();
        while !shutdown.is_stopped() {
            let mut progress = false;
            match self.consume(&*ingress, &mut shutdown, &mut progress).await {
                End::Stopped => break,
                End::Failed(reason) => {
                    if reconnect.failed(progress) {
                        tracing::warn!(
                            source = self.name,
                            "reading from Kafka failed, trying again: {reason}"
                        );
                    }
                }
            }
            reconnect.pause(&mut shutdown).await;
        }
        Ok(())
    }
}

impl KafkaSource {
    fn consumer(&self) -> Result<Consumer, KafkaError> {
        let mut config = self.cluster.client(&DEFAULTS);
        config
            .set("group.id", &self.group)
            .set("enable.auto.commit", "true")
            .set("enable.auto.offset.store", "false")
            // Also for an offset that the cluster does not have (any more): what follows it is read,
            // never skipped.
            .set("auto.offset.reset", "earliest");
        let member = Member::new(matches!(self.start, Start::Latest));
        let consumer: Consumer = config.create_with_context(member)?;
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        Ok(consumer)
    }

    /// One consumer from its start to its end. A refused batch ends it: the next one starts again
    /// behind what was accepted.
    async fn consume(
        &self,
        ingress: &dyn Ingress,
        shutdown: &mut Shutdown,
        progress: &mut bool,
    ) -> End {
        let consumer = match self.consumer() {
            Ok(consumer) => consumer,
            Err(error) => return End::Failed(self.cluster.failure(&error, None).message),
        };
        let mut reading = Reading {
            source: self,
            consumer: &consumer,
            ingress,
            held: InFlight::default(),
            refused: None,
            next: None,
            full_since: None,
            paused: false,
            complained: false,
        };
        let end = reading.run(shutdown, progress).await;
        if matches!(end, End::Stopped) {
            // What is not accepted by then is read again by whoever continues.
            tokio::time::timeout(STOP_WAIT, reading.settle()).await.ok();
        }
        drop(reading);
        // Committing and leaving the group wait for the broker.
        let close = move || {
            consumer.commit_consumer_state(CommitMode::Sync).ok();
            drop(consumer);
        };
        tokio::task::spawn_blocking(close).await.ok();
        end
    }

    /// The first message and what else is there already, as one batch.
    fn collect(&self, consumer: &Consumer, first: BorrowedMessage<'_>) -> (Vec<Message>, Offsets) {
        let (mut messages, mut offsets) = (Vec::new(), Offsets::new());
        let (mut count, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(message) = next {
            count += 1;
            bytes += message.payload_len();
            let place = (message.topic().to_owned(), message.partition());
            offsets.insert(place, (message.offset(), consumer.context().now()));
            match self.mapping.message(&message) {
                Ok(message) => messages.push(message),
                Err(reason) => tracing::warn!(
                    source = self.name,
                    topic = message.topic(),
                    partition = message.partition(),
                    offset = message.offset(),
                    "skipped a Kafka message: {reason}"
                ),
            }
            if count >= BATCH_MAX || bytes >= BATCH_BYTES_MAX {
                break;
            }
            // An error ends the batch; it comes again when the next one is read.
            next = consumer.recv().now_or_never().and_then(Result::ok);
        }
        (messages, offsets)
    }
}

/// Marks offsets for the next commit. A partition that was taken away meanwhile is not ours to mark,
/// even when it has come back: those messages are read again.
fn store(consumer: &Consumer, offsets: &Offsets) {
    for ((topic, partition), (offset, read)) in offsets {
        if !consumer.context().held_since(topic, *partition, *read) {
            tracing::debug!(topic, partition, offset, "not stored: the partition was taken away");
        } else if let Err(error) = consumer.store_offset(topic, *partition, *offset) {
            tracing::debug!(topic, partition, offset, "the offset is not stored: {error}");
        }
    }
}

/// What a consumer has under way.
struct Reading<'a> {
    source: &'a KafkaSource,
    consumer: &'a Consumer,
    ingress: &'a dyn Ingress,
    held: InFlight<Offsets>,
    /// A batch for which the engine has no room; its offsets are held already.
    refused: Option<Batch>,
    /// The first message of a partition that was given while nothing could be taken.
    next: Option<BorrowedMessage<'a>>,
    /// Since when nothing more is taken.
    full_since: Option<Instant>,
    paused: bool,
    complained: bool,
}

impl Reading<'_> {
    /// Reads until a stop or a failure.
    async fn run(&mut self, shutdown: &mut Shutdown, progress: &mut bool) -> End {
        loop {
            let full = self.check_room();
            if !full && let Some(next) = self.next.take() {
                self.take(next);
                continue;
            }
            let pause_at =
                self.full_since.filter(|_| !self.paused).map(|since| since + PAUSE_AFTER);
            tokio::select! {
                biased;
                () = shutdown.wait() => return End::Stopped,
                Some((accepted, offsets)) = self.held.next(), if !self.held.is_empty() => {
                    match accepted {
                        Ok(()) => {
                            *progress = true;
                            store(self.consumer, &offsets);
                        }
                        Err(error) => return End::Failed(error.to_string()),
                    }
                }
                () = self.ingress.ready(), if self.refused.is_some() => {
                    if let Some(batch) = self.refused.take() && !self.offer(batch) {
                        // Ready, and full again: let others run before the next look.
                        tokio::task::yield_now().await;
                    }
                }
                () = until(pause_at), if pause_at.is_some() => self.pause(),
                read = self.consumer.recv(), if !full || (self.paused && self.next.is_none()) => {
                    match read {
                        Ok(message) if full => self.next = Some(message),
                        Ok(message) => self.take(message),
                        Err(error) => {
                            if let Some(end) = self.failed(&error) {
                                return end;
                            }
                        }
                    }
                }
            }
        }
    }

    /// True when nothing more can be taken now.
    fn check_room(&mut self) -> bool {
        let full = self.refused.is_some() || self.held.is_full();
        if full {
            self.full_since.get_or_insert_with(Instant::now);
            return true;
        }
        self.full_since = None;
        if std::mem::take(&mut self.paused) {
            let all = self.consumer.assignment();
            if let Err(error) = all.and_then(|all| self.consumer.resume(&all)) {
                tracing::warn!(source = self.source.name, "can't go on reading: {error}");
            }
        }
        false
    }

    /// Asks for no more messages, so that the consumer can be polled: a member that is silent for
    /// too long (`max.poll.interval.ms`) loses its partitions, and all of it is read again.
    fn pause(&mut self) {
        let all = self.consumer.assignment();
        if let Err(error) = all.and_then(|all| self.consumer.pause(&all)) {
            tracing::warn!(source = self.source.name, "can't pause reading: {error}");
        }
        self.paused = true;
    }

    /// Takes a message and what else is there already to the engine.
    fn take(&mut self, first: BorrowedMessage<'_>) {
        self.complained = false;
        let (messages, offsets) = self.source.collect(self.consumer, first);
        if messages.is_empty() {
            return self.held.push_skipped(offsets);
        }
        let (batch, wait) = Batch::awaited(messages);
        self.held.push(wait, offsets);
        self.offer(batch);
    }

    /// False when the engine has no room.
    fn offer(&mut self, batch: Batch) -> bool {
        self.refused = self.ingress.try_submit(batch).err();
        self.refused.is_none()
    }

    /// The end, when an error is one.
    fn failed(&mut self, error: &KafkaError) -> Option<End> {
        let cluster = &self.source.cluster;
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            return Some(End::Failed(cluster.failure(error, None).message));
        }
        // librdkafka reconnects by itself.
        let error = cluster.failure(error, Some(self.consumer.context().context()));
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(source = self.source.name, "reading from Kafka: {error}");
        }
        None
    }

    /// Marks what the engine accepts of the batches that it holds, up to the first that it refuses.
    async fn settle(&mut self) {
        // What the engine had no room for is not offered any more.
        self.refused = None;
        while let Some((Ok(()), offsets)) = self.held.next().await {
            store(self.consumer, &offsets);
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// How a Kafka message becomes a message of ours.
struct Mapping {
    topic: Template,
    device: Option<(Template, Template)>,
    /// Nothing but Kafka's topic is asked for.
    only_topic: bool,
    limits: TopicLimits,
    payload_max: usize,
    origin: Arc<Origin>,
}

impl Mapping {
    fn message(&self, from: &BorrowedMessage<'_>) -> Result<Message, String> {
        let payload = from.payload().unwrap_or_default();
        if payload.len() > self.payload_max {
            let most = self.payload_max;
            return Err(format!(
                "its payload has {} bytes, at most {most} are taken",
                payload.len()
            ));
        }
        let (topic, device) =
            if self.only_topic { (format!("/{}", from.topic()), None) } else { self.render(from)? };
        let topic = Topic::parse(topic, self.limits).map_err(|error| error.to_string())?;
        Ok(Message {
            device,
            qos: QoS::AtLeastOnce,
            properties: text_headers(from),
            origin: self.origin.clone(),
            ..Message::new(topic, Bytes::copy_from_slice(payload), now_ms())
        })
    }

    fn render(&self, from: &BorrowedMessage<'_>) -> Result<(String, Option<Arc<Device>>), String> {
        let headers: serde_json::Map<_, _> = text_headers(from)
            .iter()
            .flat_map(|headers| headers.iter())
            .map(|(name, value)| (name.to_string(), value.to_string().into()))
            .collect();
        let facts = serde_json::json!({
            "topic": from.topic(),
            "key": from.key().and_then(|key| std::str::from_utf8(key).ok()),
            "partition": from.partition(),
            "offset": from.offset(),
            "headers": headers,
        });
        let limits = TopicLimits { bytes: usize::MAX, levels: usize::MAX };
        let none = Topic::parse("/", limits).map_err(|error| error.to_string())?;
        let batch: Arc<[Message]> = vec![Message::new(none, "", 0)].into();
        let facts = Record::new(batch, 0, "".into(), Body::Json, facts.to_string().into());
        let render = |template: &Template| {
            template.render(&facts, PathGuard::Segment).map_err(|error| error.to_string())
        };
        let device = match &self.device {
            None => None,
            Some((product_key, device_name)) => Some(Arc::new(Device {
                product_key: render(product_key)?.into(),
                device_name: render(device_name)?.into(),
            })),
        };
        Ok((render(&self.topic)?, device))
    }
}

fn text_headers(from: &BorrowedMessage<'_>) -> Option<Arc<[(ByteString, ByteString)]>> {
    let pairs: Vec<_> = from
        .headers()?
        .iter()
        .filter_map(|header| {
            let value = std::str::from_utf8(header.value?).ok()?;
            Some((ByteString::from(header.key), ByteString::from(value)))
        })
        .collect();
    (!pairs.is_empty()).then(|| pairs.into())
}
