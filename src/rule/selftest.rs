//! A rule's own tests: messages, the records that the statement must make of them, and what the
//! actions must send for those.
//!
//! They need neither broker nor destinations: actions are only rendered. How tests are written is in
//! `form`; where a file is rewritten (`tidegate test --update`), in `snapshot`.

mod difference;
mod dry_run;
mod form;
mod snapshot;

pub use difference::Difference;
pub use form::TestForm;
pub use snapshot::Change;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use contract::{Body, DeviceFacts, Message, Record, tree};
use serde_json::{Map, Value, json};

use super::{CompiledRule, ERROR_ACTION, Fault};
use difference::{below, compare};
use dry_run::{ERROR, Sent};
use sql::{DataType, Input, Plan, Query, Scratch, Verdict};
use yaml::problem::{Problem, nearest};

/// Environment variables that a file names, with their values: names come in the place of values
/// wherever results are shown or written.
pub type Hidden = Arc<[(String, String)]>;

/// A test that is ready to run.
#[derive(Debug)]
pub struct RuleTest {
    /// What the test shows.
    pub name: String,
    /// Its index among the tests of its rule.
    pub index: usize,
    /// The line of the file where it stands, from 1.
    pub line: usize,
    messages: Vec<Message>,
    expect: Expect,
    fails: BTreeMap<String, String>,
    snapshot: bool,
    tags: BTreeMap<String, String>,
    uuid: Option<u128>,
    random: Option<u64>,
    hidden: Hidden,
}

/// What is expected; what is `None` or empty is not looked at.
#[derive(Debug, Default)]
struct Expect {
    records: Option<Vec<Value>>,
    bytes: Option<Vec<u8>>,
    invalid: bool,
    errors: Option<Vec<String>>,
    actions: BTreeMap<String, Vec<Map<String, Value>>>,
}

/// How a test has ended.
#[derive(Debug)]
pub struct Report {
    /// Where it was not as expected; empty when all is well.
    pub differences: Vec<Difference>,
    /// What may explain them: topics that do not match, errors of evaluation.
    pub notes: Vec<String>,
    found: Found,
}

/// What the messages have come to.
#[derive(Debug, Default)]
struct Found {
    /// The records, and the index of the message of each.
    records: Vec<(usize, Record)>,
    /// The records as values.
    values: Vec<Value>,
    errors: Vec<NotedError>,
    /// Messages that gave no record: their index and the reason.
    quiet: Vec<(usize, String)>,
    sent: Sent,
}

#[derive(Debug)]
struct NotedError {
    message: usize,
    code: &'static str,
    text: String,
}

/// The code of a payload that is no JSON, among those of evaluation.
const INVALID_PAYLOAD: &str = "invalid_payload";

impl RuleTest {
    /// Checks a test as written, for a rule that is ready to run; where it stands are its index among
    /// the tests of the rule, and its line.
    ///
    /// # Errors
    /// What is wrong with it, at a path within the test.
    pub fn new(
        form: TestForm,
        rule: &CompiledRule,
        (index, line): (usize, usize),
        hidden: &Hidden,
    ) -> Result<Self, Fault> {
        let messages = form.messages()?;
        let given = [form.expect.is_some(), form.expect_base64.is_some(), form.expect_invalid];
        if given.into_iter().filter(|given| *given).count() > 1 {
            let problem = Problem::new("what is expected is said twice")
                .hint("give one of `expect:`, `expect_base64:`, `expect_invalid: true`");
            return Err(Fault::new("", problem));
        }
        let names = action_names(rule);
        for (key, given) in [
            ("expect_actions", form.expect_actions.keys().collect::<Vec<_>>()),
            ("fails", form.fails.keys().collect()),
        ] {
            if let Some(name) = given.into_iter().find(|name| !names.contains(name)) {
                return Err(no_action(&format!("{key}.{name}"), name, &names));
            }
        }
        let wrong =
            |key: &str, text: String, hint: &str| Fault::new(key, Problem::new(text).hint(hint));
        let uuid = form.uuid.as_ref().map(|text| {
            let uuid = uuid::Uuid::try_parse(text).map_err(|error| {
                let hint = "for example 00000000-0000-4000-8000-000000000000";
                wrong("uuid", format!("`{text}` is no UUID: {error}"), hint)
            })?;
            Ok(uuid.as_u128())
        });
        let random = form.random.map(|number| match (0.0..1.0).contains(&number) {
            true => Ok(random_bits(number)),
            false => Err(wrong(
                "random",
                format!("`rand()` never gives {number}"),
                "write a number from 0 up to and without 1",
            )),
        });
        let bytes = form.expect_base64.as_deref();
        let mut expect = Expect {
            records: form.expect,
            bytes: bytes.map(|text| form::decode(text, "", "expect_base64")).transpose()?,
            invalid: form.expect_invalid,
            errors: form.expect_errors,
            actions: form.expect_actions,
        };
        expect.hide(hidden);
        Ok(Self {
            name: form.name,
            index,
            line,
            messages,
            expect,
            fails: form.fails,
            snapshot: form.snapshot,
            tags: form.device.tags,
            uuid: uuid.transpose()?,
            random: random.transpose()?,
            hidden: Arc::clone(hidden),
        })
    }

