//! From an accepted connection to a client with a session: CONNECT, authentication, CONNACK.
//!
//! What the client sends after CONNECT is not looked at here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use contract::{Message, Origin, QoS, Topic};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::aliases::Outbound;
use super::core::Core;
use super::stream::{close_gently, read_some, write_all};
use crate::codec::{
    self, ConnAck, Connect, DecodeError, Name, Packet, Properties, Reason, Value, Version, Will,
};
use crate::counters::add;
use crate::hooks::{ConnectInfo, Identity, Refusal};
use crate::sessions::{Attached, Online, Publication, Testament, Window, Wish};

/// Bytes of a CONNECT at most, whatever larger packets are allowed later: nobody is known yet.
const CONNECT_BYTES: usize = 128 << 10;

/// A client that was let in.
pub(super) struct Greeted {
    pub version: Version,
    pub attached: Attached,
    pub identity: Arc<Identity>,
    pub origin: Arc<Origin>,
    pub peer: SocketAddr,
    /// Seconds; 0 is no limit.
    pub keep_alive_s: u16,
    /// Aliases that the client takes.
    pub aliases: Option<Box<Outbound>>,
    /// The session expiry of CONNECT in seconds; DISCONNECT may not raise it from 0.
    pub expiry_s: u32,
    /// CONNACK, to be written first.
    pub output: Vec<u8>,
    /// What the client sent after CONNECT.
    pub input: BytesMut,
}

/// A client that was not.
struct Refused {
    version: Version,
    refusal: Refusal,
    /// When it may learn of that.
    until: Option<Instant>,
}

impl Refused {
    fn now(version: Version, refusal: Refusal) -> Option<Self> {
        Some(Self { version, refusal, until: None })
    }
}

/// Reads CONNECT and answers it. `None` when the connection has been dealt with and is to be dropped.
pub(super) async fn handshake<IO>(core: &Core, io: &mut IO, peer: SocketAddr) -> Option<Greeted>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let timeout = core.limits().connect_timeout();
    let Ok(outcome) = tokio::time::timeout(timeout, admit(core, io, peer)).await else {
        add(&core.counters().connect_timeouts, 1);
        tracing::debug!(%peer, "no complete CONNECT in time");
        return None;
    };
    match outcome {
        Ok(greeted) => Some(greeted),
        Err(None) => None,
        Err(Some(Refused { version, refusal, until })) => {
            add(&core.counters().connects_refused, 1);
            tracing::debug!(%peer, reason = refusal.reason.0, "client refused: {refusal}");
            if let Some(until) = until {
                tokio::time::sleep_until(until).await;
            }
            let answer = conn_ack(version, false, refusal.reason, Properties::default());
            write_all(io, &answer, core.limits().close_timeout()).await;
            close_gently(io, core.limits().close_timeout()).await;
            None
        }
    }
}

/// Who a client says that it is; one without an identifier gets one.
fn info(connect: &Connect, peer: SocketAddr) -> ConnectInfo {
    let client_id = match connect.client_id.is_empty() {
        true => ByteString::from(format!("auto-{}", uuid::Uuid::new_v4().simple())),
        // Copies, here and below: what lives long must not keep the buffer it was read with.
        false => ByteString::from(&*connect.client_id),
    };
    ConnectInfo {
        client_id,
        username: connect.username.as_deref().map(ByteString::from),
        password: connect.password.as_deref().map(Bytes::copy_from_slice),
        peer,
        version: connect.version,
    }
}

