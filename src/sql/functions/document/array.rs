//! Functions of elements and their places: arrays made, read and changed. Indices count from 0, negative
//! ones from the end.
//!
//! Not here: arrays made of other arrays and of counts (`array_shape`), looking for elements and sets
//! (`array_search`), numbers and order (`array_math`), arrays of objects (`array_records`).

use crate::functions::document::compose::{
    self, Writer, absent, elements, integer, nth, part, raw,
};
use crate::functions::{
    Depends, Fault, Function, Kind, NO_PREPARE, Nulls, example, missing, optional, required,
};
use crate::json;
use crate::number::Num;
use crate::value::Value;
use crate::work::Price;

/// What all functions of arrays share.
pub(in crate::functions) const ARRAYS: Function = Function {
    name: "",
    aliases: &[],
    family: "arrays",
    signature: "",
    price: Price::new(1_000, 150),
    params: &[],
    rest: None,
    result: Kind::Array,
    nulls: Nulls::Propagate,
    reads: &[],
    spreads: false,
    depends: Depends::Arguments,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

pub(in crate::functions) const ARRAY: Function = Function {
    name: "array",
    aliases: &["array_create"],
    signature: "array([value, …])",
    rest: Some(Kind::Any),
    nulls: Nulls::Own,
    summary: "An array of the values. NULL and MISSING are `null` in it, so that places stay.",
    examples: &[
        example("array(lat, lon)", r#"{"lat":39.90,"lon":116.38}"#, "[39.90,116.38]"),
        example("array(1, 'a', gone, array(TRUE))", "{}", r#"[1,"a",null,[true]]"#),
        example("array()", "{}", "[]"),
        example("array(a, NULL)", r#"{"a":{"b":[1, 2]}}"#, r#"[{"b":[1, 2]},null]"#),
    ],
    eval: |arguments, _| {
        let mut out = Writer::array(arguments.len() * 8);
        for value in arguments {
            out.value(value)?;
        }
        out.end_array()
    },
    ..ARRAYS
};

pub(in crate::functions) const ARRAY_APPEND: Function = Function {
    name: "array_append",
    signature: "array_append(array, value)",
    params: &[required("array", Kind::Array), required("value", Kind::Any)],
    nulls: Nulls::Own,
    summary: "The array with a value after its last element; NULL and MISSING are `null` in it.",
    examples: &[
        example("array_append(a, 3)", r#"{"a":[1,2]}"#, "[1,2,3]"),
        example("array_append(a, NULL)", r#"{"a":[]}"#, "[null]"),
        example("array_append(a, array(3))", r#"{"a":[1]}"#, "[1,[3]]"),
        missing("array_append(a, 1)", "{}"),
    ],
    eval: |arguments, _| insert(arguments, i64::MAX, arguments.get(1)),
    ..ARRAYS
};

pub(in crate::functions) const ARRAY_PREPEND: Function = Function {
    name: "array_prepend",
    signature: "array_prepend(array, value)",
    params: &[required("array", Kind::Array), required("value", Kind::Any)],
    nulls: Nulls::Own,
    summary: "The array with a value before its first element; NULL and MISSING are `null` in it.",
    examples: &[
        example("array_prepend(a, 0)", r#"{"a":[1,2]}"#, "[0,1,2]"),
        example("array_prepend(a, 'x')", r#"{"a":[]}"#, r#"["x"]"#),
        example("array_prepend(a, 1)", r#"{"a":null}"#, "null"),
    ],
    eval: |arguments, _| insert(arguments, 0, arguments.get(1)),
    ..ARRAYS
};

pub(in crate::functions) const ARRAY_INSERT: Function = Function {
    name: "array_insert",
    signature: "array_insert(array, index, value)",
    params: &[
        required("array", Kind::Array),
        required("index", Kind::Integer),
        required("value", Kind::Any),
    ],
    nulls: Nulls::Own,
    summary: "The array with a value before the element at an index, from 0; -1 is before the last \
              element, the length after it. An index outside is an error.",
    examples: &[
        example("array_insert(a, 1, 'x')", r#"{"a":[1,2]}"#, r#"[1,"x",2]"#),
        example("array_insert(a, -1, 'x')", r#"{"a":[1,2]}"#, r#"[1,"x",2]"#),
        example("array_insert(a, 2, 3)", r#"{"a":[1,2]}"#, "[1,2,3]"),
        missing("array_insert(a, 3, 4)", r#"{"a":[1,2]}"#),
    ],
    eval: |arguments, _| {
        if let Some(nothing) = arguments.get(..2).and_then(absent) {
            return Ok(nothing);
        }
        let index = integer(arguments, 1).unwrap_or_default();
        let length = compose::count(raw(arguments, 0));
        match compose::place(index, || length) {
            Some(place) if place <= length => {
                let place = i64::try_from(place).unwrap_or(i64::MAX);
                insert(arguments, place, arguments.get(2))
            }
            _ => {
                let message = format!("there is no index {index} in an array of {length} elements");
                Err(Fault::new("domain", message))
            }
        }
    },
    ..ARRAYS
};

/// The array of the first argument with a value before the element at an index, or at the end.
fn insert<'a>(
    arguments: &[Value<'_>],
    index: i64,
    value: Option<&Value<'_>>,
) -> Result<Value<'a>, Fault> {
    if let Some(nothing) = arguments.get(..1).and_then(absent) {
        return Ok(nothing);
    }
    let value = value.unwrap_or(&Value::Missing);
    let array = raw(arguments, 0);
    let mut out = Writer::array(array.len() + 24);
    let mut waiting = true;
    for (at, element) in json::elements(array).enumerate() {
        if usize::try_from(index) == Ok(at) {
            out.value(value)?;
            waiting = false;
        }
        out.raw(element)?;
    }
    if waiting {
        out.value(value)?;
    }
    out.end_array()
}

pub(in crate::functions) const ARRAY_CONCAT: Function = Function {
    name: "array_concat",
    signature: "array_concat(array, other, …)",
    params: &[required("array", Kind::Array), required("other", Kind::Array)],
    rest: Some(Kind::Array),
    nulls: Nulls::Own,
    summary: "The elements of all arrays one after the other. NULL and MISSING count as no \
              elements; only when all are, the result is NULL or MISSING.",
    examples: &[
        example("array_concat(a, b, a)", r#"{"a":[1,2],"b":["x"]}"#, r#"[1,2,"x",1,2]"#),
        example("array_concat(a, b)", r#"{"a":[1,2],"b":null}"#, "[1,2]"),
        example("array_concat(a, gone)", r#"{"a":null}"#, "null"),
        missing("array_concat(gone, lost)", "{}"),
    ],
    eval: |arguments, _| {
        if arguments.iter().all(Value::is_null) {
            let null = arguments.contains(&Value::Null);
            return Ok(if null { Value::Null } else { Value::Missing });
        }
        let mut out = Writer::array((0..arguments.len()).map(|at| raw(arguments, at).len()).sum());
        for at in 0..arguments.len() {
            elements(arguments, at).try_for_each(|element| out.raw(element))?;
        }
        out.end_array()
    },
    ..ARRAYS
};

pub(in crate::functions) const ARRAY_LENGTH: Function = Function {
    name: "array_length",
    aliases: &["cardinality", "array_cardinality"],
    signature: "array_length(array)",
    params: &[required("array", Kind::Array)],
    result: Kind::Integer,
    summary: "The number of elements, `null` ones too.",
    examples: &[
        example("array_length(a)", r#"{"a":[1,null,[2,3]]}"#, "3"),
        example("array_length(a)", r#"{"a":[]}"#, "0"),
        example("array_length(a)", r#"{"a":null}"#, "null"),
        missing("array_length(a)", r#"{"a":{"b":1}}"#),
    ],
    eval: |arguments, _| Ok(size(compose::count(raw(arguments, 0)))),
    ..ARRAYS
};

/// A count as a value.
pub(in crate::functions) fn size<'a>(count: usize) -> Value<'a> {
    Value::number(Num::Int(i64::try_from(count).unwrap_or(i64::MAX)))
}

pub(in crate::functions) const ELEMENT_AT: Function = Function {
    name: "element_at",
    signature: "element_at(value, index)",
    params: &[required("value", Kind::Any), required("index", Kind::Any)],
    result: Kind::Any,
    summary: "The element of an ARRAY at an index: from 0, negative ones from the end; or the member \
              of an OBJECT with a key. MISSING when there is none.",
    examples: &[
        example("element_at(a, 0)", r#"{"a":[1.50,2]}"#, "1.50"),
        example("element_at(a, -1)", r#"{"a":[1,2,"温"]}"#, r#""温""#),
        example("element_at(a, 'b.c')", r#"{"a":{"b.c":7}}"#, "7"),
        missing("element_at(a, 2)", r#"{"a":[1,2]}"#),
    ],
    eval: |arguments, _| {
        let [whole, at] = arguments else { return Ok(Value::Missing) };
        match whole {
            Value::Json(text) if text.starts_with('[') => match at.as_num() {
                Some(num) if num.is_integer() => part(whole, |raw| nth(raw, num.truncate())),
                _ => Err(Fault::wrong_type("element_at", "an integer as the index", at)),
            },
            Value::Json(_) => match at.as_text() {
                Some(key) => part(whole, |raw| compose::member(raw, &key)),
                None => Err(Fault::wrong_type("element_at", "a STRING as the key", at)),
            },
            _ => Err(Fault::wrong_type("element_at", "an ARRAY or OBJECT", whole)),
        }
    },
    ..ARRAYS
};

pub(in crate::functions) const FIRST: Function = Function {
    name: "first",
    signature: "first(array)",
    params: &[required("array", Kind::Array)],
    result: Kind::Any,
    summary: "The first element; MISSING when the array is empty.",
    examples: &[
        example("first(a)", r#"{"a":[{"v":1},2]}"#, r#"{"v":1}"#),
        example("first(a)", r#"{"a":[null]}"#, "null"),
        missing("first(a)", r#"{"a":[]}"#),
    ],
    eval: |arguments, _| match arguments {
        [whole, ..] => part(whole, |raw| nth(raw, 0)),
        [] => Ok(Value::Missing),
    },
    ..ARRAYS
};

pub(in crate::functions) const LAST: Function = Function {
    name: "last",
    signature: "last(array)",
    params: &[required("array", Kind::Array)],
    result: Kind::Any,
    summary: "The last element; MISSING when the array is empty.",
    examples: &[
        example("last(a)", r#"{"a":[1,2.0]}"#, "2.0"),
        example("last(array(1, 2))", "{}", "2"),
        missing("last(a)", r#"{"a":[]}"#),
    ],
    eval: |arguments, _| match arguments {
        [whole, ..] => part(whole, |raw| json::elements(raw).last()),
        [] => Ok(Value::Missing),
    },
    ..ARRAYS
};

pub(in crate::functions) const SLICE: Function = Function {
    name: "slice",
    aliases: &["array_slice"],
    signature: "slice(array, start[, end])",
    params: &[
        required("array", Kind::Array),
        required("start", Kind::Integer),
        optional("end", Kind::Integer),
    ],
    summary: "The elements from `start` up to, but not with, `end`: from 0, negative ones from the \
              end; without `end` up to the last. What lies outside is left out.",
    examples: &[
        example("slice(a, 1, 3)", r#"{"a":[1,2,3,4]}"#, "[2,3]"),
        example("slice(a, -2)", r#"{"a":[1,2,3,4]}"#, "[3,4]"),
        example("slice(a, 0, -1)", r#"{"a":[1,2,3,4]}"#, "[1,2,3]"),
        example("slice(a, 3, 1)", r#"{"a":[1,2,3,4]}"#, "[]"),
    ],
    eval: |arguments, _| {
        let array = raw(arguments, 0);
        let bound = |index| compose::place(index, || compose::count(array)).unwrap_or(0);
        let start = integer(arguments, 1).map_or(0, bound);
        let end = integer(arguments, 2).map_or(usize::MAX, bound);
        let mut out = Writer::array(array.len());
        for element in json::elements(array).take(end).skip(start) {
            out.raw(element)?;
        }
        out.end_array()
    },
    ..ARRAYS
};
