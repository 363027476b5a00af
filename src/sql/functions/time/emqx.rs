//! Functions of time with the units, offsets and percent patterns of EMQX, and those with the
//! patterns of AWS IoT, for statements that were written there.

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::functions::math::number::exact;
use crate::functions::time::java_date::{self, Letters};
use crate::functions::time::java_parse;
use crate::functions::time::moment::{A_TIME, Call, MAYBE_ZONE, Role, TIME, prepare};
use crate::functions::time::text::rfc3339;
use crate::functions::{
    Depends, Fault, Function, Kind, Param, example, missing, optional, required,
};
use crate::lex::shorten;
use crate::value::Value;

/// Bytes that a percent pattern may have; a letter stands for at most 30.
const PATTERN_MAX: usize = 1024;

/// Checks a pattern of percent signs and letters.
pub(in crate::functions) fn check(pattern: &str) -> Result<(), String> {
    percent(pattern, &Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC)).map(|_| ())
}

fn percent(pattern: &str, time: &Zoned) -> Result<String, String> {
    if pattern.len() > PATTERN_MAX {
        return Err(format!("the date pattern has more than {PATTERN_MAX} bytes"));
    }
    let wrong = |error| format!("`{}` is no date pattern: {error}", shorten(pattern));
    let mut out = String::with_capacity(64);
    strtime::BrokenDownTime::from(time).format(pattern, &mut out).map_err(wrong)?;
    Ok(out)
}

/// The time that is a number of ticks since 1970.
fn from_ticks(call: &Call<'_, '_>, index: usize, tick: i128) -> Result<Timestamp, Fault> {
    let ticks = call.arguments.get(index).and_then(Value::as_num).map_or(0, |num| num.saturated());
    Timestamp::from_nanosecond(ticks * tick)
        .map_err(|_| Fault::new("domain", format!("{ticks} in that unit is beyond 9999-12-30")))
}

/// The digits of a fraction that show a tick.
fn digits(tick: i128) -> usize {
    match tick {
        1 => 9,
        1_000 => 6,
        1_000_000 => 3,
        _ => 0,
    }
}

fn ticks<'a>(time: Timestamp, tick: i128) -> Result<Value<'a>, Fault> {
    exact(time.as_nanosecond().div_euclid(tick), || format!("{time} in that unit"))
}

const UNIT: Param = optional("unit", Kind::Text);

