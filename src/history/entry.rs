//! What is kept of a message: the values of a document, or a call of a service and its answer.
//!
//! Values are copied as texts, never read. Where documents come from is not known here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use contract::{Message, Topic, TopicLimits};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Bytes of an identifier that is kept: the vendor's have 50 characters, a module's name before them
/// included, and a database's index takes no long ones.
const IDENTIFIER_BYTES: usize = 512;

/// The topic of calls on their way here. It says nothing: only what comes by itself is believed.
const CALLS: &str = "$history/service";

/// The service that setting properties is, as the vendor calls it.
const SET: &str = "set";

/// What is kept of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A property; its values are JSON as it was posted.
    Property,
    /// An event; its values are [`Event`]s.
    Event,
    /// A service; its values are [`Service`]s.
    Service,
}

impl Kind {
    /// The number that the store has for it.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Property => 1,
            Self::Event => 2,
            Self::Service => 3,
        }
    }
}

/// Whose values they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Series {
    pub device: Box<str>,
    pub kind: Kind,
    pub identifier: Box<str>,
}

/// One value on its way to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub series: Series,
    pub time_ms: u64,
    pub value: String,
}

/// What a device answered to a call of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub series: Series,
    /// Of the call.
    pub id: u64,
    pub output: String,
}

/// What messages hold.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub entries: Vec<Entry>,
    pub answers: Vec<Answer>,
    /// Values whose identifiers nobody can ask for.
    pub unnamed: u64,
}

/// An event as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct Event<'a> {
    /// `info`, `alert` or `error`.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// Its name in the model.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Its outputs, as they were posted.
    #[serde(borrow)]
    pub value: &'a RawValue,
}

/// A call of a service as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct Service<'a> {
    /// Of the call.
    pub id: u64,
    /// Its arguments, as they were given.
    #[serde(borrow)]
    pub input: &'a RawValue,
    /// What the device answered, if it has.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Cow<'a, str>>,
}

/// A call of a service, or the answer to one.
#[derive(Debug, Serialize, Deserialize)]
pub struct Called<'a> {
    /// The device's id.
    #[serde(borrow)]
    pub device: Cow<'a, str>,
    /// The service.
    #[serde(borrow)]
    pub identifier: Cow<'a, str>,
    /// Of the call.
    pub id: u64,
    /// When it was made, in milliseconds since 1970.
    pub time_ms: u64,
    /// The arguments; without them it is the answer to a call that is known.
    #[serde(borrow, default)]
    pub input: Option<&'a RawValue>,
    /// What the device answered.
    #[serde(borrow, default)]
    pub output: Option<Cow<'a, str>>,
}

impl<'a> Event<'a> {
    /// The event of a kept value.
    #[must_use]
    pub fn read(value: &'a str) -> Option<Self> {
        serde_json::from_str(value).ok()
    }
}

impl<'a> Service<'a> {
    /// The call of a kept value.
    #[must_use]
    pub fn read(value: &'a str) -> Option<Self> {
        serde_json::from_str(value).ok()
    }
}

impl Called<'_> {
    /// The message that brings it here; `None` for what is no text of JSON.
    pub(super) fn message(&self) -> Option<Message> {
        let topic = Topic::parse(CALLS, TopicLimits::default()).ok()?;
        Some(Message::new(topic, serde_json::to_vec(self).ok()?, self.time_ms))
    }
}

/// True for topics whose messages may be documents to keep. Called for every message.
pub(super) fn is_document(topic: &str) -> bool {
    (topic.ends_with("/post") && topic.contains("/thing/event/"))
        || topic.ends_with("/thing/downlink/reply/message")
}

/// Adds what a document holds. `id_of` knows the ids of registered devices, by product key and name:
/// of others nothing is kept, nor of a device that had the name before.
pub(super) fn read(
    message: &Message,
    id_of: impl Fn(&str, &str) -> Option<Box<str>>,
    into: &mut Found,
) {
    // What rules make of documents was posted once.
    if message.hops > 0 {
        return;
    }
    let mut parts = message.topic.as_str().splitn(4, '/');
    let (Some(""), Some(product_key), Some(device_name), Some(tail)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return;
    };
    let Some(device) = id_of(product_key, device_name) else { return };
    match tail {
        "thing/event/property/post" | "thing/event/property/history/post" => {
            properties(&message.payload, &device, into);
        }
        "thing/downlink/reply/message" => reply(&message.payload, &device, into),
        _ => event(&message.payload, &device, into),
    }
}

