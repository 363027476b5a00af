//! Calls of devices in Tencent's protocols, and its own client, unmodified.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;
use tidegate::rule::store::Role;

use super::client::{Reply, pairs, query};
use super::devices::{server, server_with};
use super::server::{NOW_MS, Server, key};
use crate::services::service;

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
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/tencent.py");
    let mut command = tokio::process::Command::new(python);
    command.arg(script);
    command.args([&server.address.to_string(), &key.id, &key.secret, &pk]);
    for proxy in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
        command.env_remove(proxy);
    }
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.end().await;
}
