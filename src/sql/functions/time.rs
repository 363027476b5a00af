//! Functions of time. The only clock is when the message was received.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{
    Fault, Function, Kind, NO_PREPARE, Nulls, Prepared, Problem, Site, example, java_date, optional,
};
use crate::sql::expr::Const;
use crate::sql::number::Num;
use crate::sql::value::Value;

/// What all functions here share.
const TIME: Function = Function {
    name: "",
    aliases: &[],
    family: "time",
    signature: "",
    params: &[optional("format", Kind::Text)],
    rest: None,
    result: Kind::Any,
    nulls: Nulls::Propagate,
    reads: &[],
    spreads: false,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

fn prepare(arguments: &[Option<&Const>]) -> Result<Prepared, Problem> {
    let Some(Some(Const::String(pattern))) = arguments.first() else {
        return Ok(Prepared::Nothing);
    };
    java_date::format(pattern, &Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC))
        .map(|_| Prepared::Nothing)
        .map_err(|message| Problem {
            message,
            expected: "a pattern such as 'yyyy-MM-dd HH:mm:ss.SSS'".into(),
        })
}

fn eval<'a>(arguments: &[Value<'a>], site: &Site<'a>, zone: &TimeZone) -> Result<Value<'a>, Fault> {
    let received = site.input.message.received_ms;
    let Some(Value::String(pattern)) = arguments.first() else {
        return Ok(Value::number(Num::from_i128(received.into())));
    };
    let time = i64::try_from(received)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .ok_or_else(|| Fault::new("domain", "the time is beyond the year 9999"))?;
    java_date::format(pattern, &time.to_zoned(zone.clone()))
        .map(Value::text)
        .map_err(|message| Fault::new("domain", message))
}

pub(super) const TIMESTAMP: Function = Function {
    name: "timestamp",
    signature: "timestamp([format])",
    summary: "When the message was received: milliseconds since 1970, or formatted in the \
              configured time zone by the pattern letters of Java's SimpleDateFormat.",
    examples: &[
        example("timestamp()", "{}", "1543373798943"),
        example(r"timestamp('yyyy-MM-dd\'T\'HH:mm:ss\'Z\'')", "{}", r#""2018-11-28T10:56:38Z""#),
        example("timestamp('yyyy-MM-dd HH:mm:ss.SSS')", "{}", r#""2018-11-28 10:56:38.943""#),
        example("timestamp('yy/M/d h:mm a Z XXX')", "{}", r#""18/11/28 10:56 AM +0800 +08:00""#),
    ],
    prepare,
    eval: |arguments, site| eval(arguments, site, site.time_zone),
    ..TIME
};

pub(super) const TIMESTAMP_UTC: Function = Function {
    name: "timestamp_utc",
    signature: "timestamp_utc([format])",
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
    prepare,
    eval: |arguments, site| eval(arguments, site, &TimeZone::UTC),
    ..TIME
};
