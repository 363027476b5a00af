//! Functions that look at a part of a time: the year, the weekday, a window of the day.

use jiff::tz::TimeZone;

use crate::functions::time::java_date::{DAYS, MONTHS};
use crate::functions::time::moment::{
    Call, MAYBE_TIME, MAYBE_ZONE, Role, TIME, integer, of_time, prepare,
};
use crate::functions::time::words::Part;
use crate::functions::{Example, Fault, Function, Kind, Site, example, missing, required};
use crate::value::Value;

fn part<'a>(arguments: &[Value<'a>], site: &Site<'a>, part: Part) -> Result<Value<'a>, Fault> {
    Ok(integer(part.of(Call::new(arguments, site).local(0, 1)?)))
}

const fn number(
    name: &'static str,
    signature: &'static str,
    summary: &'static str,
    examples: &'static [Example],
    eval: crate::functions::Eval,
) -> Function {
    of_time(name, signature, Kind::Number, summary, examples, eval)
}

pub(in crate::functions) const DATE_PART: Function = Function {
    name: "date_part",
    signature: "date_part(part, time[, zone])",
    params: &[required("part", Kind::Text), crate::functions::time::moment::A_TIME, MAYBE_ZONE],
    summary: "A part of a time (milliseconds since 1970, or text) as a number: 'year', 'quarter', \
              'month', 'week', 'day', 'day_of_year', 'day_of_week' (Monday is 1), 'hour', 'minute', \
              'second', 'millisecond' or 'microsecond', in the configured time zone or another.",
    examples: &[
        example("date_part('hour', ts)", r#"{"ts":1543373798943}"#, "10"),
        example("date_part('hour', ts, 'UTC')", r#"{"ts":1543373798943}"#, "2"),
        example("date_part('day_of_year', '2018-11-28')", "{}", "332"),
        example("date_part(p, 0)", r#"{"p":"YEARS"}"#, "1970"),
        missing("date_part(p, 0)", r#"{"p":"era"}"#),
    ],
    prepare: |arguments| prepare(arguments, &[(0, Role::Part), (2, Role::Zone)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        Ok(integer(call.part(0)?.of(call.local(1, 2)?)))
    },
    ..TIME
};

pub(in crate::functions) const YEAR: Function = number(
    "year",
    "year([time[, zone]])",
    "The year of a time (milliseconds since 1970, or text; without one the message's), in the \
     configured time zone or another.",
    &[
        example("year(ts)", r#"{"ts":1543373798943}"#, "2018"),
        example("year()", "{}", "2018"),
        example("year(-1, 'UTC')", "{}", "1969"),
        example("year(ts)", r#"{"ts":null}"#, "null"),
        missing("year(ts)", "{}"),
    ],
    |arguments, site| part(arguments, site, Part::Year),
);

pub(in crate::functions) const QUARTER: Function = number(
    "quarter",
    "quarter([time[, zone]])",
    "The quarter of the year of a time, 1 to 4; arguments as of year.",
    &[example("quarter()", "{}", "4"), example("quarter('2018-03-31')", "{}", "1")],
    |arguments, site| part(arguments, site, Part::Quarter),
);

pub(in crate::functions) const MONTH: Function = number(
    "month",
    "month([time[, zone]])",
    "The month of a time, 1 to 12; arguments as of year.",
    &[
        example("month(ts)", r#"{"ts":1543373798943}"#, "11"),
        example("month('2018-03-31')", "{}", "3"),
    ],
    |arguments, site| part(arguments, site, Part::Month),
);

pub(in crate::functions) const WEEK: Function = number(
    "week",
    "week([time[, zone]])",
    "The week of ISO 8601 of a time, 1 to 53: weeks start on Monday, the first has the year's first \
     Thursday. Arguments as of year.",
    &[
        example("week()", "{}", "48"),
        example("week('2018-12-31')", "{}", "1"),
        example("week('2021-01-01')", "{}", "53"),
    ],
    |arguments, site| part(arguments, site, Part::Week),
);

pub(in crate::functions) const DAY: Function = Function {
    aliases: &["day_of_month"],
    ..number(
        "day",
        "day([time[, zone]])",
        "The day of the month of a time, 1 to 31; arguments as of year.",
        &[
            example("day(ts)", r#"{"ts":1543373798943}"#, "28"),
            example("day(ts, 'America/New_York')", r#"{"ts":1543373798943}"#, "27"),
        ],
        |arguments, site| part(arguments, site, Part::Day),
    )
};

pub(in crate::functions) const DAY_OF_WEEK: Function = number(
    "day_of_week",
    "day_of_week([time[, zone]])",
    "The weekday of a time as ISO 8601 counts: Monday is 1, Sunday 7 (eKuiper counts from Sunday). \
     Arguments as of year.",
    &[example("day_of_week()", "{}", "3"), example("day_of_week('2018-12-02')", "{}", "7")],
    |arguments, site| part(arguments, site, Part::DayOfWeek),
);

pub(in crate::functions) const DAY_OF_YEAR: Function = number(
    "day_of_year",
    "day_of_year([time[, zone]])",
    "The day of the year of a time, 1 to 366; arguments as of year.",
    &[example("day_of_year()", "{}", "332"), example("day_of_year('2020-12-31')", "{}", "366")],
    |arguments, site| part(arguments, site, Part::DayOfYear),
);

pub(in crate::functions) const HOUR: Function = number(
    "hour",
    "hour([time[, zone]])",
    "The hour of a time, 0 to 23; arguments as of year.",
    &[
        example("hour(ts, '+05:30')", r#"{"ts":"2018-11-28T02:56:38Z"}"#, "8"),
        example("hour()", "{}", "10"),
        example("hour(ts)", r#"{"ts":"1543373798943"}"#, "10"),
        missing("hour(ts, zone)", r#"{"ts":0,"zone":"Mars"}"#),
    ],
    |arguments, site| part(arguments, site, Part::Hour),
);

pub(in crate::functions) const MINUTE: Function = number(
    "minute",
    "minute([time[, zone]])",
    "The minute of a time, 0 to 59; arguments as of year.",
    &[
        example("minute(ts)", r#"{"ts":1543373798943}"#, "56"),
        example("minute(ts, '+05:30')", r#"{"ts":1543373798943}"#, "26"),
    ],
    |arguments, site| part(arguments, site, Part::Minute),
);

pub(in crate::functions) const SECOND: Function = number(
    "second",
    "second([time[, zone]])",
    "The second of a time, 0 to 59; arguments as of year.",
    &[example("second(ts)", r#"{"ts":1543373798943}"#, "38"), example("second(-1)", "{}", "59")],
    |arguments, site| part(arguments, site, Part::Second),
);

pub(in crate::functions) const MILLISECOND: Function = number(
    "millisecond",
    "millisecond([time[, zone]])",
    "The milliseconds of a time, 0 to 999; arguments as of year.",
    &[example("millisecond()", "{}", "943"), example("millisecond(-1)", "{}", "999")],
    |arguments, site| part(arguments, site, Part::Millisecond),
);

pub(in crate::functions) const MICROSECOND: Function = number(
    "microsecond",
    "microsecond([time[, zone]])",
    "The microseconds of a time, 0 to 999999; arguments as of year. Of a NUMBER, which has \
     milliseconds, the last three digits are 0.",
    &[
        example("microsecond()", "{}", "943000"),
        example("microsecond('2018-11-28T02:56:38.943017Z')", "{}", "943017"),
    ],
    |arguments, site| part(arguments, site, Part::Microsecond),
);

/// The name with a number from 1.
fn name<'a>(names: &[&'static str], number: i8) -> Value<'a> {
    let at = usize::try_from(number - 1).ok();
    at.and_then(|at| names.get(at)).map_or(Value::Missing, |name| Value::text(*name))
}

pub(in crate::functions) const DAY_NAME: Function = of_time(
    "day_name",
    "day_name([time[, zone]])",
    Kind::Text,
    "The English name of the weekday of a time; arguments as of year.",
    &[
        example("day_name()", "{}", r#""Wednesday""#),
        example("day_name('2018-12-02')", "{}", r#""Sunday""#),
    ],
    |arguments, site| {
        let local = Call::new(arguments, site).local(0, 1)?;
        Ok(name(&DAYS, local.weekday().to_monday_one_offset()))
    },
);

pub(in crate::functions) const MONTH_NAME: Function = of_time(
    "month_name",
    "month_name([time[, zone]])",
    Kind::Text,
    "The English name of the month of a time; arguments as of year.",
    &[
        example("month_name()", "{}", r#""November""#),
        example("month_name('2018-05-02')", "{}", r#""May""#),
    ],
    |arguments, site| Ok(name(&MONTHS, Call::new(arguments, site).local(0, 1)?.month())),
);

pub(in crate::functions) const LAST_DAY: Function = of_time(
    "last_day",
    "last_day([time[, zone]])",
    Kind::Text,
    "The last day of the month of a time, `yyyy-MM-dd`; arguments as of year.",
    &[
        example("last_day()", "{}", r#""2018-11-30""#),
        example("last_day('2020-02-01T12:00:00')", "{}", r#""2020-02-29""#),
    ],
    |arguments, site| {
        let local = Call::new(arguments, site).local(0, 1)?;
        Ok(Value::text(local.date().last_of_month().to_string()))
    },
);

pub(in crate::functions) const IS_WEEKEND: Function = of_time(
    "is_weekend",
    "is_weekend([time[, zone]])",
    Kind::Boolean,
    "Whether a time is on a Saturday or Sunday; arguments as of year.",
    &[
        example("is_weekend(ts)", r#"{"ts":1543622400000}"#, "true"),
        example("is_weekend()", "{}", "false"),
        example("is_weekend('2018-12-01', 'UTC')", "{}", "true"),
    ],
    |arguments, site| {
        let day = Call::new(arguments, site).local(0, 1)?.weekday().to_monday_one_offset();
        Ok(Value::Bool(day >= 6))
    },
);

pub(in crate::functions) const IS_BETWEEN_TIMES: Function = Function {
    name: "is_between_times",
    signature: "is_between_times(from, to[, time[, zone]])",
    params: &[required("from", Kind::Text), required("to", Kind::Text), MAYBE_TIME, MAYBE_ZONE],
    result: Kind::Boolean,
    summary: "Whether the time of day is in a window, 'HH:mm' or 'HH:mm:ss': `from` is in it, `to` \
              is not; a window from late to early goes over midnight, equal ends are the whole day. \
              The time is the message's, or one given, in the configured time zone or another.",
    examples: &[
        example("is_between_times('08:00', '18:00')", "{}", "true"),
        example("is_between_times('22:00', '06:00')", "{}", "false"),
        example("is_between_times('22:00', '06:00', now(), 'UTC')", "{}", "true"),
        example(
            "is_between_times(a, '24:00', ts)",
            r#"{"a":"23:59","ts":"2018-11-28T23:59:59"}"#,
            "true",
        ),
        missing("is_between_times(a, '06:00')", r#"{"a":"25:00"}"#),
    ],
    prepare: |arguments| prepare(arguments, &[(0, Role::Clock), (1, Role::Clock), (3, Role::Zone)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        let (from, to) = (call.clock(0)?, call.clock(1)?);
        let local = call.local(2, 3)?;
        let (hour, minute) = (i32::from(local.hour()), i32::from(local.minute()));
        let now = hour * 3600 + minute * 60 + i32::from(local.second());
        let inside = if from < to { (from..to).contains(&now) } else { now >= from || now < to };
        Ok(Value::Bool(inside))
    },
    ..TIME
};

pub(in crate::functions) const TIMEZONE_OFFSET: Function = Function {
    name: "timezone_offset",
    aliases: &["timezone_to_second", "timezone_to_offset_seconds"],
    signature: "timezone_offset(zone[, time])",
    params: &[required("zone", Kind::Text), MAYBE_TIME],
    summary: "How many seconds a time zone ('Asia/Shanghai', '+08:00', 'Z', 'local') is ahead of UTC \
              at a time, or when the message was received.",
    examples: &[
        example("timezone_offset('Asia/Shanghai')", "{}", "28800"),
        example("timezone_offset('-03:30')", "{}", "-12600"),
        example("timezone_offset('Europe/Paris', '2018-07-01')", "{}", "7200"),
        missing("timezone_offset(z)", r#"{"z":"CST"}"#),
    ],
    prepare: |arguments| prepare(arguments, &[(0, Role::Zone)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        let zone = call.zone(0)?;
        let zone: &TimeZone = &zone;
        Ok(integer(zone.to_offset(call.time(1, zone)?).seconds()))
    },
    ..TIME
};
