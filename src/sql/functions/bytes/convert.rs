//! Functions that convert: casts, text of numbers in other bases. Text of bytes is in `codec`.

use std::borrow::Cow;

use crate::expr::Const;
use crate::functions::bytes::codec::text;
use crate::functions::math::number::{bounded, exact, whole};
use crate::functions::{
    Depends, Fault, Function, Kind, NO_PREPARE, Nulls, Param, Prepared, Problem, example, missing,
    required, shown,
};
use crate::number::Num;
use crate::value::{Number, Value};
use crate::work::Price;

/// What all functions here share.
const CONVERT: Function = Function {
    name: "",
    aliases: &[],
    family: "conversion",
    signature: "",
    price: Price::new(500, 60),
    params: &[required("value", Kind::Any)],
    rest: None,
    result: Kind::Any,
    nulls: Nulls::Propagate,
    reads: &[],
    spreads: false,
    depends: Depends::Arguments,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

/// What a value is cast to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    String,
    Number,
    Integer,
    Boolean,
    Bytes,
}

/// The names of [`Target`] that are told.
const TARGETS: &str = "'string', 'number', 'integer', 'boolean' or 'bytes'";

impl Target {
    fn named(name: &str) -> Option<Self> {
        const NAMES: &[(Target, &[&str])] = &[
            (Target::String, &["string", "text", "varchar", "char"]),
            (Target::Number, &["number", "decimal", "numeric", "double", "float", "real"]),
            (Target::Integer, &["integer", "int", "bigint", "smallint", "tinyint"]),
            (Target::Boolean, &["boolean", "bool"]),
            (Target::Bytes, &["bytes", "binary", "bytea"]),
        ];
        let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        NAMES.iter().find(|(_, names)| is(names)).map(|(target, _)| *target)
    }

    /// A value that is neither NULL nor MISSING as what the target is, where it can be.
    fn attempt<'a>(self, value: &Value<'a>) -> Option<Value<'a>> {
        match self {
            Self::String => string(value),
            Self::Number => number(value),
            Self::Integer => number(value).and_then(|number| integer(&number)),
            Self::Boolean => boolean(value).map(Value::Bool),
            Self::Bytes => match value {
                Value::Binary(bytes) => Some(Value::Binary(bytes.clone())),
                Value::String(Cow::Borrowed(text)) => {
                    Some(Value::Binary(Cow::Borrowed(text.as_bytes())))
                }
                other => other
                    .as_text()
                    .map(|text| Value::Binary(Cow::Owned(text.into_owned().into_bytes()))),
            },
        }
    }

    /// The same, or why it cannot be.
    fn convert<'a>(self, value: &Value<'a>) -> Result<Value<'a>, Fault> {
        self.attempt(value).ok_or_else(|| {
            let what = match self {
                Self::String => "text",
                Self::Number => "a number",
                Self::Integer => "an integer of 64 bits",
                Self::Boolean => "a boolean",
                Self::Bytes => "bytes",
            };
            Fault::new("cast", format!("{} does not read as {what}", shown(value)))
        })
    }
}

fn string<'a>(value: &Value<'a>) -> Option<Value<'a>> {
    match value {
        Value::Json(text) => Some(Value::String(text.clone())),
        other => match other.to_text() {
            Value::Missing => None,
            text => Some(text),
        },
    }
}

fn number<'a>(value: &Value<'a>) -> Option<Value<'a>> {
    match value {
        Value::Number(number) => Some(Value::Number(*number)),
        Value::Bool(value) => Some(Value::number(Num::Int((*value).into()))),
        // The digits stay as they are written.
        Value::String(Cow::Borrowed(text)) => {
            let text = text.trim_ascii();
            match Num::parse(text.as_bytes()) {
                Some(num) => Some(Value::Number(Number { num, text: Some(text) })),
                None => loose(text).map(Value::number),
            }
        }
        // Computed text is gone with its digits.
        Value::String(_) if value.is_huge() => None,
        Value::String(text) => {
            let text = text.trim_ascii();
            Num::parse(text.as_bytes()).or_else(|| loose(text)).map(Value::number)
        }
        _ => None,
    }
}

/// Numbers that JSON does not know: `+5`, `007`, `.5`, `5.`.
fn loose(text: &str) -> Option<Num> {
    let is_part = |byte: u8| byte.is_ascii_digit() || b".eE+-".contains(&byte);
    if !text.bytes().all(is_part) {
        return None;
    }
    if let Ok(value) = text.parse::<i64>() {
        return Some(Num::Int(value));
    }
    if let Ok(value) = text.parse::<u64>() {
        return Some(Num::UInt(value));
    }
    let integer = text.trim_start_matches(['+', '-']).bytes().all(|byte| byte.is_ascii_digit());
    if integer { None } else { Num::from_f64(text.parse().ok()?) }
}

