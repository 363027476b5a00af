//! The retained messages: the last one of each topic, in memory of their own (MQTT 5.0 §3.3.1.3).
//!
//! It holds copies, so that a small message does not keep the large buffer it was read from.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use connectors::contract::{Topic, TopicFilter};

use super::limits::Limits;
use super::route::Routed;

/// What became of a retained message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Yes,
    /// A limit is reached; what was kept for the topic before is still kept.
    Full,
}

/// A topic that can be looked up by text; topics sort as their text does.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(Topic);

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        self.0.as_str()
    }
}

/// All retained messages, sorted by topic.
#[derive(Debug, Default)]
pub(super) struct Retained {
    by_topic: BTreeMap<Key, Arc<Routed>>,
    bytes: usize,
}

impl Retained {
    pub(super) fn len(&self) -> usize {
        self.by_topic.len()
    }

    /// Keeps a message as its topic's last one.
    pub(super) fn keep(&mut self, message: Arc<Routed>, limits: &Limits, now_ms: u64) -> Kept {
        if !self.has_room(&message, limits) {
            // Expired messages are not looked for before somebody needs their room.
            self.by_topic.retain(|_, old| is_alive(old, now_ms));
            self.bytes = self.by_topic.values().map(|old| old.size).sum();
            if !self.has_room(&message, limits) {
                return Kept::Full;
            }
        }
        self.bytes += message.size;
        if let Some(old) = self.by_topic.insert(Key(message.topic.clone()), message) {
            self.bytes -= old.size;
        }
        Kept::Yes
    }

    fn has_room(&self, message: &Routed, limits: &Limits) -> bool {
        let old = self.by_topic.get(message.topic.as_str()).map_or(0, |old| old.size);
        let count = self.by_topic.len() + usize::from(old == 0);
        let bytes = self.bytes - old + message.size;
        count <= limits.retained_messages && bytes <= limits.retained_bytes
    }

    /// Forgets the message of a topic.
    pub(super) fn clear(&mut self, topic: &Topic) {
        if let Some(old) = self.by_topic.remove(topic.as_str()) {
            self.bytes -= old.size;
        }
    }

    /// The messages that a new subscription gets, those that have expired left out.
    pub(super) fn find(&self, filter: &TopicFilter, now_ms: u64) -> Vec<Arc<Routed>> {
        // Topics that can match start with the text before the first wildcard; `a/#` also matches
        // `a`, so the slash before `#` is no part of it.
        let text = filter.as_str();
        let prefix = text.split(['+', '#']).next().unwrap_or(text);
        let prefix = if text.ends_with("/#") && prefix.len() + 1 == text.len() {
            prefix.strip_suffix('/').unwrap_or(prefix)
        } else {
            prefix
        };
        self.by_topic
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(topic, _)| topic.0.as_str().starts_with(prefix))
            .filter(|(topic, message)| filter.matches(&topic.0) && is_alive(message, now_ms))
            .map(|(_, message)| message)
            .cloned()
            .collect()
    }
}

fn is_alive(message: &Routed, now_ms: u64) -> bool {
    message.expires_ms.is_none_or(|at| at > now_ms)
}
