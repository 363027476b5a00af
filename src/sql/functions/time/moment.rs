//! What functions of time share: times, zones, units and durations as arguments, and what a call
//! keeps of those that are constants.
//!
//! A time is a NUMBER of milliseconds since 1970 or text in the form of RFC 3339 / ISO 8601. Text
//! without an offset is local time of the call's zone: of two times with the same name (clocks set
//! back) it is the earlier, and a time that is left out (clocks set forward) is as much later.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::expr::Const;
use crate::functions::time::java_date::{Letters, Pattern, Piece, compile};
use crate::functions::time::words::{PARTS, Part, SECOND, UNITS, Unit};
use crate::functions::time::words::{clock, iso, length, tick, zone_named};
use crate::functions::{
    Depends, Example, Fault, Function, Kind, NO_PREPARE, Nulls, Param, Prepared, Problem, Site,
};
use crate::functions::{optional, required};
use crate::lex::shorten;
use crate::number::Num;
use crate::value::Value;
use crate::work::Price;

/// What all functions of time share.
pub(in crate::functions) const TIME: Function = Function {
    name: "",
    aliases: &[],
    family: "time",
    signature: "",
    price: Price::new(20_000, 60),
    params: &[],
    rest: None,
    result: Kind::Number,
    nulls: Nulls::Propagate,
    reads: &[],
    spreads: false,
    depends: Depends::Message,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

/// `(time)` and `([time[, zone]])` and the like.
pub(in crate::functions) const A_TIME: Param = required("time", Kind::Any);
pub(in crate::functions) const MAYBE_TIME: Param = optional("time", Kind::Any);
pub(in crate::functions) const MAYBE_ZONE: Param = optional("zone", Kind::Text);

/// A function of a time that may be left out, and a zone.
pub(in crate::functions) const fn of_time(
    name: &'static str,
    signature: &'static str,
    result: Kind,
    summary: &'static str,
    examples: &'static [Example],
    eval: crate::functions::Eval,
) -> Function {
    const PARAMS: &[Param] = &[MAYBE_TIME, MAYBE_ZONE];
    let prepare: crate::functions::Prepare = |arguments| prepare(arguments, &[(1, Role::Zone)]);
    Function { name, signature, params: PARAMS, result, summary, examples, prepare, eval, ..TIME }
}

/// What an argument of a function of time is, when it is not a time.
#[derive(Debug, Clone, Copy)]
pub(in crate::functions) enum Role {
    /// A date pattern.
    Pattern(Letters),
    /// A date pattern of percent signs and letters.
    Percent,
    /// A time zone.
    Zone,
    /// A unit of the calendar.
    Unit,
    /// A part of a time.
    Part,
    /// A unit that counts from 1970.
    Tick,
    /// A time of day.
    Clock,
    /// Milliseconds, or a duration as text.
    Length,
}

/// What a call keeps of an argument that is constant.
#[derive(Debug)]
pub enum Known {
    /// Nothing: it is no constant, or of no use before the message is there.
    Nothing,
    /// A date pattern, taken apart.
    Pattern(Box<[Piece]>),
    /// A time zone; `None` is the configured one.
    Zone(Option<TimeZone>),
    /// A unit of the calendar.
    Unit(Unit),
    /// A part of a time.
    Part(Part),
    /// A unit that counts from 1970, as nanoseconds.
    Tick(i128),
    /// A time of day in seconds.
    Clock(i32),
    /// Milliseconds.
    Length(i64),
}

impl Role {
    /// Makes of a text what the role needs.
    fn read(self, text: &str) -> Result<Known, (String, &'static str)> {
        let none = |what: &str| format!("`{}` is no {what}", shorten(text));
        match self {
            Self::Pattern(letters) => compile(text, letters)
                .map(Known::Pattern)
                .map_err(|problem| (problem, "a pattern such as 'yyyy-MM-dd HH:mm:ss.SSS'")),
            Self::Percent => crate::functions::time::emqx::check(text)
                .map(|()| Known::Nothing)
                .map_err(|problem| (problem, "a pattern such as '%Y-%m-%d %H:%M:%S'")),
            Self::Zone => zone_named(text).map(Known::Zone).ok_or_else(|| {
                (none("time zone"), "a name such as 'Asia/Shanghai' or an offset such as '+08:00'")
            }),
            Self::Unit => {
                Unit::named(text).map(Known::Unit).ok_or_else(|| (none("unit of time"), UNITS))
            }
            Self::Part => {
                Part::named(text).map(Known::Part).ok_or_else(|| (none("part of a time"), PARTS))
            }
            Self::Tick => tick(text).map(Known::Tick).ok_or_else(|| {
                (none("unit of time"), "second, millisecond, microsecond or nanosecond")
            }),
            Self::Clock => clock(text).map(Known::Clock).ok_or_else(|| {
                (none("time of day"), "a time such as '06:00' or '22:30:15', at most '24:00'")
            }),
            Self::Length => length(text).map(Known::Length).map_err(|problem| {
                (problem, "milliseconds, or a duration such as '5m' or '1h30m'")
            }),
        }
    }

    /// The same for an argument of a message.
    fn fault(self, text: &str) -> Result<Known, Fault> {
        self.read(text).map_err(|(problem, wanted)| {
            Fault::new("domain", format!("{problem}; it takes {wanted}"))
        })
    }
}

/// Does the work for constant arguments; an index counts the arguments from 0.
pub(in crate::functions) fn prepare(
    arguments: &[Option<&Const>],
    roles: &[(usize, Role)],
) -> Result<Prepared, Problem> {
    let mut known: Vec<Known> = arguments.iter().map(|_| Known::Nothing).collect();
    for (index, role) in roles {
        let Some(Some(constant)) = arguments.get(*index) else { continue };
        let made = match (role, constant) {
            (Role::Length, Const::Number(num, _)) => Ok(Known::Length(num.truncate())),
            (_, Const::String(text)) => role.read(text),
            _ => continue,
        };
        let made =
            made.map_err(|(message, expected)| Problem { message, expected: expected.into() })?;
        if let Some(place) = known.get_mut(*index) {
            *place = made;
        }
    }
    let nothing = known.iter().all(|known| matches!(known, Known::Nothing));
    Ok(if nothing { Prepared::Nothing } else { Prepared::Time(known.into()) })
}

/// The arguments of a call to a function of time.
pub(in crate::functions) struct Call<'c, 'a> {
    pub(in crate::functions) arguments: &'c [Value<'a>],
    pub(in crate::functions) site: &'c Site<'a>,
}