/// `Err(None)`: close without an answer.
async fn admit<IO>(core: &Core, io: &mut IO, peer: SocketAddr) -> Result<Greeted, Option<Refused>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (frame, input) = read_connect(core, io).await?;
    add(&core.counters().connects, 1);
    add(&core.counters().packets_received, 1);
    // Of CONNECT, not of the connection: how long checking it took must not show.
    let start = Instant::now();
    let connect = understand(core, &frame)?;
    let version = connect.version;
    let refuse =
        |reason, message: &str| Refused::now(version, Refusal { reason, message: message.into() });
    check(core, &connect).map_err(|(reason, message)| refuse(reason, message))?;
    let assigned = connect.client_id.is_empty();
    let info = info(&connect, peer);
    let (identity, kicks) = authenticate(core, &info).await.map_err(|refusal| {
        let until = late(core, &info, &refusal).map(|delay| start + delay);
        Some(Refused { version, refusal, until })
    })?;
    if let Some(name) = &info.username {
        core.entrance.failures.forget(peer.ip(), name);
    }
    let origin = Arc::new(Origin {
        source: Some(core.source.clone()),
        client_id: Some(identity.client_id.clone()),
        username: identity.username.clone(),
        peer: Some(peer.ip()),
    });
    let will = match &connect.will {
        Some(will) => Some(testament(core, will, &identity, &origin).map_err(|reason| {
            add(&core.counters().refused_acl, usize::from(reason == Reason::NOT_AUTHORIZED));
            refuse(reason, "the will's topic is not acceptable or not allowed for this client")
        })?),
        None => None,
    };
    let expiry_s = session_expiry(core, &connect);
    let wish = Wish {
        client_id: identity.client_id.clone(),
        clean_start: connect.clean_start,
        expiry_s,
        online: online(core, &connect, (&identity, &origin), peer),
        will,
        kicks,
    };
    let attached = core.sessions.attach(wish).map_err(|reason| refuse(reason, "no session now"))?;
    let keep_alive_s = keep_alive(core, &connect);
    let properties = greeting(core, &connect, &identity, assigned, expiry_s);
    let output = conn_ack(version, attached.present, Reason::SUCCESS, properties);
    Ok(Greeted {
        version,
        attached,
        identity,
        origin,
        peer,
        keep_alive_s,
        aliases: aliases(core, &connect),
        expiry_s,
        output,
        input,
    })
}

/// How often a client is authenticated while others are being cut off.
const AUTHENTICATIONS: usize = 4;

/// Asks who the client is, and again when somebody was cut off meanwhile: it may be this client.
async fn authenticate(core: &Core, info: &ConnectInfo) -> Result<(Arc<Identity>, u64), Refusal> {
    let mut kicks = core.sessions.kicks();
    for _ in 0..AUTHENTICATIONS {
        let identity = core.hooks.authenticator.authenticate(info).await?;
        let now = core.sessions.kicks();
        if now == kicks {
            return Ok((Arc::new(identity), kicks));
        }
        kicks = now;
    }
    let message = "clients were cut off all the while".into();
    Err(Refusal { reason: Reason::SERVER_UNAVAILABLE, message })
}

/// How long a client waits for the news that its credentials are wrong.
fn late(core: &Core, info: &ConnectInfo, refusal: &Refusal) -> Option<Duration> {
    if refusal.reason != Reason::BAD_CREDENTIALS {
        return None;
    }
    add(&core.counters().logins_failed, 1);
    let (from, name) = (info.peer.ip(), info.username.as_deref());
    Some(core.entrance.failures.note(from, name, core.limits().refusal_delay()))
}

/// Decodes CONNECT, or finds the version in which a refusal is understood.
fn understand(core: &Core, frame: &Bytes) -> Result<Box<Connect>, Option<Refused>> {
    match codec::decode(frame, Version::V5) {
        Ok(Packet::Connect(connect)) => Ok(connect),
        Err(error @ DecodeError::Version(level)) => {
            // A client of MQTT 3 understands only a CONNACK without properties. Brokers that bridge to
            // others of their kind first set the highest bit.
            let version = if level & 0x7f < 5 { Version::V311 } else { Version::V5 };
            let message = error.to_string();
            let refusal = Refusal { reason: Reason::UNSUPPORTED_VERSION, message };
            Err(Refused::now(version, refusal))
        }
        _ => {
            add(&core.counters().protocol_errors, 1);
            Err(None)
        }
    }
}

