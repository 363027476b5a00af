//! One row out of a SELECT, on its way to the actions.

use std::sync::Arc;

use bytes::Bytes;

use super::{Field, Message, json};

/// What the body of a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// A JSON text; an object unless the statement was `SELECT *` over another document.
    Json,
    /// Bytes as the device sent them (`SELECT *` of a binary rule).
    Binary,
}

/// A result of a rule with the message that it came from. Cloning shares everything.
#[derive(Debug, Clone)]
pub struct Record {
    batch: Arc<[Message]>,
    index: u32,
    /// The name of the rule that selected it.
    pub rule: Arc<str>,
    /// What [`Record::bytes`] holds.
    pub body: Body,
    bytes: Bytes,
}

impl Record {
    /// A record for the message at `index` of a batch.
    ///
    /// # Panics
    /// When `index` is not below the number of messages: a programming error of the engine.
    #[must_use]
    pub fn new(
        batch: Arc<[Message]>,
        index: usize,
        rule: Arc<str>,
        body: Body,
        bytes: Bytes,
    ) -> Self {
        assert!(index < batch.len(), "invariant: a record names a message of its batch");
        let index = u32::try_from(index).expect("invariant: a batch has fewer than 2^32 messages");
        Self { batch, index, rule, body, bytes }
    }

    /// The message that the record came from.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.batch[self.index as usize]
    }

    /// The body: JSON text or raw bytes, see [`Record::body`].
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The same message and rule with another body.
    #[must_use]
    pub fn with_body(&self, body: Body, bytes: Bytes) -> Self {
        Self { body, bytes, ..self.clone() }
    }

    /// The value at a path such as `a` or `a.b.c` of a JSON record; the dotted text as a flat key
    /// comes first. `None` when it is missing or the body is binary.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Field<'_>> {
        match self.body {
            Body::Json => json::lookup(&self.bytes, path),
            Body::Binary => None,
        }
    }

    /// The keys and values of a JSON object in their order; empty for anything else.
    #[must_use]
    pub fn fields(&self) -> serde_json::Map<String, serde_json::Value> {
        match self.body {
            Body::Json => serde_json::from_slice(&self.bytes).unwrap_or_default(),
            Body::Binary => serde_json::Map::new(),
        }
    }
}
