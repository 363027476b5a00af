//! What a gateway is told on its connection when one of its sub-devices can no longer be reached over it, or
//! was not logged in (Alibaba Cloud IoT: `/ext/error/{product key}/{device name}` of the gateway).

use contract::{Device, Message, Topic, TopicLimits};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::hooks::{Parted, Parting};

impl Parting {
    /// The vendor's code and text.
    fn code(self) -> (u16, &'static str) {
        match self {
            Self::Elsewhere => (427, "device connect in elsewhere"),
            Self::Deleted => (521, "device deleted"),
            Self::Disabled => (522, "device forbidden"),
            Self::Detached => (6401, "topo relation not exist"),
        }
    }
}

/// A device was cut off from its gateway's connection.
pub(super) fn parted(event: &Parted) -> Option<Message> {
    let (gateway, device) = (event.gateway.device.as_deref()?, event.device.device.as_deref()?);
    let device = (&*device.product_key, &*device.device_name);
    // Ids of the device protocol have 32 bits.
    let id = json!((event.at_ms & u64::from(u32::MAX)).to_string());
    notice(gateway, device, &id, event.why.code(), event.at_ms)
}

/// A gateway has sent a message for a device that has not logged in over its connection. The answer bears
/// the message's id, if that has one.
pub(super) fn no_session(
    gateway: &Device,
    device: (&str, &str),
    payload: &[u8],
) -> Option<Message> {
    #[derive(Deserialize)]
    struct Post<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    let id = serde_json::from_slice(payload).ok().map(|Post { id }| id.get());
    let id = id.and_then(|id| serde_json::from_str(id).ok()).unwrap_or_else(|| json!("0"));
    notice(gateway, device, &id, (520, "device session error"), 0)
}

fn notice(
    gateway: &Device,
    (product_key, device_name): (&str, &str),
    id: &Value,
    (code, message): (u16, &str),
    at_ms: u64,
) -> Option<Message> {
    let Device { product_key: key, device_name: name } = gateway;
    // Names of devices that are connected fit into topics.
    let limits = TopicLimits { bytes: usize::MAX, levels: usize::MAX };
    let topic = Topic::parse(format!("/ext/error/{key}/{name}"), limits).ok()?;
    let device = json!({ "productKey": product_key, "deviceName": device_name });
    let body = json!({ "id": id, "code": code, "message": message, "data": device });
    Some(Message::new(topic, body.to_string(), at_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_learns_which_message_was_refused() {
        let gateway = Device { product_key: "gw".into(), device_name: "one".into() };
        for (payload, id) in [(r#"{"id":"7","params":{}}"#, json!("7")), ("x", json!("0"))] {
            let message = no_session(&gateway, ("pk", "dn"), payload.as_bytes()).expect("message");
            assert_eq!(message.topic.as_str(), "/ext/error/gw/one");
            let body: Value = serde_json::from_slice(&message.payload).expect("JSON");
            let device = json!({ "productKey": "pk", "deviceName": "dn" });
            let want =
                json!({ "id": id, "code": 520, "message": "device session error", "data": device });
            assert_eq!(body, want);
        }
    }
}
