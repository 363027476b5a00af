//! A gateway's devices come and go, and who is told.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;

use super::*;
use crate::tests::Rig;

const HISTORY: &str =
    r#"{"params":[{"identity":{"productKey":"SUB","deviceName":"sub"},"properties":[{"T":1}]}]}"#;
const HISTORY_POST: &str = "thing/event/property/history/post";

impl Rig {
    /// What a device's secret makes of its names, `c` and `5`.
    pub(crate) async fn signed(&self, key: &str, name: &str) -> String {
        let of = DeviceRef::Name { product_key: key, device_name: name };
        let secret = self.registry.device(of).await.expect("store").expect("device").secret;
        let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("a key");
        mac.update(format!("clientIdcdeviceName{name}productKey{key}timestamp5").as_bytes());
        hex::encode_upper(mac.finalize().into_bytes())
    }

    fn add(&self, key: &str, name: &str, sign: &str) -> String {
        let newcomer = json!({ "productKey": key, "deviceName": name, "clientId": "c",
            "timestamp": "5", "signmethod": "hmacSha1", "sign": sign });
        json!({ "id": "1", "params": [newcomer] }).to_string()
    }

    /// The code that a post for `sub` by `dn` is answered with.
    fn history(&self) -> Value {
        self.sys(HISTORY_POST, &self.keys(HISTORY)).1[0].1["code"].clone()
    }
}

