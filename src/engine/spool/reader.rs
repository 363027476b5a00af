//! Reading the log from a cursor's position: in order, verified, as far as it is durable.
//!
//! A reader has one window of one file; any number of them read at different places. It reads the
//! files through the system's page cache, where what was written last still is. It does not commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use bytestring::ByteString;
use contract::Message;

use super::cursor::{Cursor, Place};
use super::frame::HEAD;
use super::record::{RecordError, decode, peek};
use super::segment::HEADER;
use super::shared::{INDEX_EVERY, Index, Segment, Shared};
use super::walk::{Found, Walk};

/// A message and where it stands.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its position; once it is delivered, and all before it, commit this plus one.
    pub position: u64,
    /// The message as it was appended.
    pub message: Message,
    /// The name of the one cursor that it is for; `None` means all.
    pub bound: Option<ByteString>,
}

/// How far a call of [`Reader::read_where`] goes. It stops at whichever comes first, but reads at least
/// one record when there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Records that are wanted.
    pub records: usize,
    /// Bytes of records that are wanted.
    pub bytes: usize,
    /// Bytes of log that are gone through, wanted or not: bounds the time of a call.
    pub scan: u64,
    /// The position at which it ends; nothing there or behind it is read.
    pub until: u64,
}

impl Default for Limit {
    fn default() -> Self {
        Self { records: 500, bytes: 1 << 20, scan: 16 << 20, until: u64::MAX }
    }
}

/// What a call of [`Reader::read`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The position behind what was read, not wanted and skipped; commit it when all that was read is
    /// delivered.
    pub next: u64,
    /// Positions that were skipped: damaged, missing or dropped by a limit. Counted at the cursor.
    pub skipped: u64,
}

/// Why reading stopped. What was read before the error is there.
#[derive(Debug, thiserror::Error)]
#[error("cannot open a segment of the spool: {file}: {source}; it is tried again at the next read")]
pub struct ReadError {
    /// The file's name in the folder.
    pub file: String,
    /// What the system said.
    pub source: std::io::Error,
}

/// Reads from a cursor's position on.
pub struct Reader {
    shared: Arc<Shared>,
    place: Arc<Place>,
    position: u64,
    open: Option<Open>,
}

struct Open {
    base: u64,
    serial: u64,
    walk: Walk,
    index: Arc<Index>,
    /// Where the last record that was noted in the index starts.
    noted: u64,
}

impl Open {
    /// Notes in the index where a record starts, now and then.
    fn note(&mut self, nth: u64, at: u64) {
        if at >= self.noted + INDEX_EVERY {
            self.index.note(nth, at);
            self.noted = at;
        }
    }
}

/// What is left of a [`Limit`].
struct Left {
    records: usize,
    bytes: usize,
    scan: u64,
    until: u64,
}

impl Left {
    /// At least one record is read.
    fn of(limit: Limit) -> Self {
        let Limit { records, bytes, scan, until } = limit;
        Self { records: records.max(1), bytes: bytes.max(1), scan: scan.max(1), until }
    }

    fn some(&self) -> bool {
        self.records > 0 && self.bytes > 0 && self.scan > 0
    }
}

