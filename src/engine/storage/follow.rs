//! A reader of the log that is no action's: it has a cursor of its own, to which the log is kept, and reads
//! whatever it wants.
//!
//! What it does with that is not known here.

use std::sync::Arc;

use contract::Message;

use super::Storage;
use crate::spool::{Cursor, Limit, Reader, Record, Refused, Room, Start, Stored};

/// Records, bytes of them, and bytes of log that one read goes through at most.
const READ: Limit = Limit { records: 4_096, bytes: 4 << 20, scan: 16 << 20, until: u64::MAX };

/// Reads the log from its cursor on.
pub struct Follower {
    storage: Arc<Storage>,
    cursor: Cursor,
    reader: Reader,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

/// What a read has found.
#[derive(Debug, Default)]
pub struct Followed {
    /// The messages, and whether each was written for this follower alone.
    pub messages: Vec<(Message, bool)>,
    /// Positions that were damaged, missing or dropped by a limit.
    pub skipped: u64,
}

impl Follower {
    /// Opens the cursor that serves this, before any rule runs; a new one at the end of the log.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub async fn open(storage: &Arc<Storage>, serves: &str) -> Result<Self, Refused> {
        let name = storage.claim(serves);
        let opening = storage.spool.open_cursors(&[&name], Start::Tail)?;
        let Some(cursor) = opening.done().await?.pop() else { return Err(Refused::Closed) };
        let reader = storage.spool.reader(&cursor);
        Ok(Self { storage: Arc::clone(storage), cursor, reader })
    }

    /// Removes the cursor that serves this, if an earlier run has left one.
    pub fn end(storage: &Storage, serves: &str) {
        storage.let_go(&[&storage.claim(serves)]);
    }

    /// The cursor's name, which no other log has had.
    #[must_use]
    pub fn name(&self) -> &str {
        self.cursor.name()
    }

    /// The position of the next record.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.reader.position()
    }

    /// Goes to a position.
    pub fn seek(&mut self, position: u64) {
        self.reader.seek(position);
    }

    /// What tells the position behind the last record.
    #[must_use]
    pub fn log_end(&self) -> Arc<dyn Fn() -> u64 + Send + Sync> {
        let storage = Arc::clone(&self.storage);
        Arc::new(move || storage.spool.end())
    }

    /// What appends a message that only this follower gets; false when the log cannot take it now.
    #[must_use]
    pub fn way_in(&self) -> Arc<dyn Fn(&Message) -> bool + Send + Sync> {
        let storage = Arc::clone(&self.storage);
        let name = self.cursor.name().to_owned();
        Arc::new(move |message| {
            let own = Arc::clone(&storage);
            let done = move |stored: Result<Stored, Refused>| {
                if let Ok(stored) = stored {
                    // The actions do not wait for it.
                    own.progress.give(stored.first + stored.count);
                }
            };
            storage.spool.append_bound_then(&name, [message], Room::Internal, done).is_ok()
        })
    }

    /// Waits for a record.
    pub async fn ready(&self) {
        self.reader.ready().await;
    }

    /// Reads some of the next records: those of topics that are wanted, and its own. Blocks for some
    /// milliseconds. A segment that cannot be opened is told, and read again at the next call.
    pub fn read(&mut self, wanted: fn(&str) -> bool) -> Followed {
        let own = self.cursor.name();
        let wants = |topic: &str, bound: Option<&str>| match bound {
            Some(bound) => bound == own,
            None => wanted(topic),
        };
        let mut records: Vec<Record> = Vec::new();
        let skipped = match self.reader.read_where(READ, wants, &mut records) {
            Ok(step) => step.skipped,
            Err(error) => {
                tracing::warn!(%error, "the log cannot be read for `{own}`");
                0
            }
        };
        // Those that are bound to other cursors were not wanted.
        let of = |record: Record| (record.message, record.bound.is_some());
        Followed { messages: records.into_iter().map(of).collect(), skipped }
    }

    /// Says that all before a position may be deleted.
    pub fn commit(&self, position: u64) {
        self.cursor.commit(position);
    }

    /// True when the log is more than half full, and nobody but this follower needs its oldest part.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        let status = self.storage.status();
        let own = self.cursor.position();
        let others = status.cursors.iter().filter(|cursor| cursor.name != self.cursor.name());
        status.bytes > status.bytes_limit / 2
            && others.map(|cursor| cursor.position).all(|position| position > own)
    }
}
