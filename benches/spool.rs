//! The spool: durable appends against the disk itself, draining, and what a record costs.
//!
//! The yardstick writes the same number of bytes in the same steps to a file whose space is reserved, and
//! syncs after each. Both run in turns on the same disk; the median of the ratios counts.
//!
//! Promises: durable appends at 70 % of the yardstick or more; at most 64 bytes a record beyond topic,
//! payload and properties; opening 1 GiB of log takes at most a second.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use connectors::contract::{Message, MessageIds, Origin, QoS, Topic, TopicLimits};
use tidegate::engine::spool::{Fs, RealFs, Spool, SpoolLimits, Start, encode};

const PAYLOAD: usize = 256;
/// Reserved for the yardstick: enough to write on and on without going over what was written.
const RAW_BYTES: u64 = 1 << 30;

struct Size {
    rounds: usize,
    time: Duration,
    log_bytes: u64,
}

/// A message as the broker makes it.
fn message(n: u64, ids: &MessageIds) -> Message {
    let topic = Topic::parse(
        format!("/a1b2c3d4e5F/device{:05}/user/update", n % 10_000),
        TopicLimits::default(),
    );
    let client_id = ByteString::from(format!("device{:05}", n % 10_000));
    Message {
        id: ids.reserve(1),
        qos: QoS::AtLeastOnce,
        origin: Arc::new(Origin {
            source: Some("mqtt".into()),
            client_id: Some(client_id),
            username: None,
            peer: Some([192, 0, 2, 1].into()),
        }),
        ..Message::new(topic.expect("topic"), vec![b'x'; PAYLOAD], 1_790_000_000_000 + n)
    }
}

fn messages(count: usize) -> Vec<Message> {
    let ids = MessageIds::starting_at(1_790_000_000_000);
    (0..count as u64).map(|n| message(n, &ids)).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Records in a second through two producers that wait for each batch: while the batch of one is synced,
/// the other has its next one ready, so that a group commit is one batch.
fn spool_rate(spool: &Spool, batch: &[Message], time: Duration) -> f64 {
    let start = Instant::now();
    let before = spool.status().appended;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while start.elapsed() < time {
                    spool.append(batch).expect("room").wait().expect("durable");
                }
            });
        }
    });
    (spool.status().appended - before) as f64 / start.elapsed().as_secs_f64()
}

/// Records in a second if all that had to be done were to write and sync their bytes.
fn raw_rate(fs: &dyn Fs, folder: &Path, bytes: usize, records: usize, time: Duration) -> f64 {
    let name = "raw";
    drop(fs.create(name, RAW_BYTES).expect("a file"));
    let file: File = OpenOptions::new().write(true).open(folder.join(name)).expect("the file");
    let buffer = vec![b'x'; bytes];
    let (start, mut done, mut at) = (Instant::now(), 0, 0);
    while start.elapsed() < time {
        file.write_all_at(&buffer, at).expect("written");
        file.sync_data().expect("synced");
        at = (at + bytes as u64) % (RAW_BYTES - bytes as u64);
        done += records;
    }
    let rate = done as f64 / start.elapsed().as_secs_f64();
    fs.remove(name).expect("removed");
    rate
}

fn appends(size: &Size) {
    for count in [1, 10, 100, 1000] {
        let batch = messages(count);
        let (mut ours, mut raws) = (Vec::new(), Vec::new());
        let (mut ratios, mut groups) = (Vec::new(), Vec::new());
        for round in 0..size.rounds {
            let folder = tempfile::tempdir().expect("a folder");
            let fs = RealFs::at(folder.path()).expect("a folder");
            let bytes = record_bytes(&batch);
            // No cursor: segments are deleted as soon as they are full, as when delivery keeps up.
            let (spool, _) =
                Spool::open(&folder.path().join("spool"), SpoolLimits::default()).expect("open");
            let (mut one, mut raw) = (0.0, 0.0);
            for turn in 0..2 {
                if (turn + round) % 2 == 0 {
                    one = spool_rate(&spool, &batch, size.time);
                } else {
                    raw = raw_rate(&fs, folder.path(), bytes, count, size.time);
                }
            }
            let status = spool.status();
            groups.push(status.appended as f64 / status.commits as f64);
            ours.push(one);
            raws.push(raw);
            ratios.push(one / raw);
        }
        println!(
            "append {count:>4} a batch: {:>9.0} records/s durable, raw {:>9.0}, ratio {:.2}, {:.1} a group commit",
            median(ours),
            median(raws),
            median(ratios),
            median(groups)
        );
    }
}

