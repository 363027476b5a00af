//! Devices of a registry as clients: proof, one connection each, topics of their own, routes.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connectors::contract::{Ingress, Message, QoS, TopicLimits, shutdown};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use tempfile::TempDir;
use tidegate::broker::codec::{ConnAck, Connect, Packet, Reason, Version};
use tidegate::broker::{
    Broker, Config, DeviceAccess, Hooks, Limits, PasswordHash, Proof, Routed, StatusMessages, User,
    Users,
};
use tidegate::registry::{
    self, Device, NewDevice, NewProduct, Registry, Route, TopicClass, TopicOperation,
};
use tidegate::rule::store::Store;

use crate::broker::rig::{Engine, Raw, Rig, START_MS, connect, message, text, topic};

/// How often a message may be routed here.
const HOPS: u8 = 4;

/// A broker over a registry with a product and the devices `dev1` and `dev2`.
struct Site {
    rig: Rig,
    registry: Registry,
    key: String,
    devices: Vec<Device>,
    folder: TempDir,
}

fn product(name: &str) -> NewProduct {
    NewProduct::named(name)
}

/// One that may read everything and write below `/orders`; its password is `password`.
fn users() -> Users {
    let hash = "$pbkdf2-sha256$i=4096$c2FsdA$xeR41ZKIyEGqUw22hFxMjZYok6ABzk4RpJY4c6qYE0o";
    let hash = PasswordHash::parse(hash).unwrap();
    let (publish, subscribe) = (["/orders/#".to_owned()], ["#".to_owned()]);
    Users::new(vec![
        User::new("operator", hash, &publish, &subscribe, TopicLimits::default()).unwrap(),
    ])
}

impl Site {
    async fn new(proof: Proof) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let registry = Registry::open(store, registry::Limits::default()).await.unwrap();
        let key = registry.create_product(product("Test"), 1).await.unwrap().key.clone();
        let mut devices = Vec::new();
        for name in ["dev1", "dev2"] {
            let new = NewDevice {
                product_key: key.clone(),
                device_name: Some(name.to_owned()),
                nickname: None,
            };
            devices.push(registry.register(new, 1).await.unwrap());
        }
        let status = StatusMessages::new(jiff::tz::TimeZone::UTC, TopicLimits::default());
        let access = Arc::new(DeviceAccess::new(registry.clone(), proof, users(), status));
        let hooks = Hooks { authenticator: access.clone(), acl: access.clone(), lifecycle: access };
        let engine = Arc::new(Engine::default());
        let inner: Arc<dyn Ingress> = engine.clone();
        let routed = Arc::new(Routed::new(inner, registry.clone(), HOPS));
        let limits = Limits { refusal_delay_ms: 1, ..Limits::default() };
        let config = Config { limits, ..Config::default() };
        let broker = Broker::new(config, hooks, routed.clone(), Arc::new(|| START_MS));
        routed.attach(Some(broker.handle()));
        let (stop, stopped) = shutdown();
        let rig = Rig { broker: Arc::new(broker), engine, stop: Arc::new(stop), stopped };
        Self { rig, registry, key, devices, folder }
    }

    /// CONNECT as the vendor's device software writes it.
    fn hello(&self, device: &Device, extensions: &str, version: Version) -> Connect {
        let Device { product_key, device_name, secret, .. } = device;
        let id = format!("{product_key}&{device_name}");
        let content = format!(
            "clientId{id}deviceName{device_name}productKey{product_key}timestamp1700000000000"
        );
        let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(content.as_bytes());
        let client_id = format!(
            "{id}|securemode=3,signmethod=hmacsha1,{extensions}timestamp=1700000000000,lan=NodeJS|"
        );
        let mut hello = connect(&client_id, version);
        hello.username = Some(format!("{device_name}&{product_key}").into());
        hello.password = Some(hex::encode(mac.finalize().into_bytes()).into());
        hello
    }

    async fn try_connect(&self, hello: Connect) -> (Raw, ConnAck) {
        let mut raw = self.rig.raw(hello.version);
        raw.send(Packet::Connect(Box::new(hello))).await;
        let ack = raw.conn_ack().await;
        (raw, ack)
    }

    async fn device(&self, at: usize, version: Version) -> Raw {
        let hello = self.hello(&self.devices[at], "", version);
        let (raw, ack) = self.try_connect(hello).await;
        assert_eq!(ack.reason, Reason::SUCCESS);
        raw
    }

    fn session(&self, at: usize) -> String {
        registry::session_id(&self.key, &self.devices[at].device_name)
    }

    /// Topic and payload of what the engine got, without status messages.
    fn got(&self) -> Vec<(String, String)> {
        let messages = self.rig.engine.messages();
        let own = messages.iter().filter(|message| !message.topic.as_str().starts_with("/as/"));
        own.map(|m| (m.topic.to_string(), text(&m.payload).to_owned())).collect()
    }
}

