//! What the broker says of itself on `$SYS/broker/…`.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate::broker::codec::{Packet, Publish, Reason, Version};
use tokio::time::{Instant, advance};

use super::rig::{Raw, Rig, connect, message, text, will};

/// All that comes until something comes again, by topic below `$SYS/broker/`.
async fn round(raw: &mut Raw) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    let mut take = |got: Publish| {
        assert!(!got.retain && got.qos == 0);
        let name = got.topic.strip_prefix("$SYS/broker/").expect("the prefix").to_owned();
        assert_eq!(said.insert(name, text(&got.payload).to_owned()), None);
    };
    raw.quiet().await;
    take(raw.message().await);
    raw.send(Packet::PingReq).await;
    while let Packet::Publish(got) = raw.recv().await {
        take(got);
    }
    said
}

#[tokio::test(start_paused = true)]
async fn every_ten_seconds_the_broker_says_how_it_is_doing() {
    let rig = Rig::new();
    let start = Instant::now();
    let mut raw = rig.client("watcher", Version::V5).await;
    assert_eq!(raw.subscribe("$SYS/#", 2).await, Reason(2));
    let (keeper, _) = rig.keeper("absent", Version::V311).await;
    keeper.goodbye(Reason::SUCCESS).await;
    let mut publisher = rig.client("p", Version::V311).await;
    publisher.publish_retained("a", "12345", 1).await;
    let said = round(&mut raw).await;
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(10) && waited < Duration::from_secs(11), "{waited:?}");
    for (name, value) in [
        ("uptime", "10 seconds"),
        ("version", concat!("tidegate version ", env!("CARGO_PKG_VERSION"))),
        ("clients/connected", "2"),
        ("clients/disconnected", "1"),
        ("clients/total", "3"),
        ("clients/maximum", "2"),
        ("subscriptions/count", "1"),
        ("retained messages/count", "1"),
        ("publish/messages/received", "1"),
        ("publish/bytes/received", "5"),
        ("publish/messages/sent", "0"),
        ("publish/messages/dropped", "0"),
        // Three of CONNECT, one each of SUBSCRIBE, DISCONNECT, PUBLISH and PINGREQ; DISCONNECT has no answer.
        ("messages/received", "7"),
        ("messages/sent", "6"),
        ("load/publish/received/1min", "0.92"),
        ("load/connections/1min", "2.76"),
    ] {
        assert_eq!(said.get(name).map(String::as_str), Some(value), "{name}: {said:#?}");
    }
    assert_eq!(said.len(), 3 + 15 + 9 * 3, "{said:#?}");
    let snapshot = rig.snapshot();
    assert_eq!((snapshot.clients, snapshot.retained), (2, 1));
    // The next time, and nothing between.
    raw.quiet().await;
    assert_eq!(round(&mut raw).await["uptime"], "20 seconds");
    // None of it was kept, and the engine has seen nothing of it.
    let mut late = rig.client("late", Version::V5).await;
    late.subscribe("$SYS/broker/uptime", 0).await;
    late.quiet().await;
    assert!(rig.engine.messages().iter().all(|message| message.topic.as_str() == "a"));
}

#[tokio::test(start_paused = true)]
async fn wildcards_do_not_reach_it() {
    let rig = Rig::new();
    let mut raw = rig.client("a", Version::V5).await;
    for filter in ["#", "+/#", "+/broker/uptime", "$share/g/#"] {
        assert_eq!(raw.subscribe(filter, 0).await, Reason(0), "{filter}");
    }
    let mut watcher = rig.client("watcher", Version::V5).await;
    watcher.subscribe("$SYS/broker/uptime", 0).await;
    advance(Duration::from_secs(15)).await;
    assert_eq!(watcher.brief().await.1, "15 seconds");
    raw.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_else_speaks_there() {
    let rig = Rig::new();
    let mut watcher = rig.client("watcher", Version::V5).await;
    watcher.subscribe("$SYS/broker/uptime", 0).await;
    let mut raw = rig.client("a", Version::V5).await;
    for topic in ["$SYS/broker/uptime", "$SYS", "$SYS/own"] {
        raw.send(Packet::Publish(message(topic, "forged", 1))).await;
        assert_eq!(raw.ack().await.reason, Reason::NOT_AUTHORIZED, "{topic}");
    }
    // MQTT 3 has no word for it: the message goes nowhere, and is counted.
    rig.client("old", Version::V31).await.publish("$SYS/broker/uptime", "forged", 1).await;
    assert_eq!(rig.snapshot().refused_acl, 4);
    watcher.quiet().await;
    assert!(rig.engine.messages().is_empty());
    // Other topics that start with `$` are nobody's.
    raw.publish("$SYSTEM", "x", 1).await;
    let mut wish = connect("w", Version::V5);
    wish.will = Some(will("$SYS/broker/uptime", "forged"));
    let mut raw = rig.raw(Version::V5);
    raw.send(Packet::Connect(Box::new(wish))).await;
    assert_eq!(raw.conn_ack().await.reason, Reason::NOT_AUTHORIZED);
}
