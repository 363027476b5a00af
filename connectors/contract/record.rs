//! One row out of a SELECT, on its way to the actions.

use std::borrow::Cow;
use std::fmt::Write as _;
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
    /// Which record of its message it is, from 0.
    nth: u32,
    action: Option<Arc<str>>,
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
        Self { batch, index, rule, body, bytes, nth: 0, action: None }
    }

    /// The same record as number `nth` (from 0) of those that the rule has made of the message.
    #[must_use]
    pub fn numbered(self, nth: u32) -> Self {
        Self { nth, ..self }
    }

    /// Which record of its message it is, from 0.
    #[must_use]
    pub fn nth(&self) -> u32 {
        self.nth
    }

    /// The same record on its way to one action, whose name is unique within the rule.
    #[must_use]
    pub fn bound_for(&self, action: &Arc<str>) -> Self {
        Self { action: Some(Arc::clone(action)), ..self.clone() }
    }

    /// What tells a further try from a further record: rule, action and message id, and the record's
    /// number when it is not the message's first, as `rule/action/id` or `rule/action/id/nth`. It is
    /// plain ASCII: other characters of the names are percent-encoded. `None` in a dry run, where the
    /// record is bound for no action.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<String> {
        let action = self.action.as_ref()?;
        let mut key = String::with_capacity(self.rule.len() + action.len() + 24);
        for name in [&self.rule, action] {
            for byte in name.bytes() {
                if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                    key.push(char::from(byte));
                } else {
                    // Writing to a String can't fail.
                    write!(key, "%{byte:02X}").ok();
                }
            }
            key.push('/');
        }
        write!(key, "{}", self.message().id).ok();
        if self.nth > 0 {
            write!(key, "/{}", self.nth).ok();
        }
        Some(key)
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
    pub fn fields(&self) -> Vec<(Cow<'_, str>, Field<'_>)> {
        match self.body {
            Body::Json => json::fields(&self.bytes),
            Body::Binary => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Topic, TopicLimits};

    #[test]
    fn a_key_is_the_same_for_every_try_and_another_for_every_record() {
        let topic = Topic::parse("t", TopicLimits::default()).expect("topic");
        let batch: Arc<[Message]> = vec![Message { id: 7, ..Message::new(topic, "", 0) }].into();
        let record = Record::new(batch, 0, "高温".into(), Body::Json, Bytes::from("{}"));
        assert_eq!(record.idempotency_key(), None);
        let key =
            |record: &Record, action: &str| record.bound_for(&action.into()).idempotency_key();
        assert_eq!(key(&record, "http_2").as_deref(), Some("%E9%AB%98%E6%B8%A9/http_2/7"));
        assert_eq!(key(&record, "http_2"), key(&record.clone(), "http_2"));
        assert_eq!(
            key(&record.numbered(3), "a/b").as_deref(),
            Some("%E9%AB%98%E6%B8%A9/a%2Fb/7/3")
        );
    }
}
