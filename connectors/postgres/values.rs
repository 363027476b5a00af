//! Values of records as the text that PostgreSQL reads for a column's type. What a column can't hold
//! as it is gets refused here: PostgreSQL itself would round it, cut it or read it as something else.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::contract::table::Cell;
use crate::contract::{Decimal, Field};

/// PostgreSQL's limit (MAXDIM).
const DIMENSIONS_MAX: usize = 6;

/// Base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a column's type wants to be told apart for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// `json` and `jsonb`.
    Json,
    /// An integer type of that many bits.
    Integer(u32),
    /// `numeric` and `money`: with a limit, digits before the decimal point and behind it.
    Numeric(Option<(i64, i64)>),
    /// `real`.
    Single,
    /// `double precision`.
    Double,
    /// The timestamp types.
    Time,
    /// `date`.
    Date,
    /// The times of day, of which PostgreSQL would read 123456 as 12:34:56.
    Clock,
    /// `interval`, of which a number is seconds.
    Interval,
    /// `bytea`.
    Bytes,
    /// A range, whose text may look like a list in JSON.
    Range,
    /// An array of these, and what stands between them.
    Array(Box<Kind>, char),
    /// Anything that PostgreSQL reads from plain text.
    Other,
}

/// How numbers in time columns are counted from 1970 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TimeUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
    /// The one of these that gives a year from 1990 to 2200.
    #[default]
    Auto,
}

/// How text in `bytea` columns is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum BytesAs {
    /// Base64, in either alphabet, with or without padding.
    #[default]
    Base64,
    /// Two hexadecimal digits for each byte.
    Hex,
}

/// What the settings say about reading values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reading {
    pub(super) time: TimeUnit,
    pub(super) bytes: BytesAs,
}

/// The end of a sentence that begins "the value … of column … ": why it can't be stored, what to do.
pub(super) type Unfit = Cow<'static, str>;

/// The text that is cast to the column's type; `None` is NULL.
///
/// # Errors
/// Why a column of that kind can't hold the value.
pub(super) fn text_for<'c>(
    cell: &'c Cell<'_>,
    kind: &Kind,
    reading: Reading,
) -> Result<Option<Cow<'c, str>>, Unfit> {
    if *cell == Cell::Null {
        return Ok(None);
    }
    let text = match (kind, cell) {
        (Kind::Json, _) => cell.json(),
        (Kind::Array(item, delimiter), Cell::List(list)) => {
            let mut out = String::with_capacity(list.len() + 2);
            let array = Array { item, delimiter: *delimiter, reading };
            array.write(list, 1, &mut out)?;
            out.into()
        }
        (Kind::Array(..), Cell::Text(text)) => Cow::Borrowed(text.as_ref()),
        (Kind::Array(..), _) => return Err("is no list; select a list such as [1, 2]".into()),
        (Kind::Range | Kind::Other, _) => cell.text(),
        (Kind::Bytes, _) => bytes(cell, reading.bytes)?,
        (Kind::Clock, Cell::Number(_)) => {
            return Err("is no time of day; send text such as 12:34:56".into());
        }
        (Kind::Time | Kind::Date, Cell::Number(number)) => {
            moment(number, reading.time, *kind == Kind::Date)?.into()
        }
        // PostgreSQL would find digits in it that could be a time.
        (
            Kind::Clock | Kind::Time | Kind::Date | Kind::Interval,
            Cell::List(_) | Cell::Object(_),
        ) => return Err("is no time; select a part of it".into()),
        (Kind::Clock | Kind::Time | Kind::Date | Kind::Interval, _) => cell.text(),
        (Kind::Integer(_) | Kind::Numeric(_) | Kind::Single | Kind::Double, Cell::Bool(yes)) => {
            Cow::Borrowed(if *yes { "1" } else { "0" })
        }
        (_, Cell::Number(number)) => fitting(number, kind)?,
        // Text of a number is a number; PostgreSQL also reads `NaN`, `Infinity` and what else it knows.
        (_, Cell::Text(text)) => match Decimal::parse(text.trim()) {
            Some(_) => fitting(text.trim(), kind)?,
            None => Cow::Borrowed(text.as_ref()),
        },
        (_, _) => return Err("is no number; select a part of it".into()),
    };
    Ok(Some(text))
}

