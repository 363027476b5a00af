//! Packets to bytes, appended to a buffer so that many packets leave in one write.
//!
//! It does not check that a packet makes sense: whoever builds one does.

use super::packet::{Ack, ConnAck, Connect, Disconnect, Packet, SubAck, Version};
use super::properties::{Name, Properties};
use super::reason::Reason;
use super::wire::{TEXT_MAX, put_binary, put_short, put_var, var_len};

/// A PUBLISH without topic and payload, as the broker sends it.
#[derive(Debug, Clone, Copy)]
pub struct PublishHead<'a> {
    /// Possibly sent before.
    pub dup: bool,
    /// 0, 1 or 2.
    pub qos: u8,
    /// The RETAIN flag.
    pub retain: bool,
    /// The packet identifier; ignored with QoS 0.
    pub packet_id: u16,
    /// The number that stands for the topic, or is to stand for it; ignored by MQTT 3.
    pub topic_alias: Option<u16>,
    /// Properties, ignored by MQTT 3.
    pub properties: &'a Properties,
}

/// Appends a packet.
pub fn encode(packet: &Packet, version: Version, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    let first = match packet {
        Packet::Connect(connect) => put_connect(connect, &mut body),
        Packet::ConnAck(ack) => put_conn_ack(ack, version, &mut body),
        Packet::Publish(publish) => {
            let head = PublishHead {
                dup: publish.dup,
                qos: publish.qos,
                retain: publish.retain,
                packet_id: publish.packet_id,
                topic_alias: publish.topic_alias,
                properties: &publish.properties,
            };
            return encode_publish(head, &publish.topic, &publish.payload, version, out);
        }
        Packet::PubAck(ack) => put_ack(0x40, ack, version, &mut body),
        Packet::PubRec(ack) => put_ack(0x50, ack, version, &mut body),
        Packet::PubRel(ack) => put_ack(0x62, ack, version, &mut body),
        Packet::PubComp(ack) => put_ack(0x70, ack, version, &mut body),
        Packet::Subscribe(subscribe) => {
            put_short(&mut body, subscribe.packet_id);
            put_properties(&mut body, &subscribe.properties, version);
            for to in &subscribe.filters {
                put_binary(&mut body, to.filter.as_bytes());
                body.push(
                    to.qos
                        | u8::from(to.no_local) << 2
                        | u8::from(to.retain_as_published) << 3
                        | to.retain_handling << 4,
                );
            }
            0x82
        }
        Packet::SubAck(ack) => put_sub_ack(0x90, ack, true, version, &mut body),
        Packet::Unsubscribe(unsubscribe) => {
            put_short(&mut body, unsubscribe.packet_id);
            put_properties(&mut body, &unsubscribe.properties, version);
            for filter in &unsubscribe.filters {
                put_binary(&mut body, filter.as_bytes());
            }
            0xa2
        }
        Packet::UnsubAck(ack) => put_sub_ack(0xb0, ack, version.is_5(), version, &mut body),
        Packet::PingReq => 0xc0,
        Packet::PingResp => 0xd0,
        Packet::Disconnect(end) => put_disconnect(0xe0, end, version, &mut body),
        Packet::Auth(end) => put_disconnect(0xf0, end, version, &mut body),
    };
    out.push(first);
    put_var(out, u32::try_from(body.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(&body);
}

/// The packets that consist of a packet identifier and a reason, by their first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AckKind {
    /// QoS 1.
    PubAck = 0x40,
    /// QoS 2, part 1.
    PubRec = 0x50,
    /// QoS 2, part 2.
    PubRel = 0x62,
    /// QoS 2, part 3.
    PubComp = 0x70,
}

/// Appends a PUBACK, PUBREC, PUBREL or PUBCOMP (MQTT 5.0 §3.4 to §3.7).
pub fn encode_ack(
    kind: AckKind,
    packet_id: u16,
    reason: Reason,
    version: Version,
    out: &mut Vec<u8>,
) {
    let ([high, low], first) = (packet_id.to_be_bytes(), kind as u8);
    if !version.is_5() || reason == Reason::SUCCESS {
        out.extend_from_slice(&[first, 2, high, low]);
    } else {
        out.extend_from_slice(&[first, 3, high, low, reason.0]);
    }
}

/// Appends a PUBLISH (MQTT 5.0 §3.3).
pub fn encode_publish(
    head: PublishHead<'_>,
    topic: &str,
    payload: &[u8],
    version: Version,
    out: &mut Vec<u8>,
) {
    let body = body_len(head, topic, payload, version);
    out.reserve(body + 5);
    out.push(0x30 | u8::from(head.dup) << 3 | head.qos << 1 | u8::from(head.retain));
    put_var(out, u32::try_from(body).unwrap_or(u32::MAX));
    put_binary(out, topic.as_bytes());
    if head.qos > 0 {
        put_short(out, head.packet_id);
    }
    if version.is_5() {
        put_var(out, u32::try_from(properties_len(head)).unwrap_or(u32::MAX));
        if let Some(alias) = head.topic_alias {
            out.push(Name::TopicAlias as u8);
            put_short(out, alias);
        }
        head.properties.encode(out);
    }
    out.extend_from_slice(payload);
}

/// Bytes that [`encode_publish`] would append.
#[must_use]
pub fn publish_len(head: PublishHead<'_>, topic: &str, payload: &[u8], version: Version) -> usize {
    let body = body_len(head, topic, payload, version);
    1 + var_len(body) + body
}

fn body_len(head: PublishHead<'_>, topic: &str, payload: &[u8], version: Version) -> usize {
    let properties = match version {
        Version::V31 | Version::V311 => 0,
        Version::V5 => {
            let len = properties_len(head);
            len + var_len(len)
        }
    };
    let id = if head.qos > 0 { 2 } else { 0 };
    2 + topic.len().min(TEXT_MAX) + id + properties + payload.len()
}

fn properties_len(head: PublishHead<'_>) -> usize {
    let alias = if head.topic_alias.is_some() { 3 } else { 0 };
    alias + head.properties.encoded_len()
}

fn put_connect(connect: &Connect, body: &mut Vec<u8>) -> u8 {
    let (name, level) = connect.version.protocol();
    put_binary(body, name.as_bytes());
    body.push(level);
    let mut flags = u8::from(connect.clean_start) << 1;
    if let Some(will) = &connect.will {
        flags |= 4 | will.qos << 3 | u8::from(will.retain) << 5;
    }
    flags |= u8::from(connect.password.is_some()) << 6 | u8::from(connect.username.is_some()) << 7;
    body.push(flags);
    put_short(body, connect.keep_alive_s);
    put_properties(body, &connect.properties, connect.version);
    put_binary(body, connect.client_id.as_bytes());
    if let Some(will) = &connect.will {
        put_properties(body, &will.properties, connect.version);
        put_binary(body, will.topic.as_bytes());
        put_binary(body, &will.payload);
    }
    if let Some(username) = &connect.username {
        put_binary(body, username.as_bytes());
    }
    if let Some(password) = &connect.password {
        put_binary(body, password);
    }
    0x10
}

fn put_conn_ack(ack: &ConnAck, version: Version, body: &mut Vec<u8>) -> u8 {
    // In MQTT 3.1 this byte is reserved.
    body.push(u8::from(ack.session_present && version != Version::V31));
    body.push(ack.reason.0);
    put_properties(body, &ack.properties, version);
    0x20
}

fn put_ack(first: u8, ack: &Ack, version: Version, body: &mut Vec<u8>) -> u8 {
    put_short(body, ack.packet_id);
    put_reason(ack.reason, &ack.properties, version, body);
    first
}

fn put_sub_ack(
    first: u8,
    ack: &SubAck,
    has_reasons: bool,
    version: Version,
    body: &mut Vec<u8>,
) -> u8 {
    put_short(body, ack.packet_id);
    put_properties(body, &ack.properties, version);
    if has_reasons {
        body.extend(ack.reasons.iter().map(|reason| reason.0));
    }
    first
}

fn put_disconnect(first: u8, end: &Disconnect, version: Version, body: &mut Vec<u8>) -> u8 {
    put_reason(end.reason, &end.properties, version, body);
    first
}

/// The reason and the properties, left out where MQTT 5.0 allows it.
fn put_reason(reason: Reason, properties: &Properties, version: Version, body: &mut Vec<u8>) {
    if !version.is_5() || (reason == Reason::SUCCESS && properties.is_empty()) {
        return;
    }
    body.push(reason.0);
    if !properties.is_empty() {
        put_properties(body, properties, version);
    }
}

fn put_properties(out: &mut Vec<u8>, properties: &Properties, version: Version) {
    if !version.is_5() {
        return;
    }
    put_var(out, u32::try_from(properties.encoded_len()).unwrap_or(u32::MAX));
    properties.encode(out);
}
