//! Functions that look for elements of arrays, and arrays as sets.
//!
//! One value is looked for as `=` compares, but NULL finds `null`. Sets are stricter, see `sameness`.

use crate::functions::document::array::{ARRAYS, size};
use crate::functions::document::compose::{Writer, elements, raw};
use crate::functions::document::sameness::{Bag, Key, key};
use crate::functions::{Fault, Function, Kind, Nulls, example, missing, required};
use crate::json;
use crate::number::Num;
use crate::value::{Relation, Value};
use crate::work::{COMPARED, Price};

/// What all functions that look for one value share.
const SEARCH: Function = Function {
    params: &[required("array", Kind::Array), required("value", Kind::Any)],
    nulls: Nulls::Own,
    price: Price::new(1_000, 400).per_part(3_500),
    ..ARRAYS
};

/// What all functions of two sets share.
const SETS: Function = Function {
    params: &[required("a", Kind::Array), required("b", Kind::Array)],
    price: COMPARED,
    ..ARRAYS
};

/// MISSING or NULL when there is no array, MISSING when there is nothing to look for.
fn nothing<'a>(arguments: &[Value<'_>]) -> Option<Value<'a>> {
    match arguments {
        [Value::Missing, ..] | [_, Value::Missing, ..] => Some(Value::Missing),
        [Value::Null, ..] => Some(Value::Null),
        _ => None,
    }
}

/// A value that many are compared with. What would have to be read of it for each is read once:
/// comparing takes the time that the others need, however large it is.
pub(in crate::functions) struct Sought<'v, 'a> {
    value: &'v Value<'a>,
    number: Option<Num>,
    key: Option<Key<'v>>,
}

impl<'v, 'a> Sought<'v, 'a> {
    /// The value of an argument.
    pub(in crate::functions) fn new(arguments: &'v [Value<'a>], index: usize) -> Self {
        let value = arguments.get(index).unwrap_or(&Value::Missing);
        let key = match value {
            Value::Json(text) => Some(key(text.as_bytes())),
            _ => None,
        };
        Self { value, number: value.as_num(), key }
    }

    /// How a JSON value compares with it, as [`Value::relate`] has it.
    pub(in crate::functions) fn relation(&self, raw: &[u8]) -> Relation {
        match (Value::read(raw), self.value) {
            (Value::Number(a), Value::String(_)) => self
                .number
                .map_or(Relation::Different, |number| Relation::Ordered(a.num.compare(number))),
            (Value::Json(_), Value::Json(_)) if Some(key(raw)) == self.key => Relation::Same,
            (Value::Json(_), Value::Json(_)) => Relation::Different,
            (value, sought) => value.relate(sought),
        }
    }

    /// Whether an element is it; NULL is `null`.
    fn is(&self, element: &[u8]) -> bool {
        match self.value {
            Value::Null => element == b"null",
            _ => self.relation(element).equal() == Some(true),
        }
    }
}

/// An index, or -1.
fn position<'a>(index: Option<usize>) -> Value<'a> {
    index.map_or(Value::number(Num::Int(-1)), size)
}

