//! Functions that digest: hashes, keyed hashes, checksums, stable buckets. What encodes and can be
//! undone is in `codec`.

use hmac::{KeyInit, Mac};
use sha1::Digest;

use crate::expr::Const;
use crate::functions::bytes::codec::{bytes, text};
use crate::functions::math::number::whole;
use crate::functions::{
    Depends, Eval, Example, Fault, Function, Kind, NO_PREPARE, Nulls, Param, Prepared, Problem,
    Site, example, missing, optional, required,
};
use crate::number::Num;
use crate::value::Value;
use crate::work::Price;

/// What all functions here share.
const HASH: Function = Function {
    name: "",
    aliases: &[],
    family: "hashing",
    signature: "",
    price: Price::new(2_000, 100),
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

/// Units of work for each byte that MD2 reads, beyond what all of them cost.
const MD2_BYTE: u64 = 1_300;

/// The algorithms of `crypto`, `hash` and, without MD2, `hmac`.
const ALGORITHMS: &str = "MD2, MD5, SHA1, SHA-224, SHA-256, SHA-384 or SHA-512";

/// An algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Md2,
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        const NAMES: &[(&str, Algorithm)] = &[
            ("MD2", Algorithm::Md2),
            ("MD5", Algorithm::Md5),
            ("SHA", Algorithm::Sha1),
            ("SHA1", Algorithm::Sha1),
            ("SHA-1", Algorithm::Sha1),
            ("SHA224", Algorithm::Sha224),
            ("SHA-224", Algorithm::Sha224),
            ("SHA256", Algorithm::Sha256),
            ("SHA-256", Algorithm::Sha256),
            ("SHA384", Algorithm::Sha384),
            ("SHA-384", Algorithm::Sha384),
            ("SHA512", Algorithm::Sha512),
            ("SHA-512", Algorithm::Sha512),
        ];
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, found)| *found)
    }

    /// The digest in lowercase hexadecimal.
    fn digest(self, data: &[u8]) -> String {
        match self {
            Self::Md2 => hex::encode(md2::Md2::digest(data)),
            Self::Md5 => hex::encode(md5::Md5::digest(data)),
            Self::Sha1 => hex::encode(sha1::Sha1::digest(data)),
            Self::Sha224 => hex::encode(sha2::Sha224::digest(data)),
            Self::Sha256 => hex::encode(sha2::Sha256::digest(data)),
            Self::Sha384 => hex::encode(sha2::Sha384::digest(data)),
            Self::Sha512 => hex::encode(sha2::Sha512::digest(data)),
        }
    }

    /// The same, paid for: MD2 takes more than ten times as long as the others.
    fn paid(self, data: &[u8], site: &Site<'_>) -> Result<Value<'static>, Fault> {
        if matches!(self, Self::Md2) {
            site.pay(data.len() as u64 * MD2_BYTE)?;
        }
        Ok(Value::text(self.digest(data)))
    }

    /// The keyed digest (RFC 2104) in lowercase hexadecimal; `None` for MD2, which nobody keys.
    fn keyed(self, key: &[u8], data: &[u8]) -> Option<String> {
        fn code<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Option<String> {
            let mac = <M as KeyInit>::new_from_slice(key).ok()?;
            Some(hex::encode(mac.chain_update(data).finalize().into_bytes()))
        }
        match self {
            Self::Md2 => None,
            Self::Md5 => code::<hmac::Hmac<md5::Md5>>(key, data),
            Self::Sha1 => code::<hmac::Hmac<sha1::Sha1>>(key, data),
            Self::Sha224 => code::<hmac::Hmac<sha2::Sha224>>(key, data),
            Self::Sha256 => code::<hmac::Hmac<sha2::Sha256>>(key, data),
            Self::Sha384 => code::<hmac::Hmac<sha2::Sha384>>(key, data),
            Self::Sha512 => code::<hmac::Hmac<sha2::Sha512>>(key, data),
        }
    }
}

/// Refuses the name of an algorithm that does not exist.
fn known(arguments: &[Option<&Const>], index: usize) -> Result<Prepared, Problem> {
    match arguments.get(index) {
        Some(Some(Const::String(name))) if Algorithm::named(name).is_none() => Err(Problem {
            message: format!("there is no algorithm '{name}'"),
            expected: ALGORITHMS.into(),
        }),
        _ => Ok(Prepared::Nothing),
    }
}

fn algorithm(name: &str) -> Result<Algorithm, Fault> {
    Algorithm::named(name).ok_or_else(|| {
        Fault::new("domain", format!("there is no algorithm '{name}', but {ALGORITHMS}"))
    })
}

