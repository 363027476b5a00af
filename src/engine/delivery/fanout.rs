//! What becomes of one record over all actions of its rule: nothing to say, or one error envelope,
//! which several failed actions of one rule and message share. A message
//! of which UNNEST made several records has an envelope for each that failed, which then ends with that
//! record.
//!
//! Actions that have read the record from the log, each at its own time, have an envelope each.

use std::sync::{Arc, Mutex, PoisonError};

use contract::Record;

use super::lane::Lane;
use rule::envelope::{Failure, envelope};

/// Shared by the copies of one record that go to the actions of a rule with an error action.
#[derive(Debug)]
pub(crate) struct Fanout {
    record: Record,
    error_lane: Arc<Lane>,
    /// The envelope says which record of the message it is about.
    names_record: bool,
    failures: Mutex<Vec<(Failure, Option<Hold>)>>,
}

/// Keeps an action's cursor where it is until the envelope of one of its items is durable.
#[derive(Debug)]
pub(super) struct Hold {
    lane: Arc<Lane>,
    number: u64,
}

impl Hold {
    pub(super) fn new(lane: Arc<Lane>, number: u64) -> Self {
        Self { lane, number }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.lane.release(self.number);
    }
}

impl Fanout {
    pub(crate) fn new(record: Record, error_lane: Arc<Lane>, names_record: bool) -> Arc<Self> {
        Arc::new(Self { record, error_lane, names_record, failures: Mutex::default() })
    }

    /// Notes that one action has given up.
    pub(super) fn fail(&self, failure: Failure, hold: Option<Hold>) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push((failure, hold));
    }

    /// Sends the envelope of the failures so far; others that follow have another one.
    pub(super) fn flush(&self) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = std::mem::take(&mut *failures);
        drop(failures);
        if noted.is_empty() {
            return;
        }
        let (failures, holds): (Vec<Failure>, Vec<Option<Hold>>) = noted.into_iter().unzip();
        let record = envelope(&self.record, &failures, self.names_record);
        self.error_lane.take_envelope(record, holds.into_iter().flatten().collect());
    }
}

impl Drop for Fanout {
    /// The last action is done with the record: the envelope goes out if any of them failed.
    fn drop(&mut self) {
        self.flush();
    }
}
