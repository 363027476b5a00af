//! The lane of an action: what waits for it, where it stands in the log, and how it fares.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use contract::{Confirms, DeliveryError, FailureKind, Sink};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::backoff::Jitter;
use super::counts::{Counters, Failures, LaneCounts, Reason, add};
use super::course::Course;
use super::item::Item;
use super::queue::{LaneLimits, Queue};
use super::succession::Before;
use crate::spool::Cursor;
use crate::storage::Storage;
use rule::{Action, ActionPlace, ERROR_ACTION, Retry, Rule, Then};
use sql::Query;

/// How long a failed action waits for the others of its rule, so that they share an envelope.
const SHARE_FOR: Duration = Duration::from_secs(20);

/// How often a lane looks whether what it waits for is done.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a lane is made of.
#[derive(Clone)]
pub struct LaneParts {
    /// The rule, as it stays for this lane.
    pub rule: Arc<Rule>,
    /// Its statement, to read what waits in the log.
    pub query: Option<Arc<Query>>,
    /// Which of its actions.
    pub place: ActionPlace,
    /// Where to.
    pub sink: Arc<dyn Sink>,
    /// What may wait in memory.
    pub limits: LaneLimits,
    /// What runs its task.
    pub runtime: Handle,
}

/// The way of records to one action.
pub struct Lane {
    pub(super) parts: LaneParts,
    /// The name in metrics, logs and idempotency keys, made when it is first needed.
    name: OnceLock<Arc<str>>,
    queue: Mutex<Queue>,
    /// The lane of the rule's error action.
    errors: Mutex<Option<Arc<Lane>>>,
    pub(super) before: Mutex<Before>,
    pub(super) log: OnceLock<Log>,
    pub(super) counts: Counters,
    /// Made when something goes wrong for the first time: lanes are many, and most are well.
    pub(super) trouble: OnceLock<Box<Trouble>>,
    /// Its cursor is being opened.
    opening: AtomicBool,
    /// Its action is being changed or removed.
    pub(super) leaving: AtomicBool,
    /// Another lane goes on from where this one stands.
    pub(super) halted: AtomicBool,
    jitter: fn() -> Jitter,
}

/// A lane's place in the log.
pub(super) struct Log {
    pub(super) storage: Arc<Storage>,
    pub(super) cursor: Cursor,
    /// The end of the log when the lane began: it was given nothing before.
    pub(super) begun: u64,
    /// The position that was committed last.
    committed: AtomicU64,
}

/// What is only kept of a lane that something has gone wrong with.
pub(super) struct Trouble {
    course: Mutex<Course>,
    pub(super) failures: Failures,
    /// Records in the next call: fewer after a deadline that passed.
    pub(super) window: AtomicUsize,
    /// Ends the pause of a breaker or of a wrong configuration.
    pub(super) resumed: Notify,
}

impl Trouble {
    pub(super) fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    /// Makes the lane of an action of a rule.
    #[must_use]
    pub fn new(parts: LaneParts, errors: Option<Arc<Self>>) -> Arc<Self> {
        Self::with_jitter(parts, errors, Jitter::new)
    }

    /// The same with a known jitter.
    pub(super) fn with_jitter(
        parts: LaneParts,
        errors: Option<Arc<Self>>,
        jitter: fn() -> Jitter,
    ) -> Arc<Self> {
        Arc::new(Self {
            parts,
            name: OnceLock::new(),
            queue: Mutex::default(),
            errors: Mutex::new(errors),
            before: Mutex::default(),
            log: OnceLock::new(),
            counts: Counters::default(),
            trouble: OnceLock::new(),
            opening: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            halted: AtomicBool::new(false),
            jitter,
        })
    }

