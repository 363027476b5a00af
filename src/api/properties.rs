//! Operations on what is known of a device's state: last values of properties, thing models.
//!
//! Nothing is asked of devices here.

use connectors::contract::tree;
use futures_util::FutureExt as _;
use serde_json::{Value, json};

use super::Api;
use super::error;
use super::operation::{Operation, may, need};
use super::registered::product;
use super::rpc::{Answer, Call, object, store_failed};
use super::target::Target;
use crate::rule::store::Role;
use crate::thing::Last;
use crate::thing::tsl::{Model, Property};

/// Sorted by name.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "GetThingModelTsl",
        parameters: &[
            need("ProductKey"),
            may("FunctionBlockId"),
            may("ModelVersion"),
            may("Simple"),
        ],
        role: Role::Read,
        call: |api, call| get_model(api, call).boxed(),
    },
    Operation {
        name: "ImportThingModelTsl",
        parameters: &[
            need("ProductKey"),
            may("TslStr"),
            may("TslUrl"),
            may("FunctionBlockId"),
            may("FunctionBlockName"),
        ],
        role: Role::Operate,
        call: |api, call| import_model(api, call).boxed(),
    },
    Operation {
        name: "QueryDevicePropertyStatus",
        parameters: &[may("IotId"), may("ProductKey"), may("DeviceName"), may("FunctionBlockId")],
        role: Role::Read,
        call: |api, call| last_values(api, call).boxed(),
    },
];

async fn last_values(api: &Api, call: &Call) -> Answer {
    let Target { product_key, device_name } = Target::read(api, call).await?.registered(api)?;
    let values = api.state.things.last_values(&product_key, &device_name).await;
    let values = values.map_err(|problem| {
        tracing::error!(%problem, "last values of properties could not be read");
        error::ATTRIBUTE_STATUS.with("the store failed; the server's log has the reason")
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

fn described(identifier: &str, property: &Property) -> Value {
    json!({
        "Identifier": identifier,
        "Name": property.name,
        "DataType": property.data.name(),
        "Unit": property.unit,
    })
}

fn status(last: &Last, property: Option<&Property>) -> Value {
    let value = tree(last.value.as_bytes()).unwrap_or_default();
    let mut fields = object(match property {
        Some(property) => described(&last.identifier, property),
        None => json!({
            "Identifier": last.identifier,
            "Name": last.identifier,
            "DataType": likely_type(&value),
            "Unit": "",
        }),
    });
    // All of them are text; numbers as they were written.
    let text = match value {
        Value::String(text) => text,
        _ => last.value.clone(),
    };
    fields.insert("Value".to_owned(), text.into());
    fields.insert("Time".to_owned(), last.time_ms.to_string().into());
    Value::Object(fields)
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

async fn import_model(api: &Api, call: &Call) -> Answer {
    let product = product(api, call)?;
    let product_key = product.key.as_str();
    let format = |text: String| error::FORMAT.with(text);
    if call.text("TslUrl").is_some_and(|url| !url.is_empty()) {
        return Err(format("TslUrl: nothing is fetched; send the model in TslStr".to_owned()));
    }
    let block = call.text("FunctionBlockId").filter(|id| !matches!(*id, "" | "default"));
    if let Some(block) = block {
        return Err(format(format!("FunctionBlockId `{block}`: there are no function blocks")));
    }
    if api.state.things.model_is_in_file(product_key) {
        let text = format!("the configuration names the model of `{product_key}`; change it there");
        return Err(format(text));
    }
    let text = call.required("TslStr")?;
    Model::parse(text).map_err(|problem| format(format!("TslStr: {problem}")))?;
    match api.state.registry.set_tsl(product_key, Some(text)).await {
        Ok(()) => Ok(call.done()),
        Err(problem) => Err(store_failed(problem)),
    }
}

async fn get_model(api: &Api, call: &Call) -> Answer {
    let product = product(api, call)?;
    let text = product.tsl.as_ref().map_or_else(String::new, |text| text.to_string());
    let data = json!({ "TslStr": text });
    Ok(object(json!({ "RequestId": call.id, "Success": true, "Data": data })))
}
