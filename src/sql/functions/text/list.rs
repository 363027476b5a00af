//! Functions between text and arrays of texts.
//!
//! Splitting by a pattern is in `regexp`; arrays by themselves have their own family.

use crate::eval;
use crate::functions::text::pad::Set;
use crate::functions::text::part::part;
use crate::functions::text::string::{TEXT, integer, text};
use crate::functions::{Fault, Function, Kind, example, missing, optional, required};
use crate::json;
use crate::value::Value;

/// An ARRAY of texts while it is written.
pub(in crate::functions) struct List(Vec<u8>);

impl List {
    /// With room for the elements of a text of so many bytes.
    pub(in crate::functions) fn new(bytes: usize) -> Self {
        let mut out = Vec::with_capacity(bytes + bytes / 4 + 16);
        out.push(b'[');
        Self(out)
    }

    /// Appends a text; `None` is NULL.
    ///
    /// # Errors
    /// `too_large` when the array would be.
    pub(in crate::functions) fn push(&mut self, element: Option<&str>) -> Result<(), Fault> {
        // With a comma and the closing bracket.
        eval::fits(self.0.len() + element.map_or(4, json::string_length) + 2)?;
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        match element {
            Some(element) => json::write_string(element, &mut self.0),
            None => self.0.extend_from_slice(b"null"),
        }
        Ok(())
    }

    /// The array.
    ///
    /// # Errors
    /// `too_large` when it is.
    pub(in crate::functions) fn finish<'a>(mut self) -> Result<Value<'a>, Fault> {
        self.0.push(b']');
        eval::fits(self.0.len())?;
        Ok(Value::Json(String::from_utf8(self.0).unwrap_or_default().into()))
    }
}

