//! Functions of JSONPath, within the limits for a JSONPath in double quotes.

use std::borrow::Cow;

use contract::tree;

use crate::eval;
use crate::expr::Const;
use crate::functions::document::compose::{self, Writer, owned, part, walk};
use crate::functions::document::json_text::{JSON, parsed, trimmed, valid};
use crate::functions::{
    Fault, Function, Kind, Prepare, Prepared, Problem, Site, example, missing, required,
};
use crate::json_path::JsonPath;
use crate::path::{self, Quoted, Step};
use crate::value::Value;
use crate::work::TREE;

/// What a path in an argument names.
enum Way<'s> {
    One(Cow<'s, [Step]>),
    Many(Cow<'s, JsonPath>),
}

/// Reads a JSONPath, within the limits for those in double quotes.
fn read_path(text: &str) -> Result<Prepared, Problem> {
    let expected = || "a JSONPath such as '$.a[*].b' or '$.a[?(@.b > 1)]'".to_owned();
    if !text.starts_with('$') {
        let message = format!("'{text}' does not start with `$`");
        return Err(Problem { message, expected: expected() });
    }
    match path::quoted(text) {
        Ok(Quoted::Path(steps)) => Ok(Prepared::Path(steps.into())),
        Ok(Quoted::JsonPath(path)) => Ok(Prepared::JsonPath(path)),
        Ok(Quoted::Wrapped(_)) => {
            Err(Problem { message: format!("`{text}` is no JSONPath"), expected: expected() })
        }
        Err((message, _)) => Err(Problem { message, expected: expected() }),
    }
}

/// Keeps a path that is a constant.
const WAY: Prepare = |arguments| match arguments.get(1) {
    Some(Some(Const::String(text))) => read_path(text),
    _ => Ok(Prepared::Nothing),
};

fn way<'s>(site: &'s Site<'_>, text: &str) -> Result<Way<'s>, Fault> {
    match site.prepared() {
        Prepared::Path(steps) => return Ok(Way::One(Cow::Borrowed(steps))),
        Prepared::JsonPath(query) => return Ok(Way::Many(Cow::Borrowed(&**query))),
        _ => {}
    }
    match read_path(text).map_err(|problem| compose::fault("json_path", &problem))? {
        Prepared::Path(steps) => Ok(Way::One(Cow::Owned(steps.into_vec()))),
        Prepared::JsonPath(query) => Ok(Way::Many(Cow::Owned(*query))),
        _ => Err(Fault::new("json_path", "this is no JSONPath")),
    }
}

/// The document that is looked into: text is read as JSON.
fn document<'a>(function: &str, arguments: &[Value<'a>]) -> Result<Value<'a>, Fault> {
    match arguments.first() {
        Some(Value::Json(text)) => Ok(Value::Json(text.clone())),
        Some(Value::String(Cow::Borrowed(text))) => parsed(text.as_bytes()),
        Some(Value::String(text)) => {
            valid(text.as_bytes())?;
            owned(trimmed(text.as_bytes()))
        }
        Some(other) => Err(Fault::wrong_type(function, "an OBJECT, an ARRAY or JSON text", other)),
        None => Ok(Value::Missing),
    }
}

/// What a query makes of its matches.
type Take<'a> = fn(&mut dyn Iterator<Item = &serde_json::Value>) -> Result<Value<'a>, Fault>;

/// Runs a JSONPath with more than plain steps over a document.
fn run<'a>(
    document: &Value<'_>,
    path: &JsonPath,
    site: &Site<'_>,
    take: Take<'a>,
) -> Result<Value<'a>, Fault> {
    let Value::Json(text) = document else { return take(&mut std::iter::empty()) };
    site.pay(text.len() as u64 * TREE)?;
    let document =
        tree(text.as_bytes()).map_err(|error| Fault::new("json_path", error.to_string()))?;
    path.pay(&document, text.len(), &site.work)?;
    take(&mut path.find(&document)?.into_iter())
}

/// What plain steps lead to; no step is the document itself.
fn reach<'a>(document: &Value<'a>, steps: &[Step]) -> Result<Value<'a>, Fault> {
    if steps.is_empty() { Ok(document.clone()) } else { part(document, |raw| walk(raw, steps)) }
}

