//! Keys, names, ids and secrets as the vendor makes them: letters and digits by chance.
//!
//! It keeps none of them and does not look whether one is taken.

/// What they are made of.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random bytes, each as likely as any other.
#[derive(Debug, Default)]
pub(super) struct Chance {
    left: Vec<u8>,
}

impl Chance {
    /// Letters and digits, about 5.95 bits each.
    pub(super) fn text(&mut self, length: usize) -> String {
        let mut text = String::with_capacity(length);
        while text.len() < length {
            // 248 is the largest multiple of 62 that a byte can hold: all letters are as likely.
            if let Some(byte) = Some(self.byte()).filter(|byte| *byte < 248) {
                text.push(char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
            }
        }
        text
    }

    /// A product key: 11 characters that start with `a1`.
    pub(super) fn product_key(&mut self) -> String {
        format!("a1{}", self.text(9))
    }

    /// The secret of a product: 16 characters.
    pub(super) fn product_secret(&mut self) -> String {
        self.text(16)
    }

    /// The secret of a device: 32 characters.
    pub(super) fn device_secret(&mut self) -> String {
        self.text(32)
    }

    /// The name of a device that was given none: 20 characters.
    pub(super) fn device_name(&mut self) -> String {
        self.text(20)
    }

    /// The id of a group: 16 characters.
    pub(super) fn group_id(&mut self) -> String {
        self.text(16)
    }

    /// The id of a device: 20 letters and digits, `0010`, 4 hexadecimal digits and `00`.
    pub(super) fn iot_id(&mut self) -> String {
        let number = u16::from_be_bytes([self.byte(), self.byte()]);
        format!("{}0010{number:04x}00", self.text(20))
    }

    fn byte(&mut self) -> u8 {
        loop {
            if let Some(byte) = self.left.pop() {
                return byte;
            }
            // All bits are random but six: those of the version in byte 6, of the variant in byte 8.
            let bytes = uuid::Uuid::new_v4().into_bytes();
            let free = bytes.iter().enumerate().filter(|(at, _)| *at != 6 && *at != 8);
            self.left.extend(free.map(|(_, byte)| *byte));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{check_device_name, is_iot_id, is_product_key};

    #[test]
    fn codes_have_the_vendors_form() {
        let mut chance = Chance::default();
        assert!(is_product_key(&chance.product_key()));
        assert!(is_iot_id(&chance.iot_id()));
        assert_eq!(check_device_name(&chance.device_name()), Ok(()));
        assert_eq!((chance.device_secret().len(), chance.product_secret().len()), (32, 16));
        let many = chance.text(20_000);
        for letter in ALPHABET {
            let count = many.bytes().filter(|byte| byte == letter).count();
            assert!((200..460).contains(&count), "{}: {count}", char::from(*letter));
        }
    }
}
