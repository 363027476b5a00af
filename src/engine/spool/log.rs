//! The writer's side: group commits, rotation, the ledger, deletion.
//!
//! A state machine without a thread or a clock, so that tests can drive it through every crash. It
//! knows no queue and resolves no ticket ([`super::queue`] does).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cursor::{Place, Start};
use super::frame::{HEAD, Head};
use super::fs::{File, Fs, Lock};
use super::ledger::Ledger;
use super::limits::{SpoolLimits, WhenFull};
use super::recover::{OpenError, Recovered, recover};
use super::segment::{HEADER, Header, Identity};
use super::shared::{Index, Segment, Shared, State};

/// How long after a failure the disk is left alone, in milliseconds.
const RETRY_MS: u64 = 250;
/// The time between two writes of a small ledger, in milliseconds.
pub(super) const LEDGER_WRITE_MS: u64 = 20;
/// Bytes of ledger for which the time between two writes grows by [`LEDGER_WRITE_MS`].
const LEDGER_STEP: u64 = 256 << 10;
/// The time between two syncs of the ledger, in milliseconds.
const LEDGER_SYNC_MS: u64 = 1000;

/// Why a group commit failed. Nothing of it was acknowledged, and it is not in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the spool cannot write: {doing}: {text}; nothing of this was stored, send it again")]
pub struct WriteError {
    /// What was tried.
    pub doing: &'static str,
    /// The kind of the system's error.
    pub kind: io::ErrorKind,
    /// What the system said.
    pub text: Arc<str>,
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> WriteError {
    move |error| WriteError { doing, kind: error.kind(), text: error.to_string().into() }
}

/// The time, twice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Milliseconds since 1970.
    pub wall_ms: u64,
    /// Milliseconds of a clock that is never set.
    pub steady_ms: u64,
}

/// Bodies of records, one after the other.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    pub bytes: Vec<u8>,
    /// Length and CRC-32 of each.
    pub each: Vec<(u32, u32)>,
}

impl Bodies {
    /// Takes what stands in `bytes` behind the last body as a body.
    pub(super) fn close(&mut self) -> usize {
        let start: usize = self.each.iter().map(|(len, _)| *len as usize).sum();
        let body = self.bytes.get(start..).unwrap_or_default();
        self.each.push((body.len() as u32, crc32fast::hash(body)));
        body.len()
    }

    /// Bytes in a segment.
    pub(super) fn span(&self) -> u64 {
        (self.bytes.len() + self.each.len() * HEAD) as u64
    }
}

struct Active {
    file: Arc<dyn File>,
    base: u64,
    salt: u64,
    /// Where the next head goes.
    at: u64,
    created_ms: u64,
    index: Arc<Index>,
}

/// Which limit drops records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Full,
    Age,
}

/// The log and its ledger, opened for writing.
pub(super) struct Log {
    pub shared: Arc<Shared>,
    fs: Arc<dyn Fs>,
    limits: SpoolLimits,
    ledger: Ledger,
    active: Option<Active>,
    next: u64,
    serial: u64,
    graves: Vec<String>,
    buffer: Vec<u8>,
    failure: Option<(u64, WriteError)>,
    /// Nothing is deleted before the owner has opened all cursors again.
    hold: bool,
    dropped_to: u64,
    /// The ledger holds something that is not durable yet.
    unsynced: bool,
    written_ms: u64,
    synced_ms: u64,
    _lock: Box<dyn Lock>,
}

