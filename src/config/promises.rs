//! What sources promise to those who send to them, as the configuration says it.
//!
//! What a promise means for a message is the engine's.

use std::collections::BTreeMap;

use connectors::contract::{AckWhen, Promise};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What the listeners promise.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Promises {
    /// The embedded MQTT broker.
    pub mqtt: PromiseForm,
    /// `/ingest`.
    pub http: PromiseForm,
}

/// What one source promises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PromiseForm {
    /// When a message is acknowledged: `durable`, when it is on disk; `received`, when it is in
    /// memory.
    pub ack: AckWhen,
    /// Whether messages of QoS 0 are written to disk, too.
    pub durable: bool,
}

impl From<PromiseForm> for Promise {
    fn from(form: PromiseForm) -> Self {
        Self { durable: form.durable, ack: form.ack, internal: false }
    }
}

/// A source: its connector, and beside it what it promises.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct SourceForm {
    /// As [`PromiseForm::ack`].
    #[serde(default)]
    pub ack: AckWhen,
    /// As [`PromiseForm::durable`].
    #[serde(default)]
    pub durable: bool,
    /// The connector's name, and its settings.
    #[serde(flatten)]
    pub connector: Map<String, Value>,
}

impl SourceForm {
    /// What the source promises.
    #[must_use]
    pub fn promise(&self) -> Promise {
        PromiseForm { ack: self.ack, durable: self.durable }.into()
    }
}

/// The promise in force for each source by its name in messages' origin.
#[must_use]
pub fn in_force(
    listeners: &Promises,
    sources: &BTreeMap<String, SourceForm>,
) -> Vec<(String, Promise)> {
    let listeners = [("mqtt", listeners.mqtt), ("http", listeners.http)];
    let listeners = listeners.into_iter().map(|(name, form)| (name.to_owned(), form.into()));
    let sources = sources.iter().map(|(name, form)| (name.clone(), form.promise()));
    listeners.chain(sources).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, one_key};

    #[test]
    fn each_source_has_a_promise_of_its_own() {
        let text = "promises: { mqtt: { durable: true } }\nsources:\n  \
                    a: { kafka: { group: g, n: 9007199254740993 }, ack: received }\n  b: { mqtt: {} }\n";
        let config = Config::parse(Path::new("tidegate.yaml"), text).expect("a configuration");
        let kept = Promise { durable: true, ..Promise::default() };
        let fast = Promise { ack: AckWhen::Received, ..Promise::default() };
        let want =
            [("mqtt", kept), ("http", Promise::default()), ("a", fast), ("b", Promise::default())];
        let have = in_force(&config.promises, &config.sources);
        assert_eq!(have, want.map(|(name, promise)| (name.to_owned(), promise)));
        let (kind, settings) = one_key(&config.sources["a"].connector).expect("one connector");
        assert_eq!((kind, &settings["n"]), ("kafka", &Value::from(9_007_199_254_740_993_u64)));
    }
}
