//! Durations as text in settings: `250ms`, `5s`, `1m30s`, `2h`, `1d`.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The units, the longest first.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A duration that is written as text, in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(Duration);

/// A text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no duration; write numbers with d, h, m, s or ms, such as `5s` or `1m30s`")]
pub struct PeriodError(String);

impl Period {
    /// A period of that length.
    #[must_use]
    pub const fn new(length: Duration) -> Self {
        Self(length)
    }

    /// A period of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Reads a text such as `250ms`, `5s` or `1m30s`: whole numbers, each with a unit.
    ///
    /// # Errors
    /// A [`PeriodError`] that shows the text and what was expected.
    pub fn parse(text: &str) -> Result<Self, PeriodError> {
        let error = || PeriodError(text.to_owned());
        let mut rest = text.trim();
        let mut total: u64 = 0;
        if rest.is_empty() {
            return Err(error());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
            let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*ms));
            total = part.and_then(|part| total.checked_add(part)).ok_or_else(error)?;
            rest = tail;
        }
        Ok(Self(Duration::from_millis(total)))
    }

    /// The length.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, ms) in UNITS {
            if rest >= ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl schemars::JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^([0-9]+(d|h|m|s|ms))+$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        let cases = [("250ms", 250), ("5s", 5000), ("1m30s", 90_000), ("1d2h", 93_600_000)];
        for (text, ms) in cases {
            let period = Period::parse(text).expect(text);
            assert_eq!(period.get(), Duration::from_millis(ms));
            assert_eq!(period.to_string(), text);
        }
        assert_eq!(Period::from_secs(0).to_string(), "0s");
        for bad in ["", "5", "s", "5 s", "5sec", "-1s", "1.5s", "99999999999999999999s", "5分"] {
            assert!(Period::parse(bad).is_err(), "{bad}");
        }
    }
}
