//! A broker over in-memory streams, an engine that accepts when told to, and a raw MQTT peer.
//!
//! With paused time all of it is deterministic: a wait that would never end fails at once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use connectors::contract::{
    Ack as Promise, Batch, Ingress, Message, Shutdown, ShutdownHandle, Topic, TopicLimits, shutdown,
};
use tidegate::broker::codec::{
    self, Ack, ConnAck, Connect, Disconnect, Name, Packet, Properties, Publish, Reason, SubAck,
    Subscribe, SubscribeTo, Unsubscribe, Value, Version, Will,
};
use tidegate::broker::{Broker, BrokerHandle, Config, Hooks, Limits, Snapshot};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, watch};

pub const BOTH: [Version; 2] = [Version::V311, Version::V5];

/// Milliseconds since 1970 that the broker's clock shows when a test starts.
pub const START_MS: u64 = 1_700_000_000_000;

/// An engine that records what it gets and accepts, holds or refuses it as the test says.
#[derive(Default)]
pub struct Engine {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
    room: Notify,
}

#[derive(Default)]
struct Inner {
    full: bool,
    hold: bool,
    messages: Vec<Message>,
    held: VecDeque<Promise>,
    late: Option<Duration>,
}

impl Engine {
    /// From now on acks wait for [`Engine::accept`].
    pub fn hold(&self) {
        self.inner.lock().unwrap().hold = true;
    }

    /// From now on batches are accepted so long after they were taken.
    pub fn accept_after(&self, late: Duration) {
        self.inner.lock().unwrap().late = Some(late);
    }

    pub fn accept(&self) {
        self.take().accept();
    }

    /// The ack of the oldest batch that was not accepted.
    pub fn take(&self) -> Promise {
        self.inner.lock().unwrap().held.pop_front().expect("a held batch")
    }

    pub fn set_full(&self, full: bool) {
        self.inner.lock().unwrap().full = full;
        self.room.notify_waiters();
    }

    pub fn messages(&self) -> Vec<Message> {
        self.inner.lock().unwrap().messages.clone()
    }

    /// Waits until there are that many messages, and returns all.
    pub async fn until(&self, count: usize) -> Vec<Message> {
        let mut changed = self.changed.subscribe();
        let wait = changed.wait_for(|()| self.inner.lock().unwrap().messages.len() >= count);
        drop(tokio::time::timeout(PATIENCE, wait).await.expect("messages in time"));
        self.messages()
    }
}

#[async_trait::async_trait]
impl Ingress for Engine {
    fn try_submit(&self, batch: Batch) -> Result<(), Batch> {
        let mut inner = self.inner.lock().unwrap();
        if inner.full {
            return Err(batch);
        }
        inner.messages.extend(batch.messages);
        if inner.hold {
            inner.held.push_back(batch.ack);
        } else if let Some(late) = inner.late {
            let ack = batch.ack;
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                ack.accept();
            });
        } else {
            batch.ack.accept();
        }
        drop(inner);
        self.changed.send_replace(());
        Ok(())
    }

    async fn ready(&self) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if !self.inner.lock().unwrap().full {
                return;
            }
            room.await;
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(100_000);

pub struct Rig {
    pub broker: Arc<Broker>,
    pub engine: Arc<Engine>,
    pub stop: Arc<ShutdownHandle>,
    pub stopped: Shutdown,
}

impl Rig {
    pub fn new() -> Self {
        Self::with(Limits::default(), Hooks::default())
    }

    pub fn limited(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        Self::with(limits, Hooks::default())
    }

    pub fn with(limits: Limits, hooks: Hooks) -> Self {
        let rig = Self::made(limits, hooks);
        let tending = (rig.broker.clone(), rig.stopped.clone());
        tokio::spawn(async move { tending.0.tend(tending.1).await });
        rig
    }

    /// A broker in which nobody looks what is due.
    pub fn untended() -> Self {
        Self::made(Limits::default(), Hooks::default())
    }

    fn made(limits: Limits, hooks: Hooks) -> Self {
        let engine = Arc::new(Engine::default());
        let start = tokio::time::Instant::now();
        let clock = Arc::new(move || START_MS + start.elapsed().as_millis() as u64);
        let config = Config { limits, ..Config::default() };
        let broker = Arc::new(Broker::new(config, hooks, engine.clone(), clock));
        let (stop, stopped) = shutdown();
        Self { broker, engine, stop: Arc::new(stop), stopped }
    }

    pub fn handle(&self) -> BrokerHandle {
        self.broker.handle()
    }

    pub fn snapshot(&self) -> Snapshot {
        self.handle().snapshot()
    }

    /// A stream to the broker on which nothing was sent yet.
    pub fn raw(&self, version: Version) -> Raw {
        self.raw_with_pipe(version, 1 << 20)
    }

