//! How much work tests do: little with every change, more before a merge, all of it in a soak.
//!
//! `TIDEGATE_TIER` is 0 (default), 1 (`./scripts/test --long`) or 2 (`./scripts/soak`); every amount
//! can be set by itself, too.

use std::time::Duration;

/// The tier: 0, 1 or 2.
pub(super) fn tier() -> usize {
    let tier = std::env::var("TIDEGATE_TIER").ok().and_then(|text| text.parse().ok());
    tier.unwrap_or(0).min(2)
}

/// An amount by tier, or what the variable `TIDEGATE_<NAME>` says.
pub(super) fn amount(name: &str, by_tier: [u64; 3]) -> u64 {
    let set = std::env::var(format!("TIDEGATE_{name}")).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(by_tier[tier()])
}

/// An amount in milliseconds.
pub(super) fn millis(name: &str, by_tier: [u64; 3]) -> Duration {
    Duration::from_millis(amount(name, by_tier))
}

/// Whether the tier is at least that; a test of a higher tier is skipped by name.
pub(super) fn reached(least: usize, test: &str) -> bool {
    let reached = tier() >= least;
    if !reached {
        eprintln!("skipped: {test} (tier {least}; TIDEGATE_TIER={least})");
    }
    reached
}

/// Figures of speed are promised for the optimised program only.
pub(super) fn optimised() -> bool {
    !cfg!(debug_assertions)
}

/// Prints a figure, in a form that `scripts/soak` collects.
pub(super) fn figure(test: &str, what: &str, value: impl std::fmt::Display) {
    println!("figure {test} | {what} | {value}");
}

/// The share of sorted values that `permille` asks for, 0 when there are none.
pub(super) fn quantile(values: &mut [u64], permille: usize) -> u64 {
    values.sort_unstable();
    let at = (values.len() * permille / 1000).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(0)
}

/// Numbers by chance, the same again for the same seed.
pub(super) struct Chance(u64);

impl Chance {
    /// From `TIDEGATE_SEED`, or from the clock; printed, so that a run can be repeated.
    pub(super) fn new(test: &str) -> Self {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let drawn = clock.map_or(1, |now| now.as_nanos() as u64);
        let seed = std::env::var("TIDEGATE_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or(drawn);
        println!("{test}: TIDEGATE_SEED={seed}");
        Self(seed | 1)
    }

    /// A number in a range.
    pub(super) fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        // Marsaglia's xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        range.start + self.0 % (range.end - range.start)
    }
}
