//! Functions of documents and of values that may be absent.

use std::borrow::Cow;

use crate::sql::eval;
use crate::sql::functions::{
    Depends, Fault, Function, Kind, NO_PREPARE, Nulls, example, missing, required,
};
use crate::sql::json;
use crate::sql::value::Value;

/// What all functions here share.
const JSON: Function = Function {
    name: "",
    aliases: &[],
    family: "documents",
    signature: "",
    params: &[],
    rest: None,
    result: Kind::Any,
    nulls: Nulls::Own,
    reads: &[],
    spreads: false,
    depends: Depends::Arguments,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

pub(in crate::sql::functions) const NANVL: Function = Function {
    name: "nanvl",
    aliases: &["ifnull", "nvl"],
    signature: "nanvl(value, default)",
    params: &[required("value", Kind::Any), required("default", Kind::Any)],
    summary: "The value, or the default when the value is NULL or MISSING.",
    examples: &[
        example("nanvl(a, 0)", r#"{"a":5}"#, "5"),
        example("nanvl(a, 0)", r#"{"a":null}"#, "0"),
        example("nanvl(a, 'none')", "{}", r#""none""#),
        missing("nanvl(a, b)", "{}"),
    ],
    eval: |arguments, _| match arguments {
        [value, default] => Ok(if value.is_null() { default.clone() } else { value.clone() }),
        _ => Ok(Value::Missing),
    },
    ..JSON
};

pub(in crate::sql::functions) const THING_PROPERTY_FLAT_MAP: Function = Function {
    name: "thingPropertyFlatMap",
    signature: "thingPropertyFlatMap([property, …])",
    rest: Some(Kind::Text),
    result: Kind::Object,
    reads: &["items"],
    spreads: true,
    depends: Depends::Message,
    summary: "The values of a property message, all or those that are named, as top-level keys; \
              the parts of a struct are joined with `_`. With an alias they form one object.",
    examples: &[
        example(
            "thingPropertyFlatMap()",
            r#"{"items":{"Power":{"value":"on","time":1},"Position":{"time":1,"value":{"latitude":39.90,"longitude":116.38}}}}"#,
            r#"{"Power":"on","Position_latitude":39.90,"Position_longitude":116.38}"#,
        ),
        example(
            "thingPropertyFlatMap('Power', 'Gone')",
            r#"{"items":{"Power":{"value":"on","time":1},"Speed":{"value":7,"time":1}}}"#,
            r#"{"Power":"on"}"#,
        ),
        missing("thingPropertyFlatMap()", r#"{"temperature":1}"#),
    ],
    eval: |arguments, _| {
        let [items, wanted @ ..] = arguments else { return Ok(Value::Missing) };
        let Value::Json(items) = items else { return Ok(Value::Missing) };
        let mut out = vec![b'{'];
        for (key, entry) in json::members(items.as_bytes()) {
            let name = json::decode(key);
            let asked = wanted.is_empty()
                || wanted.iter().any(|want| matches!(want, Value::String(want) if **want == *name));
            let value = json::members(entry).filter(|(key, _)| json::decode(key) == "value").last();
            if let (true, Some((_, value))) = (asked, value) {
                flatten(&name, value, &mut out)?;
            }
        }
        out.push(b'}');
        Ok(Value::Json(Cow::Owned(String::from_utf8(out).unwrap_or_default())))
    },
    ..JSON
};

/// Appends a value, or the parts of an object under joined names. As deep as the document.
fn flatten(name: &str, value: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    if value.first() == Some(&b'{') {
        for (key, part) in json::members(value) {
            flatten(&format!("{name}_{}", json::decode(key)), part, out)?;
        }
        return Ok(());
    }
    if out.len() > 1 {
        out.push(b',');
    }
    json::write_string(name, out);
    out.push(b':');
    out.extend_from_slice(value);
    eval::fits(out.len())
}
