//! What the families on products, devices and topics share: who is meant, pages, refusals, and what
//! is told to rules and connections when a device changes.
//!
//! No operation stands here.

use std::sync::Arc;

use connectors::contract::{self, Batch, Message, Origin, QoS, Topic};
use serde_json::{Value, json};

use super::error::{self, ApiError, ErrorCode};
use super::rpc::Call;
use super::{Api, Cut};
use crate::registry::{
    self, Device, DeviceRef, Product, RegistryError, is_iot_id, is_product_key, session_id,
};
use crate::rule::store::StoreError;

/// Lifecycle messages in one batch.
const LIFECYCLE_BATCH: usize = 1_000;

/// What a client is told when the store fails, in the code of what it wanted.
pub(super) fn failed(code: &'static ErrorCode) -> impl FnOnce(StoreError) -> ApiError {
    move |problem| {
        tracing::error!(%problem, code = code.code, "the store of products and devices failed");
        code.with("the store failed; the server's log has the reason")
    }
}

/// What the registry has against a change, in the protocol's codes; `code` is that of the operation.
pub(super) fn refused(problem: RegistryError, code: &'static ErrorCode) -> ApiError {
    match problem {
        RegistryError::Store(problem) => failed(code)(problem),
        RegistryError::NoProduct(key) => error::NO_PRODUCT.with(key),
        RegistryError::NoDevice(text) => error::NO_DEVICE.with(text),
        RegistryError::NoTopicClass(id) => error::NO_TOPIC_CLASS.with(id),
        RegistryError::NoApply(id) => error::NO_APPLY.with(id),
        problem @ RegistryError::ApplyState(..) => error::APPLY_INFO.with(problem),
        problem @ RegistryError::ApplyRunning(_) => error::APPLY_RUNNING.with(problem),
        other => code.with(other),
    }
}

/// The product key of a request.
pub(super) fn product_key(call: &Call) -> Result<&str, ApiError> {
    match call.text("ProductKey") {
        None | Some("") => Err(error::NO_PRODUCT_KEY.plain()),
        Some(key) if is_product_key(key) => Ok(key),
        Some(key) => {
            let text = format!("`{key}`; expected letters and digits such as a1FlqIQ0abc");
            Err(error::PRODUCT_KEY.with(text))
        }
    }
}

/// The product that a request names.
pub(super) fn product(api: &Api, call: &Call) -> Result<Arc<Product>, ApiError> {
    let key = product_key(call)?;
    api.state.registry.product(key).ok_or_else(|| error::NO_PRODUCT.with(key))
}

/// An id of a device.
pub(super) fn iot_id(text: &str) -> Result<&str, ApiError> {
    match is_iot_id(text) {
        true => Ok(text),
        false => Err(error::IOT_ID.with(format!("`{text}`"))),
    }
}

/// The device that a request names: by `IotId`, else by `ProductKey` and `DeviceName`.
pub(super) fn device_ref<'a>(api: &Api, call: &'a Call) -> Result<DeviceRef<'a>, ApiError> {
    if let Some(id) = call.text("IotId").filter(|id| !id.is_empty()) {
        return Ok(DeviceRef::IotId(iot_id(id)?));
    }
    let product_key = product_key(call)?;
    let device_name = match call.text("DeviceName") {
        None | Some("") => return Err(error::NULL_DEVICE_NAME.plain()),
        Some(name) => name,
    };
    if api.state.registry.product(product_key).is_none() {
        return Err(error::NO_PRODUCT.with(product_key));
    }
    Ok(DeviceRef::Name { product_key, device_name })
}

/// The device that a request names, which must be registered. `code` is for a store that fails.
pub(super) async fn device(
    api: &Api,
    call: &Call,
    code: &'static ErrorCode,
) -> Result<Device, ApiError> {
    let of = device_ref(api, call)?;
    let device = api.state.registry.device(of).await.map_err(failed(code))?;
    device.ok_or_else(|| error::NO_DEVICE.with(of))
}

/// Which page of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    pub number: u32,
    pub size: u32,
}

impl Page {
    /// `CurrentPage` from 1 and `PageSize` from 1 to `most`; without them the first page of 10.
    pub(super) fn of(call: &Call, most: u32) -> Result<Self, ApiError> {
        let read = |name, default: u32, most: u32| {
            let number = call.number(name, 1..=u64::from(most), error::PAGE)?;
            Ok(number.and_then(|number| u32::try_from(number).ok()).unwrap_or(default))
        };
        Ok(Self { number: read("CurrentPage", 1, u32::MAX)?, size: read("PageSize", 10, most)? })
    }

    /// Entries before the page.
    pub(super) fn offset(self) -> u64 {
        u64::from(self.number - 1) * u64::from(self.size)
    }

    /// How many pages so many entries fill.
    pub(super) fn count(self, total: u64) -> u64 {
        total.div_ceil(u64::from(self.size))
    }
}

/// A time as `2018-08-06 10:48:41` in China, whatever the daemon's zone, and as
/// `2018-08-06T02:48:41.000Z`.
pub(super) fn china_and_utc(ms: u64) -> (String, String) {
    let time = timestamp(ms);
    let china = time.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8)));
    (china.strftime("%Y-%m-%d %H:%M:%S").to_string(), utc(time))
}

/// A time as `Wed, 20-Feb-2019 02:16:09 GMT` and as `2019-02-20T02:16:09.000Z`.
pub(super) fn gmt_and_utc(ms: u64) -> (String, String) {
    let time = timestamp(ms);
    (time.strftime("%a, %d-%b-%Y %H:%M:%S GMT").to_string(), utc(time))
}

