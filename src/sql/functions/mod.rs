//! The functions of the language: one table, one constant each.
//!
//! A new function is a `const` in a file of its family and a line in [`FUNCTIONS`]. Its document, its
//! signature and its examples are part of it; the examples run as tests.

mod bytes;
mod document;
mod geo;
mod math;
mod message;
mod network;
mod table;
mod text;
mod time;
mod value;

use std::borrow::Cow;

use contract::Topic;

use super::eval::overflow;
use super::expr::Const;
use super::json_path::JsonPath;
use super::path::Step;
use super::plan::Input;
use super::query::without_sys;
use super::value::{Number, Value};
use super::work::{Price, Work};

pub(crate) use document::object::PART;
pub use network::address::Network;
pub use table::FUNCTIONS;
pub(crate) use text::pattern::regexp_price;
pub use time::java_date::Piece;
pub use time::moment::Known;
pub use time::words::{Part, Unit};

/// A function of SQL.
pub struct Function {
    /// As it is written in documents; found without regard to case.
    pub name: &'static str,
    /// Other names that find it: those of AWS IoT and EMQX where they mean the same.
    pub aliases: &'static [&'static str],
    /// The heading that it stands under.
    pub family: &'static str,
    /// Name and arguments: `substring(text, start[, end])`.
    pub signature: &'static str,
    /// The arguments, those that may be left out last.
    pub params: &'static [Param],
    /// What any number of further arguments are.
    pub rest: Option<Kind>,
    /// What it gives.
    pub result: Kind,
    /// What it makes of NULL and MISSING arguments.
    pub nulls: Nulls,
    /// What a call costs.
    pub price: Price,
    /// What its result depends on.
    pub depends: Depends,
    /// Top-level keys of the document that it reads by itself; their values are the first arguments
    /// of `eval`.
    pub reads: &'static [&'static str],
    /// True when, as an item without alias, it adds the members of its result instead of one key.
    pub spreads: bool,
    /// One or two sentences.
    pub summary: &'static str,
    /// At least one; all run as tests.
    pub examples: &'static [Example],
    /// Looks at the arguments that are constants when the statement is compiled: refuses those that
    /// can never work, and does once what every message would need.
    pub prepare: Prepare,
    /// Computes the result from arguments of the right kind and number.
    pub eval: Eval,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.signature)
    }
}

/// See [`Function::prepare`]; `None` is an argument that is no constant.
pub type Prepare = fn(&[Option<&Const>]) -> Result<Prepared, Problem>;

/// What a call keeps of its constant arguments; `eval` finds it in [`Site::prepared`]. Arguments that
/// are no constants leave [`Prepared::Nothing`], and `eval` does the work for each message.
#[derive(Debug)]
pub enum Prepared {
    /// Nothing to keep.
    Nothing,
    /// A compiled regular expression.
    Regex(Box<text::pattern::Regexp>),
    /// A template of `format`.
    Format(Box<text::format::Format>),
    /// The constants among the arguments of a function of time, by their index.
    Time(Box<[Known]>),
    /// The constant has been checked and is used as it is.
    Checked,
    /// The corners of a polygon: latitude and longitude.
    Polygon(Box<[[f64; 2]]>),
    /// A range of addresses.
    Network(Box<Network>),
    /// The steps of a path.
    Path(Box<[Step]>),
    /// A JSONPath with wildcards, slices or filters.
    JsonPath(Box<JsonPath>),
}

/// See [`Function::eval`].
pub type Eval = for<'a> fn(&[Value<'a>], &Site<'a>) -> Result<Value<'a>, Fault>;

/// An argument.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// As in the signature.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// False when it may be left out.
    pub required: bool,
}

const fn required(name: &'static str, kind: Kind) -> Param {
    Param { name, kind, required: true }
}

const fn optional(name: &'static str, kind: Kind) -> Param {
    Param { name, kind, required: false }
}

/// What an argument takes or a function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Any,
    /// BOOLEAN.
    Boolean,
    /// NUMBER, or a STRING that reads as one.
    Number,
    /// A NUMBER without a fraction, or a STRING that reads as one.
    Integer,
    /// STRING; a NUMBER or BOOLEAN counts as its text, BINARY as the UTF-8 that it is.
    Text,
    /// ARRAY.
    Array,
    /// OBJECT.
    Object,
    /// `*` (the whole payload), BINARY of another function, or text; as a result BINARY.
    Bytes,
}

/// What a function makes of NULL and MISSING arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// MISSING with a MISSING argument, else NULL with a NULL one.
    Propagate,
    /// It looks for itself.
    Own,
}

