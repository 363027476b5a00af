//! The operations on topic classes of products (development guide §2.10.1 to §2.10.4).
//!
//! What a device may do with them is decided where it connects.

use serde_json::json;

use super::named::{description, product};
use super::refusal::{failed, refused};
use crate::api::aliyun::operation::{Operation, may, need};
use crate::api::aliyun::wire::answer::{Answer, filled, object, without_nulls};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError};
use crate::api::state::Api;
use crate::registry::{RegistryError, TopicClass, TopicOperation, check_short_name};
use crate::rule::store::Role;

/// The operations of topic classes, sorted by name. `Codec` and `EnableProxySubscribe` of later
/// clients change nothing here.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "CreateProductTopic",
        parameters: &[
            need("ProductKey"),
            need("TopicShortName"),
            need("Operation"),
            may("Desc"),
            may("Codec"),
            may("EnableProxySubscribe"),
        ],
        role: Role::Admin,
        call: |api, call| Box::pin(create(api, call)),
    },
    Operation {
        name: "DeleteProductTopic",
        parameters: &[need("TopicId")],
        role: Role::Admin,
        call: |api, call| Box::pin(delete(api, call)),
    },
    Operation {
        name: "QueryProductTopic",
        parameters: &[need("ProductKey")],
        role: Role::Read,
        call: |api, call| Box::pin(query(api, call)),
    },
    Operation {
        name: "UpdateProductTopic",
        parameters: &[
            need("TopicId"),
            may("TopicShortName"),
            may("Operation"),
            may("Desc"),
            may("Codec"),
            may("EnableProxySubscribe"),
        ],
        role: Role::Admin,
        call: |api, call| Box::pin(update(api, call)),
    },
];

async fn create(api: &Api, call: &Call) -> Answer {
    let product = product(api, call)?;
    let class = TopicClass {
        id: 0,
        short_name: short_name(call.required("TopicShortName")?)?.to_owned(),
        operation: operation(call.required("Operation")?)?,
        description: description(call.text("Desc").unwrap_or(""), error::FORMAT)?,
    };
    let created = api.state.registry.create_topic_class(&product.key, class).await;
    let id = created.map_err(|problem| match problem {
        RegistryError::NameTaken(name) => error::TOPIC_CLASS_TAKEN.with(name),
        RegistryError::Full(count) => error::TOPIC_CLASS_COUNT.with(count),
        other => refused(other, error::CREATE_TOPIC_CLASS),
    })?;
    Ok(object(json!({ "RequestId": call.id, "Success": true, "TopicId": id })))
}

async fn query(api: &Api, call: &Call) -> Answer {
    let product = product(api, call)?;
    let classes = api.state.registry.topic_classes(&product.key).await;
    let classes = classes.map_err(failed(error::LIST_TOPIC_CLASSES))?;
    let info = |class: &TopicClass| {
        without_nulls(json!({
            "Id": class.id.to_string(),
            "Operation": class.operation.number().to_string(),
            "ProductKey": product.key,
            "TopicShortName": format!("/{}/${{deviceName}}/{}", product.key, class.short_name),
            "Desc": filled(Some(&class.description)),
        }))
    };
    let classes: Vec<_> = classes.iter().map(info).collect();
    Ok(object(json!({
        "Data": { "ProductTopicInfo": classes }, "RequestId": call.id, "Success": true
    })))
}

async fn update(api: &Api, call: &Call) -> Answer {
    let id = topic_id(call)?;
    let name = call.text("TopicShortName").map(short_name).transpose()?;
    let operation = call.text("Operation").map(operation).transpose()?;
    let text = call.text("Desc").map(|text| description(text, error::FORMAT)).transpose()?;
    let updated = api.state.registry.update_topic_class(id, name, operation, text.as_deref());
    updated.await.map_err(|problem| match problem {
        RegistryError::NameTaken(name) => error::TOPIC_CLASS_TAKEN.with(name),
        other => refused(other, error::UPDATE_TOPIC_CLASS),
    })?;
    Ok(call.done())
}

async fn delete(api: &Api, call: &Call) -> Answer {
    let deleted = api.state.registry.delete_topic_class(topic_id(call)?).await;
    deleted.map_err(|problem| refused(problem, error::DELETE_TOPIC_CLASS))?;
    Ok(call.done())
}

fn topic_id(call: &Call) -> Result<u64, ApiError> {
    match call.required("TopicId")? {
        "" => Err(error::NULL_TOPIC_ID.plain()),
        text => text.parse().ok().filter(|id| *id > 0).ok_or_else(|| {
            error::TOPIC_ID.with(format!("`{text}`; expected a number such as 10000"))
        }),
    }
}

fn short_name(text: &str) -> Result<&str, ApiError> {
    if text.is_empty() {
        return Err(error::NULL_TOPIC.plain());
    }
    check_short_name(text)
        .map_err(|problem| error::TOPIC_NAME.with(format!("`{text}`: {problem}")))?;
    Ok(text)
}

fn operation(text: &str) -> Result<TopicOperation, ApiError> {
    if text.is_empty() {
        return Err(error::NULL_TOPIC_OPERATION.plain());
    }
    TopicOperation::parse(text)
        .ok_or_else(|| error::TOPIC_OPERATION.with(format!("`{text}`; expected PUB, SUB or ALL")))
}