/// The document of a property post.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties<'a> {
    #[serde(borrow)]
    iot_id: Cow<'a, str>,
    #[serde(borrow)]
    items: BTreeMap<Cow<'a, str>, Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
    time: u64,
}

fn properties(payload: &[u8], device: &str, into: &mut Found) {
    let Ok(document) = serde_json::from_slice::<Properties<'_>>(payload) else { return };
    if document.iot_id != device {
        return;
    }
    for (identifier, item) in document.items {
        add(device, Kind::Property, &identifier, item.time, item.value.get().to_owned(), into);
    }
}

/// The document of an event post.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    #[serde(borrow)]
    iot_id: Cow<'a, str>,
    #[serde(borrow)]
    identifier: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
    time: u64,
}

fn event(payload: &[u8], device: &str, into: &mut Found) {
    let Ok(posted) = serde_json::from_slice::<Posted<'_>>(payload) else { return };
    let Posted { iot_id, identifier, name, kind, value, time } = posted;
    let event = Event { kind, name, value };
    let text = serde_json::to_string(&event).ok().filter(|_| iot_id == device);
    if let Some(text) = text {
        add(device, Kind::Event, &identifier, time, text, into);
    }
}

/// The document that tells what became of a request that nobody waits for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply<'a> {
    #[serde(borrow)]
    iot_id: Cow<'a, str>,
    #[serde(borrow)]
    request_id: &'a RawValue,
    code: i64,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

fn reply(payload: &[u8], device: &str, into: &mut Found) {
    let Ok(reply) = serde_json::from_slice::<Reply<'_>>(payload) else { return };
    let id = reply.request_id.get().parse();
    let (Some(identifier), Ok(id)) = (service_of(&reply.topic), id) else { return };
    if reply.iot_id == device {
        let series = series(device, Kind::Service, identifier);
        let output = output(id, reply.code, &reply.message, reply.data.get());
        into.answers.push(Answer { series, id, output });
    }
}

