//! Functions that compress and decompress. What they build is bounded: a small payload that stands for
//! gigabytes is an error after a few megabytes.

use std::borrow::Cow;
use std::io::{Read, Write as _};

use flate2::bufread::MultiGzDecoder;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use flate2::{Compression, Decompress, FlushDecompress, Status};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::eval;
use crate::expr::Const;
use crate::functions::bytes::codec::{bytes, text};
use crate::functions::{
    Depends, Fault, Function, Kind, NO_PREPARE, Nulls, Param, Prepared, Problem, example, missing,
    required,
};
use crate::value::Value;
use crate::work::{Price, Work};

/// What all functions here share.
const COMPRESSION: Function = Function {
    name: "",
    aliases: &[],
    family: "encoding",
    signature: "",
    price: Price::new(100_000, 400),
    params: STAR,
    rest: None,
    result: Kind::Bytes,
    nulls: Nulls::Propagate,
    reads: &[],
    spreads: false,
    depends: Depends::Arguments,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

/// What those share that decompress: the rest is paid on the way.
const DECOMPRESSION: Function = Function { price: Price::new(100_000, 0), ..COMPRESSION };

const STAR: &[Param] = &[required("*", Kind::Bytes)];

/// Bytes that are taken out of a decompressor at a time.
const CHUNK: usize = 8 * 1024;

/// Units of work for each byte that is decompressed: blocks of a few bytes bring tables of their own.
const UNPACK: u64 = 600;

/// For each byte that comes of it, in steps of [`CHUNK`]: a few bytes may stand for megabytes.
const UNPACKED: u64 = 40;

/// The largest window of a zstd frame, which is memory that it asks for: what RFC 8878 §3.1.1.1.2
/// recommends to support at least.
const WINDOW: u64 = 8 * 1024 * 1024;

/// A format of compressed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// RFC 1952.
    Gzip,
    /// RFC 1950.
    Zlib,
    /// RFC 1951, without a header.
    Deflate,
    /// RFC 8878.
    Zstd,
}

/// The names of [`Format`].
const FORMATS: &str = "'gzip', 'zlib', 'deflate' (or 'flate') or 'zstd'";

