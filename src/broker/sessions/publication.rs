//! A published message: as it comes in, and as it waits in queues.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use contract::{Headers, Message, QoS, Topic, TopicLimits};

use crate::codec::{Name, Properties, Value};

/// A message with what only MQTT knows of it.
#[derive(Debug, Clone)]
pub struct Publication {
    pub message: Message,
    /// What is passed on to MQTT 5 subscribers (MQTT 5.0 §3.3.2.3).
    pub properties: Properties,
    pub expires_ms: Option<u64>,
}

/// A message as it waits in queues; many queues share one.
#[derive(Debug)]
pub struct Routed {
    pub topic: Topic,
    pub payload: Bytes,
    pub properties: Properties,
    pub expires_ms: Option<u64>,
    /// The publisher's QoS.
    pub qos: QoS,
    /// Bytes that it counts for in limits; at least 64.
    pub size: usize,
}

/// What a message counts for beside its topic, payload and properties, in bytes.
const OVERHEAD: usize = 64;

impl Publication {
    /// A message from inside the daemon; its properties become user properties.
    pub fn from_message(message: Message) -> Self {
        let mut properties = Properties::default();
        let fits = |text: &ByteString| text.len() <= usize::from(u16::MAX);
        for (key, value) in message.properties.iter().flat_map(|list| list.iter()) {
            if fits(key) && fits(value) {
                properties.push(Name::User, Value::Pair(key.clone(), value.clone()));
            }
        }
        if let Some(headers) = &message.headers {
            for (name, text) in [
                (Name::ContentType, &headers.content_type),
                (Name::ResponseTopic, &headers.response_topic),
            ] {
                if let Some(text) = text.as_ref().filter(|text| fits(text)) {
                    properties.push(name, Value::Text(text.clone()));
                }
            }
            let data = headers.correlation_data.as_ref();
            if let Some(data) = data.filter(|data| data.len() <= usize::from(u16::MAX)) {
                properties.push(Name::CorrelationData, Value::Binary(data.clone()));
            }
        }
        Self { message, properties, expires_ms: None }
    }

    /// Takes over the properties of a PUBLISH or a will: those that are passed on, the expiry, and
    /// what the engine sees too: user properties, content type and what an answer needs.
    pub fn new(mut message: Message, mut properties: Properties) -> Self {
        let mut expires_ms = None;
        if !properties.is_empty() {
            if let Some(seconds) = properties.number(Name::MessageExpiry) {
                expires_ms = Some(message.received_ms.saturating_add(u64::from(seconds) * 1_000));
            }
            properties.retain(|property| {
                matches!(
                    property.name,
                    Name::PayloadFormat
                        | Name::ContentType
                        | Name::ResponseTopic
                        | Name::CorrelationData
                        | Name::User
                )
            });
            let user: Vec<_> =
                properties.user().map(|(key, value)| (key.clone(), value.clone())).collect();
            if !user.is_empty() {
                message.properties = Some(user.into());
            }
            let headers = Headers {
                content_type: properties.text(Name::ContentType).cloned(),
                response_topic: properties.text(Name::ResponseTopic).cloned(),
                correlation_data: match properties.get(Name::CorrelationData) {
                    Some(Value::Binary(data)) => Some(data.clone()),
                    _ => None,
                },
            };
            if headers != Headers::default() {
                message.headers = Some(Arc::new(headers));
            }
        }
        Self { message, properties, expires_ms }
    }

    pub(super) fn routed(&self) -> Routed {
        let Message { topic, payload, qos, .. } = &self.message;
        let properties = self.properties.clone();
        Routed::new(topic.clone(), payload.clone(), properties, self.expires_ms, *qos)
    }

    /// The same in memory of its own: a small message must not keep the buffer of up to 64 KiB that
    /// it was read with.
    pub(super) fn copied(&self, limits: TopicLimits) -> Routed {
        let mut routed = self.routed();
        let text = ByteString::from(routed.topic.as_str());
        if let Ok(topic) = Topic::parse(text, limits) {
            routed.topic = topic;
        }
        routed.payload = Bytes::copy_from_slice(&routed.payload);
        routed.properties = routed.properties.copied();
        routed
    }
}

impl Routed {
    pub fn new(
        topic: Topic,
        payload: Bytes,
        properties: Properties,
        expires_ms: Option<u64>,
        qos: QoS,
    ) -> Self {
        let size = OVERHEAD + topic.as_str().len() + payload.len() + properties.encoded_len();
        Self { topic, payload, properties, expires_ms, qos, size }
    }

    /// The properties of the PUBLISH to a subscriber: what was published, what is left of the
    /// expiry at `now_ms`, and the identifiers of the subscriptions.
    pub fn properties_for(&self, ids: &[u32], now_ms: u64) -> Cow<'_, Properties> {
        if ids.is_empty() && self.expires_ms.is_none() {
            return Cow::Borrowed(&self.properties);
        }
        let mut properties = self.properties.clone();
        if let Some(at) = self.expires_ms {
            let left = at.saturating_sub(now_ms).div_ceil(1_000);
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            properties.push(Name::MessageExpiry, Value::Long(left));
        }
        for &id in ids {
            properties.push(Name::SubscriptionId, Value::Var(id));
        }
        Cow::Owned(properties)
    }
}