    /// Runs the test against its rule.
    #[must_use]
    pub fn run(&self, rule: &CompiledRule) -> Report {
        let mut found = Found::default();
        if let Some(query) = &rule.query {
            self.evaluate(&rule.rule.name, query, &mut found);
        }
        let records: Vec<_> = found.records.iter().map(|(_, record)| record.clone()).collect();
        found.values = records.iter().map(value_of).collect();
        found.sent = dry_run::send(rule, &records, &self.fails);
        found.hide(&self.hidden);
        let differences = self.judge(&found);
        let quiet = found.quiet.iter().map(|(at, text)| (*at, text));
        let errors = found.errors.iter().map(|error| (error.message, &error.text));
        let mut notes: Vec<_> = quiet.chain(errors).filter(|_| !differences.is_empty()).collect();
        notes.sort_by_key(|(at, _)| *at);
        let notes = notes.into_iter().map(|(at, text)| self.of_message(at, text)).collect();
        Report { differences, notes, found }
    }

    /// The first of its messages that the rule selects, when that needs nothing but the message.
    #[must_use]
    pub fn example(&self, rule: &CompiledRule) -> Option<&Message> {
        let report = self.tags.is_empty().then(|| self.run(rule))?;
        let (message, _) = report.found.records.first()?;
        self.messages.get(*message)
    }

    /// Puts all messages through the statement.
    fn evaluate(&self, rule: &str, query: &Arc<Query>, found: &mut Found) {
        let plan = Plan::new(vec![Arc::clone(query)]);
        let batch: Arc<[Message]> = self.messages.clone().into();
        let name: Arc<str> = rule.into();
        let mut scratch = Scratch::default();
        for (index, message) in self.messages.iter().enumerate() {
            if !query.matches(&message.topic) {
                let (topic, filter) = (&message.topic, query.filter());
                let text =
                    format!("the topic `{topic}` does not match the rule's filter `{filter}`");
                found.quiet.push((index, text));
                continue;
            }
            let mut error =
                |code, text| found.errors.push(NotedError { message: index, code, text });
            if query.data_type() == DataType::Json
                && let Err(invalid) = plan.prepare(&message.payload, &mut scratch)
            {
                error(INVALID_PAYLOAD, format!("the payload is no valid JSON: {invalid}"));
                continue;
            }
            let input = Input { message, facts: self, rule, has_topic: true };
            let mut out = Vec::new();
            let verdict = plan.evaluate(0, &input, &message.payload, &mut scratch, &mut out);
            for fault in scratch.errors() {
                error(fault.code, format!("{} in `{}`: {}", fault.code, fault.item, fault.message));
            }
            match verdict {
                Verdict::Selected(_) | Verdict::Unnested => {
                    let out = Bytes::from(out);
                    for (body, place) in verdict.records(&scratch, 0..out.len()) {
                        let (batch, name) = (Arc::clone(&batch), Arc::clone(&name));
                        let record = Record::new(batch, index, name, body, out.slice(place));
                        found.records.push((index, record));
                    }
                }
                Verdict::Filtered => found.quiet.push((index, "WHERE is not true".to_owned())),
                Verdict::Aborted => {}
            }
        }
    }

