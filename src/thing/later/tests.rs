//! What devices change: their shadow and their tags.

use contract::{DeviceFacts as _, Origin};
use serde_json::json;
use std::sync::Arc;

use super::*;
use crate::tests::{NOW_MS, Rig};

impl Rig {
    /// A text with the product keys in the place of `PK` and `SUB`.
    pub(crate) fn keys(&self, text: &str) -> String {
        text.replace("PK", &self.pk).replace("SUB", &self.sub_pk)
    }

    /// Has the task do what a message asks for; the payload of what devices were told, and topics and
    /// payloads of what rules got.
    pub(crate) async fn later(
        &self,
        topic: &str,
        payload: &str,
    ) -> (Option<Value>, Vec<(String, Value)>) {
        let topic = plain_topic(self.keys(topic)).expect("topic");
        let mut message = Message::new(topic, self.keys(payload), NOW_MS);
        message.origin = Arc::new(Origin { source: Some("mqtt".into()), ..Origin::default() });
        self.things.work_on(&message).await;
        let told = self.take(&self.got.devices).pop().map(|(_, payload)| payload);
        (told, self.take(&self.got.rules))
    }
}

#[tokio::test]
async fn a_device_changes_its_shadow() {
    let rig = Rig::new(None).await;
    let topic = "/shadow/update/PK/dn";
    let update = r#"{"method":"update","state":{"reported":{"color":"red"}},"version":1}"#;
    let (told, rules) = rig.later(topic, update).await;
    assert_eq!(told.expect("reply")["payload"], json!({ "status": "success", "version": 1 }));
    assert_eq!(rules, []);
    let (told, _) = rig.later(topic, update).await;
    assert_eq!(told.expect("reply")["payload"]["content"]["errorcode"], "409");
    let (told, _) = rig.later(topic, r#"{"method":"get"}"#).await;
    assert_eq!(told.expect("reply")["payload"]["state"], json!({ "reported": { "color": "red" } }));
    let desired = json!({ "color": "green" }).as_object().cloned();
    let wish = Wish { desired, version: 2, ..Wish::default() };
    rig.things.wish(&rig.pk, "dn", wish).await.expect("granted");
    let told = rig.take(&rig.got.devices);
    assert_eq!(told[0].0, "/shadow/get/PK/dn");
    assert_eq!(told[0].1["method"], "control");
    // Nobody has registered this one.
    let (told, _) = rig.later("/shadow/update/PK/nobody", update).await;
    assert_eq!(told.expect("reply")["payload"]["content"]["errorcode"], "500");
    let (told, _) = rig.later("/shadow/update/PK/dn/more", update).await;
    assert_eq!(told, None);
}

#[tokio::test]
async fn a_device_changes_its_tags() {
    let rig = Rig::new(None).await;
    let topic = "/sys/PK/dn/thing/deviceinfo/update";
    let payload = r#"{"id":"1","version":"1.0","params":[{"attrKey":"room","attrValue":"7"}],"method":"thing.deviceinfo.update"}"#;
    let (told, rules) = rig.later(topic, payload).await;
    assert_eq!(told.expect("reply")["code"], 200);
    assert_eq!(rules[0].0, "/PK/dn/thing/deviceinfo/update");
    let keys: Vec<_> = rules[0].1.as_object().expect("object").keys().collect();
    assert_eq!(keys, ["iotId", "productKey", "deviceName", "value", "messageCreateTime"]);
    assert_eq!(rules[0].1["value"], json!([{ "attrKey": "room", "attrValue": "7" }]));
    assert_eq!(rig.registry.tag(&rig.pk, "dn", "room").as_deref(), Some("7"));
    let gone = r#"{"id":"2","params":[{"attrKey":"room"}]}"#;
    let (told, rules) = rig.later("/sys/PK/dn/thing/deviceinfo/delete", gone).await;
    assert_eq!((told.expect("reply")["code"].clone(), rules), (json!(200), Vec::new()));
    assert_eq!(rig.registry.tag(&rig.pk, "dn", "room"), None);
    for (topic, payload, code) in [
        (topic, "x", 6207),
        (topic, r#"{"params":1}"#, 6302),
        ("/sys/PK/nobody/thing/deviceinfo/update", payload, 460),
    ] {
        let (told, rules) = rig.later(topic, payload).await;
        assert_eq!((&told.expect("reply")["code"], rules), (&json!(code), Vec::new()), "{payload}");
    }
}
