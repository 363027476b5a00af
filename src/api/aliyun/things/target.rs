//! The device that an operation is about, and codes that the families of device messages share.
//!
//! What is then done with it is theirs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use connectors::contract::QoS;

use crate::api::aliyun::operation::store_failed;
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError, ErrorCode};
use crate::api::state::Api;
use crate::registry::DeviceRef;
use crate::thing::{CallError, ServiceError};

/// A device by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) product_key: String,
    pub(super) device_name: String,
}

impl Target {
    /// The device of `IotId`, or without one of `ProductKey` and `DeviceName`.
    pub(super) async fn read(api: &Api, call: &Call) -> Result<Self, ApiError> {
        match call.text("IotId") {
            None => Self::named(api, call),
            Some("") => Err(error::IOT_ID.with("it is empty")),
            Some(id) => {
                let found = api.state.registry.device(DeviceRef::IotId(id)).await;
                let found = found.map_err(store_failed)?;
                let device = found.ok_or_else(|| error::NO_DEVICE.with(format!("`{id}`")))?;
                let (product_key, device_name) = (device.product_key, device.device_name);
                Ok(Self { product_key, device_name })
            }
        }
    }

    /// The device of `ProductKey` and `DeviceName`.
    pub(super) fn named(api: &Api, call: &Call) -> Result<Self, ApiError> {
        let product_key = product(api, call)?;
        let device_name = call.text("DeviceName").unwrap_or("");
        if device_name.is_empty() {
            return Err(error::NULL_DEVICE_NAME.plain());
        }
        Self::known(api, product_key, device_name)
    }

    /// The device of that name, if there is one.
    pub(super) fn known(api: &Api, product_key: &str, name: &str) -> Result<Self, ApiError> {
        if !api.state.things.knows(product_key, name) {
            let text = format!("`{name}` of product `{product_key}`");
            return Err(error::NO_DEVICE.with(text));
        }
        Ok(Self { product_key: product_key.to_owned(), device_name: name.to_owned() })
    }

    /// The same device, which must be registered: nothing is kept of others.
    pub(super) fn registered(self, api: &Api) -> Result<Self, ApiError> {
        match api.state.registry.knows_device(&self.product_key, &self.device_name) {
            true => Ok(self),
            false => {
                let Self { product_key, device_name } = self;
                let text = format!("`{device_name}` of product `{product_key}` that is registered");
                Err(error::NO_DEVICE.with(text))
            }
        }
    }

    /// The devices of `ProductKey` and the list `DeviceName`, each once.
    pub(super) fn many(api: &Api, call: &Call, most: usize) -> Result<Vec<Self>, ApiError> {
        let product_key = product(api, call)?;
        let mut names = call.list("DeviceName")?;
        names.retain(|name| !name.is_empty());
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Err(error::NO_NAMES.plain());
        }
        if names.len() > most {
            let text = format!("DeviceName has {} names, at most {most} are allowed", names.len());
            return Err(error::DEVICE_COUNT.with(text));
        }
        names.into_iter().map(|name| Self::known(api, product_key, name)).collect()
    }
}

/// `ProductKey`, of a product that there is.
pub(super) fn product<'a>(api: &Api, call: &'a Call) -> Result<&'a str, ApiError> {
    match call.text("ProductKey").unwrap_or("") {
        "" => Err(error::NO_PRODUCT_KEY.plain()),
        key if !api.state.things.knows_product(key) => Err(error::NO_PRODUCT.with(key)),
        key => Ok(key),
    }
}

/// `Items`, of which an operation sees at least that they are there.
pub(super) fn items(call: &Call) -> Result<&str, ApiError> {
    match call.required("Items")? {
        text if text.trim().is_empty() => Err(error::NULL_PROPERTIES.with("Items")),
        text => Ok(text),
    }
}

/// `Qos`, 0 without it.
pub(super) fn qos(call: &Call) -> Result<QoS, ApiError> {
    match call.number("Qos", 0..=1, error::FORMAT)? {
        Some(1) => Ok(QoS::AtLeastOnce),
        _ => Ok(QoS::AtMostOnce),
    }
}

/// Bytes that a client sends in Base64.
pub(super) fn bytes(
    api: &Api,
    name: &str,
    text: &str,
    too_many: &'static ErrorCode,
) -> Result<Bytes, ApiError> {
    if text.is_empty() {
        return Err(error::NULL_CONTENT.with(name));
    }
    let most = api.state.limits.payload;
    // A `+` that a careless client did not encode came as a space.
    let decoded = STANDARD.decode(text.replace(' ', "+"));
    let decoded = decoded.map_err(|problem| error::NOT_BASE64.with(problem))?;
    if decoded.len() > most {
        let text = format!("{name} has {} bytes, at most {most} are allowed", decoded.len());
        return Err(too_many.with(text));
    }
    Ok(decoded.into())
}

/// What a client is told when a device did not do what it asked for; `failed` for what the request
/// itself is to blame for, `unknown` for what the product's model does not have.
pub(super) fn refused(
    problem: &ServiceError,
    failed: &'static ErrorCode,
    unknown: &'static ErrorCode,
) -> ApiError {
    match problem {
        ServiceError::Unknown(_) => unknown.with(problem),
        ServiceError::Call(CallError::Offline) => error::OFFLINE.plain(),
        ServiceError::Call(CallError::HalfOpen) => error::HALF_OPEN.plain(),
        ServiceError::Call(CallError::Timeout) => error::TIMEOUT.plain(),
        ServiceError::Call(CallError::Busy) => error::RATE_LIMIT.with(problem),
        _ => failed.with(problem),
    }
}
