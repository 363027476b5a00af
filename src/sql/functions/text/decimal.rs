//! Numbers in decimal digits, rounded as they are written, halves away from zero: 2.5 is 3 and 1.005 is
//! 1.01, though the double next to 1.005 lies below it.
//!
//! It knows magnitudes; signs and layout are for `format` and `rounding`.

use std::io::Write as _;

use crate::functions::Fault;
use crate::number::Num;

/// A count of places as a distance between digits.
pub(in crate::functions) fn index(places: usize) -> i32 {
    i32::try_from(places).unwrap_or(i32::MAX)
}

/// The magnitude of a number in decimal digits: `d.ddd × 10^exponent`.
pub(in crate::functions) struct Decimal {
    digits: [u8; Self::DIGITS],
    len: usize,
    pub(in crate::functions) exponent: i32,
}

impl Decimal {
    /// Room for u64 and its rounding, and for the longest text of an f64.
    const DIGITS: usize = 32;

    /// The digits of an integer, or the shortest ones that read back as the double.
    ///
    /// # Errors
    /// `not_finite` when the number is not.
    pub(in crate::functions) fn new(num: Num) -> Result<Self, Fault> {
        let mut buffer = [0_u8; Self::DIGITS];
        let mut room = &mut buffer[..];
        // The buffer holds all that these can write.
        match num {
            Num::Float(value) if !value.is_finite() => {
                return Err(Fault::new("not_finite", "the number is too large"));
            }
            Num::Float(value) => write!(room, "{:e}", value.abs()),
            Num::Int(value) => write!(room, "{}", value.unsigned_abs()),
            Num::UInt(value) => write!(room, "{value}"),
        }
        .ok();
        let written = Self::DIGITS - room.len();
        let text = std::str::from_utf8(&buffer[..written]).unwrap_or_default();
        let (mantissa, power) = text.split_once('e').unwrap_or((text, ""));
        let mut digits = [b'0'; Self::DIGITS];
        let mut len = 0;
        for byte in mantissa.bytes().filter(u8::is_ascii_digit) {
            digits[len] = byte;
            len += 1;
        }
        let exponent = power.parse().unwrap_or_else(|_| index(len) - 1);
        Ok(Self { digits, len, exponent })
    }

    /// The digit at a place behind the first; zeros follow and precede the digits.
    pub(in crate::functions) fn digit(&self, at: i32) -> u8 {
        usize::try_from(at)
            .ok()
            .and_then(|at| self.digits.get(..self.len)?.get(at).copied())
            .unwrap_or(b'0')
    }

    /// Keeps so many digits; what follows is rounded, halves away from zero, or cut.
    pub(in crate::functions) fn keep(&mut self, keep: i32, half_away: bool) {
        let up = half_away && keep >= 0 && self.digit(keep) >= b'5';
        let keep = usize::try_from(keep).unwrap_or(0);
        if keep >= self.len {
            return;
        }
        self.len = keep;
        if !up {
            return;
        }
        while let Some(last) = self.len.checked_sub(1) {
            if self.digits[last] < b'9' {
                self.digits[last] += 1;
                return;
            }
            self.len = last;
        }
        // 9.99 became 10, or 0.5 became 1.
        self.digits[0] = b'1';
        self.len = 1;
        self.exponent += 1;
    }

    /// The double that is nearest to it.
    pub(in crate::functions) fn magnitude(&self) -> f64 {
        let mut text = [0_u8; Self::DIGITS + 16];
        let mut room = &mut text[..];
        let digits = std::str::from_utf8(&self.digits[..self.len]).unwrap_or_default();
        // No digits are left of what is rounded to nothing.
        write!(room, "0{digits}e{}", self.exponent + 1 - index(self.len)).ok();
        let end = Self::DIGITS + 16 - room.len();
        std::str::from_utf8(&text[..end]).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0)
    }

    /// Appends it with so many decimals.
    pub(in crate::functions) fn fixed(mut self, places: usize, out: &mut Vec<u8>) {
        self.keep((self.exponent + 1).saturating_add(index(places)), true);
        let whole = self.exponent.max(0);
        for at in 0..=whole {
            // The digit that stands for 10^(whole - at).
            out.push(self.digit(self.exponent - whole + at));
        }
        if places > 0 {
            out.push(b'.');
            out.extend((1..=index(places)).map(|place| self.digit(self.exponent + place)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(value: f64, places: usize) -> String {
        let mut out = Vec::new();
        Decimal::new(Num::Float(value)).expect("finite").fixed(places, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn decimals_are_rounded_as_written() {
        for (value, places, want) in [
            (0.5, 0, "1"),
            (2.5, 0, "3"),
            (0.49, 0, "0"),
            (0.05, 1, "0.1"),
            (0.04, 1, "0.0"),
            (9.995, 2, "10.00"),
            (99.5, 0, "100"),
            (0.000_123, 5, "0.00012"),
            (1e21, 1, "1000000000000000000000.0"),
            (1e-300, 3, "0.000"),
            (5e-324, 0, "0"),
            (123.456, 1, "123.5"),
            (0.0, 2, "0.00"),
        ] {
            assert_eq!(fixed(value, places), want, "{value} with {places}");
        }
        assert_eq!(fixed(f64::MAX, 0).len(), 309);
        assert_eq!(fixed(f64::MIN_POSITIVE, 100).len(), 102);
    }

    #[test]
    fn few_places_agree_with_the_standard_library_where_there_is_no_tie() {
        for step in 0..2000_u32 {
            let value = f64::from(step) * 0.037 + 0.0003;
            assert_eq!(fixed(value, 3), format!("{value:.3}"), "{value}");
        }
    }
}
