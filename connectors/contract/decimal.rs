//! Decimal numbers as texts: what a column can hold of one, told without rounding it on the way.

use std::cmp::Ordering;

/// The most significant digits that a double's value can have; what has more is none.
const DIGITS_MAX: usize = 767;

/// An exponent beyond all databases; greater ones are taken for it.
const FAR: i64 = 1 << 40;

/// A number as it is written, taken apart as ±0.d₁d₂d₃… × 10^`point`, without zeros at either end.
#[derive(Debug, Clone, Copy)]
pub struct Decimal<'a> {
    text: &'a str,
    negative: bool,
    /// The digits before the point of the text.
    head: &'a str,
    /// The digits after it.
    tail: &'a str,
    point: i64,
}

impl<'a> Decimal<'a> {
    /// Takes a number apart: a sign, digits, a fraction, an exponent, of which only digits must be
    /// there. `None` for any other text.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (number, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (head, tail) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let size = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if !digits(head) || !digits(tail) || number.len() < 2 && head.is_empty() {
            return None;
        }
        if size.is_empty() || !digits(size) {
            return None;
        }
        let far = if exponent.starts_with('-') { -FAR } else { FAR };
        let exponent = exponent.parse().unwrap_or(far).clamp(-FAR, FAR);
        let mut head = head.trim_start_matches('0');
        let mut tail = tail.trim_end_matches('0');
        let mut point = length(head);
        if head.is_empty() {
            let leading = length(tail);
            tail = tail.trim_start_matches('0');
            point = length(tail) - leading;
        }
        if tail.is_empty() {
            head = head.trim_end_matches('0');
        }
        let negative = text.starts_with('-');
        Some(Self { text, negative, head, tail, point: point + exponent })
    }

    fn digits(self) -> impl Iterator<Item = u8> {
        self.head.bytes().chain(self.tail.bytes())
    }

    fn count(self) -> usize {
        self.head.len() + self.tail.len()
    }

    fn is_zero(self) -> bool {
        self.count() == 0
    }

    /// Digits that it needs after the decimal point; fewer than 0 when it ends in zeros before it.
    fn places(self) -> i64 {
        if self.is_zero() { i64::MIN } else { self.count() as i64 - self.point }
    }

    /// True when both are the same number, however they are written.
    #[must_use]
    pub fn equals(self, other: Decimal<'_>) -> bool {
        self.order(other).is_eq()
    }

    /// The order of both by value.
    #[must_use]
    pub fn order(self, other: Decimal<'_>) -> Ordering {
        let sign = |of: Decimal<'_>| match (of.is_zero(), of.negative) {
            (true, _) => 0,
            (false, negative) => 1 - 2 * i8::from(negative),
        };
        let size = || {
            // Neither has zeros at the end, so that what goes on is the greater one.
            let size = self.point.cmp(&other.point).then_with(|| self.digits().cmp(other.digits()));
            if self.negative { size.reverse() } else { size }
        };
        let order = sign(self).cmp(&sign(other));
        order.then_with(|| if self.is_zero() { Ordering::Equal } else { size() })
    }

    /// True when it has at most `scale` digits after the decimal point. A negative scale counts zeros
    /// before it.
    #[must_use]
    pub fn has_scale(self, scale: i64) -> bool {
        self.places() <= scale
    }

    /// True when it has at most `digits` digits before the decimal point.
    #[must_use]
    pub fn is_below(self, digits: i64) -> bool {
        self.is_zero() || self.point <= digits
    }

    /// The whole number that it is; `None` when it has a fraction or more than 36 digits.
    #[must_use]
    pub fn whole(self) -> Option<i128> {
        if self.has_scale(0) { self.times_ten_to(0) } else { None }
    }

    /// The greatest whole number that is not above it × 10^`power`; `None` beyond 36 digits.
    #[must_use]
    pub fn times_ten_to(self, power: i64) -> Option<i128> {
        if self.is_zero() {
            return Some(0);
        }
        let keep = match usize::try_from(self.point + power) {
            Ok(keep) if keep > 36 => return None,
            Ok(keep) => keep,
            Err(_) => 0,
        };
        let digits = self.digits().chain(std::iter::repeat(b'0')).take(keep);
        let size = digits.fold(0_i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
        // Without zeros at the end, what is left over is more than nothing.
        let rest = i128::from(self.count() > keep);
        Some(if self.negative { -size - rest } else { size })
    }

    /// The double (64 bits) that gives these digits back when it is written with as many; `None` when
    /// there is none.
    #[must_use]
    pub fn double(self) -> Option<f64> {
        let real: f64 = self.text.parse().ok().filter(|real: &f64| real.is_finite())?;
        // So many digits survive always (DBL_DIG).
        let surely = self.count() <= 15 && (-290..300).contains(&self.point);
        (surely || self.is_given_back(|digits| format!("{real:.digits$e}"))).then_some(real)
    }

    /// The same for 32 bits.
    #[must_use]
    pub fn single(self) -> Option<f32> {
        let real: f32 = self.text.parse().ok().filter(|real: &f32| real.is_finite())?;
        let surely = self.count() <= 6 && (-30..30).contains(&self.point);
        (surely || self.is_given_back(|digits| format!("{real:.digits$e}"))).then_some(real)
    }

    /// True when a number that is written with a count of digits behind the first is this one.
    fn is_given_back(self, write: impl Fn(usize) -> String) -> bool {
        let count = self.count();
        count == 0
            || count <= DIGITS_MAX
                && Decimal::parse(&write(count - 1)).is_some_and(|back| self.equals(back))
    }
}

