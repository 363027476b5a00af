//! The spool: durable appends against the disk itself, draining, and what a record costs.
//!
//! The yardstick writes the same number of bytes in the same steps to a file whose space is reserved, and
//! syncs after each. Both run in turns on the same disk; the median of the ratios counts.
//!
//! Promises: durable appends at 70 % of the yardstick or more; one group commit serves 100 producers that
//! wait; at most 64 bytes a record beyond topic, payload and properties; opening 1 GiB of log takes at
//! most a second; what nobody wants is gone over at 500 MB/s or more; 20 000 cursors are opened within
//! 200 ms and cost at most 5 % of a core when all move every 50 ms.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use connectors::contract::{Message, MessageIds, Origin, QoS, Topic, TopicLimits};
use tidegate::engine::spool::{Cursor, Fs, Limit, RealFs, Spool, SpoolLimits, Start, encode};

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
        let (mut ratios, mut syncs, mut groups) = (Vec::new(), Vec::new(), Vec::new());
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
            let group = status.appended as f64 / status.commits as f64;
            groups.push(group);
            // Where producers share a commit, what counts is how many commits there are.
            syncs.push(one / group / (raw / count as f64));
            ours.push(one);
            raws.push(raw);
            ratios.push(one / raw);
        }
        println!(
            "append {count:>4} a batch: {:>9.0} records/s durable, raw {:>9.0}, ratio {:.2}; {:.1} a group commit, ratio of commits to raw syncs {:.2}",
            median(ours),
            median(raws),
            median(ratios),
            median(groups),
            median(syncs)
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
    go_over(&spool, &cursor, bytes);
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

/// Going over a log of which nobody wants anything.
fn go_over(spool: &Spool, cursor: &Cursor, bytes: u64) {
    let mut rates = Vec::new();
    for _ in 0..3 {
        let (mut reader, mut got) = (spool.reader(cursor), Vec::new());
        let start = Instant::now();
        while reader.behind() > 0 {
            let unwanted = |topic: &str, _: Option<&str>| topic.ends_with("/get");
            reader.read_where(Limit::default(), unwanted, &mut got).expect("readable");
        }
        assert!(got.is_empty());
        rates.push(bytes as f64 / start.elapsed().as_secs_f64() / 1e6);
    }
    println!("go over what is not wanted: {:.0} MB/s", median(rates));
}

/// What a message costs that takes no disk, when nothing waits.
fn passes(size: &Size) {
    let folder = tempfile::tempdir().expect("a folder");
    let (spool, _) = Spool::open(folder.path(), SpoolLimits::default()).expect("open");
    let (start, mut count) = (Instant::now(), 0_u64);
    let passed = Arc::new(AtomicU64::new(0));
    while start.elapsed() < size.time {
        for _ in 0..1000 {
            let passed = passed.clone();
            spool.pass(300, passed, drop).expect("room");
        }
        count += 1000;
    }
    let each = start.elapsed().as_secs_f64() * 1e9 / count as f64;
    println!("pass when idle: {each:.1} ns, of which the closure's own count is most");
}

/// Processor time of this process, in milliseconds (in steps of 10).
fn processor_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<f64>);
    ticks.sum::<f64>() * 10.0
}

fn many_cursors(size: &Size) {
    const COUNT: usize = 20_000;
    let folder = tempfile::tempdir().expect("a folder");
    let (spool, _) = Spool::open(folder.path(), SpoolLimits::default()).expect("open");
    let names: Vec<String> =
        (0..COUNT).map(|n| format!("rule_{n:05}@1/action-{}", n % 3)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let start = Instant::now();
    let cursors = spool.open_cursors(&names, Start::Tail).expect("asked").wait().expect("cursors");
    let opened = start.elapsed();
    let one = messages(1);
    let sweep = |moved: bool| {
        let (start, before, mut sweeps) = (Instant::now(), processor_ms(), 0);
        while start.elapsed() < size.time * 3 {
            sweeps += 1;
            spool.append(&one).expect("room").wait().expect("durable");
            if moved {
                let end = spool.end();
                spool.commit_all(cursors.iter().map(|cursor| (cursor, end)));
            }
            let next = start + Duration::from_millis(50) * sweeps;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        (processor_ms() - before) / start.elapsed().as_secs_f64() / 10.0
    };
    let (still, moving) = (sweep(false), sweep(true));
    println!(
        "{COUNT} cursors: opened in {:.0} ms; all moving every 50 ms take {moving:.1} % of a core, {still:.1} % when none moves",
        opened.as_secs_f64() * 1e3,
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

/// What is measured, by name.
type Part = (&'static str, fn(&Size));

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let size = if quick {
        Size { rounds: 1, time: Duration::from_millis(20), log_bytes: 40 << 20 }
    } else {
        Size { rounds: 7, time: Duration::from_millis(1000), log_bytes: 1 << 30 }
    };
    let parts: [Part; 5] = [
        ("appends", appends),
        ("producers", producers),
        ("passes", passes),
        ("cursors", many_cursors),
        ("drain", drain_and_restart),
    ];
    overhead();
    // The names of parts as arguments choose them.
    let named = |name: &str| std::env::args().any(|argument| argument == name);
    let all = !parts.iter().any(|(name, _)| named(name));
    for (_, part) in parts.iter().filter(|(name, _)| all || named(name)) {
        part(&size);
    }
}
