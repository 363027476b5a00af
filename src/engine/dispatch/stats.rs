//! The counters of rules, which shards write without locks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The counters of one rule: a column per shard, each written by one thread only.
#[derive(Debug)]
pub struct RuleStats {
    shards: Box<[ShardStats]>,
    errors: Mutex<BTreeMap<&'static str, u64>>,
}

/// One shard's column; a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct ShardStats {
    pub(super) received: Count,
    pub(super) selected: Count,
    pub(super) invalid: Count,
    pub(super) aborted: Count,
}

/// A counter with a single writer.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// Adds; only the thread that owns the column may.
    pub(super) fn bump(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    }
}

/// What a rule has done. `received = selected + filtered + invalid + aborted`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleCounts {
    /// Messages whose topic the filter matched.
    pub received: u64,
    /// Messages of which at least one record was selected.
    pub selected: u64,
    /// Messages for which WHERE was not true.
    pub filtered: u64,
    /// Messages whose payload is no valid JSON.
    pub invalid: u64,
    /// Messages for which an error ended the evaluation.
    pub aborted: u64,
    /// Items that became MISSING by an evaluation error, by reason.
    pub errors: BTreeMap<&'static str, u64>,
}

impl RuleStats {
    /// Counters at zero.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| ShardStats::default()).collect(),
            errors: Mutex::default(),
        }
    }

    /// The column of a shard.
    pub(super) fn of(&self, shard: usize) -> &ShardStats {
        &self.shards[shard]
    }

    /// Counts evaluation errors; rare, so a lock serves.
    pub(super) fn count_errors(&self, _shard: usize, codes: impl Iterator<Item = &'static str>) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        for code in codes {
            *errors.entry(code).or_default() += 1;
        }
    }

    /// The sum over all shards.
    #[must_use]
    pub fn counts(&self) -> RuleCounts {
        let sum = |of: fn(&ShardStats) -> &Count| {
            self.shards.iter().map(|shard| of(shard).0.load(Ordering::Relaxed)).sum::<u64>()
        };
        let received = sum(|shard| &shard.received);
        let selected = sum(|shard| &shard.selected);
        let invalid = sum(|shard| &shard.invalid);
        let aborted = sum(|shard| &shard.aborted);
        RuleCounts {
            received,
            selected,
            filtered: received.saturating_sub(selected + invalid + aborted),
            invalid,
            aborted,
            errors: self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
