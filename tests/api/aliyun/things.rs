//! Messages, services, properties and shadows over the API, with devices that play their parts.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connectors::contract::QoS;
use serde_json::{Value, json};

use crate::api::devices::{server, server_at};
use crate::api::server::{Fate, Home, NOW_MS};

#[tokio::test]
async fn things_answer_the_same_on_postgres() {
    let Some(home) = Home::postgres().await else { return };
    let (server, pk) = server_at(home, &Arc::default(), |_| ()).await;
    let text = include_str!("scenarios/things.txt").replace("PK", &pk);
    super::scenario::run("things.txt", &text, &server, "JSON").await;
    server.end().await;
}

/// Every code of these families.
pub async fn produce_all(codes: &Arc<Mutex<BTreeSet<String>>>) {
    let scenario = async |format: &str| {
        let (server, pk) = server(codes).await;
        let text = include_str!("scenarios/things.txt").replace("PK", &pk);
        super::scenario::run("things.txt", &text, &server, format).await;
        (server, pk)
    };
    scenario("XML").await.0.end().await;
    let (server, pk) = scenario("JSON").await;
    let client = server.client();
    let large = STANDARD.encode([0; 1001]);
    let target = [("ProductKey", &*pk), ("DeviceName", "echo")];
    let call = async |action: &str, own: &[(&str, &str)]| {
        let own: Vec<_> = target.iter().chain(own).copied().collect();
        client.call(action, &own).await.outcome()
    };
    let rrpc = [("RequestBase64Byte", &*large), ("Timeout", "1000")];
    assert_eq!(call("RRpc", &rrpc).await, "200 iot.messagebroker.RrpcFailed");
    assert_eq!(call("RRpc", &rrpc[..1]).await, "400 MissingTimeout");
    let topic = format!("/{pk}/echo/user/get");
    let content = [("TopicFullName", &*topic), ("MessageContent", "aGVsbG8=")];
    for (fate, code) in [
        (Fate::Full, "iot.messagebroker.PublishMessageFailed"),
        (Fate::Refuse, "iot.messagebroker.PublishMessageException"),
        (Fate::Forget, "iot.messagebroker.PublishMessageException"),
    ] {
        *server.inbox.fate.lock().unwrap() = fate;
        server.line.take();
        assert_eq!(call("Pub", &content).await, format!("200 {code}"));
        assert_eq!(server.line.take(), [], "what rules did not get goes to nobody");
    }
    *server.inbox.fate.lock().unwrap() = Fate::Accept;
    let many: Value = (0..129).map(|n| (format!("k{n}"), json!(n))).collect();
    for (part, code) in
        [("desired", "TooManyElementInDesire"), ("reported", "TooManyElementInReport")]
    {
        let shadow = json!({ "method": "update", "state": { part: many }, "version": 99 });
        let shadow = shadow.to_string();
        let outcome = call("UpdateDeviceShadow", &[("ShadowMessage", &shadow)]).await;
        assert_eq!(outcome, format!("200 iot.messagebroker.{code}"));
    }
    let shadow = format!("{{\"a\":\"{}\"}}", "x".repeat(20_000));
    let outcome = call("UpdateDeviceShadow", &[("ShadowMessage", &shadow)]).await;
    assert_eq!(outcome, "200 iot.messagebroker.ShadowMessageLengthIsLarge");
    server.store.close().await;
    let wish = r#"{"method":"update","state":{"desired":{"a":1}},"version":99}"#;
    for (action, own, code) in [
        ("GetDeviceShadow", &[][..], "iot.messagebroker.QueryDeviceShadowActionError"),
        (
            "UpdateDeviceShadow",
            &[("ShadowMessage", wish)],
            "iot.messagebroker.UpdateDeviceShadowMessageFailed",
        ),
        ("QueryDevicePropertyStatus", &[], "iot.device.QueryDeviceAttrStatusFailed"),
        ("QueryDeviceDesiredProperty", &[], "iot.device.QueryDeviceAttrStatusFailed"),
        (
            "SetDeviceDesiredProperty",
            &[("Items", r#"{"Level":1}"#)],
            "iot.device.SetDevicePropertyFailed",
        ),
    ] {
        assert_eq!(call(action, own).await, format!("200 {code}"));
    }
    server.end().await;
}

#[tokio::test]
async fn a_message_reaches_rules_and_subscribers() {
    let (server, pk) = server(&Arc::default()).await;
    server.inbox.messages.lock().unwrap().clear();
    server.line.take();
    let topic = format!("/{pk}/echo/user/get");
    let own = [
        ("ProductKey", &*pk),
        ("TopicFullName", &*topic),
        ("MessageContent", "aGVsbG8="),
        ("Qos", "1"),
        ("Retained", "True"),
        ("UserProp.1.Key", "k"),
        ("UserProp.1.Value", "v"),
        ("ContentType", "text/plain"),
        ("CorrelationData", "Nw=="),
    ];
    let reply = server.client().call("Pub", &own).await;
    let id = reply.json()["MessageId"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(id < 1 << 53, "{id}");
    let sent = server.line.sent.lock().unwrap().pop().unwrap();
    let seen = server.inbox.messages.lock().unwrap().pop().unwrap();
    for message in [sent, seen] {
        assert_eq!((message.topic.as_str(), message.payload.as_ref()), (&*topic, &b"hello"[..]));
        assert_eq!((message.qos, message.retain), (QoS::AtLeastOnce, true));
        assert_eq!(message.property("k"), Some("v"));
        let headers = message.headers.unwrap();
        assert_eq!(headers.content_type.as_deref(), Some("text/plain"));
        assert_eq!(headers.correlation_data.as_deref(), Some(&b"7"[..]));
        assert_eq!(message.origin.source.as_deref(), Some("api"));
    }
    server.end().await;
}

#[tokio::test]
async fn a_service_goes_the_way_that_the_device_takes() {
    let (server, pk) = server(&Arc::default()).await;
    let client = server.client();
    let invoke = async |device: &str| {
        let own = [
            ("ProductKey", &*pk),
            ("DeviceName", device),
            ("Identifier", "Set"),
            ("Args", r#"{"param1":1.50}"#),
        ];
        client.call("InvokeThingService", &own).await.json()
    };
    server.line.take();
    for (device, topic) in [
        ("echo", format!("/sys/{pk}/echo/rrpc/request/ID")),
        ("ext", format!("/ext/rrpc/ID/sys/{pk}/ext/thing/service/Set")),
    ] {
        let json = invoke(device).await;
        let id = json["Data"]["MessageId"].as_str().unwrap();
        let want = format!(
            r#"{{"id":"{id}","code":200,"message":"success","data":{{"param1":1.50}},"version":"1.0"}}"#
        );
        // As the device wrote it but for spaces and numbers, which the stand-in reads.
        let result: Value = serde_json::from_str(json["Data"]["Result"].as_str().unwrap()).unwrap();
        assert_eq!(result, serde_json::from_str::<Value>(&want).unwrap());
        let request = format!(
            r#"{{"method":"thing.service.Set","id":"{id}","params":{{"param1":1.50}},"version":"1.0.0"}}"#
        );
        assert_eq!(server.line.take(), [(topic.replace("ID", id), request)]);
    }
    server.end().await;
}

#[tokio::test]
async fn what_nobody_waits_for_is_told_to_rules() {
    let (server, pk) = server(&Arc::default()).await;
    server.inbox.messages.lock().unwrap().clear();
    let own = |device: &'static str| [("ProductKey", pk.clone()), ("DeviceName", device.into())];
    let set = async |device: &'static str| {
        let own = own(device);
        let mut own: Vec<_> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        own.push(("Items", r#"{"Level":1}"#));
        let json = server.client().call("SetDeviceProperty", &own).await.json();
        json["Data"]["MessageId"].as_str().unwrap().to_owned()
    };
    let peer = std::net::IpAddr::from([10, 0, 0, 1]);
    assert!(server.registry.came(&pk, "silent", NOW_MS, peer, 1));
    assert!(server.registry.went(&pk, "silent", 1));
    for (device, code, message) in
        [("away", 9200, "device not actived"), ("full", 429, "too many requests")]
    {
        let id = set(device).await;
        let told = server.inbox.messages.lock().unwrap().pop().unwrap();
        assert_eq!(told.topic.as_str(), format!("/{pk}/{device}/thing/downlink/reply/message"));
        let told: Value = serde_json::from_slice(&told.payload).unwrap();
        assert_eq!(told["requestId"].to_string(), id);
        assert_eq!((&told["code"], &told["message"]), (&json!(code), &json!(message)));
        let topic = format!("/sys/{pk}/{device}/thing/service/property/set");
        assert_eq!(told["topic"], topic);
        assert_eq!(told["deviceName"], device);
    }
    set("echo").await;
    assert_eq!(server.inbox.messages.lock().unwrap().len(), 0);
    server.end().await;
}

#[tokio::test]
async fn one_call_reaches_only_so_many_devices() {
    let (server, pk) = server(&Arc::default()).await;
    let client = server.client();
    let names: Vec<_> = (1..=501).map(|at| (format!("DeviceName.{at}"), at.to_string())).collect();
    let mut many: Vec<_> = names.iter().map(|(name, at)| (&**name, &**at)).collect();
    many.extend([("ProductKey", &*pk), ("Items", "{}"), ("Identifier", "Set"), ("Args", "{}")]);
    for action in ["InvokeThingsService", "SetDevicesProperty"] {
        let outcome = client.call(action, &many).await.outcome();
        assert_eq!(outcome, "200 iot.device.DeviceCountExceeded", "{action}");
    }
    server.end().await;
}
