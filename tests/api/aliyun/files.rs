//! Files of devices: sent as a device does, then listed, read and deleted over the API.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use connectors::contract::{
    Batch, Ingress as _, Message, Origin, ShutdownHandle, Topic, TopicLimits, shutdown,
};
use serde_json::{Value, json};

use crate::api::devices::{server_at, server_with};
use crate::api::server::{Home, NOW_MS, Server};
use crate::api::upload::framed;

/// Has a device say something about a file; the data of the answer.
async fn say(server: &Server, pk: &str, what: &str, payload: Vec<u8>) -> Value {
    let topic = format!("/sys/{pk}/echo/thing/file/upload/mqtt/{what}");
    let parsed = Topic::parse(topic, TopicLimits::default()).unwrap();
    let mut message = Message::new(parsed, payload, NOW_MS);
    message.origin = Arc::new(Origin { source: Some("mqtt".into()), ..Origin::default() });
    server.line.take();
    let (batch, kept) = Batch::awaited(vec![message]);
    server.line.forwarder.get().unwrap().try_submit(batch).unwrap();
    kept.wait().await.unwrap();
    let (_, told) = server.line.take().pop().unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["code"], 200, "{told}");
    told["data"].clone()
}

async fn upload(server: &Server, pk: &str, name: &str, bytes: &[u8]) {
    let params = json!({ "fileName": name, "fileSize": bytes.len() });
    let begun = say(server, pk, "init", json!({ "params": params }).to_string().into()).await;
    let params = json!({ "uploadId": begun["uploadId"], "offset": 0, "bSize": bytes.len() });
    let done = say(server, pk, "send", framed(&json!({ "params": params }), bytes)).await;
    assert_eq!(done["complete"], true);
}

/// A server whose device `echo` has sent three files, and the handle that ends what keeps them.
async fn with_files(
    home: Option<Home>,
    codes: &Arc<Mutex<BTreeSet<String>>>,
) -> (Server, String, ShutdownHandle) {
    let (stop, stopped) = shutdown();
    let keep = |state: &mut tidegate::api::ApiState| {
        state.limits.payload = 1 << 20;
        let things = state.things.clone();
        tokio::spawn(things.run(stopped));
    };
    let (server, pk) = match home {
        Some(home) => server_at(home, codes, keep).await,
        None => server_with(codes, keep).await,
    };
    for (name, bytes) in [("a.txt", &b"0123456789"[..]), ("b.bin", b"b"), ("c_1.log", b"cc")] {
        upload(&server, &pk, name, bytes).await;
    }
    (server, pk, stop)
}

async fn play(home: Option<Home>, codes: &Arc<Mutex<BTreeSet<String>>>, format: &str) {
    let (server, pk, stop) = with_files(home, codes).await;
    let text = include_str!("scenarios/files.txt").replace("PK", &pk);
    super::scenario::run("files.txt", &text, &server, format).await;
    stop.stop();
    server.end().await;
}

#[tokio::test]
async fn files_answer_the_same_in_each_form_and_store() {
    play(None, &Arc::default(), "JSON").await;
    play(None, &Arc::default(), "XML").await;
    let Some(home) = Home::postgres().await else { return };
    play(Some(home), &Arc::default(), "JSON").await;
}