/// What a device answered, or the platform in its place, as the vendor writes it.
pub(super) fn output(id: u64, code: i64, message: &str, data: &str) -> String {
    let message = serde_json::Value::from(message);
    format!(r#"{{"code":{code},"data":{data},"id":"{id}","message":{message},"version":"1.0"}}"#)
}

/// The service that a request on a topic asks for.
fn service_of(topic: &str) -> Option<&str> {
    let (_, rest) = topic.split_once("/thing/service/")?;
    let identifier = rest.strip_suffix("/invoke").unwrap_or(rest);
    match identifier {
        "property/set" => Some(SET),
        _ => Some(identifier).filter(|identifier| !identifier.contains('/')),
    }
}

/// Adds a call, or the answer to one.
pub(super) fn called(payload: &[u8], into: &mut Found) {
    let Ok(called) = serde_json::from_slice::<Called<'_>>(payload) else { return };
    let Called { device, identifier, id, time_ms, input, output } = called;
    match input {
        Some(input) => {
            let text = serde_json::to_string(&Service { id, input, output });
            if let Ok(text) = text {
                add(&device, Kind::Service, &identifier, time_ms, text, into);
            }
        }
        None => {
            let series = series(&device, Kind::Service, &identifier);
            let output = output.unwrap_or_default().into_owned();
            into.answers.push(Answer { series, id, output });
        }
    }
}

fn add(device: &str, kind: Kind, identifier: &str, time_ms: u64, value: String, into: &mut Found) {
    // A NUL is no text for every database, and one bad value would hold up all others.
    if identifier.len() > IDENTIFIER_BYTES || identifier.contains('\0') {
        into.unnamed += 1;
        return;
    }
    into.entries.push(Entry { series: series(device, kind, identifier), time_ms, value });
}

fn series(device: &str, kind: Kind, identifier: &str) -> Series {
    Series { device: device.into(), kind, identifier: identifier.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(topic: &str, payload: &str) -> Found {
        let mut found = Found::default();
        let topic = Topic::parse(topic, TopicLimits::default()).expect("a topic");
        let message = Message::new(topic, payload.to_owned(), 5);
        if is_document(message.topic.as_str()) {
            let id_of = |pk: &str, dn: &str| ((pk, dn) == ("pk", "dn")).then(|| "ID".into());
            read(&message, id_of, &mut found);
        }
        found
    }

    fn texts(found: &Found) -> Vec<(Kind, &str, u64, &str)> {
        let of = |e: &'_ Entry| (e.series.kind, e.time_ms);
        found
            .entries
            .iter()
            .map(|e| (of(e).0, &*e.series.identifier, of(e).1, e.value.as_str()))
            .collect()
    }

    #[test]
    fn values_are_kept_as_they_were_posted() {
        let text = r#"{"iotId":"ID","gmtCreate":5,"items":{"n":{"value":18446744073709551615,"time":7},"d":{"value":1.50,"time":8},"t":{"value":"a\u0000\"b","time":9}}}"#;
        for topic in
            ["/pk/dn/thing/event/property/post", "/pk/dn/thing/event/property/history/post"]
        {
            let want = [
                (Kind::Property, "d", 8, "1.50"),
                (Kind::Property, "n", 7, "18446744073709551615"),
                (Kind::Property, "t", 9, r#""a\u0000\"b""#),
            ];
            assert_eq!(texts(&found(topic, text)), want);
        }
    }

    #[test]
    fn events_keep_name_and_type() {
        let text = r#"{"identifier":"low","name":"Low ❄","type":"alert","iotId":"ID","value":{"v":1.0},"time":7}"#;
        let found = found("/pk/dn/thing/event/low/post", text);
        let value = r#"{"type":"alert","name":"Low ❄","value":{"v":1.0}}"#;
        assert_eq!(texts(&found), [(Kind::Event, "low", 7, value)]);
        let event = Event::read(value).expect("an event");
        assert_eq!(
            (&*event.kind, &*event.name, event.value.get()),
            ("alert", "Low ❄", r#"{"v":1.0}"#)
        );
    }

    #[test]
    fn answers_find_their_service() {
        for (topic, want) in [
            ("/sys/pk/dn/thing/service/reboot", Some("reboot")),
            ("/sys/pk/dn/thing/service/property/set", Some("set")),
            ("$sys/pk/dn/thing/service/reboot/invoke", Some("reboot")),
            ("/sys/pk/dn/thing/service/a/b", None),
            ("/sys/pk/dn/thing/topo/add/notify", None),
        ] {
            let text = format!(
                r#"{{"iotId":"ID","requestId":12,"code":200,"message":"success","topic":"{topic}","data":{{"a":1.0}}}}"#
            );
            let found = found("/pk/dn/thing/downlink/reply/message", &text);
            let names: Vec<_> = found.answers.iter().map(|a| &*a.series.identifier).collect();
            assert_eq!(names, want.into_iter().collect::<Vec<_>>(), "{topic}");
            if let Some(answer) = found.answers.first() {
                let want = r#"{"code":200,"data":{"a":1.0},"id":"12","message":"success","version":"1.0"}"#;
                assert_eq!((answer.id, answer.output.as_str()), (12, want));
            }
        }
    }

    #[test]
    fn nothing_is_kept_of_others() {
        let text = r#"{"iotId":"ID","items":{"n":{"value":1,"time":7}}}"#;
        for (topic, text) in [
            ("/pk/other/thing/event/property/post", text.to_owned()),
            ("/pk/dn/thing/event/property/post", text.replace("ID", "OLD")),
            ("/pk/dn/thing/event/property/post", "no JSON".to_owned()),
            ("/pk/dn/user/update", text.to_owned()),
            ("/pk/dn/thing/event/e/post", text.to_owned()),
            ("/pk/dn/thing/downlink/reply/message", text.to_owned()),
        ] {
            let found = found(topic, &text);
            assert!(found.entries.is_empty() && found.answers.is_empty(), "{topic}");
        }
        let long = text.replace(r#""n""#, &format!(r#""{}""#, "n".repeat(513)));
        let long = self::found("/pk/dn/thing/event/property/post", &long);
        assert_eq!((long.entries.len(), long.unnamed), (0, 1));
    }
}
