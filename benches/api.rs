//! The API of a daemon over loopback, with clients on the same machine.
//!
//! Promises: 5 000 signed GetRule per second on 2 cores, beside `/healthz` over the same connections; a
//! page of ListRule at 100 000 rules within 20 ms, and so a page of 200 devices of a group of 100 000,
//! beside one of a group of 200; from CreateRule to the first match within 50 ms while
//! 10 000 rules run.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use connectors::contract::{QoS, Topic, TopicFilter, TopicLimits};
use serde_json::{Value, json};
use tidegate::api::form::{Parameters, encode};
use tidegate::api::signature::{sign, string_to_sign};
use tidegate::broker::client::{Client, Options};
use tidegate::rule::store::{AccessKey, FILE, Role, Store};

/// Connections that send requests at the same time.
const CONNECTIONS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(30);

/// Devices of a small group, and of a page.
const MEMBERS: usize = 200;

/// A daemon that ends with the bench.
struct Daemon {
    child: Child,
    mqtt: SocketAddr,
    http: SocketAddr,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn start(folder: &Path) -> Daemon {
    let config = "listen: { mqtt: \"127.0.0.1:0\", http: \"127.0.0.1:0\" }\n\
                  limits: { api: { requests_per_second: 0, rules: 1000000 } }\n";
    std::fs::write(folder.join("tidegate.yaml"), config).expect("configuration");
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(folder)
        .env_remove("TIDEGATE_MASTER_KEY")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let mut ports = Vec::new();
    for line in lines.map_while(Result::ok) {
        let mut words = line.split_whitespace();
        if matches!(words.next(), Some("MQTT" | "HTTP")) {
            let address = words.next().expect("an address").trim_start_matches("http://");
            ports.push(address.parse().expect("an address"));
        }
        if ports.len() == 2 {
            break;
        }
    }
    Daemon { child, mqtt: ports[0], http: ports[1] }
}

/// Puts rules into a new store: some that run, and as many in all as asked for.
async fn fill(folder: &Path, running: usize, all: usize) -> AccessKey {
    let store = Store::open(&folder.join("data")).await.expect("a store");
    let key = store.create_key(Role::Admin, 0).await.expect("a key");
    store.close().await;
    let file = format!("sqlite://{}", folder.join("data").join(FILE).display());
    let pool = sqlx::sqlite::SqlitePool::connect(&file).await.expect("opened");
    let mut change = pool.begin().await.expect("a transaction");
    for n in 0..all {
        let done = sqlx::query(
            "INSERT INTO rules (name, description, data_type, product_key, short_topic, topic_type,
             select_list, filter, running, created_ms, modified_ms)
             VALUES ($1, '', 'JSON', 'a1Pk', $2, 1, '*', NULL, $3, 0, 0)",
        )
        .bind(format!("rule_{n}"))
        .bind(format!("dev{n}/user/data"))
        .bind(n < running)
        .execute(&mut *change)
        .await
        .expect("a rule");
        let action = "INSERT INTO actions (rule_id, kind, configuration, error_action)
                      VALUES ($1, 'REPUBLISH', $2, 0)";
        let topic = json!({ "topic": format!("/a1Pk/dev{n}/user/out"), "topicType": 1 });
        let action = sqlx::query(action).bind(done.last_insert_rowid()).bind(topic.to_string());
        action.execute(&mut *change).await.expect("an action");
    }
    fill_groups(&mut change, all).await;
    change.commit().await.expect("written");
    pool.close().await;
    key
}

/// Puts devices into a product, all of them into one group and the first of them into another.
async fn fill_groups(change: &mut sqlx::SqliteConnection, devices: usize) {
    let rows = format!(
        "INSERT INTO products (product_key, name, description, node_type, data_format, senior,
         auth_type, validate_type, secret, created_ms)
         VALUES ('a1Bench', 'bench', '', 0, 1, 1, 'secret', 1, 'x', 0);
         INSERT INTO devices (product_key, name, iot_id, secret, disabled, created_ms, modified_ms)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {devices})
         SELECT 'a1Bench', 'device' || i, 'id' || i, 'x', 0, 0, 0 FROM n;
         INSERT INTO device_groups (group_id, name, description, created_ms)
         VALUES ('large', 'large', '', 0), ('small', 'small', '', 0);
         INSERT INTO device_group_members (group_id, device_id) SELECT 1, id FROM devices;
         INSERT INTO device_group_members (group_id, device_id)
         SELECT 2, id FROM devices ORDER BY id LIMIT {MEMBERS}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(change).await.expect("groups");
}

