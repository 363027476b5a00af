//! What the handle of a history and its writer share: what was counted, and how far the writer is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::log::{End, WayIn};

/// Why something is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// What the log does not keep came faster than it could be written.
    Queue,
    /// The log could not keep it any longer: the store was too far behind.
    Log,
    /// It is older than what is kept.
    Old,
    /// Its time is more than a day ahead.
    Future,
    /// Its millisecond holds no more.
    Crowded,
    /// Its identifier is too long to be asked for.
    Identifier,
}

impl Dropped {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Queue, Self::Log, Self::Old, Self::Future, Self::Crowded, Self::Identifier];

    /// Its name as a label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Log => "log",
            Self::Old => "old",
            Self::Future => "future",
            Self::Crowded => "crowded",
            Self::Identifier => "identifier",
        }
    }
}

/// What was counted since the start, and how far the writer is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Values that were written.
    pub written: u64,
    /// What was not kept, in the order of [`Dropped::ALL`]: values, and messages of queue and log.
    pub dropped: [u64; Dropped::ALL.len()],
    /// Messages of the log that it has ahead.
    pub behind: u64,
    /// Everything older than so many milliseconds is written.
    pub lag_ms: u64,
    /// Bytes that the values take; 0 until they were looked at.
    pub bytes: u64,
    /// Why nothing can be written at present.
    pub trouble: Option<String>,
}

/// The common ground.
#[derive(Default)]
pub(super) struct Shared {
    written: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
    /// Everything before it in the log is written.
    position: AtomicU64,
    /// Everything that came before that time is written.
    caught_up_ms: AtomicU64,
    bytes: AtomicU64,
    trouble: Mutex<Option<String>>,
    pub(super) end: OnceLock<End>,
    pub(super) way_in: OnceLock<WayIn>,
}

impl Shared {
    pub(super) fn let_go(&self, why: Dropped, count: u64) {
        if let Some(dropped) = self.dropped.get(why as usize) {
            dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn wrote(&self, values: u64, position: Option<u64>) {
        self.written.fetch_add(values, Ordering::Relaxed);
        if let Some(position) = position {
            self.position.store(position, Ordering::Relaxed);
        }
    }

    pub(super) fn caught_up(&self, at_ms: u64) {
        self.caught_up_ms.fetch_max(at_ms, Ordering::Relaxed);
    }

    pub(super) fn measured(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Says why nothing can be written, or that it can; whether that is new.
    pub(super) fn works(&self, trouble: Option<String>) -> bool {
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let new = known.is_some() != trouble.is_some();
        *known = trouble;
        new
    }

    pub(super) fn counts(&self, now_ms: u64) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let end = self.end.get().map_or(0, |end| end());
        let behind = end.saturating_sub(read(&self.position));
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_late = behind > 0 || trouble.is_some();
        let lag_ms = now_ms.saturating_sub(read(&self.caught_up_ms));
        Counts {
            written: read(&self.written),
            dropped: std::array::from_fn(|at| self.dropped.get(at).map_or(0, read)),
            behind,
            lag_ms: if is_late { lag_ms } else { 0 },
            bytes: read(&self.bytes),
            trouble,
        }
    }
}
