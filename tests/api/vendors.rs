//! Calls of devices in the protocols of other vendors.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;
use tidegate::rule::store::Role;

use super::client::{Reply, pairs, query};
use super::server::{NOW_MS, Server, key};
use super::things::{post, server, server_with};
use crate::services::service;

/// Seed 000: no version, no format, no signature version; the guide's parameters otherwise.
#[tokio::test]
async fn the_query_of_another_vendor_is_answered_in_json() {
    let (server, pk) = server(&Arc::default()).await;
    let client = server.client();
    let mut parameters = pairs(&[
        ("Action", "InvokeThingService"),
        ("Args", r#"{"param":1}"#),
        ("Identifier", "testService"),
        ("SignatureNonce", "62c43dfbf4984ee0b8333f209bc47d26"),
        ("AccessKeyId", "test-admin"),
        ("SignatureMethod", "HMAC-SHA1"),
        ("Timestamp", "2019-02-28T06:14:33Z"),
        ("ProductKey", &pk),
        ("DeviceName", "echo"),
    ]);
    client.sign("GET", &mut parameters);
    let reply = client.get("GET", &parameters).await;
    let json = reply.json();
    assert_eq!(json["Success"], true, "{}", reply.body);
    let result: Value = serde_json::from_str(json["Data"]["Result"].as_str().unwrap()).unwrap();
    assert_eq!(result["data"], json!({ "param": 1 }));
    assert_eq!(reply.headers["content-type"], "application/json");
    server.end().await;
}

fn serviceapi(mut body: Value, secret: &str) -> String {
    let fields = body.as_object().unwrap();
    let mut text: Vec<_> = fields
        .iter()
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}={text}"),
            other => format!("{name}={other}"),
        })
        .collect();
    text.sort();
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.join("&").as_bytes());
    body["Signature"] = STANDARD.encode(mac.finalize().into_bytes()).into();
    body.to_string()
}

