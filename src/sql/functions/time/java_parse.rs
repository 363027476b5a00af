//! Reading times by date patterns. Strict where Java is lenient: a part that is out of range, a wrong
//! weekday and text that is left over are errors.
//!
//! What the text does not say is that of 1970-01-01T00:00. Two digits of a year are those of 2000 to
//! 2099. From `SSS` on digits are a fraction of a second, `S` and `SS` are milliseconds as in Java.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

use crate::functions::time::java_date::{DAYS, MONTHS, Pattern, Piece};
use crate::lex::shorten;

/// What was read so far.
#[derive(Debug, Default)]
struct Fields {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    day_of_year: Option<i16>,
    /// Monday is 1.
    weekday: Option<i8>,
    /// `H` and `k`, which say more than `K` and `h`.
    hour: Option<i8>,
    /// `K` and `h`, from 0 to 11.
    half: Option<i8>,
    afternoon: Option<bool>,
    minute: i8,
    second: i8,
    nanosecond: i32,
    zone: Option<TimeZone>,
}

/// Reads a time by a pattern, in `zone` where the text names none.
///
/// # Errors
/// What is wrong with the pattern, or where the text does not fit it.
pub(crate) fn parse(
    mut pattern: Pattern<'_>,
    text: &str,
    zone: &TimeZone,
) -> Result<Timestamp, String> {
    let mut fields = Fields::default();
    let mut rest = text;
    let mut next = pattern.next().transpose()?;
    while let Some(piece) = next {
        next = pattern.next().transpose()?;
        let at = rest;
        let wrong = |wanted: &str| {
            let at = if at.is_empty() { "its end".into() } else { format!("`{}`", shorten(at)) };
            format!("`{}` is no time of the pattern: at {at} it wants {wanted}", shorten(text))
        };
        match piece {
            Piece::Char(char) => match rest.strip_prefix(char) {
                Some(after) => rest = after,
                None => return Err(wrong(&format!("`{char}`"))),
            },
            Piece::Field(letter, width) => {
                let tight = next.is_some_and(Piece::is_number);
                fields.read(letter, width, tight, &mut rest).map_err(|wanted| wrong(&wanted))?;
            }
        }
    }
    if !rest.is_empty() {
        let (text, rest) = (shorten(text), shorten(rest));
        return Err(format!("`{text}` is no time of the pattern: `{rest}` is left over"));
    }
    fields.finish(zone).map_err(|problem| format!("`{}` is no time: {problem}", shorten(text)))
}

/// Takes digits: exactly `width` when more digits follow, else as many as there are up to `most`.
fn number(rest: &mut &str, width: usize, tight: bool, most: usize) -> Option<i32> {
    let most = if tight { width } else { most.max(width) };
    let count = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count == 0 || count > 9 || (tight && count < width) {
        return None;
    }
    let (digits, after) = rest.split_at(count);
    *rest = after;
    digits.parse().ok()
}

/// Takes one of the names, whole or its first three letters, and gives its number from 1.
fn name(rest: &mut &str, names: &[&str]) -> Option<i8> {
    let starts =
        |text: &str| rest.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text));
    let found = |at: usize, len: usize| Some((i8::try_from(at).ok()? + 1, rest.get(len..)?));
    let whole = names.iter().position(|name| starts(name));
    let (number, after) = match whole {
        Some(at) => found(at, names.get(at)?.len())?,
        None => {
            let short = |name: &&str| name.get(..3).is_some_and(starts);
            found(names.iter().position(short)?, 3)?
        }
    };
    *rest = after;
    Some(number)
}