    fn judge(&self, found: &Found) -> Vec<Difference> {
        let mut differences = Vec::new();
        let Expect { records, bytes, invalid, errors, actions } = &self.expect;
        if !self.expects_something() {
            let mut nothing = Difference::new("expect", None, Some(&json!(found.values)));
            nothing.note = Some("the test expects nothing yet".to_owned());
            return vec![nothing];
        }
        if let Some(want) = records {
            self.judge_records(want, found, &mut differences);
        }
        if let Some(want) = bytes {
            let want = Value::from(STANDARD.encode(want));
            compare("expect_base64", &want, &found.as_bytes(), &mut differences);
        }
        let mut judge_payloads = errors.is_none();
        if *invalid {
            judge_payloads = false;
            let refused = found.errors.iter().filter(|e| e.code == INVALID_PAYLOAD).count();
            if refused != self.messages.len() {
                let (yes, no) = (json!(true), json!(false));
                differences.push(Difference::new("expect_invalid", Some(&yes), Some(&no)));
            }
        }
        if let Some(want) = errors {
            compare("expect_errors", &json!(want), &found.codes(), &mut differences);
        }
        if judge_payloads {
            for error in found.errors.iter().filter(|e| e.code == INVALID_PAYLOAD) {
                let mut found = Difference::new("expect_errors", None, Some(&json!(error.code)));
                found.note = Some(format!("of message {}", error.message + 1));
                differences.push(found);
            }
        }
        for (name, want) in actions {
            let got = found.sent.iter().find(|(sent, _)| sent == name);
            let got = got.map_or(&[][..], |(_, entries)| entries);
            judge_action(&below("expect_actions", name), want, got, &mut differences);
        }
        differences
    }

    fn judge_records(&self, want: &[Value], found: &Found, differences: &mut Vec<Difference>) {
        let before = differences.len();
        compare("expect", &json!(want), &json!(found.values), differences);
        if self.messages.len() == 1 {
            return;
        }
        // Whose record it is: with several messages that is not the position.
        for difference in differences.iter_mut().skip(before) {
            let index = difference.path.strip_prefix("expect[").and_then(|rest| {
                let (index, _) = rest.split_once(']')?;
                found.records.get(index.parse::<usize>().ok()?)
            });
            difference.note = index.map(|(message, _)| format!("of message {}", message + 1));
        }
    }

    fn expects_something(&self) -> bool {
        let Expect { records, bytes, invalid, errors, actions } = &self.expect;
        let nothing = records.is_none() && bytes.is_none() && errors.is_none();
        !nothing || *invalid || !actions.is_empty()
    }

    fn of_message(&self, index: usize, text: &str) -> String {
        match self.messages.len() {
            1 => text.to_owned(),
            _ => format!("message {}: {text}", index + 1),
        }
    }
}

impl Expect {
    /// As [`Found::hide`], so that both can be compared.
    fn hide(&mut self, hidden: &[(String, String)]) {
        self.records.iter_mut().flatten().for_each(|value| hide_in(value, hidden));
        let entries = self.actions.values_mut().flatten();
        entries.flat_map(|entry| entry.values_mut()).for_each(|value| hide_in(value, hidden));
    }
}

/// The shortest value that is hidden, in bytes: no secret is shorter, and `1` is everywhere.
const HIDDEN_MIN: usize = 6;

fn hide_text(text: &mut String, hidden: &[(String, String)]) {
    for (name, secret) in hidden.iter().filter(|(_, secret)| secret.len() >= HIDDEN_MIN) {
        if text.contains(secret.as_str()) {
            *text = text.replace(secret.as_str(), &format!("${{env:{name}}}"));
        }
    }
}

fn hide_in(value: &mut Value, hidden: &[(String, String)]) {
    match value {
        Value::String(text) => hide_text(text, hidden),
        Value::Array(items) => items.iter_mut().for_each(|item| hide_in(item, hidden)),
        Value::Object(map) => map.values_mut().for_each(|item| hide_in(item, hidden)),
        _ => {}
    }
}

