//! What waits in a lane: a record, where the log has it, and who else wants to know what becomes of it.

use std::sync::Arc;

use contract::{DeliveryError, Record};
use tokio::time::Instant;

use super::counts::Reason;
use super::fanout::Fanout;

/// A record on its way to one action.
#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) record: Record,
    /// Where the log has it; `None` when it does not.
    pub(crate) position: Option<u64>,
    /// The position, or that of what came before it.
    pub(crate) order: u64,
    pub(crate) fanout: Option<Arc<Fanout>>,
    /// Since when it waits. What comes out of a log of earlier runs has a moment that lies back.
    pub(crate) since: Instant,
    /// The queue's number of it.
    pub(crate) number: u64,
    /// Who wants to know what became of it, instead of the error action.
    pub(crate) receipt: Option<Arc<dyn Receipt>>,
}

impl Item {
    /// A record that only memory has.
    pub(crate) fn volatile(record: Record, order: u64) -> Self {
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
