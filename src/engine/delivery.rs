//! Delivery: one lane per action. A lane is what waits for the action and, while something does, one
//! task that hands it to the sink under a deadline, tries again what can heal, and gives up what
//! cannot. What each class of failure leads to is in `course`, one call of a sink in `attempt`, the
//! task in `run`, what waits in `queue`, and reading the log in `backlog`.
//!
//! A lane never waits for another: what does not fit into its memory stays in the log, and what the
//! log does not have goes to the error action or is dropped and counted. Records of one device stay in
//! order within a lane.

mod attempt;
mod backlog;
mod counts;
mod course;
mod envelopes;
mod queue;
mod run;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use connectors::contract::{Confirms, DeliveryError, FailureKind, Record, Sink};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use counts::{LaneCounts, Reason};

use self::counts::{Counters, Failures, add};
use self::course::Course;
use self::queue::Queue;
use super::backoff::Jitter;
use super::fanout::Fanout;
use super::journal::fingerprint;
use super::spool::Cursor;
use super::storage::Storage;
use crate::rule::{Action, ERROR_ACTION, Retry, Rule, Then};
use crate::sql::Query;

/// How long a failed action waits for the others of its rule, so that they share an envelope.
const SHARE_FOR: Duration = Duration::from_secs(20);

/// Bounds of what waits for one action in memory.
#[derive(Debug, Clone, Copy)]
pub struct LaneLimits {
    /// Records that wait.
    pub records: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
}

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
    parts: LaneParts,
    /// The name in metrics, logs and idempotency keys, made when it is first needed.
    name: OnceLock<Arc<str>>,
    queue: Mutex<Queue>,
    /// The lane of the rule's error action.
    errors: Mutex<Option<Arc<Lane>>>,
    before: Mutex<Before>,
    log: OnceLock<Log>,
    counts: Counters,
    /// Made when something goes wrong for the first time: lanes are many, and most are well.
    trouble: OnceLock<Box<Trouble>>,
    /// Its cursor is being opened.
    opening: AtomicBool,
    /// Its action is being changed or removed.
    leaving: AtomicBool,
    /// Another lane goes on from where this one stands.
    halted: AtomicBool,
    jitter: fn() -> Jitter,
}

/// The earlier version of a lane, as far as it matters.
#[derive(Default)]
enum Before {
    #[default]
    Nothing,
    /// It delivers to the same place, and has to be done first.
    Finishes(Arc<Lane>),
    /// It stops, and this lane goes on where it stood.
    HandsOver(Arc<Lane>),
}

/// A lane's place in the log.
struct Log {
    storage: Arc<Storage>,
    cursor: Cursor,
    /// The end of the log when the lane began: it was given nothing before.
    begun: u64,
    /// The position that was committed last.
    committed: AtomicU64,
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
    /// Where the log has it; `None` when it does not.
    pub(super) position: Option<u64>,
    /// The position, or that of what came before it.
    pub(super) order: u64,
    pub(super) fanout: Option<Arc<Fanout>>,
    /// Since when it waits. What comes out of a log of earlier runs has a moment that lies back.
    pub(super) since: Instant,
    /// The queue's number of it.
    pub(super) number: u64,
    /// Who wants to know what became of it, instead of the error action.
    pub(super) receipt: Option<Arc<dyn Receipt>>,
}

impl Item {
    /// A record that only memory has.
    pub(super) fn volatile(record: Record, order: u64) -> Self {
        Self {
            record,
            position: None,
            order,
            fanout: None,
            since: Instant::now(),
            number: 0,
            receipt: None,
        }
    }
}

