//! The hand-over to the engine: PUBACK only after it has accepted, in order, without stalling.

use std::sync::Arc;
use std::time::Duration;

use connectors::contract::{QoS, TopicLimits};
use tidegate::broker::codec::{Packet, Publish, Reason, Version};
use tidegate::broker::{Hooks, Limits, StatusMessages};

use crate::broker::rig::{BOTH, Rig, START_MS, connect, message, text};

fn numbered(id: u16) -> Packet {
    let mut publish = message("a", &id.to_string(), 1);
    publish.packet_id = id;
    Packet::Publish(publish)
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_6_0_2_pubacks_wait_for_the_engine_and_keep_the_order() {
    for version in Version::ALL {
        let rig = Rig::new();
        rig.engine.hold();
        let mut raw = rig.client("a", version).await;
        for id in [11, 12, 13] {
            raw.send(numbered(id)).await;
            raw.quiet().await;
        }
        let (first, second, third) = (rig.engine.take(), rig.engine.take(), rig.engine.take());
        third.accept();
        second.accept();
        raw.quiet().await;
        first.accept();
        for id in [11, 12, 13] {
            assert_eq!(raw.ack().await.packet_id, id);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_12_4_1_pingresp_subscriptions_and_deliveries_do_not_wait_for_the_engine() {
    let rig = Rig::new();
    rig.engine.hold();
    let mut raw = rig.client("a", Version::V5).await;
    raw.subscribe("#", 0).await;
    raw.send(numbered(1)).await;
    assert_eq!(raw.brief().await.1, "1");
    assert_eq!(raw.subscribe("x", 1).await, Reason(1));
    raw.quiet().await;
    rig.engine.accept();
    assert_eq!(raw.ack().await.packet_id, 1);
}

#[tokio::test(start_paused = true)]
async fn one_read_is_one_batch() {
    let rig = Rig::new();
    rig.engine.hold();
    let mut raw = rig.client("a", Version::V5).await;
    raw.send_all((1..=100).map(numbered)).await;
    rig.engine.until(100).await;
    rig.engine.accept();
    for id in 1..=100 {
        assert_eq!(raw.ack().await.packet_id, id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_engine_closes_the_connection_without_a_puback() {
    for version in Version::ALL {
        let rig = Rig::new();
        rig.engine.hold();
        let mut raw = rig.client("a", version).await;
        raw.send(numbered(1)).await;
        raw.send(numbered(2)).await;
        rig.engine.until(2).await;
        drop(rig.engine.take());
        raw.ends_with(Reason::IMPLEMENTATION).await;
        assert_eq!(rig.snapshot().batches_refused, 1);
    }
}

/// What was sent behind refused messages is not taken before they come again, in their order.
#[tokio::test(start_paused = true)]
async fn refused_messages_come_again_in_order() {
    for version in BOTH {
        let rig = Rig::new();
        rig.engine.hold();
        let (mut raw, _) = rig.keeper("a", version).await;
        raw.send(numbered(1)).await;
        rig.engine.until(1).await;
        rig.engine.set_full(true);
        raw.send_all([numbered(2), Packet::Publish(message("a", "zero", 0))]).await;
        while rig.snapshot().backpressure == 0 {
            tokio::task::yield_now().await;
        }
        drop(rig.engine.take());
        rig.engine.set_full(false);
        raw.ends_with(Reason::IMPLEMENTATION).await;
        // A message of QoS 0 does not come again.
        let taken = rig.engine.until(2).await;
        assert_eq!(text(&taken[1].payload), "zero");
        let (mut raw, present) = rig.keeper("a", version).await;
        assert!(present);
        let again = |id| match numbered(id) {
            Packet::Publish(publish) => Packet::Publish(Publish { dup: true, ..publish }),
            other => other,
        };
        raw.send_all([again(1), again(2), numbered(3)]).await;
        let taken = rig.engine.until(5).await;
        let texts: Vec<_> = taken[2..].iter().map(|message| text(&message.payload)).collect();
        assert_eq!(texts, ["1", "2", "3"]);
        // The batch with the message of QoS 0, whose connection has gone.
        drop(rig.engine.take());
        rig.engine.accept();
        for id in 1..=3 {
            assert_eq!(raw.ack().await.packet_id, id);
        }
    }
}

/// Messages of one client with a full window, acknowledged 5 ms after they were taken; how long all of
/// them take.
async fn with_late_acknowledgements(version: Version) -> Duration {
    let rig = Rig::new();
    rig.engine.accept_after(Duration::from_millis(5));
    let mut raw = rig.client("a", version).await;
    let start = tokio::time::Instant::now();
    let window = Limits::default().receive_max;
    raw.send_all((1..=window).map(numbered)).await;
    for id in 1..=MESSAGES {
        assert_eq!(raw.ack().await.packet_id, id);
        if id + window <= MESSAGES {
            raw.send(numbered(id + window)).await;
        }
    }
    let taken = start.elapsed();
    assert_eq!(rig.engine.messages().len(), usize::from(MESSAGES));
    taken
}

const MESSAGES: u16 = 20_000;

/// The next messages are read and handed over while acknowledgements wait for the disk.
#[tokio::test(start_paused = true)]
async fn acknowledgements_that_come_late_do_not_slow_one_client_down() {
    for version in Version::ALL {
        let taken = with_late_acknowledgements(version).await;
        assert!(taken <= Duration::from_secs(1), "{taken:?} for {MESSAGES} messages");
    }
}

#[tokio::test]
#[ignore = "T1: measures real time"]
async fn one_client_with_late_acknowledgements_reaches_20_000_messages_a_second() {
    for version in Version::ALL {
        let taken = with_late_acknowledgements(version).await;
        println!("{version:?}: {:.0} messages a second", f64::from(MESSAGES) / taken.as_secs_f64());
        assert!(taken <= Duration::from_secs(1), "{taken:?} for {MESSAGES} messages");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_engine_stops_reading_one_connection_and_loses_nothing() {
    let rig = Rig::new();
    let mut busy = rig.raw_with_pipe(Version::V311, 1_000);
    busy.hello(connect("busy", Version::V311)).await;
    let mut other = rig.client("other", Version::V5).await;
    other.subscribe("down", 0).await;
    rig.engine.set_full(true);
    busy.send(Packet::Publish(message("a", "0", 0))).await;
    let writing = tokio::spawn(async move {
        for n in 1..1_000 {
            busy.send(Packet::Publish(message("a", &n.to_string(), 0))).await;
        }
        busy
    });
    let down = connectors::contract::Message::new(crate::broker::rig::topic("down"), "x", 0);
    assert_eq!(rig.handle().publish(&down).queued, 1);
    other.brief().await;
    other.quiet().await;
    assert!(!writing.is_finished());
    assert_eq!(rig.snapshot().backpressure, 1);
    rig.engine.set_full(false);
    let got = rig.engine.until(1_000).await;
    for (n, message) in got.iter().enumerate() {
        assert_eq!(text(&message.payload), n.to_string());
    }
    writing.await.unwrap().quiet().await;
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_client_that_has_left_still_reach_the_engine() {
    for version in Version::ALL {
        let rig = Rig::new();
        rig.engine.set_full(true);
        let mut raw = rig.client("a", version).await;
        raw.send(Packet::Publish(message("a", "last words", 0))).await;
        let leaving = tokio::spawn(raw.goodbye(Reason::SUCCESS));
        rig.client("b", version).await.quiet().await;
        assert!(rig.engine.messages().is_empty());
        rig.engine.set_full(false);
        assert_eq!(text(&rig.engine.until(1).await[0].payload), "last words");
        leaving.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn messages_before_a_protocol_error_are_taken() {
    let rig = Rig::new();
    let mut raw = rig.client("a", Version::V5).await;
    raw.send_all([Packet::Publish(message("a", "good", 0)), Packet::PingResp]).await;
    raw.ends_with(Reason::PROTOCOL_ERROR).await;
    assert_eq!(rig.engine.messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn version_3_clients_are_slowed_down_at_the_receive_maximum() {
    let rig = Rig::limited(|limits| limits.receive_max = 2);
    rig.engine.hold();
    let mut raw = rig.client("a", Version::V311).await;
    for id in 1..=2 {
        raw.send(numbered(id)).await;
        rig.engine.until(usize::from(id)).await;
    }
    raw.send(numbered(3)).await;
    raw.send(Packet::PingReq).await;
    rig.client("b", Version::V5).await.quiet().await;
    assert_eq!(rig.engine.messages().len(), 2);
    rig.engine.accept();
    assert_eq!(raw.ack().await.packet_id, 1);
    rig.engine.until(3).await;
    assert_eq!(raw.recv().await, Packet::PingResp);
}

#[tokio::test(start_paused = true)]
async fn messages_say_where_they_come_from() {
    let rig = Rig::new();
    let mut raw = rig.raw(Version::V311);
    let mut wish = connect("c1", Version::V311);
    wish.username = Some("dn&pk".into());
    raw.hello(wish).await;
    tokio::time::advance(Duration::from_millis(1_500)).await;
    raw.publish_retained("车间/1", "x", 1).await;
    raw.publish("b", "y", 0).await;
    let got = rig.engine.until(2).await;
    let first = &got[0];
    assert_eq!(first.received_ms, START_MS + 1_500);
    assert_eq!((first.qos, first.retain), (QoS::AtLeastOnce, true));
    assert_eq!(first.origin.source.as_deref(), Some("mqtt"));
    assert_eq!(first.origin.client_id.as_deref(), Some("c1"));
    assert!(Arc::ptr_eq(&first.origin, &got[1].origin));
    assert_eq!((first.product_key(), first.device_name()), (Some("pk"), Some("dn")));
    rig.client("plain", Version::V311).await.publish("b", "z", 0).await;
    assert_eq!(rig.engine.until(3).await[2].device, None);
}

#[tokio::test(start_paused = true)]
async fn a_full_engine_does_not_keep_clients_from_connecting() {
    let status = StatusMessages::new(jiff::tz::TimeZone::UTC, TopicLimits::default());
    let hooks = Hooks { lifecycle: Arc::new(status), ..Hooks::default() };
    let rig = Rig::with(Limits::default(), hooks);
    rig.engine.set_full(true);
    let mut raw = rig.client("a", Version::V5).await;
    raw.send(Packet::PingReq).await;
    rig.engine.set_full(false);
    assert_eq!(raw.recv().await, Packet::PingResp);
    assert_eq!(rig.engine.until(1).await[0].topic.as_str(), "/as/mqtt/status/mqtt/a");
    assert_eq!(rig.snapshot().messages_received, 0);
}
