//! Sessions: kept, clean, taken over, expired; and what is delivered again (MQTT 5.0 §3.1.2, §4.1, §4.4).

use std::time::Duration;

use tidegate::broker::Limits;
use tidegate::broker::codec::{Name, Packet, Properties, Reason, Value, Version};
use tokio::time::advance;

use crate::broker::rig::{BOTH, Rig, connect, kept, message, text, will};

#[tokio::test(start_paused = true)]
async fn mqtt_3_2_2_2_session_present_tells_whether_there_was_one() {
    for version in BOTH {
        let rig = Rig::new();
        let (raw, present) = rig.keeper("a", version).await;
        assert!(!present);
        raw.goodbye(Reason::SUCCESS).await;
        let (raw, present) = rig.keeper("a", version).await;
        assert!(present);
        raw.goodbye(Reason::SUCCESS).await;
        let ack = rig.raw(version).hello(connect("a", version)).await;
        assert!(!ack.session_present, "MQTT-3.2.2-3: clean start");
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_2_5_qos_1_waits_for_absent_clients_and_qos_0_does_not() {
    for version in BOTH {
        let rig = Rig::new();
        let (mut raw, _) = rig.keeper("a", version).await;
        raw.subscribe("#", 1).await;
        raw.goodbye(Reason::SUCCESS).await;
        let mut publisher = rig.client("p", version).await;
        publisher.publish("a", "zero", 0).await;
        publisher.publish("a", "one", 1).await;
        publisher.publish("a", "two", 1).await;
        let (mut raw, _) = rig.keeper("a", version).await;
        assert_eq!(raw.brief().await.1, "one");
        assert_eq!(raw.brief().await.1, "two");
        raw.quiet().await;
        assert_eq!(rig.snapshot().dropped_offline, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_2_4_clean_start_discards_the_session() {
    for version in BOTH {
        let rig = Rig::new();
        let (mut raw, _) = rig.keeper("a", version).await;
        raw.subscribe("#", 1).await;
        raw.goodbye(Reason::SUCCESS).await;
        let mut publisher = rig.client("p", version).await;
        publisher.publish("a", "one", 1).await;
        let mut raw = rig.client("a", version).await;
        publisher.publish("a", "two", 1).await;
        raw.quiet().await;
        let counted = rig.snapshot();
        assert_eq!((counted.subscriptions, counted.dropped_session), (0, 1));
        assert_eq!(counted.queued_bytes, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_4_3_a_second_connection_takes_the_session_over() {
    for version in BOTH {
        for clean in [true, false] {
            let rig = Rig::new();
            let (mut first, _) = rig.keeper("a", version).await;
            first.subscribe("a", 1).await;
            let mut second = rig.raw(version);
            let wish = if clean { connect("a", version) } else { kept("a", version) };
            let ack = second.hello(wish).await;
            assert_eq!(ack.session_present, !clean);
            first.ends_with(Reason::SESSION_TAKEN_OVER).await;
            second.quiet().await;
            assert!(rig.handle().is_online("a"));
            let counted = rig.snapshot();
            assert_eq!((counted.takeovers, counted.sessions), (1, 1));
        }
    }
}

/// What ends with its connection is not there for the next one, however that one comes about.
#[tokio::test(start_paused = true)]
async fn mqtt_3_1_2_11_2_a_session_that_ends_with_its_connection_is_not_taken_over() {
    for version in BOTH {
        let rig = Rig::new();
        let mut witness = rig.client("w", version).await;
        witness.subscribe("gone", 1).await;
        let mut first = rig.raw(version);
        let mut wish = connect("a", version);
        wish.will = Some(will("gone", "a"));
        if version == Version::V5 {
            wish.clean_start = false;
            wish.will.as_mut().unwrap().properties.push(Name::WillDelay, Value::Long(1_000));
        }
        first.hello(wish).await;
        first.subscribe("#", 1).await;
        let (mut second, present) = rig.keeper("a", version).await;
        assert!(!present);
        first.ends_with(Reason::SESSION_TAKEN_OVER).await;
        assert_eq!(witness.brief().await, ("gone".into(), "a".into(), 1, false), "at once");
        witness.publish("a", "nobody subscribed", 1).await;
        second.quiet().await;
        let counted = rig.snapshot();
        assert_eq!((counted.sessions, counted.subscriptions, counted.takeovers), (2, 1, 1));
        second.goodbye(Reason::SUCCESS).await;
        assert!(rig.keeper("a", version).await.1, "the second one is kept");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_time_is_over_is_not_resumed_before_somebody_has_tended_to_it() {
    for version in BOTH {
        let rig = Rig::untended();
        let mut wish = kept("a", version);
        wish.will = Some(will("gone", "a"));
        let mut raw = rig.raw(version);
        raw.hello(wish).await;
        raw.subscribe("#", 1).await;
        raw.hang_up().await;
        rig.engine.until(1).await;
        advance(Duration::from_secs(u64::from(Limits::default().session_expiry_s))).await;
        let (mut raw, present) = rig.keeper("a", version).await;
        assert!(!present);
        rig.client("p", version).await.publish("a", "x", 1).await;
        raw.quiet().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_while_its_session_is_being_ended_gets_a_new_one() {
    for version in BOTH {
        let rig = Rig::new();
        let (mut first, _) = rig.keeper("a", version).await;
        first.subscribe("#", 1).await;
        // The broker has told the first connection, which has not ended yet.
        assert!(rig.handle().forget("a"));
        let (mut second, present) = rig.keeper("a", version).await;
        assert!(!present);
        rig.client("p", version).await.publish("a", "x", 1).await;
        second.quiet().await;
        assert!(rig.handle().is_online("a"));
        assert_eq!(rig.snapshot().sessions, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_4_0_1_unacknowledged_messages_come_again_with_dup_and_the_same_identifier() {
    for version in BOTH {
        let rig = Rig::new();
        let (mut raw, _) = rig.keeper("a", version).await;
        raw.subscribe("#", 1).await;
        let mut publisher = rig.client("p", version).await;
        for payload in ["one", "two", "three"] {
            publisher.publish("a", payload, 1).await;
        }
        let (one, two, three) = (raw.message().await, raw.message().await, raw.message().await);
        raw.acknowledge(two.packet_id).await;
        raw.quiet().await;
        raw.hang_up().await;
        publisher.publish("a", "four", 1).await;
        let (mut raw, _) = rig.keeper("a", version).await;
        for before in [one, three] {
            let again = raw.message().await;
            assert!(again.dup);
            assert_eq!((again.packet_id, &again.payload), (before.packet_id, &before.payload));
            raw.acknowledge(again.packet_id).await;
        }
        let four = raw.message().await;
        assert_eq!((four.dup, text(&four.payload)), (false, "four"));
        raw.acknowledge(four.packet_id).await;
        raw.quiet().await;
        assert_eq!(rig.snapshot().queued_bytes, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_4_7_the_receive_maximum_of_the_client_is_kept() {
    let rig = Rig::new();
    let mut raw = rig.raw(Version::V5);
    let mut wish = kept("a", Version::V5);
    wish.properties.push(Name::ReceiveMaximum, Value::Short(2));
    raw.hello(wish.clone()).await;
    raw.subscribe("#", 1).await;
    let mut publisher = rig.client("p", Version::V5).await;
    for n in 0..5 {
        publisher.publish("a", &n.to_string(), 1).await;
    }
    let (zero, one) = (raw.message().await, raw.message().await);
    raw.quiet().await;
    raw.acknowledge(one.packet_id).await;
    assert_eq!(text(&raw.message().await.payload), "2");
    raw.quiet().await;
    drop(zero);
    raw.hang_up().await;
    let mut raw = rig.raw(Version::V5);
    raw.hello(wish).await;
    for expected in ["0", "2"] {
        assert_eq!(text(&raw.message().await.payload), expected);
    }
    raw.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn the_brokers_own_inflight_limit_is_kept_for_version_3() {
    let rig = Rig::limited(|limits| limits.inflight = 1);
    let mut raw = rig.client("a", Version::V311).await;
    raw.subscribe("#", 1).await;
    let mut publisher = rig.client("p", Version::V311).await;
    for n in 0..3 {
        publisher.publish("a", &n.to_string(), 1).await;
    }
    for n in 0..3 {
        let got = raw.message().await;
        assert_eq!(text(&got.payload), n.to_string());
        raw.quiet().await;
        raw.acknowledge(got.packet_id).await;
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_2_23_sessions_expire() {
    let rig = Rig::limited(|limits| limits.session_expiry_s = 100);
    for (version, seconds) in [(Version::V5, 5), (Version::V311, 100)] {
        let mut wish = connect("a", version);
        wish.clean_start = false;
        if version == Version::V5 {
            wish.properties.push(Name::SessionExpiry, Value::Long(5));
        }
        for (wait, present) in [(0, false), (seconds - 1, true), (seconds + 1, false)] {
            advance(Duration::from_secs(wait)).await;
            let mut raw = rig.raw(version);
            assert_eq!(raw.hello(wish.clone()).await.session_present, present, "{wait}");
            raw.subscribe("#", 1).await;
            raw.hang_up().await;
        }
        advance(Duration::from_secs(seconds + 1)).await;
        rig.client("other", version).await.goodbye(Reason::SUCCESS).await;
        let counted = rig.snapshot();
        assert_eq!((counted.sessions, counted.subscriptions), (0, 0));
    }
    assert_eq!(rig.snapshot().sessions_expired, 4, "two of each version");
    assert_eq!(Limits::default().session_expiry_s, 7 * 24 * 3_600);
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_14_2_2_disconnect_may_change_the_expiry_but_not_from_zero() {
    let expiry = |seconds| Properties::default().with(Name::SessionExpiry, Value::Long(seconds));
    let rig = Rig::new();
    let (raw, _) = rig.keeper("a", Version::V5).await;
    raw.goodbye_with(Reason::SUCCESS, expiry(0)).await;
    assert!(rig.handle().sessions().is_empty());

    let mut raw = rig.client("a", Version::V5).await;
    let end =
        tidegate::broker::codec::Disconnect { reason: Reason::SUCCESS, properties: expiry(10) };
    raw.send(Packet::Disconnect(end)).await;
    raw.ends_with(Reason::PROTOCOL_ERROR).await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_2_24_messages_larger_than_the_client_takes_are_not_sent() {
    let rig = Rig::new();
    let mut raw = rig.raw(Version::V5);
    let mut wish = connect("a", Version::V5);
    wish.properties.push(Name::MaximumPacket, Value::Long(50));
    raw.hello(wish).await;
    raw.subscribe("#", 1).await;
    let mut publisher = rig.client("p", Version::V5).await;
    // 2 bytes header, 3 topic, 2 identifier, 1 properties: 42 bytes of payload make 50.
    for (size, qos) in [(43, 1), (42, 1), (45, 0), (44, 0)] {
        publisher.publish("a", &"x".repeat(size), qos).await;
    }
    assert_eq!(raw.message().await.payload.len(), 42);
    assert_eq!(raw.message().await.payload.len(), 44);
    raw.quiet().await;
    assert_eq!(rig.snapshot().dropped_too_large, 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_loses_the_newest_and_stops_nobody() {
    for qos in [0, 1] {
        let rig = Rig::limited(|limits| {
            limits.queue_bytes = 10_000;
            limits.packet_bytes = 5_000;
        });
        let mut slow = rig.raw_with_pipe(Version::V311, 64);
        slow.hello(connect("slow", Version::V311)).await;
        slow.subscribe("#", 1).await;
        let mut quick = rig.client("quick", Version::V311).await;
        quick.subscribe("#", 0).await;
        let mut publisher = rig.client("p", Version::V5).await;
        // More than the pipe, the connection's buffer and the queue hold together.
        let (body, count) = ("x".repeat(1_000), 300);
        for _ in 0..count {
            publisher.send(Packet::Publish(message("a", &body, qos))).await;
            if qos == 1 {
                publisher.ack().await;
            }
            quick.message().await;
        }
        let counted = rig.snapshot();
        let dropped = if qos == 0 { counted.dropped_qos0 } else { counted.dropped_qos1 };
        assert!(dropped > 0 && counted.queued_bytes <= 10_000, "{counted:?}");
        for _ in 0..count - dropped {
            let got = slow.message().await;
            if qos == 1 {
                slow.acknowledge(got.packet_id).await;
            }
        }
        slow.quiet().await;
        assert_eq!(rig.snapshot().queued_bytes, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn queues_are_limited_in_count_and_over_all_clients() {
    let rig = Rig::limited(|limits| {
        limits.queue_messages = 3;
        limits.queue_bytes_total = 400;
    });
    for id in ["a", "b"] {
        let (mut raw, _) = rig.keeper(id, Version::V5).await;
        raw.subscribe(id, 1).await;
        raw.goodbye(Reason::SUCCESS).await;
    }
    let mut publisher = rig.client("p", Version::V5).await;
    // A message counts 64 + 1 + 4 bytes: four are 276, five are 345, six are 414.
    for id in ["a", "a", "a", "a", "b", "b", "b"] {
        publisher.publish(id, "1234", 1).await;
    }
    let counted = rig.snapshot();
    assert_eq!((counted.dropped_qos1, counted.queued_bytes), (2, 345));
}
