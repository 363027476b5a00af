//! The numbers, texts and bytes that packets are made of (MQTT 5.0 §1.5), and why they are none.
//!
//! Nothing here panics or allocates more than the bytes that are there, whatever they are.

use bytes::Bytes;
use bytestring::ByteString;

use super::reason::Reason;

/// Why bytes are no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes cannot be read as a packet (MQTT 5.0 §1.2, Malformed Packet).
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    /// The packet can be read but is not allowed (MQTT 5.0 §1.2, Protocol Error).
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// The packet is larger than allowed.
    #[error("the packet has {got} bytes, at most {most} are allowed")]
    TooLarge {
        /// Bytes of the whole packet.
        got: usize,
        /// The limit.
        most: usize,
    },
    /// CONNECT asks for a protocol that is not spoken here.
    #[error("protocol level {0} is not supported, use 3 (MQTT 3.1, `MQIsdp`), 4 (MQTT 3.1.1) or 5")]
    Version(u8),
}

impl DecodeError {
    /// The reason code of MQTT 5.0 for this error.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::MALFORMED,
            Self::Protocol(_) => Reason::PROTOCOL_ERROR,
            Self::TooLarge { .. } => Reason::PACKET_TOO_LARGE,
            Self::Version(_) => Reason::UNSUPPORTED_VERSION,
        }
    }
}

/// The packet has fewer bytes than it says.
pub(super) const SHORT: DecodeError = DecodeError::Malformed("the packet ends too early");

/// The most bytes that a text or a piece of binary data has on the wire (MQTT 5.0 §1.5.4). What is
/// longer is cut here, so whoever takes texts from elsewhere checks them first.
pub(super) const TEXT_MAX: usize = u16::MAX as usize;

/// A position in a chunk and the end of the packet in it.
pub(super) struct Reader<'a> {
    chunk: &'a Bytes,
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn of(chunk: &'a Bytes) -> Self {
        Self { chunk, at: 0, end: chunk.len() }
    }

    pub(super) fn within(chunk: &'a Bytes, start: usize, end: usize) -> Self {
        Self { chunk, at: start, end: end.min(chunk.len()) }
    }
}

impl Reader<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.end
    }

    pub(super) fn left(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// Moves on by `len` bytes and returns where they start.
    fn skip(&mut self, len: usize) -> Result<usize, DecodeError> {
        if len > self.left() {
            return Err(SHORT);
        }
        let start = self.at;
        self.at += len;
        Ok(start)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let start = self.skip(N)?;
        self.chunk.get(start..start + N).and_then(|part| part.try_into().ok()).ok_or(SHORT)
    }

    fn slice(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        let start = self.skip(len)?;
        Ok(self.chunk.slice(start..start + len))
    }

    pub(super) fn rest(&mut self) -> Bytes {
        let start = self.at.min(self.end);
        self.at = self.end;
        self.chunk.slice(start..self.end)
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn short(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A variable byte integer (MQTT 5.0 §1.5.5).
    pub(super) fn var(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed("a variable byte integer has more than four bytes"))
    }

    pub(super) fn binary(&mut self) -> Result<Bytes, DecodeError> {
        let len = usize::from(self.short()?);
        self.slice(len)
    }

    /// A UTF-8 string (MQTT 5.0 §1.5.4): well formed and without NUL.
    pub(super) fn text(&mut self) -> Result<ByteString, DecodeError> {
        let bytes = self.binary()?;
        if memchr::memchr(0, &bytes).is_some() {
            return Err(DecodeError::Malformed("a text holds NUL"));
        }
        ByteString::try_from(bytes).map_err(|_| DecodeError::Malformed("a text is not UTF-8"))
    }

    pub(super) fn packet_id(&mut self) -> Result<u16, DecodeError> {
        match self.short()? {
            0 => Err(DecodeError::Protocol("packet identifier 0")),
            id => Ok(id),
        }
    }

    /// A reader of the next `len` bytes alone.
    pub(super) fn part(&mut self, len: usize) -> Result<Self, DecodeError> {
        let start = self.skip(len)?;
        Ok(Self { chunk: self.chunk, at: start, end: start + len })
    }
}

/// Two bytes, the higher first.
pub(super) fn put_short(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Bytes that [`put_var`] writes for a value.
pub(super) fn var_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// A variable byte integer (MQTT 5.0 §1.5.5); the largest there is stands for what is larger.
pub(super) fn put_var(out: &mut Vec<u8>, value: u32) {
    let mut value = value.min(0x0fff_ffff);
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Two bytes of length and the bytes, cut at [`TEXT_MAX`].
pub(super) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    put_short(out, len);
    out.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or(bytes));
}