/// Reads until the first packet is complete; it must be CONNECT (MQTT-3.1.0-1).
async fn read_connect<IO>(core: &Core, io: &mut IO) -> Result<(Bytes, BytesMut), Option<Refused>>
where
    IO: AsyncRead + Unpin,
{
    let most = CONNECT_BYTES.min(core.limits().packet_bytes as usize);
    let mut input = BytesMut::new();
    loop {
        let len = match input.first() {
            Some(first) if first >> 4 != 1 => Err(DecodeError::Protocol("not CONNECT")),
            _ => codec::frame_len(&input, most),
        };
        match len {
            Ok(Some(len)) if len <= input.len() => {
                // A copy of what follows: the rest of the buffer would keep CONNECT in memory.
                let rest = BytesMut::from(input.get(len..).unwrap_or_default());
                input.truncate(len);
                return Ok((input.freeze(), rest));
            }
            Ok(_) => {}
            Err(error) => {
                add(&core.counters().protocol_errors, 1);
                tracing::debug!("connection closed before CONNECT: {error}");
                return Err(None);
            }
        }
        match read_some(io, &mut input).await {
            Ok(0) | Err(_) => return Err(None),
            Ok(count) => add(&core.counters().bytes_received, count),
        }
    }
}

/// What can be refused without asking anybody.
fn check(core: &Core, connect: &Connect) -> Result<(), (Reason, &'static str)> {
    if connect.client_id.len() > core.limits().client_id_bytes {
        return Err((Reason::CLIENT_ID_NOT_VALID, "the client identifier is too long"));
    }
    // One vendor's old SDK of MQTT 3.1.1 sends line ends, which its specification does not forbid.
    if connect.version == Version::V5 && connect.client_id.chars().any(char::is_control) {
        return Err((Reason::CLIENT_ID_NOT_VALID, "the client identifier has control characters"));
    }
    let nameless = match connect.version {
        Version::V5 => None,
        // MQTT-3.1.3-8: no session can be found again under no name.
        Version::V311 => {
            (!connect.clean_start).then_some("a kept session needs a client identifier")
        }
        // At most 23 characters, too; but there never was a broker that held clients to that.
        Version::V31 => Some("MQTT 3.1 has no empty client identifier"),
    };
    if let Some(note) = nameless.filter(|_| connect.client_id.is_empty()) {
        return Err((Reason::CLIENT_ID_NOT_VALID, note));
    }
    if connect.properties.get(Name::AuthMethod).is_some() {
        return Err((Reason::BAD_AUTH_METHOD, "enhanced authentication is not offered"));
    }
    Ok(())
}

/// The will as it will be published.
fn testament(
    core: &Core,
    will: &Will,
    identity: &Arc<Identity>,
    origin: &Arc<Origin>,
) -> Result<Box<Testament>, Reason> {
    let topic = Topic::parse(&*will.topic, core.topics()).map_err(|_| Reason::TOPIC_INVALID)?;
    if !core.may_publish(identity, &topic) {
        return Err(Reason::NOT_AUTHORIZED);
    }
    let mut message = Message::new(topic, Bytes::copy_from_slice(&will.payload), core.now_ms());
    message.qos = QoS::try_from(will.qos).unwrap_or(QoS::ExactlyOnce);
    message.retain = will.retain;
    message.device.clone_from(&identity.device);
    message.origin = Arc::clone(origin);
    let delay_s = will.properties.number(Name::WillDelay).unwrap_or(0);
    let expiry_s = will.properties.number(Name::MessageExpiry);
    let publication = Publication::new(message, will.properties.copied());
    Ok(Box::new(Testament { publication, delay_s, expiry_s }))
}

/// How long the session is kept without a connection, in seconds.
fn session_expiry(core: &Core, connect: &Connect) -> u32 {
    let wanted = match connect.version {
        Version::V5 => connect.properties.number(Name::SessionExpiry).unwrap_or(0),
        Version::V31 | Version::V311 if connect.clean_start => 0,
        Version::V31 | Version::V311 => u32::MAX,
    };
    wanted.min(core.limits().session_expiry_s)
}

