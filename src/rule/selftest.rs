//! A rule's own tests: messages, and the records that the statement must make of them.
//!
//! They run the compiled statement, not the actions, and need neither broker nor sinks.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use connectors::contract::{Body, DeviceFacts, Message, Topic, TopicLimits};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::problem::Problem;
use crate::sql::{DataType, Input, Plan, Query, Scratch};

/// One test as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a test: a map with `message` and `expect`")]
pub struct TestForm {
    /// What the test shows.
    name: String,
    /// The message; or `messages` for several.
    message: Option<MessageForm>,
    /// Messages in order.
    #[serde(default)]
    messages: Vec<MessageForm>,
    /// The records that the messages must give: numbers by value, keys in any order.
    expect: Option<Vec<Value>>,
    /// The bytes that `SELECT *` of a binary rule must pass on, in base64.
    expect_base64: Option<String>,
    /// The payload must be refused as no valid JSON.
    #[serde(default)]
    expect_invalid: bool,
    /// What is known about the device.
    #[serde(default)]
    device: DeviceForm,
    /// When the message is received, such as `2026-11-20T08:00:00Z`.
    time: Option<String>,
}

/// A message as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a message: a map with `topic` and `payload`")]
pub struct MessageForm {
    /// The topic.
    topic: String,
    /// Any value, sent as JSON.
    payload: Option<Value>,
    /// The payload as text, sent as it is.
    payload_text: Option<String>,
    /// The payload's bytes.
    payload_base64: Option<String>,
}

/// A device as written.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceForm {
    /// The tags that `attribute()` reads.
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

/// A test that is ready to run.
#[derive(Debug)]
pub struct RuleTest {
    /// What the test shows.
    pub name: String,
    messages: Vec<Message>,
    expect: Expect,
    tags: BTreeMap<String, String>,
}

#[derive(Debug)]
enum Expect {
    Records(Vec<Value>),
    Bytes(Vec<u8>),
    Invalid,
}

/// The time of messages whose test names none: 2026-01-01T00:00:00Z.
const DEFAULT_TIME_MS: u64 = 1_767_225_600_000;

impl RuleTest {
    /// Checks a test as written.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(form: TestForm) -> Result<Self, Problem> {
        let received_ms = match &form.time {
            None => DEFAULT_TIME_MS,
            Some(text) => text
                .parse::<jiff::Timestamp>()
                .ok()
                .and_then(|time| u64::try_from(time.as_millisecond()).ok())
                .ok_or_else(|| {
                    Problem::new(format!("`{text}` is no time"))
                        .hint("write it like `2026-11-20T08:00:00Z`")
                })?,
        };
        let mut messages = Vec::new();
        for (index, message) in form.message.iter().chain(&form.messages).enumerate() {
            let mut message = message.build(received_ms)?;
            message.id = index as u64 + 1;
            messages.push(message);
        }
        if messages.is_empty() {
            return Err(Problem::new(format!("test `{}` has no message", form.name)));
        }
        let expect = match (form.expect, form.expect_base64, form.expect_invalid) {
            (Some(records), None, false) => Expect::Records(records),
            (None, Some(text), false) => Expect::Bytes(decode(&text)?),
            (None, None, true) => Expect::Invalid,
            _ => {
                return Err(Problem::new(format!("test `{}` must say what it expects", form.name))
                    .hint("give one of `expect:`, `expect_base64:`, `expect_invalid: true`"));
            }
        };
        Ok(Self { name: form.name, messages, expect, tags: form.device.tags })
    }

    /// Runs the test against the rule's statement.
    ///
    /// # Errors
    /// What was expected and what came, as text of several lines.
    pub fn run(&self, rule: &str, query: &Arc<Query>) -> Result<(), String> {
        let plan = Plan::new(vec![Arc::clone(query)]);
        let mut scratch = Scratch::default();
        let mut records = Vec::new();
        let mut invalid = 0;
        let mut errors = Vec::new();
        for message in &self.messages {
            if !query.matches(&message.topic) {
                continue;
            }
            let json = query.data_type() == DataType::Json;
            if json && plan.prepare(&message.payload, &mut scratch).is_err() {
                invalid += 1;
                continue;
            }
            let input = Input { message, facts: self, rule, has_topic: true };
            let mut out = Vec::new();
            let verdict = plan.evaluate(0, &input, &message.payload, &mut scratch, &mut out);
            errors.extend(scratch.errors().iter().map(|error| error.message.clone()));
            for (body, bytes) in verdict.records(&scratch, 0..out.len()) {
                records.push((body, out[bytes].to_vec()));
            }
        }
        self.judge(&records, invalid).map_err(|difference| {
            errors.iter().fold(difference, |text, error| text + "\n      note: " + error)
        })
    }

    fn judge(&self, records: &[(Body, Vec<u8>)], invalid: usize) -> Result<(), String> {
        match &self.expect {
            Expect::Invalid if invalid == self.messages.len() => Ok(()),
            Expect::Invalid => Err(difference("an invalid payload", &shown(records))),
            _ if invalid > 0 => Err("the payload is no valid JSON".to_owned()),
            Expect::Bytes(want) => match records {
                [(_, got)] if got == want => Ok(()),
                _ => Err(difference(&STANDARD.encode(want), &shown(records))),
            },
            Expect::Records(want) => {
                let got: Vec<Value> = records
                    .iter()
                    .map(|(_, bytes)| serde_json::from_slice(bytes).unwrap_or(Value::Null))
                    .collect();
                let same =
                    want.len() == got.len() && want.iter().zip(&got).all(|(a, b)| same(a, b));
                if same {
                    return Ok(());
                }
                Err(difference(&Value::from(want.clone()).to_string(), &shown(records)))
            }
        }
    }
}

impl DeviceFacts for RuleTest {
    fn tag(&self, _: &str, _: &str, key: &str) -> Option<String> {
        self.tags.get(key).cloned()
    }
}

impl MessageForm {
    fn build(&self, received_ms: u64) -> Result<Message, Problem> {
        let topic = Topic::parse(self.topic.clone(), TopicLimits::default())
            .map_err(|error| Problem::new(format!("topic `{}`: {error}", self.topic)))?;
        let payload = match (&self.payload, &self.payload_text, &self.payload_base64) {
            (Some(value), None, None) => Bytes::from(value.to_string()),
            (None, Some(text), None) => Bytes::from(text.clone()),
            (None, None, Some(text)) => Bytes::from(decode(text)?),
            _ => {
                return Err(Problem::new("a message has one payload")
                    .hint("give one of `payload:`, `payload_text:`, `payload_base64:`"));
            }
        };
        Ok(Message::new(topic, payload, received_ms))
    }
}

fn decode(text: &str) -> Result<Vec<u8>, Problem> {
    STANDARD.decode(text).map_err(|error| Problem::new(format!("`{text}` is no base64: {error}")))
}

fn difference(want: &str, got: &str) -> String {
    format!("expected: {want}\n           got: {got}")
}

fn shown(records: &[(Body, Vec<u8>)]) -> String {
    let records = records.iter().map(|(body, bytes)| match body {
        Body::Json => String::from_utf8_lossy(bytes).into_owned(),
        Body::Binary => STANDARD.encode(bytes),
    });
    format!("[{}]", records.collect::<Vec<_>>().join(","))
}

/// Equal values: numbers by value, keys in any order.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}
