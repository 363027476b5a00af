//! The `mqtt` sink: at QoS 1 a record is delivered when the broker's PUBACK for it has come, at QoS 0
//! when it was written to the socket.

use std::sync::Arc;

use rumqttc::mqttbytes::v5::{PubAckReason, PublishProperties};
use rumqttc::{PublishNotice, PublishNoticeError, PublishOptions, PublishResult};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connection::{ExternalBroker, Link};
use crate::contract::{
    ConfigError, Confirms, DeliveryError, Env, FailureKind, Outcome, PathGuard, Preview, QoS,
    Record, Sink, SinkConfig, Template, Topic, TopicLimits,
};

/// Records in one call. Many, because the end of each is slow with a broker that leaves Nagle's
/// algorithm on (Mosquitto does by default): its last PUBACKs wait up to 40 ms.
const BATCH_MAX: usize = 500;

/// More than a PUBLISH holds besides topic and payload: fixed header, lengths, packet id.
const PACKET_REST: usize = 16;

/// The longest topic that MQTT itself allows, in bytes; the other broker has its own rules.
const TOPIC_LIMITS: TopicLimits = TopicLimits { bytes: 65_535, levels: usize::MAX };

/// The user property that tells subscribers a further try from a further record (MQTT 5.0 §3.3.2.3.7).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Publishes each record to an external broker. The user property `idempotency-key` is the same for
/// every try of a record, also after a PUBACK that was lost.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MqttSinkSettings {
    /// The name of an `mqtt` connection.
    connection: String,
    /// The topic; a value may not hold `/`, `+` or `#`.
    topic: Template,
    /// The quality of service: 0 or 1.
    #[serde(default = "at_least_once")]
    #[schemars(extend("enum" = [0, 1]))]
    qos: QoS,
    /// Whether the broker keeps the message as the topic's last value.
    #[serde(default)]
    retain: bool,
}

fn at_least_once() -> QoS {
    QoS::AtLeastOnce
}

impl SinkConfig for MqttSinkSettings {
    const NAME: &'static str = "mqtt";
    const SUMMARY: &'static str = "Publishes each record to an external MQTT broker.";
    const EXAMPLE: &'static str =
        r#"{ connection: floor, topic: "plant/${device}/alert", qos: 1 }"#;

    fn build(self, env: &Env) -> Result<Arc<dyn Sink>, ConfigError> {
        if self.qos == QoS::ExactlyOnce {
            let text = "expected 0 or 1: what is tried again comes twice at QoS 2, too";
            return Err(ConfigError::new("qos", text));
        }
        if let Some(topic) = self.topic.literal() {
            Topic::parse(topic, TOPIC_LIMITS)
                .map_err(|error| ConfigError::new("topic", error.to_string()))?;
        }
        let broker = env.connections.get(&self.connection, "mqtt")?;
        Ok(Arc::new(MqttSink { broker, settings: self }))
    }
}

struct MqttSink {
    broker: Arc<ExternalBroker>,
    settings: MqttSinkSettings,
}

/// Gives a link up unless the delivery came to its end: a deadline that passes means that the broker
/// did not confirm in time.
struct Unfinished<'a>(Option<&'a Link>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(link) = self.0 {
            link.give_up();
        }
    }
}

#[async_trait::async_trait]
impl Sink for MqttSink {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        let link = match self.broker.link().await {
            Ok(link) => link,
            Err(error) => return Outcome::all(&error, records.len()),
        };
        let mut guard = Unfinished(Some(&link));
        let mut sent = Vec::with_capacity(records.len());
        for record in records {
            sent.push(self.send(&link, record).await);
        }
        let mut outcomes = Vec::with_capacity(records.len());
        for notice in sent {
            let confirmed = match notice {
                Ok(notice) => confirmation(notice.wait_async().await, &link)
                    .map_err(|error| error.of_place(self.settings.topic.literal().is_none())),
                Err(error) => Err(error),
            };
            outcomes.push(confirmed.map_or_else(Outcome::from_error, |()| Outcome::Ok));
        }
        guard.0 = None;
        outcomes
    }

    async fn check(&self) -> Result<(), DeliveryError> {
        self.broker.link().await.map(drop)
    }

    fn resource(&self) -> String {
        self.settings.topic.as_str().to_owned()
    }

    fn preview(&self, record: &Record) -> Result<Preview, DeliveryError> {
        Ok(Preview::new()
            .with("topic", self.topic(record)?)
            .with("qos", self.settings.qos.level())
            .with("retain", self.settings.retain)
            .body(record.bytes()))
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    fn confirms(&self) -> Confirms {
        match self.settings.qos.is_acknowledged() {
            true => Confirms::Kept,
            false => Confirms::HandedOver,
        }
    }
}

