//! What `tidegate test --update` writes into a rule file: what came, in the place of what was
//! expected. Only into tests that expect nothing yet, or that say `snapshot: true`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{ERROR, Expect, Found, INVALID_PAYLOAD, Report, RuleTest};

/// A key of a test and what it is to be set to.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// `expect`, `expect_actions`, …
    pub key: &'static str,
    /// The new value.
    pub value: Value,
}

impl RuleTest {
    /// The changes that make a test that has failed pass; none when it may not be changed.
    #[must_use]
    pub fn changes(&self, report: &Report) -> Vec<Change> {
        let found = &report.found;
        if report.differences.is_empty() {
            return Vec::new();
        }
        if !self.expects_something() {
            return self.all(found);
        }
        if !self.snapshot {
            return Vec::new();
        }
        let Expect { records, bytes, errors, actions, .. } = &self.expect;
        let mut changes = Vec::new();
        if records.is_some() {
            changes.push(Change { key: "expect", value: json!(found.values) });
        }
        if bytes.is_some()
            && let [(_, record)] = found.records.as_slice()
        {
            let text = STANDARD.encode(record.bytes());
            changes.push(Change { key: "expect_base64", value: text.into() });
        }
        // A payload that is newly refused has to be expected, too.
        let refused = found.errors.iter().any(|error| error.code == INVALID_PAYLOAD);
        if errors.is_some() || (refused && !self.expect.invalid) {
            changes.push(Change { key: "expect_errors", value: found.codes() });
        }
        if !actions.is_empty() {
            changes.push(Change { key: "expect_actions", value: self.named_actions(found) });
        }
        changes
    }

    /// Everything that there is to expect.
    fn all(&self, found: &Found) -> Vec<Change> {
        let refused = found.errors.iter().filter(|error| error.code == INVALID_PAYLOAD).count();
        if refused == self.messages.len() {
            return vec![Change { key: "expect_invalid", value: true.into() }];
        }
        let mut changes = vec![Change { key: "expect", value: json!(found.values) }];
        if !found.errors.is_empty() {
            changes.push(Change { key: "expect_errors", value: found.codes() });
        }
        let mut actions = Map::new();
        for (name, entries) in &found.sent {
            // An action that sends each record as it is adds nothing to `expect`.
            let same = entries.iter().zip(&found.values).all(|(entry, record)| {
                entry.len() == 1 && entry.get("body").is_some_and(|body| body == record)
            });
            if !entries.is_empty() && !same {
                actions.insert(name.clone(), json!(entries));
            }
        }
        if !actions.is_empty() {
            changes.push(Change { key: "expect_actions", value: actions.into() });
        }
        changes
    }

    /// What the actions that the test names would send, of each the parts that it names.
    fn named_actions(&self, found: &Found) -> Value {
        let mut actions = Map::new();
        for (name, want) in &self.expect.actions {
            let sent = found.sent.iter().find(|(sent, _)| sent == name);
            let entries = sent.map_or(&[][..], |(_, entries)| entries).iter().map(|entry| {
                let named = |part: &str| part == ERROR || want.iter().any(|w| w.contains_key(part));
                let all = !entry.keys().any(|part| named(part));
                let parts = entry.iter().filter(|(part, _)| all || named(part));
                parts.map(|(part, value)| (part.clone(), value.clone())).collect()
            });
            let entries: Vec<Map<String, Value>> = entries.collect();
            actions.insert(name.clone(), json!(entries));
        }
        actions.into()
    }
}
