//! The operations on products (development guide §2.7).
//!
//! What is kept of a product stands in the registry.

use serde_json::{Value, json};

use super::lifecycle::{Change, Changed, tell};
use super::lora::{LORA, join_permission};
use super::named::{description, product, product_key};
use super::refusal::{failed, refused};
use crate::api::aliyun::operation::{Operation, may, need};
use crate::api::aliyun::wire::answer::{Answer, filled, object, without_nulls};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError};
use crate::api::aliyun::wire::page::Page;
use crate::api::state::Api;
use crate::registry::{Gone, NewProduct, Product, RegistryError, check_product_name};
use crate::rule::store::Role;

/// The operations of products, sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "CreateProduct",
        parameters: &[
            need("ProductName"),
            need("NodeType"),
            may("AliyunCommodityCode"),
            may("DataFormat"),
            may("Description"),
            may("Id2"),
            may("ProtocolType"),
            may("NetType"),
            may("JoinPermissionId"),
            may("CategoryKey"),
            may("AuthType"),
            may("PublishAuto"),
            may("ValidateType"),
        ],
        role: Role::Admin,
        call: |api, call| Box::pin(create(api, call)),
    },
    Operation {
        name: "DeleteProduct",
        parameters: &[need("ProductKey")],
        role: Role::Admin,
        call: |api, call| Box::pin(delete(api, call)),
    },
    Operation {
        name: "QueryProduct",
        parameters: &[need("ProductKey")],
        role: Role::Operate,
        call: |api, call| Box::pin(query(api, call)),
    },
    Operation {
        name: "QueryProductList",
        parameters: &[need("CurrentPage"), need("PageSize"), may("AliyunCommodityCode")],
        role: Role::Read,
        call: |api, call| Box::pin(list(api, call)),
    },
    Operation {
        name: "UpdateProduct",
        parameters: &[need("ProductKey"), need("ProductName"), may("Description")],
        role: Role::Admin,
        call: |api, call| Box::pin(update(api, call)),
    },
];

/// Products on a page.
const PAGE_SIZE_MAX: u32 = 200;

/// The kinds of product, with and without a thing model.
const SENIOR: &str = "iothub_senior";
const BASIC: &str = "iothub";

/// How devices reach the network, with the numbers in answers; LoRaWAN has none.
const NET_TYPES: &[(&str, u8)] = &[("WIFI", 3), ("CELLULAR", 6), ("ETHERNET", 7), ("OTHER", 8)];

/// How devices speak to a gateway.
const PROTOCOLS: &[&str] = &["modbus", "opc-ua", "customize", "ble", "zigbee"];

/// Characters of a category.
const CATEGORY_MAX: usize = 64;

async fn create(api: &Api, call: &Call) -> Answer {
    let new = new_product(call)?;
    let registry = &api.state.registry;
    let created = match new.net_type.as_deref() {
        Some(LORA) => {
            registry.create_lora_product(new, join_permission(api, call)?, api.now_ms()).await
        }
        _ => registry.create_product(new, api.now_ms()).await,
    };
    let product = created.map_err(|problem| match problem {
        RegistryError::NameTaken(name) => error::PRODUCT_NAME_TAKEN.with(name),
        RegistryError::Full(count) => error::PRODUCT_COUNT.with(count),
        other => refused(other, error::CREATE_PRODUCT),
    })?;
    let data = without_nulls(json!({
        "Description": filled(Some(&product.description)),
        "DataFormat": product.data_format,
        "ProtocolType": product.protocol_type,
        "ProductKey": product.key,
        "NodeType": product.node_type,
        "ProductName": product.name,
        "AliyunCommodityCode": commodity(product.senior),
        "Id2": false,
        "ProductSecret": product.secret,
        "AuthType": product.auth_type,
    }));
    Ok(object(json!({
        "Data": data, "ProductKey": product.key, "RequestId": call.id, "Success": true
    })))
}