#[tokio::test]
async fn only_a_device_that_signs_gets_in() {
    let site = Site::new(Proof::Required).await;
    let good = site.hello(&site.devices[0], "ext=1,_ss=1,", Version::V311);
    let (mut raw, ack) = site.try_connect(good.clone()).await;
    assert_eq!(ack.reason, Reason::SUCCESS);
    let client = site.rig.handle().client(&site.session(0)).expect("the device's session");
    assert!(client.identity.rrpc_ext);
    assert_eq!(client.identity.device.as_ref().map(|d| &*d.device_name), Some("dev1"));
    raw.quiet().await;

    let refused = |change: &dyn Fn(&mut Connect)| {
        let mut hello = good.clone();
        change(&mut hello);
        hello
    };
    for hello in [
        refused(&|hello| hello.password = None),
        refused(&|hello| hello.password = Some("00".into())),
        refused(&|hello| (hello.username, hello.password) = (None, None)),
        refused(&|hello| hello.username = Some("dev1".into())),
        refused(&|hello| hello.username = Some(format!("dev2&{}", site.key).into())),
        refused(&|hello| hello.username = Some("dev1&a1unknown00".into())),
        refused(&|hello| hello.client_id = hello.client_id.replace("hmacsha1", "hmacmd5").into()),
        refused(&|hello| hello.client_id = hello.client_id.replace("=17", "=18").into()),
        refused(&|hello| hello.client_id = "plain".into()),
    ] {
        let what = format!("{hello:?}");
        let (mut raw, ack) = site.try_connect(hello).await;
        assert_eq!(ack.reason, Reason(4), "{what}");
        raw.is_closed().await;
    }
    // None of them has disturbed the device.
    raw.quiet().await;
    let upper = refused(&|hello| {
        let digits = hello.password.clone().unwrap();
        hello.password = Some(text(&digits).to_uppercase().into());
    });
    assert_eq!(site.try_connect(upper).await.1.reason, Reason::SUCCESS);
}

#[tokio::test]
async fn a_device_has_one_connection() {
    let site = Site::new(Proof::Required).await;
    for version in Version::ALL {
        let mut first = site.device(0, version).await;
        let mut other = site.hello(&site.devices[0], "", version);
        // Another id of its own, signed with it: still the same device.
        let content = format!("clientIdmeterdeviceNamedev1productKey{}", site.key);
        let mut mac = Hmac::<Sha1>::new_from_slice(site.devices[0].secret.as_bytes()).unwrap();
        mac.update(content.as_bytes());
        other.client_id = "meter|signmethod=hmacsha1|".into();
        other.password = Some(hex::encode(mac.finalize().into_bytes()).into());
        let (mut second, ack) = site.try_connect(other).await;
        assert_eq!(ack.reason, Reason::SUCCESS);
        first.ends_with(Reason::SESSION_TAKEN_OVER).await;
        second.quiet().await;
        assert!(site.registry.is_online(&site.key, "dev1"));
        second.goodbye(Reason::SUCCESS).await;
    }
}

