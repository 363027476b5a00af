//! One pass over a JSON document that validates all of it and remembers where some values lie.
//!
//! RFC 8259 to the letter: UTF-8, no lone surrogates, no control characters in strings, one value,
//! nothing after it, and at most [`JSON_DEPTH`] levels. Nothing is converted and nothing is copied.

use super::error::InvalidPayload;
use super::path::Step;

/// The most levels of arrays and objects in a payload.
pub const JSON_DEPTH: u32 = 128;

/// No node, no slot.
const NONE: u32 = u32::MAX;

/// From how many keys on a node is searched by bisection.
const BISECT: usize = 8;

/// Where a value lies in the payload; empty when it is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// The bytes of the value; `None` when it is missing.
    pub(crate) fn of(self, payload: &[u8]) -> Option<&[u8]> {
        if self.end == 0 { None } else { payload.get(self.start as usize..self.end as usize) }
    }
}

/// The paths to look for, as a tree. Slots are numbered depth first, so that what lies below a node
/// is one range.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
    slots: u32,
}

#[derive(Debug)]
struct Node {
    /// The slot of the value itself.
    slot: u32,
    /// The slots of the values below it.
    below: (u32, u32),
    /// Sorted.
    keys: Vec<(Box<[u8]>, u32)>,
    /// Indices from the start.
    indices: Vec<(u64, u32)>,
    /// Indices from the end; 1 is the last.
    backwards: Vec<(u64, u32)>,
}

impl Node {
    const fn new() -> Self {
        Self {
            slot: NONE,
            below: (0, 0),
            keys: Vec::new(),
            indices: Vec::new(),
            backwards: Vec::new(),
        }
    }

    fn key(&self, key: &[u8]) -> u32 {
        if self.keys.len() < BISECT {
            self.keys.iter().find(|(have, _)| **have == *key).map_or(NONE, |(_, node)| *node)
        } else {
            let found = self.keys.binary_search_by(|(have, _)| (**have).cmp(key));
            found.map_or(NONE, |at| self.keys[at].1)
        }
    }
}

impl Trie {
    /// A trie for all paths, and the slot of each. Equal paths share a slot.
    pub(crate) fn new<'p>(paths: impl Iterator<Item = &'p [Step]>) -> (Self, Vec<u32>) {
        let mut trie = Self { nodes: vec![Node::new()], slots: 0 };
        let ends: Vec<u32> = paths.map(|steps| trie.insert(steps)).collect();
        trie.number();
        let slots = ends.iter().map(|end| trie.nodes[*end as usize].slot).collect();
        (trie, slots)
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots as usize
    }

    fn insert(&mut self, steps: &[Step]) -> u32 {
        let mut at = 0_u32;
        for step in steps {
            let fresh = u32::try_from(self.nodes.len()).expect("invariant: statements are bounded");
            let node = &mut self.nodes[at as usize];
            let next = match step {
                Step::Key(key) => {
                    match node.keys.binary_search_by(|(have, _)| (**have).cmp(key.as_bytes())) {
                        Ok(found) => node.keys[found].1,
                        Err(place) => {
                            node.keys.insert(place, (key.as_bytes().into(), fresh));
                            fresh
                        }
                    }
                }
                Step::Index(index) => {
                    let list = if *index < 0 { &mut node.backwards } else { &mut node.indices };
                    let index = index.unsigned_abs();
                    match list.iter().find(|(have, _)| *have == index) {
                        Some((_, found)) => *found,
                        None => {
                            list.push((index, fresh));
                            fresh
                        }
                    }
                }
            };
            if next == fresh {
                self.nodes.push(Node::new());
            }
            at = next;
        }
        // Marks the end of a path until `number` runs.
        self.nodes[at as usize].slot = 0;
        at
    }

    /// Numbers the slots depth first, with a stack of its own.
    fn number(&mut self) {
        let mut stack = vec![(0_u32, false)];
        while let Some((at, done)) = stack.pop() {
            let node = &mut self.nodes[at as usize];
            if done {
                node.below.1 = self.slots;
                continue;
            }
            if node.slot != NONE {
                node.slot = self.slots;
                self.slots += 1;
            }
            node.below.0 = self.slots;
            stack.push((at, true));
            stack.extend(node.keys.iter().map(|(_, next)| (*next, false)));
            stack.extend(node.indices.iter().map(|(_, next)| (*next, false)));
            stack.extend(node.backwards.iter().map(|(_, next)| (*next, false)));
        }
    }
}

