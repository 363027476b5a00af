//! The envelope that an error action gets in the place of a record that actions could not deliver.
//!
//! Its fields and their order are the vendor's (rule engine documents, "error action"). When it is
//! sent, and to whom, is the engine's business.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use contract::{Body, DeliveryError, Record, Sink};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Action;

/// One action that could not deliver, as the envelope shows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    action_type: String,
    action_region: String,
    action_resource: String,
    error_message: String,
}

impl Failure {
    /// An action, the sink that it is made of, and why it has given up.
    #[must_use]
    pub fn new(action: &Action, sink: &dyn Sink, error: &DeliveryError) -> Self {
        let vendor = action.vendor.as_ref();
        Self {
            action_type: vendor.map_or_else(|| action.connector.clone(), |v| v.kind.clone()),
            action_region: vendor.map(|v| v.region.clone()).unwrap_or_default(),
            action_resource: sink.resource(),
            error_message: error.message.clone(),
        }
    }
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
    failures: &'a [Failure],
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a RawValue>,
}

/// The keys of an envelope.
const KEYS: &[&str] = &[
    "ruleName",
    "topic",
    "productKey",
    "deviceName",
    "messageId",
    "base64OriginalPayload",
    "failures",
    "record",
];

/// The keys of an envelope: what `${…}` may name in an error action. Only with UNNEST does it say
/// which record of the message it is about.
#[must_use]
pub fn keys(unnests: bool) -> &'static [&'static str] {
    if unnests { KEYS } else { &KEYS[..KEYS.len() - 1] }
}

/// The envelope of a record, as the record that the error action gets; `unnests` says that the
/// message has given several.
#[must_use]
pub fn envelope(record: &Record, failures: &[Failure], unnests: bool) -> Record {
    let message = record.message();
    let envelope = Envelope {
        rule_name: &record.rule,
        topic: message.topic.as_str(),
        product_key: message.product_key().unwrap_or_default(),
        device_name: message.device_name().unwrap_or_default(),
        message_id: message.id.to_string(),
        base64_original_payload: STANDARD.encode(&message.payload),
        failures,
        record: serde_json::from_slice(record.bytes()).ok().filter(|_| unnests),
    };
    let body = serde_json::to_vec(&envelope).unwrap_or_default();
    record.with_body(Body::Json, Bytes::from(body))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use contract::{Message, Topic, TopicLimits};

    use super::*;

    #[test]
    fn the_keys_are_those_of_an_envelope() {
        let topic = Topic::parse("t", TopicLimits::default()).expect("topic");
        let batch: Arc<[Message]> = vec![Message::new(topic, "{}", 0)].into();
        let record = Record::new(batch, 0, "rule".into(), Body::Json, Bytes::from("{}"));
        for unnests in [false, true] {
            let envelope = envelope(&record, &[], unnests);
            let fields: Vec<_> = envelope.fields().into_iter().map(|(key, _)| key).collect();
            assert_eq!(fields, keys(unnests));
        }
    }
}