#[tokio::test]
async fn a_device_uses_its_own_topics_only() {
    let site = Site::new(Proof::Required).await;
    let key = &site.key;
    let mut raw = site.device(0, Version::V5).await;
    for (text, allowed) in [
        (format!("/sys/{key}/dev1/thing/event/property/post"), true),
        (format!("/{key}/dev1/update"), true),
        (format!("/{key}/dev1/user/update/error"), true),
        (format!("/shadow/update/{key}/dev1"), true),
        (format!("/ext/rrpc/77/{key}/dev1/user/get"), true),
        (format!("/{key}/dev1/get"), false),
        (format!("/{key}/dev1/other"), false),
        (format!("/{key}/dev1/thing/event/property/post"), false),
        (format!("/{key}/dev1/thing/lifecycle"), false),
        (format!("/{key}/dev2/update"), false),
        (format!("/sys/{key}/dev2/thing/event/property/post"), false),
        (format!("/as/mqtt/status/{key}/dev1"), false),
        (format!("/shadow/get/{key}/dev1"), false),
        ("a/b".to_owned(), false),
    ] {
        raw.send(Packet::Publish(message(&text, "x", 1))).await;
        let want = if allowed { Reason::SUCCESS } else { Reason::NOT_AUTHORIZED };
        assert_eq!(raw.ack().await.reason, want, "publish to {text}");
    }
    for (filter, allowed) in [
        (format!("/sys/{key}/dev1/#"), true),
        (format!("/{key}/dev1/user/get"), true),
        (format!("/{key}/dev1/update/error"), true),
        (format!("/ext/rrpc/+/{key}/dev1/user/get"), true),
        (format!("/shadow/get/{key}/dev1"), true),
        (format!("/broadcast/{key}/all"), true),
        (format!("$share/group/sys/{key}/dev1/#"), false),
        (format!("/{key}/dev1/update"), false),
        (format!("/{key}/dev1/#"), false),
        (format!("/{key}/+/user/get"), false),
        (format!("/sys/{key}/+/#"), false),
        (format!("/{key}/dev2/get"), false),
        ("#".to_owned(), false),
    ] {
        let reason = raw.subscribe(&filter, 1).await;
        let want = if allowed { Reason(1) } else { Reason::NOT_AUTHORIZED };
        assert_eq!(reason, want, "subscribe to {filter}");
    }
    // A class that is added counts at once.
    let class = TopicClass {
        id: 0,
        short_name: "other".to_owned(),
        operation: TopicOperation::Both,
        description: String::new(),
    };
    let id = site.registry.create_topic_class(key, class).await.unwrap();
    raw.publish(&format!("/{key}/dev1/other"), "x", 1).await;
    assert_eq!(raw.subscribe(&format!("/{key}/dev1/other"), 0).await, Reason(0));
    site.registry.delete_topic_class(id).await.unwrap();
    raw.send(Packet::Publish(message(&format!("/{key}/dev1/other"), "x", 1))).await;
    assert_eq!(raw.ack().await.reason, Reason::NOT_AUTHORIZED);
    // MQTT 3.1.1 has no word for it: the message is acknowledged and goes nowhere.
    let mut old = site.device(1, Version::V311).await;
    old.publish(&format!("/{key}/dev1/update"), "forged", 1).await;
    assert!(site.got().iter().all(|(_, payload)| payload == "x"));
}

#[tokio::test]
async fn the_daemon_reaches_a_device_on_its_system_topics() {
    let site = Site::new(Proof::Required).await;
    let mut raw = site.device(0, Version::V311).await;
    let key = &site.key;
    for text in [
        format!("/sys/{key}/dev1/thing/service/property/set"),
        format!("/ext/rrpc/1/{key}/dev1/user/get"),
        format!("/shadow/get/{key}/dev1"),
    ] {
        let mut down = Message::new(topic(&text), "x", 1);
        down.qos = QoS::AtLeastOnce;
        assert_eq!(site.rig.handle().publish(&down).queued, 1, "{text}");
        let got = raw.message().await;
        assert_eq!(got.topic, *text);
        raw.acknowledge(got.packet_id).await;
    }
    let down = Message::new(topic(&format!("/{key}/dev1/user/get")), "x", 1);
    assert_eq!(site.rig.handle().publish(&down).queued, 0);
}

/// CONNECT as another vendor's device software writes it, over MQTT 3.1.
fn hello_in_one(device: &Device, secret: &str) -> Connect {
    let names = format!("{}{}", device.product_key, device.device_name);
    let mut hello = connect(&names, Version::V31);
    let username = format!("{names};21010406;x7Kp2;1700000000000");
    let key = STANDARD.decode(secret).unwrap();
    let mac = Hmac::<Sha1>::new_from_slice(&key).unwrap().chain_update(&username).finalize();
    hello.username = Some(username.into());
    hello.password = Some(format!("{};hmacsha1", hex::encode(mac.into_bytes())).into());
    hello
}

