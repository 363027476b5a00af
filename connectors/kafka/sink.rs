//! The `kafka` sink: a record is delivered when all replicas have it. A whole batch is in flight at
//! once; librdkafka's idempotent producer keeps its order.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use rdkafka::producer::FutureRecord;
use rdkafka::producer::future_producer::DeliveryFuture;
use schemars::JsonSchema;
use serde::Deserialize;

use super::connection::{Cluster, Producer};
use crate::contract::{
    ConfigError, DeliveryError, Env, FailureKind, Outcome, PathGuard, Preview, Record, Sink,
    SinkConfig, Template,
};

/// Records in one call.
const BATCH_MAX: usize = 500;

/// The longest name of a topic (Kafka's `Topic.java`).
const TOPIC_MAX: usize = 249;

/// Produces each record to a topic. The headers `tidegate-rule` and `tidegate-message-id` say where
/// it came from; `tidegate-idempotency-key` is the same for every try of a record, also after an answer
/// that was lost.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaSinkSettings {
    /// The name of a `kafka` connection.
    connection: String,
    /// The topic; values may hold letters, digits, `.`, `_` and `-`.
    topic: Template,
    /// The key. Records with the same key keep their order. Without it the device's name is the key,
    /// or there is none when no device is known.
    key: Option<Template>,
    /// The payload, such as `{"t":${t}}`; without it the record as it is.
    payload: Option<Template>,
    /// Further headers: names to values.
    #[serde(default)]
    headers: BTreeMap<String, Template>,
}

impl SinkConfig for KafkaSinkSettings {
    const NAME: &'static str = "kafka";
    const SUMMARY: &'static str = "Produces each record to a Kafka topic.";
    const EXAMPLE: &'static str = r#"{ connection: local_kafka, topic: alerts, key: "${device}" }"#;

    fn build(self, env: &Env) -> Result<Arc<dyn Sink>, ConfigError> {
        if let Some(topic) = self.topic.literal() {
            check_topic(topic).map_err(|text| ConfigError::new("topic", text))?;
        }
        let cluster = env.connections.get(&self.connection, "kafka")?;
        Ok(Arc::new(KafkaSink { cluster, settings: self }))
    }
}

/// A topic's name as Kafka allows it.
pub(super) fn check_topic(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > TOPIC_MAX || matches!(name, "." | "..") {
        return Err(format!(
            "a Kafka topic has 1 to {TOPIC_MAX} characters and is not `.` or `..`"
        ));
    }
    match name.chars().find(|c| !allowed(*c)) {
        None => Ok(()),
        Some(bad) => Err(format!(
            "a Kafka topic may not contain {bad:?}; letters, digits, `.`, `_` and `-` are allowed"
        )),
    }
}

struct KafkaSink {
    cluster: Arc<Cluster>,
    settings: KafkaSinkSettings,
}

/// What a record becomes in Kafka.
struct Prepared {
    topic: String,
    key: Option<String>,
    payload: Bytes,
    headers: OwnedHeaders,
}

/// A record on its way, or what became of it at once.
enum Sent {
    InFlight(DeliveryFuture),
    Done(Outcome),
}

#[async_trait::async_trait]
impl Sink for KafkaSink {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        let producer = match self.cluster.producer() {
            Ok(producer) => producer,
            Err(error) => return Outcome::all(&error, records.len()),
        };
        let mut sent = Vec::with_capacity(records.len());
        let mut full: Option<Outcome> = None;
        for record in records {
            // After a record that found no room none may overtake it.
            let next = match &full {
                Some(outcome) => Sent::Done(outcome.clone()),
                None => self.send(&producer, record),
            };
            if let Sent::Done(outcome @ Outcome::Retry(_)) = &next {
                full = Some(outcome.clone());
            }
            sent.push(next);
        }
        let mut outcomes = Vec::with_capacity(sent.len());
        for next in sent {
            outcomes.push(match next {
                Sent::Done(outcome) => outcome,
                Sent::InFlight(delivery) => self.confirm(delivery).await,
            });
        }
        if outcomes.iter().any(|outcome| *outcome != Outcome::Ok) {
            self.cluster.forget_broken(&producer);
        }
        outcomes
    }

    async fn check(&self) -> Result<(), DeliveryError> {
        self.cluster.look(self.settings.topic.literal().map(str::to_owned)).await
    }

    fn resource(&self) -> String {
        self.settings.topic.as_str().to_owned()
    }

    fn preview(&self, record: &Record) -> Result<Preview, DeliveryError> {
        let Prepared { topic, key, payload, headers } = self.prepare(record)?;
        let headers = headers.iter().map(|header| {
            (header.key, String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned())
        });
        Ok(Preview::new().with("topic", topic).with("key", key).headers(headers).body(&payload))
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }
}

