//! Functions that give the elements of arrays another order or another shape, and arrays of counts.

use crate::eval;
use crate::functions::document::array::ARRAYS;
use crate::functions::document::compose::{Writer, elements, integer, raw};
use crate::functions::math::number::exact;
use crate::functions::{
    Depends, Fault, Function, Kind, Prepared, Problem, Site, example, missing, optional, required,
};
use crate::json;
use crate::number::Num;
use crate::pick::JSON_DEPTH;
use crate::value::Value;
use crate::work::Price;

pub(in crate::functions) const ARRAY_REVERSE: Function = Function {
    name: "array_reverse",
    signature: "array_reverse(array)",
    params: &[required("array", Kind::Array)],
    summary: "The elements from the last to the first.",
    examples: &[
        example("array_reverse(a)", r#"{"a":[1,"b",null]}"#, r#"[null,"b",1]"#),
        example("array_reverse(a)", r#"{"a":[]}"#, "[]"),
    ],
    eval: |arguments, _| {
        let array = raw(arguments, 0);
        let list: Vec<&[u8]> = json::elements(array).collect();
        let mut out = Writer::array(array.len());
        list.into_iter().rev().try_for_each(|element| out.raw(element))?;
        out.end_array()
    },
    ..ARRAYS
};

pub(in crate::functions) const ARRAY_FLATTEN: Function = Function {
    name: "array_flatten",
    aliases: &["flatten"],
    signature: "array_flatten(array[, levels])",
    params: &[required("array", Kind::Array), optional("levels", Kind::Integer)],
    summary: "The array with the elements of the arrays in it in their place, one level or as many \
              as are said.",
    examples: &[
        example("array_flatten(a)", r#"{"a":[[1,4],[2,3]]}"#, "[1,4,2,3]"),
        example("array_flatten(a)", r#"{"a":[1,[2,[3]],[]]}"#, "[1,2,[3]]"),
        example("array_flatten(a, 9)", r#"{"a":[1,[2,[3]],[]]}"#, "[1,2,3]"),
        example("array_flatten(a, 0)", r#"{"a":[[1]]}"#, "[[1]]"),
    ],
    eval: |arguments, _| {
        let array = raw(arguments, 0);
        let levels = integer(arguments, 1).unwrap_or(1).clamp(0, i64::from(JSON_DEPTH));
        let mut out = Writer::array(array.len());
        flatten(array, levels, &mut out)?;
        out.end_array()
    },
    ..ARRAYS
};

/// Appends the elements of an array, going down at most `levels` levels.
fn flatten(array: &[u8], levels: i64, out: &mut Writer) -> Result<(), Fault> {
    json::elements(array).try_for_each(|element| {
        if levels > 0 && element.first() == Some(&b'[') {
            flatten(element, levels - 1, out)
        } else {
            out.raw(element)
        }
    })
}

pub(in crate::functions) const ARRAY_COMPACT: Function = Function {
    name: "array_compact",
    signature: "array_compact(array)",
    params: &[required("array", Kind::Array)],
    summary: "The elements that are not `null`.",
    examples: &[
        example("array_compact(a)", r#"{"a":[1,null,0,"",null]}"#, r#"[1,0,""]"#),
        example("array_compact(array(a, b, c))", r#"{"b":5}"#, "[5]"),
    ],
    eval: |arguments, _| {
        let mut out = Writer::array(raw(arguments, 0).len());
        let present = |element: &&[u8]| *element != b"null";
        elements(arguments, 0).filter(present).try_for_each(|element| out.raw(element))?;
        out.end_array()
    },
    ..ARRAYS
};

pub(in crate::functions) const ARRAY_CHUNK: Function = Function {
    name: "array_chunk",
    signature: "array_chunk(array, size)",
    params: &[required("array", Kind::Array), required("size", Kind::Integer)],
    summary: "The elements in arrays of `size`, 1 or more; the last one holds what is left.",
    examples: &[
        example("array_chunk(a, 2)", r#"{"a":[1,2,3,4,5]}"#, "[[1,2],[3,4],[5]]"),
        example("array_chunk(a, 2)", r#"{"a":[]}"#, "[]"),
        missing("array_chunk(a, b)", r#"{"a":[1],"b":0}"#),
    ],
    prepare: |arguments| match arguments.get(1) {
        Some(Some(size)) if size.value().as_num().is_some_and(|num| num.truncate() < 1) => {
            Err(Problem {
                message: "chunks need a size".into(),
                expected: "a size of 1 or more".into(),
            })
        }
        _ => Ok(Prepared::Nothing),
    },
    eval: |arguments, _| {
        let size = integer(arguments, 1).and_then(|size| usize::try_from(size).ok());
        let Some(size) = size.filter(|size| *size > 0) else {
            return Err(Fault::new("domain", "`array_chunk` takes a size of 1 or more"));
        };
        let array = raw(arguments, 0);
        let mut out = Writer::array(array.len() * 2);
        let mut filled = 0;
        for element in json::elements(array) {
            if filled == 0 {
                out.open(b'[');
            }
            out.raw(element)?;
            filled += 1;
            if filled == size {
                out.close(b']');
                filled = 0;
            }
        }
        if filled > 0 {
            out.close(b']');
        }
        out.end_array()
    },
    ..ARRAYS
};

pub(in crate::functions) const ARRAY_ZIP: Function = Function {
    name: "array_zip",
    signature: "array_zip(array, other, …)",
    params: &[required("array", Kind::Array), required("other", Kind::Array)],
    rest: Some(Kind::Array),
    summary: "An array of arrays: the first elements of all, the second elements of all, and so on. \
              `null` stands in for elements that a shorter array lacks.",
    examples: &[
        example("array_zip(t, v)", r#"{"t":[10,20],"v":["a","b"]}"#, r#"[[10,"a"],[20,"b"]]"#),
        example("array_zip(a, b)", r#"{"a":[1],"b":[2,3]}"#, "[[1,2],[null,3]]"),
        example("array_zip(a, b)", r#"{"a":[],"b":[]}"#, "[]"),
    ],
    eval: |arguments, _| {
        let mut columns: Vec<_> = (0..arguments.len()).map(|at| elements(arguments, at)).collect();
        let length: usize = (0..arguments.len()).map(|at| raw(arguments, at).len()).sum();
        let mut row: Vec<Option<&[u8]>> = Vec::with_capacity(columns.len());
        let mut out = Writer::array(length * 2);
        loop {
            row.clear();
            row.extend(columns.iter_mut().map(Iterator::next));
            if row.iter().all(Option::is_none) {
                return out.end_array();
            }
            out.open(b'[');
            row.iter().try_for_each(|element| out.raw(element.unwrap_or(b"null")))?;
            out.close(b']');
        }
    },
    price: Price::new(1_000, 220),
    ..ARRAYS
};

pub(in crate::functions) const ARRAY_REPEAT: Function = Function {
    name: "array_repeat",
    signature: "array_repeat(value, count)",
    params: &[required("value", Kind::Any), required("count", Kind::Integer)],
    summary: "An array that holds a value `count` times; none for 0 and less.",
    examples: &[
        example("array_repeat('x', 3)", "{}", r#"["x","x","x"]"#),
        example("array_repeat(a, 2)", r#"{"a":[1]}"#, "[[1],[1]]"),
        example("array_repeat(1, -1)", "{}", "[]"),
        missing("array_repeat(1, 5000000)", "{}"),
    ],
    eval: |arguments, _| {
        let value = arguments.first().unwrap_or(&Value::Null);
        let count = usize::try_from(integer(arguments, 1).unwrap_or_default()).unwrap_or(0);
        let mut one = Vec::new();
        value.write(&mut one);
        eval::fits(count.saturating_mul(one.len() + 1))?;
        let mut out = Writer::array(count * (one.len() + 1));
        for _ in 0..count {
            if one.is_empty() {
                out.value(value)?;
            }
            out.raw(&one)?;
        }
        out.end_array()
    },
    ..ARRAYS
};

/// An integer with which there is no exact arithmetic.
pub(in crate::functions) fn beyond(function: &str, number: Num) -> Fault {
    let message =
        format!("`{function}` takes integers from -2^63 to 2^63 - 1, not {}", number.text());
    Fault::new("domain", message)
}

/// Units of work for each number of a sequence.
const NUMBER: u64 = 200;

pub(in crate::functions) const SEQUENCE: Function = Function {
    name: "sequence",
    signature: "sequence(start, stop[, step])",
    params: &[
        required("start", Kind::Integer),
        required("stop", Kind::Integer),
        optional("step", Kind::Integer),
    ],
    summary: "The integers from `start` to `stop`, both included, `step` apart: 1, or -1 when `stop` \
              is below `start`. Empty when the step leads away; a step of 0 is an error.",
    examples: &[
        example("sequence(1, 5)", "{}", "[1,2,3,4,5]"),
        example("sequence(10, 0, -4)", "{}", "[10,6,2]"),
        example("sequence(3, 1)", "{}", "[3,2,1]"),
        example("sequence(1, 3, -1)", "{}", "[]"),
        missing("sequence(1, 3, a)", r#"{"a":0}"#),
    ],
    eval: |arguments, site| {
        let bound = |index: usize| match arguments.get(index) {
            Some(Value::Number(number)) => match i64::try_from(number.num.saturated()) {
                Ok(value) => Ok(Some(i128::from(value))),
                Err(_) => Err(beyond("sequence", number.num)),
            },
            _ => Ok(None),
        };
        let (Some(start), Some(stop)) = (bound(0)?, bound(1)?) else { return Ok(Value::Missing) };
        let default = if stop < start { -1 } else { 1 };
        let step = bound(2)?.unwrap_or(default);
        if step == 0 {
            return Err(Fault::new("domain", "`sequence` takes a step other than 0"));
        }
        // Two bytes each at least: too many are refused before the first is written.
        let count = usize::try_from((stop - start) / step + 1).unwrap_or(0);
        let leads_away = (stop - start).signum() == -step.signum();
        let count = if leads_away { 0 } else { count };
        eval::fits(count.saturating_mul(2))?;
        site.pay((count as u64).saturating_mul(NUMBER))?;
        let mut out = Writer::array(count * 2);
        let mut next = start;
        for _ in 0..count {
            out.value(&exact(next, || "the sequence".to_owned())?)?;
            next += step;
        }
        out.end_array()
    },
    ..ARRAYS
};

pub(in crate::functions) const ARRAY_SHUFFLE: Function = Function {
    name: "array_shuffle",
    signature: "array_shuffle(array)",
    params: &[required("array", Kind::Array)],
    depends: Depends::Chance,
    summary: "The elements in an order of chance that depends on message, rule and call alone: \
              evaluating a message again gives the same.",
    examples: &[
        example("array_shuffle(a)", r#"{"a":[1,2,3,4]}"#, "[1,2,4,3]"),
        example("array_sort(array_shuffle(a))", r#"{"a":[1,2,3,4]}"#, "[1,2,3,4]"),
        example("array_shuffle(a)", r#"{"a":[7]}"#, "[7]"),
    ],
    eval: |arguments, site| {
        let array = raw(arguments, 0);
        let mut list: Vec<&[u8]> = json::elements(array).collect();
        for last in (1..list.len()).rev() {
            list.swap(last, draw(site, last));
        }
        let mut out = Writer::array(array.len());
        list.into_iter().try_for_each(|element| out.raw(element))?;
        out.end_array()
    },
    ..ARRAYS
};

/// A number of chance from 0 to `most`.
fn draw(site: &Site<'_>, most: usize) -> usize {
    let bits = u128::from(site.random(most as u64));
    usize::try_from((bits * (most as u128 + 1)) >> 64).unwrap_or(0)
}