/// What the three functions of JSONPath share.
const PATHS: Function = Function {
    params: &[required("value", Kind::Any), required("path", Kind::Text)],
    prepare: WAY,
    ..JSON
};

pub(in crate::functions) const JSON_PATH_QUERY: Function = Function {
    name: "json_path_query",
    signature: "json_path_query(value, path)",
    result: Kind::Array,
    summary: "The array of what a JSONPath finds in an OBJECT, an ARRAY or JSON text; MISSING when \
              it finds nothing. The limits are those of a JSONPath in double quotes.",
    examples: &[
        example(
            "json_path_query(a, '$.s[?(@.t > 30)].id')",
            r#"{"a":{"s":[{"id":1,"t":31},{"id":2,"t":3}]}}"#,
            "[1]",
        ),
        example("json_path_query(a, '$.x[0:2]')", r#"{"a":"{\"x\":[1,2,3]}"}"#, "[1,2]"),
        example("json_path_query(a, '$.x')", r#"{"a":{"x":1.50}}"#, "[1.50]"),
        missing("json_path_query(a, '$.y[*]')", r#"{"a":{"x":1}}"#),
    ],
    eval: |arguments, site| {
        let document = document("json_path_query", arguments)?;
        match way(site, compose::text(arguments, 1))? {
            Way::One(steps) => match reach(&document, &steps)? {
                Value::Missing => Ok(Value::Missing),
                found => {
                    let mut out = Writer::array(32);
                    out.value(&found)?;
                    out.end_array()
                }
            },
            Way::Many(query) => run(&document, &query, site, |found| {
                let mut found = found.peekable();
                if found.peek().is_none() { Ok(Value::Missing) } else { eval::matches(found) }
            }),
        }
    },
    ..PATHS
};

pub(in crate::functions) const JSON_PATH_QUERY_FIRST: Function = Function {
    name: "json_path_query_first",
    signature: "json_path_query_first(value, path)",
    summary: "The first value that a JSONPath finds in an OBJECT, an ARRAY or JSON text; MISSING \
              when it finds nothing.",
    examples: &[
        example("json_path_query_first(a, '$..t')", r#"{"a":{"s":[{"t":31},{"t":3}]}}"#, "31"),
        example("json_path_query_first(a, '$.x[-1]')", r#"{"a":{"x":[1,2.50]}}"#, "2.50"),
        missing("json_path_query_first(a, '$.y')", r#"{"a":{"x":1}}"#),
    ],
    eval: |arguments, site| {
        let document = document("json_path_query_first", arguments)?;
        match way(site, compose::text(arguments, 1))? {
            Way::One(steps) => reach(&document, &steps),
            Way::Many(query) => run(&document, &query, site, |found| match found.next() {
                Some(value) => {
                    let mut out = Vec::new();
                    // Writing to a Vec cannot fail.
                    serde_json::to_writer(&mut out, value).ok();
                    eval::fits(out.len())?;
                    owned(&out)
                }
                None => Ok(Value::Missing),
            }),
        }
    },
    ..PATHS
};

pub(in crate::functions) const JSON_PATH_EXISTS: Function = Function {
    name: "json_path_exists",
    signature: "json_path_exists(value, path)",
    result: Kind::Boolean,
    summary: "Whether a JSONPath finds something in an OBJECT, an ARRAY or JSON text, be it `null`.",
    examples: &[
        example("json_path_exists(a, '$.s[?(@.t > 30)]')", r#"{"a":{"s":[{"t":31}]}}"#, "true"),
        example("json_path_exists(a, '$.x.y')", r#"{"a":{"x":{"y":null}}}"#, "true"),
        example("json_path_exists(a, '$..z')", r#"{"a":{"x":1}}"#, "false"),
    ],
    eval: |arguments, site| {
        let document = document("json_path_exists", arguments)?;
        match way(site, compose::text(arguments, 1))? {
            Way::One(steps) => Ok(Value::Bool(reach(&document, &steps)? != Value::Missing)),
            Way::Many(query) => {
                run(&document, &query, site, |found| Ok(Value::Bool(found.next().is_some())))
            }
        }
    },
    ..PATHS
};
