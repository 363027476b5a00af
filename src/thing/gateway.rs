//! Posts of a gateway that hold many devices' values: history posts and packs, as one document for
//! each.
//!
//! Whether a device is one of the gateway's is the topology's word.

use std::sync::Arc;

use contract::{Device, Message};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Things;
use super::alink::{Address, Fields, NO_PARAMS, Refusal, event, plain_topic, properties};

/// Documents that one post of a gateway may become.
pub(super) const DOCUMENTS_MAX: usize = 1_000;

const TOO_MANY: Refusal =
    Refusal { code: 6106, message: "more than 1000 properties and events in one post" };

const NOT_ITS_DEVICE: Refusal =
    Refusal { code: 6401, message: "a device that is posted for is not one of the gateway's" };

/// A device by its name, as it stands in messages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Named {
    pub product_key: String,
    pub device_name: String,
}

/// What one device reports within a post: sets of properties and of events.
#[derive(Deserialize)]
struct History<'a> {
    identity: Option<Named>,
    #[serde(borrow, default)]
    properties: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    events: Vec<Fields<'a>>,
}

/// As [`History`], of now.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pack<'a> {
    identity: Option<Named>,
    #[serde(borrow, default)]
    properties: Option<&'a RawValue>,
    #[serde(borrow, default)]
    events: Option<Fields<'a>>,
    #[serde(borrow, default)]
    sub_devices: Vec<Pack<'a>>,
}

/// The post of a gateway, and what is made of it.
pub(super) struct Gateway<'m> {
    things: &'m Things,
    message: &'m Message,
    address: Address<'m>,
    made: Vec<Message>,
}

/// How a post of many is read.
pub(super) type Reader = for<'m> fn(&mut Gateway<'m>, &RawValue) -> Result<(), Refusal>;

/// `params` of `thing.event.property.history.post`: a list, an entry for each device.
pub(super) fn history(gateway: &mut Gateway<'_>, params: &RawValue) -> Result<(), Refusal> {
    let entries: Vec<History<'_>> = serde_json::from_str(params.get()).map_err(|_| NO_PARAMS)?;
    for entry in &entries {
        for values in &entry.properties {
            gateway.properties(entry.identity.as_ref(), values, "property/history")?;
        }
        for Fields(events) in &entry.events {
            for (name, value) in events {
                gateway.event(entry.identity.as_ref(), name, value, "/history")?;
            }
        }
    }
    Ok(())
}

/// `params` of `thing.event.property.pack.post`: the gateway's own and those of sub-devices.
pub(super) fn pack(gateway: &mut Gateway<'_>, params: &RawValue) -> Result<(), Refusal> {
    let mut pack: Pack<'_> = serde_json::from_str(params.get()).map_err(|_| NO_PARAMS)?;
    let sub_devices = std::mem::take(&mut pack.sub_devices);
    for part in std::iter::once(&pack).chain(&sub_devices) {
        let identity = part.identity.as_ref();
        if let Some(values) = part.properties {
            gateway.properties(identity, values, "property")?;
        }
        for (name, value) in part.events.iter().flat_map(|Fields(events)| events) {
            gateway.event(identity, name, value, "")?;
        }
    }
    Ok(())
}

impl<'m> Gateway<'m> {
    /// The documents of a post.
    ///
    /// # Errors
    /// What the device is told when it is refused as a whole.
    pub(super) fn read(
        things: &'m Things,
        message: &'m Message,
        address: Address<'m>,
        params: &RawValue,
        reader: Reader,
    ) -> Result<Vec<Message>, Refusal> {
        let mut gateway = Self { things, message, address, made: Vec::new() };
        reader(&mut gateway, params)?;
        Ok(gateway.made)
    }

    fn properties(
        &mut self,
        of: Option<&Named>,
        values: &RawValue,
        tail: &str,
    ) -> Result<(), Refusal> {
        let (product_key, device_name) = self.device(of)?;
        let who = self.things.who(product_key, device_name);
        let document = properties(&who, values, self.message.received_ms)?;
        if tail == "property" && !document.values.is_empty() {
            let tail = "";
            self.things.keep(Address { product_key, device_name, tail }, &document.values);
        }
        let topic = format!("/{product_key}/{device_name}/thing/event/{tail}/post");
        self.add(of, topic, document.payload)
    }

    fn event(
        &mut self,
        of: Option<&Named>,
        name: &str,
        value: &RawValue,
        tail: &str,
    ) -> Result<(), Refusal> {
        let (product_key, device_name) = self.device(of)?;
        let who = self.things.who(product_key, device_name);
        let payload = event(&who, name, value, self.message.received_ms)?;
        let topic = format!("/{product_key}/{device_name}/thing/event/{name}{tail}/post");
        self.add(of, topic, payload)
    }

    /// The device that is posted for: the gateway itself when none is named.
    fn device<'n>(&self, of: Option<&'n Named>) -> Result<(&'n str, &'n str), Refusal>
    where
        'm: 'n,
    {
        let mine = (self.address.product_key, self.address.device_name);
        let Some(named) = of else { return Ok(mine) };
        let named = (named.product_key.as_str(), named.device_name.as_str());
        match named == mine || self.things.may_post_for(mine, named) {
            true => Ok(named),
            false => Err(NOT_ITS_DEVICE),
        }
    }

    fn add(&mut self, of: Option<&Named>, topic: String, payload: String) -> Result<(), Refusal> {
        if self.made.len() >= DOCUMENTS_MAX {
            return Err(TOO_MANY);
        }
        // A name with a wildcard in it is no name of a device or event.
        let topic = plain_topic(topic).ok_or(NO_PARAMS)?;
        let mut message = Message { topic, payload: payload.into(), ..self.message.clone() };
        if let Some(Named { product_key, device_name }) = of {
            message.device = Some(Arc::new(Device {
                product_key: product_key.as_str().into(),
                device_name: device_name.as_str().into(),
            }));
        }
        self.made.push(message);
        Ok(())
    }
}
