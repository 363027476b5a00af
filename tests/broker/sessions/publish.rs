//! PUBLISH and PUBACK (MQTT 5.0 §3.3, §3.4, §4.3, §4.7).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use connectors::contract::{QoS, Topic, TopicFilter};
use tidegate::broker::codec::{Name, Packet, Properties, Reason, Value, Version};
use tidegate::broker::{Acl, Hooks, Identity, Limits};
use tokio::time::advance;

use crate::broker::rig::{Rig, message, text};

#[tokio::test(start_paused = true)]
async fn mqtt_4_3_1_qos_0_is_delivered_without_an_answer() {
    for version in Version::ALL {
        let rig = Rig::new();
        let mut subscriber = rig.client("s", version).await;
        assert_eq!(subscriber.subscribe("a/b", 1).await, Reason(0x01));
        let mut publisher = rig.client("p", version).await;
        publisher.publish("a/b", "hello", 0).await;
        assert_eq!(subscriber.brief().await, ("a/b".into(), "hello".into(), 0, false));
        let got = &rig.engine.messages()[0];
        assert_eq!((got.topic.as_str(), got.qos), ("a/b", QoS::AtMostOnce));
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_3_2_4_qos_1_is_acknowledged_with_its_identifier() {
    for version in Version::ALL {
        let rig = Rig::new();
        let mut subscriber = rig.client("s", version).await;
        subscriber.subscribe("a/b", 1).await;
        let mut publisher = rig.client("p", version).await;
        let mut publish = message("a/b", "hello", 1);
        publish.packet_id = 0xabcd;
        publisher.send(Packet::Publish(publish)).await;
        assert_eq!(publisher.ack().await.packet_id, 0xabcd);
        let got = subscriber.message().await;
        assert_eq!((got.qos, got.dup, text(&got.payload)), (1, false, "hello"));
        assert_ne!(got.packet_id, 0);
        subscriber.acknowledge(got.packet_id).await;
        subscriber.quiet().await;
        assert_eq!(rig.snapshot().queued_bytes, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_1_3_dup_of_a_publisher_is_not_passed_on() {
    let rig = Rig::new();
    let mut subscriber = rig.client("s", Version::V5).await;
    subscriber.subscribe("#", 1).await;
    let mut publisher = rig.client("p", Version::V5).await;
    let mut publish = message("a", "1", 1);
    publish.dup = true;
    publisher.send(Packet::Publish(publish)).await;
    assert!(!subscriber.message().await.dup);
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_1_4_qos_3_is_malformed() {
    for version in Version::ALL {
        let mut raw = Rig::new().client("a", version).await;
        raw.bytes(b"\x36\x06\x00\x01a\x00\x01\x00").await;
        raw.ends_with(Reason::MALFORMED).await;
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_1_2_dup_with_qos_0_is_malformed() {
    let mut raw = Rig::new().client("a", Version::V5).await;
    raw.bytes(b"\x38\x04\x00\x01a\x00").await;
    raw.ends_with(Reason::MALFORMED).await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_2_2_1_3_packet_identifier_0_is_a_protocol_error() {
    for version in Version::ALL {
        let mut raw = Rig::new().client("a", version).await;
        let mut publish = message("a", "x", 1);
        publish.packet_id = 0;
        raw.send(Packet::Publish(publish)).await;
        raw.ends_with(Reason::PROTOCOL_ERROR).await;
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_2_2_topic_names_that_are_not_acceptable_are_never_lost_silently() {
    let long = "x".repeat(257);
    let deep = "a/".repeat(17);
    for bad in ["a/+", "#", "a\u{1}b", &long, &deep] {
        for version in Version::ALL {
            let rig = Rig::new();
            let mut raw = rig.client("a", version).await;
            raw.send(Packet::Publish(message(bad, "x", 0))).await;
            raw.ends_with(Reason::TOPIC_INVALID).await;
            assert_eq!(rig.snapshot().refused_topic, 1, "{bad:?}");
        }
        let rig = Rig::new();
        let mut raw = rig.client("a", Version::V5).await;
        raw.send(Packet::Publish(message(bad, "x", 1))).await;
        assert_eq!(raw.ack().await.reason, Reason::TOPIC_INVALID, "{bad:?}");
        raw.quiet().await;
        let mut raw = rig.client("a", Version::V311).await;
        raw.send(Packet::Publish(message(bad, "x", 1))).await;
        raw.is_closed().await;
        assert_eq!(rig.snapshot().refused_topic, 2, "{bad:?}");
        assert!(rig.engine.messages().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_4_6_clients_send_no_subscription_identifier() {
    let mut raw = Rig::new().client("a", Version::V5).await;
    let mut publish = message("a", "x", 1);
    publish.properties.push(Name::SubscriptionId, Value::Var(1));
    raw.send(Packet::Publish(publish)).await;
    raw.ends_with(Reason::PROTOCOL_ERROR).await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_2_14_response_topics_have_no_wildcards() {
    let mut raw = Rig::new().client("a", Version::V5).await;
    let mut publish = message("a", "x", 0);
    publish.properties.push(Name::ResponseTopic, Value::Text("r/#".into()));
    raw.send(Packet::Publish(publish)).await;
    raw.ends_with(Reason::PROTOCOL_ERROR).await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_2_2_15_packets_that_are_too_large_end_the_connection() {
    for version in Version::ALL {
        let rig = Rig::limited(|limits| limits.packet_bytes = 1_000);
        let mut raw = rig.client("a", version).await;
        raw.publish("a", &"x".repeat(980), 1).await;
        raw.send(Packet::Publish(message("a", &"x".repeat(1_000), 1))).await;
        raw.ends_with(Reason::PACKET_TOO_LARGE).await;
        assert_eq!(rig.engine.messages().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_4_9_more_than_the_receive_maximum_ends_the_connection() {
    let rig = Rig::limited(|limits| limits.receive_max = 3);
    rig.engine.hold();
    let mut raw = rig.client("a", Version::V5).await;
    for id in 1..=4 {
        let mut publish = message("a", "x", 1);
        publish.packet_id = id;
        raw.send(Packet::Publish(publish)).await;
    }
    raw.ends_with(Reason::RECEIVE_MAXIMUM).await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_2_17_properties_are_passed_on_unaltered_and_in_order() {
    let rig = Rig::new();
    let mut subscriber = rig.client("s", Version::V5).await;
    subscriber.subscribe("a", 1).await;
    let mut old = rig.client("old", Version::V311).await;
    old.subscribe("a", 0).await;
    let mut publisher = rig.client("p", Version::V5).await;
    let mut publish = message("a", "x", 1);
    publish.properties = Properties::default()
        .with(Name::PayloadFormat, Value::Byte(1))
        .with(Name::ContentType, Value::Text("text/plain".into()))
        .with(Name::ResponseTopic, Value::Text("r".into()))
        .with(Name::CorrelationData, Value::Binary(Bytes::from_static(b"\0\x01")))
        .with(Name::User, Value::Pair("b".into(), "1".into()))
        .with(Name::User, Value::Pair("a".into(), "温度".into()))
        .with(Name::User, Value::Pair("b".into(), "2".into()));
    publisher.send(Packet::Publish(publish.clone())).await;
    assert_eq!(subscriber.message().await.properties, publish.properties);
    assert_eq!(old.brief().await, ("a".into(), "x".into(), 0, false));
    let seen = rig.engine.until(1).await.remove(0);
    let headers = seen.headers.clone().expect("headers");
    assert_eq!(headers.content_type.as_deref(), Some("text/plain"));
    assert_eq!(headers.response_topic.as_deref(), Some("r"));
    assert_eq!(headers.correlation_data.as_deref(), Some(&b"\0\x01"[..]));
    assert_eq!((seen.property("b"), seen.property("c")), (Some("1"), None));
    assert_eq!(seen.origin.client_id.as_deref(), Some("p"));
    assert!(seen.origin.peer.is_some());
    let user = seen.properties.expect("user properties");
    let user: Vec<_> = user.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(user, ["b=1", "a=温度", "b=2"]);
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_2_6_message_expiry_counts_down_and_ends() {
    let rig = Rig::new();
    let (subscriber, _) = {
        let (mut raw, present) = rig.keeper("s", Version::V5).await;
        raw.subscribe("a", 1).await;
        (raw, present)
    };
    subscriber.goodbye(Reason::SUCCESS).await;
    let mut publisher = rig.client("p", Version::V5).await;
    for (seconds, payload) in [(5, "short"), (60, "long")] {
        let mut publish = message("a", payload, 1);
        publish.properties.push(Name::MessageExpiry, Value::Long(seconds));
        publisher.send(Packet::Publish(publish)).await;
        publisher.ack().await;
    }
    advance(Duration::from_secs(10)).await;
    let (mut subscriber, present) = rig.keeper("s", Version::V5).await;
    assert!(present);
    let got = subscriber.message().await;
    assert_eq!(text(&got.payload), "long");
    assert_eq!(got.properties.number(Name::MessageExpiry), Some(50));
    assert_eq!(rig.snapshot().dropped_expired, 1);
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_7_3_topics_are_any_text() {
    for version in Version::ALL {
        let rig = Rig::new();
        let mut raw = rig.client("a", version).await;
        for name in ["温度", "车间/1", "/", "a//b", " ", "🌡/x", "$x/y"] {
            raw.subscribe(name, 0).await;
            raw.send(Packet::Publish(message(name, "21", 0))).await;
            assert_eq!(raw.brief().await.0, name);
            raw.unsubscribe(&[name]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_6_0_6_messages_stay_in_order() {
    for qos in [0, 1] {
        let rig = Rig::limited(|limits| limits.inflight = 1_000);
        let mut subscriber = rig.client("s", Version::V311).await;
        subscriber.subscribe("#", 1).await;
        let mut publisher = rig.client("p", Version::V5).await;
        let all = (1..=500).map(|n: u16| {
            let mut publish = message("a", &n.to_string(), qos);
            publish.packet_id = if qos > 0 { n } else { 0 };
            Packet::Publish(publish)
        });
        publisher.send_all(all).await;
        for n in 1..=500 {
            assert_eq!(text(&subscriber.message().await.payload), n.to_string());
        }
        for n in 1..=500 * u16::from(qos) {
            assert_eq!(publisher.ack().await.packet_id, n);
        }
    }
}

pub struct NotSecret;

impl Acl for NotSecret {
    fn publish(&self, _: &Identity, topic: &Topic) -> bool {
        !topic.as_str().starts_with("secret")
    }

    fn subscribe(&self, _: &Identity, filter: &TopicFilter) -> bool {
        !filter.as_str().starts_with("secret")
    }
}

pub fn not_secret() -> Rig {
    let hooks = Hooks { acl: Arc::new(NotSecret), ..Hooks::default() };
    Rig::with(Limits::default(), hooks)
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_4_2_1_publishing_where_it_is_not_allowed_is_answered_and_counted() {
    let rig = not_secret();
    let mut witness = rig.client("w", Version::V5).await;
    assert_eq!(witness.subscribe("#", 0).await, Reason(0));
    assert_eq!(witness.subscribe("secret/x", 0).await, Reason::NOT_AUTHORIZED);
    for (version, reason) in
        [(Version::V5, Reason::NOT_AUTHORIZED), (Version::V311, Reason::SUCCESS)]
    {
        let mut raw = rig.client("a", version).await;
        raw.send(Packet::Publish(message("secret/x", "x", 0))).await;
        raw.send(Packet::Publish(message("secret/x", "x", 1))).await;
        assert_eq!(raw.ack().await.reason, reason);
    }
    witness.quiet().await;
    assert_eq!(rig.snapshot().refused_acl, 4);
    assert!(rig.engine.messages().is_empty());
}
