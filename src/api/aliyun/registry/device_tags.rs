//! The operations on tags of devices (development guide §2.8.25 to §2.8.28).
//!
//! Rules read tags with `attribute()`, which asks the registry.

use std::collections::BTreeMap;

use connectors::contract;
use serde_json::{Map, Value, json};

use super::named::device;
use super::refusal::{failed, refused};
use crate::api::aliyun::operation::{Operation, may, need};
use crate::api::aliyun::wire::answer::{Answer, object};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError};
use crate::api::aliyun::wire::page::Page;
use crate::api::state::Api;
use crate::registry::{Found, RegistryError, TAG_BYTES_MAX, TAGS_MAX};
use crate::rule::store::Role;

/// The operations of tags, sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "DeleteDeviceProp",
        parameters: &[may("IotId"), may("ProductKey"), may("DeviceName"), need("PropKey")],
        role: Role::Admin,
        call: |api, call| Box::pin(delete(api, call)),
    },
    Operation {
        name: "QueryDeviceByTags",
        parameters: &[need("Tag"), may("CurrentPage"), may("PageSize")],
        role: Role::Read,
        call: |api, call| Box::pin(find(api, call)),
    },
    Operation {
        name: "QueryDeviceProp",
        parameters: &[may("IotId"), may("ProductKey"), may("DeviceName")],
        role: Role::Read,
        call: |api, call| Box::pin(query(api, call)),
    },
    Operation {
        name: "SaveDeviceProp",
        parameters: &[may("IotId"), may("ProductKey"), may("DeviceName"), need("Props")],
        role: Role::Admin,
        call: |api, call| Box::pin(save(api, call)),
    },
];

/// Characters of a key.
const KEY: std::ops::RangeInclusive<usize> = 2..=30;

/// Characters of a value; one that is not ASCII counts 2.
const VALUE_WIDTH: usize = 128;

/// Tags that one search may name.
const SEARCH_MAX: usize = 10;

/// Devices on a page.
const PAGE_SIZE_MAX: u32 = 50;

async fn save(api: &Api, call: &Call) -> Answer {
    let tags = tags(call.required("Props")?)?;
    let device = device(api, call, error::SAVE_TAGS).await?;
    let saved = api.state.registry.set_tags(&device.product_key, &device.device_name, &tags).await;
    saved.map_err(|problem| match problem {
        RegistryError::Full(have) => error::TOO_MANY_TAGS
            .with(format!("the device has {have} of them, at most {TAGS_MAX} are allowed")),
        other => refused(other, error::SAVE_TAGS),
    })?;
    Ok(call.done())
}

/// The tags in `Props`. Keys must be whole: one that is given twice has its last value, as in JSON.
fn tags(props: &str) -> Result<BTreeMap<String, String>, ApiError> {
    if props.trim().is_empty() {
        return Err(error::NULL_TAGS.plain());
    }
    if props.len() > TAG_BYTES_MAX {
        let length = props.len();
        let text = format!("it has {length} bytes, at most {TAG_BYTES_MAX} are allowed");
        return Err(error::LONG_TAGS.with(text));
    }
    let given = contract::object(props.as_bytes()).map_err(|problem| {
        error::TAGS.with(format!("{problem}; expected an object such as {{\"color\":\"red\"}}"))
    })?;
    if given.is_empty() {
        return Err(error::NO_TAGS.plain());
    }
    if given.len() > TAGS_MAX {
        let text = format!("{} are given, at most {TAGS_MAX} are allowed", given.len());
        return Err(error::TOO_MANY_TAGS.with(text));
    }
    given.into_iter().map(|(key, value)| Ok((checked_key(key)?, checked_value(value)?))).collect()
}

fn checked_key(key: String) -> Result<String, ApiError> {
    if key.is_empty() {
        return Err(error::NULL_TAG_KEY.plain());
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '.';
    if KEY.contains(&key.len()) && key.chars().all(fits) {
        return Ok(key);
    }
    let text = format!("`{key}`; expected 2 to 30 letters, digits and `.`");
    Err(error::TAG_KEY.with(text))
}

/// Numbers and booleans are kept as they are written. The colon is not in the guide's list, but in its
/// example of coordinates.
fn checked_value(value: Value) -> Result<String, ApiError> {
    let text = match value {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        other => {
            return Err(error::TAGS.with(format!("the value {other} is no text")));
        }
    };
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    if let Some(bad) = text.chars().find(|c| !fits(*c)) {
        let text = format!("{bad:?} is not allowed in a value; letters, digits and `_-.:` are");
        return Err(error::TAGS.with(text));
    }
    let width: usize = text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
    if (1..=VALUE_WIDTH).contains(&width) {
        return Ok(text);
    }
    Err(error::TAGS.with(format!("a value has {width} characters; expected 1 to {VALUE_WIDTH}")))
}

async fn query(api: &Api, call: &Call) -> Answer {
    let device = device(api, call, error::QUERY_DEVICE).await?;
    let tags = api.state.registry.tags(&device.product_key, &device.device_name).await;
    let tags = tags.map_err(failed(error::QUERY_DEVICE))?;
    let props: Map<String, Value> =
        tags.into_iter().map(|(key, value)| (key, Value::String(value))).collect();
    Ok(object(json!({
        "RequestId": call.id, "Props": Value::Object(props).to_string(), "Success": true
    })))
}

async fn delete(api: &Api, call: &Call) -> Answer {
    let key = call.required("PropKey")?;
    if key.is_empty() {
        return Err(error::NULL_TAG_KEY.plain());
    }
    let device = device(api, call, error::DELETE_TAG).await?;
    let deleted = api.state.registry.delete_tag(&device.product_key, &device.device_name, key);
    deleted.await.map_err(|problem| refused(problem, error::DELETE_TAG))?;
    Ok(call.done())
}

async fn find(api: &Api, call: &Call) -> Answer {
    let page = Page::of(call, PAGE_SIZE_MAX)?;
    let mut tags = Vec::new();
    for tag in call.objects("Tag")? {
        let key = tag.get("TagKey").copied().unwrap_or("");
        if key.is_empty() {
            return Err(error::NULL_TAG_KEY.plain());
        }
        let value = tag.get("TagValue").filter(|value| !value.is_empty());
        tags.push((key.to_owned(), value.map(|value| (*value).to_owned())));
    }
    if tags.len() > SEARCH_MAX {
        let text = format!("{} tags are given, at most {SEARCH_MAX} are allowed", tags.len());
        return Err(error::FORMAT.with(text));
    }
    let registry = &api.state.registry;
    let found = registry.devices_with_tags(&tags, page.size, page.offset()).await;
    let (devices, total) = found.map_err(failed(error::LIST_DEVICES))?;
    let info = |found: &Found| {
        let product = registry.product(&found.product_key);
        json!({
            "DeviceName": found.device_name,
            "ProductKey": found.product_key,
            "IotId": found.iot_id,
            "ProductName": product.map_or(String::new(), |product| product.name.clone()),
        })
    };
    let devices: Vec<_> = devices.iter().map(info).collect();
    Ok(object(json!({
        "PageCount": page.count(total),
        "Data": { "SimpleDeviceInfo": devices },
        "PageSize": page.size,
        "Page": page.number,
        "RequestId": call.id,
        "Success": true,
        "Total": total
    })))
}
