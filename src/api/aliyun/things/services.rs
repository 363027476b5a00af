//! Operations that have devices do something: services and the setting of properties.
//!
//! How a device is asked is not known here.

use connectors::contract::QoS;
use futures_util::FutureExt as _;
use serde_json::{Value, json};

use super::target::{Target, items, qos, refused};
use crate::api::aliyun::operation::{Operation, may, need};
use crate::api::aliyun::wire::answer::{Answer, object};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error;
use crate::api::state::Api;
use crate::rule::store::Role;
use crate::thing::{Dialect, Done, Service, ServiceError};

/// Devices in one request (development guide §2.8.20, §2.8.24).
const DEVICES_MAX: usize = 500;

/// Sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "InvokeThingService",
        parameters: &[
            may("IotId"),
            may("ProductKey"),
            may("DeviceName"),
            need("Identifier"),
            need("Args"),
            may("Qos"),
        ],
        role: Role::Operate,
        call: |api, call| invoke_one(api, call).boxed(),
    },
    Operation {
        name: "InvokeThingsService",
        parameters: &[
            need("ProductKey"),
            need("DeviceName"),
            need("Identifier"),
            need("Args"),
            may("Qos"),
        ],
        role: Role::Operate,
        call: |api, call| invoke_many(api, call).boxed(),
    },
    Operation {
        name: "SetDeviceProperty",
        parameters: &[
            may("IotId"),
            may("ProductKey"),
            may("DeviceName"),
            need("Items"),
            may("Qos"),
        ],
        role: Role::Operate,
        call: |api, call| set_one(api, call).boxed(),
    },
    Operation {
        name: "SetDevicesProperty",
        parameters: &[need("ProductKey"), need("DeviceName"), need("Items"), may("Qos")],
        role: Role::Operate,
        call: |api, call| set_many(api, call).boxed(),
    },
];

async fn invoke(
    api: &Api,
    call: &Call,
    target: &Target,
    wait: Option<bool>,
) -> Result<Done, ServiceError> {
    let service = Service {
        product_key: &target.product_key,
        device_name: &target.device_name,
        identifier: call.text("Identifier").unwrap_or_default(),
        arguments: call.text("Args").unwrap_or_default(),
        wait,
        dialect: Dialect::Alink,
        qos: qos(call).unwrap_or(QoS::AtMostOnce),
    };
    api.state.things.invoke(service).await
}

async fn invoke_one(api: &Api, call: &Call) -> Answer {
    let target = Target::read(api, call).await?;
    qos(call)?;
    let done = invoke(api, call, &target, None).await;
    let Done { id, answer } =
        done.map_err(|problem| refused(&problem, error::INVOKE, error::ABILITY))?;
    let mut data = object(json!({}));
    if let Some(answer) = answer {
        let text = String::from_utf8_lossy(&answer).into_owned();
        data.insert("Result".to_owned(), text.into());
    }
    data.insert("MessageId".to_owned(), id.to_string().into());
    Ok(object(json!({ "RequestId": call.id, "Success": true, "Data": data })))
}

async fn invoke_many(api: &Api, call: &Call) -> Answer {
    qos(call)?;
    for target in Target::many(api, call, DEVICES_MAX)? {
        let done = invoke(api, call, &target, Some(false)).await;
        // What is wrong with the request is wrong for the first device already.
        done.map_err(|problem| refused(&problem, error::INVOKE, error::ABILITY))?;
    }
    Ok(call.done())
}

async fn set(api: &Api, call: &Call, target: &Target) -> Result<u64, error::ApiError> {
    let items = items(call)?;
    let Target { product_key, device_name } = target;
    let done = api.state.things.set_properties(product_key, device_name, items, qos(call)?).await;
    done.map_err(|problem| refused(&problem, error::SET_PROPERTY, error::NO_PROPERTIES))
}

async fn set_one(api: &Api, call: &Call) -> Answer {
    let target = Target::read(api, call).await?;
    let id = set(api, call, &target).await?;
    let data: Value = json!({ "MessageId": id.to_string() });
    Ok(object(json!({ "RequestId": call.id, "Success": true, "Data": data })))
}

async fn set_many(api: &Api, call: &Call) -> Answer {
    for target in Target::many(api, call, DEVICES_MAX)? {
        set(api, call, &target).await?;
    }
    Ok(call.done())
}
