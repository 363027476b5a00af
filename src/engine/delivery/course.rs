//! What the outcomes of a call lead to: the classes of failure, as a state that knows no record and no
//! clock of its own.
//!
//! Transient and unknown failures follow the schedule; many in a row open the breaker, and from then on
//! no tries are used up. A wrong configuration pauses the action. Poison is the record's own affair.

use std::time::Duration;

use contract::{DeliveryError, Outcome};
use tokio::time::Instant;

use super::backoff::{Backoff, Jitter, heed};
use super::breaker::{Breaker, BreakerState};
use rule::Retry;

/// How often an action with a wrong configuration looks whether somebody has mended it.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(60);

/// An action that fails on and off says so at most this often.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// How an action fares.
#[derive(Debug)]
pub(super) struct Course {
    breaker: Breaker,
    backoff: Backoff,
    paused: Option<DeliveryError>,
    /// The last failure since something was delivered.
    failing: Option<DeliveryError>,
    /// The failure was told, so that its end will be.
    told: bool,
    last_line: Option<Instant>,
}

/// What a call has told about the destination.
#[derive(Debug, Default)]
pub(super) struct Told {
    delivered: bool,
    again: Option<DeliveryError>,
    wrong: Option<DeliveryError>,
    poison: Option<DeliveryError>,
    retry_after: Option<Duration>,
}

impl Told {
    /// True when records are left over.
    pub(super) fn failed(&self) -> bool {
        self.again.is_some() || self.wrong.is_some()
    }

    pub(super) fn note(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Ok => self.delivered = true,
            Outcome::Retry(error) => {
                self.retry_after = self.retry_after.max(error.retry_after);
                self.again = Some(error.clone());
            }
            Outcome::Misconfigured(error) => self.wrong = Some(error.clone()),
            Outcome::Poison(error) => self.poison = Some(error.clone()),
        }
    }
}

/// What comes next for the records that a call left over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A further try by the schedule; the last one is used up.
    Retry,
    /// A probe when the breaker's pause is over.
    Probe,
    /// A probe when somebody may have mended the configuration.
    Paused,
}

/// A line for the log.
#[derive(Debug)]
pub(super) enum Line {
    Works,
    Fails(DeliveryError),
    Paused(DeliveryError),
}

impl Course {
    /// The course of an action that has that schedule.
    pub(super) fn new(jitter: Jitter, retry: &Retry) -> Self {
        Self {
            breaker: Breaker::new(retry.delays.len() + 1),
            backoff: Backoff::new(jitter),
            paused: None,
            failing: None,
            told: false,
            last_line: None,
        }
    }

    pub(super) fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    pub(super) fn trouble(&self) -> Option<String> {
        if let Some(error) = &self.paused {
            return Some(format!("paused, the configuration is wrong: {error}"));
        }
        let error = self.failing.as_ref()?;
        (self.breaker.state() != BreakerState::Closed)
            .then(|| format!("the destination does not work, records wait: {error}"))
    }

    /// True when the last that was heard of the destination is that it does not work.
    pub(super) fn fails(&self) -> bool {
        self.failing.is_some()
    }

    /// True while records wait for the destination and use up no tries.
    pub(super) fn holds(&self) -> bool {
        self.paused.is_some() || self.breaker.state() != BreakerState::Closed
    }

    /// A call is about to be made.
    pub(super) fn call(&mut self) {
        self.breaker.call();
    }

    /// Takes in what a call has told; says what its failed records do, and what is worth a line.
    pub(super) fn after(&mut self, told: &Told, now: Instant) -> (Next, Option<Line>) {
        let was_closed = self.breaker.state() == BreakerState::Closed;
        if told.delivered {
            self.breaker.succeeded();
            self.backoff.reset();
            self.paused = None;
            self.failing = None;
        } else if told.again.is_some() {
            self.breaker.failed();
        }
        if let Some(error) = told.wrong.as_ref().or(told.again.as_ref()) {
            self.failing = Some(error.clone());
        }
        if let Some(error) = &told.wrong {
            let new = self.paused.replace(error.clone()).is_none();
            self.told |= new;
            return (Next::Paused, new.then(|| Line::Paused(error.clone())));
        }
        let next = if was_closed || told.delivered { Next::Retry } else { Next::Probe };
        (next, self.line(told, now))
    }

    fn line(&mut self, told: &Told, now: Instant) -> Option<Line> {
        match told.again.as_ref().or(told.poison.as_ref()) {
            Some(error) => {
                let early = self.last_line.is_some_and(|last| now - last < SAY_EVERY);
                if self.told || early {
                    return None;
                }
                self.told = true;
                self.last_line = Some(now);
                Some(Line::Fails(error.clone()))
            }
            None => (told.delivered && std::mem::take(&mut self.told)).then_some(Line::Works),
        }
    }

    /// The pause before the next call, when its first record has failed that often.
    pub(super) fn pause(
        &mut self,
        next: Next,
        tries: usize,
        retry: &Retry,
        told: &Told,
    ) -> Duration {
        let scheduled = tries.checked_sub(1).and_then(|done| retry.delays.get(done));
        let pause = match (next, scheduled) {
            (Next::Paused, _) => PROBE_EVERY,
            (Next::Retry, Some(delay)) => *delay,
            _ => self.backoff.next(retry.delays.last().copied()),
        };
        pause.max(heed(told.retry_after))
    }
}