/// Validates a document and fills `slots` (one per slot of the trie).
///
/// # Errors
/// Where the payload stops being JSON; the slots then mean nothing.
pub(crate) fn pick(text: &[u8], trie: &Trie, slots: &mut Vec<Span>) -> Result<(), InvalidPayload> {
    slots.clear();
    slots.resize(trie.slots(), Span::default());
    if u32::try_from(text.len()).is_err() {
        return Err(InvalidPayload { offset: 0, reason: "the payload has 4 GiB or more" });
    }
    let root = if trie.slots == 0 { NONE } else { 0 };
    let mut walk = Walk { text, trie, slots, high: 0, failure: (0, "") };
    let start = space(text, 0);
    let end = walk.value(start, root, JSON_DEPTH).map(|end| space(text, end));
    let high = walk.high;
    match end {
        None => {
            let (offset, reason) = walk.failure;
            Err(InvalidPayload { offset, reason })
        }
        Some(end) if end != text.len() => {
            Err(InvalidPayload { offset: end, reason: "text after the document" })
        }
        // ASCII is UTF-8; anything else is checked once for the whole text.
        Some(_) if high & HIGH != 0 => match std::str::from_utf8(text) {
            Ok(_) => Ok(()),
            Err(error) => Err(InvalidPayload { offset: error.valid_up_to(), reason: "not UTF-8" }),
        },
        Some(_) => Ok(()),
    }
}

/// Fills `slots` from the value that starts at `at` of a text that is known to be valid, and returns
/// where it ends. Spans lie in the whole text.
pub(crate) fn pick_at(text: &[u8], at: usize, trie: &Trie, slots: &mut [Span]) -> Option<usize> {
    slots.fill(Span::default());
    let root = if trie.slots == 0 { NONE } else { 0 };
    Walk { text, trie, slots, high: 0, failure: (0, "") }.value(at, root, JSON_DEPTH)
}

/// Looks for nothing.
const EMPTY: Trie = Trie { nodes: Vec::new(), slots: 0 };

/// Validates a document as [`pick`] does, without allocating.
///
/// # Errors
/// Where the text stops being JSON.
pub(crate) fn validate(text: &[u8]) -> Result<(), InvalidPayload> {
    pick(text, &EMPTY, &mut Vec::new())
}

/// The end of the value that starts at `at`; `None` when there is none.
pub(crate) fn skip(text: &[u8], at: usize) -> Option<usize> {
    let mut walk = Walk { text, trie: &EMPTY, slots: &mut [], high: 0, failure: (0, "") };
    walk.value(at, NONE, JSON_DEPTH)
}

/// The first byte from `at` on that is not white space.
#[inline]
pub(crate) fn space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = text.get(at) {
        at += 1;
    }
    at
}

/// The end of the number that starts at `at` (RFC 8259 §6), or where it goes wrong.
#[inline]
pub(crate) fn number(text: &[u8], mut at: usize) -> Result<usize, usize> {
    if text.get(at) == Some(&b'-') {
        at += 1;
    }
    match text.get(at) {
        Some(b'0') => at += 1,
        Some(b'1'..=b'9') => at = digits(text, at + 1),
        _ => return Err(at),
    }
    if text.get(at) == Some(&b'.') {
        let from = at + 1;
        at = digits(text, from);
        if at == from {
            return Err(at);
        }
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = text.get(at) {
            at += 1;
        }
        let from = at;
        at = digits(text, from);
        if at == from {
            return Err(at);
        }
    }
    Ok(at)
}