/// A number without its fraction; `None` beyond i64 and u64.
fn integer(value: &Value<'_>) -> Option<Value<'static>> {
    let Value::Number(Number { num, text }) = value else { return None };
    let Num::Float(float) = num else { return Some(Value::number(*num)) };
    // What is written without an exponent has all digits before the point.
    if let Some(text) = text.filter(|text| !text.contains(['e', 'E'])) {
        let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
        return Num::from_i128(whole.parse().ok()?).map(Value::number);
    }
    // Any f64 in the range of 64 bits fits i128, and others saturate far outside.
    #[expect(clippy::cast_possible_truncation, reason = "the fraction is cut off")]
    let whole = float.trunc() as i128;
    Num::from_i128(whole).filter(|_| !float.is_nan()).map(Value::number)
}

fn boolean(value: &Value<'_>) -> Option<bool> {
    const WORDS: [&[&str]; 2] =
        [&["false", "f", "no", "n", "off", "0"], &["true", "t", "yes", "y", "on", "1"]];
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(number) => Some(number.num.as_f64() != 0.0),
        Value::String(text) => {
            let text = text.trim_ascii();
            let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
            WORDS.iter().position(|words| is(words)).map(|at| at == 1)
        }
        _ => None,
    }
}

/// The conversion of the only argument.
fn to<'a>(target: Target, arguments: &[Value<'a>]) -> Result<Value<'a>, Fault> {
    target.convert(arguments.first().unwrap_or(&Value::Missing))
}

const CAST_PARAMS: &[Param] = &[required("value", Kind::Any), required("type", Kind::Text)];

fn known_target(arguments: &[Option<&Const>]) -> Result<Prepared, Problem> {
    match arguments.get(1) {
        Some(Some(Const::String(name))) if Target::named(name).is_none() => Err(Problem {
            message: format!("there is no type '{name}' to cast to"),
            expected: TARGETS.into(),
        }),
        _ => Ok(Prepared::Nothing),
    }
}

fn target(name: &str) -> Result<Target, Fault> {
    Target::named(name).ok_or_else(|| {
        Fault::new("domain", format!("there is no type '{name}' to cast to, but {TARGETS}"))
    })
}

