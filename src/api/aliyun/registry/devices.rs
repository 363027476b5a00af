//! The operations on single devices, and lists of them (development guide §2.8).
//!
//! Batches and tags have files of their own; what is kept of a device stands in the registry.

use serde_json::{Map, Value, json};

use super::lifecycle::{Change, Changed, tell};
use super::lora::{is_lora, node};
use super::named::{device, group_id, iot_id, old_id, product, product_key, status};
use super::refusal::{failed, refused};
use crate::api::aliyun::operation::{Operation, Parameter, may, need};
use crate::api::aliyun::wire::answer::{Answer, filled, object, without_nulls};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError, ErrorCode};
use crate::api::aliyun::wire::page::Page;
use crate::api::aliyun::wire::times::{china_and_utc, gmt_and_utc};
use crate::api::state::Api;
use crate::registry::{
    Crowd, Device, DeviceRef, DeviceStatus, NewDevice, Node, Product, RegistryError,
    check_device_name, check_nickname,
};
use crate::rule::store::Role;

/// How a device is named: by `IotId`, else by the other two.
const ONE_DEVICE: &[Parameter] = &[may("IotId"), may("ProductKey"), may("DeviceName")];

/// The operations of devices, sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "BatchGetDeviceState",
        parameters: ONE_DEVICE,
        role: Role::Read,
        call: |api, call| Box::pin(states(api, call)),
    },
    Operation {
        name: "BatchUpdateDeviceNickname",
        parameters: &[need("DeviceNicknameInfo")],
        role: Role::Admin,
        call: |api, call| Box::pin(rename(api, call)),
    },
    Operation {
        name: "DeleteDevice",
        parameters: ONE_DEVICE,
        role: Role::Admin,
        call: |api, call| Box::pin(delete(api, call)),
    },
    Operation {
        name: "DisableThing",
        parameters: ONE_DEVICE,
        role: Role::Operate,
        call: |api, call| Box::pin(disable(api, call, true)),
    },
    Operation {
        name: "EnableThing",
        parameters: ONE_DEVICE,
        role: Role::Operate,
        call: |api, call| Box::pin(disable(api, call, false)),
    },
    Operation {
        name: "GetDeviceStatus",
        parameters: ONE_DEVICE,
        role: Role::Read,
        call: |api, call| Box::pin(state(api, call)),
    },
    Operation {
        name: "QueryDevice",
        parameters: &[need("ProductKey"), may("PageSize"), may("CurrentPage"), may("NextToken")],
        role: Role::Operate,
        call: |api, call| Box::pin(list(api, call)),
    },
    Operation {
        name: "QueryDeviceDetail",
        parameters: ONE_DEVICE,
        role: Role::Operate,
        call: |api, call| Box::pin(detail(api, call)),
    },
    Operation {
        name: "QueryDeviceStatistics",
        parameters: &[may("ProductKey"), may("GroupId")],
        role: Role::Read,
        call: |api, call| Box::pin(statistics(api, call)),
    },
    Operation {
        name: "RegisterDevice",
        parameters: &[
            need("ProductKey"),
            may("DeviceName"),
            may("Nickname"),
            may("DevEui"),
            may("PinCode"),
            may("JoinEui"),
            may("AppKey"),
            may("LoraNodeType"),
        ],
        role: Role::Admin,
        call: |api, call| Box::pin(register(api, call)),
    },
];

/// Devices of one call that asks for states, or changes nicknames.
const STATES_MAX: usize = 50;
const NICKNAMES_MAX: usize = 100;

/// Devices on a page.
const PAGE_SIZE_MAX: u32 = 50;

/// Where this daemon is, as the vendor calls it.
pub(super) const REGION: &str = "cn-shanghai";

