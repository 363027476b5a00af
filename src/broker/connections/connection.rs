//! One client's connection: when it reads, writes, waits and ends.
//!
//! All of it is one state that is polled: input, the engine's decisions, the session's queue and
//! timers advance independently, so that none waits for another. What packets mean is in `inbound`,
//! what is written in `outbound`.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use contract::{Batch, Message, Origin, QoS};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

use super::aliases::{Inbound, Outbound};
use super::core::Core;
use super::handshake::Greeted;
use super::owed::{self, Answer, AnswerKind, Owed, Waiting};
use super::stream::{CHUNK, close_gently, poll_read, write_all};
use crate::codec::{AckKind, Disconnect, Packet, Properties, Reason, Version};
use crate::counters::add;
use crate::hooks::{Connected, Disconnected, Identity, Parting};
use crate::sessions::{Attached, Detached, Group, Leave, Login, Publication, Sending, Session};

/// Unwritten bytes above which nothing more is read: a client that does not take answers gets none.
const OUTPUT_HIGH: usize = 2 * CHUNK;

/// Why devices went whose gateway's connection was taken over.
const TAKEN_OVER: Reason = Reason::SESSION_TAKEN_OVER;

/// What a new connection has displaced.
pub(super) struct Displaced {
    pub will: Option<Publication>,
    /// A login of the device over a gateway's connection.
    pub login: Option<Login>,
    /// Logins over the connection that had the session.
    pub logins: Vec<Login>,
    /// The session has gone on.
    pub present: bool,
}