fn utc(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn timestamp(ms: u64) -> jiff::Timestamp {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX)
}

/// What became of a device, as rules are told of it on `/{pk}/{dn}/thing/lifecycle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Create,
    Delete,
    Enable,
    Disable,
}

/// A device that changed.
pub(super) struct Changed<'a> {
    pub product_key: &'a str,
    pub device_name: &'a str,
    pub iot_id: &'a str,
    /// Told when it is new.
    pub secret: Option<&'a str>,
}

impl<'a> Changed<'a> {
    pub(super) fn of(device: &'a Device) -> Self {
        Self {
            product_key: &device.product_key,
            device_name: &device.device_name,
            iot_id: &device.iot_id,
            secret: Some(&device.secret),
        }
    }
}

/// Tells the rules of changes that are in the store already, and cuts off whom they forbid to be
/// connected. Rules that can't be told are missing a message; the change stands.
pub(super) async fn tell(api: &Api, change: Change, devices: &[Changed<'_>]) {
    let cut = match change {
        Change::Delete => Some(Cut::Session),
        Change::Disable => Some(Cut::Connection),
        Change::Create | Change::Enable => None,
    };
    if let Some(cut) = cut {
        for device in devices {
            (api.state.cut)(&session_id(device.product_key, device.device_name), cut);
        }
    }
    let now_ms = api.now_ms();
    for some in devices.chunks(LIFECYCLE_BATCH) {
        let messages: Vec<_> =
            some.iter().filter_map(|device| lifecycle(change, device, now_ms)).collect();
        let count = messages.len();
        let (batch, accepted) = Batch::awaited(messages);
        let submitted = async {
            api.state.ingress.submit(batch).await;
            accepted.wait().await
        };
        let told = tokio::time::timeout(api.state.limits.accept_wait, submitted).await;
        if !matches!(told, Ok(Ok(()))) {
            tracing::warn!(count, ?change, "the rules were not told of changed devices");
        }
    }
}

fn lifecycle(change: Change, device: &Changed<'_>, now_ms: u64) -> Option<Message> {
    let Changed { product_key, device_name, iot_id, secret } = device;
    let action = match change {
        Change::Create => "create",
        Change::Delete => "delete",
        Change::Enable => "enable",
        Change::Disable => "disable",
    };
    let mut body = json!({
        "action": action, "iotId": iot_id, "productKey": product_key, "deviceName": device_name,
    });
    if let (Change::Create, Value::Object(fields), Some(secret)) = (change, &mut body, secret) {
        fields.insert("deviceSecret".to_owned(), (*secret).into());
    }
    body["messageCreateTime"] = now_ms.into();
    // Names of devices are checked when they are registered: no limit of theirs is near.
    let limits = contract::TopicLimits { bytes: usize::MAX, levels: usize::MAX };
    let topic = format!("/{product_key}/{device_name}/thing/lifecycle");
    let mut message = Message::new(Topic::parse(topic, limits).ok()?, body.to_string(), now_ms);
    message.qos = QoS::AtLeastOnce;
    message.device = Some(Arc::new(contract::Device {
        product_key: (*product_key).into(),
        device_name: (*device_name).into(),
    }));
    message.origin = Arc::new(Origin { source: Some("api".into()), ..Origin::default() });
    Some(message)
}

/// A text that is left out of an answer when it is empty.
pub(super) fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// A description of at most 100 characters.
pub(super) fn description(text: &str, code: &'static ErrorCode) -> Result<String, ApiError> {
    const MOST: usize = 100;
    let length = text.chars().count();
    match length > MOST {
        true => Err(code.with(format!("it has {length} characters, at most {MOST} are allowed"))),
        false => Ok(text.to_owned()),
    }
}

/// Answers with nothing for what is `null`.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(mut fields) => {
            fields.retain(|_, value| !value.is_null());
            Value::Object(fields)
        }
        other => other,
    }
}

/// How a device is doing; one that was deleted meanwhile is offline.
pub(super) fn status(api: &Api, product_key: &str, device_name: &str) -> &'static str {
    let status = api.state.registry.status(product_key, device_name);
    status.unwrap_or(registry::DeviceStatus::Offline).as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_look_like_the_vendors() {
        let ms = 1_550_628_969_000;
        let utc = "2019-02-20T02:16:09.000Z";
        assert_eq!(gmt_and_utc(ms), ("Wed, 20-Feb-2019 02:16:09 GMT".to_owned(), utc.to_owned()));
        assert_eq!(china_and_utc(ms), ("2019-02-20 10:16:09".to_owned(), utc.to_owned()));
    }

    #[test]
    fn lifecycle_messages_have_the_vendors_fields() {
        let device = Changed {
            product_key: "a1Pk",
            device_name: "dev1",
            iot_id: "id",
            secret: Some("secret"),
        };
        let text = |change| {
            let message = lifecycle(change, &device, 7).expect("message");
            assert_eq!(message.topic.as_str(), "/a1Pk/dev1/thing/lifecycle");
            String::from_utf8(message.payload.to_vec()).expect("UTF-8")
        };
        assert_eq!(
            text(Change::Create),
            r#"{"action":"create","iotId":"id","productKey":"a1Pk","deviceName":"dev1","deviceSecret":"secret","messageCreateTime":7}"#
        );
        assert_eq!(
            text(Change::Disable),
            r#"{"action":"disable","iotId":"id","productKey":"a1Pk","deviceName":"dev1","messageCreateTime":7}"#
        );
    }
}
