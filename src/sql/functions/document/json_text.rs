//! Functions of JSON as text, and of documents compared and patched.
//!
//! Not here: JSONPath (`json_path`).

use std::borrow::Cow;

use crate::eval;
use crate::functions::document::compose::{self, Map, Writer, owned, raw};
use crate::functions::document::sameness::same;
use crate::functions::{
    Depends, Fault, Function, Kind, NO_PREPARE, Nulls, example, missing, required,
};
use crate::pick;
use crate::value::Value;
use crate::work::Price;

/// What all functions of JSON share.
pub(in crate::functions) const JSON: Function = Function {
    name: "",
    aliases: &[],
    family: "JSON",
    signature: "",
    price: Price::new(1_000, 220),
    params: &[],
    rest: None,
    result: Kind::Any,
    nulls: Nulls::Propagate,
    reads: &[],
    spreads: false,
    depends: Depends::Arguments,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

/// The bytes of a text or of BINARY.
fn bytes<'v>(value: &'v Value<'_>) -> &'v [u8] {
    match value {
        Value::String(text) => text.as_bytes(),
        Value::Binary(bytes) => bytes,
        _ => &[],
    }
}

/// Holds text against RFC 8259, as payloads are.
pub(in crate::functions) fn valid(text: &[u8]) -> Result<(), Fault> {
    pick::validate(text).map_err(|invalid| {
        let message =
            format!("the text is not JSON at byte {}: {}", invalid.offset, invalid.reason);
        Fault::new("json", message)
    })
}

/// The bytes without white space around them: a value is told by its first byte.
pub(in crate::functions) fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\n' | b'\r'] = text {
        text = rest;
    }
    text
}

/// Valid JSON text without white space outside of strings.
fn compact(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let end = match byte {
            b'"' => compose::string(text, at),
            b' ' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            _ => at + 1,
        };
        out.extend_from_slice(text.get(at..end).unwrap_or_default());
        at = end;
    }
    String::from_utf8(out).unwrap_or_default()
}

