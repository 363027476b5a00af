//! `POST /api/exploreropen/serviceapi` with `ServiceCallDeviceActionAsync` (the vendor's guide of
//! application-side calls): parameters, signature and all in one JSON object.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connectors::contract::object;
use serde_json::{Map, Value};

use super::act::{Act, Undone};
use super::answer::{Problem, answer, problem};
use super::pass::{admit, key};
use crate::api::access::Stamp;
use crate::api::access::mac::{same, sha1};
use crate::api::exchange::body::{BodyError, read_body};
use crate::api::state::Api;
use crate::rule::store::Role;
use crate::thing::ServiceError;

/// The only action of the protocol.
const ACTION: &str = "ServiceCallDeviceActionAsync";

/// What a request without `InputParams` means.
const NO_INPUT: &str = "{}";

/// Answers a request to `/api/exploreropen/serviceapi`.
pub(crate) async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let own_id = uuid::Uuid::new_v4().to_string();
    let parameters = match parameters(&api, request).await {
        Ok(parameters) => parameters,
        Err(refused) => return answer(&own_id, Err(refused)),
    };
    let given_id = parameters.get("RequestId").and_then(Value::as_str);
    let request_id = given_id.filter(|id| !id.is_empty()).unwrap_or(&own_id);
    answer(request_id, run(&api, &parameters).await)
}

async fn parameters(api: &Api, request: Request) -> Result<Map<String, Value>, Problem> {
    if request.method() != Method::POST {
        return Err(problem("InvalidParameterValue", "use POST"));
    }
    let limits = &api.state.limits;
    let body = read_body(request.into_body(), limits.body, limits.body_wait).await;
    let body = body.map_err(|failed| {
        let text = match failed {
            BodyError::TooLarge => format!("the body has more than {} bytes", limits.body),
            BodyError::TooSlow => "the body did not arrive in time".to_owned(),
            BodyError::Broken(text) => text,
        };
        problem("InvalidParameterValue", text)
    })?;
    object(&body).map_err(|failed| {
        problem(
            "InvalidParameterValue.InvalidJSON",
            format!("the body is no JSON object: {failed}"),
        )
    })
}

async fn run(api: &Api, parameters: &Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    let action = text(parameters, "Action")?;
    if action != ACTION {
        return Err(problem("InvalidAction", format!("`{action}`; there is only {ACTION}")));
    }
    text(parameters, "RequestId")?;
    authenticate(api, parameters).await?;
    let input = parameters.get("InputParams").and_then(Value::as_str);
    let act = Act {
        product_key: text(parameters, "ProductId")?,
        device_name: text(parameters, "DeviceName")?,
        action: text(parameters, "ActionId")?,
        input: input.filter(|text| !text.is_empty()).unwrap_or(NO_INPUT),
        wait: false,
    };
    match act.carry_out(api).await {
        Ok(done) => Ok(Map::from_iter([
            ("ClientToken".to_owned(), done.id.to_string().into()),
            ("Status".to_owned(), "succ".into()),
        ])),
        Err(Undone::NoProduct | Undone::NoDevice) => {
            Err(problem("InvalidParameterValue", "there is no such product or device"))
        }
        Err(Undone::Refused(ServiceError::Call(failed))) => {
            Err(problem("InternalError", failed.to_string()))
        }
        Err(Undone::Refused(refused)) => Err(problem("InvalidParameterValue", refused.to_string())),
    }
}

/// A parameter that must be there and be a text.
fn text<'p>(parameters: &'p Map<String, Value>, name: &str) -> Result<&'p str, Problem> {
    match parameters.get(name) {
        None | Some(Value::Null) => {
            Err(problem("ErrorRequiredParamNotFound", format!("{name} is missing")))
        }
        Some(Value::String(text)) if text.is_empty() => {
            Err(problem("ErrorRequiredParamNotFound", format!("{name} is empty")))
        }
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(problem("InvalidParameterValue", format!("{name} is no text"))),
    }
}

fn number(parameters: &Map<String, Value>, name: &str) -> Result<u64, Problem> {
    match parameters.get(name) {
        None | Some(Value::Null) => {
            Err(problem("ErrorRequiredParamNotFound", format!("{name} is missing")))
        }
        Some(value) => value
            .as_u64()
            .ok_or_else(|| problem("InvalidParameterValue", format!("{name} is no whole number"))),
    }
}

/// The text that is signed: all parameters but the signature and empty ones, sorted by name, as they
/// are.
fn string_to_sign(parameters: &Map<String, Value>) -> String {
    let mut pairs: Vec<(&str, String)> = parameters
        .iter()
        .filter(|(name, _)| *name != "Signature")
        .map(|(name, value)| {
            let value = match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            (name.as_str(), value)
        })
        .filter(|(_, value)| !value.is_empty())
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

fn sign(text: &str, secret: &str) -> String {
    STANDARD.encode(sha1(secret.as_bytes(), text))
}

/// Application keys are access keys.
async fn authenticate(api: &Api, parameters: &Map<String, Value>) -> Result<(), Problem> {
    let wrong = |text: &str| problem("InvalidParameterValue", text);
    let key_id = text(parameters, "AppKey")?;
    let signature = text(parameters, "Signature")?;
    let time_ms = number(parameters, "Timestamp")?.saturating_mul(1000);
    let nonce = number(parameters, "Nonce")?;
    let nonce = format!("{nonce}/{time_ms}");
    let key = key(api, key_id).await?;
    let key = key.ok_or_else(|| wrong("AppKey: there is no such access key"))?;
    if !same(&sign(&string_to_sign(parameters), &key.secret), signature) {
        let text = string_to_sign(parameters);
        return Err(wrong(&format!("Signature: it does not fit; the server signs `{text}`")));
    }
    if key.role < Role::Operate {
        return Err(wrong("AppKey: the access key may only read"));
    }
    let stamp = Stamp { key_id, nonce: &nonce, time_ms };
    admit(api, &stamp).map_err(|refused| wrong(&refused))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_but_signature_and_empty_parameters_are_signed() {
        let parameters = json!({
            "Timestamp": 1_599_468_019, "Nonce": 170_533_123, "AppKey": "AppKey",
            "Signature": "x", "Action": "ServiceCallDeviceActionAsync", "Empty": "",
            "InputParams": "{\"message\":\"hello.\"}", "ActionId": "echo",
        });
        let parameters = parameters.as_object().expect("object");
        let text = string_to_sign(parameters);
        assert_eq!(
            text,
            "Action=ServiceCallDeviceActionAsync&ActionId=echo&AppKey=AppKey&InputParams={\"message\":\"hello.\"}&Nonce=170533123&Timestamp=1599468019"
        );
        let as_sent = object(br#"{"a":1.50,"b":18446744073709551616}"#).expect("JSON");
        assert_eq!(string_to_sign(&as_sent), "a=1.50&b=18446744073709551616");
        // OpenSSL: `printf %s "$text" | openssl dgst -sha1 -hmac AppSecret -binary | base64`
        assert_eq!(sign("Action=a&Nonce=1", "AppSecret"), "cQ3L3FKis550wY0Mmec0q7kc7Rk=");
    }
}
