//! The spool as it is used: threads, tickets, limits, a full disk, a folder of the system.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use contract::Message;

use super::super::log::{Log, Now};
use super::super::{
    Cursor, OpenError, Reader, Recovered, Refused, Spool, SpoolLimits, Start, WhenFull, encode,
};
use super::model::{assert_genuine, bodies, message, read_all, setting};
use super::sim::{Chance, Faults, SimFs};

fn limits() -> SpoolLimits {
    SpoolLimits { bytes: 1 << 20, segment_bytes: 64 << 10, ..SpoolLimits::default() }
}

fn open(folder: &Path, limits: SpoolLimits) -> (Spool, Recovered) {
    Spool::open(folder, limits).expect("open")
}

fn cursor(spool: &Spool, name: &str, start: Start) -> Cursor {
    spool.open_cursors(&[name], start).expect("asked").wait().expect("a cursor").remove(0)
}

fn append(spool: &Spool, ids: std::ops::Range<u64>) -> super::super::Stored {
    let messages: Vec<_> = ids.map(message).collect();
    spool.append(&messages).expect("taken").wait().expect("durable")
}

fn ids(spool: &Spool, cursor: &Cursor) -> Vec<u64> {
    let (records, _) = read_all(&mut spool.reader(cursor));
    records.iter().map(assert_genuine).collect()
}

#[test]
fn one_group_commit_serves_many_producers() {
    let folder = tempfile::tempdir().expect("a folder");
    let (spool, found) = open(folder.path(), SpoolLimits::default());
    assert_eq!(found, Recovered::default());
    let all = cursor(&spool, "all", Start::Tail);
    // Nobody waits for a ticket before everything is handed in, so commits have to be shared.
    std::thread::scope(|scope| {
        for producer in 0..8 {
            let spool = &spool;
            scope.spawn(move || {
                let mut tickets = Vec::new();
                for n in 0..50 {
                    tickets.push(spool.append(&[message(producer * 1000 + n)]).expect("room"));
                }
                let mut last = None;
                for ticket in tickets {
                    let stored = ticket.wait().expect("durable");
                    assert!(last.is_none_or(|last| last < stored.first), "a producer's order");
                    last = Some(stored.first);
                }
            });
        }
    });
    let status = spool.status();
    assert_eq!((status.appended, status.end, status.cursors[0].backlog), (400, 400, 400));
    assert!(status.commits < 400, "{} commits", status.commits);
    let first = ids(&spool, &all);
    assert_eq!(first.len(), 400);
    all.commit(150);
    spool.close();
    let (spool, found) = open(folder.path(), SpoolLimits::default());
    assert_eq!((found.records, found.cursors, found.torn_bytes), (400, 1, 0));
    // One that exists keeps its position.
    let all = cursor(&spool, "all", Start::Tail);
    assert_eq!((all.position(), all.durable()), (150, 150));
    assert_eq!(ids(&spool, &all), first[150..]);
    assert_eq!(append(&spool, 9000..9001).first, 400);
}

#[tokio::test]
async fn a_reader_waits_for_what_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (spool, _) = open(folder.path(), limits());
    let mut cursors =
        spool.open_cursors(&["a", "b"], Start::Tail).expect("asked").done().await.expect("cursors");
    let b = cursors.remove(1);
    let mut reader = spool.reader(&b);
    let (ticket, ()) = tokio::join!(
        async { spool.append(&[message(1)]).expect("room").done().await },
        reader.ready()
    );
    let mut records = Vec::new();
    let step = reader.read(10, 1000, &mut records).expect("readable");
    assert_eq!((step.next, step.skipped, records.len()), (1, 0, 1));
    assert_eq!(ticket.expect("durable").first, records[0].position);
    assert!(spool.append(&[]).expect("nothing").done().await.is_ok());
    // What is read is committed as far as it is delivered, never beyond the log.
    b.commit(7);
    assert_eq!(b.position(), 1);
    spool.flush().expect("asked").done().await.expect("durable");
    assert_eq!(b.durable(), 1);
    spool.remove_cursors(&["a", "unknown"]).expect("asked").done().await.expect("removed");
    assert_eq!(spool.status().cursors.len(), 1);
}

