//! Functions that choose by what is there: the first value that is, one of two. `nanvl` is with the
//! functions of documents.

use crate::functions::{Depends, Function, Kind, NO_PREPARE, Nulls, example, missing, required};
use crate::value::Value;
use crate::work::Price;

/// What all functions here share.
const NULL: Function = Function {
    name: "",
    aliases: &[],
    family: "null handling",
    signature: "",
    price: Price::new(200, 30),
    params: &[],
    rest: None,
    result: Kind::Any,
    nulls: Nulls::Own,
    reads: &[],
    spreads: false,
    depends: Depends::Arguments,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

/// The first value that counts, else NULL, else MISSING.
fn first<'a>(arguments: &[Value<'a>], counts: fn(&Value<'_>) -> bool) -> Value<'a> {
    match arguments.iter().find(|value| !value.is_null() && counts(value)) {
        Some(value) => value.clone(),
        None if arguments.iter().all(|value| *value == Value::Missing) => Value::Missing,
        None => Value::Null,
    }
}

/// True for text, arrays, objects and bytes without anything in them.
pub(in crate::functions) fn is_empty(value: &Value<'_>) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Binary(bytes) => bytes.is_empty(),
        Value::Json(text) => {
            let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
            inner.bytes().all(|byte| byte.is_ascii_whitespace())
        }
        _ => false,
    }
}

pub(in crate::functions) const COALESCE: Function = Function {
    name: "coalesce",
    signature: "coalesce(value, …)",
    params: &[required("value", Kind::Any)],
    rest: Some(Kind::Any),
    summary: "The first value that is neither NULL nor MISSING; without one, NULL (MISSING if all \
              are).",
    examples: &[
        example("coalesce(t, temp, 0)", r#"{"t":null,"temp":21.50}"#, "21.50"),
        example("coalesce(a, b)", r#"{"b":null}"#, "null"),
        example("coalesce(a, '')", "{}", r#""""#),
        missing("coalesce(a, b)", "{}"),
    ],
    eval: |arguments, _| Ok(first(arguments, |_| true)),
    ..NULL
};

pub(in crate::functions) const COALESCE_NE: Function = Function {
    name: "coalesce_ne",
    signature: "coalesce_ne(value, …)",
    params: &[required("value", Kind::Any)],
    rest: Some(Kind::Any),
    summary: "The first value that is neither NULL nor MISSING nor empty (text, array, object or \
              bytes with nothing in it); without one, NULL (MISSING if all are).",
    examples: &[
        example("coalesce_ne(name, deviceName())", r#"{"name":""}"#, r#""dev1""#),
        example("coalesce_ne(a, 0, 1)", r#"{"a":[ ]}"#, "0"),
        example("coalesce_ne('', a)", "{}", "null"),
    ],
    eval: |arguments, _| Ok(first(arguments, |value| !is_empty(value))),
    ..NULL
};

pub(in crate::functions) const NULLIF: Function = Function {
    name: "nullif",
    signature: "nullif(value, other)",
    params: &[required("value", Kind::Any), required("other", Kind::Any)],
    summary: "NULL when the value equals the other one (as `=` has it), else the value.",
    examples: &[
        example("nullif(t, -999)", r#"{"t":-999.0}"#, "null"),
        example("nullif(t, -999)", r#"{"t":21.50}"#, "21.50"),
        example("nullif(a, '')", r#"{"a":""}"#, "null"),
        example("nullif(a, null)", r#"{"a":1}"#, "1"),
        missing("nullif(a, 1)", "{}"),
    ],
    eval: |arguments, _| match arguments {
        [value, other] if value.relate(other).equal() == Some(true) => Ok(Value::Null),
        [value, ..] => Ok(value.clone()),
        _ => Ok(Value::Missing),
    },
    ..NULL
};

pub(in crate::functions) const IF: Function = Function {
    name: "if",
    aliases: &["iif"],
    signature: "if(condition, then, otherwise)",
    params: &[
        required("condition", Kind::Boolean),
        required("then", Kind::Any),
        required("otherwise", Kind::Any),
    ],
    summary: "The second value when the condition is TRUE, the third one when it is FALSE, NULL or \
              MISSING. Both are computed, with their errors; CASE computes the one that it gives.",
    examples: &[
        example("if(t > 30, 'hot', 'ok')", r#"{"t":31}"#, r#""hot""#),
        example("if(t > 30, 'hot', 'ok')", "{}", r#""ok""#),
        example("if(on, 1, 0)", r#"{"on":true}"#, "1"),
        missing("if(on, 1, 0)", r#"{"on":"yes"}"#),
    ],
    eval: |arguments, _| match arguments {
        [condition, then, otherwise] => {
            Ok(if condition.truth() == Some(true) { then.clone() } else { otherwise.clone() })
        }
        _ => Ok(Value::Missing),
    },
    ..NULL
};

pub(in crate::functions) const NVL2: Function = Function {
    name: "nvl2",
    signature: "nvl2(value, then, otherwise)",
    params: &[
        required("value", Kind::Any),
        required("then", Kind::Any),
        required("otherwise", Kind::Any),
    ],
    summary: "The second value when the first is neither NULL nor MISSING, else the third.",
    examples: &[
        example("nvl2(alarm, 'alarm', 'ok')", r#"{"alarm":7}"#, r#""alarm""#),
        example("nvl2(alarm, 'alarm', 'ok')", r#"{"alarm":null}"#, r#""ok""#),
        example("nvl2(alarm, 'alarm', 'ok')", "{}", r#""ok""#),
    ],
    eval: |arguments, _| match arguments {
        [value, then, otherwise] => {
            Ok(if value.is_null() { otherwise.clone() } else { then.clone() })
        }
        _ => Ok(Value::Missing),
    },
    ..NULL
};
