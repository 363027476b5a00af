//! The codec against random packets and hostile bytes.

use bytes::Bytes;
use bytestring::ByteString;
use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = ByteString> {
    "[a-z温/🌡]{0,12}".prop_map(ByteString::from)
}

fn binary() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn user() -> impl Strategy<Value = Properties> {
    proptest::collection::vec((text(), text()), 0..3).prop_map(|pairs| {
        pairs.into_iter().fold(Properties::default(), |list, (key, value)| {
            list.with(Name::User, Value::Pair(key, value))
        })
    })
}

fn publish() -> impl Strategy<Value = Packet> {
    let alias = proptest::option::of(any::<u16>());
    let numbers = (any::<bool>(), 0_u8..3, any::<bool>(), 1_u16.., any::<u32>(), alias);
    (numbers, text(), binary(), user()).prop_map(|(n, topic, payload, properties)| {
        let (dup, qos, retain, id, expiry, topic_alias) = n;
        Packet::Publish(Publish {
            dup: dup && qos > 0,
            qos,
            retain,
            topic,
            packet_id: if qos > 0 { id } else { 0 },
            payload: payload.clone(),
            topic_alias,
            properties: properties
                .with(Name::MessageExpiry, Value::Long(expiry))
                .with(Name::CorrelationData, Value::Binary(payload))
                .with(Name::SubscriptionId, Value::Var(expiry.clamp(1, 0x0fff_ffff))),
        })
    })
}

fn connect() -> impl Strategy<Value = Packet> {
    let will = proptest::option::of((text(), binary(), 0_u8..3, any::<bool>(), user()));
    let login = proptest::option::of((text(), proptest::option::of(binary())));
    (any::<bool>(), any::<u16>(), text(), will, login, user()).prop_map(
        |(clean_start, keep_alive_s, client_id, will, login, properties)| {
            let (username, password) = login.unzip();
            Packet::Connect(Box::new(Connect {
                version: Version::V5,
                clean_start,
                keep_alive_s,
                client_id,
                will: will.map(|(topic, payload, qos, retain, properties)| Will {
                    topic,
                    payload,
                    qos,
                    retain,
                    properties: properties.with(Name::WillDelay, Value::Long(7)),
                }),
                username,
                password: password.flatten(),
                properties: properties.with(Name::ReceiveMaximum, Value::Short(9)),
            }))
        },
    )
}

fn control() -> impl Strategy<Value = Packet> {
    let filters =
        proptest::collection::vec((text(), 0_u8..3, any::<(bool, bool)>(), 0_u8..3), 1..4);
    (1_u16.., any::<u8>(), user(), filters, 0..11).prop_map(
        |(packet_id, code, properties, filters, which)| {
            let reason = Reason(code);
            let ack = Ack { packet_id, reason, properties: properties.clone() };
            let reasons = vec![reason; filters.len()];
            let sub_ack = SubAck { packet_id, reasons, properties: properties.clone() };
            let names = filters.iter().map(|(filter, ..)| filter.clone()).collect();
            let filters = filters
                .into_iter()
                .map(|(filter, qos, (no_local, retain_as_published), retain_handling)| {
                    SubscribeTo { filter, qos, no_local, retain_as_published, retain_handling }
                })
                .collect();
            match which {
                0 => Packet::PubAck(ack),
                1 => Packet::PubRec(ack),
                2 => Packet::PubRel(ack),
                3 => Packet::PubComp(ack),
                4 => Packet::Subscribe(Subscribe { packet_id, filters, properties }),
                5 => Packet::SubAck(sub_ack),
                6 => Packet::UnsubAck(sub_ack),
                7 => Packet::Unsubscribe(Unsubscribe { packet_id, filters: names, properties }),
                8 => Packet::Disconnect(Disconnect { reason, properties }),
                9 => Packet::Auth(Disconnect { reason, properties }),
                _ => {
                    Packet::ConnAck(ConnAck { session_present: code % 2 == 0, reason, properties })
                }
            }
        },
    )
}

fn encoded(packet: &Packet, version: Version) -> Bytes {
    let mut out = Vec::new();
    encode(packet, version, &mut out);
    Bytes::from(out)
}

