//! R42: many gateways with many sub-devices each log in, post, are disabled, come back; every message and
//! every request stays with its own device.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate::registry::{Limits, NewProduct, Registry};
use tidegate::rule::store::Store;

use super::amounts::{amount, figure};
use crate::daemon::things::{self, Api};
use crate::daemon::{Daemon, PATIENCE};
use crate::gateway::{Peer, Registered};

/// Memory that a sub-device may take.
const KIB_EACH: u64 = 6;

/// How many devices are logged in.
const LOGGED_IN: &str = "tidegate_mqtt_sub_devices ";

/// Devices of one login.
const BATCH: usize = 50;

const CONFIG: &str = "auth: { devices: required }\nspool: { enabled: false }\n";

/// Which device has posted, by the topic and by the message, and which one it says that it is.
const RULES: (&str, &str) = (
    "rules/gateways.yaml",
    r#"
rules:
  - name: posts
    sql: SELECT deviceName() AS device, topic() AS topic, items.Who.value AS who FROM "/+/+/thing/event/property/post"
    actions: [{ file: { path: posts.jsonl } }]
"#,
);

/// A gateway and its sub-devices.
struct Group {
    gateway: Registered,
    devices: Vec<Registered>,
}

async fn product(registry: &Registry, name: &str, node_type: u8) -> String {
    let product = NewProduct { node_type, ..NewProduct::named(name) };
    registry.create_product(product, 1).await.unwrap().key.clone()
}

async fn devices(registry: &Registry, key: &str, count: usize) -> Vec<Registered> {
    let (_, made) = registry.register_many(key, count, 1).await.unwrap();
    let registered = |device: tidegate::registry::Device| Registered {
        key: device.product_key,
        name: device.device_name,
        secret: device.secret,
    };
    made.into_iter().map(registered).collect()
}

/// Fills the store of a daemon that does not run.
async fn fill(data: &std::path::Path, gateways: usize, each: usize) -> Vec<Group> {
    let store = Store::open(data).await.unwrap();
    let registry = Registry::open(store.clone(), Limits::default()).await.unwrap();
    let key = product(&registry, "Gateways", 1).await;
    let gateways = devices(&registry, &key, gateways).await;
    let key = product(&registry, "Meters", 0).await;
    let mut groups = Vec::new();
    for gateway in gateways {
        let devices = devices(&registry, &key, each).await;
        let names: Vec<_> = devices.iter().map(|d| (d.key.clone(), d.name.clone())).collect();
        registry.attach((&gateway.key, &gateway.name), &names).await.unwrap();
        groups.push(Group { gateway, devices });
    }
    store.close().await;
    groups
}

impl Group {
    /// Connects, logs all devices in but the first, if that is disabled, and listens to what is theirs.
    async fn come(&self, port: u16, from: usize) -> Peer {
        let mut peer = Peer::connect(port, &self.gateway).await;
        for some in self.devices[from..].chunks(BATCH) {
            loop {
                match peer.log_in_all(some).await {
                    code if code == 200 => break,
                    // Too many at once wait for the store.
                    code => assert_eq!(code, 429),
                }
            }
        }
        for device in &self.devices[from..] {
            peer.subscribe(&device.sys("#")).await.expect("its own topics");
        }
        peer
    }

    /// Every device from that one on says who it is, and is answered.
    async fn post(&self, peer: &mut Peer, from: usize) {
        for device in &self.devices[from..] {
            let post = json!({ "Who": device.name });
            let code = peer.code(&device.sys("thing/event/property/post"), &post).await;
            assert_eq!(code, 200, "{}", device.name);
        }
    }

    /// Nothing that the gateway was told is another's.
    fn check(&self, peer: &Peer) {
        let own: HashSet<&str> = self.devices.iter().map(|device| &*device.name).collect();
        for (topic, told) in peer.told() {
            let name = topic.split('/').find(|level| own.contains(level));
            assert!(name.is_some() || topic.contains(&self.gateway.name), "{topic}: {told}");
        }
    }
}

/// What each gateway does at the same time as all others.
async fn all<F>(
    groups: &[Arc<Group>],
    peers: Vec<Peer>,
    each: impl Fn(Arc<Group>, Peer) -> F,
) -> Vec<Peer>
where
    F: Future<Output = Peer> + Send + 'static,
{
    let pairs = groups.iter().cloned().zip(peers);
    let tasks: Vec<_> = pairs.map(|(group, peer)| tokio::spawn(each(group, peer))).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.expect("a gateway"));
    }
    done
}

async fn come(groups: &[Arc<Group>], port: u16, from: usize) -> Vec<Peer> {
    let tasks: Vec<_> = groups
        .iter()
        .cloned()
        .map(|group| tokio::spawn(async move { group.come(port, from).await }))
        .collect();
    let mut peers = Vec::new();
    for task in tasks {
        peers.push(task.await.expect("a gateway"));
    }
    peers
}

