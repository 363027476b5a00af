//! The operations on gateways and their sub-devices (development guide §2.8.21, §2.8.29 to §2.8.31).
//!
//! Which devices are whose stands in the registry; gateways add and remove devices themselves, over
//! MQTT.

use connectors::contract;
use serde::Deserialize;
use serde_json::json;

use super::devices::{REGION, times};
use super::named::{device, device_of, known, status};
use super::refusal::failed;
use crate::api::aliyun::operation::{Operation, may, need};
use crate::api::aliyun::wire::answer::{Answer, object, without_nulls};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError};
use crate::api::aliyun::wire::page::Page;
use crate::api::aliyun::wire::times::china_and_utc;
use crate::api::state::{Api, Cut};
use crate::registry::{Device, DeviceRef, Found, SUB_DEVICES_MAX, session_id};
use crate::rule::store::Role;
use crate::thing::TopologyChange;

/// Sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "GetGatewayBySubDevice",
        parameters: &[may("IotId"), may("ProductKey"), may("DeviceName")],
        role: Role::Operate,
        call: |api, call| Box::pin(gateway(api, call)),
    },
    Operation {
        name: "GetThingTopo",
        parameters: &[
            may("IotId"),
            may("ProductKey"),
            may("DeviceName"),
            need("PageSize"),
            need("PageNo"),
        ],
        role: Role::Read,
        call: |api, call| Box::pin(topology(api, call)),
    },
    Operation {
        name: "NotifyAddThingTopo",
        parameters: &[
            may("GwIotId"),
            may("GwProductKey"),
            may("GwDeviceName"),
            need("DeviceListStr"),
        ],
        role: Role::Operate,
        call: |api, call| Box::pin(notify(api, call)),
    },
    Operation {
        name: "RemoveThingTopo",
        parameters: &[may("IotId"), may("ProductKey"), may("DeviceName")],
        role: Role::Admin,
        call: |api, call| Box::pin(remove(api, call)),
    },
];

/// Devices on a page.
const PAGE_SIZE_MAX: u64 = 50;

/// The typed clients read some names of this answer in another case than the guide prints them.
async fn gateway(api: &Api, call: &Call) -> Answer {
    let device = device(api, call, error::QUERY_TOPO).await?;
    let gateway = api.state.registry.gateway_of(&device.product_key, &device.device_name);
    let gateway = gateway.ok_or_else(|| {
        error::QUERY_TOPO.with(format!("device `{}` has no gateway", device.device_name))
    })?;
    let of =
        DeviceRef::Name { product_key: &gateway.product_key, device_name: &gateway.device_name };
    let gateway = known(api, of, error::QUERY_TOPO).await?;
    let product = api.state.registry.product(&gateway.product_key);
    let (gmt_create, utc_create) = china_and_utc(gateway.created_ms);
    // What has not happened yet is an empty text here.
    let (gmt_active, utc_active) = times(gateway.active_ms);
    let (gmt_online, utc_online) = times(gateway.online_ms);
    let data = without_nulls(json!({
        "Status": status(api, &gateway.product_key, &gateway.device_name),
        "ProductName": product.as_ref().map(|product| product.name.clone()),
        "DeviceSecret": gateway.secret,
        "UtcOnline": utc_online.unwrap_or_default(),
        "iotId": gateway.iot_id,
        "GmtCreate": gmt_create,
        "UtcCreate": utc_create,
        "UtcActive": utc_active.unwrap_or_default(),
        "GmtActive": gmt_active.unwrap_or_default(),
        "NodeType": product.map(|product| product.node_type.to_string()),
        "region": REGION,
        "GmtOnline": gmt_online.unwrap_or_default(),
        "ProductKey": gateway.product_key,
        "DeviceName": gateway.device_name,
        "IpAddress": gateway.address,
    }));
    Ok(object(json!({ "RequestId": call.id, "Data": data, "Success": true })))
}

/// The devices of a gateway; of a device that has a gateway, that.
async fn topology(api: &Api, call: &Call) -> Answer {
    let page = page(call)?;
    let device = device(api, call, error::QUERY_TOPO).await?;
    let registry = &api.state.registry;
    let name = (device.product_key.as_str(), device.device_name.as_str());
    let (devices, total) = match registry.gateway_of(name.0, name.1) {
        None => {
            let found = registry.sub_devices(name, page.size, page.offset()).await;
            found.map_err(failed(error::QUERY_TOPO))?
        }
        Some(gateway) => {
            let contract::Device { product_key, device_name } = &*gateway;
            let found = Found {
                product_key: product_key.to_string(),
                device_name: device_name.to_string(),
                iot_id: registry.iot_id(product_key, device_name).unwrap_or_default().into(),
            };
            (if page.offset() == 0 { vec![found] } else { Vec::new() }, 1)
        }
    };
    let info = |Found { product_key, device_name, iot_id }: &Found| json!({ "DeviceName": device_name, "ProductKey": product_key, "IotId": iot_id });
    let devices: Vec<_> = devices.iter().map(info).collect();
    let data = json!({
        "PageCount": page.count(total),
        "PageSize": page.size,
        "List": { "deviceInfo": devices },
        "CurrentPage": page.number,
        "Total": total,
    });
    Ok(object(json!({ "RequestId": call.id, "Success": true, "Data": data })))
}

