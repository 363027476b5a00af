//! Functions that place values in ranges: extremes, clamping, linear maps, buckets of a histogram.

use std::cmp::Ordering;

use crate::expr::Const;
use crate::functions::math::number::{finite, num, numeric, readable, whole};
use crate::functions::{
    Fault, Function, Kind, Nulls, Prepared, Problem, example, missing, required, shown,
};
use crate::number::Num;
use crate::value::Value;

/// What `greatest` and `least` share.
const EXTREME: Function = Function {
    params: &[required("value", Kind::Any)],
    rest: Some(Kind::Any),
    result: Kind::Any,
    nulls: Nulls::Own,
    ..numeric("", "", "", &[], |_, _| Ok(Value::Missing))
};

pub(in crate::functions) const GREATEST: Function = Function {
    name: "greatest",
    signature: "greatest(value, …)",
    summary: "The greatest of any number of values, as `>` has it; NULL and MISSING do not count, \
              and if there is nothing else the result is NULL (MISSING if all are). Values without \
              an order are an error.",
    examples: &[
        example("greatest(t1, t2, t3)", r#"{"t1":20.5,"t2":null,"t3":21.50}"#, "21.50"),
        example("greatest('a', 'b')", "{}", r#""b""#),
        example("greatest(9, '10')", "{}", r#""10""#),
        example("greatest(a, b)", r#"{"a":null}"#, "null"),
        missing("greatest(a, b)", "{}"),
        missing("greatest(1, true)", "{}"),
    ],
    eval: |arguments, _| extreme("greatest", Ordering::Greater, arguments),
    ..EXTREME
};

pub(in crate::functions) const LEAST: Function = Function {
    name: "least",
    signature: "least(value, …)",
    summary: "The least of any number of values, as `<` has it; NULL and MISSING do not count, and \
              if there is nothing else the result is NULL (MISSING if all are). Values without an \
              order are an error.",
    examples: &[
        example("least(t1, t2, t3)", r#"{"t1":20.5,"t3":19}"#, "19"),
        example(
            "least(a, 9223372036854775806)",
            r#"{"a":9223372036854775807}"#,
            "9223372036854775806",
        ),
        example("least(null)", "{}", "null"),
    ],
    eval: |arguments, _| extreme("least", Ordering::Less, arguments),
    ..EXTREME
};

/// The first of the values that are `wanted` against all others.
fn extreme<'a>(name: &str, wanted: Ordering, arguments: &[Value<'a>]) -> Result<Value<'a>, Fault> {
    let mut best: Option<&Value<'a>> = None;
    for value in arguments.iter().filter(|value| !value.is_null()) {
        let Some(other) = best else {
            best = Some(value);
            continue;
        };
        match value.relate(other).order() {
            Some(order) if order == wanted => best = Some(value),
            Some(_) => {}
            None => {
                let message =
                    format!("`{name}`: {} and {} have no order", shown(other), shown(value));
                return Err(Fault::new("wrong_type", message));
            }
        }
    }
    Ok(match best {
        Some(value) => value.clone(),
        None if arguments.contains(&Value::Null) => Value::Null,
        None => Value::Missing,
    })
}

/// A constant number among the arguments.
fn constant(arguments: &[Option<&Const>], index: usize) -> Option<Num> {
    match arguments.get(index) {
        Some(Some(Const::Number(num, _))) => Some(*num),
        _ => None,
    }
}

/// The error for a range whose ends are the same.
const EMPTY: &str = "the range is empty: its ends are equal";

/// Refuses a range of constants, at `low` and behind it, that is empty.
fn refuse_empty(arguments: &[Option<&Const>], low: usize) -> Result<Prepared, Problem> {
    match (constant(arguments, low), constant(arguments, low + 1)) {
        (Some(a), Some(b)) if a.compare(b).is_eq() => {
            Err(Problem { message: EMPTY.into(), expected: "two different ends".into() })
        }
        _ => Ok(Prepared::Nothing),
    }
}

pub(in crate::functions) const CLAMP: Function = Function {
    params: &[
        required("n", Kind::Number),
        required("low", Kind::Number),
        required("high", Kind::Number),
    ],
    prepare: |arguments| match (constant(arguments, 1), constant(arguments, 2)) {
        (Some(low), Some(high)) if low.compare(high).is_gt() => Err(Problem {
            message: format!("the low end {} is above the high end {}", low.text(), high.text()),
            expected: "the low end before the high end".into(),
        }),
        _ => Ok(Prepared::Nothing),
    },
    ..numeric(
        "clamp",
        "clamp(n, low, high)",
        "n held within low and high, both included; a low end above the high end is an error.",
        &[
            example("clamp(t, 0, 100)", r#"{"t":130}"#, "100"),
            example("clamp(t, 0, 100)", r#"{"t":21.50}"#, "21.50"),
            example("clamp(t, -5, 5)", r#"{"t":"-7"}"#, "-5"),
            example("clamp(t, 0, 1)", r#"{"t":null}"#, "null"),
        ],
        |arguments, _| {
            let (n, low, high) = (num(arguments, 0), num(arguments, 1), num(arguments, 2));
            if low.compare(high).is_gt() {
                let message = format!("clamp: {} is above {}", low.text(), high.text());
                return Err(Fault::new("domain", message));
            }
            let nearest = if n.compare(low).is_lt() {
                1
            } else if n.compare(high).is_gt() {
                2
            } else {
                0
            };
            Ok(arguments.get(nearest).cloned().unwrap_or(Value::Missing))
        },
    )
};

pub(in crate::functions) const MAP_RANGE: Function = Function {
    params: &[
        required("n", Kind::Number),
        required("in_low", Kind::Number),
        required("in_high", Kind::Number),
        required("out_low", Kind::Number),
        required("out_high", Kind::Number),
    ],
    prepare: |arguments| refuse_empty(arguments, 1),
    ..numeric(
        "map_range",
        "map_range(n, in_low, in_high, out_low, out_high)",
        "n mapped linearly so that in_low becomes out_low and in_high becomes out_high, for raw \
         values of sensors; n outside the range goes on along the line (clamp() holds it).",
        &[
            example("map_range(raw, 4, 20, 0, 100)", r#"{"raw":12}"#, "50"),
            example("map_range(raw, 0, 1023, 0, 5)", r#"{"raw":1023}"#, "5"),
            example("map_range(raw, 0, 10, 100, 0)", r#"{"raw":12}"#, "-20"),
            missing("map_range(raw, a, a, 0, 1)", r#"{"raw":1,"a":3}"#),
        ],
        |arguments, _| {
            readable(arguments, "map_range")?;
            let at = |index| num(arguments, index).as_f64();
            let (low, high) = (at(1), at(2));
            if low == high {
                return Err(Fault::new("domain", EMPTY));
            }
            // Counted from the nearer end, so that both ends are met exactly.
            let (from, to) = if (at(0) - low).abs() <= (at(0) - high).abs() {
                (low, at(3))
            } else {
                (high, at(4))
            };
            let value = to + (at(0) - from) * (at(4) - at(3)) / (high - low);
            finite(value, || "the result of map_range".to_owned())
        },
    )
};

pub(in crate::functions) const WIDTH_BUCKET: Function = Function {
    params: &[
        required("n", Kind::Number),
        required("low", Kind::Number),
        required("high", Kind::Number),
        required("count", Kind::Integer),
    ],
    prepare: |arguments| match constant(arguments, 3) {
        Some(count) if count.compare(Num::Int(1)).is_lt() => Err(Problem {
            message: format!("{} is no number of buckets", count.text()),
            expected: "an integer from 1 on".into(),
        }),
        _ => refuse_empty(arguments, 1),
    },
    ..numeric(
        "width_bucket",
        "width_bucket(n, low, high, count)",
        "Which of count buckets of equal width between low (included) and high (not) n falls into, \
         from 1; 0 is below and count + 1 from high on. The ends may be the other way round.",
        &[
            example("width_bucket(5.35, 0, 10, 5)", "{}", "3"),
            example("width_bucket(t, 0, 100, 10)", r#"{"t":-1}"#, "0"),
            example("width_bucket(t, 0, 100, 10)", r#"{"t":100}"#, "11"),
            example("width_bucket(t, 100, 0, 10)", r#"{"t":100}"#, "1"),
        ],
        |arguments, _| {
            let n = readable(arguments, "width_bucket")?;
            let (low, high) = (num(arguments, 1), num(arguments, 2));
            let count = i64::try_from(whole(arguments, 3)).ok().filter(|count| *count > 0);
            let Some(count) = count else {
                let message =
                    format!("width_bucket: {} is no number of buckets", whole(arguments, 3));
                return Err(Fault::new("domain", message));
            };
            let (before, after) = match low.compare(high) {
                Ordering::Less => (n.compare(low).is_lt(), n.compare(high).is_ge()),
                Ordering::Greater => (n.compare(low).is_gt(), n.compare(high).is_le()),
                Ordering::Equal => return Err(Fault::new("domain", EMPTY)),
            };
            let bucket = if before {
                0
            } else if after {
                count.saturating_add(1)
            } else {
                let share = (n.as_f64() - low.as_f64()) / (high.as_f64() - low.as_f64());
                // Within the range the share is below 1, but the product may round up to the count.
                let at = Num::Float(share * Num::Int(count).as_f64()).truncate();
                at.min(count - 1) + 1
            };
            Ok(Value::number(Num::Int(bucket)))
        },
    )
};