pub(in crate::functions) const ARRAY_CONTAINS: Function = Function {
    name: "array_contains",
    signature: "array_contains(array, value)",
    result: Kind::Boolean,
    summary: "Whether an element equals the value, as `=` compares: `1` is `1.0` and `'1'`. NULL \
              finds `null`.",
    examples: &[
        example("array_contains(codes, 404)", r#"{"codes":[200,404.0]}"#, "true"),
        example("array_contains(a, '温')", r#"{"a":["x"]}"#, "false"),
        example("array_contains(a, b)", r#"{"a":[{"x":1,"y":[]}],"b":{"y":[],"x":1.0}}"#, "true"),
        example("array_contains(a, NULL)", r#"{"a":[1,null]}"#, "true"),
        missing("array_contains(a, gone)", r#"{"a":[1]}"#),
    ],
    eval: |arguments, _| {
        let sought = Sought::new(arguments, 1);
        let found = || elements(arguments, 0).any(|element| sought.is(element));
        Ok(nothing(arguments).unwrap_or_else(|| Value::Bool(found())))
    },
    ..SEARCH
};

pub(in crate::functions) const ARRAY_POSITION: Function = Function {
    name: "array_position",
    signature: "array_position(array, value)",
    result: Kind::Integer,
    summary: "The index of the first element that equals the value, from 0; -1 when there is none.",
    examples: &[
        example("array_position(a, 'b')", r#"{"a":["a","b","b"]}"#, "1"),
        example("array_position(a, 9)", r#"{"a":[1,2]}"#, "-1"),
        example("array_position(a, NULL)", r#"{"a":[1,null]}"#, "1"),
        example("array_position(a, 1)", r#"{"a":null}"#, "null"),
    ],
    eval: |arguments, _| {
        let sought = Sought::new(arguments, 1);
        let index = || elements(arguments, 0).position(|element| sought.is(element));
        Ok(nothing(arguments).unwrap_or_else(|| position(index())))
    },
    ..SEARCH
};

pub(in crate::functions) const ARRAY_LAST_POSITION: Function = Function {
    name: "array_last_position",
    signature: "array_last_position(array, value)",
    result: Kind::Integer,
    summary: "The index of the last element that equals the value, from 0; -1 when there is none.",
    examples: &[
        example("array_last_position(a, 'b')", r#"{"a":["a","b","b"]}"#, "2"),
        example("array_last_position(a, 9)", r#"{"a":[1,2]}"#, "-1"),
    ],
    eval: |arguments, _| {
        let sought = Sought::new(arguments, 1);
        let index = || {
            let all = elements(arguments, 0).enumerate();
            all.filter(|(_, element)| sought.is(element)).last().map(|(at, _)| at)
        };
        Ok(nothing(arguments).unwrap_or_else(|| position(index())))
    },
    ..SEARCH
};

pub(in crate::functions) const ARRAY_REMOVE: Function = Function {
    name: "array_remove",
    signature: "array_remove(array, value)",
    summary: "The elements that do not equal the value, as `=` compares; NULL removes `null`.",
    examples: &[
        example("array_remove(a, 'b')", r#"{"a":["a","b","c","b"]}"#, r#"["a","c"]"#),
        example("array_remove(a, 1)", r#"{"a":[1,1.0,2,null]}"#, "[2,null]"),
        example("array_remove(a, NULL)", r#"{"a":[1,null]}"#, "[1]"),
    ],
    eval: |arguments, _| {
        if let Some(nothing) = nothing(arguments) {
            return Ok(nothing);
        }
        let sought = Sought::new(arguments, 1);
        let mut out = Writer::array(raw(arguments, 0).len());
        elements(arguments, 0)
            .filter(|element| !sought.is(element))
            .try_for_each(|element| out.raw(element))?;
        out.end_array()
    },
    ..SEARCH
};

pub(in crate::functions) const ARRAY_COUNT: Function = Function {
    name: "array_count",
    signature: "array_count(array)",
    params: &[required("array", Kind::Array)],
    result: Kind::Integer,
    summary: "The number of elements that are not `null`.",
    examples: &[
        example("array_count(a)", r#"{"a":[1,null,"x"]}"#, "2"),
        example("array_count(array(a, b, c))", r#"{"b":1}"#, "1"),
    ],
    eval: |arguments, _| {
        Ok(size(elements(arguments, 0).filter(|element| *element != b"null").count()))
    },
    ..ARRAYS
};

pub(in crate::functions) const ARRAY_CONTAINS_ANY: Function = Function {
    name: "array_contains_any",
    signature: "array_contains_any(a, b)",
    result: Kind::Boolean,
    summary: "Whether the arrays have an element in common: of one type and equal, so that `1` is \
              `1.0` but not `'1'`; `null` is itself.",
    examples: &[
        example("array_contains_any(alarms, b)", r#"{"alarms":[3,7],"b":[7.0,9]}"#, "true"),
        example("array_contains_any(a, b)", r#"{"a":[1],"b":["1"]}"#, "false"),
        example("array_contains_any(a, array())", r#"{"a":[1]}"#, "false"),
    ],
    eval: |arguments, _| {
        let bag = Bag::of(raw(arguments, 1));
        Ok(Value::Bool(elements(arguments, 0).any(|element| bag.contains(&key(element)))))
    },
    ..SETS
};

pub(in crate::functions) const ARRAY_CONTAINS_ALL: Function = Function {
    name: "array_contains_all",
    signature: "array_contains_all(a, b)",
    result: Kind::Boolean,
    summary: "Whether every element of `b` is one of `a`: of one type and equal. True when `b` is \
              empty.",
    examples: &[
        example("array_contains_all(a, array('x', 'y'))", r#"{"a":["y","z","x"]}"#, "true"),
        example("array_contains_all(a, b)", r#"{"a":[1,2],"b":[2,3]}"#, "false"),
        example("array_contains_all(a, b)", r#"{"a":[],"b":[]}"#, "true"),
    ],
    eval: |arguments, _| {
        let wanted = Bag::of(raw(arguments, 1));
        let mut found = Bag::new();
        for element in elements(arguments, 0) {
            let key = key(element);
            if wanted.contains(&key) {
                found.insert(key);
            }
        }
        Ok(Value::Bool(found.len() == wanted.len()))
    },
    ..SETS
};

/// The elements of arrays that pass, each once, in the order in which they came first.
fn once<'t, 'a>(
    arrays: &[&'t [u8]],
    passes: impl Fn(&Key<'t>) -> bool,
) -> Result<Value<'a>, Fault> {
    let mut out = Writer::array(arrays.iter().map(|array| array.len()).sum());
    let mut seen = Bag::new();
    for element in arrays.iter().flat_map(|array| json::elements(array)) {
        let key = key(element);
        if passes(&key) && seen.insert(key) {
            out.raw(element)?;
        }
    }
    out.end_array()
}

pub(in crate::functions) const ARRAY_DISTINCT: Function = Function {
    name: "array_distinct",
    aliases: &["distinct"],
    signature: "array_distinct(array)",
    params: &[required("array", Kind::Array)],
    summary: "Each element once, where it came first. Elements are the same when they are of one \
              type and equal: `1` is `1.0` but not `'1'`; `null` is itself.",
    examples: &[
        example("array_distinct(a)", r#"{"a":[1,2,1.0,"1",null,null]}"#, r#"[1,2,"1",null]"#),
        example(
            "array_distinct(a)",
            r#"{"a":[{"x":1,"y":2},{"y":2,"x":1}]}"#,
            r#"[{"x":1,"y":2}]"#,
        ),
    ],
    price: COMPARED,
    eval: |arguments, _| once(&[raw(arguments, 0)], |_| true),
    ..ARRAYS
};

pub(in crate::functions) const ARRAY_UNION: Function = Function {
    name: "array_union",
    signature: "array_union(a, b, …)",
    rest: Some(Kind::Array),
    summary: "Each element of all arrays once, where it came first; the same means as in \
              array_distinct.",
    examples: &[
        example("array_union(a, b)", r#"{"a":[1,2,2],"b":[2.0,3]}"#, "[1,2,3]"),
        example("array_union(a, b, c)", r#"{"a":[],"b":["x"],"c":["x",null]}"#, r#"["x",null]"#),
        example("array_union(a, b)", r#"{"a":[1],"b":null}"#, "null"),
    ],
    eval: |arguments, _| {
        let arrays: Vec<&[u8]> = (0..arguments.len()).map(|at| raw(arguments, at)).collect();
        once(&arrays, |_| true)
    },
    ..SETS
};

pub(in crate::functions) const ARRAY_INTERSECT: Function = Function {
    name: "array_intersect",
    signature: "array_intersect(a, b)",
    summary: "Each element of `a` once that is one of `b` too; the same means as in array_distinct.",
    examples: &[
        example("array_intersect(a, b)", r#"{"a":[3,1,2,3],"b":[3.0,2]}"#, "[3,2]"),
        example("array_intersect(a, b)", r#"{"a":[1,null],"b":["1",null]}"#, "[null]"),
    ],
    eval: |arguments, _| {
        let other = Bag::of(raw(arguments, 1));
        once(&[raw(arguments, 0)], |key| other.contains(key))
    },
    ..SETS
};

pub(in crate::functions) const ARRAY_EXCEPT: Function = Function {
    name: "array_except",
    signature: "array_except(a, b)",
    summary: "Each element of `a` once that is none of `b`; the same means as in array_distinct.",
    examples: &[
        example("array_except(a, b)", r#"{"a":[3,1,2,1],"b":[3.0]}"#, "[1,2]"),
        example("array_except(now, before)", r#"{"now":["e1","e2"],"before":["e1"]}"#, r#"["e2"]"#),
    ],
    eval: |arguments, _| {
        let other = Bag::of(raw(arguments, 1));
        once(&[raw(arguments, 0)], |key| !other.contains(key))
    },
    ..SETS
};