pub(in crate::functions) const CAST: Function = Function {
    name: "cast",
    signature: "cast(value, type)",
    params: CAST_PARAMS,
    summary: "A value as 'string', 'number' (also 'decimal', 'float', 'double'), 'integer' (also \
              'int', 'bigint'), 'boolean' or 'bytes', by the rules of to_string(), to_number(), \
              to_integer() and to_boolean(); also written CAST(value AS type). What does not \
              convert is an error; try_cast() gives NULL.",
    examples: &[
        example("cast(t, 'number')", r#"{"t":"21.50"}"#, "21.50"),
        example("cast(21.9, 'integer')", "{}", "21"),
        example("cast(a, 'string')", r#"{"a":[1]}"#, r#""[1]""#),
        example("cast('on', 'boolean')", "{}", "true"),
        example("cast(a, 'integer')", r#"{"a":null}"#, "null"),
        missing("cast('warm', 'number')", "{}"),
    ],
    prepare: known_target,
    eval: |arguments, _| to(target(text(arguments, 1))?, arguments),
    ..CONVERT
};

pub(in crate::functions) const TRY_CAST: Function = Function {
    name: "try_cast",
    signature: "try_cast(value, type)",
    params: CAST_PARAMS,
    summary: "As cast(), but NULL where the value does not convert; also written \
              TRY_CAST(value AS type).",
    examples: &[
        example("try_cast(t, 'number')", r#"{"t":"n/a"}"#, "null"),
        example("try_cast(t, 'number')", r#"{"t":"21.50"}"#, "21.50"),
        missing("try_cast(t, 'number')", "{}"),
    ],
    prepare: known_target,
    eval: |arguments, _| {
        let value = arguments.first().unwrap_or(&Value::Missing);
        Ok(target(text(arguments, 1))?.attempt(value).unwrap_or(Value::Null))
    },
    ..CONVERT
};

pub(in crate::functions) const TO_STRING: Function = Function {
    name: "to_string",
    aliases: &["str", "str_utf8"],
    signature: "to_string(value)",
    result: Kind::Text,
    summary: "A value as text: numbers as they are written, arrays and objects as their JSON, bytes \
              as the UTF-8 that they are.",
    examples: &[
        example("to_string(t)", r#"{"t":21.50}"#, r#""21.50""#),
        example("to_string(a)", r#"{"a":{"b":[1]}}"#, r#""{\"b\":[1]}""#),
        example("to_string(true)", "{}", r#""true""#),
        example("to_string(a)", r#"{"a":null}"#, "null"),
        missing("to_string(from_hex('ff'))", "{}"),
    ],
    eval: |arguments, _| to(Target::String, arguments),
    ..CONVERT
};

pub(in crate::functions) const TO_NUMBER: Function = Function {
    name: "to_number",
    aliases: &["to_float", "float", "as_number"],
    signature: "to_number(value)",
    result: Kind::Number,
    summary: "A value as a NUMBER: text that reads as a decimal, also `+5`, `007`, `.5` and with \
              spaces around it; TRUE is 1 and FALSE is 0. Anything else is an error.",
    examples: &[
        example("to_number(t)", r#"{"t":" 21.50 "}"#, "21.50"),
        example("to_number('007')", "{}", "7"),
        example("to_number(a)", r#"{"a":true}"#, "1"),
        example("to_number(a)", r#"{"a":"9223372036854775807"}"#, "9223372036854775807"),
        missing("to_number('21,5')", "{}"),
    ],
    eval: |arguments, _| to(Target::Number, arguments),
    ..CONVERT
};

pub(in crate::functions) const TO_INTEGER: Function = Function {
    name: "to_integer",
    aliases: &["to_int", "int"],
    signature: "to_integer(value)",
    result: Kind::Number,
    summary: "A value as to_number() reads it, without its fraction (towards zero); beyond 64 bits \
              it is an error.",
    examples: &[
        example("to_integer('21.9')", "{}", "21"),
        example("to_integer(-21.9)", "{}", "-21"),
        example("to_integer(a)", r#"{"a":18446744073709551615}"#, "18446744073709551615"),
        missing("to_integer(1e20)", "{}"),
    ],
    eval: |arguments, _| to(Target::Integer, arguments),
    ..CONVERT
};

pub(in crate::functions) const TO_BOOLEAN: Function = Function {
    name: "to_boolean",
    aliases: &["to_bool", "bool"],
    signature: "to_boolean(value)",
    result: Kind::Boolean,
    summary: "A value as a BOOLEAN: 0 is FALSE and any other number TRUE; of texts, in either case, \
              true, t, yes, y, on and 1, or false, f, no, n, off and 0.",
    examples: &[
        example("to_boolean(a)", r#"{"a":"ON"}"#, "true"),
        example("to_boolean(a)", r#"{"a":0}"#, "false"),
        example("to_boolean(a)", r#"{"a":null}"#, "null"),
        missing("to_boolean('maybe')", "{}"),
    ],
    eval: |arguments, _| to(Target::Boolean, arguments),
    ..CONVERT
};

/// The digits of all bases.
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// The digits of an integer within 65 bits, in a base from 2 to 36.
fn in_base(value: i128, base: u32, upper: bool) -> Value<'static> {
    let mut digits = [0; 68];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    while rest > 0 || at == digits.len() {
        let digit = usize::try_from(rest % u128::from(base)).unwrap_or_default();
        rest /= u128::from(base);
        at -= 1;
        digits[at] = DIGITS[digit];
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    if upper {
        digits.make_ascii_uppercase();
    }
    let text = digits.get(at..).and_then(|text| std::str::from_utf8(text).ok());
    Value::text(text.unwrap_or_default().to_owned())
}

/// Reads digits of a base; a sign may stand before them, and `0x` or the like when it is `prefix`.
fn from_base(text: &str, base: u32, prefix: Option<u8>) -> Result<i128, Fault> {
    let fault = || {
        let shown = crate::lex::shorten(text);
        Fault::new("cast", format!("'{shown}' is no integer of 64 bits in base {base}"))
    };
    let (is_negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let digits = match digits {
        [b'0', letter, digits @ ..] if Some(letter.to_ascii_lowercase()) == prefix => digits,
        digits => digits,
    };
    let mut value = if digits.is_empty() { Err(fault()) } else { Ok(0_i128) }?;
    for byte in digits {
        let digit = char::from(*byte).to_digit(base).ok_or_else(fault)?;
        value = value * i128::from(base) + i128::from(digit);
        if value > i128::from(u64::MAX) {
            return Err(fault());
        }
    }
    let value = if is_negative { -value } else { value };
    if value < i128::from(i64::MIN) { Err(fault()) } else { Ok(value) }
}

const INTEGER: &[Param] = &[required("n", Kind::Integer)];
const WRITTEN: &[Param] = &[required("text", Kind::Text)];

pub(in crate::functions) const DEC2HEX: Function = Function {
    name: "dec2hex",
    signature: "dec2hex(n)",
    params: INTEGER,
    result: Kind::Text,
    summary: "An integer in lowercase hexadecimal without 0x and leading zeros; a negative one has a \
              sign. to_hex() writes bytes.",
    examples: &[
        example("dec2hex(255)", "{}", r#""ff""#),
        example("dec2hex(n)", r#"{"n":18446744073709551615}"#, r#""ffffffffffffffff""#),
        example("dec2hex(-16)", "{}", r#""-10""#),
        missing("dec2hex(a)", r#"{"a":1.5}"#),
    ],
    eval: |arguments, _| Ok(in_base(bounded(arguments, 0, "dec2hex")?, 16, false)),
    ..CONVERT
};

pub(in crate::functions) const HEX2DEC: Function = Function {
    name: "hex2dec",
    signature: "hex2dec(text)",
    params: WRITTEN,
    result: Kind::Number,
    summary: "The integer, within 64 bits, that is written in hexadecimal, with or without 0x. \
              read_int() takes bytes in two's complement.",
    examples: &[
        example("hex2dec('0xFF')", "{}", "255"),
        example("hex2dec('-10')", "{}", "-16"),
        example("hex2dec('ffffffffffffffff')", "{}", "18446744073709551615"),
        missing("hex2dec('fg')", "{}"),
    ],
    eval: |arguments, _| {
        from_base(text(arguments, 0), 16, Some(b'x'))
            .and_then(|value| exact(value, || "it".to_owned()))
    },
    ..CONVERT
};

pub(in crate::functions) const DEC2BIN: Function = Function {
    name: "dec2bin",
    aliases: &["bin"],
    signature: "dec2bin(n)",
    params: INTEGER,
    result: Kind::Text,
    summary: "An integer in binary digits without leading zeros; a negative one has a sign.",
    examples: &[
        example("dec2bin(10)", "{}", r#""1010""#),
        example("dec2bin(0)", "{}", r#""0""#),
        example("dec2bin(-2)", "{}", r#""-10""#),
    ],
    eval: |arguments, _| Ok(in_base(bounded(arguments, 0, "dec2bin")?, 2, false)),
    ..CONVERT
};

pub(in crate::functions) const BIN2DEC: Function = Function {
    name: "bin2dec",
    signature: "bin2dec(text)",
    params: WRITTEN,
    result: Kind::Number,
    summary: "The integer, within 64 bits, that is written in binary digits, with or without 0b.",
    examples: &[
        example("bin2dec('1010')", "{}", "10"),
        example("bin2dec('0b11')", "{}", "3"),
        missing("bin2dec('12')", "{}"),
    ],
    eval: |arguments, _| {
        from_base(text(arguments, 0), 2, Some(b'b'))
            .and_then(|value| exact(value, || "it".to_owned()))
    },
    ..CONVERT
};

/// A base of `conv`.
fn base(value: i128) -> Option<u32> {
    u32::try_from(value).ok().filter(|base| (2..=36).contains(base))
}

pub(in crate::functions) const CONV: Function = Function {
    name: "conv",
    signature: "conv(text, from_base, to_base)",
    params: &[
        required("text", Kind::Text),
        required("from_base", Kind::Integer),
        required("to_base", Kind::Integer),
    ],
    result: Kind::Text,
    summary: "An integer, within 64 bits, written in another base from 2 to 36, with uppercase \
              digits; a negative one keeps its sign.",
    examples: &[
        example("conv('ff', 16, 10)", "{}", r#""255""#),
        example("conv(255, 10, 16)", "{}", r#""FF""#),
        example("conv('-z', 36, 2)", "{}", r#""-100011""#),
        missing("conv('12', 2, 10)", "{}"),
        missing("conv('1', 10, b)", r#"{"b":37}"#),
    ],
    prepare: |arguments| {
        for argument in arguments.iter().skip(1) {
            if let Some(Const::Number(num, text)) = argument
                && num.is_integer()
                && base(num.truncate().into()).is_none()
            {
                return Err(Problem {
                    message: format!("{text} is no base"),
                    expected: "an integer from 2 to 36".into(),
                });
            }
        }
        Ok(Prepared::Nothing)
    },
    eval: |arguments, _| {
        let (from, to) = (whole(arguments, 1), whole(arguments, 2));
        match (base(from), base(to)) {
            (Some(from), Some(to)) => {
                Ok(in_base(from_base(text(arguments, 0), from, None)?, to, true))
            }
            _ => Err(Fault::new("domain", format!("bases are 2 to 36, not {from} and {to}"))),
        }
    },
    ..CONVERT
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_hold_the_extremes() {
        for value in [i128::from(i64::MIN), -1, 0, 1, i128::from(u64::MAX)] {
            for base in 2..=36 {
                let written = in_base(value, base, base % 2 == 0);
                let text = written.as_text().expect("text");
                assert_eq!(from_base(&text, base, None), Ok(value), "{text} in base {base}");
            }
        }
        assert!(from_base("18446744073709551616", 10, None).is_err());
        assert!(from_base("-9223372036854775809", 10, None).is_err());
        assert!(from_base("", 10, None).is_err() && from_base("-", 10, None).is_err());
        assert!(from_base("0x", 16, Some(b'x')).is_err() && from_base("é", 36, None).is_err());
    }
}