impl Log {
    /// Opens a folder and begins a new segment. A disk that is full or broken does not keep the log
    /// from being read.
    ///
    /// # Errors
    /// An [`OpenError`].
    pub(super) fn open(
        fs: Arc<dyn Fs>,
        limits: SpoolLimits,
        now: Now,
    ) -> Result<(Self, Recovered), OpenError> {
        let start = recover(&*fs, &limits)?;
        let mut state = start.state;
        if !start.report.missing.is_empty() || start.report.damaged > 0 {
            tracing::warn!(report = ?start.report, "the spool has lost records; they are skipped and counted");
        }
        state.errors = 0;
        let shared = Arc::new(Shared::new(fs.clone(), state));
        shared.end.store(start.next, Ordering::Release);
        let mut log = Self {
            shared,
            fs,
            limits,
            ledger: start.ledger,
            active: None,
            next: start.next,
            serial: start.serial,
            graves: Vec::new(),
            buffer: Vec::new(),
            failure: None,
            hold: start.report.cursors_lost,
            dropped_to: 0,
            unsynced: false,
            written_ms: now.steady_ms,
            synced_ms: now.steady_ms,
            _lock: start.lock,
        };
        // The ends of older segments stand in the new one's header; they stay until that is durable.
        if log.begin_segment(now).is_ok() {
            log.graves.extend(start.graves);
        }
        log.checkpoint(now).ok();
        Ok((log, start.report))
    }

    /// Writes records as one group commit and returns the position of the first.
    ///
    /// # Errors
    /// A [`WriteError`] after a second attempt on a new segment has failed too, or when one failed
    /// less than [`RETRY_MS`] ago.
    pub(super) fn write(&mut self, batch: &[Bodies], now: Now) -> Result<u64, WriteError> {
        if let Some((until, error)) = &self.failure
            && now.steady_ms < *until
        {
            return Err(error.clone());
        }
        let first = self.next;
        let result = self.try_write(batch, now).or_else(|error| {
            self.abandon(&error);
            self.try_write(batch, now)
        });
        match result {
            Ok(()) => {
                self.failure = None;
                self.shared.state().trouble = None;
                if self.limits.when_full == WhenFull::DropOldest {
                    while self.used() > self.limits.bytes && self.drop_first(Reason::Full, now) {}
                }
                Ok(first)
            }
            Err(error) => {
                self.abandon(&error);
                self.failure = Some((now.steady_ms + RETRY_MS, error.clone()));
                Err(error)
            }
        }
    }

    fn try_write(&mut self, batch: &[Bodies], now: Now) -> Result<(), WriteError> {
        let span: u64 = batch.iter().map(Bodies::span).sum();
        let fits = self.active.as_ref().is_some_and(|active| {
            let numbered = self.next - active.base < u64::from(u32::MAX / 2);
            active.at == HEADER || (active.at + span <= self.limits.segment_bytes && numbered)
        });
        if !fits {
            self.begin_segment(now)?;
        }
        let Some(active) = &mut self.active else {
            return Err(failed("beginning a segment")(io::ErrorKind::NotFound.into()));
        };
        let (base, start) = (active.base, active.at);
        let mut next = self.next;
        self.buffer.clear();
        for bodies in batch {
            let mut rest = bodies.bytes.as_slice();
            for (len, sum) in &bodies.each {
                let at = start + self.buffer.len() as u64;
                let nth = next - base;
                active.index.note(nth, at);
                let head =
                    Head { len: *len, first: next == self.next, nth: nth as u32, body: *sum };
                let (body, behind) = rest.split_at((*len as usize).min(rest.len()));
                self.buffer.extend(head.bytes(active.salt));
                self.buffer.extend_from_slice(body);
                (rest, next) = (behind, next + 1);
            }
        }
        active.file.write_at(&self.buffer, start).map_err(failed("writing the log"))?;
        active.file.sync().map_err(failed("syncing the log"))?;
        active.at = start + self.buffer.len() as u64;
        let at = active.at;
        self.buffer.shrink_to(8 << 20);
        let records = next - self.next;
        self.next = next;
        self.publish(base, at, records);
        Ok(())
    }

    /// Shows readers what has become durable.
    fn publish(&self, base: u64, bytes: u64, records: u64) {
        let mut state = self.shared.state();
        if let Some(segment) = state.segments.get_mut(&base) {
            (segment.end, segment.bytes) = (self.next, bytes);
        }
        state.commits += 1;
        state.appended += records;
        drop(state);
        self.count_used();
        self.shared.end.store(self.next, Ordering::Release);
        self.shared.arrived.notify_waiters();
    }

