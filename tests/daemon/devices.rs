//! Devices of the registry and the whole daemon: signed connections, tags in rules, cutting off, and
//! what a fleet of them costs.

use connectors::contract::{QoS, Topic, TopicFilter, TopicLimits};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tidegate::broker::client::{Client, ClientError, Options};
use tidegate::broker::codec::{Reason, Version};
use tidegate::registry::{self, Registry};
use tidegate::rule::store::Store;

use super::systems::call;
use super::{Daemon, eventually};

const RULES: &str = r#"
rules:
  - name: readings
    sql: |
      SELECT deviceName() AS device, attribute('room') AS room, t
      FROM "/PK/+/user/update" WHERE attribute('room') IS NOT NULL
    actions: [{ file: { path: readings.jsonl } }]
  - name: lifecycle
    sql: SELECT action, deviceName() AS device FROM "/PK/+/thing/lifecycle"
    actions: [{ file: { path: lifecycle.jsonl } }]
  - name: routed
    sql: SELECT deviceName() AS device, t FROM "/PK/+/get"
    actions: [{ file: { path: routed.jsonl } }]
"#;

/// A device that the API has registered.
struct Registered {
    key: String,
    name: String,
    secret: String,
}

async fn register(daemon: &Daemon, key: &str, name: &str) -> Registered {
    let parameters = [("ProductKey", key), ("DeviceName", name)];
    let answer = call(daemon, "RegisterDevice", &parameters).await.json();
    let secret = answer["Data"]["DeviceSecret"].as_str().expect("a secret").to_owned();
    Registered { key: key.to_owned(), name: name.to_owned(), secret }
}

async fn connect(daemon: &Daemon, device: &Registered) -> Result<Client, ClientError> {
    let Registered { key, name, secret } = device;
    let content = format!("clientIdidentitydeviceName{name}productKey{key}");
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(content.as_bytes());
    let mut options = Options::new("identity|securemode=3,signmethod=hmacsha256|");
    options.username = Some(format!("{name}&{key}").into());
    options.password = Some(hex::encode(mac.finalize().into_bytes()).into());
    options.version = Version::V311;
    Client::connect(("127.0.0.1", daemon.mqtt), options).await
}