    /// The same with a pipe that holds only so many bytes.
    pub fn raw_with_pipe(&self, version: Version, bytes: usize) -> Raw {
        let (mine, theirs) = tokio::io::duplex(bytes);
        let (broker, stopped) = (self.broker.clone(), self.stopped.clone());
        let peer = "10.0.0.7:5000".parse().unwrap();
        tokio::spawn(async move { broker.serve_stream(theirs, peer, stopped).await });
        Raw::over(mine, version, self.stop.clone())
    }

    /// A client with a clean session.
    pub async fn client(&self, id: &str, version: Version) -> Raw {
        let mut raw = self.raw(version);
        raw.hello(connect(id, version)).await;
        raw
    }

    /// A client with a kept session.
    pub async fn keeper(&self, id: &str, version: Version) -> (Raw, bool) {
        let mut raw = self.raw(version);
        let ack = raw.hello(kept(id, version)).await;
        (raw, ack.session_present)
    }
}

pub fn connect(id: &str, version: Version) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive_s: 0,
        client_id: id.into(),
        will: None,
        username: None,
        password: None,
        properties: Properties::default(),
    }
}

pub fn kept(id: &str, version: Version) -> Connect {
    let mut connect = connect(id, version);
    connect.clean_start = false;
    if version == Version::V5 {
        connect.properties.push(Name::SessionExpiry, Value::Long(3_600));
    }
    connect
}

pub fn will(topic: &str, payload: &str) -> Will {
    Will {
        topic: topic.into(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: 1,
        retain: false,
        properties: Properties::default(),
    }
}

pub fn message(topic: &str, payload: &str, qos: u8) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: topic.into(),
        packet_id: u16::from(qos > 0),
        topic_alias: None,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        properties: Properties::default(),
    }
}

pub fn puback(packet_id: u16) -> Ack {
    Ack { packet_id, reason: Reason::SUCCESS, properties: Properties::default() }
}

/// A packet that only brokers send.
pub fn sub_ack() -> Packet {
    let reasons = vec![Reason::SUCCESS];
    Packet::SubAck(SubAck { packet_id: 1, reasons, properties: Properties::default() })
}

pub fn to(filter: &str, qos: u8) -> SubscribeTo {
    SubscribeTo {
        filter: filter.into(),
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
    }
}

pub fn topic(text: &str) -> Topic {
    Topic::parse(text, TopicLimits::default()).unwrap()
}

pub fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Any stream.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send> Wire for IO {}

/// One end of a connection, without a client's manners.
pub struct Raw {
    io: Box<dyn Wire>,
    input: BytesMut,
    pub version: Version,
    /// The broker stops when the last one who has this is gone.
    _rig: Arc<ShutdownHandle>,
}

impl Raw {
    /// A peer at the end of a stream; the broker stops when the last one who has `stop` is gone.
    pub fn over(io: impl Wire + 'static, version: Version, stop: Arc<ShutdownHandle>) -> Self {
        Self { io: Box::new(io), input: BytesMut::new(), version, _rig: stop }
    }

    pub async fn bytes(&mut self, bytes: &[u8]) {
        // The broker may have closed already; what it said is what the test looks at.
        self.io.write_all(bytes).await.ok();
    }

    pub async fn send(&mut self, packet: Packet) {
        let mut out = Vec::new();
        codec::encode(&packet, self.version, &mut out);
        self.bytes(&out).await;
    }

    /// Several packets in one write.
    pub async fn send_all(&mut self, packets: impl IntoIterator<Item = Packet>) {
        let mut out = Vec::new();
        packets.into_iter().for_each(|packet| codec::encode(&packet, self.version, &mut out));
        self.bytes(&out).await;
    }

    /// The next packet, or `None` when the broker has closed.
    pub async fn try_recv(&mut self) -> Option<Packet> {
        loop {
            if let Some(len) = codec::frame_len(&self.input, usize::MAX).unwrap()
                && len <= self.input.len()
            {
                let frame = self.input.split_to(len).freeze();
                return Some(codec::decode(&frame, self.version).expect("a good packet"));
            }
            let read = self.io.read_buf(&mut self.input);
            let read = tokio::time::timeout(PATIENCE, read).await.expect("an answer in time");
            if read.unwrap_or(0) == 0 {
                assert!(self.input.is_empty(), "half a packet: {:?}", self.input);
                return None;
            }
        }
    }

    pub async fn recv(&mut self) -> Packet {
        self.try_recv().await.expect("a packet, not the end")
    }

    pub async fn hello(&mut self, connect: Connect) -> ConnAck {
        self.version = connect.version;
        self.send(Packet::Connect(Box::new(connect))).await;
        let ack = self.conn_ack().await;
        assert_eq!(ack.reason, Reason::SUCCESS);
        ack
    }

    pub async fn conn_ack(&mut self) -> ConnAck {
        match self.recv().await {
            Packet::ConnAck(ack) => ack,
            other => panic!("not CONNACK: {other:?}"),
        }
    }

