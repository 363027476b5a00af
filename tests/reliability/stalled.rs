//! R39: a message that takes far too long to evaluate, with a budget that allows it. The daemon ends in
//! time all the same, other rules get what is theirs, and the message does not stall start after start.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::amounts::{figure, optimised};
use super::process::{PATIENCE, Process, Site};

/// The longest that the daemon may take to stop, in seconds.
const STOP: u64 = 3;

/// As many letters as keep this pattern busy for minutes.
const LETTERS: usize = 900_000;

const RULES: &str = "rules:
  - name: slow
    sql: SELECT regexp_matches(text, '(a{1,50}){1,50}b') AS m FROM \"/pk/dn/user/slow\"
    actions: [{ file: { path: slow.jsonl } }]
  - name: fast
    sql: SELECT n FROM \"/pk/+/user/slow\"
    actions: [{ file: { path: fast.jsonl } }]
";

/// Posts the message; comes back when it is acknowledged.
async fn post(process: &Process) {
    let body = format!("{{\"n\":1,\"text\":\"{}\"}}", "a".repeat(LETTERS));
    let head = format!(
        "POST /ingest/pk/dn/user/slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(("127.0.0.1", process.http)).await.expect("connects");
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

/// Waits until something holds of the metrics.
async fn until(process: &Process, site: &Site, series: &str, value: u64) {
    let began = Instant::now();
    while process.metrics().await.sum(series) != value {
        assert!(began.elapsed() < PATIENCE, "no {series} {value}\n{}", site.last_words());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r39_a_message_that_never_ends_stalls_neither_the_stop_nor_the_next_starts() {
    let long = "tidegate_messages_evaluated_long";
    let config =
        format!("limits: {{ stop_seconds: {STOP}, sql: {{ work: 1000000000000000000 }} }}\n");
    let site = Site::new(&config, RULES);

    // The first run evaluates it in a shard.
    let process = site.start().await;
    post(&process).await;
    until(&process, &site, long, 1).await;
    assert_eq!(process.get("/healthz").await.0, 200);
    let (status, ready) = process.get("/readyz").await;
    assert_eq!(status, 200, "{ready}");
    assert!(ready.contains("more than a second"), "{ready}");
    let ended = process.stop().await;
    assert_eq!(ended.code, Some(0), "{}", site.last_words());
    figure("R39", "stopped with a shard that is busy, of 3 s, ms", ended.took.as_millis());
    let slack = Duration::from_millis(if optimised() { 500 } else { 3_000 });
    assert!(ended.took <= Duration::from_secs(STOP) + slack, "{:?}", ended.took);
    assert!(site.log().contains("its shard is left behind"), "{}", site.last_words());

    // The second one reads it from the log, for each rule by itself.
    let process = site.start().await;
    until(&process, &site, "tidegate_action_delivered_total{rule=\"fast\"", 1).await;
    until(&process, &site, long, 1).await;
    // Written before it is told by the metrics, or a moment later.
    let noted = || {
        let file = std::fs::read_to_string(site.path("data/spool/attempts.json"));
        file.is_ok_and(|text| text.contains("\"slow\""))
    };
    let began = Instant::now();
    while !noted() {
        assert!(began.elapsed() < PATIENCE, "{}", site.last_words());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process.kill().await;

    // The third one does not try again.
    let process = site.start().await;
    until(&process, &site, "tidegate_action_dead_lettered_total{rule=\"slow\"", 1).await;
    let metrics = process.balanced().await;
    assert_eq!(metrics.sum(long), 0);
    let (code, list, _) = site.run(&["dlq", "list", "--json"]).await;
    assert_eq!(code, 0, "{list}");
    assert!(list.contains("\"stalled\"") && list.contains("the daemon ended 2 times"), "{list}");
    let ended = process.stop().await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.took < Duration::from_secs(STOP), "{:?}", ended.took);
    let fast = std::fs::read_to_string(site.path("fast.jsonl")).expect("records");
    assert_eq!(fast, "{\"n\":1}\n", "other rules got it, once");

    // The fourth has nothing left of it.
    let process = site.start().await;
    process.balanced().await;
    assert_eq!(process.metrics().await.sum("tidegate_action_dead_lettered_total"), 0);
    assert_eq!(process.stop().await.code, Some(0));
}
