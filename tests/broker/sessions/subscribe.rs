//! SUBSCRIBE, UNSUBSCRIBE and matching (MQTT 5.0 §3.8–§3.11, §4.7, §4.8).

use tidegate::broker::codec::{Name, Packet, Properties, Reason, Value, Version};

use crate::broker::rig::{Rig, message, text, to};

#[tokio::test(start_paused = true)]
async fn mqtt_3_8_4_5_every_filter_is_answered_in_order() {
    for version in Version::ALL {
        let mut raw = Rig::new().client("a", version).await;
        let filters = ["a", "a/#/b", "b", "c/+x", "d"];
        let list = filters.iter().zip([0, 1, 1, 1, 2]).map(|(filter, qos)| to(filter, qos));
        let ack = raw.subscribe_all(list.collect(), Properties::default()).await;
        // MQTT 3.1 can't refuse: it repeats the QoS that was asked for.
        let [first, second] = match version {
            Version::V5 => [Reason::FILTER_INVALID; 2],
            Version::V311 => [Reason::UNSPECIFIED; 2],
            Version::V31 => [Reason(1), Reason(1)],
        };
        assert_eq!(ack.reasons, [Reason(0), first, Reason(1), second, Reason(2)]);
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_7_1_wildcards_match_whole_levels() {
    let cases = [
        ("a/b", "a/b", true),
        ("a/b", "a/b/", false),
        ("a/+", "a/b", true),
        ("a/+", "a/", true),
        ("a/+", "a", false),
        ("a/+/c", "a//c", true),
        ("+", "a", true),
        ("+", "/a", false),
        ("+/+", "/a", true),
        ("a/#", "a", true),
        ("a/#", "a/b/c", true),
        ("a/#", "ab", false),
        ("#", "/a/b", true),
        ("/#", "/", true),
        ("/#", "a", false),
        ("车间/+/温度", "车间/1/温度", true),
        ("A", "a", false),
    ];
    let rig = Rig::new();
    let mut raw = rig.client("a", Version::V5).await;
    for (filter, topic, matches) in cases {
        raw.subscribe(filter, 0).await;
        raw.send(Packet::Publish(message(topic, "x", 0))).await;
        if matches {
            assert_eq!(raw.brief().await.0, topic, "{filter}");
        }
        raw.quiet().await;
        raw.unsubscribe(&[filter]).await;
    }
    assert_eq!(rig.snapshot().subscriptions, 0);
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_7_2_1_leading_wildcards_do_not_match_dollar_topics() {
    let rig = Rig::new();
    let mut raw = rig.client("a", Version::V5).await;
    for filter in ["#", "+/x", "+/#"] {
        raw.subscribe(filter, 0).await;
    }
    raw.publish("$own/x", "hidden", 0).await;
    raw.subscribe("$own/+", 0).await;
    raw.send(Packet::Publish(message("$own/x", "shown", 0))).await;
    assert_eq!(raw.brief().await.1, "shown");
    raw.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_3_4_2_overlapping_subscriptions_give_the_highest_qos_once() {
    let rig = Rig::new();
    let mut raw = rig.client("a", Version::V5).await;
    for (filter, qos, id) in [("a/#", 0, 5), ("a/+", 1, 6), ("a/b", 0, 7), ("b", 0, 8)] {
        let with = Properties::default().with(Name::SubscriptionId, Value::Var(id));
        raw.subscribe_all(vec![to(filter, qos)], with).await;
    }
    let mut publisher = rig.client("p", Version::V5).await;
    publisher.publish("a/b", "x", 1).await;
    let got = raw.message().await;
    assert_eq!(got.qos, 1);
    let mut ids: Vec<_> = got.properties.iter().map(|property| property.value.clone()).collect();
    ids.sort_by_key(|id| format!("{id:?}"));
    assert_eq!(ids, [Value::Var(5), Value::Var(6), Value::Var(7)]);
    raw.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_8_4_3_a_subscription_to_the_same_filter_replaces_the_first() {
    let rig = Rig::new();
    let mut raw = rig.client("a", Version::V5).await;
    raw.subscribe("a", 0).await;
    raw.subscribe("a", 1).await;
    let mut publisher = rig.client("p", Version::V5).await;
    publisher.publish("a", "x", 1).await;
    assert_eq!(raw.message().await.qos, 1);
    raw.quiet().await;
    assert_eq!(rig.snapshot().subscriptions, 1);
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_8_4_8_delivery_has_the_lower_of_both_qos() {
    let rig = Rig::new();
    let mut raw = rig.client("a", Version::V311).await;
    raw.subscribe("zero", 0).await;
    raw.subscribe("one", 1).await;
    let mut publisher = rig.client("p", Version::V311).await;
    for (topic, published, delivered) in [("zero", 1, 0), ("one", 0, 0), ("one", 1, 1)] {
        publisher.publish(topic, "x", published).await;
        assert_eq!(raw.message().await.qos, delivered, "{topic} {published}");
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_10_4_unsubscribe_ends_delivery_and_says_what_it_found() {
    for version in Version::ALL {
        let rig = Rig::new();
        let mut raw = rig.client("a", version).await;
        raw.subscribe("a/#", 0).await;
        let reasons = raw.unsubscribe(&["a/#", "a"]).await;
        match version {
            Version::V5 => {
                assert_eq!(reasons, [Reason::SUCCESS, Reason::NO_SUBSCRIPTION_EXISTED]);
            }
            Version::V31 | Version::V311 => assert!(reasons.is_empty()),
        }
        raw.publish("a/b", "x", 0).await;
        raw.quiet().await;
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_8_3_3_no_local_holds_back_what_the_client_publishes() {
    let rig = Rig::new();
    let mut raw = rig.client("a", Version::V5).await;
    let mut wish = to("a", 0);
    wish.no_local = true;
    raw.subscribe_all(vec![wish], Properties::default()).await;
    raw.publish("a", "own", 0).await;
    rig.client("b", Version::V5).await.publish("a", "other", 0).await;
    assert_eq!(raw.brief().await.1, "other");
    raw.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_8_3_2_a_subscribe_without_filters_is_a_protocol_error() {
    for version in Version::ALL {
        let rig = Rig::new();
        for bytes in [b"\x82\x03\x00\x01\x00".as_slice(), b"\xa2\x03\x00\x01\x00"] {
            let mut raw = rig.client("a", version).await;
            let bytes = match version {
                Version::V5 => bytes.to_vec(),
                Version::V31 | Version::V311 => vec![bytes[0], 2, 0, 1],
            };
            raw.bytes(&bytes).await;
            raw.ends_with(Reason::PROTOCOL_ERROR).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_8_3_5_reserved_subscription_options_are_malformed() {
    for (version, options) in [
        (Version::V31, 3),
        (Version::V311, 4),
        (Version::V311, 3),
        (Version::V5, 64),
        (Version::V5, 3),
    ] {
        let mut raw = Rig::new().client("a", version).await;
        match version {
            Version::V5 => raw.bytes(&[0x82, 7, 0, 1, 0, 0, 1, b'a', options]).await,
            _ => raw.bytes(&[0x82, 6, 0, 1, 0, 1, b'a', options]).await,
        }
        raw.ends_with(Reason::MALFORMED).await;
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_8_2_shared_subscriptions_take_turns() {
    let rig = Rig::new();
    let mut members = Vec::new();
    for id in ["m1", "m2"] {
        let mut raw = rig.client(id, Version::V5).await;
        raw.subscribe("$share/group/a/+", 1).await;
        members.push(raw);
    }
    let mut alone = rig.client("alone", Version::V5).await;
    alone.subscribe("a/b", 0).await;
    let mut publisher = rig.client("p", Version::V5).await;
    for n in 0..6 {
        publisher.publish("a/b", &n.to_string(), 0).await;
    }
    for n in 0..6 {
        assert_eq!(text(&alone.message().await.payload), n.to_string());
    }
    for member in &mut members {
        for _ in 0..3 {
            member.message().await;
        }
        member.quiet().await;
    }
    // Only who is there gets a share.
    members.remove(0).goodbye(Reason::SUCCESS).await;
    publisher.publish("a/x", "left", 0).await;
    assert_eq!(members[0].brief().await.1, "left");
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_8_2_another_member_gets_what_one_leaves_behind() {
    for qos in [1, 2] {
        let rig = Rig::new();
        let mut first = rig.client("m1", Version::V5).await;
        first.subscribe("$share/group/a/#", 2).await;
        let mut publisher = rig.client("p", Version::V5).await;
        publisher.publish("a/b", "x", qos).await;
        assert_eq!(first.message().await.qos, qos);
        let mut second = rig.client("m2", Version::V311).await;
        second.subscribe("$share/group/a/#", 1).await;
        // A session that goes on keeps its messages, one that ends does not; but what was sent with QoS 2
        // goes to nobody else (MQTT-4.8.2-5).
        second.quiet().await;
        first.hang_up().await;
        if qos == 1 {
            assert_eq!(second.brief().await, ("a/b".into(), "x".into(), 1, false));
        }
        second.quiet().await;
        assert_eq!(rig.snapshot().dropped_session, u64::from(qos == 2));
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_8_2_messages_of_a_session_that_expires_go_to_another_member() {
    let rig = Rig::new();
    let (mut first, _) = rig.keeper("m1", Version::V5).await;
    first.subscribe("$share/group/a", 2).await;
    first.goodbye(Reason::SUCCESS).await;
    let mut publisher = rig.client("p", Version::V5).await;
    publisher.publish("a", "waits", 2).await;
    let mut second = rig.client("m2", Version::V5).await;
    second.subscribe("$share/group/a", 2).await;
    second.quiet().await;
    tokio::time::advance(std::time::Duration::from_secs(3_601)).await;
    assert_eq!(second.brief().await, ("a".into(), "waits".into(), 2, false));
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_8_2_2_share_names_are_checked() {
    let rig = Rig::new();
    let mut raw = rig.client("a", Version::V5).await;
    for filter in ["$share//a", "$share/g", "$share/g/", "$share/+/a", "$share/g#/a"] {
        assert_eq!(raw.subscribe(filter, 0).await, Reason::FILTER_INVALID, "{filter}");
    }
    let mut wish = to("$share/g/a", 0);
    wish.no_local = true;
    let subscribe = tidegate::broker::codec::Subscribe {
        packet_id: 1,
        filters: vec![wish],
        properties: Properties::default(),
    };
    raw.send(Packet::Subscribe(subscribe)).await;
    raw.ends_with(Reason::PROTOCOL_ERROR).await;
}

#[tokio::test(start_paused = true)]
async fn subscriptions_of_a_client_are_limited() {
    let rig = Rig::limited(|limits| limits.subscriptions = 2);
    for (version, refusal) in
        [(Version::V5, Reason::QUOTA_EXCEEDED), (Version::V311, Reason::UNSPECIFIED)]
    {
        let mut raw = rig.client("a", version).await;
        assert_eq!(raw.subscribe("a", 0).await, Reason(0));
        assert_eq!(raw.subscribe("b", 0).await, Reason(0));
        assert_eq!(raw.subscribe("c", 0).await, refusal);
        assert_eq!(raw.subscribe("b", 1).await, Reason(1));
        raw.unsubscribe(&["a"]).await;
        assert_eq!(raw.subscribe("c", 0).await, Reason(0));
    }
    let deep = "a/".repeat(17);
    let mut raw = rig.client("b", Version::V5).await;
    assert_eq!(raw.subscribe(&deep, 0).await, Reason::FILTER_INVALID);
}