pub(in crate::functions) const TO_JSON: Function = Function {
    name: "to_json",
    aliases: &["json_encode"],
    signature: "to_json(value)",
    params: &[required("value", Kind::Any)],
    result: Kind::Text,
    summary: "The value as JSON text without white space; a STRING gets quotes. NULL stays NULL.",
    examples: &[
        example("to_json(a)", r#"{"a":{"x": [1.50, "温 度"]}}"#, r#""{\"x\":[1.50,\"温 度\"]}""#),
        example("to_json(a)", r#"{"a":"x\ny"}"#, r#""\"x\\ny\"""#),
        example("to_json(a)", r#"{"a":18446744073709551615}"#, r#""18446744073709551615""#),
        example("to_json(a)", r#"{"a":null}"#, "null"),
    ],
    eval: |arguments, _| match arguments {
        [Value::Json(text), ..] => Ok(Value::text(compact(text.as_bytes()))),
        [Value::Binary(_), ..] => {
            let message = "bytes have no JSON form; to_base64() and to_hex() make text of them";
            Err(Fault::new("wrong_type", message))
        }
        [value, ..] => {
            let mut out = Vec::new();
            value.write(&mut out);
            eval::fits(out.len())?;
            Ok(Value::text(String::from_utf8(out).unwrap_or_default()))
        }
        [] => Ok(Value::Missing),
    },
    ..JSON
};

pub(in crate::functions) const PARSE_JSON: Function = Function {
    name: "parse_json",
    aliases: &["json_decode"],
    signature: "parse_json(text)",
    params: &[required("text", Kind::Bytes)],
    summary: "The value that JSON text, bytes or `*` hold, by the rules for payloads: RFC 8259, at \
              most 128 levels. Other text is an error that names the byte.",
    examples: &[
        example("parse_json(a)", r#"{"a":" {\"x\":[1,2]} "}"#, r#"{"x":[1,2]}"#),
        example("get(parse_json(a), 'x')", r#"{"a":"{\"x\":7}"}"#, "7"),
        example("parse_json('1.50')", "{}", "1.50"),
        example("parse_json('null')", "{}", "null"),
        missing("parse_json(a)", r#"{"a":"{x:1}"}"#),
    ],
    eval: |arguments, _| match arguments {
        [Value::String(Cow::Borrowed(text)), ..] => parsed(text.as_bytes()),
        [Value::Binary(Cow::Borrowed(bytes)), ..] => parsed(bytes),
        [value, ..] => {
            let text = bytes(value);
            valid(text)?;
            owned(trimmed(text))
        }
        [] => Ok(Value::Missing),
    },
    ..JSON
};

/// Reads JSON text.
pub(in crate::functions) fn parsed(text: &[u8]) -> Result<Value<'_>, Fault> {
    valid(text)?;
    Ok(Value::read(trimmed(text)))
}

pub(in crate::functions) const JSON_VALID: Function = Function {
    name: "json_valid",
    aliases: &["is_json"],
    signature: "json_valid(text)",
    params: &[required("text", Kind::Bytes)],
    result: Kind::Boolean,
    summary: "Whether parse_json() can read a text, bytes or `*`.",
    examples: &[
        example("json_valid('{\"a\":1}')", "{}", "true"),
        example("json_valid(a)", r#"{"a":"{a:1}"}"#, "false"),
        example("json_valid('01')", "{}", "false"),
    ],
    eval: |arguments, _| {
        Ok(arguments
            .first()
            .map_or(Value::Missing, |value| Value::Bool(pick::validate(bytes(value)).is_ok())))
    },
    ..JSON
};

pub(in crate::functions) const JSON_MINIFY: Function = Function {
    name: "json_minify",
    signature: "json_minify(text)",
    params: &[required("text", Kind::Bytes)],
    result: Kind::Text,
    summary: "JSON text without white space outside of strings; other text is an error.",
    examples: &[
        example(
            "json_minify(a)",
            r#"{"a":"{ \"x\" : [ 1, \"a b\" ] }"}"#,
            r#""{\"x\":[1,\"a b\"]}""#,
        ),
        missing("json_minify('{')", "{}"),
    ],
    eval: |arguments, _| {
        let text = arguments.first().map(bytes).unwrap_or_default();
        valid(text)?;
        Ok(Value::text(compact(text)))
    },
    ..JSON
};

pub(in crate::functions) const JSON_PRETTY: Function = Function {
    name: "json_pretty",
    signature: "json_pretty(value)",
    params: &[required("value", Kind::Any)],
    result: Kind::Text,
    summary: "The value as JSON text for people: one member or element in a line, two spaces deep \
              for each level.",
    examples: &[
        example(
            "json_pretty(a)",
            r#"{"a":{"x":[1,"b,c"],"y":{}}}"#,
            r#""{\n  \"x\": [\n    1,\n    \"b,c\"\n  ],\n  \"y\": {}\n}""#,
        ),
        example("json_pretty(a)", r#"{"a":[ ]}"#, r#""[]""#),
        example("json_pretty('x')", "{}", r#""\"x\"""#),
    ],
    eval: |arguments, site| match arguments {
        [Value::Json(text), ..] => pretty(text.as_bytes()),
        _ => (TO_JSON.eval)(arguments, site),
    },
    ..JSON
};

fn pretty<'a>(text: &[u8]) -> Result<Value<'a>, Fault> {
    let mut out = Vec::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut at = 0;
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.resize(out.len() + 2 * depth, b' ');
        eval::fits(out.len())
    };
    while let Some(&byte) = text.get(at) {
        let mut end = at + 1;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'"' => {
                end = compose::string(text, at);
                out.extend_from_slice(text.get(at..end).unwrap_or_default());
            }
            b'{' | b'[' => {
                out.push(byte);
                let inside = pick::space(text, end);
                match text.get(inside) {
                    Some(close @ (b'}' | b']')) => {
                        out.push(*close);
                        end = inside + 1;
                    }
                    _ => {
                        depth += 1;
                        line(&mut out, depth)?;
                    }
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth)?;
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth)?;
            }
            b':' => out.extend_from_slice(b": "),
            _ => out.push(byte),
        }
        at = end;
    }
    eval::fits(out.len())?;
    Ok(Value::text(String::from_utf8(out).unwrap_or_default()))
}

pub(in crate::functions) const JSON_EQUAL: Function = Function {
    name: "json_equal",
    signature: "json_equal(a, b)",
    params: &[required("a", Kind::Any), required("b", Kind::Any)],
    result: Kind::Boolean,
    nulls: Nulls::Own,
    summary: "Whether two values are the same: of one type and equal at every depth, so that `1` is \
              `1.0` but not `'1'`. NULL is the same as NULL, MISSING as MISSING.",
    examples: &[
        example("json_equal(a, b)", r#"{"a":{"x":1,"y":[]},"b":{"y":[],"x":1.0}}"#, "true"),
        example("json_equal(a, '1')", r#"{"a":1}"#, "false"),
        example("json_equal(a, NULL)", r#"{"a":null}"#, "true"),
        example("json_equal(a, NULL)", "{}", "false"),
    ],
    eval: |arguments, _| match arguments {
        [Value::Missing, b] | [b, Value::Missing] => Ok(Value::Bool(*b == Value::Missing)),
        [Value::Binary(a), Value::Binary(b)] => Ok(Value::Bool(a == b)),
        [Value::Binary(_), _] | [_, Value::Binary(_)] => Ok(Value::Bool(false)),
        [Value::Json(a), Value::Json(b)] => Ok(Value::Bool(same(a.as_bytes(), b.as_bytes()))),
        [Value::String(a), Value::String(b)] => Ok(Value::Bool(a == b)),
        [Value::Null, Value::Null] => Ok(Value::Bool(true)),
        [a, b] => {
            let equal = a.type_name() == b.type_name() && a.relate(b).equal() == Some(true);
            Ok(Value::Bool(equal))
        }
        _ => Ok(Value::Missing),
    },
    ..JSON
};

pub(in crate::functions) const CHANGED_KEYS: Function = Function {
    name: "changed_keys",
    signature: "changed_keys(old, new)",
    params: &[required("old", Kind::Object), required("new", Kind::Object)],
    result: Kind::Array,
    nulls: Nulls::Own,
    summary: "The keys whose values are not the same in both objects, or that only one has: first \
              those of the old one. NULL and MISSING count as no members; MISSING when both are.",
    examples: &[
        example(
            "changed_keys(reported, desired)",
            r#"{"reported":{"on":true,"t":21,"x":1},"desired":{"t":21.0,"on":false,"y":2}}"#,
            r#"["on","x","y"]"#,
        ),
        example("changed_keys(gone, a)", r#"{"a":{"x":1}}"#, r#"["x"]"#),
        missing("changed_keys(gone, lost)", "{}"),
    ],
    eval: |arguments, _| {
        if arguments.iter().all(Value::is_null) {
            return Ok(Value::Missing);
        }
        let (old, new) = (Map::read(raw(arguments, 0)), Map::read(raw(arguments, 1)));
        let mut out = Writer::array(raw(arguments, 0).len() + raw(arguments, 1).len());
        for (key, value) in old.iter() {
            if !new.get(key).is_some_and(|other| same(value, other)) {
                out.text(key)?;
            }
        }
        for (key, _) in new.iter().filter(|(key, _)| old.get(key).is_none()) {
            out.text(key)?;
        }
        out.end_array()
    },
    ..JSON
};

pub(in crate::functions) const JSON_MERGE_PATCH: Function = Function {
    name: "json_merge_patch",
    signature: "json_merge_patch(target, patch)",
    params: &[required("target", Kind::Any), required("patch", Kind::Any)],
    nulls: Nulls::Own,
    summary: "The target with a patch applied as RFC 7396 has it: members replace those of the \
              target at every depth, `null` removes them. A target that is no OBJECT counts as an \
              empty one; a MISSING patch changes nothing.",
    examples: &[
        example(
            "json_merge_patch(shadow, p)",
            r#"{"shadow":{"a":{"x":1,"y":2},"b":1},"p":{"a":{"y":null,"z":3}}}"#,
            r#"{"a":{"x":1,"z":3},"b":1}"#,
        ),
        example("json_merge_patch(a, b)", r#"{"a":{"x":1},"b":[1]}"#, "[1]"),
        example("json_merge_patch(gone, b)", r#"{"b":{"x":{"y":null}}}"#, r#"{"x":{}}"#),
        example("json_merge_patch(a, gone)", r#"{"a":{"x":1}}"#, r#"{"x":1}"#),
    ],
    eval: |arguments, _| match arguments {
        [target, Value::Missing] => Ok(target.clone()),
        [target, Value::Json(patch)] if patch.starts_with('{') => {
            let target = match target {
                Value::Json(text) => text.as_bytes(),
                _ => &[],
            };
            let mut out = Writer::new(target.len() + patch.len());
            merge(target, patch.as_bytes(), &mut out)?;
            out.finish()
        }
        [_, patch] => Ok(patch.clone()),
        _ => Ok(Value::Missing),
    },
    ..JSON
};

/// Appends a target with a patch that is an object. As deep as the patch.
fn merge(target: &[u8], patch: &[u8], out: &mut Writer) -> Result<(), Fault> {
    // What is no object has no members.
    let target = Map::read(target);
    let patch = Map::read(patch);
    let value = |key: &str, old: &[u8], new: &[u8], out: &mut Writer| {
        out.key(key)?;
        if new.first() == Some(&b'{') { merge(old, new, out) } else { out.raw(new) }
    };
    out.open(b'{');
    for (key, old) in target.iter() {
        match patch.get(key) {
            Some(new) if **new == *b"null" => {}
            Some(new) => value(key, old, new, out)?,
            None => out.member(key, old)?,
        }
    }
    for (key, new) in patch.iter() {
        if target.get(key).is_none() && **new != *b"null" {
            value(key, &[], new, out)?;
        }
    }
    out.close(b'}');
    Ok(())
}
