//! The inbound unit: a payload that a device sent to a topic, with what is known about it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use bytestring::ByteString;

use super::Topic;

/// MQTT's quality of service. In settings it is the number 0, 1 or 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, serde::Deserialize)]
#[serde(try_from = "u8")]
pub enum QoS {
    /// At most once.
    #[default]
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
    /// Exactly once between an MQTT client and the broker; for rules it is as [`QoS::AtLeastOnce`].
    ExactlyOnce,
}

impl QoS {
    /// The level as MQTT numbers it: 0, 1 or 2.
    #[must_use]
    pub fn level(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }

    /// True when the sender waits for an acknowledgement.
    #[must_use]
    pub fn is_acknowledged(self) -> bool {
        self > Self::AtMostOnce
    }
}

impl TryFrom<u8> for QoS {
    type Error = &'static str;

    fn try_from(level: u8) -> Result<Self, Self::Error> {
        match level {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce),
            _ => Err("a quality of service is 0, 1 or 2"),
        }
    }
}

impl schemars::JsonSchema for QoS {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "QoS".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": [0, 1, 2] })
    }
}

/// The device that a message belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Device {
    /// The product key.
    pub product_key: ByteString,
    /// The device's name, unique within the product.
    pub device_name: ByteString,
}

/// How a message came in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The source's name from the configuration; `mqtt` for the embedded broker, `http` for ingest.
    pub source: Option<Arc<str>>,
    /// The client id of the publisher, where the protocol has one.
    pub client_id: Option<ByteString>,
    /// The user name of the publisher, where the protocol has one.
    pub username: Option<ByteString>,
    /// The address that the publisher's connection comes from.
    pub peer: Option<IpAddr>,
}

/// What a publisher says about a payload and the answer that it expects (MQTT 5.0 §3.3.2.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    /// What the payload is, in the publisher's words.
    pub content_type: Option<ByteString>,
    /// Where an answer is to be published.
    pub response_topic: Option<ByteString>,
    /// Bytes that the answer is to repeat.
    pub correlation_data: Option<Bytes>,
}

/// One message. Cloning shares topic and payload.
#[derive(Debug, Clone)]
pub struct Message {
    /// What it was published to.
    pub topic: Topic,
    /// The bytes as published.
    pub payload: Bytes,
    /// Unique within the daemon, increasing; 0 until the engine has taken the message.
    pub id: u64,
    /// When it was received, in milliseconds since 1970-01-01T00:00:00Z.
    pub received_ms: u64,
    /// The device as the source knows it; `None` means: read it from the topic.
    pub device: Option<Arc<Device>>,
    /// The quality of service it was published with.
    pub qos: QoS,
    /// Whether the broker keeps it as the topic's last value.
    pub retain: bool,
    /// MQTT 5 user properties, Kafka headers that are text, or HTTP headers chosen by the source.
    pub properties: Option<Arc<[(ByteString, ByteString)]>>,
    /// Content type, response topic and correlation data, when there is any of them.
    pub headers: Option<Arc<Headers>>,
    /// How it came in.
    pub origin: Arc<Origin>,
    /// How many times a rule has republished what led to this message; 0 from a device.
    pub hops: u8,
    /// Where it stands in the daemon's log; `None` when it is not kept there.
    pub position: Option<u64>,
}

impl Message {
    /// A message as a device would send it, with everything else at its default.
    #[must_use]
    pub fn new(topic: Topic, payload: impl Into<Bytes>, received_ms: u64) -> Self {
        Self {
            topic,
            payload: payload.into(),
            id: 0,
            received_ms,
            device: None,
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
            headers: None,
            origin: Arc::new(Origin::default()),
            hops: 0,
            position: None,
        }
    }

    /// The first user property with a key.
    #[must_use]
    pub fn property(&self, key: &str) -> Option<&str> {
        let found = self.properties.as_ref()?.iter().find(|(have, _)| have == key)?;
        Some(&found.1)
    }

    /// The product key: the source's, else the one in the topic (`/{pk}/{dn}/…`,
    /// `/sys/{pk}/{dn}/…`, `/as/mqtt/status/{pk}/{dn}`).
    #[must_use]
    pub fn product_key(&self) -> Option<&str> {
        match &self.device {
            Some(device) => Some(&device.product_key),
            None => device_in(&self.topic).map(|(product_key, _)| product_key),
        }
    }

    /// The device name, found as [`Message::product_key`] is.
    #[must_use]
    pub fn device_name(&self) -> Option<&str> {
        match &self.device {
            Some(device) => Some(&device.device_name),
            None => device_in(&self.topic).map(|(_, device_name)| device_name),
        }
    }
}

/// Product key and device name in a topic that starts with a slash and has both.
fn device_in(topic: &Topic) -> Option<(&str, &str)> {
    let rest = topic.as_str().strip_prefix('/')?;
    let rest =
        rest.strip_prefix("sys/").or_else(|| rest.strip_prefix("as/mqtt/status/")).unwrap_or(rest);
    let (product_key, rest) = rest.split_once('/')?;
    let device_name = rest.split('/').next().unwrap_or(rest);
    (!product_key.is_empty() && !device_name.is_empty()).then_some((product_key, device_name))
}

/// Hands out message ids: the start time in milliseconds, shifted, plus a counter. They increase over
/// restarts as long as the clock does not go back, and have 18 or 19 digits like the vendor's.
#[derive(Debug)]
pub struct MessageIds(AtomicU64);

impl MessageIds {
    /// Starts at a wall-clock time in milliseconds since 1970.
    #[must_use]
    pub fn starting_at(now_ms: u64) -> Self {
        Self(AtomicU64::new(now_ms << 20))
    }

    /// Reserves `count` ids and returns the first.
    pub fn reserve(&self, count: u64) -> u64 {
        self.0.fetch_add(count, Ordering::Relaxed)
    }
}

/// The wall clock, in milliseconds since 1970.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TopicLimits;

    #[test]
    fn the_device_is_read_from_the_topic() {
        let device = |text: &str| {
            let topic = Topic::parse(text, TopicLimits::default()).expect("topic");
            let message = Message::new(topic, "", 0);
            (message.product_key().map(str::to_owned), message.device_name().map(str::to_owned))
        };
        let found = (Some("pk".to_owned()), Some("dn".to_owned()));
        assert_eq!(device("/pk/dn/user/data"), found);
        assert_eq!(device("/pk/dn"), found);
        assert_eq!(device("/sys/pk/dn/thing/event/property/post"), found);
        assert_eq!(device("/as/mqtt/status/pk/dn"), found);
        assert_eq!(device("pk/dn/x"), (None, None));
        assert_eq!(device("/pk"), (None, None));
    }
}
