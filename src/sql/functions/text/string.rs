//! Functions of whole texts: joining, cases, comparing, replacing.
//!
//! Positions and lengths count code points; what cuts a text is in `string_part`, what makes lists of
//! it in `string_list`, what escapes it in `escape`.

use crate::eval;
use crate::expr::Const;
use crate::functions::{
    Depends, Fault, Function, Kind, NO_PREPARE, Nulls, Prepared, Problem, example, missing,
    optional, required,
};
use crate::json;
use crate::lex;
use crate::number::Num;
use crate::value::Value;
use crate::work::Price;

/// What all functions of text share.
pub(in crate::functions) const TEXT: Function = Function {
    name: "",
    aliases: &[],
    family: "text",
    signature: "",
    price: Price::new(500, 100),
    params: &[],
    rest: None,
    result: Kind::Text,
    nulls: Nulls::Propagate,
    reads: &[],
    spreads: false,
    depends: Depends::Arguments,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

/// The most characters of an argument that is a set of characters, and of those that `levenshtein`
/// compares: the work for each character of the text grows with them.
pub(in crate::functions) const SET: usize = 256;

/// Units of work to compare two characters of two texts.
pub(in crate::functions) const STEP: u64 = 20;

/// The text of an argument that was coerced to one.
pub(in crate::functions) fn text<'v>(arguments: &'v [Value<'_>], index: usize) -> &'v str {
    match arguments.get(index) {
        Some(Value::String(text)) => text,
        _ => "",
    }
}

/// An argument that was coerced to an integer, held within i64; `None` when it was left out.
pub(in crate::functions) fn integer(arguments: &[Value<'_>], index: usize) -> Option<i64> {
    match arguments.get(index) {
        Some(Value::Number(number)) => Some(number.num.truncate()),
        _ => None,
    }
}

/// A count as a result.
pub(in crate::functions) fn count<'a>(count: usize) -> Value<'a> {
    Value::number(Num::Int(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// Refuses a set of characters that is too large.
pub(in crate::functions) fn small(what: &str, text: &str) -> Result<(), Fault> {
    match text.chars().nth(SET) {
        None => Ok(()),
        Some(_) => Err(Fault::new("domain", format!("{what} has more than {SET} characters"))),
    }
}

/// Whether an argument that is a constant is one of some words.
pub(in crate::functions) fn one_of(
    arguments: &[Option<&Const>],
    index: usize,
    words: &[&str],
) -> Result<(), Problem> {
    match arguments.get(index) {
        Some(Some(Const::String(word))) if named(words, word).is_none() => {
            Err(Problem { message: format!("there is no '{word}'"), expected: listed(words) })
        }
        _ => Ok(()),
    }
}

/// The one of some words that an argument names; the first when it was left out.
pub(in crate::functions) fn word<'w>(
    arguments: &[Value<'_>],
    index: usize,
    words: &[&'w str],
    name: &str,
) -> Result<&'w str, Fault> {
    let asked = if arguments.len() > index { Some(text(arguments, index)) } else { None };
    asked.map_or(words.first().copied(), |asked| named(words, asked)).ok_or_else(|| {
        let asked = lex::shorten(asked.unwrap_or_default());
        Fault::new("domain", format!("`{name}` knows {}, not '{asked}'", listed(words)))
    })
}

/// A word of a list, found without regard to case.
fn named<'w>(words: &[&'w str], asked: &str) -> Option<&'w str> {
    words.iter().copied().find(|word| word.eq_ignore_ascii_case(asked))
}

/// `'a', 'b' or 'c'`.
fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

pub(in crate::functions) const CAPITALIZE: Function = Function {
    name: "capitalize",
    signature: "capitalize(input)",
    params: &[required("input", Kind::Text)],
    summary: "The input with its first character in upper case; the rest stays as it is.",
    examples: &[
        example("capitalize('pump OFF')", "{}", r#""Pump OFF""#),
        example("capitalize(a)", r#"{"a":"élan"}"#, r#""Élan""#),
        example("capitalize('')", "{}", r#""""#),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        let mut chars = input.chars();
        // The longest upper case, of U+0390, has six bytes.
        eval::fits(input.len() + 6)?;
        let mut out = String::with_capacity(input.len() + 6);
        out.extend(chars.next().into_iter().flat_map(char::to_uppercase));
        out.push_str(chars.as_str());
        Ok(Value::text(out))
    },
    ..TEXT
};

pub(in crate::functions) const CONCAT: Function = Function {
    name: "concat",
    signature: "concat(a, b, …)",
    params: &[required("a", Kind::Any), required("b", Kind::Any)],
    rest: Some(Kind::Any),
    price: Price::new(500, 130),
    result: Kind::Any,
    summary: "Two or more texts joined; numbers and booleans count as their text. Arrays are \
              appended to each other.",
    examples: &[
        example("concat(field, 'a')", r#"{"field":"x"}"#, r#""xa""#),
        example("concat(1.50, true)", "{}", r#""1.50true""#),
        example("concat(a, '/', b, '/', c)", r#"{"a":"x","b":7,"c":"温"}"#, r#""x/7/温""#),
        example("concat(a, b)", r#"{"a":[1, 2],"b":["x"]}"#, r#"[1,2,"x"]"#),
        example("concat(a, 'x')", r#"{"a":null}"#, "null"),
        missing("concat(a, 'x')", "{}"),
        missing("concat(a, 'x')", r#"{"a":[1]}"#),
    ],
    eval: |arguments, _| match arguments {
        [a, b] => eval::concat(a, b),
        many if many.iter().all(|value| value.type_name() == "ARRAY") => append(many),
        many => {
            let wrong = |value| Fault::wrong_type("concat", "text (or arrays only)", value);
            if let Some(other) = many.iter().find(|value| value.as_text().is_none()) {
                return Err(wrong(other));
            }
            let parts = || many.iter().filter_map(Value::as_text);
            let length = parts().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
            eval::fits(length)?;
            let mut out = String::with_capacity(length);
            parts().for_each(|part| out.push_str(&part));
            Ok(Value::text(out))
        }
    },
    ..TEXT
};

/// The elements of all arrays in one.
fn append<'a>(arrays: &[Value<'_>]) -> Result<Value<'a>, Fault> {
    let mut out = vec![b'['];
    for array in arrays {
        let Value::Json(array) = array else { continue };
        for raw in json::elements(array.as_bytes()) {
            if out.len() > 1 {
                out.push(b',');
            }
            eval::fits(out.len() + raw.len() + 1)?;
            out.extend_from_slice(raw);
        }
    }
    out.push(b']');
    Ok(Value::Json(String::from_utf8(out).unwrap_or_default().into()))
}

pub(in crate::functions) const CONCAT_WS: Function = Function {
    name: "concat_ws",
    signature: "concat_ws(separator, a, …)",
    params: &[required("separator", Kind::Text), required("a", Kind::Text)],
    rest: Some(Kind::Text),
    nulls: Nulls::Own,
    summary: "The texts joined with the separator between them; those that are NULL or MISSING are \
              skipped. NULL when the separator is.",
    examples: &[
        example("concat_ws('/', a, b, 'c')", r#"{"a":"x","b":null}"#, r#""x/c""#),
        example("concat_ws(', ', 1, true, a)", r#"{"a":"温"}"#, r#""1, true, 温""#),
        example("concat_ws('-', a, b)", "{}", r#""""#),
        example("concat_ws('-', '', 'x')", "{}", r#""-x""#),
        example("concat_ws(a, 'x', 'y')", r#"{"a":null}"#, "null"),
        missing("concat_ws(a, 'x', 'y')", "{}"),
    ],
    eval: |arguments, _| {
        let [Value::String(separator), parts @ ..] = arguments else {
            return Ok(arguments.first().cloned().unwrap_or(Value::Missing));
        };
        let parts = || {
            parts.iter().filter_map(|part| match part {
                Value::String(part) => Some(&**part),
                _ => None,
            })
        };
        let length = parts()
            .fold(0_usize, |sum, part| sum.saturating_add(part.len() + separator.len()))
            .saturating_sub(separator.len());
        eval::fits(length)?;
        let mut out = String::with_capacity(length);
        for (index, part) in parts().enumerate() {
            if index > 0 {
                out.push_str(separator);
            }
            out.push_str(part);
        }
        Ok(Value::text(out))
    },
    ..TEXT
};

pub(in crate::functions) const CONTAINS_TEXT: Function = Function {
    name: "contains_text",
    signature: "contains_text(input, part)",
    params: &[required("input", Kind::Text), required("part", Kind::Text)],
    result: Kind::Boolean,
    summary: "Whether the part stands anywhere in the input. (Azure's `CONTAINS` of texts.)",
    examples: &[
        example("contains_text(a, 'gate')", r#"{"a":"tidegates"}"#, "true"),
        example("contains_text('tide', 'D')", "{}", "false"),
        example("contains_text('tide', '')", "{}", "true"),
        missing("contains_text(a, 'x')", r#"{"a":["x"]}"#),
    ],
    eval: |arguments, _| Ok(Value::Bool(text(arguments, 0).contains(text(arguments, 1)))),
    ..TEXT
};

pub(in crate::functions) const ENDSWITH: Function = Function {
    name: "endswith",
    aliases: &["ends_with"],
    signature: "endswith(input, suffix)",
    params: &[required("input", Kind::Text), required("suffix", Kind::Text)],
    result: Kind::Boolean,
    summary: "Whether the input ends with the suffix.",
    examples: &[
        example("endswith('tidegate', 'gate')", "{}", "true"),
        example("endswith(a, '度')", r#"{"a":"湿度计"}"#, "false"),
        example("endswith(a, '')", r#"{"a":"x"}"#, "true"),
        missing("endswith(a, 'x')", r#"{"a":{}}"#),
    ],
    eval: |arguments, _| Ok(Value::Bool(text(arguments, 0).ends_with(text(arguments, 1)))),
    ..TEXT
};

/// The marks of letters that are written in parts: `e` and U+0301 are `é`.
const ACCENTS: std::ops::RangeInclusive<char> = '\u{300}'..='\u{36f}';

pub(in crate::functions) const INITCAP: Function = Function {
    name: "initcap",
    signature: "initcap(input)",
    params: &[required("input", Kind::Text)],
    summary: "The input with the first character of each word in upper case and the others in lower \
              case. Words are made of letters with their accents, digits and apostrophes.",
    examples: &[
        example("initcap('north PUMP-room')", "{}", r#""North Pump-Room""#),
        example("initcap(a)", r#"{"a":"don't ÉCRIRE 3rd"}"#, r#""Don't Écrire 3rd""#),
        example(r"initcap(unescape('e\u0301cole'))", "{}", "\"E\u{301}cole\""),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        let mut out = String::with_capacity(input.len() + 8);
        let mut inside = false;
        for char in input.chars() {
            if inside {
                out.extend(char.to_lowercase());
            } else {
                out.extend(char.to_uppercase());
            }
            eval::fits(out.len())?;
            let joins = char == '\'' || ACCENTS.contains(&char);
            inside = char.is_alphanumeric() || (inside && joins);
        }
        Ok(Value::text(out))
    },
    ..TEXT
};

pub(in crate::functions) const IS_ASCII: Function = Function {
    name: "is_ascii",
    signature: "is_ascii(input)",
    params: &[required("input", Kind::Text)],
    result: Kind::Boolean,
    summary: "Whether all characters of the input are ASCII.",
    examples: &[
        example("is_ascii(a)", r#"{"a":"21.5 C"}"#, "true"),
        example("is_ascii(a)", r#"{"a":"21.5 °C"}"#, "false"),
    ],
    eval: |arguments, _| Ok(Value::Bool(text(arguments, 0).is_ascii())),
    ..TEXT
};

pub(in crate::functions) const LEVENSHTEIN: Function = Function {
    name: "levenshtein",
    signature: "levenshtein(a, b)",
    params: &[required("a", Kind::Text), required("b", Kind::Text)],
    result: Kind::Integer,
    summary: "How many characters must be inserted, removed or replaced to make one text of the \
              other. Both have at most 256 characters.",
    examples: &[
        example("levenshtein('kitten', 'sitting')", "{}", "3"),
        example("levenshtein('温度', '湿度计')", "{}", "2"),
        example("levenshtein('', 'abc')", "{}", "3"),
    ],
    eval: |arguments, site| {
        let (a, b) = (text(arguments, 0), text(arguments, 1));
        small("`levenshtein`: the first text", a)?;
        small("`levenshtein`: the second text", b)?;
        site.pay((a.len() * b.len()) as u64 * STEP)?;
        // One row of the usual matrix, on the stack: `row[j]` is the distance from what is read of
        // `a` to the first `j` characters of `b`.
        let mut row: [usize; SET + 1] = std::array::from_fn(|index| index);
        for (i, left) in a.chars().enumerate() {
            let mut corner = std::mem::replace(&mut row[0], i + 1);
            for (j, right) in b.chars().enumerate() {
                let replaced = corner + usize::from(left != right);
                corner = row[j + 1];
                row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
            }
        }
        Ok(count(row[b.chars().count()]))
    },
    ..TEXT
};

/// Refuses a text that grows too long in the other case: up to three times, outside ASCII.
fn cased<C: Iterator<Item = char>>(input: &str, of: fn(char) -> C) -> Result<(), Fault> {
    if input.is_ascii() || input.len() <= eval::RESULT / 3 {
        return Ok(());
    }
    eval::fits(input.chars().flat_map(of).map(char::len_utf8).sum())
}

pub(in crate::functions) const LOWER: Function = Function {
    name: "lower",
    aliases: &["lowercase"],
    signature: "lower(input)",
    params: &[required("input", Kind::Text)],
    summary: "The input in lower case, as Unicode has it; a number keeps its text.",
    examples: &[
        example("lower('ALIBABA')", "{}", r#""alibaba""#),
        example("lower(a)", r#"{"a":"ÄÖ"}"#, r#""äö""#),
        example("lower(a)", r#"{"a":1E5}"#, r#""1e5""#),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        cased(input, char::to_lowercase)?;
        Ok(Value::text(input.to_lowercase()))
    },
    ..TEXT
};

pub(in crate::functions) const REPEAT_TEXT: Function = Function {
    name: "repeat_text",
    signature: "repeat_text(input, count)",
    params: &[required("input", Kind::Text), required("count", Kind::Integer)],
    summary: "The input so many times in a row; empty for a count of 0 or less. (eKuiper's `repeat` \
              makes arrays.)",
    examples: &[
        example("repeat_text('ab', 3)", "{}", r#""ababab""#),
        example("repeat_text('温', n)", r#"{"n":-1}"#, r#""""#),
        missing("repeat_text('ab', 9999999999)", "{}"),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        let times =
            usize::try_from(integer(arguments, 1).unwrap_or(0).max(0)).unwrap_or(usize::MAX);
        eval::fits(input.len().saturating_mul(times))?;
        Ok(Value::text(if input.is_empty() { String::new() } else { input.repeat(times) }))
    },
    ..TEXT
};

/// The occurrences that `replace` can mean.
const WHICH: &[&str] = &["all", "leading", "trailing"];

pub(in crate::functions) const REPLACE: Function = Function {
    name: "replace",
    signature: "replace(source, substring, replacement[, which])",
    params: &[
        required("source", Kind::Text),
        required("substring", Kind::Text),
        required("replacement", Kind::Text),
        optional("which", Kind::Text),
    ],
    summary: "The source with occurrences of the substring replaced: 'all' (the default), the first \
              ('leading') or the last ('trailing'). An empty substring occurs nowhere.",
    examples: &[
        example("replace(field, 'a', '1')", r#"{"field":"banana"}"#, r#""b1n1n1""#),
        example("replace('a.b', '.', '')", "{}", r#""ab""#),
        example("replace('ab', '', 'x')", "{}", r#""ab""#),
        example("replace('a.b.c', '.', '/', 'leading')", "{}", r#""a/b.c""#),
        example("replace('a.b.c', '.', '/', 'trailing')", "{}", r#""a.b/c""#),
    ],
    prepare: |arguments| one_of(arguments, 3, WHICH).map(|()| Prepared::Nothing),
    eval: |arguments, _| {
        let (source, from, to) = (text(arguments, 0), text(arguments, 1), text(arguments, 2));
        let at = match word(arguments, 3, WHICH, "replace")? {
            "leading" => Some(source.find(from)),
            "trailing" => Some(source.rfind(from)),
            _ => None,
        };
        if from.is_empty() || at == Some(None) {
            return Ok(arguments.first().cloned().unwrap_or(Value::Missing));
        }
        let times = if at.is_none() { source.matches(from).count() } else { 1 };
        let length = (source.len() - times * from.len()).saturating_add(times * to.len());
        eval::fits(length)?;
        let mut out = String::with_capacity(length);
        if let Some(at) = at.flatten() {
            let (before, rest) = source.split_at(at);
            out.extend([before, to, rest.get(from.len()..).unwrap_or_default()]);
        } else {
            for (index, piece) in source.split(from).enumerate() {
                out.push_str(if index == 0 { "" } else { to });
                out.push_str(piece);
            }
        }
        Ok(Value::text(out))
    },
    ..TEXT
};

pub(in crate::functions) const REVERSE: Function = Function {
    name: "reverse",
    signature: "reverse(input)",
    params: &[required("input", Kind::Text)],
    summary: "The characters (code points) of the input in reverse order.",
    examples: &[
        example("reverse('abc')", "{}", r#""cba""#),
        example("reverse(a)", r#"{"a":"温度1"}"#, r#""1度温""#),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        let mut out = String::with_capacity(input.len());
        out.extend(input.chars().rev());
        Ok(Value::text(out))
    },
    ..TEXT
};

pub(in crate::functions) const STARTSWITH: Function = Function {
    name: "startswith",
    aliases: &["starts_with"],
    signature: "startswith(input, prefix)",
    params: &[required("input", Kind::Text), required("prefix", Kind::Text)],
    result: Kind::Boolean,
    summary: "Whether the input starts with the prefix.",
    examples: &[
        example("startswith(deviceName(), 'pump-')", "{}", "false"),
        example("startswith(a, '温')", r#"{"a":"温度"}"#, "true"),
        example("startswith(a, '4')", r#"{"a":42}"#, "true"),
    ],
    eval: |arguments, _| Ok(Value::Bool(text(arguments, 0).starts_with(text(arguments, 1)))),
    ..TEXT
};

pub(in crate::functions) const TRANSLATE: Function = Function {
    name: "translate",
    signature: "translate(input, from, to)",
    params: &[
        required("input", Kind::Text),
        required("from", Kind::Text),
        required("to", Kind::Text),
    ],
    summary: "The input with each character of `from` replaced by that at the same place of `to`; \
              those without a counterpart are removed. `from` has at most 256 characters.",
    examples: &[
        example("translate('12,5 kW', ',k', '.K')", "{}", r#""12.5 KW""#),
        example("translate('a-b_c', '-_', '')", "{}", r#""abc""#),
        example("translate(a, '温', 'T')", r#"{"a":"温度"}"#, r#""T度""#),
    ],
    eval: |arguments, site| {
        let (input, from, to) = (text(arguments, 0), text(arguments, 1), text(arguments, 2));
        small("`translate`: the second argument", from)?;
        if !input.is_ascii() {
            site.pay((input.len() * from.len()) as u64 * STEP)?;
        }
        // ASCII is looked up, everything else searched for; the first of equal characters counts.
        let mut ascii: [Option<Option<char>>; 128] = [None; 128];
        let mut targets = to.chars();
        for char in from.chars() {
            let target = targets.next();
            if let Some(entry) = ascii.get_mut(char as usize) {
                entry.get_or_insert(target);
            }
        }
        let mapped = |char: char| match ascii.get(char as usize) {
            Some(entry) => entry.unwrap_or(Some(char)),
            None => match from.chars().position(|other| other == char) {
                Some(at) => to.chars().nth(at),
                None => Some(char),
            },
        };
        let length = input.chars().filter_map(mapped).map(char::len_utf8).sum();
        eval::fits(length)?;
        let mut out = String::with_capacity(length);
        out.extend(input.chars().filter_map(mapped));
        Ok(Value::text(out))
    },
    ..TEXT
};

pub(in crate::functions) const UPPER: Function = Function {
    name: "upper",
    aliases: &["uppercase"],
    signature: "upper(input)",
    params: &[required("input", Kind::Text)],
    summary: "The input in upper case, as Unicode has it; a number keeps its text.",
    examples: &[
        example("upper('alibaba')", "{}", r#""ALIBABA""#),
        example("upper(a)", r#"{"a":1e5}"#, r#""1E5""#),
        example("upper(a)", r#"{"a":null}"#, "null"),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        cased(input, char::to_uppercase)?;
        Ok(Value::text(input.to_uppercase()))
    },
    ..TEXT
};
