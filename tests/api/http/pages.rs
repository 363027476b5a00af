//! Requests that browsers send for web pages, of other sites and of listed ones.

use tidegate::web::Pages;

use crate::api::client::Reply;
use crate::api::server::Server;

/// A request with a host and perhaps an origin.
async fn ask(server: &Server, head: &str, host: &str, origin: Option<&str>) -> Reply {
    let origin = origin.map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
    server.client().raw(&format!(
        "{head} HTTP/1.1\r\nHost: {host}\r\n{origin}Connection: close\r\nContent-Length: 0\r\n\r\n"
    ))
    .await
}

const PATHS: [&str; 10] = [
    "GET /spool",
    "GET /metrics",
    "GET /readyz",
    "GET /healthz",
    "POST /ingest/a/b",
    "POST /explain",
    "POST /",
    "POST /api/exploreropen/serviceapi",
    "POST /thingmodel/call-service",
    "GET /nothing",
];

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused_on_all_paths() {
    let server = Server::start().await;
    let own = server.address.to_string();
    for path in PATHS {
        let rebound = ask(&server, path, "evil.example:8080", None).await;
        assert_eq!(rebound.outcome(), "421 host", "{path}");
        assert!(rebound.body.contains("listen.allow_hosts"), "{}", rebound.body);
        let page = ask(&server, path, &own, Some("http://evil.example")).await;
        assert_eq!(page.outcome(), "403 origin", "{path}");
        assert!(page.body.contains("listen.allow_origins"), "{}", page.body);
        for host in [&*own, "localhost:8080", "[::1]:8080", "tidegate"] {
            let fine = ask(&server, path, host, Some(&format!("http://{host}"))).await;
            let refused = ["\"host\"", "\"origin\""].iter().any(|code| fine.body.contains(code));
            assert!(!refused, "{path} {host}: {}", fine.body);
        }
    }
    assert_eq!(server.inbox.messages.lock().unwrap().len(), 4);
    // A target with a host of its own, and two hosts.
    let target = ask(&server, "GET http://evil.example/spool", &own, None).await;
    assert_eq!(target.outcome(), "421 host");
    let two = format!("{own}\r\nHost: evil.example");
    assert_eq!(ask(&server, "GET /spool", &two, None).await.status, 400);
    // HTTP/1.0 needs no host, and no browser speaks it.
    let old = server.client().raw("GET /healthz HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.status, 200);
    server.end().await;
}

#[tokio::test]
async fn pages_of_listed_origins_may_ask_and_read() {
    let list = |text: &str| vec![text.to_owned()];
    let server = Server::with(|state| {
        let pages = Pages::new(&list("iot.plant.example"), &list("https://desk.example"));
        state.pages = pages.unwrap();
    })
    .await;
    let desk = Some("https://desk.example");
    let reply = ask(&server, "GET /spool", "iot.plant.example:8080", desk).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["access-control-allow-origin"], "https://desk.example");
    assert_eq!(reply.headers["vary"], "origin");
    let origin = "https://desk.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization";
    let first = ask(&server, "OPTIONS /ingest/a/b", "localhost", Some(origin)).await;
    assert_eq!((first.status, &*first.headers["access-control-allow-methods"]), (204, "GET, POST"));
    assert_eq!(first.headers["access-control-allow-headers"], "authorization");
    let plain = ask(&server, "GET /spool", "localhost", None).await;
    assert!(!plain.headers.contains_key("access-control-allow-origin"));
    let other = ask(&server, "GET /spool", "localhost", Some("https://other.example")).await;
    assert_eq!(other.outcome(), "403 origin");
    assert!(!other.headers.contains_key("access-control-allow-origin"));
    server.end().await;
}

/// Where everything needs a key, a name may be anybody's, unless hosts are listed.
#[tokio::test]
async fn behind_proof_any_host_is_good_until_some_are_listed() {
    let server = Server::with(|state| {
        state.require_key = true;
        state.pages = Pages::default().behind_proof(true);
    })
    .await;
    assert_eq!(ask(&server, "GET /healthz", "iot.plant.example", None).await.status, 200);
    let page = Some("http://evil.example");
    assert_eq!(ask(&server, "GET /healthz", "iot.plant.example", page).await.status, 403);
    server.end().await;
}
