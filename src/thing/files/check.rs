//! Checksums: of each part of a file that is sent, and of the whole.
//!
//! Two different ones go by the name CRC-64, that of xz, which the vendor's object store has, and that of
//! Redis. The vendor does not write down which of them its devices send: a file that fits either is whole.

use crc::{CRC_16_ARC, CRC_64_REDIS, CRC_64_XZ, Crc, Digest};
use md5::{Digest as _, Md5};

static PARTS: Crc<u16> = Crc::<u16>::new(&CRC_16_ARC);
static XZ: Crc<u64> = Crc::<u64>::new(&CRC_64_XZ);
static REDIS: Crc<u64> = Crc::<u64>::new(&CRC_64_REDIS);

/// The checksum of a part: CRC-16/IBM.
pub(super) fn of_part(bytes: &[u8]) -> u16 {
    PARTS.checksum(bytes)
}

/// What a device says of a whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Check {
    /// 16 hexadecimal digits.
    Crc64(u64, String),
    /// 32 hexadecimal digits.
    Md5(String),
}

impl Check {
    /// A checksum of that kind; `None` when it is none.
    pub(super) fn read(mode: &str, value: &str) -> Option<Self> {
        let hex = |digits| value.len() == digits && value.bytes().all(|b| b.is_ascii_hexdigit());
        match mode {
            "crc64" if hex(16) => {
                u64::from_str_radix(value, 16).ok().map(|sum| Self::Crc64(sum, value.to_owned()))
            }
            "md5" if hex(32) => Some(Self::Md5(value.to_owned())),
            _ => None,
        }
    }

    /// Its kind and its value, as the device wrote them.
    pub(super) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Crc64(_, text) => ("crc64", text),
            Self::Md5(text) => ("md5", text),
        }
    }
}

/// The checksums of a file that is read from its start.
pub(super) struct Sums {
    xz: Digest<'static, u64>,
    redis: Digest<'static, u64>,
    md5: Md5,
}

impl Default for Sums {
    fn default() -> Self {
        Self { xz: XZ.digest(), redis: REDIS.digest(), md5: Md5::new() }
    }
}

impl Sums {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.xz.update(bytes);
        self.redis.update(bytes);
        self.md5.update(bytes);
    }

    /// Whether the file is what its device says, and its checksum of that kind.
    pub(super) fn compare(self, with: &Check) -> (bool, String) {
        match with {
            Check::Crc64(given, _) => {
                let (xz, redis) = (self.xz.finalize(), self.redis.finalize());
                let own = if redis == *given { redis } else { xz };
                (own == *given, format!("{own:016x}"))
            }
            Check::Md5(given) => {
                let own = hex::encode(self.md5.finalize());
                (own.eq_ignore_ascii_case(given), own)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_their_standards() {
        assert_eq!(of_part(b"123456789"), 0xbb3d);
        let whole = |mode: &str, value: &str| {
            let mut sums = Sums::default();
            sums.add(b"1234");
            sums.add(b"56789");
            sums.compare(&Check::read(mode, value).expect("a checksum"))
        };
        assert_eq!(whole("crc64", "995DC9BBDF1939FA"), (true, "995dc9bbdf1939fa".to_owned()));
        assert_eq!(whole("crc64", "e9c6d914c4b8d9ca"), (true, "e9c6d914c4b8d9ca".to_owned()));
        assert_eq!(whole("crc64", "0000000000000000"), (false, "995dc9bbdf1939fa".to_owned()));
        let md5 = "25f9e794323b453885f5181f1b624d0b";
        assert_eq!(whole("md5", md5), (true, md5.to_owned()));
        for (mode, value) in
            [("crc64", "1"), ("crc64", "+95dc9bbdf1939fa"), ("sha1", md5), ("md5", "")]
        {
            assert_eq!(Check::read(mode, value), None, "{mode} {value}");
        }
    }
}
