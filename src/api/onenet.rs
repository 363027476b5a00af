//! OneNET's calls of device services: `POST /thingmodel/call-service`, whose device side is
//! `$sys/{pid}/{device-name}/thing/service/{identifier}/invoke` and `invoke_reply`.
//!
//! The vendor's guide has only the device side and the answer; the request is Tidegate's own.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use connectors::contract::{QoS, tree};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::exchange::body::body;
use super::exchange::key::identify;
use super::exchange::refusal::{json_response, refuse};
use super::state::Api;
use crate::rule::store::Role;
use crate::thing::{CallError, Dialect, Done, Service, ServiceError};

/// What a request says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted<'a> {
    product_id: String,
    device_name: String,
    identifier: String,
    /// An object; none is an empty one.
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    /// Whether to wait; without it as the model says, and without a model: yes.
    mode: Option<Mode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Sync,
    Async,
}

/// Answers a request to `/thingmodel/call-service`.
pub(crate) async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    if request.method() != Method::POST {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "method", "use POST").response();
    }
    if let Err(refusal) = identify(&api, request.headers(), Role::Operate).await {
        return refusal.response();
    }
    let read = body(&api, request.into_body(), api.state.limits.body, "body").await;
    let text = match read {
        Ok(text) => text,
        Err(refusal) => return refusal.response(),
    };
    json_response(StatusCode::OK, &call(&api, &text).await)
}

async fn call(api: &Api, text: &[u8]) -> Value {
    let no = |code: u16, text: String| json!({ "id": "", "code": code, "msg": text });
    let wanted: Wanted<'_> = match serde_json::from_slice(text) {
        Ok(wanted) => wanted,
        Err(problem) => return no(400, format!("the body can't be read: {problem}")),
    };
    let things = &api.state.things;
    if !things.knows(&wanted.product_id, &wanted.device_name) {
        let (device, product) = (&wanted.device_name, &wanted.product_id);
        return no(404, format!("there is no device `{device}` of product `{product}`"));
    }
    let service = Service {
        product_key: &wanted.product_id,
        device_name: &wanted.device_name,
        identifier: &wanted.identifier,
        arguments: wanted.params.map_or("{}", RawValue::get),
        wait: wanted.mode.map(|mode| matches!(mode, Mode::Sync)),
        dialect: Dialect::OneJson,
        qos: QoS::AtMostOnce,
    };
    match things.invoke(service).await {
        Ok(Done { id, answer: None }) => {
            json!({ "id": id.to_string(), "code": 200, "msg": "succ" })
        }
        Ok(Done { id, answer: Some(answer) }) => tree(&answer).unwrap_or_else(
            |_| json!({ "id": id.to_string(), "code": 502, "msg": "the answer is no JSON" }),
        ),
        Err(problem) => {
            let code = match &problem {
                ServiceError::Call(CallError::Timeout) => 408,
                ServiceError::Call(CallError::Offline | CallError::HalfOpen) => 410,
                ServiceError::Call(CallError::Busy) => 429,
                _ => 400,
            };
            no(code, problem.to_string())
        }
    }
}
