//! How far the shards have come with what is in the log.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// How far the shards have come.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Everything before it has been given to the shards.
    given: AtomicU64,
    /// For each shard the first position that it has not done yet; `u64::MAX` when it has done all.
    open: Box<[AtomicU64]>,
    /// A shard or a lane has moved since somebody looked.
    stirred: AtomicBool,
    /// The same, for those who wait.
    pub(crate) moved: Notify,
}

impl Progress {
    pub(super) fn new(shards: usize, given: u64) -> Self {
        Self {
            given: AtomicU64::new(given),
            open: (0..shards.max(1)).map(|_| AtomicU64::new(u64::MAX)).collect(),
            stirred: AtomicBool::new(true),
            moved: Notify::new(),
        }
    }

    /// How many shards there are.
    pub(super) fn shards(&self) -> usize {
        self.open.len()
    }

    /// A shard has that position to do. Called under the lock of its queue.
    pub(crate) fn open(&self, shard: usize, position: u64) {
        if let Some(open) = self.open.get(shard) {
            open.fetch_min(position, Ordering::AcqRel);
        }
    }

    /// A shard has done all before that position, or all that it had. Called under the same lock.
    pub(crate) fn done(&self, shard: usize, position: Option<u64>) {
        if let Some(open) = self.open.get(shard) {
            open.store(position.unwrap_or(u64::MAX), Ordering::Release);
        }
        self.stir();
        self.moved.notify_waiters();
    }

    /// Everything before a position has been given to the shards or lanes.
    pub(crate) fn give(&self, position: u64) {
        self.given.fetch_max(position, Ordering::AcqRel);
        self.stir();
    }

    /// All messages before it have been given to the lanes that want them.
    pub(crate) fn frontier(&self) -> u64 {
        // First what was given: what is given later is behind it.
        let given = self.given.load(Ordering::Acquire);
        let open = self.open.iter().map(|open| open.load(Ordering::Acquire));
        open.fold(given, u64::min)
    }

    /// Something has moved.
    pub(crate) fn stir(&self) {
        self.stirred.store(true, Ordering::Release);
    }

    /// Whether something has moved since the last call.
    pub(crate) fn was_stirred(&self) -> bool {
        self.stirred.swap(false, Ordering::AcqRel)
    }
}
