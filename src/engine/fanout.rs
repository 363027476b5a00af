//! What becomes of one record over all actions of its rule: nothing to say, or one error envelope,
//! which several failed actions of one rule and message share. A message
//! of which UNNEST made several records has an envelope for each that failed, which then ends with that
//! record.

use std::sync::Arc;
use std::sync::Mutex;

use connectors::contract::Record;
use tokio::time::Instant;

use super::delivery::{Item, Lane};
use crate::rule::envelope::{Failure, envelope};

/// Shared by the copies of one record that go to the actions of a rule with an error action.
#[derive(Debug)]
pub(super) struct Fanout {
    record: Record,
    error_lane: Arc<Lane>,
    /// The envelope says which record of the message it is about.
    names_record: bool,
    failures: Mutex<Vec<Failure>>,
}

impl Fanout {
    pub(super) fn new(record: Record, error_lane: Arc<Lane>, names_record: bool) -> Arc<Self> {
        Arc::new(Self { record, error_lane, names_record, failures: Mutex::default() })
    }

    /// Notes that one action has given up.
    pub(super) fn fail(&self, failure: Failure) {
        self.failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(failure);
    }
}

impl Drop for Fanout {
    /// The last action is done with the record: the envelope goes out if any of them failed.
    fn drop(&mut self) {
        let failures = std::mem::take(
            self.failures.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        if failures.is_empty() {
            return;
        }
        let record = envelope(&self.record, &failures, self.names_record);
        let since = Instant::now();
        self.error_lane.push(std::iter::once(Item { record, fanout: None, since }));
    }
}
