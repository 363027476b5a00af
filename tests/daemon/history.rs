//! The history of devices in the built program: over kills, and what it says about itself.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::things::{Api, CONFIG};
use super::{Daemon, PATIENCE, eventually};

/// Posts over HTTP, which answers when the spool has the message; false when it does not.
fn post(port: u16, topic: &str, body: &str) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (topic, length) = (topic.replace('/', "%2F"), body.len());
        let head = format!(
            "POST /ingest?topic={topic} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 202 "))
}

async fn device(api: &Api) -> String {
    let own = [("ProductName", "product"), ("NodeType", "0")];
    let product = api.ok("CreateProduct", &own).await;
    let pk = product["ProductKey"].as_str().expect("a key").to_owned();
    api.ok("RegisterDevice", &[("ProductKey", &pk), ("DeviceName", "dev1")]).await;
    pk
}

/// All values of the device's property, page after page.
async fn values(api: &Api, pk: &str, end: u64, asc: &str) -> Vec<String> {
    let (mut start, end) = match asc {
        "1" => ("0".to_owned(), end.to_string()),
        _ => (end.to_string(), "0".to_owned()),
    };
    let mut all = Vec::new();
    loop {
        let own = [
            ("ProductKey", pk),
            ("DeviceName", "dev1"),
            ("Identifier", "v"),
            ("StartTime", &*start),
            ("EndTime", &*end),
            ("PageSize", "7"),
            ("Asc", asc),
        ];
        let page = api.ok("QueryDevicePropertyData", &own).await;
        let data = &page["Data"];
        let list = data["List"]["PropertyInfo"].as_array().expect("a list");
        all.extend(list.iter().map(|one| one["Value"].as_str().expect("a text").to_owned()));
        if data["NextValid"] == Value::Bool(false) {
            return all;
        }
        start = data["NextTime"].to_string();
    }
}

/// What was acknowledged is in the history once, whenever the daemon is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_neither_lose_nor_repeat_history() {
    let mut daemon = Daemon::start(CONFIG, &[]);
    let pk = device(&Api::of(&daemon)).await;
    let topic = format!("/sys/{pk}/dev1/thing/event/property/post");
    let start = u64::try_from(jiff::Timestamp::now().as_millisecond()).expect("now");
    let (mut sent, mut acknowledged) = (0, BTreeSet::new());
    for round in 0..4 {
        let (port, topic) = (daemon.http, topic.clone());
        let posting = std::thread::spawn(move || {
            let mut taken = Vec::new();
            for value in sent.. {
                // Ten of each millisecond.
                let time = start + value / 10;
                let body = format!(r#"{{"params":{{"v":{{"value":{value},"time":{time}}}}}}}"#);
                if !post(port, &topic, &body) {
                    return (value + 1, taken);
                }
                taken.push(value.to_string());
            }
            (sent, taken)
        });
        tokio::time::sleep(Duration::from_millis(200 + 170 * round)).await;
        let folder = daemon.kill();
        let (next, taken) = posting.join().expect("a producer");
        sent = next;
        acknowledged.extend(taken);
        daemon = Daemon::in_folder(folder);
    }
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    let api = Api::of(&daemon);
    let all = values(&api, &pk, start + sent, "1").await;
    let once: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!(all.len(), once.len(), "nothing comes twice");
    assert!(acknowledged.is_subset(&once), "{:?}", acknowledged.difference(&once));
    let mut back = values(&api, &pk, start + sent, "0").await;
    back.reverse();
    assert_eq!(all, back);
    // What is written is told, and the log is let go.
    eventually("nothing is behind", || {
        (daemon.metric("tidegate_history_behind") == 0).then_some(())
    });
    assert_eq!(daemon.metric("tidegate_history_writable"), 1);
    assert_eq!(daemon.metric("tidegate_history_dropped_total"), 0);
    // It ends in order, and then finds everything without reading the log again.
    let daemon = Daemon::in_folder(daemon.stop());
    assert_eq!(values(&Api::of(&daemon), &pk, start + sent, "1").await, all);
    assert_eq!(daemon.metric("tidegate_history_values_total"), 0);
}

/// Without a log values come through memory, and a normal end writes them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_log_a_normal_end_keeps_everything() {
    let config = format!("{CONFIG}spool: {{ enabled: false }}\n");
    let daemon = Daemon::start(&config, &[]);
    let pk = device(&Api::of(&daemon)).await;
    let topic = format!("/sys/{pk}/dev1/thing/event/property/post");
    for value in 0..20 {
        assert!(post(daemon.http, &topic, &format!(r#"{{"params":{{"v":{value}}}}}"#)));
    }
    let daemon = Daemon::in_folder(daemon.stop());
    let end = u64::try_from(jiff::Timestamp::now().as_millisecond()).expect("now");
    let want: Vec<_> = (0..20).map(|value| value.to_string()).collect();
    assert_eq!(values(&Api::of(&daemon), &pk, end, "1").await, want);
}

/// Switched off and on again: nothing is kept meanwhile, and the log does not wait for anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_can_be_switched_off_and_on() {
    let daemon = Daemon::start(CONFIG, &[]);
    let pk = device(&Api::of(&daemon)).await;
    let topic = format!("/sys/{pk}/dev1/thing/event/property/post");
    let switch = |folder: &std::path::Path, on: bool| {
        let text = format!(
            "listen: {{ mqtt: \"127.0.0.1:0\", http: \"127.0.0.1:0\" }}\n{CONFIG}history: {{ enabled: {on} }}\n"
        );
        std::fs::write(folder.join("tidegate.yaml"), text).expect("configuration");
    };
    let mut daemon = Some(daemon);
    for (value, on) in [("1", false), ("2", true), ("3", true)] {
        let running = daemon.take().expect("a daemon");
        assert!(post(running.http, &topic, &format!(r#"{{"params":{{"v":{value}}}}}"#)));
        let folder = running.stop();
        switch(folder.path(), on);
        daemon = Some(Daemon::in_folder(folder));
        let running = daemon.as_ref().expect("a daemon");
        assert!(!running.log().contains("journal does not know"), "{}", running.log());
        assert_eq!(running.metric("tidegate_history_writable"), u64::from(on));
    }
    let daemon = daemon.expect("a daemon");
    let end = u64::try_from(jiff::Timestamp::now().as_millisecond()).expect("now");
    assert_eq!(values(&Api::of(&daemon), &pk, end, "1").await, ["1", "3"]);
}
