//! What a lane counts: every record that it received is delivered, given up or still in it.

use std::sync::atomic::{AtomicU64, Ordering};

use contract::OutcomeClass;

use super::breaker::BreakerState;

/// Why a record was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The destination can never take it.
    Poison,
    /// All tries of its schedule have failed.
    Exhausted,
    /// It waited longer than `retry.max_age`.
    Expired,
    /// The action's queue was full, and the log did not have the record.
    Overflow,
    /// The log dropped it by a limit, or lost it by damage.
    Log,
    /// The daemon ended again and again while the message was being evaluated.
    Stalled,
}

impl Reason {
    /// All of them, each at the place that its number says.
    pub const ALL: [Self; 6] =
        [Self::Poison, Self::Exhausted, Self::Expired, Self::Overflow, Self::Log, Self::Stalled];

    /// The label in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Poison => "poison",
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::Overflow => "overflow",
            Self::Log => "log",
            Self::Stalled => "stalled",
        }
    }
}

/// What every lane counts.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) received: AtomicU64,
    pub(super) delivered: AtomicU64,
}

/// What only a lane counts that something has gone wrong with.
#[derive(Default)]
pub(super) struct Failures {
    pub(super) retried: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) overflowed: AtomicU64,
    dropped: [AtomicU64; Reason::ALL.len()],
    buried: [AtomicU64; Reason::ALL.len()],
    /// All but the first class, which is what was delivered.
    tried: [AtomicU64; OutcomeClass::ALL.len()],
}

/// What a lane has done since it was made, and how it is. `received = delivered + failed + queued`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneCounts {
    /// Records that rules gave to the action.
    pub received: u64,
    /// Records that the destination confirmed.
    pub delivered: u64,
    /// Further tries.
    pub retried: u64,
    /// Records given up.
    pub failed: u64,
    /// Of those: not even an error action has them.
    pub dropped: u64,
    /// The same by reason, in the order of [`Reason::ALL`].
    pub dropped_by: [u64; Reason::ALL.len()],
    /// Of those given up: they are dead letters.
    pub dead: u64,
    /// The same by reason, in the order of [`Reason::ALL`].
    pub dead_by: [u64; Reason::ALL.len()],
    /// Of those given up: the queue was full.
    pub overflowed: u64,
    /// Records tried, by what came of it, in the order of [`OutcomeClass::ALL`].
    pub tried: [u64; OutcomeClass::ALL.len()],
    /// Records that wait or are being delivered.
    pub queued: u64,
    /// Of those: only the log has them.
    pub spooled: u64,
    /// Whether it has to read the log, which may hold more than was counted: an earlier run's records.
    pub behind: bool,
    /// Whether the destination is left alone.
    pub breaker: BreakerState,
    /// Whether a wrong configuration pauses the action.
    pub paused: bool,
    /// Keys of records that were left out, because the destination can't have them.
    pub keys_left_out: u64,
    /// Whether a record counts as delivered before its destination has said that it keeps it.
    pub unconfirmed: bool,
}

pub(super) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counters {
    /// The numbers, without what only [`Failures`] know.
    pub(super) fn read(&self) -> LaneCounts {
        let delivered = load(&self.delivered);
        let mut counts =
            LaneCounts { received: load(&self.received), delivered, ..LaneCounts::default() };
        counts.tried[OutcomeClass::Ok as usize] = delivered;
        counts
    }
}

impl Failures {
    pub(super) fn tried(&self, class: OutcomeClass) {
        add(&self.tried[class as usize], 1);
    }

    pub(super) fn dropped(&self, reason: Reason) {
        add(&self.dropped[reason as usize], 1);
    }

    pub(super) fn buried(&self, reason: Reason) {
        add(&self.buried[reason as usize], 1);
    }

    /// Records that the log had and has no more.
    pub(super) fn lost(&self, count: u64) {
        self.dropped[Reason::Log as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// Adds these numbers.
    pub(super) fn read(&self, counts: &mut LaneCounts) {
        counts.retried = load(&self.retried);
        counts.failed = load(&self.failed);
        counts.overflowed = load(&self.overflowed);
        counts.dropped_by = self.dropped.each_ref().map(load);
        counts.dropped = counts.dropped_by.iter().sum();
        counts.dead_by = self.buried.each_ref().map(load);
        counts.dead = counts.dead_by.iter().sum();
        for (sum, tried) in counts.tried.iter_mut().zip(&self.tried) {
            *sum += load(tried);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places() {
        assert!(Reason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
        assert!(OutcomeClass::ALL.iter().enumerate().all(|(at, class)| *class as usize == at));
    }
}
