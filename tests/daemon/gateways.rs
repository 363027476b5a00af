//! Gateways and their sub-devices through the whole program: topology, logins, messages both ways, being
//! cut off, taken over, and coming back.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use serde_json::{Value, json};

use super::things::{Api, CONFIG};
use super::{Daemon, eventually};
use crate::gateway::{Peer, Registered};

const RULES: (&str, &str) = (
    "rules/gateways.yaml",
    r#"
rules:
  - name: posts
    sql: SELECT deviceName() AS device, topic() AS topic, items.T.value AS t FROM "/+/+/thing/event/property/post"
    actions: [{ file: { path: posts.jsonl } }]
  - name: custom
    sql: SELECT deviceName() AS device, t FROM "/+/+/user/update"
    actions: [{ file: { path: custom.jsonl } }]
  - name: status
    sql: SELECT deviceName AS device, status, clientIp FROM "/as/mqtt/status/+/+"
    actions: [{ file: { path: status.jsonl } }]
  - name: topology
    sql: SELECT gwDeviceName AS gateway, action, devices[0].deviceName AS device FROM "/+/+/thing/topo/lifecycle"
    actions: [{ file: { path: topology.jsonl } }]
  - name: replies
    sql: SELECT deviceName AS device, requestId, code FROM "/+/+/thing/downlink/reply/message"
    actions: [{ file: { path: replies.jsonl } }]
"#,
);

/// A daemon whose devices must sign, with the gateways `gateway1` and `gateway2` and the devices `meter1`
/// to `meter3`.
struct Site {
    daemon: Daemon,
    api: Api,
    gateways: Vec<Registered>,
    meters: Vec<Registered>,
}

async fn register(api: &Api, kind: (&str, &str), names: &[&str]) -> Vec<Registered> {
    let product = [("ProductName", kind.0), ("NodeType", kind.1)];
    let product = api.ok("CreateProduct", &product).await;
    let key = product["ProductKey"].as_str().unwrap().to_owned();
    let mut registered = Vec::new();
    for name in names {
        let device = [("ProductKey", &*key), ("DeviceName", *name)];
        let device = api.ok("RegisterDevice", &device).await;
        let secret = device["Data"]["DeviceSecret"].as_str().unwrap().to_owned();
        registered.push(Registered { key: key.clone(), name: (*name).to_owned(), secret });
    }
    registered
}

impl Site {
    async fn new() -> Self {
        let daemon = Daemon::start(&format!("{CONFIG}auth: {{ devices: required }}\n"), &[RULES]);
        let api = Api::of(&daemon);
        let gateways = register(&api, ("gateways", "1"), &["gateway1", "gateway2"]).await;
        let meters = register(&api, ("meters", "0"), &["meter1", "meter2", "meter3"]).await;
        Self { daemon, api, gateways, meters }
    }

    /// The first gateway, with all devices attached and logged in.
    async fn ready(&self) -> Peer {
        let mut gateway = Peer::connect(self.daemon.mqtt, &self.gateways[0]).await;
        assert_eq!(gateway.attach(&self.meters).await, 200);
        assert_eq!(gateway.log_in_all(&self.meters).await, 200);
        gateway
    }

    async fn call(&self, device: &Registered, action: &str, own: &[(&str, &str)]) -> Value {
        let mut all = vec![("ProductKey", &*device.key), ("DeviceName", &*device.name)];
        all.extend(own);
        self.api.ok(action, &all).await
    }

    async fn status(&self, device: &Registered) -> String {
        let answer = self.call(device, "GetDeviceStatus", &[]).await;
        answer["Data"]["Status"].as_str().unwrap().to_owned()
    }

    async fn statuses(&self) -> Vec<String> {
        let mut statuses = Vec::new();
        for meter in &self.meters {
            statuses.push(self.status(meter).await);
        }
        statuses
    }

