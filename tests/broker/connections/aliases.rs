//! Topic aliases (MQTT 5.0 §3.3.2.3.4).

use tidegate::broker::codec::{Connect, Name, Packet, Publish, Reason, Value, Version};

use crate::broker::rig::{Rig, connect, kept, message, text};

/// PUBLISH of QoS 1 with an alias.
fn aliased(topic: &str, alias: u16, payload: &str) -> Packet {
    Packet::Publish(Publish { topic_alias: Some(alias), ..message(topic, payload, 1) })
}

/// A client that takes so many aliases.
fn taking(id: &str, most: u16) -> Connect {
    let mut wish = connect(id, Version::V5);
    wish.properties.push(Name::TopicAliasMaximum, Value::Short(most));
    wish
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_2_12_a_clients_alias_stands_for_its_topic() {
    let rig = Rig::limited(|limits| limits.topic_aliases = 4);
    let mut subscriber = rig.client("s", Version::V311).await;
    subscriber.subscribe("#", 0).await;
    let mut raw = rig.raw(Version::V5);
    let ack = raw.hello(connect("p", Version::V5)).await;
    assert_eq!(ack.properties.number(Name::TopicAliasMaximum), Some(4));
    let packets = [("a/b", 4), ("", 4), ("c", 1), ("", 4), ("d", 4), ("", 4), ("", 1)];
    for (topic, alias) in packets {
        raw.send(aliased(topic, alias, "x")).await;
        assert_eq!(raw.ack().await.reason, Reason::SUCCESS);
    }
    let want = ["a/b", "a/b", "c", "a/b", "d", "d", "c"];
    for topic in want {
        assert_eq!(subscriber.brief().await, (topic.into(), "x".into(), 0, false));
    }
    let got: Vec<_> = rig.engine.messages().iter().map(|m| m.topic.to_string()).collect();
    assert_eq!(got, want);
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_2_8_aliases_that_stand_for_nothing_end_the_connection() {
    for (most, topic, alias, reason) in [
        (4, "", Some(1), Reason::PROTOCOL_ERROR),
        (4, "", None, Reason::PROTOCOL_ERROR),
        (4, "a", Some(0), Reason::TOPIC_ALIAS_INVALID),
        (4, "", Some(0), Reason::TOPIC_ALIAS_INVALID),
        (4, "a", Some(5), Reason::TOPIC_ALIAS_INVALID),
        (0, "a", Some(1), Reason::TOPIC_ALIAS_INVALID),
    ] {
        for qos in 0..3 {
            let rig = Rig::limited(|limits| limits.topic_aliases = most);
            let mut raw = rig.raw(Version::V5);
            let ack = raw.hello(connect("p", Version::V5)).await;
            let offered = ack.properties.number(Name::TopicAliasMaximum).unwrap_or(0);
            assert_eq!(offered, u32::from(most));
            let publish = Publish { topic_alias: alias, ..message(topic, "x", qos) };
            raw.send(Packet::Publish(publish)).await;
            raw.ends_with(reason).await;
            assert!(rig.engine.messages().is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_refused_has_named_its_alias_all_the_same() {
    let rig = Rig::new();
    let mut raw = rig.client("p", Version::V5).await;
    raw.send(aliased("a", 1, &"x".repeat((1 << 20) + 1))).await;
    assert_eq!(raw.ack().await.reason, Reason::QUOTA_EXCEEDED);
    raw.send(aliased("", 1, "y")).await;
    assert_eq!(raw.ack().await.reason, Reason::SUCCESS);
    // A topic that is none takes the alias away.
    raw.send(aliased("a/+", 1, "x")).await;
    assert_eq!(raw.ack().await.reason, Reason::TOPIC_INVALID);
    raw.send(aliased("", 1, "x")).await;
    raw.ends_with(Reason::PROTOCOL_ERROR).await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_2_10_an_alias_ends_with_its_connection() {
    let rig = Rig::new();
    let (mut raw, _) = rig.keeper("p", Version::V5).await;
    raw.send(aliased("a", 1, "x")).await;
    raw.ack().await;
    raw.hang_up().await;
    let (mut raw, present) = rig.keeper("p", Version::V5).await;
    assert!(present);
    raw.send(aliased("", 1, "x")).await;
    raw.ends_with(Reason::PROTOCOL_ERROR).await;
}

#[tokio::test(start_paused = true)]
async fn topics_are_sent_once_to_clients_that_take_aliases() {
    let rig = Rig::limited(|limits| limits.topic_aliases = 8);
    let mut raw = rig.raw(Version::V5);
    raw.hello(taking("s", 2)).await;
    let mut old = rig.client("old", Version::V5).await;
    for raw in [&mut raw, &mut old] {
        raw.subscribe("#", 0).await;
    }
    let mut publisher = rig.client("p", Version::V311).await;
    for (topic, name, alias) in [
        ("first", "first", Some(1)),
        ("second", "second", Some(2)),
        ("first", "", Some(1)),
        ("third", "third", None),
        ("second", "", Some(2)),
        // Too short to be worth it.
        ("x", "x", None),
    ] {
        publisher.publish(topic, "x", 1).await;
        let got = raw.message().await;
        assert_eq!((&*got.topic, got.topic_alias), (name, alias), "{topic}");
        let got = old.message().await;
        assert_eq!((&*got.topic, got.topic_alias), (topic, None));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_again_has_its_topic_again() {
    let rig = Rig::new();
    let hello = || {
        let mut wish = kept("s", Version::V5);
        wish.properties.push(Name::TopicAliasMaximum, Value::Short(9));
        wish
    };
    let mut raw = rig.raw(Version::V5);
    raw.hello(hello()).await;
    raw.subscribe("a/b/c", 1).await;
    let mut publisher = rig.client("p", Version::V311).await;
    for payload in ["1", "2"] {
        publisher.publish("a/b/c", payload, 1).await;
    }
    assert_eq!(&*raw.message().await.topic, "a/b/c");
    let got = raw.message().await;
    assert_eq!((&*got.topic, got.topic_alias), ("", Some(1)));
    raw.hang_up().await;
    // Over a connection without aliases, and over one with them.
    for (wish, names) in [
        (kept("s", Version::V5), [("a/b/c", None), ("a/b/c", None)]),
        (hello(), [("a/b/c", Some(1)), ("", Some(1))]),
    ] {
        let mut raw = rig.raw(Version::V5);
        assert!(raw.hello(wish).await.session_present);
        for (name, payload) in names.into_iter().zip(["1", "2"]) {
            let got = raw.message().await;
            assert!(got.dup);
            assert_eq!((&*got.topic, got.topic_alias), name);
            assert_eq!(text(&got.payload), payload);
        }
        raw.hang_up().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_alias_makes_no_packet_too_large_and_none_is_named_by_one_that_is_dropped() {
    let rig = Rig::new();
    let mut wish = taking("s", 9);
    wish.properties.push(Name::MaximumPacket, Value::Long(60));
    let mut raw = rig.raw(Version::V5);
    raw.hello(wish).await;
    raw.subscribe("a/b/c", 0).await;
    let mut publisher = rig.client("p", Version::V5).await;
    // Two bytes of header, seven of topic, one of properties, and the payload: 60, 61, 57 bytes.
    for size in [50, 51, 47, 50, 53] {
        publisher.publish("a/b/c", &"x".repeat(size), 1).await;
    }
    for (name, alias, size) in [("a/b/c", None, 50), ("a/b/c", Some(1), 47), ("", Some(1), 50)] {
        let got = raw.message().await;
        assert_eq!((&*got.topic, got.topic_alias, got.payload.len()), (name, alias, size));
    }
    raw.quiet().await;
    assert_eq!(rig.snapshot().dropped_too_large, 2);
}

/// The topic of one of ten devices.
fn of_device(at: usize) -> String {
    format!("/sys/a1FlqIQ0abc/device-{}/thing/event/property/post", at % 10)
}

/// Bytes for 1,000 messages of 20 bytes of ten devices, as a monitor gets them.
async fn bytes_for(most: u16) -> u64 {
    let rig = Rig::new();
    let mut raw = rig.raw(Version::V5);
    raw.hello(taking("s", most)).await;
    raw.subscribe("#", 0).await;
    let mut publisher = rig.client("p", Version::V311).await;
    let before = rig.snapshot().bytes_sent;
    for at in 0..1_000 {
        publisher.send(Packet::Publish(message(&of_device(at), "{\"temperature\":21.5}", 0))).await;
        raw.message().await;
    }
    rig.snapshot().bytes_sent - before
}

#[tokio::test(start_paused = true)]
async fn aliases_save_bytes() {
    let (without, with) = (bytes_for(0).await, bytes_for(10).await);
    println!("1,000 messages: {without} bytes without aliases, {with} with");
    let topic = of_device(0).len() as u64;
    // All but the first ten topics become 3 bytes of alias each.
    assert_eq!(without - with, 990 * topic - 1_000 * 3);
    // Four numbers for ten topics save about four tenths of it.
    assert!(bytes_for(4).await < without - 390 * (topic - 3));
}