/// Seed 003.
#[tokio::test]
async fn the_service_api_of_another_vendor_calls_devices() {
    let (server, pk) = server(&Arc::default()).await;
    let client = server.client();
    let send = async |body: &str| {
        let target = "/api/exploreropen/serviceapi";
        client.send("POST", target, &[("Content-Type", "application/json")], body.as_bytes()).await
    };
    let request = |nonce: u64| {
        json!({
            "RequestId": "f92406b3", "Timestamp": NOW_MS / 1000, "Nonce": nonce,
            "AppKey": "test-operate", "Action": "ServiceCallDeviceActionAsync",
            "ProductId": pk, "DeviceName": "silent", "ActionId": "echo",
            "InputParams": "{\"message\":\"hello.\"}",
        })
    };
    server.line.take();
    let good = serviceapi(request(1), "testsecret");
    let reply = send(&good).await;
    let answer = reply.json();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["content-type"], "application/json");
    let token = answer["Response"]["ClientToken"].as_str().unwrap();
    let want =
        json!({ "Response": { "ClientToken": token, "Status": "succ", "RequestId": "f92406b3" } });
    assert_eq!(answer, want);
    let sent = server.line.take();
    assert_eq!(sent[0].0, format!("/sys/{pk}/silent/thing/service/echo"));
    assert!(sent[0].1.contains(r#""params":{"message":"hello."}"#), "{}", sent[0].1);
    let code =
        |reply: &Reply| reply.json()["Response"]["Error"]["Code"].as_str().unwrap().to_owned();
    let changed = |nonce: u64, name: &str, value: Value| {
        let mut body = request(nonce);
        match value {
            Value::Null => drop(body.as_object_mut().unwrap().remove(name)),
            value => body[name] = value,
        }
        serviceapi(body, "testsecret")
    };
    for (body, want) in [
        (good.clone(), "InvalidParameterValue"),
        (serviceapi(request(2), "othersecret"), "InvalidParameterValue"),
        ("{".to_owned(), "InvalidParameterValue.InvalidJSON"),
        ("[]".to_owned(), "InvalidParameterValue.InvalidJSON"),
        ("{}".to_owned(), "ErrorRequiredParamNotFound"),
        (request(3).to_string(), "ErrorRequiredParamNotFound"),
        (changed(4, "Action", json!("AppCallDevice")), "InvalidAction"),
        (changed(5, "ActionId", Value::Null), "ErrorRequiredParamNotFound"),
        (changed(6, "ProductId", json!("nothing")), "InvalidParameterValue"),
        (changed(7, "DeviceName", json!("nobody")), "InvalidParameterValue"),
        (changed(8, "InputParams", json!("[1]")), "InvalidParameterValue"),
        (changed(9, "Timestamp", json!(5)), "InvalidParameterValue"),
        (changed(10, "Nonce", json!("x")), "InvalidParameterValue"),
        (changed(11, "AppKey", json!("test-read")), "InvalidParameterValue"),
        (changed(12, "AppKey", json!("nobody")), "InvalidParameterValue"),
        (changed(13, "ProductId", json!(7)), "InvalidParameterValue"),
    ] {
        let reply = send(&body).await;
        assert_eq!((reply.status, code(&reply).as_str()), (200, want), "{body}");
        assert!(reply.json()["Response"]["RequestId"].is_string());
    }
    let get = client.send("GET", "/api/exploreropen/serviceapi", &[], b"").await;
    assert_eq!(code(&get), "InvalidParameterValue");
    server.store.close().await;
    let failed = send(&changed(14, "AppKey", json!("unknown"))).await;
    assert_eq!(code(&failed), "InternalError");
    server.end().await;
}

/// Seed 002.
#[tokio::test]
async fn the_calls_of_a_third_vendor_reach_devices() {
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

/// A request with the older signature of the vendor's cloud protocol, signed for a host; an empty value
/// takes a parameter away.
async fn cloud(server: &Server, change: &[(&str, &str)], secret: &str, host: &str) -> Reply {
    let nonce = uuid::Uuid::new_v4().as_u128().to_string();
    let mut all = pairs(&[
        ("Action", "CallDeviceActionSync"),
        ("Version", "2019-04-23"),
        ("Nonce", &nonce),
        ("Timestamp", &(NOW_MS / 1000).to_string()),
        ("SecretId", &key(Role::Operate).id),
        ("SignatureMethod", "HmacSHA1"),
        ("DeviceName", "echo"),
        ("ActionId", "Blink"),
        ("InputParams", r#"{"n":2}"#),
    ]);
    for (name, value) in change {
        match value.is_empty() {
            true => drop(all.remove(*name)),
            false => drop(all.insert((*name).to_owned(), (*value).to_owned())),
        }
    }
    let text: Vec<_> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let text = format!("POST{host}/?{}", text.join("&"));
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    all.insert("Signature".into(), STANDARD.encode(mac.finalize().into_bytes()));
    let head = [("Content-Type", "application/x-www-form-urlencoded")];
    server.client().send("POST", "/", &head, query(&all).as_bytes()).await
}

/// The newer signature is for the vendor's own client, below.
#[tokio::test]
async fn the_cloud_protocol_of_another_vendor_calls_devices() {
    let (server, pk) = server(&Arc::default()).await;
    let host = server.address.to_string();
    let product = ("ProductId", &*pk);
    for host in [&*host, "127.0.0.1"] {
        let reply = cloud(&server, &[product], "testsecret", host).await;
        let answer = &reply.json()["Response"];
        assert_eq!(answer["OutputParams"], r#"{"n":2}"#, "{}", reply.body);
        assert_eq!(answer["Status"], "success");
        assert!(answer["ClientToken"].is_string() && answer["RequestId"].is_string());
        assert_eq!(reply.headers["content-type"], "application/json");
    }
    let change = [product, ("Action", "CallDeviceActionAsync")];
    let reply = cloud(&server, &change, "testsecret", &host).await;
    assert_eq!(reply.json()["Response"]["Status"], "succ");
    server.end().await;
}

#[tokio::test]
async fn the_cloud_protocol_says_what_is_wrong() {
    let (server, pk) = server(&Arc::default()).await;
    let host = server.address.to_string();
    let product = ("ProductId", &*pk);
    let code =
        |reply: &Reply| reply.json()["Response"]["Error"]["Code"].as_str().unwrap().to_owned();
    for (change, want) in [
        (("Action", "DescribeDevice"), "InvalidAction"),
        (("Version", "2017-03-12"), "NoSuchVersion"),
        (("SecretId", "nobody"), "AuthFailure.SecretIdNotFound"),
        (("SecretId", "test-read"), "UnauthorizedOperation"),
        (("Timestamp", "5"), "AuthFailure.SignatureExpire"),
        (("Timestamp", "x"), "InvalidParameter"),
        (("SignatureMethod", "HmacMD5"), "InvalidParameter"),
        (("DeviceName", ""), "MissingParameter"),
        (("Nonce", ""), "MissingParameter"),
        (("ProductId", "nothing"), "ResourceNotFound.StudioProductNotExist"),
        (("DeviceName", "nobody"), "ResourceNotFound.DeviceNotExist"),
        (("DeviceName", "silent"), "FailedOperation.Timeout"),
        (("DeviceName", "away"), "FailedOperation.ActionUnreachable"),
        (("DeviceName", "full"), "RequestLimitExceeded"),
        (("InputParams", "[]"), "InvalidParameter.ActionInputParamsInvalid"),
        (("ActionId", "a/b"), "InvalidParameterValue.ActionNilOrNotExist"),
    ] {
        let reply = cloud(&server, &[product, change], "testsecret", &host).await;
        assert_eq!((reply.status, code(&reply).as_str()), (200, want), "{}", reply.body);
    }
    let reply = cloud(&server, &[product], "othersecret", &host).await;
    assert_eq!(code(&reply), "AuthFailure.SignatureFailure");
    let again = [product, ("Nonce", "7")];
    cloud(&server, &again, "testsecret", &host).await;
    let reply = cloud(&server, &again, "testsecret", &host).await;
    assert_eq!(code(&reply), "RequestLimitExceeded");
    let seconds = (NOW_MS / 1000).to_string();
    for (credential, want) in [
        ("a/2019-02-28", "AuthFailure.SignatureFailure"),
        ("a/2019-02-27/b/tc3_request", "AuthFailure.SignatureFailure"),
        ("a/2019-02-28/b/tc3_request", "AuthFailure.SecretIdNotFound"),
        ("test-read/2019-02-28/b/tc3_request", "AuthFailure.SignatureFailure"),
    ] {
        let head =
            format!("TC3-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=x");
        let heads = [("X-TC-Action", "x"), ("X-TC-Timestamp", &*seconds), ("Authorization", &head)];
        let reply = server.client().send("POST", "/", &heads, b"{}").await;
        assert_eq!(code(&reply), want, "{}", reply.body);
    }
    server.end().await;
}

/// `TIDEGATE_TEST_PYTHON` names a Python that has tencentcloud-sdk-python-iotexplorer.
#[tokio::test]
async fn the_cloud_client_of_another_vendor_is_served() {
    let name = "tencentcloud-sdk-python-iotexplorer";
    let Some(python) = service(name, "TIDEGATE_TEST_PYTHON") else { return };
    let (server, pk) = server_with(&Arc::default(), |state| {
        state.clock = Arc::new(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            u64::try_from(now.as_millis()).unwrap()
        });
    })
    .await;
    let key = key(Role::Operate);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/sdk");
    let mut command = tokio::process::Command::new(python);
    command.arg(folder.join("tencent.py"));
    command.args([&server.address.to_string(), &key.id, &key.secret, &pk]);
    for proxy in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
        command.env_remove(proxy);
    }
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.end().await;
}