impl<'c, 'a> Call<'c, 'a> {
    pub(in crate::functions) fn new(arguments: &'c [Value<'a>], site: &'c Site<'a>) -> Self {
        Self { arguments, site }
    }

    fn known(&self, index: usize) -> &'a Known {
        match self.site.prepared() {
            Prepared::Time(known) => known.get(index).unwrap_or(&Known::Nothing),
            _ => &Known::Nothing,
        }
    }

    /// The text of an argument that was coerced to one.
    pub(in crate::functions) fn text(&self, index: usize) -> &'c str {
        match self.arguments.get(index) {
            Some(Value::String(text)) => text,
            _ => "",
        }
    }

    /// What an argument is in its role: kept, or made for this message.
    fn role(&self, index: usize, role: Role) -> Result<Kept<'a>, Fault> {
        match self.known(index) {
            Known::Nothing => role.fault(self.text(index)).map(Kept::Now),
            known => Ok(Kept::Before(known)),
        }
    }

    /// When the message was received.
    pub(in crate::functions) fn received(&self) -> Result<Timestamp, Fault> {
        let ms = self.site.input.message.received_ms;
        i64::try_from(ms)
            .ok()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            .ok_or_else(|| Fault::new("domain", "the message's time is beyond 9999-12-30"))
    }

    /// The zone at an index; the configured one when it was left out.
    pub(in crate::functions) fn zone(&self, index: usize) -> Result<Cow<'a, TimeZone>, Fault> {
        let local = Cow::Borrowed(self.site.time_zone);
        if self.arguments.get(index).is_none() {
            return Ok(local);
        }
        Ok(match self.role(index, Role::Zone)? {
            Kept::Before(Known::Zone(Some(zone))) => Cow::Borrowed(zone),
            Kept::Now(Known::Zone(Some(zone))) => Cow::Owned(zone),
            _ => local,
        })
    }

    /// The time at an index; when the message was received when it was left out.
    pub(in crate::functions) fn time(
        &self,
        index: usize,
        zone: &TimeZone,
    ) -> Result<Timestamp, Fault> {
        match self.arguments.get(index) {
            None => self.received(),
            Some(value) => time(value, zone),
        }
    }

    /// The time at an index as local time of the zone at another.
    pub(in crate::functions) fn local(&self, time: usize, zone: usize) -> Result<DateTime, Fault> {
        let zone = self.zone(zone)?;
        Ok(zone.to_datetime(self.time(time, &zone)?))
    }

    pub(in crate::functions) fn pattern(&self, index: usize, letters: Letters) -> Pattern<'c>
    where
        'a: 'c,
    {
        match self.known(index) {
            Known::Pattern(pieces) => Pattern::ready(pieces),
            _ => Pattern::text(self.text(index), letters),
        }
    }

    pub(in crate::functions) fn unit(&self, index: usize) -> Result<Unit, Fault> {
        match self.role(index, Role::Unit)?.get() {
            Known::Unit(unit) => Ok(*unit),
            _ => Ok(Unit::Millisecond),
        }
    }

    pub(in crate::functions) fn part(&self, index: usize) -> Result<Part, Fault> {
        match self.role(index, Role::Part)?.get() {
            Known::Part(part) => Ok(*part),
            _ => Ok(Part::Millisecond),
        }
    }

    /// Nanoseconds of the unit at an index; a second when it was left out.
    pub(in crate::functions) fn tick(&self, index: usize) -> Result<i128, Fault> {
        if self.arguments.get(index).is_none() {
            return Ok(SECOND);
        }
        match self.role(index, Role::Tick)?.get() {
            Known::Tick(tick) => Ok(*tick),
            _ => Ok(SECOND),
        }
    }

    /// A time of day in seconds.
    pub(in crate::functions) fn clock(&self, index: usize) -> Result<i32, Fault> {
        match self.role(index, Role::Clock)?.get() {
            Known::Clock(seconds) => Ok(*seconds),
            _ => Ok(0),
        }
    }

    /// Milliseconds of a NUMBER or of a duration as text; 0 when it was left out.
    pub(in crate::functions) fn length(&self, index: usize) -> Result<i64, Fault> {
        match (self.known(index), self.arguments.get(index)) {
            (Known::Length(ms), _) => Ok(*ms),
            (_, None) => Ok(0),
            (_, Some(value)) => match (value.as_num(), value) {
                (Some(num), _) => Ok(num.truncate()),
                (None, Value::String(text)) => match Role::Length.fault(text)? {
                    Known::Length(ms) => Ok(ms),
                    _ => Ok(0),
                },
                _ => Err(Fault::wrong_type("duration", "milliseconds or text such as '5m'", value)),
            },
        }
    }
}

