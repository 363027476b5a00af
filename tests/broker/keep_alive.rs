//! Keep-alive (MQTT 5.0 §3.1.2.10), in paused time.

use std::time::Duration;

use tidegate::broker::codec::{Packet, Reason, Version};
use tokio::time::{Instant, advance};

use super::rig::{Rig, connect, message};

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
