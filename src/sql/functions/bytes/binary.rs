//! Functions that take binary payloads apart: integers, floats and bits at places in bytes. Positions
//! are in bytes from 0, negative ones from the end; only `subbits` counts as its model does.

use std::borrow::Cow;
use std::io::Write as _;

use crate::expr::Const;
use crate::functions::bytes::codec::{bytes, text};
use crate::functions::math::number::{num, numeric, unsigned, whole};
use crate::functions::{
    Example, Fault, Function, Kind, Param, Prepared, Problem, example, missing, optional, required,
};
use crate::number::Num;
use crate::value::Value;

/// A function of bytes.
const fn binary(
    params: &'static [Param],
    name: &'static str,
    signature: &'static str,
    summary: &'static str,
    examples: &'static [Example],
    eval: crate::functions::Eval,
) -> Function {
    Function { params, family: "bytes", ..numeric(name, signature, summary, examples, eval) }
}

/// Where a position is, counted from the end when it is negative; `None` before the start.
fn place(position: i128, len: usize) -> Option<usize> {
    let len = i128::try_from(len).unwrap_or(i128::MAX);
    let at = if position < 0 { position.saturating_add(len) } else { position };
    usize::try_from(at).ok()
}

const STAR: &[Param] = &[required("*", Kind::Bytes)];

fn size(len: usize) -> Value<'static> {
    Value::number(unsigned(len as u64))
}

pub(in crate::functions) const BITSIZE: Function = binary(
    STAR,
    "bitsize",
    "bitsize(*)",
    "How many bits the payload has: 8 for each byte; a text instead of `*` counts as UTF-8.",
    &[example("bitsize(*)", "[]", "16"), example("bitsize('')", "{}", "0")],
    |arguments, _| Ok(size(bytes(arguments, 0).len() * 8)),
);

pub(in crate::functions) const BYTE_AT: Function = binary(
    &[required("*", Kind::Bytes), required("index", Kind::Integer)],
    "byte_at",
    "byte_at(*, index)",
    "The byte at an index, 0 to 255; indices count from 0, negative ones from the end, and one \
     outside is an error.",
    &[
        example("byte_at(*, 0)", "[]", "91"),
        example("byte_at(from_hex('01ff'), -1)", "{}", "255"),
        missing("byte_at('ab', 2)", "{}"),
    ],
    |arguments, _| {
        let data = bytes(arguments, 0);
        let index = whole(arguments, 1);
        match place(index, data.len()).and_then(|at| data.get(at)) {
            Some(byte) => Ok(Value::number(Num::Int((*byte).into()))),
            None => Err(outside("byte_at", index, 1, data.len())),
        }
    },
);

fn outside(name: &str, offset: i128, count: usize, len: usize) -> Fault {
    let what = if count == 1 { "1 byte" } else { &format!("{count} bytes") };
    let message = format!("`{name}` wants {what} from {offset} on, but there are {len} in all");
    Fault::new("out_of_range", message)
}

