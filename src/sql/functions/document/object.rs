//! Functions that make objects, read them, and change single members. Where a document repeats a key,
//! the last one wins, in the place of the first.
//!
//! Not here: the shape of objects (`object_shape`), objects from arrays (`array_records`).

use std::borrow::Cow;

use crate::expr::Const;
use crate::functions::document::array::size;
use crate::functions::document::compose::{self, Map, Writer, absent, nth, part, raw, text};
use crate::functions::{
    Depends, Fault, Function, Kind, NO_PREPARE, Nulls, Prepare, Prepared, Problem, Site, example,
    missing, optional, required,
};
use crate::path::Step;
use crate::value::Value;
use crate::work::Price;

/// What all functions of objects share.
pub(in crate::functions) const OBJECTS: Function = Function {
    name: "",
    aliases: &[],
    family: "objects",
    signature: "",
    price: Price::new(1_000, 220),
    params: &[required("object", Kind::Object)],
    rest: None,
    result: Kind::Object,
    nulls: Nulls::Propagate,
    reads: &[],
    spreads: false,
    depends: Depends::Arguments,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

/// What a path leads to within what an alias stands for; not in the table of functions, because only
/// the name of an alias with a path behind it stands for it: `k.info`.
pub(crate) static PART: Function = Function {
    name: "part",
    params: &[required("value", Kind::Any)],
    result: Kind::Any,
    nulls: Nulls::Own,
    summary: "What a path leads to within a value.",
    eval: |arguments, site| match (arguments.first(), site.prepared()) {
        (Some(value), Prepared::Path(steps)) => part(value, |raw| compose::walk(raw, steps)),
        _ => Ok(Value::Missing),
    },
    ..OBJECTS
};

pub(in crate::functions) const OBJECT: Function = Function {
    name: "object",
    aliases: &["object_construct", "map_new"],
    signature: "object([key, value, …])",
    params: &[],
    rest: Some(Kind::Any),
    nulls: Nulls::Own,
    summary: "An object of keys and values in turn. A MISSING value leaves its key out, NULL is \
              `null`; the last of equal keys wins.",
    examples: &[
        example(
            "object('temp', temp, 'unit', 'C')",
            r#"{"temp":21.50}"#,
            r#"{"temp":21.50,"unit":"C"}"#,
        ),
        example("object('a', gone, 'b', NULL)", "{}", r#"{"b":null}"#),
        example("object()", "{}", "{}"),
        example("object(k, object('温', 1))", r#"{"k":7}"#, r#"{"7":{"温":1}}"#),
        missing("object(k, 1)", r#"{"k":[]}"#),
    ],
    prepare: |arguments| {
        let expected = "pairs of a key and a value: object('a', 1, 'b', 2)";
        if !arguments.len().is_multiple_of(2) {
            let message = format!("{} arguments are no pairs", arguments.len());
            return Err(Problem { message, expected: expected.into() });
        }
        if arguments.iter().step_by(2).any(|key| matches!(key, Some(Const::Null))) {
            return Err(Problem { message: "NULL is no key".into(), expected: expected.into() });
        }
        Ok(Prepared::Nothing)
    },
    eval: |arguments, _| {
        let mut map = Map::new();
        for pair in arguments.chunks_exact(2) {
            let [key, value] = pair else { continue };
            let key = key.as_text().ok_or_else(|| {
                let fault = Fault::wrong_type("object", "STRINGs as keys", key);
                let array = matches!(key, Value::Json(text) if text.starts_with('['));
                if array { fault.because("object_from_arrays() takes arrays") } else { fault }
            })?;
            if *value != Value::Missing {
                map.put(key, value);
            }
        }
        let mut out = Writer::object(arguments.len() * 8);
        for (key, value) in map.iter() {
            out.key(key)?;
            out.value(value)?;
        }
        out.end_object()
    },
    ..OBJECTS
};

pub(in crate::functions) const KEYS: Function = Function {
    name: "keys",
    aliases: &["map_keys", "object_keys"],
    signature: "keys(object)",
    result: Kind::Array,
    summary: "The keys of an object, in their order.",
    examples: &[
        example("keys(a)", r#"{"a":{"temp":1,"湿度":2}}"#, r#"["temp","湿度"]"#),
        example("keys(a)", r#"{"a":{"x":1,"y":2,"x":3}}"#, r#"["x","y"]"#),
        missing("keys(a)", r#"{"a":[1]}"#),
    ],
    eval: |arguments, _| {
        let mut out = Writer::array(raw(arguments, 0).len());
        Map::read(raw(arguments, 0)).iter().try_for_each(|(key, _)| out.text(key))?;
        out.end_array()
    },
    ..OBJECTS
};

pub(in crate::functions) const VALUES: Function = Function {
    name: "values",
    aliases: &["map_values", "object_values"],
    signature: "values(object)",
    result: Kind::Array,
    summary: "The values of an object, in the order of its keys.",
    examples: &[
        example("values(a)", r#"{"a":{"x":1.0,"y":null}}"#, "[1.0,null]"),
        example("array_avg(values(a))", r#"{"a":{"x":1,"y":2,"x":4}}"#, "3"),
    ],
    eval: |arguments, _| {
        let mut out = Writer::array(raw(arguments, 0).len());
        Map::read(raw(arguments, 0)).iter().try_for_each(|(_, value)| out.raw(value))?;
        out.end_array()
    },
    ..OBJECTS
};

pub(in crate::functions) const ENTRIES: Function = Function {
    name: "entries",
    aliases: &["map_to_entries", "obj_to_kvpair_array"],
    signature: "entries(object)",
    result: Kind::Array,
    summary: "The members of an object as an array of `{\"key\": …, \"value\": …}`; \
              object_from_entries() is the way back.",
    examples: &[
        example(
            "entries(a)",
            r#"{"a":{"x":1.0,"y":[]}}"#,
            r#"[{"key":"x","value":1.0},{"key":"y","value":[]}]"#,
        ),
        example("entries(a)", r#"{"a":{}}"#, "[]"),
        example("object_from_entries(entries(a))", r#"{"a":{"x":1,"y":2}}"#, r#"{"x":1,"y":2}"#),
    ],
    eval: |arguments, _| {
        let mut out = Writer::array(raw(arguments, 0).len() * 2);
        for (key, value) in Map::read(raw(arguments, 0)).iter() {
            out.open(b'{');
            out.key("key")?;
            out.text(key)?;
            out.member("value", value)?;
            out.close(b'}');
        }
        out.end_array()
    },
    ..OBJECTS
};

pub(in crate::functions) const ITEMS: Function = Function {
    name: "items",
    signature: "items(object)",
    result: Kind::Array,
    summary: "The members of an object as an array of `[key, value]`.",
    examples: &[
        example("items(a)", r#"{"a":{"x":1.0,"y":2}}"#, r#"[["x",1.0],["y",2]]"#),
        example("items(object())", "{}", "[]"),
    ],
    eval: |arguments, _| {
        let mut out = Writer::array(raw(arguments, 0).len() * 2);
        for (key, value) in Map::read(raw(arguments, 0)).iter() {
            out.open(b'[');
            out.text(key)?;
            out.raw(value)?;
            out.close(b']');
        }
        out.end_array()
    },
    ..OBJECTS
};

pub(in crate::functions) const OBJECT_SIZE: Function = Function {
    name: "object_size",
    aliases: &["map_size"],
    signature: "object_size(object)",
    result: Kind::Integer,
    summary: "The number of keys of an object.",
    examples: &[
        example("object_size(a)", r#"{"a":{"x":1,"y":{"z":2}}}"#, "2"),
        example("object_size(a)", r#"{"a":{"x":1,"x":2}}"#, "1"),
        example("object_size(a)", r#"{"a":null}"#, "null"),
    ],
    eval: |arguments, _| Ok(size(Map::read(raw(arguments, 0)).iter().count())),
    ..OBJECTS
};

/// Keeps the path that is the second argument.
const PATH: Prepare = |arguments| compose::prepare_path(arguments.get(1));

pub(in crate::functions) const HAS_KEY: Function = Function {
    name: "has_key",
    signature: "has_key(object, path)",
    params: &[required("object", Kind::Object), required("path", Kind::Text)],
    result: Kind::Boolean,
    summary: "Whether an object has something at a key or path, be it `null`.",
    examples: &[
        example("has_key(a, 'temp')", r#"{"a":{"temp":null}}"#, "true"),
        example("has_key(a, 'b.c[1]')", r#"{"a":{"b":{"c":[1]}}}"#, "false"),
        missing("has_key(a, 'x')", "{}"),
    ],
    prepare: PATH,
    eval: |arguments, site| {
        let key = text(arguments, 1);
        let steps = compose::steps(site, key)?;
        Ok(Value::Bool(compose::look(raw(arguments, 0), key, &steps).is_some()))
    },
    ..OBJECTS
};

pub(in crate::functions) const GET: Function = Function {
    name: "get",
    signature: "get(value, path[, default])",
    params: &[
        required("value", Kind::Any),
        required("path", Kind::Any),
        optional("default", Kind::Any),
    ],
    result: Kind::Any,
    nulls: Nulls::Own,
    summary: "What an OBJECT or ARRAY holds at a key, a path such as `a.b[0]`, or an index from 0; \
              of a STRING the character at an index. A key that is spelled like a path comes first. \
              The default when there is nothing or no value to look in.",
    examples: &[
        example("get(a, 'b.c[-1]')", r#"{"a":{"b":{"c":[1,2.50]}}}"#, "2.50"),
        example("get(a, k, 0)", r#"{"a":{"x":1},"k":"y"}"#, "0"),
        example("get(a, 'b.c')", r#"{"a":{"b":{"c":1},"b.c":2}}"#, "2"),
        example("get('温度', 1)", "{}", r#""度""#),
        example("get(a, 'x', 0)", r#"{"a":{"x":null}}"#, "null"),
        missing("get(a, 5)", r#"{"a":[1]}"#),
    ],
    prepare: PATH,
    eval: |arguments, site| {
        let [whole, at, rest @ ..] = arguments else { return Ok(Value::Missing) };
        if at.is_null() {
            return Ok(at.clone());
        }
        let found = if whole.is_null() { whole.clone() } else { find(whole, at, site)? };
        let nothing = found == Value::Missing || whole.is_null();
        Ok(rest.first().filter(|_| nothing).cloned().unwrap_or(found))
    },
    ..OBJECTS
};

/// What `get` finds; MISSING for nothing.
fn find<'a>(whole: &Value<'a>, at: &Value<'a>, site: &Site<'a>) -> Result<Value<'a>, Fault> {
    let index = || at.as_num().filter(|num| num.is_integer()).map(|num| num.truncate());
    let is_array = matches!(whole, Value::Json(text) if text.starts_with('['));
    match (whole, index(), at.as_text()) {
        (Value::Json(_), Some(index), _) if is_array => part(whole, |raw| nth(raw, index)),
        (Value::Json(_), _, Some(key)) => {
            let steps = compose::steps(site, &key)?;
            part(whole, |raw| compose::look(raw, &key, &steps))
        }
        (Value::String(text), Some(index), _) => {
            let place = compose::place(index, || text.chars().count());
            let found = place.and_then(|place| text.chars().nth(place));
            Ok(found.map_or(Value::Missing, |char| Value::text(char.to_string())))
        }
        (Value::Json(_) | Value::String(_), ..) => {
            Err(Fault::wrong_type("get", "a key, a path or an index", at))
        }
        _ => Err(Fault::wrong_type("get", "an OBJECT, an ARRAY or a STRING", whole)),
    }
}

pub(in crate::functions) const PUT: Function = Function {
    name: "put",
    signature: "put(value, path, new)",
    params: &[
        required("value", Kind::Any),
        required("path", Kind::Text),
        required("new", Kind::Any),
    ],
    result: Kind::Any,
    nulls: Nulls::Own,
    summary: "The OBJECT or ARRAY with a new value at a key or path such as `a.b[0]`; objects on the \
              way are made, an index that is the length appends. A MISSING value changes nothing.",
    examples: &[
        example("put(a, 'b.c', 1)", r#"{"a":{"x":0}}"#, r#"{"x":0,"b":{"c":1}}"#),
        example("put(a, '[1].v', 'new')", r#"{"a":[0,{"v":1,"w":2}]}"#, r#"[0,{"v":"new","w":2}]"#),
        example("put(a, 'l[1]', 2)", r#"{"a":{"l":[1]}}"#, r#"{"l":[1,2]}"#),
        example("put(a, 'b', gone)", r#"{"a":{"b":1}}"#, r#"{"b":1}"#),
        missing("put(a, 'b.c', 1)", r#"{"a":{"b":5}}"#),
    ],
    prepare: PATH,
    eval: |arguments, site| {
        let [whole, path, new] = arguments else { return Ok(Value::Missing) };
        if let Some(nothing) = absent(&arguments[..2]) {
            return Ok(nothing);
        }
        let (Value::Json(json), Value::String(key)) = (whole, path) else {
            return Err(Fault::wrong_type("put", "an OBJECT or ARRAY", whole));
        };
        if *new == Value::Missing {
            return Ok(whole.clone());
        }
        let steps = match compose::steps(site, key)? {
            steps if steps.len() == 1 || compose::member(json.as_bytes(), key).is_none() => steps,
            _ => Cow::Owned(vec![Step::Key(key.to_string())]),
        };
        if steps.is_empty() {
            return Ok(new.clone());
        }
        let mut out = Writer::new(json.len() + key.len() + 24);
        put(Some(json.as_bytes()), &steps, new, &mut out)?;
        out.finish()
    },
    ..OBJECTS
};

/// Appends a value with a new one at the end of the steps. There are at most as many steps as levels.
fn put(
    value: Option<&[u8]>,
    steps: &[Step],
    new: &Value<'_>,
    out: &mut Writer,
) -> Result<(), Fault> {
    let Some((step, rest)) = steps.split_first() else { return out.value(new) };
    let value = value.filter(|raw| *raw != b"null");
    match (step, value.and_then(|raw| raw.first())) {
        (Step::Key(key), None | Some(b'{')) => {
            out.open(b'{');
            let mut waiting = true;
            for (name, part) in Map::read(value.unwrap_or_default()).iter() {
                out.key(name)?;
                if name == key {
                    put(Some(part), rest, new, out)?;
                    waiting = false;
                } else {
                    out.raw(part)?;
                }
            }
            if waiting {
                out.key(key)?;
                put(None, rest, new, out)?;
            }
            out.close(b'}');
            Ok(())
        }
        (Step::Index(index), None | Some(b'[')) => {
            let array = value.unwrap_or_default();
            let length = compose::count(array);
            let Some(place) = compose::place(*index, || length).filter(|at| *at <= length) else {
                let message = format!("there is no index {index} in an array of {length} elements");
                return Err(Fault::new("domain", message));
            };
            out.open(b'[');
            for (at, part) in crate::json::elements(array).enumerate() {
                if at == place { put(Some(part), rest, new, out)? } else { out.raw(part)? }
            }
            if place == length {
                put(None, rest, new, out)?;
            }
            out.close(b']');
            Ok(())
        }
        (step, _) => {
            let wanted = if matches!(step, Step::Key(_)) { "an OBJECT" } else { "an ARRAY" };
            let there = value.map_or(Value::Null, Value::read);
            let fault = Fault::wrong_type("put", &format!("{wanted} on its path"), &there);
            Err(fault)
        }
    }
}