/// How long a page of the devices of a group takes, in milliseconds: of pages that lie far apart.
fn member_page(wire: &mut Wire, times: usize, group: &str, pages: usize) -> f64 {
    let size = MEMBERS.to_string();
    median_ms(times, |n| {
        let page = (1 + n * 40).min(pages).to_string();
        let of = [("GroupId", group), ("PageSize", &size), ("CurrentPage", &page)];
        let answer = wire.done("QueryDeviceListByDeviceGroup", &of);
        let listed = answer["Data"]["SimpleDeviceInfo"].as_array().map_or(0, Vec::len);
        assert!(listed == MEMBERS || pages == 1, "{answer}");
    })
}

/// A connection, and the key that its requests are signed with.
struct Wire {
    stream: TcpStream,
    key: AccessKey,
    number: u64,
    name: usize,
    read: Vec<u8>,
}

impl Wire {
    fn connect(address: SocketAddr, key: &AccessKey, name: usize) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_nodelay(true).expect("an option");
        Self { stream, key: key.clone(), number: 0, name, read: vec![0; 1 << 16] }
    }

    /// Sends a request and reads the body of its answer.
    fn get(&mut self, target: &str) -> Vec<u8> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        self.stream.write_all(request.as_bytes()).expect("sent");
        let mut have = 0;
        loop {
            let count = self.stream.read(&mut self.read[have..]).expect("an answer");
            assert!(count > 0, "the daemon ended the connection");
            have += count;
            let head = memchr::memmem::find(&self.read[..have], b"\r\n\r\n").map(|at| at + 4);
            let Some(head) = head else { continue };
            let text = String::from_utf8_lossy(&self.read[..head]).to_ascii_lowercase();
            let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.and_then(|text| text.parse().ok()).expect("a length");
            if have >= head + length {
                assert!(
                    text.starts_with("http/1.1 200"),
                    "{}",
                    String::from_utf8_lossy(&self.read)
                );
                return self.read[head..head + length].to_vec();
            }
            if self.read.len() < head + length {
                self.read.resize(head + length, 0);
            }
        }
    }

    /// Signs and sends an operation.
    fn call(&mut self, action: &str, own: &[(&str, &str)]) -> Vec<u8> {
        self.number += 1;
        let nonce = format!("{}-{}", self.name, self.number);
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let common = [
            ("Action", action),
            ("Format", "JSON"),
            ("Version", "2018-01-20"),
            ("AccessKeyId", &self.key.id),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("SignatureNonce", &nonce),
            ("Timestamp", &now),
        ];
        let pairs = common.iter().chain(own).map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let mut parameters: Parameters = pairs.collect();
        let signature = sign(&string_to_sign("GET", &parameters), &self.key.secret);
        parameters.insert("Signature".to_owned(), signature);
        let pairs: Vec<_> =
            parameters.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
        self.get(&format!("/?{}", pairs.join("&")))
    }

    /// The same, with the answer as JSON; it must be a success.
    fn done(&mut self, action: &str, own: &[(&str, &str)]) -> Value {
        let answer: Value = serde_json::from_slice(&self.call(action, own)).expect("JSON");
        assert_eq!(answer["Success"], true, "{action}: {answer}");
        answer
    }
}

