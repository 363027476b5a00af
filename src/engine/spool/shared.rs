//! What the writer, the readers and the cursors of a spool share.
//!
//! Only the writer changes the list of segments and the end of the log; nothing here does input or
//! output.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::cursor::Place;
use super::fs::Fs;
use super::queue::Queue;
use super::segment::Identity;

/// Bytes between two entries of a segment's index.
pub(super) const INDEX_EVERY: u64 = 256 << 10;
/// Damaged places that are remembered one by one, so that each is counted once.
const DAMAGE_MAX: usize = 4096;

/// The common ground of all handles of a spool.
pub(super) struct Shared {
    pub fs: Arc<dyn Fs>,
    pub state: Mutex<State>,
    /// What waits for the writer.
    pub queue: Mutex<Queue>,
    /// There is something for the writer to do.
    pub work: Condvar,
    /// A cursor has moved since the ledger was written.
    pub moved: Moved,
    /// What was put into the queue and whose callbacks have not returned yet.
    pub pending: AtomicU64,
    /// The position behind the last durable record.
    pub end: AtomicU64,
    /// Bytes of log that are kept.
    pub used: AtomicU64,
    /// Records became durable.
    pub arrived: Notify,
    /// Segments were deleted, or the queue was emptied.
    pub room: Notify,
}

/// A flag between those who move cursors and the writer, who writes down where they are.
#[derive(Debug, Default)]
pub(super) struct Moved(AtomicBool);

impl Moved {
    /// Says that a position was changed before; true for the first since the flag was taken.
    pub(super) fn set(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Takes the flag down; the writer looks at the positions afterwards. Both sides exchange the flag
    /// rather than store it: so either the writer's exchange comes behind a mover's, and sees its
    /// position, or that mover finds the flag down, and is the first.
    pub(super) fn take(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }

    /// Whether a position was changed.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The list of segments and cursors.
#[derive(Default)]
pub(super) struct State {
    /// By base.
    pub segments: BTreeMap<u64, Segment>,
    /// By name.
    pub places: BTreeMap<Arc<str>, Arc<Place>>,
    /// Why nothing can be written now.
    pub trouble: Option<String>,
    /// Failed writes and syncs since the start.
    pub errors: u64,
    /// Segment and offset of what was found damaged.
    pub damage: BTreeSet<(u64, u64)>,
    /// Group commits since the start.
    pub commits: u64,
    /// Records dropped by [`super::WhenFull::DropNewest`].
    pub dropped_newest: u64,
    /// Records that an owner of a ticket was told to be durable, since the start.
    pub appended: u64,
}

/// A segment that may be read.
#[derive(Clone)]
pub(super) struct Segment {
    pub identity: Identity,
    /// The name of its file, which need not be the one that it was given.
    pub name: String,
    /// The position behind its last record.
    pub end: u64,
    /// Bytes of the file that may be read.
    pub bytes: u64,
    /// When it was begun, in milliseconds since 1970.
    pub created_ms: u64,
    /// Where some of its records start.
    pub index: Arc<Index>,
}

/// Numbers and offsets of some records of a segment, ascending.
#[derive(Debug, Default)]
pub(super) struct Index(Mutex<Vec<(u64, u64)>>);

impl Index {
    /// Remembers where a record starts, if none that is near is known.
    pub(super) fn note(&self, nth: u64, at: u64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.last().is_none_or(|(_, last)| at >= last + INDEX_EVERY) {
            known.push((nth, at));
        }
    }

    /// The last known record that is not behind `nth`.
    pub(super) fn before(&self, nth: u64) -> Option<(u64, u64)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .partition_point(|(known, _)| *known <= nth)
            .checked_sub(1)
            .and_then(|n| known.get(n).copied())
    }
}

impl Shared {
    pub(super) fn new(fs: Arc<dyn Fs>, state: State) -> Self {
        let used = state.segments.values().map(|segment| segment.bytes).sum();
        let end = state.segments.values().map(|segment| segment.end).max().unwrap_or(0);
        Self {
            fs,
            state: Mutex::new(state),
            queue: Mutex::default(),
            work: Condvar::new(),
            moved: Moved::default(),
            pending: AtomicU64::new(0),
            end: AtomicU64::new(end),
            used: AtomicU64::new(used),
            arrived: Notify::new(),
            room: Notify::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Tells the writer that a cursor has moved; once until it has looked.
    pub(super) fn cursor_moved(&self) {
        if self.moved.set() {
            // With the lock, so that the writer is either before its look or in its wait.
            drop(self.queue());
            self.work.notify_one();
        }
    }
}

impl State {
    /// The position of the oldest record that is kept.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.segments.keys().next().copied()
    }

    /// The segment that has a position, or the next one behind it.
    pub(super) fn holding(&self, position: u64) -> Option<&Segment> {
        let at = self.segments.range(..=position).next_back().map(|(_, segment)| segment);
        at.filter(|segment| position < segment.end).or_else(|| {
            self.segments
                .range(position..)
                .map(|(_, segment)| segment)
                .find(|segment| segment.end > position)
        })
    }

    /// Counts a damaged place once.
    pub(super) fn note_damage(&mut self, segment: u64, at: u64) {
        if self.damage.len() < DAMAGE_MAX {
            self.damage.insert((segment, at));
        }
    }
}
