//! QoS 2 in both directions (MQTT 5.0 §4.3.3, MQTT 3.1.1 §4.3.3).

use std::sync::Arc;

use connectors::contract::QoS;
use tidegate::broker::codec::{Ack, Name, Packet, Properties, Publish, Reason, Value, Version};
use tidegate::broker::{Hooks, Limits};

use crate::broker::rig::{BOTH, Rig, kept, message, puback, text};

fn exact(id: u16, payload: &str) -> Publish {
    let mut publish = message("a", payload, 2);
    publish.packet_id = id;
    publish
}

fn again(id: u16, payload: &str) -> Packet {
    Packet::Publish(Publish { dup: true, ..exact(id, payload) })
}

fn with(packet_id: u16, reason: Reason) -> Ack {
    Ack { packet_id, reason, properties: Properties::default() }
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_3_3_a_message_goes_through_four_packets_on_each_side() {
    for version in Version::ALL {
        let rig = Rig::new();
        let mut subscriber = rig.client("s", version).await;
        assert_eq!(subscriber.subscribe("a/b", 2).await, Reason(2));
        let mut publisher = rig.client("p", version).await;
        publisher.publish("a/b", "hello", 2).await;
        assert_eq!(rig.engine.messages()[0].qos, QoS::ExactlyOnce);
        let got = subscriber.message().await;
        assert_eq!((got.qos, got.dup, text(&got.payload)), (2, false, "hello"));
        subscriber.complete(got.packet_id).await;
        subscriber.quiet().await;
        assert_eq!(rig.snapshot().queued_bytes, 0);
        publisher.publish("a/b", "again", 2).await;
        assert_eq!(rig.engine.messages().len(), 2, "the identifier stands for a new message");
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_8_4_8_messages_come_at_the_lower_of_both_levels() {
    let rig = Rig::new();
    let mut publisher = rig.client("p", Version::V5).await;
    for granted in 0..3 {
        let mut raw = rig.client("s", Version::V311).await;
        assert_eq!(raw.subscribe("a", granted).await, Reason(granted));
        for sent in 0..3 {
            publisher.publish("a", "x", sent).await;
            let got = raw.message().await;
            assert_eq!(got.qos, granted.min(sent));
            match got.qos {
                0 => {}
                1 => raw.acknowledge(got.packet_id).await,
                _ => raw.complete(got.packet_id).await,
            }
        }
        raw.goodbye(Reason::SUCCESS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_3_3_10_a_repeated_message_is_not_taken_again_until_it_is_released() {
    for version in Version::ALL {
        let rig = Rig::new();
        let mut raw = rig.client("p", version).await;
        for packet in [Packet::Publish(exact(7, "x")), again(7, "x"), again(7, "x")] {
            raw.send(packet).await;
            assert_eq!(raw.recv().await, Packet::PubRec(puback(7)));
        }
        // Twice in one read, too.
        raw.send_all([Packet::Publish(exact(8, "y")), again(8, "y")]).await;
        for _ in 0..2 {
            assert_eq!(raw.recv().await, Packet::PubRec(puback(8)));
        }
        assert_eq!(rig.engine.messages().len(), 2);
        raw.send(Packet::PubRel(puback(7))).await;
        assert_eq!(raw.recv().await, Packet::PubComp(puback(7)));
        raw.send(Packet::Publish(exact(7, "z"))).await;
        assert_eq!(raw.recv().await, Packet::PubRec(puback(7)));
        assert_eq!(rig.engine.messages().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_identifiers_are_answered_and_nothing_else() {
    for version in Version::ALL {
        let rig = Rig::new();
        let reason = match version {
            Version::V31 | Version::V311 => Reason::SUCCESS,
            Version::V5 => Reason::PACKET_ID_NOT_FOUND,
        };
        let mut raw = rig.client("a", version).await;
        raw.send(Packet::PubRel(puback(5))).await;
        assert_eq!(raw.recv().await, Packet::PubComp(with(5, reason)));
        raw.send(Packet::PubRec(puback(5))).await;
        assert_eq!(raw.recv().await, Packet::PubRel(with(5, reason)));
        raw.send(Packet::PubComp(puback(5))).await;
        raw.quiet().await;
    }
}

#[tokio::test(start_paused = true)]
async fn pubrec_waits_for_the_engine_over_connections() {
    for version in BOTH {
        let rig = Rig::new();
        rig.engine.hold();
        let (mut raw, _) = rig.keeper("p", version).await;
        raw.send(Packet::Publish(exact(1, "x"))).await;
        raw.quiet().await;
        raw.hang_up().await;
        for _ in 0..2 {
            let (mut raw, _) = rig.keeper("p", version).await;
            raw.send(again(1, "x")).await;
            raw.quiet().await;
            raw.hang_up().await;
        }
        let (mut raw, _) = rig.keeper("p", version).await;
        raw.send(again(1, "x")).await;
        raw.quiet().await;
        rig.engine.accept();
        assert_eq!(raw.recv().await, Packet::PubRec(puback(1)));
        raw.send(Packet::PubRel(puback(1))).await;
        assert_eq!(raw.recv().await, Packet::PubComp(puback(1)));
        assert_eq!(rig.engine.messages().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_engine_refuses_comes_again_and_reaches_subscribers_once() {
    for version in BOTH {
        let rig = Rig::new();
        let mut subscriber = rig.client("s", version).await;
        subscriber.subscribe("a", 2).await;
        rig.engine.hold();
        let (mut raw, _) = rig.keeper("p", version).await;
        raw.send(Packet::Publish(exact(1, "x"))).await;
        raw.quiet().await;
        drop(rig.engine.take());
        raw.ends_with(Reason::IMPLEMENTATION).await;
        let (mut raw, _) = rig.keeper("p", version).await;
        raw.send(again(1, "x")).await;
        raw.quiet().await;
        rig.engine.accept();
        assert_eq!(raw.recv().await, Packet::PubRec(puback(1)));
        assert_eq!(rig.engine.messages().len(), 2, "the engine has refused one of them");
        let got = subscriber.message().await;
        subscriber.complete(got.packet_id).await;
        subscriber.quiet().await;
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_4_0_1_what_is_unfinished_goes_on_over_the_next_connection() {
    for version in BOTH {
        let rig = Rig::new();
        let (mut raw, _) = rig.keeper("s", version).await;
        raw.subscribe("a", 2).await;
        let mut publisher = rig.client("p", version).await;
        for payload in ["one", "two", "three"] {
            publisher.publish("a", payload, 2).await;
        }
        let (one, two) = (raw.message().await, raw.message().await);
        raw.message().await;
        raw.send(Packet::PubRec(puback(one.packet_id))).await;
        assert_eq!(raw.recv().await, Packet::PubRel(puback(one.packet_id)));
        raw.hang_up().await;
        let (mut raw, _) = rig.keeper("s", version).await;
        assert_eq!(raw.recv().await, Packet::PubRel(puback(one.packet_id)));
        let repeated = raw.message().await;
        assert_eq!((repeated.dup, repeated.packet_id), (true, two.packet_id));
        assert_eq!(text(&raw.message().await.payload), "three");
        raw.send(Packet::PubComp(puback(one.packet_id))).await;
        raw.complete(two.packet_id).await;
        raw.complete(two.packet_id + 1).await;
        raw.quiet().await;
        assert_eq!(rig.snapshot().queued_bytes, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_3_3_4_after_pubrec_with_an_error_the_message_is_given_up() {
    let rig = Rig::new();
    let mut raw = rig.client("s", Version::V5).await;
    raw.subscribe("a", 2).await;
    rig.client("p", Version::V5).await.publish("a", "x", 2).await;
    let got = raw.message().await;
    raw.send(Packet::PubRec(with(got.packet_id, Reason::QUOTA_EXCEEDED))).await;
    raw.quiet().await;
    assert_eq!(rig.snapshot().queued_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_4_7_the_receive_maximum_counts_until_pubcomp() {
    let rig = Rig::new();
    let mut raw = rig.raw(Version::V5);
    let mut wish = kept("s", Version::V5);
    wish.properties.push(Name::ReceiveMaximum, Value::Short(1));
    raw.hello(wish).await;
    raw.subscribe("a", 2).await;
    let mut publisher = rig.client("p", Version::V5).await;
    publisher.publish("a", "one", 2).await;
    publisher.publish("a", "two", 2).await;
    let one = raw.message().await;
    raw.send(Packet::PubRec(puback(one.packet_id))).await;
    assert_eq!(raw.recv().await, Packet::PubRel(puback(one.packet_id)));
    raw.quiet().await;
    raw.send(Packet::PubComp(puback(one.packet_id))).await;
    assert_eq!(text(&raw.message().await.payload), "two");
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_4_9_the_brokers_receive_maximum_counts_until_pubrel() {
    let rig = Rig::limited(|limits| limits.receive_max = 2);
    let mut raw = rig.client("p", Version::V5).await;
    for id in [1, 2] {
        raw.send(Packet::Publish(exact(id, "x"))).await;
        assert_eq!(raw.recv().await, Packet::PubRec(puback(id)));
    }
    raw.send(Packet::PubRel(puback(1))).await;
    assert_eq!(raw.recv().await, Packet::PubComp(puback(1)));
    raw.send(Packet::Publish(exact(3, "x"))).await;
    assert_eq!(raw.recv().await, Packet::PubRec(puback(3)));
    raw.send(Packet::Publish(exact(4, "x"))).await;
    raw.ends_with(Reason::RECEIVE_MAXIMUM).await;
    // MQTT 3.1.1 knows no such limit.
    let mut old = rig.client("old", Version::V311).await;
    for id in 1..=100 {
        old.send(Packet::Publish(exact(id, "x"))).await;
        assert_eq!(old.recv().await, Packet::PubRec(puback(id)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_allowed_is_answered_and_not_remembered() {
    let hooks = Hooks { acl: Arc::new(super::publish::NotSecret), ..Hooks::default() };
    let rig = Rig::with(Limits::default(), hooks);
    for version in Version::ALL {
        let mut raw = rig.client("p", version).await;
        let reason = match version {
            Version::V31 | Version::V311 => Reason::SUCCESS,
            Version::V5 => Reason::NOT_AUTHORIZED,
        };
        let mut publish = exact(1, "x");
        publish.topic = "secret/x".into();
        raw.send(Packet::Publish(publish)).await;
        assert_eq!(raw.recv().await, Packet::PubRec(with(1, reason)));
        raw.send(Packet::Publish(exact(1, "open"))).await;
        assert_eq!(raw.recv().await, Packet::PubRec(puback(1)));
    }
    assert_eq!(rig.engine.messages().len(), Version::ALL.len());
}