impl Format {
    fn named(name: &str) -> Option<Self> {
        const NAMES: &[(&str, Format)] = &[
            ("gzip", Format::Gzip),
            ("zlib", Format::Zlib),
            ("deflate", Format::Deflate),
            ("flate", Format::Deflate),
            ("zstd", Format::Zstd),
        ];
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, found)| *found)
    }

    fn of(name: &str) -> Result<Self, Fault> {
        Self::named(name).ok_or_else(|| {
            Fault::new("domain", format!("there is no compression '{name}', but {FORMATS}"))
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zlib => "zlib",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }

    fn compress(self, data: &[u8]) -> Result<Value<'static>, Fault> {
        // What cannot be compressed is stored, with a few bytes for each block.
        eval::fits(data.len() + data.len() / 1000 + 64)?;
        let out = Vec::with_capacity(data.len() / 2 + 64);
        let level = Compression::default();
        // Writing to a Vec cannot fail.
        let result = match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(out, level);
                encoder.write_all(data).and_then(|()| encoder.finish())
            }
            Self::Zlib => {
                let mut encoder = ZlibEncoder::new(out, level);
                encoder.write_all(data).and_then(|()| encoder.finish())
            }
            Self::Deflate => {
                let mut encoder = DeflateEncoder::new(out, level);
                encoder.write_all(data).and_then(|()| encoder.finish())
            }
            Self::Zstd => Ok(compress_to_vec(data, CompressionLevel::Fastest)),
        };
        match result {
            Ok(out) => Ok(Value::Binary(Cow::Owned(out))),
            Err(error) => Err(Fault::new("encoding", error.to_string())),
        }
    }

    fn decompress(self, data: &[u8], work: &Work) -> Result<Value<'static>, Fault> {
        work.pay(data.len() as u64 * UNPACK)?;
        let mut out = Vec::new();
        match self {
            Self::Gzip => self.take(MultiGzDecoder::new(data), &mut out, work)?,
            Self::Zlib | Self::Deflate => self.inflate(data, &mut out, work)?,
            Self::Zstd => {
                // Frames may follow each other; the memory of the first one serves all.
                let mut frames = FrameDecoder::new();
                frames.set_max_window_size(WINDOW);
                let mut rest = data;
                loop {
                    let at = data.len() - rest.len();
                    // The crate's words for it are for its developers.
                    let decoder = StreamingDecoder::new_with_decoder(&mut rest, &mut frames)
                        .map_err(|_| {
                            let why = format!(
                                "no frame that wants at most {WINDOW} bytes of memory is at byte {at}"
                            );
                            self.broken(&why)
                        })?;
                    self.take(decoder, &mut out, work)?;
                    if rest.is_empty() {
                        break;
                    }
                }
            }
        }
        Ok(Value::Binary(Cow::Owned(out)))
    }

    fn broken(self, why: &str) -> Fault {
        let why = why.to_lowercase();
        let why = why.trim_end_matches('.');
        Fault::new("encoding", format!("the bytes are no {}: {why}", self.name()))
    }

    /// Reads to the end, as far as a result may be long.
    fn take(self, mut from: impl Read, out: &mut Vec<u8>, work: &Work) -> Result<(), Fault> {
        let mut chunk = [0; CHUNK];
        loop {
            let count = match from.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(_) if self == Self::Zstd => {
                    return Err(self.broken("a frame is damaged or cut"));
                }
                Err(error) => return Err(self.broken(&error.to_string())),
            };
            append(chunk.get(..count).unwrap_or_default(), out, work)?;
        }
    }

    /// The same without a reader, which would take bytes that are cut off for the end.
    fn inflate(self, data: &[u8], out: &mut Vec<u8>, work: &Work) -> Result<(), Fault> {
        let mut state = Decompress::new(self == Self::Zlib);
        let mut chunk = [0; CHUNK];
        let mut rest = data;
        loop {
            let (read, made) = (state.total_in(), state.total_out());
            let status = state
                .decompress(rest, &mut chunk, FlushDecompress::None)
                .map_err(|error| self.broken(&error.to_string()))?;
            let moved = |from: u64, to: u64| usize::try_from(to - from).unwrap_or_default();
            let (read, made) = (moved(read, state.total_in()), moved(made, state.total_out()));
            rest = rest.get(read..).unwrap_or_default();
            append(chunk.get(..made).unwrap_or_default(), out, work)?;
            match status {
                Status::StreamEnd => return Ok(()),
                _ if read == 0 && made == 0 => return Err(self.broken("they end early")),
                _ => {}
            }
        }
    }
}

