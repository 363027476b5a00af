//! CONNECT and what must not come before or instead of it (MQTT 5.0 §3.1, §3.2, §1.5).

use std::sync::Arc;
use std::time::Duration;

use tidegate::broker::codec::{Name, Packet, Reason, Value, Version};
use tidegate::broker::{Authenticator, ConnectInfo, Hooks, Identity, Limits, Refusal, SubDevices};
use tokio::time::Instant;

use crate::broker::rig::{Rig, connect, kept, will};

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_0_1_first_packet_must_be_connect() {
    for packet in [Packet::PingReq, Packet::PubAck(crate::broker::rig::puback(1))] {
        for version in Version::ALL {
            let mut raw = Rig::new().raw(version);
            raw.send(packet.clone()).await;
            raw.is_closed().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_0_2_second_connect_is_a_protocol_error() {
    for version in Version::ALL {
        let mut raw = Rig::new().client("a", version).await;
        raw.send(Packet::Connect(Box::new(connect("a", version)))).await;
        raw.ends_with(Reason::PROTOCOL_ERROR).await;
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_2_1_another_protocol_name_is_closed() {
    let mut raw = Rig::new().raw(Version::V5);
    raw.bytes(b"\x10\x0e\x00\x04HTTP\x05\x02\x00\x00\x00\x00\x01a").await;
    raw.is_closed().await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_2_2_unsupported_versions_are_refused_in_their_own_form() {
    for level in [b'\x02', b'\x04', b'\x83'] {
        let mut old = Rig::new().raw(Version::V311);
        old.bytes(b"\x10\x0f\x00\x06MQIsdp").await;
        old.bytes(&[level]).await;
        old.bytes(b"\x02\x00\x00\x00\x01a").await;
        assert_eq!(old.conn_ack().await.reason, Reason(1));
        old.is_closed().await;
    }
    let mut new = Rig::new().raw(Version::V5);
    new.bytes(b"\x10\x0e\x00\x04MQTT\x06\x02\x00\x00\x00\x00\x01a").await;
    assert_eq!(new.conn_ack().await.reason, Reason::UNSUPPORTED_VERSION);
    new.is_closed().await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_2_3_reserved_connect_flag_must_be_zero() {
    let mut raw = Rig::new().raw(Version::V311);
    raw.bytes(b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x00\x00\x01a").await;
    raw.is_closed().await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_2_11_will_flags_without_a_will_are_malformed() {
    for flags in [0x0a_u8, 0x22] {
        let mut raw = Rig::new().raw(Version::V311);
        raw.bytes(b"\x10\x0d\x00\x04MQTT\x04").await;
        raw.bytes(&[flags]).await;
        raw.bytes(b"\x00\x00\x00\x01a").await;
        raw.is_closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt311_3_1_2_22_password_needs_a_user_name() {
    let mut raw = Rig::new().raw(Version::V311);
    raw.bytes(b"\x10\x10\x00\x04MQTT\x04\x42\x00\x00\x00\x01a\x00\x01p").await;
    raw.is_closed().await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_3_6_empty_client_id_is_assigned() {
    let rig = Rig::new();
    let mut raw = rig.raw(Version::V5);
    let ack = raw.hello(connect("", Version::V5)).await;
    let assigned = ack.properties.text(Name::AssignedClientId).expect("an identifier").clone();
    assert!(rig.handle().is_online(&assigned));
    rig.client("", Version::V311).await;
    assert_eq!(rig.snapshot().sessions, 2);
}

#[tokio::test(start_paused = true)]
async fn mqtt311_3_1_3_8_empty_client_id_without_clean_session_is_refused() {
    let mut raw = Rig::new().raw(Version::V311);
    raw.send(Packet::Connect(Box::new(kept("", Version::V311)))).await;
    assert_eq!(raw.conn_ack().await.reason, Reason(2));
    raw.is_closed().await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_3_4_client_ids_are_utf_8_and_bounded() {
    let rig = Rig::new();
    rig.client("设备-1", Version::V5).await;
    assert!(rig.handle().is_online("设备-1"));
    let mut raw = rig.raw(Version::V5);
    raw.send(Packet::Connect(Box::new(connect(&"x".repeat(257), Version::V5)))).await;
    assert_eq!(raw.conn_ack().await.reason, Reason::CLIENT_ID_NOT_VALID);
    raw.is_closed().await;
}

#[tokio::test(start_paused = true)]
async fn control_characters_in_client_ids_are_taken_from_version_3_only() {
    let rig = Rig::new();
    let id = "pk&dn|securemode=3,\n  signmethod=hmacsha1|";
    rig.client(id, Version::V311).await;
    assert!(rig.handle().is_online(id));
    let mut raw = rig.raw(Version::V5);
    raw.send(Packet::Connect(Box::new(connect(id, Version::V5)))).await;
    assert_eq!(raw.conn_ack().await.reason, Reason::CLIENT_ID_NOT_VALID);
}

#[tokio::test(start_paused = true)]
async fn mqtt_1_5_4_1_text_that_is_no_utf_8_is_closed() {
    for bad in [b"\xff\xfe", b"\xc0\xaf", b"a\x00"] {
        let mut raw = Rig::new().raw(Version::V311);
        raw.bytes(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02").await;
        raw.bytes(bad).await;
        raw.is_closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_1_5_5_remaining_length_has_at_most_four_bytes() {
    let rig = Rig::new();
    let mut raw = rig.raw(Version::V5);
    raw.bytes(b"\x10\xff\xff\xff\xff\x01").await;
    raw.is_closed().await;
    let mut raw = rig.client("a", Version::V5).await;
    raw.bytes(b"\x30\xff\xff\xff\xff\x01").await;
    raw.ends_with(Reason::MALFORMED).await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_2_6_a_will_may_have_qos_2() {
    for version in Version::ALL {
        let rig = Rig::new();
        let mut witness = rig.client("w", version).await;
        witness.subscribe("gone", 2).await;
        let mut wish = connect("a", version);
        wish.will = Some(will("gone", "x"));
        wish.will.as_mut().unwrap().qos = 2;
        let mut raw = rig.raw(version);
        raw.hello(wish).await;
        raw.hang_up().await;
        assert_eq!(witness.brief().await, ("gone".into(), "x".into(), 2, false));
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_2_2_9_connack_announces_what_is_offered() {
    let rig = Rig::limited(|limits| {
        limits.receive_max = 7;
        limits.packet_bytes = 5_000;
        limits.session_expiry_s = 60;
    });
    let mut wish = connect("a", Version::V5);
    wish.properties.push(Name::SessionExpiry, Value::Long(u32::MAX));
    let ack = rig.raw(Version::V5).hello(wish).await;
    let number = |name| ack.properties.number(name);
    assert_eq!(number(Name::MaximumQoS), None, "MQTT-3.2.2-9: QoS 2 is offered");
    assert_eq!(number(Name::ReceiveMaximum), Some(7));
    assert_eq!(number(Name::MaximumPacket), Some(5_000));
    assert_eq!(number(Name::SessionExpiry), Some(60));
    assert_eq!(number(Name::TopicAliasMaximum), Some(32));
    assert!(!ack.session_present);
}

#[tokio::test(start_paused = true)]
async fn mqtt_4_12_0_1_enhanced_authentication_is_refused() {
    let mut wish = connect("a", Version::V5);
    wish.properties.push(Name::AuthMethod, Value::Text("SCRAM".into()));
    let mut raw = Rig::new().raw(Version::V5);
    raw.send(Packet::Connect(Box::new(wish))).await;
    assert_eq!(raw.conn_ack().await.reason, Reason::BAD_AUTH_METHOD);
    raw.is_closed().await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_2_2_2_properties_stand_once_and_where_they_may() {
    let twice = [(Name::ReceiveMaximum, Value::Short(5)), (Name::ReceiveMaximum, Value::Short(5))];
    let zero = [(Name::ReceiveMaximum, Value::Short(0))];
    let astray = [(Name::TopicAlias, Value::Short(1))];
    for list in [&twice[..], &zero[..], &astray[..]] {
        let mut wish = connect("a", Version::V5);
        for (name, value) in list {
            wish.properties.push(*name, value.clone());
        }
        let mut raw = Rig::new().raw(Version::V5);
        raw.send(Packet::Connect(Box::new(wish))).await;
        raw.is_closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_never_completes_is_closed_in_time() {
    let rig = Rig::limited(|limits| limits.connect_timeout_ms = 2_000);
    let start = Instant::now();
    let mut raw = rig.raw(Version::V5);
    raw.bytes(b"\x10\x0e\x00\x04MQ").await;
    raw.is_closed().await;
    assert_eq!(start.elapsed(), Duration::from_millis(2_000));
    assert_eq!(rig.snapshot().connect_timeouts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_comes_byte_by_byte_is_understood() {
    let rig = Rig::new();
    let mut raw = rig.raw(Version::V311);
    for byte in b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a\xc0\x00" {
        raw.bytes(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(raw.conn_ack().await.reason, Reason::SUCCESS);
    assert_eq!(raw.recv().await, Packet::PingResp);
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_is_too_large_is_closed_before_it_is_read() {
    let mut raw = Rig::new().raw(Version::V5);
    raw.bytes(b"\x10\xff\xff\x7f").await;
    raw.is_closed().await;
}

struct OnlyAlice;

#[async_trait::async_trait]
impl Authenticator for OnlyAlice {
    async fn authenticate(&self, info: &ConnectInfo) -> Result<Identity, Refusal> {
        let known = info.username.as_deref() == Some("alice")
            && info.password.as_deref() == Some(b"secret".as_slice());
        if info.username.as_deref() == Some("mallory") {
            return Err(Refusal::not_authorized("disabled"));
        }
        if !known {
            return Err(Refusal::bad_credentials("unknown user or wrong password"));
        }
        let (client_id, username) = (info.client_id.clone(), info.username.clone());
        let sub_devices = SubDevices::default();
        Ok(Identity { client_id, username, device: None, rrpc_ext: false, sub_devices })
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_are_refused_with_the_code_of_the_version() {
    let hooks = Hooks { authenticator: Arc::new(OnlyAlice), ..Hooks::default() };
    let rig = Rig::with(Limits::default(), hooks);
    for (version, code) in [(Version::V311, Reason(4)), (Version::V5, Reason::BAD_CREDENTIALS)] {
        let mut wish = connect("a", version);
        wish.username = Some("alice".into());
        let mut raw = rig.raw(version);
        raw.send(Packet::Connect(Box::new(wish.clone()))).await;
        assert_eq!(raw.conn_ack().await.reason, code);
        raw.is_closed().await;
        wish.password = Some("secret".into());
        rig.raw(version).hello(wish.clone()).await;
        wish.username = Some("mallory".into());
        let mut raw = rig.raw(version);
        raw.send(Packet::Connect(Box::new(wish))).await;
        let code = if version == Version::V5 { Reason::NOT_AUTHORIZED } else { Reason(5) };
        assert_eq!(raw.conn_ack().await.reason, code);
        raw.is_closed().await;
    }
    assert_eq!(rig.snapshot().connects_refused, 4);
}

#[tokio::test(start_paused = true)]
async fn connections_and_sessions_are_limited() {
    let rig = Rig::limited(|limits| limits.connections = 1);
    let _first = rig.client("a", Version::V5).await;
    rig.raw(Version::V5).is_closed().await;
    assert_eq!(rig.snapshot().connections_refused, 1);

    let rig = Rig::limited(|limits| limits.sessions = 1);
    let _first = rig.client("a", Version::V5).await;
    let mut second = rig.raw(Version::V5);
    second.send(Packet::Connect(Box::new(connect("b", Version::V5)))).await;
    assert_eq!(second.conn_ack().await.reason, Reason::QUOTA_EXCEEDED);
    let mut third = rig.raw(Version::V311);
    third.send(Packet::Connect(Box::new(connect("b", Version::V311)))).await;
    assert_eq!(third.conn_ack().await.reason, Reason(3));
    assert_eq!(rig.snapshot().sessions_refused, 2);
}

#[tokio::test(start_paused = true)]
async fn packets_that_only_a_broker_sends_are_protocol_errors() {
    let rig = Rig::new();
    for packet in [Packet::PingResp, crate::broker::rig::sub_ack()] {
        let mut raw = rig.client("a", Version::V5).await;
        raw.send(packet).await;
        raw.ends_with(Reason::PROTOCOL_ERROR).await;
    }
    let mut raw = rig.client("a", Version::V5).await;
    raw.bytes(b"\x00\x00").await;
    raw.ends_with(Reason::MALFORMED).await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_2_1_3_1_reserved_header_flags_are_malformed() {
    for bytes in [b"\xc1\x00".as_slice(), b"\xe1\x00", b"\x80\x06\x00\x01\x00\x00\x01a"] {
        let mut raw = Rig::new().client("a", Version::V5).await;
        raw.bytes(bytes).await;
        raw.ends_with(Reason::MALFORMED).await;
    }
}

#[tokio::test(start_paused = true)]
async fn hostile_bytes_end_the_connection_and_nothing_else() {
    let rig = Rig::new();
    let mut witness = rig.client("witness", Version::V5).await;
    let mut seed = 0x2545_f491_u32;
    for version in Version::ALL {
        for _ in 0..300 {
            let mut raw = rig.client("hostile", version).await;
            let mut junk = Vec::new();
            for _ in 0..seed % 200 + 2 {
                seed ^= seed << 13;
                seed ^= seed >> 17;
                seed ^= seed << 5;
                junk.push(seed as u8);
            }
            raw.bytes(&junk).await;
            raw.hang_up().await;
        }
    }
    witness.quiet().await;
}
