//! Wills (MQTT 5.0 §3.1.2.5, §3.1.3.2, §3.14.4).

use std::time::Duration;

use tidegate::broker::codec::{Connect, Name, Packet, Reason, Value, Version};
use tokio::time::advance;

use crate::broker::rig::{BOTH, Rig, connect, kept, will};

fn with_will(mut wish: Connect) -> Connect {
    wish.will = Some(will("gone", "a"));
    wish
}

fn delayed(mut wish: Connect, seconds: u32) -> Connect {
    wish.will.as_mut().unwrap().properties.push(Name::WillDelay, Value::Long(seconds));
    wish
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_2_8_a_lost_client_leaves_its_will_to_subscribers_and_the_engine() {
    for version in Version::ALL {
        let rig = Rig::new();
        let mut witness = rig.client("w", version).await;
        witness.subscribe("gone", 1).await;
        let mut raw = rig.raw(version);
        raw.hello(with_will(connect("a", version))).await;
        raw.hang_up().await;
        assert_eq!(witness.brief().await, ("gone".into(), "a".into(), 1, false));
        let got = rig.engine.until(1).await;
        assert_eq!(got[0].topic.as_str(), "gone");
        assert_eq!(got[0].origin.client_id.as_deref(), Some("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_14_4_3_a_goodbye_makes_the_will_void_unless_it_asks_for_it() {
    for version in Version::ALL {
        let rig = Rig::new();
        let mut raw = rig.raw(version);
        raw.hello(with_will(connect("a", version))).await;
        raw.goodbye(Reason::SUCCESS).await;
        assert!(rig.engine.messages().is_empty());
    }
    let rig = Rig::new();
    let mut raw = rig.raw(Version::V5);
    raw.hello(with_will(connect("a", Version::V5))).await;
    raw.goodbye(Reason::DISCONNECT_WITH_WILL).await;
    assert_eq!(rig.engine.until(1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_2_5_protocol_errors_and_silence_leave_the_will_too() {
    let rig = Rig::new();
    let mut raw = rig.raw(Version::V5);
    raw.hello(with_will(connect("a", Version::V5))).await;
    raw.bytes(b"\x00\x00").await;
    raw.ends_with(Reason::MALFORMED).await;
    rig.engine.until(1).await;

    let mut raw = rig.raw(Version::V311);
    let mut wish = with_will(connect("a", Version::V311));
    wish.keep_alive_s = 1;
    raw.hello(wish).await;
    raw.is_closed().await;
    rig.engine.until(2).await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_2_14_a_will_can_be_retained() {
    let rig = Rig::new();
    let mut raw = rig.raw(Version::V311);
    let mut wish = with_will(connect("a", Version::V311));
    wish.will.as_mut().unwrap().retain = true;
    raw.hello(wish).await;
    raw.hang_up().await;
    rig.engine.until(1).await;
    let mut late = rig.client("l", Version::V311).await;
    late.subscribe("gone", 0).await;
    assert_eq!(late.brief().await, ("gone".into(), "a".into(), 0, true));
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_3_9_a_delayed_will_waits_for_the_client() {
    let rig = Rig::new();
    let wish = delayed(with_will(kept("a", Version::V5)), 10);
    let mut raw = rig.raw(Version::V5);
    raw.hello(wish.clone()).await;
    raw.hang_up().await;
    advance(Duration::from_secs(9)).await;
    let mut raw = rig.raw(Version::V5);
    assert!(raw.hello(wish).await.session_present);
    advance(Duration::from_secs(9)).await;
    raw.quiet().await;
    assert!(rig.engine.messages().is_empty());
    raw.hang_up().await;
    advance(Duration::from_secs(9)).await;
    assert!(rig.engine.messages().is_empty());
    advance(Duration::from_secs(2)).await;
    assert_eq!(rig.engine.until(1).await.len(), 1);
    assert_eq!(rig.handle().sessions().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_3_2_the_end_of_the_session_ends_the_delay() {
    let rig = Rig::new();
    // Without a session expiry the session ends with the connection.
    let mut raw = rig.raw(Version::V5);
    raw.hello(delayed(with_will(connect("a", Version::V5)), 1_000)).await;
    raw.hang_up().await;
    rig.engine.until(1).await;
    // A clean start ends it.
    let mut raw = rig.raw(Version::V5);
    raw.hello(delayed(with_will(kept("a", Version::V5)), 1_000)).await;
    raw.hang_up().await;
    let raw = rig.client("a", Version::V5).await;
    rig.engine.until(2).await;
    raw.goodbye(Reason::SUCCESS).await;
    // Time ends it.
    let mut wish = delayed(with_will(connect("a", Version::V5)), 1_000);
    wish.properties.push(Name::SessionExpiry, Value::Long(5));
    let mut raw = rig.raw(Version::V5);
    raw.hello(wish).await;
    raw.hang_up().await;
    advance(Duration::from_secs(6)).await;
    rig.engine.until(3).await;
    assert!(rig.handle().sessions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_4_3_a_takeover_publishes_the_will_that_has_no_delay() {
    for version in BOTH {
        let rig = Rig::new();
        let mut first = rig.raw(version);
        first.hello(with_will(kept("a", version))).await;
        let _second = rig.keeper("a", version).await;
        first.ends_with(Reason::SESSION_TAKEN_OVER).await;
        assert_eq!(rig.engine.until(1).await.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_will_where_the_client_may_not_publish_is_refused() {
    let rig = super::publish::not_secret();
    for (version, code) in [(Version::V5, Reason::NOT_AUTHORIZED), (Version::V311, Reason(5))] {
        let mut wish = connect("a", version);
        wish.will = Some(will("secret/x", "a"));
        let mut raw = rig.raw(version);
        raw.send(Packet::Connect(Box::new(wish))).await;
        assert_eq!(raw.conn_ack().await.reason, code);
        raw.is_closed().await;
    }
}
