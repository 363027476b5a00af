//! Reading the log from a cursor's position: in order, verified, as far as it is durable.
//!
//! A reader has one window of one file; any number of them read at different places. It reads the
//! files through the system's page cache, where what was written last still is. It does not commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use bytestring::ByteString;
use connectors::contract::Message;

use super::cursor::{Cursor, Place};
use super::record::{RecordError, decode};
use super::segment::HEADER;
use super::shared::{Index, Segment, Shared};
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

/// What a call of [`Reader::read`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The position behind what was read and skipped; commit it when all of that is delivered.
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
    /// ends. At least one record is read when there is one. Reads files; it takes some microseconds
    /// when they are in the page cache.
    ///
    /// # Errors
    /// A [`ReadError`] when a segment cannot be opened. Damage is none: it is skipped.
    pub fn read(
        &mut self,
        records: usize,
        bytes: usize,
        into: &mut Vec<Record>,
    ) -> Result<Step, ReadError> {
        let most = into.len().saturating_add(records.max(1));
        let (mut room, mut skipped) = (bytes, 0);
        while into.len() < most && room > 0 {
            let Some(segment) = self.shared.state().holding(self.position).cloned() else {
                // Behind the last record there may be positions that were given away and lost.
                let end = self.shared.end();
                skipped += self.skip(end);
                break;
            };
            skipped += self.skip(segment.identity.base);
            skipped += self.read_segment(&segment, most, &mut room, into)?;
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
        most: usize,
        room: &mut usize,
        into: &mut Vec<Record>,
    ) -> Result<u64, ReadError> {
        let mut open = self.open_segment(segment)?;
        let base = open.base;
        let mut skipped = 0;
        while self.position < segment.end && into.len() < most && *room > 0 {
            match open.walk.next(segment.bytes) {
                Found::Record { nth, at, damage, .. } if base.saturating_add(nth) < segment.end => {
                    open.index.note(nth, at);
                    let position = base + nth;
                    if position < self.position {
                        continue;
                    }
                    if let Some(damage) = damage {
                        self.shared.state().note_damage(base, damage);
                    }
                    skipped += self.skip(position);
                    let body = Bytes::copy_from_slice(open.walk.body());
                    match decode(&body) {
                        Ok((message, bound)) => {
                            *room = room.saturating_sub(body.len());
                            into.push(Record { position, message, bound });
                            self.position = position + 1;
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
                    skipped += self.skip(segment.end);
                }
                Found::End { damage } => {
                    self.shared.state().note_damage(base, damage.unwrap_or(segment.bytes));
                    skipped += self.skip(segment.end);
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
