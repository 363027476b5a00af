//! Thing-model messages: what a device posts, as the document that rules see.
//!
//! It keeps no thing models, validates nothing against them, and answers no device.

mod alink;

use std::sync::Arc;

use connectors::contract::{Batch, Ingress, Message};

/// Stands before the engine's ingress and turns posts of the thing model into the documents that
/// the vendor's rules are written for. All other messages pass as they are.
pub struct Forwarder {
    inner: Arc<dyn Ingress>,
}

impl Forwarder {
    /// A forwarder before that ingress.
    #[must_use]
    pub fn new(inner: Arc<dyn Ingress>) -> Self {
        Self { inner }
    }
}

#[async_trait::async_trait]
impl Ingress for Forwarder {
    /// A batch that comes back has its documents already; offering it again changes nothing more.
    fn try_submit(&self, mut batch: Batch) -> Result<(), Batch> {
        batch.messages.iter_mut().for_each(forward);
        self.inner.try_submit(batch)
    }

    async fn ready(&self) {
        self.inner.ready().await;
    }
}

/// Rewrites a post of the thing model; leaves any other message alone.
pub fn forward(message: &mut Message) {
    if let Some((topic, payload)) = alink::convert(message) {
        message.topic = topic;
        if let Some(payload) = payload {
            message.payload = payload;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connectors::contract::{Topic, TopicLimits};

    fn message(topic: &str, payload: &'static str) -> Message {
        let topic = Topic::parse(topic, TopicLimits::default()).expect("topic");
        Message::new(topic, payload, 1_510_799_670_074)
    }

    fn forwarded(topic: &str, payload: &'static str) -> (String, String) {
        let mut message = message(topic, payload);
        forward(&mut message);
        let payload = String::from_utf8(message.payload.to_vec()).expect("UTF-8");
        (message.topic.to_string(), payload)
    }

    const POST: &str = "/sys/a1Pk/dev1/thing/event/property/post";

    #[test]
    fn properties_become_items() {
        let (topic, payload) = forwarded(
            POST,
            r#"{"id":"123","version":"1.0","params":{"Power":{"value":"on","time":1524448722000},"t":1.10,"big":12345678901234567890,"Position":{"latitude":39.9,"longitude":116.38},"w":{"value":{"a":1}},"s\"q":null,"odd":{"value":1,"time":"x"}},"method":"thing.event.property.post"}"#,
        );
        assert_eq!(topic, "/a1Pk/dev1/thing/event/property/post");
        let document: serde_json::Value = serde_json::from_str(&payload).expect("JSON");
        let keys: Vec<_> = document.as_object().expect("object").keys().collect();
        assert_eq!(keys, ["iotId", "productKey", "deviceName", "gmtCreate", "deviceType", "items"]);
        assert_eq!(document["productKey"], "a1Pk");
        assert_eq!(document["deviceName"], "dev1");
        assert_eq!(document["gmtCreate"], 1_510_799_670_074_u64);
        assert_eq!(document["iotId"].as_str().map(str::len), Some(32));
        let items = payload.split_once(r#""items":"#).expect("items").1;
        assert_eq!(
            items,
            r#"{"Power":{"value":"on","time":1524448722000},"t":{"value":1.10,"time":1510799670074},"big":{"value":12345678901234567890,"time":1510799670074},"Position":{"value":{"latitude":39.9,"longitude":116.38},"time":1510799670074},"w":{"value":{"a":1},"time":1510799670074},"s\"q":{"value":null,"time":1510799670074},"odd":{"value":1,"time":1510799670074}}}"#
        );
    }

    #[test]
    fn events_carry_their_value() {
        let topic = "/sys/pk/dn/thing/event/BrokenInfo/post";
        let (forwarded_to, payload) = forwarded(
            topic,
            r#"{"id":"1","params":{"value":{"Power":"on"},"time":1510799670075}}"#,
        );
        assert_eq!(forwarded_to, "/pk/dn/thing/event/BrokenInfo/post");
        let document: serde_json::Value = serde_json::from_str(&payload).expect("JSON");
        assert_eq!(document["identifier"], "BrokenInfo");
        assert_eq!(document["type"], "info");
        assert_eq!(document["value"], serde_json::json!({"Power": "on"}));
        assert_eq!(document["time"], 1_510_799_670_075_u64);
        let (_, payload) = forwarded(topic, r#"{"params":{"level":2.50}}"#);
        assert!(payload.ends_with(r#""value":{"level":2.50},"time":1510799670074}"#), "{payload}");
    }

    #[test]
    fn what_is_not_alink_keeps_its_payload() {
        for payload in
            ["", "xx", "[1]", r#"{"id":"1"}"#, r#"{"params":[1]}"#, r#"{"params":{"a":1}"#]
        {
            let got = forwarded(POST, payload);
            assert_eq!(got, ("/a1Pk/dev1/thing/event/property/post".into(), payload.into()));
        }
    }

    #[test]
    fn other_messages_pass_as_they_are() {
        for topic in [
            "/sys/pk/dn/thing/event/property/post_reply",
            "/sys/pk/dn/thing/event/property/history/post",
            "/sys/pk/dn/thing/service/property/set",
            "/pk/dn/thing/event/property/post",
            "/pk/dn/user/sys",
            "sys/pk/dn/thing/event/property/post",
            "/sys//dn/thing/event/property/post",
        ] {
            let mut message = message(topic, r#"{"params":{"a":1}}"#);
            let before = (message.topic.as_str().as_ptr(), message.payload.as_ptr());
            forward(&mut message);
            assert_eq!(
                (message.topic.as_str().as_ptr(), message.payload.as_ptr()),
                before,
                "{topic}"
            );
        }
    }
}
