//! Functions of numbers: powers, logarithms, remainders, and what the other families of numbers share.
//! A result that is no finite number is an error. Rounding, angles and ranges have files of their own.

use crate::eval::{calculate, overflow};
use crate::expr::Arithmetic;
use crate::functions::{Depends, Example, Fault, Function, Kind, NO_PREPARE, Nulls, Param};
use crate::functions::{example, missing, optional, required};
use crate::number::Num;
use crate::value::Value;
use crate::work::Price;

/// A function of one number, `n`.
pub(in crate::functions) const fn unary(
    name: &'static str,
    signature: &'static str,
    summary: &'static str,
    examples: &'static [Example],
    eval: crate::functions::Eval,
) -> Function {
    const PARAMS: &[Param] = &[required("n", Kind::Number)];
    Function { params: PARAMS, ..numeric(name, signature, summary, examples, eval) }
}

/// A function of two numbers, `n` and `m`.
pub(in crate::functions) const fn binary(
    name: &'static str,
    signature: &'static str,
    summary: &'static str,
    examples: &'static [Example],
    eval: crate::functions::Eval,
) -> Function {
    const PARAMS: &[Param] = &[required("n", Kind::Number), required("m", Kind::Number)];
    Function { params: PARAMS, ..numeric(name, signature, summary, examples, eval) }
}

/// A function whose result is a number; it has no arguments yet.
pub(in crate::functions) const fn numeric(
    name: &'static str,
    signature: &'static str,
    summary: &'static str,
    examples: &'static [Example],
    eval: crate::functions::Eval,
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
        price: Price::new(500, 30),
        reads: &[],
        spreads: false,
        depends: Depends::Arguments,
        summary,
        examples,
        prepare: NO_PREPARE,
        eval,
    }
}

