//! All lanes of the daemon: those of rules that run, and those of changed or removed ones that still
//! deliver what was accepted before. How lanes come, go, and move on in the log.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::delivery::Lane;
use crate::dispatch::{Engine, Snapshot};
use crate::spool::{Cursor, Refused, Start};
use crate::storage::Storage;
use rule::ActionPlace;

/// All lanes.
#[derive(Default)]
pub(super) struct Lanes {
    all: Mutex<All>,
    /// Since when a change waits to be put in force, because the log cannot write.
    failed: Mutex<Option<Instant>>,
}

/// How long a change waits before it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

#[derive(Default)]
struct All {
    /// Of rules that run.
    current: Vec<Arc<Lane>>,
    /// Of actions that were changed or removed, while they have something left to do.
    retired: Vec<Arc<Lane>>,
    /// Those among the retired whose end is not known yet: the change could not be put in force.
    endless: Vec<Arc<Lane>>,
}

impl Lanes {
    /// Puts rules in force, with the lanes that they deliver to. Lanes that are not among them get
    /// nothing from there on.
    pub(super) fn install(
        self: &Arc<Self>,
        engine: &Engine,
        snapshot: Snapshot,
        wanted: Vec<Arc<Lane>>,
    ) {
        let mut all = self.lock();
        let stays: HashSet<*const Lane> = wanted.iter().map(Arc::as_ptr).collect();
        let before = std::mem::replace(&mut all.current, wanted.clone());
        let leaving = before.into_iter().filter(|lane| !stays.contains(&Arc::as_ptr(lane)));
        let mut leaving: Vec<Arc<Lane>> = leaving.collect();
        leaving.iter().for_each(|lane| lane.leave());
        all.retired.extend(leaving.iter().cloned());
        leaving.append(&mut all.endless);
        drop(all);
        let Some(storage) = engine.storage() else {
            hand_over_memory(&wanted);
            let actions = leaving.iter().filter(|lane| lane.place() != ActionPlace::Error);
            actions.for_each(|lane| lane.retire(0));
            engine.swap(snapshot);
            self.tend(None);
            return;
        };
        let change = Change::new(storage, wanted, leaving);
        change.put_in_force(storage, self, engine, snapshot);
    }

    /// Takes in lanes of earlier versions that have something left to do.
    pub(super) fn add_retired(&self, lanes: impl IntoIterator<Item = Arc<Lane>>) {
        self.lock().retired.extend(lanes);
    }

    /// Whether it is time to try again what could not be put in force.
    pub(super) fn try_again(&self) -> bool {
        let mut failed = self.lock_failed();
        let due = failed.is_some_and(|failed| failed.elapsed() >= TRY_AGAIN);
        if due {
            *failed = Some(Instant::now());
        }
        due
    }

    /// True while a change waits to be put in force.
    pub(super) fn has_failed(&self) -> bool {
        self.lock_failed().is_some()
    }

    fn lock_failed(&self) -> MutexGuard<'_, Option<Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the cursors on, and lets go of lanes that are done.
    pub(super) fn tend(&self, storage: Option<&Storage>) {
        let frontier = storage.map_or(0, |storage| storage.progress.frontier());
        let mut all = self.lock();
        let lanes = all.current.iter().chain(&all.retired);
        let moved: Vec<(Cursor, u64)> = lanes.filter_map(|lane| lane.advance(frontier)).collect();
        if let Some(storage) = storage {
            storage.spool.commit_all(moved.iter().map(|(cursor, next)| (cursor, *next)));
        }
        if all.retired.is_empty() {
            return;
        }
        let used: HashSet<*const Lane> = all
            .current
            .iter()
            .chain(&all.retired)
            .filter_map(|lane| lane.errors())
            .map(|errors| Arc::as_ptr(&errors))
            .collect();
        for lane in &all.retired {
            // An error action gets envelopes as long as an action of its version has records.
            if lane.place() == ActionPlace::Error && !used.contains(&Arc::as_ptr(lane)) {
                lane.retire(frontier);
            }
        }
        let (done, left) =
            std::mem::take(&mut all.retired).into_iter().partition(|lane| lane.is_finished());
        let done: Vec<Arc<Lane>> = done;
        all.retired = left;
        drop(all);
        let cursors: Vec<&str> = done.iter().filter_map(|lane| lane.cursor()).collect();
        if let Some(storage) = storage.filter(|_| !cursors.is_empty()) {
            storage.let_go(&cursors);
        }
    }

    /// Records that wait or are being delivered.
    pub(super) fn queued(&self) -> u64 {
        let all = self.lock();
        all.current.iter().chain(&all.retired).map(|lane| lane.counts().queued).sum()
    }

