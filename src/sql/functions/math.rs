//! Functions of numbers. Angles are in radians; a result that is no finite number is an error.

use super::{Example, Fault, Function, Kind, NO_PREPARE, Nulls, Param, Site};
use super::{example, missing, optional, required};
use crate::sql::eval::calculate;
use crate::sql::expr::Arithmetic;
use crate::sql::number::Num;
use crate::sql::value::Value;

/// A function of one number.
const fn unary(
    name: &'static str,
    signature: &'static str,
    summary: &'static str,
    examples: &'static [Example],
    eval: super::Eval,
) -> Function {
    const PARAMS: &[Param] = &[required("n", Kind::Number)];
    Function { params: PARAMS, ..numeric(name, signature, summary, examples, eval) }
}

/// A function of two numbers.
const fn binary(
    name: &'static str,
    signature: &'static str,
    summary: &'static str,
    examples: &'static [Example],
    eval: super::Eval,
) -> Function {
    const PARAMS: &[Param] = &[required("n", Kind::Number), required("m", Kind::Number)];
    Function { params: PARAMS, ..numeric(name, signature, summary, examples, eval) }
}

const fn numeric(
    name: &'static str,
    signature: &'static str,
    summary: &'static str,
    examples: &'static [Example],
    eval: super::Eval,
) -> Function {
    Function {
        name,
        aliases: &[],
        family: "math",
        signature,
        params: &[],
        rest: None,
        result: Kind::Number,
        nulls: Nulls::Propagate,
        reads: &[],
        spreads: false,
        summary,
        examples,
        prepare: NO_PREPARE,
        eval,
    }
}

