//! Posts in the device protocol (`{"id", "version", "params", "method"}`) to the documents that are
//! forwarded (vendor's guide "data formats", property and event posts).
//!
//! Numbers keep their text: values are copied, not read.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;

use bytes::Bytes;
use connectors::contract::{Message, Topic, TopicLimits};
use md5::{Digest as _, Md5};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The category of a device whose thing model is not known.
const DEVICE_TYPE: &str = "Custom";

/// The kind of an event whose thing model is not known: `info`, `alert` or `error`.
const EVENT_TYPE: &str = "info";

/// The topic and, when it is a document of the protocol, the payload to forward in the place of a
/// message; `None` when the message is no post of the thing model.
pub(super) fn convert(message: &Message) -> Option<(Topic, Option<Bytes>)> {
    let text = message.topic.as_str();
    let rest = text.strip_prefix("/sys/")?;
    let (product_key, tail) = rest.split_once('/')?;
    let (device_name, tail) = tail.split_once('/')?;
    let event = tail.strip_prefix("thing/event/")?.strip_suffix("/post")?;
    if product_key.is_empty() || device_name.is_empty() || event.is_empty() || event.contains('/') {
        return None;
    }
    let topic = text.strip_prefix("/sys")?.to_owned();
    // A part of a valid topic that is no longer than it was is valid under any limits.
    let limits = TopicLimits { bytes: usize::MAX, levels: usize::MAX };
    let topic = Topic::parse(topic, limits).ok()?;
    let post: Option<Post<'_>> = serde_json::from_slice(&message.payload).ok();
    let device = Identity { product_key, device_name, received_ms: message.received_ms };
    let payload = post.and_then(|post| match event {
        "property" => device.properties(post.params),
        _ => device.event(event, post.params),
    });
    Some((topic, payload.map(Bytes::from)))
}

#[derive(Deserialize)]
struct Post<'a> {
    #[serde(borrow)]
    params: &'a RawValue,
}

struct Identity<'a> {
    product_key: &'a str,
    device_name: &'a str,
    received_ms: u64,
}

impl Identity<'_> {
    fn properties(&self, params: &RawValue) -> Option<String> {
        let params: Fields<'_> = serde_json::from_str(params.get()).ok()?;
        let mut out = self.open("", params.0.len() * 64);
        write!(out, r#","deviceType":"{DEVICE_TYPE}","items":{{"#).ok()?;
        for (index, (name, value)) in params.0.iter().enumerate() {
            let (value, time) = self.timed(value);
            let comma = if index == 0 { "" } else { "," };
            write!(out, r#"{comma}{}:{{"value":{value},"time":{time}}}"#, quoted(name)).ok()?;
        }
        out.push_str("}}");
        Some(out)
    }

    fn event(&self, name: &str, params: &RawValue) -> Option<String> {
        if !params.get().starts_with('{') {
            return None;
        }
        let (value, time) = self.timed(params);
        let name = quoted(name);
        let head = format!(r#""identifier":{name},"name":{name},"type":"{EVENT_TYPE}","#);
        let mut out = self.open(&head, value.len());
        write!(out, r#","value":{value},"time":{time}}}"#).ok()?;
        Some(out)
    }

    /// The start of a document: `head`, then who posted and when, without the closing brace.
    fn open(&self, head: &str, room: usize) -> String {
        let mut out = String::with_capacity(head.len() + room + 256);
        // Writing to a String can't fail.
        write!(
            out,
            r#"{{{head}"iotId":"{}","productKey":{},"deviceName":{},"gmtCreate":{}"#,
            self.iot_id(),
            quoted(self.product_key),
            quoted(self.device_name),
            self.received_ms
        )
        .ok();
        out
    }

    /// Value and time of `{"value": …, "time": …}` or of a bare value, which is from now.
    fn timed<'v>(&self, value: &'v RawValue) -> (&'v str, u64) {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Timed<'a> {
            #[serde(borrow)]
            value: &'a RawValue,
            #[serde(borrow)]
            time: Option<&'a RawValue>,
        }
        match serde_json::from_str::<Timed<'v>>(value.get()) {
            Ok(timed) => {
                let time = timed.time.and_then(|time| time.get().parse().ok());
                (timed.value.get(), time.unwrap_or(self.received_ms))
            }
            Err(_) => (value.get(), self.received_ms),
        }
    }

    /// A number for the device that is always the same, as long as no registry gives it one.
    fn iot_id(&self) -> String {
        let mut hash = Md5::new();
        hash.update(self.product_key.as_bytes());
        hash.update([0]);
        hash.update(self.device_name.as_bytes());
        hex::encode(hash.finalize())
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The keys and values of an object in their order, as they are written.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
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