fn record_bytes(batch: &[Message]) -> usize {
    let mut bytes = Vec::new();
    for message in batch {
        encode(message, None, &mut bytes);
    }
    bytes.len() + batch.len() * 16
}

/// Many producers, each of which waits for its one message, as MQTT clients with QoS 1 do.
fn producers(size: &Size) {
    let folder = tempfile::tempdir().expect("a folder");
    let (spool, _) = Spool::open(folder.path(), SpoolLimits::default()).expect("open");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let spool = Arc::new(spool);
    for count in [1, 10, 100, 1000] {
        let before = spool.status();
        let (start, until) = (Instant::now(), Instant::now() + size.time * 3);
        runtime.block_on(async {
            let tasks: Vec<_> = (0..count)
                .map(|_| {
                    let (spool, one) = (spool.clone(), messages(1));
                    tokio::spawn(async move {
                        while Instant::now() < until {
                            spool.append(&one).expect("room").done().await.expect("durable");
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("a producer");
            }
        });
        let after = spool.status();
        let records = (after.appended - before.appended) as f64;
        let commits = (after.commits - before.commits) as f64;
        println!(
            "{count:>4} producers of one message: {:>8.0} records/s durable, {:.1} a group commit",
            records / start.elapsed().as_secs_f64(),
            records / commits
        );
    }
}

fn drain_and_restart(size: &Size) {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = SpoolLimits::default();
    let (spool, _) = Spool::open(folder.path(), limits.clone()).expect("open");
    spool.open_cursors(&["slow"], Start::Tail).expect("asked").wait().expect("a cursor");
    let batch = messages(5000);
    let mut records = 0;
    while spool.status().bytes < size.log_bytes {
        records += spool.append(&batch).expect("room").wait().expect("durable").count;
    }
    let bytes = spool.status().bytes;
    // Not closed in order: the last segment has its reserved space, as after a kill.
    let copy = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let path = entry.expect("a file").path();
        std::fs::copy(&path, copy.path().join(path.file_name().expect("a name"))).expect("copied");
    }
    drop(spool);
    let start = Instant::now();
    let (spool, found) = Spool::open(copy.path(), limits).expect("open");
    let took = start.elapsed();
    assert_eq!(found.records, records, "all are there");
    println!(
        "open {} MiB in {} segments: {:.0} ms",
        bytes >> 20,
        found.segments,
        took.as_secs_f64() * 1e3
    );
    let cursor = spool
        .open_cursors(&["slow"], Start::Tail)
        .expect("asked")
        .wait()
        .expect("a cursor")
        .remove(0);
    let mut reader = spool.reader(&cursor);
    let (start, mut got, mut read) = (Instant::now(), Vec::new(), 0);
    while read < records {
        let step = reader.read(500, 1 << 20, &mut got).expect("readable");
        read += got.len() as u64;
        got.clear();
        cursor.commit(step.next);
    }
    let rate = records as f64 / start.elapsed().as_secs_f64();
    println!(
        "drain {records} records: {rate:.0} records/s, {:.0} MiB/s",
        rate * bytes as f64 / records as f64 / 1_048_576.0
    );
}

fn overhead() {
    let batch = messages(1000);
    let plain: usize = batch.iter().map(|one| one.topic.as_str().len() + one.payload.len()).sum();
    let each = (record_bytes(&batch) - plain) as f64 / batch.len() as f64;
    println!(
        "overhead: {each:.1} bytes a record beyond topic and payload, with source and client id"
    );
    assert!(each <= 64.0, "{each}");
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let size = if quick {
        Size { rounds: 1, time: Duration::from_millis(20), log_bytes: 40 << 20 }
    } else {
        Size { rounds: 7, time: Duration::from_millis(1000), log_bytes: 1 << 30 }
    };
    overhead();
    appends(&size);
    producers(&size);
    drain_and_restart(&size);
}
