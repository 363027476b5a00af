//! Functions that measure, find and cut text. Positions count code points, from 0.
//!
//! A part of a text borrows from where the text does, so that cutting does not copy. Cutting into
//! lists is in `string_list`, trimming and padding in `string_pad`.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

use crate::functions::text::string::{TEXT, count, integer, one_of, text, word};
use crate::functions::{Fault, Function, Kind, Prepared, example, missing, optional, required};
use crate::json;
use crate::number::Num;
use crate::value::Value;

/// A part of a text by its bytes; borrows where the text does.
pub(in crate::functions) fn part<'a>(value: &Value<'a>, range: Range<usize>) -> Value<'a> {
    match value {
        Value::String(Cow::Borrowed(text)) => Value::text(text.get(range).unwrap_or_default()),
        Value::String(Cow::Owned(text)) => {
            Value::text(text.get(range).unwrap_or_default().to_owned())
        }
        _ => Value::Missing,
    }
}

/// The byte at which a position stands, held within the text; a negative one counts from the end.
pub(in crate::functions) fn offset(text: &str, position: i64) -> usize {
    match usize::try_from(position) {
        Ok(position) => text.char_indices().nth(position).map_or(text.len(), |(at, _)| at),
        Err(_) => {
            let back = usize::try_from(position.unsigned_abs() - 1).unwrap_or(usize::MAX);
            text.char_indices().rev().nth(back).map_or(0, |(at, _)| at)
        }
    }
}

/// The position of a byte.
pub(in crate::functions) fn position<'a>(text: &str, at: Option<usize>) -> Value<'a> {
    match at {
        Some(at) => count(text.get(..at).unwrap_or_default().chars().count()),
        None => Value::number(Num::Int(-1)),
    }
}

