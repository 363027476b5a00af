//! Functions that take characters from the ends of a text or add some.
//!
//! Cutting by position is in `string_part`.

use crate::eval;
use crate::functions::text::part::{offset, part};
use crate::functions::text::string::{STEP, TEXT, integer, one_of, small, text, word};
use crate::functions::{
    Fault, Function, Kind, Prepared, Site, example, missing, optional, required,
};
use crate::value::Value;

/// A set of characters that answers for ASCII at once.
pub(in crate::functions) struct Set<'s> {
    ascii: u128,
    text: &'s str,
}

impl<'s> Set<'s> {
    /// # Errors
    /// `domain` with more than [`crate::functions::text::string::SET`] characters.
    pub(in crate::functions) fn new(what: &str, text: &'s str) -> Result<Self, Fault> {
        small(what, text)?;
        let ascii = text.bytes().filter(u8::is_ascii).fold(0, |set, byte| set | 1_u128 << byte);
        Ok(Self { ascii, text })
    }

    /// Units of work to look for all characters of a text in a set.
    pub(in crate::functions) fn searching(text: &str, set: &str) -> u64 {
        if text.is_ascii() {
            0
        } else {
            (text.len() as u64).saturating_mul(set.len() as u64 * STEP)
        }
    }

    pub(in crate::functions) fn has(&self, char: char) -> bool {
        match u8::try_from(char) {
            Ok(byte) if byte.is_ascii() => self.ascii >> byte & 1 == 1,
            _ => self.text.contains(char),
        }
    }
}

/// What is left without white space, or characters of a set, at the start and the end.
fn trimmed<'a>(
    arguments: &[Value<'a>],
    site: &Site<'a>,
    start: bool,
    end: bool,
) -> Result<Value<'a>, Fault> {
    let input = text(arguments, 0);
    let set = match arguments.len() {
        0 | 1 => None,
        _ => {
            site.pay(Set::searching(input, text(arguments, 1)))?;
            Some(Set::new("the set of characters", text(arguments, 1))?)
        }
    };
    let cut = |char: char| set.as_ref().map_or_else(|| char.is_whitespace(), |set| set.has(char));
    let rest = if start { input.trim_start_matches(cut) } else { input };
    let from = input.len() - rest.len();
    let rest = if end { rest.trim_end_matches(cut) } else { rest };
    Ok(arguments.first().map_or(Value::Missing, |input| part(input, from..from + rest.len())))
}

/// Text of a fill, repeated and cut to so many characters.
struct Fill<'s> {
    text: &'s str,
    chars: usize,
}

impl<'s> Fill<'s> {
    fn new(text: &'s str) -> Self {
        Self { text, chars: text.chars().count() }
    }

    /// How many bytes so many characters of it have; saturates.
    fn bytes(&self, count: usize) -> usize {
        if self.chars == 0 {
            return 0;
        }
        let rest = self.text.chars().take(count % self.chars).map(char::len_utf8).sum::<usize>();
        (count / self.chars).saturating_mul(self.text.len()).saturating_add(rest)
    }

    fn push(&self, count: usize, out: &mut String) {
        out.extend(self.text.chars().cycle().take(count));
    }
}

/// The input with so many characters of the fill on both sides.
fn filled<'a>(
    input: &str,
    fill: &Fill<'_>,
    before: usize,
    after: usize,
) -> Result<Value<'a>, Fault> {
    let added = fill.bytes(before).saturating_add(fill.bytes(after));
    let length = input.len().saturating_add(added);
    eval::fits(length)?;
    let mut out = String::with_capacity(length);
    fill.push(before, &mut out);
    out.push_str(input);
    fill.push(after, &mut out);
    Ok(Value::text(out))
}

/// The length that a padded text shall have, and how many characters it lacks.
fn lacking(arguments: &[Value<'_>]) -> (i64, usize) {
    let length = integer(arguments, 1).unwrap_or(0).max(0);
    let have = text(arguments, 0).chars().count();
    (length, usize::try_from(length).unwrap_or(usize::MAX).saturating_sub(have))
}

/// ANSI padding: what is longer is cut.
fn padded<'a>(arguments: &[Value<'a>], start: bool) -> Result<Value<'a>, Fault> {
    let input = text(arguments, 0);
    let fill = Fill::new(if arguments.len() > 2 { text(arguments, 2) } else { " " });
    match lacking(arguments) {
        (length, 0) => Ok(part(&arguments[0], 0..offset(input, length))),
        (_, lacks) if start => filled(input, &fill, lacks, 0),
        (_, lacks) => filled(input, &fill, 0, lacks),
    }
}

