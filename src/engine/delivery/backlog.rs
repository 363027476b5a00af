//! Reading from the log what a lane could not keep in memory, or what an earlier run left.
//!
//! The lane's own version of the rule is evaluated again: the log has the messages as they came.
//! Evaluation is deterministic, so what comes of it is the same. Rules' counters are not touched.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contract::{Body, Message, Record};
use tokio::time::Instant;

use super::counts::add;
use super::envelopes;
use super::fanout::Fanout;
use super::item::Item;
use super::lane::{Lane, Log};
use super::queue::{Ahead, Chunk};
use crate::spool::{self, Limit, Reader};
use crate::watch::Place;
use rule::ActionPlace;
use sql::{DataType, Input, Plan, Query, Scratch};

/// Records and bytes that are read at once.
const CHUNK_RECORDS: usize = 4096;
const CHUNK_BYTES: usize = 4 << 20;
/// Bytes that are looked at for them.
const SCAN_BYTES: u64 = 64 << 20;

/// How long a lane waits at most for the shards to come on.
const WAIT: Duration = Duration::from_millis(20);
/// How long it waits after the disk could not be read.
const WAIT_FOR_DISK: Duration = Duration::from_secs(1);

/// A lane's reader and what it needs to evaluate what it reads.
pub(super) struct Reading {
    rule: Arc<str>,
    place: Arc<Place>,
    reader: Reader,
    plan: Option<(Arc<Query>, Plan)>,
    scratch: Scratch,
    out: Vec<u8>,
    records: Vec<spool::Record>,
    /// It was told that the disk cannot be read.
    told: bool,
}

/// Reads the next piece of the log, when the lane is behind.
pub(super) async fn read_on(lane: &Arc<Lane>, reading: &mut Option<Box<Reading>>) {
    let Some(log) = lane.log.get() else { return };
    let moved = log.storage.progress.moved.notified();
    // First the frontier: what is forgotten after the next look lies behind it.
    let frontier = log.storage.progress.frontier();
    let Some(ahead) = lane.lock().ahead() else { return };
    let until = ahead.end.map_or(frontier, |end| end.min(frontier));
    let mut chunk = Chunk::default();
    let (from, nothing) = (ahead.read, until <= ahead.read);
    if !nothing {
        // Closed only by a defect; then everybody reads.
        let permit = log.storage.reads.acquire().await.ok();
        let mut own = reading.take().unwrap_or_else(|| Box::new(Reading::new(lane, log)));
        let place = Arc::clone(lane);
        let read = tokio::task::spawn_blocking(move || {
            let chunk = own.read(&place, &ahead, until);
            (own, chunk)
        });
        let read = read.await;
        drop(permit);
        match read {
            Ok((own, read)) => {
                chunk = read;
                *reading = Some(own);
            }
            Err(error) => tracing::error!(%error, "reading the log failed unexpectedly"),
        }
    }
    let stuck = !nothing && chunk.next <= from;
    lane.bury_stalled(std::mem::take(&mut chunk.given_up)).await;
    let lost = {
        let mut queue = lane.lock();
        add(&lane.counts.received, chunk.fresh);
        queue.read(chunk)
    };
    if let Some(lost) = lost {
        *reading = None;
        if lost > 0 {
            let failures = &lane.troubled().failures;
            add(&failures.failed, usize::try_from(lost).unwrap_or(usize::MAX));
            failures.lost(lost);
        }
    } else if nothing {
        tokio::time::timeout(WAIT, moved).await.ok();
    } else if stuck {
        tokio::select! {
            () = tokio::time::sleep(WAIT_FOR_DISK) => {}
            () = log.storage.ended() => {}
        }
    }
    lane.stir();
}

impl Reading {
    fn new(lane: &Lane, log: &Log) -> Self {
        let query = lane.parts.query.clone();
        let rule: Arc<str> = lane.parts.rule.name.as_str().into();
        Self {
            place: log.storage.watch.place(Some(Arc::clone(&rule))),
            rule,
            reader: log.storage.spool.reader(&log.cursor),
            plan: query.map(|query| (Arc::clone(&query), Plan::new(vec![query]))),
            scratch: Scratch::default(),
            out: Vec::new(),
            records: Vec::new(),
            told: false,
        }
    }

