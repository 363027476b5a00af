//! Messages over HTTP.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connectors::contract::QoS;
use tidegate::rule::store::Role;
use tidegate::thing::Forwarder;

use crate::api::server::{Fate, NOW_MS, Server, key};

#[tokio::test]
async fn a_message_is_taken_from_path_or_query() {
    let server = Server::start().await;
    let client = server.client();
    for target in [
        "/ingest/a1Pk/dev1/user/data",
        "/ingest/a1Pk%2Fdev1/%E6%B8%A9",
        "/ingest?topic=a%2Fb%20c",
        "/ingest?topic=%2Fx&other=1",
    ] {
        let reply = client.send("POST", target, &[], b"{\"a\":1}").await;
        assert_eq!((reply.status, reply.body.as_str()), (202, "{\"accepted\":true}"), "{target}");
    }
    let messages = server.inbox.messages.lock().unwrap().clone();
    let topics: Vec<_> = messages.iter().map(|message| message.topic.as_str()).collect();
    assert_eq!(topics, ["/a1Pk/dev1/user/data", "/a1Pk/dev1/温", "a/b c", "/x"]);
    let first = &messages[0];
    assert_eq!(first.payload.as_ref(), b"{\"a\":1}");
    assert_eq!((first.received_ms, first.qos), (NOW_MS, QoS::AtLeastOnce));
    assert_eq!(first.origin.source.as_deref(), Some("http"));
    assert_eq!((first.product_key(), first.device_name()), (Some("a1Pk"), Some("dev1")));
    server.end().await;
}

/// R25: what says that it is compressed is a payload like any other.
#[tokio::test]
async fn a_compressed_body_is_not_unpacked() {
    let server = Server::start().await;
    let bytes = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\0\xff\xff".to_vec();
    let head = [("Content-Encoding", "gzip")];
    let reply = server.client().send("POST", "/ingest/t", &head, &bytes).await;
    assert_eq!(reply.status, 202);
    assert_eq!(server.inbox.messages.lock().unwrap()[0].payload, bytes);
    server.end().await;
}

#[tokio::test]
async fn a_message_that_is_not_taken_says_why() {
    let server = Server::with(|state| {
        state.limits.payload = 10;
        state.limits.accept_wait = Duration::from_millis(20);
    })
    .await;
    let client = server.client();
    let post = async |target: &str, body: &[u8]| {
        let reply = client.send("POST", target, &[], body).await;
        assert!(reply.json()["message"].is_string());
        reply
    };
    for target in [
        "/ingest/a/+/b",
        "/ingest/a%00",
        "/ingest?topic=%24SYS%2Fx",
        "/ingest?topic=",
        "/ingest",
        "/ingest/%ff",
        &format!("/ingest/{}", "x".repeat(300)),
        &format!("/ingest/{}", "x/".repeat(17)),
    ] {
        assert_eq!(post(target, b"").await.outcome(), "400 topic", "{target}");
    }
    assert_eq!(post("/ingest/a/b", &[0; 11]).await.outcome(), "413 payload");
    let get = client.send("GET", "/ingest/a/b", &[], b"").await;
    assert_eq!((get.status, get.headers["allow"].as_str()), (405, "POST"));
    let page = client.send("POST", "/ingest/a/b", &[("Origin", "http://evil")], b"").await;
    assert_eq!(page.status, 403);
    for fate in [Fate::Full, Fate::Refuse, Fate::Forget] {
        *server.inbox.fate.lock().unwrap() = fate;
        let reply = post("/ingest/a/b", b"x").await;
        assert_eq!(reply.outcome(), "503 busy", "{fate:?}");
        assert_eq!(reply.headers["retry-after"], "1");
    }
    assert!(server.inbox.messages.lock().unwrap().is_empty());
    server.end().await;
}

#[tokio::test]
async fn off_loopback_a_message_needs_a_key() {
    let server = Server::with(|state| state.require_key = true).await;
    let client = server.client();
    let post = async |authorization: &str| {
        let headers = [("Authorization", authorization)];
        client.send("POST", "/ingest/a/b", &headers, b"x").await.status
    };
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    assert_eq!(post("Bearer test-operate:testsecret").await, 202);
    assert_eq!(post(&basic("test-admin:testsecret")).await, 202);
    assert_eq!(post("bearer test-read:testsecret").await, 403);
    for bad in [
        "Bearer test-operate:wrong",
        "Bearer nobody:testsecret",
        "Bearer x",
        "Digest a:b",
        "Basic %%",
    ] {
        assert_eq!(post(bad).await, 401, "{bad}");
    }
    let without = client.send("POST", "/ingest/a/b", &[], b"x").await;
    assert_eq!(
        (without.status, without.headers["www-authenticate"].as_str()),
        (401, "Basic, Bearer")
    );
    let stored = server.store.create_key(Role::Operate, NOW_MS).await.unwrap();
    let bearer = format!("Bearer {}:{}", stored.id, stored.secret);
    assert_eq!(post(&bearer).await, 202);
    server.store.revoke_key(&stored.id, NOW_MS).await.unwrap();
    assert_eq!(post(&bearer).await, 401);
    assert_eq!(key(Role::Read).id, "test-read");
    server.end().await;
}

#[tokio::test]
async fn a_post_of_the_thing_model_arrives_as_a_document() {
    let server = Server::with(|state| {
        state.ingress = Arc::new(Forwarder::new(state.ingress.clone(), state.things.clone()));
    })
    .await;
    let target = "/ingest/sys/a1Pk/dev1/thing/event/property/post";
    let body =
        br#"{"id":"1","version":"1.0","params":{"t":39.50},"method":"thing.event.property.post"}"#;
    assert_eq!(server.client().send("POST", target, &[], body).await.status, 202);
    let message = server.inbox.messages.lock().unwrap()[0].clone();
    assert_eq!(message.topic.as_str(), "/a1Pk/dev1/thing/event/property/post");
    let text = String::from_utf8(message.payload.to_vec()).unwrap();
    assert!(text.contains(r#""items":{"t":{"value":39.50,"time":1551334473000}}"#), "{text}");
    server.end().await;
}
