//! A gateway's devices: added, removed and listed by the gateway, and what gateways and rules are told
//! when others change that.
//!
//! Which devices are whose is the registry's; which are connected is not known here.

use contract::{Device, Message, QoS};

use super::alink::{Address, Refusal, plain_topic, quoted};
use super::calls::CallError;
use super::credentials::Credentials;
use super::gateway::Named;
use super::later::{REFUSED, read};
use super::reply;
use super::things::Things;
use registry::{DeviceRef, Found, RegistryError, SUB_DEVICES_MAX};

/// The device does not agree.
const NOT_SIGNED: Refusal = Refusal { code: 401, message: "request auth error" };

/// Nobody has registered the device.
pub(super) const NO_DEVICE: Refusal = Refusal { code: 6100, message: "device not found" };

const TOO_MANY: Refusal =
    Refusal { code: 6400, message: "topo relation count exceed: at most 1500 sub-devices" };

/// The device is none of the gateway's.
pub(super) const NO_RELATION: Refusal = Refusal { code: 6401, message: "topo relation not exist" };

const ITSELF: Refusal = Refusal { code: 6402, message: "topo relation cannot add by self" };

/// Gateways may not ask for devices of that product.
const NOT_OFFERED: Refusal =
    Refusal { code: 6288, message: "dynamic registration is not enabled for the product" };

/// The device is known to somebody else.
const ALREADY_ACTIVE: Refusal = Refusal { code: 6289, message: "device is already active" };

const ANOTHERS: Refusal = Refusal { code: 6619, message: "device has another gateway" };

/// What became of devices of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopologyChange {
    /// They are the gateway's now.
    Create,
    /// They are not any more, or are deleted.
    Delete,
    /// They may connect again.
    Enable,
    /// They may not connect.
    Disable,
}

impl TopologyChange {
    /// As rules are told.
    fn action(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Enable => "enable",
            Self::Disable => "disable",
        }
    }

    /// As gateways are told.
    fn status(self) -> u8 {
        match self {
            Self::Create => 0,
            Self::Delete => 1,
            Self::Enable => 2,
            Self::Disable => 8,
        }
    }
}

impl Things {
    /// `thing/topo/add`: devices that have signed become the gateway's, all or none.
    pub(super) async fn attach(
        &self,
        message: &Message,
        address: Address<'_>,
        params: &str,
    ) -> Result<String, Refusal> {
        let newcomers: Vec<Credentials> = read(params)?;
        for newcomer in &newcomers {
            let Named { product_key, device_name } = &newcomer.named;
            if *product_key == address.product_key && *device_name == address.device_name {
                return Err(ITSELF);
            }
            let of = DeviceRef::Name { product_key, device_name };
            let known = self.registry().device(of).await?.ok_or(NO_DEVICE)?;
            if !newcomer.agrees(&known.secret, None) {
                return Err(NOT_SIGNED);
            }
        }
        let devices: Vec<_> = newcomers.into_iter().map(|newcomer| pair(newcomer.named)).collect();
        let gateway = (address.product_key, address.device_name);
        let left = self.registry().attach(gateway, &devices).await;
        let left = left.map_err(|problem| match problem {
            RegistryError::Full(_) => TOO_MANY,
            RegistryError::NoDevice(_) => NO_DEVICE,
            other => other.into(),
        })?;
        for (at, before) in left {
            let moved = devices.get(at..=at).unwrap_or_default();
            self.part(moved, true);
            self.topology_changed(&before, TopologyChange::Delete, moved).await;
        }
        self.announce_topology(message, address, TopologyChange::Create, &devices).await;
        Ok("{}".to_owned())
    }

    /// `thing/topo/delete`: devices are the gateway's no longer, all or none.
    pub(super) async fn detach(
        &self,
        message: &Message,
        address: Address<'_>,
        params: &str,
    ) -> Result<String, Refusal> {
        let devices: Vec<Named> = read(params)?;
        let devices: Vec<_> = devices.into_iter().map(pair).collect();
        let gateway = (address.product_key, address.device_name);
        for (key, name) in &devices {
            match self.registry().knows_device(key, name) {
                false => return Err(NO_DEVICE),
                true if !self.registry().is_attached(gateway, (key, name)) => {
                    return Err(NO_RELATION);
                }
                true => {}
            }
        }
        for (key, name) in &devices {
            self.registry().detach(key, name).await?;
        }
        self.part(&devices, false);
        self.announce_topology(message, address, TopologyChange::Delete, &devices).await;
        Ok("{}".to_owned())
    }

    /// `thing/sub/register`: the secrets of devices that are registered, of products for which that is
    /// allowed. Nobody gets that of a device which somebody else may have already.
    pub(super) async fn tell_secrets(
        &self,
        address: Address<'_>,
        params: &str,
    ) -> Result<String, Refusal> {
        let devices: Vec<Named> = read(params)?;
        let gateway = (address.product_key, address.device_name);
        if !self.registry().is_gateway(gateway.0, gateway.1) {
            return Err(REFUSED);
        }
        let mut told = Vec::with_capacity(devices.len());
        for Named { product_key, device_name } in &devices {
            if !self.gives_secrets_of(product_key) {
                return Err(NOT_OFFERED);
            }
            let of = DeviceRef::Name { product_key, device_name };
            let known = self.registry().device(of).await?.ok_or(NO_DEVICE)?;
            match self.registry().gateway_of(product_key, device_name) {
                Some(_) if self.registry().is_attached(gateway, (product_key, device_name)) => {}
                Some(_) => return Err(ANOTHERS),
                None if self.registry().is_active(product_key, device_name) => {
                    return Err(ALREADY_ACTIVE);
                }
                None => {}
            }
            told.push(format!(
                r#"{{"iotId":{},"productKey":{},"deviceName":{},"deviceSecret":{}}}"#,
                quoted(&known.iot_id),
                quoted(product_key),
                quoted(device_name),
                quoted(&known.secret)
            ));
        }
        Ok(format!("[{}]", told.join(",")))
    }

