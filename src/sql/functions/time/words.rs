//! Reading what stands for a zone, a unit, a time of day or a duration. The times themselves are in
//! `moment` and `java_parse`.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use crate::lex::shorten;
use crate::number::Num;

/// Bytes that the name of a zone may have.
pub(in crate::functions) const ZONE_MAX: usize = 64;

/// A unit of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Unit {
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// A part of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Part {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    DayOfYear,
    DayOfWeek,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
}

pub(in crate::functions) const UNITS: &str =
    "millisecond, second, minute, hour, day, week, month, quarter or year";
pub(in crate::functions) const PARTS: &str = "year, quarter, month, week, day, day_of_year, day_of_week, hour, minute, second, millisecond or microsecond";

impl Unit {
    pub(in crate::functions) fn named(text: &str) -> Option<Self> {
        Some(match singular(text) {
            "millisecond" | "ms" => Self::Millisecond,
            "second" | "sec" => Self::Second,
            "minute" | "min" => Self::Minute,
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            "quarter" => Self::Quarter,
            "year" => Self::Year,
            _ => return None,
        })
    }
}

impl Part {
    pub(in crate::functions) fn named(text: &str) -> Option<Self> {
        Some(match singular(text) {
            "year" => Self::Year,
            "quarter" => Self::Quarter,
            "month" => Self::Month,
            "week" => Self::Week,
            "day" | "day_of_month" => Self::Day,
            "day_of_year" | "doy" => Self::DayOfYear,
            "day_of_week" | "isodow" => Self::DayOfWeek,
            "hour" => Self::Hour,
            "minute" => Self::Minute,
            "second" => Self::Second,
            "millisecond" => Self::Millisecond,
            "microsecond" => Self::Microsecond,
            _ => return None,
        })
    }

    /// The part of a local time.
    pub(in crate::functions) fn of(self, time: DateTime) -> i64 {
        match self {
            Self::Year => time.year().into(),
            Self::Quarter => i64::from((time.month() - 1) / 3 + 1),
            Self::Month => time.month().into(),
            Self::Week => time.iso_week_date().week().into(),
            Self::Day => time.day().into(),
            Self::DayOfYear => time.day_of_year().into(),
            Self::DayOfWeek => time.weekday().to_monday_one_offset().into(),
            Self::Hour => time.hour().into(),
            Self::Minute => time.minute().into(),
            Self::Second => time.second().into(),
            Self::Millisecond => time.millisecond().into(),
            Self::Microsecond => i64::from(time.subsec_nanosecond() / 1000),
        }
    }
}

/// The lower-case names of units without an `s` at the end; other text is not changed.
fn singular(text: &str) -> &str {
    const NAMES: [&str; 12] = [
        "millisecond",
        "microsecond",
        "second",
        "minute",
        "hour",
        "day",
        "week",
        "month",
        "quarter",
        "year",
        "sec",
        "min",
    ];
    let bare = text.strip_suffix(['s', 'S']).unwrap_or(text);
    let same = |text: &str| NAMES.into_iter().find(|name| name.eq_ignore_ascii_case(text));
    same(bare).or_else(|| same(text)).unwrap_or(text)
}

/// Nanoseconds of a second.
pub(in crate::functions) const SECOND: i128 = 1_000_000_000;

/// Nanoseconds of a unit in which EMQX counts.
pub(in crate::functions) fn tick(text: &str) -> Option<i128> {
    match text {
        "second" => Some(SECOND),
        "millisecond" => Some(1_000_000),
        "microsecond" => Some(1_000),
        "nanosecond" => Some(1),
        _ => None,
    }
}

/// Reads RFC 3339 / ISO 8601, local time of `zone` where it has no offset.
pub(in crate::functions) fn iso(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    // `2018-11-28T10:56:38+08:00`: a sign behind the date is an offset.
    let has_offset = text.ends_with(['Z', 'z', ']'])
        || text.get(10..).is_some_and(|rest| rest.contains(['+', '-']));
    if has_offset {
        return text.parse().ok();
    }
    zone.to_timestamp(text.parse::<DateTime>().ok()?).ok()
}

