//! Functions of the bits of integers. An integer is its 64 bits, negative ones in two's complement; a
//! result is unsigned when an argument is above the range of signed ones. Bits of bytes are in `binary`.

use crate::functions::math::number::{bounded, exact, num, numeric, unsigned, whole};
use crate::functions::{Example, Fault, Function, Kind, Param, example, missing, required};
use crate::number::Num;
use crate::value::Value;

const ONE: &[Param] = &[required("n", Kind::Integer)];
const TWO: &[Param] = &[required("n", Kind::Integer), required("m", Kind::Integer)];

/// A function of one or two integers.
const fn bits(
    params: &'static [Param],
    name: &'static str,
    signature: &'static str,
    summary: &'static str,
    examples: &'static [Example],
    eval: crate::functions::Eval,
) -> Function {
    Function { params, family: "bits", ..numeric(name, signature, summary, examples, eval) }
}

/// The bits of an integer argument, and whether only an unsigned integer holds them.
fn pattern(arguments: &[Value<'_>], index: usize, name: &str) -> Result<(u64, bool), Fault> {
    let value = bounded(arguments, index, name)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the bits are meant"
    )]
    Ok((value as u64, value > i64::MAX.into()))
}

fn number(bits: u64, is_unsigned: bool) -> Value<'static> {
    let num = if is_unsigned { unsigned(bits) } else { Num::Int(bits.cast_signed()) };
    Value::number(num)
}

fn combine(
    arguments: &[Value<'_>],
    name: &str,
    of: fn(u64, u64) -> u64,
) -> Result<Value<'static>, Fault> {
    let (a, a_unsigned) = pattern(arguments, 0, name)?;
    let (b, b_unsigned) = pattern(arguments, 1, name)?;
    Ok(number(of(a, b), a_unsigned || b_unsigned))
}