#[inline]
fn digits(text: &[u8], mut at: usize) -> usize {
    while let Some(b'0'..=b'9') = text.get(at) {
        at += 1;
    }
    at
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Marks (at least) the first byte of a word that ends a run of plain string bytes: a quote, a
/// backslash or a control character. Marks above the first may be wrong, the first never is.
#[inline]
fn special(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let zero = |x: u64| x.wrapping_sub(ONES) & !x;
    (zero(quote) | zero(backslash) | (word.wrapping_sub(ONES * 0x20) & !word)) & HIGH
}

struct Walk<'a> {
    text: &'a [u8],
    trie: &'a Trie,
    slots: &'a mut [Span],
    /// All string bytes or-ed together: bits of `HIGH` tell that some were not ASCII.
    high: u64,
    failure: (usize, &'static str),
}

impl Walk<'_> {
    #[cold]
    fn fail<T>(&mut self, at: usize, reason: &'static str) -> Option<T> {
        let reason = if at >= self.text.len() { "the document ends early" } else { reason };
        self.failure = (at, reason);
        None
    }

    /// Validates the value that starts at `at` and returns its end. `left` levels may follow.
    fn value(&mut self, at: usize, node: u32, left: u32) -> Option<usize> {
        let end = match self.text.get(at) {
            Some(b'"') => self.string(at)?.0,
            Some(b'{') => self.object(at, node, left)?,
            Some(b'[') => self.array(at, node, left)?,
            Some(b'-' | b'0'..=b'9') => match number(self.text, at) {
                Ok(end) => end,
                Err(bad) => return self.fail(bad, "a malformed number"),
            },
            Some(b't') => self.word(at, b"true")?,
            Some(b'f') => self.word(at, b"false")?,
            Some(b'n') => self.word(at, b"null")?,
            _ => return self.fail(at, "a value was expected"),
        };
        if node != NONE {
            let slot = self.trie.nodes[node as usize].slot;
            if let Some(place) = self.slots.get_mut(slot as usize) {
                // The payload is below 4 GiB: `pick` checks.
                #[expect(clippy::cast_possible_truncation, reason = "checked by pick")]
                let span = Span { start: at as u32, end: end as u32 };
                *place = span;
            }
        }
        Some(end)
    }

    #[inline]
    fn word(&mut self, at: usize, word: &'static [u8]) -> Option<usize> {
        if self.text.get(at..).is_some_and(|rest| rest.starts_with(word)) {
            return Some(at + word.len());
        }
        self.fail(at, "a value was expected")
    }

    fn object(&mut self, at: usize, node: u32, left: u32) -> Option<usize> {
        if left == 0 {
            return self.fail(at, "nested deeper than 128 levels");
        }
        let mut at = space(self.text, at + 1);
        if self.text.get(at) == Some(&b'}') {
            return Some(at + 1);
        }
        loop {
            if self.text.get(at) != Some(&b'"') {
                return self.fail(at, "a key in double quotes was expected");
            }
            let (end, escaped) = self.string(at)?;
            let next = if node == NONE { NONE } else { self.child(node, at, end, escaped) };
            at = space(self.text, end);
            if self.text.get(at) != Some(&b':') {
                return self.fail(at, "`:` was expected after the key");
            }
            at = space(self.text, at + 1);
            at = self.value(at, next, left - 1)?;
            at = space(self.text, at);
            match self.text.get(at) {
                Some(b',') => at = space(self.text, at + 1),
                Some(b'}') => return Some(at + 1),
                _ => return self.fail(at, "`,` or `}` was expected"),
            }
        }
    }

    /// The node for a key. What an equal key before it had selected is forgotten: the last one wins.
    fn child(&mut self, node: u32, start: usize, end: usize, escaped: bool) -> u32 {
        let trie = self.trie;
        let node = &trie.nodes[node as usize];
        let next = if escaped {
            let raw = self.text.get(start..end).unwrap_or_default();
            node.key(super::json::decode(raw).as_bytes())
        } else {
            node.key(self.text.get(start + 1..end - 1).unwrap_or_default())
        };
        if next != NONE {
            self.forget(next);
        }
        next
    }

    fn forget(&mut self, node: u32) {
        let (from, to) = self.trie.nodes[node as usize].below;
        if from != to
            && let Some(below) = self.slots.get_mut(from as usize..to as usize)
        {
            below.fill(Span::default());
        }
    }

    fn array(&mut self, at: usize, node: u32, left: u32) -> Option<usize> {
        if left == 0 {
            return self.fail(at, "nested deeper than 128 levels");
        }
        let trie = self.trie;
        let node = trie.nodes.get(node as usize);
        let start = at;
        let mut at = space(self.text, at + 1);
        if self.text.get(at) == Some(&b']') {
            return Some(at + 1);
        }
        let mut count = 0_u64;
        loop {
            let next = node
                .and_then(|node| node.indices.iter().find(|(index, _)| *index == count))
                .map_or(NONE, |(_, next)| *next);
            at = self.value(at, next, left - 1)?;
            at = space(self.text, at);
            count += 1;
            match self.text.get(at) {
                Some(b',') => at = space(self.text, at + 1),
                Some(b']') => break,
                _ => return self.fail(at, "`,` or `]` was expected"),
            }
        }
        if let Some(node) = node.filter(|node| !node.backwards.is_empty()) {
            self.backwards(start, count, node, left);
        }
        Some(at + 1)
    }

    /// Reads a valid array once more for the indices that count from its end.
    #[cold]
    fn backwards(&mut self, start: usize, count: u64, node: &Node, left: u32) -> Option<()> {
        let mut at = space(self.text, start + 1);
        for index in 0..count {
            let wanted = node.backwards.iter().find(|(back, _)| *back == count - index);
            at = self.value(at, wanted.map_or(NONE, |(_, next)| *next), left - 1)?;
            at = space(self.text, at);
            at = space(self.text, at + 1);
        }
        Some(())
    }

    /// The end of the string whose opening quote is at `at`, and whether it has escapes.
    #[inline]
    fn string(&mut self, at: usize) -> Option<(usize, bool)> {
        let mut at = at + 1;
        let mut escaped = false;
        loop {
            while let Some(chunk) = self.text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
                let word = u64::from_le_bytes(*chunk);
                let found = special(word);
                if found == 0 {
                    self.high |= word;
                    at += 8;
                    continue;
                }
                let plain = found.trailing_zeros() & !7;
                self.high |= word & !(u64::MAX << plain);
                at += (plain / 8) as usize;
                break;
            }
            match self.text.get(at) {
                Some(b'"') => return Some((at + 1, escaped)),
                Some(b'\\') => {
                    escaped = true;
                    at = self.escape(at)?;
                }
                Some(byte @ 0x20..) => {
                    self.high |= u64::from(*byte);
                    at += 1;
                }
                _ => return self.fail(at, "a control character in a string"),
            }
        }
    }

    /// The end of the escape whose backslash is at `at` (RFC 8259 §7).
    fn escape(&mut self, at: usize) -> Option<usize> {
        match self.text.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Some(at + 2),
            Some(b'u') => match self.unit(at)? {
                0xd800..=0xdbff if self.text.get(at + 6) == Some(&b'\\') => {
                    if self.text.get(at + 7) == Some(&b'u')
                        && (0xdc00..=0xdfff).contains(&self.unit(at + 6)?)
                    {
                        return Some(at + 12);
                    }
                    self.fail(at, "a lone surrogate in a string")
                }
                0xd800..=0xdfff => self.fail(at, "a lone surrogate in a string"),
                _ => Some(at + 6),
            },
            _ => self.fail(at + 1, "an unknown escape in a string"),
        }
    }

    /// The four hexadecimal digits of the `\u` at `at`.
    fn unit(&mut self, at: usize) -> Option<u32> {
        let mut unit = 0;
        for place in at + 2..at + 6 {
            let digit = self.text.get(place).and_then(|b| char::from(*b).to_digit(16));
            let Some(digit) = digit else {
                return self.fail(place, "four hexadecimal digits were expected");
            };
            unit = unit * 16 + digit;
        }
        Some(unit)
    }
}