/// Whatever the bytes are, reading them ends, and what was read can be written and read again.
fn survive(bytes: &Bytes) {
    for version in Version::ALL {
        let Ok(Some(len)) = frame_len(bytes, 1 << 20) else { continue };
        if len > bytes.len() {
            continue;
        }
        if let Ok(packet) = decode_in(bytes, 0, len, version) {
            let again = encoded(&packet, version);
            assert_eq!(decode(&again, version).as_ref(), Ok(&packet), "{bytes:02x?}");
        }
    }
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself(packet in prop_oneof![publish(), connect(), control()]) {
        let bytes = encoded(&packet, Version::V5);
        prop_assert_eq!(frame_len(&bytes, usize::MAX), Ok(Some(bytes.len())));
        prop_assert_eq!(decode(&bytes, Version::V5), Ok(packet));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        survive(&Bytes::from(bytes));
    }

    #[test]
    fn mutated_packets_never_panic(
        packet in prop_oneof![publish(), connect(), control()],
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encoded(&packet, Version::V5).to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        survive(&Bytes::from(bytes.clone()));
        bytes.truncate(cut.index(bytes.len()));
        survive(&Bytes::from(bytes.clone()));
        // With the length of the header made right again, the body is what is hostile.
        if bytes.len() > 2 {
            bytes.truncate(120);
            bytes[1] = (bytes.len() - 2) as u8;
            survive(&Bytes::from(bytes));
        }
    }
}

#[test]
fn lengths_are_checked_before_anything_is_read() {
    assert_eq!(frame_len(&[], 100), Ok(None));
    assert_eq!(frame_len(&[0x30], 100), Ok(None));
    assert_eq!(frame_len(&[0x30, 0x80], 100), Ok(None));
    assert_eq!(frame_len(&[0x30, 98], 100), Ok(Some(100)));
    assert_eq!(frame_len(&[0x30, 99], 100), Err(DecodeError::TooLarge { got: 101, most: 100 }));
    let endless = frame_len(&[0x30, 0x80, 0x80, 0x80, 0x80], 100);
    assert!(matches!(endless, Err(DecodeError::Malformed(_))), "{endless:?}");
}

#[test]
fn version_3_1_is_more_lenient() {
    let connect = |bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).expect("short");
        decode(&Bytes::from([&[0x10, length], bytes].concat()), Version::V5)
    };
    for (flags, rest, username, password) in [
        (0xc2_u8, &b"\x00\x01a\x00\x01u\x00\x01p"[..], Some("u"), Some("p")),
        // The end of the packet counts more than the flags, and the lowest of them is not used.
        (0xc3, b"\x00\x01a\x00\x01u", Some("u"), None),
        (0xc2, b"\x00\x01a", None, None),
    ] {
        let bytes = [&b"\x00\x06MQIsdp\x03"[..], &[flags, 0, 60], rest].concat();
        let Ok(Packet::Connect(connect)) = connect(&bytes) else { panic!("{bytes:x?}") };
        assert_eq!((connect.version, connect.keep_alive_s), (Version::V31, 60));
        assert_eq!(connect.username.as_deref(), username);
        assert_eq!(connect.password.as_deref(), password.map(str::as_bytes));
        let again = encoded(&Packet::Connect(connect.clone()), Version::V31);
        assert_eq!(again[2..11], b"\x00\x06MQIsdp\x03"[..]);
        assert_eq!(decode(&again, Version::V5), Ok(Packet::Connect(connect)));
    }
    assert_eq!(connect(b"\x00\x06MQIsdp\x04\x02\x00\x00\x00\x01a"), Err(DecodeError::Version(4)));
    assert_eq!(connect(b"\x00\x04MQTT\x03\x02\x00\x00\x00\x01a"), Err(DecodeError::Version(3)));
    // Sent once more, with DUP; options that are not used; a reserved byte.
    for (bytes, strict) in [
        (&b"\x6a\x02\x00\x01"[..], false),
        (b"\x8a\x06\x00\x01\x00\x01a\x01", false),
        (b"\x82\x06\x00\x01\x00\x01a\xfd", false),
        (b"\x20\x02\xfe\x00", false),
        (b"\x38\x03\x00\x01a", false),
        (b"\x82\x06\x00\x01\x00\x01a\x01", true),
    ] {
        let bytes = Bytes::copy_from_slice(bytes);
        assert!(decode(&bytes, Version::V31).is_ok(), "{bytes:x?}");
        assert_eq!(decode(&bytes, Version::V311).is_ok(), strict, "{bytes:x?}");
    }
}

#[test]
fn packets_of_version_3_have_no_properties() {
    let publish = Packet::Publish(Publish {
        dup: false,
        qos: 1,
        retain: true,
        topic: "车间/1/温度".into(),
        packet_id: 7,
        payload: Bytes::from_static(b"21"),
        topic_alias: None,
        properties: Properties::default(),
    });
    for version in [Version::V31, Version::V311] {
        let bytes = encoded(&publish, version);
        assert_eq!(bytes[..4], [0x33, 21, 0, 15]);
        assert_eq!(decode(&bytes, version).as_ref(), Ok(&publish));
    }
}
