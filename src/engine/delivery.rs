//! Delivery: one lane per action. A lane is a bounded queue and, while it holds records, one task
//! that hands them to the sink under a deadline, tries again what can heal, and gives up what cannot.
//! What each class of failure leads to is in `course`; one call of a sink in `attempt`.
//!
//! A lane never waits for another: when its queue is full, its own records go to the error action or
//! are dropped and counted. Records of one device stay in order within a lane. The queue is the only
//! place that knows where waiting records are kept: a durable one takes its place behind `push` and
//! `take`.

mod attempt;
mod counts;
mod course;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use connectors::contract::{DeliveryError, FailureKind, Outcome, Record, Sink};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use counts::{LaneCounts, Reason};

use self::counts::{Counters, Failures, add};
use self::course::{Course, Next, Told};
use super::backoff::Jitter;
use super::fanout::Fanout;
use crate::rule::envelope::Failure;
use crate::rule::{Action, ERROR_ACTION, Retry, Rule, Then};

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
    /// The name in metrics, logs and idempotency keys, made when it is first needed.
    name: OnceLock<Arc<str>>,
    sink: Arc<dyn Sink>,
    limits: LaneLimits,
    runtime: Handle,
    queue: Mutex<Queue>,
    counts: Counters,
    /// Made when something goes wrong for the first time: lanes are many, and most are well.
    trouble: OnceLock<Box<Trouble>>,
    jitter: fn() -> Jitter,
}

/// What is only kept of a lane that something has gone wrong with.
struct Trouble {
    course: Mutex<Course>,
    failures: Failures,
    /// Records in the next call: fewer after a deadline that passed.
    window: AtomicUsize,
    /// Ends the pause of a breaker or of a wrong configuration.
    resumed: Notify,
}

impl Trouble {
    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    /// Since when it waits. What comes out of a log of earlier runs has a moment that lies back.
    pub(super) since: Instant,
}

/// An item with the tries that it has used up.
struct Pending {
    item: Item,
    tries: usize,
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

impl Queue {
    fn take(&mut self, most: usize) -> VecDeque<Pending> {
        let count = self.items.len().min(most);
        self.in_flight += count;
        let taken: VecDeque<Pending> =
            self.items.drain(..count).map(|item| Pending { item, tries: 0 }).collect();
        self.bytes -= taken.iter().map(|next| next.item.record.bytes().len()).sum::<usize>();
        taken
    }
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
        Self::with_jitter(rule, place, sink, limits, runtime, Jitter::new)
    }

