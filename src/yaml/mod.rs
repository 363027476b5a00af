//! YAML 1.2 with positions: the text of a file as a JSON value, and where each part of it stands.
//!
//! Built on the event stream, so that depth is bounded by a counter and not by the stack, and so that
//! `on`, `off`, `yes` and `no` are text: devices send `"Power": on`. Knows nothing of rules.

pub mod edit;
pub mod problem;
mod text;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use contract::misfit;
use saphyr::{Scalar, ScalarStyle};
use saphyr_parser::{Event, Parser, Span};
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use crate::problem::{Position, Problem, unknown_key};
use text::Written;

/// The largest file that is read, in bytes.
pub const FILE_MAX: usize = 4 << 20;
/// The deepest nesting of maps and lists.
const DEPTH_MAX: usize = 64;

/// A parsed file.
#[derive(Debug)]
pub struct Document {
    file: PathBuf,
    text: String,
    value: Value,
    /// Of the outermost levels only.
    places: Places,
    /// Of everything: found by reading the text again, when something is wrong.
    all_places: OnceCell<Places>,
}

/// Where things stand, by path.
#[derive(Debug, Default)]
struct Places {
    values: HashMap<String, Place>,
    /// Where the key of a value stands, for those in maps.
    keys: HashMap<String, Position>,
}

/// Where a value stands and, for text, how it is written.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: Position,
    text: Option<Written>,
}

impl Document {
    /// Parses the text of a file that holds one YAML document; an empty one is null.
    ///
    /// # Errors
    /// A [`Problem`] at the place where the text is no YAML, uses an alias, repeats a key, or is
    /// nested more than 64 levels deep.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Problem> {
        let start = Position { line: 1, column: 1 };
        if text.len() > FILE_MAX {
            let message = format!("the file has {} bytes, at most {FILE_MAX} are read", text.len());
            return Err(Problem::new(message).in_file(file, start));
        }
        let (value, places) = Builder::new(file, text, OUTERMOST).run()?;
        Ok(Self {
            file: file.to_owned(),
            text: text.to_owned(),
            value,
            places,
            all_places: OnceCell::new(),
        })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The whole as a value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Takes the value out; places are still known.
    pub fn take(&mut self) -> Value {
        std::mem::take(&mut self.value)
    }

    /// Replaces `${env:NAME}` in every string by the variable, which `lookup` finds. `$${env:` is left
    /// alone.
    ///
    /// # Errors
    /// A [`Problem`] at the first string that names a variable which is not set.
    pub fn substitute(&mut self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(), Problem> {
        let mut value = std::mem::take(&mut self.value);
        let result = self.substitute_in(&mut value, "", lookup);
        self.value = value;
        result.map_err(|mut problems| problems.swap_remove(0))
    }

    /// The same for a part that was taken out of the document; `place` is its path.
    ///
    /// # Errors
    /// All strings that name variables which are not set, one at least.
    pub fn substitute_in(
        &self,
        value: &mut Value,
        place: &str,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut wrong = |path: &str, message| problems.push(self.problem(path, message));
        substitute(value, &mut place.to_owned(), lookup, &mut wrong);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The value as a type.
    ///
    /// # Errors
    /// A [`Problem`] at the part that does not fit.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let empty = Value::Object(Map::new());
        let value = if self.value.is_null() { &empty } else { &self.value };
        serde_path_to_error::deserialize(value)
            .map_err(|error| self.mismatch(&error.path().to_string(), &misfit(value, &error)))
    }

    /// A finding at a path such as `rules[0].sql`, or at the nearest part above it that exists.
    pub fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        Problem::new(message).in_file(&self.file, self.position(path))
    }

    /// A finding that serde reported at a path; a field that it names is pointed to.
    #[must_use]
    pub fn mismatch(&self, path: &str, message: &str) -> Problem {
        let path = if path == "." { "" } else { path };
        let Some((problem, field)) = unknown_key(message) else {
            return self.problem(path, message.to_owned());
        };
        // The path may name the unknown field already.
        let above = path.strip_suffix(&*field).and_then(|rest| rest.strip_suffix('.'));
        let at = join(above.unwrap_or(if path == field { "" } else { path }), &field);
        problem.in_file(&self.file, self.position_of_key(&at))
    }

