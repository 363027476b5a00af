//! Operations on the history of devices: `QueryDeviceEventData`, `QueryDevicePropertyData`,
//! `QueryDevicePropertiesData`, `QueryDeviceServiceData`.
//!
//! What is kept, and where a page ends, is decided in [`crate::history`].

use connectors::contract::tree;
use futures_util::FutureExt as _;
use serde_json::{Value, json};

use super::target::Target;
use crate::api::aliyun::operation::{Operation, STORE_FAILED, may, need};
use crate::api::aliyun::wire::answer::{Answer, object, without_nulls};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError, ErrorCode};
use crate::api::state::Api;
use crate::history::{Event, Kind, Order, Page, Row, Service, Window};
use crate::rule::store::Role;

/// Entries of a page, of one property.
const PAGE_MAX: u64 = 50;

/// Entries of a page of each of several properties.
const PROPERTIES_PAGE_MAX: u64 = 100;

/// Entries of a page when the request does not say.
const PAGE_DEFAULT: u64 = 10;

/// Properties that can be asked for at once.
const IDENTIFIERS_MAX: usize = 10;

/// What is said when the configuration keeps nothing.
const OFF: &str = "no history is kept; set `history.enabled` in the configuration";

/// Sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "QueryDeviceEventData",
        parameters: &[
            may("IotId"),
            may("ProductKey"),
            may("DeviceName"),
            may("EventType"),
            need("Identifier"),
            need("StartTime"),
            need("EndTime"),
            may("PageSize"),
            may("Asc"),
        ],
        role: Role::Read,
        call: |api, call| events(api, call).boxed(),
    },
    Operation {
        name: "QueryDevicePropertiesData",
        parameters: &[
            may("IotId"),
            may("ProductKey"),
            may("DeviceName"),
            need("Identifier"),
            need("StartTime"),
            need("EndTime"),
            need("PageSize"),
            need("Asc"),
        ],
        role: Role::Read,
        call: |api, call| many_properties(api, call).boxed(),
    },
    Operation {
        name: "QueryDevicePropertyData",
        parameters: &[
            may("IotId"),
            may("ProductKey"),
            may("DeviceName"),
            need("Identifier"),
            need("StartTime"),
            need("EndTime"),
            need("PageSize"),
            need("Asc"),
        ],
        role: Role::Read,
        call: |api, call| properties(api, call).boxed(),
    },
    Operation {
        name: "QueryDeviceServiceData",
        parameters: &[
            may("IotId"),
            may("ProductKey"),
            may("DeviceName"),
            need("Identifier"),
            need("StartTime"),
            need("EndTime"),
            may("PageSize"),
            may("Asc"),
        ],
        role: Role::Read,
        call: |api, call| services(api, call).boxed(),
    },
];

async fn properties(api: &Api, call: &Call) -> Answer {
    let target = Target::read(api, call).await?.registered(api)?;
    let identifier = identifier(call, error::NULL_PROPERTY_KEY)?;
    in_model(api, &target, &[identifier])?;
    let page = page(api, call, &target, Kind::Property, &[identifier], PAGE_MAX).await?;
    let list: Vec<_> = rows(&page)
        .map(|row| json!({ "Value": shown(&row.value), "Time": row.mark.time_ms.to_string() }))
        .collect();
    Ok(answer(call, &page, json!({ "PropertyInfo": list })))
}

async fn many_properties(api: &Api, call: &Call) -> Answer {
    let target = Target::read(api, call).await?.registered(api)?;
    let identifiers = identifiers(call)?;
    in_model(api, &target, &identifiers)?;
    let page = page(api, call, &target, Kind::Property, &identifiers, PROPERTIES_PAGE_MAX).await?;
    let infos: Vec<_> = identifiers
        .iter()
        .zip(&page.series)
        .map(|(identifier, rows)| {
            // Here times are numbers, as the vendor's clients have it.
            let list = rows
                .iter()
                .map(|row| json!({ "Time": row.mark.time_ms, "Value": shown(&row.value) }));
            let list: Vec<_> = list.collect();
            json!({ "Identifier": identifier, "List": { "PropertyInfo": list } })
        })
        .collect();
    Ok(object(json!({
        "RequestId": call.id,
        "Success": true,
        "NextValid": page.more,
        "NextTime": page.next,
        "PropertyDataInfos": { "PropertyDataInfo": infos },
    })))
}

async fn events(api: &Api, call: &Call) -> Answer {
    let target = Target::read(api, call).await?.registered(api)?;
    let identifier = identifier(call, error::FORMAT)?;
    let wanted = call.text("EventType").filter(|kind| !kind.is_empty());
    if let Some(kind) = wanted.filter(|kind| !["info", "alert", "error"].contains(kind)) {
        let text = format!("EventType `{kind}`; expected info, alert or error");
        return Err(error::FORMAT.with(text));
    }
    let page = page(api, call, &target, Kind::Event, &[identifier], PAGE_MAX).await?;
    let list: Vec<_> = rows(&page)
        .filter_map(|row| Some((row, Event::read(&row.value)?)))
        // An event is of one type, unless its model was changed: then pages are short.
        .filter(|(_, event)| wanted.is_none_or(|kind| kind == event.kind))
        .map(|(row, event)| {
            json!({
                "Name": event.name,
                "Time": row.mark.time_ms.to_string(),
                "OutputData": event.value.get(),
                "EventType": event.kind,
                "Identifier": identifier,
            })
        })
        .collect();
    Ok(answer(call, &page, json!({ "EventInfo": list })))
}

