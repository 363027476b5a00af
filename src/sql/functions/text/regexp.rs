//! Functions of regular expressions. How patterns are compiled and bounded is in `pattern`.

use std::borrow::Cow;

use regex::{Captures, Regex};

use crate::eval;
use crate::expr::Const;
use crate::functions::text::list::List;
use crate::functions::text::part::{part, position};
use crate::functions::text::pattern::{CONSTANT, Limits, Regexp};
use crate::functions::text::string::{TEXT, count, integer, text};
use crate::functions::{
    Fault, Function, Kind, Prepare, Prepared, Problem, Site, example, missing, optional, required,
};
use crate::value::Value;
use crate::work::VALUE;

/// Compiles the pattern when it is a constant.
const PREPARE: Prepare = |arguments| constant(arguments, Regexp::new);

fn constant(
    arguments: &[Option<&Const>],
    compile: fn(&str, Limits) -> Result<Regexp, String>,
) -> Result<Prepared, Problem> {
    match arguments.get(1) {
        Some(Some(Const::String(pattern))) => match compile(pattern, CONSTANT) {
            Ok(regexp) => Ok(Prepared::Regex(Box::new(regexp))),
            Err(message) => Err(Problem {
                message,
                expected: "a regular expression without look-around and back-references".into(),
            }),
        },
        _ => Ok(Prepared::Nothing),
    }
}

/// The pattern of a call.
fn pattern<'a>(arguments: &[Value<'a>], site: &Site<'a>) -> Result<Cow<'a, Regexp>, Fault> {
    match site.prepared() {
        Prepared::Regex(regexp) => Ok(Cow::Borrowed(regexp)),
        _ => Regexp::brought(text(arguments, 1), site, Regexp::new).map(Cow::Owned),
    }
}

/// What all functions here share.
const REGEXP: Function = Function { family: "regular expressions", prepare: PREPARE, ..TEXT };

