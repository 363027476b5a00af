//! One client's session: who is connected to it, what it subscribed to, and what is to be remembered.
//!
//! Locks here are held for moves of a few words only; packets are encoded by the connection. The
//! order of locks is: the map of sessions, then a session, then the subscriptions.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLockReadGuard, Weak};
use std::task::{Context, Poll, Waker};

use bytestring::ByteString;
use contract::{Ack, Message, Nacked, Origin, QoS, TopicLimits};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::journal::{Group, Journal};
use super::outbox::{Acked, Outbox, Outgoing, Sending, Taker, Window};
use super::publication::Publication;
use super::received::{Receipt, Received};
use super::subscription::{Subscribed, Wanted};
use crate::codec::Reason;
use crate::counters::{Counters, add, reserve, sub};
use crate::hooks::{Clock, Identity};
use crate::limits::Limits;

/// Wake-ups that are owed once a batch of messages has been routed, so that a subscriber is woken
/// once per batch and not once per message.
pub type Wakers = SmallVec<[Waker; 4]>;

/// What sessions have in common: the bounds, the time, the counts, and the journal of what is to be
/// written when they are kept over a restart.
pub struct Shared {
    pub limits: Limits,
    pub topics: TopicLimits,
    pub clock: Clock,
    pub counters: Counters,
    pub journal: Option<Journal<Session>>,
}

/// The connection of a session.
#[derive(Debug, Clone)]
pub struct Online {
    pub identity: Arc<Identity>,
    /// That of all its messages: what came over this connection, and no other, has it.
    pub origin: Arc<Origin>,
    pub peer: SocketAddr,
    pub connected_ms: u64,
    /// What the client takes.
    pub window: Window,
}

/// A will and when it is due.
#[derive(Debug)]
pub struct Testament {
    pub publication: Publication,
    pub delay_s: u32,
    pub expiry_s: Option<u32>,
}

/// What became of a message for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// With the group of changes that it is written with, when it is to survive.
    Queued(Option<Group>),
    Dropped,
}

/// What a connection learns from its session.
#[derive(Debug)]
pub enum Turn {
    /// Go on; the messages to send have been handed out.
    Go,
    /// Go on; the engine is to get these.
    Tell(Vec<Message>),
    /// The session belongs to another connection now, or is closed with this reason.
    End(Reason),
}

/// A client's session.
#[derive(Debug)]
pub struct Session {
    /// Unique among all sessions of the process; 0 is nobody.
    pub number: u64,
    pub client_id: ByteString,
    /// The session itself, to be listed when it has changed.
    me: Weak<Self>,
    online: AtomicBool,
    state: Mutex<State>,
}

/// What a session leaves behind.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Its subscriptions, which are to be removed.
    pub orphans: Vec<Wanted>,
    /// Messages for other members of shared subscriptions.
    pub back: Vec<Outgoing>,
    /// The group of changes that its end is written with, when the store has it.
    pub group: Option<Group>,
}

/// What the store has of a session.
#[derive(Debug, Default)]
pub struct Saved {
    /// It has the session.
    pub exists: bool,
    /// The group of changes that the session is listed in.
    pub listed: Option<Group>,
    /// More has changed than messages.
    pub changed: bool,
    /// When the client left, in milliseconds since 1970; `None` while it is there.
    pub left_ms: Option<u64>,
}

#[derive(Debug, Default)]
pub struct State {
    pub online: Option<Online>,
    /// Counts the connections of the session; an older connection finds another number.
    pub(super) generation: u64,
    /// The session is over: nothing may be added to it.
    pub ended: bool,
    pub kick: Option<Reason>,
    /// What the engine is to get over the connection of the client beside its messages.
    pub told: Vec<Message>,
    waker: Option<Waker>,
    pub outbox: Outbox,
    pub received: Received,
    pub subscriptions: HashMap<ByteString, Subscribed, foldhash::fast::RandomState>,
    pub expiry_s: u32,
    /// When the session of the absent client ends.
    pub expires: Option<Instant>,
    pub(super) will: Option<Box<Testament>>,
    pub(super) will_due: Option<Instant>,
    /// Where the session stands among the deadlines.
    pub(super) deadline: Option<Instant>,
    pub saved: Saved,
}

impl Shared {
    pub fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// Around a change of several sessions that is written as a whole. Not to be taken twice.
    pub fn whole(&self) -> Option<RwLockReadGuard<'_, ()>> {
        self.journal.as_ref().map(Journal::whole)
    }

    /// What has changed until now is written with this group, or before it.
    pub fn latest(&self) -> Option<Group> {
        self.journal.as_ref().map(Journal::latest)
    }

    /// Holds a share of an obligation until what belongs to a group is on disk.
    pub fn hold(&self, group: Option<Group>, ack: &mut Ack) {
        if let (Some(journal), Some(group)) = (&self.journal, group) {
            journal.hold(group, ack);
        }
    }

    /// Waits until what belongs to a group is on disk.
    pub async fn stored(&self, group: Option<Group>) -> Result<(), Nacked> {
        if group.is_none() {
            return Ok(());
        }
        let (mut ack, wait) = Ack::pair();
        self.hold(group, &mut ack);
        ack.accept();
        wait.wait().await
    }
}

