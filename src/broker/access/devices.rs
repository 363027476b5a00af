//! Devices of the registry as clients: who must prove what in CONNECT, one session for each device, and
//! what the registry is told of them. Beside them, users of the configuration.
//!
//! How each vendor's devices prove who they are, which topics are a device's own, and how passwords are
//! checked, stands beside. Devices are registered elsewhere.

use std::sync::Arc;

use bytestring::ByteString;
use contract::{Device, Message, Topic, TopicFilter};

use super::device_topics::{self, Own, Talk};
use super::status::StatusMessages;
use super::users::Users;
use super::{aliyun, notices, tencent};
use crate::codec::Reason;
use crate::hooks::{
    Acl, AllowAll, Authenticator, ConnectInfo, Connected, Disconnected, Identity, Lifecycle,
    Parted, Refusal,
};
use crate::sub_devices::SubDevices;
use registry::{DeviceRef, Registry, session_id};

/// Whether devices must prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Everybody may connect, publish and subscribe; only devices that are disabled may not.
    None,
    /// Only users may connect, with their password.
    Password,
    /// A device must be registered, not disabled, and sign; it may use its own topics only. Users
    /// may connect, too.
    Required,
}

/// Lets devices in and tells the registry of their comings and goings.
#[derive(Debug, Clone)]
pub struct DeviceAccess {
    registry: Registry,
    proof: Proof,
    users: Users,
    status: StatusMessages,
}

impl DeviceAccess {
    /// Access for the devices of a registry, and for users unless nobody must prove anything.
    #[must_use]
    pub fn new(registry: Registry, proof: Proof, users: Users, status: StatusMessages) -> Self {
        Self { registry, proof, users, status }
    }

    /// The name of the user that a client is; `None` for devices.
    fn user<'a>(&self, username: Option<&'a ByteString>) -> Option<&'a str> {
        let name = username.map(|name| &**name)?;
        (self.proof != Proof::None && self.users.knows(name)).then_some(name)
    }

    async fn login(&self, info: &ConnectInfo, name: &str) -> Result<Identity, Refusal> {
        let password = info.password.as_deref().unwrap_or_default();
        if !self.users.verify(name, password, info.peer.ip()).await {
            return Err(Refusal::bad_credentials(format!(
                "there is no user `{name}` with that password, and the name is not a device's, {{device name}}&{{product key}} or {{product}}{{device}};{{app}};{{connection}};{{time}}"
            )));
        }
        // A device's session is not for a user to take over.
        if self.proof == Proof::Required && info.client_id.contains('&') {
            let message = "a user's client identifier may not contain `&`".to_owned();
            return Err(Refusal { reason: Reason::CLIENT_ID_NOT_VALID, message });
        }
        Ok(Identity {
            client_id: info.client_id.clone(),
            username: info.username.clone(),
            device: None,
            rrpc_ext: false,
            sub_devices: SubDevices::default(),
        })
    }

    /// `proves` is asked whether the password is what the device's secret makes.
    async fn verify(&self, device: &Device, proves: impl Fn(&str) -> bool) -> Result<(), Refusal> {
        let Device { product_key, device_name } = device;
        let of = DeviceRef::Name { product_key, device_name };
        let known = self.registry.device(of).await.map_err(|problem| {
            tracing::error!(%problem, "a device could not be looked up");
            let message = "the store of devices failed".to_owned();
            Refusal { reason: Reason::SERVER_UNAVAILABLE, message }
        })?;
        let known = known.ok_or_else(|| {
            Refusal::bad_credentials(format!("there is no device {of}; register it first"))
        })?;
        if !proves(&known.secret) {
            return Err(Refusal::bad_credentials(format!(
                "the password of device {of} is not the signature that its secret makes"
            )));
        }
        // After the proof: only who knows the secret learns that the device is disabled.
        match known.disabled {
            true => Err(Refusal::not_authorized(format!("device {of} is disabled"))),
            false => Ok(()),
        }
    }
}