fn rejected(text: String) -> DeliveryError {
    DeliveryError::new(FailureKind::Rejected, text)
}

impl MqttSink {
    fn topic(&self, record: &Record) -> Result<String, DeliveryError> {
        let topic = self.settings.topic.render(record, PathGuard::Segment)?;
        Topic::parse(topic.as_str(), TOPIC_LIMITS).map_err(|error| rejected(error.to_string()))?;
        Ok(topic)
    }

    async fn send(&self, link: &Link, record: &Record) -> Result<PublishNotice, DeliveryError> {
        let topic = self.topic(record)?;
        let key = record.idempotency_key();
        // A user property has an id and two lengths (MQTT 5.0 §2.2.2.2).
        let property = key.as_ref().map_or(0, |key| 5 + IDEMPOTENCY_KEY.len() + key.len());
        let size = topic.len() + record.bytes().len() + property + PACKET_REST;
        if size > link.packet_max() {
            let most = link.packet_max();
            return Err(rejected(format!("the broker takes packets of at most {most} bytes")));
        }
        let qos = match self.settings.qos {
            QoS::AtMostOnce => rumqttc::QoS::AtMostOnce,
            QoS::AtLeastOnce | QoS::ExactlyOnce => rumqttc::QoS::AtLeastOnce,
        };
        let mut options = PublishOptions::new(qos).retain(self.settings.retain);
        if let Some(key) = key {
            options = options.properties(PublishProperties {
                user_properties: vec![(IDEMPOTENCY_KEY.to_owned(), key)],
                ..PublishProperties::default()
            });
        }
        let queued = link.client.publish_tracked(topic, record.bytes().clone(), options).await;
        queued.map_err(|error| gone(link, &error.to_string()))
    }
}

/// What the broker, or the end of the connection, says about one publish (MQTT 5.0 §3.4.2.1).
fn confirmation(
    result: Result<PublishResult, PublishNoticeError>,
    link: &Link,
) -> Result<(), DeliveryError> {
    let reason = match result {
        Ok(PublishResult::Qos1(ack)) => ack.reason,
        Ok(_) => return Ok(()),
        Err(PublishNoticeError::V5PubAck(reason)) => reason,
        Err(error @ PublishNoticeError::RetainNotSupported) => {
            return Err(DeliveryError::new(FailureKind::Misconfigured, error.to_string()));
        }
        Err(error) => {
            // It was handed to the connection, and may have reached the broker.
            let error = gone(link, &error.to_string());
            return Err(DeliveryError { kind: FailureKind::Unknown, ..error });
        }
    };
    match kind_of(reason) {
        None => Ok(()),
        Some(kind) => {
            Err(DeliveryError::new(kind, format!("the broker refused the message: {reason:?}")))
        }
    }
}

/// What the reason in a PUBACK means; `None` confirms the message.
fn kind_of(reason: PubAckReason) -> Option<FailureKind> {
    Some(match reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => return None,
        PubAckReason::NotAuthorized => FailureKind::Denied,
        PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid => {
            FailureKind::Rejected
        }
        PubAckReason::QuotaExceeded | PubAckReason::PacketIdentifierInUse => FailureKind::Busy,
        PubAckReason::UnspecifiedError | PubAckReason::ImplementationSpecificError => {
            FailureKind::Unreachable
        }
    })
}

/// The connection ended first: why, as far as the link knows.
fn gone(link: &Link, otherwise: &str) -> DeliveryError {
    let mut error =
        link.over().unwrap_or_else(|| DeliveryError::new(FailureKind::Unreachable, otherwise));
    // What was in flight when a connection ended may still be delivered over the next one.
    if Outcome::from_error(error.clone()) != Outcome::Retry(error.clone()) {
        error.kind = FailureKind::Unreachable;
    }
    error
}

#[cfg(test)]
mod tests {
    use PubAckReason as R;

    use super::*;

    #[test]
    fn r15_reasons_mean_what_the_engine_can_do() {
        let cases: [(Option<FailureKind>, &[R]); 5] = [
            (None, &[R::Success, R::NoMatchingSubscribers]),
            (Some(FailureKind::Denied), &[R::NotAuthorized]),
            (Some(FailureKind::Rejected), &[R::TopicNameInvalid, R::PayloadFormatInvalid]),
            (Some(FailureKind::Busy), &[R::QuotaExceeded, R::PacketIdentifierInUse]),
            (
                Some(FailureKind::Unreachable),
                &[R::UnspecifiedError, R::ImplementationSpecificError],
            ),
        ];
        for (kind, reasons) in cases {
            for reason in reasons {
                assert_eq!(kind_of(*reason), kind, "{reason:?}");
            }
        }
    }
}
