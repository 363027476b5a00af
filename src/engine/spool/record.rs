//! A message as the body of a record.
//!
//! | part | holds |
//! | --- | --- |
//! | version | 1 byte: [`RECORD_VERSION`] |
//! | flags | 2 bytes: QoS 1 or 2, retain, and which optional parts follow |
//! | bound | text, if flagged: the one cursor that the record is for |
//! | topic | text |
//! | id | 8 bytes |
//! | received | varint, milliseconds since 1970 |
//! | device | two texts, if flagged |
//! | properties | varint count, then pairs of texts, if flagged |
//! | source | text, if flagged; the embedded broker's is a flag of its own |
//! | client id, user name | a text each, if flagged |
//! | peer | 4 or 16 bytes, if flagged: the address |
//! | headers | 1 byte that says which, then a text each, if flagged |
//! | hops | 1 byte, if flagged |
//! | extension | varint length and that many bytes, if flagged: 1 byte of flags (QoS 2), and what later versions add; skipped here |
//! | payload | the rest |
//!
//! A text is a varint length and UTF-8; varints are LEB128; numbers are little-endian. What decides who
//! wants a record comes first, so that [`peek`] is cheap. Later versions that only add something put it
//! into the extension, so that this version reads their records; others change the version. A message's
//! position is where the record stands, and is not in it.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use bytestring::ByteString;
use contract::{Device, Headers, Message, Origin, QoS, Topic, TopicLimits};

/// The version of the record that is written, and the only one that is read.
pub const RECORD_VERSION: u8 = 1;

const QOS_1: u16 = 1;
const RETAIN: u16 = 1 << 1;
const DEVICE: u16 = 1 << 2;
const PROPERTIES: u16 = 1 << 3;
const SOURCE: u16 = 1 << 4;
/// The source is [`BROKER`].
const FROM_BROKER: u16 = 1 << 5;
const CLIENT: u16 = 1 << 6;
const USERNAME: u16 = 1 << 7;
const PEER_V4: u16 = 1 << 8;
const PEER_V6: u16 = 1 << 9;
const HEADERS: u16 = 1 << 10;
const HOPS: u16 = 1 << 11;
const BOUND: u16 = 1 << 12;
const EXTENSION: u16 = 1 << 13;
const KNOWN: u16 = (1 << 14) - 1;

/// In the extension: QoS 2. A program that knows no extension reads such a record as one of QoS 1.
const QOS_2: u8 = 1;

const CONTENT_TYPE: u8 = 1;
const RESPONSE_TOPIC: u8 = 1 << 1;
const CORRELATION: u8 = 1 << 2;

/// The source of nearly all messages: the embedded broker. As a flag it takes no bytes here, and no
/// memory of its own when it is read.
static BROKER: LazyLock<Arc<str>> = LazyLock::new(|| "mqtt".into());

/// The limits were checked when the message came in; what was accepted is read whatever they are now.
const ANY_TOPIC: TopicLimits = TopicLimits { bytes: usize::MAX, levels: usize::MAX };

/// Why bytes are no record of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Another version wrote it.
    #[error(
        "the record has version {0}, this program reads version 1; open the spool with the program that wrote it and let it drain"
    )]
    Version(u8),
    /// The bytes end before the record does.
    #[error("the record ends early")]
    Short,
    /// A text is not UTF-8, a number is too long, or a flag is unknown.
    #[error("the record holds bytes that no record holds")]
    Malformed,
    /// The topic is none.
    #[error("the record's topic is not valid: {0}")]
    Topic(contract::TopicError),
}

