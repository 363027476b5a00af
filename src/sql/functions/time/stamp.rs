//! Functions of the present. The only clock is when the message was received.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use crate::expr::Const;
use crate::functions::math::number::unsigned;
use crate::functions::time::java_date::{self, Letters};
use crate::functions::time::moment::{Call, MAYBE_ZONE, Role, TIME, instant, prepare};
use crate::functions::{Fault, Function, Kind, Param, Prepared, Problem, Site, example, optional};
use crate::number::Num;
use crate::value::Value;

fn prepare_format(arguments: &[Option<&Const>]) -> Result<Prepared, Problem> {
    prepare(arguments, &[(0, Role::Pattern(Letters::Java))])
}

fn eval<'a>(arguments: &[Value<'a>], site: &Site<'a>, zone: &TimeZone) -> Result<Value<'a>, Fault> {
    if arguments.is_empty() {
        return Ok(Value::number(unsigned(site.input.message.received_ms)));
    }
    let call = Call::new(arguments, site);
    java_date::format(call.pattern(0, Letters::Java), &call.received()?.to_zoned(zone.clone()))
        .map(Value::text)
        .map_err(|message| Fault::new("domain", message))
}

/// The message's local date and time; `digits` at an index are those of the second's fraction.
fn local<'a>(
    arguments: &[Value<'a>],
    site: &Site<'a>,
    date: bool,
    clock: bool,
) -> Result<Value<'a>, Fault> {
    let call = Call::new(arguments, site);
    let now = site.time_zone.to_datetime(call.received()?);
    let mut text = String::with_capacity(26);
    if date {
        write!(text, "{}", now.date()).ok();
    }
    if date && clock {
        text.push(' ');
    }
    if clock {
        write!(text, "{:02}:{:02}:{:02}", now.hour(), now.minute(), now.second()).ok();
        let digits = arguments.first().and_then(Value::as_num).map_or(0, Num::truncate);
        let Some(digits) = usize::try_from(digits).ok().filter(|&digits| digits <= 6) else {
            let message = format!("a second has 0 to 6 digits of a fraction here, not {digits}");
            return Err(Fault::new("domain", message));
        };
        if digits > 0 {
            write!(text, ".{:06}", now.subsec_nanosecond() / 1000).ok();
            text.truncate(text.len() - (6 - digits));
        }
    }
    Ok(Value::text(text))
}

const DIGITS: &[Param] = &[optional("digits", Kind::Integer)];
const FORMAT: &[Param] = &[optional("format", Kind::Text)];

pub(in crate::functions) const CURRENT_DATE: Function = Function {
    name: "current_date",
    aliases: &["cur_date"],
    signature: "current_date([zone])",
    params: &[MAYBE_ZONE],
    result: Kind::Text,
    summary: "The date on which the message was received, `yyyy-MM-dd`, in the configured time \
              zone or another.",
    examples: &[
        example("current_date()", "{}", r#""2018-11-28""#),
        example("current_date('America/New_York')", "{}", r#""2018-11-27""#),
    ],
    prepare: |arguments| prepare(arguments, &[(0, Role::Zone)]),
    eval: |arguments, site| {
        let call = Call::new(arguments, site);
        let date = call.zone(0)?.to_datetime(call.received()?).date();
        Ok(Value::text(date.to_string()))
    },
    ..TIME
};

pub(in crate::functions) const CURRENT_TIME: Function = Function {
    name: "current_time",
    aliases: &["cur_time"],
    signature: "current_time([digits])",
    params: DIGITS,
    result: Kind::Text,
    summary: "The time of day at which the message was received, `HH:mm:ss` in the configured time \
              zone, with 0 to 6 digits of a fraction.",
    examples: &[
        example("current_time()", "{}", r#""10:56:38""#),
        example("current_time(3)", "{}", r#""10:56:38.943""#),
    ],
    eval: |arguments, site| local(arguments, site, false, true),
    ..TIME
};

pub(in crate::functions) const CURRENT_TIMESTAMP: Function = Function {
    name: "current_timestamp",
    aliases: &["local_time", "local_timestamp"],
    signature: "current_timestamp([digits])",
    params: DIGITS,
    result: Kind::Text,
    summary: "When the message was received as text, `yyyy-MM-dd HH:mm:ss` in the configured time \
              zone, with 0 to 6 digits of a fraction.",
    examples: &[
        example("current_timestamp()", "{}", r#""2018-11-28 10:56:38""#),
        example("current_timestamp(3)", "{}", r#""2018-11-28 10:56:38.943""#),
    ],
    eval: |arguments, site| local(arguments, site, true, true),
    ..TIME
};

pub(in crate::functions) const NOW: Function = Function {
    name: "now",
    aliases: &["messageTime", "message_time", "event_time", "tstamp"],
    signature: "now()",
    summary: "When the message was received, in milliseconds since 1970. Evaluating a message again \
              gives the same. (Text in eKuiper: current_timestamp.)",
    examples: &[
        example("now()", "{}", "1543373798943"),
        example("now() - ts", r#"{"ts":1543373790000}"#, "8943"),
    ],
    eval: |arguments, site| Call::new(arguments, site).received().map(instant),
    ..TIME
};

pub(in crate::functions) const TIMESTAMP: Function = Function {
    name: "timestamp",
    signature: "timestamp([format])",
    params: FORMAT,
    result: Kind::Any,
    summary: "When the message was received: milliseconds since 1970, or formatted in the \
              configured time zone by the pattern letters of Java's SimpleDateFormat.",
    examples: &[
        example("timestamp('yyyy-MM-dd HH:mm:ss.SSS')", "{}", r#""2018-11-28 10:56:38.943""#),
        example("timestamp()", "{}", "1543373798943"),
        example(r"timestamp('yyyy-MM-dd\'T\'HH:mm:ss\'Z\'')", "{}", r#""2018-11-28T10:56:38Z""#),
        example("timestamp('yy/M/d h:mm a Z XXX')", "{}", r#""18/11/28 10:56 AM +0800 +08:00""#),
    ],
    prepare: prepare_format,
    eval: |arguments, site| eval(arguments, site, site.time_zone),
    ..TIME
};

pub(in crate::functions) const TIMESTAMP_UTC: Function = Function {
    name: "timestamp_utc",
    signature: "timestamp_utc([format])",
    params: FORMAT,
    result: Kind::Any,
    summary: "As timestamp, formatted in UTC.",
    examples: &[
        example("timestamp_utc()", "{}", "1543373798943"),
        example(
            r"timestamp_utc('yyyy-MM-dd\'T\'HH:mm:ss\'Z\'')",
            "{}",
            r#""2018-11-28T02:56:38Z""#,
        ),
        example("timestamp_utc('EEE, dd MMM yyyy X')", "{}", r#""Wed, 28 Nov 2018 Z""#),
    ],
    prepare: prepare_format,
    eval: |arguments, site| eval(arguments, site, &TimeZone::UTC),
    ..TIME
};
