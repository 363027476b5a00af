//! The packets of MQTT as data, for all versions at once (MQTT 5.0 §3, MQTT 3.1.1 §3, MQTT 3.1 §3).
//!
//! Fields that only MQTT 5.0 has are at their default in a packet of MQTT 3.

use bytes::Bytes;
use bytestring::ByteString;

use super::properties::Properties;
use super::reason::Reason;

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