    /// Whether a lane has something to do that should be done before the daemon ends.
    pub(super) fn is_busy(&self) -> bool {
        let all = self.lock();
        all.current.iter().chain(&all.retired).any(|lane| lane.is_busy())
    }

    /// The lanes of changed or removed actions that have something left to do.
    pub(super) fn retired(&self) -> Vec<Arc<Lane>> {
        self.lock().retired.clone()
    }

    /// All lanes.
    pub(super) fn all(&self) -> Vec<Arc<Lane>> {
        let all = self.lock();
        all.current.iter().chain(&all.retired).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change of rules on its way into force.
struct Change {
    opening: Vec<Opening>,
    leaving: Vec<Arc<Lane>>,
}

struct Opening {
    lane: Arc<Lane>,
    cursor: String,
    start: Start,
}

impl Change {
    fn new(storage: &Storage, wanted: Vec<Arc<Lane>>, leaving: Vec<Arc<Lane>>) -> Self {
        let opening = wanted.into_iter().filter(|lane| lane.open()).map(|lane| {
            let cursor = storage.claim(&lane.serves_as());
            let start = match lane.predecessor(true) {
                // Where it stands now; it goes on until the change is in force.
                Some(before) => Start::At(before.position()),
                None if lane.takes_over() => Start::Oldest,
                None => Start::Tail,
            };
            Opening { lane, cursor, start }
        });
        Self { opening: opening.collect(), leaving }
    }

    /// The change takes effect in the order of the log: what was offered before it is evaluated by the
    /// earlier rules, and nothing that is offered behind it is acknowledged before its cursors are
    /// durable.
    fn put_in_force(
        self,
        storage: &Arc<Storage>,
        lanes: &Arc<Lanes>,
        engine: &Engine,
        snapshot: Snapshot,
    ) {
        let swap = engine.swapper();
        let names: Vec<(String, Start)> =
            self.opening.iter().map(|one| (one.cursor.clone(), one.start)).collect();
        let names: Vec<(&str, Start)> = names.iter().map(|(n, s)| (n.as_str(), *s)).collect();
        let (kept, lanes) = (Arc::clone(storage), Arc::clone(lanes));
        let opened = storage.spool.open_cursors_then(&names, move |opened| match opened {
            Ok((cursors, end)) => {
                self.note(&kept, end);
                self.begin(&kept, cursors, end);
                *lanes.lock_failed() = None;
                swap(snapshot);
            }
            Err(error) => self.put_off(&kept, &lanes, &error),
        });
        if let Err(error) = opened {
            tracing::error!(%error, "a change of rules is not put in force");
        }
    }

    /// The earlier rules run on; the next change, or the next try, takes this one's part too.
    fn put_off(self, storage: &Storage, lanes: &Lanes, error: &Refused) {
        let since = lanes.lock_failed().replace(Instant::now());
        if since.is_none() {
            tracing::error!(%error, "a change of rules waits until the spool can write");
        }
        for one in self.opening {
            one.lane.open_failed();
            storage.give_back(one.cursor);
        }
        lanes.lock().endless.extend(self.leaving);
    }

    fn note(&self, storage: &Storage, end: u64) {
        let begun = self.opening.iter();
        let begun = begun
            .map(|one| (one.cursor.clone(), Arc::clone(one.lane.rule()), one.lane.place()))
            .collect();
        let actions = self.leaving.iter().filter(|lane| lane.place() != ActionPlace::Error);
        let ended: Vec<String> =
            actions.filter_map(|lane| lane.cursor()).map(str::to_owned).collect();
        if let Err(error) = storage.journal().note(begun, ended, end) {
            tracing::error!(
                %error,
                "the journal of rule versions cannot be written; records that wait for a rule are lost if it is changed and the daemon is restarted before they are delivered"
            );
        }
    }

    fn begin(self, storage: &Arc<Storage>, cursors: Vec<Cursor>, end: u64) {
        for (one, cursor) in self.opening.into_iter().zip(cursors) {
            one.lane.begin(storage, cursor, end);
        }
        for lane in self.leaving {
            if lane.place() != ActionPlace::Error {
                lane.retire(end);
            }
        }
        storage.progress.stir();
    }
}

/// Without a log: what waits for an earlier version goes to the one that takes over.
fn hand_over_memory(wanted: &[Arc<Lane>]) {
    for lane in wanted {
        if let Some(before) = lane.predecessor(false).filter(|_| lane.open()) {
            let (_, items) = before.halt();
            lane.forget_earlier();
            lane.push(0, items.into_iter());
        }
    }
}
