//! What a connection writes: messages from the session's queue, many per write.

use std::task::Context;

use connectors::contract::QoS;
use tokio::io::{AsyncRead, AsyncWrite};

use super::codec::{self, PublishHead};
use super::connection::{Close, Connection};
use super::counters::add;
use super::session::{Sending, Turn};

impl<IO: AsyncRead + AsyncWrite + Unpin> Connection<IO> {
    /// Encodes about `room` bytes of what the session has for the client; true when there was some.
    pub(super) fn collect(&mut self, room: usize, cx: &mut Context<'_>) -> Result<bool, Close> {
        let mut sending = std::mem::take(&mut self.sending);
        let turn = self.session.turn(self.generation, room, &self.core, &mut sending, cx);
        if let Turn::End(reason) = turn {
            return Err(Close::Broker(reason, "the session was taken over or closed"));
        }
        if sending.is_empty() {
            return Ok(false);
        }
        let bytes: usize = sending.iter().map(|next| next.outgoing.routed.size).sum();
        self.output.reserve(bytes);
        add(&self.core.counters.messages_sent, sending.len());
        for next in sending.drain(..) {
            self.encode(&next);
        }
        // The list is kept while there is traffic of some size, and costs an idle client nothing.
        if sending.capacity() <= 64 && bytes > 4_096 {
            self.sending = sending;
        }
        Ok(true)
    }

    fn encode(&mut self, next: &Sending) {
        let outgoing = &next.outgoing;
        let routed = &outgoing.routed;
        let now_ms = if routed.expires_ms.is_some() { self.core.now_ms() } else { 0 };
        let properties = routed.properties_for(&outgoing.ids, now_ms);
        let head = PublishHead {
            dup: next.dup && outgoing.qos == QoS::AtLeastOnce,
            qos: outgoing.qos.level(),
            retain: outgoing.retain,
            packet_id: next.packet_id,
            properties: &properties,
        };
        let topic = routed.topic.as_str();
        codec::encode_publish(head, topic, &routed.payload, self.version, &mut self.output);
    }
}
