//! Who is meant: the product, device or group that a request names, and what is told of one in many answers.
//!
//! No operation stands here.

use std::sync::Arc;

use serde_json::{Value, json};

use super::refusal::failed;
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError, ErrorCode};
use crate::api::state::Api;
use crate::registry::{
    Device, DeviceRef, DeviceStatus, Found, Product, is_group_id, is_iot_id, is_product_key,
};

/// The characters of an id that stood for the device before there were ids.
const OLD_ID: usize = 20;

/// The product key of a request.
pub(super) fn product_key(call: &Call) -> Result<&str, ApiError> {
    checked_key(call.text("ProductKey"))
}

fn checked_key(text: Option<&str>) -> Result<&str, ApiError> {
    match text {
        None | Some("") => Err(error::NO_PRODUCT_KEY.plain()),
        Some(key) if is_product_key(key) => Ok(key),
        Some(key) => {
            let text = format!("`{key}`; expected letters and digits such as a1FlqIQ0abc");
            Err(error::PRODUCT_KEY.with(text))
        }
    }
}

/// The product that a request names.
pub(super) fn product(api: &Api, call: &Call) -> Result<Arc<Product>, ApiError> {
    let key = product_key(call)?;
    api.state.registry.product(key).ok_or_else(|| error::NO_PRODUCT.with(key))
}

/// An id of a device.
pub(super) fn iot_id(text: &str) -> Result<&str, ApiError> {
    match is_iot_id(text) {
        true => Ok(text),
        false => Err(error::IOT_ID.with(format!("`{text}`"))),
    }
}

/// The device that a request names: by `IotId`, else by `ProductKey` and `DeviceName`.
pub(super) fn device_ref<'a>(api: &Api, call: &'a Call) -> Result<DeviceRef<'a>, ApiError> {
    device_of(api, ["IotId", "ProductKey", "DeviceName"].map(|name| call.text(name)))
}

/// The device of that id, else of that product key and name.
pub(super) fn device_of<'a>(
    api: &Api,
    [id, key, name]: [Option<&'a str>; 3],
) -> Result<DeviceRef<'a>, ApiError> {
    if let Some(id) = id.filter(|id| !id.is_empty()) {
        return Ok(DeviceRef::IotId(iot_id(id)?));
    }
    let product_key = checked_key(key)?;
    let device_name = match name {
        None | Some("") => return Err(error::NULL_DEVICE_NAME.plain()),
        Some(name) => name,
    };
    if api.state.registry.product(product_key).is_none() {
        return Err(error::NO_PRODUCT.with(product_key));
    }
    Ok(DeviceRef::Name { product_key, device_name })
}

/// The device that a request names, which must be registered. `code` is for a store that fails.
pub(super) async fn device(
    api: &Api,
    call: &Call,
    code: &'static ErrorCode,
) -> Result<Device, ApiError> {
    known(api, device_ref(api, call)?, code).await
}

/// A device that must be registered.
pub(super) async fn known(
    api: &Api,
    of: DeviceRef<'_>,
    code: &'static ErrorCode,
) -> Result<Device, ApiError> {
    let device = api.state.registry.device(of).await.map_err(failed(code))?;
    device.ok_or_else(|| error::NO_DEVICE.with(of))
}

/// The id of a group that a request names, which dynamic ones are not.
pub(super) fn static_group(call: &Call) -> Result<&str, ApiError> {
    if let Some(kind) = call.text("GroupType").filter(|kind| !kind.is_empty()) {
        return Err(no_dynamic_groups("GroupType", kind));
    }
    group_id(call.required("GroupId")?)
}

/// What later clients ask for, and is not there.
pub(super) fn no_dynamic_groups(name: &str, kind: &str) -> ApiError {
    error::FORMAT.with(format!("{name} `{kind}`: there are no groups of this type; leave it out"))
}

/// An id of a group, in the form that all of them have.
pub(super) fn group_id(text: &str) -> Result<&str, ApiError> {
    match text {
        "" => Err(error::NULL_GROUP_ID.plain()),
        text if is_group_id(text) => Ok(text),
        text => Err(error::NO_GROUP.with(format!("`{text}`"))),
    }
}

/// What lists tell of a device that was looked for.
pub(super) fn simple(api: &Api, found: &Found) -> Value {
    let product = api.state.registry.product(&found.product_key);
    json!({
        "DeviceName": found.device_name,
        "ProductKey": found.product_key,
        "IotId": found.iot_id,
        "ProductName": product.map_or(String::new(), |product| product.name.clone()),
    })
}

/// A description of at most 100 characters.
pub(super) fn description(text: &str, code: &'static ErrorCode) -> Result<String, ApiError> {
    const MOST: usize = 100;
    // Not every database keeps such a text.
    if text.contains('\0') {
        return Err(code.with("it has a character NUL"));
    }
    let length = text.chars().count();
    match length > MOST {
        true => Err(code.with(format!("it has {length} characters, at most {MOST} are allowed"))),
        false => Ok(text.to_owned()),
    }
}

/// How a device is doing; one that was deleted meanwhile is offline.
pub(super) fn status(api: &Api, product_key: &str, device_name: &str) -> &'static str {
    let status = api.state.registry.status(product_key, device_name);
    status.unwrap_or(DeviceStatus::Offline).as_str()
}

/// The id of a device as it was before there were ids of all.
pub(super) fn old_id(iot_id: &str) -> &str {
    iot_id.get(..OLD_ID).unwrap_or(iot_id)
}