/// The number of an argument that was coerced to one.
pub(in crate::functions) fn num(arguments: &[Value<'_>], index: usize) -> Num {
    arguments.get(index).and_then(Value::as_num).unwrap_or(Num::Int(0))
}

/// A function of reals on the first argument.
pub(in crate::functions) fn real(
    arguments: &[Value<'_>],
    of: fn(f64) -> f64,
    name: &str,
) -> Result<Value<'static>, Fault> {
    let n = readable(arguments, name)?;
    finite(of(n.as_f64()), || format!("{name}({})", n.text()))
}

/// The first argument, of functions whose result is exact for integers. Integers beyond 64 bits are
/// refused, and so is what [`readable`] refuses.
pub(in crate::functions) fn computable(arguments: &[Value<'_>], name: &str) -> Result<Num, Fault> {
    match arguments.iter().find(|value| value.is_huge()) {
        None => readable(arguments, name),
        Some(huge) => Err(overflow(&huge.as_text().unwrap_or_default())),
    }
}

/// The first argument. Any that is beyond f64 is refused: it was read (`1e999`), but nothing can be
/// computed from it.
pub(in crate::functions) fn readable(arguments: &[Value<'_>], name: &str) -> Result<Num, Fault> {
    if (0..arguments.len()).all(|index| num(arguments, index).as_f64().is_finite()) {
        return Ok(num(arguments, 0));
    }
    Err(Fault::new("not_finite", format!("`{name}` takes numbers up to 1.8e308")))
}

/// A computed number, or the error that there is none.
pub(in crate::functions) fn finite(
    value: f64,
    call: impl FnOnce() -> String,
) -> Result<Value<'static>, Fault> {
    match Num::from_f64(value) {
        Some(num) => Ok(Value::number(num)),
        None if value.is_nan() => Err(Fault::new("domain", format!("{} is not defined", call()))),
        None => Err(Fault::new("not_finite", format!("{} is too large", call()))),
    }
}

pub(in crate::functions) const ABS: Function = unary(
    "abs",
    "abs(n)",
    "The absolute value.",
    &[
        example("abs(-5)", "{}", "5"),
        example("abs(t)", r#"{"t":-2.5}"#, "2.5"),
        example("abs(t)", r#"{"t":"-3"}"#, "3"),
        example("abs(t)", r#"{"t":-9223372036854775808}"#, "9223372036854775808"),
        example("abs(t)", r#"{"t":null}"#, "null"),
        missing("abs(t)", "{}"),
        missing("abs(t)", r#"{"t":"warm"}"#),
    ],
    |arguments, _| match computable(arguments, "abs")? {
        Num::Float(value) => finite(value.abs(), || "abs".to_owned()),
        num => exact(num.as_i128().unwrap_or_default().abs(), || format!("abs({})", num.text())),
    },
);

pub(in crate::functions) const EXP: Function = unary(
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

pub(in crate::functions) const LOG: Function = Function {
    params: &[required("n", Kind::Number), optional("m", Kind::Number)],
    ..numeric(
        "log",
        "log(n[, m])",
        "The natural logarithm of n, or that to base m. Both have to be above 0, and m is not 1. \
         (`log(n)` of AWS and eKuiper is log10() here.)",
        &[
            example("log(1)", "{}", "0"),
            example("log(8, 2)", "{}", "3"),
            example("log(1000, 10)", "{}", "3"),
            example("log(125, 5)", "{}", "3"),
            missing("log(0)", "{}"),
            missing("log(-1)", "{}"),
            missing("log(2, 1)", "{}"),
        ],
        |arguments, _| {
            if arguments.len() == 1 {
                return logarithm(arguments, f64::ln, "log");
            }
            let (n, m) = (readable(arguments, "log")?, num(arguments, 1));
            let value = match (n.as_f64(), m.as_f64()) {
                (n, m) if n <= 0.0 || m <= 0.0 || m == 1.0 => f64::NAN,
                (n, 2.0) => n.log2(),
                (n, 10.0) => n.log10(),
                (n, m) => {
                    // The quotient is off by a digit where the power is an integer.
                    let (value, whole) = (n.ln() / m.ln(), (n.ln() / m.ln()).round());
                    if m.powf(whole) == n { whole } else { value }
                }
            };
            finite(value, || format!("log({}, {})", n.text(), m.text()))
        },
    )
};

pub(in crate::functions) const MOD: Function = Function {
    aliases: &["remainder", "fmod"],
    ..binary(
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
            let n = computable(arguments, "mod")?;
            calculate(Arithmetic::Modulo, n, num(arguments, 1)).map(Value::number)
        },
    )
};

pub(in crate::functions) const POWER: Function = Function {
    aliases: &["pow"],
    ..binary(
        "power",
        "power(n, m)",
        "n to the power of m: of integers exact, and an error beyond 64 bits, unless m is negative.",
        &[
            example("power(2, 10)", "{}", "1024"),
            example("power(2, 62)", "{}", "4611686018427387904"),
            example("power(2, -1)", "{}", "0.5"),
            missing("power(-8, 0.5)", "{}"),
            missing("power(2, 64)", "{}"),
            example("power(-1, 4294967297)", "{}", "-1"),
            example("power(2.0, 64)", "{}", "1.8446744073709552e19"),
            missing("power(10.0, 1000)", "{}"),
        ],
        |arguments, _| {
            let (n, m) = (computable(arguments, "power")?, num(arguments, 1));
            let call = || format!("power({}, {})", n.text(), m.text());
            match (n.as_i128(), m.as_i128()) {
                (Some(n), Some(m)) if m >= 0 => {
                    // Of 1, 0 and -1 only whether the power is even counts.
                    let m = if n.abs() <= 1 && m > 2 { m % 2 + 2 } else { m };
                    let power = u32::try_from(m).ok().and_then(|m| n.checked_pow(m));
                    exact(power.unwrap_or(i128::MAX), call)
                }
                _ => finite(n.as_f64().powf(m.as_f64()), call),
            }
        },
    )
};

/// A logarithm of the first argument.
fn logarithm(
    arguments: &[Value<'_>],
    of: fn(f64) -> f64,
    name: &str,
) -> Result<Value<'static>, Fault> {
    let n = readable(arguments, name)?;
    if n.as_f64() <= 0.0 {
        let message = format!("the logarithm of {} is not defined", n.text());
        return Err(Fault::new("domain", message));
    }
    finite(of(n.as_f64()), || format!("the logarithm of {}", n.text()))
}

pub(in crate::functions) const LN: Function = unary(
    "ln",
    "ln(n)",
    "The natural logarithm of n, which has to be above 0.",
    &[
        example("ln(1)", "{}", "0"),
        example("ln(10)", "{}", "2.302585092994046"),
        missing("ln(0)", "{}"),
        example("ln(t)", r#"{"t":null}"#, "null"),
    ],
    |arguments, _| logarithm(arguments, f64::ln, "ln"),
);

pub(in crate::functions) const LOG10: Function = unary(
    "log10",
    "log10(n)",
    "The logarithm of n to base 10; n has to be above 0.",
    &[
        example("log10(1000)", "{}", "3"),
        example("log10(0.01)", "{}", "-2"),
        missing("log10(-1)", "{}"),
    ],
    |arguments, _| logarithm(arguments, f64::log10, "log10"),
);

pub(in crate::functions) const LOG2: Function = unary(
    "log2",
    "log2(n)",
    "The logarithm of n to base 2; n has to be above 0.",
    &[example("log2(8)", "{}", "3"), example("log2(0.5)", "{}", "-1"), missing("log2(0)", "{}")],
    |arguments, _| logarithm(arguments, f64::log2, "log2"),
);

pub(in crate::functions) const E: Function = numeric(
    "e",
    "e()",
    "Euler's number, 2.718281828459045.",
    &[example("e()", "{}", "2.718281828459045"), example("ln(e())", "{}", "1")],
    |_, _| Ok(Value::number(Num::Float(std::f64::consts::E))),
);

pub(in crate::functions) const SQRT: Function = unary(
    "sqrt",
    "sqrt(n)",
    "The square root of n, which must not be below 0.",
    &[
        example("sqrt(16)", "{}", "4"),
        example("sqrt(a * a + b * b)", r#"{"a":3,"b":"4"}"#, "5"),
        missing("sqrt(-1)", "{}"),
    ],
    |arguments, _| real(arguments, f64::sqrt, "sqrt"),
);

pub(in crate::functions) const CBRT: Function = unary(
    "cbrt",
    "cbrt(n)",
    "The cube root of n; that of a negative number is negative.",
    &[example("cbrt(27)", "{}", "3"), example("cbrt(-8)", "{}", "-2")],
    |arguments, _| real(arguments, f64::cbrt, "cbrt"),
);

pub(in crate::functions) const SQUARE: Function = unary(
    "square",
    "square(n)",
    "n times n: exact for integers, and an error beyond 64 bits.",
    &[
        example("square(-12)", "{}", "144"),
        example("square(t)", r#"{"t":3037000499}"#, "9223372030926249001"),
        example("square(t)", r#"{"t":1.5}"#, "2.25"),
        missing("square(t)", r#"{"t":1e300}"#),
    ],
    |arguments, _| {
        let n = computable(arguments, "square")?;
        calculate(Arithmetic::Multiply, n, n).map(Value::number)
    },
);

pub(in crate::functions) const HYPOT: Function = binary(
    "hypot",
    "hypot(n, m)",
    "The length of the hypotenuse, √(n² + m²), without overflow on the way.",
    &[example("hypot(3, 4)", "{}", "5"), example("hypot(x, y)", r#"{"x":0,"y":-4e200}"#, "4e200")],
    |arguments, _| {
        let (n, m) = (readable(arguments, "hypot")?, num(arguments, 1));
        finite(n.as_f64().hypot(m.as_f64()), || format!("hypot({}, {})", n.text(), m.text()))
    },
);

/// The integer of an argument that was coerced to one; far beyond 64 bits it is held within i128.
pub(in crate::functions) fn whole(arguments: &[Value<'_>], index: usize) -> i128 {
    let num = num(arguments, index);
    #[expect(clippy::cast_possible_truncation, reason = "an integer; saturates")]
    num.as_i128().unwrap_or_else(|| num.as_f64() as i128)
}

/// An integer argument, refused beyond 64 bits.
pub(in crate::functions) fn bounded(
    arguments: &[Value<'_>],
    index: usize,
    name: &str,
) -> Result<i128, Fault> {
    let value = whole(arguments, index);
    if Num::from_i128(value).is_some() {
        return Ok(value);
    }
    let n = num(arguments, index).text();
    Err(Fault::new("domain", format!("`{name}` takes integers of 64 bits, not {n}")))
}

/// A computed integer, or the error that 64 bits do not hold it.
pub(in crate::functions) fn exact(
    value: i128,
    call: impl FnOnce() -> String,
) -> Result<Value<'static>, Fault> {
    Num::from_i128(value).map(Value::number).ok_or_else(|| overflow(&call()))
}

/// An unsigned integer.
pub(in crate::functions) fn unsigned(value: u64) -> Num {
    i64::try_from(value).map_or(Num::UInt(value), Num::Int)
}

/// Two integers, for `gcd` and `lcm`.
const INTEGERS: &[Param] = &[required("n", Kind::Integer), required("m", Kind::Integer)];

/// Euclid's algorithm on magnitudes.
fn divisor(n: i128, m: i128) -> u128 {
    let (mut a, mut b) = (n.unsigned_abs(), m.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

pub(in crate::functions) const GCD: Function = Function {
    params: INTEGERS,
    ..numeric(
        "gcd",
        "gcd(n, m)",
        "The greatest common divisor of two integers; that of 0 and 0 is 0.",
        &[
            example("gcd(12, 18)", "{}", "6"),
            example("gcd(-4, 6)", "{}", "2"),
            example("gcd(0, 5)", "{}", "5"),
            missing("gcd(a, 3)", r#"{"a":1.5}"#),
        ],
        |arguments, _| {
            let divisor = divisor(bounded(arguments, 0, "gcd")?, bounded(arguments, 1, "gcd")?);
            let call = || "gcd".to_owned();
            exact(i128::try_from(divisor).unwrap_or(i128::MAX), call)
        },
    )
};

pub(in crate::functions) const LCM: Function = Function {
    params: INTEGERS,
    ..numeric(
        "lcm",
        "lcm(n, m)",
        "The least common multiple of two integers; with a 0 it is 0. Beyond 64 bits it is an error.",
        &[
            example("lcm(4, 6)", "{}", "12"),
            example("lcm(0, 5)", "{}", "0"),
            example("lcm(-3, 7)", "{}", "21"),
        ],
        |arguments, _| {
            let (n, m) = (bounded(arguments, 0, "lcm")?, bounded(arguments, 1, "lcm")?);
            let divisor = i128::try_from(divisor(n, m)).unwrap_or(i128::MAX);
            if divisor == 0 {
                return Ok(Value::number(Num::Int(0)));
            }
            exact((n / divisor).saturating_mul(m).saturating_abs(), || format!("lcm({n}, {m})"))
        },
    )
};
