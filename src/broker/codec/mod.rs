//! MQTT 3.1, 3.1.1 and 5.0 on the wire: packets to bytes and back, without copying topics or payloads.
//!
//! `packet` has the packets as data, `properties` what MQTT 5.0 adds to them and `reason` its codes; `wire`
//! reads and writes the pieces, `decode` and `encode` whole packets.
//!
//! It knows no socket and no session: what a packet may do when is decided by whoever reads it. It uses
//! nothing of the rest of the broker.

mod decode;
mod encode;
mod packet;
mod properties;
mod reason;
#[cfg(test)]
mod tests;
mod wire;

pub use decode::{decode, decode_in, frame_len};
pub use encode::{AckKind, PublishHead, encode, encode_ack, encode_publish, publish_len};
pub use packet::{
    Ack, ConnAck, Connect, Disconnect, Packet, Publish, SubAck, Subscribe, SubscribeTo,
    Unsubscribe, Version, Will,
};
pub use properties::{Name, Properties, Property, Value};
pub use reason::Reason;
pub use wire::DecodeError;
