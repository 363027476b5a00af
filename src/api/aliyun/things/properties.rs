//! Operations on what is known of a device's state: last values of properties.
//!
//! Nothing is asked of devices here.

use connectors::contract::tree;
use futures_util::FutureExt as _;
use serde_json::{Map, Value, json};

use super::target::Target;
use crate::api::aliyun::operation::{Operation, STORE_FAILED, may};
use crate::api::aliyun::wire::answer::{Answer, object};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error;
use crate::api::state::Api;
use crate::rule::store::Role;
use crate::thing::Last;
use crate::thing::tsl::Property;

/// Sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[Operation {
    name: "QueryDevicePropertyStatus",
    parameters: &[may("IotId"), may("ProductKey"), may("DeviceName"), may("FunctionBlockId")],
    role: Role::Read,
    call: |api, call| last_values(api, call).boxed(),
}];

async fn last_values(api: &Api, call: &Call) -> Answer {
    let Target { product_key, device_name } = Target::read(api, call).await?.registered(api)?;
    let values = api.state.things.last_values(&product_key, &device_name).await;
    let values = values.map_err(|problem| {
        tracing::error!(%problem, "last values of properties could not be read");
        error::ATTRIBUTE_STATUS.with(STORE_FAILED)
    })?;
    let model = api.state.things.model(&product_key);
    let mut list: Vec<Value> = values
        .iter()
        .map(|last| status(last, model.as_ref().and_then(|m| m.properties.get(&last.identifier))))
        .collect();
    // What the model has and the device has not told is listed without a value.
    let untold = model.iter().flat_map(|model| &model.properties);
    let untold = untold.filter(|(name, _)| !values.iter().any(|last| last.identifier == **name));
    let mut untold: Vec<_> = untold.collect();
    untold.sort_unstable_by_key(|(name, _)| *name);
    list.extend(untold.into_iter().map(|(name, property)| described(name, property)));
    let data = json!({ "List": { "PropertyStatusInfo": list } });
    Ok(object(json!({ "RequestId": call.id, "Success": true, "Data": data })))
}

/// What is told of a property, whether it has a value or not.
pub(super) fn described(identifier: &str, property: &Property) -> Value {
    json!({
        "Identifier": identifier,
        "Name": property.name,
        "DataType": property.data.name(),
        "Unit": property.unit,
    })
}

fn status(last: &Last, property: Option<&Property>) -> Value {
    Value::Object(valued(&last.identifier, &last.value, last.time_ms, property))
}

/// What is told of a property with a value, which is JSON.
pub(super) fn valued(
    identifier: &str,
    json: &str,
    time_ms: u64,
    property: Option<&Property>,
) -> Map<String, Value> {
    let value = tree(json.as_bytes()).unwrap_or_default();
    let mut fields = object(match property {
        Some(property) => described(identifier, property),
        None => json!({
            "Identifier": identifier,
            "Name": identifier,
            "DataType": likely_type(&value),
            "Unit": "",
        }),
    });
    // All of them are text; numbers as they were written.
    let text = match value {
        Value::String(text) => text,
        _ => json.to_owned(),
    };
    fields.insert("Value".to_owned(), text.into());
    fields.insert("Time".to_owned(), time_ms.to_string().into());
    fields
}

/// The vendor's name for what a value looks like, when no model says.
fn likely_type(value: &Value) -> &'static str {
    match value {
        Value::Number(number) if number.is_i64() => "int",
        Value::Number(_) => "double",
        Value::Bool(_) => "bool",
        Value::Array(_) => "array",
        Value::Object(_) => "struct",
        _ => "text",
    }
}
