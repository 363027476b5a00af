//! Bytes to packets. Topics, payloads and texts are slices of the bytes they came in.
//!
//! Nothing here panics or allocates more than the bytes that are there, whatever they are.

use bytes::Bytes;

use super::packet::{
    Ack, ConnAck, Connect, Disconnect, Packet, Publish, SubAck, Subscribe, SubscribeTo,
    Unsubscribe, Version, Will,
};
use super::properties::{Place, Properties};
use super::reason::Reason;
use super::wire::{DecodeError, Reader, SHORT};

/// The length in bytes of the packet at the start of `bytes`, header included, or `None` while the
/// header is incomplete. The packet itself need not be there.
///
/// # Errors
/// [`DecodeError::Malformed`] when the length has more than four bytes (MQTT 5.0 §1.5.5), and
/// [`DecodeError::TooLarge`] when it is above `most`.
pub fn frame_len(bytes: &[u8], most: usize) -> Result<Option<usize>, DecodeError> {
    let mut len = 0_usize;
    for at in 0..4 {
        let Some(&byte) = bytes.get(1 + at) else { return Ok(None) };
        len |= usize::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            let got = len + at + 2;
            if got > most {
                return Err(DecodeError::TooLarge { got, most });
            }
            return Ok(Some(got));
        }
    }
    Err(DecodeError::Malformed("the remaining length has more than four bytes"))
}

/// Decodes one packet that fills `frame` exactly.
///
/// # Errors
/// A [`DecodeError`] that names what is wrong.
pub fn decode(frame: &Bytes, version: Version) -> Result<Packet, DecodeError> {
    decode_in(frame, 0, frame.len(), version)
}

/// Decodes the packet that fills `chunk[start..end]` exactly. CONNECT ignores `version`.
///
/// # Errors
/// A [`DecodeError`] that names what is wrong.
pub fn decode_in(
    chunk: &Bytes,
    start: usize,
    end: usize,
    version: Version,
) -> Result<Packet, DecodeError> {
    let mut from = Reader::within(chunk, start, end);
    let first = from.byte()?;
    let len = from.var()? as usize;
    if len != from.left() {
        return Err(SHORT);
    }
    let flags = first & 0x0f;
    let (mask, expected) = match first >> 4 {
        3 => (0, 0),
        6 | 8 | 10 => (0x0f, 2),
        _ => (0x0f, 0),
    };
    // MQTT 3.1 does not use these flags, and sets DUP where it sends PUBREL or SUBSCRIBE again.
    if flags & mask != expected && version != Version::V31 {
        return Err(DecodeError::Malformed("reserved flags of the header are set"));
    }
    let packet = match first >> 4 {
        1 => Packet::Connect(Box::new(connect(&mut from)?)),
        2 => Packet::ConnAck(conn_ack(&mut from, version)?),
        3 => Packet::Publish(publish(&mut from, flags, version)?),
        4 => Packet::PubAck(ack(&mut from, version)?),
        5 => Packet::PubRec(ack(&mut from, version)?),
        6 => Packet::PubRel(ack(&mut from, version)?),
        7 => Packet::PubComp(ack(&mut from, version)?),
        8 => Packet::Subscribe(subscribe(&mut from, version)?),
        9 => Packet::SubAck(sub_ack(&mut from, version, true)?),
        10 => Packet::Unsubscribe(unsubscribe(&mut from, version)?),
        11 => Packet::UnsubAck(sub_ack(&mut from, version, version.is_5())?),
        12 => Packet::PingReq,
        13 => Packet::PingResp,
        14 => Packet::Disconnect(disconnect(&mut from, version, Place::Disconnect)?),
        15 if version.is_5() => Packet::Auth(disconnect(&mut from, version, Place::Auth)?),
        _ => return Err(DecodeError::Malformed("unknown packet type")),
    };
    if from.is_empty() { Ok(packet) } else { Err(DecodeError::Malformed("the packet is too long")) }
}

fn connect(from: &mut Reader<'_>) -> Result<Connect, DecodeError> {
    let protocol = from.text()?;
    let level = from.byte()?;
    let named = (&*protocol, level);
    let version = match Version::ALL.into_iter().find(|version| version.protocol() == named) {
        Some(version) => version,
        None if matches!(&*protocol, "MQTT" | "MQIsdp") => return Err(DecodeError::Version(level)),
        None => return Err(DecodeError::Malformed("the protocol name is not MQTT")),
    };
    let flags = from.byte()?;
    if flags & 1 != 0 && version != Version::V31 {
        return Err(DecodeError::Malformed("the reserved flag of CONNECT is set"));
    }
    let keep_alive_s = from.short()?;
    let properties = from.properties(version, Place::Connect)?;
    let client_id = from.text()?;
    let will = if flags & 0x04 != 0 {
        let qos = (flags >> 3) & 3;
        if qos == 3 {
            return Err(DecodeError::Malformed("the will has QoS 3"));
        }
        let properties = from.properties(version, Place::Will)?;
        let (topic, payload) = (from.text()?, from.binary()?);
        Some(Will { topic, payload, qos, retain: flags & 0x20 != 0, properties })
    } else if flags & 0x38 != 0 {
        return Err(DecodeError::Malformed("flags of a will without a will"));
    } else {
        None
    };
    if flags & 0xc0 == 0x40 && !version.is_5() {
        return Err(DecodeError::Malformed("a password without a user name"));
    }
    // In MQTT 3.1 the end of the packet counts more than these two flags.
    let is_there = |flag: u8, from: &Reader<'_>| {
        flags & flag != 0 && !(version == Version::V31 && from.is_empty())
    };
    let username = if is_there(0x80, from) { Some(from.text()?) } else { None };
    let password = if is_there(0x40, from) { Some(from.binary()?) } else { None };
    let clean_start = flags & 2 != 0;
    Ok(Connect {
        version,
        clean_start,
        keep_alive_s,
        client_id,
        will,
        username,
        password,
        properties,
    })
}