async fn services(api: &Api, call: &Call) -> Answer {
    let target = Target::read(api, call).await?.registered(api)?;
    let identifier = identifier(call, error::FORMAT)?;
    let page = page(api, call, &target, Kind::Service, &[identifier], PAGE_MAX).await?;
    let model = api.state.things.model(&target.product_key);
    let known = model.as_ref().and_then(|model| model.services.get(identifier));
    let name = known.map_or(identifier, |service| &service.name);
    let list: Vec<_> = rows(&page)
        .filter_map(|row| Some((row, Service::read(&row.value)?)))
        .map(|(row, service)| {
            // No output while the device has not answered.
            without_nulls(json!({
                "Name": name,
                "Time": row.mark.time_ms.to_string(),
                "OutputData": service.output,
                "InputData": service.input.get(),
                "Identifier": identifier,
            }))
        })
        .collect();
    Ok(answer(call, &page, json!({ "ServiceInfo": list })))
}

/// The one identifier of a request.
fn identifier<'a>(call: &'a Call, empty: &'static ErrorCode) -> Result<&'a str, ApiError> {
    match call.text("Identifier") {
        None | Some("") => Err(empty.with("Identifier is empty")),
        Some(identifier) => Ok(identifier),
    }
}

/// The identifiers of a request, each once.
fn identifiers(call: &Call) -> Result<Vec<&str>, ApiError> {
    let identifiers = call.list("Identifier")?;
    if identifiers.is_empty() || identifiers.contains(&"") {
        return Err(error::NULL_PROPERTY_KEY.plain());
    }
    if identifiers.len() > IDENTIFIERS_MAX {
        let (got, most) = (identifiers.len(), IDENTIFIERS_MAX);
        let text = format!("{got} identifiers, at most {most} are allowed");
        return Err(error::TOO_MANY_PROPERTIES.with(text));
    }
    let mut sorted = identifiers.clone();
    sorted.sort_unstable();
    if let Some([twice, _]) = sorted.array_windows().find(|[a, b]| a == b) {
        return Err(error::FORMAT.with(format!("the identifier `{twice}` is given twice")));
    }
    Ok(identifiers)
}

/// Of a product that has a model only its properties can be asked for; at least one must be of them.
fn in_model(api: &Api, target: &Target, identifiers: &[&str]) -> Result<(), ApiError> {
    let Some(model) = api.state.things.model(&target.product_key) else { return Ok(()) };
    match identifiers.iter().any(|identifier| model.properties.contains_key(*identifier)) {
        true => Ok(()),
        false => {
            let names = identifiers.join("`, `");
            Err(error::NO_PROPERTIES.with(format!("the product's model does not have `{names}`")))
        }
    }
}

/// What can't be read.
fn failed(kind: Kind) -> &'static ErrorCode {
    match kind {
        Kind::Property => error::PROPERTY_HISTORY,
        Kind::Event => error::EVENT_HISTORY,
        Kind::Service => error::SERVICE_HISTORY,
    }
}

/// The page that a request asks for.
async fn page(
    api: &Api,
    call: &Call,
    target: &Target,
    kind: Kind,
    identifiers: &[&str],
    most: u64,
) -> Result<Page, ApiError> {
    let time = |name: &str| {
        let time = call.number(name, 0..=TIME_MAX, error::TIME_BUCKET)?;
        time.ok_or_else(|| error::TIME_BUCKET.with(format!("{name} is empty")))
    };
    let (start, end) = (time("StartTime")?, time("EndTime")?);
    let order = match call.number("Asc", 0..=1, error::FORMAT)? {
        Some(0) => Order::Descending,
        Some(_) => Order::Ascending,
        // Who does not say it shows it.
        None if Window::new(start, end, Order::Ascending).is_straight() => Order::Ascending,
        None => Order::Descending,
    };
    let size = call.number("PageSize", 1..=most, error::PAGE)?.unwrap_or(PAGE_DEFAULT);
    let window = Window::new(start, end, order);
    if !window.is_straight() {
        return Err(error::TIME_BUCKET.with(match order {
            Order::Ascending => "StartTime is after EndTime; with Asc=1 it comes first",
            Order::Descending => "StartTime is before EndTime; with Asc=0 it is the later of both",
        }));
    }
    let Some(device) = api.state.registry.iot_id(&target.product_key, &target.device_name) else {
        return Err(error::NO_DEVICE.with(&target.device_name));
    };
    let size = usize::try_from(size).unwrap_or(1);
    let page = api.state.things.history().page(&device, kind, identifiers, window, size).await;
    match page {
        Ok(Some(page)) => Ok(page),
        Ok(None) => Err(failed(kind).with(OFF)),
        Err(problem) => {
            tracing::error!(%problem, "the history of a device could not be read");
            Err(failed(kind).with(STORE_FAILED))
        }
    }
}

/// Times that clients write: below 2⁵³, so that all of them can.
const TIME_MAX: u64 = (1 << 53) - 1;

fn rows(page: &Page) -> impl Iterator<Item = &Row> {
    page.series.iter().flatten()
}

fn answer(call: &Call, page: &Page, list: Value) -> serde_json::Map<String, Value> {
    object(json!({
        "RequestId": call.id,
        "Success": true,
        "Data": { "NextValid": page.more, "NextTime": page.next, "List": list },
    }))
}

/// A value as text: a text itself, anything else as it was posted.
fn shown(value: &str) -> String {
    match tree(value.as_bytes()) {
        Ok(Value::String(text)) => text,
        _ => value.to_owned(),
    }
}
