//! What rules and connections are told when a device changes.
//!
//! The change itself is in the store already.

use std::collections::HashMap;
use std::sync::Arc;

use connectors::contract::{self, Batch, Message, Origin, QoS, Topic, TopicLimits};
use serde_json::{Value, json};

use crate::api::state::{Api, Cut};
use crate::registry::{Device, session_id};
use crate::thing::TopologyChange;

/// Lifecycle messages in one batch.
const LIFECYCLE_BATCH: usize = 1_000;

/// What became of a device, as rules are told of it on `/{pk}/{dn}/thing/lifecycle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Create,
    Delete,
    Enable,
    Disable,
}

/// A device that changed.
pub(super) struct Changed<'a> {
    pub product_key: &'a str,
    pub device_name: &'a str,
    pub iot_id: &'a str,
    /// Told when it is new.
    pub secret: Option<&'a str>,
    /// Its gateway, which is told, too.
    pub gateway: Option<Arc<contract::Device>>,
}

impl<'a> Changed<'a> {
    pub(super) fn of(device: &'a Device) -> Self {
        Self {
            product_key: &device.product_key,
            device_name: &device.device_name,
            iot_id: &device.iot_id,
            secret: Some(&device.secret),
            gateway: None,
        }
    }

    /// The same with the gateway that the device has now.
    pub(super) fn behind(self, api: &Api) -> Self {
        let gateway = api.state.registry.gateway_of(self.product_key, self.device_name);
        Self { gateway, ..self }
    }
}

/// Tells the rules of changes that are in the store already, and cuts off whom they forbid to be
/// connected. Rules that can't be told are missing a message; the change stands.
pub(super) async fn tell(api: &Api, change: Change, devices: &[Changed<'_>]) {
    let cut = match change {
        Change::Delete => Some(Cut::Session),
        Change::Disable => Some(Cut::Connection),
        Change::Create | Change::Enable => None,
    };
    if let Some(cut) = cut {
        for device in devices {
            (api.state.cut)(&session_id(device.product_key, device.device_name), cut);
        }
    }
    let now_ms = api.now_ms();
    for some in devices.chunks(LIFECYCLE_BATCH) {
        let messages: Vec<_> =
            some.iter().filter_map(|device| lifecycle(change, device, now_ms)).collect();
        let count = messages.len();
        let (batch, accepted) = Batch::awaited(messages);
        let submitted = async {
            api.state.ingress.submit(batch).await;
            accepted.wait().await
        };
        let told = tokio::time::timeout(api.state.limits.accept_wait, submitted).await;
        if !matches!(told, Ok(Ok(()))) {
            tracing::warn!(count, ?change, "the rules were not told of changed devices");
        }
    }
    tell_gateways(api, change, devices).await;
}

async fn tell_gateways(api: &Api, change: Change, devices: &[Changed<'_>]) {
    let change = match change {
        Change::Create => return,
        Change::Delete => TopologyChange::Delete,
        Change::Enable => TopologyChange::Enable,
        Change::Disable => TopologyChange::Disable,
    };
    let mut by_gateway: HashMap<&contract::Device, Vec<(String, String)>> = HashMap::new();
    for device in devices {
        if let Some(gateway) = &device.gateway {
            let name = (device.product_key.to_owned(), device.device_name.to_owned());
            by_gateway.entry(gateway).or_default().push(name);
        }
    }
    for (gateway, devices) in by_gateway {
        api.state.things.topology_changed(gateway, change, &devices).await;
    }
}

fn lifecycle(change: Change, device: &Changed<'_>, now_ms: u64) -> Option<Message> {
    let Changed { product_key, device_name, iot_id, secret, .. } = device;
    let action = match change {
        Change::Create => "create",
        Change::Delete => "delete",
        Change::Enable => "enable",
        Change::Disable => "disable",
    };
    let mut body = json!({
        "action": action, "iotId": iot_id, "productKey": product_key, "deviceName": device_name,
    });
    if let (Change::Create, Value::Object(fields), Some(secret)) = (change, &mut body, secret) {
        fields.insert("deviceSecret".to_owned(), (*secret).into());
    }
    body["messageCreateTime"] = now_ms.into();
    // Names of devices are checked when they are registered: no limit of theirs is near.
    let limits = TopicLimits { bytes: usize::MAX, levels: usize::MAX };
    let topic = format!("/{product_key}/{device_name}/thing/lifecycle");
    let mut message = Message::new(Topic::parse(topic, limits).ok()?, body.to_string(), now_ms);
    message.qos = QoS::AtLeastOnce;
    message.device = Some(Arc::new(contract::Device {
        product_key: (*product_key).into(),
        device_name: (*device_name).into(),
    }));
    message.origin = Arc::new(Origin { source: Some("api".into()), ..Origin::default() });
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifecycle_messages_have_the_vendors_fields() {
        let device = Changed {
            product_key: "a1Pk",
            device_name: "dev1",
            iot_id: "id",
            secret: Some("secret"),
            gateway: None,
        };
        let text = |change| {
            let message = lifecycle(change, &device, 7).expect("message");
            assert_eq!(message.topic.as_str(), "/a1Pk/dev1/thing/lifecycle");
            String::from_utf8(message.payload.to_vec()).expect("UTF-8")
        };
        assert_eq!(
            text(Change::Create),
            r#"{"action":"create","iotId":"id","productKey":"a1Pk","deviceName":"dev1","deviceSecret":"secret","messageCreateTime":7}"#
        );
        assert_eq!(
            text(Change::Disable),
            r#"{"action":"disable","iotId":"id","productKey":"a1Pk","deviceName":"dev1","messageCreateTime":7}"#
        );
    }
}