/// Appends a message as the body of a record; one that is `bound` is for the cursor of that name only.
pub fn encode(message: &Message, bound: Option<&str>, out: &mut Vec<u8>) {
    let origin = &message.origin;
    let properties = message.properties.as_deref().filter(|pairs| !pairs.is_empty());
    let headers = message.headers.as_deref().filter(|headers| **headers != Headers::default());
    let source = origin.source.as_deref().filter(|name| **name != **BROKER);
    out.reserve(64 + message.topic.as_str().len() + message.payload.len());
    out.push(RECORD_VERSION);
    out.extend(flags(message, bound).to_le_bytes());
    for text in [bound, Some(message.topic.as_str())].into_iter().flatten() {
        put_bytes(text.as_bytes(), out);
    }
    out.extend(message.id.to_le_bytes());
    put_number(message.received_ms, out);
    if let Some(device) = &message.device {
        put_bytes(device.product_key.as_bytes(), out);
        put_bytes(device.device_name.as_bytes(), out);
    }
    if let Some(pairs) = properties {
        put_number(pairs.len() as u64, out);
        for (key, value) in pairs {
            put_bytes(key.as_bytes(), out);
            put_bytes(value.as_bytes(), out);
        }
    }
    for text in [source, origin.client_id.as_deref(), origin.username.as_deref()] {
        text.into_iter().for_each(|text| put_bytes(text.as_bytes(), out));
    }
    match &origin.peer {
        Some(IpAddr::V4(peer)) => out.extend(peer.octets()),
        Some(IpAddr::V6(peer)) => out.extend(peer.octets()),
        None => {}
    }
    if let Some(headers) = headers {
        put_headers(headers, out);
    }
    if message.hops > 0 {
        out.push(message.hops);
    }
    if message.qos == QoS::ExactlyOnce {
        put_bytes(&[QOS_2], out);
    }
    out.extend_from_slice(&message.payload);
}

/// What is optional and there.
fn flags(message: &Message, bound: Option<&str>) -> u16 {
    let origin = &message.origin;
    let from_broker = origin.source.as_deref() == Some(&**BROKER);
    [
        (message.qos.is_acknowledged(), QOS_1),
        (message.qos == QoS::ExactlyOnce, EXTENSION),
        (message.retain, RETAIN),
        (message.device.is_some(), DEVICE),
        (message.properties.as_deref().is_some_and(|pairs| !pairs.is_empty()), PROPERTIES),
        (origin.source.is_some() && !from_broker, SOURCE),
        (from_broker, FROM_BROKER),
        (origin.client_id.is_some(), CLIENT),
        (origin.username.is_some(), USERNAME),
        (matches!(origin.peer, Some(IpAddr::V4(_))), PEER_V4),
        (matches!(origin.peer, Some(IpAddr::V6(_))), PEER_V6),
        (message.headers.as_deref().is_some_and(|headers| *headers != Headers::default()), HEADERS),
        (message.hops > 0, HOPS),
        (bound.is_some(), BOUND),
    ]
    .into_iter()
    .fold(0, |flags, (on, flag)| if on { flags | flag } else { flags })
}

fn put_headers(headers: &Headers, out: &mut Vec<u8>) {
    let parts = [
        (CONTENT_TYPE, headers.content_type.as_ref().map(|text| text.as_bytes().as_ref())),
        (RESPONSE_TOPIC, headers.response_topic.as_ref().map(|text| text.as_bytes().as_ref())),
        (CORRELATION, headers.correlation_data.as_deref()),
    ];
    out.push(parts.iter().filter(|(_, part)| part.is_some()).map(|(flag, _)| flag).sum());
    for part in parts.into_iter().filter_map(|(_, part)| part) {
        put_bytes(part, out);
    }
}

/// The topic of a record and the cursor that it is bound to, without reading more of it.
///
/// # Errors
/// A [`RecordError`], as [`decode`] would give; not every fault of a record is seen here.
pub fn peek(body: &[u8]) -> Result<(&str, Option<&str>), RecordError> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| RecordError::Malformed);
    let (flags, mut rest) = start(body)?;
    let bound = if flags & BOUND != 0 { Some(text(rest.bytes()?)?) } else { None };
    Ok((text(rest.bytes()?)?, bound))
}

