//! How a record stands in a segment: a head of 16 bytes, then its body.
//!
//! | bytes | holds |
//! | --- | --- |
//! | 0–3 | length of the body; the highest bit is set for the first record of a group commit |
//! | 4–7 | the record's number in its segment, from 0 |
//! | 8–11 | CRC-32 of the body |
//! | 12–15 | CRC-32 of the segment's salt and bytes 0–11 |
//!
//! All numbers are little-endian. The checksum is CRC-32 (ISO-HDLC, as in zlib) by `crc32fast`, which is in
//! the tree already and uses the processor's carry-less multiplication; CRC-32C finds no more of the errors
//! that matter here. The salt is drawn for each segment, so the head of another segment, or of an
//! earlier life of the same disk block, is never taken for one of this segment. A head is valid by
//! itself: behind a damaged body the next record is found exactly; behind a damaged head it is searched.

/// Bytes of a head.
pub(super) const HEAD: usize = 16;
/// The longest body that is written or believed, in bytes.
pub(super) const BODY_MAX: usize = 64 << 20;

const FIRST: u32 = 1 << 31;

/// What a head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the body.
    pub len: u32,
    /// The record is the first of a group commit: all before it were durable when it was written.
    pub first: bool,
    /// The record's number in its segment.
    pub nth: u32,
    /// CRC-32 of the body.
    pub body: u32,
}

impl Head {
    /// The head as it is written.
    pub(super) fn bytes(&self, salt: u64) -> [u8; HEAD] {
        let len = self.len | if self.first { FIRST } else { 0 };
        let mut bytes = [0; HEAD];
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.nth.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.body.to_le_bytes());
        let sum = checksum(salt, &bytes[..12]);
        bytes[12..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The head that starts `bytes`, if there is a valid one of a segment with this salt.
    pub(super) fn parse(salt: u64, bytes: &[u8]) -> Option<Self> {
        let len = u32_at(bytes, 0)?;
        let head = Self {
            len: len & !FIRST,
            first: len & FIRST != 0,
            nth: u32_at(bytes, 4)?,
            body: u32_at(bytes, 8)?,
        };
        let plausible = head.len > 0 && head.len as usize <= BODY_MAX;
        // The cheap test first: a search looks at every byte of what is damaged.
        let valid = plausible && u32_at(bytes, 12)? == checksum(salt, bytes.get(..12)?);
        valid.then_some(head)
    }

    /// Bytes from this head to the next.
    pub(super) fn span(&self) -> u64 {
        HEAD as u64 + u64::from(self.len)
    }
}

fn checksum(salt: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// The little-endian number at an offset.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}

/// The little-endian number at an offset.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_written_and_only_with_its_salt() {
        for first in [false, true] {
            let head = Head { len: 300, first, nth: 7, body: 0xdead_beef };
            let bytes = head.bytes(42);
            assert_eq!(Head::parse(42, &bytes), Some(head));
            assert_eq!(Head::parse(43, &bytes), None);
            for bit in 0..HEAD * 8 {
                let mut other = bytes;
                other[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Head::parse(42, &other), None, "bit {bit}");
            }
        }
        assert_eq!(Head::parse(42, &[0; HEAD]), None);
        assert_eq!(Head::parse(42, &[1; 3]), None);
    }
}
