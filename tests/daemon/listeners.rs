//! The daemon's listeners for MQTT: plain, TLS, WebSocket, both; and sessions over its restart.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use connectors::contract::{QoS, Topic, TopicFilter, TopicLimits};
use tidegate::broker::client::{Client, Options};
use tidegate::broker::codec::{Reason, Version};
use tokio::net::TcpStream;

use super::{Daemon, http, run};
use crate::broker::connections::tls::{dial, file};
use crate::broker::connections::websocket::{bytes_of, upgrade, upgrade_from};
use crate::broker::rig::{Raw, connect};

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn in_folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::create_dir(folder.path().join("rules")).expect("rules");
    for name in ["server.pem", "server.key"] {
        std::fs::copy(file(name), folder.path().join(name)).expect("copied");
    }
    std::fs::write(folder.path().join("tidegate.yaml"), config).expect("configuration");
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_speak_over_every_listener() {
    let at = "\"127.0.0.1:0\"";
    let config = format!(
        "listen: {{ mqtt: {at}, mqtts: {at}, ws: {at}, wss: {at}, http: {at} }}\n\
         tls: {{ cert: server.pem, key: server.key }}\n"
    );
    let daemon = tokio::task::spawn_blocking(move || Daemon::in_folder(in_folder(&config)));
    let daemon = daemon.await.expect("it starts");
    let port = |name: &str| local(daemon.more[name]);
    let (stop, _) = connectors::contract::shutdown();
    let stop = Arc::new(stop);
    let tls = async |name: &str| dial(port(name), None).await.expect("TLS");
    let plain = TcpStream::connect(port("WS")).await.expect("connects");
    let ws = upgrade(plain, "/mqtt", "mqtt").await.expect("a WebSocket");
    let wss = upgrade(tls("WSS").await, "/mqtt", "mqtt").await.expect("a WebSocket");
    let mut clients = vec![
        Raw::over(tls("MQTTS").await, Version::V311, stop.clone()),
        Raw::over(bytes_of(ws, 100), Version::V5, stop.clone()),
        Raw::over(bytes_of(wss, 100), Version::V5, stop.clone()),
    ];
    for (n, raw) in clients.iter_mut().enumerate() {
        raw.hello(connect(&format!("c{n}"), raw.version)).await;
        raw.subscribe("a/#", 2).await;
    }
    let mut publisher =
        Client::connect(local(daemon.mqtt), Options::new("p")).await.expect("plain");
    let topic = Topic::parse("a/b", TopicLimits::default()).expect("topic");
    publisher.publish(&topic, b"x", QoS::ExactlyOnce, false).await.expect("published");
    publisher.disconnect().await.expect("the end");
    for raw in &mut clients {
        assert_eq!(raw.brief().await, ("a/b".into(), "x".into(), 2, false));
    }
    for raw in clients {
        raw.goodbye(Reason::SUCCESS).await;
    }
}

/// On loopback everybody may know what the daemon does, except pages of others.
#[test]
fn pages_of_other_sites_reach_nothing() {
    let daemon = Daemon::start("", &[]);
    let get = |path: &str, more: &str| {
        http(
            daemon.http,
            &format!("GET {path} HTTP/1.1\r\n{more}\r\nconnection: close\r\n\r\n"),
            b"",
        )
    };
    assert_eq!(get("/spool", "host: 127.0.0.1").0, 200);
    assert_eq!(get("/metrics", "host: localhost").0, 200);
    for path in ["/spool", "/metrics", "/readyz", "/healthz"] {
        assert_eq!(get(path, "host: evil.example").0, 421, "{path}");
        assert_eq!(get(path, "host: localhost\r\norigin: http://evil.example").0, 403, "{path}");
    }
}

/// Off loopback whoever has no key learns whether the daemon is ready, and no more.
#[test]
fn details_need_a_key_off_loopback() {
    let config = |more: &str| {
        format!(
            "listen: {{ mqtt: \"127.0.0.1:0\", ws: \"127.0.0.1:0\", http: \"0.0.0.0:0\" }}\n\
             auth: {{ devices: none }}\naccess_keys: [{{ id: k, secret: s, role: read }}]\n{more}"
        )
    };
    let daemon = Daemon::in_folder(in_folder(&config("")));
    assert_eq!(daemon.get("/readyz"), (200, "{\"ready\":true}".to_owned()));
    assert_eq!(daemon.get("/metrics").0, 401);
    assert_eq!(daemon.get("/healthz").0, 200);
    let head = "GET /metrics HTTP/1.1\r\nhost: iot.plant.example\r\nauthorization: Bearer k:s\r\nconnection: close\r\n\r\n";
    let (status, text) = http(daemon.http, head, b"");
    assert!(status == 200 && text.contains("tidegate_uptime_seconds"), "{status} {text}");
    let open = Daemon::in_folder(in_folder(&config("metrics: { open: true }\n")));
    assert_eq!(open.get("/metrics").0, 200);
    assert!(open.get("/readyz").1.contains("\"promise\""));
    // Whoever reaches the WebSocket needs no password here: a page may not.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answers = runtime.expect("a runtime").block_on(async {
        let at = local(daemon.more["WS"]);
        let page = upgrade_from(at, "127.0.0.1", Some("http://evil.example")).await;
        (
            page,
            upgrade_from(at, "evil.example", None).await,
            upgrade_from(at, "tidegate", None).await,
        )
    });
    assert_eq!(answers, (403, 421, 101));
}

#[test]
fn a_certificate_that_cannot_be_read_is_named() {
    let at = "\"127.0.0.1:0\"";
    let folder = in_folder(&format!(
        "listen: {{ mqtt: {at}, mqtts: {at}, http: {at} }}\n\
         tls: {{ cert: server.pem, key: nowhere.key }}\n"
    ));
    let (code, _, error) = run(folder.path(), &["run"], "");
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("`tls.key`: ") && error.contains("nowhere.key: cannot be read"));
}

async fn sleeper(daemon: &Daemon) -> Client {
    let mut options = Options::new("sleeper");
    options.version = Version::V311;
    options.clean_start = false;
    Client::connect(local(daemon.mqtt), options).await.expect("connects")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_client_outlives_the_daemon() {
    let daemon = Daemon::with_rules("rules: []\n");
    let mut client = sleeper(&daemon).await;
    let filter = TopicFilter::parse("a", TopicLimits::default()).expect("filter");
    client.subscribe(&filter, QoS::ExactlyOnce).await.expect("subscribed");
    client.disconnect().await.expect("the end");
    let mut publisher = Client::connect(local(daemon.mqtt), Options::new("p")).await.expect("p");
    let topic = Topic::parse("a", TopicLimits::default()).expect("topic");
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        publisher.publish(&topic, &[qos.level()], qos, false).await.expect("published");
    }
    publisher.disconnect().await.expect("the end");
    let folder = daemon.stop();
    assert!(folder.path().join("data/broker.db").exists());
    let daemon = Daemon::in_folder(folder);
    let mut client = sleeper(&daemon).await;
    assert!(client.session_present());
    for level in [1, 2] {
        let got = client.next().await.expect("a message");
        assert_eq!((got.qos, &got.payload[..]), (level, &[level][..]));
    }
    let folder = daemon.stop();
    // A file that is none is named, and what to do.
    std::fs::write(folder.path().join("data/broker.db"), "no database at all, just text")
        .expect("written");
    let (code, _, error) = run(folder.path(), &["run"], "");
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("broker.db") && error.contains("move the file away"), "{error}");
}