pub(in crate::functions) const LPAD: Function = Function {
    name: "lpad",
    signature: "lpad(input, length[, fill])",
    params: &[
        required("input", Kind::Text),
        required("length", Kind::Integer),
        optional("fill", Kind::Text),
    ],
    summary: "The input brought to a total length with the fill (default a space) before it; what is \
              longer loses its end. (AWS and eKuiper add that many spaces instead.)",
    examples: &[
        example("lpad(a, 5, '0')", r#"{"a":42}"#, r#""00042""#),
        example("lpad('ab', 4)", "{}", r#""  ab""#),
        example("lpad('温度计', 2)", "{}", r#""温度""#),
        example("lpad('x', 4, 'ab')", "{}", r#""abax""#),
        missing("lpad('x', 99999999999, '温')", "{}"),
    ],
    eval: |arguments, _| padded(arguments, true),
    ..TEXT
};

pub(in crate::functions) const LTRIM: Function = Function {
    name: "ltrim",
    signature: "ltrim(input[, characters])",
    params: &[required("input", Kind::Text), optional("characters", Kind::Text)],
    summary: "The input without white space, or without any of the characters, at its start.",
    examples: &[
        example("ltrim('  ab ')", "{}", r#""ab ""#),
        example("ltrim(a, '0')", r#"{"a":"0042"}"#, r#""42""#),
    ],
    eval: |arguments, site| trimmed(arguments, site, true, false),
    ..TEXT
};

pub(in crate::functions) const NORMALIZE_SPACE: Function = Function {
    name: "normalize_space",
    signature: "normalize_space(input)",
    params: &[required("input", Kind::Text)],
    summary: "The input without white space at its ends and with single spaces in place of all \
              other white space.",
    examples: &[
        example("normalize_space('  a \t b  ')", "{}", r#""a b""#),
        example("normalize_space(a)", r#"{"a":"温\u3000\n度"}"#, r#""温 度""#),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        let mut out = String::with_capacity(input.len());
        for word in input.split_whitespace() {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(word);
        }
        Ok(Value::text(out))
    },
    ..TEXT
};

/// The sides that `pad` knows.
const SIDES: &[&str] = &["trailing", "leading", "both"];

pub(in crate::functions) const PAD: Function = Function {
    name: "pad",
    signature: "pad(input, length[, side[, fill]])",
    params: &[
        required("input", Kind::Text),
        required("length", Kind::Integer),
        optional("side", Kind::Text),
        optional("fill", Kind::Text),
    ],
    summary: "The input brought to at least a total length with the fill (default a space) at its \
              'trailing' (the default) or 'leading' side, or at 'both'. What is longer stays.",
    examples: &[
        example("pad('ab', 5, 'both', '*')", "{}", r#""*ab**""#),
        example("pad('ab', 4)", "{}", r#""ab  ""#),
        example("pad(a, 4, 'leading', '0')", r#"{"a":"12345"}"#, r#""12345""#),
    ],
    prepare: |arguments| one_of(arguments, 2, SIDES).map(|()| Prepared::Nothing),
    eval: |arguments, _| {
        let fill = Fill::new(if arguments.len() > 3 { text(arguments, 3) } else { " " });
        let (_, lacks) = lacking(arguments);
        let before = match word(arguments, 2, SIDES, "pad")? {
            "leading" => lacks,
            "both" => lacks / 2,
            _ => 0,
        };
        match lacks {
            0 => Ok(arguments[0].clone()),
            _ => filled(text(arguments, 0), &fill, before, lacks - before),
        }
    },
    ..TEXT
};

pub(in crate::functions) const RPAD: Function = Function {
    name: "rpad",
    signature: "rpad(input, length[, fill])",
    params: &[
        required("input", Kind::Text),
        required("length", Kind::Integer),
        optional("fill", Kind::Text),
    ],
    summary: "The input brought to a total length with the fill (default a space) behind it; what is \
              longer loses its end. (AWS and eKuiper add that many spaces instead.)",
    examples: &[
        example("rpad('ab', 4, '.')", "{}", r#""ab..""#),
        example("rpad('abc', 2)", "{}", r#""ab""#),
        example("rpad('ab', -1)", "{}", r#""""#),
        example("rpad('ab', 4, '')", "{}", r#""ab""#),
    ],
    eval: |arguments, _| padded(arguments, false),
    ..TEXT
};

pub(in crate::functions) const RTRIM: Function = Function {
    name: "rtrim",
    signature: "rtrim(input[, characters])",
    params: &[required("input", Kind::Text), optional("characters", Kind::Text)],
    summary: "The input without white space, or without any of the characters, at its end.",
    examples: &[
        example("rtrim('  ab ')", "{}", r#""  ab""#),
        example("rtrim(a, '/ ')", r#"{"a":"a/b/ /"}"#, r#""a/b""#),
    ],
    eval: |arguments, site| trimmed(arguments, site, false, true),
    ..TEXT
};

pub(in crate::functions) const TRIM: Function = Function {
    name: "trim",
    aliases: &["btrim"],
    signature: "trim(input[, characters])",
    params: &[required("input", Kind::Text), optional("characters", Kind::Text)],
    summary: "The input without white space, or without any of the characters (at most 256), at both \
              ends.",
    examples: &[
        example("trim('  ab ')", "{}", r#""ab""#),
        example("trim(a, '[]')", r#"{"a":"[[1]]"}"#, r#""1""#),
        example("trim(a, '度')", r#"{"a":"度x度"}"#, r#""x""#),
        example("trim(a)", r#"{"a":"\u3000 \n"}"#, r#""""#),
        missing("trim(a)", "{}"),
    ],
    eval: |arguments, site| trimmed(arguments, site, true, true),
    ..TEXT
};
