//! The check of action templates: does each `${…}` name a key that SELECT produces?
//!
//! Only what can never come is found. Where the document decides about the keys (`*`, `a.*`),
//! everything can come.

use std::sync::Arc;

use bytes::Bytes;
use contract::{Body, Message, Record, Sink, SinkSpec, Template, Topic, TopicLimits};
use serde_json::{Map, Value};

use super::compiled::Fault;
use yaml::problem::{Position, Problem, nearest};

/// What the records of an action look like.
pub(super) struct Given<'a> {
    /// What makes the records, as an error calls it: [`SELECT`], `the error envelope`.
    pub(super) maker: &'a str,
    /// The keys that a record can have.
    pub(super) keys: &'a [String],
    /// JSON, or bytes without any key.
    pub(super) body: Body,
}

/// What makes the records of actions.
pub(super) const SELECT: &str = "SELECT";

/// A `${…}` that can never stand for a value.
struct Unknown {
    /// The setting, as keys and positions in lists.
    setting: Vec<String>,
    /// What stands between the braces.
    path: String,
    at: Option<Position>,
}

/// Looks at the templates in the settings of an action. `place` is the action's settings within the
/// rule, such as `actions[0].kafka`. Answers those that are always null or empty.
///
/// # Errors
/// The templates that keep the action from ever delivering a record: in a topic, a URL or a key.
pub(super) fn check(
    spec: &SinkSpec,
    settings: &Value,
    sink: &dyn Sink,
    given: &Given<'_>,
    place: &str,
) -> Result<Vec<Fault>, Vec<Fault>> {
    let (mut unknown, mut known) = (Vec::new(), Vec::new());
    collect(settings, &mut Vec::new(), &mut |setting, template| {
        for path in template.paths() {
            if given.has(path) {
                known.push(path.to_owned());
            } else {
                let at = template.place_of(path);
                let at = at.map(|(line, column)| Position { line, column });
                unknown.push(Unknown { setting: setting.to_vec(), path: path.to_owned(), at });
            }
        }
    });
    // The schema is asked only when there is something to complain about: it is slow to make.
    unknown.retain(|unknown| spec.is_template(&unknown.setting));
    let (mut warnings, mut faults) = (Vec::with_capacity(unknown.len()), Vec::new());
    for (index, one) in unknown.iter().enumerate() {
        let others = unknown.iter().enumerate().filter(|(other, _)| *other != index);
        let others = others.map(|(_, other)| other.path.as_str()).filter(|path| *path != one.path);
        let paths: Vec<&str> = known.iter().map(String::as_str).chain(others).collect();
        let without = sink.preview(&record(given.body, given.keys, &paths));
        let with = paths.iter().copied().chain([one.path.as_str()]).collect::<Vec<_>>();
        let with = sink.preview(&record(Body::Json, given.keys, &with));
        let never = without.is_err() && with.is_ok();
        let fault = one.fault(given, never, place);
        if never { faults.push(fault) } else { warnings.push(fault) }
    }
    if faults.is_empty() { Ok(warnings) } else { Err(faults) }
}

impl Given<'_> {
    fn has(&self, path: &str) -> bool {
        let first = path.split('.').next().unwrap_or(path);
        self.body == Body::Json && self.keys.iter().any(|key| key == path || key == first)
    }
}

impl Unknown {
    fn fault(&self, given: &Given<'_>, never: bool, place: &str) -> Fault {
        let Self { path, setting, at } = self;
        let maker = given.maker;
        let outcome = if never { "no record can be delivered" } else { "it is always null" };
        let mut problem = if given.body == Body::Binary {
            Problem::new(format!("`${{{path}}}`: a binary result has no keys, so {outcome}"))
                .hint("select functions such as to_hex(*) AS data instead of `*`")
        } else {
            Problem::new(format!("`${{{path}}}`: {maker} gives no key `{path}`, so {outcome}"))
        };
        if given.body == Body::Json {
            let keys: Vec<String> = given.keys.iter().map(|key| format!("`{key}`")).collect();
            problem.expected = Some(match keys.as_slice() {
                [only] => only.clone(),
                keys => format!("one of {}", keys.join(", ")),
            });
            let (first, rest) = path.split_once('.').unwrap_or((path, ""));
            let dot = if rest.is_empty() { "" } else { "." };
            let near = nearest(first, given.keys.iter().map(String::as_str));
            problem.hint = match near {
                Some(near) => Some(format!("did you mean `${{{near}{dot}{rest}}}`?")),
                None if given.maker == SELECT => Some(format!("add `… AS {first}` to SELECT")),
                None => None,
            };
        }
        let mut fault = Fault::new(place, problem);
        for step in setting {
            match step.parse::<usize>() {
                Ok(index) => fault.path.push_str(&format!("[{index}]")),
                Err(_) => fault.path = yaml::join(&fault.path, step),
            }
        }
        fault.inside = *at;
        fault
    }
}

/// Finds all texts with `${…}`. Settings are no deeper than their parsers allow.
fn collect(value: &Value, setting: &mut Vec<String>, found: &mut impl FnMut(&[String], &Template)) {
    match value {
        Value::String(text) if text.contains("${") => {
            // A text that is no template belongs to a setting that takes none.
            if let Ok(template) = Template::parse(text) {
                found(setting, &template);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                setting.push(index.to_string());
                collect(item, setting, found);
                setting.pop();
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                setting.push(key.clone());
                collect(item, setting, found);
                setting.pop();
            }
        }
        _ => {}
    }
}

/// A record in which each key, and each path below a key, has a value that fits anywhere.
fn record(body: Body, keys: &[String], paths: &[&str]) -> Record {
    let mut fields = Map::new();
    for key in keys {
        fields.insert(key.clone(), Value::from("1"));
    }
    for path in paths {
        if !keys.iter().any(|key| key == path) {
            put(&mut fields, path);
        }
    }
    let topic = Topic::parse("t", TopicLimits::default()).expect("invariant: `t` is a topic");
    let batch: Arc<[Message]> = Arc::new([Message::new(topic, "", 0)]);
    let bytes = Bytes::from(Value::Object(fields).to_string());
    Record::new(batch, 0, "rule".into(), body, bytes)
}

fn put(fields: &mut Map<String, Value>, path: &str) {
    let mut here = fields;
    let mut steps = path.split('.').peekable();
    while let Some(step) = steps.next() {
        let next = here.entry(step).or_insert_with(|| Value::from("1"));
        if steps.peek().is_none() {
            return;
        }
        if !next.is_object() {
            *next = Value::Object(Map::new());
        }
        let Value::Object(map) = next else { return };
        here = map;
    }
}
