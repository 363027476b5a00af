//! What becomes of one record over all actions of its rule: nothing to say, or one error envelope.
//!
//! The envelope's fields and their order are the vendor's (rule engine documents, "error action"):
//! several failed actions of one rule and message share one envelope. A message of which UNNEST made
//! several records has an envelope for each that failed, which then ends with that record.

use std::sync::Arc;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use connectors::contract::{Body, Record};
use serde::Serialize;
use serde_json::value::RawValue;

use super::delivery::{Item, Lane};

/// Shared by the copies of one record that go to the actions of a rule with an error action.
#[derive(Debug)]
pub(super) struct Fanout {
    record: Record,
    error_lane: Arc<Lane>,
    /// The envelope says which record of the message it is about.
    names_record: bool,
    failures: Mutex<Vec<Failure>>,
}

/// One action that could not deliver, as the envelope shows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure {
    pub(super) action_type: String,
    pub(super) action_region: String,
    pub(super) action_resource: String,
    pub(super) error_message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    rule_name: &'a str,
    topic: &'a str,
    product_key: &'a str,
    device_name: &'a str,
    message_id: String,
    base64_original_payload: String,
    failures: Vec<Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a RawValue>,
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
        let message = self.record.message();
        let envelope = Envelope {
            rule_name: &self.record.rule,
            topic: message.topic.as_str(),
            product_key: message.product_key().unwrap_or_default(),
            device_name: message.device_name().unwrap_or_default(),
            message_id: message.id.to_string(),
            base64_original_payload: STANDARD.encode(&message.payload),
            failures,
            record: serde_json::from_slice(self.record.bytes()).ok().filter(|_| self.names_record),
        };
        let body = serde_json::to_vec(&envelope).unwrap_or_default();
        let record = self.record.with_body(Body::Json, Bytes::from(body));
        self.error_lane.push(std::iter::once(Item { record, fanout: None }));
    }
}
