//! What the rest of the daemon does with the broker: publish, look, kick, stop, status messages.

use std::sync::Arc;

use bytes::Bytes;
use connectors::contract::{Headers, Message, QoS, TopicFilter, TopicLimits, shutdown};
use tidegate::broker::client::{Client, ClientError, Options};
use tidegate::broker::codec::{Name, Packet, Reason, Version};
use tidegate::broker::{Broker, Config, Hooks, Limits, StatusMessages};
use tokio::net::TcpListener;

use super::rig::{BOTH, Engine, Rig, connect, text, topic};

#[tokio::test(start_paused = true)]
async fn the_daemon_publishes_to_subscribers_and_retains() {
    for version in BOTH {
        let rig = Rig::new();
        let mut raw = rig.client("s", version).await;
        raw.subscribe("a/#", 1).await;
        let (mut absent, _) = rig.keeper("absent", version).await;
        absent.subscribe("a/b", 0).await;
        absent.goodbye(Reason::SUCCESS).await;
        let mut message = Message::new(topic("a/b"), "hello", 5);
        message.properties = Some(Arc::from([("k".into(), "v".into())]));
        message.headers = Some(Arc::new(Headers {
            content_type: Some("text/plain".into()),
            response_topic: Some("r".into()),
            correlation_data: Some("7".into()),
        }));
        message.retain = true;
        let delivered = rig.handle().publish(&message);
        assert_eq!((delivered.queued, delivered.dropped), (1, 1));
        let got = raw.message().await;
        assert_eq!((got.qos, text(&got.payload)), (0, "hello"));
        if version == Version::V5 {
            let user: Vec<_> = got.properties.user().collect();
            assert_eq!(user, [(&"k".into(), &"v".into())]);
            let text = |name| got.properties.text(name).map(|text| &**text);
            assert_eq!(text(Name::ContentType), Some("text/plain"));
            assert_eq!(text(Name::ResponseTopic), Some("r"));
            assert!(got.properties.get(Name::CorrelationData).is_some());
        }
        message.qos = QoS::AtLeastOnce;
        assert_eq!(rig.handle().publish(&message).queued, 1);
        assert_eq!(raw.message().await.qos, 1);
        let mut late = rig.client("late", version).await;
        late.subscribe("a/b", 0).await;
        assert!(late.message().await.retain);
        assert!(rig.engine.messages().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn clients_are_listed_and_kicked() {
    let rig = Rig::new();
    let handle = rig.handle();
    for version in Version::ALL {
        let mut raw = rig.client("a", version).await;
        raw.subscribe("x", 0).await;
        let clients = handle.clients();
        assert_eq!(clients.len(), 1);
        assert_eq!(&*clients[0].identity.client_id, "a");
        assert_eq!((clients[0].version, clients[0].subscriptions), (version, 1));
        assert!(handle.is_online("a") && handle.kick("a"));
        raw.ends_with(Reason::ADMINISTRATIVE).await;
        assert!(!handle.is_online("a") && !handle.kick("a") && handle.clients().is_empty());
    }
}

/// Lets the paused clock run on until something holds.
async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_forgotten_client_nothing_is_kept() {
    let rig = Rig::new();
    let handle = rig.handle();
    assert!(!handle.forget("a"));
    for absent in [false, true] {
        let (mut raw, present) = rig.keeper("a", Version::V311).await;
        assert!(!present);
        raw.subscribe("x", 1).await;
        if absent {
            drop(raw);
            until(|| !handle.is_online("a")).await;
            assert!(handle.forget("a"));
        } else {
            assert!(handle.forget("a"));
            raw.ends_with(Reason::ADMINISTRATIVE).await;
        }
        until(|| handle.sessions().is_empty()).await;
        assert_eq!(rig.snapshot().subscriptions, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_received_and_sent_is_counted() {
    let rig = Rig::new();
    let mut raw = rig.client("a", Version::V311).await;
    raw.subscribe("#", 0).await;
    raw.send(Packet::Publish(super::rig::message("a", "x", 0))).await;
    raw.message().await;
    let counted = rig.snapshot();
    assert_eq!((counted.messages_received, counted.messages_sent), (1, 1));
    // CONNECT 15, SUBSCRIBE 8, PUBLISH 6; CONNACK 4, SUBACK 5, PUBLISH 6.
    assert_eq!((counted.bytes_received, counted.bytes_sent), (29, 15));
    assert_eq!((counted.connections, counted.sessions, counted.subscriptions), (1, 1, 1));
    assert!(counted.named().contains(&("messages_received", 1)));
}

#[tokio::test(start_paused = true)]
async fn devices_coming_and_going_are_told_to_subscribers_and_the_engine() {
    let status = StatusMessages::new(jiff::tz::TimeZone::UTC, TopicLimits::default());
    let hooks = Hooks { lifecycle: Arc::new(status), ..Hooks::default() };
    let rig = Rig::with(Limits::default(), hooks);
    let mut witness = rig.client("witness", Version::V5).await;
    witness.subscribe("/as/mqtt/status/pk/+", 0).await;
    let mut raw = rig.raw(Version::V5);
    let mut wish = connect("c", Version::V5);
    wish.username = Some("dn&pk".into());
    raw.hello(wish.clone()).await;
    // A takeover is no departure.
    let mut second = rig.raw(Version::V5);
    second.hello(wish).await;
    raw.ends_with(Reason::SESSION_TAKEN_OVER).await;
    second.goodbye(Reason::SUCCESS).await;
    for expected in ["online", "online", "offline"] {
        let (topic, payload, ..) = witness.brief().await;
        assert_eq!(topic, "/as/mqtt/status/pk/dn");
        let body: serde_json::Value = serde_json::from_str(&payload).unwrap();
        assert_eq!(body["status"], expected);
        assert_eq!(body["clientIp"], "10.0.0.7");
        assert_eq!(body["utcTime"], "2023-11-14T22:13:20.000Z");
    }
    let got = rig.engine.until(4).await;
    assert_eq!(got[0].topic.as_str(), "/as/mqtt/status/mqtt/witness");
    assert_eq!(got[3].device_name(), Some("dn"));
}

/// A broker on a port of its own, with real time.
pub async fn listening() -> (std::net::SocketAddr, Arc<Engine>, impl AsyncFnOnce()) {
    let engine = Arc::new(Engine::default());
    let clock = Arc::new(|| 0);
    let broker = Broker::new(Config::default(), Hooks::default(), engine.clone(), clock);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = shutdown();
    let serving = tokio::spawn(async move { broker.serve(listener, stopped).await });
    let end = async move || {
        stop.stop();
        serving.await.unwrap().unwrap();
    };
    (address, engine, end)
}

#[tokio::test]
async fn a_stopping_broker_tells_its_clients_and_flushes() {
    let (address, _, end) = listening().await;
    let mut client = Client::connect(address, Options::new("a")).await.unwrap();
    let mut old = Options::new("b");
    old.version = Version::V311;
    let mut old = Client::connect(address, old).await.unwrap();
    let clients = async {
        match client.next().await {
            Err(ClientError::Closed(Some(reason))) => {
                assert_eq!(reason, Reason::SERVER_SHUTTING_DOWN);
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(old.next().await, Err(ClientError::Closed(None))));
        drop((client, old));
    };
    tokio::join!(end(), clients);
    assert!(Client::connect(address, Options::new("c")).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_publishes_and_subscribes_over_tcp() {
    let (address, engine, end) = listening().await;
    for (version, qos) in [
        (Version::V311, QoS::AtMostOnce),
        (Version::V311, QoS::AtLeastOnce),
        (Version::V5, QoS::AtMostOnce),
        (Version::V5, QoS::AtLeastOnce),
    ] {
        let options = move |id: &str| Options { version, ..Options::new(id.to_owned()) };
        let mut subscriber = Client::connect(address, options("s")).await.unwrap();
        let filter = TopicFilter::parse("车间/#", TopicLimits::default()).unwrap();
        assert_eq!(subscriber.subscribe(&filter, qos).await.unwrap(), qos);
        let before = engine.messages().len();
        let publishing = tokio::spawn(async move {
            let mut publisher = Client::connect(address, options("p")).await.unwrap();
            for n in 0..3_000_u32 {
                let topic = topic("车间/1");
                publisher.publish(&topic, &n.to_be_bytes(), qos, false).await.unwrap();
            }
            publisher.disconnect().await.unwrap();
        });
        for n in 0..3_000_u32 {
            let got = subscriber.next().await.unwrap();
            assert_eq!(got.payload, Bytes::copy_from_slice(&n.to_be_bytes()));
            assert_eq!(got.properties.get(Name::User), None);
        }
        publishing.await.unwrap();
        engine.until(before + 3_000).await;
    }
    end().await;
}

#[test]
fn limits_are_read_by_name_and_unknown_names_are_refused() {
    let limits: Limits = serde_json::from_str(r#"{"connections": 5}"#).unwrap();
    assert_eq!(limits, Limits { connections: 5, ..Limits::default() });
    let error = serde_json::from_str::<Limits>(r#"{"conections": 5}"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `conections`"), "{error}");
}