/// Reads the body of a record: the message, and the name of the cursor that it is bound to. Both share
/// `body`.
///
/// # Errors
/// A [`RecordError`] that names what is wrong; no input makes it panic or allocate more than it holds.
pub fn decode(body: &Bytes) -> Result<(Message, Option<ByteString>), RecordError> {
    let (flags, mut rest) = start(body)?;
    let has = |flag: u16| flags & flag != 0;
    let share = |bytes: &[u8]| body.slice_ref(bytes);
    let text = |bytes: &[u8]| {
        ByteString::try_from(body.slice_ref(bytes)).map_err(|_| RecordError::Malformed)
    };
    let optional = |rest: &mut Rest<'_>, flag| {
        if has(flag) { text(rest.bytes()?).map(Some) } else { Ok(None) }
    };
    let bound = optional(&mut rest, BOUND)?;
    let topic = Topic::parse(text(rest.bytes()?)?, ANY_TOPIC).map_err(RecordError::Topic)?;
    let id = u64::from_le_bytes(rest.array()?);
    let received_ms = rest.number()?;
    let device = if has(DEVICE) {
        let (product_key, device_name) = (text(rest.bytes()?)?, text(rest.bytes()?)?);
        Some(Arc::new(Device { product_key, device_name }))
    } else {
        None
    };
    let mut properties = None;
    if has(PROPERTIES) {
        let count = rest.length()?;
        // A pair has at least two bytes here and 64 in memory: what is reserved is bounded by what is read.
        let mut pairs = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            pairs.push((text(rest.bytes()?)?, text(rest.bytes()?)?));
        }
        properties = Some(pairs.into());
    }
    let named = optional(&mut rest, SOURCE)?.map(|name| Arc::from(&*name));
    let source = if has(FROM_BROKER) { Some(BROKER.clone()) } else { named };
    let client_id = optional(&mut rest, CLIENT)?;
    let username = optional(&mut rest, USERNAME)?;
    let peer = match (has(PEER_V4), has(PEER_V6)) {
        (true, false) => Some(IpAddr::from(rest.array::<4>()?)),
        (false, true) => Some(IpAddr::from(rest.array::<16>()?)),
        (false, false) => None,
        (true, true) => return Err(RecordError::Malformed),
    };
    let mut headers = None;
    if has(HEADERS) {
        let [which] = rest.array()?;
        let mut part = |flag| if which & flag != 0 { rest.bytes().map(Some) } else { Ok(None) };
        headers = Some(Arc::new(Headers {
            content_type: part(CONTENT_TYPE)?.map(text).transpose()?,
            response_topic: part(RESPONSE_TOPIC)?.map(text).transpose()?,
            correlation_data: part(CORRELATION)?.map(share),
        }));
    }
    let hops = if has(HOPS) { rest.array::<1>()?[0] } else { 0 };
    let extension = if has(EXTENSION) { rest.bytes()? } else { &[] };
    let qos = match extension.first() {
        Some(flags) if flags & QOS_2 != 0 => QoS::ExactlyOnce,
        _ if has(QOS_1) => QoS::AtLeastOnce,
        _ => QoS::AtMostOnce,
    };
    let message = Message {
        id,
        device,
        qos,
        retain: has(RETAIN),
        properties,
        headers,
        origin: Arc::new(Origin { source, client_id, username, peer }),
        hops,
        ..Message::new(topic, share(rest.0), received_ms)
    };
    Ok((message, bound))
}

/// The flags of a record of this version, and what follows them.
fn start(body: &[u8]) -> Result<(u16, Rest<'_>), RecordError> {
    let mut rest = Rest(body);
    let [version] = rest.array()?;
    if version != RECORD_VERSION {
        return Err(RecordError::Version(version));
    }
    let flags = u16::from_le_bytes(rest.array()?);
    if flags & !KNOWN == 0 { Ok((flags, rest)) } else { Err(RecordError::Malformed) }
}