#[tokio::test]
async fn a_gateway_adds_devices_that_have_signed() {
    let rig = Rig::new(None).await;
    let sign = rig.signed(&rig.sub_pk, "sub").await;
    assert_eq!(rig.history(), 6401);
    for (payload, code) in [
        (rig.add(&rig.sub_pk, "sub", "00"), 401),
        (rig.add(&rig.sub_pk, "nobody", &sign), 6100),
        (rig.add(&rig.pk, "dn", &sign), 6402),
        (rig.add(&rig.pk, "other", &rig.signed(&rig.pk, "other").await), 460),
        (r#"{"params":[{"productKey":"SUB"}]}"#.to_owned(), 6302),
        (r#"{"params":{}}"#.to_owned(), 6302),
        ("x".to_owned(), 6207),
    ] {
        let (told, rules) = rig.later("/sys/PK/dn/thing/topo/add", &payload).await;
        assert_eq!((&told.expect("reply")["code"], rules), (&json!(code), Vec::new()), "{payload}");
    }
    let (told, rules) =
        rig.later("/sys/SUB/sub/thing/topo/add", &rig.add(&rig.sub_pk, "sub", "")).await;
    assert_eq!((&told.expect("reply")["code"], rules), (&json!(6402), Vec::new()));
    assert_eq!(rig.history(), 6401);
    rig.take(&rig.got.rules);

    let add = rig.add(&rig.sub_pk, "sub", &sign);
    let (told, rules) = rig.later("/sys/PK/dn/thing/topo/add", &add).await;
    assert_eq!(told.expect("reply")["code"], 200);
    assert_eq!(rules[0].0, "/PK/dn/thing/topo/lifecycle");
    assert_eq!(
        (&rules[0].1["action"], &rules[0].1["gwDeviceName"]),
        (&json!("create"), &json!("dn"))
    );
    assert_eq!(rig.history(), 200);
    let (told, _) = rig.later("/sys/PK/dn/thing/topo/get", r#"{"params":{}}"#).await;
    let listed = json!([{ "deviceName": "sub", "productKey": rig.sub_pk }]);
    assert_eq!(told.expect("reply")["data"], listed);
    let gone = r#"{"params":[{"productKey":"SUB","deviceName":"sub"}]}"#;
    let (_, rules) = rig.later("/sys/PK/dn/thing/topo/delete", gone).await;
    assert_eq!(rules[0].1["action"], "delete");
    assert_eq!(rig.history(), 6401);
    let (told, _) = rig.later("/sys/PK/dn/thing/topo/delete", gone).await;
    assert_eq!(told.expect("reply")["code"], 6401);
    let nobody = gone.replace("\"sub\"", "\"nobody\"");
    let (told, _) = rig.later("/sys/PK/dn/thing/topo/delete", &nobody).await;
    assert_eq!(told.expect("reply")["code"], 6100);
}

#[tokio::test]
async fn a_device_that_moves_leaves_the_gateway_that_it_was_at() {
    let rig = Rig::new(None).await;
    let add = rig.add(&rig.sub_pk, "sub", &rig.signed(&rig.sub_pk, "sub").await);
    rig.later("/sys/PK/dn/thing/topo/add", &add).await;
    rig.send(&rig.keys("/sys/PK/other/thing/topo/add"), &add).expect("room");
    rig.take(&rig.got.rules);
    let topic = plain_topic(rig.keys("/sys/PK/other/thing/topo/add")).expect("topic");
    rig.things.work_on(&Message::new(topic, add, 0)).await;
    let told = rig.take(&rig.got.devices);
    assert_eq!(told[0].0, "/sys/PK/dn/thing/topo/change");
    assert_eq!(told[0].1["method"], "thing.topo.change");
    let list = json!([{ "productKey": rig.sub_pk, "deviceName": "sub" }]);
    assert_eq!(told[0].1["params"], json!({ "status": 1, "subList": list }));
    assert_eq!(told[1].0, "/sys/PK/other/thing/topo/add_reply");
    let rules = rig.take(&rig.got.rules);
    let short: Vec<_> =
        rules.iter().map(|(topic, told)| (topic.as_str(), told["action"].as_str())).collect();
    let (left, joined) = ("/PK/dn/thing/topo/lifecycle", "/PK/other/thing/topo/lifecycle");
    assert_eq!(short, [(left, Some("delete")), (joined, Some("create"))]);
    assert_eq!(rig.history(), 6401);
}

#[tokio::test]
async fn a_gateway_is_asked_to_add_devices() {
    let rig = Rig::new(None).await;
    let devices = [(rig.sub_pk.clone(), "sub".to_owned())];
    let id = rig.things.ask_to_attach((&rig.pk, "dn"), &devices).await.expect("asked");
    let told = rig.take(&rig.got.devices);
    assert_eq!(told[0].0, "/sys/PK/dn/thing/topo/add/notify");
    let list = json!([{ "productKey": rig.sub_pk, "deviceName": "sub" }]);
    let want = json!({ "id": id.to_string(), "version": "1.0", "params": list,
        "method": "thing.topo.add.notify" });
    assert_eq!(told[0].1, want);
    let absent = rig.things.ask_to_attach((&rig.pk, "absent"), &devices).await;
    assert_eq!(absent, Err(CallError::Offline));
    let answer = format!(r#"{{"id":"{id}","code":200,"data":{{}}}}"#);
    let (rules, _) = rig.sys("thing/topo/add/notify_reply", &answer);
    assert_eq!(rules[0].0, "/PK/dn/thing/downlink/reply/message");
    assert_eq!(rules[0].1["requestId"], id);
}

#[tokio::test]
async fn a_gateway_is_told_the_secrets_of_new_devices() {
    let rig = Rig::new(None).await;
    let ask = |key: &str, name: &str| {
        format!(r#"{{"id":"1","params":[{{"productKey":"{key}","deviceName":"{name}"}}]}}"#)
    };
    let topic = "/sys/PK/dn/thing/sub/register";
    let (told, rules) = rig.later(topic, &ask("SUB", "sub")).await;
    let told = told.expect("reply");
    let of = DeviceRef::Name { product_key: &rig.sub_pk, device_name: "sub" };
    let known = rig.registry.device(of).await.expect("store").expect("device");
    let want = json!([{ "iotId": known.iot_id, "productKey": rig.sub_pk, "deviceName": "sub",
        "deviceSecret": known.secret }]);
    assert_eq!((&told["code"], &told["data"], rules), (&json!(200), &want, Vec::new()));
    for (topic, payload, code) in [
        (topic, ask("SUB", "nobody"), 6100),
        (topic, ask("PK", "other"), 6288),
        ("/sys/SUB/sub/thing/sub/register", ask("SUB", "sub"), 460),
        (topic, r#"{"params":7}"#.to_owned(), 6302),
    ] {
        let told = rig.later(topic, &payload).await.0.expect("reply");
        assert_eq!((&told["code"], &told["data"]), (&json!(code), &json!({})), "{payload}");
    }
    // The gateway that has it may ask again, and no other.
    let add = rig.add(&rig.sub_pk, "sub", &rig.signed(&rig.sub_pk, "sub").await);
    rig.later("/sys/PK/dn/thing/topo/add", &add).await;
    let from = std::net::IpAddr::from([127, 0, 0, 1]);
    assert!(rig.registry.came(&rig.sub_pk, "sub", 1, from, 1));
    let code = async |topic: &str| {
        rig.later(topic, &ask("SUB", "sub")).await.0.expect("reply")["code"].clone()
    };
    assert_eq!(code(topic).await, 200);
    assert_eq!(code("/sys/PK/other/thing/sub/register").await, 6619);
    rig.registry.detach(&rig.sub_pk, "sub").await.expect("detached");
    assert_eq!(code(topic).await, 6289);
}