/// What the result of a function depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depends {
    /// On its arguments alone: a call with constants is computed when the statement is compiled.
    Arguments,
    /// On the message, too: within one, equal calls are equal.
    Message,
    /// On the place of the call, too.
    Chance,
}

/// An example: an expression, the payload, and the value that comes out.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// The expression.
    pub sql: &'static str,
    /// The payload of the message.
    pub payload: &'static str,
    /// The result as JSON; `None` is MISSING.
    pub result: Option<&'static str>,
}

const fn example(sql: &'static str, payload: &'static str, result: &'static str) -> Example {
    Example { sql, payload, result: Some(result) }
}

const fn missing(sql: &'static str, payload: &'static str) -> Example {
    Example { sql, payload, result: None }
}

/// A constant argument that can never work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub expected: String,
}

/// Nothing to check or to keep.
const NO_PREPARE: Prepare = |_| Ok(Prepared::Nothing);

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A stable word for metrics.
    pub code: &'static str,
    /// What happened, with the values.
    pub message: String,
    /// True when the run of the rule is off for this message.
    pub aborts: bool,
}

impl Fault {
    /// A fault that makes the value MISSING.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), aborts: false }
    }

    /// An operand or argument of a type that does not fit.
    #[must_use]
    pub fn wrong_type(what: &str, wanted: &str, value: &Value<'_>) -> Self {
        Self::new("wrong_type", format!("`{what}` takes {wanted}, not {}", shown(value)))
    }

    /// The same with a hint.
    #[must_use]
    pub fn because(mut self, hint: &str) -> Self {
        self.message.push_str("; ");
        self.message.push_str(hint);
        self
    }

    /// The same, ending the run of the rule for this message.
    #[must_use]
    pub fn aborting(mut self) -> Self {
        self.aborts = true;
        self
    }
}

/// The type of a value, and the value itself when it is short.
fn shown(value: &Value<'_>) -> String {
    match value.as_text() {
        Some(text) => format!("{} {}", value.type_name(), super::lex::shorten(&text)),
        None => value.type_name().to_owned(),
    }
}

/// Where a call happens.
pub struct Site<'a> {
    /// What the call may still cost.
    pub(crate) work: Work,
    pub(crate) input: &'a Input<'a>,
    pub(crate) payload: &'a [u8],
    pub(crate) time_zone: &'a jiff::tz::TimeZone,
    pub(crate) call: u32,
    /// The index of the element that UNNEST gives; 0 without.
    pub(crate) element: u32,
    pub(crate) prepared: &'a Prepared,
}

