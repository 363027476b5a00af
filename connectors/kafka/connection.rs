//! The connection to a cluster: its options, and the producer that all sinks on it share. What is
//! produced and consumed belongs to the sink and the source.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, Producer as _};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::contract::{
    AnyConnection, ConfigError, ConnectionConfig, DeliveryError, Env, FailureKind,
};

/// How long a look at the cluster may take (`check --connect`).
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// What every client is made with; `settings` may say otherwise.
const DEFAULTS: [(&str, &str); 2] =
    [("client.id", "tidegate"), ("reconnect.backoff.max.ms", "2000")];

/// What every producer is made with besides; `settings` may say otherwise. The timeout is below the
/// engine's deadline for one delivery, so that the reason of a failure is known by then.
const PRODUCER_DEFAULTS: [(&str, &str); 7] = [
    ("linger.ms", "5"),
    ("batch.size", "262144"),
    ("compression.type", "lz4"),
    ("message.timeout.ms", "8000"),
    ("topic.metadata.propagation.max.ms", "3000"),
    ("queue.buffering.max.kbytes", "65536"),
    // As Java clients do, so that a key goes to the same partition whoever sends it.
    ("partitioner", "murmur2_random"),
];

/// Options that `settings` may not hold: delivery depends on them, they have a field of their own, or
/// they load code. One that ends with a dot stands for all that begin so.
const REFUSED: [(&str, &str); 12] = [
    ("acks", "a record counts as delivered when all replicas have it"),
    ("request.required.acks", "a record counts as delivered when all replicas have it"),
    ("enable.idempotence", "records must not be sent twice"),
    ("enable.auto.commit", "offsets are committed after the engine has accepted the messages"),
    (
        "enable.auto.offset.store",
        "offsets are committed after the engine has accepted the messages",
    ),
    ("transactional.id", "transactions are not supported"),
    ("bootstrap.servers", "write `brokers`"),
    ("metadata.broker.list", "write `brokers`"),
    ("client.id", "write `client_id`"),
    ("group.id", "write `group` in the source"),
    ("auto.offset.reset", "write `start` in the source"),
    ("plugin.", "libraries are not loaded"),
];

/// A Kafka cluster for `kafka` actions and sources.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// Some of the cluster's brokers, as `host:port`, separated by commas.
    brokers: String,
    /// How the brokers' logs name this client; `tidegate` without it.
    client_id: Option<String>,
    /// Further options of librdkafka, such as `linger.ms` or `message.timeout.ms`, as text, number
    /// or boolean.
    #[serde(default)]
    settings: BTreeMap<String, Value>,
}

impl ConnectionConfig for KafkaSettings {
    const NAME: &'static str = "kafka";
    const SUMMARY: &'static str = "A Kafka cluster.";
    const EXAMPLE: &'static str = r#"{ brokers: "127.0.0.1:9092", settings: { "linger.ms": 5 } }"#;

    fn open(self, _: &Env) -> Result<AnyConnection, ConfigError> {
        let brokers: Vec<_> = self.brokers.split(',').map(str::trim).collect();
        if brokers.iter().any(|broker| broker.is_empty() || broker.contains(char::is_whitespace)) {
            return Err(ConfigError::new("brokers", "expected `host:port`, separated by commas"));
        }
        let mut config = ClientConfig::new();
        for (name, value) in DEFAULTS {
            config.set(name, value);
        }
        config.set("bootstrap.servers", brokers.join(","));
        if let Some(client_id) = &self.client_id {
            config.set("client.id", client_id);
        }
        let mut overrides = BTreeMap::new();
        for (name, value) in self.settings {
            let path = format!("settings.{name}");
            if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| {
                *refused == name || refused.ends_with('.') && name.starts_with(refused)
            }) {
                return Err(ConfigError::new(path, format!("this option is fixed: {why}")));
            }
            let text = match value {
                Value::String(text) => text,
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                _ => return Err(ConfigError::new(path, "expected text, a number or a boolean")),
            };
            // Checked one by one: the library's error for all of them could show a password.
            let mut one = ClientConfig::new();
            if one.set(&name, &text).create_native_config().is_err() {
                let text = "librdkafka has no such option in this build, or not this value for it";
                return Err(ConfigError::new(path, text));
            }
            overrides.insert(name, text);
        }
        let shown = brokers.join(",");
        Ok(Arc::new(Cluster {
            config,
            overrides,
            shown,
            context: Context::default(),
            producer: Mutex::default(),
        }))
    }
}

/// A cluster and, once a sink needed it, the producer for it.
pub(super) struct Cluster {
    config: ClientConfig,
    overrides: BTreeMap<String, String>,
    /// The brokers, for error texts.
    pub(super) shown: String,
    /// The producer's.
    pub(super) context: Context,
    producer: Mutex<Option<Producer>>,
}

pub(super) type Producer = FutureProducer<Context>;

impl Cluster {
    /// Options for a client with these defaults, and what `settings` says instead.
    pub(super) fn client(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.config.clone();
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.overrides {
            config.set(name, value);
        }
        // librdkafka's own threads must not write to standard error.
        config.set_log_level(RDKafkaLogLevel::Info);
        config
    }

    /// The producer that all sinks share; made when it is first needed.
    pub(super) fn producer(&self) -> Result<Producer, DeliveryError> {
        let mut slot = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(producer) = slot.as_ref() {
            return Ok(producer.clone());
        }
        let mut config = self.client(&PRODUCER_DEFAULTS);
        config.set("acks", "all").set("enable.idempotence", "true");
        let producer: Producer = config
            .create_with_context(self.context.clone())
            .map_err(|error| self.failure(&error, None))?;
        *slot = Some(producer.clone());
        Ok(producer)
    }

