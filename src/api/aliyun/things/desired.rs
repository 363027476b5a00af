//! The operations on desired properties (development guide §2.8.33, §2.8.34).
//!
//! What is kept and what a device is told of it stands in [`crate::thing`].

use std::collections::BTreeSet;

use futures_util::FutureExt as _;
use serde_json::{Map, Value, json};

use super::properties::{described, valued};
use super::target::{Target, items, refused};
use crate::api::aliyun::operation::{Operation, STORE_FAILED, may, need};
use crate::api::aliyun::wire::answer::{Answer, object};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError, ErrorCode};
use crate::api::state::Api;
use crate::rule::store::{Role, StoreError};
use crate::thing::tsl::Model;
use crate::thing::{DESIRED_AT_ONCE, Desired, DesiredError};

/// Sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "QueryDeviceDesiredProperty",
        parameters: &[
            may("IotId"),
            may("ProductKey"),
            may("DeviceName"),
            may("Identifier"),
            may("FunctionBlockId"),
        ],
        role: Role::Read,
        call: |api, call| query(api, call).boxed(),
    },
    Operation {
        name: "SetDeviceDesiredProperty",
        parameters: &[
            may("IotId"),
            may("ProductKey"),
            may("DeviceName"),
            need("Items"),
            may("Versions"),
        ],
        role: Role::Operate,
        call: |api, call| set(api, call).boxed(),
    },
];

async fn set(api: &Api, call: &Call) -> Answer {
    let Target { product_key, device_name } = Target::read(api, call).await?.registered(api)?;
    let items = items(call)?;
    let versions = call.text("Versions").filter(|text| !text.trim().is_empty()).unwrap_or("{}");
    let done = api.state.things.desire(&product_key, &device_name, items, versions).await;
    let done = done.map_err(|problem| unset(problem, &product_key, &device_name))?;
    let versions: Map<String, Value> =
        done.versions.into_iter().map(|(name, version)| (name, version.into())).collect();
    let data = json!({
        "MessageId": done.id.to_string(),
        "Versions": Value::Object(versions).to_string(),
    });
    Ok(object(json!({ "RequestId": call.id, "Success": true, "Data": data })))
}

/// Why values were not set, in the protocol's codes.
fn unset(problem: DesiredError, product_key: &str, device_name: &str) -> ApiError {
    match problem {
        DesiredError::Values(problem) => {
            refused(&problem, error::SET_PROPERTY, error::NO_PROPERTIES)
        }
        DesiredError::Nothing => error::NO_PROPERTIES.with(problem),
        DesiredError::NoIdentifier => error::NULL_PROPERTY_KEY.plain(),
        DesiredError::TooMany(_) => error::TOO_MANY_PROPERTIES.with(problem),
        DesiredError::Versions(_) => error::FORMAT.with(problem),
        DesiredError::Bounds(_) | DesiredError::Conflict { .. } => {
            error::SET_PROPERTY.with(problem)
        }
        DesiredError::NoDevice => {
            error::NO_DEVICE.with(format!("`{device_name}` of product `{product_key}`"))
        }
        DesiredError::Store(problem) => failed(&problem, error::SET_PROPERTY),
    }
}

fn failed(problem: &StoreError, code: &'static ErrorCode) -> ApiError {
    tracing::error!(%problem, "desired values could not be read or written");
    code.with(STORE_FAILED)
}

async fn query(api: &Api, call: &Call) -> Answer {
    let Target { product_key, device_name } = Target::read(api, call).await?.registered(api)?;
    let asked = call.list("Identifier")?;
    let model = api.state.things.model(&product_key);
    check(&asked, model.as_deref())?;
    let desired = api.state.things.desired(&product_key, &device_name).await;
    let desired = desired.map_err(|problem| failed(&problem, error::ATTRIBUTE_STATUS))?;
    let list: Vec<Value> = match asked.is_empty() {
        true => all(&desired, model.as_deref()),
        false => asked.iter().filter_map(|name| one(name, &desired, model.as_deref())).collect(),
    };
    let data = json!({ "List": { "DesiredPropertyInfo": list } });
    Ok(object(json!({ "RequestId": call.id, "Success": true, "Data": data })))
}

/// Looks at the identifiers of a request: a few, each once, of properties that can be desired.
fn check(asked: &[&str], model: Option<&Model>) -> Result<(), ApiError> {
    let wrong = |text: String| Err(error::FORMAT.with(text));
    if asked.len() > DESIRED_AT_ONCE {
        let have = asked.len();
        let text = format!("{have} of Identifier, at most {DESIRED_AT_ONCE} are allowed");
        return Err(error::TOO_MANY_PROPERTIES.with(text));
    }
    if asked.contains(&"") {
        return Err(error::NULL_PROPERTY_KEY.plain());
    }
    let distinct: BTreeSet<_> = asked.iter().collect();
    if distinct.len() < asked.len() {
        return wrong("an Identifier is there twice".to_owned());
    }
    let Some(model) = model else { return Ok(()) };
    for name in asked {
        match model.properties.get(*name) {
            Some(property) if property.writable => {}
            Some(_) => {
                let text = format!("Identifier `{name}`: its access mode is r");
                return Err(error::ATTRIBUTE_STATUS.with(text));
            }
            None => return Err(error::ABILITIES.with(format!("Identifier `{name}`"))),
        }
    }
    Ok(())
}

/// All that have a value, or that could have one.
fn all(desired: &[Desired], model: Option<&Model>) -> Vec<Value> {
    let possible = model.iter().flat_map(|model| &model.properties);
    let possible = possible.filter(|(_, property)| property.writable).map(|(name, _)| &**name);
    let names: BTreeSet<&str> =
        desired.iter().map(|one| &*one.identifier).chain(possible).collect();
    names.iter().filter_map(|name| one(name, desired, model)).collect()
}

/// What is told of one; nothing of a property without value and model.
fn one(name: &str, desired: &[Desired], model: Option<&Model>) -> Option<Value> {
    let property = model.and_then(|model| model.properties.get(name));
    let value = desired.iter().find(|one| one.identifier == name);
    let (mut fields, version) = match (value, property) {
        (Some(one), property) => (valued(name, &one.value, one.time_ms, property), one.version),
        (None, Some(property)) => (object(described(name, property)), 0),
        (None, None) => return None,
    };
    fields.insert("Version".to_owned(), version.into());
    Some(Value::Object(fields))
}