/// A zone by its name or offset; `Some(None)` is the configured one.
pub(in crate::functions) fn zone_named(text: &str) -> Option<Option<TimeZone>> {
    if text.eq_ignore_ascii_case("local") {
        return Some(None);
    }
    if text == "Z" || text == "z" {
        return Some(Some(TimeZone::UTC));
    }
    if text.starts_with(['+', '-']) {
        return offset(text).map(|offset| Some(TimeZone::fixed(offset)));
    }
    if text.len() > ZONE_MAX {
        return None;
    }
    TimeZone::get(text).ok().map(Some)
}

/// `+08`, `+0800`, `+08:00` or `+08:00:00`, below 24 hours.
pub(in crate::functions) fn offset(text: &str) -> Option<Offset> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = rest.split_at_checked(2)?;
    let (minutes, seconds) = match rest.strip_prefix(':') {
        None if rest.is_empty() => ("00", "00"),
        None => (rest, "00"),
        Some(rest) => rest.split_once(':').unwrap_or((rest, "00")),
    };
    let pair = |text: &str, below: i32| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i32>().ok().filter(|&value| digits && value < below)
    };
    let seconds = pair(hours, 24)? * 3600 + pair(minutes, 60)? * 60 + pair(seconds, 60)?;
    Offset::from_seconds(sign * seconds).ok()
}

/// `HH:mm` or `HH:mm:ss` in seconds, up to `24:00`.
pub(in crate::functions) fn clock(text: &str) -> Option<i32> {
    let mut parts = text.split(':');
    let mut part = |most: i32| {
        let text = parts.next()?;
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<i32>().ok().filter(|&value| digits && value <= most)
    };
    let (hours, minutes) = (part(24)?, part(59)?);
    let seconds = match text.matches(':').count() {
        1 => 0,
        2 => part(59)?,
        _ => return None,
    };
    Some(hours * 3600 + minutes * 60 + seconds).filter(|&seconds| seconds <= 86_400)
}

/// A duration in whole milliseconds: a number of them, or a text with units.
pub(in crate::functions) fn length(text: &str) -> Result<i64, String> {
    if let Some(num) = Num::parse(text.as_bytes()) {
        return Ok(num.truncate());
    }
    let nanoseconds = duration(text)?;
    i64::try_from(nanoseconds / 1_000_000).map_err(|_| too_long(text))
}

fn too_long(text: &str) -> String {
    format!("`{}` is longer than any time", shorten(text))
}

