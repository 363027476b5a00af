//! The operations on the topic route table (development guide §2.10.5 to §2.10.8).
//!
//! Messages flow along it elsewhere.

use connectors::contract::Topic;
use serde_json::json;

use super::refusal::{failed, refused};
use crate::api::aliyun::operation::{Operation, may, need};
use crate::api::aliyun::wire::answer::{Answer, object};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError};
use crate::api::state::Api;
use crate::registry::{DESTINATIONS_MAX, RegistryError, Route};
use crate::rule::store::Role;

/// The operations of routes, sorted by name. A list without elements is told apart from one that is
/// missing only by the operation itself.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "CreateTopicRouteTable",
        parameters: &[need("SrcTopic"), may("DstTopic")],
        role: Role::Admin,
        call: |api, call| Box::pin(create(api, call)),
    },
    Operation {
        name: "DeleteTopicRouteTable",
        parameters: &[need("SrcTopic"), may("DstTopic")],
        role: Role::Admin,
        call: |api, call| Box::pin(delete(api, call)),
    },
    Operation {
        name: "QueryTopicReverseRouteTable",
        parameters: &[need("Topic")],
        role: Role::Read,
        call: |api, call| Box::pin(reverse(api, call)),
    },
    Operation {
        name: "QueryTopicRouteTable",
        parameters: &[need("Topic")],
        role: Role::Read,
        call: |api, call| Box::pin(query(api, call)),
    },
];

/// Sources that one answer lists.
const SOURCES_MAX: u32 = 1_000;

async fn create(api: &Api, call: &Call) -> Answer {
    let source = source(api, call)?;
    let registry = &api.state.registry;
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for text in destinations(call)? {
        let route = parse(api, text).ok().filter(|route| {
            route.topic != source.topic
                && registry.knows_device(&route.product_key, &route.device_name)
        });
        match route {
            Some(route) => good.push(route),
            None => bad.push(text.to_owned()),
        }
    }
    let product = registry.product(&source.product_key);
    if product.is_none() {
        return Err(error::SOURCE_PRODUCT.with(&source.product_key));
    }
    if !registry.knows_device(&source.product_key, &source.device_name) {
        return Err(error::NO_DEVICE.with(format!("`{}`", source.device_name)));
    }
    if !registry.is_active(&source.product_key, &source.device_name) {
        return Err(error::INACTIVE.with(&source.device_name));
    }
    registry.add_routes(&source, &good).await.map_err(|problem| match problem {
        RegistryError::Full(have) => error::DESTINATION_COUNT
            .with(format!("the source has {have} already, at most {DESTINATIONS_MAX} are allowed")),
        other => refused(other, error::CREATE_ROUTE),
    })?;
    Ok(outcome(call, bad))
}

async fn delete(api: &Api, call: &Call) -> Answer {
    let source = source(api, call)?;
    let destinations: Vec<_> = destinations(call)?.into_iter().map(str::to_owned).collect();
    let registry = &api.state.registry;
    if registry.product(&source.product_key).is_none() {
        return Err(error::SOURCE_PRODUCT.with(&source.product_key));
    }
    let missing = registry.delete_routes(source.topic.as_str(), &destinations).await;
    Ok(outcome(call, missing.map_err(failed(error::DELETE_ROUTE))?))
}

fn outcome(call: &Call, failures: Vec<String>) -> serde_json::Map<String, serde_json::Value> {
    object(json!({
        "RequestId": call.id,
        "Success": true,
        "IsAllSucceed": failures.is_empty(),
        "FailureTopics": { "Topic": failures }
    }))
}

async fn query(api: &Api, call: &Call) -> Answer {
    let topic = topic(api, call)?;
    let found = api.state.registry.destinations(topic.as_str()).await;
    let found = found.map_err(failed(error::LIST_ROUTES))?;
    Ok(object(json!({ "RequestId": call.id, "Success": true, "DstTopics": { "Topic": found } })))
}

async fn reverse(api: &Api, call: &Call) -> Answer {
    let topic = topic(api, call)?;
    let found = api.state.registry.sources(topic.as_str(), SOURCES_MAX).await;
    let found = found.map_err(failed(error::LIST_REVERSE_ROUTES))?;
    Ok(object(json!({ "RequestId": call.id, "Success": true, "SrcTopics": { "Topic": found } })))
}

fn source(api: &Api, call: &Call) -> Result<Route, ApiError> {
    match call.required("SrcTopic")? {
        "" => Err(error::NULL_SOURCE_TOPIC.plain()),
        text => parse(api, text).map_err(|problem| error::SOURCE_TOPIC.with(problem)),
    }
}

fn destinations(call: &Call) -> Result<Vec<&str>, ApiError> {
    let given = call.list("DstTopic")?;
    if given.is_empty() {
        return Err(error::NO_DESTINATION.plain());
    }
    if given.len() > DESTINATIONS_MAX {
        let count = given.len();
        let text = format!("{count} are given, at most {DESTINATIONS_MAX} are allowed");
        return Err(error::DESTINATION_COUNT.with(text));
    }
    Ok(given)
}

fn topic(api: &Api, call: &Call) -> Result<Topic, ApiError> {
    match call.required("Topic")? {
        "" => Err(error::NULL_TOPIC.plain()),
        text => match parse(api, text) {
            Ok(route) => Ok(route.topic),
            Err(problem) => Err(error::TOPIC_NAME.with(problem)),
        },
    }
}

fn parse(api: &Api, text: &str) -> Result<Route, String> {
    let topic = Topic::parse(text, api.state.limits.topics);
    let topic = topic.map_err(|problem| format!("`{text}`: {problem}"))?;
    Route::of(topic).ok_or_else(|| {
        format!("`{text}`: expected a topic of a device such as `/productKey/deviceName/update`")
    })
}