#[test]
fn r7_a_folder_belongs_to_one_spool_and_one_version() {
    let folder = tempfile::tempdir().expect("a folder");
    let (spool, _) = open(folder.path(), limits());
    append(&spool, 1..2);
    assert!(matches!(Spool::open(folder.path(), limits()), Err(OpenError::Locked)));
    spool.close();
    let few = SpoolLimits { bytes: 100, ..limits() };
    assert!(matches!(Spool::open(folder.path(), few), Err(OpenError::Limits(_))));
    // A header of a later version is refused, and nothing is touched.
    let listed =
        || std::fs::read_dir(folder.path()).expect("a folder").flatten().map(|entry| entry.path());
    let segment = listed().find(|path| path.to_string_lossy().contains("log-")).expect("a segment");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    bytes[8] = 7;
    let sum = crc32fast::hash(&bytes[..124]);
    bytes[124..128].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(&segment, &bytes).expect("written");
    let count = listed().count();
    let error = Spool::open(folder.path(), limits()).expect_err("another version");
    assert!(matches!(error, OpenError::Version { found: 7, .. }), "{error}");
    assert!(error.to_string().contains("reads format 1"), "{error}");
    assert_eq!(listed().count(), count);
}

#[test]
fn a_full_spool_blocks_until_its_cursors_move() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = SpoolLimits { bytes: 64 << 10, segment_bytes: 16 << 10, ..SpoolLimits::default() };
    let (spool, _) = open(folder.path(), limits.clone());
    let slow = cursor(&spool, "slow", Start::Tail);
    let mut next = 1;
    let full = loop {
        match spool.append(&[message(next)]) {
            Ok(ticket) => drop(ticket.wait().expect("durable")),
            Err(full) => break full,
        }
        next += 1;
    };
    assert!(matches!(full, Refused::Full { limit, .. } if limit == limits.bytes), "{full}");
    assert_eq!(ids(&spool, &slow), (1..next).collect::<Vec<_>>());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let messages = [message(next)];
        let waiting = spool.append_when_room(&messages);
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            taken = &mut waiting => panic!("there was no room: {taken:?}"),
            () = std::future::ready(()) => {}
        }
        slow.commit(slow.shared.end());
        waiting.await.expect("room").done().await.expect("durable");
    });
    assert_eq!(ids(&spool, &slow), [next]);
    assert!(spool.status().bytes < limits.bytes / 2);
}

#[test]
fn a_last_segment_that_fills_the_log_gives_way_when_it_is_delivered() {
    let folder = tempfile::tempdir().expect("folder");
    let limits = limits();
    let (spool, _) = open(folder.path(), limits.clone());
    let cursor = cursor(&spool, "all", Start::Tail);
    // One append is one group commit, and a group is not split over segments.
    let mut bytes = Vec::new();
    let room = usize::try_from(limits.bytes).expect("small") - (8 << 10);
    let count = (1..).take_while(|id| {
        encode(&message(*id), None, &mut bytes);
        bytes.len() + 24 * *id as usize <= room
    });
    let stored = append(&spool, 1..count.count() as u64);
    let long = [Message { payload: vec![0; 200 << 10].into(), ..message(1) }];
    let refused = spool.append(&long).expect_err("no room");
    assert!(matches!(refused, Refused::Full { .. }), "{refused:?}");
    cursor.commit(stored.first + stored.count);
    let began = Instant::now();
    while let Err(refused) = spool.append(&long) {
        assert!(matches!(refused, Refused::Full { .. }), "{refused:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", spool.status());
        std::thread::yield_now();
    }
    spool.close();
}