/// A number for a column of numbers, when the column can hold it as it is.
fn fitting<'n>(text: &'n str, kind: &Kind) -> Result<Cow<'n, str>, Unfit> {
    let Some(number) = Decimal::parse(text) else {
        return Err("is no number".into());
    };
    let fits = match kind {
        Kind::Integer(bits) => return whole(number, *bits).map(Cow::from),
        Kind::Numeric(Some((before, behind))) => {
            if !number.is_below(*before) {
                return Err("is too great; give the column more digits".into());
            }
            number.has_scale(*behind)
        }
        Kind::Single => number.single().is_some(),
        Kind::Double => number.double().is_some(),
        _ => true,
    };
    if fits {
        return Ok(Cow::Borrowed(text));
    }
    Err("can't be stored exactly; select round(…), or make the column `numeric`".into())
}

/// `39.0` and `1e3` are whole numbers, too.
fn whole(number: Decimal<'_>, bits: u32) -> Result<String, Unfit> {
    if !number.has_scale(0) {
        return Err("is no whole number; select round(…), or make the column `numeric`".into());
    }
    let limit = 1_i128 << (bits - 1);
    match number.whole() {
        Some(whole) if (-limit..limit).contains(&whole) => Ok(whole.to_string()),
        _ => {
            Err("is out of range; make the column `numeric`, or `bigint` if that is enough".into())
        }
    }
}

/// A number in a time column, as PostgreSQL reads a time or a date; what is finer than a microsecond is
/// cut off.
fn moment(number: &str, unit: TimeUnit, date: bool) -> Result<String, Unfit> {
    let none = || -> Unfit {
        match unit {
            TimeUnit::Auto => "is in none of s, ms, us and ns a time of the years 1990 to 2200; set `time_unit`, or send text such as 2026-01-02T03:04:05Z".into(),
            _ => "is no time of the years 1 to 9999 in the unit that `time_unit` says".into(),
        }
    };
    let years = if unit == TimeUnit::Auto { 1990..=2200 } else { 1..=9999 };
    // Powers of ten that make microseconds of them.
    let powers: &[i64] = match unit {
        TimeUnit::S => &[6],
        TimeUnit::Ms => &[3],
        TimeUnit::Us => &[0],
        TimeUnit::Ns => &[-3],
        TimeUnit::Auto => &[6, 3, 0, -3],
    };
    let number = Decimal::parse(number).ok_or_else(none)?;
    let time = powers.iter().find_map(|power| {
        let micros = i64::try_from(number.times_ten_to(*power)?).ok()?;
        let time = Timestamp::from_microsecond(micros).ok()?.to_zoned(TimeZone::UTC);
        years.contains(&time.year()).then_some(time)
    });
    let time = time.ok_or_else(none)?;
    Ok(if date { time.date().to_string() } else { time.timestamp().to_string() })
}

/// Bytes in PostgreSQL's own form. Text that begins with `\x` is in it already.
fn bytes<'c>(cell: &'c Cell<'_>, written: BytesAs) -> Result<Cow<'c, str>, Unfit> {
    let Cell::Text(text) = cell else {
        return Err("is no text of bytes; select to_base64(…)".into());
    };
    if text.starts_with("\\x") {
        return Ok(Cow::Borrowed(text.as_ref()));
    }
    if written == BytesAs::Hex {
        return Ok(format!("\\x{text}").into());
    }
    let standard = text.replace('-', "+").replace('_', "/");
    let bytes = BASE64.decode(standard).map_err(|_| -> Unfit {
        "is no base64; select to_base64(…), or set `bytes: hex` for hexadecimal digits".into()
    })?;
    let mut out = String::with_capacity(2 + 2 * bytes.len());
    out.push_str("\\x");
    for byte in bytes {
        // Writing to a String can't fail.
        write!(out, "{byte:02x}").ok();
    }
    Ok(out.into())
}

/// Lists as PostgreSQL's array literals.
struct Array<'k> {
    item: &'k Kind,
    delimiter: char,
    reading: Reading,
}

