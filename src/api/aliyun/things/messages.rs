//! Operations that send messages to devices: `Pub`, `PubBroadcast`, `RRpc`.
//!
//! What a message means to a device is not known here.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytestring::ByteString;
use connectors::contract::{Batch, Headers, Message, Origin, Topic};
use futures_util::FutureExt as _;
use serde_json::json;

use super::target::{Target, bytes, product, qos};
use crate::api::aliyun::operation::{Operation, may, need};
use crate::api::aliyun::wire::answer::{Answer, object};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError};
use crate::api::state::Api;
use crate::rule::store::Role;
use crate::thing::{CallError, RRPC_PATIENCE_MS};

/// Sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "Pub",
        parameters: &[
            need("ProductKey"),
            need("TopicFullName"),
            need("MessageContent"),
            may("Qos"),
            may("Retained"),
            may("ContentType"),
            may("ResponseTopic"),
            may("CorrelationData"),
            may("UserProp"),
        ],
        role: Role::Operate,
        call: |api, call| publish(api, call).boxed(),
    },
    Operation {
        name: "PubBroadcast",
        parameters: &[need("ProductKey"), need("TopicFullName"), need("MessageContent")],
        role: Role::Operate,
        call: |api, call| broadcast(api, call).boxed(),
    },
    Operation {
        name: "RRpc",
        parameters: &[
            need("ProductKey"),
            need("DeviceName"),
            need("RequestBase64Byte"),
            may("Timeout"),
            may("Topic"),
            may("ContentType"),
        ],
        role: Role::Operate,
        call: |api, call| rrpc(api, call).boxed(),
    },
];

/// The name in a message's origin.
const SOURCE: &str = "api";

/// User properties of one message.
const USER_PROPERTIES_MAX: usize = 20;

async fn publish(api: &Api, call: &Call) -> Answer {
    let product_key = product(api, call)?;
    let name = call.required("TopicFullName")?;
    let topic = topic(api, name, &format!("/{product_key}/"), 3)?;
    let mut message = message(api, call, topic)?;
    message.qos = qos(call)?;
    message.retain = call.flag("Retained")?.unwrap_or(false);
    message.headers = headers(call)?;
    message.properties = user_properties(call)?;
    let id = send(api, message).await?;
    // Clients of typed languages read it as text.
    Ok(object(json!({ "RequestId": call.id, "Success": true, "MessageId": id.to_string() })))
}

async fn broadcast(api: &Api, call: &Call) -> Answer {
    let product_key = product(api, call)?;
    let name = call.required("TopicFullName")?;
    let topic = topic(api, name, &format!("/broadcast/{product_key}/"), 3)?;
    let id = send(api, message(api, call, topic)?).await?;
    Ok(object(json!({ "RequestId": call.id, "Success": true, "MessageId": id })))
}

/// A topic that starts so and has at least so many levels: none of the platform's own.
fn topic(api: &Api, text: &str, start: &str, levels: usize) -> Result<Topic, ApiError> {
    if text.is_empty() {
        return Err(error::NULL_TOPIC.plain());
    }
    let wrong =
        |what: String| error::TOPIC_NAME.with(format!("`{text}`: {what}; expected `{start}…`"));
    let topic = Topic::parse(text, api.state.limits.topics).map_err(|e| wrong(e.to_string()))?;
    let whole = topic.levels().count() >= levels && topic.levels().all(|level| !level.is_empty());
    match text.starts_with(start) && whole {
        true => Ok(topic),
        false => Err(wrong("it is none of the product's own topics".to_owned())),
    }
}

fn message(api: &Api, call: &Call, topic: Topic) -> Result<Message, ApiError> {
    let content = call.required("MessageContent")?;
    let payload = bytes(api, "MessageContent", content, error::PUBLISH)?;
    let mut message = Message::new(topic, payload, api.now_ms());
    message.origin = Arc::new(Origin { source: Some(SOURCE.into()), ..Origin::default() });
    Ok(message)
}

