//! A durable position in the log, with a name.
//!
//! A cursor says how far delivery has come; reading is [`super::Reader`]'s, keeping is the ledger's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::shared::Shared;

/// Where a new cursor starts. One that exists keeps its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Behind everything that is in the log.
    Tail,
    /// At the oldest record that is kept.
    Oldest,
    /// At a position; one that is not kept any more becomes the oldest, one to come the tail.
    At(u64),
}

/// What is known of a cursor.
#[derive(Debug)]
pub(super) struct Place {
    pub name: Arc<str>,
    /// The position of the first record that was not delivered.
    pub position: AtomicU64,
    /// The position that a power cut leaves.
    pub durable: AtomicU64,
    /// Records before this were dropped by a limit.
    pub dropped_to: AtomicU64,
    /// Records dropped because the log was full.
    pub dropped_full: AtomicU64,
    /// Records dropped because they were too old.
    pub dropped_age: AtomicU64,
    /// Records that were damaged or missing.
    pub lost: AtomicU64,
    /// Losses before this are counted.
    pub counted_to: AtomicU64,
    /// It does not exist any more.
    pub removed: AtomicBool,
}

impl Place {
    pub(super) fn new(name: Arc<str>, position: u64) -> Arc<Self> {
        Arc::new(Self {
            name,
            position: position.into(),
            durable: position.into(),
            dropped_to: 0.into(),
            dropped_full: 0.into(),
            dropped_age: 0.into(),
            lost: 0.into(),
            counted_to: 0.into(),
            removed: false.into(),
        })
    }

    /// Counts the records of a range as lost, once, and not those that a limit dropped.
    pub(super) fn count_lost(&self, from: u64, to: u64) {
        let counted = self.counted_to.fetch_max(to, Ordering::Relaxed);
        let from = from.max(counted).max(self.dropped_to.load(Ordering::Relaxed));
        self.lost.fetch_add(to.saturating_sub(from), Ordering::Relaxed);
    }
}

/// A handle on a cursor. Clones are the same cursor.
#[derive(Clone)]
pub struct Cursor {
    pub(super) shared: Arc<Shared>,
    pub(super) place: Arc<Place>,
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.place, f)
    }
}

impl Cursor {
    /// The name it was opened with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// The position of the first record that was not committed.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.place.position.load(Ordering::Acquire)
    }

    /// The position that survives a power cut.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.place.durable.load(Ordering::Acquire)
    }

    /// Says that everything before `next` is delivered. Waits for no disk: the position reaches the
    /// system within some 20 ms (a kill repeats what was delivered in them; some 100 ms with 20 000
    /// cursors) and the disk within a second. A position never goes back and never beyond what is
    /// durable in the log.
    pub fn commit(&self, next: u64) {
        if self.advance(next) {
            self.shared.cursor_moved();
        }
    }

    /// Moves the position without waking the writer; whether the writer is to know of it.
    pub(super) fn advance(&self, next: u64) -> bool {
        let next = next.min(self.shared.end());
        self.place.position.fetch_max(next, Ordering::AcqRel) < next
            && !self.place.removed.load(Ordering::Relaxed)
    }

    /// Handles on places.
    pub(super) fn all(shared: &Arc<Shared>, places: Vec<Arc<Place>>) -> Vec<Self> {
        places.into_iter().map(|place| Self { shared: shared.clone(), place }).collect()
    }
}