impl Array<'_> {
    fn write(&self, list: &str, depth: usize, out: &mut String) -> Result<(), Unfit> {
        let items = Field::of(list).items().unwrap_or_default();
        if items.is_empty() && depth > 1 {
            return Err("holds an empty list within a list, which no array can".into());
        }
        if depth > DIMENSIONS_MAX {
            return Err(format!("is more than {DIMENSIONS_MAX} lists deep").into());
        }
        // Lists within are further dimensions, unless they are values of the items' type.
        let nests = !matches!(self.item, Kind::Json | Kind::Range);
        out.push('{');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                out.push(self.delimiter);
            }
            match Cell::from(item) {
                Cell::List(inner) if nests => self.write(inner, depth + 1, out)?,
                cell => match text_for(&cell, self.item, self.reading)? {
                    Some(text) => quote(&text, out),
                    None => out.push_str("NULL"),
                },
            }
        }
        out.push('}');
        Ok(())
    }
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str, kind: &Kind, reading: Reading) -> Result<Option<String>, Unfit> {
        let cell = Cell::from(Field::of(json));
        text_for(&cell, kind, reading).map(|text| text.map(Cow::into_owned))
    }

    #[test]
    fn numbers_are_times_in_the_unit_that_is_set() {
        let time = |number: &str, unit, kind| {
            let reading = Reading { time: unit, ..Reading::default() };
            text(number, &kind, reading).ok().flatten()
        };
        let is = |number: &str, unit, want: &str| {
            assert_eq!(time(number, unit, Kind::Time).as_deref(), Some(want), "{number} {unit:?}");
        };
        let second = "2026-07-14T03:33:20Z";
        for (number, unit) in [
            ("1784000000", TimeUnit::S),
            ("1784000000000", TimeUnit::Ms),
            ("1.784e12", TimeUnit::Ms),
            ("1784000000000000", TimeUnit::Us),
            ("1784000000000000000", TimeUnit::Ns),
        ] {
            is(number, unit, second);
            is(number, TimeUnit::Auto, second);
        }
        is("0", TimeUnit::Ms, "1970-01-01T00:00:00Z");
        is("-1", TimeUnit::Ns, "1969-12-31T23:59:59.999999Z");
        is("-62135596800", TimeUnit::S, "0001-01-01T00:00:00Z");
        is("631152000", TimeUnit::Auto, "1990-01-01T00:00:00Z");
        is("7289654399.999", TimeUnit::Auto, "2200-12-31T23:59:59.999Z");
        for (number, unit) in [
            ("631151999", TimeUnit::Auto),
            ("7289654400", TimeUnit::Auto),
            ("0", TimeUnit::Auto),
            ("-62135596801", TimeUnit::S),
            ("253402300800", TimeUnit::S),
            ("1e300", TimeUnit::Ns),
        ] {
            assert_eq!(time(number, unit, Kind::Time), None, "{number} {unit:?}");
        }
        assert_eq!(time("1783987199", TimeUnit::S, Kind::Date).as_deref(), Some("2026-07-13"));
    }

    #[test]
    fn bytes_are_read_as_the_settings_say() {
        let bytes = |json: &str, bytes| {
            text(json, &Kind::Bytes, Reading { bytes, ..Reading::default() }).ok().flatten()
        };
        assert_eq!(bytes("\"q80=\"", BytesAs::Base64).as_deref(), Some("\\xabcd"));
        assert_eq!(bytes("\"abcd\"", BytesAs::Base64).as_deref(), Some("\\x69b71d"));
        assert_eq!(bytes("\"abcd\"", BytesAs::Hex).as_deref(), Some("\\xabcd"));
        assert_eq!(bytes("\"\\\\xabcd\"", BytesAs::Base64).as_deref(), Some("\\xabcd"));
        assert_eq!(bytes("\"abc d\"", BytesAs::Base64), None);
    }

    #[test]
    fn lists_become_array_literals() {
        let array = Kind::Array(Box::new(Kind::Other), ',');
        let of = |json: &str| text(json, &array, Reading::default()).ok().flatten();
        assert_eq!(of(r#"["x\"\\",null,[] ]"#), None);
        let want = r#"{"x\"\\",NULL,"1.10"}"#;
        assert_eq!(of(r#"["x\"\\",null,1.10]"#).as_deref(), Some(want));
        assert_eq!(of("[[1],[2]]").as_deref(), Some(r#"{{"1"},{"2"}}"#));
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(of(&deep), None);
    }
}