/// Told what became of a record that did not come from the log.
pub trait Receipt: Send + Sync {
    /// The destination has confirmed it.
    fn delivered(&self);
    /// The action has given it up.
    fn failed(&self, reason: Reason, error: &DeliveryError);
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
    pub(super) fn begin(self: &Arc<Self>, storage: &Arc<Storage>, cursor: Cursor, end: u64) {
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
    pub(super) fn frontier(&self) -> u64 {
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
        let action = match self.parts.place {
            ActionPlace::Nth(place) => self.parts.rule.actions.get(place),
            ActionPlace::Error => self.parts.rule.error_action.as_deref(),
        };
        action.expect("invariant: a lane is made for an action that its rule has")
    }

    /// The name in metrics and logs, unique within the rule: the second `file` is `file_2`.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        self.name.get_or_init(|| match self.parts.place {
            ActionPlace::Nth(place) => self.parts.rule.action_name(place).as_ref().into(),
            ActionPlace::Error => ERROR_ACTION.into(),
        })
    }

    /// What tells this version of the action from others.
    #[must_use]
    pub fn version(&self) -> String {
        fingerprint(&self.parts.rule, self.parts.place, self.action(), self.retry())
    }

    /// What its cursor is named after: rule, action and version.
    #[must_use]
    pub fn serves_as(&self) -> String {
        format!("{}/{}@{}", self.parts.rule.name, self.name(), self.version())
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
        let own = &self.parts.rule;
        let for_errors = |place| matches!(place, ActionPlace::Error);
        for_errors(self.parts.place) == for_errors(place)
            && **self.name() == *named(rule, place)
            && own.name == rule.name
            && own.sql == rule.sql
            && own.data_type == rule.data_type
            && self.action() == action
            && *self.retry() == *retry(rule, action)
            && own.error_action.is_some() == rule.error_action.is_some()
            && !self.is_retired()
    }

    /// True when both deliver to the same destination in the same way.
    pub(super) fn same_destination(&self, other: &Self) -> bool {
        self.action().connector == other.action().connector
            && self.action().settings == other.action().settings
    }

    /// Waits for an earlier version of itself before it delivers anything.
    pub(super) fn follow(&self, before: Arc<Self>) {
        *self.lock_before() = Before::Finishes(before);
    }

    /// Goes on where an earlier version of itself stands.
    pub(super) fn take_over(&self, before: Arc<Self>) {
        *self.lock_before() = Before::HandsOver(before);
    }

    /// The earlier version that hands over to this one: the last one that has begun. One may never
    /// have, because the log could not write when it was to.
    pub(super) fn predecessor(&self, has_log: bool) -> Option<Arc<Self>> {
        let mut before = match &*self.lock_before() {
            Before::HandsOver(before) => Arc::clone(before),
            _ => return None,
        };
        while has_log && before.log.get().is_none() {
            before = before.earlier()?;
        }
        Some(before)
    }

    /// True when it takes over from an earlier version.
    pub(super) fn takes_over(&self) -> bool {
        matches!(*self.lock_before(), Before::HandsOver(_))
    }

    fn earlier(&self) -> Option<Arc<Self>> {
        match &*self.lock_before() {
            Before::Finishes(before) | Before::HandsOver(before) => Some(Arc::clone(before)),
            Before::Nothing => None,
        }
    }

    /// The earlier version has handed over.
    pub(super) fn forget_earlier(&self) {
        let mut before = self.lock_before();
        if matches!(*before, Before::HandsOver(_)) {
            *before = Before::Nothing;
        }
    }

    fn lock_before(&self) -> MutexGuard<'_, Before> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that its cursor is about to be opened; true when it was not noted before.
    pub(super) fn open(&self) -> bool {
        self.log.get().is_none() && !self.opening.swap(true, Ordering::AcqRel)
    }

    /// Its cursor could not be opened.
    pub(super) fn open_failed(&self) {
        self.opening.store(false, Ordering::Release);
    }

    /// Notes that its action is being changed or removed.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    fn retry(&self) -> &Retry {
        retry(&self.parts.rule, self.action())
    }

    /// True when a record is given up after its schedule; else it is kept until `retry.max_age`. An
    /// error action is the end of the line: what it can't take is not kept for it.
    fn ends_with_schedule(&self) -> bool {
        match self.retry().then {
            Some(Then::Keep) => false,
            Some(Then::ErrorAction) => true,
            None => {
                self.parts.place == ActionPlace::Error || self.parts.rule.error_action.is_some()
            }
        }
    }

    fn batch_max(&self) -> usize {
        self.action().batch.rows.unwrap_or_else(|| self.parts.sink.batch_max()).max(1)
    }

    /// The lane of the rule's error action.
    #[must_use]
    pub fn errors(&self) -> Option<Arc<Self>> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it gives up goes there from now on.
    pub(super) fn set_errors(&self, errors: Option<Arc<Self>>) {
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
    pub(super) fn push(self: &Arc<Self>, shard: usize, items: impl Iterator<Item = Item>) {
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
    pub(super) fn advance(&self, frontier: u64) -> Option<(Cursor, u64)> {
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

    /// It gets nothing from a position on: its action was changed or removed. It goes on with what is
    /// before that.
    pub(super) fn retire(&self, end: u64) {
        self.lock().retire(end);
    }

    /// True when its action was changed or removed.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.leaving.load(Ordering::Acquire) || self.lock().is_retired()
    }

    /// True when it was retired and has nothing left to do. One that hands over is so only when it is
    /// retired, too: until then its cursor keeps what the other lane is going to read.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let queue = self.lock();
        if self.halted.load(Ordering::Acquire) {
            return queue.is_retired();
        }
        if queue.is_finished() {
            return true;
        }
        // It never began, because the log could not write; then what it was to wait for counts.
        let never = self.log.get().is_none()
            && queue.is_retired()
            && queue.is_idle()
            && queue.in_memory() == 0;
        drop(queue);
        never && self.earlier().is_none_or(|before| before.is_finished())
    }

    /// Stops for good, so that another lane goes on from where it stands; comes back with that, and
    /// with what the log does not have.
    pub(super) fn halt(&self) -> (u64, Vec<Item>) {
        self.halted.store(true, Ordering::Release);
        self.resume();
        let frontier = self.frontier();
        let mut queue = self.lock();
        (queue.advance(frontier), queue.take_volatile())
    }

    /// An envelope of the item is durable.
    pub(super) fn release(&self, number: u64) {
        self.lock().release(number);
        self.stir();
    }

    fn stir(&self) {
        if let Some(log) = self.log.get() {
            log.storage.progress.stir();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
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
fn retry<'a>(rule: &'a Rule, action: &'a Action) -> &'a Retry {
    action.retry.as_ref().unwrap_or(&rule.retry)
}

/// The name of an action in metrics.
fn named(rule: &Rule, place: ActionPlace) -> std::borrow::Cow<'_, str> {
    match place {
        ActionPlace::Nth(place) => rule.action_name(place),
        ActionPlace::Error => ERROR_ACTION.into(),
    }
}