    /// Begins at a cursor of the log whose end is `end`: what is between the two is read from it. An
    /// earlier version that hands over stops here, and not before: until then it was the one in force.
    pub(crate) fn begin(self: &Arc<Self>, storage: &Arc<Storage>, cursor: Cursor, end: u64) {
        let mut handed = Vec::new();
        if self.takes_over() {
            let position;
            (position, handed) = self.predecessor(true).map_or((end, handed), |lane| lane.halt());
            cursor.commit(position);
            *self.lock_before() = Before::Nothing;
        }
        let position = cursor.position();
        let log = Log {
            storage: Arc::clone(storage),
            cursor,
            begun: end,
            committed: AtomicU64::new(position),
        };
        if self.log.set(log).is_ok() {
            let mut queue = self.lock();
            queue.begin(position, end, storage.shards());
            let start = self.starts(&mut queue);
            drop(queue);
            if start {
                self.parts.runtime.spawn(Arc::clone(self).drain());
            }
        }
        self.push(0, handed.into_iter());
    }

    /// The rule, as it is for this lane.
    #[must_use]
    pub fn rule(&self) -> &Arc<Rule> {
        &self.parts.rule
    }

    /// The statement of the rule.
    pub fn query(&self) -> Option<Arc<Query>> {
        self.parts.query.clone()
    }

    /// The position of the log before which it has been given all that it gets.
    pub(crate) fn frontier(&self) -> u64 {
        self.log.get().map_or(0, |log| log.storage.progress.frontier())
    }

    /// Which of the rule's actions.
    #[must_use]
    pub fn place(&self) -> ActionPlace {
        self.parts.place
    }

    /// The action as written.
    #[must_use]
    pub fn action(&self) -> &Action {
        let action = self.parts.rule.action(self.parts.place);
        action.expect("invariant: a lane is made for an action that its rule has")
    }