/// The actions of a rule by name, as the dry run knows them.
fn action_names(rule: &CompiledRule) -> Vec<String> {
    let count = rule.rule.actions.len();
    let mut names: Vec<_> = (0..count).map(|at| rule.rule.action_name(at).into_owned()).collect();
    names.extend(rule.rule.error_action.iter().map(|_| ERROR_ACTION.to_owned()));
    names
}

fn no_action(path: &str, name: &str, names: &[String]) -> Fault {
    let mut problem = Problem::new(format!("the rule has no action `{name}`"));
    let known: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    problem.expected = Some(format!("one of {}", known.join(", ")));
    let near = nearest(name, names.iter().map(String::as_str));
    problem.hint = near.map(|near| format!("did you mean `{near}`?"));
    Fault { in_key: true, ..Fault::new(path, problem) }
}

/// Compares what one action would send with what it should: the parts that are named.
fn judge_action(
    path: &str,
    want: &[Map<String, Value>],
    got: &[Map<String, Value>],
    differences: &mut Vec<Difference>,
) {
    for index in 0..want.len().max(got.len()) {
        let path = format!("{path}[{index}]");
        match (want.get(index), got.get(index)) {
            (Some(want), Some(got)) => judge_entry(&path, want, got, differences),
            (want, got) => {
                let value = |entry: Option<&Map<String, Value>>| entry.cloned().map(Value::Object);
                let (want, got) = (value(want), value(got));
                differences.push(Difference::new(&path, want.as_ref(), got.as_ref()));
            }
        }
    }
}

fn judge_entry(
    path: &str,
    want: &Map<String, Value>,
    got: &Map<String, Value>,
    differences: &mut Vec<Difference>,
) {
    for (part, value) in want {
        let path = below(path, part);
        match (value, got.get(part)) {
            (Value::String(text), Some(Value::String(reason))) if part == ERROR => {
                if !reason.contains(text.as_str()) {
                    differences.push(Difference::new(&path, Some(value), got.get(part)));
                }
            }
            (_, Some(got)) => compare(&path, value, got, differences),
            (_, None) => {
                let mut missing = Difference::new(&path, Some(value), None);
                missing.note = Some(match got.get(ERROR).and_then(Value::as_str) {
                    Some(reason) => format!("the action fails: {reason}"),
                    None => {
                        let parts: Vec<String> = got.keys().map(|key| format!("`{key}`")).collect();
                        format!("there are {}", parts.join(", "))
                    }
                });
                differences.push(missing);
            }
        }
    }
    // Who expects a topic or a body expects that the record can be delivered.
    if want.is_empty() && got.contains_key(ERROR) {
        differences.push(Difference::new(&below(path, ERROR), None, got.get(ERROR)));
    }
}

impl Found {
    /// Puts the names of environment variables in the place of their values.
    fn hide(&mut self, hidden: &[(String, String)]) {
        self.values.iter_mut().for_each(|value| hide_in(value, hidden));
        self.errors.iter_mut().for_each(|error| hide_text(&mut error.text, hidden));
        let entries = self.sent.iter_mut().flat_map(|(_, entries)| entries);
        entries.flat_map(|entry| entry.values_mut()).for_each(|value| hide_in(value, hidden));
    }

    /// The bytes of the only record in base64; a list of all records when there is not one.
    fn as_bytes(&self) -> Value {
        match self.records.as_slice() {
            [(_, record)] => STANDARD.encode(record.bytes()).into(),
            _ => json!(self.values),
        }
    }

    fn codes(&self) -> Value {
        self.errors.iter().map(|error| Value::from(error.code)).collect()
    }
}

fn value_of(record: &Record) -> Value {
    match record.body {
        Body::Json => tree(record.bytes()).unwrap_or_default(),
        Body::Binary => json!({ "base64": STANDARD.encode(record.bytes()) }),
    }
}

/// The bits from which `rand()` makes a number.
fn random_bits(number: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 up to 2^53, of which each whole number is exact"
    )]
    let whole = (number * (1_u64 << 53) as f64) as u64;
    whole << 11
}

impl DeviceFacts for RuleTest {
    fn tag(&self, _: &str, _: &str, key: &str) -> Option<String> {
        self.tags.get(key).cloned()
    }

    fn fixed_uuid(&self) -> Option<u128> {
        self.uuid
    }

    fn fixed_random(&self) -> Option<u64> {
        self.random
    }
}
