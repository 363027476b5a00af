//! Functions between bytes and text: character sets, base64, hexadecimal. Digests are in `hash`,
//! compression is in `compress`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::eval;
use crate::expr::Const;
use crate::functions::{
    Depends, Example, Fault, Function, Kind, NO_PREPARE, Nulls, Param, Prepared, Problem, example,
    missing, optional, required,
};
use crate::value::Value;
use crate::work::Price;

/// What all functions here share.
const CODEC: Function = Function {
    name: "",
    aliases: &[],
    family: "encoding",
    signature: "",
    price: Price::new(500, 60),
    params: &[],
    rest: None,
    result: Kind::Text,
    nulls: Nulls::Propagate,
    reads: &[],
    spreads: false,
    depends: Depends::Arguments,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

/// The bytes of an argument that was coerced to bytes.
pub(in crate::functions) fn bytes<'v>(arguments: &'v [Value<'_>], index: usize) -> &'v [u8] {
    match arguments.get(index) {
        Some(Value::Binary(bytes)) => bytes,
        Some(Value::String(text)) => text.as_bytes(),
        _ => &[],
    }
}

/// The text of an argument that was coerced to one; empty when it was left out.
pub(in crate::functions) fn text<'v>(arguments: &'v [Value<'_>], index: usize) -> &'v str {
    match arguments.get(index) {
        Some(Value::String(text)) => text,
        _ => "",
    }
}

/// The bytes of an argument, borrowed where it borrows.
pub(in crate::functions) fn shared<'a>(arguments: &[Value<'a>], index: usize) -> Cow<'a, [u8]> {
    match arguments.get(index) {
        Some(Value::Binary(bytes)) => bytes.clone(),
        Some(Value::String(Cow::Borrowed(text))) => Cow::Borrowed(text.as_bytes()),
        _ => Cow::Owned(bytes(arguments, index).to_vec()),
    }
}

/// The character sets that there are.
const CHARSETS: &str = "utf-8, us-ascii, iso-8859-1, utf-16le or utf-16be";

/// A character set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Charset {
    Utf8,
    Ascii,
    Latin1,
    Utf16Le,
    Utf16Be,
}

impl Charset {
    fn named(name: &str) -> Option<Self> {
        const NAMES: &[(&str, Charset)] = &[
            ("utf-8", Charset::Utf8),
            ("utf8", Charset::Utf8),
            ("us-ascii", Charset::Ascii),
            ("ascii", Charset::Ascii),
            ("iso-8859-1", Charset::Latin1),
            ("latin1", Charset::Latin1),
            ("latin-1", Charset::Latin1),
            ("utf-16le", Charset::Utf16Le),
            ("utf-16be", Charset::Utf16Be),
        ];
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, found)| *found)
    }

    /// The character set of an argument; UTF-8 when it was left out.
    fn of(arguments: &[Value<'_>], index: usize) -> Result<Self, Fault> {
        if arguments.len() <= index {
            return Ok(Self::Utf8);
        }
        let name = text(arguments, index);
        Self::named(name).ok_or_else(|| {
            Fault::new("domain", format!("there is no character set '{name}', but {CHARSETS}"))
        })
    }

    /// Bytes as text; `what` they are stands in the error.
    fn decode<'a>(self, what: &str, bytes: Cow<'a, [u8]>) -> Result<Value<'a>, Fault> {
        let fault = |error: &str| Fault::new("encoding", format!("{what} {error}"));
        match self {
            Self::Ascii if !bytes.is_ascii() => Err(fault("is not ASCII")),
            Self::Utf8 | Self::Ascii => {
                let at = |error: std::str::Utf8Error| {
                    fault(&format!("is not UTF-8 at byte {}", error.valid_up_to()))
                };
                Ok(match bytes {
                    Cow::Borrowed(bytes) => Value::text(std::str::from_utf8(bytes).map_err(at)?),
                    Cow::Owned(bytes) => Value::text(
                        String::from_utf8(bytes).map_err(|error| at(error.utf8_error()))?,
                    ),
                })
            }
            Self::Latin1 => {
                let length = bytes.len() + bytes.iter().filter(|byte| !byte.is_ascii()).count();
                eval::fits(length)?;
                let mut text = String::with_capacity(length);
                text.extend(bytes.iter().map(|byte| char::from(*byte)));
                Ok(Value::text(text))
            }
            Self::Utf16Le | Self::Utf16Be => {
                let unit =
                    if self == Self::Utf16Le { u16::from_le_bytes } else { u16::from_be_bytes };
                let (units, rest) = bytes.as_chunks::<2>();
                let chars = || char::decode_utf16(units.iter().map(|pair| unit(*pair)));
                if !rest.is_empty() || chars().any(|char| char.is_err()) {
                    return Err(fault("is not UTF-16"));
                }
                let length = chars().flatten().map(char::len_utf8).sum();
                eval::fits(length)?;
                let mut text = String::with_capacity(length);
                text.extend(chars().flatten());
                Ok(Value::text(text))
            }
        }
    }

    /// Text as bytes.
    fn encode(self, text: &str) -> Result<Vec<u8>, Fault> {
        let outside = |set: &str, char: char| {
            Fault::new("encoding", format!("the character '{char}' is not in {set}"))
        };
        match self {
            Self::Utf8 => Ok(text.as_bytes().to_vec()),
            Self::Ascii => match text.chars().find(|char| !char.is_ascii()) {
                Some(char) => Err(outside("us-ascii", char)),
                None => Ok(text.as_bytes().to_vec()),
            },
            Self::Latin1 => {
                let mut out = Vec::with_capacity(text.chars().count());
                for char in text.chars() {
                    out.push(u8::try_from(char).map_err(|_| outside("iso-8859-1", char))?);
                }
                Ok(out)
            }
            Self::Utf16Le | Self::Utf16Be => {
                eval::fits(text.len() * 2)?;
                let bytes = if self == Self::Utf16Le { u16::to_le_bytes } else { u16::to_be_bytes };
                let mut out = Vec::with_capacity(text.len() * 2);
                out.extend(text.encode_utf16().flat_map(bytes));
                Ok(out)
            }
        }
    }
}

