//! When two JSON values are the same, as a key for hashing: of the same type and equal.
//!
//! Stricter than `=`: there text that reads as a number equals the number, so that `'1'` and `'1.0'`
//! both equal 1 but not each other, and no set could be made of such values.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use crate::json;
use crate::number::Num;
use crate::pick::{self, JSON_DEPTH};

/// Up to how many keys a bag is searched one by one.
const FEW: usize = 8;

/// A value that equals others of its type alone: numbers by value, objects without regard to order,
/// NULL as itself. Only arrays and objects allocate.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::functions) enum Key<'t> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without a fraction that fits 65 bits.
    Integer(i128),
    /// The bits of any other number.
    Real(u64),
    /// Text.
    Text(Cow<'t, str>),
    /// An array or object in a canonical form.
    Deep(Vec<u8>),
}

/// The key of a JSON value.
pub(in crate::functions) fn key(raw: &[u8]) -> Key<'_> {
    match raw.first() {
        Some(b'"') => Key::Text(json::decode(raw)),
        Some(b't') => Key::Bool(true),
        Some(b'f') => Key::Bool(false),
        Some(b'[' | b'{') => {
            let mut out = Vec::with_capacity(raw.len());
            canonical(raw, 0, &mut out, JSON_DEPTH);
            Key::Deep(out)
        }
        _ => Num::parse(raw).map_or(Key::Null, number),
    }
}

/// The key of a number.
fn number<'t>(num: Num) -> Key<'t> {
    whole(num).map_or_else(|| Key::Real(num.as_f64().to_bits()), Key::Integer)
}

/// The value of a number without a fraction, however it is written, within ±2^64.
pub(in crate::functions) fn whole(num: Num) -> Option<i128> {
    const LIMIT: f64 = 18_446_744_073_709_551_616.0;
    match num {
        #[expect(clippy::cast_possible_truncation, reason = "an integer within ±2^64")]
        Num::Float(value) if value.fract() == 0.0 && value.abs() <= LIMIT => Some(value as i128),
        num => num.as_i128(),
    }
}

/// Appends the canonical form of the value at `at`, in which every part tells its own length; returns
/// the value's end. One pass over the text.
fn canonical(text: &[u8], at: usize, out: &mut Vec<u8>, left: u32) -> usize {
    match text.get(at) {
        // Nothing deeper comes from a document or a function.
        Some(b'[' | b'{') if left == 0 => text.len(),
        Some(b'[') => {
            out.push(b'[');
            let mut at = pick::space(text, at + 1);
            while !matches!(text.get(at), None | Some(b']')) {
                at = next(text, canonical(text, at, out, left - 1));
            }
            out.push(b']');
            at + 1
        }
        Some(b'{') => {
            let mut members = BTreeMap::new();
            let mut at = pick::space(text, at + 1);
            while text.get(at) == Some(&b'"') {
                let Some(end) = pick::skip(text, at) else { return text.len() };
                let name = json::decode(text.get(at..end).unwrap_or_default());
                let mut value = Vec::new();
                // Behind the key a colon.
                let start = pick::space(text, pick::space(text, end) + 1);
                at = next(text, canonical(text, start, &mut value, left - 1));
                members.insert(name, value);
            }
            out.push(b'{');
            for (name, value) in members {
                sized(name.as_bytes(), out);
                out.extend_from_slice(&value);
            }
            out.push(b'}');
            at + 1
        }
        _ => {
            let Some(end) = pick::skip(text, at) else { return text.len() };
            match key(text.get(at..end).unwrap_or_default()) {
                Key::Null | Key::Deep(_) => out.push(b'n'),
                Key::Bool(value) => out.push(if value { b't' } else { b'f' }),
                Key::Integer(value) => {
                    out.push(b'i');
                    out.extend_from_slice(&value.to_le_bytes());
                }
                Key::Real(bits) => {
                    out.push(b'r');
                    out.extend_from_slice(&bits.to_le_bytes());
                }
                Key::Text(text) => sized(text.as_bytes(), out),
            }
            end
        }
    }
}

/// Where the next value starts behind one that ends at `at`, or the closing bracket.
fn next(text: &[u8], at: usize) -> usize {
    let at = pick::space(text, at);
    if text.get(at) == Some(&b',') { pick::space(text, at + 1) } else { at }
}

fn sized(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(&bytes.len().to_le_bytes());
    out.extend_from_slice(bytes);
}

/// True when two JSON values are the same.
pub(in crate::functions) fn same(a: &[u8], b: &[u8]) -> bool {
    a == b || key(a) == key(b)
}

/// A set of values. Small ones stay off the heap.
pub(in crate::functions) struct Bag<'t> {
    few: smallvec::SmallVec<[Key<'t>; FEW]>,
    many: HashSet<Key<'t>, foldhash::fast::RandomState>,
}

impl<'t> Bag<'t> {
    pub(in crate::functions) fn new() -> Self {
        Self { few: smallvec::SmallVec::new(), many: HashSet::default() }
    }

    /// The values of an array.
    pub(in crate::functions) fn of(array: &'t [u8]) -> Self {
        let mut bag = Self::new();
        for raw in json::elements(array) {
            bag.insert(key(raw));
        }
        bag
    }

    pub(in crate::functions) fn len(&self) -> usize {
        self.few.len() + self.many.len()
    }

    pub(in crate::functions) fn contains(&self, key: &Key<'t>) -> bool {
        if self.many.is_empty() { self.few.contains(key) } else { self.many.contains(key) }
    }

    /// True when it was not there.
    pub(in crate::functions) fn insert(&mut self, key: Key<'t>) -> bool {
        if !self.many.is_empty() {
            return self.many.insert(key);
        }
        if self.few.contains(&key) {
            return false;
        }
        if self.few.len() == FEW {
            self.many.extend(self.few.drain(..));
            return self.many.insert(key);
        }
        self.few.push(key);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_type_are_the_same_by_value() {
        for (a, b, want) in [
            ("1", "1.0", true),
            ("1", "10e-1", true),
            ("0", "-0.0", true),
            ("1", "\"1\"", false),
            ("0.1", "0.10", true),
            ("9007199254740993", "9007199254740992", false),
            ("9007199254740993", "9007199254740993.0", true),
            ("18446744073709551615", "1.8446744073709552e19", false),
            ("null", "null", true),
            ("null", "false", false),
            (r#""\u0061""#, r#""a""#, true),
            ("[1, 2]", "[1.0,2]", true),
            ("[1,2]", "[2,1]", false),
            ("[[1],2]", "[[1,2]]", false),
            ("[]", "{}", false),
            (r#"{"a":1,"b":[]}"#, r#"{ "b" : [ ] , "a" : 1e0 }"#, true),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#, true),
            (r#"{"a":"b"}"#, r#"{"a":"b","c":null}"#, false),
            (r#"["a","b"]"#, r#"["ab"]"#, false),
        ] {
            assert_eq!(same(a.as_bytes(), b.as_bytes()), want, "{a} and {b}");
        }
    }

    #[test]
    fn bags_grow() {
        let text =
            format!("[{}]", (0..100).map(|n| (n % 50).to_string()).collect::<Vec<_>>().join(","));
        let bag = Bag::of(text.as_bytes());
        assert_eq!(bag.len(), 50);
        assert!(bag.contains(&key(b"49.0")) && !bag.contains(&key(b"50")));
    }
}