/// Gateways alone, then with their devices: what each device takes.
async fn measured(daemon: &Daemon, groups: &[Arc<Group>], count: u64) -> Vec<Peer> {
    let mut alone = Vec::new();
    for group in groups {
        alone.push(Peer::connect(daemon.mqtt, &group.gateway).await);
    }
    let before = daemon.memory_kib();
    drop(alone);
    let began = Instant::now();
    let peers = come(groups, daemon.mqtt, 0).await;
    figure(
        "R42",
        "logins and subscriptions a second",
        count * 1_000 / (began.elapsed().as_millis() as u64).max(1),
    );
    let more = daemon.memory_kib().saturating_sub(before);
    figure("R42", "KiB for each sub-device", format!("{:.2}", more as f64 / count as f64));
    assert_eq!(daemon.metric(LOGGED_IN), count);
    assert!(more <= count * KIB_EACH || count < 1_000, "{more} KiB for {count}");
    peers
}

/// The first device of each gateway is disabled, the last is asked for something.
async fn disable(api: &Api, groups: &[Arc<Group>]) {
    for group in groups {
        let (first, last) = (&group.devices[0], group.devices.last().unwrap());
        let of = [("ProductKey", &*first.key), ("DeviceName", &*first.name)];
        api.ok("DisableThing", &of).await;
        let items = json!({ "For": last.name }).to_string();
        let of = [("ProductKey", &*last.key), ("DeviceName", &*last.name), ("Items", &*items)];
        api.ok("SetDeviceProperty", &of).await;
    }
}

/// Each post is its device's, and none is missing.
fn posts_are_right(daemon: &Daemon, groups: &[Arc<Group>]) {
    let posted = groups.iter().map(|group| 3 * group.devices.len() - 2).sum();
    let mut posts: BTreeMap<String, usize> = BTreeMap::new();
    for line in daemon.lines("posts.jsonl", posted) {
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["device"], line["who"], "{line}");
        let who = line["who"].as_str().unwrap();
        let topic = line["topic"].as_str().unwrap();
        assert_eq!(topic.split('/').nth(2), Some(who), "{line}");
        *posts.entry(who.to_owned()).or_default() += 1;
    }
    for group in groups {
        for (at, device) in group.devices.iter().enumerate() {
            let count = posts.remove(&device.name);
            assert_eq!(count, Some(if at == 0 { 1 } else { 3 }), "{}", device.name);
        }
    }
    assert!(posts.is_empty(), "{posts:?}");
    figure("R42", "posts, each by its own device", posted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r42_sub_devices_stay_with_their_gateways() {
    let gateways = usize::try_from(amount("R42_GATEWAYS", [8, 100, 100])).unwrap();
    let each = usize::try_from(amount("R42_DEVICES", [25, 100, 100])).unwrap();
    let folder = Daemon::prepared(&format!("{}{CONFIG}", things::CONFIG), &[RULES]);
    let groups = fill(&folder.path().join("data"), gateways, each).await;
    let groups: Vec<_> = groups.into_iter().map(Arc::new).collect();
    let daemon = Daemon::in_folder(folder);
    let api = Api::of(&daemon);
    let peers = measured(&daemon, &groups, (gateways * each) as u64).await;
    let peers = all(&groups, peers, |group, mut peer| async move {
        group.post(&mut peer, 0).await;
        group.check(&peer);
        peer
    });
    let peers = peers.await;

    disable(&api, &groups).await;
    let peers = all(&groups, peers, |group, mut peer| async move {
        let told = peer.hears(&group.gateway.errors()).await;
        assert_eq!((&told["code"], &told["data"]), (&json!(522), &group.devices[0].named()));
        let last = group.devices.last().unwrap();
        let told = peer.hears(&last.sys("thing/service/property/set")).await;
        assert_eq!(told["params"], json!({ "For": last.name }));
        group.post(&mut peer, 1).await;
        group.check(&peer);
        peer
    });
    let mut peers = peers.await;

    // Half of the gateways go; the others are taken over by a connection of their own.
    let still_there = peers.split_off(gateways / 2);
    drop(peers);
    let peers = come(&groups, daemon.mqtt, 1).await;
    drop(still_there);
    let peers = all(&groups, peers, |group, mut peer| async move {
        group.post(&mut peer, 1).await;
        group.check(&peer);
        peer
    });
    let peers = peers.await;
    let left = gateways * (each - 1);
    let statistics = api.ok("QueryDeviceStatistics", &[]).await;
    assert_eq!(statistics["Data"]["onlineCount"], left + gateways, "{statistics}");
    assert_eq!(daemon.metric(LOGGED_IN), left as u64);
    posts_are_right(&daemon, &groups);

    // All go with their gateways.
    drop(peers);
    let online = async || api.ok("QueryDeviceStatistics", &[]).await["Data"]["onlineCount"].clone();
    let began = Instant::now();
    while online().await != 0 {
        assert!(began.elapsed() < PATIENCE, "{} devices stay online", online().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(daemon.metric(LOGGED_IN), 0);
}
