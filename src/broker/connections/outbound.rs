//! What a connection writes: messages from the session's queue, many per write.

use std::task::Context;

use contract::Batch;
use tokio::io::{AsyncRead, AsyncWrite};

use super::aliases::Naming;
use super::connection::{Close, Connection};
use crate::codec::{self, AckKind, Packet, PublishHead, Reason};
use crate::counters::add;
use crate::sessions::{Outgoing, Sending, Turn};

impl<IO: AsyncRead + AsyncWrite + Unpin> Connection<IO> {
    /// Encodes about `room` bytes of what the session has for the client; true when there was some.
    pub(super) fn collect(&mut self, room: usize, cx: &mut Context<'_>) -> Result<bool, Close> {
        let mut sending = std::mem::take(&mut self.sending);
        let may = (room, self.refused.is_none());
        match self.session.turn(self.generation, may, self.core.shared(), &mut sending, cx) {
            Turn::Go => {}
            Turn::Tell(messages) => {
                self.offer(Batch::unacknowledged(messages));
                return Ok(true);
            }
            Turn::End(reason) => {
                return Err(Close::Broker(reason, "the session was taken over or closed"));
            }
        }
        if sending.is_empty() {
            return Ok(false);
        }
        let (mut bytes, mut payloads, mut messages) = (0, 0, 0);
        for next in &sending {
            if let Sending::Message { outgoing, .. } = next {
                bytes += outgoing.routed.size;
                payloads += outgoing.routed.payload.len();
                messages += 1;
            }
        }
        self.output.reserve(bytes);
        add(&self.core.counters().messages_sent, messages);
        add(&self.core.counters().payload_bytes_sent, payloads);
        for next in sending.drain(..) {
            match next {
                Sending::Message { outgoing, packet_id, dup } => {
                    self.encode(&outgoing, packet_id, dup);
                }
                Sending::Release { packet_id } => {
                    self.answer(AckKind::PubRel, packet_id, Reason::SUCCESS);
                }
            }
        }
        // The list is kept while there is traffic of some size, and costs an idle client nothing.
        if sending.capacity() <= 64 && bytes > 4_096 {
            self.sending = sending;
        }
        Ok(true)
    }

    /// Encodes a packet that consists of an identifier and a reason.
    pub(super) fn answer(&mut self, kind: AckKind, packet_id: u16, reason: Reason) {
        self.packets += 1;
        codec::encode_ack(kind, packet_id, reason, self.version, &mut self.output);
    }

    /// Encodes any packet.
    pub(super) fn say(&mut self, packet: &Packet) {
        self.packets += 1;
        codec::encode(packet, self.version, &mut self.output);
    }

    fn encode(&mut self, outgoing: &Outgoing, packet_id: u16, dup: bool) {
        let routed = &outgoing.routed;
        let now_ms = if routed.expires_ms.is_some() { self.core.now_ms() } else { 0 };
        let properties = routed.properties_for(&outgoing.ids, now_ms);
        let mut head = PublishHead {
            dup: dup && outgoing.qos.is_acknowledged(),
            qos: outgoing.qos.level(),
            retain: outgoing.retain,
            packet_id,
            topic_alias: None,
            properties: &properties,
        };
        let mut topic = routed.topic.as_str();
        if let Some(aliases) = &mut self.own_aliases {
            // With a new alias the packet has both; what the client takes was asked for the topic alone.
            let longer = PublishHead { topic_alias: Some(1), ..head };
            let may_grow = aliases.packet_bytes == usize::MAX
                || codec::publish_len(longer, topic, &routed.payload, self.version)
                    <= aliases.packet_bytes;
            head.topic_alias = match aliases.naming(topic, may_grow) {
                Naming::Topic => None,
                Naming::Both(number) => Some(number),
                Naming::Alias(number) => {
                    topic = "";
                    Some(number)
                }
            };
        }
        self.packets += 1;
        codec::encode_publish(head, topic, &routed.payload, self.version, &mut self.output);
    }
}
