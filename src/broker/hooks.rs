//! Where the daemon decides for the broker: who may connect, publish and subscribe, what is told when
//! a client comes and goes, and what time it is.
//!
//! No hook sees messages: those go to the contract's `Ingress`.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use contract::{Device, Message, Topic, TopicFilter};

use super::codec::{Reason, Version};
use super::sub_devices::SubDevices;

/// Tells the time in milliseconds since 1970-01-01T00:00:00Z.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a client says about itself in CONNECT.
#[derive(Debug, Clone)]
pub struct ConnectInfo {
    /// The client identifier; one that the broker made up when the client sent none.
    pub client_id: ByteString,
    /// The user name.
    pub username: Option<ByteString>,
    /// The password: any bytes.
    pub password: Option<Bytes>,
    /// Where the connection comes from.
    pub peer: SocketAddr,
    /// The protocol.
    pub version: Version,
}

/// Who a client is, as an [`Authenticator`] found.
#[derive(Debug)]
pub struct Identity {
    /// The client identifier that the session is kept under.
    pub client_id: ByteString,
    /// The user name, if the client sent one.
    pub username: Option<ByteString>,
    /// The device; every message of the connection then belongs to it.
    pub device: Option<Arc<Device>>,
    /// The device's client identifier said `ext=1`: it takes calls on `/ext/rrpc/{id}/…`, and answers
    /// there.
    pub rrpc_ext: bool,
    /// Devices that have logged in over the connection, which is a gateway's.
    pub sub_devices: SubDevices,
}

/// Why a client is not let in. The text is for the log; the client gets the code only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The reason code of MQTT 5.0; MQTT 3 clients get the nearest return code: 4 for
    /// [`Reason::BAD_CREDENTIALS`], 5 for [`Reason::NOT_AUTHORIZED`], 3 for what may pass.
    pub reason: Reason,
    /// What is wrong.
    pub message: String,
}

impl Refusal {
    /// User name or password is wrong.
    #[must_use]
    pub fn bad_credentials(message: impl Into<String>) -> Self {
        Self { reason: Reason::BAD_CREDENTIALS, message: message.into() }
    }

    /// The client is known, and may not connect.
    #[must_use]
    pub fn not_authorized(message: impl Into<String>) -> Self {
        Self { reason: Reason::NOT_AUTHORIZED, message: message.into() }
    }
}

/// Decides who may connect.
#[async_trait::async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Says who the client is. Runs within the connect timeout.
    ///
    /// # Errors
    /// A [`Refusal`] with the reason that CONNACK carries.
    async fn authenticate(&self, info: &ConnectInfo) -> Result<Identity, Refusal>;
}

/// Decides what a client may publish and subscribe to. Called for every message: must be quick.
pub trait Acl: Send + Sync + 'static {
    /// True when the client may publish to the topic, its will included.
    fn publish(&self, identity: &Identity, topic: &Topic) -> bool;

    /// True when the client may subscribe to the filter (without `$share/…/`).
    fn subscribe(&self, identity: &Identity, filter: &TopicFilter) -> bool;

    /// The device that a message belongs to which the client publishes: itself, unless the topic is one of a
    /// device that has logged in over its connection.
    fn publisher(&self, identity: &Identity, topic: &Topic) -> Option<Arc<Device>> {
        let _ = topic;
        identity.device.clone()
    }

    /// What a client is told on its own session about a message that it may not publish, if anything.
    fn objection(&self, identity: &Identity, refused: &Topic, payload: &[u8]) -> Option<Message> {
        let (_, _, _) = (identity, refused, payload);
        None
    }

    /// False when the publisher itself never gets what it publishes there, whatever it has subscribed
    /// to: on a topic that brings a device both what it is asked and what it has answered.
    fn echoes(&self, identity: &Identity, topic: &Topic) -> bool {
        let (_, _) = (identity, topic);
        true
    }

    /// The client identifier of the one client that a topic is for, whether or not it has subscribed,
    /// such as the device of `/sys/{product key}/{device name}/…`. What the daemon publishes there is
    /// queued for that client's session, at the QoS it is published with, unless a subscription brings
    /// it there anyway. What clients publish reaches subscribers only.
    fn addressee(&self, topic: &Topic) -> Option<ByteString> {
        let _ = topic;
        None
    }
}