pub(in crate::functions) const JOIN: Function = Function {
    name: "join",
    aliases: &["array_join"],
    signature: "join(array, separator[, null_text])",
    params: &[
        required("array", Kind::Array),
        required("separator", Kind::Text),
        optional("null_text", Kind::Text),
    ],
    summary: "The elements of an array as one text with the separator between them. NULL elements \
              are skipped, or written as the third argument; elements that are arrays or objects are \
              an error.",
    examples: &[
        example("join(a, ', ')", r#"{"a":["x", 1.50, true]}"#, r#""x, 1.50, true""#),
        example("join(a, '-')", r#"{"a":["x", null, "y"]}"#, r#""x-y""#),
        example("join(a, '-', '?')", r#"{"a":["x", null, "y"]}"#, r#""x-?-y""#),
        example("join(a, ',')", r#"{"a":[]}"#, r#""""#),
        missing("join(a, ',')", r#"{"a":[[1]]}"#),
    ],
    eval: |arguments, _| {
        let Some(Value::Json(array)) = arguments.first() else { return Ok(Value::Missing) };
        let separator = text(arguments, 1);
        let null = (arguments.len() > 2).then(|| text(arguments, 2));
        let separators = json::elements(array.as_bytes()).count().saturating_mul(separator.len());
        let length = array.len().saturating_add(separators);
        let mut out = String::with_capacity(length.min(eval::RESULT));
        let mut first = true;
        for raw in json::elements(array.as_bytes()) {
            let element = Value::read(raw);
            let element = match (&element, null) {
                (Value::Null, None) => continue,
                (Value::Null, Some(null)) => null.into(),
                _ => element.as_text().ok_or_else(|| {
                    Fault::wrong_type("join", "elements that are texts or numbers", &element)
                })?,
            };
            let separator = if std::mem::take(&mut first) { "" } else { separator };
            eval::fits(out.len() + separator.len() + element.len())?;
            out.push_str(separator);
            out.push_str(&element);
        }
        Ok(Value::text(out))
    },
    ..TEXT
};

pub(in crate::functions) const SPLIT: Function = Function {
    name: "split",
    signature: "split(input, separator[, limit])",
    params: &[
        required("input", Kind::Text),
        required("separator", Kind::Text),
        optional("limit", Kind::Integer),
    ],
    result: Kind::Array,
    summary: "The parts of the input between the separators, at most `limit` of them, the last with \
              the rest. Empty parts stay (EMQX drops them, as `tokens` does); an empty separator \
              occurs nowhere.",
    examples: &[
        example("split('a,b,,c', ',')", "{}", r#"["a","b","","c"]"#),
        example("split('a,b,c', ',', 2)", "{}", r#"["a","b,c"]"#),
        example("split(a, '度')", r#"{"a":"温度计"}"#, r#"["温","计"]"#),
        example("split('', ',')", "{}", r#"[""]"#),
        missing("split('a', ',', 0)", "{}"),
    ],
    eval: |arguments, _| {
        let (input, separator) = (text(arguments, 0), text(arguments, 1));
        let limit = match integer(arguments, 2) {
            None => usize::MAX,
            Some(limit) if limit > 0 => usize::try_from(limit).unwrap_or(usize::MAX),
            Some(limit) => {
                let message = format!("`split` takes a limit of 1 or more, not {limit}");
                return Err(Fault::new("domain", message));
            }
        };
        let mut list = List::new(input.len());
        if separator.is_empty() {
            list.push(Some(input))?;
        } else {
            input.splitn(limit, separator).try_for_each(|part| list.push(Some(part)))?;
        }
        list.finish()
    },
    ..TEXT
};

pub(in crate::functions) const SPLIT_VALUE: Function = Function {
    name: "split_value",
    signature: "split_value(input, separator, index)",
    params: &[
        required("input", Kind::Text),
        required("separator", Kind::Text),
        required("index", Kind::Integer),
    ],
    summary: "One of the parts between the separators, counted from 0, or from -1 at the end; \
              MISSING when there are not so many. (`split_part` elsewhere counts from 1.)",
    examples: &[
        example("split_value('a,b,c', ',', 1)", "{}", r#""b""#),
        example("split_value('a,b,c', ',', -1)", "{}", r#""c""#),
        example("split_value(a, '/', 0)", r#"{"a":"温/度"}"#, r#""温""#),
        missing("split_value('a,b', ',', 2)", "{}"),
        missing("split_value('a,b', ',', -3)", "{}"),
    ],
    eval: |arguments, _| {
        let (input, separator) = (text(arguments, 0), text(arguments, 1));
        let index = integer(arguments, 2).unwrap_or(0);
        let found = if separator.is_empty() {
            matches!(index, 0 | -1).then_some((0, input))
        } else {
            match usize::try_from(index) {
                Ok(index) => input.split(separator).nth(index),
                Err(_) => {
                    let back = usize::try_from(index.unsigned_abs() - 1).unwrap_or(usize::MAX);
                    back_nth(input, separator, back)
                }
            }
            .map(|part| (part.as_ptr().addr() - input.as_ptr().addr(), part))
        };
        Ok(found.map_or(Value::Missing, |(at, found)| part(&arguments[0], at..at + found.len())))
    },
    ..TEXT
};

/// The parts from the front, of which the one so many before the last is taken: separators that
/// overlap (`aa` in `aaa`) are found as `split` finds them, which a search from the end would not.
fn back_nth<'t>(input: &'t str, separator: &str, back: usize) -> Option<&'t str> {
    let parts = input.matches(separator).count() + 1;
    input.split(separator).nth(parts.checked_sub(back.checked_add(1)?)?)
}

pub(in crate::functions) const TOKENS: Function = Function {
    name: "tokens",
    signature: "tokens(input, separators)",
    params: &[required("input", Kind::Text), required("separators", Kind::Text)],
    result: Kind::Array,
    summary: "The parts of the input between any of the separators' characters (at most 256), \
              without empty parts.",
    examples: &[
        example("tokens(' a, b;;c', ',; ')", "{}", r#"["a","b","c"]"#),
        example("tokens('/a//b/', '/')", "{}", r#"["a","b"]"#),
        example("tokens('', ',')", "{}", "[]"),
    ],
    eval: |arguments, site| {
        let input = text(arguments, 0);
        site.pay(Set::searching(input, text(arguments, 1)))?;
        let set = Set::new("`tokens`: the set of separators", text(arguments, 1))?;
        let mut list = List::new(input.len());
        for token in input.split(|char| set.has(char)).filter(|token| !token.is_empty()) {
            list.push(Some(token))?;
        }
        list.finish()
    },
    ..TEXT
};