impl DeviceAccess {
    /// A device of the other vendor, whose product and name are written in one. Of several that this
    /// may be, it is the one whose secret makes the password, or the first when nobody asks for one.
    async fn of_tencent(
        &self,
        info: &ConnectInfo,
        claim: &tencent::Claim<'_>,
    ) -> Result<Identity, Refusal> {
        let known =
            |device: &Device| self.registry.knows_device(&device.product_key, &device.device_name);
        let mut candidates: Vec<_> = claim.devices().filter(known).collect();
        let mut is = None;
        if self.proof == Proof::Required {
            let password = info.password.as_deref().unwrap_or_default();
            let mut refusal =
                Refusal::bad_credentials("there is no device of that name; register it first");
            for device in candidates {
                match self.verify(&device, |secret| claim.proves(secret, password)).await {
                    Ok(()) => {
                        is = Some(device);
                        break;
                    }
                    Err(why) => refusal = why,
                }
            }
            if is.is_none() {
                return Err(refusal);
            }
        } else if !candidates.is_empty() {
            let device = candidates.swap_remove(0);
            if !self.registry.may_connect(&device.product_key, &device.device_name) {
                let text = format!("device `{}` is disabled", device.device_name);
                return Err(Refusal::not_authorized(text));
            }
            is = Some(device);
        }
        let client_id = match is.as_ref().filter(|_| self.proof == Proof::Required) {
            Some(device) => session_id(&device.product_key, &device.device_name).into(),
            None => info.client_id.clone(),
        };
        let device = is.map(Arc::new);
        let (rrpc_ext, sub_devices) = (false, SubDevices::default());
        Ok(Identity { client_id, username: info.username.clone(), device, rrpc_ext, sub_devices })
    }
}

#[async_trait::async_trait]
impl Authenticator for DeviceAccess {
    async fn authenticate(&self, info: &ConnectInfo) -> Result<Identity, Refusal> {
        let device = info.username.as_deref().and_then(Identity::device_in_username);
        let other = info.username.as_deref().and_then(tencent::Claim::parse);
        let is_device = device.is_some() || other.is_some();
        // A name that no user has takes the same way, and as long, unless it is a device's.
        let as_user = match self.proof {
            Proof::None => false,
            Proof::Password => true,
            Proof::Required => !is_device || self.user(info.username.as_ref()).is_some(),
        };
        if as_user {
            return self.login(info, info.username.as_deref().unwrap_or_default()).await;
        }
        if let Some(claim) = other {
            return self.of_tencent(info, &claim).await;
        }
        let claim = aliyun::Claim::parse(&info.client_id);
        match (self.proof, &device) {
            (Proof::Required, Some(device)) => {
                let password = info.password.as_deref().unwrap_or_default();
                self.verify(device, |secret| claim.proves(device, secret, password)).await?;
            }
            (Proof::None, Some(device)) => {
                let (product_key, device_name) = (&device.product_key, &device.device_name);
                if self.registry.knows_device(product_key, device_name)
                    && !self.registry.may_connect(product_key, device_name)
                {
                    let text = format!("device `{device_name}` is disabled");
                    return Err(Refusal::not_authorized(text));
                }
            }
            _ => {}
        }
        // A client that does not write its identifier as the vendor's devices do, and that nobody asks
        // for a proof, keeps the one it chose: any number of them may call themselves that device.
        let as_device = device.as_ref().filter(|_| self.proof == Proof::Required || claim.extended);
        let client_id = match as_device {
            Some(device) => session_id(&device.product_key, &device.device_name).into(),
            None => info.client_id.clone(),
        };
        Ok(Identity {
            client_id,
            username: info.username.clone(),
            rrpc_ext: as_device.is_some() && claim.rrpc_ext,
            device,
            sub_devices: SubDevices::default(),
        })
    }
}

impl Acl for DeviceAccess {
    fn publish(&self, identity: &Identity, topic: &Topic) -> bool {
        if self.proof == Proof::None {
            return AllowAll.publish(identity, topic);
        }
        if let Some(name) = self.user(identity.username.as_ref()) {
            return self.users.may_publish(name, topic);
        }
        self.own(identity, topic.as_str(), |device, own| match own {
            Own::System { publish, .. } => publish,
            Own::Custom(short) => self.class(device, short, |class| class.publishes()),
        })
    }