    /// Ends the logins of devices that have left their gateway.
    fn part(&self, devices: &[(String, String)], tell: bool) {
        if let Some(downlink) = self.downlink() {
            devices.iter().for_each(|(key, name)| downlink.part(key, name, tell));
        }
    }

    /// `thing/topo/get`: the gateway's devices.
    pub(super) async fn list_topology(&self, address: Address<'_>) -> Result<String, Refusal> {
        let gateway = (address.product_key, address.device_name);
        let most = u32::try_from(SUB_DEVICES_MAX).unwrap_or(u32::MAX);
        let (devices, _) = self.registry().sub_devices(gateway, most, 0).await?;
        let device = |Found { product_key, device_name, .. }: &Found| {
            let (key, name) = (quoted(product_key), quoted(device_name));
            format!(r#"{{"deviceName":{name},"productKey":{key}}}"#)
        };
        Ok(format!("[{}]", devices.iter().map(device).collect::<Vec<_>>().join(",")))
    }

    async fn announce_topology(
        &self,
        message: &Message,
        address: Address<'_>,
        change: TopologyChange,
        devices: &[(String, String)],
    ) {
        let (topic, payload) =
            self.topology_document(address, change, devices, message.received_ms);
        self.announce(message, topic, payload).await;
    }

    /// Topic and payload of what rules are told.
    fn topology_document(
        &self,
        gateway: Address<'_>,
        change: TopologyChange,
        devices: &[(String, String)],
        at_ms: u64,
    ) -> (String, String) {
        let listed = reply::devices(devices.iter().map(|(key, name)| {
            let who = self.who(key, name);
            (who.iot_id.into_owned(), key.as_str(), name.as_str())
        }));
        let payload = self.gateway_document(gateway, Some((change.action(), at_ms)), &listed);
        let Address { product_key, device_name, .. } = gateway;
        (format!("/{product_key}/{device_name}/thing/topo/lifecycle"), payload)
    }

    /// Tells a gateway and the rules what others than the gateway have changed. A gateway whose session
    /// is kept is told when it comes back.
    pub async fn topology_changed(
        &self,
        gateway: &Device,
        change: TopologyChange,
        devices: &[(String, String)],
    ) {
        let Device { product_key, device_name } = gateway;
        let params = format!(r#"{{"status":{},"subList":{}}}"#, change.status(), listed(devices));
        let id = self.calls().short_id();
        let payload = reply::notice("thing.topo.change", id, &params);
        let now_ms = self.now_ms();
        let topic = plain_topic(format!("/sys/{product_key}/{device_name}/thing/topo/change"));
        if let Some(topic) = topic {
            let qos = QoS::AtLeastOnce;
            // One that is not there, and whose session nobody keeps, asks for its devices.
            let _queued = self.publish(&Message { qos, ..Message::new(topic, payload, now_ms) });
        }
        let address = Address { product_key, device_name, tail: "" };
        let (topic, payload) = self.topology_document(address, change, devices, now_ms);
        if let Some(topic) = plain_topic(topic) {
            self.tell_rules(Message::new(topic, payload, now_ms)).await;
        }
    }

    /// Asks a gateway to add devices. What it answers is told to rules. Returns the request's id.
    ///
    /// # Errors
    /// [`CallError::Offline`], or [`CallError::Busy`] when the request could not be queued.
    pub async fn ask_to_attach(
        &self,
        (product_key, device_name): (&str, &str),
        devices: &[(String, String)],
    ) -> Result<u64, CallError> {
        if self.connection(product_key, device_name).is_none() {
            return Err(CallError::Offline);
        }
        let id = self.calls().short_id();
        let payload = reply::notice("thing.topo.add.notify", id, &listed(devices));
        let topic = plain_topic(format!("/sys/{product_key}/{device_name}/thing/topo/add/notify"));
        let topic = topic.ok_or(CallError::Offline)?;
        let qos = QoS::AtLeastOnce;
        let message = Message { qos, ..Message::new(topic, payload, self.now_ms()) };
        match self.publish_kept(&message).await {
            Ok(true) => Ok(id),
            Ok(false) | Err(_) => Err(CallError::Busy),
        }
    }
}

pub(super) fn pair(Named { product_key, device_name }: Named) -> (String, String) {
    (product_key, device_name)
}

/// `[{"productKey":…,"deviceName":…}]`
fn listed(devices: &[(String, String)]) -> String {
    let device = |(key, name): &(String, String)| {
        format!(r#"{{"productKey":{},"deviceName":{}}}"#, quoted(key), quoted(name))
    };
    format!("[{}]", devices.iter().map(device).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests;