    /// Where the key of the value at a path stands; the value's place when it has no key.
    #[must_use]
    pub fn position_of_key(&self, path: &str) -> Position {
        self.all_places().keys.get(path).copied().unwrap_or_else(|| self.position(path))
    }

    /// Where the value at a path stands.
    #[must_use]
    pub fn position(&self, path: &str) -> Position {
        self.place(path).at
    }

    /// Turns a position within the text at `path` (line and column from 1) into one of the file; the
    /// start of the value when it is no text.
    #[must_use]
    pub fn position_in_text(&self, path: &str, inside: Position) -> Position {
        let place = self.place(path);
        place.text.map_or(place.at, |written| written.locate(&self.text, inside))
    }

    fn all_places(&self) -> &Places {
        self.all_places.get_or_init(|| {
            // The text was read before, so it can be read again.
            let read = Builder::new(&self.file, &self.text, DEPTH_MAX).run();
            read.map(|(_, places)| places).unwrap_or_default()
        })
    }

    fn place(&self, path: &str) -> Place {
        if let Some(place) = self.places.values.get(path) {
            return *place;
        }
        let places = self.all_places();
        let mut path = path;
        loop {
            if let Some(place) = places.values.get(path) {
                return *place;
            }
            match path.rfind(['.', '[']) {
                Some(at) => path = path.split_at(at).0,
                None if path.is_empty() => {
                    return Place { at: Position { line: 1, column: 1 }, text: None };
                }
                None => path = "",
            }
        }
    }
}

/// Levels whose places are always kept: the document, its keys, and the items of its lists.
const OUTERMOST: usize = 2;

