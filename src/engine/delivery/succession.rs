//! From one version of an action to the next: what tells versions apart, which of them waits for the other
//! or goes on where it stands, and when an earlier one is done.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::item::Item;
use super::lane::{LOOK_EVERY, Lane, named, retry};
use crate::storage::journal::fingerprint;
use rule::{Action, ActionPlace, Rule};

/// The earlier version of a lane, as far as it matters.
#[derive(Default)]
pub(super) enum Before {
    #[default]
    Nothing,
    /// It delivers to the same place, and has to be done first.
    Finishes(Arc<Lane>),
    /// It stops, and this lane goes on where it stood.
    HandsOver(Arc<Lane>),
}

impl Lane {
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
    pub(crate) fn same_destination(&self, other: &Self) -> bool {
        self.action().connector == other.action().connector
            && self.action().settings == other.action().settings
    }

    /// Waits for an earlier version of itself before it delivers anything.
    pub(crate) fn follow(&self, before: Arc<Self>) {
        *self.lock_before() = Before::Finishes(before);
    }

    /// Goes on where an earlier version of itself stands.
    pub(crate) fn take_over(&self, before: Arc<Self>) {
        *self.lock_before() = Before::HandsOver(before);
    }

    /// True when it takes over from an earlier version.
    pub(crate) fn takes_over(&self) -> bool {
        matches!(*self.lock_before(), Before::HandsOver(_))
    }

    /// The earlier version that hands over to this one: the last one that has begun. One may never
    /// have, because the log could not write when it was to.
    pub(crate) fn predecessor(&self, has_log: bool) -> Option<Arc<Self>> {
        let mut before = match &*self.lock_before() {
            Before::HandsOver(before) => Arc::clone(before),
            _ => return None,
        };
        while has_log && before.log.get().is_none() {
            before = before.earlier()?;
        }
        Some(before)
    }

    fn earlier(&self) -> Option<Arc<Self>> {
        match &*self.lock_before() {
            Before::Finishes(before) | Before::HandsOver(before) => Some(Arc::clone(before)),
            Before::Nothing => None,
        }
    }

    /// The earlier version has handed over.
    pub(crate) fn forget_earlier(&self) {
        let mut before = self.lock_before();
        if matches!(*before, Before::HandsOver(_)) {
            *before = Before::Nothing;
        }
    }

    pub(super) fn lock_before(&self) -> MutexGuard<'_, Before> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Order: what an earlier version has yet to deliver to the same place comes first.
    pub(super) async fn wait_for_earlier(&self) {
        let earlier = match &*self.lock_before() {
            Before::Finishes(earlier) => Arc::clone(earlier),
            _ => return,
        };
        while !earlier.is_finished() && !self.is_stopped() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        *self.lock_before() = Before::Nothing;
    }

    /// Notes that its action is being changed or removed.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    /// It gets nothing from a position on: its action was changed or removed. It goes on with what is
    /// before that.
    pub(crate) fn retire(&self, end: u64) {
        self.lock().retire(end);
    }

    /// True when its action was changed or removed.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.leaving.load(Ordering::Acquire) || self.lock().is_retired()
    }

    /// Stops for good, so that another lane goes on from where it stands; comes back with that, and
    /// with what the log does not have.
    pub(crate) fn halt(&self) -> (u64, Vec<Item>) {
        self.halted.store(true, Ordering::Release);
        self.resume();
        let frontier = self.frontier();
        let mut queue = self.lock();
        (queue.advance(frontier), queue.take_volatile())
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
}
