//! JSON text: strings in and out, the members of objects, deep equality.
//!
//! Everything read here has been validated by `pick`; on other text the iterators just end.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::number::Num;
use super::pick;

/// The text of a JSON string with its quotes. Borrows where there is no escape.
pub(crate) fn decode(raw: &[u8]) -> Cow<'_, str> {
    let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
    let mut rest = std::str::from_utf8(inner).unwrap_or_default();
    if memchr::memchr(b'\\', inner).is_none() {
        return Cow::Borrowed(rest);
    }
    // An escape is never shorter than what it stands for.
    let mut out = String::with_capacity(rest.len());
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (before, escape) = rest.split_at(at);
        let Some((char, behind)) = escape.get(1..).and_then(escaped) else { return Cow::default() };
        out.push_str(before);
        out.push(char);
        rest = behind;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The character that stands behind a backslash (RFC 8259 §7), and the text behind that.
pub(crate) fn escaped(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    let char = match chars.next()? {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        same @ ('\\' | '"' | '/') => same,
        'u' => {
            let (high, rest) = unit(chars.as_str())?;
            if let Some(char) = char::from_u32(high.into()) {
                return Some((char, rest));
            }
            let (low, rest) = unit(rest.strip_prefix("\\u")?)?;
            let char = char::decode_utf16([high, low]).next()?.ok()?;
            return Some((char, rest));
        }
        _ => return None,
    };
    Some((char, chars.as_str()))
}

/// Four hexadecimal digits.
fn unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some((u16::from_str_radix(digits, 16).ok()?, rest))
}

/// Appends text as a JSON string with quotes; only what RFC 8259 §7 demands is escaped.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

/// How many bytes [`write_string`] appends.
pub(crate) fn string_length(text: &str) -> usize {
    let added = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0..0x20 => 5,
        _ => 0,
    };
    text.len() + text.bytes().map(added).sum::<usize>() + 2
}

/// The members of an object as raw key (with quotes) and raw value, in their order.
pub(crate) fn members(text: &[u8]) -> Members<'_> {
    Members::open(text, b'{')
}

/// The elements of an array, raw.
pub(crate) fn elements(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut inner = Members::open(text, b'[');
    std::iter::from_fn(move || inner.value())
}

/// An iterator over what is inside `{}` or `[]`.
pub(crate) struct Members<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Members<'a> {
    fn open(text: &'a [u8], bracket: u8) -> Self {
        let at = pick::space(text, 0);
        let at = if text.get(at) == Some(&bracket) { at + 1 } else { text.len() };
        Self { text, at }
    }

    /// The next value: after a comma, or the first.
    fn value(&mut self) -> Option<&'a [u8]> {
        let mut start = pick::space(self.text, self.at);
        if self.text.get(start) == Some(&b',') {
            start = pick::space(self.text, start + 1);
        }
        if matches!(self.text.get(start), None | Some(b']' | b'}')) {
            return None;
        }
        self.at = pick::skip(self.text, start)?;
        self.text.get(start..self.at)
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.value()?;
        self.at = pick::space(self.text, self.at) + 1;
        Some((key, self.value()?))
    }
}

/// True when two JSON texts hold the same value: objects without regard to order, numbers by value.
pub(crate) fn equal(a: &str, b: &str) -> bool {
    a == b || tree(a.as_bytes()) == tree(b.as_bytes())
}

/// A JSON value taken apart. As deep as `pick::JSON_DEPTH` allows.
enum Tree<'a> {
    Text(Cow<'a, str>),
    Number(Num),
    Array(Vec<Tree<'a>>),
    Object(BTreeMap<Cow<'a, str>, Tree<'a>>),
    /// `true`, `false` or `null`.
    Word(&'a [u8]),
}

impl PartialEq for Tree<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a.compare(*b).is_eq(),
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            (Self::Word(a), Self::Word(b)) => a == b,
            _ => false,
        }
    }
}

fn tree(raw: &[u8]) -> Tree<'_> {
    match raw.first() {
        Some(b'"') => Tree::Text(decode(raw)),
        Some(b'[') => Tree::Array(elements(raw).map(tree).collect()),
        // Collecting into a map lets the last of equal keys win.
        Some(b'{') => Tree::Object(members(raw).map(|(k, v)| (decode(k), tree(v))).collect()),
        _ => Num::parse(raw).map_or(Tree::Word(raw), Tree::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_equality() {
        for (a, b, want) in [
            ("[1,2]", "[ 1.0 , 2 ]", true),
            ("[1,2]", "[2,1]", false),
            (r#"{"a":1,"b":[]}"#, r#"{ "b" : [ ] , "a" : 1e0 }"#, true),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#, true),
            (r#"{"a":null}"#, "{}", false),
            ("[]", "{}", false),
        ] {
            assert_eq!(equal(a, b), want, "{a} against {b}");
        }
    }

    #[test]
    fn members_keep_their_text() {
        let found: Vec<_> = members(br#" { "a" : 1.10 , "b":[1, {}] } "#)
            .map(|(k, v)| (String::from_utf8_lossy(k), String::from_utf8_lossy(v)))
            .collect();
        assert_eq!(found, [("\"a\"".into(), "1.10".into()), ("\"b\"".into(), "[1, {}]".into())]);
        assert_eq!(members(b"[1]").count(), 0);
        assert_eq!(elements(b"[1,2 , 3]").count(), 3);
        assert_eq!(elements(b"[ ]").count(), 0);
    }

    #[test]
    fn strings_round_trip() {
        let text = "a\"b\\c\n\u{1}\u{7f}温\u{1F600}";
        let mut out = Vec::new();
        write_string(text, &mut out);
        assert_eq!(decode(&out), text);
    }
}