impl Fields {
    /// Reads a field, or says what it wants.
    fn read(
        &mut self,
        letter: char,
        width: usize,
        tight: bool,
        rest: &mut &str,
    ) -> Result<(), String> {
        let within = |rest: &mut &str, low: i32, high: i32, most: usize, what: &str| {
            let value = number(rest, width, tight, most);
            match value.filter(|value| (low..=high).contains(value)) {
                Some(value) => Ok(value),
                None => Err(format!("{what} from {low} to {high}")),
            }
        };
        // Everything that is read is within the ranges given.
        let small = |value: i32| i8::try_from(value).unwrap_or_default();
        let short = |value: i32| i16::try_from(value).unwrap_or_default();
        match letter {
            'y' if width == 2 => self.year = Some(short(within(rest, 0, 99, 2, "a year")? + 2000)),
            'y' => self.year = Some(short(within(rest, 1, 9999, 4, "a year")?)),
            'M' | 'L' if width >= 3 => {
                self.month = Some(name(rest, &MONTHS).ok_or("the name of a month in English")?);
            }
            'M' | 'L' => self.month = Some(small(within(rest, 1, 12, 2, "a month")?)),
            'd' => self.day = Some(small(within(rest, 1, 31, 2, "a day")?)),
            'D' => self.day_of_year = Some(short(within(rest, 1, 366, 3, "a day of the year")?)),
            'E' => {
                self.weekday = Some(name(rest, &DAYS).ok_or("the name of a weekday in English")?);
            }
            'u' => self.weekday = Some(small(within(rest, 1, 7, 1, "a weekday")?)),
            'a' => {
                self.afternoon = Some(name(rest, &["AM", "PM"]).ok_or("AM or PM")? == 2);
            }
            'G' => *rest = rest.strip_prefix("AD").ok_or("the era AD")?,
            'H' => self.hour = Some(small(within(rest, 0, 23, 2, "an hour")?)),
            'k' => self.hour = Some(small(within(rest, 1, 24, 2, "an hour")? % 24)),
            'K' => self.half = Some(small(within(rest, 0, 11, 2, "an hour")?)),
            'h' => self.half = Some(small(within(rest, 1, 12, 2, "an hour")? % 12)),
            'm' => self.minute = small(within(rest, 0, 59, 2, "a minute")?),
            's' => self.second = small(within(rest, 0, 59, 2, "a second")?),
            'S' if width < 3 => {
                self.nanosecond = within(rest, 0, 999, 3, "milliseconds")? * 1_000_000
            }
            'S' | 'f' => {
                let before = rest.len();
                let value = within(rest, 0, 999_999_999, 9, "a fraction of a second")?;
                let digits = before - rest.len();
                let power = u32::try_from(9 - digits.min(9)).unwrap_or_default();
                self.nanosecond = value * 10_i32.pow(power);
            }
            'z' => self.zone = Some(zone(rest)?),
            // `Z`, `X` and `x`.
            _ => self.zone = Some(TimeZone::fixed(offset(rest)?)),
        }
        Ok(())
    }

    fn finish(self, zone: &TimeZone) -> Result<Timestamp, String> {
        let year = self.year.unwrap_or(1970);
        let date = match self.day_of_year {
            Some(day) => {
                let first = Date::new(year, 1, 1).map_err(|error| error.to_string())?;
                let date = first.with().day_of_year(day).build();
                date.map_err(|_| format!("{year} has no day {day}"))?
            }
            None => {
                let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
                Date::new(year, month, day)
                    .map_err(|_| format!("there is no {year:04}-{month:02}-{day:02}"))?
            }
        };
        if let Some(said) = self.weekday
            && said != date.weekday().to_monday_one_offset()
        {
            return Err(format!("{date} is no {}", day_name(said)));
        }
        let hour = match (self.hour, self.half) {
            (Some(hour), _) => hour,
            (None, Some(hour)) => hour + if self.afternoon == Some(true) { 12 } else { 0 },
            (None, None) => 0,
        };
        let time = Time::new(hour, self.minute, self.second, self.nanosecond)
            .map_err(|error| error.to_string())?;
        let local = DateTime::from_parts(date, time);
        let zone = self.zone.as_ref().unwrap_or(zone);
        zone.to_timestamp(local).map_err(|_| format!("{local} is beyond 9999-12-30"))
    }
}