/// The message in a body, if it is wanted.
fn take(
    body: &[u8],
    left: &mut Left,
    wanted: &mut impl FnMut(&str, Option<&str>) -> bool,
) -> Result<Option<(Message, Option<ByteString>)>, RecordError> {
    left.scan = left.scan.saturating_sub((HEAD + body.len()) as u64);
    let (topic, bound) = peek(body)?;
    if !wanted(topic, bound) {
        return Ok(None);
    }
    let found = decode(&Bytes::copy_from_slice(body))?;
    left.records -= 1;
    left.bytes = left.bytes.saturating_sub(body.len());
    Ok(Some(found))
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn new(cursor: &Cursor) -> Self {
        let position = cursor.position();
        Self { shared: cursor.shared.clone(), place: cursor.place.clone(), position, open: None }
    }

    /// The position of the next record.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes to a position, forward or back.
    pub fn seek(&mut self, position: u64) {
        if position != self.position {
            self.position = position;
            self.open = None;
        }
    }

    /// Waits until there is something to read.
    pub async fn ready(&self) {
        loop {
            let arrived = self.shared.arrived.notified();
            if self.shared.end() > self.position {
                return;
            }
            arrived.await;
        }
    }

    /// Appends the next records to `into`, until it has `records` more, or `bytes` of them, or the log
    /// ends: [`Reader::read_where`] with all records wanted.
    ///
    /// # Errors
    /// A [`ReadError`] when a segment cannot be opened. Damage is none: it is skipped.
    pub fn read(
        &mut self,
        records: usize,
        bytes: usize,
        into: &mut Vec<Record>,
    ) -> Result<Step, ReadError> {
        let limit = Limit { records, bytes, scan: u64::MAX, until: u64::MAX };
        self.read_where(limit, |_, _| true, into)
    }

    /// Appends the next records that are wanted to `into`, as far as the limit says. `wanted` gets the
    /// topic of each record and the name of the cursor that it is bound to; what it says no to is
    /// verified and gone over, without being decoded or taking memory. Reads files; it takes some
    /// microseconds when they are in the page cache and little is gone over.
    ///
    /// # Errors
    /// A [`ReadError`] when a segment cannot be opened. Damage is none: it is skipped.
    pub fn read_where(
        &mut self,
        limit: Limit,
        mut wanted: impl FnMut(&str, Option<&str>) -> bool,
        into: &mut Vec<Record>,
    ) -> Result<Step, ReadError> {
        let mut left = Left::of(limit);
        let mut skipped = 0;
        while self.position < left.until && left.some() {
            let Some(segment) = self.shared.state().holding(self.position).cloned() else {
                // Behind the last record there may be positions that were given away and lost.
                let end = self.shared.end();
                skipped += self.skip(end.min(left.until));
                break;
            };
            skipped += self.skip(segment.identity.base.min(left.until));
            skipped += self.read_segment(&segment, &mut left, &mut wanted, into)?;
        }
        Ok(Step { next: self.position, skipped })
    }

    /// Goes forward over what is not there, and counts it.
    fn skip(&mut self, to: u64) -> u64 {
        let skipped = to.saturating_sub(self.position);
        if skipped > 0 {
            self.place.count_lost(self.position, to);
            self.position = to;
        }
        skipped
    }

    fn read_segment(
        &mut self,
        segment: &Segment,
        left: &mut Left,
        wanted: &mut impl FnMut(&str, Option<&str>) -> bool,
        into: &mut Vec<Record>,
    ) -> Result<u64, ReadError> {
        let mut open = self.open_segment(segment)?;
        let (base, end) = (open.base, segment.end.min(left.until));
        let mut skipped = 0;
        while self.position < end && left.some() {
            match open.walk.next(segment.bytes) {
                Found::Record { nth, at, damage, .. } if base.saturating_add(nth) < segment.end => {
                    open.note(nth, at);
                    let position = base + nth;
                    if position < self.position {
                        continue;
                    }
                    if let Some(damage) = damage {
                        self.shared.state().note_damage(base, damage);
                    }
                    skipped += self.skip(position.min(end));
                    if position >= end {
                        // The walk has gone over the end; the next read starts anew.
                        return Ok(skipped);
                    }
                    match take(open.walk.body(), left, wanted) {
                        Ok(found) => {
                            self.position = position + 1;
                            into.extend(found.map(|(message, bound)| Record {
                                position,
                                message,
                                bound,
                            }));
                        }
                        Err(error) => {
                            self.report(position, &error);
                            self.shared.state().note_damage(base, at);
                            skipped += self.skip(position + 1);
                        }
                    }
                }
                Found::Record { at, .. } => {
                    // Behind the segment's end stands what was never acknowledged.
                    self.shared.state().note_damage(base, at);
                    skipped += self.skip(end);
                    if end < segment.end {
                        return Ok(skipped);
                    }
                }
                Found::End { damage } => {
                    self.shared.state().note_damage(base, damage.unwrap_or(segment.bytes));
                    skipped += self.skip(end);
                    if end < segment.end {
                        return Ok(skipped);
                    }
                }
            }
        }
        self.open = Some(open);
        Ok(skipped)
    }

    fn report(&self, position: u64, error: &RecordError) {
        let cursor = &*self.place.name;
        tracing::warn!(cursor, position, %error, "skipped a record of the spool");
    }

    /// The open segment, or a new look at it from the nearest known record.
    fn open_segment(&mut self, segment: &Segment) -> Result<Open, ReadError> {
        let identity = segment.identity;
        if let Some(open) = self.open.take()
            && (open.base, open.serial) == (identity.base, identity.serial)
        {
            return Ok(open);
        }
        let file = self
            .shared
            .fs
            .open(&segment.name)
            .map_err(|source| ReadError { file: segment.name.clone(), source })?;
        let nth = self.position.saturating_sub(identity.base);
        let (next, at) = segment.index.before(nth).unwrap_or((0, HEADER));
        let walk = Walk::new(file, identity.salt, at, next);
        Ok(Open {
            base: identity.base,
            serial: identity.serial,
            walk,
            index: segment.index.clone(),
            noted: at,
        })
    }

    /// How many positions are between this reader and the end of the log.
    #[must_use]
    pub fn behind(&self) -> u64 {
        self.shared.end().saturating_sub(self.position)
    }

    /// Whether the cursor was removed.
    #[must_use]
    pub fn removed(&self) -> bool {
        self.place.removed.load(Ordering::Relaxed)
    }
}
