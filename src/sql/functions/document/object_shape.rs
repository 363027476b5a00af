//! Functions that change the shape of objects: merged, fewer keys, other keys, nested, flat.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::eval;
use crate::expr::Const;
use crate::functions::document::compose::{Map, Writer, raw, text};
use crate::functions::document::object::OBJECTS;
use crate::functions::{
    Fault, Function, Kind, Nulls, Prepared, Problem, example, missing, optional, required,
};
use crate::json;
use crate::pick::JSON_DEPTH;
use crate::value::Value;
use crate::work::Price;

pub(in crate::functions) const MERGE: Function = Function {
    name: "merge",
    aliases: &["object_concat", "map_merge"],
    signature: "merge(object, other, …)",
    params: &[required("object", Kind::Object), required("other", Kind::Object)],
    rest: Some(Kind::Object),
    nulls: Nulls::Own,
    summary: "The members of all objects in one; of equal keys the last wins, whole \
              (json_merge_patch() goes into nested objects). NULL and MISSING count as no members; \
              only when all are, the result is NULL or MISSING.",
    examples: &[
        example(
            "merge(a, object('src', 'gw1'))",
            r#"{"a":{"t":1,"src":0}}"#,
            r#"{"t":1,"src":"gw1"}"#,
        ),
        example(
            "merge(a, b, c)",
            r#"{"a":{"x":{"y":1}},"b":null,"c":{"x":{"z":2}}}"#,
            r#"{"x":{"z":2}}"#,
        ),
        example("merge(gone, a)", r#"{"a":{"x":1}}"#, r#"{"x":1}"#),
        missing("merge(gone, lost)", "{}"),
    ],
    eval: |arguments, _| {
        if arguments.iter().all(Value::is_null) {
            let null = arguments.contains(&Value::Null);
            return Ok(if null { Value::Null } else { Value::Missing });
        }
        let mut map = Map::new();
        let mut length = 0;
        for at in 0..arguments.len() {
            length += raw(arguments, at).len();
            map.extend(raw(arguments, at));
        }
        map.write(length)
    },
    ..OBJECTS
};

/// The keys that arguments name: texts, or arrays of texts.
fn named<'v>(function: &str, arguments: &'v [Value<'_>]) -> Result<Map<'v, ()>, Fault> {
    let mut keys = Map::new();
    for value in arguments.get(1..).unwrap_or_default() {
        match value {
            Value::Json(list) if list.starts_with('[') => {
                for raw in json::elements(list.as_bytes()) {
                    let key = Value::read(raw);
                    let Value::String(key) = key.to_text() else {
                        return Err(Fault::wrong_type(function, "STRINGs as keys", &key));
                    };
                    keys.put(key, ());
                }
            }
            _ => match value.as_text() {
                Some(key) => keys.put(key, ()),
                None => return Err(Fault::wrong_type(function, "keys or arrays of keys", value)),
            },
        }
    }
    Ok(keys)
}

pub(in crate::functions) const OBJECT_PICK: Function = Function {
    name: "object_pick",
    signature: "object_pick(object, key, …)",
    params: &[required("object", Kind::Object), required("key", Kind::Any)],
    rest: Some(Kind::Any),
    summary: "The object with the named keys alone, in its own order; an argument may be an array of \
              keys. Keys that it does not have are left out.",
    examples: &[
        example(
            "object_pick(a, 'temp', 'hum')",
            r#"{"a":{"hum":40,"v":1,"temp":21.50}}"#,
            r#"{"hum":40,"temp":21.50}"#,
        ),
        example("object_pick(a, k)", r#"{"a":{"x":1,"y":2},"k":["y","z"]}"#, r#"{"y":2}"#),
        missing("object_pick(a, b)", r#"{"a":{"x":1},"b":{}}"#),
    ],
    eval: |arguments, _| {
        let keys = named("object_pick", arguments)?;
        filtered(arguments, |key, _| keys.get(key).is_some())
    },
    ..OBJECTS
};

pub(in crate::functions) const OBJECT_REMOVE: Function = Function {
    name: "object_remove",
    aliases: &["erase"],
    signature: "object_remove(object, key, …)",
    params: &[required("object", Kind::Object), required("key", Kind::Any)],
    rest: Some(Kind::Any),
    summary: "The object without the named keys; an argument may be an array of keys.",
    examples: &[
        example("object_remove(a, 'secret')", r#"{"a":{"x":1,"secret":"s"}}"#, r#"{"x":1}"#),
        example("object_remove(a, array('x', 'z'), 'y')", r#"{"a":{"x":1,"y":2}}"#, "{}"),
    ],
    eval: |arguments, _| {
        let keys = named("object_remove", arguments)?;
        filtered(arguments, |key, _| keys.get(key).is_none())
    },
    ..OBJECTS
};

pub(in crate::functions) const OBJECT_COMPACT: Function = Function {
    name: "object_compact",
    signature: "object_compact(object)",
    summary: "The object without the keys that hold `null`.",
    examples: &[
        example(
            "object_compact(a)",
            r#"{"a":{"x":null,"y":0,"z":{"w":null}}}"#,
            r#"{"y":0,"z":{"w":null}}"#,
        ),
        example("object_compact(object('a', NULL))", "{}", "{}"),
    ],
    eval: |arguments, _| filtered(arguments, |_, value| value != b"null"),
    ..OBJECTS
};

/// The object of the first argument with the members that pass.
fn filtered<'a>(
    arguments: &[Value<'_>],
    passes: impl Fn(&str, &[u8]) -> bool,
) -> Result<Value<'a>, Fault> {
    let object = raw(arguments, 0);
    let mut out = Writer::object(object.len());
    for (key, value) in Map::read(object).iter().filter(|(key, value)| passes(key, value)) {
        out.member(key, value)?;
    }
    out.end_object()
}

pub(in crate::functions) const RENAME_KEYS: Function = Function {
    name: "rename_keys",
    signature: "rename_keys(object, old, new, …)",
    params: &[
        required("object", Kind::Object),
        required("old", Kind::Text),
        required("new", Kind::Text),
    ],
    rest: Some(Kind::Text),
    summary: "The object with other names for keys, given as pairs of the old and the new name. Keys \
              that it does not have are left out; of equal keys in the end the last wins.",
    examples: &[
        example(
            "rename_keys(a, 't', 'temperature')",
            r#"{"a":{"t":21.50,"h":40}}"#,
            r#"{"temperature":21.50,"h":40}"#,
        ),
        example("rename_keys(a, 'x', 'y', 'y', 'x')", r#"{"a":{"x":1,"y":2}}"#, r#"{"y":1,"x":2}"#),
    ],
    prepare: |arguments| {
        if arguments.len().is_multiple_of(2) {
            return Err(Problem {
                message: format!("{} names are no pairs", arguments.len() - 1),
                expected: "pairs of an old and a new name".into(),
            });
        }
        Ok(Prepared::Nothing)
    },
    eval: |arguments, _| {
        let mut names = Map::new();
        for at in (1..arguments.len()).step_by(2) {
            names.put(Cow::Borrowed(text(arguments, at)), text(arguments, at + 1));
        }
        let old = Map::read(raw(arguments, 0));
        let mut new = Map::new();
        for (key, value) in old.iter() {
            new.put(Cow::Borrowed(names.get(key).copied().unwrap_or(key)), *value);
        }
        new.write(raw(arguments, 0).len())
    },
    ..OBJECTS
};

/// The separator of `nest` and `flatten_object`.
fn separator<'v>(arguments: &'v [Value<'_>]) -> Result<&'v str, Fault> {
    match arguments.get(1) {
        Some(Value::String(text)) if text.is_empty() => {
            Err(Fault::new("domain", "the separator is empty, but takes at least one character"))
        }
        Some(Value::String(text)) => Ok(text),
        _ => Ok("."),
    }
}

/// Refuses an empty separator.
fn prepare_separator(arguments: &[Option<&Const>]) -> Result<Prepared, Problem> {
    match arguments.get(1) {
        Some(Some(Const::String(text))) if text.is_empty() => Err(Problem {
            message: "the separator is empty".into(),
            expected: "at least one character".into(),
        }),
        _ => Ok(Prepared::Nothing),
    }
}

pub(in crate::functions) const FLATTEN_OBJECT: Function = Function {
    name: "flatten_object",
    signature: "flatten_object(object[, separator])",
    params: &[required("object", Kind::Object), optional("separator", Kind::Text)],
    summary: "The object with the members of nested objects as its own, their keys joined with `.` \
              or the separator. Arrays and empty objects stay; nest() is the way back.",
    examples: &[
        example(
            "flatten_object(a, '_')",
            r#"{"a":{"pos":{"lat":39.90,"lon":116.38},"tags":[1],"e":{}}}"#,
            r#"{"pos_lat":39.90,"pos_lon":116.38,"tags":[1],"e":{}}"#,
        ),
        example("flatten_object(a)", r#"{"a":{"x":{"y":{"z":1}},"x.y.z":2}}"#, r#"{"x.y.z":2}"#),
    ],
    prepare: prepare_separator,
    eval: |arguments, _| {
        let object = raw(arguments, 0);
        let mut flat = Flat {
            separator: separator(arguments)?,
            map: Map::new(),
            name: String::new(),
            bytes: 0,
        };
        flat.add(object)?;
        flat.map.write(object.len())
    },
    price: Price::new(1_000, 400),
    ..OBJECTS
};

/// An object that is made flat.
struct Flat<'v> {
    separator: &'v str,
    map: Map<'v, &'v [u8]>,
    /// The joined keys of the object that is read.
    name: String,
    /// What the members need in the result: joined keys repeat what is above them.
    bytes: usize,
}

impl<'v> Flat<'v> {
    /// Adds the members of an object. As deep as the document.
    fn add(&mut self, object: &'v [u8]) -> Result<(), Fault> {
        let members: Map<'v, &'v [u8]> = Map::read(object);
        for (key, value) in members.iter() {
            let above = self.name.len();
            self.name.push_str(key);
            if json::members(value).next().is_some() {
                self.name.push_str(self.separator);
                eval::fits(self.name.len())?;
                self.add(value)?;
            } else {
                self.bytes += self.name.len() + value.len();
                eval::fits(self.bytes)?;
                self.map.put(Cow::Owned(self.name.clone()), value);
            }
            self.name.truncate(above);
        }
        Ok(())
    }
}

pub(in crate::functions) const NEST: Function = Function {
    name: "nest",
    signature: "nest(object[, separator])",
    params: &[required("object", Kind::Object), optional("separator", Kind::Text)],
    summary: "The object with keys such as `a.b` taken apart at `.` or the separator into nested \
              objects. Where two do not go together, the last wins.",
    examples: &[
        example(
            "nest(a)",
            r#"{"a":{"pos.lat":39.90,"pos.lon":116.38,"v":1}}"#,
            r#"{"pos":{"lat":39.90,"lon":116.38},"v":1}"#,
        ),
        example("nest(a, '_')", r#"{"a":{"x_y":1,"x":{"z":2}}}"#, r#"{"x":{"y":1,"z":2}}"#),
        example("nest(a)", r#"{"a":{"x":1,"x.y":2}}"#, r#"{"x":{"y":2}}"#),
    ],
    prepare: prepare_separator,
    eval: |arguments, _| {
        let object = raw(arguments, 0);
        let separator = separator(arguments)?;
        let members = Map::read(object);
        let nodes = vec![Node::Branch(0, Vec::new())];
        let mut tree = Tree { nodes, branches: 0, index: HashMap::default() };
        for (key, value) in members.iter() {
            tree.put(key, separator, value)?;
        }
        let mut out = Writer::new(object.len() * 2);
        tree.write(0, &mut out)?;
        out.finish()
    },
    price: Price::new(1_000, 400),
    ..OBJECTS
};

/// Nested objects that are put together. The first node is the root.
struct Tree<'v> {
    nodes: Vec<Node<'v>>,
    branches: usize,
    /// The child of a branch, by its number, with a key. One index for all: small ones are many.
    index: HashMap<(usize, Cow<'v, str>), usize, foldhash::fast::RandomState>,
}

enum Node<'v> {
    Leaf(&'v [u8]),
    /// A number that no branch had before, and the children in their order.
    Branch(usize, Vec<(Cow<'v, str>, usize)>),
}

impl<'v> Tree<'v> {
    /// Puts a value under a key that is taken apart.
    fn put(&mut self, key: &'v str, separator: &str, value: &'v [u8]) -> Result<(), Fault> {
        let mut at = 0;
        for (depth, part) in key.split(separator).enumerate() {
            if depth >= JSON_DEPTH as usize {
                let message = format!("a key has more than {JSON_DEPTH} parts");
                return Err(Fault::new("too_deep", message));
            }
            at = self.child(at, Cow::Borrowed(part));
        }
        // An object joins what is there already.
        if matches!(self.nodes.get(at), Some(Node::Branch(..))) && value.first() == Some(&b'{') {
            self.join(at, value);
        } else {
            self.set(at, Node::Leaf(value));
        }
        Ok(())
    }

    fn set(&mut self, at: usize, node: Node<'v>) {
        if let Some(place) = self.nodes.get_mut(at) {
            *place = node;
        }
    }

    /// Sets the members of an object below a branch.
    fn join(&mut self, at: usize, object: &'v [u8]) {
        for (key, value) in json::members(object) {
            let child = self.child(at, json::decode(key));
            self.set(child, Node::Leaf(value));
        }
    }

    /// The node of a key below a node, which becomes a branch.
    fn child(&mut self, at: usize, key: Cow<'v, str>) -> usize {
        if let Some(Node::Leaf(value)) = self.nodes.get(at) {
            let value = *value;
            self.branches += 1;
            self.set(at, Node::Branch(self.branches, Vec::new()));
            self.join(at, value);
        }
        let fresh = self.nodes.len();
        let Some(Node::Branch(number, children)) = self.nodes.get_mut(at) else { return fresh };
        let child = *self.index.entry((*number, key.clone())).or_insert(fresh);
        if child == fresh {
            children.push((key, fresh));
            self.nodes.push(Node::Leaf(b"null"));
        }
        child
    }

    /// Appends a node. As deep as keys have parts.
    fn write(&self, at: usize, out: &mut Writer) -> Result<(), Fault> {
        match self.nodes.get(at) {
            Some(Node::Branch(_, children)) => {
                out.open(b'{');
                for (key, child) in children {
                    out.key(key)?;
                    self.write(*child, out)?;
                }
                out.close(b'}');
                Ok(())
            }
            Some(Node::Leaf(value)) => out.raw(value),
            None => out.raw(b"null"),
        }
    }
}
