//! Functions of arrays of objects: what each holds at a path, those that pass, groups, and the way to
//! and from one object.

use std::borrow::Cow;

use crate::eval;
use crate::expr::{Comparison, Const};
use crate::functions::document::array::ARRAYS;
use crate::functions::document::array_search::Sought;
use crate::functions::document::compose::{self, Map, Writer, elements, raw, text};
use crate::functions::document::sameness::whole;
use crate::functions::{Fault, Function, Kind, Problem, example, missing, required};
use crate::json;
use crate::value::{Number, Value};
use crate::work::Price;

pub(in crate::functions) const PLUCK: Function = Function {
    name: "pluck",
    signature: "pluck(array, path)",
    params: &[required("array", Kind::Array), required("path", Kind::Text)],
    summary: "What each element holds at a key or path such as `a.b[0]`; elements that hold nothing \
              there are left out.",
    examples: &[
        example(
            "pluck(sensors, 'temp')",
            r#"{"sensors":[{"temp":21.50},{"id":2},{"temp":null}]}"#,
            "[21.50,null]",
        ),
        example("pluck(a, 'v.x[-1]')", r#"{"a":[{"v":{"x":[1,2]}},{"v":{"x":[3]}}]}"#, "[2,3]"),
        example("array_max(pluck(a, 'v'))", r#"{"a":[{"v":3},{"v":8}]}"#, "8"),
        example("pluck(a, 'v')", r#"{"a":[]}"#, "[]"),
    ],
    prepare: |arguments| compose::prepare_path(arguments.get(1)),
    eval: |arguments, site| {
        let key = text(arguments, 1);
        let steps = compose::steps(site, key)?;
        let mut out = Writer::array(raw(arguments, 0).len());
        elements(arguments, 0)
            .filter_map(|element| compose::look(element, key, &steps))
            .try_for_each(|found| out.raw(found))?;
        out.end_array()
    },
    ..ARRAYS
};

/// The comparison of an operator.
fn comparison(operator: &str) -> Result<Comparison, Problem> {
    Ok(match operator {
        "=" | "==" => Comparison::Equal,
        "<>" | "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterEqual,
        _ => {
            return Err(Problem {
                message: format!("there is no operator '{operator}'"),
                expected: "'=', '<>', '<', '<=', '>' or '>='".into(),
            });
        }
    })
}

pub(in crate::functions) const ARRAY_FILTER: Function = Function {
    name: "array_filter",
    signature: "array_filter(array, path, operator, value)",
    params: &[
        required("array", Kind::Array),
        required("path", Kind::Text),
        required("operator", Kind::Text),
        required("value", Kind::Any),
    ],
    summary: "The elements for which what they hold at a key or path compares with the value: `=`, \
              `<>`, `<`, `<=`, `>` or `>=`, as in WHERE. The path `$` is the element itself.",
    examples: &[
        example(
            "array_filter(sensors, 'temp', '>', 30)",
            r#"{"sensors":[{"id":1,"temp":31},{"id":2,"temp":29.5},{"id":3}]}"#,
            r#"[{"id":1,"temp":31}]"#,
        ),
        example("array_filter(a, '$', '>=', 2)", r#"{"a":[1,2,"3",null,true]}"#, r#"[2,"3"]"#),
        example(
            "array_filter(a, 'k', '=', 'x')",
            r#"{"a":[{"k":"x"},{"k":"y"}]}"#,
            r#"[{"k":"x"}]"#,
        ),
        example("array_filter(a, 'k', '=', NULL)", r#"{"a":[{"k":null}]}"#, "null"),
    ],
    prepare: |arguments| {
        if let Some(Some(Const::String(operator))) = arguments.get(2) {
            comparison(operator)?;
        }
        compose::prepare_path(arguments.get(1))
    },
    eval: |arguments, site| {
        let key = text(arguments, 1);
        let steps = compose::steps(site, key)?;
        let operator =
            comparison(text(arguments, 2)).map_err(|problem| compose::fault("domain", &problem))?;
        let wanted = Sought::new(arguments, 3);
        let mut out = Writer::array(raw(arguments, 0).len());
        for element in elements(arguments, 0) {
            let Some(found) = compose::look(element, key, &steps) else { continue };
            if eval::compare(operator, wanted.relation(found)) == Some(true) {
                out.raw(element)?;
            }
        }
        out.end_array()
    },
    price: Price::new(1_000, 400),
    ..ARRAYS
};

pub(in crate::functions) const ARRAY_GROUP_BY: Function = Function {
    name: "array_group_by",
    signature: "array_group_by(array, path)",
    params: &[required("array", Kind::Array), required("path", Kind::Text)],
    result: Kind::Object,
    summary: "An object that holds, for each text, number or boolean that elements have at a key or \
              path, the array of these elements; other elements are left out.",
    examples: &[
        example(
            "array_group_by(a, 'room')",
            r#"{"a":[{"room":"k","v":1},{"room":"b","v":2},{"room":"k","v":3},{"v":4}]}"#,
            r#"{"k":[{"room":"k","v":1},{"room":"k","v":3}],"b":[{"room":"b","v":2}]}"#,
        ),
        example(
            "array_group_by(a, '$')",
            r#"{"a":[1,true,1.0]}"#,
            r#"{"1":[1,1.0],"true":[true]}"#,
        ),
    ],
    prepare: |arguments| compose::prepare_path(arguments.get(1)),
    eval: |arguments, site| {
        let key = text(arguments, 1);
        let steps = compose::steps(site, key)?;
        let mut groups: Map<'_, Vec<&[u8]>> = Map::new();
        for element in elements(arguments, 0) {
            let name = match compose::look(element, key, &steps).map(Value::read) {
                // By value: 1 and 1.0 are one group, and so are 0 and -0.0.
                Some(Value::Number(Number { num, text })) => match whole(num) {
                    Some(whole) => Cow::Owned(whole.to_string()),
                    None if num.as_f64().is_finite() => Cow::Owned(num.text()),
                    None => Cow::Borrowed(text.unwrap_or_default()),
                },
                Some(Value::String(text)) => text,
                Some(Value::Bool(value)) => Cow::Borrowed(if value { "true" } else { "false" }),
                _ => continue,
            };
            match groups.get_mut(&name) {
                Some(group) => group.push(element),
                None => groups.put(name, vec![element]),
            }
        }
        let mut out = Writer::object(raw(arguments, 0).len() * 2);
        for (name, group) in groups.iter() {
            out.key(name)?;
            out.open(b'[');
            group.iter().try_for_each(|element| out.raw(element))?;
            out.close(b']');
        }
        out.end_object()
    },
    price: Price::new(1_000, 400),
    ..ARRAYS
};

pub(in crate::functions) const OBJECT_FROM_ENTRIES: Function = Function {
    name: "object_from_entries",
    aliases: &["kvpair_array_to_obj", "array_to_object"],
    signature: "object_from_entries(array)",
    params: &[required("array", Kind::Array)],
    result: Kind::Object,
    summary: "An object of pairs, each written as `{\"key\": …, \"value\": …}` or as `[key, value]`. \
              The last of equal keys wins; an element that is no pair is an error.",
    examples: &[
        example(
            "object_from_entries(a)",
            r#"{"a":[{"key":"temp","value":21.50},{"key":"on","value":true}]}"#,
            r#"{"temp":21.50,"on":true}"#,
        ),
        example(
            "object_from_entries(a)",
            r#"{"a":[["a",1],["b",null],["a",2]]}"#,
            r#"{"a":2,"b":null}"#,
        ),
        missing("object_from_entries(a)", r#"{"a":[1]}"#),
    ],
    eval: |arguments, _| {
        let array = raw(arguments, 0);
        let mut map = Map::new();
        for element in json::elements(array) {
            let (key, value) = pair(element).ok_or_else(|| {
                let message = "an element is neither {\"key\": …, \"value\": …} nor [key, value]";
                Fault::new("wrong_type", message)
            })?;
            map.put(key, value);
        }
        map.write(array.len())
    },
    ..ARRAYS
};

/// The key and value of an element of a list of pairs.
fn pair(element: &[u8]) -> Option<(Cow<'_, str>, &[u8])> {
    let (key, value) = if element.first() == Some(&b'[') {
        let mut parts = json::elements(element);
        let pair = (parts.next()?, parts.next()?);
        parts.next().is_none().then_some(pair)?
    } else {
        (compose::member(element, "key")?, compose::member(element, "value")?)
    };
    Some((name(key)?, value))
}

/// A key: text, or the text of a number or boolean.
fn name(raw: &[u8]) -> Option<Cow<'_, str>> {
    match Value::read(raw).to_text() {
        Value::String(text) => Some(text),
        _ => None,
    }
}

pub(in crate::functions) const OBJECT_FROM_ARRAYS: Function = Function {
    name: "object_from_arrays",
    signature: "object_from_arrays(keys, values)",
    params: &[required("keys", Kind::Array), required("values", Kind::Array)],
    result: Kind::Object,
    summary: "An object of an array of keys and an array of as many values. The last of equal keys \
              wins.",
    examples: &[
        example(
            "object_from_arrays(k, v)",
            r#"{"k":["temp","hum"],"v":[21.50,40]}"#,
            r#"{"temp":21.50,"hum":40}"#,
        ),
        example("object_from_arrays(array(), array())", "{}", "{}"),
        missing("object_from_arrays(a, b)", r#"{"a":["x"],"b":[1,2]}"#),
    ],
    eval: |arguments, _| {
        let (mut keys, mut values) = (elements(arguments, 0), elements(arguments, 1));
        let mut map = Map::new();
        loop {
            match (keys.next(), values.next()) {
                (None, None) => break,
                (Some(key), Some(value)) => {
                    let key = name(key).ok_or_else(|| {
                        let key = Value::read(key);
                        Fault::wrong_type("object_from_arrays", "STRINGs as keys", &key)
                    })?;
                    map.put(key, value);
                }
                (Some(_), None) | (None, Some(_)) => {
                    let message = format!(
                        "there are {} keys, but {} values",
                        compose::count(raw(arguments, 0)),
                        compose::count(raw(arguments, 1)),
                    );
                    return Err(Fault::new("domain", message));
                }
            }
        }
        map.write(raw(arguments, 0).len() + raw(arguments, 1).len())
    },
    ..ARRAYS
};
