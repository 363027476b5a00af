//! Delivery: one lane per action. A lane is a bounded queue and, while it holds records, one task
//! that hands them to the sink under a deadline, tries again what can heal, and gives up what cannot.
//!
//! A lane never waits for another: when its queue is full, its own records go to the error action or
//! are dropped and counted. Records of one device stay in order within a lane.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connectors::contract::{DeliveryError, FailureKind, Outcome, Record, Sink};
use futures_util::FutureExt as _;
use tokio::runtime::Handle;

use super::fanout::Fanout;
use crate::rule::envelope::Failure;
use crate::rule::{Action, ERROR_ACTION, Retry, Rule};

/// Bounds of one lane's queue.
#[derive(Debug, Clone, Copy)]
pub struct LaneLimits {
    /// Records that wait.
    pub records: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
}

/// The way of records to one action.
pub struct Lane {
    rule: Arc<Rule>,
    place: ActionPlace,
    sink: Arc<dyn Sink>,
    limits: LaneLimits,
    runtime: Handle,
    queue: Mutex<Queue>,
    counts: Counters,
    failing: AtomicBool,
}

/// Which of a rule's actions a lane leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionPlace {
    /// One of the list.
    Nth(usize),
    /// The error action.
    Error,
}

/// A record on its way to one action.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) record: Record,
    pub(super) fanout: Option<Arc<Fanout>>,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    /// A task is delivering. It ends when the queue is empty, so an idle lane costs no task.
    running: bool,
    /// Records that the task holds.
    in_flight: usize,
}

#[derive(Default)]
struct Counters {
    received: AtomicU64,
    delivered: AtomicU64,
    retried: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    overflowed: AtomicU64,
}

/// What a lane has done since it was made. `received = delivered + failed + queued`.
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
    /// Of those: the queue was full.
    pub overflowed: u64,
    /// Records that wait or are being delivered.
    pub queued: u64,
}

impl Lane {
    /// Makes the lane of an action of a rule.
    pub fn new(
        rule: Arc<Rule>,
        place: ActionPlace,
        sink: Arc<dyn Sink>,
        limits: LaneLimits,
        runtime: Handle,
    ) -> Arc<Self> {
        Arc::new(Self {
            rule,
            place,
            sink,
            limits,
            runtime,
            queue: Mutex::default(),
            counts: Counters::default(),
            failing: AtomicBool::new(false),
        })
    }

    /// The action as written.
    #[must_use]
    pub fn action(&self) -> &Action {
        let action = match self.place {
            ActionPlace::Nth(place) => self.rule.actions.get(place),
            ActionPlace::Error => self.rule.error_action.as_deref(),
        };
        action.expect("invariant: a lane is made for an action that its rule has")
    }

