//! `${…}` in the settings of an action: the values of a record put into text.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::table::Cell;
use super::{Body, Record};

/// A text with `${path}` in it, parsed once. `$${` is a literal `${`.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Path(String),
}

/// Why a template can't be parsed or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A `${` without its `}`.
    #[error("`${{` at character {0} has no closing `}}`; write `$${{` for a literal `${{`")]
    Unclosed(usize),
    /// `${}`.
    #[error("`${{}}` at character {0} names no key of the SQL result")]
    Empty(usize),
    /// The record has no such key, or it is null, where a value is needed.
    #[error("`${{{0}}}` is missing or null in the SQL result")]
    Missing(String),
    /// A value would change the structure of the topic, key or path that it is put into.
    #[error("the value of `${{{path}}}` may not contain {found:?} here")]
    Unsafe {
        /// The key.
        path: String,
        /// The character.
        found: char,
    },
}

/// What a rendered value may not contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathGuard {
    /// Topics, keys, file and URL paths: no `/`, `+`, `#`, NUL or other controls.
    Segment,
    /// Headers and tags: no controls.
    Line,
    /// Bodies: anything.
    Free,
}

impl PathGuard {
    fn refuses(self, c: char) -> bool {
        match self {
            Self::Segment => matches!(c, '/' | '+' | '#') || c.is_control(),
            Self::Line => c.is_control(),
            Self::Free => false,
        }
    }
}

impl Template {
    /// Parses a text.
    ///
    /// # Errors
    /// [`TemplateError::Unclosed`] or [`TemplateError::Empty`] with the position in characters.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let at = || text.chars().count() - rest.chars().count() + before.chars().count();
            if let Some(before) = before.strip_suffix('$') {
                literal.push_str(before);
                literal.push_str("${");
                rest = after;
                continue;
            }
            let (path, after) =
                after.split_once('}').ok_or_else(|| TemplateError::Unclosed(at()))?;
            let path = path.trim();
            if path.is_empty() {
                return Err(TemplateError::Empty(at()));
            }
            literal.push_str(before);
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Path(path.to_owned()));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        parts.shrink_to_fit();
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text, when it holds no `${…}`.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The paths that the template names.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Path(path) => Some(path.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// Line and column, both from 1, of the first `${…}` that names `path`; columns are characters.
    #[must_use]
    pub fn place_of(&self, path: &str) -> Option<(usize, usize)> {
        let mut from = 0;
        loop {
            let at = from + self.text.get(from..)?.find("${")?;
            let inside = self.text.get(at + 2..)?;
            let (before, _) = self.text.split_at(at);
            let names = inside.split('}').next().is_some_and(|name| name.trim() == path);
            if names && !before.ends_with('$') {
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
                return Some((line, column));
            }
            from = at + 2;
        }
    }

    /// Puts the record's values in.
    ///
    /// # Errors
    /// [`TemplateError::Missing`] for a key that is missing or null, [`TemplateError::Unsafe`] for a
    /// value that the guard refuses. For that action the record is poison.
    pub fn render(&self, record: &Record, guard: PathGuard) -> Result<String, TemplateError> {
        self.render_with(record, guard, |text, out| out.push_str(text))
    }

    /// Like [`Template::render`], with each value passed through `encode` on its way into the text
    /// (percent-encoding, for example).
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render_with(
        &self,
        record: &Record,
        guard: PathGuard,
        encode: impl Fn(&str, &mut String),
    ) -> Result<String, TemplateError> {
        let mut out = String::with_capacity(self.text.len() + 16);
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Path(path) => {
                    let field = record
                        .get(path)
                        .filter(|field| !field.is_null())
                        .ok_or_else(|| TemplateError::Missing(path.clone()))?;
                    let text = field.text();
                    if let Some(found) = text.chars().find(|c| guard.refuses(*c)) {
                        return Err(TemplateError::Unsafe { path: path.clone(), found });
                    }
                    if text.is_empty() && guard == PathGuard::Segment {
                        return Err(TemplateError::Missing(path.clone()));
                    }
                    encode(&text, &mut out);
                }
            }
        }
        Ok(out)
    }

    /// Puts the record's values into a JSON text: each value as JSON, a missing one as `null`; inside
    /// a JSON string literal the text of the value, escaped.
    #[must_use]
    pub fn render_json(&self, record: &Record) -> String {
        let mut out = String::with_capacity(self.text.len() + 16);
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Path(path) => {
                    let field = record.get(path);
                    if inside_string(&out) {
                        let text = field.map(|f| f.text().into_owned()).unwrap_or_default();
                        let quoted = serde_json::Value::String(text).to_string();
                        out.push_str(
                            quoted.trim_start_matches('"').strip_suffix('"').unwrap_or(""),
                        );
                    } else {
                        out.push_str(field.map_or("null", |f| f.json()));
                    }
                }
            }
        }
        out
    }

    /// The value for a column: a template that is only `${x}` keeps the value's type (null when it is
    /// missing), any other is text in which a missing value is empty.
    #[must_use]
    pub fn value<'r>(&self, record: &'r Record) -> Cell<'r> {
        if let [Part::Path(path)] = self.parts.as_slice() {
            return record.get(path).map_or(Cell::Null, Cell::from);
        }
        let mut out = String::with_capacity(self.text.len() + 16);
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Path(path) => {
                    if let Some(field) = record.get(path).filter(|field| !field.is_null()) {
                        out.push_str(&field.text());
                    }
                }
            }
        }
        Cell::Text(out.into())
    }

    /// True when rendering needs a JSON record.
    #[must_use]
    pub fn fits(&self, body: Body) -> bool {
        body == Body::Json || self.literal().is_some()
    }
}

