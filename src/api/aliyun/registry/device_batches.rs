//! The operations that register many devices at once (development guide §2.8.9 to §2.8.14).
//!
//! The vendor works on them behind its answers; here they are done when the answer comes.

use std::sync::Arc;

use serde_json::json;

use super::lifecycle::{Change, Changed, tell};
use super::lora::is_lora;
use super::named::{old_id, product};
use super::refusal::{failed, refused};
use crate::api::aliyun::operation::{Operation, may, need};
use crate::api::aliyun::wire::answer::{Answer, filled, object, without_nulls};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError};
use crate::api::aliyun::wire::page::Page;
use crate::api::state::Api;
use crate::registry::{
    APPLY_NAMES_MAX, Apply, ApplyName, Device, Product, RegistryError, check_device_name,
    check_nickname,
};
use crate::rule::store::Role;

/// The operations of batches, sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "BatchCheckDeviceNames",
        parameters: &[need("ProductKey"), may("DeviceName"), may("DeviceNameList")],
        role: Role::Admin,
        call: |api, call| Box::pin(check(api, call)),
    },
    Operation {
        name: "BatchRegisterDevice",
        parameters: &[need("ProductKey"), need("Count")],
        role: Role::Admin,
        call: |api, call| Box::pin(register(api, call)),
    },
    Operation {
        name: "BatchRegisterDeviceWithApplyId",
        parameters: &[need("ProductKey"), need("ApplyId")],
        role: Role::Admin,
        call: |api, call| Box::pin(carry_out(api, call)),
    },
    Operation {
        name: "QueryBatchRegisterDeviceStatus",
        parameters: &[need("ProductKey"), need("ApplyId")],
        role: Role::Read,
        call: |api, call| Box::pin(status(api, call)),
    },
    Operation {
        name: "QueryPageByApplyId",
        parameters: &[need("ApplyId"), may("PageSize"), may("CurrentPage")],
        role: Role::Operate,
        call: |api, call| Box::pin(list(api, call)),
    },
];

/// Devices on a page.
const PAGE_SIZE_MAX: u32 = 50;

/// Names that can't be used do not fail the call: the application tells of them.
async fn check(api: &Api, call: &Call) -> Answer {
    let product = ordinary_product(api, call)?;
    let name = |name: &str, nickname: Option<&str>| ApplyName {
        name: name.to_owned(),
        nickname: filled(nickname).map(str::to_owned),
        problem: None,
    };
    let mut names: Vec<_> =
        call.list("DeviceName")?.into_iter().map(|text| name(text, None)).collect();
    for one in call.objects("DeviceNameList")? {
        let text = one.get("DeviceName").copied().unwrap_or("");
        names.push(name(text, one.get("DeviceNickname").copied()));
    }
    if names.is_empty() {
        return Err(error::NO_NAMES.plain());
    }
    has_room(names.len() as u64)?;
    let applied = api.state.registry.apply_for(&product.key, names, api.now_ms()).await;
    let apply = applied.map_err(|problem| refused(problem, error::VERIFY_DEVICES))?;
    let mut data = object(json!({ "ApplyId": apply.id }));
    if apply.status.failed() {
        data.extend(object(complaints(&apply)));
    }
    Ok(object(json!({ "RequestId": call.id, "Success": true, "Data": data })))
}

/// The product of a request, whose devices are more than nodes with a name.
fn ordinary_product(api: &Api, call: &Call) -> Result<Arc<Product>, ApiError> {
    let product = product(api, call)?;
    match is_lora(&product) {
        true => Err(error::FORMAT.with(
            "the product has the NetType LORA: CreateLoRaNodesTask registers its devices, which need a DevEui",
        )),
        false => Ok(product),
    }
}

/// What is wrong with names, in the lists of later clients.
fn complaints(apply: &Apply) -> serde_json::Value {
    let bad = || apply.names.iter().filter(|name| name.problem.is_some());
    let invalid = |name: &&ApplyName| check_device_name(&name.name).is_err();
    let invalid_nickname = |name: &&ApplyName| {
        name.nickname.as_deref().is_some_and(|text| check_nickname(text).is_err())
    };
    let names: Vec<_> = bad().filter(invalid).map(|name| &name.name).collect();
    let nicknames: Vec<_> = bad().filter(invalid_nickname).map(|name| &name.nickname).collect();
    let repeated = bad().filter(|name| !invalid(name) && !invalid_nickname(name));
    let repeated: Vec<_> = repeated.map(|name| &name.name).collect();
    let details: Vec<_> = bad()
        .map(|name| {
            without_nulls(json!({
                "DeviceName": name.name, "NickName": name.nickname, "ErrorMsg": name.problem
            }))
        })
        .collect();
    json!({
        "InvalidDeviceNameList": { "InvalidDeviceName": names },
        "InvalidDeviceNicknameList": { "InvalidDeviceNickname": nicknames },
        "RepeatedDeviceNameList": { "RepeatDevieNameList": repeated },
        "InvalidDetailList": { "InvalidDetailList": details },
    })
}

