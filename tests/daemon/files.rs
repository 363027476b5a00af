//! Files of devices through the whole program: sent over MQTT, kept through kills, read over HTTP.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use connectors::contract::{QoS, Topic, TopicLimits};
use serde_json::{Value, json};
use tidegate::broker::client::Client as Mqtt;

use super::things::{Api, CONFIG, device_of, registered, told};
use super::{Daemon, eventually, http};
use crate::api::upload::framed;

/// Bytes of a part.
const PART: usize = 10_000;

/// A device that sends a file.
struct Sender {
    mqtt: Mqtt,
    pk: String,
}

impl Sender {
    async fn of(daemon: &Daemon, pk: &str) -> Self {
        Self { mqtt: device_of(daemon, pk, "dev1").await, pk: pk.to_owned() }
    }

    /// Says something about a file; the answer.
    async fn say(&mut self, what: &str, payload: &[u8]) -> Value {
        let topic = format!("/sys/{}/dev1/thing/file/upload/mqtt/{what}", self.pk);
        let parsed = Topic::parse(topic, TopicLimits::default()).unwrap();
        self.mqtt.publish(&parsed, payload, QoS::AtLeastOnce, false).await.unwrap();
        self.mqtt.flush().await.unwrap();
        told(&mut self.mqtt, &format!("upload/mqtt/{what}_reply")).await
    }

    /// Begins a file, or goes on with it: its id, and how much of it is there.
    async fn begin(&mut self, file: &[u8]) -> (String, usize) {
        let params =
            json!({ "fileName": "log.bin", "fileSize": file.len(), "conflictStrategy": "append" });
        let asked = json!({ "id": "1", "params": params }).to_string();
        let answer = self.say("init", asked.as_bytes()).await;
        assert_eq!(answer["code"], 200, "{answer}");
        let offset = answer["data"]["offset"].as_u64().unwrap();
        (answer["data"]["uploadId"].as_str().unwrap().to_owned(), offset.try_into().unwrap())
    }

    /// Sends the part of a file that begins there; the answer's data.
    async fn part(&mut self, id: &str, file: &[u8], at: usize) -> Value {
        let bytes = &file[at..file.len().min(at + PART)];
        let params = json!({ "uploadId": id, "offset": at, "bSize": bytes.len() });
        let answer =
            self.say("send", &framed(&json!({ "id": "2", "params": params }), bytes)).await;
        assert_eq!(answer["code"], 200, "{answer}");
        answer["data"].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_device_was_told_is_kept_survives_a_kill() {
    let daemon = Daemon::start(CONFIG, &[]);
    let pk = registered(&Api::of(&daemon)).await;
    let file: Vec<u8> = (0..95_000_u32).map(|n| (n % 253) as u8).collect();
    let mut sender = Sender::of(&daemon, &pk).await;
    let (id, offset) = sender.begin(&file).await;
    assert_eq!(offset, 0);
    for at in (0..50_000).step_by(PART) {
        sender.part(&id, &file, at).await;
    }
    let daemon = Daemon::in_folder(daemon.kill());
    let mut sender = Sender::of(&daemon, &pk).await;
    assert_eq!(sender.begin(&file).await, (id.clone(), 50_000));
    let target = [("ProductKey", &*pk), ("DeviceName", "dev1")];
    let files = Api::of(&daemon).ok("QueryDeviceFileList", &target).await;
    assert_eq!(files["Total"], 0, "half of it is no file");
    for at in (50_000..file.len()).step_by(PART) {
        let answer = sender.part(&id, &file, at).await;
        assert_eq!(answer["complete"].as_bool(), (at + PART > file.len()).then_some(true));
    }
    let daemon = Daemon::in_folder(daemon.kill());
    let api = Api::of(&daemon);
    let files = api.ok("QueryDeviceFileList", &target).await;
    let summary = &files["Data"]["FileSummary"][0];
    assert_eq!((&summary["Name"], &summary["Size"]), (&json!("log.bin"), &json!("95000")));
    let own = [target[0], target[1], ("FileId", id.as_str())];
    let link = api.ok("QueryDeviceFile", &own).await;
    let link = link["Data"]["DownloadUrl"].as_str().unwrap().to_owned();
    assert_eq!(read(&link), file);
    assert_eq!(daemon.metric("tidegate_device_file_bytes"), 95_000);
    // A link of before a restart is still good; the file goes with its device.
    let daemon = Daemon::in_folder(daemon.stop());
    let path = link.split_once("/files/").unwrap().1;
    let link = format!("http://127.0.0.1:{}/files/{path}", daemon.http);
    assert_eq!(read(&link), file);
    Api::of(&daemon).ok("DeleteDevice", &target).await;
    assert_eq!(daemon.get(&format!("/files/{path}")).0, 404);
    assert_eq!(daemon.get("/files/x/y").0, 403);
    assert_eq!(
        http(daemon.http, "POST /files/x/y HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"")
            .0,
        405
    );
    let daemon = Daemon::in_folder(daemon.stop());
    let folder = daemon.path("data/files");
    eventually("the bytes are gone", || {
        let folders = std::fs::read_dir(&folder).unwrap();
        let mut left = folders.flat_map(|one| std::fs::read_dir(one.unwrap().path()).unwrap());
        left.next().is_none().then_some(())
    });
}

/// What a link leads to.
fn read(link: &str) -> Vec<u8> {
    use std::io::{Read as _, Write as _};
    let (address, path) = link.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    answer.split_off(end + 4)
}