#[tokio::test]
async fn devices_that_write_product_and_name_in_one_get_in() {
    let site = Site::new(Proof::Required).await;
    let (key, device) = (&site.key, &site.devices[0]);
    let (mut raw, ack) = site.try_connect(hello_in_one(device, &device.secret)).await;
    assert_eq!(ack.reason, Reason::SUCCESS);
    let client = site.rig.handle().client(&site.session(0)).expect("the device's session");
    assert_eq!(client.identity.device.as_ref().map(|d| &*d.device_name), Some("dev1"));
    assert_eq!(raw.subscribe(&format!("$thing/down/property/{key}/dev1"), 0).await, Reason(0));
    raw.publish(&format!("$thing/up/property/{key}/dev1"), "mine", 0).await;
    raw.publish(&format!("$thing/up/property/{key}/dev2"), "forged", 1).await;
    assert_eq!(site.got(), [(format!("$thing/up/property/{key}/dev1"), "mine".to_owned())]);
    let down = Message::new(topic(&format!("$thing/down/property/{key}/dev1")), "x", 1);
    assert_eq!(site.rig.handle().publish(&down).queued, 1);
    assert_eq!(raw.brief().await.1, "x");

    let other = hello_in_one(device, &site.devices[1].secret);
    assert_eq!(site.try_connect(other).await.1.reason, Reason(4));
    let stranger = Device { device_name: "nobody".into(), ..device.clone() };
    let stranger = hello_in_one(&stranger, &device.secret);
    assert_eq!(site.try_connect(stranger.clone()).await.1.reason, Reason(4));
    site.registry.set_disabled(key, "dev1", true, 2).await.unwrap();
    let disabled = hello_in_one(device, &device.secret);
    assert_eq!(site.try_connect(disabled).await.1.reason, Reason(5));
    // Without proof the message is still the device's, when there is one.
    let site = Site::new(Proof::None).await;
    let (mut raw, _) = site.try_connect(hello_in_one(&site.devices[1], "AAAA")).await;
    raw.publish("any", "x", 1).await;
    assert_eq!(site.rig.engine.messages().last().unwrap().device_name(), Some("dev2"));
    assert_eq!(site.try_connect(stranger.clone()).await.1.reason, Reason::SUCCESS);
    let site = Site::new(Proof::Password).await;
    assert_eq!(site.try_connect(stranger).await.1.reason, Reason(4));
}

#[tokio::test]
async fn a_device_never_gets_what_it_says_to_the_platform() {
    for proof in [Proof::Required, Proof::None] {
        let site = Site::new(proof).await;
        let key = &site.key;
        let mut raw = site.device(0, Version::V311).await;
        let (answer, own) =
            (format!("/ext/rrpc/1/{key}/dev1/user/get"), format!("/sys/{key}/dev1"));
        for filter in [
            format!("/ext/rrpc/+/{key}/dev1/user/get"),
            format!("$share/g//ext/rrpc/+/{key}/dev1/user/get"),
            format!("{own}/#"),
            format!("$sys/{key}/dev1/#"),
            format!("/{key}/dev1/update/error"),
        ] {
            assert_eq!(raw.subscribe(&filter, 0).await, Reason(0), "{filter}");
        }
        for topic in [
            answer.clone(),
            format!("/ext/rrpc/1/sys/{key}/dev1/thing/service/x"),
            format!("{own}/rrpc/response/1"),
            format!("{own}/thing/service/x_reply"),
            format!("$sys/{key}/dev1/thing/service/x/invoke_reply"),
        ] {
            raw.publish(&topic, "x", 1).await;
            raw.quiet().await;
        }
        // Its own topics bring it what it has asked for.
        raw.send(Packet::Publish(message(&format!("/{key}/dev1/update/error"), "x", 0))).await;
        assert_eq!(raw.brief().await.0, format!("/{key}/dev1/update/error"));
        // What it is asked comes, once.
        assert_eq!(site.rig.handle().publish(&Message::new(topic(&answer), "x", 1)).queued, 1);
        assert_eq!(raw.brief().await.0, answer);
        raw.quiet().await;
    }
    // Somebody who is no device sees all but what would go round for ever.
    let site = Site::new(Proof::None).await;
    let (mut raw, _) = site.try_connect(connect("desk", Version::V5)).await;
    assert_eq!(raw.subscribe("#", 0).await, Reason(0));
    raw.publish("/ext/rrpc/1/pk/dn/x", "x", 1).await;
    raw.quiet().await;
    raw.send(Packet::Publish(message("/sys/pk/dn/x", "x", 0))).await;
    assert_eq!(raw.brief().await.0, "/sys/pk/dn/x");
}

