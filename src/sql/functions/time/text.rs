//! Functions that write times as text and read them from it.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use crate::functions::math::number::exact;
use crate::functions::time::java_date::{self, Letters};
use crate::functions::time::java_parse;
use crate::functions::time::moment::{A_TIME, Call, MAYBE_ZONE, Role, TIME, instant, prepare};
use crate::functions::time::words::duration;
use crate::functions::{Depends, Fault, Function, Kind, example, missing, required};
use crate::lex::shorten;
use crate::number::Num;
use crate::value::Value;

/// A time in the form of RFC 3339 with 0 to 9 digits of a fraction.
pub(in crate::functions) fn rfc3339(time: Timestamp, zone: &TimeZone, digits: usize) -> String {
    // The form has no seconds of an offset, which old local times have: as it stands for a point in
    // time, the clock gives way.
    let offset = zone.to_offset(time).seconds();
    let offset = Offset::from_seconds(offset - offset % 60).unwrap_or(Offset::UTC);
    let local = offset.to_datetime(time);
    let mut text = String::with_capacity(40);
    let (hour, minute, second) = (local.hour(), local.minute(), local.second());
    write!(text, "{}T{hour:02}:{minute:02}:{second:02}", local.date()).ok();
    if digits > 0 {
        write!(text, ".{:09}", local.subsec_nanosecond()).ok();
        text.truncate(text.len() - (9 - digits.min(9)));
    }
    match offset.seconds() {
        0 => text.push('Z'),
        seconds => {
            let sign = if seconds < 0 { '-' } else { '+' };
            let minutes = seconds.unsigned_abs() / 60;
            write!(text, "{sign}{:02}:{:02}", minutes / 60, minutes % 60).ok();
        }
    }
    text
}

/// Reads the form of RFC 3339, which always has an offset.
pub(in crate::functions) fn from_text(text: &str) -> Result<Timestamp, Fault> {
    text.parse().map_err(|_| {
        let message = format!("`{}` is no time in the form of RFC 3339", shorten(text));
        Fault::new("domain", message).because("such as '2018-11-28T10:56:38+08:00'")
    })
}