/// A client that has connected.
#[derive(Debug, Clone)]
pub struct Connected {
    /// Who.
    pub identity: Arc<Identity>,
    /// From where.
    pub peer: SocketAddr,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The number of the connection, or of the login over a gateway's: those that came later have larger
    /// ones.
    pub connection: u64,
}

/// A client whose connection has ended.
#[derive(Debug, Clone)]
pub struct Disconnected {
    /// Who.
    pub identity: Arc<Identity>,
    /// From where.
    pub peer: SocketAddr,
    /// When the broker noticed, in milliseconds since 1970.
    pub at_ms: u64,
    /// When the client was last heard, in milliseconds since 1970.
    pub last_seen_ms: u64,
    /// Why; [`Reason::SUCCESS`] when the client said goodbye.
    pub reason: Reason,
    /// As in [`Connected`].
    pub connection: u64,
}

/// Why a device is no longer reached over its gateway's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// It has connected itself, or logged in over another gateway's connection.
    Elsewhere,
    /// It may not connect any more.
    Disabled,
    /// It was deleted.
    Deleted,
    /// It is none of the gateway's devices any more.
    Detached,
}

/// A device that is no longer reached over its gateway's connection, although neither has asked for it.
#[derive(Debug, Clone)]
pub struct Parted {
    /// The gateway.
    pub gateway: Arc<Identity>,
    /// The device.
    pub device: Arc<Identity>,
    /// Why.
    pub why: Parting,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// Is told when clients come and go, and may turn that into a message, which the broker then sends
/// to subscribers and to the engine. A client whose session is taken over by a new connection with
/// the same identifier has not gone: only `connected` is called, again. A device that logs in over a
/// gateway's connection comes and goes in the same way. Calls for one client may overtake each other:
/// the numbers of the connections tell which came later.
pub trait Lifecycle: Send + Sync + 'static {
    /// After CONNACK was decided.
    fn connected(&self, event: &Connected) -> Option<Message>;

    /// After the session was left.
    fn disconnected(&self, event: &Disconnected) -> Option<Message>;

    /// A device was cut off from its gateway's connection: what the gateway is told over that, if
    /// anything.
    fn parted(&self, event: &Parted) -> Option<Message> {
        let _ = event;
        None
    }
}

/// The decisions that the daemon passes in.
#[derive(Clone)]
pub struct Hooks {
    /// Who may connect.
    pub authenticator: Arc<dyn Authenticator>,
    /// Who may publish and subscribe where.
    pub acl: Arc<dyn Acl>,
    /// What happens when clients come and go.
    pub lifecycle: Arc<dyn Lifecycle>,
}

impl Default for Hooks {
    fn default() -> Self {
        let all = Arc::new(AllowAll);
        Self { authenticator: all.clone(), acl: all.clone(), lifecycle: all }
    }
}

/// Lets everybody in and everything through, and says nothing about comings and goings. A user name
/// of the form `{device name}&{product key}` makes the client that device; nothing proves it.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

#[async_trait::async_trait]
impl Authenticator for AllowAll {
    async fn authenticate(&self, info: &ConnectInfo) -> Result<Identity, Refusal> {
        Ok(Identity {
            client_id: info.client_id.clone(),
            username: info.username.clone(),
            device: info.username.as_deref().and_then(device_of),
            rrpc_ext: false,
            sub_devices: SubDevices::default(),
        })
    }
}

impl Acl for AllowAll {
    fn publish(&self, _: &Identity, _: &Topic) -> bool {
        true
    }

    fn subscribe(&self, _: &Identity, _: &TopicFilter) -> bool {
        true
    }
}

impl Lifecycle for AllowAll {
    fn connected(&self, _: &Connected) -> Option<Message> {
        None
    }

    fn disconnected(&self, _: &Disconnected) -> Option<Message> {
        None
    }
}

impl Identity {
    /// The device that a user name of the vendor's form `{device name}&{product key}` claims.
    #[must_use]
    pub fn device_in_username(username: &str) -> Option<Arc<Device>> {
        device_of(username)
    }
}

fn device_of(username: &str) -> Option<Arc<Device>> {
    let (device_name, product_key) = username.split_once('&')?;
    let usable = |part: &str| {
        !part.is_empty() && !part.contains(['/', '+', '#', '&']) && !part.contains(char::is_control)
    };
    (usable(device_name) && usable(product_key)).then(|| {
        Arc::new(Device { product_key: product_key.into(), device_name: device_name.into() })
    })
}
