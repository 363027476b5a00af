//! A rule's tests as they are written. What they mean is the business of the module above.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use contract::{Message, Topic, TopicLimits};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::Fault;
use yaml::problem::Problem;

/// One test as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a test: a map with `name`, `message` and `expect`")]
pub struct TestForm {
    /// What the test shows.
    pub(super) name: String,
    /// The message; or `messages` for several.
    pub(super) message: Option<MessageForm>,
    /// Messages in order.
    #[serde(default)]
    pub(super) messages: Vec<MessageForm>,
    /// The records that the messages must give, in order: numbers by value, keys in any order; `[]`
    /// when the rule must stay quiet. Bytes are `{"base64": "…"}`.
    pub(super) expect: Option<Vec<Value>>,
    /// The bytes that `SELECT *` of a binary rule must pass on, in base64.
    pub(super) expect_base64: Option<String>,
    /// The payload must be refused as no valid JSON.
    #[serde(default)]
    pub(super) expect_invalid: bool,
    /// The codes of the errors of evaluation, in order, such as `[division_by_zero]`; a payload that
    /// is no JSON is `invalid_payload`. Without it errors are only shown.
    pub(super) expect_errors: Option<Vec<String>>,
    /// What actions would send: the name of an action, or `error_action`, to a list with an entry
    /// for each record. Only the parts that are named count: `topic`, `body` and so on, or `error`
    /// with a part of the reason why the record can't be delivered.
    #[serde(default)]
    pub(super) expect_actions: BTreeMap<String, Vec<Map<String, Value>>>,
    /// Actions that are taken to fail, with the reason: the error action then gets an envelope.
    #[serde(default)]
    pub(super) fails: BTreeMap<String, String>,
    /// Whether `tidegate test --update` may write what comes in the place of what is expected. In a
    /// test that expects nothing yet it may anyway.
    #[serde(default)]
    pub(super) snapshot: bool,
    /// What is known about the device.
    #[serde(default)]
    pub(super) device: DeviceForm,
    /// When messages are received that do not say it themselves, such as `2026-11-20T08:00:00Z` or in
    /// milliseconds since 1970. Also written `time`.
    #[serde(alias = "time")]
    pub(super) clock: Option<Clock>,
    /// What `newuuid()` gives. Without it each call gives another UUID, always the same one for the
    /// same message id, rule name and place of the call.
    pub(super) uuid: Option<String>,
    /// What `rand()` gives, from 0 up to and without 1. Without it, as for `uuid`.
    pub(super) random: Option<f64>,
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
    /// The message id; by default messages are numbered from 1.
    id: Option<u64>,
    /// When it is received, instead of the test's `clock`.
    time: Option<Clock>,
}

/// A device as written.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a device: a map with `tags`")]
pub struct DeviceForm {
    /// The tags that `attribute()` reads.
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
}

/// A time as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "a time is text such as `2026-11-20T08:00:00Z`, or milliseconds since 1970"
)]
pub(super) enum Clock {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Ms(u64),
    /// As in RFC 3339.
    Text(String),
}

/// The time of messages whose test names none: 2026-01-01T00:00:00Z.
const DEFAULT_TIME_MS: u64 = 1_767_225_600_000;

impl Clock {
    fn ms(&self, path: &str) -> Result<u64, Fault> {
        let text = match self {
            Self::Ms(ms) => return Ok(*ms),
            Self::Text(text) => text,
        };
        let time = text.parse::<jiff::Timestamp>().ok();
        time.and_then(|time| u64::try_from(time.as_millisecond()).ok()).ok_or_else(|| {
            let problem = Problem::new(format!("`{text}` is no time"));
            let hint = "write it like `2026-11-20T08:00:00Z`, or in milliseconds since 1970";
            Fault::new(path, problem.hint(hint))
        })
    }
}

impl TestForm {
    /// The messages, numbered and with their times.
    pub(super) fn messages(&self) -> Result<Vec<Message>, Fault> {
        let clock = match &self.clock {
            None => DEFAULT_TIME_MS,
            Some(clock) => clock.ms("clock")?,
        };
        if self.message.is_some() && !self.messages.is_empty() {
            let problem = Problem::new("both `message` and `messages` are given");
            return Err(Fault::new("messages", problem.hint("move the message into the list")));
        }
        let one = self.message.iter().map(|form| ("message".to_owned(), form));
        let many = self.messages.iter().enumerate();
        let many = many.map(|(index, form)| (format!("messages[{index}]"), form));
        let mut messages = Vec::new();
        for (index, (path, form)) in one.chain(many).enumerate() {
            let mut message = form.build(clock, &path)?;
            message.id = form.id.unwrap_or(index as u64 + 1);
            messages.push(message);
        }
        if messages.is_empty() {
            let problem = Problem::new(format!("test `{}` has no message", self.name));
            let hint = "for example `message: { topic: /a1Pk/dev1/user/data, payload: { t: 1 } }`";
            return Err(Fault::new("", problem.hint(hint)));
        }
        Ok(messages)
    }
}

impl MessageForm {
    fn build(&self, clock: u64, path: &str) -> Result<Message, Fault> {
        let topic = Topic::parse(self.topic.clone(), TopicLimits::default()).map_err(|error| {
            let problem = Problem::new(format!("topic `{}`: {error}", self.topic));
            Fault::new(format!("{path}.topic"), problem)
        })?;
        let payload = match (&self.payload, &self.payload_text, &self.payload_base64) {
            (Some(value), None, None) => Bytes::from(value.to_string()),
            (None, Some(text), None) => Bytes::from(text.clone()),
            (None, None, Some(text)) => Bytes::from(decode(text, path, "payload_base64")?),
            _ => {
                let problem = Problem::new("a message has one payload");
                let hint = "give one of `payload:`, `payload_text:`, `payload_base64:`";
                return Err(Fault::new(path, problem.hint(hint)));
            }
        };
        let time = match &self.time {
            None => clock,
            Some(time) => time.ms(&format!("{path}.time"))?,
        };
        Ok(Message::new(topic, payload, time))
    }
}

/// The bytes of a text in base64 that stands at a key below `path`.
pub(super) fn decode(text: &str, path: &str, key: &str) -> Result<Vec<u8>, Fault> {
    STANDARD.decode(text).map_err(|error| {
        let problem = Problem::new(format!("`{text}` is no base64: {error}"));
        Fault::new(yaml::join(path, key), problem)
    })
}
