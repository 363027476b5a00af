//! Numbers of JSON texts by value, exact however many digits they have.

use std::cmp::Ordering;

/// The order of two numbers as JSON writes them (RFC 8259 §6): `1.50` equals `15e-1`.
#[must_use]
pub fn compare_numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (Decimal::read(a), Decimal::read(b));
    let magnitudes = || {
        let order = a.point.cmp(&b.point).then_with(|| a.against(&b));
        if a.sign < 0 { order.reverse() } else { order }
    };
    a.sign.cmp(&b.sign).then_with(|| if a.sign == 0 { Ordering::Equal } else { magnitudes() })
}

/// A number as `sign × 0.whole·fraction × 10^point`, where the first digit is none or no zero.
struct Decimal<'a> {
    sign: i8,
    whole: &'a str,
    fraction: &'a str,
    point: i64,
}

impl<'a> Decimal<'a> {
    fn read(text: &'a str) -> Self {
        let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
        let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let whole = whole.trim_start_matches('0');
        let significant = fraction.trim_start_matches('0');
        let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
        let (fraction, shift) = match whole {
            "" => (significant, length(significant) - length(fraction)),
            whole => (fraction, length(whole)),
        };
        let sign = if whole.is_empty() && significant.is_empty() { 0 } else { sign };
        let below = exponent.starts_with('-');
        // An exponent of more than 18 digits is as good as any other of that size.
        let exponent = exponent.parse().unwrap_or(if below { i64::MIN } else { i64::MAX });
        Self { sign, whole, fraction, point: shift.saturating_add(exponent) }
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.bytes().chain(self.fraction.bytes())
    }

    /// The order of the digits behind the same point.
    fn against(&self, other: &Self) -> Ordering {
        let (mut ours, mut theirs) = (self.digits(), other.digits());
        loop {
            let (one, two) = (ours.next(), theirs.next());
            if (one, two) == (None, None) {
                return Ordering::Equal;
            }
            let order = one.unwrap_or(b'0').cmp(&two.unwrap_or(b'0'));
            if order.is_ne() {
                return order;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_by_value() {
        let rising = [
            "-1e99999999999999999999",
            "-18446744073709551617",
            "-18446744073709551616",
            "-1.5",
            "-0.1",
            "0",
            "1e-99999999999999999999",
            "0.00999",
            "0.01",
            "0.1",
            "0.1000000000000000000000000000001",
            "1",
            "9007199254740992",
            "9007199254740993",
            "12345678901234567890.123456789012345678",
            "12345678901234567890.123456789012345679",
            "1e20",
        ];
        for (at, a) in rising.iter().enumerate() {
            for (other, b) in rising.iter().enumerate() {
                assert_eq!(compare_numbers(a, b), at.cmp(&other), "{a} against {b}");
            }
        }
    }

    #[test]
    fn how_a_number_is_written_does_not_matter() {
        for (a, b) in [
            ("0", "-0.00e5"),
            ("1", "1.0"),
            ("100", "1E2"),
            ("15e-1", "1.50"),
            ("0.0012", "12e-4"),
            ("1200e-2", "0.12e+2"),
        ] {
            assert!(compare_numbers(a, b).is_eq() && compare_numbers(b, a).is_eq(), "{a} = {b}");
        }
    }
}