async fn register(api: &Api, call: &Call) -> Answer {
    let product = product(api, call)?;
    let device_name = call.text("DeviceName").filter(|name| !name.is_empty());
    if let Some(name) = device_name {
        check_device_name(name)
            .map_err(|problem| error::DEVICE_NAME.with(format!("`{name}`: {problem}")))?;
    }
    let node = lora_node(&product, call)?;
    let nickname = nickname(call.text("Nickname"))?;
    let new = NewDevice {
        product_key: product.key.clone(),
        device_name: device_name.map(str::to_owned),
        nickname,
    };
    let registry = &api.state.registry;
    let registered = match &node {
        Some(node) => registry.register_node(new, node, api.now_ms()).await,
        None => registry.register(new, api.now_ms()).await,
    };
    let device = registered.map_err(|problem| match problem {
        RegistryError::NameTaken(name) => error::DEVICE_NAME_TAKEN.with(name),
        other => refused(other, error::CREATE_DEVICE),
    })?;
    tell(api, Change::Create, &[Changed::of(&device)]).await;
    let data = without_nulls(json!({
        "DeviceName": device.device_name,
        "ProductKey": device.product_key,
        "DeviceSecret": device.secret,
        "IotId": device.iot_id,
        "Nickname": device.nickname,
        "DevEui": node.map(|node| node.dev_eui),
        "JoinEui": join_eui(api, &product).await?,
    }));
    Ok(object(json!({ "RequestId": call.id, "Success": true, "Data": data })))
}

