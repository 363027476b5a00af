//! Numbers that stand for topics on one connection (MQTT 5.0 §3.3.2.3.4), in both directions.
//!
//! They are the connection's alone and go with it: what waits in a session has its topic.

use bytestring::ByteString;
use contract::{Topic, TopicError, TopicLimits};

use crate::codec::Reason;

/// Why a PUBLISH ends the connection.
pub(super) type Broken = (Reason, &'static str);

/// What the client's numbers stand for.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// The topic of number 1 first.
    topics: Vec<Option<Topic>>,
}

impl Inbound {
    /// The topic of a PUBLISH with that text and that number, which is noted. `Ok(Err(_))`: the text
    /// is no topic name.
    pub(super) fn topic(
        &mut self,
        text: ByteString,
        alias: Option<u16>,
        most: u16,
        limits: TopicLimits,
    ) -> Result<Result<Topic, TopicError>, Broken> {
        let Some(number) = alias else { return Ok(Topic::parse(text, limits)) };
        if number == 0 || number > most {
            let note = "the topic alias is 0 or above the maximum";
            return Err((Reason::TOPIC_ALIAS_INVALID, note));
        }
        let at = usize::from(number) - 1;
        let known = self.topics.get(at).and_then(Option::as_ref);
        if text.is_empty() || known.is_some_and(|topic| *topic.as_str() == *text) {
            let unknown = (Reason::PROTOCOL_ERROR, "the topic alias stands for nothing yet");
            return known.cloned().map(Ok).ok_or(unknown);
        }
        if self.topics.len() <= at {
            self.topics.resize(at + 1, None);
        }
        // A copy: it must not keep the buffer that it was read with.
        let parsed = Topic::parse(&*text, limits);
        self.topics[at] = parsed.as_ref().ok().cloned();
        Ok(parsed)
    }
}

/// How a topic is written to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// As it is.
    Topic,
    /// As it is, and from now on this number stands for it.
    Both(u16),
    /// This number alone.
    Alias(u16),
}

/// Bytes that a number takes among the properties: a topic that is no longer gets none.
const COST: usize = 3;

/// What the broker's numbers stand for. The topics that come again keep them: one that has none gets
/// the number of one that was not sent lately, and only when it was itself among the last without.
#[derive(Debug)]
pub(super) struct Outbound {
    most: usize,
    /// Bytes of a packet that the client takes.
    pub packet_bytes: usize,
    /// The hash of the topic of number 1 first: looked through for every message.
    hashes: Vec<u32>,
    slots: Vec<Slot>,
    /// The slot that is looked at next when a number is wanted.
    hand: usize,
    /// The hashes of the last topics that got no number, and where the next one goes.
    passed: Vec<u32>,
    next_passed: usize,
}

#[derive(Debug)]
struct Slot {
    topic: String,
    /// The number was sent since the hand was here.
    used: bool,
}

impl Outbound {
    /// Numbers up to `most`, which is not 0.
    pub(super) fn new(most: u16, packet_bytes: usize) -> Self {
        Self {
            most: usize::from(most),
            packet_bytes,
            hashes: Vec::new(),
            slots: Vec::new(),
            hand: 0,
            passed: Vec::new(),
            next_passed: 0,
        }
    }

    /// How a topic is written in the next packet, which must then be sent. `may_grow`: the packet may
    /// be [`COST`] bytes longer than with the topic alone.
    pub(super) fn naming(&mut self, topic: &str, may_grow: bool) -> Naming {
        if topic.len() <= COST {
            return Naming::Topic;
        }
        let hash = hash(topic);
        let mut same = self.hashes.iter().enumerate().filter(|(_, have)| **have == hash);
        if let Some((at, _)) = same.find(|(at, _)| self.slots[*at].topic == topic) {
            self.slots[at].used = true;
            return Naming::Alias(number(at));
        }
        match may_grow.then(|| self.place(hash)).flatten() {
            None => Naming::Topic,
            Some(at) => {
                let slot = &mut self.slots[at];
                // In the memory of the topic before.
                slot.topic.clear();
                slot.topic.push_str(topic);
                self.hashes[at] = hash;
                Naming::Both(number(at))
            }
        }
    }

