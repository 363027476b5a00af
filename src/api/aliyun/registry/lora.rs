//! The operations on LoRaWAN (development guide §2.8.35 to §2.8.37): join permissions of the
//! configuration, and nodes that are registered as devices.
//!
//! There is no network server: nothing here reaches a node or checks its PIN code.

use serde_json::json;

use super::lifecycle::{Change, Changed, tell};
use super::named::product;
use super::refusal::{failed, refused};
use crate::api::aliyun::operation::{Operation, need};
use crate::api::aliyun::wire::answer::{ACCOUNT, Answer, filled, object};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError};
use crate::api::state::Api;
use crate::api::state::lora::JoinPermission;
use crate::registry::{ApplyStatus, Node, Product, RegistryError};
use crate::rule::store::Role;

/// The operations of LoRaWAN, sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "CreateLoRaNodesTask",
        parameters: &[need("ProductKey"), need("DeviceInfo")],
        role: Role::Admin,
        call: |api, call| Box::pin(create(api, call)),
    },
    Operation {
        name: "GetLoraNodesTask",
        parameters: &[need("TaskId")],
        role: Role::Read,
        call: |api, call| Box::pin(query(api, call)),
    },
    Operation {
        name: "QueryLoRaJoinPermissions",
        parameters: &[],
        role: Role::Read,
        call: |api, call| Box::pin(std::future::ready(list(api, call))),
    },
];

/// How devices of such products reach the network.
pub(super) const LORA: &str = "LORA";

/// Nodes of one task.
const NODES_MAX: usize = 500;

/// Hexadecimal digits of a node's identifier, and characters of its PIN code.
const DEV_EUI: usize = 16;
const PIN_CODE: std::ops::RangeInclusive<usize> = 4..=16;

/// True for a product whose devices are nodes.
pub(super) fn is_lora(product: &Product) -> bool {
    product.net_type.as_deref() == Some(LORA)
}

/// The permission that a request for a product names.
pub(super) fn join_permission<'a>(api: &'a Api, call: &Call) -> Result<&'a str, ApiError> {
    const SHOWN: &str = "QueryLoRaJoinPermissions shows those of `lora` in the configuration";
    let Some(id) = filled(call.text("JoinPermissionId")) else {
        return Err(error::FORMAT.with(format!("NetType LORA needs JoinPermissionId; {SHOWN}")));
    };
    match api.state.join_permissions.iter().find(|permission| permission.id == id) {
        Some(JoinPermission { id, enabled: true, .. }) => Ok(id),
        Some(_) => Err(error::FORMAT.with(format!("JoinPermissionId `{id}` is not enabled"))),
        None => Err(error::FORMAT.with(format!("there is no JoinPermissionId `{id}`; {SHOWN}"))),
    }
}

/// A node of a request.
///
/// # Errors
/// What is wrong with it.
pub(super) fn node(dev_eui: &str, pin_code: &str) -> Result<Node, String> {
    if dev_eui.len() != DEV_EUI || !dev_eui.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(format!("DevEui `{dev_eui}`; expected {DEV_EUI} hexadecimal digits"));
    }
    if !PIN_CODE.contains(&pin_code.len()) || !pin_code.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(format!("PinCode of `{dev_eui}`; expected digits such as 562959"));
    }
    Ok(Node { dev_eui: dev_eui.to_ascii_lowercase(), pin_code: pin_code.to_owned() })
}

fn list(api: &Api, call: &Call) -> Answer {
    let permissions: Vec<_> = api
        .state
        .join_permissions
        .iter()
        .map(|permission| {
            json!({
                "Enabled": permission.enabled,
                "JoinPermissionType": permission.kind.as_str(),
                "JoinPermissionId": permission.id,
                "OwnerAliyunPk": ACCOUNT,
                "ClassMode": permission.class.as_str(),
                "JoinPermissionName": permission.name,
            })
        })
        .collect();
    Ok(object(json!({
        "RequestId": call.id,
        "Success": true,
        "JoinPermissions": { "JoinPermission": permissions }
    })))
}

/// The task is finished when its id is answered.
async fn create(api: &Api, call: &Call) -> Answer {
    let product = product(api, call)?;
    if !is_lora(&product) {
        let text = format!("product `{}` has not the NetType {LORA}", product.key);
        return Err(error::FORMAT.with(text));
    }
    let given = call.objects("DeviceInfo")?;
    if given.is_empty() {
        let text = "no node is given: DeviceInfo.1.DevEui and DeviceInfo.1.PinCode, …";
        return Err(error::FORMAT.with(text));
    }
    if given.len() > NODES_MAX {
        let count = given.len();
        return Err(
            error::DEVICE_COUNT.with(format!("{count} are given, at most {NODES_MAX} are allowed"))
        );
    }
    let mut nodes = Vec::with_capacity(given.len());
    for fields in &given {
        let field = |name: &str| fields.get(name).copied().unwrap_or("");
        let node = node(field("DevEui"), field("PinCode"));
        nodes.push(node.map_err(|problem| error::FORMAT.with(problem))?);
    }
    let registered = api.state.registry.register_nodes(&product.key, &nodes, api.now_ms()).await;
    let (id, devices) = registered.map_err(|problem| match problem {
        RegistryError::Full(have) => {
            error::DEVICE_COUNT.with(format!("there are {have} devices, and not so much room left"))
        }
        other => refused(other, error::APPLY_DEVICES),
    })?;
    let changed: Vec<_> = devices.iter().map(Changed::of).collect();
    tell(api, Change::Create, &changed).await;
    Ok(object(json!({ "RequestId": call.id, "TaskId": id.to_string(), "Success": true })))
}

async fn query(api: &Api, call: &Call) -> Answer {
    let text = call.required("TaskId")?;
    let id = text.parse().ok().filter(|id| *id > 0).ok_or_else(|| {
        error::FORMAT.with(format!("TaskId `{text}`; expected a number such as 1000"))
    })?;
    let registry = &api.state.registry;
    let apply = registry.apply(id).await.map_err(failed(error::QUERY_APPLY))?;
    let apply = apply.filter(|apply| {
        let made = matches!(apply.status, ApplyStatus::CreateSuccess | ApplyStatus::CreateFailed);
        made && registry.product(&apply.product_key).is_some_and(|product| is_lora(&product))
    });
    let apply = apply.ok_or_else(|| error::NO_APPLY.with(id))?;
    let good = apply.names.iter().filter(|name| name.problem.is_none());
    let good: Vec<_> = good.map(|name| name.name.as_str()).collect();
    Ok(object(json!({
        "TotalCount": apply.names.len(),
        "SuccessCount": good.len(),
        "RequestId": call.id,
        "SuccessDevEuis": { "SuccessDevEui": good },
        "TaskId": id.to_string(),
        "TaskState": "FINISH",
        "Success": true
    })))
}
