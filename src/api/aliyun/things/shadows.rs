//! Operations on device shadows: `GetDeviceShadow`, `UpdateDeviceShadow`.
//!
//! What a change does to a shadow is not known here, only what a request may ask for.

use connectors::contract;
use futures_util::FutureExt as _;
use serde_json::{Map, Value, json};

use super::target::Target;
use crate::api::aliyun::operation::{Operation, STORE_FAILED, may, need};
use crate::api::aliyun::wire::answer::{Answer, object};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError, ErrorCode};
use crate::api::state::Api;
use crate::rule::store::Role;
use crate::thing::shadow::{ATTRIBUTES_MAX, SHADOW_BYTES, ShadowError, Wish};

/// Sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "GetDeviceShadow",
        parameters: &[need("ProductKey"), need("DeviceName")],
        role: Role::Read,
        call: |api, call| get(api, call).boxed(),
    },
    Operation {
        name: "UpdateDeviceShadow",
        parameters: &[
            need("ProductKey"),
            need("DeviceName"),
            need("ShadowMessage"),
            may("DeltaUpdate"),
        ],
        role: Role::Operate,
        call: |api, call| update(api, call).boxed(),
    },
];

async fn get(api: &Api, call: &Call) -> Answer {
    let Target { product_key, device_name } = Target::named(api, call)?.registered(api)?;
    let shadow = api.state.things.shadow(&product_key, &device_name).await.map_err(|problem| {
        tracing::error!(%problem, "a shadow could not be read");
        error::QUERY_SHADOW.with(STORE_FAILED)
    })?;
    // Text, whatever the guide's example shows: typed clients break on an object.
    let text = shadow.document().to_string();
    Ok(object(json!({ "RequestId": call.id, "Success": true, "ShadowMessage": text })))
}

async fn update(api: &Api, call: &Call) -> Answer {
    let Target { product_key, device_name } = Target::named(api, call)?.registered(api)?;
    let merge = call.flag("DeltaUpdate")?.unwrap_or(false);
    let wish = Wish { merge, ..read(call.required("ShadowMessage")?)? };
    let version = wish.version;
    match api.state.things.wish(&product_key, &device_name, wish).await {
        Ok(()) => Ok(call.done()),
        Err(ShadowError::Conflict) => {
            let text =
                format!("{version} is not greater than the shadow's; GetDeviceShadow shows it");
            Err(error::SHADOW_VERSION.with(text))
        }
        Err(ShadowError::TooMany) => Err(error::SHADOW_LARGE.with(SHADOW_BYTES)),
        Err(_) => Err(error::UPDATE_SHADOW.with(STORE_FAILED)),
    }
}

/// Reads `{"method":"update","state":{"desired":{…}},"version":n}`.
fn read(text: &str) -> Result<Wish, ApiError> {
    if text.is_empty() {
        return Err(error::NULL_SHADOW.plain());
    }
    if text.len() > SHADOW_BYTES {
        return Err(error::SHADOW_LARGE.with(SHADOW_BYTES));
    }
    let message = contract::object(text.as_bytes())
        .map_err(|problem| error::SHADOW_NOT_JSON.with(problem))?;
    match message.get("method") {
        None | Some(Value::Null) => return Err(error::SHADOW_NO_METHOD.plain()),
        Some(method) if method != "update" => return Err(error::SHADOW_METHOD.with(method)),
        Some(_) => {}
    }
    let state = match message.get("state") {
        Some(Value::Object(state)) => state,
        _ => return Err(error::SHADOW_NO_STATE.plain()),
    };
    let desired = part(state, "desired", &DESIRED)?;
    let reported = part(state, "reported", &REPORTED)?;
    if desired.is_none() && reported.is_none() {
        return Err(match state.is_empty() {
            true => error::SHADOW_NO_DESIRED.plain(),
            false => error::SHADOW_NO_REPORTED.plain(),
        });
    }
    let version = match message.get("version") {
        None | Some(Value::Null) => return Err(error::SHADOW_NO_VERSION.plain()),
        Some(Value::String(text)) if text.is_empty() => {
            return Err(error::SHADOW_NO_VERSION.plain());
        }
        // The guide calls it a string; its examples show numbers.
        Some(Value::String(text)) => text.parse().ok(),
        Some(other) => other.as_i64(),
    };
    let version = version.filter(|version| *version >= -1);
    let version = version.ok_or_else(|| error::SHADOW_VERSION.with("expected a whole number"))?;
    Ok(Wish { desired, reported, version, merge: false })
}

/// The codes of one of the two states.
struct Codes {
    not_json: &'static ErrorCode,
    none: &'static ErrorCode,
    too_many: &'static ErrorCode,
    null: &'static ErrorCode,
}

const DESIRED: Codes = Codes {
    not_json: error::DESIRED_NOT_JSON,
    none: error::DESIRED_EMPTY,
    too_many: error::DESIRED_TOO_MANY,
    null: error::DESIRED_ELEMENT,
};

const REPORTED: Codes = Codes {
    not_json: error::REPORTED_NOT_JSON,
    none: error::REPORTED_EMPTY,
    too_many: error::REPORTED_TOO_MANY,
    null: error::REPORTED_ELEMENT,
};

/// The attributes of one of the two states. The text `null` stands for none of what is wanted.
fn part(
    state: &Map<String, Value>,
    name: &str,
    codes: &Codes,
) -> Result<Option<Map<String, Value>>, ApiError> {
    let attributes = match state.get(name) {
        None => return Ok(None),
        Some(Value::String(text)) if text == "null" && name == "desired" => {
            return Ok(Some(Map::new()));
        }
        Some(Value::Null) if name == "desired" => return Err(error::DESIRED_NULL.plain()),
        Some(Value::Object(attributes)) => attributes,
        Some(_) => return Err(codes.not_json.with(name)),
    };
    if attributes.is_empty() {
        return Err(codes.none.plain());
    }
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(codes.too_many.with(ATTRIBUTES_MAX));
    }
    match attributes.iter().find(|(key, value)| key.is_empty() || value.is_null()) {
        Some((key, _)) => Err(codes.null.with(format!("`{key}`"))),
        None => Ok(Some(attributes.clone())),
    }
}