/// Requests per second over all connections.
fn rate(wires: &mut [Wire], span: Duration, request: fn(&mut Wire)) -> f64 {
    let start = Instant::now();
    let counts: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = wires
            .iter_mut()
            .map(|wire| {
                scope.spawn(move || {
                    let mut count = 0;
                    while start.elapsed() < span {
                        request(wire);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).collect()
    });
    counts.iter().sum::<u64>() as f64 / start.elapsed().as_secs_f64()
}

/// How long something takes, in the middle of several times, in milliseconds.
fn median_ms(times: usize, mut what: impl FnMut(usize)) -> f64 {
    let mut all: Vec<f64> = (0..times)
        .map(|n| {
            let start = Instant::now();
            what(n);
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Makes a rule, an action, starts it, and publishes until what it republishes is there.
async fn first_match(wire: &mut Wire, daemon: &Daemon, times: usize) -> f64 {
    let limits = TopicLimits::default();
    let topic = Topic::parse("/a1Pk/fresh/user/data".to_owned(), limits).expect("a topic");
    let filter = TopicFilter::parse("/a1Pk/out/#".to_owned(), limits).expect("a filter");
    let mut client = Client::connect(daemon.mqtt, Options::new("bench")).await.expect("connects");
    client.subscribe(&filter, QoS::AtMostOnce).await.expect("subscribes");
    let mut all = Vec::new();
    for n in 0..times {
        let start = Instant::now();
        let (name, out) = (format!("fresh_{n}"), format!("/a1Pk/out/user/{n}"));
        let rule = [
            ("Name", name.as_str()),
            ("ProductKey", "a1Pk"),
            ("ShortTopic", "fresh/user/data"),
            ("Select", "*"),
            ("TopicType", "1"),
        ];
        let id = wire.done("CreateRule", &rule)["RuleId"].to_string();
        let configuration = json!({ "topic": out, "topicType": 1 }).to_string();
        let action =
            [("RuleId", id.as_str()), ("Type", "REPUBLISH"), ("Configuration", &configuration)];
        wire.done("CreateRuleAction", &action);
        wire.done("StartRule", &[("RuleId", &id)]);
        client.publish(&topic, b"{\"a\":1}", QoS::AtMostOnce, false).await.expect("published");
        client.flush().await.expect("flushed");
        tokio::time::timeout(PATIENCE, client.next()).await.expect("in time").expect("a message");
        all.push(start.elapsed().as_secs_f64() * 1000.0);
        wire.done("StopRule", &[("RuleId", &id)]);
    }
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() {
    let test = std::env::args().any(|argument| argument == "--test");
    let (running, rules, seconds, times) =
        if test { (10, 100, 0.1, 2) } else { (10_000, 100_000, 5.0, 21) };
    let folder = std::env::temp_dir().join(format!("tidegate-api-bench-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("rules")).expect("folder");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let key = runtime.block_on(fill(&folder, running, rules));
    let began = Instant::now();
    let daemon = start(&folder);
    let started = began.elapsed().as_secs_f64();
    let mut wires: Vec<_> =
        (0..CONNECTIONS).map(|name| Wire::connect(daemon.http, &key, name)).collect();
    let span = Duration::from_secs_f64(seconds);
    let health = rate(&mut wires, span, |wire| drop(wire.get("/healthz")));
    let signed = rate(&mut wires, span, |wire| drop(wire.call("GetRule", &[("RuleId", "100000")])));
    let wire = &mut wires[0];
    wire.done("GetRule", &[("RuleId", "100000")]);
    let page = median_ms(times, |n| {
        let page = (1 + n * 40).min(rules / 100).to_string();
        let answer = wire.done("ListRule", &[("PageSize", "100"), ("CurrentPage", &page)]);
        assert_eq!(answer["Data"]["RuleInfo"].as_array().map(Vec::len), Some(100));
    });
    let last = (rules / 100).to_string();
    let last = median_ms(times, |_| {
        drop(wire.done("ListRule", &[("PageSize", "100"), ("CurrentPage", &last)]))
    });
    let devices = rules;
    let small = member_page(wire, times, "small", 1);
    let large = member_page(wire, times, "large", (devices / MEMBERS).max(1));
    let last_members = median_ms(times, |_| {
        let page = (devices / MEMBERS).max(1).to_string();
        drop(wire.done(
            "QueryDeviceListByDeviceGroup",
            &[("GroupId", "large"), ("PageSize", "200"), ("CurrentPage", &page)],
        ));
    });
    let counted = median_ms(times, |_| {
        let info = wire.done("QueryDeviceGroupInfo", &[("GroupId", "large")]);
        assert_eq!(info["Data"]["DeviceCount"], devices);
    });
    let first = runtime.block_on(first_match(wire, &daemon, times));
    drop(daemon);
    std::fs::remove_dir_all(&folder).ok();
    if test {
        println!("quick run: it works, and there are no figures");
        return;
    }
    println!("api: a start with {running} rules that run {started:.2} s");
    println!("api: signed GetRule {signed:.0} per second (promise: >= 5000), /healthz {health:.0}");
    println!("ratio GetRule / healthz = {:.2}", signed / health);
    println!(
        "api: a page of ListRule at {rules} rules {page:.1} ms, the last {last:.1} ms (promise: <= 20)"
    );
    println!(
        "api: a page of {MEMBERS} of {devices} devices of a group {large:.1} ms, the last {last_members:.1} ms (promise: <= 20), of {MEMBERS} {small:.1} ms; counted {counted:.1} ms"
    );
    println!("api: CreateRule to first match at {running} rules {first:.1} ms (promise: <= 50)");
}