pub(in crate::functions) const FORMAT_TIMESTAMP: Function = Function {
    name: "format_timestamp",
    aliases: &["format_time"],
    signature: "format_timestamp(time, format[, zone])",
    params: &[A_TIME, required("format", Kind::Text), MAYBE_ZONE],
    result: Kind::Text,
    summary: "A time (milliseconds since 1970, or text as of to_rfc3339) written by the pattern \
              letters of Java's SimpleDateFormat, in the configured time zone or another.",
    examples: &[
        example(
            "format_timestamp(ts, 'yyyy-MM-dd HH:mm:ss')",
            r#"{"ts":1543373798943}"#,
            r#""2018-11-28 10:56:38""#,
        ),
        example(
            "format_timestamp(ts, 'EEE HH:mm Z', 'Europe/Paris')",
            r#"{"ts":1543373798943}"#,
            r#""Wed 03:56 +0100""#,
        ),
        example("format_timestamp(0, 'yyyy年M月d日', '-01:00')", "{}", r#""1969年12月31日""#),
        example("format_timestamp(ts, 'yyyy')", r#"{"ts":null}"#, "null"),
        missing("format_timestamp(ts, 'yyyy')", r#"{"ts":"soon"}"#),
    ],
    prepare: |arguments| prepare(arguments, &[(1, Role::Pattern(Letters::Java)), (2, Role::Zone)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        let zone = call.zone(2)?;
        let time = call.time(0, &zone)?.to_zoned(zone.into_owned());
        java_date::format(call.pattern(1, Letters::Java), &time)
            .map(Value::text)
            .map_err(|message| Fault::new("domain", message))
    },
    ..TIME
};

pub(in crate::functions) const PARSE_TIMESTAMP: Function = Function {
    name: "parse_timestamp",
    signature: "parse_timestamp(text, format[, zone])",
    params: &[required("text", Kind::Text), required("format", Kind::Text), MAYBE_ZONE],
    summary: "Reads a time by the pattern letters of Java's SimpleDateFormat as milliseconds since \
              1970. Without an offset in the text it is in the configured time zone, or the one \
              given. A text that does not fit, or is no date, is an error.",
    examples: &[
        example(
            "parse_timestamp(t, 'yyyy-MM-dd HH:mm:ss')",
            r#"{"t":"2018-11-28 10:56:38"}"#,
            "1543373798000",
        ),
        example("parse_timestamp('281118025638', 'ddMMyyHHmmss', 'UTC')", "{}", "1543373798000"),
        example(
            "parse_timestamp(t, 'EEE, dd MMM yyyy HH:mm:ss Z')",
            r#"{"t":"Wed, 28 Nov 2018 02:56:38 +0000"}"#,
            "1543373798000",
        ),
        example("parse_timestamp(t, 'yyyy')", r#"{"t":null}"#, "null"),
        missing("parse_timestamp('2018-02-30', 'yyyy-MM-dd')", "{}"),
    ],
    prepare: |arguments| prepare(arguments, &[(1, Role::Pattern(Letters::Java)), (2, Role::Zone)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        java_parse::parse(call.pattern(1, Letters::Java), call.text(0), &*call.zone(2)?)
            .map(instant)
            .map_err(|message| Fault::new("domain", message))
    },
    ..TIME
};

pub(in crate::functions) const FROM_RFC3339: Function = Function {
    name: "from_rfc3339",
    depends: Depends::Arguments,
    signature: "from_rfc3339(text)",
    params: &[required("text", Kind::Text)],
    summary: "A time in the form of RFC 3339 as milliseconds since 1970; it has an offset or `Z`.",
    examples: &[
        example("from_rfc3339(t)", r#"{"t":"2018-11-28T10:56:38.943+08:00"}"#, "1543373798943"),
        example("from_rfc3339('2018-11-28T02:56:38Z')", "{}", "1543373798000"),
        missing("from_rfc3339('2018-11-28 02:56:38')", "{}"),
    ],
    eval: |arguments, site| from_text(Call::new(arguments, site).text(0)).map(instant),
    ..TIME
};

pub(in crate::functions) const TO_RFC3339: Function = Function {
    name: "to_rfc3339",
    aliases: &["convert_tz"],
    signature: "to_rfc3339(time[, zone])",
    params: &[A_TIME, MAYBE_ZONE],
    result: Kind::Text,
    summary: "A time (milliseconds since 1970, or text) in the form of RFC 3339 with milliseconds, \
              in the configured time zone or another.",
    examples: &[
        example("to_rfc3339(ts)", r#"{"ts":1543373798943}"#, r#""2018-11-28T10:56:38.943+08:00""#),
        example(
            "to_rfc3339(ts, 'UTC')",
            r#"{"ts":1543373798000}"#,
            r#""2018-11-28T02:56:38.000Z""#,
        ),
        example(
            "to_rfc3339('2018-11-28T02:56:38Z', 'Asia/Kolkata')",
            "{}",
            r#""2018-11-28T08:26:38.000+05:30""#,
        ),
        missing("to_rfc3339(ts)", r#"{"ts":1e18}"#),
    ],
    prepare: |arguments| prepare(arguments, &[(1, Role::Zone)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        let zone = call.zone(1)?;
        Ok(Value::text(rfc3339(call.time(0, &zone)?, &zone, 3)))
    },
    ..TIME
};

pub(in crate::functions) const FROM_UNIX_TIME: Function = Function {
    name: "from_unix_time",
    aliases: &["from_unixtime"],
    signature: "from_unix_time(seconds[, zone])",
    params: &[required("seconds", Kind::Integer), MAYBE_ZONE],
    result: Kind::Text,
    summary: "Seconds since 1970 as `yyyy-MM-dd HH:mm:ss`, in the configured time zone or another.",
    examples: &[
        example("from_unix_time(1543373798)", "{}", r#""2018-11-28 10:56:38""#),
        example("from_unix_time(0, 'UTC')", "{}", r#""1970-01-01 00:00:00""#),
        missing("from_unix_time(t)", r#"{"t":1543373798943}"#),
    ],
    prepare: |arguments| prepare(arguments, &[(1, Role::Zone)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        let seconds = arguments.first().and_then(Value::as_num).map_or(0, Num::truncate);
        let Ok(time) = Timestamp::from_second(seconds) else {
            let message = format!("{seconds} seconds is beyond 9999-12-30");
            return Err(Fault::new("domain", message).because("divide milliseconds by 1000"));
        };
        let local = call.zone(1)?.to_datetime(time);
        let mut text = String::with_capacity(20);
        let (hour, minute, second) = (local.hour(), local.minute(), local.second());
        write!(text, "{} {hour:02}:{minute:02}:{second:02}", local.date()).ok();
        Ok(Value::text(text))
    },
    ..TIME
};

pub(in crate::functions) const PARSE_DURATION: Function = Function {
    name: "parse_duration",
    depends: Depends::Arguments,
    signature: "parse_duration(text)",
    params: &[required("text", Kind::Text)],
    summary: "A duration such as '1h30m', '2.5s', '1d 12h', '500ms' or ISO 8601's 'PT1H30M' in \
              milliseconds. Units are ns, us, ms, s, m (minutes), h, d (24 hours) and w.",
    examples: &[
        example("parse_duration('1h30m')", "{}", "5400000"),
        example("parse_duration(d)", r#"{"d":"-PT0.5S"}"#, "-500"),
        example("parse_duration('1500us')", "{}", "1.5"),
        missing("parse_duration('90')", "{}"),
    ],
    eval: |arguments, site| {
        let fault = |message| Fault::new("domain", message);
        let nanoseconds = duration(Call::new(arguments, site).text(0)).map_err(fault)?;
        if nanoseconds % 1_000_000 == 0 {
            return exact(nanoseconds / 1_000_000, || "parse_duration".to_owned());
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "the fraction of a millisecond is a decimal"
        )]
        let ms = nanoseconds as f64 / 1e6;
        Ok(Num::from_f64(ms).map_or(Value::Missing, Value::number))
    },
    ..TIME
};

pub(in crate::functions) const FORMAT_DURATION: Function = Function {
    name: "format_duration",
    depends: Depends::Arguments,
    signature: "format_duration(ms)",
    params: &[required("ms", Kind::Integer)],
    result: Kind::Text,
    summary: "Milliseconds as a duration in days, hours, minutes and seconds, as parse_duration \
              reads it.",
    examples: &[
        example("format_duration(5400000)", "{}", r#""1h30m""#),
        example("format_duration(n)", r#"{"n":90061007}"#, r#""1d1h1m1.007s""#),
        example("format_duration(-500)", "{}", r#""-0.5s""#),
        example("format_duration(0)", "{}", r#""0s""#),
    ],
    eval: |arguments, _| {
        let num = arguments.first().and_then(Value::as_num).unwrap_or(Num::Int(0));
        match i64::try_from(num.saturated()) {
            Ok(ms) => Ok(Value::text(written(ms))),
            Err(_) => Err(Fault::new("domain", "the duration is longer than any time")),
        }
    },
    ..TIME
};

/// Milliseconds as `1d1h1m1.007s`.
fn written(ms: i64) -> String {
    let mut text = String::with_capacity(24);
    if ms < 0 {
        text.push('-');
    }
    let mut left = ms.unsigned_abs();
    for (unit, name) in [(86_400_000, 'd'), (3_600_000, 'h'), (60_000, 'm')] {
        if left >= unit {
            write!(text, "{}{name}", left / unit).ok();
            left %= unit;
        }
    }
    if left > 0 || ms == 0 {
        write!(text, "{}", left / 1000).ok();
        if !left.is_multiple_of(1000) {
            write!(text, ".{:03}", left % 1000).ok();
            text.truncate(text.trim_end_matches('0').len());
        }
        text.push('s');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back_the_same() {
        for ms in [0, 1, 999, 1_000, 60_000, 59_999, 86_400_000, 123_456_789_012, -1, -61_000] {
            let text = written(ms);
            assert_eq!(duration(&text), Ok(i128::from(ms) * 1_000_000), "{text}");
        }
        assert_eq!(written(i64::MIN), "-106751991167d7h12m55.808s");
    }
}
