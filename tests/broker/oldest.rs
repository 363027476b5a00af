//! What is different with MQTT 3.1; all else is tested together with the newer versions.

use std::sync::Arc;

use tidegate::broker::codec::{Packet, Properties, Reason, Version};
use tidegate::broker::{Hooks, Limits};

use super::rig::{Rig, connect, kept, message, to};

#[tokio::test(start_paused = true)]
async fn a_client_of_mqtt_3_1_is_served() {
    let rig = Rig::new();
    let mut raw = rig.raw(Version::V31);
    raw.bytes(b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a").await;
    assert_eq!(raw.conn_ack().await.reason, Reason::SUCCESS);
    assert_eq!(rig.handle().client("a").expect("it").version, Version::V31);
    for qos in 0..3 {
        assert_eq!(raw.subscribe("a/+", qos).await, Reason(qos));
        raw.send(Packet::Publish(message("a/b", "x", 0))).await;
        assert_eq!(raw.brief().await, ("a/b".into(), "x".into(), 0, false));
        raw.publish("c", "x", qos).await;
    }
    assert_eq!(rig.engine.messages().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn any_client_id_but_none() {
    let rig = Rig::new();
    rig.client(&"x".repeat(200), Version::V31).await;
    for wish in [connect("", Version::V31), kept("", Version::V31)] {
        let mut raw = rig.raw(Version::V31);
        raw.send(Packet::Connect(Box::new(wish))).await;
        assert_eq!(raw.conn_ack().await.reason, Reason(2));
        raw.is_closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_session_goes_on_unsaid() {
    let rig = Rig::new();
    let (mut raw, _) = rig.keeper("s", Version::V31).await;
    raw.subscribe("a", 1).await;
    raw.goodbye(Reason::SUCCESS).await;
    rig.client("p", Version::V5).await.publish("a", "x", 1).await;
    let mut raw = rig.raw(Version::V31);
    raw.send(Packet::Connect(Box::new(kept("s", Version::V31)))).await;
    // The first byte is reserved; the message waits all the same.
    raw.conn_ack_is(&[0x20, 2, 0, 0]).await;
    assert_eq!(raw.brief().await, ("a".into(), "x".into(), 1, false));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_refused_looks_granted_and_brings_nothing() {
    let hooks = Hooks { acl: Arc::new(super::sessions::publish::NotSecret), ..Hooks::default() };
    let rig = Rig::with(Limits::default(), hooks);
    let mut raw = rig.client("a", Version::V31).await;
    let list = vec![to("secret/x", 2), to("open", 1)];
    let ack = raw.subscribe_all(list, Properties::default()).await;
    assert_eq!(ack.reasons, [Reason(2), Reason(1)]);
    assert_eq!(rig.handle().client("a").expect("it").subscriptions, 1);
}

#[tokio::test(start_paused = true)]
async fn packets_that_are_sent_again_may_say_so() {
    let rig = Rig::new();
    let mut raw = rig.client("a", Version::V31).await;
    for _ in 0..2 {
        raw.bytes(b"\x8a\x06\x00\x09\x00\x01a\x01").await;
        let Packet::SubAck(ack) = raw.recv().await else { panic!("not SUBACK") };
        assert_eq!((ack.packet_id, ack.reasons), (9, vec![Reason(1)]));
    }
    raw.bytes(b"\x34\x05\x00\x01b\x00\x01").await;
    assert!(matches!(raw.recv().await, Packet::PubRec(ack) if ack.packet_id == 1));
    for _ in 0..2 {
        raw.bytes(b"\x6a\x02\x00\x01").await;
        assert!(matches!(raw.recv().await, Packet::PubComp(ack) if ack.packet_id == 1));
    }
    raw.bytes(b"\xaa\x05\x00\x08\x00\x01a").await;
    assert!(matches!(raw.recv().await, Packet::UnsubAck(ack) if ack.packet_id == 8));
}