impl<'a> Site<'a> {
    /// The payload as published.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The topic; that of a system topic without `/sys`, as it is forwarded.
    #[must_use]
    pub fn topic(&self) -> Option<&'a str> {
        let topic: &'a Topic = &self.input.message.topic;
        self.input.has_topic.then(|| without_sys(topic.as_str()))
    }

    /// Pays for work that the function's price does not cover, before it is done.
    ///
    /// # Errors
    /// `too_costly`.
    pub(crate) fn pay(&self, units: u64) -> Result<(), Fault> {
        self.work.pay(units)
    }

    /// What the call has kept of its constant arguments.
    #[must_use]
    pub fn prepared(&self) -> &'a Prepared {
        self.prepared
    }

    /// Bits that depend on the message, the rule, the place of the call and the element of UNNEST
    /// alone: evaluating a message again gives the same.
    #[must_use]
    pub fn random(&self, draw: u64) -> u64 {
        if let Some(fixed) = self.input.facts.fixed_random() {
            return fixed;
        }
        // FNV-1a over the rule's name, then the finalizer of SplitMix64 for every part: both are
        // fixed for all time, unlike the standard library's hashers.
        let mut state = fnv1a(self.input.rule.as_bytes());
        for part in [self.input.message.id, u64::from(self.call), draw] {
            state = mix(state ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        // The first element draws what a statement without UNNEST does.
        if self.element > 0 {
            state = mix(state ^ u64::from(self.element).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        state
    }
}

/// FNV-1a with 64 bits.
fn fnv1a(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |state, byte| {
        (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Function {
    /// The fewest and the most arguments; `usize::MAX` when there is no most.
    #[must_use]
    pub fn arity(&self) -> (usize, usize) {
        let least = self.params.iter().filter(|param| param.required).count();
        (least, if self.rest.is_some() { usize::MAX } else { self.params.len() })
    }

    /// What the argument at an index takes.
    #[must_use]
    pub fn kind(&self, index: usize) -> Kind {
        self.params.get(index).map_or(self.rest.unwrap_or(Kind::Any), |param| param.kind)
    }
}

impl Kind {
    /// What users call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any value",
            Self::Boolean => "a BOOLEAN",
            Self::Number => "a NUMBER",
            Self::Integer => "an integer",
            Self::Text => "a STRING",
            Self::Array => "an ARRAY",
            Self::Object => "an OBJECT",
            Self::Bytes => "`*`, bytes or a STRING",
        }
    }

    /// Makes a value what an argument takes. NULL and MISSING pass.
    ///
    /// # Errors
    /// `wrong_type` when it cannot be.
    pub(crate) fn coerce(self, function: &str, value: &mut Value<'_>) -> Result<(), Fault> {
        if value.is_null() {
            return Ok(());
        }
        let fits = match (self, &*value) {
            (Self::Any, _)
            | (Self::Boolean, Value::Bool(_))
            | (Self::Number, Value::Number(_))
            | (Self::Text, Value::String(_))
            | (Self::Bytes, Value::Binary(_) | Value::String(_)) => true,
            (Self::Array, Value::Json(text)) => text.starts_with('['),
            (Self::Object, Value::Json(text)) => text.starts_with('{'),
            (Self::Number | Self::Integer, Value::Number(_) | Value::String(_)) => {
                match value.as_num() {
                    Some(num) if self == Self::Number || num.is_integer() => {
                        let text = match &*value {
                            Value::Number(number) => number.text,
                            Value::String(Cow::Borrowed(text)) => Some(*text),
                            text if text.is_huge() => {
                                return Err(overflow(&text.as_text().unwrap_or_default()));
                            }
                            _ => None,
                        };
                        *value = Value::Number(Number { num, text });
                        true
                    }
                    _ => false,
                }
            }
            (Self::Text, Value::Binary(_)) => return decode(function, value),
            (Self::Text | Self::Bytes, Value::Number(_) | Value::Bool(_)) => {
                *value = value.to_text();
                true
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err(Fault::wrong_type(function, self.name(), value)) }
    }
}

/// Makes bytes that are UTF-8 text, without a copy.
fn decode(function: &str, value: &mut Value<'_>) -> Result<(), Fault> {
    let fault = |error: std::str::Utf8Error| {
        let at = error.valid_up_to();
        let message =
            format!("`{function}` takes a STRING, and the bytes are not UTF-8 at byte {at}");
        Fault::new("encoding", message).because("decode_text(bytes, charset) reads other text")
    };
    if let Value::Binary(bytes) = std::mem::replace(value, Value::Missing) {
        *value = match bytes {
            Cow::Borrowed(bytes) => Value::text(std::str::from_utf8(bytes).map_err(fault)?),
            Cow::Owned(bytes) => {
                Value::text(String::from_utf8(bytes).map_err(|error| fault(error.utf8_error()))?)
            }
        };
    }
    Ok(())
}

/// Finds a function by its name or an alias, without regard to case.
#[must_use]
pub fn find(name: &str) -> Option<&'static Function> {
    let same = |other: &str| other.eq_ignore_ascii_case(name);
    FUNCTIONS
        .iter()
        .find(|function| same(function.name) || function.aliases.iter().any(|a| same(a)))
}

/// The function whose name is closest to one that does not exist, when it is close.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static Function> {
    let near = contract::nearest(name, FUNCTIONS.iter().map(|function| function.name))?;
    find(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_complete() {
        let names: Vec<String> =
            FUNCTIONS.iter().map(|function| function.name.to_ascii_lowercase()).collect();
        assert!(names.is_sorted(), "{names:?}");
        let mut all: Vec<&str> = Vec::new();
        for function in FUNCTIONS {
            let name = function.name;
            assert!(function.signature.starts_with(&format!("{name}(")), "{name}: signature");
            assert!(!function.summary.is_empty() && !function.family.is_empty(), "{name}: summary");
            assert!(!function.examples.is_empty(), "{name}: examples");
            let required = function.params.iter().map(|param| param.required);
            assert!(required.clone().is_sorted_by(|a, b| a >= b), "{name}: optional last");
            for param in function.params {
                assert!(function.signature.contains(param.name), "{name}: {}", param.name);
            }
            all.push(name);
            all.extend(function.aliases);
        }
        let count = all.len();
        all.sort_by_key(|name| name.to_ascii_lowercase());
        all.dedup_by_key(|name| name.to_ascii_lowercase());
        assert_eq!(all.len(), count, "a name is used twice");
    }

    #[test]
    fn close_names_are_found() {
        assert_eq!(nearest("devicename").map(|f| f.name), Some("deviceName"));
        assert_eq!(nearest("substri").map(|f| f.name), Some("substr"));
        assert_eq!(nearest("substrng").map(|f| f.name), Some("substring"));
        assert_eq!(nearest("uper").map(|f| f.name), Some("upper"));
        assert_eq!(nearest("frobnicate").map(|f| f.name), None);
    }
}