pub(in crate::functions) const BYTE_LENGTH: Function = Function {
    name: "byte_length",
    aliases: &["numbytes", "bytesize", "octet_length"],
    signature: "byte_length(input)",
    params: &[required("input", Kind::Bytes)],
    result: Kind::Integer,
    summary: "How many bytes a text has in UTF-8, or the payload (`*`), or bytes.",
    examples: &[
        example("byte_length(a)", r#"{"a":"21 °C"}"#, "6"),
        example("byte_length(*)", r#"{"a":1}"#, "7"),
        example("byte_length('')", "{}", "0"),
    ],
    eval: |arguments, _| {
        Ok(match arguments.first() {
            Some(Value::String(text)) => count(text.len()),
            Some(Value::Binary(bytes)) => count(bytes.len()),
            _ => Value::Missing,
        })
    },
    ..TEXT
};

pub(in crate::functions) const INDEXOF: Function = Function {
    name: "indexof",
    aliases: &["index_of"],
    signature: "indexof(input, part[, start])",
    params: &[
        required("input", Kind::Text),
        required("part", Kind::Text),
        optional("start", Kind::Integer),
    ],
    result: Kind::Integer,
    summary: "The position of the first occurrence of the part, from 0, at or after the start; -1 \
              when there is none. A negative start counts from the end.",
    examples: &[
        example("indexof('tidegate', 'gate')", "{}", "4"),
        example("indexof(a, '度')", r#"{"a":"温度湿度"}"#, "1"),
        example("indexof('a,b,c', ',', 2)", "{}", "3"),
        example("indexof('abc', 'x')", "{}", "-1"),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        let start = offset(input, integer(arguments, 2).unwrap_or(0));
        let rest = input.get(start..).unwrap_or_default();
        let found = memmem::find(rest.as_bytes(), text(arguments, 1).as_bytes());
        Ok(position(input, found.map(|at| start + at)))
    },
    ..TEXT
};

pub(in crate::functions) const LAST_INDEXOF: Function = Function {
    name: "last_indexof",
    aliases: &["last_index_of"],
    signature: "last_indexof(input, part)",
    params: &[required("input", Kind::Text), required("part", Kind::Text)],
    result: Kind::Integer,
    summary: "The position of the last occurrence of the part, from 0; -1 when there is none.",
    examples: &[
        example("last_indexof('a/b/c', '/')", "{}", "3"),
        example("last_indexof(a, '度')", r#"{"a":"温度湿度"}"#, "3"),
        example("last_indexof('abc', 'x')", "{}", "-1"),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        Ok(position(input, memmem::rfind(input.as_bytes(), text(arguments, 1).as_bytes())))
    },
    ..TEXT
};

pub(in crate::functions) const LEFT: Function = Function {
    name: "left",
    signature: "left(input, count)",
    params: &[required("input", Kind::Text), required("count", Kind::Integer)],
    summary: "The first characters of the input, at most so many; none for a count of 0 or less.",
    examples: &[
        example("left('tidegate', 4)", "{}", r#""tide""#),
        example("left(a, 1)", r#"{"a":"温度"}"#, r#""温""#),
        example("left('ab', 9)", "{}", r#""ab""#),
        example("left('ab', -1)", "{}", r#""""#),
    ],
    eval: |arguments, _| {
        let end = offset(text(arguments, 0), integer(arguments, 1).unwrap_or(0).max(0));
        Ok(part(&arguments[0], 0..end))
    },
    ..TEXT
};

pub(in crate::functions) const LENGTH: Function = Function {
    name: "length",
    aliases: &["strlen", "char_length", "character_length"],
    signature: "length(input)",
    params: &[required("input", Kind::Any)],
    result: Kind::Integer,
    summary: "How many characters (code points) a text has, or elements an array. A number or \
              boolean counts as its text.",
    examples: &[
        example("length(a)", r#"{"a":"温度 21"}"#, "5"),
        example("length(a)", r#"{"a":[1, [2, 3]]}"#, "2"),
        example("length(a)", r#"{"a":1.50}"#, "4"),
        example("length('')", "{}", "0"),
        missing("length(a)", r#"{"a":{}}"#),
    ],
    eval: |arguments, _| match &arguments[0] {
        Value::Json(array) if array.starts_with('[') => {
            Ok(count(json::elements(array.as_bytes()).count()))
        }
        value => match value.as_text() {
            Some(text) => Ok(count(text.chars().count())),
            None => Err(Fault::wrong_type("length", "a STRING or an ARRAY", value)),
        },
    },
    ..TEXT
};

pub(in crate::functions) const REMOVE_PREFIX: Function = Function {
    name: "remove_prefix",
    aliases: &["rm_prefix"],
    signature: "remove_prefix(input, prefix)",
    params: &[required("input", Kind::Text), required("prefix", Kind::Text)],
    summary: "The input without the prefix, once; the input itself when it does not start with it.",
    examples: &[
        example("remove_prefix(deviceName(), 'dev')", "{}", r#""1""#),
        example("remove_prefix('aab', 'a')", "{}", r#""ab""#),
        example("remove_prefix('ab', 'x')", "{}", r#""ab""#),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        let rest = input.strip_prefix(text(arguments, 1)).unwrap_or(input);
        Ok(part(&arguments[0], input.len() - rest.len()..input.len()))
    },
    ..TEXT
};

pub(in crate::functions) const REMOVE_SUFFIX: Function = Function {
    name: "remove_suffix",
    signature: "remove_suffix(input, suffix)",
    params: &[required("input", Kind::Text), required("suffix", Kind::Text)],
    summary: "The input without the suffix, once; the input itself when it does not end with it.",
    examples: &[
        example("remove_suffix(a, ' C')", r#"{"a":"21.5 C"}"#, r#""21.5""#),
        example("remove_suffix('ab', 'x')", "{}", r#""ab""#),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        let rest = input.strip_suffix(text(arguments, 1)).unwrap_or(input);
        Ok(part(&arguments[0], 0..rest.len()))
    },
    ..TEXT
};

pub(in crate::functions) const RIGHT: Function = Function {
    name: "right",
    signature: "right(input, count)",
    params: &[required("input", Kind::Text), required("count", Kind::Integer)],
    summary: "The last characters of the input, at most so many; none for a count of 0 or less.",
    examples: &[
        example("right('tidegate', 4)", "{}", r#""gate""#),
        example("right(a, 1)", r#"{"a":"温度"}"#, r#""度""#),
        example("right('ab', 9)", "{}", r#""ab""#),
        example("right('ab', 0)", "{}", r#""""#),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        let start = match integer(arguments, 1).unwrap_or(0) {
            count if count <= 0 => input.len(),
            count => offset(input, -count),
        };
        Ok(part(&arguments[0], start..input.len()))
    },
    ..TEXT
};

pub(in crate::functions) const SUBSTR: Function = Function {
    name: "substr",
    signature: "substr(input, start[, length])",
    params: &[
        required("input", Kind::Text),
        required("start", Kind::Integer),
        optional("length", Kind::Integer),
    ],
    summary: "So many characters from a position on, or all that follow. Positions count from 0; a \
              negative start counts from the end. (The third argument of `substring` is an end.)",
    examples: &[
        example("substr('tidegate', 4, 2)", "{}", r#""ga""#),
        example("substr('tidegate', -4)", "{}", r#""gate""#),
        example("substr(a, 1, 9)", r#"{"a":"温度计"}"#, r#""度计""#),
        example("substr('abc', 5)", "{}", r#""""#),
        example("substr('abc', 0, -1)", "{}", r#""""#),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        let start = offset(input, integer(arguments, 1).unwrap_or(0));
        let rest = input.get(start..).unwrap_or_default();
        let length = integer(arguments, 2).map_or(rest.len(), |count| offset(rest, count.max(0)));
        Ok(part(&arguments[0], start..start + length))
    },
    ..TEXT
};

pub(in crate::functions) const SUBSTRING: Function = Function {
    name: "substring",
    signature: "substring(target, start[, end])",
    params: &[
        required("target", Kind::Any),
        required("start", Kind::Any),
        optional("end", Kind::Any),
    ],
    summary: "The characters from start up to, and without, end. Positions count from 0, lose their \
              fraction and are held within the text. A target that is neither text nor an integer \
              ends the run of the rule for that message.",
    examples: &[
        example("substring('012345', 0)", "{}", r#""012345""#),
        example("substring('012345', 2)", "{}", r#""2345""#),
        example("substring('012345', 2.745)", "{}", r#""2345""#),
        example("substring(123, 2)", "{}", r#""3""#),
        example("substring('012345', -1)", "{}", r#""012345""#),
        example("substring('012345', 1, 3)", "{}", r#""12""#),
        example("substring('012345', -50, 50)", "{}", r#""012345""#),
        example("substring('012345', 3, 1)", "{}", r#""""#),
        example("substring(a, 1, 2)", r#"{"a":"温度计"}"#, r#""度""#),
        missing("substring(a, 1)", "{}"),
    ],
    eval: |arguments, _| {
        let target = match &arguments[0] {
            target @ Value::String(_) => target.clone(),
            target @ Value::Number(number) if number.num.is_integer() => target.to_text(),
            other => {
                return Err(
                    Fault::wrong_type("substring", "a STRING or an integer", other).aborting()
                );
            }
        };
        let position = |index: usize| match arguments.get(index) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number.num.truncate().max(0))),
            Some(other) => {
                Err(Fault::wrong_type("substring", "positions that are NUMBERs", other).aborting())
            }
        };
        let start = position(1)?.unwrap_or(0);
        let end = position(2)?.map_or(i64::MAX, |end| end.max(start));
        let Value::String(text) = &target else { return Ok(Value::Missing) };
        let from = offset(text, start);
        let rest = text.get(from..).unwrap_or_default();
        let length = offset(rest, end - start);
        Ok(part(&target, from..from + length))
    },
    ..TEXT
};

pub(in crate::functions) const SUBSTRING_AFTER: Function = Function {
    name: "substring_after",
    signature: "substring_after(input, separator)",
    params: &[required("input", Kind::Text), required("separator", Kind::Text)],
    summary: "What follows the first occurrence of the separator; empty when there is none.",
    examples: &[
        example("substring_after('temp=21=C', '=')", "{}", r#""21=C""#),
        example("substring_after('temp', '=')", "{}", r#""""#),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        let rest = input.split_once(text(arguments, 1)).map_or("", |(_, after)| after);
        Ok(part(&arguments[0], input.len() - rest.len()..input.len()))
    },
    ..TEXT
};

pub(in crate::functions) const SUBSTRING_BEFORE: Function = Function {
    name: "substring_before",
    signature: "substring_before(input, separator)",
    params: &[required("input", Kind::Text), required("separator", Kind::Text)],
    summary: "What stands before the first occurrence of the separator; empty when there is none.",
    examples: &[
        example("substring_before('21.5 °C', ' ')", "{}", r#""21.5""#),
        example("substring_before('temp', '=')", "{}", r#""""#),
    ],
    eval: |arguments, _| {
        let end = text(arguments, 0).find(text(arguments, 1)).unwrap_or(0);
        Ok(part(&arguments[0], 0..end))
    },
    ..TEXT
};

/// The occurrences that `text_from` knows.
const ENDS: &[&str] = &["leading", "trailing"];

pub(in crate::functions) const TEXT_FROM: Function = Function {
    name: "text_from",
    aliases: &["find"],
    signature: "text_from(input, part[, which])",
    params: &[
        required("input", Kind::Text),
        required("part", Kind::Text),
        optional("which", Kind::Text),
    ],
    summary: "The input from an occurrence of the part on: the first ('leading', the default) or the \
              last ('trailing'). Empty when there is none; `indexof` gives the position.",
    examples: &[
        example("text_from('x: error: disk', 'error')", "{}", r#""error: disk""#),
        example("text_from('a/b/c', '/', 'trailing')", "{}", r#""/c""#),
        example("text_from('abc', 'x')", "{}", r#""""#),
    ],
    prepare: |arguments| one_of(arguments, 2, ENDS).map(|()| Prepared::Nothing),
    eval: |arguments, _| {
        let (input, wanted) = (text(arguments, 0), text(arguments, 1));
        let at = match word(arguments, 2, ENDS, "text_from")? {
            "trailing" => input.rfind(wanted),
            _ => input.find(wanted),
        };
        Ok(part(&arguments[0], at.unwrap_or(input.len())..input.len()))
    },
    ..TEXT
};
