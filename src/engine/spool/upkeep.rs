//! The writer's side: cursors, the ledger, and what leaves the log.
//!
//! The ledger is written whenever cursors have moved, and synced before segments are deleted. Writing
//! records is [`super::log`]'s.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cursor::{Place, Start};
use super::log::{LEDGER_WRITE_MS, Log, Now, RETRY_MS, Reason, WriteError, failed};
use super::segment::HEADER;
use super::shared::{Segment, State};

/// Bytes of ledger for which the time between two writes grows by [`LEDGER_WRITE_MS`].
const LEDGER_STEP: u64 = 256 << 10;
/// The time between two syncs of the ledger, in milliseconds.
const LEDGER_SYNC_MS: u64 = 1000;

/// The cursors in the order of the ledger, and where each was when it was written last. Kept, because
/// cursors move all the time and come and go seldom.
#[derive(Default)]
pub(super) struct Roster {
    places: Vec<Arc<Place>>,
    positions: Vec<u64>,
    /// The least of the positions.
    least: Option<u64>,
    /// The set of cursors is another one now.
    stale: bool,
}

impl Roster {
    /// One that is made up when it is written.
    pub(super) fn new() -> Self {
        Self { stale: true, ..Self::default() }
    }
}

impl Log {
    /// Opens cursors; those that are new are durable when this returns.
    ///
    /// # Errors
    /// A [`WriteError`]; then none of the new ones exists.
    pub(super) fn open_cursors(
        &mut self,
        names: &[(Arc<str>, Start)],
        now: Now,
    ) -> Result<Vec<Arc<Place>>, WriteError> {
        let mut made = Vec::new();
        let mut places = Vec::with_capacity(names.len());
        {
            let mut state = self.shared.state();
            let oldest = state.oldest().unwrap_or(self.next);
            for (name, start) in names {
                let position = match *start {
                    _ if self.hold => oldest,
                    Start::Tail => self.next,
                    Start::Oldest => oldest,
                    Start::At(position) => position.clamp(oldest, self.next),
                };
                let place = state.places.entry(name.clone()).or_insert_with(|| {
                    made.push(name.clone());
                    Place::new(name.clone(), position)
                });
                places.push(place.clone());
            }
        }
        if made.is_empty() {
            return Ok(places);
        }
        self.roster.stale = true;
        let result = self.checkpoint(now);
        if result.is_err() {
            let mut state = self.shared.state();
            for name in &made {
                if let Some(place) = state.places.remove(name) {
                    place.removed.store(true, Ordering::Relaxed);
                }
            }
            self.roster.stale = true;
        }
        result.map(|()| places)
    }

    /// Removes cursors, durably.
    ///
    /// # Errors
    /// A [`WriteError`]; they are gone from this process all the same and may be back after a restart.
    pub(super) fn remove_cursors(
        &mut self,
        names: &[Arc<str>],
        now: Now,
    ) -> Result<(), WriteError> {
        {
            let mut state = self.shared.state();
            for name in names {
                if let Some(place) = state.places.remove(name) {
                    place.removed.store(true, Ordering::Relaxed);
                }
            }
        }
        self.roster.stale = true;
        self.checkpoint(now)
    }

    /// The owner has opened all cursors that it wants: segments may be deleted, and new cursors start
    /// where they are told to.
    pub(super) fn cursors_complete(&mut self) {
        self.hold = false;
    }

    /// Makes all cursors durable and deletes the segments that they have passed.
    ///
    /// # Errors
    /// A [`WriteError`]; what was durable stays so, and nothing is deleted.
    pub(super) fn checkpoint(&mut self, now: Now) -> Result<(), WriteError> {
        let result = self.write_ledger(now).and_then(|()| {
            self.ledger.sync().map_err(failed("syncing the ledger of cursors"))?;
            for (place, position) in self.roster.places.iter().zip(&self.roster.positions) {
                place.durable.fetch_max(*position, Ordering::AcqRel);
            }
            Ok(())
        });
        self.synced_ms = now.steady_ms;
        if let Err(error) = &result {
            self.unsynced = true;
            let mut state = self.shared.state();
            state.errors += 1;
            state.trouble.get_or_insert_with(|| error.to_string());
            return result;
        }
        self.unsynced = false;
        if self.failure.is_none() && self.active.is_some() {
            self.shared.state().trouble = None;
        }
        self.release();
        Ok(())
    }

    /// Hands the cursors to the system: a killed process leaves them.
    fn write_ledger(&mut self, now: Now) -> Result<(), WriteError> {
        let roster = &mut self.roster;
        if roster.stale {
            roster.places = self.shared.state().places.values().cloned().collect();
            self.ledger.set_names(roster.places.iter().map(|place| &*place.name));
            roster.stale = false;
        }
        // First this, then the positions: one that moves in between is written again.
        self.shared.moved.take();
        self.written_ms = now.steady_ms;
        self.unsynced = true;
        let of = |place: &Arc<Place>| place.position.load(Ordering::Acquire);
        roster.positions.clear();
        roster.positions.extend(roster.places.iter().map(of));
        roster.least = roster.positions.iter().copied().min();
        self.ledger
            .write(self.next, &roster.positions)
            .map_err(failed("writing the ledger of cursors"))
    }

    /// The position that every cursor has passed durably.
    fn passed(&self, state: &State) -> u64 {
        let durable = state.places.values().map(|place| place.durable.load(Ordering::Acquire));
        let passed = durable.min().unwrap_or(self.next);
        if self.hold { self.dropped_to } else { passed }
    }