fn new_product(call: &Call) -> Result<NewProduct, ApiError> {
    let name = checked_name(call.required("ProductName")?)?;
    let node_type = match call.required("NodeType")? {
        "0" => 0,
        "1" => 1,
        other => return Err(error::NODE_TYPE.with(format!("`{other}`; expected 0 or 1"))),
    };
    let senior = senior(call)?.unwrap_or(false);
    if senior && filled(call.text("DataFormat")).is_none() {
        let text = format!("{SENIOR} needs DataFormat: 0 for any bytes, 1 for the platform's JSON");
        return Err(error::FORMAT.with(text));
    }
    check_authentication(call)?;
    let category_key = call.text("CategoryKey").filter(|key| !key.is_empty());
    if let Some(key) = category_key {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if key.len() > CATEGORY_MAX || !key.chars().all(fits) {
            let text = format!("`{key}`; expected letters, digits, `_` and `-`");
            return Err(error::CATEGORY.with(text));
        }
    }
    let protocol_type = one_of(call, "ProtocolType", |text| PROTOCOLS.contains(&text), PROTOCOLS)?;
    let net_names: Vec<_> = NET_TYPES.iter().map(|(name, _)| *name).chain([LORA]).collect();
    let net_type = one_of(call, "NetType", |text| net_names.contains(&text), &net_names)?;
    // Wi-Fi is the default of a device that needs no gateway.
    let net_type = net_type.or_else(|| protocol_type.is_none().then(|| "WIFI".to_owned()));
    let small = |name, range, default: u8| {
        let number = call.number(name, range, error::FORMAT)?;
        Ok::<_, ApiError>(number.and_then(|number| u8::try_from(number).ok()).unwrap_or(default))
    };
    call.flag("PublishAuto")?;
    Ok(NewProduct {
        name: name.to_owned(),
        description: description(call.text("Description").unwrap_or(""), error::PRODUCT_DESC)?,
        node_type,
        data_format: small("DataFormat", 0..=1, 0)?,
        senior,
        category_key: category_key.map(str::to_owned),
        net_type,
        protocol_type,
        validate_type: small("ValidateType", 1..=2, 1)?,
    })
}

/// Only shared secrets are offered.
fn check_authentication(call: &Call) -> Result<(), ApiError> {
    let kind = call.text("AuthType").unwrap_or("");
    if call.flag("Id2")? == Some(true) || kind == "id2" {
        return Err(error::NO_ID2.plain());
    }
    match kind {
        "" | "secret" => Ok(()),
        other => Err(error::FORMAT.with(format!("AuthType `{other}`; expected secret"))),
    }
}

fn one_of(
    call: &Call,
    name: &str,
    fits: impl Fn(&str) -> bool,
    expected: &[&str],
) -> Result<Option<String>, ApiError> {
    match call.text(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) if fits(text) => Ok(Some(text.to_owned())),
        Some(text) => {
            let expected = expected.join(", ");
            Err(error::FORMAT.with(format!("{name} `{text}`; expected one of {expected}")))
        }
    }
}

fn checked_name(name: &str) -> Result<&str, ApiError> {
    if name.is_empty() {
        return Err(error::NULL_PRODUCT_NAME.plain());
    }
    check_product_name(name).map_err(|problem| error::PRODUCT_NAME.with(problem))?;
    Ok(name)
}

fn senior(call: &Call) -> Result<Option<bool>, ApiError> {
    match call.text("AliyunCommodityCode") {
        None | Some("") => Ok(None),
        Some(SENIOR) => Ok(Some(true)),
        Some(BASIC) => Ok(Some(false)),
        Some(other) => {
            Err(error::COMMODITY.with(format!("`{other}`; expected {SENIOR} or {BASIC}")))
        }
    }
}

fn commodity(senior: bool) -> &'static str {
    if senior { SENIOR } else { BASIC }
}