    /// The name in metrics and logs, unique within the rule: the second `file` is `file_2`.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        let ActionPlace::Nth(place) = self.place else { return Cow::Borrowed(ERROR_ACTION) };
        self.rule.action_name(place)
    }

    /// True when a lane for that action of a rule would do just what this one does: a reload then
    /// keeps this one, and what waits in it.
    #[must_use]
    pub fn serves(&self, rule: &Rule, place: ActionPlace, action: &Action) -> bool {
        let for_errors = |place| matches!(place, ActionPlace::Error);
        for_errors(self.place) == for_errors(place)
            && self.rule.name == rule.name
            && self.action() == action
            && *self.retry() == *retry(rule, action)
    }

    fn retry(&self) -> &Retry {
        retry(&self.rule, self.action())
    }

    fn batch_max(&self) -> usize {
        self.action().batch.unwrap_or_else(|| self.sink.batch_max()).max(1)
    }

    /// What the lane has done.
    pub fn counts(&self) -> LaneCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let queued = {
            let queue = self.lock();
            queue.items.len() + queue.in_flight
        };
        LaneCounts {
            received: load(&self.counts.received),
            delivered: load(&self.counts.delivered),
            retried: load(&self.counts.retried),
            failed: load(&self.counts.failed),
            dropped: load(&self.counts.dropped),
            overflowed: load(&self.counts.overflowed),
            queued: queued as u64,
        }
    }

    /// Adds records in order. What does not fit is given up at once.
    pub(super) fn push(self: &Arc<Self>, items: impl Iterator<Item = Item>) {
        let mut overflow = Vec::new();
        let mut received = 0;
        let start = {
            let mut queue = self.lock();
            for item in items {
                received += 1;
                let bytes = item.record.bytes().len();
                let full = queue.items.len() >= self.limits.records
                    || queue.bytes + bytes > self.limits.bytes;
                if full {
                    overflow.push(item);
                } else {
                    queue.bytes += bytes;
                    queue.items.push_back(item);
                }
            }
            let start = !queue.running && !queue.items.is_empty();
            queue.running |= start;
            start
        };
        self.counts.received.fetch_add(received, Ordering::Relaxed);
        if start {
            self.runtime.spawn(Arc::clone(self).drain());
        }
        self.counts.overflowed.fetch_add(overflow.len() as u64, Ordering::Relaxed);
        for item in overflow {
            let error = DeliveryError::new(FailureKind::Busy, "the action's queue is full");
            self.give_up(item, &error);
        }
    }

    /// Delivers until the queue is empty.
    async fn drain(self: Arc<Self>) {
        loop {
            let items: Vec<Item> = {
                let mut queue = self.lock();
                let count = queue.items.len().min(self.batch_max());
                queue.in_flight = count;
                if count == 0 {
                    queue.running = false;
                    return;
                }
                let items: Vec<Item> = queue.items.drain(..count).collect();
                queue.bytes -= items.iter().map(|item| item.record.bytes().len()).sum::<usize>();
                items
            };
            self.deliver(items).await;
        }
    }

    /// Delivers some records, trying again after each delay what may heal.
    async fn deliver(&self, mut items: Vec<Item>) {
        let mut delays = self.retry().delays.iter();
        loop {
            let records: Vec<Record> = items.iter().map(|item| item.record.clone()).collect();
            let outcomes = self.attempt(&records).await;
            let mut again = Vec::new();
            let mut last = None;
            for (item, outcome) in items.into_iter().zip(outcomes) {
                match outcome {
                    Outcome::Ok => {
                        self.counts.delivered.fetch_add(1, Ordering::Relaxed);
                    }
                    Outcome::Retry(error) => {
                        again.push((item, error.clone()));
                        last = Some(error);
                    }
                    Outcome::Misconfigured(error) | Outcome::Poison(error) => {
                        self.give_up(item, &error);
                        last = Some(error);
                    }
                }
            }
            self.note(last.as_ref());
            if again.is_empty() {
                return;
            }
            let Some(delay) = delays.next() else {
                for (item, error) in again {
                    self.give_up(item, &error);
                }
                return;
            };
            self.counts.retried.fetch_add(again.len() as u64, Ordering::Relaxed);
            tokio::time::sleep(*delay).await;
            items = again.into_iter().map(|(item, _)| item).collect();
        }
    }

    /// One call of the sink, under the action's deadline; always one outcome per record.
    async fn attempt(&self, records: &[Record]) -> Vec<Outcome> {
        let deadline = self.action().deadline;
        let call = AssertUnwindSafe(self.sink.deliver(records)).catch_unwind();
        let error = match tokio::time::timeout(deadline, call).await {
            Ok(Ok(outcomes)) if outcomes.len() == records.len() => return outcomes,
            Ok(Ok(outcomes)) => DeliveryError::new(
                FailureKind::Misconfigured,
                format!(
                    "the sink answered {} outcomes for {} records; this is a defect of the sink",
                    outcomes.len(),
                    records.len()
                ),
            ),
            Ok(Err(_panic)) => DeliveryError::new(
                FailureKind::Misconfigured,
                "the sink failed unexpectedly; this is a defect of the sink",
            ),
            Err(_elapsed) => DeliveryError::new(
                FailureKind::Timeout,
                format!("no answer within the deadline of {deadline:?}"),
            ),
        };
        Outcome::all(&error, records.len())
    }

    /// Hands a record over to the error action; without one it is dropped and counted.
    fn give_up(&self, item: Item, error: &DeliveryError) {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        match &item.fanout {
            Some(fanout) => fanout.fail(Failure::new(self.action(), &*self.sink, error)),
            None => {
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Says once that an action has begun to fail, and once that it works again.
    fn note(&self, error: Option<&DeliveryError>) {
        let was = self.failing.swap(error.is_some(), Ordering::Relaxed);
        let (rule, action) = (&*self.rule.name, &*self.name());
        match error {
            Some(error) if !was => {
                tracing::warn!(rule, action, kind = error.kind.as_str(), "cannot deliver: {error}");
            }
            None if was => tracing::info!(rule, action, "delivers again"),
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("rule", &self.rule.name).field("action", &self.name()).finish()
    }
}

/// The schedule of an action: its own, else its rule's.
fn retry<'a>(rule: &'a Rule, action: &'a Action) -> &'a Retry {
    action.retry.as_ref().unwrap_or(&rule.retry)
}