/// Refuses the name of a character set that does not exist.
fn known_charset(arguments: &[Option<&Const>], index: usize) -> Result<Prepared, Problem> {
    match arguments.get(index) {
        Some(Some(Const::String(name))) if Charset::named(name).is_none() => Err(Problem {
            message: format!("there is no character set '{name}'"),
            expected: CHARSETS.into(),
        }),
        _ => Ok(Prepared::Nothing),
    }
}

pub(in crate::functions) const PAYLOAD: Function = Function {
    name: "payload",
    signature: "payload([charset])",
    params: &[optional("charset", Kind::Text)],
    depends: Depends::Message,
    summary: "The payload as it was published, as text: utf-8 (the default), us-ascii, iso-8859-1, \
              utf-16le or utf-16be.",
    examples: &[
        example("payload()", r#"{"a": 1}"#, r#""{\"a\": 1}""#),
        example("payload('utf-8')", "[]", r#""[]""#),
        example("payload(a)", r#"{"a":"us-ascii"}"#, r#""{\"a\":\"us-ascii\"}""#),
        Example { sql: "payload(a)", payload: r#"{"a":"klingon"}"#, result: None },
    ],
    prepare: |arguments| known_charset(arguments, 0),
    eval: |arguments, site| {
        // It is no argument.
        site.pay(site.payload().len() as u64 * u64::from(CODEC.price.byte))?;
        Charset::of(arguments, 0)?.decode("the payload", Cow::Borrowed(site.payload()))
    },
    ..CODEC
};

pub(in crate::functions) const DECODE_TEXT: Function = Function {
    name: "decode_text",
    signature: "decode_text(*[, charset])",
    params: &[required("*", Kind::Bytes), optional("charset", Kind::Text)],
    summary: "Bytes as text: utf-8 (the default), us-ascii, iso-8859-1, utf-16le or utf-16be; bytes \
              that are none are an error.",
    examples: &[
        example("decode_text(from_base64('5rip'))", "{}", r#""温""#),
        example("decode_text(from_hex('e9'), 'iso-8859-1')", "{}", r#""é""#),
        example("decode_text(from_hex('296e'), 'utf-16le')", "{}", r#""温""#),
        missing("decode_text(from_hex('ff'))", "{}"),
    ],
    prepare: |arguments| known_charset(arguments, 1),
    eval: |arguments, _| Charset::of(arguments, 1)?.decode("the value", shared(arguments, 0)),
    ..CODEC
};

pub(in crate::functions) const ENCODE_TEXT: Function = Function {
    name: "encode_text",
    signature: "encode_text(text[, charset])",
    params: &[required("text", Kind::Text), optional("charset", Kind::Text)],
    result: Kind::Bytes,
    summary: "Text as BINARY (to_hex() or to_base64() show it): utf-8 (the default), us-ascii, \
              iso-8859-1, utf-16le or utf-16be; characters outside the set are an error.",
    examples: &[
        example("to_hex(encode_text('é', 'iso-8859-1'))", "{}", r#""e9""#),
        example("to_hex(encode_text('温', 'utf-16le'))", "{}", r#""296e""#),
        missing("encode_text('温', 'ascii')", "{}"),
    ],
    prepare: |arguments| known_charset(arguments, 1),
    eval: |arguments, _| {
        let bytes = Charset::of(arguments, 1)?.encode(text(arguments, 0))?;
        Ok(Value::Binary(Cow::Owned(bytes)))
    },
    ..CODEC
};

/// A way to write bytes as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Base64,
    Base64Url,
    Hex,
}

/// The names of [`Scheme`].
const SCHEMES: &str = "'base64', 'base64url' or 'hex'";

/// base64 with or without the `=` at the end.
const fn lenient(alphabet: &alphabet::Alphabet) -> GeneralPurpose {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, config)
}

const ANY_STANDARD: GeneralPurpose = lenient(&alphabet::STANDARD);
const ANY_URL_SAFE: GeneralPurpose = lenient(&alphabet::URL_SAFE);

impl Scheme {
    fn named(name: &str) -> Option<Self> {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        if is("base64") {
            Some(Self::Base64)
        } else if is("base64url") {
            Some(Self::Base64Url)
        } else if is("hex") {
            Some(Self::Hex)
        } else {
            None
        }
    }

    fn of(name: &str) -> Result<Self, Fault> {
        Self::named(name).ok_or_else(|| {
            Fault::new("domain", format!("there is no encoding '{name}', but {SCHEMES}"))
        })
    }

    fn encode(self, bytes: &[u8]) -> Result<Value<'static>, Fault> {
        // base64 takes four characters for three bytes.
        let size = if self == Self::Hex { bytes.len() * 2 } else { bytes.len() / 3 * 4 + 4 };
        eval::fits(size)?;
        Ok(Value::text(match self {
            Self::Base64 => STANDARD.encode(bytes),
            Self::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
            Self::Hex => hex::encode(bytes),
        }))
    }

    fn decode(self, text: &[u8]) -> Result<Vec<u8>, Fault> {
        let fault = |what: &str, error: String| {
            let error = error.trim_end_matches('.').to_lowercase();
            Fault::new("encoding", format!("the text is no {what}: {error}"))
        };
        if self == Self::Hex {
            return hex::decode(text).map_err(|error| fault("hexadecimal", error.to_string()));
        }
        let engine = if text.iter().any(|byte| matches!(byte, b'-' | b'_')) {
            ANY_URL_SAFE
        } else {
            ANY_STANDARD
        };
        engine.decode(text).map_err(|error| fault("base64", error.to_string()))
    }
}

/// Refuses the name of an encoding that does not exist.
fn known_scheme(arguments: &[Option<&Const>]) -> Result<Prepared, Problem> {
    match arguments.get(1) {
        Some(Some(Const::String(name))) if Scheme::named(name).is_none() => Err(Problem {
            message: format!("there is no encoding '{name}'"),
            expected: SCHEMES.into(),
        }),
        _ => Ok(Prepared::Nothing),
    }
}

pub(in crate::functions) const ENCODE: Function = Function {
    name: "encode",
    signature: "encode(*, encoding)",
    params: &[required("*", Kind::Bytes), required("encoding", Kind::Text)],
    summary: "`*`, bytes or a text (as UTF-8) written as 'base64', 'base64url' (without `=`) or \
              'hex'.",
    examples: &[
        example("encode(*, 'base64')", r#"{"a":1}"#, r#""eyJhIjoxfQ==""#),
        example("encode('温', 'hex')", "{}", r#""e6b8a9""#),
        missing("encode('a', b)", r#"{"b":"rot13"}"#),
    ],
    prepare: known_scheme,
    eval: |arguments, _| Scheme::of(text(arguments, 1))?.encode(bytes(arguments, 0)),
    ..CODEC
};

pub(in crate::functions) const DECODE: Function = Function {
    name: "decode",
    signature: "decode(text, encoding)",
    params: &[required("text", Kind::Text), required("encoding", Kind::Text)],
    summary: "The text (UTF-8) that is written in 'base64', 'base64url' or 'hex'; for other bytes \
              there are from_base64() and from_hex(), and parse_json() takes a document apart.",
    examples: &[
        example("decode('5rip5bqm', 'base64')", "{}", r#""温度""#),
        example("decode(a, 'hex')", r#"{"a":"6f6B"}"#, r#""ok""#),
        missing("decode('/w==', 'base64')", "{}"),
        example("decode(a, 'base64')", r#"{"a":null}"#, "null"),
    ],
    prepare: known_scheme,
    eval: |arguments, _| {
        let bytes = Scheme::of(text(arguments, 1))?.decode(text(arguments, 0).as_bytes())?;
        Charset::Utf8.decode("what is written there", Cow::Owned(bytes))
    },
    ..CODEC
};

const ENCODED: &[Param] = &[required("text", Kind::Text)];

pub(in crate::functions) const FROM_BASE64: Function = Function {
    name: "from_base64",
    aliases: &["base64_decode", "from_base64url"],
    signature: "from_base64(text)",
    params: ENCODED,
    result: Kind::Bytes,
    summary: "The bytes that are written in base64 (RFC 4648 §4 or §5, with or without `=`), as \
              BINARY: other functions take it as text when it is UTF-8, but as an item it needs \
              decode_text() or to_hex().",
    examples: &[
        example("decode_text(from_base64('5rip'))", "{}", r#""温""#),
        example("to_hex(from_base64('-_8'))", "{}", r#""fbff""#),
        example("upper(from_base64('b2s='))", "{}", r#""OK""#),
        missing("from_base64('a b')", "{}"),
    ],
    eval: |arguments, _| {
        let bytes = Scheme::Base64.decode(text(arguments, 0).as_bytes())?;
        Ok(Value::Binary(Cow::Owned(bytes)))
    },
    ..CODEC
};

pub(in crate::functions) const FROM_HEX: Function = Function {
    name: "from_hex",
    aliases: &["hexstr2bin", "unhex"],
    signature: "from_hex(text)",
    params: ENCODED,
    result: Kind::Bytes,
    summary: "The bytes that are written in hexadecimal, two digits of either case each, as BINARY: \
              other functions take it as text when it is UTF-8, but as an item it needs \
              decode_text() or to_base64().",
    examples: &[
        example("read_int(from_hex('FF38'), 0, 2)", "{}", "-200"),
        example("concat(from_hex('6f6b'), '!')", "{}", r#""ok!""#),
        missing("from_hex('abc')", "{}"),
        missing("from_hex('0x')", "{}"),
    ],
    eval: |arguments, _| {
        let bytes = Scheme::Hex.decode(text(arguments, 0).as_bytes())?;
        Ok(Value::Binary(Cow::Owned(bytes)))
    },
    ..CODEC
};

pub(in crate::functions) const TO_BASE64URL: Function = Function {
    name: "to_base64url",
    signature: "to_base64url(*)",
    params: &[required("*", Kind::Bytes)],
    summary: "The payload in base64 for URLs, without `=` (RFC 4648 §5). A text instead of `*` is \
              encoded as UTF-8.",
    examples: &[
        example("to_base64url(*)", r#"{"a":1}"#, r#""eyJhIjoxfQ""#),
        example("to_base64url(from_hex('fbff'))", "{}", r#""-_8""#),
    ],
    eval: |arguments, _| Scheme::Base64Url.encode(bytes(arguments, 0)),
    ..CODEC
};

pub(in crate::functions) const TO_BASE64: Function = Function {
    name: "to_base64",
    aliases: &["base64_encode"],
    signature: "to_base64(*)",
    params: &[required("*", Kind::Bytes)],
    summary: "The payload in base64 (RFC 4648 §4). A text instead of `*` is encoded as UTF-8.",
    examples: &[
        example("to_base64(*)", r#"{"a":1}"#, r#""eyJhIjoxfQ==""#),
        example("to_base64('温')", "{}", r#""5rip""#),
    ],
    eval: |arguments, _| Scheme::Base64.encode(bytes(arguments, 0)),
    ..CODEC
};

pub(in crate::functions) const TO_HEX: Function = Function {
    name: "to_hex",
    signature: "to_hex(*)",
    params: &[required("*", Kind::Bytes)],
    summary: "The payload in lowercase hexadecimal. A text instead of `*` is encoded as UTF-8.",
    examples: &[
        example("to_hex(*)", "[1]", r#""5b315d""#),
        example("to_hex('温')", "{}", r#""e6b8a9""#),
    ],
    eval: |arguments, _| Scheme::Hex.encode(bytes(arguments, 0)),
    ..CODEC
};