impl KafkaSink {
    fn send(&self, producer: &Producer, record: &Record) -> Sent {
        let Prepared { topic, key, payload, headers } = match self.prepare(record) {
            Ok(prepared) => prepared,
            Err(error) => return Sent::Done(Outcome::from_error(error)),
        };
        let mut message = FutureRecord::<str, [u8]>::to(&topic)
            .payload(&payload)
            .headers(headers)
            .timestamp(i64::try_from(record.message().received_ms).unwrap_or(0));
        if let Some(key) = &key {
            message = message.key(key);
        }
        match producer.send_result(message) {
            Ok(delivery) => Sent::InFlight(delivery),
            Err((error, _)) => Sent::Done(self.outcome(&error)),
        }
    }

    fn prepare(&self, record: &Record) -> Result<Prepared, DeliveryError> {
        let rejected = |text: String| DeliveryError::new(FailureKind::Rejected, text);
        let topic = self.settings.topic.render(record, PathGuard::Segment)?;
        check_topic(&topic).map_err(rejected)?;
        let payload = match &self.settings.payload {
            None => record.bytes().clone(),
            Some(template) if template.fits(record.body) => template.render_json(record).into(),
            Some(_) => {
                return Err(rejected("a binary result has no keys for `payload`".to_owned()));
            }
        };
        let key = match &self.settings.key {
            Some(key) => Some(key.render(record, PathGuard::Free)?),
            None => record.message().device_name().map(str::to_owned),
        };
        let id = record.message().id.to_string();
        let rule: &str = &record.rule;
        let mut headers = OwnedHeaders::new_with_capacity(self.settings.headers.len() + 3)
            .insert(Header { key: "tidegate-rule", value: Some(rule) })
            .insert(Header { key: "tidegate-message-id", value: Some(&id) });
        if let Some(key) = record.idempotency_key() {
            headers = headers.insert(Header { key: "tidegate-idempotency-key", value: Some(&key) });
        }
        for (name, template) in &self.settings.headers {
            let value = template.render(record, PathGuard::Line)?;
            headers = headers.insert(Header { key: name, value: Some(&value) });
        }
        Ok(Prepared { topic, key, payload, headers })
    }

    async fn confirm(&self, delivery: DeliveryFuture) -> Outcome {
        match delivery.await {
            Ok(Ok(_)) => Outcome::Ok,
            Ok(Err((error, _))) => self.outcome(&error),
            Err(_) => self.outcome(&KafkaError::Canceled),
        }
    }

    fn outcome(&self, error: &KafkaError) -> Outcome {
        let mut failure = self.cluster.failure(error, Some(&self.cluster.context));
        // A fatal producer ends its messages with codes of their own; another producer heals that.
        let fatal = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::Fatal
                    | RDKafkaErrorCode::PurgeQueue
                    | RDKafkaErrorCode::PurgeInflight
            )
        );
        if fatal {
            failure.kind = FailureKind::Unknown;
        }
        let of_topic = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::UnknownTopic
                    | RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::InvalidTopic
                    | RDKafkaErrorCode::TopicAuthorizationFailed
            )
        );
        let named_by_record = self.settings.topic.literal().is_none();
        Outcome::from_error(failure.of_place(of_topic && named_by_record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_what_kafka_allows() {
        for good in ["alerts", "a.b_c-1", &"x".repeat(249)] {
            assert_eq!(check_topic(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "温度", &"x".repeat(250)] {
            assert!(check_topic(bad).is_err(), "{bad}");
        }
    }
}
