//! Subscribers whose sessions are kept (MQTT 3.1.1 without Clean Session). They come and go, lose
//! connections, and remember from one connection to the next what MQTT asks of them.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tidegate::broker::codec::{self, AckKind, Packet, Reason, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::amounts::Chance;
use super::oracle::{Oracle, identify};
use super::producer::push_publish;
use super::recorder::Recorder;

/// How long a connection lasts, and how long the client is away, in milliseconds.
const STAYS: std::ops::Range<u64> = 20..1_500;
const AWAY: std::ops::Range<u64> = 1..400;

/// Who subscribes to what.
pub(super) struct Subscriber {
    id: String,
    filter: String,
    qos: u8,
    seen: Arc<Recorder>,
    chance: Chance,
    /// SUBACK has come: from now on the broker owes everything.
    subscribed: bool,
    /// How many have their SUBACK.
    ready: Arc<AtomicUsize>,
    /// Messages of QoS 2 that came and were not released.
    held: HashSet<u16>,
}

impl Subscriber {
    pub(super) fn new(id: &str, filter: &str, qos: u8, seen: &Arc<Recorder>) -> Self {
        Self {
            id: id.to_owned(),
            filter: filter.to_owned(),
            qos,
            seen: Arc::clone(seen),
            chance: Chance::new(id),
            subscribed: false,
            ready: Arc::default(),
            held: HashSet::new(),
        }
    }

    async fn come_and_go(mut self, mut port: watch::Receiver<Option<u16>>) {
        loop {
            // The end of the sender is the end of the test.
            let Ok(found) = port.wait_for(Option::is_some).await.map(|port| *port) else { return };
            let Some(found) = found else { continue };
            let stay = Duration::from_millis(self.chance.within(STAYS));
            // An end in the middle is a kill, or the stay is over.
            let visit = self.visit(found);
            tokio::select! {
                _ = tokio::time::timeout(stay, visit) => {}
                changed = port.changed() => if changed.is_err() { return },
            }
            tokio::time::sleep(Duration::from_millis(self.chance.within(AWAY))).await;
        }
    }

    /// One connection, until it is cut.
    async fn visit(&mut self, port: u16) -> io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&connect(&self.id)).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        let present = match answer {
            [0x20, 2, present @ 0..=1, 0] => present == 1,
            _ => return Err(io::Error::other("refused")),
        };
        if !present {
            if self.subscribed {
                self.seen.oracle.complain(format!("the session of {} is lost", self.id));
            }
            self.held.clear();
        }
        if !self.subscribed {
            stream.write_all(&subscribe(&self.filter, self.qos)).await?;
        }
        let (mut input, mut output) = (BytesMut::with_capacity(64 << 10), Vec::new());
        loop {
            if stream.read_buf(&mut input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            while let Some(length) = codec::frame_len(&input, 1 << 20).map_err(io::Error::other)?
                && length <= input.len()
            {
                let frame = input.split_to(length).freeze();
                let packet = codec::decode(&frame, Version::V311).map_err(io::Error::other)?;
                self.take(packet, &mut output);
            }
            stream.write_all(&output).await?;
            output.clear();
        }
    }

    /// Takes a packet for good before it is acknowledged.
    fn take(&mut self, packet: Packet, output: &mut Vec<u8>) {
        let mut answer = |kind, id| {
            codec::encode_ack(kind, id, Reason::SUCCESS, Version::V311, output);
        };
        match packet {
            Packet::Publish(publish) => {
                let id = publish.packet_id;
                let is_new = publish.qos < 2 || self.held.insert(id);
                if is_new {
                    let key = identify(&publish.payload).map(|(device, n)| format!("{device}/{n}"));
                    self.seen.take(&publish.payload, &key.unwrap_or_default());
                }
                match publish.qos {
                    1 => answer(AckKind::PubAck, id),
                    2 => answer(AckKind::PubRec, id),
                    _ => {}
                }
            }
            Packet::PubRel(release) => {
                self.held.remove(&release.packet_id);
                answer(AckKind::PubComp, release.packet_id);
            }
            Packet::SubAck(ack) if !ack.reasons[0].is_error() => {
                self.subscribed = true;
                self.ready.fetch_add(1, Ordering::Relaxed);
            }
            other => self.seen.oracle.complain(format!("{}: {other:?}", self.id)),
        }
    }
}

/// CONNECT of MQTT 3.1.1 without a clean session and without a keep-alive.
fn connect(id: &str) -> Vec<u8> {
    let mut out = super::producer::connect(id);
    // The flags stand behind the fixed header, the protocol's name and its level.
    out[9] = 0;
    out
}

fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut out = vec![0x82, (5 + filter.len()) as u8, 0, 1, 0, filter.len() as u8];
    out.extend_from_slice(filter.as_bytes());
    out.push(qos);
    out
}

/// A client that publishes at QoS 2 from a kept session, one message after the other, and goes on over the
/// next connection where the last one ended: every message is one for MQTT.
pub(super) struct Careful {
    pub(super) oracle: Arc<Oracle>,
    pub(super) topic: &'static str,
    /// The message that is on its way, and whether PUBREC has come.
    open: Option<(u64, Vec<u8>, bool)>,
    /// No further message is wanted.
    enough: Arc<AtomicBool>,
}

impl Careful {
    pub(super) fn new(oracle: &Arc<Oracle>, topic: &'static str) -> Self {
        Self { oracle: Arc::clone(oracle), topic, open: None, enough: Arc::default() }
    }

    async fn publish(mut self, mut port: watch::Receiver<Option<u16>>) {
        while self.open.is_some() || !self.enough.load(Ordering::Relaxed) {
            let Ok(found) = port.wait_for(Option::is_some).await.map(|port| *port) else { return };
            let Some(found) = found else { continue };
            tokio::select! {
                _ = self.visit(found) => tokio::time::sleep(Duration::from_millis(AWAY.start)).await,
                changed = port.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn visit(&mut self, port: u16) -> io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&connect("careful")).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        if answer[..2] != [0x20, 2] || answer[3] != 0 {
            return Err(io::Error::other("refused"));
        }
        if answer[2] == 0 && self.open.is_some() && self.oracle.acknowledged() > 0 {
            self.oracle.complain("the session of the careful client is lost".to_owned());
        }
        let mut dup = true;
        while self.open.is_some() || !self.enough.load(Ordering::Relaxed) {
            let oracle = &self.oracle;
            let (n, payload, received) = self.open.get_or_insert_with(|| {
                let (n, payload) = oracle.send(0);
                dup = false;
                (n, payload, false)
            });
            // One identifier for all of them: it must be free each time.
            if !*received {
                let mut out = Vec::new();
                push_publish(self.topic, 1, payload, &mut out);
                out[0] = if dup { 0x3c } else { 0x34 };
                stream.write_all(&out).await?;
                expect(&mut stream, [0x50, 2, 0, 1]).await?;
                *received = true;
                self.oracle.acknowledge(0, *n);
            }
            stream.write_all(&[0x62, 2, 0, 1]).await?;
            expect(&mut stream, [0x70, 2, 0, 1]).await?;
            self.open = None;
        }
        Ok(())
    }
}

async fn expect(stream: &mut TcpStream, packet: [u8; 4]) -> io::Result<()> {
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    if answer == packet { Ok(()) } else { Err(io::Error::other(format!("{answer:?}"))) }
}

/// Subscribers that run.
pub(super) struct Crowd {
    port: watch::Sender<Option<u16>>,
    publishing: watch::Sender<Option<u16>>,
    ready: Arc<AtomicUsize>,
    enough: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Crowd {
    pub(super) fn start(all: Vec<Subscriber>, careful: Careful) -> Self {
        let (port, seen) = watch::channel(None);
        let (publishing, publishes) = watch::channel(None);
        let mut tasks = JoinSet::new();
        let ready = Arc::<AtomicUsize>::default();
        for one in all {
            let one = Subscriber { ready: Arc::clone(&ready), ..one };
            tasks.spawn(one.come_and_go(seen.clone()));
        }
        let enough = Arc::clone(&careful.enough);
        tasks.spawn(careful.publish(publishes));
        Self { port, publishing, ready, enough, tasks }
    }

    /// How many have subscribed.
    pub(super) fn ready(&self) -> usize {
        self.ready.load(Ordering::Relaxed)
    }

    /// The daemon is there, for those who subscribe: nothing is published before they have.
    pub(super) fn meet(&self, port: u16) {
        self.port.send_replace(Some(port));
    }

    /// From now on the daemon is there, or nowhere.
    pub(super) fn go_to(&self, port: Option<u16>) {
        self.port.send_replace(port);
        self.publishing.send_replace(port);
    }

    /// The careful client finishes its message, and publishes no other.
    pub(super) fn enough(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }

    /// Ends all of them.
    pub(super) async fn end(mut self) {
        drop((self.port, self.publishing));
        while let Some(task) = self.tasks.join_next().await {
            task.expect("a subscriber");
        }
    }
}