fn headers(call: &Call) -> Result<Option<Arc<Headers>>, ApiError> {
    let text = |name: &str| call.text(name).filter(|text| !text.is_empty()).map(ByteString::from);
    let data = call.text("CorrelationData").filter(|text| !text.is_empty());
    let data = data.map(|text| STANDARD.decode(text)).transpose();
    let headers = Headers {
        content_type: text("ContentType"),
        response_topic: text("ResponseTopic"),
        correlation_data: data
            .map_err(|problem| error::FORMAT.with(format!("CorrelationData: {problem}")))?
            .map(Into::into),
    };
    Ok((headers != Headers::default()).then(|| Arc::new(headers)))
}

type UserProperties = Option<Arc<[(ByteString, ByteString)]>>;

fn user_properties(call: &Call) -> Result<UserProperties, ApiError> {
    let given = call.objects("UserProp")?;
    if given.len() > USER_PROPERTIES_MAX {
        let text = format!("more than {USER_PROPERTIES_MAX} of UserProp");
        return Err(error::FORMAT.with(text));
    }
    let pairs: Vec<_> = given
        .iter()
        .map(|fields| {
            let field = |name| ByteString::from(fields.get(name).copied().unwrap_or(""));
            (field("Key"), field("Value"))
        })
        .collect();
    Ok((!pairs.is_empty()).then(|| pairs.into()))
}

/// Hands a message to the rules, and once they have it to the subscribers. Returns its id.
async fn send(api: &Api, message: Message) -> Result<u64, ApiError> {
    let (batch, accepted) = Batch::awaited(vec![message.clone()]);
    if api.state.ingress.try_submit(batch).is_err() {
        return Err(error::PUBLISH.with("the queue is full; try again"));
    }
    let taken = async {
        accepted.wait().await?;
        // Whether anybody has subscribed is not the caller's concern.
        api.state.things.publish_kept(&message).await
    };
    match tokio::time::timeout(api.state.limits.accept_wait, taken).await {
        Ok(Ok(_queued)) => Ok(api.state.things.message_id()),
        Ok(Err(problem)) => Err(error::PUBLISHING.with(problem)),
        Err(_) => {
            let text = "the message was not taken in time; it may be taken yet";
            Err(error::PUBLISHING.with(text))
        }
    }
}

async fn rrpc(api: &Api, call: &Call) -> Answer {
    let Target { product_key, device_name } = Target::named(api, call)?;
    // The guide's own example spells it otherwise than its table.
    let timeout = if call.has("Timeout") { "Timeout" } else { "TimeOut" };
    let patience = call
        .number(timeout, RRPC_PATIENCE_MS, error::TIMEOUT_VALUE)?
        .ok_or_else(|| error::MISSING_PARAMETER.with("Timeout"))?;
    let content = call.required("RequestBase64Byte")?;
    let payload = bytes(api, "RequestBase64Byte", content, error::RRPC)?;
    let own = match call.text("Topic").filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some(topic(api, text, &format!("/{product_key}/{device_name}/"), 3)?),
    };
    let patience = Duration::from_millis(patience);
    let device = (product_key.as_str(), device_name.as_str());
    let (id, answer) = api.state.things.rrpc(device, own.as_ref(), payload, patience).await;
    let code = match &answer {
        Ok(_) => "SUCCESS",
        Err(CallError::Timeout) => "TIMEOUT",
        Err(CallError::Offline) => "OFFLINE",
        Err(CallError::HalfOpen) => "HALFCONN",
        Err(CallError::Busy) => "UNKNOW",
    };
    let mut fields = object(json!({ "RequestId": call.id, "Success": true, "RrpcCode": code }));
    if let Ok(payload) = answer {
        fields.insert("PayloadBase64Byte".to_owned(), STANDARD.encode(payload).into());
    }
    fields.insert("MessageId".to_owned(), id.into());
    Ok(fields)
}
