//! Functions of documents and of values that may be absent.

use std::borrow::Cow;

use crate::eval;
use crate::functions::document::compose::{self, Map};
use crate::functions::{
    Depends, Fault, Function, Kind, NO_PREPARE, Nulls, example, missing, required,
};
use crate::json;
use crate::value::Value;
use crate::work::Price;

/// What all functions here share.
const JSON: Function = Function {
    name: "",
    aliases: &[],
    family: "documents",
    signature: "",
    price: Price::new(1_000, 220),
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

pub(in crate::functions) const NANVL: Function = Function {
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

pub(in crate::functions) const THING_PROPERTY_FLAT_MAP: Function = Function {
    name: "thingPropertyFlatMap",
    signature: "thingPropertyFlatMap([property, …])",
    rest: Some(Kind::Text),
    result: Kind::Object,
    reads: &["items"],
    spreads: true,
    depends: Depends::Message,
    summary: "The values of a property message, all or those that are named, as top-level keys; \
              the parts of a struct are joined with `_`; of equal keys the last wins. With an alias \
              they form one object.",
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
        let mut flat = Flat { map: Map::new(), bytes: 0 };
        for (key, entry) in json::members(items.as_bytes()) {
            let mut name = json::decode(key).into_owned();
            let asked = wanted.is_empty()
                || wanted.iter().any(|want| matches!(want, Value::String(want) if **want == *name));
            if let (true, Some(value)) = (asked, compose::member(entry, "value")) {
                flat.add(&mut name, value)?;
            }
        }
        flat.map.write(items.len())
    },
    ..JSON
};

/// The properties so far. Of equal names the last wins.
struct Flat<'v> {
    map: Map<'v, &'v [u8]>,
    /// What they need in the result: joined names repeat what is above them.
    bytes: usize,
}

impl<'v> Flat<'v> {
    /// Adds a value, or the parts of an object under joined names. As deep as the document; the name
    /// is written once, however many parts there are.
    fn add(&mut self, name: &mut String, value: &'v [u8]) -> Result<(), Fault> {
        if value.first() == Some(&b'{') {
            for (key, part) in json::members(value) {
                let above = name.len();
                name.push('_');
                name.push_str(&json::decode(key));
                self.add(name, part)?;
                name.truncate(above);
            }
            return Ok(());
        }
        self.bytes += name.len() + value.len();
        eval::fits(self.bytes)?;
        self.map.put(Cow::Owned(name.clone()), value);
        Ok(())
    }
}