/// `PageNo` from 1 and `PageSize` from 1 to 50, which is refused with a code of its own.
fn page(call: &Call) -> Result<Page, ApiError> {
    let small = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
    let size = small(call.number("PageSize", 1..=PAGE_SIZE_MAX, error::QUERY_TOPO)?);
    let number = small(call.number("PageNo", 1..=u64::from(u32::MAX), error::PAGE)?);
    match (number, size) {
        (Some(number), Some(size)) => Ok(Page { number, size }),
        _ => Err(error::PAGE.with("PageNo and PageSize are needed")),
    }
}

/// One of `DeviceListStr`, in either of the cases that the guide uses.
#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "ProductKey", alias = "productKey")]
    product_key: Option<String>,
    #[serde(rename = "DeviceName", alias = "deviceName")]
    device_name: Option<String>,
    #[serde(rename = "IotId", alias = "iotId")]
    iot_id: Option<String>,
}

async fn notify(api: &Api, call: &Call) -> Answer {
    let names = ["GwIotId", "GwProductKey", "GwDeviceName"].map(|name| call.text(name));
    let gateway = known(api, device_of(api, names)?, error::ADD_TOPO).await?;
    let Device { product_key, device_name, .. } = &gateway;
    let registry = &api.state.registry;
    if !registry.is_gateway(product_key, device_name) {
        let text = format!("device `{device_name}` is no gateway (NodeType of its product)");
        return Err(error::ADD_TOPO.with(text));
    }
    let devices = listed(api, call.required("DeviceListStr")?).await?;
    let name = (product_key.as_str(), device_name.as_str());
    let (_, have) = registry.sub_devices(name, 1, 0).await.map_err(failed(error::ADD_TOPO))?;
    let new = devices.iter().filter(|(key, device)| !registry.is_attached(name, (key, device)));
    let all = have.saturating_add(new.count() as u64);
    if all > SUB_DEVICES_MAX as u64 {
        let text = format!("the gateway would have {all}, at most {SUB_DEVICES_MAX} are allowed");
        return Err(error::TOPO_COUNT.with(text));
    }
    let asked = api.state.things.ask_to_attach(name, &devices).await;
    let id = asked.map_err(|problem| error::ADD_TOPO.with(problem))?;
    let data = json!({ "MessageId": id.to_string() });
    Ok(object(json!({ "RequestId": call.id, "Success": true, "Data": data })))
}

/// The devices of `DeviceListStr`, which must be registered and no gateways.
async fn listed(api: &Api, text: &str) -> Result<Vec<(String, String)>, ApiError> {
    let listed: Vec<Listed> = serde_json::from_str(text).map_err(|problem| {
        error::ADD_TOPO.with(format!(
            "DeviceListStr: {problem}; expected [{{\"productKey\": …, \"deviceName\": …}}]"
        ))
    })?;
    if listed.is_empty() {
        return Err(error::ADD_TOPO.with("DeviceListStr has no device"));
    }
    if listed.len() > SUB_DEVICES_MAX {
        let count = listed.len();
        let text = format!("{count} are given, at most {SUB_DEVICES_MAX} are allowed");
        return Err(error::TOPO_COUNT.with(text));
    }
    let mut devices = Vec::with_capacity(listed.len());
    for one in &listed {
        let named = [one.iot_id.as_deref(), one.product_key.as_deref(), one.device_name.as_deref()];
        let device = known(api, device_of(api, named)?, error::ADD_TOPO).await?;
        let Device { product_key, device_name, .. } = device;
        if api.state.registry.is_gateway(&product_key, &device_name) {
            let text = format!("device `{device_name}` is a gateway itself");
            return Err(error::ADD_TOPO.with(text));
        }
        devices.push((product_key, device_name));
    }
    devices.sort_unstable();
    devices.dedup();
    Ok(devices)
}

/// Takes a device away from its gateway; of a gateway, all its devices.
async fn remove(api: &Api, call: &Call) -> Answer {
    let device = device(api, call, error::REMOVE_TOPO).await?;
    let Device { product_key, device_name, .. } = device;
    let registry = &api.state.registry;
    let name = (product_key.as_str(), device_name.as_str());
    let devices = match registry.gateway_of(name.0, name.1) {
        Some(_) => vec![(product_key.clone(), device_name.clone())],
        None => {
            let most = u32::try_from(SUB_DEVICES_MAX).unwrap_or(u32::MAX);
            let found = registry.sub_devices(name, most, 0).await;
            let (found, _) = found.map_err(failed(error::REMOVE_TOPO))?;
            found.into_iter().map(|found| (found.product_key, found.device_name)).collect()
        }
    };
    if devices.is_empty() {
        let text = format!("device `{device_name}` has neither a gateway nor sub-devices");
        return Err(error::REMOVE_TOPO.with(text));
    }
    for one in devices.chunks(1) {
        let [(key, name)] = one else { continue };
        let left = registry.detach(key, name).await.map_err(failed(error::REMOVE_TOPO))?;
        let Some(gateway) = left else { continue };
        (api.state.cut)(&session_id(key, name), Cut::Login);
        api.state.things.topology_changed(&gateway, TopologyChange::Delete, one).await;
    }
    Ok(object(json!({ "RequestId": call.id, "Success": true, "Data": true })))
}
