//! Functions that calculate with times.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Unit as Largest, Zoned};

use crate::functions::math::number::exact;
use crate::functions::time::moment::{
    A_TIME, Call, MAYBE_ZONE, Role, TIME, instant, integer, ms, prepare,
};
use crate::functions::time::words::Unit;
use crate::functions::{Fault, Function, Kind, example, missing, optional, required};
use crate::number::Num;
use crate::value::Value;

fn beyond() -> Fault {
    Fault::new("domain", "the time is beyond 9999-12-30")
}

/// Milliseconds of the units that always have the same length.
fn fixed(unit: Unit) -> Option<i64> {
    match unit {
        Unit::Millisecond => Some(1),
        Unit::Second => Some(1_000),
        Unit::Minute => Some(60_000),
        Unit::Hour => Some(3_600_000),
        _ => None,
    }
}

/// The start of the unit that a time is in.
fn truncated(time: Timestamp, unit: Unit, zone: &TimeZone) -> Result<Timestamp, Fault> {
    let start = ms(time);
    if let Some(length) = fixed(unit) {
        // Hours start where the local clock says so: offsets need not be whole hours.
        let offset = i64::from(zone.to_offset(time).seconds()) * 1000;
        let start = start - (start + offset).rem_euclid(length);
        return Timestamp::from_millisecond(start).map_err(|_| beyond());
    }
    let local = zone.to_datetime(time);
    let date = match unit {
        Unit::Week => {
            let days = i64::from(local.weekday().to_monday_zero_offset());
            local.date().checked_sub(Span::new().days(days)).map_err(|_| beyond())?
        }
        Unit::Month => local.date().first_of_month(),
        Unit::Quarter => {
            let month = (local.month() - 1) / 3 * 3 + 1;
            let first = local.date().with().month(month).day(1).build();
            first.map_err(|_| beyond())?
        }
        Unit::Year => local.date().first_of_year(),
        _ => local.date(),
    };
    zone.to_timestamp(DateTime::from_parts(date, jiff::civil::Time::midnight()))
        .map_err(|_| beyond())
}

/// A time that is an amount of units later. Days and longer keep the local time of day; a day that
/// the month does not have becomes its last.
fn later(time: Timestamp, amount: i64, unit: Unit, zone: &TimeZone) -> Result<Timestamp, Fault> {
    if let Some(length) = fixed(unit) {
        let sum = amount.checked_mul(length).and_then(|amount| ms(time).checked_add(amount));
        return sum.and_then(|ms| Timestamp::from_millisecond(ms).ok()).ok_or_else(beyond);
    }
    let span = match unit {
        Unit::Day => Span::new().try_days(amount),
        Unit::Week => Span::new().try_weeks(amount),
        Unit::Month => Span::new().try_months(amount),
        Unit::Quarter => Span::new().try_months(amount.saturating_mul(3)),
        _ => Span::new().try_years(amount),
    };
    let span = span.map_err(|_| beyond())?;
    let later = Zoned::new(time, zone.clone()).checked_add(span).map_err(|_| beyond())?;
    Ok(later.timestamp())
}

/// Whole units from one time to another.
fn between(from: Timestamp, to: Timestamp, unit: Unit, zone: &TimeZone) -> Result<i64, Fault> {
    if let Some(length) = fixed(unit) {
        return Ok((ms(to) - ms(from)) / length);
    }
    let largest = match unit {
        Unit::Day => Largest::Day,
        Unit::Week => Largest::Week,
        Unit::Year => Largest::Year,
        _ => Largest::Month,
    };
    let (from, to) = (Zoned::new(from, zone.clone()), Zoned::new(to, zone.clone()));
    let span = from.until((largest, &to)).map_err(|_| beyond())?;
    Ok(match unit {
        Unit::Day => span.get_days().into(),
        Unit::Week => span.get_weeks().into(),
        Unit::Year => span.get_years().into(),
        Unit::Quarter => i64::from(span.get_months() / 3),
        _ => span.get_months().into(),
    })
}