    /// The next bytes are these, on a stream that has brought nothing yet.
    pub async fn conn_ack_is(&mut self, bytes: &[u8]) {
        let mut got = vec![0; bytes.len()];
        self.io.read_exact(&mut got).await.unwrap();
        assert_eq!(got, bytes);
    }

    pub async fn message(&mut self) -> Publish {
        match self.recv().await {
            Packet::Publish(publish) => publish,
            other => panic!("not PUBLISH: {other:?}"),
        }
    }

    /// The next message as topic, payload, QoS and RETAIN.
    pub async fn brief(&mut self) -> (String, String, u8, bool) {
        let got = self.message().await;
        (got.topic.to_string(), text(&got.payload).to_owned(), got.qos, got.retain)
    }

    pub async fn ack(&mut self) -> Ack {
        match self.recv().await {
            Packet::PubAck(ack) => ack,
            other => panic!("not PUBACK: {other:?}"),
        }
    }

    pub async fn acknowledge(&mut self, packet_id: u16) {
        self.send(Packet::PubAck(puback(packet_id))).await;
    }

    /// Publishes and takes the acknowledgements of QoS 1 and 2.
    pub async fn publish(&mut self, topic: &str, payload: &str, qos: u8) {
        self.send(Packet::Publish(message(topic, payload, qos))).await;
        match qos {
            0 => self.quiet().await,
            1 => assert_eq!(self.ack().await.reason, Reason::SUCCESS),
            _ => {
                assert_eq!(self.recv().await, Packet::PubRec(puback(1)));
                self.send(Packet::PubRel(puback(1))).await;
                assert_eq!(self.recv().await, Packet::PubComp(puback(1)));
            }
        }
    }

    /// Takes a message of QoS 2 to its end.
    pub async fn complete(&mut self, packet_id: u16) {
        self.send(Packet::PubRec(puback(packet_id))).await;
        assert_eq!(self.recv().await, Packet::PubRel(puback(packet_id)));
        self.send(Packet::PubComp(puback(packet_id))).await;
    }

    pub async fn publish_retained(&mut self, topic: &str, payload: &str, qos: u8) {
        let mut publish = message(topic, payload, qos);
        publish.retain = true;
        self.send(Packet::Publish(publish)).await;
        if qos > 0 {
            assert_eq!(self.ack().await.reason, Reason::SUCCESS);
        } else {
            self.quiet().await;
        }
    }

    pub async fn subscribe(&mut self, filter: &str, qos: u8) -> Reason {
        self.subscribe_all(vec![to(filter, qos)], Properties::default()).await.reasons[0]
    }

    pub async fn subscribe_all(&mut self, list: Vec<SubscribeTo>, with: Properties) -> SubAck {
        let subscribe = Subscribe { packet_id: 9, filters: list, properties: with };
        self.send(Packet::Subscribe(subscribe)).await;
        match self.recv().await {
            Packet::SubAck(ack) if ack.packet_id == 9 => ack,
            other => panic!("not SUBACK 9: {other:?}"),
        }
    }

    pub async fn unsubscribe(&mut self, filters: &[&str]) -> Vec<Reason> {
        let filters = filters.iter().map(|&filter| filter.into()).collect();
        let properties = Properties::default();
        self.send(Packet::Unsubscribe(Unsubscribe { packet_id: 8, filters, properties })).await;
        match self.recv().await {
            Packet::UnsubAck(ack) if ack.packet_id == 8 => ack.reasons,
            other => panic!("not UNSUBACK 8: {other:?}"),
        }
    }

    /// Nothing is waiting: PINGRESP is the next packet.
    pub async fn quiet(&mut self) {
        self.send(Packet::PingReq).await;
        assert_eq!(self.recv().await, Packet::PingResp);
    }

    /// The broker closes; an MQTT 5 broker says why first.
    pub async fn ends_with(&mut self, reason: Reason) {
        if self.version == Version::V5 {
            match self.recv().await {
                Packet::Disconnect(end) => assert_eq!(end.reason, reason),
                other => panic!("not DISCONNECT: {other:?}"),
            }
        }
        self.is_closed().await;
    }

    /// The broker closes without a word.
    pub async fn is_closed(&mut self) {
        assert_eq!(self.try_recv().await, None);
    }

    /// Closes without DISCONNECT and waits until the broker has closed too.
    pub async fn hang_up(mut self) {
        self.io.shutdown().await.ok();
        while self.try_recv().await.is_some() {}
    }

    /// Closes and waits until the broker has closed too, whatever it says.
    pub async fn hang_up_rudely(mut self) {
        self.io.shutdown().await.ok();
        self.io.read_to_end(&mut Vec::new()).await.ok();
    }

    pub async fn goodbye(self, reason: Reason) {
        self.goodbye_with(reason, Properties::default()).await;
    }

    /// Sends DISCONNECT and waits until the broker has closed.
    pub async fn goodbye_with(mut self, reason: Reason, properties: Properties) {
        self.send(Packet::Disconnect(Disconnect { reason, properties })).await;
        while self.try_recv().await.is_some() {}
    }
}
