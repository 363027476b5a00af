//! Dead letters on their way back to the lane of their action.
//!
//! A letter is a message: the present version of its rule makes the record again, so that a mended rule
//! or an edited payload takes effect. An error action gets the envelope that it could not deliver.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use contract::{Body, DeliveryError, Message, Record};

use super::RuleSet;
use crate::dead::{Done, ReplayTo, StoredLetter};
use crate::delivery::{Item, Lane, Reason, Receipt};
use rule::ActionPlace;
use sql::{DataType, Input, Plan, Scratch};

/// The reasons of a replay that got no record to deliver.
const NO_ACTION: &str = "no_action";
const NO_RECORD: &str = "no_record";

/// Tells a replay what became of its letter.
struct Replayed(Mutex<Option<Done>>);

impl Replayed {
    fn take(&self) -> Option<Done> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Receipt for Replayed {
    fn delivered(&self) {
        if let Some(done) = self.take() {
            done.delivered();
        }
    }

    fn failed(&self, reason: Reason, error: &DeliveryError) {
        if let Some(done) = self.take() {
            done.failed(reason.as_str(), error.message.clone());
        }
    }
}

impl ReplayTo for RuleSet {
    fn asked(&self) {
        self.lanes().iter().for_each(|lane| lane.resume());
    }

    fn give(&self, letter: StoredLetter, done: Done) {
        let Some(lane) = self.lane(&letter.rule, &letter.action) else {
            let (rule, action) = (&letter.rule, &letter.action);
            let text = format!(
                "no rule `{rule}` with an action `{action}` runs; start one of these names, or leave the letter"
            );
            return done.failed(NO_ACTION, text);
        };
        match self.record_of(&lane, letter) {
            Ok(record) => {
                let receipt = Arc::new(Replayed(Mutex::new(Some(done))));
                let item = Item::volatile(record, lane.frontier());
                lane.push(0, std::iter::once(Item { receipt: Some(receipt), ..item }));
            }
            Err(text) => done.failed(NO_RECORD, text),
        }
    }
}

impl RuleSet {
    fn record_of(&self, lane: &Lane, letter: StoredLetter) -> Result<Record, &'static str> {
        let rule = Arc::clone(&letter.rule);
        if lane.place() == ActionPlace::Error {
            let envelope = letter.record.ok_or(
                "an error action gets its envelope, which an edited letter does not have any more",
            )?;
            let batch = vec![letter.message].into();
            return Ok(Record::new(batch, 0, rule, Body::Json, envelope).numbered(letter.nth));
        }
        let query = lane.query().ok_or("the rule has no statement")?;
        let json = query.data_type() == DataType::Json;
        let plan = Plan::new(vec![query]);
        let (mut scratch, mut out) = (Scratch::default(), Vec::new());
        let message = letter.message;
        if plan.prepare(&message.payload, &mut scratch).is_err() && json {
            return Err("the payload is no valid JSON");
        }
        let facts = self.facts();
        let input = Input { message: &message, facts: &*facts, rule: &rule, has_topic: true };
        let verdict = plan.evaluate(0, &input, &message.payload, &mut scratch, &mut out);
        let nth = letter.nth as usize;
        let found = verdict.records(&scratch, 0..out.len()).nth(nth);
        let (body, bytes) =
            found.ok_or("the present version of the rule makes no such record of the message")?;
        let bytes = Bytes::copy_from_slice(&out[bytes]);
        let batch: Arc<[Message]> = vec![message].into();
        Ok(Record::new(batch, 0, rule, body, bytes).numbered(letter.nth))
    }
}
