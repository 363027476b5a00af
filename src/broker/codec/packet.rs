//! The packets of MQTT as data, for all versions at once (MQTT 5.0 §3, MQTT 3.1.1 §3, MQTT 3.1 §3).
//!
//! Fields that only MQTT 5.0 has are at their default in a packet of MQTT 3.

use bytes::Bytes;
use bytestring::ByteString;

use super::Properties;

/// The protocol that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1, protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5.0, protocol level 5.
    V5,
}

impl Version {
    /// All that are spoken.
    pub const ALL: [Self; 3] = [Self::V31, Self::V311, Self::V5];

    /// MQTT 5.0: packets have properties, and answers have reasons.
    #[must_use]
    pub fn is_5(self) -> bool {
        self == Self::V5
    }

    /// The protocol's name and level as CONNECT has them.
    #[must_use]
    pub fn protocol(self) -> (&'static str, u8) {
        match self {
            Self::V31 => ("MQIsdp", 3),
            Self::V311 => ("MQTT", 4),
            Self::V5 => ("MQTT", 5),
        }
    }
}

/// A reason code of MQTT 5.0 §2.4, or a CONNACK return code of MQTT 3 (3.1.1 §3.2.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason(pub u8);

impl Reason {
    /// Success, normal disconnection, granted QoS 0.
    pub const SUCCESS: Self = Self(0x00);
    /// The client ends the connection and wants its will published.
    pub const DISCONNECT_WITH_WILL: Self = Self(0x04);
    /// Accepted, but nobody is subscribed.
    pub const NO_MATCHING_SUBSCRIBERS: Self = Self(0x10);
    /// There was no such subscription.
    pub const NO_SUBSCRIPTION_EXISTED: Self = Self(0x11);
    /// A failure without a more precise reason; SUBACK's only failure in MQTT 3.1.1. MQTT 3.1 has none.
    pub const UNSPECIFIED: Self = Self(0x80);
    /// The bytes are no packet.
    pub const MALFORMED: Self = Self(0x81);
    /// The packet is not allowed here.
    pub const PROTOCOL_ERROR: Self = Self(0x82);
    /// The packet is fine, but the receiver cannot take it.
    pub const IMPLEMENTATION: Self = Self(0x83);
    /// The protocol version is not spoken here.
    pub const UNSUPPORTED_VERSION: Self = Self(0x84);
    /// The client identifier is not acceptable.
    pub const CLIENT_ID_NOT_VALID: Self = Self(0x85);
    /// User name or password is wrong.
    pub const BAD_CREDENTIALS: Self = Self(0x86);
    /// The client may not do this.
    pub const NOT_AUTHORIZED: Self = Self(0x87);
    /// The broker cannot serve at present.
    pub const SERVER_UNAVAILABLE: Self = Self(0x88);
    /// The broker stops.
    pub const SERVER_SHUTTING_DOWN: Self = Self(0x8b);
    /// Enhanced authentication is not offered.
    pub const BAD_AUTH_METHOD: Self = Self(0x8c);
    /// Nothing was heard for one and a half keep-alive intervals.
    pub const KEEP_ALIVE_TIMEOUT: Self = Self(0x8d);
    /// Another connection uses the client identifier now.
    pub const SESSION_TAKEN_OVER: Self = Self(0x8e);
    /// The topic filter is not acceptable.
    pub const FILTER_INVALID: Self = Self(0x8f);
    /// The topic name is not acceptable.
    pub const TOPIC_INVALID: Self = Self(0x90);
    /// There is no message in flight with this packet identifier.
    pub const PACKET_ID_NOT_FOUND: Self = Self(0x92);
    /// More unacknowledged messages than the receiver announced.
    pub const RECEIVE_MAXIMUM: Self = Self(0x93);
    /// The topic alias is out of range.
    pub const TOPIC_ALIAS_INVALID: Self = Self(0x94);
    /// The packet is larger than the receiver announced.
    pub const PACKET_TOO_LARGE: Self = Self(0x95);
    /// A limit of the broker is reached.
    pub const QUOTA_EXCEEDED: Self = Self(0x97);
    /// An administrator closed the connection.
    pub const ADMINISTRATIVE: Self = Self(0x98);
    /// The QoS is not offered.
    pub const QOS_NOT_SUPPORTED: Self = Self(0x9b);

    /// True for a refusal or failure.
    #[must_use]
    pub fn is_error(self) -> bool {
        self.0 >= 0x80
    }
}

impl std::fmt::Display for Reason {
    /// The code, and what it means for the codes that a person is likely to see.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let meaning = match *self {
            Self::MALFORMED | Self::PROTOCOL_ERROR => "the protocol was broken",
            Self::IMPLEMENTATION => "the broker could not take the messages; send them again",
            Self::UNSUPPORTED_VERSION => "this version of MQTT is not spoken",
            Self::CLIENT_ID_NOT_VALID => "the client identifier is not acceptable",
            Self::BAD_CREDENTIALS => "user name or password is wrong",
            Self::NOT_AUTHORIZED => "this is not allowed",
            Self::SERVER_UNAVAILABLE => "the broker cannot serve now",
            Self::SERVER_SHUTTING_DOWN => "the broker stops",
            Self::SESSION_TAKEN_OVER => "another client uses the client identifier",
            Self::FILTER_INVALID | Self::TOPIC_INVALID => "the topic is not acceptable",
            Self::PACKET_TOO_LARGE => "the packet is too large",
            Self::QUOTA_EXCEEDED => "a limit is exceeded, such as that of the payload",
            _ => return write!(f, "reason code {:#04x}", self.0),
        };
        write!(f, "reason code {:#04x}: {meaning}", self.0)
    }
}

