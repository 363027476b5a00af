//! Health, readiness and metrics.

use std::sync::Arc;

use crate::api::server::Server;

/// Whatever asks whether the daemon lives and works needs no key; what it does is for those who have
/// one, and for everybody on loopback or when the configuration says so.
#[tokio::test]
async fn health_and_readiness_need_no_key_and_details_do() {
    let whole = r#"{"ready":false,"reasons":["rule x does not compile"],"abnormal":[],"promise":"a promise","promise_in_full":"a promise in full"}"#;
    let metrics = "tidegate_up 1\n";
    for (key, open) in [(true, false), (true, true), (false, false)] {
        let server = Server::with(|state| {
            state.ready = Arc::new(|| vec!["rule x does not compile".to_owned()]);
            (state.require_key, state.open_details) = (key, open);
        })
        .await;
        let client = server.client();
        let get = async |path: &str, authorization: Option<&str>| {
            let header = authorization.map(|text| ("Authorization", text));
            let reply = client.send("GET", path, header.as_slice(), b"").await;
            (reply.status, reply.body)
        };
        assert_eq!(get("/healthz", None).await, (200, "ok\n".to_owned()));
        assert_eq!(get("/nothing", None).await.0, 404);
        let reader = Some("Bearer test-read:testsecret");
        assert_eq!(get("/metrics", reader).await, (200, metrics.to_owned()));
        assert_eq!(get("/readyz", reader).await, (503, whole.to_owned()));
        let (bare, none) = (get("/readyz", None).await, get("/metrics", None).await);
        let wrong = Some("Bearer test-read:wrong");
        if key && !open {
            assert_eq!(bare, (503, r#"{"ready":false}"#.to_owned()));
            assert_eq!(none.0, 401);
            assert!(none.1.contains("access key"), "{}", none.1);
            assert_eq!((get("/readyz", wrong).await.0, get("/metrics", wrong).await.0), (401, 401));
        } else {
            assert_eq!(bare, (503, whole.to_owned()));
            assert_eq!(none, (200, metrics.to_owned()));
        }
        server.end().await;
    }
    let server = Server::with(|state| state.require_key = true).await;
    let ready = server.client().send("GET", "/readyz", &[], b"").await;
    assert_eq!((ready.status, &*ready.body), (200, r#"{"ready":true}"#));
    server.end().await;
}