/// True when a JSON text ends within a string literal.
fn inside_string(json: &str) -> bool {
    let mut inside = false;
    let mut escaped = false;
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            _ => {}
        }
    }
    inside
}

/// A template that can't be rendered makes the record poison for its action.
impl From<TemplateError> for super::DeliveryError {
    fn from(error: TemplateError) -> Self {
        Self::new(super::FailureKind::Rejected, error.to_string())
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Template {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl schemars::JsonSchema for Template {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": super::spec::TEMPLATE_FORMAT,
            "description": "Text in which `${key}` and `${a.b}` stand for values of the SQL result."
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Message, Topic, TopicLimits};

    fn record(json: &'static str) -> Record {
        let topic = Topic::parse("t", TopicLimits::default()).expect("topic");
        let batch: Arc<[Message]> = vec![Message::new(topic, "", 0)].into();
        Record::new(batch, 0, "rule".into(), Body::Json, json.into())
    }

    fn template(text: &str) -> Template {
        Template::parse(text).expect("template")
    }

    #[test]
    fn values_are_put_in() {
        let record = record(r#"{"d":"dev1","a":{"b":1.10},"s":"x/y","q":"a\"b","n":null}"#);
        let render = |text: &str, guard| template(text).render(&record, guard);
        assert_eq!(render("/pk/${d}/${a.b}", PathGuard::Segment), Ok("/pk/dev1/1.10".into()));
        assert_eq!(render("$${d} $$ ${d}", PathGuard::Free), Ok("${d} $$ dev1".into()));
        assert_eq!(
            render("/${s}", PathGuard::Segment),
            Err(TemplateError::Unsafe { path: "s".into(), found: '/' })
        );
        assert_eq!(render("${n}", PathGuard::Free), Err(TemplateError::Missing("n".into())));
        assert_eq!(render("${x}", PathGuard::Free), Err(TemplateError::Missing("x".into())));
        assert_eq!(
            template(r#"{"v":${a},"t":"is ${q}","z":${x}}"#).render_json(&record),
            r#"{"v":{"b":1.10},"t":"is a\"b","z":null}"#
        );
        assert_eq!(template("${a}").value(&record), Cell::Object(r#"{"b":1.10}"#));
        assert_eq!(template("${a.b}").value(&record), Cell::Number("1.10"));
        assert_eq!(template("${x}").value(&record), Cell::Null);
        assert_eq!(template("t=${a.b}").value(&record), Cell::Text("t=1.10".into()));
    }

    #[test]
    fn names_are_found_again() {
        let found = template("温${a} $${b}\n ${ b }");
        assert_eq!(found.place_of("a"), Some((1, 2)));
        assert_eq!(found.place_of("b"), Some((2, 2)));
        assert_eq!(found.place_of("c"), None);
    }

    #[test]
    fn bad_templates_say_where() {
        assert_eq!(Template::parse("ab${c"), Err(TemplateError::Unclosed(2)));
        assert_eq!(Template::parse("温${ }"), Err(TemplateError::Empty(1)));
    }
}