    fn count_used(&self) {
        let used = self.shared.state().segments.values().map(|segment| segment.bytes).sum();
        self.shared.used.store(used, Ordering::Release);
    }

    fn used(&self) -> u64 {
        self.shared.used.load(Ordering::Acquire)
    }

    /// Gives up the segment that is written: what was durable in it stays, and it ends there.
    fn abandon(&mut self, error: &WriteError) {
        let mut state = self.shared.state();
        state.errors += 1;
        if state.trouble.is_none() {
            tracing::error!(%error, "the spool does not take messages until it can write again");
        }
        state.trouble = Some(error.to_string());
        drop(state);
        if let Some(active) = self.active.take() {
            // Returns reserved space, which may be what is missing. Harmless when it fails too.
            active.file.set_len(active.at).ok();
        }
    }

    /// Begins a segment at the next position. Its header and its name are durable afterwards; so the
    /// end of the one before is known, whatever stands behind that end.
    fn begin_segment(&mut self, now: Now) -> Result<(), WriteError> {
        let identity = Identity { base: self.next, serial: self.serial, salt: self.fs.random() };
        self.serial += 1;
        let name = identity.name();
        let before = {
            let state = self.shared.state();
            let last = state.segments.values().rfind(|last| last.end > last.identity.base);
            last.map_or((self.next, self.next), |last| (last.identity.base, last.end))
        };
        let header = Header {
            identity,
            before_base: before.0,
            before_end: before.1,
            created_ms: now.wall_ms,
            ledger: self.ledger.durable(),
        };
        let file =
            self.fs.create(&name, self.limits.segment_bytes).map_err(failed("making a segment"))?;
        let made = (|| {
            file.write_at(&header.bytes(), 0).map_err(failed("writing a segment's header"))?;
            file.sync().map_err(failed("syncing a segment's header"))?;
            self.fs.sync_names().map_err(failed("syncing the folder"))
        })();
        if let Err(error) = made {
            // At the next start it is an empty segment, or one with the same base and a later serial wins.
            self.graves.push(name);
            return Err(error);
        }
        if let Some(active) = self.active.take() {
            active.file.set_len(active.at).ok();
        }
        let index = Arc::new(Index::default());
        let segment = Segment {
            identity,
            name,
            end: self.next,
            bytes: HEADER,
            created_ms: now.wall_ms,
            index: index.clone(),
        };
        let replaced = self.shared.state().segments.insert(identity.base, segment);
        self.graves.extend(replaced.map(|empty| empty.name));
        self.active = Some(Active {
            file,
            base: identity.base,
            salt: identity.salt,
            at: HEADER,
            created_ms: now.wall_ms,
            index,
        });
        self.count_used();
        Ok(())
    }

    /// Opens cursors; those that are new are durable when this returns.
    ///
    /// # Errors
    /// A [`WriteError`]; then none of the new ones exists.
    pub(super) fn open_cursors(
        &mut self,
        names: &[Arc<str>],
        start: Start,
        now: Now,
    ) -> Result<Vec<Arc<Place>>, WriteError> {
        let mut made = Vec::new();
        let mut places = Vec::new();
        {
            let mut state = self.shared.state();
            let oldest = state.oldest().unwrap_or(self.next);
            let position = match start {
                _ if self.hold => oldest,
                Start::Tail => self.next,
                Start::Oldest => oldest,
                Start::At(position) => position.clamp(oldest, self.next),
            };
            for name in names {
                let place = state.places.entry(name.clone()).or_insert_with(|| {
                    made.push(name.clone());
                    Place::new(name.clone(), position)
                });
                places.push(place.clone());
            }
        }
        if made.is_empty() {
            return Ok(places);
        }
        let result = self.checkpoint(now);
        if result.is_err() {
            let mut state = self.shared.state();
            for name in &made {
                state.places.remove(name);
            }
        }
        result.map(|()| places)
    }