/// Reads `1h30m`, `-2.5s`, `1d 12h`, `500ms` or ISO 8601's `PT1H30M` as nanoseconds. A day has 24
/// hours, a week 7 days.
pub(in crate::functions) fn duration(text: &str) -> Result<i128, String> {
    /// More than the years 1 to 9999 have.
    const MOST: i128 = 400_000_000_000 * SECOND;
    let wrong = || format!("`{}` is no duration", shorten(text));
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    // Of ISO 8601: before `T` are days and weeks, behind it hours, minutes and seconds.
    let iso = rest.strip_prefix('P').is_some();
    rest = rest.strip_prefix('P').unwrap_or(rest);
    let mut clock = !iso;
    let mut total: i128 = 0;
    let mut any = false;
    while !rest.is_empty() {
        if iso
            && !clock
            && let Some(after) = rest.strip_prefix('T')
        {
            (clock, rest) = (true, after);
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(|| {
            format!("{}: `{}` has no unit (ms, s, m, h, d or w)", wrong(), shorten(rest))
        })?;
        let (digits, after) = rest.split_at(end);
        let after = if iso { after } else { after.trim_start_matches(' ') };
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
        let end = if iso { after.chars().next().map(char::len_utf8) } else { end };
        let (unit, after) = after.split_at_checked(end.unwrap_or(after.len())).ok_or_else(wrong)?;
        let unit = match (iso, clock, if iso { unit } else { singular(unit) }) {
            (false, _, "ns") => 1,
            (false, _, "us" | "µs" | "μs") => 1_000,
            (false, _, "ms" | "millisecond") => 1_000_000,
            (false, _, "s" | "sec" | "second") | (true, true, "S") => SECOND,
            (false, _, "m" | "min" | "minute") | (true, true, "M") => 60 * SECOND,
            (false, _, "h" | "hour") | (true, true, "H") => 3_600 * SECOND,
            (false, _, "d" | "day") | (true, false, "D") => 86_400 * SECOND,
            (false, _, "w" | "week") | (true, false, "W") => 604_800 * SECOND,
            _ => return Err(format!("{}: `{}` is no unit in it", wrong(), shorten(unit))),
        };
        total += scaled(digits, unit).ok_or_else(wrong)?;
        if total > MOST {
            return Err(too_long(text));
        }
        any = true;
        rest = if iso { after } else { after.trim_start_matches(' ') };
    }
    if any { Ok(if negative { -total } else { total }) } else { Err(wrong()) }
}

/// A decimal times a number.
fn scaled(digits: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    if whole.len() > 18 || fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    // Beyond 15 digits nothing is left of a week in nanoseconds.
    let fraction = fraction.get(..15).unwrap_or(fraction);
    let power = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    Some(whole * unit + fraction.parse::<i128>().ok()? * unit / power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, want) in [
            ("1h30m", 5_400 * SECOND),
            ("1d 12h", 129_600 * SECOND),
            ("5 minutes 1 SEC", 301 * SECOND),
            ("-2.5s", -5 * SECOND / 2),
            ("500ms", SECOND / 2),
            ("1w", 604_800 * SECOND),
            ("10us5ns", 10_005),
            ("PT1H30M", 5_400 * SECOND),
            ("P1DT0.5S", 86_400 * SECOND + SECOND / 2),
            ("P2W", 1_209_600 * SECOND),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(want), "{text}");
        }
        for text in [
            "",
            "-",
            "5",
            "1h30",
            "h",
            "1x",
            "1..5s",
            ".5s",
            "1.s",
            "P1M",
            "PT1D",
            "P",
            "PT",
            "PTT1S",
            "1h -5m",
            "9999999999999999999s",
            "999999999999999999w",
            "温",
        ] {
            assert!(duration(text).is_err(), "{text}: {:?}", duration(text));
        }
    }

    #[test]
    fn zones_are_found() {
        for (text, seconds) in [
            ("+08:00", 28_800),
            ("-0330", -12_600),
            ("+08", 28_800),
            ("+01:02:03", 3_723),
            ("Z", 0),
            ("UTC", 0),
            ("Asia/Kolkata", 19_800),
        ] {
            let zone = zone_named(text).flatten().expect(text);
            assert_eq!(zone.to_offset(Timestamp::UNIX_EPOCH).seconds(), seconds, "{text}");
        }
        assert!(zone_named("LOCAL").is_some_and(|zone| zone.is_none()));
        for text in ["", "+8", "+8:00", "+24:00", "+08:60", "+08:00:00:00", "Mars", "+温温", "+0８"]
        {
            assert!(zone_named(text).is_none(), "{text}");
        }
    }

    #[test]
    fn times_of_day_are_read() {
        for (text, want) in
            [("22:00", 79_200), ("6:05", 21_900), ("24:00", 86_400), ("01:02:03", 3_723)]
        {
            assert_eq!(clock(text), Some(want), "{text}");
        }
        for text in ["", "6", "24:01", "06:60", "1:2:3:4", "006:00", "-1:00", "06:00:", "6 :00"] {
            assert_eq!(clock(text), None, "{text}");
        }
    }
}