pub(in crate::functions) const CRYPTO: Function = Function {
    name: "crypto",
    family: "encoding",
    signature: "crypto(field, algorithm)",
    params: &[required("field", Kind::Bytes), required("algorithm", Kind::Text)],
    summary: "The digest of a text in lowercase hexadecimal: MD2, MD5, SHA1, SHA-224, SHA-256, \
              SHA-384 or SHA-512.",
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
    prepare: |arguments| known(arguments, 1),
    eval: |arguments, site| algorithm(text(arguments, 1))?.paid(bytes(arguments, 0), site),
    ..HASH
};

pub(in crate::functions) const HASH_WITH: Function = Function {
    name: "hash",
    signature: "hash(algorithm, value)",
    params: &[required("algorithm", Kind::Text), required("value", Kind::Bytes)],
    summary: "The digest of `*`, bytes or a text in lowercase hexadecimal; as crypto(), with the \
              algorithm first.",
    examples: &[
        example("hash('md5', 'abc')", "{}", r#""900150983cd24fb0d6963f7d28e17f72""#),
        example(
            "hash(a, 'abc')",
            r#"{"a":"sha"}"#,
            r#""a9993e364706816aba3e25717850c26c9cd0d89d""#,
        ),
        missing("hash(a, 'abc')", r#"{"a":"sha3"}"#),
    ],
    prepare: |arguments| known(arguments, 0),
    eval: |arguments, site| algorithm(text(arguments, 0))?.paid(bytes(arguments, 1), site),
    ..HASH
};

const VALUE: &[Param] = &[required("value", Kind::Bytes)];

/// A digest with a function of its own.
const fn digest(
    name: &'static str,
    signature: &'static str,
    summary: &'static str,
    examples: &'static [Example],
    eval: Eval,
) -> Function {
    Function { name, signature, params: VALUE, summary, examples, eval, ..HASH }
}

pub(in crate::functions) const MD2: Function = digest(
    "md2",
    "md2(value)",
    "The MD2 digest of `*`, bytes or a text (as UTF-8) in lowercase hexadecimal.",
    &[
        example("md2('abc')", "{}", r#""da853b0d3f88d99b30283a69e6ded6bb""#),
        example("md2('')", "{}", r#""8350e5a3e24c153df2275c9f80692773""#),
        example("md2(a)", r#"{"a":null}"#, "null"),
    ],
    |arguments, site| Algorithm::Md2.paid(bytes(arguments, 0), site),
);

pub(in crate::functions) const MD5: Function = digest(
    "md5",
    "md5(value)",
    "The MD5 digest of `*`, bytes or a text (as UTF-8) in lowercase hexadecimal.",
    &[
        example("md5('abc')", "{}", r#""900150983cd24fb0d6963f7d28e17f72""#),
        example("md5('')", "{}", r#""d41d8cd98f00b204e9800998ecf8427e""#),
        example("md5(a)", r#"{"a":null}"#, "null"),
    ],
    |arguments, _| Ok(Value::text(Algorithm::Md5.digest(bytes(arguments, 0)))),
);

pub(in crate::functions) const SHA1: Function = Function {
    aliases: &["sha"],
    ..digest(
        "sha1",
        "sha1(value)",
        "The SHA-1 digest of `*`, bytes or a text (as UTF-8) in lowercase hexadecimal.",
        &[
            example("sha1('abc')", "{}", r#""a9993e364706816aba3e25717850c26c9cd0d89d""#),
            example("sha1('')", "{}", r#""da39a3ee5e6b4b0d3255bfef95601890afd80709""#),
            example("sha1(a)", r#"{"a":null}"#, "null"),
        ],
        |arguments, _| Ok(Value::text(Algorithm::Sha1.digest(bytes(arguments, 0)))),
    )
};

pub(in crate::functions) const SHA224: Function = digest(
    "sha224",
    "sha224(value)",
    "The SHA-224 digest of `*`, bytes or a text (as UTF-8) in lowercase hexadecimal.",
    &[
        example(
            "sha224('abc')",
            "{}",
            r#""23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7""#,
        ),
        example(
            "sha224('')",
            "{}",
            r#""d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f""#,
        ),
        example("sha224(a)", r#"{"a":null}"#, "null"),
    ],
    |arguments, _| Ok(Value::text(Algorithm::Sha224.digest(bytes(arguments, 0)))),
);

pub(in crate::functions) const SHA256: Function = digest(
    "sha256",
    "sha256(value)",
    "The SHA-256 digest of `*`, bytes or a text (as UTF-8) in lowercase hexadecimal.",
    &[
        example(
            "sha256('abc')",
            "{}",
            r#""ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad""#,
        ),
        example(
            "sha256('')",
            "{}",
            r#""e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855""#,
        ),
        example("sha256(a)", r#"{"a":null}"#, "null"),
    ],
    |arguments, _| Ok(Value::text(Algorithm::Sha256.digest(bytes(arguments, 0)))),
);

pub(in crate::functions) const SHA384: Function = digest(
    "sha384",
    "sha384(value)",
    "The SHA-384 digest of `*`, bytes or a text (as UTF-8) in lowercase hexadecimal.",
    &[
        example(
            "sha384('abc')",
            "{}",
            r#""cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7""#,
        ),
        example(
            "sha384('')",
            "{}",
            r#""38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b""#,
        ),
        example("sha384(a)", r#"{"a":null}"#, "null"),
    ],
    |arguments, _| Ok(Value::text(Algorithm::Sha384.digest(bytes(arguments, 0)))),
);

pub(in crate::functions) const SHA512: Function = digest(
    "sha512",
    "sha512(value)",
    "The SHA-512 digest of `*`, bytes or a text (as UTF-8) in lowercase hexadecimal.",
    &[
        example(
            "sha512('abc')",
            "{}",
            r#""ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f""#,
        ),
        example(
            "sha512('')",
            "{}",
            r#""cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e""#,
        ),
        example("sha512(a)", r#"{"a":null}"#, "null"),
    ],
    |arguments, _| Ok(Value::text(Algorithm::Sha512.digest(bytes(arguments, 0)))),
);

pub(in crate::functions) const HMAC: Function = Function {
    name: "hmac",
    signature: "hmac(value, key[, algorithm])",
    params: &[
        required("value", Kind::Bytes),
        required("key", Kind::Bytes),
        optional("algorithm", Kind::Text),
    ],
    summary: "The keyed digest (HMAC) of `*`, bytes or a text in lowercase hexadecimal: SHA-256, \
              which is the default, MD5, SHA1, SHA-224, SHA-384 or SHA-512. The key is text or \
              bytes.",
    examples: &[
        example(
            "hmac('what do ya want for nothing?', 'Jefe')",
            "{}",
            r#""5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843""#,
        ),
        example(
            "hmac('Hi There', from_hex('0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b'), 'MD5')",
            "{}",
            r#""9294727a3638bb1c13f48ef8158bfc9d""#,
        ),
        missing("hmac('a', 'k', b)", r#"{"b":"CRC"}"#),
    ],
    prepare: |arguments| match arguments.get(2) {
        Some(Some(Const::String(name))) if name.eq_ignore_ascii_case("MD2") => Err(Problem {
            message: "MD2 has no keyed form".into(),
            expected: "MD5, SHA1, SHA-224, SHA-256, SHA-384 or SHA-512".into(),
        }),
        _ => known(arguments, 2),
    },
    eval: |arguments, _| {
        let with = match arguments.len() {
            2 => Algorithm::Sha256,
            _ => algorithm(text(arguments, 2))?,
        };
        let code = with.keyed(bytes(arguments, 1), bytes(arguments, 0));
        code.map(Value::text).ok_or_else(|| Fault::new("domain", "MD2 has no keyed form"))
    },
    ..HASH
};

pub(in crate::functions) const CRC32: Function = Function {
    result: Kind::Number,
    ..digest(
        "crc32",
        "crc32(value)",
        "The CRC-32 of `*`, bytes or a text as a NUMBER (that of zip and Ethernet); dec2hex() makes \
         it hexadecimal.",
        &[
            example("crc32('123456789')", "{}", "3421780262"),
            example("dec2hex(crc32('123456789'))", "{}", r#""cbf43926""#),
            example("crc32('')", "{}", "0"),
        ],
        |arguments, _| {
            let sum = crc32fast::hash(bytes(arguments, 0));
            Ok(Value::number(Num::Int(sum.into())))
        },
    )
};

/// The remainders of all bytes for CRC-16-CCITT, polynomial 0x1021, highest bit first.
const CCITT: [u16; 256] = table(0x1021, false);
/// The same for CRC-16-IBM, polynomial 0x8005 mirrored, lowest bit first.
const IBM: [u16; 256] = table(0xa001, true);

const fn table(polynomial: u16, mirrored: bool) -> [u16; 256] {
    let mut all = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut rest = if mirrored { byte as u16 } else { (byte as u16) << 8 };
        let mut bit = 0;
        while bit < 8 {
            let out = if mirrored { rest & 1 } else { rest >> 15 };
            rest = if mirrored { rest >> 1 } else { rest << 1 };
            if out == 1 {
                rest ^= polynomial;
            }
            bit += 1;
        }
        all[byte] = rest;
        byte += 1;
    }
    all
}

/// The variants of CRC-16.
const CRC16_NAMES: &str = "'modbus', 'ccitt' or 'xmodem'";

/// The sum of a variant; `None` when there is none of that name.
fn crc16(variant: &str, data: &[u8]) -> Option<u16> {
    let mirrored = |sum: u16, byte: &u8| sum >> 8 ^ IBM[usize::from(sum.to_le_bytes()[0] ^ byte)];
    let plain = |sum: u16, byte: &u8| sum << 8 ^ CCITT[usize::from(sum.to_be_bytes()[0] ^ byte)];
    let is = |name: &str| name.eq_ignore_ascii_case(variant);
    if is("modbus") {
        Some(data.iter().fold(0xffff, mirrored))
    } else if is("ccitt") {
        Some(data.iter().fold(0xffff, plain))
    } else {
        is("xmodem").then(|| data.iter().fold(0, plain))
    }
}

pub(in crate::functions) const CRC16: Function = Function {
    name: "crc16",
    signature: "crc16(value[, variant])",
    params: &[required("value", Kind::Bytes), optional("variant", Kind::Text)],
    result: Kind::Number,
    summary: "The CRC-16 of `*`, bytes or a text as a NUMBER: 'modbus' (the default), 'ccitt' (from \
              0xFFFF) or 'xmodem'.",
    examples: &[
        example("crc16('123456789')", "{}", "19255"),
        example("crc16('123456789', 'ccitt')", "{}", "10673"),
        example("crc16('123456789', 'xmodem')", "{}", "12739"),
        missing("crc16('a', b)", r#"{"b":"arc"}"#),
    ],
    prepare: |arguments| match arguments.get(1) {
        Some(Some(Const::String(name))) if crc16(name, b"").is_none() => Err(Problem {
            message: format!("there is no CRC-16 '{name}'"),
            expected: CRC16_NAMES.into(),
        }),
        _ => Ok(Prepared::Nothing),
    },
    eval: |arguments, _| {
        let variant = if arguments.len() > 1 { text(arguments, 1) } else { "modbus" };
        match crc16(variant, bytes(arguments, 0)) {
            Some(sum) => Ok(Value::number(Num::Int(sum.into()))),
            None => {
                let message = format!("there is no CRC-16 '{variant}', but {CRC16_NAMES}");
                Err(Fault::new("domain", message))
            }
        }
    },
    ..HASH
};

pub(in crate::functions) const BUCKET: Function = Function {
    name: "bucket",
    signature: "bucket(value, count)",
    params: &[required("value", Kind::Bytes), required("count", Kind::Integer)],
    result: Kind::Number,
    summary: "One of the numbers 0 to count - 1 that the text or bytes always get, in all versions, \
              spread evenly: for samples (bucket(deviceName(), 100) < 5) and for sharding.",
    examples: &[
        example("bucket(deviceName(), 16)", "{}", "1"),
        example("bucket('dev1', 1)", "{}", "0"),
        example("bucket(id, 100) = bucket('42', 100)", r#"{"id":42}"#, "true"),
        missing("bucket('dev1', n)", r#"{"n":0}"#),
    ],
    prepare: |arguments| match arguments.get(1) {
        Some(Some(Const::Number(count, text))) if count.compare(Num::Int(1)).is_lt() => {
            Err(Problem {
                message: format!("{text} is no number of buckets"),
                expected: "an integer from 1 on".into(),
            })
        }
        _ => Ok(Prepared::Nothing),
    },
    eval: |arguments, _| {
        let count = whole(arguments, 1);
        let Some(buckets) = u64::try_from(count).ok().filter(|count| *count > 0) else {
            return Err(Fault::new("domain", format!("{count} is no number of buckets")));
        };
        let hash = crate::functions::mix(crate::functions::fnv1a(bytes(arguments, 0)));
        // The high half of the product is the share of the hash: even for any number of buckets.
        let bucket = (u128::from(hash) * u128::from(buckets)) >> 64;
        Ok(Value::number(crate::functions::math::number::unsigned(
            u64::try_from(bucket).unwrap_or_default(),
        )))
    },
    ..HASH
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_hold_the_published_vectors() {
        let of = |name| Algorithm::named(name).map(|algorithm| algorithm.digest(b"abc"));
        assert_eq!(
            of("sha-224").as_deref(),
            Some("23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7")
        );
        assert!(
            of("sha512").is_some_and(|hash| hash.ends_with("454d4423643ce80e2a9ac94fa54ca49f"))
        );
        assert_eq!(of("sha3"), None);
    }

    #[test]
    fn buckets_are_even() {
        let mut counts = [0; 10];
        for device in 0..10_000 {
            let hash =
                crate::functions::mix(crate::functions::fnv1a(format!("dev{device}").as_bytes()));
            counts[usize::try_from((u128::from(hash) * 10) >> 64).expect("below 10")] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }
}
