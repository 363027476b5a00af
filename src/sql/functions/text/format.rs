//! Numbers and values as text of a given shape: `format` and `to_fixed`.
//!
//! How numbers are rounded is in `decimal`. Dates have their own family.

use std::io::Write as _;

use crate::eval;
use crate::expr::Const;
use crate::functions::math::number::whole;
use crate::functions::text::decimal::{Decimal, index};
use crate::functions::text::string::{TEXT, integer, text};
use crate::functions::{
    Fault, Function, Kind, Prepared, Problem, example, missing, optional, required,
};
use crate::number::Num;
use crate::value::Value;

/// The most characters that a width asks for.
const WIDTH: usize = 1024;

/// The most decimals that a precision asks for.
const PRECISION: usize = 100;

/// A template taken apart.
#[derive(Debug)]
pub struct Format {
    pieces: Vec<Piece>,
    /// How many values it takes.
    values: usize,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Value(Directive),
}

/// What a `%…` asks for.
#[derive(Debug, Clone, Copy)]
struct Directive {
    /// The letter: one of `s d f e x X o b`.
    letter: u8,
    left: bool,
    zero: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

/// What `format` understands, for its messages.
const DIRECTIVES: &str =
    "%s, %d, %f, %e, %x, %X, %o, %b or %% with flags -0+ #, a width and a .precision";

impl Format {
    fn parse(template: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut values = 0;
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('%') {
            literal.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                literal.push('%');
                rest = after;
                continue;
            }
            let length = after
                .find(|char: char| !char.is_ascii_digit() && !"-0+ #.".contains(char))
                .ok_or_else(|| format!("`%{after}` has no letter"))?;
            let (options, from) = after.split_at(length);
            let letter = from.chars().next().unwrap_or('%');
            let directive = Directive::parse(options, letter)?;
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Value(directive));
            values += 1;
            rest = from.get(letter.len_utf8()..).unwrap_or_default();
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self { pieces, values })
    }

    /// Says when there are too many or too few values for it.
    fn takes(&self, values: usize, template: &str) -> Result<(), String> {
        if self.values == values {
            return Ok(());
        }
        let tilde = if template.contains("~s") { "; `~s` of EMQX is `%s` here" } else { "" };
        let plural = if self.values == 1 { "" } else { "s" };
        Err(format!("the template takes {} value{plural}, not {values}{tilde}", self.values))
    }

    fn write<'a>(&self, values: &[Value<'_>]) -> Result<Value<'a>, Fault> {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Value(directive) => directive.width.max(32),
        });
        let texts = values.iter().map(|value| match value {
            Value::String(text) | Value::Json(text) => text.len(),
            _ => 0,
        });
        let length = pieces.chain(texts).fold(0, usize::saturating_add);
        let mut out = Vec::with_capacity(length.min(eval::RESULT));
        let mut values = values.iter();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => {
                    eval::fits(out.len() + text.len())?;
                    out.extend_from_slice(text.as_bytes());
                }
                Piece::Value(directive) => {
                    directive.write(values.next().unwrap_or(&Value::Missing), &mut out)?;
                }
            }
        }
        eval::fits(out.len())?;
        Ok(Value::text(String::from_utf8(out).unwrap_or_default()))
    }
}

impl Directive {
    fn parse(options: &str, letter: char) -> Result<Self, String> {
        let shown = || format!("`%{options}{letter}`");
        let letter = match letter {
            'i' | 'u' => b'd',
            'F' => b'f',
            's' | 'd' | 'f' | 'e' | 'x' | 'X' | 'o' | 'b' => letter as u8,
            _ => return Err(format!("{} is no directive", shown())),
        };
        let (shape, precision) = match options.split_once('.') {
            Some((shape, precision)) => (shape, Some(precision)),
            None => (options, None),
        };
        let width = shape.trim_start_matches(['-', '0', '+', ' ', '#']);
        let flags = shape.strip_suffix(width).unwrap_or_default();
        let number = |digits: &str, most: usize| match digits {
            "" => Ok(0),
            digits => match digits.parse::<usize>() {
                Ok(number) if number <= most => Ok(number),
                Ok(_) => Err(format!("{} asks for more than {most}", shown())),
                Err(_) => Err(format!("{} is no directive", shown())),
            },
        };
        let precision = precision.map(|digits| number(digits, PRECISION)).transpose()?;
        if precision.is_some() && !matches!(letter, b's' | b'f' | b'e') {
            return Err(format!("{}: a precision goes with s, f and e", shown()));
        }
        Ok(Self {
            letter,
            left: flags.contains('-'),
            zero: flags.contains('0'),
            plus: flags.contains('+'),
            space: flags.contains(' '),
            alternate: flags.contains('#'),
            width: number(width, WIDTH)?,
            precision,
        })
    }

