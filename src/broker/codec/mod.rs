//! MQTT 3.1, 3.1.1 and 5.0 on the wire: packets to bytes and back, without copying topics or payloads.
//!
//! It knows no socket and no session: what a packet may do when is decided by whoever reads it.

mod decode;
mod encode;
mod packet;
mod properties;
#[cfg(test)]
mod tests;

pub use decode::{DecodeError, decode, decode_in, frame_len};
pub use encode::{AckKind, PublishHead, encode, encode_ack, encode_publish, publish_len};
pub use packet::{
    Ack, ConnAck, Connect, Disconnect, Packet, Publish, Reason, SubAck, Subscribe, SubscribeTo,
    Unsubscribe, Version, Will,
};
pub use properties::{Name, Properties, Property, Value};
