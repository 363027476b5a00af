//! Numbers: exact integers in i64 and u64, everything else as f64, compared by value. Integers beyond
//! those are read as f64, too, but nothing exact is computed from them: see `value::Value::is_huge`.
//!
//! The text of a number that only passes through is kept elsewhere (`value::Number`).

use std::cmp::Ordering;

/// A number without its text. Only a number that was read can be infinite (`1e999`): it compares, but
/// nothing computed from it is a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Num {
    /// An integer.
    Int(i64),
    /// An integer above `i64::MAX`.
    UInt(u64),
    /// Anything else.
    Float(f64),
}

/// Integers up to here are exact as f64.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Powers of ten that are exact as f64.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

impl Num {
    /// Reads a number as JSON writes it (RFC 8259 §6). `None` for any other text.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let negative = text.first() == Some(&b'-');
        let digits = text.get(usize::from(negative)..)?;
        let mut mantissa: u64 = 0;
        let mut at = 0;
        while let Some(digit) = digits.get(at).filter(|b| b.is_ascii_digit()) {
            // Up to 19 digits never overflow; longer ones take the slow way below.
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            at += 1;
        }
        if at == 0 || (at > 1 && digits.first() == Some(&b'0')) {
            return None;
        }
        if at == digits.len() {
            return if at <= 19 { Some(Self::integer(mantissa, negative)) } else { long(text) };
        }
        if digits.get(at) == Some(&b'.') && at <= 15 {
            let start = at + 1;
            at = start;
            while let Some(digit) = digits.get(at).filter(|b| b.is_ascii_digit()) {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
                at += 1;
            }
            let places = at - start;
            if places > 0 && at == digits.len() && at <= 16 {
                // At most 15 digits: both sides are exact, so the quotient is rounded once.
                #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
                let value = mantissa as f64 / POWERS[places];
                return Some(Self::Float(if negative { -value } else { value }));
            }
        }
        long(text)
    }

    fn integer(magnitude: u64, negative: bool) -> Self {
        match (i64::try_from(magnitude), negative) {
            (Ok(value), false) => Self::Int(value),
            (Ok(value), true) => Self::Int(-value),
            (Err(_), false) => Self::UInt(magnitude),
            (Err(_), true) => {
                #[expect(clippy::cast_precision_loss, reason = "no integer of 64 bits")]
                let nearest = Self::Float(-(magnitude as f64));
                Self::from_i128(-i128::from(magnitude)).unwrap_or(nearest)
            }
        }
    }

    /// The number with this value; `None` for NaN and infinities. Integers that are exact as f64
    /// become integers, so that they print as such.
    #[must_use]
    pub fn from_f64(value: f64) -> Option<Self> {
        if !value.is_finite() {
            None
        } else if value.fract() == 0.0 && value.abs() < EXACT {
            #[expect(clippy::cast_possible_truncation, reason = "an integer below 2^53")]
            Some(Self::Int(value as i64))
        } else {
            Some(Self::Float(value))
        }
    }

    /// The integer with this value; `None` when neither i64 nor u64 holds it.
    #[must_use]
    pub fn from_i128(value: i128) -> Option<Self> {
        let unsigned = || u64::try_from(value).map(Self::UInt);
        i64::try_from(value).map(Self::Int).or_else(|_| unsigned()).ok()
    }

    /// The value as f64, rounded where it must be.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "documented")]
        match self {
            Self::Int(value) => value as f64,
            Self::UInt(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// The value of an integer; `None` for a `Float`, whatever it holds.
    #[must_use]
    pub fn as_i128(self) -> Option<i128> {
        match self {
            Self::Int(value) => Some(value.into()),
            Self::UInt(value) => Some(value.into()),
            Self::Float(_) => None,
        }
    }

    /// The integer that is left when the fraction is cut off, held within i64.
    #[must_use]
    pub fn truncate(self) -> i64 {
        match self {
            Self::Int(value) => value,
            Self::UInt(_) => i64::MAX,
            #[expect(clippy::cast_possible_truncation, reason = "saturates")]
            Self::Float(value) => value as i64,
        }
    }

    /// The integer that is left when the fraction is cut off, held within ±2^64: unlike
    /// [`Num::truncate`] it keeps every integer that a document can hold.
    #[must_use]
    pub fn saturated(self) -> i128 {
        const LIMIT: f64 = 18_446_744_073_709_551_616.0;
        match self {
            Self::Int(value) => value.into(),
            Self::UInt(value) => value.into(),
            #[expect(clippy::cast_possible_truncation, reason = "held within ±2^64")]
            Self::Float(value) => value.clamp(-LIMIT, LIMIT) as i128,
        }
    }

    /// True when the value has no fraction.
    #[must_use]
    pub fn is_integer(self) -> bool {
        match self {
            Self::Int(_) | Self::UInt(_) => true,
            Self::Float(value) => value.fract() == 0.0,
        }
    }

    /// The order by value, exact between integers and floats.
    #[must_use]
    pub fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(&b),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Self::Float(a), b) => against(a, b),
            (a, Self::Float(b)) => against(b, a).reverse(),
            (a, b) => a.as_i128().cmp(&b.as_i128()),
        }
    }

    /// Appends the number as JSON: integers with all digits, others in the shortest form that reads
    /// back the same.
    pub fn write(self, out: &mut Vec<u8>) {
        use std::io::Write;
        // Writing to a Vec cannot fail.
        match self {
            Self::Int(value) => write!(out, "{value}"),
            Self::UInt(value) => write!(out, "{value}"),
            Self::Float(value) if !value.is_finite() => out.write_all(b"null"),
            Self::Float(value) if value == 0.0 || (1e-6..EXACT).contains(&value.abs()) => {
                write!(out, "{value}")
            }
            Self::Float(value) => write!(out, "{value:e}"),
        }
        .ok();
    }

    /// The number as [`Num::write`] writes it.
    #[must_use]
    pub fn text(self) -> String {
        let mut out = Vec::with_capacity(24);
        self.write(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }
}

