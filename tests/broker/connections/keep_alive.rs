//! Keep-alive (MQTT 5.0 §3.1.2.10), that which the broker demands (§3.2.2.3.14) included, in paused time.

use std::time::Duration;

use tidegate::broker::codec::{Name, Packet, Properties, Reason, Version};
use tokio::time::{Instant, advance};

use crate::broker::rig::{Rig, connect, message};

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_2_22_silence_of_one_and_a_half_intervals_ends_the_connection() {
    for version in Version::ALL {
        let rig = Rig::new();
        let mut raw = rig.raw(version);
        let mut wish = connect("a", version);
        wish.keep_alive_s = 2;
        raw.hello(wish).await;
        let start = Instant::now();
        raw.ends_with(Reason::KEEP_ALIVE_TIMEOUT).await;
        let waited = start.elapsed();
        assert!(waited >= Duration::from_secs(3) && waited < Duration::from_secs(4), "{waited:?}");
        assert_eq!(rig.snapshot().keep_alive_timeouts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_12_4_1_pings_are_answered_and_keep_the_connection() {
    for version in Version::ALL {
        let mut raw = Rig::new().raw(version);
        let mut wish = connect("a", version);
        wish.keep_alive_s = 2;
        raw.hello(wish).await;
        for _ in 0..10 {
            advance(Duration::from_millis(2_900)).await;
            raw.quiet().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_2_10_zero_means_no_limit() {
    let mut raw = Rig::new().client("a", Version::V5).await;
    advance(Duration::from_secs(1_000_000)).await;
    raw.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_read_does_not_blame_the_client() {
    let rig = Rig::new();
    let mut raw = rig.raw(Version::V311);
    let mut wish = connect("a", Version::V311);
    wish.keep_alive_s = 2;
    raw.hello(wish).await;
    rig.engine.set_full(true);
    raw.send(Packet::Publish(message("a", "1", 0))).await;
    for _ in 0..10 {
        advance(Duration::from_secs(1)).await;
        raw.send(Packet::PingReq).await;
    }
    rig.engine.set_full(false);
    for _ in 0..10 {
        assert_eq!(raw.recv().await, Packet::PingResp);
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_2_21_a_keep_alive_above_the_limit_becomes_the_limit() {
    let rig = Rig::limited(|limits| limits.keep_alive_max_s = 100);
    for (version, asked, told, silence) in [
        (Version::V5, 99, None, 149),
        (Version::V5, 100, None, 150),
        (Version::V5, 101, Some(100), 150),
        (Version::V5, 0, Some(100), 150),
        (Version::V311, 200, None, 300),
    ] {
        let mut raw = rig.raw(version);
        let mut wish = connect("a", version);
        wish.keep_alive_s = asked;
        let ack = raw.hello(wish).await;
        assert_eq!(ack.properties.number(Name::ServerKeepAlive), told, "{asked}");
        let start = Instant::now();
        raw.ends_with(Reason::KEEP_ALIVE_TIMEOUT).await;
        let waited = start.elapsed();
        let (least, most) = (Duration::from_secs(silence - 1), Duration::from_secs(silence + 1));
        assert!(waited >= least && waited <= most, "{asked}: {waited:?}");
    }
    // Properties of CONNACK that say nothing new are left out.
    let ack = Rig::new().raw(Version::V5).hello(connect("a", Version::V5)).await;
    assert_eq!(ack.properties.number(Name::ServerKeepAlive), None);
    assert_ne!(ack.properties, Properties::default());
}
