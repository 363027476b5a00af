//! The operations on tags of devices (development guide §2.8.25 to §2.8.28).
//!
//! Rules read tags with `attribute()`, which asks the registry.

use std::collections::BTreeMap;

use connectors::contract;
use serde_json::{Map, Value, json};

use super::named::{device, simple};
use super::refusal::{failed, refused};
use super::tag::{check_key, check_value, wanted};
use crate::api::aliyun::operation::{Operation, may, need};
use crate::api::aliyun::wire::answer::{Answer, object};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError};
use crate::api::aliyun::wire::page::Page;
use crate::api::state::Api;
use crate::registry::{RegistryError, TAG_BYTES_MAX, TAGS_MAX};
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

/// What a value may have beside letters and digits. The colon is not in the guide's list, but in its
/// example of coordinates.
const MARKS: &str = "_-.:";

/// Devices on a page.
const PAGE_SIZE_MAX: u32 = 50;

async fn save(api: &Api, call: &Call) -> Answer {
    let tags = tags(call.required("Props")?)?;
    let device = device(api, call, error::SAVE_TAGS).await?;
    let saved = api.state.registry.set_tags(&device.product_key, &device.device_name, &tags).await;
    saved.map_err(|problem| match problem {
        RegistryError::Full(have) => error::TOO_MANY_PROPERTIES
            .with(format!("the device has {have} of them, at most {TAGS_MAX} are allowed")),
        other => refused(other, error::SAVE_TAGS),
    })?;
    Ok(call.done())
}

/// The tags in `Props`. Keys must be whole: one that is given twice has its last value, as in JSON.
fn tags(props: &str) -> Result<BTreeMap<String, String>, ApiError> {
    if props.trim().is_empty() {
        return Err(error::NULL_PROPERTIES.with("Props"));
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
        return Err(error::NO_PROPERTIES.with("Props has no tag"));
    }
    if given.len() > TAGS_MAX {
        let text = format!("{} are given, at most {TAGS_MAX} are allowed", given.len());
        return Err(error::TOO_MANY_PROPERTIES.with(text));
    }
    given.into_iter().map(|(key, value)| Ok((checked_key(key)?, checked_value(value)?))).collect()
}

fn checked_key(key: String) -> Result<String, ApiError> {
    if key.is_empty() {
        return Err(error::NULL_PROPERTY_KEY.plain());
    }
    check_key(&key, KEY).map_err(|problem| error::TAG_KEY.with(problem))?;
    Ok(key)
}

/// Numbers and booleans are kept as they are written.
fn checked_value(value: Value) -> Result<String, ApiError> {
    let text = match value {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        other => {
            return Err(error::TAGS.with(format!("the value {other} is no text")));
        }
    };
    check_value(&text, MARKS).map_err(|problem| error::TAGS.with(problem))?;
    Ok(text)
}

async fn query(api: &Api, call: &Call) -> Answer {
    let device = device(api, call, error::QUERY_DEVICE).await?;
    let tags = api.state.registry.tags(&device.product_key, &device.device_name).await;
    let tags = tags.map_err(failed(error::QUERY_TAGS))?;
    let props: Map<String, Value> =
        tags.into_iter().map(|(key, value)| (key, Value::String(value))).collect();
    Ok(object(json!({
        "RequestId": call.id, "Props": Value::Object(props).to_string(), "Success": true
    })))
}

async fn delete(api: &Api, call: &Call) -> Answer {
    let key = call.required("PropKey")?;
    if key.is_empty() {
        return Err(error::NULL_PROPERTY_KEY.plain());
    }
    let device = device(api, call, error::DELETE_TAG).await?;
    let deleted = api.state.registry.delete_tag(&device.product_key, &device.device_name, key);
    deleted.await.map_err(|problem| refused(problem, error::DELETE_TAG))?;
    Ok(call.done())
}

async fn find(api: &Api, call: &Call) -> Answer {
    let page = Page::of(call, PAGE_SIZE_MAX)?;
    let tags = wanted(call, "Tag", error::NULL_PROPERTY_KEY)?;
    let registry = &api.state.registry;
    let found = registry.devices_with_tags(&tags, page.size, page.offset()).await;
    let (devices, total) = found.map_err(failed(error::LIST_DEVICES))?;
    let devices: Vec<_> = devices.iter().map(|found| simple(api, found)).collect();
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