/// A float against an integer.
fn against(float: f64, integer: Num) -> Ordering {
    // 2^64 and more, in either direction, is beyond every integer; below, i128 holds the floor.
    if float >= 18_446_744_073_709_551_616.0 {
        return Ordering::Greater;
    }
    if float < -9_223_372_036_854_775_808.0 {
        return Ordering::Less;
    }
    let floor = float.floor();
    #[expect(clippy::cast_possible_truncation, reason = "within ±2^64")]
    let whole = floor as i128;
    let integer = integer.as_i128().unwrap_or_default();
    whole.cmp(&integer).then(if float > floor { Ordering::Greater } else { Ordering::Equal })
}

/// Any JSON number, without the shortcuts.
#[cold]
fn long(text: &[u8]) -> Option<Num> {
    let end = super::pick::number(text, 0).ok()?;
    if end != text.len() {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    // `9007199254740993.0` is an integer that f64 cannot hold.
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|b| b == b'0') => whole,
        _ => text,
    };
    if let Ok(value) = whole.parse::<i64>() {
        return Some(Num::Int(value));
    }
    if let Ok(value) = whole.parse::<u64>() {
        return Some(Num::UInt(value));
    }
    text.parse::<f64>().ok().map(Num::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn num(text: &str) -> Num {
        Num::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn numbers_compare_by_value() {
        let cases = [
            ("1", "1.0", Ordering::Equal),
            ("9007199254740993", "9007199254740992.0", Ordering::Greater),
            ("9007199254740993", "9007199254740993.0", Ordering::Equal),
            ("18446744073709551615", "18446744073709551614", Ordering::Greater),
            ("18446744073709551615", "1.8446744073709552e19", Ordering::Less),
            ("-9223372036854775808", "-9.3e18", Ordering::Greater),
            ("-1", "-0.5", Ordering::Less),
            ("2", "2.5", Ordering::Less),
            ("-3", "-2.5", Ordering::Less),
            ("0", "-0", Ordering::Equal),
            ("1e2", "100", Ordering::Equal),
            ("1e999", "18446744073709551615", Ordering::Greater),
            ("-1e999", "-1e308", Ordering::Less),
        ];
        for (a, b, want) in cases {
            assert_eq!(num(a).compare(num(b)), want, "{a} against {b}");
            assert_eq!(num(b).compare(num(a)), want.reverse(), "{b} against {a}");
        }
    }

    #[test]
    fn only_json_numbers_are_numbers() {
        for text in ["", "-", "01", "1.", ".5", "+1", "1e", " 1", "1 ", "0x1", "NaN", "--1"] {
            assert_eq!(Num::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn numbers_print_shortest() {
        for (value, want) in [
            (Num::Float(0.1), "0.1"),
            (Num::Float(1e21), "1e21"),
            (Num::Float(1.5e-7), "1.5e-7"),
            (Num::from_i128(1 << 63).expect("in u64"), "9223372036854775808"),
            (Num::UInt(u64::MAX), "18446744073709551615"),
        ] {
            assert_eq!(value.text(), want);
        }
    }
}
