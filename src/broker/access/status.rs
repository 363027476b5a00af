//! The messages that tell of devices coming and going, in the vendor's form.
//!
//! Topic and fields are those of Alibaba Cloud IoT's device status notices.

use std::sync::Arc;

use bytestring::ByteString;
use contract::{Device, Message, Origin, Topic, TopicLimits};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::hooks::{Connected, Disconnected, Identity, Lifecycle};

/// The product key of clients that are no device.
const NO_PRODUCT: &str = "mqtt";

/// Publishes a JSON text on `/as/mqtt/status/{product key}/{device name}` when a device comes or
/// goes. A client that is no device counts as one of the product `mqtt`, named as its client
/// identifier; `/`, `+`, `#` and control characters of it are `_` in the topic.
#[derive(Debug, Clone)]
pub struct StatusMessages {
    time_zone: TimeZone,
    topics: TopicLimits,
}

impl StatusMessages {
    /// Status messages whose `time` and `lastTime` are in a time zone.
    #[must_use]
    pub fn new(time_zone: TimeZone, topics: TopicLimits) -> Self {
        Self { time_zone, topics }
    }

    fn message(&self, status: &str, who: &Identity, from: String, times: Times) -> Option<Message> {
        let device = who.device.clone().unwrap_or_else(|| {
            Arc::new(Device {
                product_key: ByteString::from_static(NO_PRODUCT),
                device_name: who.client_id.clone(),
            })
        });
        let body = serde_json::json!({
            "status": status,
            "productKey": &*device.product_key,
            "deviceName": &*device.device_name,
            "time": self.local(times.at_ms),
            "utcTime": utc(times.at_ms),
            "lastTime": self.local(times.last_ms),
            "utcLastTime": utc(times.last_ms),
            "clientIp": from,
        });
        let level = |text: &str| {
            text.replace(|c: char| matches!(c, '/' | '+' | '#') || c.is_control(), "_")
        };
        let text = format!(
            "/as/mqtt/status/{}/{}",
            level(&device.product_key),
            level(&device.device_name)
        );
        let topic = match Topic::parse(text, self.topics) {
            Ok(topic) => topic,
            Err(error) => {
                let client = &*who.client_id;
                tracing::warn!(client, "no status message for this client: {error}");
                return None;
            }
        };
        let mut message = Message::new(topic, body.to_string(), times.at_ms);
        message.device = Some(device);
        message.origin = Arc::new(Origin {
            source: Some("mqtt".into()),
            client_id: Some(who.client_id.clone()),
            username: who.username.clone(),
            peer: from.parse().ok(),
        });
        Some(message)
    }

    fn local(&self, ms: u64) -> String {
        timestamp(ms).to_zoned(self.time_zone.clone()).strftime("%Y-%m-%d %H:%M:%S.%3f").to_string()
    }
}

/// When it happened and when the client was last heard, in milliseconds since 1970.
#[derive(Clone, Copy)]
struct Times {
    at_ms: u64,
    last_ms: u64,
}

impl Lifecycle for StatusMessages {
    fn connected(&self, event: &Connected) -> Option<Message> {
        let times = Times { at_ms: event.at_ms, last_ms: event.at_ms };
        self.message("online", &event.identity, event.peer.ip().to_string(), times)
    }

    fn disconnected(&self, event: &Disconnected) -> Option<Message> {
        let times = Times { at_ms: event.at_ms, last_ms: event.last_seen_ms };
        self.message("offline", &event.identity, event.peer.ip().to_string(), times)
    }
}

fn utc(ms: u64) -> String {
    timestamp(ms).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn timestamp(ms: u64) -> Timestamp {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sub_devices::SubDevices;

    #[test]
    fn a_status_message_has_the_fields_of_the_vendor() {
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        let status = StatusMessages::new(zone, TopicLimits::default());
        let identity = Arc::new(Identity {
            client_id: "c".into(),
            username: None,
            device: Identity::device_in_username("dn&pk"),
            rrpc_ext: false,
            sub_devices: SubDevices::default(),
        });
        let peer = "10.0.0.7:5000".parse().expect("address");
        let at_ms = 1_535_700_748_205;
        let event = Disconnected {
            identity,
            peer,
            at_ms,
            last_seen_ms: at_ms - 10,
            reason: crate::codec::Reason::SUCCESS,
            connection: 1,
        };
        let message = status.disconnected(&event).expect("message");
        assert_eq!(message.topic.as_str(), "/as/mqtt/status/pk/dn");
        assert_eq!(
            std::str::from_utf8(&message.payload).expect("utf-8"),
            concat!(
                r#"{"status":"offline","productKey":"pk","deviceName":"dn","#,
                r#""time":"2018-08-31 15:32:28.205","utcTime":"2018-08-31T07:32:28.205Z","#,
                r#""lastTime":"2018-08-31 15:32:28.195","utcLastTime":"2018-08-31T07:32:28.195Z","#,
                r#""clientIp":"10.0.0.7"}"#
            )
        );
    }

    #[test]
    fn a_client_that_is_no_device_is_named_by_its_identifier() {
        let status = StatusMessages::new(TimeZone::UTC, TopicLimits::default());
        let (client_id, sub_devices) = ("车间/1".into(), SubDevices::default());
        let (username, device, rrpc_ext) = (None, None, false);
        let identity = Identity { client_id, username, device, rrpc_ext, sub_devices };
        let identity = Arc::new(identity);
        let peer = "[::1]:5000".parse().expect("address");
        let message = status
            .connected(&Connected { identity, peer, at_ms: 0, connection: 1 })
            .expect("message");
        assert_eq!(message.topic.as_str(), "/as/mqtt/status/mqtt/车间_1");
        assert_eq!(message.device_name(), Some("车间/1"));
    }
}
