//! What a crash may not take: each test looks at what is on disk in the moment in which the broker has
//! acknowledged something, and goes on from there.

use std::path::Path;
use std::time::Duration;

use connectors::contract::{Ack, Message, QoS};
use tidegate::broker::FILE;
use tidegate::broker::codec::{Packet, Properties, Publish, Reason, Subscribe, Version};

use super::restart::{Life, cut};
use crate::broker::rig::{BOTH, Raw, START_MS, kept, message, puback, text, to, topic};

fn exact(id: u16, payload: &str) -> Publish {
    Publish { packet_id: id, ..message("a", payload, 2) }
}

fn again(id: u16, payload: &str) -> Packet {
    Packet::Publish(Publish { dup: true, ..exact(id, payload) })
}

/// Payloads that come to a client before what is published now.
async fn until_now(life: &Life, raw: &mut Raw) -> Vec<String> {
    let (packet_id, properties) = (9, Properties::default());
    let filters = vec![to("end", 1)];
    raw.send(Packet::Subscribe(Subscribe { packet_id, filters, properties })).await;
    let mut all = Vec::new();
    loop {
        match raw.recv().await {
            Packet::SubAck(_) => life.client("end", raw.version).await.publish("end", "", 1).await,
            Packet::Publish(got) if &*got.topic == "end" => return all,
            Packet::Publish(got) => all.push(text(&got.payload).to_owned()),
            other => panic!("{other:?}"),
        }
    }
}

/// A client that has subscribed and has gone.
async fn absent(life: &Life, id: &str, filters: &[(&str, u8)], version: Version) {
    let (mut raw, _) = life.keeper(id, version).await;
    let filters = filters.iter().map(|(filter, qos)| to(filter, *qos)).collect();
    raw.subscribe_all(filters, Properties::default()).await;
    raw.goodbye(Reason::SUCCESS).await;
}

#[tokio::test]
async fn what_publishers_were_told_is_there() {
    for version in BOTH {
        for qos in [1, 2] {
            let folder = tempfile::tempdir().unwrap();
            let life = Life::start(folder.path()).await;
            absent(&life, "one", &[("a", 1)], version).await;
            absent(&life, "two", &[("a", 2)], version).await;
            absent(&life, "shares", &[("$share/g/a", 1)], version).await;
            let mut publisher = life.client("p", version).await;
            let mut sent = message("a", "x", qos);
            sent.retain = true;
            publisher.send(Packet::Publish(sent)).await;
            publisher.recv().await;
            let copy = cut(folder.path());
            let life = Life::start(copy.path()).await;
            for id in ["one", "two", "shares"] {
                let (mut raw, present) = life.keeper(id, version).await;
                assert!(present, "{id}");
                assert_eq!(text(&raw.message().await.payload), "x", "{id}");
            }
            let mut fresh = life.client("fresh", version).await;
            fresh.subscribe("#", 1).await;
            assert_eq!(fresh.brief().await, ("a".into(), "x".into(), 1, true));
            life.end().await;
        }
    }
}

#[tokio::test]
async fn what_the_daemon_publishes_is_there_once_the_obligation_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::start(folder.path()).await;
    absent(&life, "one", &[("a", 1)], Version::V5).await;
    let handle = life.broker.handle();
    let mut message = Message::new(topic("a"), "x", START_MS);
    message.qos = QoS::AtLeastOnce;
    let (mut ack, stored) = Ack::pair();
    handle.hold(handle.publish(&message), &mut ack);
    ack.accept();
    stored.wait().await.unwrap();
    let copy = cut(folder.path());
    let life = Life::start(copy.path()).await;
    let (mut raw, _) = life.keeper("one", Version::V5).await;
    assert_eq!(raw.brief().await.1, "x");
    life.end().await;
}

#[tokio::test]
async fn subscriptions_that_were_confirmed_are_there_and_the_others_are_not() {
    for version in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let life = Life::start(folder.path()).await;
        let (mut raw, _) = life.keeper("s", version).await;
        raw.subscribe("a", 1).await;
        let first = cut(folder.path());
        raw.subscribe("b", 1).await;
        raw.unsubscribe(&["a"]).await;
        let second = cut(folder.path());
        for (copy, filters) in [(first, ["a"]), (second, ["b"])] {
            let life = Life::start(copy.path()).await;
            let mut publisher = life.client("p", version).await;
            for name in ["a", "b"] {
                publisher.publish(name, name, 1).await;
            }
            let (mut raw, present) = life.keeper("s", version).await;
            assert!(present);
            assert_eq!(until_now(&life, &mut raw).await, filters);
            life.end().await;
        }
    }
}

