//! The operations on thing models of products: `GetThingModelTsl`, `ImportThingModelTsl`.
//!
//! What a model says of messages, [`crate::thing`] knows.

use futures_util::FutureExt as _;
use serde_json::json;

use super::named::product;
use crate::api::aliyun::operation::{Operation, may, need, store_failed};
use crate::api::aliyun::wire::answer::{Answer, object};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error;
use crate::api::state::Api;
use crate::rule::store::Role;
use crate::thing::tsl::Model;

/// Sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
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
];

async fn get_model(api: &Api, call: &Call) -> Answer {
    let product = product(api, call)?;
    let text = product.tsl.as_ref().map_or_else(String::new, |text| text.to_string());
    let data = json!({ "TslStr": text });
    Ok(object(json!({ "RequestId": call.id, "Success": true, "Data": data })))
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
