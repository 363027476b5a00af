//! JSON values as the text that PostgreSQL reads for a column's type. Which type a column has is the
//! sink's business.

use serde_json::{Number, Value};

/// What a column's type wants to be told apart for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `json` and `jsonb`.
    Json,
    /// The integer types.
    Integer,
    /// The timestamp types.
    Time,
    /// Anything that PostgreSQL reads from plain text.
    Other,
}

/// The text that is cast to the column's type; `None` is NULL.
pub(super) fn text_for(value: &Value, kind: Kind) -> Option<String> {
    Some(match (value, kind) {
        (Value::Null, _) => return None,
        (_, Kind::Json) => value.to_string(),
        (Value::Bool(yes), Kind::Integer) => u8::from(*yes).to_string(),
        (Value::Number(number), Kind::Integer) => whole(number),
        (Value::Number(number), Kind::Time) => match number.as_f64() {
            Some(ms) => rfc3339(ms),
            None => number.to_string(),
        },
        (Value::String(text), _) => text.clone(),
        _ => value.to_string(),
    })
}

/// A number for an integer column: `39.0` and `1e3` are whole numbers too, `39.5` is left to be
/// refused.
fn whole(number: &Number) -> String {
    /// Beyond 2^53 a float no longer says which whole number it is.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match (number.is_f64(), number.as_f64()) {
        (true, Some(real)) if real.fract() == 0.0 && real.abs() <= EXACT => format!("{real:.0}"),
        _ => number.to_string(),
    }
}

/// Milliseconds since 1970 as PostgreSQL reads a time; numbers in a time column are such.
fn rfc3339(ms: f64) -> String {
    /// About 285 000 years, within what PostgreSQL's timestamps hold; what is more is cut to it.
    const MOST: f64 = 9.0e15;
    #[expect(clippy::cast_possible_truncation, reason = "a fraction of a millisecond is dropped")]
    let ms = ms.clamp(-MOST, MOST) as i64;
    let (days, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // Days to a civil date, counted from 0000-03-01 in eras of 400 years.
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // There is no year 0: PostgreSQL writes the years before 1 as BC.
    let (year, before) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    let milli = rest % 1000;
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{milli:03}+00{before}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_the_columns_type() {
        let text = |json: &str, kind| {
            let value: Value = serde_json::from_str(json).expect("json");
            text_for(&value, kind)
        };
        assert_eq!(text("null", Kind::Json), None);
        assert_eq!(text("\"a\"", Kind::Json).as_deref(), Some("\"a\""));
        assert_eq!(text("\"a\"", Kind::Other).as_deref(), Some("a"));
        assert_eq!(text("39.0", Kind::Integer).as_deref(), Some("39"));
        assert_eq!(text("1e3", Kind::Integer).as_deref(), Some("1000"));
        assert_eq!(text("39.5", Kind::Integer).as_deref(), Some("39.5"));
        assert_eq!(text("true", Kind::Integer).as_deref(), Some("1"));
        let time = |ms: &str| text(ms, Kind::Time).expect("time");
        assert_eq!(time("0"), "1970-01-01 00:00:00.000+00");
        assert_eq!(time("1784000000123"), "2026-07-14 03:33:20.123+00");
        assert_eq!(time("951782400000"), "2000-02-29 00:00:00.000+00");
        assert_eq!(time("-1"), "1969-12-31 23:59:59.999+00");
    }
}
