//! Desired values: what the cloud sets, what a device reads and clears.

use contract::Message;
use serde_json::json;

use super::*;
use crate::alink::plain_topic;
use crate::tests::{NOW_MS, Rig};
use crate::tsl::Misfit;

impl Rig {
    /// Has the device `dn` ask; the answer.
    async fn desired(&self, what: &str, params: &str) -> Value {
        let topic = format!("/sys/{}/dn/thing/property/desired/{what}", self.pk);
        let payload = format!(
            r#"{{"id":"7","version":"1.0","params":{params},"method":"thing.property.desired.{what}"}}"#
        );
        let topic = plain_topic(topic).expect("topic");
        self.things.work_on(&Message::new(topic, payload, NOW_MS)).await;
        let (topic, told) = self.take(&self.got.devices).pop().expect("an answer");
        assert_eq!(topic, format!("/sys/PK/dn/thing/property/desired/{what}_reply"));
        told
    }

    async fn desire(&self, device: &str, items: &str, versions: &str) -> Result<String, String> {
        let done = self.things.desire(&self.pk, device, items, versions).await;
        done.map(|done| format!("{:?}", done.versions)).map_err(|problem| problem.to_string())
    }
}

#[tokio::test]
async fn a_device_reads_what_is_desired_and_clears_what_it_has_seen() {
    let rig = Rig::new(None).await;
    let items = r#"{"power":"on","big":12345678901234567890.10}"#;
    let versions = rig.desire("dn", items, "{}").await;
    assert_eq!(versions.as_deref(), Ok(r#"[("power", 1), ("big", 1)]"#));
    let told = rig.take(&rig.got.devices);
    assert_eq!(told[0].0, "/sys/PK/dn/thing/service/property/set");
    assert_eq!(told[0].1["params"].to_string(), items);
    let answer = rig.desired("get", r#"["power","big","nothing"]"#).await;
    assert_eq!((&answer["code"], &answer["id"]), (&json!(200), &json!("7")));
    assert_eq!(
        answer["data"].to_string(),
        r#"{"big":{"value":12345678901234567890.10,"version":1},"power":{"value":"on","version":1}}"#
    );
    // What a device reports leaves what is desired as it is.
    rig.sys("thing/event/property/post", r#"{"id":"1","params":{"power":"on"}}"#);
    assert_eq!(rig.desired("get", r#"["power"]"#).await["data"]["power"]["version"], 1);
    // A newer value stays, whichever the device has seen.
    rig.desire("dn", r#"{"power":"off"}"#, r#"{"power":1}"#).await.expect("set");
    rig.take(&rig.got.devices);
    let answer = rig.desired("delete", r#"{"power":{"version":1},"nothing":{}}"#).await;
    assert_eq!((&answer["code"], &answer["data"]), (&json!(200), &json!({})));
    let answer = rig.desired("get", r#"["power"]"#).await;
    assert_eq!(answer["data"]["power"], json!({ "value": "off", "version": 2 }));
    rig.desired("delete", r#"{"power":{"version":2},"big":{}}"#).await;
    assert_eq!(rig.desired("get", r#"["power","big"]"#).await["data"], json!({}));
    // Versions start again.
    let versions = rig.desire("dn", r#"{"power":"on"}"#, r#"{"power":0}"#).await;
    assert_eq!(versions.as_deref(), Ok(r#"[("power", 1)]"#));
    rig.take(&rig.got.devices);
    for (what, params) in [
        ("get", "{}"),
        ("get", "[1]"),
        ("delete", "[]"),
        ("delete", r#"{"power":1}"#),
        ("delete", r#"{"power":{"version":-1}}"#),
    ] {
        assert_eq!(rig.desired(what, params).await["code"], 6302, "{what} {params}");
    }
    let many: Vec<_> = (0..201).map(|n| n.to_string()).collect();
    assert_eq!(rig.desired("get", &json!(many).to_string()).await["code"], 6106);
    let answer = rig.desired("get", r#"["power"]"#).await;
    assert_eq!(answer["data"]["power"]["version"], 1, "a refusal changes nothing");
}

#[tokio::test]
async fn nobody_changes_what_somebody_else_has_changed() {
    let rig = Rig::new(None).await;
    let set = async |items: &str, versions: &str| rig.desire("dn", items, versions).await;
    let text = "the version of `a` is 0, not 1: it was changed meanwhile".to_owned();
    assert_eq!(set(r#"{"b":1,"a":1}"#, r#"{"b":0,"a":1}"#).await, Err(text));
    assert_eq!(rig.things.desired(&rig.pk, "dn").await.expect("read"), []);
    set(r#"{"a":1}"#, r#"{"a":0}"#).await.expect("set");
    set(r#"{"a":1}"#, r#"{"a":0}"#).await.expect_err("it has version 1");
    set(r#"{"b":1}"#, r#"{"a":0}"#).await.expect_err("so has what only Versions name");
    assert_eq!(
        set(r#"{"a":null,"b":2}"#, r#"{"a":1}"#).await.as_deref(),
        Ok(r#"[("a", 0), ("b", 1)]"#)
    );
    let told = rig.take(&rig.got.devices);
    assert_eq!(told.last().expect("told").1["params"], json!({ "b": 2 }), "null is nothing to set");
    for bad in ["[]", r#"{"a":"1"}"#, r#"{"a":-1}"#, r#"{"a":1.5}"#, "x"] {
        let text = set(r#"{"a":1}"#, bad).await.expect_err(bad);
        assert!(text.starts_with("the versions are no JSON object"), "{text}");
    }
    for (bad, part) in [
        ("{}", "no property is named"),
        (r#"{"a":1,"a":2}"#, "twice"),
        ("[1]", "no JSON object"),
        (r#"{"":1}"#, "an identifier is empty"),
    ] {
        let text = set(bad, "{}").await.expect_err(bad);
        assert!(text.contains(part), "{text}");
    }
    let eleven: Map<String, Value> = (0..11).map(|n| (n.to_string(), json!(n))).collect();
    set(&Value::Object(eleven).to_string(), "{}").await.expect_err("eleven");
    let long = json!({ "a": "x".repeat(VALUE_BYTES) }).to_string();
    set(&long, "{}").await.expect_err("too long");
    rig.desire("nobody", r#"{"a":1}"#, "{}").await.expect_err("no such device");
    // A device that is not connected is told nothing.
    rig.take(&rig.got.devices);
    rig.desire("absent", r#"{"a":1}"#, "{}").await.expect("set");
    assert_eq!(rig.take(&rig.got.devices), []);
    assert_eq!(rig.take(&rig.got.rules), []);
}

#[tokio::test]
async fn the_model_says_what_can_be_desired() {
    let model = json!({ "properties": [
        { "identifier": "Level", "dataType": { "type": "int", "specs": { "min": "0", "max": "10" } } },
        { "identifier": "Heat", "accessMode": "r", "dataType": { "type": "double" } },
    ] });
    let rig = Rig::new(Some(model)).await;
    rig.desire("dn", r#"{"Level":10}"#, "{}").await.expect("set");
    rig.desire("dn", r#"{"Level":null}"#, "{}").await.expect("cleared");
    for (items, want) in [
        (r#"{"Level":11}"#, "tsl parse: int out of range 0 to 10 -> Level".to_owned()),
        (r#"{"Heat":1}"#, "property `Heat` can't be set: its access mode is r".to_owned()),
        (r#"{"Heat":null}"#, "property `Heat` can't be set: its access mode is r".to_owned()),
        (r#"{"Other":1}"#, Misfit::unknown("Other").message),
    ] {
        assert_eq!(rig.desire("dn", items, "{}").await, Err(want));
    }
}

#[tokio::test]
async fn a_device_has_only_so_many_and_takes_them_with_it() {
    let rig = Rig::new(None).await;
    for at in 0..100 {
        let items: Map<String, Value> =
            (0..10).map(|n| (format!("p{}", at * 10 + n), json!(n))).collect();
        rig.desire("absent", &Value::Object(items).to_string(), "{}").await.expect("set");
    }
    let text = rig.desire("absent", r#"{"one":1}"#, "{}").await.expect_err("1001");
    assert_eq!(text, "a device has at most 1000 desired values");
    rig.desire("absent", r#"{"p1":5}"#, "{}").await.expect("one that is there");
    rig.registry.delete_device(&rig.pk, "absent").await.expect("deleted");
    assert_eq!(rig.things.desired(&rig.pk, "absent").await.expect("read"), []);
}
