//! What the platform says on a device's behalf or to it: answers to its posts, requests to it, and the
//! documents that tell rules what became of requests.
//!
//! Nothing is sent from here.

use std::fmt::Write as _;

use contract::{Message, Topic};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::alink::{Address, Post, Refusal, Who, plain_topic, quoted};

/// The version of the device protocol.
const VERSION: &str = "1.0";

/// The answer to a post of a device, on `<topic>_reply`.
pub(super) fn answer(
    post: Option<&Post<'_>>,
    topic: &Topic,
    tail: &str,
    result: Result<&str, Refusal>,
    now_ms: u64,
) -> Option<Message> {
    let outcome = match result {
        Ok(data) => Outcome { code: 200, message: "success", data },
        Err(Refusal { code, message }) => Outcome { code: code.into(), message, data: "{}" },
    };
    answer_with(post, topic, tail, &outcome, now_ms)
}

/// What a device is told.
pub(super) struct Outcome<'a> {
    pub code: u32,
    pub message: &'a str,
    /// JSON.
    pub data: &'a str,
}

/// The same with data for refusals, too.
pub(super) fn answer_with(
    post: Option<&Post<'_>>,
    topic: &Topic,
    tail: &str,
    outcome: &Outcome<'_>,
    now_ms: u64,
) -> Option<Message> {
    let id = post.and_then(|post| post.id).map_or(r#""""#, RawValue::get);
    let version =
        post.and_then(|post| post.version).map_or(quoted(VERSION), |v| v.get().to_owned());
    let method = match post.and_then(|post| post.method) {
        Some(method) => method.get().to_owned(),
        None => quoted(&tail.replace('/', ".")),
    };
    let Outcome { code, message, data } = outcome;
    let message = quoted(message);
    let payload = format!(
        r#"{{"code":{code},"data":{data},"id":{id},"message":{message},"method":{method},"version":{version}}}"#
    );
    Some(Message::new(plain_topic(format!("{topic}_reply"))?, payload, now_ms))
}

/// The payload of a request to a device, a service or the setting of properties; `method` and
/// `params` are JSON.
pub(super) fn request(method: &str, id: u64, params: &str) -> String {
    format!(r#"{{"method":{method},"id":"{id}","params":{params},"version":"1.0.0"}}"#)
}

/// The payload of what a gateway is told of its devices; `params` is JSON.
pub(super) fn notice(method: &str, id: u64, params: &str) -> String {
    let method = quoted(method);
    format!(r#"{{"id":"{id}","version":"{VERSION}","params":{params},"method":{method}}}"#)
}

/// What became of a request that nobody waits for.
pub(super) struct Fate<'a> {
    /// The id of the request, as JSON.
    pub request_id: &'a str,
    pub code: i64,
    pub message: &'a str,
    /// The topic of the request.
    pub topic: &'a str,
    /// JSON.
    pub data: &'a str,
}

/// The document that tells rules of it: `/{pk}/{dn}/thing/downlink/reply/message`.
pub(super) fn downlink_reply(
    who: &Who<'_>,
    fate: &Fate<'_>,
    now_ms: u64,
) -> Option<(Topic, String)> {
    let Who { product_key, device_name, iot_id, .. } = who;
    let topic = plain_topic(format!("/{product_key}/{device_name}/thing/downlink/reply/message"))?;
    let mut out = String::with_capacity(256 + fate.data.len());
    write!(
        out,
        r#"{{"gmtCreate":{now_ms},"iotId":{},"productKey":{},"deviceName":{},"requestId":{},"code":{},"message":{},"topic":{},"data":{}}}"#,
        quoted(iot_id),
        quoted(product_key),
        quoted(device_name),
        fate.request_id,
        fate.code,
        quoted(fate.message),
        quoted(fate.topic),
        fate.data
    )
    .ok();
    Some((topic, out))
}

/// A device's answer to a request, of whichever vendor's form.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    code: Option<i64>,
    #[serde(default, alias = "msg")]
    message: Option<String>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// The document for the answer of a device that came on that topic, whose request went to `topic`.
pub(super) fn of_device(
    who: &Who<'_>,
    payload: &[u8],
    topic: &str,
    now_ms: u64,
) -> Option<(Topic, String)> {
    let answer: Answer<'_> = serde_json::from_slice(payload).ok()?;
    let id = answer.id.map_or("", RawValue::get).trim_matches('"');
    // A number, as the vendor writes it; what is none stays text.
    let quoted_id;
    let request_id = match id.parse::<u64>() {
        Ok(_) if !id.starts_with('0') || id == "0" => id,
        _ => {
            quoted_id = answer.id.map_or(r#""""#.to_owned(), |id| id.get().to_owned());
            &quoted_id
        }
    };
    let code = answer.code.unwrap_or(200);
    let message = answer.message.as_deref().unwrap_or(match code {
        200 => "success",
        _ => "",
    });
    let data = answer.data.map_or("{}", RawValue::get);
    downlink_reply(who, &Fate { request_id, code, message, topic, data }, now_ms)
}

/// The id in a device's answer, when it is a number.
pub(super) fn id_in(payload: &[u8]) -> Option<u64> {
    let answer: Answer<'_> = serde_json::from_slice(payload).ok()?;
    answer.id?.get().trim_matches('"').parse().ok()
}

/// `{"iotId":…,"productKey":…,"deviceName":…}` of each, as a JSON list.
pub(super) fn devices<'a>(devices: impl Iterator<Item = (String, &'a str, &'a str)>) -> String {
    let mut out = String::from("[");
    for (iot_id, product_key, device_name) in devices {
        let comma = if out.len() == 1 { "" } else { "," };
        let (iot_id, key, name) = (quoted(&iot_id), quoted(product_key), quoted(device_name));
        write!(out, r#"{comma}{{"iotId":{iot_id},"productKey":{key},"deviceName":{name}}}"#).ok();
    }
    out.push(']');
    out
}

/// The topic of what a device posted as rules see it: without `/sys`.
pub(super) fn rule_topic(address: &Address<'_>) -> String {
    let Address { product_key, device_name, tail } = address;
    format!("/{product_key}/{device_name}/{tail}")
}