    /// Removes cursors, durably.
    ///
    /// # Errors
    /// A [`WriteError`]; they are gone from this process all the same and may be back after a restart.
    pub(super) fn remove_cursors(
        &mut self,
        names: &[Arc<str>],
        now: Now,
    ) -> Result<(), WriteError> {
        {
            let mut state = self.shared.state();
            for name in names {
                if let Some(place) = state.places.remove(name) {
                    place.removed.store(true, Ordering::Relaxed);
                }
            }
        }
        self.checkpoint(now)
    }

    /// The owner has opened all cursors that it wants: segments may be deleted, and new cursors start
    /// where they are told to.
    pub(super) fn cursors_complete(&mut self) {
        self.hold = false;
    }

    /// Makes all cursors durable and deletes the segments that they have passed.
    ///
    /// # Errors
    /// A [`WriteError`]; what was durable stays so, and nothing is deleted.
    pub(super) fn checkpoint(&mut self, now: Now) -> Result<(), WriteError> {
        let result = self.write_ledger(now).and_then(|written| {
            self.ledger.sync().map_err(failed("syncing the ledger of cursors"))?;
            for (place, position) in written {
                place.durable.fetch_max(position, Ordering::AcqRel);
            }
            Ok(())
        });
        self.synced_ms = now.steady_ms;
        if let Err(error) = &result {
            self.unsynced = true;
            let mut state = self.shared.state();
            state.errors += 1;
            state.trouble.get_or_insert_with(|| error.to_string());
            return result;
        }
        self.unsynced = false;
        if self.failure.is_none() && self.active.is_some() {
            self.shared.state().trouble = None;
        }
        self.release();
        Ok(())
    }

    /// Hands the cursors to the system: a killed process leaves them.
    fn write_ledger(&mut self, now: Now) -> Result<Vec<(Arc<Place>, u64)>, WriteError> {
        self.shared.moved.store(false, Ordering::Release);
        self.written_ms = now.steady_ms;
        self.unsynced = true;
        let places: Vec<(Arc<Place>, u64)> = {
            let state = self.shared.state();
            let of = |place: &Arc<Place>| (place.clone(), place.position.load(Ordering::Acquire));
            state.places.values().map(of).collect()
        };
        let entries: Vec<_> =
            places.iter().map(|(place, position)| (place.name.clone(), *position)).collect();
        self.ledger.write(self.next, &entries).map_err(failed("writing the ledger of cursors"))?;
        Ok(places)
    }

    /// The position that every cursor has passed durably.
    fn passed(&self, state: &State) -> u64 {
        let durable = state.places.values().map(|place| place.durable.load(Ordering::Acquire));
        let passed = durable.min().unwrap_or(self.next);
        if self.hold { self.dropped_to } else { passed }
    }

    /// Deletes the segments that nobody needs. The last one stays: it says where the log ends.
    fn release(&mut self) {
        let freed: Vec<Segment> = {
            let mut state = self.shared.state();
            let passed = self.passed(&state);
            let last = state.segments.keys().next_back().copied().unwrap_or(0);
            let bases: Vec<u64> = state
                .segments
                .values()
                .filter(|segment| segment.identity.base != last && segment.end <= passed)
                .map(|segment| segment.identity.base)
                .collect();
            bases.iter().filter_map(|base| state.segments.remove(base)).collect()
        };
        let freed_any = !freed.is_empty();
        self.graves.extend(freed.into_iter().map(|segment| segment.name));
        if !self.graves.is_empty() {
            let fs = &self.fs;
            self.graves.retain(|name| {
                let gone = fs.remove(name);
                gone.is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
            });
            // A name that a power cut brings back is deleted at the next start.
            fs.sync_names().ok();
        }
        if freed_any {
            self.count_used();
            self.shared.room.notify_waiters();
        }
    }

