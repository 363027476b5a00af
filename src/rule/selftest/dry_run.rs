//! What the actions of a rule would send: their sinks render the records as for a delivery, and
//! nothing is reached. Retries and batches do not matter here.

use std::collections::BTreeMap;

use contract::{DeliveryError, FailureKind, Record};
use serde_json::{Map, Value};

use super::super::envelope::{Failure, envelope};
use super::super::{CompiledRule, ERROR_ACTION};

/// The part of an entry that says why a record can't be delivered.
pub(super) const ERROR: &str = "error";

/// For each action its name and what it would send, an entry for each record; the error action last.
pub(super) type Sent = Vec<(String, Vec<Map<String, Value>>)>;

/// Puts records through all actions of a rule. Actions named in `fails` give up with that reason.
pub(super) fn send(
    rule: &CompiledRule,
    records: &[Record],
    fails: &BTreeMap<String, String>,
) -> Sent {
    let actions = rule.rule.actions.iter().zip(&rule.sinks).enumerate();
    let actions: Vec<_> = actions
        .map(|(place, (action, sink))| (rule.rule.action_name(place).into_owned(), action, sink))
        .collect();
    let mut sent: Sent = actions.iter().map(|(name, ..)| (name.clone(), Vec::new())).collect();
    let mut envelopes = Vec::new();
    for record in records {
        let mut failures = Vec::new();
        for ((name, action, sink), (_, entries)) in actions.iter().zip(&mut sent) {
            let parts = match fails.get(name) {
                Some(reason) => Err(DeliveryError::new(FailureKind::Unreachable, reason)),
                None => sink.preview(record),
            };
            if let Err(error) = &parts {
                failures.push(Failure::new(action, &***sink, error));
            }
            entries.push(entry(parts.map(|parts| parts.into_parts())));
        }
        if let Some(sink) = rule.error_sink.as_ref().filter(|_| !failures.is_empty()) {
            let parts = match fails.get(ERROR_ACTION) {
                Some(reason) => Err(DeliveryError::new(FailureKind::Unreachable, reason)),
                None => sink.preview(&envelope(
                    record,
                    &failures,
                    rule.query.as_ref().is_some_and(|query| query.unnests()),
                )),
            };
            envelopes.push(entry(parts.map(|parts| parts.into_parts())));
        }
    }
    if rule.error_sink.is_some() {
        sent.push((ERROR_ACTION.to_owned(), envelopes));
    }
    sent
}

fn entry(parts: Result<Map<String, Value>, DeliveryError>) -> Map<String, Value> {
    parts.unwrap_or_else(|error| Map::from_iter([(ERROR.to_owned(), Value::from(error.message))]))
}