fn topic(text: &str) -> Topic {
    Topic::parse(text, TopicLimits::default()).expect("a topic")
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_must_sign_feed_rules_with_their_tags() {
    let daemon = Daemon::start("auth: { devices: required }\n", &[]);
    let product = [("ProductName", "Meters"), ("NodeType", "0")];
    let created = call(&daemon, "CreateProduct", &product).await.json();
    let key = created["ProductKey"].as_str().expect("a key").to_owned();
    daemon.write("rules/test.yaml", &RULES.replace("PK", &key));
    eventually("the rules run", || {
        daemon.get("/metrics").1.contains("rule=\"routed\"").then_some(())
    });
    let meter = register(&daemon, &key, "meter1").await;
    let other = register(&daemon, &key, "meter2").await;
    let of = [("ProductKey", key.as_str()), ("DeviceName", "meter1")];
    let tags = [of[0], of[1], ("Props", r#"{"room":"hall"}"#)];
    assert_eq!(call(&daemon, "SaveDeviceProp", &tags).await.outcome(), "200 OK");

    let wrong =
        Registered { secret: "wrong".to_owned(), ..register(&daemon, &key, "meter3").await };
    match connect(&daemon, &wrong).await {
        Err(ClientError::Refused { reason: Reason(4), .. }) => {}
        outcome => panic!("not refused: {outcome:?}"),
    }
    let mut device = connect(&daemon, &meter).await.expect("it signs");
    let (from, to) = (format!("/{key}/meter1/user/update"), format!("/{key}/meter2/get"));
    let route = [("SrcTopic", from.as_str()), ("DstTopic.1", to.as_str())];
    assert_eq!(call(&daemon, "CreateTopicRouteTable", &route).await.outcome(), "200 OK");
    let mut target = connect(&daemon, &other).await.expect("it signs");
    let filter = TopicFilter::parse(to.as_str(), TopicLimits::default()).expect("a filter");
    target.subscribe(&filter, QoS::AtLeastOnce).await.expect("its own topic");
    device.publish(&topic(&from), br#"{"t":21}"#, QoS::AtLeastOnce, false).await.expect("sent");
    device.flush().await.expect("acknowledged");
    assert_eq!(target.next().await.expect("a routed message").topic, *to);
    let status = call(&daemon, "GetDeviceStatus", &of).await.json();
    assert_eq!(status["Data"]["Status"], "ONLINE");

    assert_eq!(call(&daemon, "DisableThing", &of).await.outcome(), "200 OK");
    assert!(device.next().await.is_err(), "the device is cut off");
    assert!(connect(&daemon, &meter).await.is_err(), "and stays out");
    let last = std::thread::spawn(move || {
        assert_eq!(
            daemon.lines("readings.jsonl", 1),
            [r#"{"device":"meter1","room":"hall","t":21}"#]
        );
        assert_eq!(daemon.lines("routed.jsonl", 1), [r#"{"device":"meter2","t":21}"#]);
        let lifecycle = daemon.lines("lifecycle.jsonl", 4);
        assert_eq!(lifecycle[0], r#"{"action":"create","device":"meter1"}"#);
        assert_eq!(lifecycle[3], r#"{"action":"disable","device":"meter1"}"#);
    });
    last.join().expect("the files");
}

/// A hundred thousand devices cost little memory and little time at the start.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_cheap() {
    const DEVICES: u32 = 100_000;
    let idle = Daemon::start("", &[]);
    assert_eq!(idle.get("/readyz").0, 200);
    let idle_kib = idle.memory_kib();
    let folder = idle.stop();
    let data = folder.path().join("data");
    fill(&data, DEVICES).await;
    let daemon = Daemon::in_folder(folder);
    let took = daemon.processor_ticks();
    assert_eq!(daemon.get("/readyz").0, 200);
    let more_kib = daemon.memory_kib().saturating_sub(idle_kib);
    let counted = call(&daemon, "QueryDeviceStatistics", &[]).await.json();
    assert_eq!(counted["Data"]["deviceCount"], DEVICES);
    println!("fleet: {DEVICES} devices take {more_kib} KiB more, and {took} ticks at the start");
    assert!(more_kib <= 100 * 1024, "{more_kib} KiB");
    // The program under test is not optimized; optimized it takes a third of it.
    assert!(took < 600, "{took} ticks");
}

async fn fill(data: &std::path::Path, devices: u32) {
    let store = Store::open(data).await.expect("the store");
    let registry = Registry::open(store.clone(), registry::Limits::default()).await;
    let product = registry::NewProduct::named("Fleet");
    let key = registry.expect("it").create_product(product, 1).await.expect("made").key.clone();
    store.close().await;
    let options = SqliteConnectOptions::new().filename(data.join("tidegate.db"));
    let pool = SqlitePool::connect_with(options).await.expect("the file");
    sqlx::query(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
         INSERT INTO devices (product_key, name, iot_id, secret, disabled, created_ms, modified_ms)
         SELECT $2, 'device-number-' || i, hex(randomblob(15)), hex(randomblob(16)), 0, 1, 1 FROM n",
    )
    .bind(devices)
    .bind(key)
    .execute(&pool)
    .await
    .expect("devices");
    pool.close().await;
}

#[test]
fn a_password_is_hashed_and_checked() {
    let folder = tempfile::tempdir().expect("folder");
    let (code, _, error) = super::run(folder.path(), &["hash-password"], "");
    assert_eq!(code, 2, "{error}");
    let (code, made, error) = super::run(folder.path(), &["hash-password"], "password\n");
    assert_eq!(code, 0, "{error}");
    assert!(made.starts_with("$pbkdf2-sha256$i=600000$") && !made.contains("password"), "{made}");
    // Fewer rounds: the program under test is not optimized.
    let hash = "$pbkdf2-sha256$i=4096$c2FsdA$xeR41ZKIyEGqUw22hFxMjZYok6ABzk4RpJY4c6qYE0o";
    for (user, said) in [
        (format!("{{ name: a, password_hash: \"{hash}\", subscribe: [\"a/#/b\"] }}"), "`a/#/b`"),
        ("{ name: a, password_hash: secret }".to_owned(), "tidegate hash-password"),
        (format!("{{ name: \"\", password_hash: \"{hash}\" }}"), "no other user has"),
    ] {
        std::fs::write(folder.path().join("tidegate.yaml"), format!("users:\n  - {user}\n"))
            .expect("written");
        let (code, text, error) = super::run(folder.path(), &["check"], "");
        assert!(code != 0 && format!("{text}{error}").contains(said), "{user}: {text}{error}");
        assert!(format!("{text}{error}").contains("tidegate.yaml:2:"), "{user}: {text}{error}");
    }
    let daemon = Daemon::start(
        &format!(
            "auth: {{ devices: password }}\nusers: [{{ name: desk, password_hash: \"{hash}\", publish: [\"/a/#\"] }}]\n"
        ),
        &[],
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut options = Options::new("desk");
        options.username = Some("desk".into());
        assert!(Client::connect(("127.0.0.1", daemon.mqtt), options.clone()).await.is_err());
        options.password = Some("password".into());
        let client = Client::connect(("127.0.0.1", daemon.mqtt), options).await.expect("let in");
        client.disconnect().await.expect("goodbye");
    });
}