    /// Drops the oldest segment for all cursors that have not passed it; false when nothing was freed.
    fn drop_first(&mut self, reason: Reason, now: Now) -> bool {
        let only = self.shared.state().segments.len() < 2;
        if only && self.begin_segment(now).is_err() {
            return false;
        }
        let before = self.used();
        {
            let state = self.shared.state();
            let Some(first) = state.segments.values().next() else { return false };
            let end = first.end;
            self.dropped_to = self.dropped_to.max(end);
            for place in state.places.values() {
                place.dropped_to.fetch_max(end, Ordering::AcqRel);
                let was = place.position.fetch_max(end, Ordering::AcqRel);
                let lost = end.saturating_sub(was.max(first.identity.base));
                let count =
                    if reason == Reason::Full { &place.dropped_full } else { &place.dropped_age };
                count.fetch_add(lost, Ordering::Relaxed);
            }
        }
        self.checkpoint(now).is_ok() && self.used() < before
    }

    /// Does what is due besides writing; says in how many milliseconds to call it again.
    pub(super) fn tend(&mut self, now: Now) -> u64 {
        if self.active.is_none()
            && self.failure.as_ref().is_none_or(|(until, _)| now.steady_ms >= *until)
        {
            match self.begin_segment(now) {
                Ok(()) => {
                    self.failure = None;
                    self.shared.state().trouble = None;
                }
                Err(error) => self.failure = Some((now.steady_ms + RETRY_MS, error)),
            }
        }
        self.drop_old(now);
        let pause = LEDGER_WRITE_MS * (1 + self.ledger.len() as u64 / LEDGER_STEP);
        let moved = self.shared.moved.load(Ordering::Acquire);
        if moved && now.steady_ms >= self.written_ms + pause {
            // What fails here fails again, and is reported, when it is synced.
            self.write_ledger(now).ok();
        }
        let due = self.unsynced && now.steady_ms >= self.synced_ms + LEDGER_SYNC_MS;
        if due || (self.could_free() && now.steady_ms >= self.synced_ms + pause) {
            self.checkpoint(now).ok();
        }
        if self.shared.moved.load(Ordering::Acquire) {
            (self.written_ms + pause).saturating_sub(now.steady_ms).max(1)
        } else if self.active.is_none() {
            RETRY_MS
        } else {
            LEDGER_SYNC_MS
        }
    }

    /// Whether a segment waits only for the ledger to be synced.
    fn could_free(&self) -> bool {
        let state = self.shared.state();
        let ahead = state.places.values().map(|place| place.position.load(Ordering::Acquire));
        let passed = ahead.min().unwrap_or(self.next);
        let first = state.segments.values().next();
        !self.hold && state.segments.len() > 1 && first.is_some_and(|first| first.end <= passed)
    }

    /// Drops segments whose newest record is too old.
    fn drop_old(&mut self, now: Now) {
        let max_age = u64::try_from(self.limits.max_age.as_millis()).unwrap_or(u64::MAX);
        let old = now.wall_ms.saturating_sub(max_age);
        // So that a quiet log ages too, by a part of the limit at a time.
        let stale = self.active.as_ref().is_some_and(|active| {
            active.at > HEADER && now.wall_ms.saturating_sub(active.created_ms) > max_age / 8
        });
        if stale && let Err(error) = self.begin_segment(now) {
            self.abandon(&error);
        }
        loop {
            let second =
                self.shared.state().segments.values().nth(1).map(|second| second.created_ms);
            let too_old = second.is_some_and(|begun| begun > 0 && begun < old);
            if !too_old || !self.drop_first(Reason::Age, now) {
                break;
            }
        }
    }

    /// Ends in order: all cursors durable, reserved space given back.
    ///
    /// # Errors
    /// A [`WriteError`]; everything that was acknowledged is durable nevertheless.
    pub(super) fn close(mut self, now: Now) -> Result<(), WriteError> {
        self.checkpoint(now)?;
        match self.active.take() {
            Some(active) => {
                active.file.set_len(active.at).map_err(failed("cutting the last segment"))?;
                active.file.sync().map_err(failed("syncing the last segment"))
            }
            None => Ok(()),
        }
    }
}
