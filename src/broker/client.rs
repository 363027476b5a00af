//! A small MQTT client over plain TCP, for the command line, load tests and the broker's own tests.
//!
//! It does not reconnect, keeps no session state between connections, and forgets QoS 2 messages that it was in the middle of with the connection.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;
use contract::{QoS, Topic, TopicFilter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::Instant;

use super::codec::{
    self, AckKind, Connect, DecodeError, Name, Packet, Properties, Publish, PublishHead, Reason,
    Subscribe, SubscribeTo, Value, Version,
};

/// How a client connects.
#[derive(Debug, Clone)]
pub struct Options {
    /// The client identifier; empty lets the broker choose one.
    pub client_id: ByteString,
    /// The user name.
    pub username: Option<ByteString>,
    /// The password.
    pub password: Option<Bytes>,
    /// Seconds; 0 means that the client never pings.
    pub keep_alive_s: u16,
    /// The protocol.
    pub version: Version,
    /// Forget the session that the broker may have kept.
    pub clean_start: bool,
    /// Seconds that the broker is to keep the session for; MQTT 5 only.
    pub session_expiry_s: u32,
    /// QoS 1 and 2 messages that may be unacknowledged at the same time.
    pub window: usize,
    /// Bytes of a packet from the broker at most.
    pub packet_bytes: usize,
}

impl Options {
    /// A clean MQTT 5 session with a keep-alive of 30 s.
    #[must_use]
    pub fn new(client_id: impl Into<ByteString>) -> Self {
        Self {
            client_id: client_id.into(),
            username: None,
            password: None,
            keep_alive_s: 30,
            version: Version::V5,
            clean_start: true,
            session_expiry_s: 0,
            window: 256,
            packet_bytes: 16 << 20,
        }
    }
}

/// Why a client stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The network connection failed.
    #[error("mqtt connection failed")]
    Io(#[from] io::Error),
    /// The broker sent what cannot be read.
    #[error("the broker sent something that is no mqtt packet")]
    Decode(#[from] DecodeError),
    /// The broker closed the connection; MQTT 5 brokers say why.
    #[error("the broker closed the connection{}", .0.map_or(String::new(), |reason| format!(", {reason}")))]
    Closed(Option<Reason>),
    /// The broker refused CONNECT, SUBSCRIBE or PUBLISH.
    #[error("the broker refused {what}, {reason}")]
    Refused {
        /// The packet.
        what: &'static str,
        /// Its reason code, or the return code of MQTT 3.
        reason: Reason,
    },
}

/// A connected client. All methods that wait also take in what the broker sends.
#[derive(Debug)]
pub struct Client {
    io: TcpStream,
    options: Options,
    /// The broker has kept a session for the client identifier.
    session_present: bool,
    input: BytesMut,
    /// Complete packets that were read together and wait to be looked at.
    chunk: Bytes,
    output: Vec<u8>,
    inbox: VecDeque<Publish>,
    /// QoS 2 messages of the broker that it has not released.
    received: HashSet<u16>,
    unacknowledged: usize,
    next_id: u16,
    last_write: Instant,
}

/// Unwritten bytes at which the client writes.
const OUTPUT_HIGH: usize = 32 << 10;

impl Client {
    /// Connects and waits for CONNACK.
    ///
    /// # Errors
    /// [`ClientError`]: network, or the broker's refusal.
    pub async fn connect(
        address: impl ToSocketAddrs,
        options: Options,
    ) -> Result<Self, ClientError> {
        let io = TcpStream::connect(address).await?;
        io.set_nodelay(true)?;
        let mut client = Self {
            io,
            session_present: false,
            input: BytesMut::new(),
            chunk: Bytes::new(),
            output: Vec::new(),
            inbox: VecDeque::new(),
            received: HashSet::new(),
            unacknowledged: 0,
            next_id: 0,
            last_write: Instant::now(),
            options,
        };
        let options = &client.options;
        let mut properties = Properties::default();
        if options.session_expiry_s > 0 {
            properties.push(Name::SessionExpiry, Value::Long(options.session_expiry_s));
        }
        let connect = Connect {
            version: options.version,
            clean_start: options.clean_start,
            keep_alive_s: options.keep_alive_s,
            client_id: options.client_id.clone(),
            will: None,
            username: options.username.clone(),
            password: options.password.clone(),
            properties,
        };
        client.send(&Packet::Connect(Box::new(connect)));
        match client.answer(|packet| matches!(packet, Packet::ConnAck(_))).await? {
            Packet::ConnAck(ack) if ack.reason == Reason::SUCCESS => {
                client.session_present = ack.session_present;
                let most = ack.properties.number(Name::ReceiveMaximum).unwrap_or(u32::MAX);
                client.options.window = client.options.window.min(most as usize).max(1);
                Ok(client)
            }
            Packet::ConnAck(ack) => {
                Err(ClientError::Refused { what: "CONNECT", reason: ack.reason })
            }
            _ => Err(ClientError::Closed(None)),
        }
    }

    /// True when the broker has kept a session for this client identifier.
    #[must_use]
    pub fn session_present(&self) -> bool {
        self.session_present
    }

    /// Publishes a message. It may stay in a buffer until [`Client::flush`]; with QoS 1 and 2 it
    /// waits only while the window of unacknowledged messages is full.
    ///
    /// # Errors
    /// [`ClientError`], also for a message published before that the broker refused.
    pub async fn publish(
        &mut self,
        topic: &Topic,
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> Result<(), ClientError> {
        while self.unacknowledged >= self.options.window {
            self.write().await?;
            // Writing takes in what comes meanwhile, which may be all there is to wait for.
            if self.unacknowledged >= self.options.window {
                self.take_in().await?;
            }
        }
        let reliable = qos.is_acknowledged();
        let packet_id = if reliable { self.packet_id() } else { 0 };
        self.unacknowledged += usize::from(reliable);
        let properties = &Properties::default();
        let topic_alias = None;
        let (dup, qos) = (false, qos.level());
        let head = PublishHead { dup, qos, retain, packet_id, topic_alias, properties };
        let version = self.options.version;
        codec::encode_publish(head, topic.as_str(), payload, version, &mut self.output);
        if self.output.len() >= OUTPUT_HIGH { self.write().await } else { Ok(()) }
    }

    /// Writes what is in the buffer and waits until every message of QoS 1 and 2 is acknowledged.
    ///
    /// # Errors
    /// [`ClientError`], also when the broker refused a message.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        self.write().await?;
        while self.unacknowledged > 0 {
            self.take_in().await?;
            // What came may want an answer: PUBREL follows PUBREC.
            self.write().await?;
        }
        Ok(())
    }

    /// Subscribes and waits for SUBACK; returns the granted QoS.
    ///
    /// # Errors
    /// [`ClientError`]: network, or the broker's refusal.
    pub async fn subscribe(&mut self, filter: &TopicFilter, qos: QoS) -> Result<QoS, ClientError> {
        let to = SubscribeTo {
            filter: filter.as_str().into(),
            qos: qos.level(),
            no_local: false,
            retain_as_published: false,
            retain_handling: 0,
        };
        let packet_id = self.packet_id();
        let properties = Properties::default();
        self.send(&Packet::Subscribe(Subscribe { packet_id, filters: vec![to], properties }));
        let is_mine =
            |packet: &Packet| matches!(packet, Packet::SubAck(ack) if ack.packet_id == packet_id);
        match self.answer(is_mine).await? {
            Packet::SubAck(ack) => match ack.reasons.first() {
                Some(Reason(0)) => Ok(QoS::AtMostOnce),
                Some(Reason(1)) => Ok(QoS::AtLeastOnce),
                Some(Reason(2)) => Ok(QoS::ExactlyOnce),
                other => Err(ClientError::Refused {
                    what: "SUBSCRIBE",
                    reason: other.copied().unwrap_or(Reason::UNSPECIFIED),
                }),
            },
            _ => Err(ClientError::Closed(None)),
        }
    }

    /// Waits for the next message and acknowledges it. Pings the broker while it waits.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn next(&mut self) -> Result<Publish, ClientError> {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(message);
            }
            self.write().await?;
            if self.inbox.is_empty() {
                self.take_in().await?;
            }
        }
    }

    /// Flushes, says goodbye and closes the connection.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn disconnect(mut self) -> Result<(), ClientError> {
        self.flush().await?;
        let end = codec::Disconnect { reason: Reason::SUCCESS, properties: Properties::default() };
        self.send(&Packet::Disconnect(end));
        self.write().await?;
        self.io.shutdown().await?;
        Ok(())
    }

    fn packet_id(&mut self) -> u16 {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        self.next_id
    }

    fn ack(&mut self, kind: AckKind, packet_id: u16) {
        let version = self.options.version;
        codec::encode_ack(kind, packet_id, Reason::SUCCESS, version, &mut self.output);
    }

    fn send(&mut self, packet: &Packet) {
        codec::encode(packet, self.options.version, &mut self.output);
    }

    /// Writes the buffer, reading at the same time: two sides that only write wait for ever.
    async fn write(&mut self) -> Result<(), ClientError> {
        while !self.output.is_empty() {
            self.input.reserve(OUTPUT_HIGH);
            let (mut reader, mut writer) = self.io.split();
            let count = tokio::select! {
                count = writer.write(&self.output) => count?,
                read = reader.read_buf(&mut self.input) => {
                    if read? == 0 {
                        return Err(ClientError::Closed(None));
                    }
                    self.sort()?;
                    continue;
                }
            };
            self.output.drain(..count);
            self.last_write = Instant::now();
        }
        Ok(())
    }

    /// Waits for one read and sorts what came. Pings when nothing was written for long.
    async fn take_in(&mut self) -> Result<(), ClientError> {
        let patience = Duration::from_secs(self.options.keep_alive_s.into()) * 3 / 4;
        self.input.reserve(OUTPUT_HIGH);
        let read = match patience.is_zero() {
            true => self.io.read_buf(&mut self.input).await?,
            false => tokio::select! {
                read = self.io.read_buf(&mut self.input) => read?,
                () = tokio::time::sleep_until(self.last_write + patience) => {
                    self.send(&Packet::PingReq);
                    return self.write().await;
                }
            },
        };
        if read == 0 {
            return Err(ClientError::Closed(None));
        }
        self.sort()
    }

    /// Takes the next complete packet out of what was read.
    fn next_packet(&mut self) -> Result<Option<Packet>, ClientError> {
        if self.chunk.is_empty() {
            self.chunk = self.input.split().freeze();
        }
        match codec::frame_len(&self.chunk, self.options.packet_bytes)? {
            Some(len) if len <= self.chunk.len() => {
                let packet = codec::decode_in(&self.chunk, 0, len, self.options.version)?;
                self.chunk.advance(len);
                Ok(Some(packet))
            }
            _ => {
                // The start of a packet: it waits in `input` for its rest.
                let mut input = BytesMut::from(&self.chunk[..]);
                input.unsplit(std::mem::take(&mut self.input));
                self.input = input;
                self.chunk = Bytes::new();
                Ok(None)
            }
        }
    }

    fn sort(&mut self) -> Result<(), ClientError> {
        while let Some(packet) = self.next_packet()? {
            self.sort_packet(packet)?;
        }
        Ok(())
    }

    fn sort_packet(&mut self, packet: Packet) -> Result<(), ClientError> {
        match packet {
            Packet::Publish(publish) => {
                let is_new = match publish.qos {
                    0 => true,
                    1 => {
                        self.ack(AckKind::PubAck, publish.packet_id);
                        true
                    }
                    _ => {
                        self.ack(AckKind::PubRec, publish.packet_id);
                        self.received.insert(publish.packet_id)
                    }
                };
                if is_new {
                    self.inbox.push_back(publish);
                }
            }
            Packet::PubRec(ack) if !ack.reason.is_error() => {
                self.ack(AckKind::PubRel, ack.packet_id);
            }
            Packet::PubRel(ack) => {
                self.received.remove(&ack.packet_id);
                self.ack(AckKind::PubComp, ack.packet_id);
            }
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) => {
                self.unacknowledged = self.unacknowledged.saturating_sub(1);
                if ack.reason.is_error() {
                    return Err(ClientError::Refused { what: "PUBLISH", reason: ack.reason });
                }
            }
            Packet::Disconnect(end) => return Err(ClientError::Closed(Some(end.reason))),
            _ => {}
        }
        Ok(())
    }

    /// Waits for the packet that answers a request; sorts the others.
    async fn answer(&mut self, is_it: impl Fn(&Packet) -> bool) -> Result<Packet, ClientError> {
        while !self.output.is_empty() {
            let count = self.io.write(&self.output).await?;
            self.output.drain(..count);
        }
        self.last_write = Instant::now();
        loop {
            while let Some(packet) = self.next_packet()? {
                if is_it(&packet) {
                    return Ok(packet);
                }
                self.sort_packet(packet)?;
            }
            if self.io.read_buf(&mut self.input).await? == 0 {
                return Err(ClientError::Closed(None));
            }
        }
    }
}
