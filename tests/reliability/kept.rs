//! R3: what was acknowledged reaches subscribers whose sessions are kept, also through kills: what
//! devices publish, what a rule republishes, what the API publishes, and shared subscriptions.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate::rule::store::{AccessKey, Role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::amounts::{Chance, amount, figure};
use super::oracle::Oracle;
use super::process::{PATIENCE, Process, Site};
use super::producer::{Plan, Producers};
use super::recorder::Recorder;
use super::rule;
use super::subscriber::{Careful, Crowd, Subscriber};
use crate::api::client::{Client, query};

const CONFIG: &str = "access_keys: [{ id: tester, secret: testsecret, role: admin }]\nlimits: { mqtt: { queue_messages: 1000000, queue_bytes: 268435456, queue_bytes_total: 1073741824 } }\n";

/// What is sent in the three ways in, and what came of it.
struct Duties {
    /// Over MQTT at QoS 1.
    plain: Arc<Oracle>,
    /// Over the API.
    calls: Arc<Oracle>,
    /// Over MQTT at QoS 2.
    careful: Arc<Oracle>,
    seen: Vec<Arc<Recorder>>,
}

impl Duties {
    /// And who subscribes to it.
    fn new(devices: usize) -> (Self, Crowd) {
        let (plain, calls) = (Oracle::new(devices, 128), Oracle::new(1, 128));
        let careful = Oracle::new(1, 128);
        let (data, out) = ("/pk/+/user/data", "/out/#");
        let share = format!("$share/group/{data}");
        let (mut seen, mut subscribers) = (Vec::new(), Vec::new());
        let lines: [(&'static str, &Arc<Oracle>, &str, u8, usize); 7] = [
            ("plain, QoS 1", &plain, data, 1, 1),
            ("plain, QoS 2", &plain, data, 2, 1),
            ("republished, QoS 1", &plain, out, 1, 1),
            ("republished, QoS 2", &plain, out, 2, 1),
            ("shared", &plain, &share, 1, 2),
            ("Pub", &calls, "/pk/dev0/user/get", 1, 1),
            (EXACT, &careful, "/exact", 2, 1),
        ];
        for (name, oracle, filter, qos, members) in lines {
            let recorder = Recorder::new(name, oracle);
            if members > 1 {
                recorder.in_any_order();
            }
            for member in 0..members {
                let id = format!("{name} {member}");
                subscribers.push(Subscriber::new(&id, filter, qos, &recorder));
            }
            seen.push(recorder);
        }
        let crowd = Crowd::start(subscribers, Careful::new(&careful, "/exact"));
        (Self { plain, calls, careful, seen }, crowd)
    }

    fn check(&self, kills: u64) {
        figure("R3", "kills", kills);
        for (name, oracle) in
            [("PUBACK", &self.plain), ("Pub", &self.calls), ("PUBREC", &self.careful)]
        {
            figure("R3", &format!("acknowledged, {name}"), oracle.acknowledged());
            oracle.check();
            assert!(oracle.acknowledged() >= kills, "too little work: {}", oracle.acknowledged());
        }
        for seen in &self.seen {
            let repeated = seen.seen().repeated;
            figure("R3", &format!("{}: lost", seen.name()), seen.missing().0);
            figure("R3", &format!("{}: twice", seen.name()), repeated);
            seen.check();
            assert!(seen.name() != EXACT || repeated == 0, "QoS 2 is exactly once");
        }
    }
}

/// Published at QoS 2 and subscribed at QoS 2, with no rule between.
const EXACT: &str = "QoS 2 to QoS 2";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r3_subscribers_with_kept_sessions_miss_nothing_acknowledged() {
    let cycles = amount("R3_CYCLES", [3, 45, 500]);
    let least = amount("R3_ACKED", [200, 10_000, 300_000]);
    let rate = amount("R3_RATE", [300, 600, 1_000]);
    let mut chance = Chance::new("R3");
    let plan = Plan { rate, http: 0..0, ..Plan::default() };
    let (duties, crowd) = Duties::new(plan.devices());
    let republish = rule("again", "republish: { topic: \"/out/data\", qos: 2 }");
    let site = Site::new(CONFIG, &format!("rules:\n{republish}"));
    meet(&site, &crowd).await;
    let mut done = 0;
    while done < cycles || duties.plain.acknowledged() < least {
        let process = site.start().await;
        crowd.go_to(Some(process.mqtt));
        let producers = Producers::start(&duties.plain, &process, &plan, false);
        let publishing = tokio::spawn(publish(process.http, Arc::clone(&duties.calls)));
        tokio::time::sleep(Duration::from_millis(chance.within(50..2_000))).await;
        process.kill().await;
        crowd.go_to(None);
        duties.seen.iter().for_each(|seen| seen.killed());
        producers.end().await;
        publishing.await.expect("a caller");
        done += 1;
        let acknowledged = duties.plain.acknowledged();
        assert!(done < cycles.max(3) * 4, "too few messages: {acknowledged}");
    }
    let process = site.start().await;
    crowd.enough();
    crowd.go_to(Some(process.mqtt));
    for seen in &duties.seen {
        seen.complete(PATIENCE).await;
    }
    crowd.end().await;
    balance(&process).await;
    process.stop().await;
    duties.check(done);
}

/// Lets all subscribers subscribe, before anything is owed to them.
async fn meet(site: &Site, crowd: &Crowd) {
    let process = site.start().await;
    crowd.meet(process.mqtt);
    let began = std::time::Instant::now();
    while crowd.ready() < 8 {
        assert!(began.elapsed() < PATIENCE, "not all have subscribed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process.kill().await;
    crowd.go_to(None);
}

/// No queue was full: what is missing was not dropped for its limits.
async fn balance(process: &Process) {
    let metrics = process.balanced().await;
    assert_eq!(metrics.sum("tidegate_mqtt_dropped_total"), 0, "{metrics:#?}");
}

/// Publishes over the API, one call after the other, until the daemon is gone.
async fn publish(port: u16, oracle: Arc<Oracle>) {
    let key = AccessKey {
        id: "tester".into(),
        secret: "testsecret".into(),
        role: Role::Admin,
        created_ms: 0,
        revoked_ms: None,
    };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let codes: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let client = Client::new(address, key, codes);
    loop {
        let (n, payload) = oracle.send(0);
        let content = STANDARD.encode(&payload);
        let own = [
            ("ProductKey", "pk"),
            ("TopicFullName", "/pk/dev0/user/get"),
            ("MessageContent", content.as_str()),
            ("Qos", "1"),
        ];
        let mut parameters = client.parameters("Pub", &own);
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        parameters.insert("Timestamp".to_owned(), now);
        client.sign("POST", &mut parameters);
        match call(address, &query(&parameters)).await {
            Ok(answer) if answer.contains(r#""Success":true"#) => oracle.acknowledge(0, n),
            Ok(answer) if answer.is_empty() => return,
            Ok(answer) => oracle.complain(answer),
            Err(_) => return,
        }
    }
}

async fn call(address: SocketAddr, query: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST /?{query} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