/// Something kept or made.
enum Kept<'a> {
    Before(&'a Known),
    Now(Known),
}

impl Kept<'_> {
    fn get(&self) -> &Known {
        match self {
            Self::Before(known) => known,
            Self::Now(known) => known,
        }
    }
}

/// A value as a time.
pub(in crate::functions) fn time(value: &Value<'_>, zone: &TimeZone) -> Result<Timestamp, Fault> {
    const WANTED: &str = "milliseconds since 1970 or text such as '2018-11-28T10:56:38+08:00'";
    if let Some(num) = value.as_num() {
        let ms = match num {
            Num::Float(value) => Num::Float(value.floor()).truncate(),
            num => num.truncate(),
        };
        return Timestamp::from_millisecond(ms).map_err(|_| {
            let text = value.as_text().unwrap_or_default();
            let message = format!("{text} as milliseconds is beyond 9999-12-30");
            Fault::new("domain", message).because("divide microseconds by 1000")
        });
    }
    let Value::String(text) = value else {
        return Err(Fault::wrong_type("time", WANTED, value));
    };
    iso(text, zone).ok_or_else(|| {
        let message = format!("`{}` is no time; it takes {WANTED}", shorten(text));
        Fault::new("domain", message).because("parse_timestamp reads other forms")
    })
}

/// Milliseconds since 1970, rounded down.
pub(in crate::functions) fn ms(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond().div_euclid(1_000_000)).unwrap_or_default()
}

/// An integer as a result.
pub(in crate::functions) fn integer<'a>(value: impl Into<i64>) -> Value<'a> {
    Value::number(Num::Int(value.into()))
}

/// A time as a result, in milliseconds since 1970.
pub(in crate::functions) fn instant<'a>(time: Timestamp) -> Value<'a> {
    integer(ms(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let zone = TimeZone::get("America/New_York").expect("a zone");
        for (text, want) in [
            ("2018-11-28T02:56:38.943Z", 1_543_373_798_943),
            ("2018-11-28T10:56:38+08:00", 1_543_373_798_000),
            ("2018-11-28 10:56:38.5+08:00", 1_543_373_798_500),
            ("2018-11-28", 1_543_381_200_000),
            ("2018-11-28T00:00", 1_543_381_200_000),
            // Clocks were set forward from 2 to 3, and back from 2 to 1.
            ("2018-03-11T02:30:00", 1_520_753_400_000),
            ("2018-11-04T01:30:00", 1_541_309_400_000),
        ] {
            assert_eq!(time(&Value::text(text), &zone).map(ms), Ok(want), "{text}");
        }
        for text in ["", "now", "2018-11", "28.11.2018", "2018-11-28T25:00"] {
            assert!(time(&Value::text(text), &zone).is_err(), "{text}");
        }
        assert_eq!(time(&Value::number(Num::Float(-0.5)), &zone).map(ms), Ok(-1));
        assert!(time(&Value::number(Num::UInt(u64::MAX)), &zone).is_err());
    }
}
