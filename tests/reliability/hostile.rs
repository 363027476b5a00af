//! R24 and R26: clients that announce much and send little.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::amounts::{amount, figure, quantile, reached};
use super::process::{PATIENCE, Process, Site};
use super::producer::connect;

const RULES: &str =
    "rules:\n  - name: nothing\n    sql: SELECT * FROM \"x\"\n    actions: [{ log: {} }]\n";

/// 256 MiB, less one byte: the most that MQTT can announce.
const HUGE: [u8; 4] = [0xff, 0xff, 0xff, 0x7f];

/// What a connection announces.
#[derive(Clone, Copy)]
enum Announce {
    Connect,
    Publish,
    Http,
}

/// Announces 256 MiB and waits to be turned away; `false` when that does not happen.
async fn announce(port: (u16, u16), what: Announce, n: usize) -> io::Result<bool> {
    let (mqtt, http) = port;
    let port = if matches!(what, Announce::Http) { http } else { mqtt };
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let head = match what {
        Announce::Connect => [&[0x10][..], &HUGE].concat(),
        Announce::Publish => [&connect(&format!("huge{n}"))[..], &[0x32], &HUGE].concat(),
        Announce::Http => {
            b"POST /ingest/a/b HTTP/1.1\r\nhost: x\r\ncontent-length: 268435456\r\n\r\n".to_vec()
        }
    };
    stream.write_all(&head).await?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // An end by reset is an end.
    let ended = tokio::time::timeout(PATIENCE, read).await.is_ok();
    Ok(ended || answer.starts_with(b"HTTP/1.1 413"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r24_a_huge_payload_is_refused_before_it_is_read() {
    let sockets = amount("R24_SOCKETS", [150, 9_000, 9_000]) as usize;
    let site = Site::new("", RULES);
    let process = site.start().await;
    announce((process.mqtt, process.http), Announce::Connect, 0).await.expect("connects");
    let before = process.memory_kib("VmRSS");
    let (mut tasks, began) = (JoinSet::new(), Instant::now());
    for n in 0..sockets {
        let port = (process.mqtt, process.http);
        // The HTTP listener takes fewer connections at a time than the broker.
        let what = match n % 30 {
            0 => Announce::Http,
            n if n % 2 == 0 => Announce::Connect,
            _ => Announce::Publish,
        };
        tasks.spawn(async move { announce(port, what, n).await });
    }
    let mut refused = 0;
    while let Some(done) = tasks.join_next().await {
        // A connection that is refused outright is as good.
        refused += usize::from(done.expect("a task").unwrap_or(true));
    }
    let more = process.memory_kib("VmHWM").saturating_sub(before);
    figure("R24", &format!("refused, of {sockets} at once"), refused);
    figure("R24", "the last of them after, ms", began.elapsed().as_millis());
    figure("R24", "memory for them, MiB", more >> 10);
    assert_eq!(refused, sockets, "all are refused");
    assert!(more <= 64 << 10, "{} MiB", more >> 10);
    assert_eq!(process.get("/healthz").await.0, 200);
    process.stop().await;
}

/// A byte now and then, until the daemon has enough: how long that takes.
async fn trickle(port: u16, text: &'static [u8]) -> io::Result<Duration> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let began = Instant::now();
    for byte in text {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        let mut end = [0];
        // Nothing comes but the end, or the answer before it.
        if tokio::time::timeout(Duration::from_secs(4), stream.read(&mut end)).await.is_ok() {
            break;
        }
    }
    Ok(began.elapsed())
}

/// Microseconds of requests, one after the other.
async fn latencies(process: &Process, count: usize) -> Vec<u64> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        assert_eq!(process.get("/healthz").await.0, 200);
        all.push(began.elapsed().as_micros() as u64);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r26_connections_that_never_finish_are_ended() {
    if !reached(1, "R26, slow connections") {
        return;
    }
    // The HTTP listener has room for fewer: one of them is full already at a tenth.
    let sockets = amount("R26_SOCKETS", [100, 5_000, 5_000]) as usize;
    let site = Site::new("", RULES);
    let process = site.start().await;
    let mut calm = latencies(&process, 500).await;
    let before = process.memory_kib("VmRSS");
    let mut tasks = JoinSet::new();
    for n in 0..sockets {
        let (port, text): (u16, &[u8]) = match n % 20 {
            0 => {
                (process.http, b"POST /ingest/a/b HTTP/1.1\r\nhost: x\r\nx: yyyyyyyyyyyyyyyyyyyyy")
            }
            _ => {
                (process.mqtt, b"\x10\x40\x00\x04MQTT\x04\x02\x00\x00\x00\x33yyyyyyyyyyyyyyyyyyyyy")
            }
        };
        tasks.spawn(trickle(port, text));
    }
    let mut busy = latencies(&process, 500).await;
    let more = process.memory_kib("VmRSS").saturating_sub(before);
    let mut longest = Duration::ZERO;
    while let Some(done) = tasks.join_next().await {
        longest = longest.max(done.expect("a task").unwrap_or_default());
    }
    let (calm, busy) = (quantile(&mut calm, 990), quantile(&mut busy, 990));
    figure("R26", &format!("the last of {sockets} ended after, s"), longest.as_secs());
    figure("R26", "a healthy client's p99 before and during, µs", format!("{calm} {busy}"));
    figure("R26", "memory for them, MiB", more >> 10);
    assert!(longest <= Duration::from_secs(15 + 4), "{longest:?}");
    assert!(more <= 100 << 10, "{} MiB", more >> 10);
    // Below a few milliseconds it is the machine's scheduler that is measured.
    assert!(busy <= (calm * 2).max(10_000), "{busy} µs, before {calm}");
    process.stop().await;
}
