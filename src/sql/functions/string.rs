//! Functions of text. Positions count code points, from 0.

use super::{Fault, Function, Kind, NO_PREPARE, Nulls, example, missing, optional, required};
use crate::sql::eval;
use crate::sql::number::Num;
use crate::sql::value::Value;

/// What all functions of text share.
const TEXT: Function = Function {
    name: "",
    aliases: &[],
    family: "text",
    signature: "",
    params: &[],
    rest: None,
    result: Kind::Text,
    nulls: Nulls::Propagate,
    reads: &[],
    spreads: false,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

/// The text of an argument that was coerced to one.
fn text<'v>(arguments: &'v [Value<'_>], index: usize) -> &'v str {
    match arguments.get(index) {
        Some(Value::String(text)) => text,
        _ => "",
    }
}

pub(super) const CONCAT: Function = Function {
    name: "concat",
    signature: "concat(a, b)",
    params: &[required("a", Kind::Any), required("b", Kind::Any)],
    result: Kind::Any,
    summary: "Two texts joined; numbers and booleans count as their text. Two arrays are appended.",
    examples: &[
        example("concat(field, 'a')", r#"{"field":"x"}"#, r#""xa""#),
        example("concat(1.50, true)", "{}", r#""1.50true""#),
        example("concat(a, b)", r#"{"a":[1, 2],"b":["x"]}"#, r#"[1,2,"x"]"#),
        example("concat(a, 'x')", r#"{"a":null}"#, "null"),
        missing("concat(a, 'x')", "{}"),
        missing("concat(a, 'x')", r#"{"a":[1]}"#),
    ],
    eval: |arguments, _| match arguments {
        [a, b] => eval::concat(a, b),
        _ => Ok(Value::Missing),
    },
    ..TEXT
};

pub(super) const ENDSWITH: Function = Function {
    name: "endswith",
    aliases: &["ends_with"],
    signature: "endswith(input, suffix)",
    params: &[required("input", Kind::Text), required("suffix", Kind::Text)],
    result: Kind::Boolean,
    summary: "Whether the input ends with the suffix.",
    examples: &[
        example("endswith('tidegate', 'gate')", "{}", "true"),
        example("endswith(a, '度')", r#"{"a":"湿度计"}"#, "false"),
        example("endswith(a, '')", r#"{"a":"x"}"#, "true"),
        missing("endswith(a, 'x')", r#"{"a":{}}"#),
    ],
    eval: |arguments, _| Ok(Value::Bool(text(arguments, 0).ends_with(text(arguments, 1)))),
    ..TEXT
};

pub(super) const LOWER: Function = Function {
    name: "lower",
    aliases: &["lowercase"],
    signature: "lower(input)",
    params: &[required("input", Kind::Text)],
    summary: "The input in lower case, as Unicode has it; a number keeps its text.",
    examples: &[
        example("lower('ALIBABA')", "{}", r#""alibaba""#),
        example("lower(a)", r#"{"a":"ÄÖ"}"#, r#""äö""#),
        example("lower(a)", r#"{"a":1E5}"#, r#""1e5""#),
    ],
    eval: |arguments, _| Ok(Value::text(text(arguments, 0).to_lowercase())),
    ..TEXT
};

pub(super) const REPLACE: Function = Function {
    name: "replace",
    signature: "replace(source, substring, replacement)",
    params: &[
        required("source", Kind::Text),
        required("substring", Kind::Text),
        required("replacement", Kind::Text),
    ],
    summary: "The source with all occurrences of the substring replaced; an empty substring \
              occurs nowhere.",
    examples: &[
        example("replace(field, 'a', '1')", r#"{"field":"banana"}"#, r#""b1n1n1""#),
        example("replace('a.b', '.', '')", "{}", r#""ab""#),
        example("replace('ab', '', 'x')", "{}", r#""ab""#),
    ],
    eval: |arguments, _| {
        let (source, from, to) = (text(arguments, 0), text(arguments, 1), text(arguments, 2));
        if from.is_empty() {
            return Ok(Value::text(source.to_owned()));
        }
        let grows = to.len().saturating_sub(from.len());
        eval::fits(source.len() + source.matches(from).count().saturating_mul(grows))?;
        Ok(Value::text(source.replace(from, to)))
    },
    ..TEXT
};

pub(super) const SUBSTRING: Function = Function {
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
            target @ Value::String(_) => target,
            target @ Value::Number(number) if number.num.is_integer() => target,
            other => {
                return Err(
                    Fault::wrong_type("substring", "a STRING or an integer", other).aborting()
                );
            }
        };
        let position = |index: usize| match arguments.get(index) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(truncated(number.num))),
            Some(other) => {
                Err(Fault::wrong_type("substring", "positions that are NUMBERs", other).aborting())
            }
        };
        let start = position(1)?.unwrap_or(0);
        let count = position(2)?.map_or(usize::MAX, |end| end.saturating_sub(start));
        let target = target.as_text().unwrap_or_default();
        Ok(Value::text(target.chars().skip(start).take(count).collect::<String>()))
    },
    ..TEXT
};

/// A position without its fraction; a negative one is 0.
fn truncated(num: Num) -> usize {
    usize::try_from(num.truncate().max(0)).unwrap_or(usize::MAX)
}

pub(super) const UPPER: Function = Function {
    name: "upper",
    aliases: &["uppercase"],
    signature: "upper(input)",
    params: &[required("input", Kind::Text)],
    summary: "The input in upper case, as Unicode has it; a number keeps its text.",
    examples: &[
        example("upper('alibaba')", "{}", r#""ALIBABA""#),
        example("upper(a)", r#"{"a":1e5}"#, r#""1E5""#),
        example("upper(a)", r#"{"a":null}"#, "null"),
    ],
    eval: |arguments, _| Ok(Value::text(text(arguments, 0).to_uppercase())),
    ..TEXT
};
