//! How long to wait before a further try: the rule's schedule first, then longer and longer pauses
//! with full jitter. It keeps no clock and waits for nothing itself.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// The longest pause beyond the schedule.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// The shortest pause beyond the schedule, however the dice fall.
pub const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// The first bound beyond a schedule without pauses.
const BACKOFF_START: Duration = Duration::from_secs(1);

/// The longest that a destination's `Retry-After` is heeded.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Chance for the jitter: SplitMix64 (Steele, Lea, Flood 2014), seeded by the system or by a test.
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    /// A seed of the system's.
    #[must_use]
    pub fn new() -> Self {
        Self(RandomState::new().hash_one(0))
    }

    /// A seed that makes the pauses known.
    #[cfg(test)]
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Any duration up to `most`, in whole milliseconds.
    fn up_to(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX - 1);
        Duration::from_millis(z % (most + 1))
    }
}

impl Default for Jitter {
    fn default() -> Self {
        Self::new()
    }
}

/// The pauses of one destination beyond the schedule: each bound is twice the one before, up to
/// [`BACKOFF_MAX`], and each pause is anywhere below its bound.
#[derive(Debug)]
pub struct Backoff {
    jitter: Jitter,
    /// The bound of the next pause; `None` before the first.
    bound: Option<Duration>,
}

impl Backoff {
    /// No pause yet.
    #[must_use]
    pub const fn new(jitter: Jitter) -> Self {
        Self { jitter, bound: None }
    }

    /// The destination works: the next failure begins anew.
    pub fn reset(&mut self) {
        self.bound = None;
    }

    /// The next pause of a destination whose schedule ends with the pause `last`.
    pub fn next(&mut self, last: Option<Duration>) -> Duration {
        let first = || last.filter(|last| !last.is_zero()).map_or(BACKOFF_START, double);
        let bound = self.bound.unwrap_or_else(first).min(BACKOFF_MAX);
        self.bound = Some(double(bound));
        self.jitter.up_to(bound).max(BACKOFF_MIN)
    }
}

fn double(time: Duration) -> Duration {
    time.saturating_mul(2)
}

/// The pause that a destination asked for, within the bound.
#[must_use]
pub fn heed(retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or_default().min(RETRY_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_are_anywhere_below_their_bound() {
        let schedule = Some(Duration::from_secs(10));
        let mut longest = [Duration::ZERO; 6];
        for seed in 0..500 {
            let mut backoff = Backoff::new(Jitter::seeded(seed));
            for (pause, bound) in longest.iter_mut().zip([20, 40, 60, 60, 60, 60]) {
                let next = backoff.next(schedule);
                assert!(next >= BACKOFF_MIN && next <= Duration::from_secs(bound), "{next:?}");
                *pause = next.max(*pause);
            }
            backoff.reset();
            assert!(backoff.next(schedule) <= Duration::from_secs(20));
        }
        let near = longest.iter().zip([19, 38, 57, 57, 57, 57]);
        assert!(
            near.clone().all(|(p, n)| p.as_secs() >= n),
            "the whole range is used: {longest:?}"
        );
        let mut backoff = Backoff::new(Jitter::seeded(0));
        assert!(backoff.next(None) <= BACKOFF_START);
    }

    #[test]
    fn a_seed_gives_the_same_pauses() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(Jitter::seeded(seed));
            [(); 8].map(|()| backoff.next(None))
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
    }

    #[test]
    fn what_a_destination_asks_for_is_bounded() {
        assert_eq!(heed(None), Duration::ZERO);
        assert_eq!(heed(Some(Duration::from_secs(30))), Duration::from_secs(30));
        assert_eq!(heed(Some(Duration::MAX)), RETRY_AFTER_MAX);
    }
}
