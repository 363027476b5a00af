//! Every bound of the broker, with its default. Zero is no special value anywhere.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

/// The bounds of the broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at the same time; one more is closed at once.
    pub connections: usize,
    /// Connections of one address (of IPv6: one network of 64 bits) at the same time; one more is closed
    /// at once. Many devices can share an address; the last eighth of all connections is for addresses
    /// with few clients that have not been let in yet.
    pub connections_per_address: usize,
    /// Sessions, those of absent clients included; one more is refused with CONNACK and counted.
    pub sessions: usize,
    /// Milliseconds from the accepted connection to a complete CONNECT and its authentication.
    pub connect_timeout_ms: u64,
    /// Milliseconds from CONNECT to its answer, at least, when user name or password is wrong: twice
    /// as many with each further one of the same address, up to eight times.
    pub refusal_delay_ms: u64,
    /// Bytes of a packet from a client, header included; also announced to MQTT 5 clients.
    pub packet_bytes: u32,
    /// Bytes of a client identifier.
    pub client_id_bytes: usize,
    /// QoS 1 and 2 messages of one client that wait for the engine; from MQTT 3 clients nothing
    /// more is read until it has accepted some. MQTT 5 clients are told (Receive Maximum), and for them
    /// QoS 2 messages count until they are completed.
    pub receive_max: u16,
    /// QoS 1 and 2 messages sent to one client and not yet acknowledged by it.
    pub inflight: u16,
    /// Topic aliases of one connection in each direction: topics that MQTT 5 clients need not send
    /// again, and that are not sent to them again when they take aliases. Each costs the memory of its
    /// topic. 0 offers none.
    pub topic_aliases: u16,
    /// Seconds of the keep-alive interval at most. MQTT 5 clients that ask for more, or for none, are
    /// told this one (Server Keep Alive); older ones cannot be told. 65535 leaves it to the client.
    pub keep_alive_max_s: u16,
    /// Messages that wait for one client. What arrives when the queue is full is dropped and counted.
    pub queue_messages: usize,
    /// Bytes that wait for one client or are unacknowledged by it, at 64 bytes plus topic and
    /// payload per message. What arrives when the queue is full is dropped and counted.
    pub queue_bytes: usize,
    /// Bytes that wait for all clients together, counted in the same way.
    pub queue_bytes_total: usize,
    /// Subscriptions of one client; a gateway has 100 more for each sub-device that is logged in.
    pub subscriptions: usize,
    /// Topic filters in one SUBSCRIBE or UNSUBSCRIBE.
    pub filters_per_packet: usize,
    /// Seconds that the session of an absent client is kept at most; sessions of MQTT 3 clients
    /// without Clean Session, which cannot say how long, are kept as long as this. Then it ends with
    /// all that waits in it.
    pub session_expiry_s: u32,
    /// Retained messages.
    pub retained_messages: usize,
    /// Bytes of all retained messages, at 64 bytes plus topic and payload each.
    pub retained_bytes: usize,
    /// Milliseconds in which a connection that ends may still send what is in its buffer; also the
    /// time that connections have to end when the broker stops.
    pub close_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 10_000,
            sessions: 100_000,
            connect_timeout_ms: 10_000,
            refusal_delay_ms: 500,
            packet_bytes: 1_114_112,
            client_id_bytes: 256,
            receive_max: 1_024,
            inflight: 256,
            topic_aliases: 32,
            keep_alive_max_s: u16::MAX,
            queue_messages: 10_000,
            queue_bytes: 4 << 20,
            queue_bytes_total: 256 << 20,
            subscriptions: 1_000,
            filters_per_packet: 100,
            session_expiry_s: 7 * 86_400,
            retained_messages: 100_000,
            retained_bytes: 64 << 20,
            close_timeout_ms: 3_000,
        }
    }
}

impl Limits {
    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn refusal_delay(&self) -> Duration {
        Duration::from_millis(self.refusal_delay_ms)
    }

    pub(super) fn close_timeout(&self) -> Duration {
        Duration::from_millis(self.close_timeout_ms)
    }
}