    /// The name in metrics and logs, unique within the rule: the second `file` is `file_2`.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        self.name.get_or_init(|| named(&self.parts.rule, self.parts.place).as_ref().into())
    }

    pub(super) fn troubled(&self) -> &Trouble {
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

    /// Notes that its cursor is about to be opened; true when it was not noted before.
    pub(crate) fn open(&self) -> bool {
        self.log.get().is_none() && !self.opening.swap(true, Ordering::AcqRel)
    }

    /// Its cursor could not be opened.
    pub(crate) fn open_failed(&self) {
        self.opening.store(false, Ordering::Release);
    }

    pub(super) fn retry(&self) -> &Retry {
        retry(&self.parts.rule, self.action())
    }

    /// True when a record is given up after its schedule; else it is kept until `retry.max_age`. An
    /// error action is the end of the line: what it can't take is not kept for it.
    pub(super) fn ends_with_schedule(&self) -> bool {
        match self.retry().then {
            Some(Then::Keep) => false,
            Some(Then::ErrorAction) => true,
            None => {
                self.parts.place == ActionPlace::Error || self.parts.rule.error_action.is_some()
            }
        }
    }

    pub(super) fn batch_max(&self) -> usize {
        self.action().batch.rows.unwrap_or_else(|| self.parts.sink.batch_max()).max(1)
    }

    /// The lane of the rule's error action.
    #[must_use]
    pub fn errors(&self) -> Option<Arc<Self>> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it gives up goes there from now on.
    pub(crate) fn set_errors(&self, errors: Option<Arc<Self>>) {
        *self.errors.lock().unwrap_or_else(PoisonError::into_inner) = errors;
    }

    /// What the lane has done.
    pub fn counts(&self) -> LaneCounts {
        let mut counts = {
            let queue = self.lock();
            let (spooled, behind) = (queue.spooled(), queue.is_behind());
            let queued = queue.in_memory() + spooled;
            LaneCounts { queued, spooled, behind, ..self.counts.read() }
        };
        if let Some(trouble) = self.trouble.get() {
            trouble.failures.read(&mut counts);
            let course = trouble.course();
            (counts.breaker, counts.paused) = (course.breaker(), course.is_paused());
        }
        counts.keys_left_out = self.parts.sink.keys_left_out();
        counts.unconfirmed = self.parts.sink.confirms() == Confirms::HandedOver;
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
            // Kept for a task that is in a call just now.
            trouble.resumed.notify_one();
        }
    }

    /// True while records wait that a restart would lose, or that are on their way to a destination
    /// that works.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        {
            let queue = self.lock();
            if queue.in_memory() == 0 && queue.spooled() == 0 {
                return false;
            }
            if self.log.get().is_none() || queue.volatile() > 0 {
                return true;
            }
        }
        self.trouble.get().is_none_or(|trouble| !trouble.course().fails())
    }

    /// Records that wait and that the log does not have.
    #[must_use]
    pub fn volatile(&self) -> u64 {
        let queue = self.lock();
        match self.log.get() {
            Some(_) => queue.volatile(),
            None => queue.in_memory(),
        }
    }

    /// Adds records of a shard in order. What does not fit and is not in the log is given up at once.
    pub(crate) fn push(self: &Arc<Self>, shard: usize, items: impl Iterator<Item = Item>) {
        let mut overflow = Vec::new();
        let mut received = 0;
        let start = {
            let shards = self.log.get().map_or(1, |log| log.storage.shards());
            let mut queue = self.lock();
            for item in items {
                received += 1;
                overflow.extend(queue.offer(item, shard, shards, self.parts.limits));
            }
            add(&self.counts.received, received);
            self.starts(&mut queue)
        };
        if start {
            self.parts.runtime.spawn(Arc::clone(self).drain());
        }
        if overflow.is_empty() {
            return;
        }
        add(&self.troubled().failures.overflowed, overflow.len());
        for item in overflow {
            let error = DeliveryError::new(FailureKind::Busy, "the action's queue is full");
            if let Some(last) = self.give_up(item, Reason::Overflow, &error, 0) {
                self.drop_for_good(last.reason, &last.error);
            }
        }
    }

    /// Whether the task has to be started: there is something to do and none runs.
    fn starts(&self, queue: &mut Queue) -> bool {
        let start = !queue.running && !queue.is_idle() && !self.halted.load(Ordering::Acquire);
        queue.running |= start;
        start
    }

    /// Moves the cursor on, when all messages before `frontier` have come; says where to.
    pub(crate) fn advance(&self, frontier: u64) -> Option<(Cursor, u64)> {
        let log = self.log.get()?;
        let (position, overdue) = {
            let mut queue = self.lock();
            let overdue = match queue.held() {
                0 => Vec::new(),
                _ => queue.overdue(SHARE_FOR),
            };
            (queue.advance(frontier), overdue)
        };
        overdue.iter().for_each(|fanout| fanout.flush());
        let before = log.committed.fetch_max(position, Ordering::Relaxed);
        (before < position).then(|| (log.cursor.clone(), position))
    }

    /// The name of its cursor.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.log.get().map(|log| log.cursor.name())
    }

    /// Where it stands in the log.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.lock().position()
    }

    /// An envelope of the item is durable.
    pub(super) fn release(&self, number: u64) {
        self.lock().release(number);
        self.stir();
    }

    pub(super) fn stir(&self) {
        if let Some(log) = self.log.get() {
            log.storage.progress.stir();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = &self.parts.rule.name;
        f.debug_struct("Lane").field("rule", rule).field("action", self.name()).finish()
    }
}

/// The schedule of an action: its own, else its rule's.
pub(super) fn retry<'a>(rule: &'a Rule, action: &'a Action) -> &'a Retry {
    action.retry.as_ref().unwrap_or(&rule.retry)
}

/// The name of an action in metrics.
pub(super) fn named(rule: &Rule, place: ActionPlace) -> std::borrow::Cow<'_, str> {
    match place {
        ActionPlace::Nth(place) => rule.action_name(place),
        ActionPlace::Error => ERROR_ACTION.into(),
    }
}