impl Displaced {
    pub(super) fn by(attached: &mut Attached) -> Self {
        Self {
            will: attached.will.take(),
            login: attached.login.take(),
            logins: std::mem::take(&mut attached.logins),
            present: attached.present,
        }
    }
}

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Close {
    /// The client sent DISCONNECT.
    Goodbye { reason: Reason, leave: Leave },
    /// The network connection is gone.
    Lost,
    /// The broker ends it; MQTT 5 clients are told the reason.
    Broker(Reason, &'static str),
}

/// The engine refused messages. Only over a new connection does the client send them again, those
/// behind them included (MQTT-4.4.0-1), which keeps their order.
const NOT_ACCEPTED: Close =
    Close::Broker(Reason::IMPLEMENTATION, "the engine did not accept the messages");

/// Sessions that are to keep the message cannot be written. Only over a new connection does the client
/// send it again.
pub(super) const NOT_KEPT: Close =
    Close::Broker(Reason::IMPLEMENTATION, "what sessions are to keep cannot be written");

/// A batch that the engine had no room for.
pub(super) struct Refused {
    batch: Batch,
    ready: Waiting<()>,
}

pub(super) struct Connection<IO> {
    pub core: Arc<Core>,
    pub io: IO,
    pub version: Version,
    pub session: Arc<Session>,
    pub generation: u64,
    /// The group of changes that ends the client's session before.
    ended: Option<Group>,
    /// The number of the connection.
    number: u64,
    pub identity: Arc<Identity>,
    pub origin: Arc<Origin>,
    pub may_raise_expiry: bool,
    peer: std::net::SocketAddr,
    /// The start of a packet that is not complete, and how long it will be.
    pub input: BytesMut,
    pub needed: usize,
    pub output: Vec<u8>,
    written: usize,
    /// Packets in `output` that are not counted yet.
    pub packets: usize,
    pub sending: Vec<Sending>,
    /// What the client's topic aliases stand for, and the broker's, if the client takes some.
    pub aliases: Inbound,
    pub own_aliases: Option<Box<Outbound>>,
    /// Messages of the present read, for the engine.
    pub batch: Vec<Message>,
    pub answers: Vec<Answer>,
    /// QoS 2 messages of the present read that an earlier connection has brought, and that the engine
    /// has not decided about.
    pub repeated: Vec<u16>,
    pub owed: VecDeque<Owed>,
    /// QoS 1 and 2 messages of the client that are not answered, those of the present read included.
    pub unacknowledged: usize,
    /// QoS 2 messages that were answered with PUBREC and not released with PUBREL.
    pub unreleased: usize,
    /// SUBACKs that wait until the subscriptions are on disk. Messages wait behind them.
    pub unconfirmed: usize,
    pub refused: Option<Refused>,
    last_seen: Instant,
    /// One and a half times the keep-alive interval.
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Connection<IO> {
    pub(super) fn new(core: Arc<Core>, io: IO, greeted: Greeted) -> Self {
        let patience = Duration::from_millis(u64::from(greeted.keep_alive_s) * 1_500);
        let timer = (!patience.is_zero()).then(|| Box::pin(tokio::time::sleep(patience)));
        Self {
            core,
            io,
            version: greeted.version,
            session: greeted.attached.session,
            generation: greeted.attached.generation,
            ended: greeted.attached.ended,
            number: greeted.attached.connection,
            identity: greeted.identity,
            origin: greeted.origin,
            may_raise_expiry: greeted.expiry_s > 0,
            peer: greeted.peer,
            input: greeted.input,
            needed: 0,
            output: greeted.output,
            written: 0,
            // CONNACK.
            packets: 1,
            sending: Vec::new(),
            aliases: Inbound::default(),
            own_aliases: greeted.aliases,
            batch: Vec::new(),
            answers: Vec::new(),
            repeated: Vec::new(),
            owed: VecDeque::new(),
            unacknowledged: 0,
            unreleased: 0,
            unconfirmed: 0,
            refused: None,
            last_seen: Instant::now(),
            patience,
            timer,
        }
    }

    /// Serves the client until the connection ends, and settles what its end means.
    pub(super) async fn run(mut self, displaced: Displaced) {
        let event = Connected {
            identity: self.identity.clone(),
            peer: self.peer,
            at_ms: self.core.now_ms(),
            connection: self.number,
        };
        let left = self.core.went(&displaced.logins, (event.at_ms, event.at_ms), TAKEN_OVER);
        self.core.part(displaced.login.as_slice(), Parting::Elsewhere);
        if displaced.present {
            self.core.end_subscriptions(&self.session, &self.identity, None);
        }
        let status = self.core.hooks.lifecycle.connected(&event).map(Publication::from_message);
        for publication in displaced.will.into_iter().chain(left).chain(status) {
            self.core.sessions.route_now(&publication);
            // Not waited for: CONNACK is to be written even while the engine is full.
            self.batch.push(publication.message);
        }
        if self.core.shared().stored(self.ended).await.is_err() {
            // CONNACK would say that the session before has ended; nothing is said.
            self.output.clear();
            return self.finish(Close::Lost).await;
        }
        // What came together with CONNECT is looked at before the first read.
        let early = std::mem::take(&mut self.input);
        let mut end = self.absorb(early).err();
        let close = poll_fn(|cx| match end.take() {
            Some(close) => Poll::Ready(close),
            None => self.poll(cx),
        })
        .await;
        self.finish(close).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Close> {
        loop {
            match self.advance(cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(close) => return Poll::Ready(close),
            }
        }
    }

    /// Moves everything on that can move; false when all of it waits.
    fn advance(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        let mut moved = self.settle_owed(cx)?;
        // With enough unwritten bytes there is no room, but a takeover is still noticed.
        let room = match self.unconfirmed {
            0 => CHUNK.saturating_sub(self.output.len() - self.written),
            _ => 0,
        };
        moved |= self.collect(room, cx)?;
        moved |= self.write(cx)?;
        match &self.refused {
            Some(_) => moved |= self.offer_again(cx),
            None if self.may_read() => moved |= self.read(cx)?,
            None => {}
        }
        if !moved {
            moved = self.check_timer(cx)?;
        }
        Ok(moved)
    }

    /// MQTT 5 clients were told how many messages may wait, older ones are slowed down here.
    fn may_read(&self) -> bool {
        let window = usize::from(self.core.limits().receive_max.max(1));
        self.output.len() - self.written < OUTPUT_HIGH
            && (self.version.is_5() || self.unacknowledged < window)
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        match poll_read(&mut self.io, &mut self.input, cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Err(Close::Lost),
            Poll::Ready(Ok(count)) => add(&self.core.counters().bytes_received, count),
        }
        self.last_seen = Instant::now();
        if self.input.len() >= self.needed {
            // Not `split`: what that leaves behind would keep the whole buffer.
            let input = std::mem::take(&mut self.input);
            self.absorb(input)?;
        }
        Ok(true)
    }

    /// Offers the batch that the engine had no room for.
    fn offer_again(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(refused) = &mut self.refused else { return false };
        // Time that the broker does not read is not held against the client.
        self.last_seen = Instant::now();
        if refused.ready.as_mut().poll(cx).is_pending() {
            return false;
        }
        let Some(refused) = self.refused.take() else { return false };
        self.offer(refused.batch);
        if self.refused.is_some() {
            // Ready, and full again: let others run before the next look.
            cx.waker().wake_by_ref();
            return false;
        }
        true
    }

    /// Offers a batch to the engine; when there is no room, reading stops until there is.
    pub(super) fn offer(&mut self, batch: Batch) {
        if let Err(batch) = self.core.ingress.try_submit(batch) {
            add(&self.core.counters().backpressure, 1);
            let ingress = Arc::clone(&self.core.ingress);
            let ready = Box::pin(async move { ingress.ready().await });
            self.refused = Some(Refused { batch, ready });
        }
    }

    /// Turns the engine's decisions into PUBACKs and PUBRECs, in the order of the messages
    /// (MQTT-4.6.0-2, MQTT-4.6.0-3).
    fn settle_owed(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        let mut moved = false;
        while let Some(owed) = self.owed.front_mut() {
            let decided = match owed.poll(&self.session, self.core.shared(), cx) {
                Poll::Pending => break,
                Poll::Ready(decided) => decided,
            };
            let Some(owed) = self.owed.pop_front() else { break };
            if decided.is_err() {
                add(&self.core.counters().batches_refused, 1);
                return Err(NOT_ACCEPTED);
            }
            for &Answer { kind, packet_id, reason } in &owed.answers {
                let exactly_once = kind != AnswerKind::Once;
                self.unreleased += usize::from(exactly_once && !reason.is_error());
                let kind = if exactly_once { AckKind::PubRec } else { AckKind::PubAck };
                self.answer(kind, packet_id, reason);
            }
            self.unacknowledged -= owed.answers.len();
            self.output.extend_from_slice(&owed.packets);
            self.packets += usize::from(!owed.packets.is_empty());
            self.unconfirmed -= usize::from(owed.is_sub_ack);
            moved = true;
        }
        if moved && self.owed.is_empty() {
            self.owed.shrink_to_fit();
        }
        Ok(moved)
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        if self.output.is_empty() {
            return Ok(false);
        }
        let mut moved = false;
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.io).poll_write(cx, rest) {
                Poll::Pending => {
                    if self.written >= CHUNK {
                        self.output.drain(..std::mem::take(&mut self.written));
                    }
                    return Ok(moved);
                }
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Err(Close::Lost),
                Poll::Ready(Ok(count)) => {
                    moved = true;
                    self.written += count;
                    add(&self.core.counters().bytes_sent, count);
                }
            }
        }
        // A stream with a buffer of its own (TLS) sends it now.
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Pending => return Ok(moved),
            Poll::Ready(Err(_)) => return Err(Close::Lost),
            Poll::Ready(Ok(())) => {}
        }
        self.written = 0;
        add(&self.core.counters().packets_sent, std::mem::take(&mut self.packets));
        // Memory of an idle connection: the buffer goes when it is empty.
        self.output = Vec::new();
        Ok(moved)
    }

    /// Ends the connection when the client was silent for too long (MQTT-3.1.2-22).
    fn check_timer(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        let may_read = self.refused.is_none() && self.may_read();
        let paused = !may_read && self.output.len() - self.written < OUTPUT_HIGH;
        let Some(timer) = &mut self.timer else { return Ok(false) };
        if timer.as_mut().poll(cx).is_pending() {
            return Ok(false);
        }
        if paused {
            // The broker is waiting for the engine and does not read: not the client's silence.
            self.last_seen = Instant::now();
        }
        let until = self.last_seen + self.patience;
        if until <= Instant::now() {
            add(&self.core.counters().keep_alive_timeouts, 1);
            let note = "nothing was heard for one and a half keep-alive intervals";
            return Err(Close::Broker(Reason::KEEP_ALIVE_TIMEOUT, note));
        }
        timer.as_mut().reset(until);
        Ok(true)
    }

    async fn finish(mut self, close: Close) {
        // Messages that were read are the engine's, even when the client has gone meanwhile.
        if let Some(Refused { mut batch, .. }) = self.refused.take() {
            if close == NOT_ACCEPTED {
                // The others come again behind the ones that were refused: their promise is dropped.
                batch.messages.retain(|message| message.qos == QoS::AtMostOnce);
                batch = Batch::unacknowledged(batch.messages);
            }
            if !batch.messages.is_empty() {
                self.core.ingress.submit(batch).await;
            }
        }
        let (reason, leave) = match &close {
            Close::Goodbye { reason, leave } => (*reason, *leave),
            Close::Lost => (Reason::UNSPECIFIED, Leave::default()),
            Close::Broker(reason, note) => {
                let client = &*self.identity.client_id;
                tracing::debug!(client, peer = %self.peer, reason = reason.0, "closing: {note}");
                (*reason, Leave::default())
            }
        };
        if reason != Reason::SERVER_SHUTTING_DOWN {
            self.leave_undecided();
        }
        // The session first: what follows may wait for the network.
        let left = self.core.sessions.detach(&self.session, self.generation, leave);
        if let Some(left) = left {
            self.report_end(left, reason).await;
        }
        if let Close::Broker(reason, _) = close {
            let timeout = self.core.limits().close_timeout();
            if reason == Reason::SERVER_SHUTTING_DOWN {
                let acks = poll_fn(|cx| match self.settle_owed(cx) {
                    Ok(_) if !self.owed.is_empty() => Poll::Pending,
                    _ => Poll::Ready(()),
                });
                // Half of the time: the rest is for writing.
                tokio::time::timeout(timeout / 2, acks).await.ok();
            }
            self.say_why(reason, timeout).await;
        }
        self.leave_undecided();
    }

    /// The session learns all the same what the engine decides about messages of QoS 2.
    fn leave_undecided(&mut self) {
        owed::follow(std::mem::take(&mut self.owed), &self.session, &self.core);
    }

    async fn report_end(&mut self, left: Detached, reason: Reason) {
        let Detached { will, logins, told } = left;
        let at_ms = self.core.now_ms();
        let silent = u64::try_from(self.last_seen.elapsed().as_millis()).unwrap_or(0);
        let last_seen_ms = at_ms.saturating_sub(silent);
        let event = Disconnected {
            identity: self.identity.clone(),
            peer: self.peer,
            at_ms,
            last_seen_ms,
            reason,
            connection: self.number,
        };
        // Who is there is known before anything waits.
        let went = self.core.went(&logins, (at_ms, last_seen_ms), reason);
        let status = self.core.hooks.lifecycle.disconnected(&event).map(Publication::from_message);
        if !logins.is_empty() {
            self.core.end_subscriptions(&self.session, &self.identity, None);
        }
        if !told.is_empty() {
            self.core.ingress.submit(Batch::unacknowledged(told)).await;
        }
        self.core.announce_all(will.into_iter().chain(went).chain(status).collect()).await;
    }

    /// Writes what is in the buffer and, to MQTT 5 clients, the reason; then closes.
    async fn say_why(&mut self, reason: Reason, timeout: Duration) {
        if self.version.is_5() {
            let end = Disconnect { reason, properties: Properties::default() };
            self.say(&Packet::Disconnect(end));
        }
        let rest = self.output.get(self.written..).unwrap_or_default();
        if write_all(&mut self.io, rest, timeout).await {
            add(&self.core.counters().bytes_sent, rest.len());
            add(&self.core.counters().packets_sent, self.packets);
            close_gently(&mut self.io, timeout).await;
        }
    }
}