pub(in crate::functions) const BITAND: Function = bits(
    TWO,
    "bitand",
    "bitand(n, m)",
    "The bits that are set in both of two 64-bit integers.",
    &[
        example("bitand(13, 5)", "{}", "5"),
        example("bitand(status, 8) > 0", r#"{"status":12}"#, "true"),
        example("bitand(-1, 255)", "{}", "255"),
        example("bitand(n, -1)", r#"{"n":18446744073709551615}"#, "18446744073709551615"),
        example("bitand(n, 1)", r#"{"n":null}"#, "null"),
        missing("bitand(a, 1)", r#"{"a":1.5}"#),
    ],
    |arguments, _| combine(arguments, "bitand", |a, b| a & b),
);

pub(in crate::functions) const BITOR: Function = bits(
    TWO,
    "bitor",
    "bitor(n, m)",
    "The bits that are set in either of two 64-bit integers.",
    &[
        example("bitor(8, 5)", "{}", "13"),
        example("bitor(shl(high, 8), low)", r#"{"high":1,"low":2}"#, "258"),
    ],
    |arguments, _| combine(arguments, "bitor", |a, b| a | b),
);

pub(in crate::functions) const BITXOR: Function = bits(
    TWO,
    "bitxor",
    "bitxor(n, m)",
    "The bits that are set in one of two 64-bit integers only.",
    &[example("bitxor(13, 5)", "{}", "8"), example("bitxor(-1, 0)", "{}", "-1")],
    |arguments, _| combine(arguments, "bitxor", |a, b| a ^ b),
);

pub(in crate::functions) const BITNOT: Function = bits(
    ONE,
    "bitnot",
    "bitnot(n)",
    "All 64 bits inverted: -n - 1, or what is missing to 18446744073709551615 for integers above \
     9223372036854775807.",
    &[
        example("bitnot(13)", "{}", "-14"),
        example("bitnot(n)", r#"{"n":18446744073709551615}"#, "0"),
    ],
    |arguments, _| pattern(arguments, 0, "bitnot").map(|(bits, kind)| number(!bits, kind)),
);

/// A number and how far to shift it.
const SHIFT: &[Param] = &[required("n", Kind::Integer), required("count", Kind::Integer)];

/// The bits to shift by; beyond 64 all are the same.
fn count(arguments: &[Value<'_>], name: &str) -> Result<u32, Fault> {
    let count = whole(arguments, 1);
    u32::try_from(count.min(64)).map_err(|_| {
        Fault::new("domain", format!("`{name}` shifts by 0 bits or more, not by {count}"))
    })
}

pub(in crate::functions) const SHL: Function = Function {
    aliases: &["bitsl", "shift_left"],
    ..bits(
        SHIFT,
        "shl",
        "shl(n, count)",
        "n shifted left by count bits, that is n * 2^count; a result beyond 64 bits is an error.",
        &[
            example("shl(1, 8)", "{}", "256"),
            example("shl(-1, 4)", "{}", "-16"),
            example("shl(1, 63)", "{}", "9223372036854775808"),
            missing("shl(1, 64)", "{}"),
            missing("shl(1, -1)", "{}"),
        ],
        |arguments, _| {
            let (n, count) = (whole(arguments, 0), count(arguments, "shl")?);
            pattern(arguments, 0, "shl")?;
            // Both together stay below 2^128, but the sign may be lost.
            let shifted = n.checked_shl(count).filter(|shifted| shifted >> count == n);
            match shifted.and_then(Num::from_i128) {
                Some(num) => Ok(Value::number(num)),
                None => {
                    let message = format!("shl({n}, {count}) leaves 64 bits");
                    Err(Fault::new("domain", message))
                }
            }
        },
    )
};

pub(in crate::functions) const SHR: Function = Function {
    aliases: &["bitsr", "shift_right"],
    ..bits(
        SHIFT,
        "shr",
        "shr(n, count)",
        "n shifted right by count bits: n / 2^count, rounded down; the sign stays.",
        &[
            example("shr(256, 8)", "{}", "1"),
            example("shr(-16, 4)", "{}", "-1"),
            example("shr(n, 63)", r#"{"n":18446744073709551615}"#, "1"),
            example("shr(5, 100)", "{}", "0"),
        ],
        |arguments, _| {
            pattern(arguments, 0, "shr")?;
            exact(whole(arguments, 0) >> count(arguments, "shr")?, || "shr".to_owned())
        },
    )
};

pub(in crate::functions) const BIT_COUNT: Function = bits(
    ONE,
    "bit_count",
    "bit_count(n)",
    "How many of the 64 bits of an integer are set.",
    &[
        example("bit_count(13)", "{}", "3"),
        example("bit_count(-1)", "{}", "64"),
        example("bit_count(0)", "{}", "0"),
    ],
    |arguments, _| {
        let (bits, _) = pattern(arguments, 0, "bit_count")?;
        Ok(Value::number(Num::Int(bits.count_ones().into())))
    },
);

pub(in crate::functions) const BIT_TEST: Function = Function {
    result: Kind::Boolean,
    ..bits(
        &[required("n", Kind::Integer), required("bit", Kind::Integer)],
        "bit_test",
        "bit_test(n, bit)",
        "Whether a bit of an integer is set, from bit 0, the lowest, to bit 63.",
        &[
            example("bit_test(alarms, 3)", r#"{"alarms":8}"#, "true"),
            example("bit_test(5, 1)", "{}", "false"),
            example("bit_test(-1, 63)", "{}", "true"),
            missing("bit_test(1, 64)", "{}"),
        ],
        |arguments, _| {
            let (bits, _) = pattern(arguments, 0, "bit_test")?;
            match u32::try_from(whole(arguments, 1)).ok().and_then(|bit| bits.checked_shr(bit)) {
                Some(rest) => Ok(Value::Bool(rest & 1 == 1)),
                None => {
                    let bit = num(arguments, 1).text();
                    Err(Fault::new("domain", format!("there are the bits 0 to 63, not {bit}")))
                }
            }
        },
    )
};
