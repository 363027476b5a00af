//! Functions that encode or digest: the payload as text, base64, hexadecimal, hashes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Digest;

use super::{
    Example, Fault, Function, Kind, NO_PREPARE, Nulls, Prepared, Problem, example, optional,
    required,
};
use crate::sql::expr::Const;
use crate::sql::value::Value;

/// What all functions here share.
const CODEC: Function = Function {
    name: "",
    aliases: &[],
    family: "encoding",
    signature: "",
    params: &[],
    rest: None,
    result: Kind::Text,
    nulls: Nulls::Propagate,
    reads: &[],
    spreads: false,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

/// The bytes of a payload or of a text.
fn bytes<'v>(arguments: &'v [Value<'_>], index: usize) -> &'v [u8] {
    match arguments.get(index) {
        Some(Value::Binary(bytes)) => bytes,
        Some(Value::String(text)) => text.as_bytes(),
        _ => &[],
    }
}

/// The algorithms of `crypto`.
const ALGORITHMS: &str = "MD2, MD5, SHA1, SHA-256, SHA-384 or SHA-512";

/// The digest in lowercase hexadecimal; `None` for an unknown algorithm.
fn digest(algorithm: &str, data: &[u8]) -> Option<String> {
    Some(match algorithm.to_ascii_uppercase().as_str() {
        "MD2" => hex::encode(md2::Md2::digest(data)),
        "MD5" => hex::encode(md5::Md5::digest(data)),
        "SHA1" | "SHA-1" => hex::encode(sha1::Sha1::digest(data)),
        "SHA-256" | "SHA256" => hex::encode(sha2::Sha256::digest(data)),
        "SHA-384" | "SHA384" => hex::encode(sha2::Sha384::digest(data)),
        "SHA-512" | "SHA512" => hex::encode(sha2::Sha512::digest(data)),
        _ => return None,
    })
}

pub(super) const CRYPTO: Function = Function {
    name: "crypto",
    signature: "crypto(field, algorithm)",
    params: &[required("field", Kind::Text), required("algorithm", Kind::Text)],
    summary: "The digest of a text in lowercase hexadecimal: MD2, MD5, SHA1, SHA-256, SHA-384 or \
              SHA-512.",
    examples: &[
        example("crypto('abc', 'MD2')", "{}", r#""da853b0d3f88d99b30283a69e6ded6bb""#),
        example("crypto(a, 'MD5')", r#"{"a":"abc"}"#, r#""900150983cd24fb0d6963f7d28e17f72""#),
        example("crypto('abc', 'SHA1')", "{}", r#""a9993e364706816aba3e25717850c26c9cd0d89d""#),
        example(
            "crypto('abc', 'SHA-256')",
            "{}",
            r#""ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad""#,
        ),
        example("substring(crypto('abc', 'SHA-384'), 0, 16)", "{}", r#""cb00753f45a35e8b""#),
        example("substring(crypto('abc', 'SHA-512'), 0, 16)", "{}", r#""ddaf35a193617aba""#),
        example("crypto(a, 'MD5')", r#"{"a":1}"#, r#""c4ca4238a0b923820dcc509a6f75849b""#),
        Example { sql: "crypto('a', b)", payload: r#"{"b":"CRC"}"#, result: None },
    ],
    prepare: |arguments| match arguments.get(1) {
        Some(Some(Const::String(name))) if digest(name, b"").is_none() => Err(Problem {
            message: format!("there is no algorithm '{name}'"),
            expected: ALGORITHMS.into(),
        }),
        _ => Ok(Prepared::Nothing),
    },
    eval: |arguments, _| match (arguments.first(), arguments.get(1)) {
        (Some(Value::String(field)), Some(Value::String(algorithm))) => {
            digest(algorithm, field.as_bytes()).map(Value::text).ok_or_else(|| {
                let message = format!("there is no algorithm '{algorithm}', but {ALGORITHMS}");
                Fault::new("domain", message)
            })
        }
        _ => Ok(Value::Missing),
    },
    ..CODEC
};

/// The character sets that `payload` knows.
const CHARSETS: &str = "utf-8, us-ascii or iso-8859-1";

/// A payload as text; `None` for an unknown character set, an error for bytes outside it.
fn decode<'a>(charset: &str, payload: &'a [u8]) -> Option<Result<Value<'a>, Fault>> {
    let utf8 = |payload: &'a [u8]| {
        std::str::from_utf8(payload).map(Value::text).map_err(|error| {
            let message = format!("the payload is not UTF-8 at byte {}", error.valid_up_to());
            Fault::new("encoding", message)
        })
    };
    Some(match charset.to_ascii_lowercase().as_str() {
        "utf-8" | "utf8" => utf8(payload),
        "us-ascii" | "ascii" if payload.is_ascii() => utf8(payload),
        "us-ascii" | "ascii" => Err(Fault::new("encoding", "the payload is not ASCII")),
        "iso-8859-1" | "latin1" | "latin-1" => {
            Ok(Value::text(payload.iter().map(|byte| char::from(*byte)).collect::<String>()))
        }
        _ => return None,
    })
}

pub(super) const PAYLOAD: Function = Function {
    name: "payload",
    signature: "payload([charset])",
    params: &[optional("charset", Kind::Text)],
    summary: "The payload as it was published, as text: utf-8 (the default), us-ascii or \
              iso-8859-1.",
    examples: &[
        example("payload()", r#"{"a": 1}"#, r#""{\"a\": 1}""#),
        example("payload('utf-8')", "[]", r#""[]""#),
        example("payload(a)", r#"{"a":"us-ascii"}"#, r#""{\"a\":\"us-ascii\"}""#),
        Example { sql: "payload(a)", payload: r#"{"a":"klingon"}"#, result: None },
    ],
    prepare: |arguments| match arguments.first() {
        Some(Some(Const::String(name))) if decode(name, b"").is_none() => Err(Problem {
            message: format!("there is no character set '{name}'"),
            expected: CHARSETS.into(),
        }),
        _ => Ok(Prepared::Nothing),
    },
    eval: |arguments, site| {
        let charset = match arguments.first() {
            Some(Value::String(charset)) => charset,
            _ => "utf-8",
        };
        decode(charset, site.payload()).unwrap_or_else(|| {
            let message = format!("there is no character set '{charset}', but {CHARSETS}");
            Err(Fault::new("domain", message))
        })
    },
    ..CODEC
};

pub(super) const TO_BASE64: Function = Function {
    name: "to_base64",
    signature: "to_base64(*)",
    params: &[required("*", Kind::Bytes)],
    summary: "The payload in base64 (RFC 4648 §4). A text instead of `*` is encoded as UTF-8.",
    examples: &[
        example("to_base64(*)", r#"{"a":1}"#, r#""eyJhIjoxfQ==""#),
        example("to_base64('温')", "{}", r#""5rip""#),
    ],
    eval: |arguments, _| Ok(Value::text(STANDARD.encode(bytes(arguments, 0)))),
    ..CODEC
};

pub(super) const TO_HEX: Function = Function {
    name: "to_hex",
    signature: "to_hex(*)",
    params: &[required("*", Kind::Bytes)],
    summary: "The payload in lowercase hexadecimal. A text instead of `*` is encoded as UTF-8.",
    examples: &[
        example("to_hex(*)", "[1]", r#""5b315d""#),
        example("to_hex('温')", "{}", r#""e6b8a9""#),
    ],
    eval: |arguments, _| Ok(Value::text(hex::encode(bytes(arguments, 0)))),
    ..CODEC
};