async fn query(api: &Api, call: &Call) -> Answer {
    let key = product_key(call)?;
    let registry = &api.state.registry;
    let product = registry.stored_product(key).await.map_err(failed(error::QUERY_PRODUCT))?;
    let product = product.ok_or_else(|| error::NO_PRODUCT.with(key))?;
    let counted = registry.device_counts(&[key]).await;
    let count = counted.map_err(failed(error::COUNT_DEVICES))?.remove(key);
    let net_type = NET_TYPES.iter().find(|(name, _)| product.net_type.as_deref() == Some(name));
    let data = without_nulls(json!({
        "Owner": true,
        "DataFormat": product.data_format,
        "CategoryName": "",
        "CategoryKey": product.category_key,
        "ProductStatus": "DEVELOPMENT_STATUS",
        "ProductKey": product.key,
        "GmtCreate": product.created_ms,
        "NodeType": product.node_type,
        "ProductSecret": product.secret,
        "ProductName": product.name,
        "Description": filled(Some(&product.description)),
        "NetType": net_type.map(|(_, number)| number),
        "ProtocolType": product.protocol_type,
        "DeviceCount": count.unwrap_or(0),
        "Id2": false,
        "AuthType": product.auth_type,
        "ValidateType": product.validate_type,
        "AliyunCommodityCode": commodity(product.senior),
    }));
    Ok(object(json!({ "Data": data, "RequestId": call.id, "Success": true })))
}

async fn list(api: &Api, call: &Call) -> Answer {
    let page = Page::of(call, PAGE_SIZE_MAX)?;
    let senior = senior(call)?;
    let registry = &api.state.registry;
    let listed = registry.products(senior, page.size, page.offset()).await;
    let products = listed.map_err(failed(error::LIST_PRODUCTS))?;
    let total = registry.product_count(senior).await.map_err(failed(error::LIST_PRODUCTS))?;
    let keys: Vec<_> = products.iter().map(|product| product.key.as_str()).collect();
    let counts = registry.device_counts(&keys).await.map_err(failed(error::COUNT_DEVICES))?;
    let info = |product: &Product| -> Value {
        without_nulls(json!({
            "DataFormat": product.data_format,
            "ProductKey": product.key,
            "NodeType": product.node_type,
            "ProductName": product.name,
            "DeviceCount": counts.get(&product.key).copied().unwrap_or(0),
            "GmtCreate": product.created_ms,
            "Description": filled(Some(&product.description)),
            "AuthType": product.auth_type,
        }))
    };
    let products: Vec<_> = products.iter().map(info).collect();
    Ok(object(json!({
        "RequestId": call.id,
        "Success": true,
        "Data": {
            "PageCount": page.count(total),
            "PageSize": page.size,
            "List": { "ProductInfo": products },
            "CurrentPage": page.number,
            "Total": total
        }
    })))
}

async fn update(api: &Api, call: &Call) -> Answer {
    let product = product(api, call)?;
    let name = checked_name(call.required("ProductName")?)?;
    let text = call.text("Description").map(|text| description(text, error::PRODUCT_DESC));
    let text = text.transpose()?;
    let registry = &api.state.registry;
    let updated = registry.update_product(&product.key, Some(name), text.as_deref()).await;
    updated.map_err(|problem| match problem {
        RegistryError::NameTaken(name) => error::PRODUCT_NAME_TAKEN.with(name),
        other => refused(other, error::UPDATE_PRODUCT),
    })?;
    Ok(call.done())
}

/// The vendor has no code of its own for a product that can't be deleted.
async fn delete(api: &Api, call: &Call) -> Answer {
    let product = product(api, call)?;
    let deleted = api.state.registry.delete_product(&product.key).await;
    let devices = deleted.map_err(|problem| refused(problem, error::UPDATE_PRODUCT))?;
    let changed: Vec<_> = devices
        .iter()
        .map(|Gone { device_name, iot_id, gateway }| Changed {
            product_key: &product.key,
            device_name,
            iot_id,
            secret: None,
            gateway: gateway.clone(),
        })
        .collect();
    tell(api, Change::Delete, &changed).await;
    Ok(call.done())
}
