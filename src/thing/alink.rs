//! The device protocol (`{"id", "version", "params", "method"}`): reading what devices post, and the
//! documents that rules see in its place (vendor's guide "data formats").
//!
//! Numbers keep their text: values are copied, not read, unless a thing model is to judge them.
//! Nothing here answers a device or keeps anything.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use contract::{Message, Topic, TopicLimits, tree};
use md5::{Digest as _, Md5};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::tsl::{Misfit, Model};

/// The category of a device whose product names none.
const DEVICE_TYPE: &str = "Custom";

/// The kind of an event whose thing model is not known: `info`, `alert` or `error`.
const EVENT_TYPE: &str = "info";

/// Properties that one post may carry when a model judges them.
pub(super) const PROPERTIES_MAX: usize = 200;

/// A device's topic in its parts: `/sys/{product key}/{device name}/{tail}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address<'a> {
    pub product_key: &'a str,
    pub device_name: &'a str,
    pub tail: &'a str,
}

impl<'a> Address<'a> {
    /// The parts of a topic after that prefix, when it has all of them.
    pub(super) fn below(prefix: &str, topic: &'a str) -> Option<Self> {
        let rest = topic.strip_prefix(prefix)?;
        let (product_key, rest) = rest.split_once('/')?;
        let (device_name, tail) = rest.split_once('/').unwrap_or((rest, ""));
        let whole = !product_key.is_empty() && !device_name.is_empty();
        whole.then_some(Self { product_key, device_name, tail })
    }
}

/// A message of the device protocol; its parts as they are written.
#[derive(Debug, Deserialize)]
pub(super) struct Post<'a> {
    #[serde(borrow, default)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    sys: Option<&'a RawValue>,
}

impl Post<'_> {
    pub(super) fn parse(payload: &[u8]) -> Option<Post<'_>> {
        serde_json::from_slice(payload).ok()
    }

    /// Devices may say that they want no answer: `"sys": {"ack": 0}`.
    pub(super) fn wants_reply(&self) -> bool {
        #[derive(Deserialize)]
        struct Sys {
            ack: u8,
        }
        !self
            .sys
            .is_some_and(|sys| serde_json::from_str(sys.get()).is_ok_and(|Sys { ack }| ack == 0))
    }
}

/// Who posts, and what is known of it.
pub(super) struct Who<'a> {
    pub product_key: &'a str,
    pub device_name: &'a str,
    pub iot_id: Cow<'a, str>,
    /// The category of its product, when there is one.
    pub category: Option<Arc<str>>,
    pub model: Option<Arc<Model>>,
}

impl<'a> Who<'a> {
    /// A device of which nothing is known but its name.
    pub(super) fn stranger(product_key: &'a str, device_name: &'a str) -> Self {
        let iot_id = stranger_id(product_key, device_name).into();
        Self { product_key, device_name, iot_id, category: None, model: None }
    }

    /// `"iotId":…,"productKey":…,"deviceName":…`
    fn identity(&self) -> String {
        format!(
            r#""iotId":{},"productKey":{},"deviceName":{}"#,
            quoted(&self.iot_id),
            quoted(self.product_key),
            quoted(self.device_name)
        )
    }
}

/// A number for a device that is always the same, when no registry gives it one.
pub(super) fn stranger_id(product_key: &str, device_name: &str) -> String {
    let mut hash = Md5::new();
    hash.update(product_key.as_bytes());
    hash.update([0]);
    hash.update(device_name.as_bytes());
    hex::encode(hash.finalize())
}

/// A post as a document for rules, and what is worth keeping of it.
pub(super) struct Document<'a> {
    pub payload: String,
    /// Properties that passed: identifier, value as text, time in milliseconds.
    pub values: Vec<(Cow<'a, str>, &'a str, u64)>,
}

/// Why a post becomes no document: what the device is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: u16,
    pub message: &'static str,
}

/// The payload is no JSON.
pub(super) const NOT_JSON: Refusal =
    Refusal { code: 6207, message: "the payload is no JSON object" };

/// `params` is missing or of another kind.
pub(super) const NO_PARAMS: Refusal =
    Refusal { code: 6302, message: "params is missing or no object" };

const TOO_MANY: Refusal = Refusal { code: 6106, message: "more than 200 properties in one post" };

