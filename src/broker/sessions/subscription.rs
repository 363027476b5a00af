//! What a client subscribes to, and how it wants it.

use bytestring::ByteString;
use contract::{QoS, TopicError, TopicFilter, TopicLimits};

/// A topic filter as a client subscribes to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The group of a shared subscription (MQTT 5.0 §4.8.2).
    pub group: Option<ByteString>,
    /// The filter itself.
    pub filter: TopicFilter,
}

impl Wanted {
    /// Reads `filter` or `$share/{group}/{filter}`. The result shares no memory with `text`.
    pub fn parse(text: &str, limits: TopicLimits) -> Result<Self, TopicError> {
        let Some(rest) = text.strip_prefix("$share/") else {
            return Ok(Self { group: None, filter: TopicFilter::parse(text, limits)? });
        };
        let Some((group, filter)) = rest.split_once('/') else { return Err(TopicError::Empty) };
        if group.is_empty() {
            return Err(TopicError::Empty);
        }
        if let Some(bad) = group.chars().find(|c| matches!(c, '+' | '#')) {
            return Err(TopicError::Character(bad));
        }
        Ok(Self { group: Some(group.into()), filter: TopicFilter::parse(filter, limits)? })
    }
}

/// How a session wants messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    pub qos: QoS,
    pub id: Option<u32>,
    pub no_local: bool,
    pub retain_as_published: bool,
}

/// A subscription of a session.
#[derive(Debug, Clone)]
pub struct Subscribed {
    pub wanted: Wanted,
    pub terms: Terms,
}