    /// Lets go of a producer that has ended for good; the next delivery makes another one.
    pub(super) fn forget_broken(&self, producer: &Producer) {
        if producer.client().fatal_error().is_some() {
            let mut slot = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
            *slot = None;
        }
    }

    /// Asks the cluster for its metadata, about one topic or only about itself.
    pub(super) async fn look(self: &Arc<Self>, topic: Option<String>) -> Result<(), DeliveryError> {
        let cluster = self.clone();
        let look = move || {
            let producer = cluster.producer()?;
            let failure = |error: &KafkaError| cluster.failure(error, Some(&cluster.context));
            let found = producer
                .client()
                .fetch_metadata(topic.as_deref(), CHECK_TIMEOUT)
                .map_err(|error| failure(&error))?;
            let code = found.topics().iter().find_map(|topic| topic.error());
            match code.filter(|_| topic.is_some()) {
                Some(code) => Err(failure(&KafkaError::MetadataFetch(code.into()))),
                None => Ok(()),
            }
        };
        let gone =
            |_| DeliveryError::new(FailureKind::Unreachable, "the look at Kafka was cut off");
        tokio::task::spawn_blocking(look).await.map_err(gone)?
    }

    /// An error of the client library, with what the client last complained about.
    pub(super) fn failure(&self, error: &KafkaError, context: Option<&Context>) -> DeliveryError {
        let kind = match error {
            KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => {
                FailureKind::Misconfigured
            }
            _ => error.rdkafka_error_code().map_or(FailureKind::Unreachable, kind_of),
        };
        let mut text = format!("kafka {}: ", self.shown);
        match error.rdkafka_error_code() {
            Some(code) => text.push_str(&code.to_string()),
            None => text.push_str(&error.to_string()),
        }
        let heals =
            matches!(kind, FailureKind::Unreachable | FailureKind::Timeout | FailureKind::Unknown);
        if heals && let Some(last) = context.and_then(Context::last_error) {
            text.push_str("; ");
            text.push_str(&last);
        }
        DeliveryError::new(kind, text)
    }
}

/// What a code of librdkafka or the protocol (its error table) means for a record.
fn kind_of(code: RDKafkaErrorCode) -> FailureKind {
    use RDKafkaErrorCode as E;
    match code {
        E::QueueFull | E::ThrottlingQuotaExceeded => FailureKind::Busy,
        E::OperationTimedOut | E::TimedOutQueue => FailureKind::Timeout,
        // It was on its way to the broker, or may have been.
        E::MessageTimedOut | E::RequestTimedOut => FailureKind::Unknown,
        E::UnknownTopic
        | E::UnknownTopicOrPartition
        | E::UnknownPartition
        | E::InvalidTopic
        | E::UnsupportedFeature
        | E::InvalidRequiredAcks => FailureKind::Misconfigured,
        E::TopicAuthorizationFailed
        | E::GroupAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::SaslAuthenticationFailed
        | E::Authentication => FailureKind::Denied,
        E::MessageSizeTooLarge
        | E::InvalidMessageSize
        | E::InvalidMessage
        | E::InvalidRecord
        | E::InvalidTimestamp
        | E::PolicyViolation => FailureKind::Rejected,
        _ => FailureKind::Unreachable,
    }
}

/// Takes the client's logs and keeps its last complaint.
#[derive(Clone, Default)]
pub(super) struct Context {
    last_error: Arc<Mutex<Option<String>>>,
}

impl Context {
    fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(target: "tidegate::kafka", facility, "{text}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "tidegate::kafka", %error, "{reason}");
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use RDKafkaErrorCode as E;

    use super::*;

    #[test]
    fn r15_codes_mean_what_the_engine_can_do() {
        let cases: [(FailureKind, &[E]); 7] = [
            (FailureKind::Busy, &[E::QueueFull, E::ThrottlingQuotaExceeded]),
            (FailureKind::Timeout, &[E::OperationTimedOut, E::TimedOutQueue]),
            (FailureKind::Unknown, &[E::MessageTimedOut, E::RequestTimedOut]),
            (
                FailureKind::Misconfigured,
                &[
                    E::UnknownTopic,
                    E::UnknownTopicOrPartition,
                    E::UnknownPartition,
                    E::InvalidTopic,
                    E::UnsupportedFeature,
                    E::InvalidRequiredAcks,
                ],
            ),
            (
                FailureKind::Denied,
                &[
                    E::TopicAuthorizationFailed,
                    E::GroupAuthorizationFailed,
                    E::ClusterAuthorizationFailed,
                    E::SaslAuthenticationFailed,
                    E::Authentication,
                ],
            ),
            (
                FailureKind::Rejected,
                &[
                    E::MessageSizeTooLarge,
                    E::InvalidMessageSize,
                    E::InvalidMessage,
                    E::InvalidRecord,
                    E::InvalidTimestamp,
                    E::PolicyViolation,
                ],
            ),
            (
                FailureKind::Unreachable,
                &[
                    E::BrokerTransportFailure,
                    E::AllBrokersDown,
                    E::NotLeaderForPartition,
                    E::NotEnoughReplicas,
                    E::LeaderNotAvailable,
                    E::NotEnoughReplicasAfterAppend,
                    E::CoordinatorNotAvailable,
                    E::NetworkException,
                ],
            ),
        ];
        for (kind, codes) in cases {
            for code in codes {
                assert_eq!(kind_of(*code), kind, "{code:?}");
            }
        }
    }
}
