//! Posts as rules see them.

use contract::{Topic, TopicLimits};
use serde_json::{Value, json};

use super::*;
use crate::tests::{NOW_MS, Rig};

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
    let (forwarded_to, payload) =
        forwarded(topic, r#"{"id":"1","params":{"value":{"Power":"on"},"time":1510799670075}}"#);
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
    for payload in ["", "xx", "[1]", r#"{"id":"1"}"#, r#"{"params":[1]}"#, r#"{"params":{"a":1}"#] {
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
        assert_eq!((message.topic.as_str().as_ptr(), message.payload.as_ptr()), before, "{topic}");
    }
}

const EVENT: &str = "thing/event/property/post";

fn model() -> Value {
    let int = json!({ "type": "int", "specs": { "min": "0", "max": "10" } });
    json!({
        "properties": [{ "identifier": "Level", "dataType": int, "accessMode": "rw" },
                       { "identifier": "Heat", "dataType": { "type": "float" }, "accessMode": "r" }],
        "events": [{ "identifier": "Alarm", "name": "an alarm", "type": "error",
                     "outputData": [{ "identifier": "level", "dataType": int }] }],
        "services": [{ "identifier": "Blink", "inputData": [{ "identifier": "n", "dataType": int }] }],
    })
}

#[tokio::test]
async fn a_post_is_answered_with_its_own_id_and_kept() {
    let rig = Rig::new(None).await;
    let id = r#""1|exp-topic|/sys/x/y/post_reply""#;
    let (rules, devices) = rig.sys(
        EVENT,
        &format!(r#"{{"id":{id},"version":"1.0","params":{{"T":{{"value":1.50,"time":5}}}},"method":"thing.event.property.post"}}"#),
    );
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].1["items"].to_string(), r#"{"T":{"value":1.50,"time":5}}"#);
    assert_eq!(rules[0].1["deviceType"], "Ammeter");
    assert_eq!(rules[0].1["checkFailedData"], Value::Null);
    let want = json!({ "code": 200, "data": {}, "id": "1|exp-topic|/sys/x/y/post_reply",
        "message": "success", "method": "thing.event.property.post", "version": "1.0" });
    assert_eq!(devices, [(format!("/sys/PK/dn/{EVENT}_reply"), want)]);
    let last = rig.things.last_values(&rig.pk, "dn").await.expect("values");
    assert_eq!(last.len(), 1);
    assert_eq!((last[0].value.as_str(), last[0].time_ms), ("1.50", 5));
    // What is posted later takes its place, also while it is not written yet.
    rig.sys(EVENT, r#"{"params":{"T":"on","U":[1]}}"#);
    let last = rig.things.last_values(&rig.pk, "dn").await.expect("values");
    let short: Vec<_> = last.iter().map(|last| (&*last.identifier, &*last.value)).collect();
    assert_eq!(short, [("T", r#""on""#), ("U", "[1]")]);
    // Only devices that are registered have last values.
    rig.send(&format!("/sys/{}/nobody/{EVENT}", rig.pk), r#"{"params":{"T":1}}"#).expect("room");
    assert_eq!(rig.things.last_values(&rig.pk, "nobody").await.expect("values"), []);
}

#[tokio::test]
async fn what_a_device_gets_wrong_it_is_told() {
    let rig = Rig::new(Some(model())).await;
    let many: serde_json::Map<_, _> = (0..201).map(|n| (format!("p{n}"), json!(n))).collect();
    for (tail, payload, code) in [
        (EVENT, "no json".to_owned(), 6207),
        (EVENT, r#"{"id":"1"}"#.to_owned(), 6302),
        (EVENT, r#"{"id":"1","params":[]}"#.to_owned(), 6302),
        (EVENT, json!({ "params": many }).to_string(), 6106),
        ("thing/event/Alarm/post", r#"{"id":"1","params":3}"#.to_owned(), 6302),
        ("thing/event/property/history/post", r#"{"params":{}}"#.to_owned(), 6302),
        ("thing/event/property/history/post", "x".to_owned(), 6207),
        (
            "thing/event/property/history/post",
            r#"{"params":[{"identity":{"productKey":"a","deviceName":"b"},"properties":[{}]}]}"#
                .to_owned(),
            6401,
        ),
        ("thing/list/found", r#"{"params":[1]}"#.to_owned(), 6302),
        ("thing/list/found", "x".to_owned(), 6207),
    ] {
        let (rules, devices) = rig.sys(tail, &payload);
        assert_eq!(rules.len(), 1, "rules see it as it is: {payload}");
        assert_eq!(devices.len(), 1, "{payload}");
        assert_eq!(devices[0].1["code"], code, "{payload}");
        assert_eq!(devices[0].1["data"], json!({}), "{payload}");
    }
    let (_, devices) = rig.sys(EVENT, r#"{"id":"1","sys":{"ack":0},"params":{}}"#);
    assert_eq!(devices, []);
}

#[tokio::test]
async fn a_model_sorts_out_what_does_not_fit() {
    let rig = Rig::new(Some(model())).await;
    let (rules, devices) =
        rig.sys(EVENT, r#"{"params":{"Level":11,"Heat":1.5,"Odd":{"value":1,"time":7}}}"#);
    assert_eq!(devices[0].1["code"], 200);
    let document = &rules[0].1;
    assert_eq!(document["items"], json!({ "Heat": { "value": 1.5, "time": NOW_MS } }));
    assert_eq!(
        document["checkFailedData"],
        json!({
            "Level": { "time": NOW_MS, "value": 11, "code": 6306, "message": "tsl parse: int out of range 0 to 10 -> Level" },
            "Odd": { "time": 7, "value": 1, "code": 6304, "message": "tsl parse: params not exist -> Odd" },
        })
    );
    let (rules, _) =
        rig.sys("thing/event/Alarm/post", r#"{"params":{"value":{"level":3,"x":1},"time":9}}"#);
    let document = &rules[0].1;
    assert_eq!((&document["name"], &document["type"]), (&json!("an alarm"), &json!("error")));
    assert_eq!((&document["value"], &document["time"]), (&json!({ "level": 3 }), &json!(9)));
    assert_eq!(
        document["checkFailedData"],
        json!({ "value": { "x": 1 }, "code": 6304, "message": "tsl parse: params not exist -> x" })
    );
    let (rules, _) = rig.sys("thing/event/Other/post", r#"{"params":{"a":1}}"#);
    assert_eq!(rules[0].1["value"], json!({}));
    assert_eq!(rules[0].1["checkFailedData"]["code"], 6304);
}

#[tokio::test]
async fn a_batch_that_comes_back_is_as_it_was() {
    let rig = Rig::new(None).await;
    *rig.got.full.lock().expect("lock") = true;
    let back = rig.send(&format!("/sys/{}/dn/{EVENT}", rig.pk), r#"{"params":{"a":1}}"#);
    let back = back.expect_err("no room");
    assert_eq!(back.messages[0].topic.as_str(), format!("/sys/{}/dn/{EVENT}", rig.pk));
    assert!(rig.got.devices.lock().expect("lock").is_empty());
    *rig.got.full.lock().expect("lock") = false;
    rig.forwarder.try_submit(back).expect("room");
    assert_eq!(rig.got.devices.lock().expect("lock").len(), 1);
}

#[tokio::test]
async fn posts_of_the_past_become_a_document_each() {
    let rig = Rig::new(None).await;
    let payload = r#"{"id":"3","params":[{"identity":{"productKey":"PK","deviceName":"dn"},"properties":[{"T":{"value":1,"time":5}},{"T":{"value":2,"time":6}}],"events":[{"Alarm":{"value":{"a":1},"time":7}}]}]}"#;
    let (rules, devices) =
        rig.sys("thing/event/property/history/post", &payload.replace("PK", &rig.pk));
    let topics: Vec<_> = rules.iter().map(|(topic, _)| topic.as_str()).collect();
    let history = "/PK/dn/thing/event/property/history/post";
    assert_eq!(topics, [history, history, "/PK/dn/thing/event/Alarm/history/post"]);
    assert_eq!(rules[1].1["items"]["T"], json!({ "value": 2, "time": 6 }));
    assert_eq!(rules[2].1["time"], 7);
    assert_eq!(devices[0].1["id"], "3");
    assert_eq!(rig.things.last_values(&rig.pk, "dn").await.expect("values"), []);
}

#[tokio::test]
async fn what_a_gateway_finds_is_told() {
    let rig = Rig::new(None).await;
    let payload = r#"{"id":"1","params":[{"productKey":"PK","deviceName":"sub"}]}"#;
    let (rules, devices) = rig.sys("thing/list/found", &payload.replace("PK", &rig.pk));
    assert_eq!(rules[0].0, "/PK/dn/thing/list/found");
    let keys: Vec<_> = rules[0].1.as_object().expect("object").keys().collect();
    assert_eq!(keys, ["gwIotId", "gwProductKey", "gwDeviceName", "devices"]);
    assert_eq!(rules[0].1["devices"][0]["deviceName"], "sub");
    assert_eq!(devices[0].1["code"], 200);
}

#[tokio::test]
async fn answers_that_nobody_waits_for_go_to_rules() {
    let rig = Rig::new(None).await;
    let (rules, devices) =
        rig.sys("thing/service/Blink_reply", r#"{"id":"7","code":200,"data":{"a":1.50}}"#);
    let (topic, document) = &rules[0];
    assert_eq!(topic, "/PK/dn/thing/downlink/reply/message");
    assert_eq!((&document["requestId"], &document["code"]), (&json!(7), &json!(200)));
    assert_eq!(document["message"], "success");
    assert_eq!(document["data"].to_string(), r#"{"a":1.50}"#);
    assert_eq!(document["topic"], format!("/sys/{}/dn/thing/service/Blink", rig.pk));
    assert_eq!(devices, []);
    let odd = format!("$sys/{}/dn/thing/service/Blink/invoke_reply", rig.pk);
    rig.send(&odd, r#"{"id":"123","code":12,"msg":"no"}"#).expect("room");
    let rules = rig.take(&rig.got.rules);
    assert_eq!((&rules[0].1["requestId"], &rules[0].1["message"]), (&json!(123), &json!("no")));
    // What is no answer stays what it is.
    let (rules, _) = rig.sys("thing/service/Blink_reply", "?");
    assert_eq!(rules[0].0, "/sys/PK/dn/thing/service/Blink_reply");
}
