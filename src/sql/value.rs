//! The values of an evaluation and how they compare.
//!
//! Arrays and objects stay JSON text; they are taken apart only where a comparison needs it.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::json;
use super::number::Num;
use super::work::{COMPARED, DOCUMENTS, SCAN, VALUE};

/// A value while a statement is evaluated. It borrows from the payload, the statement or the message.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Nothing there.
    Missing,
    /// JSON's `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number<'a>),
    /// Text.
    String(Cow<'a, str>),
    /// An array or object, as valid JSON text.
    Json(Cow<'a, str>),
    /// Bytes: what `*` is as an argument, and what functions such as `gzip` give. They have no JSON
    /// form; `to_base64` gives them one.
    Binary(Cow<'a, [u8]>),
}

/// A number, with its text where it was written somewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number<'a> {
    /// The value.
    pub num: Num,
    /// The text as it was written; `None` when it was computed.
    pub text: Option<&'a str>,
}

/// What `a <op> b` knows about two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// They compare.
    Ordered(Ordering),
    /// Equal, but there is no order.
    Same,
    /// Not equal, and there is no order.
    Different,
    /// NULL or MISSING is involved.
    Unknown,
}

/// How many arrays and objects of a JSON text stand within each other at most, and how many there are.
fn depth(text: &[u8]) -> (u64, u64) {
    let (mut depth, mut most, mut parts) = (0_u64, 0, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                parts += 1;
                most = most.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    (most, parts)
}

impl<'a> Value<'a> {
    /// A computed number; MISSING has to be handled by the caller where it is not finite.
    #[must_use]
    pub fn number(num: Num) -> Self {
        Self::Number(Number { num, text: None })
    }

    /// Computed text.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::String(text.into())
    }

    /// Reads a JSON value that is known to be valid.
    #[must_use]
    pub fn read(raw: &'a [u8]) -> Self {
        let text = || std::str::from_utf8(raw).unwrap_or("null");
        match raw.first() {
            None => Self::Missing,
            Some(b'n') => Self::Null,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'"') => Self::String(json::decode(raw)),
            Some(b'{' | b'[') => Self::Json(Cow::Borrowed(text())),
            Some(_) => match Num::parse(raw) {
                Some(num) => Self::Number(Number { num, text: Some(text()) }),
                None => Self::Missing,
            },
        }
    }

    /// What users call the type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Missing => "MISSING",
            Self::Null => "NULL",
            Self::Bool(_) => "BOOLEAN",
            Self::Number(_) => "NUMBER",
            Self::String(_) => "STRING",
            Self::Json(text) if text.starts_with('[') => "ARRAY",
            Self::Json(_) => "OBJECT",
            Self::Binary(_) => "BINARY",
        }
    }

    /// The bytes of its text or content; none for what has a fixed size.
    pub(crate) fn size(&self) -> u64 {
        let bytes = match self {
            Self::String(text) | Self::Json(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Number(Number { text: Some(text), .. }) => text.len(),
            Self::Missing | Self::Null | Self::Bool(_) | Self::Number(_) => 0,
        };
        bytes as u64
    }

    /// The same of what the value owns, because it was made.
    #[inline]
    pub(crate) fn made(&self) -> u64 {
        match self {
            Self::String(Cow::Owned(_))
            | Self::Json(Cow::Owned(_))
            | Self::Binary(Cow::Owned(_)) => self.size(),
            _ => 0,
        }
    }

    /// How many arrays and objects of an array or object stand within each other at most, and how many
    /// there are. `None` for what is short, and costs little whatever it is.
    pub(crate) fn depth(&self) -> Option<(u64, u64)> {
        const SHORT: usize = 1024;
        match self {
            Self::Json(text) if text.len() > SHORT => Some(depth(text.as_bytes())),
            _ => None,
        }
    }

    /// What it costs to compare two values once more, in units of work.
    pub(crate) fn comparing(&self, other: &Self) -> u64 {
        let price = match (self, other) {
            (Self::Json(_), Self::Json(_)) => {
                let sizes = self.size().saturating_add(other.size());
                let nested = COMPARED.apart(self).saturating_add(COMPARED.apart(other));
                return sizes.saturating_mul(DOCUMENTS).saturating_add(nested);
            }
            // Text may have to be read as a number; else the shorter of the two is compared.
            (Self::Number(_), Self::String(_)) | (Self::String(_), Self::Number(_)) => VALUE,
            _ => return self.size().min(other.size()) * SCAN,
        };
        self.size().saturating_add(other.size()).saturating_mul(price)
    }

    /// True for MISSING and NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Missing | Self::Null)
    }

    /// A NUMBER, or a STRING that reads as one.
    #[must_use]
    pub fn as_num(&self) -> Option<Num> {
        match self {
            Self::Number(number) => Some(number.num),
            Self::String(text) => Num::parse(text.as_bytes()),
            _ => None,
        }
    }

    /// True for an integer that 64 bits do not hold, or text that reads as one. Only its text has all
    /// its digits, so that nothing exact can be computed from it.
    #[must_use]
    pub fn is_huge(&self) -> bool {
        let text = match self {
            Self::Number(Number { num: Num::Float(_), text: Some(text) }) => text,
            Self::String(text) => &**text,
            _ => return false,
        };
        let digits = text.strip_prefix('-').unwrap_or(text);
        // The longest that always fit have 18.
        digits.len() > 18
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && matches!(Num::parse(text.as_bytes()), Some(Num::Float(_)))
    }

    /// The text of a STRING, NUMBER or BOOLEAN, or of bytes that are UTF-8.
    #[must_use]
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::String(text) => Some(Cow::Borrowed(text)),
            Self::Number(Number { text: Some(text), .. }) => Some(Cow::Borrowed(text)),
            Self::Number(Number { num, .. }) => Some(Cow::Owned(num.text())),
            Self::Bool(true) => Some(Cow::Borrowed("true")),
            Self::Bool(false) => Some(Cow::Borrowed("false")),
            Self::Binary(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            _ => None,
        }
    }

    /// As [`Value::as_text`], borrowing from where the value itself borrows; MISSING when there is no
    /// text.
    #[must_use]
    pub fn to_text(&self) -> Value<'a> {
        match self {
            Self::String(text) => Value::String(text.clone()),
            Self::Number(Number { text: Some(text), .. }) => Value::text(*text),
            Self::Number(Number { num, .. }) => Value::text(num.text()),
            Self::Bool(true) => Value::text("true"),
            Self::Bool(false) => Value::text("false"),
            Self::Binary(Cow::Borrowed(bytes)) => {
                std::str::from_utf8(bytes).map_or(Value::Missing, Value::text)
            }
            Self::Binary(Cow::Owned(bytes)) => {
                String::from_utf8(bytes.clone()).map_or(Value::Missing, Value::text)
            }
            _ => Value::Missing,
        }
    }

    /// As a predicate: BOOLEAN counts as itself, everything else is UNKNOWN.
    #[must_use]
    pub fn truth(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// How two values compare.
    #[must_use]
    pub fn relate(&self, other: &Self) -> Relation {
        match (self, other) {
            (Self::Missing | Self::Null, _) | (_, Self::Missing | Self::Null) => Relation::Unknown,
            (Self::Number(a), Self::Number(b)) => Relation::Ordered(a.num.compare(b.num)),
            // UTF-8 sorts as code points do.
            (Self::String(a), Self::String(b)) => Relation::Ordered(a.as_bytes().cmp(b.as_bytes())),
            (Self::Number(a), Self::String(b)) => Num::parse(b.as_bytes())
                .map_or(Relation::Different, |b| Relation::Ordered(a.num.compare(b))),
            (Self::String(a), Self::Number(b)) => Num::parse(a.as_bytes())
                .map_or(Relation::Different, |a| Relation::Ordered(a.compare(b.num))),
            (Self::Bool(a), Self::Bool(b)) => Relation::same(a == b),
            (Self::Json(a), Self::Json(b)) => Relation::same(json::equal(a, b)),
            (Self::Binary(a), Self::Binary(b)) => Relation::same(a == b),
            (Self::Binary(bytes), Self::String(text))
            | (Self::String(text), Self::Binary(bytes)) => {
                Relation::same(text.as_bytes() == &**bytes)
            }
            _ => Relation::Different,
        }
    }

    /// Appends the value as JSON. MISSING (and bytes, which have no JSON form) is nothing: callers
    /// leave such items out.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Missing | Self::Binary(_) => {}
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(Number { text: Some(text), .. }) | Self::Json(Cow::Borrowed(text)) => {
                out.extend_from_slice(text.as_bytes());
            }
            Self::Number(Number { num, .. }) => num.write(out),
            Self::Json(Cow::Owned(text)) => out.extend_from_slice(text.as_bytes()),
            Self::String(text) => json::write_string(text, out),
        }
    }
}

impl Relation {
    fn same(same: bool) -> Self {
        if same { Self::Same } else { Self::Different }
    }

    /// The answer to `=`; `None` is UNKNOWN.
    #[must_use]
    pub fn equal(self) -> Option<bool> {
        match self {
            Self::Ordered(order) => Some(order.is_eq()),
            Self::Same => Some(true),
            Self::Different => Some(false),
            Self::Unknown => None,
        }
    }

    /// The order, where there is one.
    #[must_use]
    pub fn order(self) -> Option<Ordering> {
        match self {
            Self::Ordered(order) => Some(order),
            _ => None,
        }
    }
}