pub(in crate::functions) const DATE_TRUNC: Function = Function {
    name: "date_trunc",
    signature: "date_trunc(unit, time[, zone])",
    params: &[required("unit", Kind::Text), A_TIME, MAYBE_ZONE],
    summary: "The start of the 'second', 'minute', 'hour', 'day', 'week' (Monday), 'month', \
              'quarter' or 'year' that a time is in, in milliseconds since 1970, in the configured \
              time zone or another.",
    examples: &[
        example("date_trunc('hour', ts)", r#"{"ts":1543373798943}"#, "1543370400000"),
        example("to_rfc3339(date_trunc('day', now()))", "{}", r#""2018-11-28T00:00:00.000+08:00""#),
        example(
            "to_rfc3339(date_trunc('week', now(), 'UTC'), 'UTC')",
            "{}",
            r#""2018-11-26T00:00:00.000Z""#,
        ),
        example("date_trunc('quarter', '2018-11-28', 'UTC')", "{}", "1538352000000"),
        example("date_trunc('second', -1)", "{}", "-1000"),
        missing("date_trunc(u, 0)", r#"{"u":"moon"}"#),
    ],
    prepare: |arguments| prepare(arguments, &[(0, Role::Unit), (2, Role::Zone)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        let zone = call.zone(2)?;
        truncated(call.time(1, &zone)?, call.unit(0)?, &zone).map(instant)
    },
    ..TIME
};

pub(in crate::functions) const DATE_ADD: Function = Function {
    name: "date_add",
    signature: "date_add(time, amount, unit[, zone])",
    params: &[A_TIME, required("amount", Kind::Integer), required("unit", Kind::Text), MAYBE_ZONE],
    summary: "A time plus an amount (negative: minus) of 'millisecond', 'second', 'minute', 'hour', \
              'day', 'week', 'month', 'quarter' or 'year', in milliseconds since 1970. Days and \
              longer keep the local time of day when clocks change; a day that the month does not \
              have becomes its last.",
    examples: &[
        example("date_add(ts, 90, 'minutes')", r#"{"ts":1543373798943}"#, "1543379198943"),
        example(
            "to_rfc3339(date_add('2018-01-31', 1, 'month'))",
            "{}",
            r#""2018-02-28T00:00:00.000+08:00""#,
        ),
        example(
            "to_rfc3339(date_add('2018-03-10T12:00', 1, 'day', 'America/New_York'), 'America/New_York')",
            "{}",
            r#""2018-03-11T12:00:00.000-04:00""#,
        ),
        example("date_add(0, -1, 'day')", "{}", "-86400000"),
        missing("date_add(0, 9223372036854775807, 'year')", "{}"),
    ],
    prepare: |arguments| prepare(arguments, &[(2, Role::Unit), (3, Role::Zone)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        let zone = call.zone(3)?;
        let amount = arguments.get(1).and_then(Value::as_num).map_or(0, Num::truncate);
        later(call.time(0, &zone)?, amount, call.unit(2)?, &zone).map(instant)
    },
    ..TIME
};

pub(in crate::functions) const DATE_DIFF: Function = Function {
    name: "date_diff",
    signature: "date_diff(unit, from, to[, zone])",
    params: &[
        required("unit", Kind::Text),
        required("from", Kind::Any),
        required("to", Kind::Any),
        MAYBE_ZONE,
    ],
    summary: "How many whole units (those of date_add) lie from one time to another; negative when \
              `to` is earlier. From the 31st to the 30th is no whole month. (eKuiper's has no unit \
              and gives a duration.)",
    examples: &[
        example("date_diff('minute', ts, now())", r#"{"ts":1543370000000}"#, "63"),
        example("date_diff('day', '2018-11-01', '2018-11-28T23:59')", "{}", "27"),
        example("date_diff('month', '2018-01-31', '2018-02-28')", "{}", "0"),
        example("date_diff('year', '2018-11-28', '2016-11-28')", "{}", "-2"),
        missing("date_diff('day', a, 0)", r#"{"a":[]}"#),
    ],
    prepare: |arguments| prepare(arguments, &[(0, Role::Unit), (3, Role::Zone)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        let zone = call.zone(3)?;
        let (from, to) = (call.time(1, &zone)?, call.time(2, &zone)?);
        between(from, to, call.unit(0)?, &zone).map(integer)
    },
    ..TIME
};

pub(in crate::functions) const AGE: Function = Function {
    name: "age",
    signature: "age(time)",
    params: &[A_TIME],
    summary: "Milliseconds from a time (milliseconds since 1970, or text) until the message was \
              received; negative for a device whose clock is ahead.",
    examples: &[
        example("age(ts) > 5000", r#"{"ts":1543373790000}"#, "true"),
        example("age('2018-11-28T02:56:38Z')", "{}", "943"),
        example("age(ts)", r#"{"ts":1543373800000}"#, "-1057"),
    ],
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        Ok(integer(ms(call.received()?) - ms(call.time(0, site.time_zone)?)))
    },
    ..TIME
};

pub(in crate::functions) const TO_SECONDS: Function = Function {
    name: "to_seconds",
    aliases: &["to_unix", "unix_timestamp"],
    signature: "to_seconds(time)",
    params: &[A_TIME],
    summary: "A time (milliseconds since 1970, or text) as whole seconds since 1970, rounded down.",
    examples: &[
        example("to_seconds(ts)", r#"{"ts":1543373798943}"#, "1543373798"),
        example("to_seconds('2018-11-28 10:56:38')", "{}", "1543373798"),
        example("to_seconds(-1)", "{}", "-1"),
    ],
    eval: |arguments, site| {
        let time = Call::new(arguments, site).time(0, site.time_zone)?;
        Ok(integer(ms(time).div_euclid(1000)))
    },
    ..TIME
};

pub(in crate::functions) const TIME_BUCKET: Function = Function {
    name: "time_bucket",
    signature: "time_bucket(time, interval[, offset])",
    params: &[A_TIME, required("interval", Kind::Any), optional("offset", Kind::Any)],
    summary: "The start, in milliseconds since 1970, of the interval that a time is in; intervals \
              follow each other from 1970 UTC, moved by the offset. Interval and offset are \
              milliseconds or durations such as '5m'. date_trunc knows calendar and zone.",
    examples: &[
        example("time_bucket(ts, '5m')", r#"{"ts":1543373798943}"#, "1543373700000"),
        example("time_bucket(ts, 60000)", r#"{"ts":1543373798943}"#, "1543373760000"),
        example("time_bucket(now(), '1d', '-8h')", "{}", "1543334400000"),
        example("time_bucket(-1, n)", r#"{"n":"1s"}"#, "-1000"),
        missing("time_bucket(0, n)", r#"{"n":0}"#),
    ],
    prepare: |arguments| prepare(arguments, &[(1, Role::Length), (2, Role::Length)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        let interval = i128::from(call.length(1)?);
        if interval <= 0 {
            let message = format!("an interval has at least one millisecond, not {interval}");
            return Err(Fault::new("domain", message));
        }
        let offset = i128::from(call.length(2)?);
        let time = i128::from(ms(call.time(0, site.time_zone)?)) - offset;
        exact(time.div_euclid(interval) * interval + offset, || "time_bucket".to_owned())
    },
    ..TIME
};