impl State {
    /// False when the session has ended with its connection, or its time is over, although nobody has
    /// tended to it yet (MQTT 5.0 §3.1.2.11.2).
    pub(super) fn outlives_connection(&self) -> bool {
        self.expiry_s > 0 && self.expires.is_none_or(|at| at > Instant::now())
    }
}

impl Session {
    pub fn new(number: u64, client_id: ByteString) -> Arc<Self> {
        let online = AtomicBool::new(false);
        let state = Mutex::default();
        Arc::new_cyclic(|me| Self { number, client_id, me: me.clone(), online, state })
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while a client is connected.
    pub fn is_online(&self) -> bool {
        self.online.load(Ordering::Relaxed)
    }

    /// Makes `online` the connection of the session and returns its generation.
    pub(super) fn attach(&self, state: &mut State, online: Online, shared: &Shared) -> u64 {
        state.generation += 1;
        if state.online.replace(online).is_none() {
            add(&shared.counters.clients, 1);
        }
        state.kick = None;
        state.outbox.rewind();
        state.expires = None;
        state.will_due = None;
        state.saved.left_ms = None;
        self.touch_all(state, shared);
        self.online.store(true, Ordering::Relaxed);
        if let Some(old) = state.waker.take() {
            old.wake();
        }
        state.generation
    }

    /// Leaves the session without a connection. QoS 0 messages that wait are dropped: they are for
    /// clients that are there (MQTT 5.0 §4.1 leaves the choice).
    pub(super) fn leave(&self, state: &mut State, shared: &Shared) {
        self.online.store(false, Ordering::Relaxed);
        if state.online.take().is_some() {
            sub(&shared.counters.clients, 1);
        }
        state.kick = None;
        state.waker = None;
        state.outbox.rewind();
        let (count, bytes) = state.outbox.drop_unreliable();
        sub(&shared.counters.queued_bytes, bytes);
        add(&shared.counters.dropped_offline, count);
        state.saved.left_ms = Some(shared.now_ms());
        self.touch_all(state, shared);
    }

    /// Ends the session: drops what waits and returns what outlives it, which the caller settles.
    pub(super) fn end(&self, state: &mut State, shared: &Shared) -> Left {
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        state.ended = true;
        self.leave(state, shared);
        state.generation += 1;
        sub(&shared.counters.queued_bytes, state.outbox.bytes());
        let (back, lost) = state.outbox.clear();
        add(&shared.counters.dropped_session, lost);
        sub(&shared.counters.subscriptions, state.subscriptions.len());
        let stored = shared.journal.as_ref().filter(|_| state.saved.exists);
        let group = stored.map(|journal| journal.note_end(self.number, &shared.counters));
        state.received.clear();
        let subscriptions = std::mem::take(&mut state.subscriptions);
        let orphans = subscriptions.into_values().map(|subscribed| subscribed.wanted).collect();
        Left { orphans, back, group }
    }

    /// Closes the connection of the session, if there is one.
    pub(super) fn kick(&self, reason: Reason) -> bool {
        let mut state = self.lock();
        let online = state.online.is_some();
        if online {
            state.kick = Some(reason);
            self.online.store(false, Ordering::Relaxed);
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
        online
    }

    /// True when the session outlives its connection, and the process.
    pub(super) fn is_kept(&self) -> bool {
        self.lock().expiry_s > 0
    }

    /// Queues a message for the client.
    pub(super) fn push(&self, outgoing: Outgoing, shared: &Shared, wakers: &mut Wakers) -> Pushed {
        let (qos, size) = (outgoing.qos, outgoing.routed.size);
        let (limits, counters) = (&shared.limits, &shared.counters);
        let mut state = self.lock();
        if state.ended || (state.online.is_none() && qos == QoS::AtMostOnce) {
            add(&counters.dropped_offline, 1);
            return Pushed::Dropped;
        }
        let full = state.outbox.waiting() >= limits.queue_messages
            || state.outbox.bytes() + size > limits.queue_bytes
            || !reserve(&counters.queued_bytes, size, limits.queue_bytes_total);
        if full {
            let counter = match qos {
                QoS::AtMostOnce => &counters.dropped_qos0,
                QoS::AtLeastOnce | QoS::ExactlyOnce => &counters.dropped_qos1,
            };
            add(counter, 1);
            return Pushed::Dropped;
        }
        state.outbox.push(outgoing);
        let group = match qos.is_acknowledged() {
            true => self.touch(&mut state, shared),
            false => None,
        };
        wakers.extend(state.waker.take());
        Pushed::Queued(group)
    }

    /// True when a message for the client may wait long, so that it needs memory of its own.
    pub(super) fn is_backlogged(&self) -> bool {
        self.lock().outbox.bytes() > BACKLOG
    }

    /// Leaves messages for the engine to the client's connection, which waits when the engine is full;
    /// gives them back when there is none.
    pub fn tell(&self, messages: Vec<Message>) -> Vec<Message> {
        let mut state = self.lock();
        if state.online.is_none() {
            return messages;
        }
        state.told.extend(messages);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        Vec::new()
    }

    /// Hands out what can be sent now, about `room` bytes of it; before that, when the connection `tells`,
    /// what the engine is to get. When nothing is left, the connection is woken by the next message.
    pub fn turn(
        &self,
        generation: u64,
        (room, tells): (usize, bool),
        shared: &Shared,
        batch: &mut Vec<Sending>,
        cx: &Context<'_>,
    ) -> Turn {
        let mut state = self.lock();
        if state.generation != generation {
            return Turn::End(Reason::SESSION_TAKEN_OVER);
        }
        if let Some(reason) = state.kick {
            return Turn::End(reason);
        }
        let Some(window) = state.online.as_ref().map(|online| online.window) else {
            return Turn::Go;
        };
        if tells && !state.told.is_empty() {
            return Turn::Tell(std::mem::take(&mut state.told));
        }
        let keeps = shared.journal.is_some() && state.expiry_s > 0;
        let to = Taker { window, clock: &shared.clock, counters: &shared.counters };
        let (released, changed) = state.outbox.hand_out(to, room, keeps, batch);
        if changed {
            self.touch(&mut state, shared);
        }
        if batch.is_empty() && !state.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        drop(state);
        sub(&shared.counters.queued_bytes, released);
        Turn::Go
    }

    /// What the session was last asked to write is on disk: what waits for that can be sent.
    pub fn stored(&self) {
        let mut state = self.lock();
        state.outbox.stored();
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Takes acknowledgements of the client, and adds those of no message to `unknown`.
    pub fn acknowledge(
        &self,
        generation: u64,
        acks: &[Acked],
        shared: &Shared,
        unknown: &mut Vec<u16>,
    ) {
        let mut state = self.lock();
        if state.generation != generation {
            return;
        }
        let released = acks.iter().map(|&ack| state.outbox.acknowledge(ack, unknown)).sum();
        self.touch(&mut state, shared);
        drop(state);
        sub(&shared.counters.queued_bytes, released);
    }

    /// Tells what a PUBLISH of QoS 2 is, and notes a new one unless it is refused.
    pub fn receive(
        &self,
        generation: u64,
        id: u16,
        refused: bool,
        shared: &Shared,
    ) -> (Receipt, Option<Group>) {
        let mut state = self.lock();
        if state.generation != generation {
            return (Receipt::Stale, None);
        }
        let receipt = state.received.look(id);
        let mut group = None;
        if matches!(receipt, Receipt::New | Receipt::Routed) && !refused {
            state.received.note(id);
            group = self.touch_all(&mut state, shared);
        }
        (receipt, group)
    }

    /// The engine has decided about messages of QoS 2, whoever is connected by now.
    pub fn decide(&self, ids: impl Iterator<Item = u16>, accepted: bool, shared: &Shared) {
        let mut state = self.lock();
        let mut changed = false;
        for id in ids {
            changed |= state.received.decide(id, accepted);
        }
        if changed && !state.ended {
            self.touch_all(&mut state, shared);
        }
    }

    /// Messages of QoS 2 are answered with an error.
    pub fn forget(&self, ids: impl Iterator<Item = u16>, shared: &Shared) {
        let mut state = self.lock();
        let count = ids.map(|id| state.received.forget(id)).count();
        if count > 0 {
            self.touch_all(&mut state, shared);
        }
    }

    /// The client's PUBREL: `None` when there is no such message, else the group of changes that its end
    /// is written with.
    pub fn release(&self, generation: u64, id: u16, shared: &Shared) -> Option<Option<Group>> {
        let mut state = self.lock();
        let released = state.generation == generation && state.received.release(id);
        released.then(|| self.touch_all(&mut state, shared))
    }

    /// Messages have changed: a session that is kept is written, with the group of changes that is
    /// returned. `None` when nothing of it is to survive the process.
    pub fn touch(&self, state: &mut State, shared: &Shared) -> Option<Group> {
        let journal = shared.journal.as_ref()?;
        let is_kept = state.expiry_s > 0;
        if state.ended || !(is_kept || state.saved.exists) {
            return None;
        }
        let note = || journal.note_session(self.me.clone(), &shared.counters);
        let group = *state.saved.listed.get_or_insert_with(note);
        is_kept.then_some(group)
    }

    /// More than messages has changed.
    pub(super) fn touch_all(&self, state: &mut State, shared: &Shared) -> Option<Group> {
        state.saved.changed = true;
        self.touch(state, shared)
    }

    /// Waits until the engine has decided about a message that an earlier connection brought.
    pub fn decided(&self, id: u16, cx: &Context<'_>) -> Poll<Result<(), Nacked>> {
        let mut state = self.lock();
        match state.received.look(id) {
            Receipt::Undecided => {
                state.received.wait(cx.waker());
                Poll::Pending
            }
            Receipt::Accepted => Poll::Ready(Ok(())),
            Receipt::New | Receipt::Routed | Receipt::Stale => Poll::Ready(Err(Nacked)),
        }
    }
}

/// Bytes that may wait before messages are copied out of the buffers they were read into, each of
/// which has up to 64 KiB.
const BACKLOG: usize = 8 << 10;
