//! The retained messages: the last one of each topic, in memory of their own (MQTT 5.0 §3.3.1.3).
//!
//! It holds copies, so that a small message does not keep the large buffer it was read from.

use std::borrow::Borrow;
use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use contract::{Topic, TopicFilter};

use super::publication::Routed;
use crate::limits::Limits;

/// What became of a retained message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
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

#[derive(Debug)]
struct Entry {
    message: Arc<Routed>,
    /// The store has a message of the topic.
    stored: bool,
}

/// All retained messages, sorted by topic.
#[derive(Debug, Default)]
pub struct Retained {
    by_topic: BTreeMap<Key, Entry>,
    bytes: usize,
    /// Topics of which the store has not the last message: only such as are kept or in the store.
    changed: BTreeSet<Key>,
}

/// A difference between the retained messages and what the store has of them.
#[derive(Debug)]
pub enum Retention {
    Keep(Arc<Routed>),
    Clear(Topic),
}

impl Retained {
    pub fn len(&self) -> usize {
        self.by_topic.len()
    }

    /// Keeps a message as its topic's last one.
    pub(super) fn keep(&mut self, message: Arc<Routed>, limits: &Limits, now_ms: u64) -> Kept {
        if !self.has_room(&message, limits) {
            // Expired messages are not looked for before somebody needs their room.
            let dead: Vec<Topic> = self
                .by_topic
                .values()
                .filter(|old| !is_alive(&old.message, now_ms))
                .map(|old| old.message.topic.clone())
                .collect();
            dead.iter().for_each(|topic| self.clear(topic));
            if !self.has_room(&message, limits) {
                return Kept::Full;
            }
        }
        self.changed.insert(Key(message.topic.clone()));
        self.insert(message, false);
        Kept::Yes
    }

    /// A message of the store.
    pub fn restore(&mut self, message: Arc<Routed>, limits: &Limits) -> Kept {
        if !self.has_room(&message, limits) {
            return Kept::Full;
        }
        self.insert(message, true);
        Kept::Yes
    }

    /// A message of the store is not to be kept.
    pub fn drop_stored(&mut self, topic: &Topic) {
        self.changed.insert(Key(topic.clone()));
    }

    fn insert(&mut self, message: Arc<Routed>, stored: bool) {
        self.bytes += message.size;
        let key = Key(message.topic.clone());
        match self.by_topic.entry(key) {
            MapEntry::Vacant(place) => {
                place.insert(Entry { message, stored });
            }
            MapEntry::Occupied(mut place) => {
                let old = std::mem::replace(&mut place.get_mut().message, message);
                self.bytes -= old.size;
            }
        }
    }

    /// Tells what the store does not know, and takes it for known.
    pub fn differences(&mut self) -> Vec<Retention> {
        let changed = std::mem::take(&mut self.changed);
        let one = |key: Key| match self.by_topic.get_mut(&key) {
            Some(entry) => {
                entry.stored = true;
                Retention::Keep(Arc::clone(&entry.message))
            }
            None => Retention::Clear(key.0),
        };
        changed.into_iter().map(one).collect()
    }

    fn has_room(&self, message: &Routed, limits: &Limits) -> bool {
        let old = self.by_topic.get(message.topic.as_str()).map_or(0, |old| old.message.size);
        let count = self.by_topic.len() + usize::from(old == 0);
        let bytes = self.bytes - old + message.size;
        count <= limits.retained_messages && bytes <= limits.retained_bytes
    }

    /// Forgets the message of a topic.
    pub(super) fn clear(&mut self, topic: &Topic) {
        if let Some(old) = self.by_topic.remove(topic.as_str()) {
            self.bytes -= old.message.size;
            if old.stored {
                self.changed.insert(Key(old.message.topic.clone()));
            } else {
                self.changed.remove(topic.as_str());
            }
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
            .filter(|(topic, kept)| filter.matches(&topic.0) && is_alive(&kept.message, now_ms))
            .map(|(_, kept)| Arc::clone(&kept.message))
            .collect()
    }
}

fn is_alive(message: &Routed, now_ms: u64) -> bool {
    message.expires_ms.is_none_or(|at| at > now_ms)
}