fn conn_ack(from: &mut Reader<'_>, version: Version) -> Result<ConnAck, DecodeError> {
    let flags = from.byte()?;
    if flags > 1 && version != Version::V31 {
        return Err(DecodeError::Malformed("reserved flags of CONNACK are set"));
    }
    let reason = Reason(from.byte()?);
    let properties = from.properties(version, Place::ConnAck)?;
    // All of the byte is reserved in MQTT 3.1.
    let session_present = flags == 1 && version != Version::V31;
    Ok(ConnAck { session_present, reason, properties })
}

fn publish(from: &mut Reader<'_>, flags: u8, version: Version) -> Result<Publish, DecodeError> {
    let qos = (flags >> 1) & 3;
    // With QoS 0 the flag says nothing in MQTT 3.1.
    let dup = flags & 8 != 0 && !(qos == 0 && version == Version::V31);
    if qos == 3 {
        return Err(DecodeError::Malformed("QoS 3"));
    }
    if dup && qos == 0 {
        return Err(DecodeError::Malformed("DUP with QoS 0"));
    }
    let topic = from.text()?;
    let packet_id = if qos > 0 { from.packet_id()? } else { 0 };
    let (properties, topic_alias) = match version {
        Version::V5 => Properties::of_publish(from)?,
        Version::V311 | Version::V31 => (Properties::default(), None),
    };
    let (payload, retain) = (from.rest(), flags & 1 != 0);
    Ok(Publish { dup, qos, retain, topic, packet_id, payload, topic_alias, properties })
}

fn ack(from: &mut Reader<'_>, version: Version) -> Result<Ack, DecodeError> {
    let packet_id = from.packet_id()?;
    let (reason, properties) = from.reason(version, Place::Ack)?;
    Ok(Ack { packet_id, reason, properties })
}

fn subscribe(from: &mut Reader<'_>, version: Version) -> Result<Subscribe, DecodeError> {
    let packet_id = from.packet_id()?;
    let properties = from.properties(version, Place::Subscribe)?;
    let mut filters = Vec::new();
    while !from.is_empty() {
        let filter = from.text()?;
        let options = from.byte()?;
        let (reserved, used) = match version {
            Version::V5 => (0xc0, 0xff),
            Version::V311 => (0xfc, 0xff),
            // What is not used is not looked at.
            Version::V31 => (0, 3),
        };
        let options = options & used;
        if options & reserved != 0 || options & 3 == 3 {
            return Err(DecodeError::Malformed("reserved options of a subscription are set"));
        }
        let retain_handling = (options >> 4) & 3;
        if retain_handling == 3 {
            return Err(DecodeError::Protocol("retain handling must be 0, 1 or 2"));
        }
        filters.push(SubscribeTo {
            filter,
            qos: options & 3,
            no_local: options & 4 != 0,
            retain_as_published: options & 8 != 0,
            retain_handling,
        });
    }
    if filters.is_empty() {
        return Err(DecodeError::Protocol("SUBSCRIBE without a topic filter"));
    }
    Ok(Subscribe { packet_id, filters, properties })
}

fn unsubscribe(from: &mut Reader<'_>, version: Version) -> Result<Unsubscribe, DecodeError> {
    let packet_id = from.packet_id()?;
    let properties = from.properties(version, Place::Unsubscribe)?;
    let mut filters = Vec::new();
    while !from.is_empty() {
        filters.push(from.text()?);
    }
    if filters.is_empty() {
        return Err(DecodeError::Protocol("UNSUBSCRIBE without a topic filter"));
    }
    Ok(Unsubscribe { packet_id, filters, properties })
}

fn sub_ack(
    from: &mut Reader<'_>,
    version: Version,
    has_reasons: bool,
) -> Result<SubAck, DecodeError> {
    let packet_id = from.packet_id()?;
    let properties = from.properties(version, Place::SubAck)?;
    let rest = if has_reasons { from.rest() } else { Bytes::new() };
    let reasons = rest.iter().map(|&byte| Reason(byte)).collect();
    Ok(SubAck { packet_id, reasons, properties })
}

fn disconnect(
    from: &mut Reader<'_>,
    version: Version,
    place: Place,
) -> Result<Disconnect, DecodeError> {
    let (reason, properties) = from.reason(version, place)?;
    Ok(Disconnect { reason, properties })
}

impl Reader<'_> {
    fn properties(&mut self, version: Version, place: Place) -> Result<Properties, DecodeError> {
        match version {
            Version::V31 | Version::V311 => Ok(Properties::default()),
            Version::V5 => Properties::decode(self, place),
        }
    }

    /// A reason code and properties, both of which may be left out at the end of a packet.
    fn reason(
        &mut self,
        version: Version,
        place: Place,
    ) -> Result<(Reason, Properties), DecodeError> {
        if self.is_empty() || !version.is_5() {
            return Ok((Reason::SUCCESS, Properties::default()));
        }
        let reason = Reason(self.byte()?);
        if self.is_empty() {
            return Ok((reason, Properties::default()));
        }
        Ok((reason, Properties::decode(self, place)?))
    }
}