    /// A slot for a topic that has none.
    fn place(&mut self, hash: u32) -> Option<usize> {
        if self.slots.len() < self.most {
            self.slots.push(Slot { topic: String::new(), used: false });
            self.hashes.push(0);
            return Some(self.slots.len() - 1);
        }
        if !self.passed.contains(&hash) {
            if self.passed.len() < self.most {
                self.passed.push(hash);
            } else {
                self.passed[self.next_passed] = hash;
                self.next_passed = (self.next_passed + 1) % self.most;
            }
            return None;
        }
        let at = self.hand;
        self.hand = (at + 1) % self.most;
        let was_used = std::mem::take(&mut self.slots[at].used);
        (!was_used).then_some(at)
    }
}

/// The number of a slot; there are at most 65,535.
fn number(at: usize) -> u16 {
    u16::try_from(at + 1).unwrap_or(u16::MAX)
}

/// Topics with the same hash are told apart by their text.
fn hash(topic: &str) -> u32 {
    use std::hash::BuildHasher as _;
    (foldhash::fast::FixedState::default().hash_one(topic) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbound(aliases: &mut Inbound, text: &str, alias: u16) -> Result<Option<String>, Reason> {
        let found = aliases.topic(text.into(), Some(alias), 2, TopicLimits::default());
        found.map(|topic| topic.ok().map(|t| t.to_string())).map_err(|(reason, _)| reason)
    }

    #[test]
    fn a_clients_number_stands_for_its_last_topic() {
        let mut aliases = Inbound::default();
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(inbound(&mut aliases, "", 2), Err(Reason::PROTOCOL_ERROR));
        assert_eq!(inbound(&mut aliases, "a/b", 2), some("a/b"));
        assert_eq!(inbound(&mut aliases, "", 2), some("a/b"));
        assert_eq!(inbound(&mut aliases, "", 1), Err(Reason::PROTOCOL_ERROR));
        assert_eq!(inbound(&mut aliases, "c", 2), some("c"));
        assert_eq!(inbound(&mut aliases, "c", 1), some("c"));
        assert_eq!(inbound(&mut aliases, "", 2), some("c"));
        // What is no topic stands for nothing.
        assert_eq!(inbound(&mut aliases, "+", 2), Ok(None));
        assert_eq!(inbound(&mut aliases, "", 2), Err(Reason::PROTOCOL_ERROR));
        for outside in [0, 3, u16::MAX] {
            assert_eq!(inbound(&mut aliases, "a", outside), Err(Reason::TOPIC_ALIAS_INVALID));
        }
    }

    #[test]
    fn topics_that_come_again_keep_their_number() {
        let mut aliases = Outbound::new(2, usize::MAX);
        assert_eq!(aliases.naming("abc", true), Naming::Topic);
        assert_eq!(aliases.naming("first", false), Naming::Topic);
        assert_eq!(aliases.naming("first", true), Naming::Both(1));
        assert_eq!(aliases.naming("second", true), Naming::Both(2));
        for once in 0..100 {
            assert_eq!(aliases.naming(&format!("once/{once}"), true), Naming::Topic);
            assert_eq!(aliases.naming("first", true), Naming::Alias(1));
        }
        // Now another one comes again and again, and `second` does not.
        let mut named: Vec<_> = (0..6).map(|_| aliases.naming("third", true)).collect();
        named.dedup();
        assert_eq!(named, [Naming::Topic, Naming::Both(2), Naming::Alias(2)]);
        assert_eq!(aliases.naming("first", true), Naming::Alias(1));
    }

    /// What the client has learned is always what the broker means.
    #[test]
    fn both_sides_agree() {
        let mut aliases = Outbound::new(8, usize::MAX);
        let mut client = Inbound::default();
        let (mut state, mut saved) = (7_u64, 0);
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Some topics are much more frequent than others.
            let topic = format!("site/{}", (state >> 33) % (1 + (state >> 50) % 40));
            let (text, alias) = match aliases.naming(&topic, true) {
                Naming::Topic => (topic.as_str(), None),
                Naming::Both(number) => (topic.as_str(), Some(number)),
                Naming::Alias(number) => ("", Some(number)),
            };
            saved += usize::from(text.is_empty());
            let got = client.topic(text.into(), alias, 8, TopicLimits::default());
            assert_eq!(got.expect("a good number").expect("a topic").as_str(), topic);
        }
        assert!(saved > 8_000, "{saved}");
    }
}