    fn subscribe(&self, identity: &Identity, filter: &TopicFilter) -> bool {
        if self.proof == Proof::None {
            return AllowAll.subscribe(identity, filter);
        }
        if let Some(name) = self.user(identity.username.as_ref()) {
            return self.users.may_subscribe(name, filter);
        }
        self.own(identity, filter.as_str(), |device, own| match own {
            Own::System { subscribe, .. } => subscribe,
            // No class has a wildcard: a filter with one would read more than any class allows.
            Own::Custom(short) => self.class(device, short, |class| class.subscribes()),
        })
    }

    fn publisher(&self, identity: &Identity, topic: &Topic) -> Option<Arc<Device>> {
        let sub_device = match identity.sub_devices.is_empty() {
            true => None,
            false => device_topics::subject(topic.as_str())
                .and_then(|(key, name)| identity.sub_devices.find(key, name)),
        };
        sub_device.or_else(|| identity.device.clone())
    }

    fn objection(&self, identity: &Identity, refused: &Topic, payload: &[u8]) -> Option<Message> {
        let gateway = identity.device.as_deref()?;
        if !self.registry.is_gateway(&gateway.product_key, &gateway.device_name) {
            return None;
        }
        let (product_key, device_name) = device_topics::subject(refused.as_str())?;
        let is_other = *gateway.product_key != *product_key || *gateway.device_name != *device_name;
        is_other
            .then(|| notices::no_session(gateway, (product_key, device_name), payload))
            .flatten()
    }

    fn echoes(&self, identity: &Identity, topic: &Topic) -> bool {
        match device_topics::talk(topic.as_str()) {
            // Whoever answers there would answer its own answer.
            Some(Talk::OneTopic) => false,
            // A client that is no device may look at what it sends.
            Some(Talk::TwoTopics) => identity.device.is_none(),
            None => true,
        }
    }

    fn addressee(&self, topic: &Topic) -> Option<ByteString> {
        let (product_key, device_name) = device_topics::addressee(topic.as_str())?;
        Some(session_id(product_key, device_name).into())
    }
}

impl DeviceAccess {
    /// What is allowed on a topic or filter that is all of a device's own: of the client itself, or of one
    /// that has logged in over its connection.
    fn own(
        &self,
        identity: &Identity,
        text: &str,
        allowed: impl Fn(&Device, Own<'_>) -> bool,
    ) -> bool {
        let Some(device) = identity.device.as_deref() else { return false };
        if let Some(own) = device_topics::own(text, device) {
            return allowed(device, own);
        }
        if identity.sub_devices.is_empty() {
            return false;
        }
        let found = device_topics::subject(text)
            .and_then(|(key, name)| identity.sub_devices.find(key, name));
        found.is_some_and(|device| {
            device_topics::own(text, &device).is_some_and(|own| allowed(&device, own))
        })
    }

    /// True when the device's product has a topic class that allows this.
    fn class(
        &self,
        device: &Device,
        short_name: &str,
        allows: impl Fn(registry::TopicOperation) -> bool,
    ) -> bool {
        let product = self.registry.product(&device.product_key);
        product.is_some_and(|product| {
            let mut classes = product.topics.iter();
            classes.any(|class| class.short_name == short_name && allows(class.operation))
        })
    }
}

impl Lifecycle for DeviceAccess {
    fn connected(&self, event: &Connected) -> Option<Message> {
        if let Some(device) = &event.identity.device {
            let (key, name, from) = (&device.product_key, &device.device_name, event.peer.ip());
            let came = self.registry.came(key, name, event.at_ms, from, event.connection);
            // Of one that nobody has registered nothing is known.
            if !came && self.registry.knows_device(key, name) {
                return None;
            }
        }
        self.status.connected(event)
    }

    fn disconnected(&self, event: &Disconnected) -> Option<Message> {
        if let Some(device) = &event.identity.device
            && !self.registry.went(&device.product_key, &device.device_name, event.connection)
        {
            return None;
        }
        self.status.disconnected(event)
    }

    fn parted(&self, event: &Parted) -> Option<Message> {
        notices::parted(event)
    }
}