/// The number of an argument that was coerced to one.
fn num(arguments: &[Value<'_>], index: usize) -> Num {
    arguments.get(index).and_then(Value::as_num).unwrap_or(Num::Int(0))
}

fn real(arguments: &[Value<'_>], of: fn(f64) -> f64, name: &str) -> Result<Value<'static>, Fault> {
    let n = num(arguments, 0);
    finite(of(n.as_f64()), || format!("{name}({})", n.text()))
}

fn finite(value: f64, call: impl FnOnce() -> String) -> Result<Value<'static>, Fault> {
    match Num::from_f64(value) {
        Some(num) => Ok(Value::number(num)),
        None if value.is_nan() => Err(Fault::new("domain", format!("{} is not defined", call()))),
        None => Err(Fault::new("not_finite", format!("{} is too large", call()))),
    }
}

pub(super) const ABS: Function = unary(
    "abs",
    "abs(n)",
    "The absolute value.",
    &[
        example("abs(-5)", "{}", "5"),
        example("abs(t)", r#"{"t":-2.5}"#, "2.5"),
        example("abs(t)", r#"{"t":"-3"}"#, "3"),
        example("abs(t)", r#"{"t":-9223372036854775808}"#, "9.223372036854776e18"),
        example("abs(t)", r#"{"t":null}"#, "null"),
        missing("abs(t)", "{}"),
        missing("abs(t)", r#"{"t":"warm"}"#),
    ],
    |arguments, _| match num(arguments, 0) {
        Num::Float(value) => finite(value.abs(), || "abs".to_owned()),
        num => Ok(Value::number(Num::from_i128(num.as_i128().unwrap_or_default().abs()))),
    },
);

pub(super) const ASIN: Function = unary(
    "asin",
    "asin(n)",
    "The arc sine of -1 to 1.",
    &[
        example("asin(0)", "{}", "0"),
        example("asin(1)", "{}", "1.5707963267948966"),
        missing("asin(2)", "{}"),
    ],
    |arguments, _| real(arguments, f64::asin, "asin"),
);

pub(super) const COS: Function =
    unary("cos", "cos(n)", "The cosine.", &[example("cos(0)", "{}", "1")], |arguments, _| {
        real(arguments, f64::cos, "cos")
    });

pub(super) const COSH: Function = unary(
    "cosh",
    "cosh(n)",
    "The hyperbolic cosine.",
    &[example("cosh(0)", "{}", "1"), missing("cosh(1000)", "{}")],
    |arguments, _| real(arguments, f64::cosh, "cosh"),
);

pub(super) const EXP: Function = unary(
    "exp",
    "exp(n)",
    "e to the power of n.",
    &[
        example("exp(0)", "{}", "1"),
        example("exp(1)", "{}", "2.718281828459045"),
        missing("exp(1000)", "{}"),
    ],
    |arguments, _| real(arguments, f64::exp, "exp"),
);

pub(super) const FLOOR: Function = unary(
    "floor",
    "floor(n)",
    "The greatest integer that is not greater than n.",
    &[
        example("floor(1.5)", "{}", "1"),
        example("floor(-1.5)", "{}", "-2"),
        example("floor(t)", r#"{"t":9223372036854775807}"#, "9223372036854775807"),
    ],
    |arguments, _| match num(arguments, 0) {
        Num::Float(value) => finite(value.floor(), String::new),
        num => Ok(Value::number(num)),
    },
);

pub(super) const LOG: Function = Function {
    params: &[required("n", Kind::Number), optional("m", Kind::Number)],
    ..numeric(
        "log",
        "log(n[, m])",
        "The natural logarithm of n, or that to base m.",
        &[
            example("log(1)", "{}", "0"),
            example("log(8, 2)", "{}", "3"),
            example("log(1000, 10)", "{}", "3"),
            missing("log(0)", "{}"),
            missing("log(-1)", "{}"),
            missing("log(2, 1)", "{}"),
        ],
        |arguments, _| {
            let n = num(arguments, 0);
            let value = match arguments.len() {
                1 => n.as_f64().ln(),
                // The two common bases are exact where `ln(n) / ln(m)` is not.
                _ => match num(arguments, 1).as_f64() {
                    2.0 => n.as_f64().log2(),
                    10.0 => n.as_f64().log10(),
                    m => n.as_f64().ln() / m.ln(),
                },
            };
            if n.as_f64() <= 0.0 || !value.is_finite() {
                let message = format!("the logarithm of {} is not defined", n.text());
                return Err(Fault::new("domain", message));
            }
            finite(value, String::new)
        },
    )
};

pub(super) const MOD: Function = binary(
    "mod",
    "mod(n, m)",
    "The remainder of n / m, with the sign of n: the same as n % m.",
    &[
        example("mod(20, 6)", "{}", "2"),
        example("mod(-7, 3)", "{}", "-1"),
        example("mod(5.5, 2)", "{}", "1.5"),
        missing("mod(1, 0)", "{}"),
    ],
    |arguments, _| {
        calculate(Arithmetic::Modulo, num(arguments, 0), num(arguments, 1)).map(Value::number)
    },
);

pub(super) const POWER: Function = binary(
    "power",
    "power(n, m)",
    "n to the power of m.",
    &[
        example("power(2, 10)", "{}", "1024"),
        example("power(2, 62)", "{}", "4611686018427387904"),
        example("power(2, -1)", "{}", "0.5"),
        missing("power(-8, 0.5)", "{}"),
        missing("power(10, 1000)", "{}"),
    ],
    |arguments, _| {
        let (n, m) = (num(arguments, 0), num(arguments, 1));
        let exact = match (n, m) {
            (Num::Int(n), Num::Int(m)) => u32::try_from(m).ok().and_then(|m| n.checked_pow(m)),
            _ => None,
        };
        match exact {
            Some(value) => Ok(Value::number(Num::Int(value))),
            None => {
                finite(n.as_f64().powf(m.as_f64()), || format!("power({}, {})", n.text(), m.text()))
            }
        }
    },
);

pub(super) const SIN: Function = unary(
    "sin",
    "sin(n)",
    "The sine.",
    &[example("sin(0)", "{}", "0"), example("sin(1.5707963267948966)", "{}", "1")],
    |arguments, _: &Site<'_>| real(arguments, f64::sin, "sin"),
);

pub(super) const SINH: Function = unary(
    "sinh",
    "sinh(n)",
    "The hyperbolic sine.",
    &[example("sinh(0)", "{}", "0"), missing("sinh(1000)", "{}")],
    |arguments, _| real(arguments, f64::sinh, "sinh"),
);

pub(super) const TAN: Function =
    unary("tan", "tan(n)", "The tangent.", &[example("tan(0)", "{}", "0")], |arguments, _| {
        real(arguments, f64::tan, "tan")
    });

pub(super) const TANH: Function = unary(
    "tanh",
    "tanh(n)",
    "The hyperbolic tangent.",
    &[example("tanh(0)", "{}", "0"), example("tanh(1000)", "{}", "1")],
    |arguments, _| real(arguments, f64::tanh, "tanh"),
);
