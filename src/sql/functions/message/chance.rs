//! Functions of chance and of identifiers. Chance comes from the message, the rule and the place of
//! the call: evaluating a message again gives the same.

use crate::functions::document::array_shape::beyond;
use crate::functions::math::number::exact;
use crate::functions::{
    Depends, Fault, Function, Kind, NO_PREPARE, Nulls, Site, example, missing, optional, required,
};
use crate::number::Num;
use crate::value::Value;
use crate::work::Price;

/// What all functions here share.
const CHANCE: Function = Function {
    name: "",
    aliases: &[],
    family: "ids and chance",
    signature: "",
    price: Price::new(3_000, 30),
    params: &[],
    rest: None,
    result: Kind::Text,
    nulls: Nulls::Propagate,
    reads: &[],
    spreads: false,
    depends: Depends::Chance,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

fn num(arguments: &[Value<'_>], index: usize) -> Option<Num> {
    arguments.get(index).and_then(Value::as_num)
}

/// A number from 0 up to, and without, 1.
fn unit(site: &Site<'_>, draw: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let value = (site.random(draw) >> 11) as f64 / (1_u64 << 53) as f64;
    value
}

pub(in crate::functions) const RAND_INT: Function = Function {
    name: "rand_int",
    signature: "rand_int(low, high)",
    params: &[required("low", Kind::Integer), required("high", Kind::Integer)],
    result: Kind::Number,
    summary: "A random integer from low to high, both included; see newuuid for what it depends on.",
    examples: &[
        example("rand_int(1, 6)", "{}", "4"),
        example("rand_int(7, 7)", "{}", "7"),
        missing("rand_int(a, 1)", r#"{"a":2}"#),
    ],
    eval: |arguments, site| {
        let bound = |index| {
            let number = num(arguments, index).unwrap_or(Num::Int(0));
            let bound = i64::try_from(number.saturated()).map(i128::from);
            bound.map_err(|_| beyond("rand_int", number))
        };
        let (low, high) = (bound(0)?, bound(1)?);
        if low > high {
            let message = format!("`rand_int` takes the lower bound first, not {low}, {high}");
            return Err(Fault::new("domain", message));
        }
        // At most 2^64 values: the product stays below 2^128.
        let count = u128::try_from(high - low + 1).unwrap_or(1);
        let drawn = (u128::from(site.random(0)) * count) >> 64;
        let value = low + i128::try_from(drawn).unwrap_or_default();
        exact(value, || "the random number".to_owned())
    },
    ..CHANCE
};

pub(in crate::functions) const RAND_NORMAL: Function = Function {
    name: "rand_normal",
    signature: "rand_normal([mean[, deviation]])",
    params: &[optional("mean", Kind::Number), optional("deviation", Kind::Number)],
    result: Kind::Number,
    summary: "A random number of the normal distribution with a mean (0) and a standard deviation \
              (1), for simulated devices; see newuuid for what it depends on.",
    examples: &[
        example("rand_normal(20, 2)", "{}", "17.208718980812595"),
        example("rand_normal(20, 0)", "{}", "20"),
        missing("rand_normal(0, d)", r#"{"d":-1}"#),
    ],
    eval: |arguments, site| {
        let mean = num(arguments, 0).map_or(0.0, Num::as_f64);
        let deviation = num(arguments, 1).map_or(1.0, Num::as_f64);
        if deviation < 0.0 {
            let message = format!("a standard deviation is not negative: {deviation}");
            return Err(Fault::new("domain", message));
        }
        // Box and Muller; 1 − u is never 0.
        let radius = (-2.0 * (1.0 - unit(site, 0)).ln()).sqrt();
        let value = mean + deviation * radius * (std::f64::consts::TAU * unit(site, 1)).cos();
        Num::from_f64(value)
            .map(Value::number)
            .ok_or_else(|| Fault::new("not_finite", "the random number is too large"))
    },
    ..CHANCE
};

pub(in crate::functions) const SAMPLE: Function = Function {
    name: "sample",
    signature: "sample(percent)",
    params: &[required("percent", Kind::Number)],
    result: Kind::Boolean,
    summary: "TRUE for that share of all messages, 0 to 100 percent, chosen by chance; see newuuid \
              for what it depends on.",
    examples: &[
        example("sample(10)", "{}", "false"),
        example("sample(100)", "{}", "true"),
        example("sample(0)", "{}", "false"),
        missing("sample(p)", r#"{"p":101}"#),
    ],
    eval: |arguments, site| {
        let share = num(arguments, 0).unwrap_or(Num::Int(0));
        let percent = share.as_f64();
        if !(0.0..=100.0).contains(&percent) {
            return Err(Fault::new(
                "domain",
                format!("a share is 0 to 100 percent, not {}", share.text()),
            ));
        }
        Ok(Value::Bool(unit(site, 0) * 100.0 < percent))
    },
    ..CHANCE
};

/// The UUID of version 4 of a call, or the one that a rule's test fixes.
pub(in crate::functions) fn random_uuid(site: &Site<'_>) -> uuid::Uuid {
    match site.input.facts.fixed_uuid() {
        Some(fixed) => uuid::Uuid::from_u128(fixed),
        None => uuid::Builder::from_random_bytes(bytes(site)).into_uuid(),
    }
}

/// 16 random bytes.
fn bytes(site: &Site<'_>) -> [u8; 16] {
    (u128::from(site.random(0)) << 64 | u128::from(site.random(1))).to_be_bytes()
}

pub(in crate::functions) const UUID_V4_NO_HYPHEN: Function = Function {
    name: "uuid_v4_no_hyphen",
    signature: "uuid_v4_no_hyphen()",
    summary: "As newuuid, 32 digits without hyphens.",
    examples: &[
        example("uuid_v4_no_hyphen()", "{}", r#""a0455da6b2864f5a841022f97e32ea4c""#),
        example("is_uuid(uuid_v4_no_hyphen())", "{}", "true"),
    ],
    eval: |_, site| Ok(Value::text(random_uuid(site).simple().to_string())),
    ..CHANCE
};

pub(in crate::functions) const UUID_V7: Function = Function {
    name: "uuid_v7",
    signature: "uuid_v7()",
    summary: "A UUID of version 7: when the message was received, then chance, so that they sort by \
              time; see newuuid for what it depends on.",
    examples: &[
        example("uuid_v7()", "{}", r#""0167583f-3e1f-7f5a-8410-22f97e32ea4c""#),
        example("is_uuid(uuid_v7())", "{}", "true"),
    ],
    eval: |_, site| {
        let [_, _, _, _, _, _, random @ ..] = bytes(site);
        let time = site.input.message.received_ms;
        let uuid = uuid::Builder::from_unix_timestamp_millis(time, &random).into_uuid();
        Ok(Value::text(uuid.hyphenated().to_string()))
    },
    ..CHANCE
};

pub(in crate::functions) const ULID: Function = Function {
    name: "ulid",
    signature: "ulid()",
    summary: "A ULID: 26 characters, when the message was received, then chance, so that they sort \
              by time; see newuuid for what it depends on.",
    examples: &[
        example("ulid()", "{}", r#""01CXC3YFGZM12NV9NJGV7NN10G""#),
        example("ulid() = ulid()", "{}", "false"),
    ],
    eval: |_, site| {
        const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let time = u128::from(site.input.message.received_ms & ((1 << 48) - 1));
        let bits = time << 80 | u128::from_be_bytes(bytes(site)) >> 48;
        let digit = |at: u32| char::from(DIGITS[(bits >> (5 * at)) as usize & 31]);
        Ok(Value::text((0..26).rev().map(digit).collect::<String>()))
    },
    ..CHANCE
};

pub(in crate::functions) const NANOID: Function = Function {
    name: "nanoid",
    signature: "nanoid([length])",
    params: &[optional("length", Kind::Integer)],
    summary: "A short random id of 21 characters, or 1 to 256, out of letters, digits, `_` and `-`; \
              see newuuid for what it depends on.",
    examples: &[
        example("nanoid()", "{}", r#""QziXoQQN51CfkC_bl8GGa""#),
        example("nanoid(5)", "{}", r#""QziXo""#),
        example("nanoid() = nanoid()", "{}", "false"),
        missing("nanoid(n)", r#"{"n":0}"#),
    ],
    eval: |arguments, site| {
        const DIGITS: &[u8; 64] =
            b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-";
        let length = num(arguments, 0).map_or(21, Num::truncate);
        let Some(length) = u64::try_from(length).ok().filter(|n| (1..=256).contains(n)) else {
            let message = format!("an id has 1 to 256 characters, not {length}");
            return Err(Fault::new("domain", message));
        };
        // Ten characters of six bits come out of each draw.
        let digit = |at: u64| {
            let bits = site.random(at / 10) >> (6 * (at % 10));
            char::from(DIGITS[(bits & 63) as usize])
        };
        Ok(Value::text((0..length).map(digit).collect::<String>()))
    },
    ..CHANCE
};

pub(in crate::functions) const IS_UUID: Function = Function {
    name: "is_uuid",
    signature: "is_uuid(text)",
    params: &[required("text", Kind::Text)],
    result: Kind::Boolean,
    depends: Depends::Arguments,
    summary: "Whether a text is a UUID of any version: 32 hexadecimal digits, with hyphens or without.",
    examples: &[
        example("is_uuid('0167584f-3c5f-7a3e-8d1b-2f60c3a1b7e4')", "{}", "true"),
        example("is_uuid(a)", r#"{"a":"0167584f-3c5f"}"#, "false"),
        example("is_uuid(newuuid())", "{}", "true"),
    ],
    eval: |arguments, _| {
        let Some(Value::String(text)) = arguments.first() else { return Ok(Value::Missing) };
        let form = matches!(text.len(), 32 | 36);
        Ok(Value::Bool(form && uuid::Uuid::try_parse(text).is_ok()))
    },
    ..CHANCE
};
