//! Calls of devices in OneNET's way.

use std::sync::Arc;

use serde_json::{Value, json};

use super::devices::{post, server};

#[tokio::test]
async fn calls_reach_devices() {
    let (server, pk) = server(&Arc::default()).await;
    let client = server.client();
    let head = [("Authorization", "Bearer test-operate:testsecret")];
    let call = async |device: &str, more: &str| {
        let body = format!(
            r#"{{"product_id":"{pk}","device_name":"{device}","identifier":"Set","params":{{"Power1":"on","n":12345678901234567890.10}}{more}}}"#
        );
        client.send("POST", "/thingmodel/call-service", &head, body.as_bytes()).await.json()
    };
    server.line.take();
    let json = call("echo", "").await;
    let id = json["id"].as_str().unwrap();
    assert_eq!(json["code"], 200);
    assert_eq!(json["data"].to_string(), r#"{"Power1":"on","n":12345678901234567890.10}"#);
    let topic = format!("$sys/{pk}/echo/thing/service/Set/invoke");
    let request = format!(r#"{{"id":"{id}","version":"1.0","params":{}}}"#, json["data"]);
    assert_eq!(server.line.take(), [(topic, request)]);
    let json = call("silent", r#","mode":"async""#).await;
    assert_eq!((&json["code"], json.get("data")), (&json!(200), None));
    server.inbox.messages.lock().unwrap().clear();
    let id = json["id"].as_str().unwrap();
    let answer = format!(r#"{{"id":"{id}","code":200,"msg":"done","data":{{"a":1}}}}"#);
    post(&server, &format!("$sys/{pk}/silent/thing/service/Set/invoke_reply"), &answer);
    let told = server.inbox.messages.lock().unwrap().pop().unwrap();
    assert_eq!(told.topic.as_str(), format!("/{pk}/silent/thing/downlink/reply/message"));
    let told: Value = serde_json::from_slice(&told.payload).unwrap();
    assert_eq!((told["requestId"].to_string().as_str(), &told["data"]), (id, &json!({ "a": 1 })));
    for (device, more, code) in [
        ("silent", "", 408),
        ("away", "", 410),
        ("full", "", 429),
        ("nobody", "", 404),
        ("echo", r#","odd":1"#, 400),
    ] {
        assert_eq!(call(device, more).await["code"], code, "{device}");
    }
    for (method, head, status) in [
        ("GET", &head[..], 405),
        ("POST", &[], 401),
        ("POST", &[("Authorization", "Bearer test-read:testsecret")], 403),
    ] {
        let reply = client.send(method, "/thingmodel/call-service", head, b"{}").await;
        assert_eq!(reply.status, status);
    }
    server.end().await;
}