#[tokio::test]
async fn who_is_disabled_or_deleted_stays_out() {
    for proof in [Proof::Required, Proof::None] {
        let site = Site::new(proof).await;
        let (key, registry) = (&site.key, &site.registry);
        let mut raw = site.device(0, Version::V5).await;
        assert!(registry.set_disabled(key, "dev1", true, 2).await.unwrap());
        assert!(site.rig.handle().kick(&site.session(0)));
        raw.ends_with(Reason::ADMINISTRATIVE).await;
        let hello = site.hello(&site.devices[0], "", Version::V311);
        assert_eq!(site.try_connect(hello).await.1.reason, Reason(5), "{proof:?}");
        registry.set_disabled(key, "dev1", false, 3).await.unwrap();
        let mut raw = site.device(0, Version::V5).await;
        raw.quiet().await;
        registry.delete_device(key, "dev1").await.unwrap();
        assert!(site.rig.handle().kick(&site.session(0)));
        raw.ends_with(Reason::ADMINISTRATIVE).await;
        let hello = site.hello(&site.devices[0], "", Version::V311);
        let want = if proof == Proof::Required { Reason(4) } else { Reason(0) };
        assert_eq!(site.try_connect(hello).await.1.reason, want, "{proof:?}");
    }
}

#[tokio::test]
async fn comings_and_goings_are_told_and_kept() {
    let site = Site::new(Proof::Required).await;
    let key = &site.key;
    let raw = site.device(0, Version::V311).await;
    let online = site.rig.engine.until(1).await;
    let body: serde_json::Value = serde_json::from_slice(&online[0].payload).unwrap();
    assert_eq!(online[0].topic.as_str(), format!("/as/mqtt/status/{key}/dev1"));
    assert_eq!((&body["status"], &body["clientIp"]), (&"online".into(), &"10.0.0.7".into()));
    let of = registry::DeviceRef::Name { product_key: key, device_name: "dev1" };
    let device = site.registry.device(of).await.unwrap().unwrap();
    assert_eq!((device.active_ms, device.online_ms), (Some(START_MS), Some(START_MS)));
    assert_eq!(device.address.as_deref(), Some("10.0.0.7"));
    assert_eq!(site.registry.activity(None), registry::Activity { online: 1, active: 1 });
    raw.goodbye(Reason::SUCCESS).await;
    let offline = site.rig.engine.until(2).await;
    assert!(text(&offline[1].payload).starts_with(r#"{"status":"offline""#));
    assert!(!site.registry.is_online(key, "dev1") && site.registry.is_active(key, "dev1"));
    assert_eq!(site.registry.flush().await.unwrap(), 1);
    // It is in the database now.
    let store = Store::open(site.folder.path()).await.unwrap();
    let again = Registry::open(store, registry::Limits::default()).await.unwrap();
    assert_eq!(again.device(of).await.unwrap(), Some(device));
    assert!(again.is_active(key, "dev1"));
}

#[tokio::test]
async fn messages_flow_along_the_route_table() {
    let site = Site::new(Proof::Required).await;
    let key = &site.key;
    let route = |text: String| Route::of(topic(&text)).unwrap();
    let from = route(format!("/{key}/dev1/update"));
    let to = [route(format!("/{key}/dev2/get")), route(format!("/{key}/dev2/user/get"))];
    site.registry.add_routes(&from, &to).await.unwrap();
    let mut source = site.device(0, Version::V311).await;
    let mut target = site.device(1, Version::V311).await;
    assert_eq!(target.subscribe(to[0].topic.as_str(), 1).await, Reason(1));
    source.publish(from.topic.as_str(), "hello", 1).await;
    assert_eq!(target.brief().await.0, to[0].topic.as_str());
    let topics: Vec<_> = site.got().into_iter().map(|(topic, _)| topic).collect();
    assert_eq!(topics, [&from, &to[0], &to[1]].map(|route| route.topic.to_string()));
    let messages = site.rig.engine.messages();
    let copy = messages.iter().find(|message| message.topic == to[0].topic).unwrap();
    assert_eq!((copy.hops, copy.device_name()), (1, Some("dev2")));

    // Nobody takes it now: the copies are made again when it is offered again, once.
    site.rig.engine.set_full(true);
    source.send(Packet::Publish(message(from.topic.as_str(), "later", 1))).await;
    tokio::task::yield_now().await;
    site.rig.engine.set_full(false);
    assert_eq!(source.ack().await.reason, Reason::SUCCESS);
    assert_eq!(site.got().iter().filter(|(_, payload)| payload == "later").count(), 3);

    // A circle ends at the limit of hops.
    site.registry.add_routes(&to[0], std::slice::from_ref(&from)).await.unwrap();
    let before = site.got().len();
    source.publish(from.topic.as_str(), "round", 1).await;
    assert_eq!(site.got().len() - before, 1 + 2 + 1 + 2 + 1);
    // With the device goes its part of the table.
    site.registry.delete_device(key, "dev2").await.unwrap();
    let before = site.got().len();
    source.publish(from.topic.as_str(), "alone", 1).await;
    assert_eq!(site.got().len() - before, 1);
}

#[tokio::test]
async fn without_proof_everybody_may_but_devices_keep_their_one_session() {
    let site = Site::new(Proof::None).await;
    let mut hello = site.hello(&site.devices[0], "ext=1,", Version::V5);
    hello.password = None;
    let (mut raw, ack) = site.try_connect(hello.clone()).await;
    assert_eq!(ack.reason, Reason::SUCCESS);
    assert!(site.rig.handle().client(&site.session(0)).unwrap().identity.rrpc_ext);
    raw.publish("/any/topic/at/all", "x", 1).await;
    assert_eq!(raw.subscribe("#", 1).await, Reason(1));
    hello.client_id = "of-my-own".into();
    let (mut plain, _) = site.try_connect(hello).await;
    plain.quiet().await;
    assert!(site.rig.handle().is_online("of-my-own"));
    assert!(site.rig.handle().is_online(&site.session(0)));
}

#[tokio::test]
async fn users_log_in_with_their_password() {
    for proof in [Proof::Password, Proof::Required] {
        let site = Site::new(proof).await;
        let hello = |name: &str, password: &str| {
            let mut hello = connect("desk", Version::V5);
            hello.username = Some(name.into());
            hello.password = Some(password.to_owned().into());
            hello
        };
        for (name, password) in [("operator", "Password"), ("operator", ""), ("nobody", "password")]
        {
            let (_, ack) = site.try_connect(hello(name, password)).await;
            assert_eq!(ack.reason, Reason::BAD_CREDENTIALS, "{name} {password}");
        }
        let (mut raw, ack) = site.try_connect(hello("operator", "password")).await;
        assert_eq!(ack.reason, Reason::SUCCESS);
        raw.publish("/orders/1", "x", 1).await;
        raw.send(Packet::Publish(message("/other", "x", 1))).await;
        assert_eq!(raw.ack().await.reason, Reason::NOT_AUTHORIZED);
        assert_eq!(raw.subscribe("/as/mqtt/status/+/+", 1).await, Reason(1));
        assert_eq!(raw.subscribe("$SYS/#", 1).await, Reason::NOT_AUTHORIZED);
        let mut thief = hello("operator", "password");
        thief.client_id = site.session(0).into();
        let want = [Reason::SUCCESS, Reason::CLIENT_ID_NOT_VALID];
        let want = want[usize::from(proof == Proof::Required)];
        assert_eq!(site.try_connect(thief).await.1.reason, want);
        let device = site.hello(&site.devices[0], "", Version::V5);
        let want = [Reason::BAD_CREDENTIALS, Reason::SUCCESS];
        let want = want[usize::from(proof == Proof::Required)];
        assert_eq!(site.try_connect(device).await.1.reason, want);
    }
}