/// Adds what was decompressed, if it is paid for and the result may be that long.
fn append(bytes: &[u8], out: &mut Vec<u8>, work: &Work) -> Result<(), Fault> {
    work.pay(bytes.len() as u64 * UNPACKED)?;
    eval::fits(out.len() + bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(())
}

/// Refuses the name of a compression that does not exist.
fn known(arguments: &[Option<&Const>]) -> Result<Prepared, Problem> {
    match arguments.get(1) {
        Some(Some(Const::String(name))) if Format::named(name).is_none() => Err(Problem {
            message: format!("there is no compression '{name}'"),
            expected: FORMATS.into(),
        }),
        _ => Ok(Prepared::Nothing),
    }
}

const NAMED: &[Param] = &[required("*", Kind::Bytes), required("format", Kind::Text)];

pub(in crate::functions) const COMPRESS: Function = Function {
    name: "compress",
    signature: "compress(*, format)",
    params: NAMED,
    summary: "`*`, bytes or a text compressed as 'gzip', 'zlib', 'deflate' (also called 'flate') or \
              'zstd', as BINARY: to_base64() makes an item of it.",
    examples: &[
        example("bytesize(compress(*, 'zlib')) > 0", "{}", "true"),
        example("decompress(compress(a, 'zstd'), 'zstd') || '!'", r#"{"a":"温度"}"#, r#""温度!""#),
        missing("compress('a', b)", r#"{"b":"rar"}"#),
    ],
    prepare: known,
    eval: |arguments, _| Format::of(text(arguments, 1))?.compress(bytes(arguments, 0)),
    ..COMPRESSION
};

pub(in crate::functions) const DECOMPRESS: Function = Function {
    name: "decompress",
    signature: "decompress(*, format)",
    params: NAMED,
    summary: "What was compressed as 'gzip', 'zlib', 'deflate' (also called 'flate') or 'zstd', as \
              BINARY: decode_text() makes an item of it. More than 4 MiB is an error.",
    examples: &[
        example(
            "decode_text(decompress(from_base64('eJxLTIQBABThA8s='), 'zlib'))",
            "{}",
            r#""aaaaaaaaaa""#,
        ),
        missing("decompress('aaaa', 'gzip')", "{}"),
    ],
    prepare: known,
    eval: |arguments, site| {
        Format::of(text(arguments, 1))?.decompress(bytes(arguments, 0), &site.work)
    },
    ..DECOMPRESSION
};

pub(in crate::functions) const GZIP: Function = Function {
    name: "gzip",
    signature: "gzip(*)",
    summary: "`*`, bytes or a text compressed as gzip (RFC 1952), as BINARY: to_base64() makes an \
              item of it.",
    examples: &[
        example("bytesize(gzip(*)) > 0", "{}", "true"),
        example("decode_text(gunzip(gzip('温度')))", "{}", r#""温度""#),
        example("gzip(a)", r#"{"a":null}"#, "null"),
    ],
    eval: |arguments, _| Format::Gzip.compress(bytes(arguments, 0)),
    ..COMPRESSION
};

pub(in crate::functions) const GUNZIP: Function = Function {
    name: "gunzip",
    signature: "gunzip(*)",
    summary: "What was compressed as gzip (RFC 1952), as BINARY: decode_text() makes an item of \
              it, and other functions take it as text. More than 4 MiB is an error.",
    examples: &[
        example(
            "decode_text(gunzip(from_base64('H4sIAAAAAAACA0tMhAEA8M0RTAoAAAA=')))",
            "{}",
            r#""aaaaaaaaaa""#,
        ),
        missing("gunzip('no such thing')", "{}"),
    ],
    eval: |arguments, site| Format::Gzip.decompress(bytes(arguments, 0), &site.work),
    ..DECOMPRESSION
};

pub(in crate::functions) const ZLIB: Function = Function {
    name: "zlib",
    aliases: &["zip_compress"],
    signature: "zlib(*)",
    summary: "`*`, bytes or a text compressed as zlib (RFC 1950), as BINARY: to_base64() makes an \
              item of it.",
    examples: &[
        example("bytesize(zlib(*)) > 0", "{}", "true"),
        example("decode_text(unzlib(zlib('温度')))", "{}", r#""温度""#),
        example("zlib(a)", r#"{"a":null}"#, "null"),
    ],
    eval: |arguments, _| Format::Zlib.compress(bytes(arguments, 0)),
    ..COMPRESSION
};

pub(in crate::functions) const UNZLIB: Function = Function {
    name: "unzlib",
    aliases: &["zip_uncompress"],
    signature: "unzlib(*)",
    summary: "What was compressed as zlib (RFC 1950), as BINARY: decode_text() makes an item of \
              it, and other functions take it as text. More than 4 MiB is an error.",
    examples: &[
        example("decode_text(unzlib(from_base64('eJxLTIQBABThA8s=')))", "{}", r#""aaaaaaaaaa""#),
        missing("unzlib('no such thing')", "{}"),
    ],
    eval: |arguments, site| Format::Zlib.decompress(bytes(arguments, 0), &site.work),
    ..DECOMPRESSION
};

pub(in crate::functions) const DEFLATE: Function = Function {
    name: "deflate",
    aliases: &["zip"],
    signature: "deflate(*)",
    summary: "`*`, bytes or a text compressed as deflate without a header (RFC 1951), as BINARY: \
              to_base64() makes an item of it.",
    examples: &[
        example("bytesize(deflate(*)) > 0", "{}", "true"),
        example("decode_text(inflate(deflate('温度')))", "{}", r#""温度""#),
        example("deflate(a)", r#"{"a":null}"#, "null"),
    ],
    eval: |arguments, _| Format::Deflate.compress(bytes(arguments, 0)),
    ..COMPRESSION
};

pub(in crate::functions) const INFLATE: Function = Function {
    name: "inflate",
    aliases: &["unzip"],
    signature: "inflate(*)",
    summary: "What was compressed as deflate without a header (RFC 1951), as BINARY: decode_text() \
              makes an item of it, and other functions take it as text. More than 4 MiB is an error.",
    examples: &[
        example("decode_text(inflate(from_base64('S0yEAQA=')))", "{}", r#""aaaaaaaaaa""#),
        missing("inflate('no such thing')", "{}"),
    ],
    eval: |arguments, site| Format::Deflate.decompress(bytes(arguments, 0), &site.work),
    ..DECOMPRESSION
};

pub(in crate::functions) const ZSTD: Function = Function {
    name: "zstd",
    signature: "zstd(*)",
    summary: "`*`, bytes or a text compressed as Zstandard (RFC 8878), as BINARY: to_base64() makes an \
              item of it.",
    examples: &[
        example("bytesize(zstd(*)) > 0", "{}", "true"),
        example("decode_text(unzstd(zstd('温度')))", "{}", r#""温度""#),
        example("zstd(a)", r#"{"a":null}"#, "null"),
    ],
    eval: |arguments, _| Format::Zstd.compress(bytes(arguments, 0)),
    ..COMPRESSION
};

pub(in crate::functions) const UNZSTD: Function = Function {
    name: "unzstd",
    signature: "unzstd(*)",
    summary: "What was compressed as Zstandard (RFC 8878), as BINARY: decode_text() makes an item of \
              it, and other functions take it as text. More than 4 MiB is an error.",
    examples: &[
        example("decode_text(unzstd(zstd(a)))", r#"{"a":"aaaaaaaaaa"}"#, r#""aaaaaaaaaa""#),
        missing("unzstd('no such thing')", "{}"),
    ],
    eval: |arguments, site| Format::Zstd.decompress(bytes(arguments, 0), &site.work),
    ..DECOMPRESSION
};

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Format; 4] = [Format::Gzip, Format::Zlib, Format::Deflate, Format::Zstd];

    fn decompress(format: Format, data: &[u8]) -> Result<Value<'static>, Fault> {
        format.decompress(data, &Work::new(u64::MAX))
    }

    fn compressed(format: Format, data: &[u8]) -> Vec<u8> {
        match format.compress(data) {
            Ok(Value::Binary(bytes)) => bytes.into_owned(),
            other => panic!("{format:?}: {other:?}"),
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let noise: Vec<u8> = (0..100_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24).to_be_bytes()[3])
            .collect();
        for format in ALL {
            for data in [&b""[..], b"a", &noise, &[0; 50_000]] {
                let packed = compressed(format, data);
                let out = decompress(format, &packed);
                assert_eq!(out, Ok(Value::Binary(Cow::Borrowed(data))), "{format:?}");
                for cut in [packed.len() / 2, packed.len() - 1] {
                    let result = decompress(format, &packed[..cut]);
                    assert!(result.is_err(), "{format:?} cut at {cut} of {}", packed.len());
                }
            }
        }
    }

    #[test]
    fn bombs_are_refused() {
        let large = vec![0; 4 * 1024 * 1024 - 8192];
        for format in ALL {
            let packed = compressed(format, &large);
            assert!(decompress(format, &packed).is_ok(), "{format:?}");
        }
        // 64 MiB of zeros in 64 KiB.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let zeros = [0; CHUNK];
        for _ in 0..8192 {
            encoder.write_all(&zeros).expect("a Vec");
        }
        let bomb = encoder.finish().expect("a Vec");
        let fault = decompress(Format::Gzip, &bomb).expect_err("too large");
        assert_eq!(fault.code, "too_large");
        // Two members, and frames of zstd, are joined; the sum is bounded.
        for format in [Format::Gzip, Format::Zstd] {
            let packed = compressed(format, &large).repeat(2);
            let fault = decompress(format, &packed).expect_err("too large");
            assert_eq!(fault.code, "too_large");
        }
        // What is left of the budget ends it sooner, though the input is small.
        let work = Work::new(50_000_000);
        let fault = Format::Gzip.decompress(&bomb, &work).expect_err("too costly");
        assert_eq!(fault.code, "too_costly");
        // A frame that asks for a window of gigabytes.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00];
        assert!(decompress(Format::Zstd, &frame).is_err());
    }
}