/// The order of two numbers as JSON writes them (RFC 8259 §6): `1.50` equals `15e-1`.
#[must_use]
pub fn compare_numbers(a: &str, b: &str) -> Ordering {
    match (Decimal::parse(a), Decimal::parse(b)) {
        (Some(one), Some(other)) => one.order(other),
        // No numbers.
        _ => a.cmp(b),
    }
}

fn length(text: &str) -> i64 {
    text.len() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal<'_> {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn numbers_are_compared_by_value() {
        let same = [
            ("0", "-0.00e9"),
            ("1.10", "11e-1"),
            ("100", "1e2"),
            ("0.001", "1E-3"),
            ("-12.50", "-125e-1"),
            ("1e-400", "0.1e-399"),
            (".5", "0.5"),
            ("5.", "+5"),
        ];
        for (a, b) in same {
            assert!(decimal(a).equals(decimal(b)), "{a} {b}");
        }
        for (a, b) in [("1", "-1"), ("1", "10"), ("1.1", "1.01"), ("0", "1"), ("12", "1.2")] {
            assert!(!decimal(a).equals(decimal(b)), "{a} {b}");
        }
        for bad in ["", "-", ".", "e5", "1e", "1e+", "1.2.3", "0x1", "NaN", "1_0", " 1", "--1"] {
            assert!(Decimal::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn whole_numbers_and_scales() {
        let whole = |text| decimal(text).whole();
        assert_eq!(whole("39.0"), Some(39));
        assert_eq!(whole("-1.5e1"), Some(-15));
        assert_eq!(whole("18446744073709551616"), Some(1 << 64));
        assert_eq!(whole("0e999999999999999999999"), Some(0));
        for none in ["39.5", "1e-1", "1e37", "1e999999999999999999999", "1e-999999999999999999"] {
            assert_eq!(whole(none), None, "{none}");
        }
        assert_eq!(decimal("1784000000.1239").times_ten_to(3), Some(1_784_000_000_123));
        assert_eq!(decimal("-0.0001").times_ten_to(3), Some(-1));
        assert_eq!(decimal("0.0001").times_ten_to(3), Some(0));
        assert!(decimal("1.230").has_scale(2) && !decimal("1.239").has_scale(2));
        assert!(decimal("12300").has_scale(-2) && !decimal("12345").has_scale(-2));
        assert!(decimal("999.5").is_below(3) && !decimal("1000").is_below(3));
    }

    #[test]
    fn a_binary_number_gives_the_digits_back_or_is_none() {
        for good in
            ["0.1", "1e22", "-0.30000000000000004", "0.10000000000000001", "1.7976931348623157e308"]
        {
            assert!(decimal(good).double().is_some(), "{good}");
        }
        for bad in ["9007199254740993", "12345678901234567890.123456", "1e309", "1e-400"] {
            assert_eq!(decimal(bad).double(), None, "{bad}");
        }
        let exact = format!("{:.60}", 0.1_f64);
        assert_eq!(decimal(&exact).double(), Some(0.1));
        assert_eq!(decimal(&format!("0.{}", "1".repeat(100_000))).double(), None);
        assert_eq!(decimal("36.599998474121094").single(), Some(36.6));
        assert_eq!(decimal("16777217").single(), None);
    }

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