    /// Waits until a device has that status.
    async fn becomes(&self, device: &Registered, status: &str) {
        let wait = async {
            while self.status(device).await != status {
                tokio::task::yield_now().await;
            }
        };
        let patience = super::PATIENCE;
        let came = tokio::time::timeout(patience, wait).await;
        assert!(came.is_ok(), "{} does not become {status}", device.name);
    }

    /// Lines that a rule has written, as soon as there are so many.
    fn lines(&self, file: &str, count: usize) -> Vec<Value> {
        let lines = self.daemon.lines(file, count);
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// What a device is asked comes over its gateway's connection, whether or not that has subscribed.
async fn is_asked(site: &Site, gateway: &mut Peer, meter: &Registered) {
    let set = meter.sys("thing/service/property/set");
    let done = site.call(meter, "SetDeviceProperty", &[("Items", r#"{"Level":3}"#)]).await;
    let asked = gateway.hears(&set).await;
    assert_eq!(
        (&asked["id"], &asked["params"]),
        (&done["Data"]["MessageId"], &json!({ "Level": 3 }))
    );
    let reply = json!({ "id": asked["id"], "code": 200, "data": {} });
    gateway.say(&format!("{set}_reply"), &reply).await;
    let told = site.lines("replies.jsonl", 1);
    assert_eq!((&told[0]["device"], &told[0]["code"]), (&json!("meter1"), &json!(200)));
    let asking =
        site.call(meter, "RRpc", &[("RequestBase64Byte", "aGVsbG8="), ("Timeout", "5000")]);
    let answering = async {
        let request = meter.sys("rrpc/request/");
        let (topic, _) =
            gateway.hears_where("a call", |topic, _| topic.starts_with(&request)).await;
        gateway.say(&topic.replace("/request/", "/response/"), &json!("done")).await;
    };
    let (done, ()) = tokio::join!(asking, answering);
    assert_eq!(done["RrpcCode"], "SUCCESS", "{done}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sub_device_is_itself_over_its_gateways_connection() {
    let site = Site::new().await;
    let (meter, other) = (&site.meters[0], &site.meters[1]);
    let mut gateway = Peer::connect(site.daemon.mqtt, &site.gateways[0]).await;
    // Not before it is the gateway's, has signed and has logged in.
    assert_eq!(gateway.log_in(meter).await, 6401);
    assert_eq!(gateway.attach(&site.meters).await, 200);
    let forged = Registered { secret: "forged".to_owned(), ..meter.clone() };
    assert_eq!(gateway.log_in(&forged).await, 6287);
    assert_eq!(gateway.log_in_all(&[other.clone(), forged]).await, 6287);
    let nobody = Registered { name: "nobody".to_owned(), ..meter.clone() };
    assert_eq!(gateway.log_in(&nobody).await, 6100);
    assert_eq!(gateway.log_out(meter).await, 520);
    assert_eq!(site.status(meter).await, "UNACTIVE");
    let post = meter.sys("thing/event/property/post");
    gateway.say(&post, &json!({ "id": "77", "params": { "T": 0 } })).await;
    let told = gateway.hears(&site.gateways[0].errors()).await;
    assert_eq!((&told["id"], &told["code"]), (&json!("77"), &json!(520)), "{told}");
    assert_eq!(told["data"], meter.named());
    gateway.subscribe(&meter.sys("#")).await.unwrap_err();

    let answer = gateway.ask(&site.gateways[0].session("login"), &meter.signed()).await;
    assert_eq!((&answer["code"], &answer["data"]), (&json!(200), &meter.named()));
    assert_eq!(site.statuses().await, ["ONLINE", "UNACTIVE", "UNACTIVE"]);
    assert_eq!(gateway.post(meter, 7).await, 200);
    gateway.say(&format!("/{}/meter1/user/update", meter.key), &json!({ "t": 8 })).await;
    // Those that have not logged in are still not the gateway's to speak for.
    gateway.say(&other.sys("thing/event/property/post"), &json!({ "params": { "T": 9 } })).await;
    assert_eq!(gateway.hears(&site.gateways[0].errors()).await["data"], other.named());
    assert_eq!(gateway.post(&site.gateways[0], 1).await, 200);
    let topic = format!("/{}/meter1/thing/event/property/post", meter.key);
    // Only what is of one device is in order.
    let posts = site.lines("posts.jsonl", 2);
    assert!(posts.contains(&json!({ "device": "meter1", "topic": topic, "t": 7 })), "{posts:?}");
    assert!(posts.iter().any(|post| post["device"] == "gateway1"), "{posts:?}");
    assert_eq!(site.lines("custom.jsonl", 1)[0], json!({ "device": "meter1", "t": 8 }));

    is_asked(&site, &mut gateway, meter).await;
    let get = format!("/{}/meter1/user/get", meter.key);
    gateway.subscribe(&get).await.unwrap();
    let content = [("TopicFullName", &*get), ("MessageContent", "eyJhIjoxfQ==")];
    site.api.ok("Pub", &[("ProductKey", &*meter.key), content[0], content[1]]).await;
    assert_eq!(gateway.hears(&get).await, json!({ "a": 1 }));

    assert_eq!(gateway.log_out(meter).await, 200);
    assert_eq!(site.status(meter).await, "OFFLINE");
    site.api.ok("Pub", &[("ProductKey", &*meter.key), content[0], content[1]]).await;
    assert_eq!(gateway.post(&site.gateways[0], 2).await, 200);
    assert!(gateway.told().all(|(topic, _)| *topic != get), "the subscription has ended, too");
    gateway.subscribe(&get).await.unwrap_err();
    let status = site.lines("status.jsonl", 3);
    let of = |name: &str| -> Vec<&Value> {
        let own = status.iter().filter(|line| line["device"] == name);
        own.map(|line| &line["status"]).collect()
    };
    assert_eq!(of("gateway1"), ["online"]);
    assert_eq!(of("meter1"), ["online", "offline"]);
    assert!(status.iter().all(|line| line["clientIp"] == "127.0.0.1"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sub_device_is_cut_off_when_it_is_disabled_deleted_or_removed() {
    let site = Site::new().await;
    let mut gateway = site.ready().await;
    let me = site.gateways[0].clone();
    let [first, second, third] = &site.meters[..] else { unreachable!() };
    assert_eq!(site.statuses().await, ["ONLINE", "ONLINE", "ONLINE"]);
    for (device, action, code, status, after) in [
        (first, "DisableThing", 522, 8, 522),
        (second, "DeleteDevice", 521, 1, 6100),
        (third, "RemoveThingTopo", 6401, 1, 6401),
    ] {
        site.call(device, action, &[]).await;
        let told = gateway.hears(&me.errors()).await;
        assert_eq!((&told["code"], &told["data"]), (&json!(code), &device.named()), "{action}");
        let told = gateway.hears(&me.sys("thing/topo/change")).await;
        assert_eq!(told["params"], json!({ "status": status, "subList": [device.named()] }));
        let post = device.sys("thing/event/property/post");
        gateway.say(&post, &json!({ "id": "1", "params": { "T": 1 } })).await;
        assert_eq!(gateway.hears(&me.errors()).await["code"], 520, "{action}");
        assert_eq!(gateway.log_in(device).await, after, "{action}");
    }
    assert_eq!(site.status(first).await, "DISABLE");
    assert_eq!(site.status(third).await, "OFFLINE");
    site.call(first, "EnableThing", &[]).await;
    let told = gateway.hears(&me.sys("thing/topo/change")).await;
    assert_eq!(told["params"]["status"], 2);
    assert_eq!(gateway.log_in(first).await, 200);
    assert_eq!(gateway.post(first, 5).await, 200);
    assert_eq!(site.lines("posts.jsonl", 1)[0]["t"], 5);
    // Its gateway takes it with it.
    site.call(&me, "DisableThing", &[]).await;
    site.becomes(first, "OFFLINE").await;
    let topology = site.lines("topology.jsonl", 5);
    let told: Vec<_> = topology
        .iter()
        .map(|line| format!("{} {} {}", line["gateway"], line["action"], line["device"]))
        .map(|line| line.replace('"', ""))
        .collect();
    let want = [
        "gateway1 create meter1",
        "gateway1 disable meter1",
        "gateway1 delete meter2",
        "gateway1 delete meter3",
        "gateway1 enable meter1",
    ];
    assert_eq!(told, want);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sub_device_is_where_it_came_last() {
    let site = Site::new().await;
    let mut first = site.ready().await;
    let mut second = Peer::connect(site.daemon.mqtt, &site.gateways[1]).await;
    let meter = &site.meters[0];
    let set = meter.sys("thing/service/property/set");
    first.subscribe(&meter.sys("#")).await.unwrap();
    // With a connection of its own.
    let mut own = Peer::connect(site.daemon.mqtt, meter).await;
    let told = first.hears(&site.gateways[0].errors()).await;
    assert_eq!((&told["code"], &told["data"]), (&json!(427), &meter.named()));
    site.call(meter, "SetDeviceProperty", &[("Items", r#"{"L":1}"#)]).await;
    assert_eq!(own.hears(&set).await["params"], json!({ "L": 1 }));
    assert_eq!(own.post(meter, 1).await, 200);
    assert_eq!(site.status(meter).await, "ONLINE");
    // Back at its gateway, which ends that.
    assert_eq!(first.log_in(meter).await, 200);
    assert_eq!(site.status(meter).await, "ONLINE");
    site.call(meter, "SetDeviceProperty", &[("Items", r#"{"L":2}"#)]).await;
    assert_eq!(first.hears(&set).await["params"], json!({ "L": 2 }), "and not the one before");
    drop(own);
    // Another gateway, once it is that one's.
    assert_eq!(second.log_in(meter).await, 6401);
    assert_eq!(second.attach(std::slice::from_ref(meter)).await, 200);
    let told = first.hears(&site.gateways[0].errors()).await;
    assert_eq!((&told["code"], &told["data"]), (&json!(6401), &meter.named()));
    let told = first.hears(&site.gateways[0].sys("thing/topo/change")).await;
    assert_eq!(told["params"], json!({ "status": 1, "subList": [meter.named()] }));
    assert_eq!(site.status(meter).await, "OFFLINE");
    assert_eq!(second.log_in(meter).await, 200);
    site.call(meter, "SetDeviceProperty", &[("Items", r#"{"L":3}"#)]).await;
    assert_eq!(second.hears(&set).await["params"], json!({ "L": 3 }));
    assert_eq!(first.post(&site.meters[1], 4).await, 200, "the others stay where they are");
    assert!(first.told().all(|(topic, _)| *topic != set), "{:?}", first.told().collect::<Vec<_>>());
    assert_eq!(site.statuses().await, ["ONLINE", "ONLINE", "ONLINE"]);

    // A gateway that comes anew has nobody until it logs them in again; the other's stay.
    let mut again = Peer::connect(site.daemon.mqtt, &site.gateways[0]).await;
    drop(first);
    site.becomes(&site.meters[1], "OFFLINE").await;
    site.becomes(&site.meters[2], "OFFLINE").await;
    assert_eq!(site.status(meter).await, "ONLINE");
    again.say(&site.meters[1].sys("thing/event/property/post"), &json!({ "params": {} })).await;
    assert_eq!(again.hears(&site.gateways[0].errors()).await["code"], 520);
    assert_eq!(again.log_in_all(&site.meters[1..]).await, 200);
    assert_eq!(site.statuses().await, ["ONLINE", "ONLINE", "ONLINE"]);
    assert_eq!(again.post(&site.meters[1], 5).await, 200);
    again.leave().await;
    site.becomes(&site.meters[1], "OFFLINE").await;
    assert_eq!(site.daemon.metric("tidegate_mqtt_sub_devices "), 1);
    second.leave().await;
    site.becomes(meter, "OFFLINE").await;

    starts_again(site).await;
}

/// Another start knows whose devices are, and that none is there.
async fn starts_again(site: Site) {
    let Site { daemon, gateways, meters, .. } = site;
    let daemon = Daemon::in_folder(daemon.stop());
    let api = Api::of(&daemon);
    let of = [("ProductKey", &*meters[1].key), ("DeviceName", &*meters[1].name)];
    let answer = api.ok("GetGatewayBySubDevice", &of).await;
    assert_eq!(answer["Data"]["DeviceName"], "gateway1");
    assert_eq!(api.ok("GetDeviceStatus", &of).await["Data"]["Status"], "OFFLINE");
    let mut gateway = Peer::connect(daemon.mqtt, &gateways[0]).await;
    assert_eq!(gateway.log_in_all(&meters[1..]).await, 200);
    assert_eq!(api.ok("GetDeviceStatus", &of).await["Data"]["Status"], "ONLINE");
    // Killed, it knows no more than that.
    let folder = daemon.stop();
    let daemon = Daemon::in_folder(folder);
    eventually("the daemon is ready", || (daemon.get("/readyz").0 == 200).then_some(()));
    let answer = Api::of(&daemon).ok("GetDeviceStatus", &of).await;
    assert_eq!(answer["Data"]["Status"], "OFFLINE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_speaks_for_a_gateway_or_its_devices() {
    let site = Site::new().await;
    let mut gateway = site.ready().await;
    let me = &site.gateways[0];
    // A device that is no gateway, another gateway, and a sub-device over its gateway's connection.
    let mut own = Peer::connect(site.daemon.mqtt, &site.meters[0]).await;
    assert_eq!(gateway.hears(&me.errors()).await["code"], 427);
    assert_eq!(own.attach(&site.meters[1..2]).await, 460);
    assert_eq!(own.log_in(&site.meters[1]).await, 6401);
    let mut other = Peer::connect(site.daemon.mqtt, &site.gateways[1]).await;
    assert_eq!(other.log_in(&site.meters[1]).await, 6401);
    assert_eq!(
        other.code(&other.me.sys("thing/topo/delete"), &json!([site.meters[1].named()])).await,
        6401
    );
    assert_eq!(other.log_out(&site.meters[1]).await, 520);
    let meter = &site.meters[1];
    assert_eq!(gateway.code(&meter.session("login"), &site.meters[2].signed()).await, 6401);
    assert_eq!(
        gateway.code(&meter.sys("thing/topo/add"), &json!([site.meters[2].signed()])).await,
        460
    );
    // What is no request is answered as such, and changes nothing.
    for (what, params) in [
        ("login", json!([meter.signed()])),
        ("login", json!({})),
        ("login", json!(1)),
        ("batch_login", json!({ "deviceList": [] })),
        ("batch_login", json!({ "deviceList": vec![meter.signed(); 51] })),
        ("batch_login", json!({ "deviceList": 7 })),
        ("batch_logout", json!([])),
        ("batch_logout", json!({})),
        ("logout", json!({ "productKey": meter.key })),
    ] {
        assert_eq!(gateway.code(&me.session(what), &params).await, 460, "{what} {params}");
    }
    let both = json!([meter.named(), site.meters[0].named()]);
    assert_eq!(gateway.code(&me.session("batch_logout"), &both).await, 520, "all or none");
    assert_eq!(site.statuses().await, ["ONLINE", "ONLINE", "ONLINE"]);
    let both = json!([meter.named(), site.meters[2].named()]);
    let answer = gateway.ask(&me.session("batch_logout"), &both).await;
    assert_eq!((&answer["code"], answer["data"].as_array().map(Vec::len)), (&json!(200), Some(2)));
    assert_eq!(site.statuses().await, ["ONLINE", "OFFLINE", "OFFLINE"]);
    let listed = gateway.ask(&me.sys("thing/topo/get"), &json!({})).await;
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(3));
}
