//! The writer's side: group commits and rotation.
//!
//! A state machine without a thread or a clock, so that tests can drive it through every crash. It
//! knows no queue and calls nobody back ([`super::writer`] does); cursors and deletion are
//! [`super::upkeep`]'s.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::frame::{HEAD, Head};
use super::fs::{File, Fs, Lock};
use super::ledger::Ledger;
use super::limits::{SpoolLimits, WhenFull};
use super::recover::{OpenError, Recovered, recover};
use super::segment::{HEADER, Header, Identity};
use super::shared::{Index, Segment, Shared};
use super::upkeep::Roster;

/// How long after a failure the disk is left alone, in milliseconds.
pub(super) const RETRY_MS: u64 = 250;
/// The time between two writes of a small ledger, in milliseconds.
pub(super) const LEDGER_WRITE_MS: u64 = 20;

/// How much shorter than usual a segment may be when room is short.
const SHORTER: u64 = 128;
/// The part of a usual segment that one that is shorter leaves to what is written beside the log.
const SPARE: u64 = 8;

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

pub(super) fn failed(doing: &'static str) -> impl Fn(io::Error) -> WriteError {
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
    /// Length and CRC-32 of each; most appends are of one.
    pub each: SmallVec<[(u32, u32); 1]>,
    closed: usize,
}

impl Bodies {
    /// Takes what stands in `bytes` behind the last body as a body.
    pub(super) fn close(&mut self) -> usize {
        let body = self.bytes.get(self.closed..).unwrap_or_default();
        self.each.push((body.len() as u32, crc32fast::hash(body)));
        let length = body.len();
        self.closed += length;
        length
    }

    /// Bytes in a segment.
    pub(super) fn span(&self) -> u64 {
        (self.bytes.len() + self.each.len() * HEAD) as u64
    }
}

pub(super) struct Active {
    pub file: Arc<dyn File>,
    pub base: u64,
    pub salt: u64,
    /// Where the next head goes.
    pub at: u64,
    /// Bytes that are reserved for it.
    pub room: u64,
    pub created_ms: u64,
    pub index: Arc<Index>,
}

/// Which limit drops records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Full,
    Age,
}

/// The log and its ledger, opened for writing.
pub(super) struct Log {
    pub shared: Arc<Shared>,
    pub fs: Arc<dyn Fs>,
    pub limits: SpoolLimits,
    pub ledger: Ledger,
    pub active: Option<Active>,
    pub next: u64,
    serial: u64,
    pub graves: Vec<String>,
    buffer: Vec<u8>,
    pub failure: Option<(u64, WriteError)>,
    /// Nothing is deleted before the owner has opened all cursors again.
    pub hold: bool,
    pub dropped_to: u64,
    pub roster: Roster,
    /// The ledger holds something that is not durable yet.
    pub unsynced: bool,
    pub written_ms: u64,
    pub synced_ms: u64,
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
            roster: Roster::new(),
            unsynced: false,
            written_ms: now.steady_ms,
            synced_ms: now.steady_ms,
            _lock: start.lock,
        };
        // The ends of older segments stand in the new one's header; they stay until that is durable.
        // That it can be made is the proof that there is room: a disk that is full says so at once.
        match log.begin_segment(now) {
            Ok(()) => log.graves.extend(start.graves),
            Err(error) => {
                log.abandon(&error);
                log.failure = Some((now.steady_ms + RETRY_MS, error));
            }
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
            active.at == HEADER || (active.at + span <= active.room && numbered)
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

    pub(super) fn count_used(&self) {
        let used = self.shared.state().segments.values().map(|segment| segment.bytes).sum();
        self.shared.used.store(used, Ordering::Release);
    }

    pub(super) fn used(&self) -> u64 {
        self.shared.used.load(Ordering::Acquire)
    }

    /// Gives up the segment that is written: what was durable in it stays, and it ends there.
    pub(super) fn abandon(&mut self, error: &WriteError) {
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
    pub(super) fn begin_segment(&mut self, now: Now) -> Result<(), WriteError> {
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
        let (file, room) = self.make_file(&name).map_err(failed("making a segment"))?;
        let made = (|| {
            if room < self.limits.segment_bytes {
                // What was reserved beyond it is for others.
                file.set_len(room).map_err(failed("cutting a segment"))?;
            }
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
            room,
            created_ms: now.wall_ms,
            index,
        });
        self.count_used();
        Ok(())
    }

    /// Makes the file of a segment, and says how long that may become. When room is short it is smaller,
    /// and what is written beside the log keeps some.
    fn make_file(&self, name: &str) -> io::Result<(Arc<dyn File>, u64)> {
        let usual = self.limits.segment_bytes;
        let least = (usual / SHORTER).max(SpoolLimits::SEGMENT_LEAST);
        let (mut bytes, mut spare) = (usual, 0);
        loop {
            match self.fs.create(name, bytes + spare) {
                Ok(file) => return Ok((file, bytes)),
                Err(error) if is_no_room(&error) && bytes / 2 >= least => {
                    (bytes, spare) = (bytes / 2, usual / SPARE);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
