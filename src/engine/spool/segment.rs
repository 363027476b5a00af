//! What a segment says about itself: its name and the header at its start.
//!
//! The name repeats what is needed to read the segment when the header is damaged. Records are the
//! business of [`super::frame`].

use std::io;

use super::frame::{u32_at, u64_at};
use super::fs::{File, Fs};

/// Where the first record of a segment starts, in bytes.
pub(super) const HEADER: u64 = 128;
/// The version of the format that this program writes, and the only one that it reads.
pub(super) const FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"TGSPOOL\0";
const SUM_AT: usize = 124;
const PREFIX: &str = "log-";

/// What identifies a segment; stands in its header and in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    /// The position of its first record.
    pub base: u64,
    /// Counts the segments ever made in this folder. Of two with the same base the later one holds
    /// what was acknowledged: the earlier one was given up before anything was.
    pub serial: u64,
    /// Drawn for this segment.
    pub salt: u64,
}

impl Identity {
    /// The name of the segment's file.
    pub(super) fn name(&self) -> String {
        format!("{PREFIX}{:016x}-{:016x}-{:016x}", self.base, self.serial, self.salt)
    }

    /// Reads a name; `None` when it is none of a segment.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.split('-').map(|part| {
            let digits = part.len() == 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            digits.then(|| u64::from_str_radix(part, 16).ok()).flatten()
        });
        let identity = Self { base: parts.next()??, serial: parts.next()??, salt: parts.next()?? };
        parts.next().is_none().then_some(identity)
    }
}

/// The start of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Which segment it is.
    pub identity: Identity,
    /// The base of the segment before it.
    pub before_base: u64,
    /// Where that one ends: records there from this position on were never acknowledged.
    pub before_end: u64,
    /// When it was begun, in milliseconds since 1970.
    pub created_ms: u64,
    /// The last ledger that was durable then; an older one found later is out of date.
    pub ledger: u64,
}

/// What was found where a header should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFound {
    /// A header of this version.
    Good(Header),
    /// A header of another version.
    Other(u32),
    /// No header: damaged, or never durable.
    None,
}

impl Header {
    /// The header as it is written.
    pub(super) fn bytes(&self) -> [u8; HEADER as usize] {
        let mut bytes = [0; HEADER as usize];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        let numbers = [
            self.identity.base,
            self.identity.serial,
            self.identity.salt,
            self.before_base,
            self.before_end,
            self.created_ms,
            self.ledger,
        ];
        for (n, number) in numbers.iter().enumerate() {
            let at = 16 + n * 8;
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        let sum = crc32fast::hash(&bytes[..SUM_AT]);
        bytes[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads what stands in the first [`HEADER`] bytes.
    pub(super) fn parse(bytes: &[u8]) -> HeaderFound {
        Self::parse_good(bytes).unwrap_or(HeaderFound::None)
    }

    fn parse_good(bytes: &[u8]) -> Option<HeaderFound> {
        let sound = bytes.starts_with(MAGIC)
            && u32_at(bytes, SUM_AT)? == crc32fast::hash(bytes.get(..SUM_AT)?);
        if !sound {
            return None;
        }
        let version = u32_at(bytes, 8)?;
        if version != FORMAT {
            return Some(HeaderFound::Other(version));
        }
        let number = |n: usize| u64_at(bytes, 16 + n * 8);
        let identity = Identity { base: number(0)?, serial: number(1)?, salt: number(2)? };
        Some(HeaderFound::Good(Self {
            identity,
            before_base: number(3)?,
            before_end: number(4)?,
            created_ms: number(5)?,
            ledger: number(6)?,
        }))
    }
}

/// Reads the start of a segment's file.
///
/// # Errors
/// When the file cannot be opened; a start that cannot be read counts as damaged.
pub(super) fn read_header(fs: &dyn Fs, name: &str) -> io::Result<HeaderFound> {
    let file = fs.open(name)?;
    let mut bytes = [0; HEADER as usize];
    let read = read_full(&*file, &mut bytes, 0).unwrap_or(0);
    Ok(Header::parse(bytes.get(..read).unwrap_or_default()))
}

/// Reads until `into` is full or the file ends, and says how many bytes were read.
///
/// # Errors
/// What the system says, except that it was interrupted.
pub(super) fn read_full(file: &dyn File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_headers_are_read_as_written() {
        let identity = Identity { base: 5, serial: 9, salt: u64::MAX };
        assert_eq!(Identity::parse(&identity.name()), Some(identity));
        for name in
            ["log-", "log-5", "cursors.a", "log-+000000000000005-0000000000000009-ffffffffffffffff"]
        {
            assert_eq!(Identity::parse(name), None, "{name}");
        }
        let header = Header { identity, before_base: 1, before_end: 4, created_ms: 77, ledger: 3 };
        let mut bytes = header.bytes();
        assert_eq!(Header::parse(&bytes), HeaderFound::Good(header));
        bytes[8] = 2;
        assert_eq!(Header::parse(&bytes), HeaderFound::None, "the checksum covers the version");
        let sum = crc32fast::hash(&bytes[..SUM_AT]);
        bytes[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Header::parse(&bytes), HeaderFound::Other(2));
        assert_eq!(Header::parse(&bytes[..50]), HeaderFound::None);
    }
}