/// The path of a key below a path.
#[must_use]
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn substitute(
    value: &mut Value,
    path: &mut String,
    lookup: &dyn Fn(&str) -> Option<String>,
    wrong: &mut dyn FnMut(&str, String),
) {
    let length = path.len();
    match value {
        Value::String(text) if text.contains("${env:") => match expand(text, lookup) {
            Ok(expanded) => *text = expanded,
            Err(message) => wrong(path, message),
        },
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                write!(path, "[{index}]").ok();
                substitute(item, path, lookup, wrong);
                path.truncate(length);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                *path = join(path, key);
                substitute(item, path, lookup, wrong);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${env:") {
        out.push_str(before);
        if before.ends_with('$') {
            out.push_str("${env:");
            rest = after;
            continue;
        }
        let (name, after) =
            after.split_once('}').ok_or_else(|| "`${env:` has no closing `}`".to_owned())?;
        let value =
            lookup(name).ok_or_else(|| format!("the environment variable `{name}` is not set"))?;
        out.push_str(&value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Turns the event stream into a value; the stack of open maps and lists is a `Vec`.
struct Builder<'a> {
    file: &'a Path,
    text: &'a str,
    lines: Vec<&'a str>,
    root: Value,
    places: Places,
    /// The deepest level whose places are kept.
    place_levels: usize,
    open: Vec<Open>,
    documents: usize,
}

struct Open {
    path: String,
    items: Items,
}

enum Items {
    List(Vec<Value>),
    Map(Map<String, Value>, Option<(String, Position)>),
}

impl<'a> Builder<'a> {
    fn new(file: &'a Path, text: &'a str, place_levels: usize) -> Self {
        Self {
            file,
            lines: text.lines().collect(),
            root: Value::Null,
            places: Places::default(),
            place_levels,
            open: Vec::new(),
            documents: 0,
            text,
        }
    }

    fn run(mut self) -> Result<(Value, Places), Problem> {
        for event in Parser::new_from_str(self.text) {
            let (event, span) = event.map_err(|error| {
                let mark = error.marker();
                let at = Position { line: mark.line(), column: mark.col() + 1 };
                self.problem(at, format!("not valid YAML: {}", error.info()))
            })?;
            self.event(event, span)?;
        }
        Ok((self.root, self.places))
    }

    fn keeps_places(&self) -> bool {
        self.open.len() <= self.place_levels
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let at = Position { line: span.start.line(), column: span.start.col() + 1 };
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(self.problem(at, "only one YAML document per file is read"));
                }
            }
            Event::SequenceStart(..) => self.start(at, Items::List(Vec::new()))?,
            Event::MappingStart(..) => self.start(at, Items::Map(Map::new(), None))?,
            Event::SequenceEnd | Event::MappingEnd => {
                let done = self.open.pop().expect("invariant: ends pair with starts");
                let value = match done.items {
                    Items::List(items) => Value::Array(items),
                    Items::Map(map, _) => Value::Object(map),
                };
                self.put(value);
            }
            Event::Scalar(text, style, _, tag) => self.scalar(text, style, tag, at)?,
            Event::Alias(_) => {
                return Err(self
                    .problem(at, "YAML aliases (`*name`) are not read")
                    .hint("write the value out"));
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn start(&mut self, at: Position, items: Items) -> Result<(), Problem> {
        if self.open.len() == DEPTH_MAX {
            let message = format!("nested more than {DEPTH_MAX} levels deep");
            return Err(self.problem(at, message));
        }
        if let Some(Open { items: Items::Map(_, None), .. }) = self.open.last() {
            return Err(self.problem(at, "a key must be text"));
        }
        let path = if self.keeps_places() { self.path_of_next() } else { String::new() };
        if self.keeps_places() {
            let at = self.places.keys.get(&path).copied().unwrap_or(at);
            self.places.values.insert(path.clone(), Place { at, text: None });
        }
        self.open.push(Open { path, items });
        Ok(())
    }

    fn scalar(
        &mut self,
        text: std::borrow::Cow<'_, str>,
        style: ScalarStyle,
        tag: Option<std::borrow::Cow<'_, saphyr::Tag>>,
        at: Position,
    ) -> Result<(), Problem> {
        let keeps_places = self.keeps_places();
        if let Some(Open { items: Items::Map(map, key @ None), path }) = self.open.last_mut() {
            if map.contains_key(&*text) {
                let message = format!("the key `{text}` is written twice");
                return Err(self.problem(at, message));
            }
            if keeps_places {
                self.places.keys.insert(join(path, &text), at);
            }
            *key = Some((text.into_owned(), at));
            return Ok(());
        }
        if keeps_places {
            let key = match self.open.last() {
                Some(Open { items: Items::Map(_, Some((_, key))), .. }) => Some(*key),
                _ => None,
            };
            let text = Written::new(style, at, key, &self.lines);
            self.places.values.insert(self.path_of_next(), Place { at, text });
        }
        let value = match scalar_value(text, style, tag) {
            Ok(value) => value,
            Err(message) => return Err(self.problem(at, message)),
        };
        self.put(value);
        Ok(())
    }

    fn path_of_next(&self) -> String {
        match self.open.last() {
            None => String::new(),
            Some(Open { path, items: Items::List(items) }) => format!("{path}[{}]", items.len()),
            Some(Open { path, items: Items::Map(_, key) }) => {
                key.as_ref().map_or_else(|| path.clone(), |(key, _)| join(path, key))
            }
        }
    }

    fn put(&mut self, value: Value) {
        match self.open.last_mut() {
            None => self.root = value,
            Some(Open { items: Items::List(items), .. }) => items.push(value),
            Some(Open { items: Items::Map(map, key), .. }) => {
                if let Some((key, _)) = key.take() {
                    map.insert(key, value);
                }
            }
        }
    }

    fn problem(&self, at: Position, message: impl Into<String>) -> Problem {
        Problem::new(message).in_file(self.file, at)
    }
}

fn scalar_value(
    text: std::borrow::Cow<'_, str>,
    style: ScalarStyle,
    tag: Option<std::borrow::Cow<'_, saphyr::Tag>>,
) -> Result<Value, String> {
    if style == ScalarStyle::Plain
        && tag.is_none()
        && let Ok(number) = text.parse::<u64>()
    {
        return Ok(Value::Number(number.into()));
    }
    // What JSON takes for a number keeps its digits; YAML has further forms of numbers.
    if style == ScalarStyle::Plain
        && tag.is_none()
        && text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && let Ok(number) = text.parse::<Number>()
    {
        return Ok(Value::Number(number));
    }
    let written = text.to_string();
    match Scalar::parse_from_cow_and_metadata(text, style, tag.as_ref()) {
        Some(Scalar::Null) => Ok(Value::Null),
        Some(Scalar::Boolean(value)) => Ok(Value::Bool(value)),
        Some(Scalar::Integer(value)) => Ok(Value::Number(value.into())),
        Some(Scalar::FloatingPoint(value)) => Number::from_f64(value.into_inner())
            .map(Value::Number)
            .ok_or_else(|| format!("`{written}` is no JSON number")),
        // The scanner's text has room to grow; a copy has none.
        Some(Scalar::String(value)) => Ok(Value::String(String::from(&*value))),
        None => Err(format!("`{written}` does not fit its tag")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Document, String> {
        Document::parse(Path::new("x.yaml"), text).map_err(|problem| problem.to_string())
    }

    #[test]
    fn text_stays_text_and_places_are_known() {
        let document =
            parse("a: on\nb: [1, {c: \"no\"}]\nsql: |\n  SELECT x\n  FROM y\n").expect("yaml");
        assert_eq!(
            document.value().to_string(),
            r#"{"a":"on","b":[1,{"c":"no"}],"sql":"SELECT x\nFROM y\n"}"#
        );
        assert_eq!(document.position("b[1].c"), Position { line: 2, column: 12 });
        let inside = Position { line: 2, column: 6 };
        assert_eq!(document.position_in_text("sql", inside), Position { line: 5, column: 8 });
    }

    #[test]
    fn numbers_keep_their_digits() {
        let text = "[1.10, -0.5, 18446744073709551616, 12345678901234567890.10, .5, 0x1F, 007, +1]";
        let document = parse(text).expect("yaml");
        let want = "[1.10,-0.5,18446744073709551616,12345678901234567890.10,0.5,31,7,1]";
        assert_eq!(document.value().to_string(), want);
    }

    /// The mark in the text of `sql`, and where it is found in the file.
    fn marked(yaml: &str) -> Position {
        let document = parse(yaml).expect("yaml");
        let text = document.value()["sql"].as_str().expect("text");
        let before = text.split('!').next().expect("a mark");
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().expect("a line").chars().count() + 1;
        document.position_in_text("sql", Position { line, column })
    }

    #[test]
    fn places_in_text_are_places_of_the_file() {
        for yaml in [
            "sql: SELECT 温 !\n",
            "sql: SELECT\n\n  温\n  , !\n",
            "sql: 'it''s ''\n  温, !'\n",
            "sql: \"a \\\"b\\\" \\u6e29 \\x41\\n c !\"\n",
            "sql: \"a \\\n   b\n\n  c !\"\n",
            "sql: |\n  a || b\n   温 !\n",
            "sql: |2\n    a\n  !\n",
            "sql: |-\n\n  a\n  !\n",
            "sql: >\n  a\n  温,\n  b !\n",
            "sql: >-  # folded\n\n  a\n\n  b\n    c\n    d\n  e\n  !\n",
            "sql: >2\n    a\n  b\n  !\n",
            "sql: |\r\n  a\r\n  \t!\r\n",
            "{\"sql\": \"a\\tb !\"}",
        ] {
            let (before, _) = yaml.split_once('!').expect("a mark");
            let want = Position {
                line: before.matches('\n').count() + 1,
                column: before.rsplit('\n').next().expect("a line").chars().count() + 1,
            };
            assert_eq!(marked(yaml), want, "{yaml}");
        }
    }

    #[test]
    fn errors_name_the_place() {
        assert_eq!(
            parse("a: 1\na: 2").expect_err("twice"),
            "x.yaml:2:1: the key `a` is written twice"
        );
        assert!(parse("a: *b").expect_err("alias").starts_with("x.yaml:1:4: "));
        let deep = "[".repeat(1_000_000);
        let deep = parse(&deep).expect_err("deep");
        assert!(deep.contains("nested more than 64") || deep.contains("recursion"), "{deep}");
    }

    #[test]
    fn the_environment_is_put_into_strings_only() {
        let mut document = parse("a: \"x${env:ONE}y\"\nb: $${env:ONE}").expect("yaml");
        document.substitute(&|name| (name == "ONE").then(|| "1".to_owned())).expect("set");
        assert_eq!(document.value().to_string(), r#"{"a":"x1y","b":"$${env:ONE}"}"#);
        let mut document = parse("a:\n  b: ${env:TWO}").expect("yaml");
        let problem = document.substitute(&|_| None).expect_err("not set");
        assert_eq!(problem.to_string(), "x.yaml:2:6: the environment variable `TWO` is not set");
    }
}