    /// The same with a known jitter.
    pub(super) fn with_jitter(
        rule: Arc<Rule>,
        place: ActionPlace,
        sink: Arc<dyn Sink>,
        limits: LaneLimits,
        runtime: Handle,
        jitter: fn() -> Jitter,
    ) -> Arc<Self> {
        Arc::new(Self {
            rule,
            place,
            name: OnceLock::new(),
            sink,
            limits,
            runtime,
            queue: Mutex::default(),
            counts: Counters::default(),
            trouble: OnceLock::new(),
            jitter,
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
    pub fn name(&self) -> &Arc<str> {
        self.name.get_or_init(|| match self.place {
            ActionPlace::Nth(place) => self.rule.action_name(place).as_ref().into(),
            ActionPlace::Error => ERROR_ACTION.into(),
        })
    }

    fn troubled(&self) -> &Trouble {
        self.trouble.get_or_init(|| {
            let course = Course::new((self.jitter)(), self.retry());
            Box::new(Trouble {
                course: Mutex::new(course),
                failures: Failures::default(),
                window: AtomicUsize::new(usize::MAX),
                resumed: Notify::new(),
            })
        })
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
            && self.rule.error_action.is_some() == rule.error_action.is_some()
    }

    fn retry(&self) -> &Retry {
        retry(&self.rule, self.action())
    }

    /// True when a record is given up after its schedule; else it is kept until `retry.max_age`. An
    /// error action is the end of the line: what it can't take is not kept for it.
    fn ends_with_schedule(&self) -> bool {
        match self.retry().then {
            Some(Then::Keep) => false,
            Some(Then::ErrorAction) => true,
            None => self.place == ActionPlace::Error || self.rule.error_action.is_some(),
        }
    }

    fn batch_max(&self) -> usize {
        self.action().batch.unwrap_or_else(|| self.sink.batch_max()).max(1)
    }

    /// What the lane has done.
    pub fn counts(&self) -> LaneCounts {
        let queued = {
            let queue = self.lock();
            (queue.items.len() + queue.in_flight) as u64
        };
        let mut counts = LaneCounts { queued, ..self.counts.read() };
        if let Some(trouble) = self.trouble.get() {
            trouble.failures.read(&mut counts);
            let course = trouble.course();
            (counts.breaker, counts.paused) = (course.breaker(), course.is_paused());
        }
        counts
    }

    /// Why the action does not work at present, when it doesn't.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.get()?.course().trouble()
    }

    /// Tries at once what a breaker or a wrong configuration holds back: somebody may have mended it.
    pub fn resume(&self) {
        if let Some(trouble) = self.trouble.get() {
            trouble.resumed.notify_waiters();
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
        add(&self.counts.received, received);
        if start {
            self.runtime.spawn(Arc::clone(self).drain());
        }
        if overflow.is_empty() {
            return;
        }
        add(&self.troubled().failures.overflowed, overflow.len());
        for item in overflow {
            let error = DeliveryError::new(FailureKind::Busy, "the action's queue is full");
            self.give_up(item, Reason::Overflow, &error);
        }
    }

    /// Delivers until the queue is empty.
    async fn drain(self: Arc<Self>) {
        loop {
            let taken = {
                let mut queue = self.lock();
                let taken = queue.take(self.batch_max());
                if taken.is_empty() {
                    queue.running = false;
                    return;
                }
                taken
            };
            self.deliver(taken).await;
        }
    }

    /// Delivers some records; comes back when each is delivered or given up.
    async fn deliver(&self, mut pending: VecDeque<Pending>) {
        while !pending.is_empty() {
            let most = self.batch_max();
            let window = self.trouble.get().map_or(most, |t| t.window.load(Ordering::Relaxed));
            let count = pending.len().min(window).min(most);
            let records: Vec<Record> =
                pending.iter().take(count).map(|p| p.item.record.bound_for(self.name())).collect();
            if let Some(trouble) = self.trouble.get() {
                trouble.course().call();
            }
            let tried = attempt::attempt(&*self.sink, &records, self.action().deadline).await;
            if tried.late || window < most {
                let next = if tried.late { (count / 2).max(1) } else { count.saturating_mul(2) };
                self.troubled().window.store(next, Ordering::Relaxed);
            }
            let pause = self.settle(&mut pending, tried.outcomes);
            if let Some(pause) = pause {
                self.wait(pause).await;
            }
        }
    }

    /// Counts what came of a call, gives up what has to be, and says how long the rest waits.
    fn settle(&self, pending: &mut VecDeque<Pending>, outcomes: Vec<Outcome>) -> Option<Pause> {
        let mut kept: Vec<(Pending, DeliveryError)> = Vec::new();
        let mut told = Told::default();
        let count = outcomes.len();
        for outcome in outcomes {
            if outcome != Outcome::Ok {
                self.troubled().failures.tried(outcome.class());
            }
            told.note(&outcome);
            let Some(next) = pending.pop_front() else { break };
            match outcome {
                Outcome::Ok => add(&self.counts.delivered, 1),
                Outcome::Poison(error) => self.give_up(next.item, Reason::Poison, &error),
                Outcome::Retry(error) | Outcome::Misconfigured(error) => kept.push((next, error)),
            }
        }
        let Some(trouble) = self.trouble.get() else {
            self.lock().in_flight -= count;
            return None;
        };
        let (next, line) = trouble.course().after(&told, Instant::now());
        self.say(line);
        let mut again = Vec::new();
        let mut expired = None;
        for (mut record, error) in kept {
            if next == Next::Retry {
                record.tries += 1;
            }
            match self.end_of(&record) {
                Some(reason) => {
                    expired =
                        expired.or_else(|| (reason == Reason::Expired).then(|| error.clone()));
                    self.give_up(record.item, reason, &error);
                }
                None => again.push(record),
            }
        }
        if let Some(error) = expired {
            self.expire(&error);
        }
        self.lock().in_flight -= count - again.len();
        add(&trouble.failures.retried, again.len());
        let tries = again.first().map(|record| record.tries);
        for record in again.into_iter().rev() {
            pending.push_front(record);
        }
        let mut course = trouble.course();
        let held = told.failed() && course.holds();
        if tries.is_none() && !held {
            return None;
        }
        let length = course.pause(next, tries.unwrap_or_default(), self.retry(), &told);
        drop(course);
        let most = pending.front().map_or(Duration::MAX, |first| {
            self.retry().max_age.saturating_sub(first.item.since.elapsed())
        });
        Some(Pause { length: length.min(most), resumable: held })
    }

    /// Gives up what has waited too long in the queue as well: those are the next in line, and each
    /// would cost a call of its own.
    fn expire(&self, error: &DeliveryError) {
        let max_age = self.retry().max_age;
        let old: Vec<Item> = {
            let mut queue = self.lock();
            let count = queue.items.iter().take_while(|i| i.since.elapsed() >= max_age).count();
            let old: Vec<Item> = queue.items.drain(..count).collect();
            queue.bytes -= old.iter().map(|item| item.record.bytes().len()).sum::<usize>();
            old
        };
        for item in old {
            self.give_up(item, Reason::Expired, error);
        }
    }

    /// Whether a record that failed is given up, and why.
    fn end_of(&self, record: &Pending) -> Option<Reason> {
        let retry = self.retry();
        if record.tries > retry.delays.len() && self.ends_with_schedule() {
            return Some(Reason::Exhausted);
        }
        (record.item.since.elapsed() >= retry.max_age).then_some(Reason::Expired)
    }

    async fn wait(&self, pause: Pause) {
        if pause.resumable {
            // Either end of the wait is the same to what comes next.
            tokio::time::timeout(pause.length, self.troubled().resumed.notified()).await.ok();
        } else {
            tokio::time::sleep(pause.length).await;
        }
    }

    /// Hands a record over to the error action; without one it is dropped and counted.
    fn give_up(&self, item: Item, reason: Reason, error: &DeliveryError) {
        add(&self.troubled().failures.failed, 1);
        match &item.fanout {
            Some(fanout) => fanout.fail(Failure::new(self.action(), &*self.sink, error)),
            None => self.end(item, reason, error),
        }
    }

    /// The end of the line: no error action takes the record. Dead letters belong here, and get the
    /// record, the reason and the error.
    fn end(&self, item: Item, reason: Reason, error: &DeliveryError) {
        drop(item);
        self.troubled().failures.dropped(reason);
        tracing::debug!(
            rule = &*self.rule.name,
            action = &**self.name(),
            reason = reason.as_str(),
            "dropped a record: {error}"
        );
    }

    /// Says what has changed with the action.
    fn say(&self, line: Option<course::Line>) {
        let (rule, action) = (&*self.rule.name, &**self.name());
        match line {
            None => {}
            Some(course::Line::Works) => tracing::info!(rule, action, "delivers again"),
            Some(course::Line::Fails(error)) => {
                tracing::warn!(rule, action, kind = error.kind.as_str(), "cannot deliver: {error}");
            }
            Some(course::Line::Paused(error)) => tracing::error!(
                rule,
                action,
                kind = error.kind.as_str(),
                "paused until the configuration is mended, here or at the destination: {error}"
            ),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a lane waits before its next call.
#[derive(Debug, Clone, Copy)]
struct Pause {
    length: Duration,
    /// A reload ends it.
    resumable: bool,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("rule", &self.rule.name).field("action", self.name()).finish()
    }
}

/// The schedule of an action: its own, else its rule's.
fn retry<'a>(rule: &'a Rule, action: &'a Action) -> &'a Retry {
    action.retry.as_ref().unwrap_or(&rule.retry)
}