#[test]
fn a_full_spool_drops_by_its_policy_and_counts() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest] {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = SpoolLimits {
            bytes: 64 << 10,
            segment_bytes: 16 << 10,
            when_full,
            ..SpoolLimits::default()
        };
        let (spool, _) = open(folder.path(), limits.clone());
        let slow = cursor(&spool, "slow", Start::Tail);
        let fast = cursor(&spool, "fast", Start::Tail);
        let mut reader = spool.reader(&slow);
        let mut got = Vec::new();
        let mut skipped = reader.read(1, 1, &mut got).expect("readable").skipped;
        for id in 1..2001 {
            append(&spool, id..id + 1);
            fast.commit(fast.shared.end());
            if id == 10 {
                skipped += reader.read(3, 1 << 20, &mut got).expect("readable").skipped;
            }
        }
        let (rest, more) = read_all(&mut reader);
        skipped += more;
        let status = spool.status();
        let of = |name: &str| {
            status.cursors.iter().find(|cursor| cursor.name == name).expect("known").clone()
        };
        // The balance: received is read, dropped at the end, or dropped at the start.
        let read = (got.len() + rest.len()) as u64;
        assert_eq!(read + skipped + status.dropped_newest, 2000, "{when_full:?}");
        assert_eq!((of("slow").lost, of("fast").dropped_full), (0, 0));
        assert!(status.bytes <= limits.bytes + limits.segment_bytes, "{}", status.bytes);
        if when_full == WhenFull::DropOldest {
            assert_eq!(
                of("slow").dropped_full,
                skipped + got.len() as u64,
                "the three read were not committed"
            );
            assert_eq!(rest.last().map(assert_genuine), Some(2000));
        } else {
            // Who delivers everything frees nothing while another one waits.
            assert!(status.dropped_newest > 1000 && skipped == 0);
        }
    }
}

const LATER: Now = Now { wall_ms: 3_600_000, steady_ms: 3_600_000 };

fn now(ms: u64) -> Now {
    Now { wall_ms: ms, steady_ms: ms }
}

#[test]
fn what_is_too_old_is_dropped_and_counted() {
    let limits = SpoolLimits { max_age: Duration::from_secs(1000), ..limits() };
    let (mut log, _) = Log::open(Arc::new(SimFs::new(1)), limits, now(1)).expect("open");
    let place =
        log.open_cursors(&[("slow".into(), Start::Tail)], now(1)).expect("a cursor").remove(0);
    log.write(&[bodies(0..10)], now(10)).expect("written");
    log.tend(now(900_000));
    log.write(&[bodies(10..15)], now(900_010)).expect("written");
    assert_eq!(place.dropped_age.load(Ordering::Relaxed), 0);
    log.tend(now(2_000_000));
    assert_eq!(
        place.dropped_age.load(Ordering::Relaxed),
        10,
        "the second segment was begun 1100 s ago"
    );
    let cursor = Cursor { shared: log.shared.clone(), place: place.clone() };
    let (records, skipped) = read_all(&mut Reader::new(&cursor));
    assert_eq!((records.len(), skipped), (5, 0), "its position has moved");
    log.tend(LATER);
    assert_eq!(place.dropped_age.load(Ordering::Relaxed), 15);
    assert_eq!(place.lost.load(Ordering::Relaxed), 0);
}