    /// Appends a value.
    fn write(&self, value: &Value<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let start = out.len();
        if self.letter == b's' {
            self.text(value, out)?;
            self.fill(start, start, out);
            return Ok(());
        }
        let wanted = if matches!(self.letter, b'f' | b'e') { "a NUMBER" } else { "an integer" };
        let shown = char::from(self.letter);
        let wrong = || Fault::wrong_type(&format!("%{shown}"), wanted, value);
        let num = value.as_num().ok_or_else(wrong)?;
        let negative = num.compare(Num::Int(0)).is_lt();
        eval::fits(start + self.width + PRECISION + 330)?;
        let body = match self.letter {
            b'f' => self.fixed(num, out)?,
            b'e' => self.scientific(num, out)?,
            _ if !num.is_integer() => return Err(wrong().because("%.0f rounds a NUMBER")),
            b'd' => self.fixed(num, out)?,
            _ => {
                let integer = whole(std::slice::from_ref(value), 0);
                if Num::from_i128(integer).is_none() {
                    return Err(wrong().because("it is beyond 64 bits"));
                }
                self.integer(integer.unsigned_abs(), out)
            }
        };
        // What is zero after rounding has no sign.
        let zero = out[start..].iter().all(|byte| matches!(byte, b'0' | b'.'));
        let sign = match (negative && !zero, self.plus, self.space) {
            (true, ..) => Some(b'-'),
            (_, true, _) => Some(b'+'),
            (_, _, true) => Some(b' '),
            _ => None,
        };
        if let Some(sign) = sign {
            out.push(sign);
            out[start..].rotate_right(1);
        }
        let digits = start + usize::from(sign.is_some()) + body;
        self.fill(start, if self.zero && !self.left { digits } else { start }, out);
        Ok(())
    }

    /// Text, cut to the precision.
    fn text(&self, value: &Value<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let scalar;
        let text: &str = match value {
            Value::Json(text) => text,
            value => {
                scalar = value.as_text();
                let wrong = || Fault::wrong_type("%s", "a value that has a text", value);
                scalar.as_deref().ok_or_else(wrong)?
            }
        };
        let end = match self.precision {
            Some(count) => text.char_indices().nth(count).map_or(text.len(), |(at, _)| at),
            None => text.len(),
        };
        eval::fits(out.len() + end + self.width)?;
        out.extend_from_slice(text.as_bytes().get(..end).unwrap_or_default());
        Ok(())
    }

    /// Digits of an integer; gives the length of the prefix before them.
    fn integer(&self, magnitude: u128, out: &mut Vec<u8>) -> usize {
        let prefix: &[u8] = match (self.alternate, self.letter) {
            (true, b'x') => b"0x",
            (true, b'X') => b"0X",
            (true, b'o') => b"0o",
            (true, b'b') => b"0b",
            _ => b"",
        };
        out.extend_from_slice(prefix);
        // Writing to a Vec cannot fail.
        match self.letter {
            b'x' => write!(out, "{magnitude:x}"),
            b'X' => write!(out, "{magnitude:X}"),
            b'o' => write!(out, "{magnitude:o}"),
            b'b' => write!(out, "{magnitude:b}"),
            _ => write!(out, "{magnitude}"),
        }
        .ok();
        prefix.len()
    }

    fn fixed(&self, num: Num, out: &mut Vec<u8>) -> Result<usize, Fault> {
        let places = if self.letter == b'd' { 0 } else { self.precision.unwrap_or(6) };
        Decimal::new(num)?.fixed(places, out);
        self.point(places, out);
        Ok(0)
    }

    /// With the flag `#` there is a point, though nothing follows it.
    fn point(&self, places: usize, out: &mut Vec<u8>) {
        if places == 0 && self.alternate && self.letter != b'd' {
            out.push(b'.');
        }
    }

    fn scientific(&self, num: Num, out: &mut Vec<u8>) -> Result<usize, Fault> {
        let places = self.precision.unwrap_or(6);
        let mut decimal = Decimal::new(num)?;
        decimal.keep(1 + index(places), true);
        out.push(decimal.digit(0));
        if places > 0 {
            out.push(b'.');
            out.extend((1..=places).map(|at| decimal.digit(index(at))));
        }
        self.point(places, out);
        let sign = if decimal.exponent < 0 { '-' } else { '+' };
        write!(out, "e{sign}{:02}", decimal.exponent.unsigned_abs()).ok();
        Ok(0)
    }

    /// Brings what stands from `start` on to the width; zeros go to `at`.
    fn fill(&self, start: usize, at: usize, out: &mut Vec<u8>) {
        // Bytes that do not continue a character begin one.
        let have = out[start..].iter().filter(|byte| **byte & 0xC0 != 0x80).count();
        let lacks = self.width.saturating_sub(have);
        let fill = if at > start || (self.zero && !self.left && self.letter != b's') {
            b'0'
        } else {
            b' '
        };
        out.resize(out.len() + lacks, fill);
        if !self.left {
            out[at..].rotate_right(lacks);
        }
    }
}