fn has_room(count: u64) -> Result<(), ApiError> {
    match count > APPLY_NAMES_MAX as u64 {
        true => Err(error::DEVICE_COUNT
            .with(format!("{count} are wanted, at most {APPLY_NAMES_MAX} are allowed"))),
        false => Ok(()),
    }
}

async fn register(api: &Api, call: &Call) -> Answer {
    let product = ordinary_product(api, call)?;
    let count = call.number("Count", 1..=u64::from(u32::MAX), error::FORMAT)?;
    let count = count.ok_or_else(|| error::FORMAT.with("Count is empty"))?;
    has_room(count)?;
    let count = usize::try_from(count).unwrap_or(APPLY_NAMES_MAX);
    let registered = api.state.registry.register_many(&product.key, count, api.now_ms()).await;
    let (id, devices) = registered.map_err(too_many)?;
    told(api, &devices).await;
    Ok(applied(call, id))
}

async fn carry_out(api: &Api, call: &Call) -> Answer {
    let product = product(api, call)?;
    let id = apply_id(call)?;
    let devices = api.state.registry.carry_out(&product.key, id, api.now_ms()).await;
    told(api, &devices.map_err(too_many)?).await;
    Ok(applied(call, id))
}

fn too_many(problem: RegistryError) -> ApiError {
    match problem {
        RegistryError::Full(have) => {
            error::DEVICE_COUNT.with(format!("there are {have} devices, and not so much room left"))
        }
        other => refused(other, error::APPLY_DEVICES),
    }
}

async fn told(api: &Api, devices: &[Device]) {
    let changed: Vec<_> = devices.iter().map(Changed::of).collect();
    tell(api, Change::Create, &changed).await;
}

fn applied(call: &Call, id: u64) -> serde_json::Map<String, serde_json::Value> {
    object(json!({ "RequestId": call.id, "Success": true, "Data": { "ApplyId": id } }))
}

fn apply_id(call: &Call) -> Result<u64, ApiError> {
    match call.required("ApplyId")? {
        "" => Err(error::NULL_APPLY_ID.plain()),
        text => text.parse().ok().filter(|id| *id > 0).ok_or_else(|| {
            error::APPLY_ID.with(format!("`{text}`; expected a number such as 1000"))
        }),
    }
}

async fn find(api: &Api, id: u64) -> Result<Apply, ApiError> {
    let apply = api.state.registry.apply(id).await.map_err(failed(error::QUERY_APPLY))?;
    apply.ok_or_else(|| error::NO_APPLY.with(id))
}

async fn status(api: &Api, call: &Call) -> Answer {
    let product = product(api, call)?;
    let apply = find(api, apply_id(call)?).await?;
    if apply.product_key != product.key {
        let text = format!("application {} is for another product", apply.id);
        return Err(error::APPLY_INFO.with(text));
    }
    // Both lists are empty when there is nothing to complain about.
    let some = |good: bool| -> Vec<&str> {
        let wanted = |name: &&ApplyName| apply.status.failed() && name.problem.is_none() == good;
        apply.names.iter().filter(wanted).map(|name| name.name.as_str()).collect()
    };
    Ok(object(json!({
        "RequestId": call.id,
        "Success": true,
        "Data": {
            "Status": apply.status.as_str(),
            "ValidList": { "Name": some(true) },
            "InvalidList": { "Name": some(false) }
        }
    })))
}

async fn list(api: &Api, call: &Call) -> Answer {
    let id = apply_id(call)?;
    let page = Page::of(call, PAGE_SIZE_MAX)?;
    find(api, id).await?;
    let registry = &api.state.registry;
    let found = registry.devices_of_apply(id, page.size, page.offset()).await;
    let (devices, total) = found.map_err(failed(error::QUERY_APPLY))?;
    let info = |device: &Device| {
        json!({
            "DeviceId": old_id(&device.iot_id),
            "DeviceName": device.device_name,
            "DeviceSecret": device.secret,
            "IotId": device.iot_id,
        })
    };
    let devices: Vec<_> = devices.iter().map(info).collect();
    Ok(object(json!({
        "PageCount": page.count(total),
        "ApplyDeviceList": { "ApplyDeviceInfo": devices },
        "Page": page.number,
        "PageSize": page.size,
        "RequestId": call.id,
        "Success": true,
        "Total": total
    })))
}
