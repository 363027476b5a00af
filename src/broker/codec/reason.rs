//! The codes with which MQTT answers, refuses and says goodbye.

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