pub(in crate::functions) const FORMAT: Function = Function {
    name: "format",
    aliases: &["printf"],
    signature: "format(template, value, …)",
    params: &[required("template", Kind::Text)],
    rest: Some(Kind::Any),
    summary: "The template with values in place of its directives, as `printf` of C: `%s` any value, \
              `%d` an integer, `%f` and `%e` a number with 6 or `.n` decimals, `%x %X %o %b` an \
              integer in another base, `%%` a percent sign; with flags `-0+ #` and a width. (EMQX's \
              `sprintf` writes `~s`; eKuiper's `format` of a number is `to_fixed` here.)",
    examples: &[
        example(
            "format('%s: %5.1f °C (%d%%)', name, t, 40)",
            r#"{"name":"boiler","t":71.25}"#,
            r#""boiler:  71.3 °C (40%)""#,
        ),
        example("format('%04x|%-4d|%+d', 255, 7, 7)", "{}", r#""00ff|7   |+7""#),
        example(
            "format('%d %s', a, b)",
            r#"{"a":18446744073709551615,"b":[1]}"#,
            r#""18446744073709551615 [1]""#,
        ),
        example("format('%.2e', 12345)", "{}", r#""1.23e+04""#),
        example("format('%s', a)", r#"{"a":null}"#, "null"),
        missing("format('%d', a)", r#"{"a":1.5}"#),
    ],
    prepare: |arguments| match arguments {
        [Some(Const::String(template)), values @ ..] => Format::parse(template)
            .and_then(|format| format.takes(values.len(), template).map(|()| format))
            .map(|format| Prepared::Format(Box::new(format)))
            .map_err(|message| Problem { message, expected: DIRECTIVES.into() }),
        _ => Ok(Prepared::Nothing),
    },
    eval: |arguments, site| {
        let [_, values @ ..] = arguments else { return Ok(Value::Missing) };
        if let Prepared::Format(format) = site.prepared() {
            return format.write(values);
        }
        let template = text(arguments, 0);
        Format::parse(template)
            .and_then(|format| format.takes(values.len(), template).map(|()| format))
            .map_err(|message| Fault::new("domain", format!("`format`: {message}")))?
            .write(values)
    },
    ..TEXT
};

pub(in crate::functions) const TO_FIXED: Function = Function {
    name: "to_fixed",
    signature: "to_fixed(number, decimals[, group])",
    params: &[
        required("number", Kind::Number),
        required("decimals", Kind::Integer),
        optional("group", Kind::Text),
    ],
    summary: "A number as text with exactly so many decimals (0 to 100), halves rounded away from \
              zero; with a third argument that text stands between groups of three digits.",
    examples: &[
        example("to_fixed(21.456, 2)", "{}", r#""21.46""#),
        example("to_fixed(1234567.5, 2, ',')", "{}", r#""1,234,567.50""#),
        example("to_fixed(1.005, 2)", "{}", r#""1.01""#),
        example("to_fixed(a, 0)", r#"{"a":18446744073709551615}"#, r#""18446744073709551615""#),
        example("to_fixed(-0.001, 2)", "{}", r#""0.00""#),
        missing("to_fixed(a, 2)", r#"{"a":1e999}"#),
    ],
    prepare: |arguments| match arguments.get(1) {
        Some(Some(Const::Number(num, text)))
            if num.is_integer() && places(num.truncate()).is_none() =>
        {
            Err(Problem {
                message: format!("there are no {text} decimals"),
                expected: format!("0 to {PRECISION} decimals"),
            })
        }
        _ => Ok(Prepared::Nothing),
    },
    eval: |arguments, _| {
        let Some(Value::Number(number)) = arguments.first() else { return Ok(Value::Missing) };
        let wanted = integer(arguments, 1).unwrap_or(-1);
        let places = places(wanted).ok_or_else(|| {
            let message = format!("`to_fixed` takes 0 to {PRECISION} decimals, not {wanted}");
            Fault::new("domain", message)
        })?;
        let group = text(arguments, 2);
        // At most 309 digits stand before the point.
        eval::fits(PRECISION + 330 + group.len().saturating_mul(103))?;
        let decimal = Decimal::new(number.num)?;
        let whole = usize::try_from(decimal.exponent).unwrap_or(0) + 2;
        let mut out = Vec::with_capacity(2 + places + whole + whole / 3 * group.len());
        out.push(b'-');
        decimal.fixed(places, &mut out);
        let zero = out[1..].iter().all(|byte| matches!(byte, b'0' | b'.'));
        if zero || number.num.compare(Num::Int(0)).is_ge() {
            out.remove(0);
        }
        let mut out = String::from_utf8(out).unwrap_or_default();
        let first = usize::from(out.starts_with('-'));
        let mut at = out.find('.').unwrap_or(out.len());
        while !group.is_empty() && at > first + 3 {
            at -= 3;
            out.insert_str(at, group);
        }
        Ok(Value::text(out))
    },
    ..TEXT
};

/// A count of decimals that can be asked for.
fn places(decimals: i64) -> Option<usize> {
    usize::try_from(decimals).ok().filter(|decimals| *decimals <= PRECISION)
}