pub(in crate::functions) const NOW_TIMESTAMP: Function = Function {
    name: "now_timestamp",
    signature: "now_timestamp([unit])",
    params: &[UNIT],
    summary: "When the message was received, counted since 1970 in seconds, or in 'millisecond', \
              'microsecond' or 'nanosecond'.",
    examples: &[
        example("now_timestamp()", "{}", "1543373798"),
        example("now_timestamp('microsecond')", "{}", "1543373798943000"),
    ],
    prepare: |arguments| prepare(arguments, &[(0, Role::Tick)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        ticks(call.received()?, call.tick(0)?)
    },
    ..TIME
};

pub(in crate::functions) const NOW_RFC3339: Function = Function {
    name: "now_rfc3339",
    signature: "now_rfc3339([unit])",
    params: &[UNIT],
    result: Kind::Text,
    summary: "When the message was received in the form of RFC 3339 in the configured time zone: in \
              seconds, or with the digits of 'millisecond', 'microsecond' or 'nanosecond'.",
    examples: &[
        example("now_rfc3339()", "{}", r#""2018-11-28T10:56:38+08:00""#),
        example("now_rfc3339('millisecond')", "{}", r#""2018-11-28T10:56:38.943+08:00""#),
    ],
    prepare: |arguments| prepare(arguments, &[(0, Role::Tick)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        Ok(Value::text(rfc3339(call.received()?, site.time_zone, digits(call.tick(0)?))))
    },
    ..TIME
};

pub(in crate::functions) const UNIX_TS_TO_RFC3339: Function = Function {
    name: "unix_ts_to_rfc3339",
    signature: "unix_ts_to_rfc3339(ticks[, unit])",
    params: &[required("ticks", Kind::Integer), UNIT],
    result: Kind::Text,
    summary: "A count of seconds since 1970 (or of 'millisecond', 'microsecond', 'nanosecond') in \
              the form of RFC 3339 in the configured time zone. to_rfc3339 takes milliseconds.",
    examples: &[
        example("unix_ts_to_rfc3339(ts)", r#"{"ts":1543373798}"#, r#""2018-11-28T10:56:38+08:00""#),
        example(
            "unix_ts_to_rfc3339(ts, 'millisecond')",
            r#"{"ts":1543373798943}"#,
            r#""2018-11-28T10:56:38.943+08:00""#,
        ),
        missing("unix_ts_to_rfc3339(ts)", r#"{"ts":1543373798943}"#),
    ],
    prepare: |arguments| prepare(arguments, &[(1, Role::Tick)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        let tick = call.tick(1)?;
        let time = from_ticks(&call, 0, tick)?;
        Ok(Value::text(rfc3339(time, site.time_zone, digits(tick))))
    },
    ..TIME
};

pub(in crate::functions) const RFC3339_TO_UNIX_TS: Function = Function {
    name: "rfc3339_to_unix_ts",
    depends: Depends::Arguments,
    signature: "rfc3339_to_unix_ts(text[, unit])",
    params: &[required("text", Kind::Text), UNIT],
    summary: "A time in the form of RFC 3339 as a count since 1970 of seconds, or of 'millisecond', \
              'microsecond' or 'nanosecond'. from_rfc3339 gives milliseconds.",
    examples: &[
        example("rfc3339_to_unix_ts(t)", r#"{"t":"2018-11-28T10:56:38+08:00"}"#, "1543373798"),
        example(
            "rfc3339_to_unix_ts('2018-11-28T02:56:38.943Z', 'millisecond')",
            "{}",
            "1543373798943",
        ),
        missing("rfc3339_to_unix_ts('yesterday')", "{}"),
    ],
    prepare: |arguments| prepare(arguments, &[(1, Role::Tick)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        let tick = call.tick(1)?;
        ticks(crate::functions::time::text::from_text(call.text(0))?, tick)
    },
    ..TIME
};

pub(in crate::functions) const FORMAT_DATE: Function = Function {
    name: "format_date",
    signature: "format_date(unit, offset, format[, ticks])",
    params: &[
        required("unit", Kind::Text),
        required("offset", Kind::Text),
        required("format", Kind::Text),
        optional("ticks", Kind::Integer),
    ],
    result: Kind::Text,
    summary: "A count since 1970 of 'second', 'millisecond', 'microsecond' or 'nanosecond' (without \
              one the message's time) written at an offset or in a zone by a percent pattern \
              (`%Y-%m-%d %H:%M:%S`, `%3N` milliseconds, `%z` and `%:z` the offset). \
              format_timestamp is simpler.",
    examples: &[
        example(
            "format_date('second', '+08:00', '%Y-%m-%d %H:%M:%S%:z', ts)",
            r#"{"ts":1543373798}"#,
            r#""2018-11-28 10:56:38+08:00""#,
        ),
        example(
            "format_date('millisecond', 'Z', '%H:%M:%S.%3N %z')",
            "{}",
            r#""02:56:38.943 +0000""#,
        ),
        example("format_date('second', 'local', '%d.%m.%y', null)", "{}", "null"),
    ],
    prepare: |arguments| {
        prepare(arguments, &[(0, Role::Tick), (1, Role::Zone), (2, Role::Percent)])
    },
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        let time = match arguments.len() {
            3 => call.received()?,
            _ => from_ticks(&call, 3, call.tick(0)?)?,
        };
        let zone = call.zone(1)?.into_owned();
        percent(call.text(2), &time.to_zoned(zone))
            .map(Value::text)
            .map_err(|message| Fault::new("domain", message))
    },
    ..TIME
};

pub(in crate::functions) const DATE_TO_UNIX_TS: Function = Function {
    name: "date_to_unix_ts",
    signature: "date_to_unix_ts(unit, [offset, ]format, text)",
    params: &[
        required("unit", Kind::Text),
        required("offset", Kind::Text),
        required("format", Kind::Text),
        optional("text", Kind::Text),
    ],
    summary: "Reads a time by a percent pattern as a count since 1970 of 'second', 'millisecond', \
              'microsecond' or 'nanosecond'. Where the text has no offset it is at the one given, \
              else in UTC. parse_timestamp is simpler.",
    examples: &[
        example(
            "date_to_unix_ts('second', '%Y-%m-%d %H:%M:%S%:z', t)",
            r#"{"t":"2018-11-28 10:56:38+08:00"}"#,
            "1543373798",
        ),
        example(
            "date_to_unix_ts('millisecond', '+08:00', '%Y-%m-%d %H:%M:%S.%3N', t)",
            r#"{"t":"2018-11-28 10:56:38.943"}"#,
            "1543373798943",
        ),
        missing("date_to_unix_ts('second', '%Y-%m-%d', t)", r#"{"t":"28.11.2018"}"#),
    ],
    prepare: |arguments| match arguments.len() {
        4 => prepare(arguments, &[(0, Role::Tick), (1, Role::Zone), (2, Role::Percent)]),
        _ => prepare(arguments, &[(0, Role::Tick), (1, Role::Percent)]),
    },
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        let format = arguments.len().saturating_sub(2);
        let (pattern, text) = (call.text(format), call.text(format + 1));
        let tick = call.tick(0)?;
        let wrong = |problem: String| {
            let text = shorten(text);
            Fault::new("domain", format!("`{text}` is no time of the pattern: {problem}"))
        };
        if pattern.len() > PATTERN_MAX {
            return Err(wrong(format!("the pattern has more than {PATTERN_MAX} bytes")));
        }
        let read = strtime::parse(pattern, text).map_err(|error| wrong(error.to_string()))?;
        let zone = match (read.offset(), format) {
            (Some(offset), _) => TimeZone::fixed(offset),
            (None, 2) => call.zone(1)?.into_owned(),
            (None, _) => TimeZone::UTC,
        };
        let local = read.to_datetime().map_err(|error| wrong(error.to_string()))?;
        let time = zone.to_timestamp(local).map_err(|error| wrong(error.to_string()))?;
        ticks(time, tick)
    },
    ..TIME
};

pub(in crate::functions) const PARSE_TIME: Function = Function {
    name: "parse_time",
    signature: "parse_time(format, time[, zone])",
    params: &[required("format", Kind::Text), A_TIME, MAYBE_ZONE],
    result: Kind::Text,
    summary: "A time (milliseconds since 1970) written by a pattern in the letters of Joda-Time, in \
              UTC or a zone: AWS IoT's name for it. format_timestamp has the time first and the \
              configured zone; parse_timestamp reads.",
    examples: &[
        example(
            "parse_time('yyyy-MM-dd HH:mm:ss ZZ', now(), 'America/Sao_Paulo')",
            "{}",
            r#""2018-11-28 00:56:38 -02:00""#,
        ),
        example("parse_time('yyyy.MM.dd G HH:mm z', 0)", "{}", r#""1970.01.01 AD 00:00 UTC""#),
        example("parse_time('yyyy', t)", r#"{"t":null}"#, "null"),
    ],
    prepare: |arguments| prepare(arguments, &[(0, Role::Pattern(Letters::Joda)), (2, Role::Zone)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        let zone = match arguments.len() {
            3 => call.zone(2)?.into_owned(),
            _ => TimeZone::UTC,
        };
        let time = call.time(1, &zone)?.to_zoned(zone);
        java_date::format(call.pattern(0, Letters::Joda), &time)
            .map(Value::text)
            .map_err(|message| Fault::new("domain", message))
    },
    ..TIME
};

pub(in crate::functions) const TIME_TO_EPOCH: Function = Function {
    name: "time_to_epoch",
    depends: Depends::Arguments,
    signature: "time_to_epoch(text, format)",
    params: &[required("text", Kind::Text), required("format", Kind::Text)],
    summary: "Reads a time by a pattern in the letters of Joda-Time as milliseconds since 1970, in \
              UTC where the text has no offset. parse_timestamp reads in the configured zone.",
    examples: &[
        example(
            "time_to_epoch('2020-04-03 09:45:18 UTC+01:00', 'yyyy-MM-dd HH:mm:ss z')",
            "{}",
            "1585903518000",
        ),
        example("time_to_epoch(t, 'dd MMMM yyyy')", r#"{"t":"18 December 2015"}"#, "1450396800000"),
        missing("time_to_epoch(t, 'yyyy-MM-dd')", r#"{"t":"18 December 2015"}"#),
    ],
    prepare: |arguments| prepare(arguments, &[(1, Role::Pattern(Letters::Joda))]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        java_parse::parse(call.pattern(1, Letters::Joda), call.text(0), &TimeZone::UTC)
            .map(crate::functions::time::moment::instant)
            .map_err(|message| Fault::new("domain", message))
    },
    ..TIME
};
