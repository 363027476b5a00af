//! How devices write down the parts of a file that they send.

use serde_json::Value;

/// CRC-16/IBM, bit by bit.
fn crc16(bytes: &[u8]) -> u16 {
    let bit = |crc: u16| if crc & 1 == 1 { (crc >> 1) ^ 0xa001 } else { crc >> 1 };
    bytes.iter().fold(0, |crc, byte| (0..8).fold(crc ^ u16::from(*byte), |crc, _| bit(crc)))
}

/// The payload of a part.
pub(crate) fn framed(head: &Value, bytes: &[u8]) -> Vec<u8> {
    let head = head.to_string();
    let length = u16::try_from(head.len()).unwrap();
    [&length.to_be_bytes(), head.as_bytes(), bytes, &crc16(bytes).to_le_bytes()].concat()
}
