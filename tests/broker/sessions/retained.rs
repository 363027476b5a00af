//! Retained messages (MQTT 5.0 §3.3.1.3, §3.8.3.1).

use std::time::Duration;

use tidegate::broker::codec::{Name, Packet, Properties, Reason, Value, Version};
use tokio::time::advance;

use crate::broker::rig::{Rig, message, to};

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_1_5_the_last_retained_message_goes_to_new_subscribers() {
    for version in Version::ALL {
        let rig = Rig::new();
        let mut publisher = rig.client("p", version).await;
        publisher.publish_retained("a/b", "old", 1).await;
        publisher.publish_retained("a/b", "new", 1).await;
        publisher.publish_retained("a/c", "c", 0).await;
        publisher.publish("a/d", "not retained", 0).await;
        let mut raw = rig.client("s", version).await;
        raw.subscribe("a/b", 1).await;
        assert_eq!(raw.brief().await, ("a/b".into(), "new".into(), 1, true));
        raw.subscribe("a/#", 0).await;
        assert_eq!(raw.brief().await, ("a/b".into(), "new".into(), 0, true));
        assert_eq!(raw.brief().await, ("a/c".into(), "c".into(), 0, true));
        raw.quiet().await;
        assert_eq!(rig.snapshot().retained, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_1_6_an_empty_retained_message_clears() {
    let rig = Rig::new();
    let mut publisher = rig.client("p", Version::V5).await;
    publisher.publish_retained("a", "x", 1).await;
    let mut raw = rig.client("s", Version::V5).await;
    raw.subscribe("a", 0).await;
    assert_eq!(raw.brief().await.1, "x");
    publisher.publish_retained("a", "", 1).await;
    assert_eq!(raw.brief().await, ("a".into(), String::new(), 0, false));
    let mut late = rig.client("l", Version::V5).await;
    late.subscribe("a", 0).await;
    late.quiet().await;
    assert_eq!(rig.snapshot().retained, 0);
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_1_8_a_message_that_is_not_retained_changes_nothing() {
    let rig = Rig::new();
    let mut publisher = rig.client("p", Version::V5).await;
    publisher.publish_retained("a", "kept", 1).await;
    publisher.publish("a", "", 1).await;
    publisher.publish("a", "passing", 1).await;
    let mut raw = rig.client("s", Version::V5).await;
    raw.subscribe("#", 0).await;
    assert_eq!(raw.brief().await.1, "kept");
    raw.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_1_12_retain_as_published_keeps_the_flag() {
    let rig = Rig::new();
    let mut raw = rig.client("s", Version::V5).await;
    for (filter, keep) in [("plain", false), ("kept", true)] {
        let mut wish = to(filter, 0);
        wish.retain_as_published = keep;
        raw.subscribe_all(vec![wish], Properties::default()).await;
    }
    let mut publisher = rig.client("p", Version::V5).await;
    publisher.publish_retained("plain", "x", 0).await;
    publisher.publish_retained("kept", "x", 0).await;
    assert!(!raw.brief().await.3);
    assert!(raw.brief().await.3);
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_1_9_retain_handling_decides_when_they_are_sent() {
    let rig = Rig::new();
    rig.client("p", Version::V5).await.publish_retained("a", "x", 1).await;
    let mut raw = rig.client("s", Version::V5).await;
    for (handling, sent) in [(2, false), (1, false), (0, true), (0, true), (1, false)] {
        let mut wish = to("a", 0);
        wish.retain_handling = handling;
        raw.subscribe_all(vec![wish], Properties::default()).await;
        if sent {
            assert_eq!(raw.brief().await.1, "x", "{handling}");
        }
        raw.quiet().await;
    }
    raw.unsubscribe(&["a"]).await;
    let mut wish = to("a", 0);
    wish.retain_handling = 1;
    raw.subscribe_all(vec![wish], Properties::default()).await;
    assert_eq!(raw.brief().await.1, "x");
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_8_2_shared_subscriptions_get_no_retained_messages() {
    let rig = Rig::new();
    rig.client("p", Version::V5).await.publish_retained("a", "x", 1).await;
    let mut raw = rig.client("s", Version::V5).await;
    raw.subscribe("$share/g/a", 0).await;
    raw.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_7_2_1_leading_wildcards_do_not_find_retained_dollar_topics() {
    let rig = Rig::new();
    let mut raw = rig.client("p", Version::V5).await;
    for name in ["$a/b", "a", "a/b", "ab", "温/b"] {
        raw.publish_retained(name, name, 1).await;
    }
    for (filter, found) in [
        ("+/b", &["a/b", "温/b"][..]),
        ("a/#", &["a", "a/b"]),
        ("#", &["a", "a/b", "ab", "温/b"]),
        ("$a/#", &["$a/b"]),
        ("温/+", &["温/b"]),
    ] {
        raw.subscribe(filter, 0).await;
        for name in found {
            assert_eq!(raw.brief().await.0, *name, "{filter}");
        }
        raw.quiet().await;
        raw.unsubscribe(&[filter]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn retained_messages_are_limited_and_the_publisher_is_told() {
    let rig = Rig::limited(|limits| limits.retained_messages = 1);
    let mut raw = rig.client("p", Version::V5).await;
    raw.publish_retained("a", "1", 1).await;
    raw.publish_retained("a", "2", 1).await;
    let mut more = message("b", "1", 1);
    more.retain = true;
    raw.send(Packet::Publish(more)).await;
    assert_eq!(raw.ack().await.reason, Reason::QUOTA_EXCEEDED);
    assert_eq!(rig.snapshot().refused_retained, 1);
    raw.publish_retained("a", "", 1).await;
    raw.publish_retained("b", "1", 1).await;
}

#[tokio::test(start_paused = true)]
async fn retained_messages_expire() {
    let rig = Rig::new();
    let mut raw = rig.client("p", Version::V5).await;
    let mut publish = message("a", "x", 1);
    publish.retain = true;
    publish.properties.push(Name::MessageExpiry, Value::Long(5));
    raw.send(Packet::Publish(publish)).await;
    raw.ack().await;
    advance(Duration::from_secs(3)).await;
    raw.subscribe("a", 0).await;
    assert_eq!(raw.message().await.properties.number(Name::MessageExpiry), Some(2));
    advance(Duration::from_secs(3)).await;
    raw.subscribe("a", 0).await;
    raw.quiet().await;
}
