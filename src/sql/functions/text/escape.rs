//! Functions that write text so that it passes through another syntax, and back; and single
//! characters by their code point.
//!
//! Encodings of bytes (base64, hexadecimal) are in `codec`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::eval;
use crate::expr::Const;
use crate::functions::text::string::{TEXT, count, integer, text};
use crate::functions::{
    Fault, Function, Kind, Prepared, Problem, example, missing, optional, required,
};
use crate::json;
use crate::value::Value;

/// The character with a code point; `None` for surrogates and what is beyond Unicode.
fn character(code: i64) -> Option<char> {
    u32::try_from(code).ok().and_then(char::from_u32)
}

pub(in crate::functions) const CHR: Function = Function {
    name: "chr",
    signature: "chr(code)",
    params: &[required("code", Kind::Integer)],
    summary: "The character with a code point, 0 to 1114111 without the surrogates.",
    examples: &[
        example("chr(65)", "{}", r#""A""#),
        example("chr(a)", r#"{"a":28201}"#, r#""温""#),
        example("chr('10')", "{}", r#""\n""#),
        missing("chr(a)", r#"{"a":55296}"#),
    ],
    prepare: |arguments| match arguments.first() {
        Some(Some(Const::Number(num, text)))
            if num.is_integer() && character(num.truncate()).is_none() =>
        {
            Err(Problem {
                message: format!("{text} is no code point of a character"),
                expected: "0 to 1114111 without 55296 to 57343".into(),
            })
        }
        _ => Ok(Prepared::Nothing),
    },
    eval: |arguments, _| {
        let code = integer(arguments, 0).unwrap_or(-1);
        character(code).map(|char| Value::text(char.to_string())).ok_or_else(|| {
            Fault::new("domain", format!("`chr`: {code} is no code point of a character"))
        })
    },
    ..TEXT
};

pub(in crate::functions) const CODEPOINT: Function = Function {
    name: "codepoint",
    aliases: &["ascii", "ord"],
    signature: "codepoint(input)",
    params: &[required("input", Kind::Text)],
    result: Kind::Integer,
    summary: "The code point of the first character of a text that is not empty.",
    examples: &[
        example("codepoint('A')", "{}", "65"),
        example("codepoint(a)", r#"{"a":"温度"}"#, "28201"),
        missing("codepoint('')", "{}"),
    ],
    eval: |arguments, _| match text(arguments, 0).chars().next() {
        Some(char) => Ok(count(char as usize)),
        None => Err(Fault::new("domain", "`codepoint` takes a text that is not empty")),
    },
    ..TEXT
};

/// What stands for a character in HTML and XML.
fn entity(char: char) -> Option<&'static str> {
    Some(match char {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '"' => "&quot;",
        '\'' => "&#39;",
        _ => return None,
    })
}

pub(in crate::functions) const ESCAPE_HTML: Function = Function {
    name: "escape_html",
    signature: "escape_html(input)",
    params: &[required("input", Kind::Text)],
    summary: "The input with `&`, `<`, `>` and both quotes written as HTML and XML need them.",
    examples: &[
        example(
            "escape_html(a)",
            r#"{"a":"t < 5 & \"on\""}"#,
            r#""t &lt; 5 &amp; &quot;on&quot;""#,
        ),
        example("escape_html('温''s')", "{}", r#""温&#39;s""#),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        let length = input.chars().map(|char| entity(char).map_or(char.len_utf8(), str::len)).sum();
        eval::fits(length)?;
        let mut out = String::with_capacity(length);
        for char in input.chars() {
            match entity(char) {
                Some(entity) => out.push_str(entity),
                None => out.push(char),
            }
        }
        Ok(Value::text(out))
    },
    ..TEXT
};

pub(in crate::functions) const ESCAPE_JSON: Function = Function {
    name: "escape_json",
    signature: "escape_json(input)",
    params: &[required("input", Kind::Text)],
    summary: "The input as it stands between the quotes of a JSON string: quotes, backslashes and \
              control characters are escaped.",
    examples: &[
        example("escape_json(a)", r#"{"a":"say \"hi\"\n"}"#, r#""say \\\"hi\\\"\\n""#),
        example("escape_json('温度')", "{}", r#""温度""#),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        // Two of them are quotes, which go again.
        let length = json::string_length(input);
        eval::fits(length - 2)?;
        let mut out = Vec::with_capacity(length);
        json::write_string(input, &mut out);
        out.pop();
        out.remove(0);
        Ok(Value::text(String::from_utf8(out).unwrap_or_default()))
    },
    ..TEXT
};

pub(in crate::functions) const QUOTE: Function = Function {
    name: "quote",
    signature: "quote(input[, mark])",
    params: &[required("input", Kind::Text), optional("mark", Kind::Text)],
    summary: "The input between quotation marks, those inside it doubled: a field of CSV, or with \
              `''''` as the mark a string of SQL.",
    examples: &[
        example("quote(a)", r#"{"a":"5\" pipe"}"#, r#""\"5\"\" pipe\"""#),
        example("quote('it''s', '''')", "{}", r#""'it''s'""#),
        missing("quote('a', '')", "{}"),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        let mark = if arguments.len() > 1 { text(arguments, 1) } else { "\"" };
        if mark.is_empty() {
            return Err(Fault::new("domain", "`quote` takes a mark that is not empty"));
        }
        let marks = input.matches(mark).count() + 2;
        let length = input.len().saturating_add(marks.saturating_mul(mark.len()));
        eval::fits(length)?;
        let mut out = String::with_capacity(length);
        out.push_str(mark);
        for (index, piece) in input.split(mark).enumerate() {
            if index > 0 {
                out.push_str(mark);
                out.push_str(mark);
            }
            out.push_str(piece);
        }
        out.push_str(mark);
        Ok(Value::text(out))
    },
    ..TEXT
};

pub(in crate::functions) const UNESCAPE: Function = Function {
    name: "unescape",
    signature: "unescape(input)",
    params: &[required("input", Kind::Text)],
    summary: "The input with backslash escapes resolved: `\\n \\t \\r \\b \\f \\v \\a`, a backslash, \
              quote, `?` or slash after a backslash, `\\uXXXX` and `\\xH…` with all hexadecimal \
              digits that follow. Other escapes are an error.",
    examples: &[
        example(r"unescape('a\tb')", "{}", r#""a\tb""#),
        example(r"unescape('\u6e29 \uD83D\uDE00 \x41')", "{}", r#""温 😀 A""#),
        missing(r"unescape('\q')", "{}"),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        // An escape is never shorter than what it stands for.
        let mut out = String::with_capacity(input.len());
        let mut rest = input;
        while let Some((before, after)) = rest.split_once('\\') {
            out.push_str(before);
            let (char, remaining) = escaped(after).ok_or_else(|| {
                let bad: String = after.chars().take(5).collect();
                Fault::new("domain", format!("`unescape`: `\\{bad}` is no escape that it knows"))
            })?;
            out.push(char);
            rest = remaining;
        }
        out.push_str(rest);
        Ok(Value::text(out))
    },
    ..TEXT
};

/// What stands behind a backslash, and the text behind that.
fn escaped(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    let char = match chars.next()? {
        'v' => '\u{b}',
        'a' => '\u{7}',
        same @ ('\'' | '?') => same,
        'x' => {
            let hex = chars.as_str();
            let end = hex.bytes().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(hex.len());
            let (digits, rest) = hex.split_at(end);
            let code = u32::from_str_radix(digits, 16).ok()?;
            return Some((char::from_u32(code)?, rest));
        }
        _ => return json::escaped(text),
    };
    Some((char, chars.as_str()))
}

/// All but the unreserved characters of RFC 3986 §2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(in crate::functions) const URL_DECODE: Function = Function {
    name: "url_decode",
    signature: "url_decode(input)",
    params: &[required("input", Kind::Text)],
    summary: "The input with `%XX` read as bytes of UTF-8 (RFC 3986). A `+` stays, and so does a `%` \
              that no two hexadecimal digits follow; bytes that are not UTF-8 are an error.",
    examples: &[
        example("url_decode('21%20%C2%B0C')", "{}", r#""21 °C""#),
        example("url_decode('a+b%2B 100%')", "{}", r#""a+b+ 100%""#),
        missing("url_decode('%FF')", "{}"),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        if !input.contains('%') {
            return Ok(arguments[0].clone());
        }
        let mut decoded = Vec::with_capacity(input.len());
        decoded.extend(percent_decode_str(input));
        match String::from_utf8(decoded) {
            Ok(decoded) => Ok(Value::text(decoded)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let message = format!("the decoded text is not UTF-8 at byte {at}");
                Err(Fault::new("encoding", message))
            }
        }
    },
    ..TEXT
};

pub(in crate::functions) const URL_ENCODE: Function = Function {
    name: "url_encode",
    signature: "url_encode(input)",
    params: &[required("input", Kind::Text)],
    summary: "The input as a part of a URL: everything but letters, digits and `-._~` as `%XX` of its \
              UTF-8 (RFC 3986), a space as `%20`.",
    examples: &[
        example("url_encode('21 °C')", "{}", r#""21%20%C2%B0C""#),
        example("url_encode('a/b?c=d-._~')", "{}", r#""a%2Fb%3Fc%3Dd-._~""#),
    ],
    eval: |arguments, _| {
        let input = text(arguments, 0);
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        let length = input.len() + 2 * input.bytes().filter(|byte| !plain(byte)).count();
        eval::fits(length)?;
        let mut out = String::with_capacity(length);
        out.extend(utf8_percent_encode(input, RESERVED));
        Ok(Value::text(out))
    },
    ..TEXT
};
