//! The circuit breaker of an action: after failures in a row the destination is left alone and only
//! probed. It is a plain state machine; who waits, and how long, is delivery's business.

/// The fewest failed calls in a row that open the breaker. An action whose schedule is longer gets
/// through it once, so that a record's own tries come first.
pub const BREAKER_FAILURES: usize = 5;

/// What an action may do to its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BreakerState {
    /// Deliver.
    #[default]
    Closed,
    /// One batch is on its way to see whether the destination is back.
    HalfOpen,
    /// Nothing: records wait, and no tries are used up.
    Open,
}

impl BreakerState {
    /// The state in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half open",
            Self::Open => "open",
        }
    }

    /// The state as the metric shows it.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

/// Counts failures in a row.
#[derive(Debug)]
pub struct Breaker {
    threshold: usize,
    failures: usize,
    state: BreakerState,
}

impl Breaker {
    /// The breaker of an action that tries a record `tries` times by its schedule.
    #[must_use]
    pub fn new(tries: usize) -> Self {
        let threshold = BREAKER_FAILURES.max(tries.saturating_add(1));
        Self { threshold, failures: 0, state: BreakerState::Closed }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// A call is about to be made: of an open breaker it is the probe.
    pub fn call(&mut self) {
        if self.state == BreakerState::Open {
            self.state = BreakerState::HalfOpen;
        }
    }

    /// The destination has taken something.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.state = BreakerState::Closed;
    }

    /// A call has failed in a way that can heal.
    pub fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        if self.state == BreakerState::HalfOpen || self.failures >= self.threshold {
            self.state = BreakerState::Open;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BreakerState::{Closed, HalfOpen, Open};
    use super::*;

    #[test]
    fn the_state_follows_what_the_destination_does() {
        // Each letter is a call that fails (f), that succeeds (s) or that says nothing about the
        // destination (n); the states are those during and after the last.
        let table = [
            (4, "f", (Closed, Closed)),
            (4, "ffff", (Closed, Closed)),
            (4, "fffff", (Closed, Open)),
            (4, "ffffsffff", (Closed, Closed)),
            (4, "ffffffff", (HalfOpen, Open)),
            (4, "fffffs", (HalfOpen, Closed)),
            (4, "fffffn", (HalfOpen, HalfOpen)),
            (4, "fffffnf", (HalfOpen, Open)),
            (4, "fffffsf", (Closed, Closed)),
            (1, "ffff", (Closed, Closed)),
            (1, "fffff", (Closed, Open)),
            (9, "fffffffff", (Closed, Closed)),
            (9, "ffffffffff", (Closed, Open)),
        ];
        for (tries, calls, states) in table {
            let mut breaker = Breaker::new(tries);
            let mut during = Closed;
            for call in calls.chars() {
                breaker.call();
                during = breaker.state();
                match call {
                    'f' => breaker.failed(),
                    's' => breaker.succeeded(),
                    _ => {}
                }
            }
            assert_eq!((during, breaker.state()), states, "{tries} {calls}");
        }
    }
}