#[tokio::test]
async fn a_link_reads_one_file_for_a_time() {
    let (server, pk, stop) = with_files(None, &Arc::default()).await;
    let client = server.client();
    let target = [("ProductKey", &*pk), ("DeviceName", "echo")];
    let files = client.call("QueryDeviceFileList", &target).await.json();
    let id = files["Data"]["FileSummary"][2]["FileId"].as_str().unwrap();
    let own = [target[0], target[1], ("FileId", id)];
    let file = client.call("QueryDeviceFile", &own).await.json();
    let url = file["Data"]["DownloadUrl"].as_str().unwrap();
    let expires = NOW_MS / 1000 + 3_600;
    let start = format!("http://{}/files/{id}/a.txt?Expires={expires}&Signature=", server.address);
    assert!(url.starts_with(&start), "{url}");
    let path = url.strip_prefix(&format!("http://{}", server.address)).unwrap();
    let get = async |path: &str, range: &[(&str, &str)]| client.send("GET", path, range, b"").await;
    let whole = get(path, &[]).await;
    assert_eq!((whole.status, &*whole.body), (200, "0123456789"));
    for (name, value) in [
        ("content-length", "10"),
        ("content-type", "application/octet-stream"),
        ("content-disposition", "attachment; filename=\"a.txt\""),
        ("accept-ranges", "bytes"),
        ("cache-control", "private, no-store"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(whole.headers[name], value);
    }
    let part = get(path, &[("Range", "bytes=2-4")]).await;
    assert_eq!((part.status, &*part.body), (206, "234"));
    assert_eq!(part.headers["content-range"], "bytes 2-4/10");
    let beyond = get(path, &[("Range", "bytes=10-")]).await;
    assert_eq!((beyond.status, &*beyond.headers["content-range"]), (416, "bytes */10"));
    let head = client.send("HEAD", path, &[], b"").await;
    assert_eq!((head.status, &*head.headers["content-length"], &*head.body), (200, "10", ""));
    let signature = path.rsplit('=').next().unwrap();
    let other = files["Data"]["FileSummary"][1]["FileId"].as_str().unwrap();
    for (wrong, status) in [
        (path.replace("a.txt", "b.bin"), 404),
        (path.replace(id, other), 403),
        (path.replace(&expires.to_string(), &(expires + 1).to_string()), 403),
        (path.replace(signature, &signature.replace(|c: char| c.is_ascii_digit(), "f")), 403),
        (format!("/files/{id}/a.txt"), 403),
        (format!("/files/{id}/a.txt?Expires=x&Signature=x"), 403),
        (
            format!("/files/{id}/..%2f..%2fetc%2fpasswd?Expires={expires}&Signature={signature}"),
            404,
        ),
        (
            format!("/files/..%2f..%2ftidegate.db/a.txt?Expires={expires}&Signature={signature}"),
            403,
        ),
    ] {
        assert_eq!(get(&wrong, &[]).await.status, status, "{wrong}");
    }
    let deleted = client.call("DeleteDeviceFile", &own).await.json();
    assert_eq!(deleted["Success"], true);
    assert_eq!(get(path, &[]).await.status, 404, "it was deleted");
    stop.stop();
    server.end().await;
}

#[tokio::test]
async fn links_lead_where_the_configuration_says_and_end() {
    let (stop, stopped) = shutdown();
    let (server, pk) = server_with(&Arc::default(), |state| {
        state.file_links.url = Some("https://files.example/".to_owned());
        state.file_links.valid = std::time::Duration::ZERO;
        let things = state.things.clone();
        tokio::spawn(things.run(stopped));
        // The link's time is over when it is used.
        let start = std::sync::atomic::AtomicU64::new(NOW_MS);
        state.clock =
            Arc::new(move || start.fetch_add(1_000, std::sync::atomic::Ordering::Relaxed));
    })
    .await;
    upload(&server, &pk, "a.txt", b"0123456789").await;
    let client = server.client();
    let target = [("ProductKey", &*pk), ("DeviceName", "echo")];
    let files = client.call("QueryDeviceFileList", &target).await.json();
    let id = files["Data"]["FileSummary"][0]["FileId"].as_str().unwrap();
    let own = [target[0], target[1], ("FileId", id)];
    let file = client.call("QueryDeviceFile", &own).await.json();
    let url = file["Data"]["DownloadUrl"].as_str().unwrap();
    let path = url.strip_prefix("https://files.example").unwrap();
    assert_eq!(client.send("GET", path, &[], b"").await.status, 403);
    stop.stop();
    server.end().await;
}

/// What these operations say when the store fails.
#[tokio::test]
async fn a_store_that_fails_is_no_reason_to_lie() {
    let (server, pk, stop) = with_files(None, &Arc::default()).await;
    let client = server.client();
    stop.stop();
    server.store.close().await;
    let target = [("ProductKey", &*pk), ("DeviceName", "echo"), ("FileId", "x")];
    for action in ["QueryDeviceFileList", "QueryDeviceFile", "DeleteDeviceFile"] {
        let own = if action == "QueryDeviceFileList" { &target[..2] } else { &target[..] };
        let outcome = client.call(action, own).await.outcome();
        assert_eq!(outcome, "200 iot.system.SystemException", "{action}");
    }
    server.end().await;
}