/// Any packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// A client asks for a session.
    Connect(Box<Connect>),
    /// The answer to CONNECT.
    ConnAck(ConnAck),
    /// A message.
    Publish(Publish),
    /// QoS 1: the receiver is responsible now.
    PubAck(Ack),
    /// QoS 2, part 1.
    PubRec(Ack),
    /// QoS 2, part 2.
    PubRel(Ack),
    /// QoS 2, part 3.
    PubComp(Ack),
    /// A client asks for messages.
    Subscribe(Subscribe),
    /// The answer to SUBSCRIBE.
    SubAck(SubAck),
    /// A client wants no more messages.
    Unsubscribe(Unsubscribe),
    /// The answer to UNSUBSCRIBE; MQTT 3 has no reasons here.
    UnsubAck(SubAck),
    /// A client shows that it lives.
    PingReq,
    /// The answer to PINGREQ.
    PingResp,
    /// The end of a connection.
    Disconnect(Disconnect),
    /// Enhanced authentication (MQTT 5.0 only).
    Auth(Disconnect),
}

/// CONNECT, MQTT 5.0 §3.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The protocol.
    pub version: Version,
    /// Clean Start, or Clean Session in MQTT 3.
    pub clean_start: bool,
    /// Seconds between two packets of the client at most; 0 means no limit.
    pub keep_alive_s: u16,
    /// The client identifier; may be empty.
    pub client_id: ByteString,
    /// The will.
    pub will: Option<Will>,
    /// The user name.
    pub username: Option<ByteString>,
    /// The password: any bytes.
    pub password: Option<Bytes>,
    /// MQTT 5.0 properties.
    pub properties: Properties,
}

/// The message that a broker publishes when a client is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// The topic name.
    pub topic: ByteString,
    /// The payload.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Whether it becomes the topic's retained message.
    pub retain: bool,
    /// MQTT 5.0 properties, the will delay among them.
    pub properties: Properties,
}

/// CONNACK, MQTT 5.0 §3.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnAck {
    /// The broker has kept a session for this client identifier; MQTT 3.1 does not say.
    pub session_present: bool,
    /// Reason code, or return code (0–5) in MQTT 3.
    pub reason: Reason,
    /// MQTT 5.0 properties.
    pub properties: Properties,
}

/// PUBLISH, MQTT 5.0 §3.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Possibly sent before.
    pub dup: bool,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Retained, or to be retained.
    pub retain: bool,
    /// The topic name, not yet checked against MQTT 5.0 §4.7.
    pub topic: ByteString,
    /// The packet identifier; 0 with QoS 0.
    pub packet_id: u16,
    /// The payload.
    pub payload: Bytes,
    /// The number that stands for the topic on this connection (MQTT 5.0 §3.3.2.3.4), which is not
    /// among `properties`: it is no part of the message.
    pub topic_alias: Option<u16>,
    /// MQTT 5.0 properties.
    pub properties: Properties,
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP, MQTT 5.0 §3.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The packet identifier of the PUBLISH.
    pub packet_id: u16,
    /// MQTT 5.0 reason code.
    pub reason: Reason,
    /// MQTT 5.0 properties.
    pub properties: Properties,
}

/// SUBSCRIBE, MQTT 5.0 §3.8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// The packet identifier.
    pub packet_id: u16,
    /// What is asked for, at least one.
    pub filters: Vec<SubscribeTo>,
    /// MQTT 5.0 properties.
    pub properties: Properties,
}

/// One topic filter of a SUBSCRIBE with its options, MQTT 5.0 §3.8.3.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeTo {
    /// The topic filter as written, `$share/…` included.
    pub filter: ByteString,
    /// The highest QoS asked for: 0, 1 or 2.
    pub qos: u8,
    /// Do not send back what this client publishes.
    pub no_local: bool,
    /// Keep the RETAIN flag as published.
    pub retain_as_published: bool,
    /// 0: send retained messages; 1: only for a new subscription; 2: never.
    pub retain_handling: u8,
}

/// SUBACK and UNSUBACK, MQTT 5.0 §3.9 and §3.11.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubAck {
    /// The packet identifier of the request.
    pub packet_id: u16,
    /// One per topic filter, in order. In a SUBACK of MQTT 3.1 each is a QoS.
    pub reasons: Vec<Reason>,
    /// MQTT 5.0 properties.
    pub properties: Properties,
}

/// UNSUBSCRIBE, MQTT 5.0 §3.10.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The packet identifier.
    pub packet_id: u16,
    /// The topic filters, at least one.
    pub filters: Vec<ByteString>,
    /// MQTT 5.0 properties.
    pub properties: Properties,
}

/// DISCONNECT and AUTH, MQTT 5.0 §3.14 and §3.15.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// MQTT 5.0 reason code.
    pub reason: Reason,
    /// MQTT 5.0 properties.
    pub properties: Properties,
}