/// The node that a device of a LoRaWAN product is.
fn lora_node(product: &Product, call: &Call) -> Result<Option<Node>, ApiError> {
    let given = |names: &[&'static str]| names.iter().find(|name| call.has(name)).copied();
    if let Some(name) = given(&["JoinEui", "AppKey", "LoraNodeType"]) {
        let text = "nodes with keys of their own need a network server, which is not offered";
        return Err(error::FORMAT.with(format!("{name}: {text}")));
    }
    let field = |name| call.text(name).unwrap_or("");
    match (is_lora(product), given(&["DevEui", "PinCode"])) {
        (false, None) => Ok(None),
        (false, Some(name)) => {
            let text = "the product's NetType is not LORA, so its devices are no LoRaWAN nodes";
            Err(error::FORMAT.with(format!("{name}: {text}")))
        }
        (true, _) => match node(field("DevEui"), field("PinCode")) {
            Ok(node) => Ok(Some(node)),
            Err(problem) => Err(error::FORMAT.with(problem)),
        },
    }
}

/// The JoinEUI of the permission that the nodes of a product join with.
async fn join_eui(api: &Api, product: &Product) -> Result<Option<String>, ApiError> {
    if !is_lora(product) {
        return Ok(None);
    }
    let id = api.state.registry.join_permission(&product.key).await;
    let id = id.map_err(failed(error::QUERY_PRODUCT))?;
    let permissions = &api.state.join_permissions;
    let permission = permissions.iter().find(|permission| Some(&permission.id) == id.as_ref());
    Ok(permission.and_then(|permission| permission.join_eui.clone()))
}

fn nickname(text: Option<&str>) -> Result<Option<String>, ApiError> {
    let Some(text) = filled(text) else { return Ok(None) };
    check_nickname(text)
        .map_err(|problem| error::FORMAT.with(format!("Nickname `{text}`: {problem}")))?;
    Ok(Some(text.to_owned()))
}

/// When something happened, in China's time and in UTC, if it has.
pub(super) fn times(ms: Option<u64>) -> (Option<String>, Option<String>) {
    ms.map(china_and_utc).unzip()
}

async fn detail(api: &Api, call: &Call) -> Answer {
    let device = device(api, call, error::QUERY_DEVICE).await?;
    let product = api.state.registry.product(&device.product_key);
    let (gmt_create, utc_create) = china_and_utc(device.created_ms);
    let (gmt_active, utc_active) = times(device.active_ms);
    let (gmt_online, utc_online) = times(device.online_ms);
    let data = without_nulls(json!({
        "DeviceName": device.device_name,
        "GmtActive": gmt_active,
        "UtcActive": utc_active,
        "ProductKey": device.product_key,
        "DeviceSecret": device.secret,
        "Nickname": device.nickname,
        "GmtCreate": gmt_create,
        "UtcCreate": utc_create,
        "IotId": device.iot_id,
        "Status": status(api, &device.product_key, &device.device_name),
        "Region": REGION,
        "NodeType": product.as_ref().map(|product| product.node_type),
        "GmtOnline": gmt_online,
        "UtcOnline": utc_online,
        "ProductName": product.map(|product| product.name.clone()),
        "IpAddress": device.address,
        "Owner": true,
    }));
    Ok(object(json!({ "RequestId": call.id, "Success": true, "Data": data })))
}

async fn list(api: &Api, call: &Call) -> Answer {
    let product = product(api, call)?;
    let page = Page::of(call, PAGE_SIZE_MAX)?;
    // A token is how many devices came before.
    let offset = match filled(call.text("NextToken")) {
        None => page.offset(),
        Some(token) => {
            token.parse().ok().filter(|offset| *offset <= u64::from(u32::MAX)).ok_or_else(|| {
                error::PAGE.with(format!("NextToken `{token}` is none that was answered"))
            })?
        }
    };
    let registry = &api.state.registry;
    let devices = registry.devices(&product.key, page.size, offset).await;
    let devices = devices.map_err(failed(error::LIST_DEVICES))?;
    let total = registry.stored_devices(Some(&product.key)).await;
    let total = total.map_err(failed(error::LIST_DEVICES))?;
    let next = offset + devices.len() as u64;
    let devices: Vec<_> = devices.iter().map(|device| info(api, device)).collect();
    let mut answer = object(json!({
        "PageCount": page.count(total),
        "Data": { "DeviceInfo": devices },
        "Page": page.number,
        "PageSize": page.size,
        "RequestId": call.id,
        "Success": true,
        "Total": total
    }));
    if next < total && !devices.is_empty() {
        answer.insert("NextToken".to_owned(), next.to_string().into());
    }
    Ok(answer)
}

fn info(api: &Api, device: &Device) -> Value {
    let (gmt_create, utc_create) = gmt_and_utc(device.created_ms);
    let (gmt_modified, utc_modified) = gmt_and_utc(device.modified_ms);
    without_nulls(json!({
        "DeviceId": old_id(&device.iot_id),
        "DeviceName": device.device_name,
        "ProductKey": device.product_key,
        "DeviceSecret": device.secret,
        "UtcModified": utc_modified,
        "GmtCreate": gmt_create,
        "UtcCreate": utc_create,
        "GmtModified": gmt_modified,
        "IotId": device.iot_id,
        "DeviceStatus": status(api, &device.product_key, &device.device_name),
        "Nickname": device.nickname,
    }))
}

async fn state(api: &Api, call: &Call) -> Answer {
    let device = device(api, call, error::DEVICE_STATUS).await?;
    let status = status(api, &device.product_key, &device.device_name);
    let online = status == DeviceStatus::Online.as_str();
    let data = without_nulls(json!({
        "Status": status, "Timestamp": device.online_ms.filter(|_| online)
    }));
    Ok(object(json!({ "RequestId": call.id, "Success": true, "Data": data })))
}

/// Devices that are not registered are left out, unless none is.
async fn states(api: &Api, call: &Call) -> Answer {
    let code: &'static ErrorCode = error::DEVICE_STATUS;
    let ids = call.list("IotId")?;
    let names = call.list("DeviceName")?;
    let key;
    let wanted: Vec<_> = if ids.is_empty() {
        key = product_key(call)?;
        if names.is_empty() {
            return Err(error::NO_NAMES.plain());
        }
        if api.state.registry.product(key).is_none() {
            return Err(error::NO_PRODUCT.with(key));
        }
        names
            .into_iter()
            .map(|device_name| DeviceRef::Name { product_key: key, device_name })
            .collect()
    } else {
        let ids = ids.into_iter().map(|id| Ok(DeviceRef::IotId(iot_id(id)?)));
        ids.collect::<Result<_, ApiError>>()?
    };
    if wanted.len() > STATES_MAX {
        let count = wanted.len();
        return Err(error::DEVICE_COUNT
            .with(format!("{count} are given, at most {STATES_MAX} are allowed")));
    }
    let mut states = Vec::with_capacity(wanted.len());
    for of in &wanted {
        let Some(device) = api.state.registry.device(*of).await.map_err(failed(code))? else {
            continue;
        };
        let status = status(api, &device.product_key, &device.device_name);
        let online = status == DeviceStatus::Online.as_str();
        states.push(without_nulls(json!({
            "Status": status,
            "DeviceId": old_id(&device.iot_id),
            "DeviceName": device.device_name,
            "IotId": device.iot_id,
            "LastOnlineTime": device.online_ms.map(|ms| china_and_utc(ms).1),
            "Timestamp": device.online_ms.filter(|_| online),
        })));
    }
    if states.is_empty() {
        let first = wanted.first().map(ToString::to_string).unwrap_or_default();
        return Err(error::NO_DEVICE.with(first));
    }
    Ok(object(json!({
        "DeviceStatusList": { "DeviceStatus": states }, "RequestId": call.id, "Success": true
    })))
}

async fn delete(api: &Api, call: &Call) -> Answer {
    let device = device(api, call, error::DELETE_DEVICE).await?;
    let changed = Changed::of(&device).behind(api);
    let deleted = api.state.registry.delete_device(&device.product_key, &device.device_name);
    deleted.await.map_err(|problem| refused(problem, error::DELETE_DEVICE))?;
    tell(api, Change::Delete, &[changed]).await;
    Ok(call.done())
}

/// A device that is so already is left as it is.
async fn disable(api: &Api, call: &Call, disabled: bool) -> Answer {
    let (code, change) = match disabled {
        true => (error::DISABLE_DEVICE, Change::Disable),
        false => (error::ENABLE_DEVICE, Change::Enable),
    };
    let device = device(api, call, code).await?;
    let (product_key, device_name) = (&device.product_key, &device.device_name);
    let registry = &api.state.registry;
    let set = registry.set_disabled(product_key, device_name, disabled, api.now_ms()).await;
    if set.map_err(|problem| refused(problem, code))? {
        tell(api, change, &[Changed::of(&device).behind(api)]).await;
    }
    Ok(call.done())
}

async fn statistics(api: &Api, call: &Call) -> Answer {
    let registry = &api.state.registry;
    let product = match filled(call.text("ProductKey")) {
        Some(_) => Some(product(api, call)?),
        None => None,
    };
    let key = product.as_ref().map(|product| product.key.as_str());
    if let Some(id) = filled(call.text("GroupId")) {
        let crowd = registry.crowd(group_id(id)?, key).await;
        let crowd = crowd.map_err(|problem| refused(problem, error::STATISTICS))?;
        return Ok(counted(call, crowd));
    }
    let count = registry.stored_devices(key).await.map_err(failed(error::STATISTICS))?;
    let activity = registry.activity(key);
    let crowd = Crowd { devices: count, active: activity.active, online: activity.online };
    Ok(counted(call, crowd))
}

fn counted(call: &Call, crowd: Crowd) -> Map<String, Value> {
    let Crowd { devices, active, online } = crowd;
    let data = json!({ "deviceCount": devices, "onlineCount": online, "activeCount": active });
    object(json!({ "RequestId": call.id, "Success": true, "Data": data }))
}

async fn rename(api: &Api, call: &Call) -> Answer {
    let registry = &api.state.registry;
    let given = call.objects("DeviceNicknameInfo")?;
    if given.len() > NICKNAMES_MAX {
        let count = given.len();
        return Err(error::DEVICE_COUNT
            .with(format!("{count} are given, at most {NICKNAMES_MAX} are allowed")));
    }
    let mut changes = Vec::with_capacity(given.len());
    for one in given {
        let field = |name: &str| filled(one.get(name).copied());
        let of = match (field("IotId"), field("ProductKey"), field("DeviceName")) {
            (Some(id), _, _) => DeviceRef::IotId(iot_id(id)?),
            (None, Some(product_key), Some(device_name)) => {
                DeviceRef::Name { product_key, device_name }
            }
            (None, None, _) => return Err(error::NO_PRODUCT_KEY.plain()),
            (None, Some(_), None) => return Err(error::NULL_DEVICE_NAME.plain()),
        };
        let nickname = nickname(field("Nickname"))?;
        let device = registry.device(of).await.map_err(failed(error::QUERY_DEVICE))?;
        let device = device.ok_or_else(|| error::NO_DEVICE.with(of))?;
        changes.push((device.product_key, device.device_name, nickname));
    }
    let renamed = registry.set_nicknames(&changes, api.now_ms()).await;
    renamed.map_err(|problem| refused(problem, error::SYSTEM))?;
    Ok(call.done())
}