    /// Reads and evaluates a piece. An error of the disk is told, and is tried again later.
    fn read(&mut self, lane: &Arc<Lane>, ahead: &Ahead, until: u64) -> Chunk {
        let Some(log) = lane.log.get() else { return Chunk::default() };
        self.reader.seek(ahead.read);
        self.records.clear();
        let own = log.cursor.name();
        let for_errors = lane.parts.place == ActionPlace::Error;
        let query = self.plan.as_ref().map(|(query, _)| Arc::clone(query));
        let wants = |topic: &str, bound: Option<&str>| match bound {
            Some(bound) => bound == own,
            None => !for_errors && query.as_ref().is_some_and(|query| query.matches_text(topic)),
        };
        let limit = Limit { records: CHUNK_RECORDS, bytes: CHUNK_BYTES, scan: SCAN_BYTES, until };
        let read = self.reader.read_where(limit, wants, &mut self.records);
        if let Err(error) = &read
            && !self.told
        {
            let (rule, action) = (&*self.rule, &**lane.name());
            tracing::error!(rule, action, %error, "cannot read the spool; what waits there stays");
        }
        self.told = read.is_err();
        let mut chunk = Chunk { next: self.reader.position(), ..Chunk::default() };
        let errors = lane.errors();
        for found in std::mem::take(&mut self.records) {
            let position = found.position;
            let before = chunk.items.len();
            if for_errors {
                let record = envelopes::open(&lane.parts.rule.name, found.message);
                chunk.items.extend(record.map(|record| Item {
                    position: Some(position),
                    ..Item::volatile(record, position)
                }));
            } else {
                let shard = log.storage.shard_of(&found.message);
                if ahead.from.get(shard).is_some_and(|from| position < *from) {
                    continue;
                }
                if let Some(attempts) = log.storage.watch.gives_up(position, &self.rule) {
                    chunk.given_up.push((found.message, attempts));
                    continue;
                }
                self.place.begin(Some(position));
                self.evaluate(log, position, found.message, errors.as_ref(), &mut chunk.items);
                self.place.end();
            }
            let made = chunk.items.len() - before;
            if position < log.begun {
                chunk.fresh += made;
            } else {
                chunk.known += made as u64;
            }
        }
        chunk
    }

    fn evaluate(
        &mut self,
        log: &Log,
        position: u64,
        message: Message,
        errors: Option<&Arc<Lane>>,
        items: &mut Vec<Item>,
    ) {
        let Some((query, plan)) = &self.plan else { return };
        let valid = plan.prepare(&message.payload, &mut self.scratch).is_ok();
        if !valid && query.data_type() == DataType::Json {
            return;
        }
        self.out.clear();
        let input = Input {
            message: &message,
            facts: &*log.storage.facts,
            rule: &self.rule,
            has_topic: true,
        };
        let verdict = plan.evaluate(0, &input, &message.payload, &mut self.scratch, &mut self.out);
        let found: Vec<(Body, std::ops::Range<usize>)> =
            verdict.records(&self.scratch, 0..self.out.len()).collect();
        if found.is_empty() {
            return;
        }
        let since = waited(message.received_ms, log.storage.now_ms());
        let block = Bytes::copy_from_slice(&self.out);
        let batch: Arc<[Message]> = vec![message].into();
        for (nth, (body, bytes)) in (0..).zip(found) {
            let record = Record::new(
                Arc::clone(&batch),
                0,
                Arc::clone(&self.rule),
                body,
                block.slice(bytes),
            )
            .numbered(nth);
            let fanout = errors
                .map(|errors| Fanout::new(record.clone(), Arc::clone(errors), query.unnests()));
            let item = Item::volatile(record, position);
            items.push(Item { position: Some(position), fanout, since, ..item });
        }
    }
}

/// The moment at which a message was received, on the clock that is never set.
fn waited(received_ms: u64, now_ms: u64) -> Instant {
    let now = Instant::now();
    let age = Duration::from_millis(now_ms.saturating_sub(received_ms));
    now.checked_sub(age).unwrap_or(now)
}
