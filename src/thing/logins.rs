//! Sub-devices that log in and out over their gateway's connection
//! (`/ext/session/{product key}/{device name}/combine/…` of the gateway).
//!
//! Who may is decided here; what a login is, the way to devices knows ([`super::Downlink`]).

use contract::Message;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::alink::{Address, NO_PARAMS, NOT_JSON, Post, Refusal, quoted};
use super::credentials::Credentials;
use super::gateway::Named;
use super::later::{FAILED, REFUSED, read};
use super::reply::{self, Outcome};
use super::things::Things;
use super::topology::{NO_DEVICE, NO_RELATION, pair};
use super::{LoginError, SubDevice};
use registry::DeviceRef;

/// Devices of one request.
const BATCH_MAX: usize = 50;

/// How often devices are looked at while others are being cut off.
const LOOKS: usize = 16;

const TOO_MANY: Refusal = Refusal { code: 428, message: "too many subdevices under gateway" };

const NO_SESSION: Refusal = Refusal { code: 520, message: "device no session" };

const FORBIDDEN: Refusal = Refusal { code: 522, message: "device forbidden" };

const BAD_SIGN: Refusal = Refusal { code: 6287, message: "invalid sign" };

/// What the gateway of a message asks for was refused, because of that device if any.
type Refused = (Refusal, Option<(String, String)>);

/// `params` of `combine/batch_login`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    device_list: Vec<Credentials>,
    /// For those that name none themselves.
    #[serde(alias = "signmethod", default)]
    sign_method: Option<String>,
}

impl Things {
    /// Does what a gateway asks for, and answers it.
    pub(super) async fn session(&self, message: &Message, address: Address<'_>) {
        let post = Post::parse(&message.payload);
        let params = post.as_ref().and_then(|post| post.params);
        let is_batch = address.tail.starts_with("combine/batch_");
        let outcome = match (&post, params, address.tail) {
            (None, _, _) => Err((NOT_JSON, None)),
            (_, None, _) => Err((NO_PARAMS, None)),
            // Only the gateway itself speaks there; who may publish everywhere is no gateway.
            _ if !is_of(message, address) => Err((REFUSED, None)),
            (_, Some(params), "combine/login" | "combine/batch_login") => {
                self.log_in(message, address, params, is_batch).await
            }
            (_, Some(params), "combine/logout" | "combine/batch_logout") => {
                self.log_out(message, params, is_batch)
            }
            _ => return,
        };
        let (code, text, data) = match &outcome {
            Ok(devices) => (200, "success", listed(devices, is_batch)),
            Err((Refusal { code, message }, None)) => (*code, *message, "{}".to_owned()),
            Err((Refusal { code, message }, Some(device))) => {
                (*code, *message, listed(std::slice::from_ref(device), is_batch))
            }
        };
        let outcome = Outcome { code: u32::from(code), message: text, data: &data };
        let (topic, tail) = (&message.topic, address.tail);
        if let Some(told) = reply::answer_with(post.as_ref(), topic, tail, &outcome, self.now_ms())
        {
            // A gateway that is gone has lost its sub-devices, too.
            let _queued = self.publish(&told);
        }
    }

    async fn log_in(
        &self,
        message: &Message,
        address: Address<'_>,
        params: &RawValue,
        is_batch: bool,
    ) -> Result<Vec<(String, String)>, Refused> {
        let Batch { device_list, sign_method } = match is_batch {
            true => read(params.get()).map_err(whole)?,
            false => {
                Batch { device_list: vec![read(params.get()).map_err(whole)?], sign_method: None }
            }
        };
        if !(1..=BATCH_MAX).contains(&device_list.len()) {
            return Err((REFUSED, None));
        }
        let gateway = (address.product_key, address.device_name);
        let downlink = self.downlink().ok_or((FAILED, None))?;
        for _ in 0..LOOKS {
            let seen = downlink.seen();
            let mut devices = Vec::with_capacity(device_list.len());
            for credentials in &device_list {
                let admitted = self.admit(gateway, credentials, sign_method.as_deref()).await;
                let Named { product_key, device_name } = &credentials.named;
                let because = || Some((product_key.clone(), device_name.clone()));
                devices.push(admitted.map_err(|refusal| (refusal, because()))?);
            }
            match downlink.log_in(message, &devices, seen) {
                Ok(()) => {
                    let name =
                        |SubDevice { product_key, device_name, .. }| (product_key, device_name);
                    return Ok(devices.into_iter().map(name).collect());
                }
                Err(LoginError::LookAgain) => {}
                Err(LoginError::TooMany) => return Err((TOO_MANY, None)),
                Err(LoginError::NoConnection) => return Err((NO_SESSION, None)),
            }
        }
        Err((FAILED, None))
    }

    /// Whether a device may log in over the gateway's connection.
    async fn admit(
        &self,
        gateway: (&str, &str),
        credentials: &Credentials,
        method: Option<&str>,
    ) -> Result<SubDevice, Refusal> {
        let Named { product_key, device_name } = &credentials.named;
        let of = DeviceRef::Name { product_key, device_name };
        let known = self.registry().device(of).await?.ok_or(NO_DEVICE)?;
        // Only who knows the secret learns more.
        if !credentials.agrees(&known.secret, method) {
            return Err(BAD_SIGN);
        }
        if !self.registry().is_attached(gateway, (product_key, device_name)) {
            return Err(NO_RELATION);
        }
        if known.disabled {
            return Err(FORBIDDEN);
        }
        Ok(SubDevice {
            product_key: product_key.clone(),
            device_name: device_name.clone(),
            extended: credentials.extended(),
            clean_start: credentials.starts_clean(),
        })
    }

    fn log_out(
        &self,
        message: &Message,
        params: &RawValue,
        is_batch: bool,
    ) -> Result<Vec<(String, String)>, Refused> {
        let devices: Vec<Named> = match is_batch {
            true => read(params.get()).map_err(whole)?,
            false => vec![read(params.get()).map_err(whole)?],
        };
        if !(1..=BATCH_MAX).contains(&devices.len()) {
            return Err((REFUSED, None));
        }
        let devices: Vec<_> = devices.into_iter().map(pair).collect();
        let is_out = self.downlink().is_some_and(|downlink| downlink.log_out(message, &devices));
        match is_out {
            true => Ok(devices),
            false => Err((NO_SESSION, devices.into_iter().next().filter(|_| !is_batch))),
        }
    }
}

/// Something about the request as a whole is wrong.
fn whole(_: Refusal) -> Refused {
    (REFUSED, None)
}

/// True for a message of the gateway whose topic it is.
fn is_of(message: &Message, address: Address<'_>) -> bool {
    message.device.as_ref().is_some_and(|device| {
        *device.product_key == *address.product_key && *device.device_name == *address.device_name
    })
}

/// One device as an object, or the devices of a batch as a list.
fn listed(devices: &[(String, String)], is_batch: bool) -> String {
    let device = |(key, name): &(String, String)| {
        format!(r#"{{"deviceName":{},"productKey":{}}}"#, quoted(name), quoted(key))
    };
    match (is_batch, devices) {
        (false, [one]) => device(one),
        _ => format!("[{}]", devices.iter().map(device).collect::<Vec<_>>().join(",")),
    }
}