pub(in crate::functions) const BYTE_SLICE: Function = Function {
    result: Kind::Bytes,
    ..binary(
        &[
            required("*", Kind::Bytes),
            required("start", Kind::Integer),
            optional("end", Kind::Integer),
        ],
        "byte_slice",
        "byte_slice(*, start[, end])",
        "The bytes from start up to, and without, end, as BINARY (to_hex() or to_base64() make it \
         text). Positions count from 0, negative ones from the end, and are held within the bytes.",
        &[
            example("to_hex(byte_slice(from_hex('0a0b0c0d'), 1, 3))", "{}", r#""0b0c""#),
            example("to_hex(byte_slice(*, -2))", "[12]", r#""325d""#),
            example("to_hex(byte_slice('abc', 5))", "{}", r#""""#),
        ],
        |arguments, _| {
            let len = bytes(arguments, 0).len();
            let held = |position| place(position, len).unwrap_or(0).min(len);
            let start = held(whole(arguments, 1));
            let end = if arguments.len() > 2 { held(whole(arguments, 2)) } else { len };
            let range = start..end.max(start);
            Ok(Value::Binary(match arguments.first() {
                Some(Value::Binary(Cow::Borrowed(data))) => {
                    Cow::Borrowed(data.get(range).unwrap_or_default())
                }
                _ => Cow::Owned(bytes(arguments, 0).get(range).unwrap_or_default().to_vec()),
            }))
        },
    )
};

/// The order of the bytes of a number, with the names that devices' manuals use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The highest first: ABCD.
    Big,
    /// The lowest first: DCBA.
    Little,
    /// As big, with the bytes of each 16-bit word swapped: BADC.
    BigSwapped,
    /// As little, with the bytes of each 16-bit word swapped: CDAB.
    LittleSwapped,
}

/// The names of [`Order`].
const ORDERS: &str = "'big' (or 'abcd'), 'little' ('dcba'), 'badc' or 'cdab'";

impl Order {
    fn named(name: &str) -> Option<Self> {
        let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        if is(&["big", "abcd"]) {
            Some(Self::Big)
        } else if is(&["little", "dcba"]) {
            Some(Self::Little)
        } else if is(&["badc"]) {
            Some(Self::BigSwapped)
        } else if is(&["cdab"]) {
            Some(Self::LittleSwapped)
        } else {
            None
        }
    }

    /// Where the byte stands that comes at `index` from the highest on; `count` is even where words
    /// are swapped.
    fn position(self, index: usize, count: usize) -> usize {
        match self {
            Self::Big => index,
            Self::Little => count - 1 - index,
            Self::BigSwapped => index ^ 1,
            Self::LittleSwapped => (count - 1 - index) ^ 1,
        }
    }
}

/// Bytes, where, how many, in which order.
const READ: &[Param] = &[
    required("*", Kind::Bytes),
    required("offset", Kind::Integer),
    required("bytes", Kind::Integer),
    optional("order", Kind::Text),
];

/// Refuses constants that no message can make right; `sizes` are the numbers of bytes.
fn check(arguments: &[Option<&Const>], sizes: &[i64]) -> Result<Prepared, Problem> {
    if let Some(Some(Const::Number(num, text))) = arguments.get(2)
        && !sizes.iter().any(|size| num.compare(Num::Int(*size)).is_eq())
    {
        let sizes: Vec<String> = sizes.iter().map(i64::to_string).collect();
        return Err(Problem {
            message: format!("{text} is no number of bytes"),
            expected: format!("one of {}", sizes.join(", ")),
        });
    }
    match arguments.get(3) {
        Some(Some(Const::String(name))) if Order::named(name).is_none() => Err(Problem {
            message: format!("there is no order of bytes '{name}'"),
            expected: ORDERS.into(),
        }),
        _ => Ok(Prepared::Nothing),
    }
}

/// The bits that the arguments name and how many bytes they are.
fn load(arguments: &[Value<'_>], name: &str, sizes: &[i64]) -> Result<(u64, u32), Fault> {
    let data = bytes(arguments, 0);
    let (offset, size) = (whole(arguments, 1), whole(arguments, 2));
    let count = u32::try_from(size).ok().filter(|count| sizes.contains(&i64::from(*count)));
    let Some(count) = count else {
        return Err(Fault::new("domain", format!("`{name}` cannot read {size} bytes")));
    };
    let order = match text(arguments, 3) {
        "" => Order::Big,
        name => Order::named(name).ok_or_else(|| {
            Fault::new("domain", format!("there is no order of bytes '{name}', but {ORDERS}"))
        })?,
    };
    let swaps = matches!(order, Order::BigSwapped | Order::LittleSwapped);
    if swaps && count % 2 == 1 {
        return Err(Fault::new("domain", format!("{count} bytes have no 16-bit words to swap")));
    }
    let len = count as usize;
    let found = place(offset, data.len()).and_then(|at| data.get(at..)?.get(..len));
    let Some(found) = found else { return Err(outside(name, offset, len, data.len())) };
    let bits = (0..len).fold(0_u64, |bits, index| {
        let byte = found.get(order.position(index, len)).copied().unwrap_or_default();
        bits << 8 | u64::from(byte)
    });
    Ok((bits, count))
}

/// The lowest bits as a number in two's complement.
fn signed(bits: u64, width: u32) -> i64 {
    let unused = 64 - width.clamp(1, 64);
    (bits << unused).cast_signed() >> unused
}

const INTEGER_SIZES: &[i64] = &[1, 2, 3, 4, 5, 6, 7, 8];

pub(in crate::functions) const READ_INT: Function = Function {
    prepare: |arguments| check(arguments, INTEGER_SIZES),
    ..binary(
        READ,
        "read_int",
        "read_int(*, offset, bytes[, order])",
        "The signed integer of 1 to 8 bytes at an offset. The order of the bytes is 'big' (the \
         default), 'little', or 'badc' and 'cdab' with swapped bytes in 16-bit words; an offset \
         counts from 0, a negative one from the end, and bytes that are not there are an error.",
        &[
            example("read_int(from_hex('ff38'), 0, 2)", "{}", "-200"),
            example("read_int(*, 0, 1)", "[]", "91"),
            example("read_int(from_hex('0138ff'), 1, 2, 'little')", "{}", "-200"),
            example("read_int(from_hex('56781234'), 0, 4, 'cdab')", "{}", "305419896"),
            missing("read_int('a', 0, 2)", "{}"),
        ],
        |arguments, _| {
            let (bits, count) = load(arguments, "read_int", INTEGER_SIZES)?;
            Ok(Value::number(Num::Int(signed(bits, count * 8))))
        },
    )
};

pub(in crate::functions) const READ_UINT: Function = Function {
    prepare: |arguments| check(arguments, INTEGER_SIZES),
    ..binary(
        READ,
        "read_uint",
        "read_uint(*, offset, bytes[, order])",
        "The unsigned integer of 1 to 8 bytes at an offset; otherwise as read_int().",
        &[
            example("read_uint(from_hex('ff38'), 0, 2)", "{}", "65336"),
            example("read_uint(from_hex('ffffffffffffffff'), -8, 8)", "{}", "18446744073709551615"),
            example("read_uint(from_hex('34127856'), 0, 4, 'badc')", "{}", "305419896"),
        ],
        |arguments, _| {
            let (bits, _) = load(arguments, "read_uint", INTEGER_SIZES)?;
            Ok(Value::number(unsigned(bits)))
        },
    )
};

const FLOAT_SIZES: &[i64] = &[4, 8];

/// A float of IEEE 754 with 32 or 64 bits. One of 32 bits is the shortest decimal that stands for it.
fn float(bits: u64, width: u32) -> Result<Value<'static>, Fault> {
    let value = if width == 64 {
        f64::from_bits(bits)
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
        let single = f32::from_bits(bits as u32);
        let mut text = std::io::Cursor::new([0_u8; 32]);
        write!(text, "{single:e}").ok();
        let end = usize::try_from(text.position()).unwrap_or_default();
        let text = text.get_ref().get(..end).and_then(|text| std::str::from_utf8(text).ok());
        text.and_then(|text| text.parse().ok()).unwrap_or(f64::from(single))
    };
    Num::from_f64(value)
        .map(Value::number)
        .ok_or_else(|| Fault::new("not_finite", "the bytes hold no finite number"))
}

pub(in crate::functions) const READ_FLOAT: Function = Function {
    prepare: |arguments| check(arguments, FLOAT_SIZES),
    ..binary(
        READ,
        "read_float",
        "read_float(*, offset, bytes[, order])",
        "The IEEE 754 float of 4 or 8 bytes at an offset; one of 4 bytes is the shortest decimal \
         that stands for it (23.7, not 23.700000762939453). NaN and infinities are an error; \
         otherwise as read_int().",
        &[
            example("read_float(from_hex('41bd999a'), 0, 4)", "{}", "23.7"),
            example("read_float(from_hex('999a41bd'), 0, 4, 'cdab')", "{}", "23.7"),
            example("read_float(from_hex('4037b33333333333'), 0, 8)", "{}", "23.7"),
            missing("read_float(from_hex('7fc00000'), 0, 4)", "{}"),
        ],
        |arguments, _| {
            let (bits, count) = load(arguments, "read_float", FLOAT_SIZES)?;
            float(bits, count * 8)
        },
    )
};

/// What `subbits` takes behind the length, in order: names and the first as default.
const SUBBITS_WORDS: [&[&str]; 3] =
    [&["integer", "float", "bits"], &["unsigned", "signed"], &["big", "little"]];

pub(in crate::functions) const SUBBITS: Function = Function {
    result: Kind::Any,
    prepare: |arguments| {
        for (argument, words) in arguments.iter().skip(3).zip(SUBBITS_WORDS) {
            if let Some(Const::String(word)) = argument
                && !words.iter().any(|known| known.eq_ignore_ascii_case(word))
            {
                return Err(Problem {
                    message: format!("there is no '{word}' here"),
                    expected: format!("one of '{}'", words.join("', '")),
                });
            }
        }
        Ok(Prepared::Nothing)
    },
    ..binary(
        &[
            required("*", Kind::Bytes),
            required("start", Kind::Integer),
            optional("length", Kind::Integer),
            optional("type", Kind::Text),
            optional("signedness", Kind::Text),
            optional("endianness", Kind::Text),
        ],
        "subbits",
        "subbits(*, start, length[, type[, signedness[, endianness]]])",
        "The number in length bits from bit start on, both in bits, and start from 1, as EMQX has \
         it; with two arguments the second is the length, from the first bit on. The type is \
         'integer' (up to 64 bits), 'float' (32 or 64) or 'bits' (whole bytes, as BINARY), then \
         'unsigned' or 'signed', 'big' or 'little'. Fewer bits at the end are taken as they are; a \
         start behind the end is MISSING. read_int() counts in bytes.",
        &[
            example("subbits(from_hex('ab12'), 5, 8)", "{}", "177"),
            example("subbits(from_hex('ab12'), 4)", "{}", "10"),
            example(
                "subbits(from_hex('38ff'), 1, 16, 'integer', 'signed', 'little')",
                "{}",
                "-200",
            ),
            example("subbits(from_hex('41bd999a'), 1, 32, 'float')", "{}", "23.7"),
            missing("subbits('a', 9, 1)", "{}"),
        ],
        |arguments, _| subbits(arguments),
    )
};

/// Up to 64 bits from a bit on. The lowest byte comes first in little-endian order; its last part may
/// be short.
fn bits_at(data: &[u8], start: usize, length: usize, little: bool) -> u64 {
    let (mut value, mut chunk) = (0_u64, 0_u64);
    for index in 0..length {
        let at = start + index;
        let byte = data.get(at / 8).copied().unwrap_or_default();
        let bit = u64::from(byte >> (7 - at % 8) & 1);
        if little {
            chunk = chunk << 1 | bit;
            if index % 8 == 7 || index + 1 == length {
                value |= chunk << (index / 8 * 8);
                chunk = 0;
            }
        } else {
            value = value << 1 | bit;
        }
    }
    value
}

fn subbits<'a>(arguments: &[Value<'a>]) -> Result<Value<'a>, Fault> {
    let data = bytes(arguments, 0);
    let (start, length) = match arguments.len() {
        2 => (1, whole(arguments, 1)),
        _ => (whole(arguments, 1), whole(arguments, 2)),
    };
    let Some(start) = start.checked_sub(1).and_then(|start| usize::try_from(start).ok()) else {
        let message = format!("bits count from 1, there is no bit {}", num(arguments, 1).text());
        return Err(Fault::new("domain", message));
    };
    let left = (data.len() * 8).saturating_sub(start);
    if left == 0 {
        return Ok(Value::Missing);
    }
    let Ok(length) = usize::try_from(length) else {
        return Err(Fault::new("domain", format!("there are no {length} bits")));
    };
    let length = length.min(left);
    let mut words = [""; 3];
    for (index, (word, known)) in words.iter_mut().zip(SUBBITS_WORDS).enumerate() {
        let asked = text(arguments, index + 3);
        let asked = if asked.is_empty() { known[0] } else { asked };
        *word = known.iter().find(|word| word.eq_ignore_ascii_case(asked)).ok_or_else(|| {
            Fault::new("domain", format!("subbits knows '{}', not '{asked}'", known.join("', '")))
        })?;
    }
    let [kind, signedness, endianness] = words;
    let little = endianness == "little";
    if kind == "bits" {
        if length % 8 != 0 {
            return Err(Fault::new("domain", format!("{length} bits are no whole bytes")));
        }
        let byte = |at| bits_at(data, start + at * 8, 8, false).to_be_bytes()[7];
        return Ok(Value::Binary(Cow::Owned((0..length / 8).map(byte).collect())));
    }
    if length > 64 || (kind == "float" && length != 32 && length != 64) {
        let message = format!("subbits makes no {kind} of {length} bits");
        return Err(Fault::new("domain", message));
    }
    let width = u32::try_from(length).unwrap_or(64);
    let bits = bits_at(data, start, length, little);
    match (kind, signedness) {
        ("float", _) => float(bits, width),
        (_, "signed") if length > 0 => Ok(Value::number(Num::Int(signed(bits, width)))),
        _ => Ok(Value::number(unsigned(bits))),
    }
}