/// The weekday with a number; Monday is 1.
fn day_name(number: i8) -> &'static str {
    let at = usize::try_from(number - 1).unwrap_or_default();
    DAYS.get(at).copied().unwrap_or("day")
}

/// Takes `Z`, `+08`, `+0800` or `+08:00`.
fn offset(rest: &mut &str) -> Result<Offset, String> {
    const WANTED: &str = "an offset such as +08:00, or Z";
    if let Some(after) = rest.strip_prefix(['Z', 'z']) {
        *rest = after;
        return Ok(Offset::UTC);
    }
    let end = rest
        .bytes()
        .enumerate()
        .skip(1)
        .find(|&(at, byte)| !(byte.is_ascii_digit() || (byte == b':' && at == 3)) || at > 5)
        .map_or(rest.len(), |(at, _)| at);
    // `+0800` has no room for a sixth character.
    let end = if rest.as_bytes().get(3) == Some(&b':') { end } else { end.min(5) };
    let text = rest.get(..end).ok_or(WANTED)?;
    let found = crate::functions::time::words::offset(text).ok_or(WANTED)?;
    *rest = rest.get(end..).unwrap_or_default();
    Ok(found)
}

/// Takes the name of a zone: UTC, GMT, an offset, GMT with an offset, or an IANA name.
fn zone(rest: &mut &str) -> Result<TimeZone, String> {
    const WANTED: &str = "UTC, an offset or an IANA name such as Asia/Shanghai (abbreviations such as CST name several zones)";
    if rest.starts_with(['+', '-', 'Z']) {
        return offset(rest).map(TimeZone::fixed);
    }
    let named = |byte: &u8| byte.is_ascii_alphanumeric() || b"/_".contains(byte);
    let end = rest.bytes().take_while(named).count();
    let (text, after) = rest.split_at(end);
    if matches!(text, "UTC" | "GMT" | "UT") {
        *rest = after;
        return if after.starts_with(['+', '-']) {
            offset(rest).map(TimeZone::fixed)
        } else {
            Ok(TimeZone::UTC)
        };
    }
    if !text.contains('/') || text.len() > crate::functions::time::words::ZONE_MAX {
        return Err(WANTED.into());
    }
    let found = TimeZone::get(text).map_err(|_| WANTED.to_owned())?;
    *rest = after;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::time::java_date::{Letters, compile, format};

    fn read(pattern: &str, text: &str) -> Result<String, String> {
        let zone = TimeZone::get("Asia/Shanghai").expect("a zone");
        parse(Pattern::text(pattern, Letters::Java), text, &zone).map(|time| time.to_string())
    }

    #[test]
    fn times_are_read_by_their_pattern() {
        for (pattern, text, want) in [
            ("yyyy-MM-dd HH:mm:ss.SSS", "2018-11-28 10:56:38.943", "2018-11-28T02:56:38.943Z"),
            ("yyyyMMddHHmmss", "20181128105638", "2018-11-28T02:56:38Z"),
            ("yyyyMMddHHmmssSSS", "20181128105638943", "2018-11-28T02:56:38.943Z"),
            ("ddMMyyHHmmss", "281118105638", "2018-11-28T02:56:38Z"),
            ("yyyy-MM-dd", "2018-11-28", "2018-11-27T16:00:00Z"),
            ("y/M/d H:m:s", "2018/1/2 3:4:5", "2018-01-01T19:04:05Z"),
            ("yyyy-DDD", "2018-332", "2018-11-27T16:00:00Z"),
            (
                "EEE, dd MMM yyyy HH:mm:ss Z",
                "Wed, 28 Nov 2018 10:56:38 +0000",
                "2018-11-28T10:56:38Z",
            ),
            ("EEEE d MMMM yyyy", "wednesday 28 november 2018", "2018-11-27T16:00:00Z"),
            ("yyyy-MM-dd'T'HH:mm:ssXXX", "2018-11-28T10:56:38+05:30", "2018-11-28T05:26:38Z"),
            ("yyyy-MM-dd'T'HH:mm:ssX", "2018-11-28T10:56:38Z", "2018-11-28T10:56:38Z"),
            ("yyyy-MM-dd HH:mm Z", "2018-11-28 10:56 -0330", "2018-11-28T14:26:00Z"),
            ("yyyy-MM-dd HH:mm z", "2018-11-28 10:56 Europe/Paris", "2018-11-28T09:56:00Z"),
            ("yyyy-MM-dd HH:mm z", "2018-11-28 10:56 GMT+08:00", "2018-11-28T02:56:00Z"),
            ("yyyy-MM-dd h:mm a", "2018-11-28 12:05 AM", "2018-11-27T16:05:00Z"),
            ("yyyy-MM-dd K:mm a", "2018-11-28 0:05 pm", "2018-11-28T04:05:00Z"),
            ("yyyy-MM-dd k", "2018-11-28 24", "2018-11-27T16:00:00Z"),
            ("yyyy-MM-dd HH:mm (h)", "2018-11-28 20:05 (8)", "2018-11-28T12:05:00Z"),
            ("yyyy年M月d日", "2018年11月28日", "2018-11-27T16:00:00Z"),
            ("ss.SSSSSS", "01.000500", "1969-12-31T16:00:01.0005Z"),
            ("s.S", "1.5", "1969-12-31T16:00:01.005Z"),
            ("HH 'o''clock'", "08 o'clock", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(read(pattern, text).as_deref(), Ok(want), "{pattern} {text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_explained() {
        for (pattern, text, want) in [
            (
                "yyyy-MM-dd",
                "2018-13-01",
                "`2018-13-01` is no time of the pattern: at `13-01` it wants a month from 1 to 12",
            ),
            ("yyyy-MM-dd", "2018-02-30", "`2018-02-30` is no time: there is no 2018-02-30"),
            (
                "yyyy-MM-dd",
                "2018-11-28 10:00",
                "`2018-11-28 10:00` is no time of the pattern: ` 10:00` is left over",
            ),
            (
                "yyyy-MM-dd HH",
                "2018-11-28",
                "`2018-11-28` is no time of the pattern: at its end it wants ` `",
            ),
            (
                "EEE yyyy-MM-dd",
                "Mon 2018-11-28",
                "`Mon 2018-11-28` is no time: 2018-11-28 is no Monday",
            ),
            ("yyyy-D", "2018-366", "`2018-366` is no time: 2018 has no day 366"),
            ("HHmm", "1", "`1` is no time of the pattern: at `1` it wants an hour from 0 to 23"),
        ] {
            assert_eq!(read(pattern, text), Err(want.to_owned()), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("Z", "+8"),
            ("Z", "8"),
            ("X", ""),
            ("XXX", "+08:0"),
            ("XXX", "+25:00"),
            ("XXX", "+08:00:00"),
            ("z", "CST"),
            ("z", "No/Where"),
            ("y", "99999999999999999999"),
            ("MMM", "Ja"),
            ("MMM", "温度"),
            ("yyyy", "２０１８"),
        ] {
            assert!(read(pattern, text).is_err(), "{pattern} {text}: {:?}", read(pattern, text));
        }
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let zone = TimeZone::get("America/New_York").expect("a zone");
        for pattern in [
            "yyyy-MM-dd HH:mm:ss.SSS Z",
            "yyDDDHHmmssSSS X",
            "EEEE, d MMMM yyyy hh:mm:ss.SSS a XXX",
        ] {
            let ready = compile(pattern, Letters::Java).expect(pattern);
            for step in 0..490 {
                let time = Timestamp::from_millisecond(946_900_000_000 + step * 6_310_123_457)
                    .expect("a time");
                let text =
                    format(Pattern::ready(&ready), &time.to_zoned(zone.clone())).expect(pattern);
                // An offset of hours alone is enough for New York.
                assert_eq!(
                    parse(Pattern::ready(&ready), &text, &TimeZone::UTC),
                    Ok(time),
                    "{pattern} {text}"
                );
            }
        }
    }
}
