//! Messages through the daemon over MQTT on loopback, against Mosquitto with the same client.
//!
//! Promise: one publisher, one subscriber, QoS 0 and 1, no rule that matches: at least 60 % of what
//! Mosquitto passes through in the same run. Also reported: the same with one matching republish rule.
//!
//! Promise: 10,000 connected idle devices, each with a kept session and three subscriptions, take at most
//! 20 KiB each.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use connectors::contract::{QoS, Topic, TopicFilter, TopicLimits};
use tidegate::broker::client::{Client, Options};

const ROUNDS: usize = 5;
const PAYLOAD: [u8; 200] = [b'x'; 200];
/// Messages on their way at the same time; no broker drops any then.
const WINDOW: u64 = 1_000;
/// Devices that are connected and do nothing.
const IDLE: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// A server process that ends with the bench.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn mosquitto(folder: &Path) -> Option<Server> {
    let address = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?;
    let config = format!(
        "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\n\
         max_inflight_messages 0\nset_tcp_nodelay true\nlog_dest none\n",
        address.port()
    );
    let path = folder.join("mosquitto.conf");
    std::fs::write(&path, config).expect("configuration");
    let search = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let child = Command::new("mosquitto")
        .env("PATH", search)
        .arg("-c")
        .arg(path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let server = Server { child, address };
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(start.elapsed() < PATIENCE, "mosquitto does not answer");
        std::thread::yield_now();
    }
    Some(server)
}

fn tidegate(folder: &Path) -> Server {
    std::fs::create_dir_all(folder.join("rules")).expect("folder");
    let config = "listen: { mqtt: \"127.0.0.1:0\", http: \"127.0.0.1:0\" }\n\
                  limits: { mqtt: { connections: 20000 } }\n";
    std::fs::write(folder.join("tidegate.yaml"), config).expect("configuration");
    let rule = "rules:\n  - name: answer\n    sql: SELECT * FROM \"ask\"\n    data_type: binary\n    actions: [{ republish: { topic: answer, qos: 0 } }]\n";
    std::fs::write(folder.join("rules/answer.yaml"), rule).expect("rule");
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let line = lines.map_while(Result::ok).find(|line| line.trim_start().starts_with("MQTT"));
    let line = line.expect("the daemon starts");
    let address = line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    Server { child, address: address.expect("an address") }
}

/// Messages per second from a publisher on `to` to a subscriber of `from`.
async fn pass(address: SocketAddr, to: &str, from: &str, qos: QoS, count: u64) -> f64 {
    let limits = TopicLimits::default();
    let (to, from) =
        (Topic::parse(to.to_owned(), limits), TopicFilter::parse(from.to_owned(), limits));
    let (to, from) = (to.expect("topic"), from.expect("filter"));
    let mut receiver = Client::connect(address, Options::new("receiver")).await.expect("connects");
    receiver.subscribe(&from, qos).await.expect("subscribes");
    let mut sender = Client::connect(address, Options::new("sender")).await.expect("connects");
    let (told, mut heard) = tokio::sync::watch::channel(0_u64);
    let start = Instant::now();
    let receiving = tokio::spawn(async move {
        for n in 1..=count {
            tokio::time::timeout(PATIENCE, receiver.next())
                .await
                .expect("in time")
                .expect("message");
            if n % 100 == 0 || n == count {
                told.send_replace(n);
            }
        }
        start.elapsed()
    });
    for n in 0..count {
        if n % 100 == 0 && n >= WINDOW {
            sender.flush().await.expect("flushed");
            heard.wait_for(|heard| heard + WINDOW > n).await.expect("the receiver lives");
        }
        sender.publish(&to, &PAYLOAD, qos, false).await.expect("published");
    }
    sender.flush().await.expect("flushed");
    let elapsed = receiving.await.expect("received");
    sender.disconnect().await.expect("disconnects");
    count as f64 / elapsed.as_secs_f64()
}

/// Resident memory of a process in KiB.
fn resident(server: &Server) -> u64 {
    let path = format!("/proc/{}/status", server.child.id());
    let status = std::fs::read_to_string(path).expect("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number")
}

/// KiB of memory for each connected device that does nothing.
async fn idle(server: &Server, count: usize) -> f64 {
    let before = resident(server);
    let mut clients = Vec::with_capacity(count);
    for n in 0..count {
        let mut options = Options::new(format!("device-{n:05}"));
        options.version = tidegate::broker::codec::Version::V311;
        options.clean_start = false;
        let mut client = Client::connect(server.address, options).await.expect("connects");
        for end in ["service/property/set", "rrpc/request/+", "event/+/post_reply"] {
            let text = format!("/sys/a1Pk/device-{n:05}/thing/{end}");
            let filter = TopicFilter::parse(text, TopicLimits::default()).expect("filter");
            client.subscribe(&filter, QoS::AtLeastOnce).await.expect("subscribes");
        }
        clients.push(client);
    }
    // The sessions are written meanwhile; what that takes counts too.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = resident(server);
    drop(clients);
    after.saturating_sub(before) as f64 / count as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let test = std::env::args().any(|argument| argument == "--test");
    let (rounds, count) = if test { (1, 1_000) } else { (ROUNDS, 200_000) };
    let folder = std::env::temp_dir().join(format!("tidegate-broker-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("folder");
    let ours = tidegate(&folder);
    let theirs = mosquitto(&folder);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let (mut own, mut ruled, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let rate = |server: &Server, to, from| {
                runtime.block_on(pass(server.address, to, from, qos, count))
            };
            let plain = rate(&ours, "plain", "plain");
            own.push(plain);
            ruled.push(rate(&ours, "ask", "answer"));
            if let Some(theirs) = &theirs {
                ratios.push(plain / rate(theirs, "plain", "plain"));
            }
        }
        if test {
            println!("quick run: it works, and there are no figures");
            continue;
        }
        let level = qos.level();
        println!(
            "broker, QoS {level}: {:.0} msgs/s; through one republish rule {:.0} msgs/s",
            median(own),
            median(ruled)
        );
        if ratios.is_empty() {
            println!("skipped: mosquitto (not installed)");
        } else {
            println!(
                "ratio broker / mosquitto, QoS {level} = {:.2} (promise: >= 0.60)",
                median(ratios)
            );
        }
    }
    drop(ours);
    let folder_of_idle = folder.join("idle");
    let server = tidegate(&folder_of_idle);
    let count = if test { 100 } else { IDLE };
    let each = runtime.block_on(idle(&server, count));
    if !test {
        println!("idle device, {count} connected: {each:.1} KiB (promise: <= 20)");
    }
    drop(server);
    std::fs::remove_dir_all(&folder).ok();
}
