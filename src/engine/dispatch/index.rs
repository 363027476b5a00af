//! Which rules want a topic: a tuple-space index over topic filters.
//!
//! Filters with the same wildcard positions share a *mask*; within one, a filter is found by the hash
//! of its literal levels. A look-up costs one hash probe per mask, whatever the number of filters
//! (measured: `benches/index.rs`). Hashes are verified, so a collision costs time only.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use contract::{Topic, TopicFilter};
use foldhash::fast::RandomState;
use smallvec::{SmallVec, smallvec};

/// The most levels of a topic that are told apart; `TopicLimits` keeps topics far below it.
const LEVELS_MAX: usize = 64;

/// Topic filters, each with the ids of those who want it.
#[derive(Debug, Default, Clone)]
pub struct FilterIndex {
    masks: Vec<Mask>,
    entries: HashMap<(u32, u64), Vec<Entry>, RandomState>,
    hasher: RandomState,
}

/// The shape of a filter: which of its levels are literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mask {
    /// Bit n is set when level n is literal.
    literal: u64,
    /// Levels before a last `#`, or all.
    levels: usize,
    /// Ends with `#`.
    rest: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    filter: TopicFilter,
    ids: SmallVec<[u32; 2]>,
}

impl FilterIndex {
    /// Adds an id under a filter. Filters deeper than 64 levels match nothing.
    pub fn insert(&mut self, filter: &TopicFilter, id: u32) {
        let mut mask = Mask { literal: 0, levels: 0, rest: false };
        let mut hash = 0;
        for level in filter.as_str().split('/') {
            match level {
                "#" => {
                    mask.rest = true;
                    break;
                }
                "+" => {}
                literal => {
                    if mask.levels >= LEVELS_MAX {
                        return;
                    }
                    mask.literal |= 1 << mask.levels;
                    hash = combine(hash, self.hash(literal));
                }
            }
            mask.levels += 1;
        }
        let place = self.masks.iter().position(|known| *known == mask).unwrap_or_else(|| {
            self.masks.push(mask);
            self.masks.len() - 1
        });
        let key = (u32::try_from(place).unwrap_or(u32::MAX), hash);
        // Nearly every list has one entry: no room for more is kept.
        let entries = self.entries.entry(key).or_insert_with(|| Vec::with_capacity(1));
        match entries.iter_mut().find(|entry| entry.filter == *filter) {
            Some(entry) => entry.ids.push(id),
            None => entries.push(Entry { filter: filter.clone(), ids: smallvec![id] }),
        }
    }

    /// Appends the ids of all filters that match the topic, in increasing order.
    pub fn lookup(&self, topic: &Topic, ids: &mut Vec<u32>) {
        let start = ids.len();
        let mut hashes = [0_u64; LEVELS_MAX];
        let mut levels = 0;
        for level in topic.as_str().split('/') {
            if levels == LEVELS_MAX {
                return;
            }
            hashes[levels] = self.hash(level);
            levels += 1;
        }
        for (place, mask) in self.masks.iter().enumerate() {
            let fits = if mask.rest { levels >= mask.levels } else { levels == mask.levels };
            if !fits {
                continue;
            }
            let mut hash = 0;
            let mut bits = mask.literal;
            while bits != 0 {
                hash = combine(hash, hashes[bits.trailing_zeros() as usize]);
                bits &= bits - 1;
            }
            let key = (u32::try_from(place).unwrap_or(u32::MAX), hash);
            for entry in self.entries.get(&key).into_iter().flatten() {
                if entry.filter.matches(topic) {
                    ids.extend_from_slice(&entry.ids);
                }
            }
        }
        if let Some(found) = ids.get_mut(start..) {
            found.sort_unstable();
        }
    }

    fn hash(&self, level: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(level.as_bytes());
        hasher.finish()
    }
}

/// Adds a level's hash to that of the levels before it; the order counts.
fn combine(hash: u64, level: u64) -> u64 {
    (hash.rotate_left(7) ^ level).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use contract::TopicLimits;
    use proptest::prelude::*;

    use super::*;

    fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["", "a", "b", "温度", "$SYS", "dev1"])
    }

    fn filter() -> impl Strategy<Value = String> {
        let part = prop_oneof![3 => level(), 2 => Just("+")];
        (prop::collection::vec(part, 1..5), any::<bool>()).prop_map(|(mut parts, rest)| {
            if rest {
                parts.push("#");
            }
            parts.join("/")
        })
    }

    proptest! {
        #[test]
        fn the_index_finds_what_matching_one_by_one_finds(
            filters in prop::collection::vec(filter(), 1..40),
            topics in prop::collection::vec(prop::collection::vec(level(), 1..5), 1..10),
        ) {
            let limits = TopicLimits::default();
            let filters: Vec<TopicFilter> =
                filters.into_iter().filter_map(|text| TopicFilter::parse(text, limits).ok()).collect();
            let mut index = FilterIndex::default();
            for (id, filter) in filters.iter().enumerate() {
                index.insert(filter, id as u32);
            }
            for parts in topics {
                let Ok(topic) = Topic::parse(parts.join("/"), limits) else { continue };
                let mut found = Vec::new();
                index.lookup(&topic, &mut found);
                let naive: Vec<u32> = (0..filters.len() as u32)
                    .filter(|id| filters[*id as usize].matches(&topic))
                    .collect();
                prop_assert_eq!(found, naive, "topic {}", topic);
            }
        }
    }
}