pub(in crate::functions) const ILIKE: Function = Function {
    name: "ilike",
    signature: "ilike(input, pattern)",
    params: &[required("input", Kind::Text), required("pattern", Kind::Text)],
    result: Kind::Boolean,
    summary: "As the operator LIKE, without regard to upper and lower case: `%` is any text, `\\%` a \
              percent sign.",
    examples: &[
        example("ilike(a, 'pump%off')", r#"{"a":"Pump 7 OFF"}"#, "true"),
        example("ilike('ÄB', 'äb')", "{}", "true"),
        example("ilike('a.b', 'a_b')", "{}", "false"),
        example(r"ilike('100%', '100\%')", "{}", "true"),
    ],
    prepare: |arguments| constant(arguments, Regexp::like),
    eval: |arguments, site| {
        let regexp = match site.prepared() {
            Prepared::Regex(regexp) => Cow::Borrowed(&**regexp),
            _ => Cow::Owned(Regexp::brought(text(arguments, 1), site, Regexp::like)?),
        };
        regexp.is_match(text(arguments, 0), site).map(Value::Bool)
    },
    ..TEXT
};

pub(in crate::functions) const REGEXP_COUNT: Function = Function {
    name: "regexp_count",
    signature: "regexp_count(input, pattern)",
    params: &[required("input", Kind::Text), required("pattern", Kind::Text)],
    result: Kind::Integer,
    summary: "How many matches of the pattern the input has, without overlaps.",
    examples: &[
        example(r"regexp_count('a1b22c', '\d+')", "{}", "2"),
        example("regexp_count('温度温', '温')", "{}", "2"),
        example("regexp_count('abc', 'x')", "{}", "0"),
    ],
    eval: |arguments, site| {
        let regexp = pattern(arguments, site)?;
        let mut matches = regexp.find_all(text(arguments, 0), site)?;
        let mut found = 0;
        while matches.next()?.is_some() {
            found += 1;
        }
        Ok(count(found))
    },
    ..REGEXP
};

pub(in crate::functions) const REGEXP_ESCAPE: Function = Function {
    name: "regexp_escape",
    signature: "regexp_escape(input)",
    params: &[required("input", Kind::Text)],
    summary: "The input as a pattern that matches exactly it.",
    examples: &[
        example("regexp_escape('1.5*x')", "{}", r#""1\\.5\\*x""#),
        example("regexp_like('a.b', regexp_escape('a.b'))", "{}", "true"),
    ],
    prepare: crate::functions::NO_PREPARE,
    eval: |arguments, _| {
        let input = text(arguments, 0);
        eval::fits(input.len().saturating_mul(2))?;
        Ok(Value::text(regex::escape(input)))
    },
    ..REGEXP
};

pub(in crate::functions) const REGEXP_EXTRACT_ALL: Function = Function {
    name: "regexp_extract_all",
    signature: "regexp_extract_all(input, pattern[, group])",
    params: &[
        required("input", Kind::Text),
        required("pattern", Kind::Text),
        optional("group", Kind::Integer),
    ],
    result: Kind::Array,
    summary: "All matches of the pattern, or what one of its groups has taken in each (NULL where it \
              took no part). Group 0 is the whole match.",
    examples: &[
        example(r"regexp_extract_all('a=1, b=22', '\d+')", "{}", r#"["1","22"]"#),
        example(r"regexp_extract_all('a=1, b=22', '(\w)=(\d+)', 1)", "{}", r#"["a","b"]"#),
        example("regexp_extract_all('abc', 'x')", "{}", "[]"),
    ],
    prepare: |arguments| group_exists(arguments, 2),
    eval: |arguments, site| {
        let input = text(arguments, 0);
        let regexp = pattern(arguments, site)?;
        let group = group(arguments, 2, &regexp)?;
        let mut matches = regexp.find_all(input, site)?;
        let mut list = List::new(16);
        while let Some(matched) = matches.next()? {
            if group == 0 {
                list.push(Some(matched.as_str()))?;
                continue;
            }
            let groups = regexp.groups(input, &matched, site)?;
            let taken = groups.and_then(|groups| groups.get(group));
            list.push(taken.map(|taken| taken.as_str()))?;
        }
        list.finish()
    },
    ..REGEXP
};

/// The number of a group; 0 when it was left out.
fn group(arguments: &[Value<'_>], index: usize, regexp: &Regexp) -> Result<usize, Fault> {
    let wanted = integer(arguments, index).unwrap_or(0);
    existing(wanted, regexp).map_err(|message| Fault::new("domain", message))
}

fn existing(wanted: i64, regexp: &Regexp) -> Result<usize, String> {
    let groups = regexp.regex.captures_len();
    usize::try_from(wanted)
        .ok()
        .filter(|group| *group < groups)
        .ok_or_else(|| format!("the pattern has no group {wanted}, only 0 to {}", groups - 1))
}

/// Compiles a constant pattern and refuses a constant group that it lacks.
fn group_exists(arguments: &[Option<&Const>], index: usize) -> Result<Prepared, Problem> {
    let prepared = PREPARE(arguments)?;
    if let (Prepared::Regex(regexp), Some(Some(Const::Number(num, _)))) =
        (&prepared, arguments.get(index))
    {
        existing(num.truncate(), regexp)
            .map_err(|message| Problem { message, expected: "a group of the pattern".into() })?;
    }
    Ok(prepared)
}

pub(in crate::functions) const REGEXP_GROUPS: Function = Function {
    name: "regexp_groups",
    aliases: &["regex_extract"],
    signature: "regexp_groups(input, pattern)",
    params: &[required("input", Kind::Text), required("pattern", Kind::Text)],
    result: Kind::Array,
    summary: "What the groups of the pattern have taken in its first match (NULL where one took no \
              part); an empty array without a match.",
    examples: &[
        example(
            r"regexp_groups('2021-05-20', '(\d{4})-(\d{2})-(\d{2})')",
            "{}",
            r#"["2021","05","20"]"#,
        ),
        example("regexp_groups('b', '(a)?(b)')", "{}", r#"[null,"b"]"#),
        example(r"regexp_groups('none', '(\d+)')", "{}", "[]"),
    ],
    eval: |arguments, site| {
        let input = text(arguments, 0);
        let mut list = List::new(16);
        let regexp = pattern(arguments, site)?;
        if let Some(matched) = regexp.find(input, site)?
            && let Some(captures) = regexp.groups(input, &matched, site)?
        {
            for group in captures.iter().skip(1) {
                list.push(group.map(|matched| matched.as_str()))?;
            }
        }
        list.finish()
    },
    ..REGEXP
};

pub(in crate::functions) const REGEXP_INSTR: Function = Function {
    name: "regexp_instr",
    signature: "regexp_instr(input, pattern)",
    params: &[required("input", Kind::Text), required("pattern", Kind::Text)],
    result: Kind::Integer,
    summary: "The position of the first match, from 0 as `indexof` counts; -1 without a match. (Oracle \
              counts from 1.)",
    examples: &[
        example(r"regexp_instr('温度21', '\d')", "{}", "2"),
        example(r"regexp_instr('abc', '\d')", "{}", "-1"),
    ],
    eval: |arguments, site| {
        let input = text(arguments, 0);
        let found = pattern(arguments, site)?.find(input, site)?.map(|matched| matched.start());
        Ok(position(input, found))
    },
    ..REGEXP
};

pub(in crate::functions) const REGEXP_LIKE: Function = Function {
    name: "regexp_like",
    aliases: &["regexp_matches", "regex_match", "rlike"],
    signature: "regexp_like(input, pattern)",
    params: &[required("input", Kind::Text), required("pattern", Kind::Text)],
    result: Kind::Boolean,
    summary: "Whether the pattern matches anywhere in the input; `^` and `$` bind it to the ends, \
              `(?i)` ignores the case. A pattern has at most 4096 bytes, one that is no constant 512.",
    examples: &[
        example(r"regexp_like(deviceName(), '^dev\d+$')", "{}", "true"),
        example("regexp_like(a, '^[A-Z]{2}$')", r#"{"a":"abc"}"#, "false"),
        example("regexp_like('PUMP', '(?i)pump')", "{}", "true"),
        example("regexp_like(a, b)", r#"{"a":"温度","b":"^.度$"}"#, "true"),
        missing("regexp_like('a', b)", r#"{"b":"("}"#),
    ],
    eval: |arguments, site| {
        pattern(arguments, site)?.is_match(text(arguments, 0), site).map(Value::Bool)
    },
    ..REGEXP
};

pub(in crate::functions) const REGEXP_REPLACE: Function = Function {
    name: "regexp_replace",
    aliases: &["regex_replace"],
    signature: "regexp_replace(input, pattern, replacement)",
    params: &[
        required("input", Kind::Text),
        required("pattern", Kind::Text),
        required("replacement", Kind::Text),
    ],
    summary: "The input with all matches replaced. In the replacement `$1`, `${1}`, `${name}` or `\\1` \
              is what a group has taken, `$0` the whole match, `$$` a dollar sign and `\\\\` a \
              backslash; `&` is itself (not so in EMQX).",
    examples: &[
        example(r"regexp_replace('a1b22', '\d+', '#')", "{}", r##""a#b#""##),
        example("regexp_replace('abcd', '(ab)', 'x$1y')", "{}", r#""xabycd""#),
        example(
            r"regexp_replace(a, '(?P<y>\d{4})-(\d\d)', '\2/${y}')",
            r#"{"a":"2021-05"}"#,
            r#""05/2021""#,
        ),
        example("regexp_replace('abc', '', '-')", "{}", r#""-a-b-c-""#),
        missing("regexp_replace('abc', 'b', a)", r#"{"a":"$7"}"#),
    ],
    prepare: |arguments| {
        let prepared = PREPARE(arguments)?;
        if let (Prepared::Regex(regexp), Some(Some(Const::String(replacement)))) =
            (&prepared, arguments.get(2))
        {
            expand(replacement, &regexp.regex, |_| Ok(())).map_err(|fault| Problem {
                message: fault.message,
                expected: "groups of the pattern; `$$` is a dollar sign".into(),
            })?;
        }
        Ok(prepared)
    },
    eval: |arguments, site| {
        let (input, replacement) = (text(arguments, 0), text(arguments, 2));
        let regexp = pattern(arguments, site)?;
        let mut replaced = Replaced { input, out: String::new(), copied: 0 };
        let plain = memchr::memchr2(b'$', b'\\', replacement.as_bytes()).is_none();
        let mut matches = regexp.find_all(input, site)?;
        while let Some(matched) = matches.next()? {
            replaced.upto(matched.start(), matched.end())?;
            if plain {
                replaced.push(replacement)?;
            } else if let Some(groups) = regexp.groups(input, &matched, site)? {
                // The replacement is read for each match.
                site.pay(replacement.len() as u64 * VALUE)?;
                replaced.captured(replacement, &regexp.regex, &groups)?;
            }
        }
        if replaced.copied == 0 && replaced.out.is_empty() {
            return Ok(arguments[0].clone());
        }
        replaced.push(input.get(replaced.copied..).unwrap_or_default())?;
        Ok(Value::text(replaced.out))
    },
    ..REGEXP
};

/// A text while its matches are replaced.
struct Replaced<'t> {
    input: &'t str,
    out: String,
    /// How far the input is copied or replaced.
    copied: usize,
}

impl Replaced<'_> {
    /// Copies what stands before a match and steps over it.
    fn upto(&mut self, start: usize, end: usize) -> Result<(), Fault> {
        if self.out.capacity() == 0 {
            self.out.reserve(self.input.len() + 16);
        }
        let before = self.input.get(self.copied..start).unwrap_or_default();
        self.copied = end;
        self.push(before)
    }

    fn push(&mut self, text: &str) -> Result<(), Fault> {
        eval::fits(self.out.len() + text.len())?;
        self.out.push_str(text);
        Ok(())
    }

    fn captured(
        &mut self,
        replacement: &str,
        regex: &Regex,
        captures: &Captures<'_>,
    ) -> Result<(), Fault> {
        expand(replacement, regex, |piece| {
            self.push(match piece {
                Expanded::Text(text) => text,
                Expanded::Group(group) => captures.get(group).map_or("", |found| found.as_str()),
            })
        })
    }
}

/// A piece of a replacement.
enum Expanded<'t> {
    Text(&'t str),
    Group(usize),
}

/// Takes a replacement apart.
fn expand<'t>(
    replacement: &'t str,
    regex: &Regex,
    mut each: impl FnMut(Expanded<'t>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut rest = replacement;
    while let Some(at) = memchr::memchr2(b'$', b'\\', rest.as_bytes()) {
        let (before, from) = rest.split_at(at);
        each(Expanded::Text(before))?;
        let (mark, after) = from.split_at(1);
        if let Some(char) = after.chars().next().filter(|next| matches!(next, '$' | '\\'))
            && (mark == "\\" || char == '$')
        {
            let (char, after) = after.split_at(1);
            each(Expanded::Text(char))?;
            rest = after;
        } else if let Some(reference) = reference(mark, after, regex) {
            let (group, after) = reference?;
            each(Expanded::Group(group))?;
            rest = after;
        } else {
            each(Expanded::Text(mark))?;
            rest = after;
        }
    }
    each(Expanded::Text(rest))
}

/// A group that the text behind a `$` or backslash names, and the text behind it; `None` when the mark
/// stands for itself.
fn reference<'t>(
    mark: &str,
    after: &'t str,
    regex: &Regex,
) -> Option<Result<(usize, &'t str), Fault>> {
    let groups = regex.captures_len();
    let lacks = |name: &str| Fault::new("domain", format!("the pattern has no group `{name}`"));
    if let Some((name, rest)) =
        after.strip_prefix('{').filter(|_| mark == "$").and_then(|inner| inner.split_once('}'))
    {
        let number = name.parse::<usize>().ok().filter(|number| *number < groups);
        let named = || regex.capture_names().position(|have| have == Some(name));
        return Some(number.or_else(named).map(|group| (group, rest)).ok_or_else(|| lacks(name)));
    }
    // As many digits as still name a group, but at least one.
    let mut digits =
        after.bytes().take_while(u8::is_ascii_digit).map(|byte| usize::from(byte - b'0'));
    let mut group = digits.next()?;
    let mut length = 1;
    for digit in digits.take_while(|_| mark == "$") {
        match group * 10 + digit {
            longer if longer < groups => group = longer,
            _ => break,
        }
        length += 1;
    }
    let (name, rest) = after.split_at(length);
    Some(if group < groups { Ok((group, rest)) } else { Err(lacks(name)) })
}

pub(in crate::functions) const REGEXP_SPLIT: Function = Function {
    name: "regexp_split",
    signature: "regexp_split(input, pattern)",
    params: &[required("input", Kind::Text), required("pattern", Kind::Text)],
    result: Kind::Array,
    summary: "The parts of the input between the matches of the pattern; empty parts stay.",
    examples: &[
        example(r"regexp_split('a1b22c', '\d+')", "{}", r#"["a","b","c"]"#),
        example(r"regexp_split('a , b,c', '\s*,\s*')", "{}", r#"["a","b","c"]"#),
        example("regexp_split('abc', 'x')", "{}", r#"["abc"]"#),
    ],
    eval: |arguments, site| {
        let input = text(arguments, 0);
        let regexp = pattern(arguments, site)?;
        let mut matches = regexp.find_all(input, site)?;
        let mut list = List::new(input.len());
        let mut from = 0;
        while let Some(matched) = matches.next()? {
            list.push(input.get(from..matched.start()))?;
            from = matched.end();
        }
        list.push(input.get(from..))?;
        list.finish()
    },
    ..REGEXP
};

pub(in crate::functions) const REGEXP_SUBSTR: Function = Function {
    name: "regexp_substr",
    signature: "regexp_substr(input, pattern[, occurrence[, group]])",
    params: &[
        required("input", Kind::Text),
        required("pattern", Kind::Text),
        optional("occurrence", Kind::Integer),
        optional("group", Kind::Integer),
    ],
    summary: "The first match of the pattern, or that with a number counted from 0; or what one of its \
              groups has taken (0 is the whole match). NULL when there is none.",
    examples: &[
        example(r"regexp_substr('T=21.5C', '[\d.]+')", "{}", r#""21.5""#),
        example(r"regexp_substr('a=1, b=22', '(\w)=(\d+)', 1, 2)", "{}", r#""22""#),
        example("regexp_substr('hihihello', '(hi)*')", "{}", r#""hihi""#),
        example("regexp_substr('abc', 'x')", "{}", "null"),
        missing("regexp_substr('abc', 'b', -1)", "{}"),
    ],
    prepare: |arguments| group_exists(arguments, 3),
    eval: |arguments, site| {
        let input = text(arguments, 0);
        let regexp = pattern(arguments, site)?;
        let group = group(arguments, 3, &regexp)?;
        let wanted = integer(arguments, 2).unwrap_or(0);
        let wanted = usize::try_from(wanted).map_err(|_| {
            let message = format!("`regexp_substr` counts occurrences from 0, not {wanted}");
            Fault::new("domain", message)
        })?;
        let mut matches = regexp.find_all(input, site)?;
        let mut number = 0;
        while let Some(matched) = matches.next()? {
            if number < wanted {
                number += 1;
                continue;
            }
            let found = if group == 0 {
                Some(matched)
            } else {
                regexp.groups(input, &matched, site)?.and_then(|groups| groups.get(group))
            };
            return Ok(found.map_or(Value::Null, |found| part(&arguments[0], found.range())));
        }
        Ok(Value::Null)
    },
    ..REGEXP
};
