//! What the daemon sends to a device that has not subscribed, and how it cuts a device off.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytestring::ByteString;
use connectors::contract::{Message, QoS, Topic, TopicFilter};
use tidegate::broker::codec::{Packet, Reason, Version};
use tidegate::broker::{
    Acl, AllowAll, Authenticator, ConnectInfo, Hooks, Identity, Limits, Refusal,
};
use tokio::sync::Semaphore;

use super::rig::{BOTH, Rig, connect, message, text, to, topic};

/// `/sys/{client}/…` is the client's own.
struct Own;

impl Acl for Own {
    fn publish(&self, _: &Identity, _: &Topic) -> bool {
        true
    }

    fn subscribe(&self, _: &Identity, _: &TopicFilter) -> bool {
        true
    }

    fn addressee(&self, topic: &Topic) -> Option<ByteString> {
        let rest = topic.as_str().strip_prefix("/sys/")?;
        rest.split_once('/').map(|(client, _)| client.into())
    }
}

fn own() -> Rig {
    Rig::with(Limits::default(), Hooks { acl: Arc::new(Own), ..Hooks::default() })
}

fn call(to: &str, qos: QoS) -> Message {
    let mut message = Message::new(topic(to), "x", 5);
    message.qos = qos;
    message
}

#[tokio::test(start_paused = true)]
async fn the_daemon_reaches_a_client_that_has_not_subscribed() {
    for version in Version::ALL {
        let rig = own();
        let mut raw = rig.client("dev", version).await;
        let mut other = rig.client("other", version).await;
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let delivered = rig.handle().publish(&call("/sys/dev/service", qos));
            assert_eq!((delivered.queued, delivered.dropped), (1, 0));
            let got = raw.message().await;
            assert_eq!((&*got.topic, got.qos), ("/sys/dev/service", qos.level()));
            if got.qos > 0 {
                raw.acknowledge(got.packet_id).await;
            }
        }
        assert_eq!(rig.handle().publish(&call("/sys/nobody/x", QoS::AtLeastOnce)).queued, 0);
        // From a client it is a message like any other.
        other.publish("/sys/dev/service", "x", 1).await;
        raw.quiet().await;
        other.quiet().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_subscribed_as_well_gets_it_once() {
    for version in Version::ALL {
        let rig = own();
        let mut raw = rig.client("dev", version).await;
        raw.subscribe_all(vec![to("/sys/dev/#", 0), to("/sys/+/service", 1)], Default::default())
            .await;
        assert_eq!(rig.handle().publish(&call("/sys/dev/service", QoS::AtLeastOnce)).queued, 1);
        assert_eq!(raw.message().await.qos, 1);
        raw.quiet().await;
    }
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_an_absent_client_at_qos_1() {
    for version in BOTH {
        let rig = own();
        rig.keeper("dev", version).await.0.goodbye(Reason::SUCCESS).await;
        let absent = rig.handle().publish(&call("/sys/dev/a", QoS::AtMostOnce));
        assert_eq!((absent.queued, absent.dropped), (0, 1));
        assert_eq!(rig.handle().publish(&call("/sys/dev/b", QoS::AtLeastOnce)).queued, 1);
        let (mut raw, present) = rig.keeper("dev", version).await;
        assert!(present);
        assert_eq!(raw.brief().await, ("/sys/dev/b".into(), "x".into(), 1, false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_is_looked_up_by_its_identifier() {
    let rig = Rig::new();
    let mut raw = rig.client("dev", Version::V311).await;
    raw.subscribe("a", 0).await;
    let found = rig.handle().client("dev").expect("the client");
    assert_eq!((&*found.identity.client_id, found.subscriptions), ("dev", 1));
    assert!(!found.identity.rrpc_ext && rig.handle().client("other").is_none());
    raw.goodbye(Reason::SUCCESS).await;
    assert!(rig.handle().client("dev").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_cut_off_says_nothing_more() {
    for version in Version::ALL {
        let rig = Rig::new();
        let mut raw = rig.client("dev", version).await;
        raw.publish("a", "before", 1).await;
        assert!(rig.handle().kick("dev"));
        assert!(!rig.handle().is_online("dev") && rig.handle().client("dev").is_none());
        raw.send(Packet::Publish(message("a", "after", 0))).await;
        raw.ends_with(Reason::ADMINISTRATIVE).await;
        let got = rig.engine.messages();
        assert_eq!(got.iter().map(|m| text(&m.payload)).collect::<Vec<_>>(), ["before"]);
    }
}

/// Lets nobody in once it was told so; looking takes as long as the test wants.
struct Slow {
    allowed: Mutex<bool>,
    looks: Semaphore,
}

#[async_trait::async_trait]
impl Authenticator for Slow {
    async fn authenticate(&self, info: &ConnectInfo) -> Result<Identity, Refusal> {
        let allowed = *self.allowed.lock().unwrap();
        self.looks.acquire().await.unwrap().forget();
        match allowed {
            true => AllowAll.authenticate(info).await,
            false => Err(Refusal::not_authorized("disabled")),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_cut_off_while_it_connects_is_not_let_in() {
    let slow = Arc::new(Slow { allowed: Mutex::new(true), looks: Semaphore::new(0) });
    let hooks = Hooks { authenticator: slow.clone(), ..Hooks::default() };
    let rig = Rig::with(Limits::default(), hooks);
    let mut raw = rig.raw(Version::V311);
    raw.send(Packet::Connect(Box::new(connect("dev", Version::V311)))).await;
    // Paused time moves only when everybody waits: the authenticator has looked.
    tokio::time::sleep(Duration::from_millis(1)).await;
    *slow.allowed.lock().unwrap() = false;
    assert!(!rig.handle().kick("dev"));
    slow.looks.add_permits(2);
    assert_eq!(raw.conn_ack().await.reason, Reason(5));
    raw.is_closed().await;
    assert!(!rig.handle().is_online("dev"));
}
