//! The operations on files of devices (development guide §2.8.38 to §2.8.40).
//!
//! How devices send them stands in [`crate::thing`], how they are read in `http`.

use futures_util::FutureExt as _;
use serde_json::json;

use super::target::Target;
use crate::api::aliyun::operation::{Operation, STORE_FAILED, may, need};
use crate::api::aliyun::wire::answer::{Answer, object};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError};
use crate::api::aliyun::wire::page::Page;
use crate::api::aliyun::wire::times::gmt_and_utc;
use crate::api::state::Api;
use crate::rule::store::{Role, StoreError};
use crate::thing::StoredFile;

/// Sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "DeleteDeviceFile",
        parameters: &[may("IotId"), may("ProductKey"), may("DeviceName"), need("FileId")],
        role: Role::Admin,
        call: |api, call| delete(api, call).boxed(),
    },
    Operation {
        name: "QueryDeviceFile",
        parameters: &[may("IotId"), may("ProductKey"), may("DeviceName"), need("FileId")],
        role: Role::Read,
        call: |api, call| query(api, call).boxed(),
    },
    Operation {
        name: "QueryDeviceFileList",
        parameters: &[
            may("IotId"),
            may("ProductKey"),
            may("DeviceName"),
            may("CurrentPage"),
            may("PageSize"),
        ],
        role: Role::Read,
        call: |api, call| list(api, call).boxed(),
    },
];

/// Files on a page.
const PAGE_SIZE_MAX: u32 = 200;

async fn list(api: &Api, call: &Call) -> Answer {
    let page = Page::of(call, PAGE_SIZE_MAX)?;
    let Target { product_key, device_name } = Target::read(api, call).await?.registered(api)?;
    let things = &api.state.things;
    let found = things.device_files(&product_key, &device_name, page.size, page.offset()).await;
    let (files, total) = found.map_err(failed)?;
    let summary = |file: &StoredFile| {
        json!({
            "FileId": file.id,
            "Name": file.name,
            "Size": file.size.to_string(),
            "UtcCreatedOn": gmt_and_utc(file.created_ms).1,
        })
    };
    let files: Vec<_> = files.iter().map(summary).collect();
    Ok(object(json!({
        "RequestId": call.id,
        "Success": true,
        "Total": total,
        "CurrentPage": page.number,
        "PageSize": page.size,
        "PageCount": page.count(total),
        "Data": { "FileSummary": files },
    })))
}

async fn query(api: &Api, call: &Call) -> Answer {
    let id = file_id(call)?;
    let Target { product_key, device_name } = Target::read(api, call).await?.registered(api)?;
    let found = api.state.things.device_file(&product_key, &device_name, id).await;
    let file = found.map_err(failed)?.ok_or_else(|| unknown(id))?;
    let link = api.state.file_links.link(&call.host, &file.id, &file.name, api.now_ms());
    let data = json!({
        "FileId": file.id,
        "Name": file.name,
        "Size": file.size.to_string(),
        "UtcCreatedOn": gmt_and_utc(file.created_ms).1,
        "DownloadUrl": link,
    });
    Ok(object(json!({ "RequestId": call.id, "Success": true, "Data": data })))
}

async fn delete(api: &Api, call: &Call) -> Answer {
    let id = file_id(call)?;
    let Target { product_key, device_name } = Target::read(api, call).await?.registered(api)?;
    let done = api.state.things.delete_device_file(&product_key, &device_name, id).await;
    match done.map_err(failed)? {
        true => Ok(call.done()),
        false => Err(unknown(id)),
    }
}

fn file_id(call: &Call) -> Result<&str, ApiError> {
    match call.required("FileId")? {
        "" => Err(error::FORMAT.with("FileId is empty")),
        id => Ok(id),
    }
}

/// The guide has no code for it.
fn unknown(id: &str) -> ApiError {
    error::FORMAT.with(format!("FileId `{id}`: the device has no such file"))
}

fn failed(problem: StoreError) -> ApiError {
    tracing::error!(%problem, "files of devices could not be read or changed");
    error::SYSTEM.with(STORE_FAILED)
}
