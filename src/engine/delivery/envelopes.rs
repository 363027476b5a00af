//! Error envelopes on their way to the lane of an error action: through the log, when the record came
//! from there, so that the failed action's cursor may move on.
//!
//! In the log an envelope is the message with another payload: the number of the record (4 bytes,
//! little-endian) and the envelope. It is bound to the cursor of the error action.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use contract::{Body, Message, Record};
use serde::Deserialize;

use super::fanout::Hold;
use super::item::Item;
use super::lane::Lane;
use crate::spool::{Refused, Room, Stored};

/// The pause between two tries to write an envelope.
const AGAIN: Duration = Duration::from_millis(250);

impl Lane {
    /// Takes an envelope for this error action. Those who gave the record up are held until it is in
    /// the log.
    pub(super) fn take_envelope(self: &Arc<Self>, record: Record, holds: Vec<Hold>) {
        let Some(log) = self.log.get().filter(|_| !holds.is_empty()) else {
            self.push(0, std::iter::once(Item::volatile(record, self.frontier())));
            return;
        };
        let message = close(&record);
        let lane = Arc::clone(self);
        let kept = record.clone();
        let held = Arc::new(std::sync::Mutex::new(Some(holds)));
        let holds = Arc::clone(&held);
        let done = move |stored: Result<Stored, Refused>| {
            let holds = holds.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            match stored {
                Ok(stored) => {
                    let item = Item::volatile(kept, stored.first);
                    let item = Item { position: Some(stored.first), ..item };
                    lane.push(0, std::iter::once(item));
                    lane.given(stored.first + 1);
                    drop(holds);
                }
                Err(_) => lane.take_envelope_later(kept, holds.unwrap_or_default()),
            }
        };
        let refused = log.storage.spool.append_bound_then(
            log.cursor.name(),
            [&message],
            Room::Internal,
            done,
        );
        if refused.is_err() {
            let holds = held.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            self.take_envelope_later(record, holds.unwrap_or_default());
        }
    }

    /// The disk is full or broken: tries again soon, as long as the daemon runs.
    fn take_envelope_later(self: &Arc<Self>, record: Record, holds: Vec<Hold>) {
        let lane = Arc::clone(self);
        self.parts.runtime.spawn(async move {
            tokio::time::sleep(AGAIN).await;
            if !lane.is_ending() {
                lane.take_envelope(record, holds);
            }
        });
    }

    fn is_ending(&self) -> bool {
        self.log.get().is_some_and(|log| log.storage.is_ending())
    }

    fn given(&self, position: u64) {
        if let Some(log) = self.log.get() {
            log.storage.progress.give(position);
        }
    }
}

/// The message that stands for an envelope in the log.
fn close(record: &Record) -> Message {
    let mut payload = Vec::with_capacity(4 + record.bytes().len());
    payload.extend(record.nth().to_le_bytes());
    payload.extend_from_slice(record.bytes());
    Message { payload: payload.into(), ..record.message().clone() }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Original {
    base64_original_payload: String,
}

/// The envelope that a message of the log stands for; `None` when it is none.
pub(super) fn open(rule: &str, message: Message) -> Option<Record> {
    let nth = *message.payload.first_chunk::<4>()?;
    let envelope: Bytes = message.payload.slice(nth.len()..);
    let original: Original = serde_json::from_slice(&envelope).ok()?;
    let payload = STANDARD.decode(original.base64_original_payload).ok()?;
    let nth = u32::from_le_bytes(nth);
    let message = Message { payload: payload.into(), ..message };
    let record = Record::new(vec![message].into(), 0, rule.into(), Body::Json, envelope);
    Some(record.numbered(nth))
}