/// The document of a property post (§ "property report").
pub(super) fn properties<'a>(
    who: &Who<'_>,
    params: &'a RawValue,
    now_ms: u64,
) -> Result<Document<'a>, Refusal> {
    let Fields(fields) = serde_json::from_str(params.get()).map_err(|_| NO_PARAMS)?;
    if who.model.is_some() && fields.len() > PROPERTIES_MAX {
        return Err(TOO_MANY);
    }
    let mut failed = String::new();
    let mut out = String::with_capacity(256 + fields.len() * 64);
    let kind = who.category.as_deref().unwrap_or(DEVICE_TYPE);
    let (identity, kind) = (who.identity(), quoted(kind));
    // Writing to a String can't fail.
    write!(out, r#"{{{identity},"gmtCreate":{now_ms},"deviceType":{kind},"items":{{"#).ok();
    let mut values: Vec<(Cow<'a, str>, &str, u64)> = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let (value, time) = timed(value, now_ms);
        if let Some(misfit) = misfit(who, &name, value) {
            let comma = if failed.is_empty() { "" } else { "," };
            let (name, text) = (quoted(&name), quoted(&misfit.message));
            let code = misfit.code;
            write!(
                failed,
                r#"{comma}{name}:{{"time":{time},"value":{value},"code":{code},"message":{text}}}"#
            )
            .ok();
            continue;
        }
        let comma = if values.is_empty() { "" } else { "," };
        write!(out, r#"{comma}{}:{{"value":{value},"time":{time}}}"#, quoted(&name)).ok();
        values.push((name, value, time));
    }
    out.push('}');
    if who.model.is_some() {
        write!(out, r#","checkFailedData":{{{failed}}}"#).ok();
    }
    out.push('}');
    Ok(Document { payload: out, values })
}

/// What a product's model says against a property, if it has one.
fn misfit(who: &Who<'_>, name: &str, value: &str) -> Option<Misfit> {
    let model = who.model.as_ref()?;
    let Some(property) = model.properties.get(name) else { return Some(Misfit::unknown(name)) };
    property.data.check(name, &read(value)).err()
}

/// A value that a model is to judge. What can't be read, such as one with more than 128 levels, is
/// `null`, which fits no type.
fn read(value: &str) -> Value {
    tree(value.as_bytes()).unwrap_or_default()
}

/// The document of an event post (§ "event report").
pub(super) fn event(
    who: &Who<'_>,
    name: &str,
    params: &RawValue,
    now_ms: u64,
) -> Result<String, Refusal> {
    if !params.get().starts_with('{') {
        return Err(NO_PARAMS);
    }
    let (value, time) = timed(params, now_ms);
    let model = who.model.as_ref().map(|model| model.events.get(name));
    let known = model.flatten();
    let title = quoted(known.map_or(name, |event| &event.name));
    let kind = known.map_or(EVENT_TYPE, |event| &event.kind);
    let checked = match model {
        None => None,
        Some(event) => Some(judge(name, event.map(|event| &*event.outputs), value)?),
    };
    let (value, failed) = match &checked {
        None => (value, String::new()),
        Some(checked) => (&*checked.value, format!(r#","checkFailedData":{}"#, checked.failed)),
    };
    let (name, identity) = (quoted(name), who.identity());
    Ok(format!(
        r#"{{"identifier":{name},"name":{title},"type":"{kind}",{identity},"gmtCreate":{now_ms},"value":{value}{failed},"time":{time}}}"#
    ))
}

/// What is left of an event's value after its model was held against it.
struct Checked {
    value: String,
    failed: String,
}

/// Holds each output of an event against its model; an event that the model does not have keeps
/// nothing.
fn judge(
    name: &str,
    outputs: Option<&[super::tsl::Field]>,
    value: &str,
) -> Result<Checked, Refusal> {
    let Fields(given) = serde_json::from_str(value).map_err(|_| NO_PARAMS)?;
    let (mut kept, mut failed) = (String::new(), String::new());
    let mut first: Option<Misfit> = None;
    for (key, value) in given {
        let misfit = match outputs {
            None => Some(Misfit::unknown(name)),
            Some(outputs) => match outputs.iter().find(|field| field.identifier == key) {
                None => Some(Misfit::unknown(&key)),
                Some(field) => field.data.check(&key, &read(value.get())).err(),
            },
        };
        let into = if misfit.is_some() { &mut failed } else { &mut kept };
        let comma = if into.is_empty() { "" } else { "," };
        write!(into, "{comma}{}:{}", quoted(&key), value.get()).ok();
        first = first.or(misfit);
    }
    let failed = match first {
        None => "{}".to_owned(),
        Some(Misfit { code, message }) => {
            let message = quoted(&message);
            format!(r#"{{"value":{{{failed}}},"code":{code},"message":{message}}}"#)
        }
    };
    Ok(Checked { value: format!("{{{kept}}}"), failed })
}

/// Value and time of `{"value": …, "time": …}` or of a bare value, which is from now.
fn timed(value: &RawValue, now_ms: u64) -> (&str, u64) {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Timed<'a> {
        #[serde(borrow)]
        value: &'a RawValue,
        #[serde(borrow)]
        time: Option<&'a RawValue>,
    }
    match serde_json::from_str::<Timed<'_>>(value.get()) {
        Ok(timed) => {
            let time = timed.time.and_then(|time| time.get().parse().ok());
            (timed.value.get(), time.unwrap_or(now_ms))
        }
        Err(_) => (value.get(), now_ms),
    }
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The message with another topic and payload.
pub(super) fn rewritten(message: &Message, topic: String, payload: String) -> Option<Message> {
    let topic = plain_topic(topic)?;
    Some(Message { topic, payload: payload.into(), ..message.clone() })
}

/// A topic that is made of parts of topics that were valid, so that no limit applies again.
pub(super) fn plain_topic(text: String) -> Option<Topic> {
    Topic::parse(text, TopicLimits { bytes: usize::MAX, levels: usize::MAX }).ok()
}

/// The keys and values of an object in their order, as they are written.
pub(super) struct Fields<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of properties")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                #[derive(Deserialize)]
                struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
                let mut fields = Vec::new();
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    fields.push((key.0, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}
