//! Functions of angles, which are in radians.

use crate::functions::math::number::{finite, num, numeric, readable, real, unary};
use crate::functions::{Function, Kind, example, missing, required};
use crate::number::Num;
use crate::value::Value;

pub(in crate::functions) const ACOS: Function = unary(
    "acos",
    "acos(n)",
    "The arc cosine of -1 to 1.",
    &[
        example("acos(1)", "{}", "0"),
        example("acos(-1)", "{}", "3.141592653589793"),
        missing("acos(2)", "{}"),
    ],
    |arguments, _| real(arguments, f64::acos, "acos"),
);

/// From here on `acosh(n)` and `asinh(n)` are ln(2n) to the last digit.
const LARGE: f64 = 1e100;

pub(in crate::functions) const ACOSH: Function = unary(
    "acosh",
    "acosh(n)",
    "The inverse hyperbolic cosine of a number from 1 on.",
    &[example("acosh(1)", "{}", "0"), missing("acosh(0.5)", "{}")],
    |arguments, _| {
        // The square of a large number overflows on the way; ln(2n) is the same there.
        let of = |n: f64| if n > LARGE { n.ln() + std::f64::consts::LN_2 } else { n.acosh() };
        real(arguments, of, "acosh")
    },
);

pub(in crate::functions) const ASINH: Function = unary(
    "asinh",
    "asinh(n)",
    "The inverse hyperbolic sine.",
    &[example("asinh(0)", "{}", "0"), example("asinh(1)", "{}", "0.881373587019543")],
    |arguments, _| {
        let of = |n: f64| match n.abs() {
            large if large > LARGE => (large.ln() + std::f64::consts::LN_2).copysign(n),
            _ => n.asinh(),
        };
        real(arguments, of, "asinh")
    },
);

pub(in crate::functions) const ATAN: Function = unary(
    "atan",
    "atan(n)",
    "The arc tangent.",
    &[example("atan(1)", "{}", "0.7853981633974483"), example("atan(0)", "{}", "0")],
    |arguments, _| real(arguments, f64::atan, "atan"),
);

pub(in crate::functions) const ATAN2: Function = Function {
    params: &[required("y", Kind::Number), required("x", Kind::Number)],
    ..numeric(
        "atan2",
        "atan2(y, x)",
        "The angle of the point (x, y), from -π to π.",
        &[
            example("atan2(1, 1)", "{}", "0.7853981633974483"),
            example("degrees(atan2(0, -1))", "{}", "180"),
            example("atan2(y, x)", r#"{"x":null,"y":1}"#, "null"),
        ],
        |arguments, _| {
            let (y, x) = (readable(arguments, "atan2")?, num(arguments, 1));
            finite(y.as_f64().atan2(x.as_f64()), || "atan2".to_owned())
        },
    )
};

pub(in crate::functions) const ATANH: Function = unary(
    "atanh",
    "atanh(n)",
    "The inverse hyperbolic tangent of a number between -1 and 1.",
    &[example("atanh(0)", "{}", "0"), missing("atanh(1)", "{}")],
    |arguments, _| {
        // At -1 and 1 the result is infinite: not defined rather than too large.
        let of = |n: f64| if n.abs() < 1.0 { n.atanh() } else { f64::NAN };
        real(arguments, of, "atanh")
    },
);

pub(in crate::functions) const COT: Function = unary(
    "cot",
    "cot(n)",
    "The cotangent; that of 0 is not defined.",
    &[example("cot(0.7853981633974483)", "{}", "1.0000000000000002"), missing("cot(0)", "{}")],
    |arguments, _| {
        let of = |n: f64| if n == 0.0 { f64::NAN } else { n.tan().recip() };
        real(arguments, of, "cot")
    },
);

pub(in crate::functions) const DEGREES: Function = unary(
    "degrees",
    "degrees(n)",
    "An angle in degrees, from radians.",
    &[example("degrees(pi())", "{}", "180"), example("degrees(t)", r#"{"t":null}"#, "null")],
    |arguments, _| real(arguments, f64::to_degrees, "degrees"),
);

pub(in crate::functions) const RADIANS: Function = unary(
    "radians",
    "radians(n)",
    "An angle in radians, from degrees.",
    &[example("radians(180)", "{}", "3.141592653589793"), example("sin(radians(90))", "{}", "1")],
    |arguments, _| real(arguments, f64::to_radians, "radians"),
);

pub(in crate::functions) const PI: Function = numeric(
    "pi",
    "pi()",
    "π, 3.141592653589793.",
    &[
        example("pi()", "{}", "3.141592653589793"),
        example("round(pi() * square(r), 2)", r#"{"r":2}"#, "12.57"),
    ],
    |_, _| Ok(Value::number(Num::Float(std::f64::consts::PI))),
);

pub(in crate::functions) const ASIN: Function = unary(
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

pub(in crate::functions) const COS: Function = unary(
    "cos",
    "cos(n)",
    "The cosine.",
    &[example("cos(0)", "{}", "1"), example("cos(a)", r#"{"a":null}"#, "null")],
    |arguments, _| real(arguments, f64::cos, "cos"),
);

pub(in crate::functions) const COSH: Function = unary(
    "cosh",
    "cosh(n)",
    "The hyperbolic cosine.",
    &[example("cosh(0)", "{}", "1"), missing("cosh(1000)", "{}")],
    |arguments, _| real(arguments, f64::cosh, "cosh"),
);

pub(in crate::functions) const SIN: Function = unary(
    "sin",
    "sin(n)",
    "The sine.",
    &[example("sin(0)", "{}", "0"), example("sin(1.5707963267948966)", "{}", "1")],
    |arguments, _| real(arguments, f64::sin, "sin"),
);

pub(in crate::functions) const SINH: Function = unary(
    "sinh",
    "sinh(n)",
    "The hyperbolic sine.",
    &[example("sinh(0)", "{}", "0"), missing("sinh(1000)", "{}")],
    |arguments, _| real(arguments, f64::sinh, "sinh"),
);

pub(in crate::functions) const TAN: Function = unary(
    "tan",
    "tan(n)",
    "The tangent.",
    &[example("tan(0)", "{}", "0"), example("tan(a)", r#"{"a":null}"#, "null")],
    |arguments, _| real(arguments, f64::tan, "tan"),
);

pub(in crate::functions) const TANH: Function = unary(
    "tanh",
    "tanh(n)",
    "The hyperbolic tangent.",
    &[example("tanh(0)", "{}", "0"), example("tanh(1000)", "{}", "1")],
    |arguments, _| real(arguments, f64::tanh, "tanh"),
);