/// Appends a number as LEB128.
fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends bytes with their length.
fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(RecordError::Short)?;
        self.0 = rest;
        Ok(*array)
    }

    fn number(&mut self) -> Result<u64, RecordError> {
        let mut number = 0;
        for (count, byte) in self.0.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * count;
            number |= bits << shift;
            if byte & 0x80 == 0 {
                // The tenth byte has room for one bit.
                let fits = (number >> shift) == bits;
                self.0 = self.0.get(count + 1..).unwrap_or_default();
                return if fits { Ok(number) } else { Err(RecordError::Malformed) };
            }
        }
        Err(if self.0.len() < 10 { RecordError::Short } else { RecordError::Malformed })
    }

    /// A number of bytes or items, of which each takes at least one byte of what is left.
    fn length(&mut self) -> Result<usize, RecordError> {
        let length = self.number()?;
        usize::try_from(length)
            .ok()
            .filter(|count| *count <= self.0.len())
            .ok_or(RecordError::Short)
    }

    /// Bytes behind their length.
    fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let length = self.length()?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(RecordError::Short)?;
        self.0 = rest;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;

    fn origin() -> impl Strategy<Value = Origin> {
        let text = "[a-z漢 0-9]{0,12}";
        let source = prop_oneof![Just("mqtt".to_owned()), text.prop_map(|text: String| text)];
        (of(source), of(text), of(text), of(any::<IpAddr>())).prop_map(
            |(source, client_id, username, peer)| Origin {
                source: source.map(Into::into),
                client_id: client_id.map(Into::into),
                username: username.map(Into::into),
                peer,
            },
        )
    }

    fn headers() -> impl Strategy<Value = Option<Arc<Headers>>> {
        let text = "[a-z漢/]{1,12}";
        let parts = (of(text), of(text), of(vec(any::<u8>(), 0..9)));
        parts.prop_map(|(content_type, response_topic, correlation_data)| {
            let headers = Headers {
                content_type: content_type.map(Into::into),
                response_topic: response_topic.map(Into::into),
                correlation_data: correlation_data.map(Into::into),
            };
            (headers != Headers::default()).then(|| headers.into())
        })
    }

    fn message() -> impl Strategy<Value = Message> {
        let text = "[a-z漢 0-9]{0,12}";
        let pairs = of(vec((text, text), 1..5));
        let numbers = (any::<u64>(), any::<u64>(), any::<u8>(), any::<bool>(), 0_u8..3);
        let payload = vec(any::<u8>(), 0..300);
        ("[a-z漢/]{1,30}", payload, numbers, of((text, text)), pairs, origin(), headers()).prop_map(
            |(
                topic,
                payload,
                (id, received_ms, hops, retain, qos),
                device,
                pairs,
                origin,
                headers,
            )| {
                let topic = Topic::parse(topic, ANY_TOPIC).expect("topic");
                Message {
                    id,
                    device: device.map(|(product_key, device_name)| {
                        let product_key = product_key.into();
                        Arc::new(Device { product_key, device_name: device_name.into() })
                    }),
                    qos: QoS::try_from(qos).expect("a level"),
                    retain,
                    properties: pairs.map(|pairs| {
                        pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
                    }),
                    headers,
                    origin: origin.into(),
                    hops,
                    ..Message::new(topic, payload, received_ms)
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_message_is_read_as_written(message in message(), bound in of("[a-z/漢]{0,9}")) {
            let mut bytes = Vec::new();
            encode(&message, bound.as_deref(), &mut bytes);
            prop_assert_eq!(peek(&bytes), Ok((message.topic.as_str(), bound.as_deref())));
            let (read, to) = decode(&bytes.into()).expect("record");
            prop_assert_eq!(to.as_deref(), bound.as_deref());
            prop_assert_eq!(format!("{read:?}"), format!("{message:?}"));
        }

        #[test]
        fn no_bytes_panic(bytes in vec(any::<u8>(), 0..80)) {
            let mut bytes = bytes;
            decode(&bytes.clone().into()).ok();
            if let Some([version, _, flags]) = bytes.first_chunk_mut() {
                *version = RECORD_VERSION;
                *flags &= (KNOWN >> 8) as u8;
            }
            let seen = peek(&bytes).map(|(topic, _)| topic.to_owned());
            if let Ok((message, _)) = decode(&bytes.into()) {
                prop_assert_eq!(seen.as_deref(), Ok(message.topic.as_str()));
            }
        }

        #[test]
        fn a_record_that_is_cut_is_no_record_or_has_less_payload(message in message(), cut: prop::sample::Index) {
            let mut bytes = Vec::new();
            encode(&message, None, &mut bytes);
            bytes.truncate(cut.index(bytes.len()));
            if let Ok((read, _)) = decode(&bytes.into()) {
                prop_assert!(read.payload.len() < message.payload.len());
                prop_assert!(message.payload.starts_with(&read.payload));
            }
        }
    }

    #[test]
    fn an_extension_of_a_later_version_is_skipped() {
        let message = Message::new(Topic::parse("a", ANY_TOPIC).expect("topic"), "payload", 1);
        let mut bytes = Vec::new();
        encode(&message, None, &mut bytes);
        bytes[2] |= (EXTENSION >> 8) as u8;
        let at = bytes.len() - "payload".len();
        bytes.splice(at..at, [3, 8, 9, 9]);
        assert_eq!(decode(&bytes.clone().into()).expect("record").0.payload, "payload");
        bytes[2] |= 1 << 7;
        assert_eq!(decode(&bytes.clone().into()).unwrap_err(), RecordError::Malformed);
        bytes[0] = 2;
        assert_eq!(decode(&bytes.into()).unwrap_err(), RecordError::Version(2));
    }
}