    /// Deletes the segments that nobody needs. The last one stays: it says where the log ends.
    fn release(&mut self) {
        let freed: Vec<Segment> = {
            let mut state = self.shared.state();
            let passed = self.passed(&state);
            let last = state.segments.keys().next_back().copied().unwrap_or(0);
            let bases: Vec<u64> = state
                .segments
                .values()
                .filter(|segment| segment.identity.base != last && segment.end <= passed)
                .map(|segment| segment.identity.base)
                .collect();
            bases.iter().filter_map(|base| state.segments.remove(base)).collect()
        };
        let freed_any = !freed.is_empty();
        self.graves.extend(freed.into_iter().map(|segment| segment.name));
        if !self.graves.is_empty() {
            let fs = &self.fs;
            self.graves.retain(|name| {
                let gone = fs.remove(name);
                gone.is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
            });
            // A name that a power cut brings back is deleted at the next start.
            fs.sync_names().ok();
        }
        if freed_any {
            self.count_used();
            self.shared.room.notify_waiters();
        }
    }

    /// Drops the oldest segment for all cursors that have not passed it; false when nothing was freed.
    pub(super) fn drop_first(&mut self, reason: Reason, now: Now) -> bool {
        let only = self.shared.state().segments.len() < 2;
        if only && self.begin_segment(now).is_err() {
            return false;
        }
        let before = self.used();
        {
            let state = self.shared.state();
            let Some(first) = state.segments.values().next() else { return false };
            let end = first.end;
            self.dropped_to = self.dropped_to.max(end);
            for place in state.places.values() {
                place.dropped_to.fetch_max(end, Ordering::AcqRel);
                let was = place.position.fetch_max(end, Ordering::AcqRel);
                let lost = end.saturating_sub(was.max(first.identity.base));
                let count =
                    if reason == Reason::Full { &place.dropped_full } else { &place.dropped_age };
                count.fetch_add(lost, Ordering::Relaxed);
            }
        }
        self.checkpoint(now).is_ok() && self.used() < before
    }

    /// Does what is due besides writing; says in how many milliseconds to call it again.
    pub(super) fn tend(&mut self, now: Now) -> u64 {
        if self.active.is_none()
            && self.failure.as_ref().is_none_or(|(until, _)| now.steady_ms >= *until)
        {
            match self.begin_segment(now) {
                Ok(()) => {
                    self.failure = None;
                    self.shared.state().trouble = None;
                }
                Err(error) => {
                    self.shared.state().trouble.get_or_insert_with(|| error.to_string());
                    self.failure = Some((now.steady_ms + RETRY_MS, error));
                }
            }
        }
        self.drop_old(now);
        if self.is_used_up() {
            // What fails here fails, and is reported, with the next write.
            self.begin_segment(now).ok();
        }
        let pause = LEDGER_WRITE_MS * (1 + self.ledger.len() as u64 / LEDGER_STEP);
        let moved = self.shared.moved.is_set();
        if moved && now.steady_ms >= self.written_ms + pause {
            // What fails here fails again, and is reported, when it is synced.
            self.write_ledger(now).ok();
        }
        let due = self.unsynced && now.steady_ms >= self.synced_ms + LEDGER_SYNC_MS;
        if due || (self.could_free() && now.steady_ms >= self.synced_ms + pause) {
            self.checkpoint(now).ok();
        }
        if self.shared.moved.is_set() {
            (self.written_ms + pause).saturating_sub(now.steady_ms).max(1)
        } else if self.active.is_none() {
            RETRY_MS
        } else {
            LEDGER_SYNC_MS
        }
    }

    /// Whether the last segment has no room and every cursor has passed it. It would give way with the
    /// next write, which may wait for just the room that it takes.
    fn is_used_up(&self) -> bool {
        let full = |active: &super::log::Active| active.at >= active.room;
        self.active.as_ref().is_some_and(full)
            && self.roster.least.is_none_or(|least| least >= self.next)
    }

    /// Whether a segment waits only for the ledger to be synced.
    fn could_free(&self) -> bool {
        let state = self.shared.state();
        // As of the last writing of the ledger: this is asked after each group commit.
        let passed = self.roster.least.unwrap_or(self.next);
        let first = state.segments.values().next();
        !self.hold && state.segments.len() > 1 && first.is_some_and(|first| first.end <= passed)
    }

    /// Drops segments whose newest record is too old.
    fn drop_old(&mut self, now: Now) {
        let max_age = u64::try_from(self.limits.max_age.as_millis()).unwrap_or(u64::MAX);
        let old = now.wall_ms.saturating_sub(max_age);
        // So that a quiet log ages too, by a part of the limit at a time.
        let stale = self.active.as_ref().is_some_and(|active| {
            active.at > HEADER && now.wall_ms.saturating_sub(active.created_ms) > max_age / 8
        });
        if stale && let Err(error) = self.begin_segment(now) {
            self.abandon(&error);
        }
        loop {
            let second =
                self.shared.state().segments.values().nth(1).map(|second| second.created_ms);
            let too_old = second.is_some_and(|begun| begun > 0 && begun < old);
            if !too_old || !self.drop_first(Reason::Age, now) {
                break;
            }
        }
    }

    /// Ends in order: all cursors durable, reserved space given back.
    ///
    /// # Errors
    /// A [`WriteError`]; everything that was acknowledged is durable nevertheless.
    pub(super) fn close(mut self, now: Now) -> Result<(), WriteError> {
        // Twice: then both slots know the cursors and where the log ends, and one is enough.
        self.checkpoint(now)?;
        self.checkpoint(now)?;
        match self.active.take() {
            Some(active) => {
                active.file.set_len(active.at).map_err(failed("cutting the last segment"))?;
                active.file.sync().map_err(failed("syncing the last segment"))
            }
            None => Ok(()),
        }
    }
}