/// The keep-alive interval that counts (MQTT 5.0 §3.2.2.3.14), in seconds.
fn keep_alive(core: &Core, connect: &Connect) -> u16 {
    let (asked, most) = (connect.keep_alive_s, core.limits().keep_alive_max_s.max(1));
    let too_long = most < u16::MAX && (asked == 0 || asked > most);
    if too_long && connect.version.is_5() { most } else { asked }
}

/// What is to stand for topics in packets to the client.
fn aliases(core: &Core, connect: &Connect) -> Option<Box<Outbound>> {
    let number = |name| connect.properties.number(name);
    let takes =
        u16::try_from(number(Name::TopicAliasMaximum)?).ok()?.min(core.limits().topic_aliases);
    let packet_bytes = number(Name::MaximumPacket).map_or(usize::MAX, |bytes| bytes as usize);
    (takes > 0).then(|| Box::new(Outbound::new(takes, packet_bytes)))
}

fn online(
    core: &Core,
    connect: &Connect,
    (identity, origin): (&Arc<Identity>, &Arc<Origin>),
    peer: SocketAddr,
) -> Online {
    let number = |name| connect.properties.number(name).map(|value| value as usize);
    Online {
        identity: Arc::clone(identity),
        origin: Arc::clone(origin),
        peer,
        connected_ms: core.now_ms(),
        window: Window {
            messages: number(Name::ReceiveMaximum)
                .unwrap_or(usize::from(u16::MAX))
                .min(usize::from(core.limits().inflight.max(1))),
            packet_bytes: number(Name::MaximumPacket).unwrap_or(usize::MAX),
            version: connect.version,
        },
    }
}

/// The properties of CONNACK (MQTT 5.0 §3.2.2.3). What is left out is at its default.
fn greeting(
    core: &Core,
    connect: &Connect,
    identity: &Identity,
    assigned: bool,
    expiry_s: u32,
) -> Properties {
    let mut properties = Properties::default()
        .with(Name::ReceiveMaximum, Value::Short(core.limits().receive_max.max(1)))
        .with(Name::MaximumPacket, Value::Long(core.limits().packet_bytes));
    if expiry_s != connect.properties.number(Name::SessionExpiry).unwrap_or(0) {
        properties.push(Name::SessionExpiry, Value::Long(expiry_s));
    }
    if core.limits().topic_aliases > 0 {
        properties.push(Name::TopicAliasMaximum, Value::Short(core.limits().topic_aliases));
    }
    let keep_alive_s = keep_alive(core, connect);
    if keep_alive_s != connect.keep_alive_s {
        properties.push(Name::ServerKeepAlive, Value::Short(keep_alive_s));
    }
    if assigned {
        properties.push(Name::AssignedClientId, Value::Text(identity.client_id.clone()));
    }
    properties
}

fn conn_ack(
    version: Version,
    session_present: bool,
    reason: Reason,
    properties: Properties,
) -> Vec<u8> {
    let reason = match version {
        Version::V5 => reason,
        Version::V31 | Version::V311 => return_code(reason),
    };
    let mut out = Vec::new();
    codec::encode(
        &Packet::ConnAck(ConnAck { session_present, reason, properties }),
        version,
        &mut out,
    );
    out
}

/// The return code of MQTT 3 (3.1.1 §3.2.2.3) that comes nearest to a reason code.
fn return_code(reason: Reason) -> Reason {
    Reason(match reason {
        Reason::SUCCESS => 0,
        Reason::UNSUPPORTED_VERSION => 1,
        Reason::CLIENT_ID_NOT_VALID => 2,
        Reason::BAD_CREDENTIALS => 4,
        Reason::NOT_AUTHORIZED | Reason::BAD_AUTH_METHOD | Reason::TOPIC_INVALID => 5,
        _ => 3,
    })
}
