//! Functions that tell what a value is. They never give NULL: NULL and MISSING are answers too.

use crate::functions::value::null::is_empty;
use crate::functions::{
    Depends, Eval, Example, Function, Kind, NO_PREPARE, Nulls, example, required,
};
use crate::value::Value;
use crate::work::Price;

/// What all functions here share.
const TYPE: Function = Function {
    name: "",
    aliases: &[],
    family: "types",
    signature: "",
    price: Price::new(200, 30),
    params: &[required("value", Kind::Any)],
    rest: None,
    result: Kind::Boolean,
    nulls: Nulls::Own,
    reads: &[],
    spreads: false,
    depends: Depends::Arguments,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

/// A question about one value.
const fn test(
    name: &'static str,
    aliases: &'static [&'static str],
    signature: &'static str,
    summary: &'static str,
    examples: &'static [Example],
    eval: Eval,
) -> Function {
    Function { name, aliases, signature, summary, examples, eval, ..TYPE }
}

/// The answer for the only argument.
fn answer(arguments: &[Value<'_>], of: fn(&Value<'_>) -> bool) -> Value<'static> {
    Value::Bool(of(arguments.first().unwrap_or(&Value::Missing)))
}

pub(in crate::functions) const TYPEOF: Function = Function {
    name: "typeof",
    aliases: &["type_of"],
    signature: "typeof(value)",
    result: Kind::Text,
    summary: "What a value is: 'number', 'string', 'boolean', 'array', 'object', 'null', 'missing', \
              or 'binary' for bytes.",
    examples: &[
        example("typeof(a)", r#"{"a":1.5}"#, r#""number""#),
        example("typeof(a)", r#"{"a":"1.5"}"#, r#""string""#),
        example("typeof(a)", r#"{"a":[]}"#, r#""array""#),
        example("typeof(a)", r#"{"a":null}"#, r#""null""#),
        example("typeof(a)", "{}", r#""missing""#),
        example("typeof(from_hex('00'))", "{}", r#""binary""#),
    ],
    eval: |arguments, _| {
        Ok(Value::text(match arguments.first() {
            None | Some(Value::Missing) => "missing",
            Some(Value::Null) => "null",
            Some(Value::Bool(_)) => "boolean",
            Some(Value::Number(_)) => "number",
            Some(Value::String(_)) => "string",
            Some(Value::Json(text)) if text.starts_with('[') => "array",
            Some(Value::Json(_)) => "object",
            Some(Value::Binary(_)) => "binary",
        }))
    },
    ..TYPE
};

pub(in crate::functions) const IS_NUMBER: Function = test(
    "is_number",
    &["is_num"],
    "is_number(value)",
    "Whether a value is a NUMBER (text that reads as one is a STRING); false for NULL and MISSING.",
    &[
        example("is_number(a)", r#"{"a":1.5}"#, "true"),
        example("is_number(a)", r#"{"a":"1.5"}"#, "false"),
        example("is_number(a)", "{}", "false"),
    ],
    |arguments, _| Ok(answer(arguments, |value| matches!(value, Value::Number(_)))),
);

pub(in crate::functions) const IS_INTEGER: Function = test(
    "is_integer",
    &["is_int"],
    "is_integer(value)",
    "Whether a value is a NUMBER without a fraction (1.0 is one); false for NULL and MISSING.",
    &[
        example("is_integer(a)", r#"{"a":7}"#, "true"),
        example("is_integer(a)", r#"{"a":7.5}"#, "false"),
        example("is_integer(a)", r#"{"a":7.0}"#, "true"),
        example("is_integer(a)", r#"{"a":"7"}"#, "false"),
    ],
    |arguments, _| {
        Ok(answer(
            arguments,
            |value| matches!(value, Value::Number(number) if number.num.is_integer()),
        ))
    },
);

pub(in crate::functions) const IS_FLOAT: Function = test(
    "is_float",
    &[],
    "is_float(value)",
    "Whether a value is a NUMBER with a fraction (1.0 has none); false for NULL and MISSING.",
    &[
        example("is_float(a)", r#"{"a":7.5}"#, "true"),
        example("is_float(a)", r#"{"a":7}"#, "false"),
        example("is_float(a)", r#"{"a":null}"#, "false"),
    ],
    |arguments, _| {
        Ok(answer(
            arguments,
            |value| matches!(value, Value::Number(number) if !number.num.is_integer()),
        ))
    },
);

pub(in crate::functions) const IS_STRING: Function = test(
    "is_string",
    &["is_str"],
    "is_string(value)",
    "Whether a value is a STRING; false for NULL and MISSING.",
    &[
        example("is_string(a)", r#"{"a":"温"}"#, "true"),
        example("is_string(a)", r#"{"a":1}"#, "false"),
    ],
    |arguments, _| Ok(answer(arguments, |value| matches!(value, Value::String(_)))),
);

pub(in crate::functions) const IS_BOOLEAN: Function = test(
    "is_boolean",
    &["is_bool"],
    "is_boolean(value)",
    "Whether a value is a BOOLEAN; false for NULL and MISSING.",
    &[
        example("is_boolean(a)", r#"{"a":false}"#, "true"),
        example("is_boolean(a)", r#"{"a":0}"#, "false"),
    ],
    |arguments, _| Ok(answer(arguments, |value| matches!(value, Value::Bool(_)))),
);

pub(in crate::functions) const IS_ARRAY: Function = test(
    "is_array",
    &[],
    "is_array(value)",
    "Whether a value is an ARRAY; false for NULL and MISSING.",
    &[
        example("is_array(a)", r#"{"a":[1]}"#, "true"),
        example("is_array(a)", r#"{"a":{}}"#, "false"),
    ],
    |arguments, _| {
        Ok(answer(arguments, |value| matches!(value, Value::Json(text) if text.starts_with('['))))
    },
);

pub(in crate::functions) const IS_OBJECT: Function = test(
    "is_object",
    &["is_map"],
    "is_object(value)",
    "Whether a value is an OBJECT; false for NULL and MISSING.",
    &[
        example("is_object(a)", r#"{"a":{}}"#, "true"),
        example("is_object(a)", r#"{"a":[1]}"#, "false"),
    ],
    |arguments, _| {
        Ok(answer(arguments, |value| matches!(value, Value::Json(text) if text.starts_with('{'))))
    },
);

pub(in crate::functions) const IS_PRIMITIVE: Function = test(
    "is_primitive",
    &[],
    "is_primitive(value)",
    "Whether a value is a NUMBER, STRING, BOOLEAN or NULL: neither ARRAY nor OBJECT nor MISSING.",
    &[
        example("is_primitive(a)", r#"{"a":"x"}"#, "true"),
        example("is_primitive(a)", r#"{"a":null}"#, "true"),
        example("is_primitive(a)", r#"{"a":[]}"#, "false"),
    ],
    |arguments, _| {
        Ok(answer(arguments, |value| {
            matches!(value, Value::Number(_) | Value::String(_) | Value::Bool(_) | Value::Null)
        }))
    },
);

pub(in crate::functions) const IS_NULL: Function = test(
    "is_null",
    &["is_null_var"],
    "is_null(value)",
    "Whether a value is NULL or MISSING, as `IS NULL` has it; is_missing() tells them apart.",
    &[
        example("is_null(a)", r#"{"a":null}"#, "true"),
        example("is_null(a)", "{}", "true"),
        example("is_null(a)", r#"{"a":0}"#, "false"),
    ],
    |arguments, _| Ok(answer(arguments, |value| value.is_null())),
);

pub(in crate::functions) const IS_NOT_NULL: Function = test(
    "is_not_null",
    &["is_not_null_var"],
    "is_not_null(value)",
    "Whether a value is neither NULL nor MISSING, as `IS NOT NULL` has it.",
    &[example("is_not_null(a)", r#"{"a":0}"#, "true"), example("is_not_null(a)", "{}", "false")],
    |arguments, _| Ok(answer(arguments, |value| !value.is_null())),
);

pub(in crate::functions) const IS_MISSING: Function = test(
    "is_missing",
    &["isUndefined"],
    "is_missing(value)",
    "Whether there is no value, not even NULL, as `IS MISSING` has it.",
    &[example("is_missing(a)", "{}", "true"), example("is_missing(a)", r#"{"a":null}"#, "false")],
    |arguments, _| Ok(answer(arguments, |value| matches!(value, Value::Missing))),
);

pub(in crate::functions) const IS_DEFINED: Function = test(
    "is_defined",
    &[],
    "is_defined(value)",
    "Whether there is a value, be it NULL: the contrary of is_missing().",
    &[example("is_defined(a)", r#"{"a":null}"#, "true"), example("is_defined(a)", "{}", "false")],
    |arguments, _| Ok(answer(arguments, |value| !matches!(value, Value::Missing))),
);

pub(in crate::functions) const IS_EMPTY: Function = test(
    "is_empty",
    &[],
    "is_empty(value)",
    "Whether a value is NULL, MISSING, or text, an array, an object or bytes with nothing in it; \
     numbers and booleans never are.",
    &[
        example("is_empty(a)", r#"{"a":""}"#, "true"),
        example("is_empty(a)", r#"{"a":[ ]}"#, "true"),
        example("is_empty(a)", "{}", "true"),
        example("is_empty(a)", r#"{"a":0}"#, "false"),
        example("is_empty(a)", r#"{"a":" "}"#, "false"),
    ],
    |arguments, _| Ok(answer(arguments, |value| value.is_null() || is_empty(value))),
);