#[tokio::test]
async fn a_message_of_qos_2_keeps_its_identifier_and_is_not_sent_after_pubrec() {
    for version in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let life = Life::start(folder.path()).await;
        let (mut raw, _) = life.keeper("s", version).await;
        raw.subscribe("a", 2).await;
        let mut publisher = life.client("p", version).await;
        let mut ids = Vec::new();
        for payload in ["x", "y"] {
            publisher.publish("a", payload, 2).await;
            ids.push(raw.message().await.packet_id);
        }
        let sent = cut(folder.path());
        raw.send(Packet::PubRec(puback(ids[1]))).await;
        raw.send(Packet::PubRec(puback(ids[0]))).await;
        for id in [ids[1], ids[0]] {
            assert_eq!(raw.recv().await, Packet::PubRel(puback(id)), "MQTT-4.6.0-4");
        }
        let released = cut(folder.path());

        let life = Life::start(sent.path()).await;
        let (mut raw, _) = life.keeper("s", version).await;
        for (id, payload) in [(ids[0], "x"), (ids[1], "y")] {
            let got = raw.message().await;
            assert_eq!((got.packet_id, got.dup, text(&got.payload)), (id, true, payload));
        }
        life.end().await;
        let life = Life::start(released.path()).await;
        let (mut raw, _) = life.keeper("s", version).await;
        for id in &ids {
            assert_eq!(raw.recv().await, Packet::PubRel(puback(*id)));
            raw.send(Packet::PubComp(puback(*id))).await;
        }
        raw.quiet().await;
        life.end().await;
    }
}

#[tokio::test]
async fn a_message_of_qos_2_is_taken_once_until_its_identifier_is_free() {
    for version in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let life = Life::start(folder.path()).await;
        absent(&life, "s", &[("a", 2)], version).await;
        let (mut raw, _) = life.keeper("p", version).await;
        raw.send(Packet::Publish(exact(7, "x"))).await;
        assert_eq!(raw.recv().await, Packet::PubRec(puback(7)));
        let received = cut(folder.path());
        raw.send(Packet::PubRel(puback(7))).await;
        assert_eq!(raw.recv().await, Packet::PubComp(puback(7)));
        let completed = cut(folder.path());

        for (copy, packet, expected) in [
            (received, again(7, "x"), vec!["x"]),
            (completed, Packet::Publish(exact(7, "new")), vec!["x", "new"]),
        ] {
            let life = Life::start(copy.path()).await;
            let (mut raw, present) = life.keeper("p", version).await;
            assert!(present);
            raw.send(packet).await;
            assert_eq!(raw.recv().await, Packet::PubRec(puback(7)));
            let (mut subscriber, _) = life.keeper("s", version).await;
            assert_eq!(until_now(&life, &mut subscriber).await, expected);
            life.end().await;
        }
    }
}

#[tokio::test]
async fn a_session_that_was_started_clean_does_not_bring_back_the_one_before() {
    for version in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let life = Life::start(folder.path()).await;
        absent(&life, "s", &[("a", 1)], version).await;
        life.client("p", version).await.publish("a", "x", 1).await;
        let mut raw = life.raw(version);
        let mut wish = kept("s", version);
        wish.clean_start = true;
        assert!(!raw.hello(wish).await.session_present);
        let copy = cut(folder.path());
        let life = Life::start(copy.path()).await;
        life.client("p", version).await.publish("a", "y", 1).await;
        let (mut raw, _) = life.keeper("s", version).await;
        assert_eq!(until_now(&life, &mut raw).await, [""; 0]);
        life.end().await;
    }
}

/// Runs a statement beside the broker.
async fn sql(folder: &Path, statement: &'static str) {
    let path = format!("sqlite://{}", folder.join(FILE).display());
    let pool = sqlx::SqlitePool::connect(&path).await.unwrap();
    sqlx::raw_sql(statement).execute(&pool).await.unwrap();
    pool.close().await;
}

#[tokio::test]
async fn what_cannot_be_written_is_not_acknowledged_until_it_can() {
    for version in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let life = Life::start(folder.path()).await;
        absent(&life, "s", &[("a", 1)], version).await;
        let handle = life.broker.handle();
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'no room'); END";
        sql(folder.path(), refuse).await;
        let mut publisher = life.client("p", version).await;
        publisher.send(Packet::Publish(message("a", "x", 1))).await;
        publisher.ends_with(Reason::IMPLEMENTATION).await;
        assert!(handle.trouble().unwrap().contains("no room"));
        assert!(handle.snapshot().commit_errors > 0);

        // What comes meanwhile is not queued again and again; what no session keeps is not touched.
        for _ in 0..3 {
            let mut publisher = life.client("p", version).await;
            publisher.publish("b", "nobody", 1).await;
            publisher.publish("a", "zero", 0).await;
            publisher.send(Packet::Publish(message("a", "y", 1))).await;
            publisher.ends_with(Reason::IMPLEMENTATION).await;
        }
        sql(folder.path(), "DROP TRIGGER refuse").await;
        while handle.trouble().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut publisher = life.client("p", version).await;
        publisher.publish("a", "z", 1).await;
        let copy = cut(folder.path());
        let life = Life::start(copy.path()).await;
        let (mut raw, _) = life.keeper("s", version).await;
        assert_eq!(until_now(&life, &mut raw).await, ["x", "z"]);
        life.end().await;
    }
}

#[tokio::test]
async fn what_no_session_keeps_waits_for_no_disk() {
    let folder = tempfile::tempdir().unwrap();
    let life = Life::start(folder.path()).await;
    let mut clean = life.client("s", Version::V5).await;
    clean.subscribe("a", 1).await;
    let (mut publisher, _) = life.keeper("p", Version::V5).await;
    publisher.quiet().await;
    let before = life.broker.handle().snapshot().commits;
    for _ in 0..100 {
        publisher.publish("a", "x", 1).await;
        let got = clean.message().await;
        clean.acknowledge(got.packet_id).await;
    }
    // The publisher's own session may be written once, some time.
    assert!(life.broker.handle().snapshot().commits <= before + 1);
    life.end().await;
}
