//! Functions that round: to integers, to digits before or behind the point.

use crate::functions::math::number::{computable, exact, finite, num, numeric, unary, whole};
use crate::functions::text::decimal::Decimal;
use crate::functions::{Fault, Function, Kind, Param, example, missing, optional, required};
use crate::number::Num;
use crate::value::Value;

pub(in crate::functions) const CEIL: Function = Function {
    aliases: &["ceiling"],
    ..unary(
        "ceil",
        "ceil(n)",
        "The least integer that is not less than n.",
        &[
            example("ceil(1.2)", "{}", "2"),
            example("ceil(-1.5)", "{}", "-1"),
            example("ceil(t)", r#"{"t":18446744073709551615}"#, "18446744073709551615"),
            example("ceil(t)", r#"{"t":null}"#, "null"),
        ],
        |arguments, _| match computable(arguments, "ceil")? {
            Num::Float(value) => finite(value.ceil(), || "ceil".to_owned()),
            num => Ok(Value::number(num)),
        },
    )
};

pub(in crate::functions) const FLOOR: Function = unary(
    "floor",
    "floor(n)",
    "The greatest integer that is not greater than n.",
    &[
        example("floor(1.5)", "{}", "1"),
        example("floor(-1.5)", "{}", "-2"),
        example("floor(t)", r#"{"t":9223372036854775807}"#, "9223372036854775807"),
    ],
    |arguments, _| match computable(arguments, "floor")? {
        Num::Float(value) => finite(value.floor(), String::new),
        num => Ok(Value::number(num)),
    },
);

/// A number and to how many digits.
const PARAMS: &[Param] = &[required("n", Kind::Number), optional("digits", Kind::Integer)];

pub(in crate::functions) const ROUND: Function = Function {
    params: PARAMS,
    ..numeric(
        "round",
        "round(n[, digits])",
        "The nearest number with that many digits behind the point, none if left out; halves go \
         away from zero, as the decimal that is written has them. Negative digits round before the \
         point; integers stay exact.",
        &[
            example("round(21.456, 1)", "{}", "21.5"),
            example("round(2.5)", "{}", "3"),
            example("round(-2.5)", "{}", "-3"),
            example("round(1.005, 2)", "{}", "1.01"),
            example("round(1250, -2)", "{}", "1300"),
            example("round(t)", r#"{"t":9223372036854775807}"#, "9223372036854775807"),
            example("round(t, 1)", r#"{"t":null}"#, "null"),
            missing("round(t)", r#"{"t":"warm"}"#),
        ],
        |arguments, _| rounded(arguments, "round", true),
    )
};

pub(in crate::functions) const TRUNC: Function = Function {
    aliases: &["truncate"],
    params: PARAMS,
    ..numeric(
        "trunc",
        "trunc(n[, digits])",
        "The number cut off behind that many digits behind the point, none if left out; negative \
         digits cut before the point.",
        &[
            example("trunc(2.789, 2)", "{}", "2.78"),
            example("trunc(-2.7)", "{}", "-2"),
            example("trunc(1299, -2)", "{}", "1200"),
            example("trunc(0.29, 2)", "{}", "0.29"),
        ],
        |arguments, _| rounded(arguments, "trunc", false),
    )
};

pub(in crate::functions) const SIGN: Function = unary(
    "sign",
    "sign(n)",
    "-1, 0 or 1 for a number below, at or above 0.",
    &[
        example("sign(-7.5)", "{}", "-1"),
        example("sign(0)", "{}", "0"),
        example("sign(t)", r#"{"t":"3"}"#, "1"),
    ],
    |arguments, _| {
        let order = num(arguments, 0).compare(Num::Int(0));
        Ok(Value::number(Num::Int(order as i64)))
    },
);

/// More digits than any number has on either side of the point.
const DIGITS: i128 = 400;

/// The first argument at the digits that the second one names; `half_away` rounds, else it cuts.
fn rounded(arguments: &[Value<'_>], name: &str, half_away: bool) -> Result<Value<'static>, Fault> {
    let digits = if arguments.len() > 1 { whole(arguments, 1) } else { 0 };
    let digits = digits.clamp(-DIGITS, DIGITS);
    let n = computable(arguments, name)?;
    let Some(integer) = n.as_i128() else {
        let value = decimal(n.as_f64(), digits, half_away)?;
        return finite(value, || format!("the rounding of {}", n.text()));
    };
    if digits >= 0 {
        return Ok(Value::number(n));
    }
    // 64 bits have at most 20 digits.
    let unit = u32::try_from(-digits).ok().filter(|digits| *digits <= 20).map(|d| 10_i128.pow(d));
    let Some(unit) = unit else { return Ok(Value::number(Num::Int(0))) };
    let up = half_away && (integer % unit).abs() * 2 >= unit;
    let quotient = integer / unit + if up { integer.signum() } else { 0 };
    exact(quotient * unit, || format!("{name}({integer}, {digits})"))
}

/// Rounds the shortest decimal that stands for the number: 1.005 is that, not the 1.00499… that is
/// stored, and a multiplication by a power of ten adds no error of its own.
fn decimal(value: f64, digits: i128, half_away: bool) -> Result<f64, Fault> {
    let mut decimal = Decimal::new(Num::Float(value))?;
    let keep = decimal.exponent + 1 + i32::try_from(digits).unwrap_or_default();
    decimal.keep(keep, half_away);
    Ok(decimal.magnitude().copysign(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_round_as_they_are_written() {
        for (value, digits, want) in [
            (2.675, 2, 2.68),
            (0.5, 0, 1.0),
            (-0.5, 0, -1.0),
            (0.05, 0, 0.0),
            (0.05, 1, 0.1),
            (9.99, 1, 10.0),
            (1.5e300, 2, 1.5e300),
            (5e-324, 400, 5e-324),
            (1_234.5, -2, 1_200.0),
            (75.5, -2, 100.0),
            (7.5, -2, 0.0),
            (f64::MAX, -308, f64::INFINITY),
        ] {
            assert_eq!(decimal(value, digits, true), Ok(want), "{value} at {digits}");
        }
        assert_eq!(decimal(2.999, 2, false), Ok(2.99));
        assert_eq!(decimal(-0.999, 0, false), Ok(0.0));
    }
}