#[test]
fn r5_a_full_disk_stops_appends_and_nothing_else() {
    let fs = SimFs::new(1);
    let (mut log, _) = Log::open(Arc::new(fs.clone()), limits(), now(0)).expect("open");
    let place = log.open_cursors(&[("a".into(), Start::Tail)], now(0)).expect("a cursor").remove(0);
    let cursor = Cursor { shared: log.shared.clone(), place };
    let mut stored = 0;
    fs.set_faults(Faults { full: true, ..Faults::default() });
    // The space that was reserved is used up first.
    let error = loop {
        match log.write(&[bodies(stored..stored + 10)], now(stored)) {
            Ok(_) => stored += 10,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, std::io::ErrorKind::StorageFull);
    assert!(stored >= 50, "{stored}");
    assert!(
        log.shared.status(0).trouble.is_some_and(|trouble| trouble.contains("making a segment"))
    );
    // Reading and cursors go on, and what is delivered frees the disk.
    let (records, skipped) = read_all(&mut Reader::new(&cursor));
    assert_eq!((records.len() as u64, skipped), (stored, 0));
    cursor.commit(cursor.shared.end());
    log.checkpoint(now(stored)).expect("ledgers have their space");
    assert_eq!(cursor.durable(), stored);
    // No attempt within the pause, one after it.
    fs.set_faults(Faults::default());
    log.write(&[bodies(0..1)], now(stored)).expect_err("too early");
    log.tend(now(stored + 1000));
    assert_eq!(log.shared.status(0).trouble, None);
    assert_eq!(log.write(&[bodies(7000..7001)], now(stored + 1000)).expect("space"), stored);
    let (records, _) = read_all(&mut Reader::new(&cursor));
    assert_eq!(records.iter().map(assert_genuine).collect::<Vec<_>>(), [7000]);
}

#[test]
fn a_start_on_a_full_disk_is_not_taken_for_one_that_works() {
    let fs = SimFs::new(1);
    Log::open(Arc::new(fs.clone()), limits(), now(0))
        .expect("open")
        .0
        .close(now(0))
        .expect("closed");
    fs.set_faults(Faults { full: true, ..Faults::default() });
    let (mut log, _) = Log::open(Arc::new(fs.clone()), limits(), now(1)).expect("open");
    let trouble = log.shared.status(0).trouble.expect("it is said before anything is written");
    assert!(trouble.contains("making a segment"), "{trouble}");
    log.tend(now(1000));
    assert!(log.shared.status(0).trouble.is_some(), "and stays said");
    fs.set_faults(Faults::default());
    log.tend(now(2000));
    assert_eq!(log.shared.status(0).trouble, None);
    assert_eq!(log.write(&[bodies(1..2)], now(2000)).expect("space"), 0);
}

#[test]
fn segments_are_smaller_when_room_is_short() {
    let limits = SpoolLimits { segment_bytes: 64 << 10, bytes: 1 << 20, ..limits() };
    let fs = SimFs::new(1);
    // What a smaller segment leaves is an eighth of a usual one.
    for (room, want) in
        [(64 << 10, 64 << 10), (63 << 10, 32 << 10), (39 << 10, 16 << 10), (13 << 10, 4 << 10)]
    {
        fs.set_faults(Faults { room: Some(room), ..Faults::default() });
        let (mut log, _) = Log::open(Arc::new(fs.clone()), limits.clone(), now(0)).expect("open");
        let active = |log: &Log| {
            log.active.as_ref().map(|active| (active.room, active.file.size().expect("size")))
        };
        assert_eq!(active(&log), Some((want, want)), "{room}");
        let first = log.shared.status(0).segments;
        let mut stored = 0;
        while log.shared.status(0).segments == first {
            log.write(&[bodies(stored..stored + 10)], now(0)).expect("written");
            stored += 10;
        }
        assert_eq!(active(&log).map(|(room, _)| room), Some(want), "{room}");
        log.close(now(0)).expect("closed");
    }
    fs.set_faults(Faults { room: Some((12 << 10) - 1), ..Faults::default() });
    let (log, _) = Log::open(Arc::new(fs.clone()), limits, now(0)).expect("open");
    assert!(log.shared.status(0).trouble.is_some(), "the rest is for others");
}

#[test]
fn r6_a_failed_sync_is_answered_with_a_new_segment() {
    let fs = SimFs::new(1);
    let (mut log, _) = Log::open(Arc::new(fs.clone()), limits(), now(0)).expect("open");
    log.open_cursors(&[("a".into(), Start::Tail)], now(0)).expect("a cursor");
    log.write(&[bodies(1..3)], now(0)).expect("written");
    let segments = log.shared.status(0).segments;
    fs.set_faults(Faults { sync_in: Some(0), ..Faults::default() });
    assert_eq!(log.write(&[bodies(3..5)], now(0)).expect("the second attempt"), 2);
    let status = log.shared.status(0);
    assert_eq!((status.segments, status.errors, status.trouble), (segments + 1, 1, None));
}

/// A failed sync leaves pages that look written and are not. A process that is killed then leaves them to
/// the next one, which must not take them for durable because syncing again succeeds.
#[test]
fn r6_what_a_failed_sync_left_in_memory_is_written_again_at_the_next_start() {
    for seed in 0..200 {
        let fs = SimFs::new(seed);
        let mut chance = Chance(seed);
        let open = || Log::open(Arc::new(fs.clone()), limits(), now(0)).expect("open");
        let (mut log, _) = open();
        log.open_cursors(&[("a".into(), Start::Tail)], now(0)).expect("a cursor");
        log.write(&[bodies(1..3)], now(0)).expect("written");
        let sync_in = Some(0);
        if seed % 2 == 0 {
            fs.set_faults(Faults { sync_in, ..Faults::default() });
            log.checkpoint(now(0)).expect_err("the ledger is not synced");
        } else {
            // The process is killed right behind the sync.
            fs.set_faults(Faults { sync_in, dead_in: Some(2), ..Faults::default() });
            log.write(&[bodies(3..9)], now(0)).expect_err("the group is not synced");
        }
        drop(log);
        // The next one is killed in the middle of its start, with the power.
        if seed % 4 < 2 {
            let dead_in = Some(chance.below(14) as u32);
            fs.set_faults(Faults { dead_in, ..Faults::default() });
            drop(Log::open(Arc::new(fs.clone()), limits(), now(0)));
            fs.crash(&mut chance);
        }
        fs.set_faults(Faults::default());
        let mut seen = Vec::new();
        for restart in 0..3 {
            let (log, found) = open();
            assert!(!found.cursors_lost && found.missing.is_empty(), "seed {seed}: {found:?}");
            let place = log.shared.state().places.get("a").expect("a cursor").clone();
            let cursor = Cursor { shared: log.shared.clone(), place };
            let (records, skipped) = read_all(&mut Reader::new(&cursor));
            let ids: Vec<_> = records.iter().map(assert_genuine).collect();
            assert_eq!(skipped, 0, "seed {seed}");
            if restart == 0 {
                seen = ids;
            } else {
                assert_eq!(ids, seen, "seed {seed}: what was served stays");
            }
            drop(log);
            fs.crash(&mut chance);
        }
    }
}

/// What a fault is put into: 40 group commits, with cursors that move, made durable now and then.
/// Gives positions and ids of what was stored.
fn work_through(log: &mut Log, cursor: &Cursor) -> (BTreeMap<u64, u64>, u64) {
    let (mut stored, mut failed) = (BTreeMap::new(), 0);
    for n in 0..40 {
        let (ids, at) = (n * 3..n * 3 + 3, now(n * 300));
        match log.write(&[bodies(ids.clone())], at) {
            Ok(first) => stored.extend(ids.enumerate().map(|(n, id)| (first + n as u64, id))),
            Err(_) => failed += 1,
        }
        if n % 4 == 0 {
            cursor.commit(n);
        }
        if n % 6 == 0 {
            // It fails with the fault, and is due again.
            log.checkpoint(at).ok();
        }
        log.tend(at);
    }
    (stored, failed)
}

#[test]
fn r6_a_fault_at_any_call_loses_nothing_and_is_not_even_noticed() {
    // `TIDEGATE_R6_STEP=1` takes each of the 200 calls.
    let (mut hit, step) = (0, setting("TIDEGATE_R6_STEP", 5));
    for k in (0..200).step_by(step as usize) {
        let faults = [
            Faults { sync_in: Some(k), ..Faults::default() },
            Faults { write_in: Some(k), ..Faults::default() },
            Faults { names_in: Some(k), ..Faults::default() },
        ];
        for (kind, fault) in faults.into_iter().enumerate() {
            let fs = SimFs::new(u64::from(k));
            let (mut log, _) = Log::open(Arc::new(fs.clone()), limits(), now(0)).expect("open");
            let places = log
                .open_cursors(&[("all".into(), Start::Tail), ("some".into(), Start::Tail)], now(0));
            let [all, some] = <[_; 2]>::try_from(places.expect("cursors")).expect("two");
            let of = |log: &Log, place| Cursor { shared: log.shared.clone(), place };
            let (all, some) = (of(&log, all), of(&log, some));
            fs.set_faults(fault);
            let (stored, failed) = work_through(&mut log, &some);
            // One fault is answered with another segment, or by another turn of the ledger.
            assert_eq!((stored.len(), failed), (120, 0), "fault {kind} at {k}");
            hit += u64::from(fs.faults() != fault && log.shared.status(0).errors > 0);
            fs.set_faults(Faults::default());
            log.checkpoint(now(99_999)).expect("durable");
            assert_eq!(log.shared.status(0).trouble, None, "fault {kind} at {k}");
            let serves = |cursor: &Cursor| {
                let (records, skipped) = read_all(&mut Reader::new(cursor));
                let got: Vec<_> =
                    records.iter().map(|one| (one.position, assert_genuine(one))).collect();
                let expected: Vec<_> =
                    stored.range(cursor.position()..).map(|(at, id)| (*at, *id)).collect();
                assert_eq!((got, skipped), (expected, 0), "fault {kind} at {k}");
            };
            serves(&all);
            serves(&some);
            drop(log);
            fs.crash(&mut Chance(u64::from(k)));
            let (log, _) = Log::open(Arc::new(fs.clone()), limits(), now(0)).expect("open");
            for name in ["all", "some"] {
                let place = log.shared.state().places.get(name).expect("a cursor").clone();
                assert_eq!(
                    place.position.load(Ordering::Relaxed),
                    if name == "all" { 0 } else { 36 }
                );
                serves(&of(&log, place));
            }
        }
    }
    assert!(hit > 90 / step, "{hit} faults were met");
}

#[test]
fn r24_what_is_too_long_is_refused_before_it_is_queued() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = SpoolLimits { record_bytes: 1000, queue_bytes: 1000, ..limits() };
    let (spool, _) = open(folder.path(), limits);
    let long = contract::Message { payload: vec![0; 1000].into(), ..message(1) };
    let refused = spool.append(&[message(2), long]).expect_err("too long");
    assert!(matches!(refused, Refused::TooLong { most: 1000, .. }), "{refused}");
    assert_eq!(spool.status().queued_bytes, 0);
    let name = "n".repeat(2000);
    assert!(matches!(spool.open_cursors(&[&name], Start::Tail), Err(Refused::Name { got: 2000 })));
}

#[test]
fn a_record_costs_at_most_64_bytes_more() {
    let message = contract::Message {
        id: 1_790_000_000_000 << 20,
        received_ms: 1_790_000_000_000,
        origin: Arc::new(contract::Origin {
            source: Some("mqtt".into()),
            client_id: Some("a-client-id-of-23-bytes".into()),
            username: None,
            peer: Some([192, 0, 2, 1].into()),
        }),
        ..message(1)
    };
    let mut bytes = Vec::new();
    encode(&message, None, &mut bytes);
    let more = 16 + bytes.len() - message.topic.as_str().len() - message.payload.len();
    assert!(more <= 64, "{more}");
}
