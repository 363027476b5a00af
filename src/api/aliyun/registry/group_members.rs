//! The operations on who is in a group (development guide §2.9.4, §2.9.5, §2.9.10 and §2.9.12).
//!
//! A device is in the groups that it was put into: not in those above or below them by that.

use std::collections::BTreeSet;

use serde_json::json;

use super::device_groups::info;
use super::named::{device, simple, static_group};
use super::refusal::{failed, refused};
use crate::api::aliyun::operation::{Operation, may, need};
use crate::api::aliyun::wire::answer::{Answer, filled, object};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError};
use crate::api::aliyun::wire::page::Page;
use crate::api::state::Api;
use crate::rule::store::Role;

/// The operations of members, sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "BatchAddDeviceGroupRelations",
        parameters: &[need("GroupId"), need("Device")],
        role: Role::Admin,
        call: |api, call| Box::pin(add(api, call)),
    },
    Operation {
        name: "BatchDeleteDeviceGroupRelations",
        parameters: &[need("GroupId"), need("Device")],
        role: Role::Admin,
        call: |api, call| Box::pin(delete(api, call)),
    },
    Operation {
        name: "QueryDeviceGroupByDevice",
        parameters: &[need("ProductKey"), need("DeviceName")],
        role: Role::Read,
        call: |api, call| Box::pin(groups(api, call)),
    },
    Operation {
        name: "QueryDeviceListByDeviceGroup",
        parameters: &[need("GroupId"), may("CurrentPage"), may("PageSize")],
        role: Role::Read,
        call: |api, call| Box::pin(list(api, call)),
    },
];

/// Devices of one call.
const DEVICES_MAX: usize = 200;

/// Devices on a page.
const PAGE_SIZE_MAX: u32 = 200;

async fn add(api: &Api, call: &Call) -> Answer {
    let id = static_group(call)?;
    let devices = devices(call)?;
    let joined = api.state.registry.join_group(id, &devices).await;
    let joined = joined.map_err(|problem| refused(problem, error::BIND_GROUP))?;
    let failed = devices.len() as u64 - joined.added - joined.already;
    let text = format!(
        "{} devices have been added, and {failed} devices failed to be added.",
        joined.added
    );
    Ok(object(json!({
        "SuccessAddedDeviceCount": joined.added,
        "ExceedTenGroupDeviceCount": joined.full,
        "ErrorMessage": text,
        "ValidDeviceCount": joined.valid,
        "AlreadyRelatedGroupDeviceCount": joined.already,
        "RequestId": call.id,
        "Success": true
    })))
}

async fn delete(api: &Api, call: &Call) -> Answer {
    let id = static_group(call)?;
    let devices = devices(call)?;
    let left = api.state.registry.leave_group(id, &devices).await;
    let left = left.map_err(|problem| refused(problem, error::BIND_GROUP))?;
    Ok(object(json!({
        "SuccessDeviceCount": left.removed,
        "ValidDeviceCount": left.valid,
        "AlreadyRelatedGroupDeviceCount": left.removed,
        "RequestId": call.id,
        "Success": true
    })))
}

/// The devices of a call, each once: product key and name. They need not be registered.
fn devices(call: &Call) -> Result<BTreeSet<(&str, &str)>, ApiError> {
    let given = call.objects("Device")?;
    if given.is_empty() {
        let text = "no device is given: Device.1.ProductKey and Device.1.DeviceName, …";
        return Err(error::FORMAT.with(text));
    }
    if given.len() > DEVICES_MAX {
        let count = given.len();
        return Err(error::DEVICE_COUNT
            .with(format!("{count} are given, at most {DEVICES_MAX} are allowed")));
    }
    let named = given.iter().map(|fields| {
        let field = |name: &str| filled(fields.get(name).copied());
        let product_key = field("ProductKey").ok_or_else(|| error::NO_PRODUCT_KEY.plain())?;
        let device_name = field("DeviceName").ok_or_else(|| error::NULL_DEVICE_NAME.plain())?;
        Ok((product_key, device_name))
    });
    named.collect()
}

async fn groups(api: &Api, call: &Call) -> Answer {
    let device = device(api, call, error::GROUP_RELATION).await?;
    let groups = api.state.registry.groups_of(&device.product_key, &device.device_name).await;
    let groups = groups.map_err(failed(error::GROUP_RELATION))?;
    let groups: Vec<_> = groups.iter().map(info).collect();
    Ok(object(json!({
        "RequestId": call.id, "GroupInfos": { "GroupInfo": groups }, "Success": true
    })))
}

async fn list(api: &Api, call: &Call) -> Answer {
    let id = static_group(call)?;
    let page = Page::of(call, PAGE_SIZE_MAX)?;
    let found = api.state.registry.devices_of_group(id, page.size, page.offset()).await;
    let (devices, total) = found.map_err(|problem| refused(problem, error::GROUP_RELATION))?;
    let devices: Vec<_> = devices.iter().map(|found| simple(api, found)).collect();
    Ok(object(json!({
        "PageCount": page.count(total),
        "Data": { "SimpleDeviceInfo": devices },
        "PageSize": page.size,
        "Page": page.number,
        "RequestId": call.id,
        "Success": true,
        "Total": total
    })))
}
