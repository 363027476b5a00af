//! One client's session: who is connected to it, what it subscribed to, and what is to be remembered.
//!
//! Locks here are held for moves of a few words only; packets are encoded by the connection. The
//! order of locks is: the map of sessions, then a session, then the subscriptions.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use bytestring::ByteString;
use connectors::contract::{Nacked, QoS};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::codec::Reason;
use super::core::Core;
use super::counters::{add, sub};
use super::hooks::Identity;
use super::journal::Group;
use super::outbox::{Acked, Outbox, Outgoing, Sending, Window};
use super::received::{Receipt, Received};
use super::route::Publication;
use super::trie::{Terms, Wanted};

/// Wake-ups that are owed once a batch of messages has been routed, so that a subscriber is woken
/// once per batch and not once per message.
pub(super) type Wakers = SmallVec<[Waker; 4]>;

/// The connection of a session.
#[derive(Debug, Clone)]
pub(super) struct Online {
    pub identity: Arc<Identity>,
    pub peer: SocketAddr,
    pub connected_ms: u64,
    /// What the client takes.
    pub window: Window,
}

/// A will and when it is due.
#[derive(Debug)]
pub(super) struct Testament {
    pub publication: Publication,
    pub delay_s: u32,
    pub expiry_s: Option<u32>,
}

/// What became of a message for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// With the group of changes that it is written with, when it is to survive.
    Queued(Option<Group>),
    Dropped,
}

/// What a connection learns from its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Go on; the messages to send have been handed out.
    Go,
    /// The session belongs to another connection now, or is closed with this reason.
    End(Reason),
}

/// A client's session.
#[derive(Debug)]
pub(super) struct Session {
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

/// A subscription of a session.
#[derive(Debug, Clone)]
pub(super) struct Subscribed {
    pub wanted: Wanted,
    pub terms: Terms,
}

/// What the store has of a session.
#[derive(Debug, Default)]
pub(super) struct Saved {
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
pub(super) struct State {
    pub online: Option<Online>,
    /// Counts the connections of the session; an older connection finds another number.
    pub generation: u64,
    /// The session is over: nothing may be added to it.
    pub ended: bool,
    pub kick: Option<Reason>,
    waker: Option<Waker>,
    pub outbox: Outbox,
    pub received: Received,
    pub subscriptions: HashMap<ByteString, Subscribed, foldhash::fast::RandomState>,
    pub expiry_s: u32,
    /// When the session of the absent client ends.
    pub expires: Option<Instant>,
    pub will: Option<Box<Testament>>,
    pub will_due: Option<Instant>,
    /// Where the session stands among the deadlines.
    pub deadline: Option<Instant>,
    pub saved: Saved,
}

impl State {
    /// False when the session has ended with its connection, or its time is over, although nobody has
    /// tended to it yet (MQTT 5.0 §3.1.2.11.2).
    pub(super) fn outlives_connection(&self) -> bool {
        self.expiry_s > 0 && self.expires.is_none_or(|at| at > Instant::now())
    }
}

impl Session {
    pub(super) fn new(number: u64, client_id: ByteString) -> Arc<Self> {
        let online = AtomicBool::new(false);
        let state = Mutex::default();
        Arc::new_cyclic(|me| Self { number, client_id, me: me.clone(), online, state })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while a client is connected.
    pub(super) fn is_online(&self) -> bool {
        self.online.load(Ordering::Relaxed)
    }

    /// Makes `online` the connection of the session and returns its generation.
    pub(super) fn attach(&self, state: &mut State, online: Online, core: &Core) -> u64 {
        state.generation += 1;
        if state.online.replace(online).is_none() {
            add(&core.counters.clients, 1);
        }
        state.kick = None;
        state.outbox.rewind();
        state.expires = None;
        state.will_due = None;
        state.saved.left_ms = None;
        self.touch_all(state, core);
        self.online.store(true, Ordering::Relaxed);
        if let Some(old) = state.waker.take() {
            old.wake();
        }
        state.generation
    }

    /// Leaves the session without a connection. QoS 0 messages that wait are dropped: they are for
    /// clients that are there (MQTT 5.0 §4.1 leaves the choice).
    pub(super) fn leave(&self, state: &mut State, core: &Core) {
        self.online.store(false, Ordering::Relaxed);
        if state.online.take().is_some() {
            sub(&core.counters.clients, 1);
        }
        state.kick = None;
        state.waker = None;
        state.outbox.rewind();
        let (count, bytes) = state.outbox.drop_unreliable();
        sub(&core.counters.queued_bytes, bytes);
        add(&core.counters.dropped_offline, count);
        state.saved.left_ms = Some(core.now_ms());
        self.touch_all(state, core);
    }

    /// Ends the session: drops what waits and returns what outlives it, which the caller settles.
    pub(super) fn end(&self, state: &mut State, core: &Core) -> Left {
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        state.ended = true;
        self.leave(state, core);
        state.generation += 1;
        sub(&core.counters.queued_bytes, state.outbox.bytes());
        let (back, lost) = state.outbox.clear();
        add(&core.counters.dropped_session, lost);
        sub(&core.counters.subscriptions, state.subscriptions.len());
        let stored = core.journal.as_ref().filter(|_| state.saved.exists);
        let group = stored.map(|journal| journal.note_end(self.number, &core.counters));
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
    pub(super) fn push(&self, outgoing: Outgoing, core: &Core, wakers: &mut Wakers) -> Pushed {
        let (qos, size) = (outgoing.qos, outgoing.routed.size);
        let (limits, counters) = (&core.limits, &core.counters);
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
            true => self.touch(&mut state, core),
            false => None,
        };
        wakers.extend(state.waker.take());
        Pushed::Queued(group)
    }

    /// True when a message for the client may wait long, so that it needs memory of its own.
    pub(super) fn is_backlogged(&self) -> bool {
        self.lock().outbox.bytes() > BACKLOG
    }

    /// Hands out what can be sent now, about `room` bytes of it. When nothing is left, the connection
    /// is woken by the next message.
    pub(super) fn turn(
        &self,
        generation: u64,
        room: usize,
        core: &Core,
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
        let keeps = core.journal.is_some() && state.expiry_s > 0;
        let (released, changed) = state.outbox.hand_out(window, room, keeps, core, batch);
        if changed {
            self.touch(&mut state, core);
        }
        if batch.is_empty() && !state.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        drop(state);
        sub(&core.counters.queued_bytes, released);
        Turn::Go
    }

    /// What the session was last asked to write is on disk: what waits for that can be sent.
    pub(super) fn stored(&self) {
        let mut state = self.lock();
        state.outbox.stored();
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Takes acknowledgements of the client, and adds those of no message to `unknown`.
    pub(super) fn acknowledge(
        &self,
        generation: u64,
        acks: &[Acked],
        core: &Core,
        unknown: &mut Vec<u16>,
    ) {
        let mut state = self.lock();
        if state.generation != generation {
            return;
        }
        let released = acks.iter().map(|&ack| state.outbox.acknowledge(ack, unknown)).sum();
        self.touch(&mut state, core);
        drop(state);
        sub(&core.counters.queued_bytes, released);
    }

    /// Tells what a PUBLISH of QoS 2 is, and notes a new one unless it is refused.
    pub(super) fn receive(
        &self,
        generation: u64,
        id: u16,
        refused: bool,
        core: &Core,
    ) -> (Receipt, Option<Group>) {
        let mut state = self.lock();
        if state.generation != generation {
            return (Receipt::Stale, None);
        }
        let receipt = state.received.look(id);
        let mut group = None;
        if matches!(receipt, Receipt::New | Receipt::Routed) && !refused {
            state.received.note(id);
            group = self.touch_all(&mut state, core);
        }
        (receipt, group)
    }

    /// The engine has decided about messages of QoS 2, whoever is connected by now.
    pub(super) fn decide(&self, ids: impl Iterator<Item = u16>, accepted: bool, core: &Core) {
        let mut state = self.lock();
        let mut changed = false;
        for id in ids {
            changed |= state.received.decide(id, accepted);
        }
        if changed && !state.ended {
            self.touch_all(&mut state, core);
        }
    }

    /// Messages of QoS 2 are answered with an error.
    pub(super) fn forget(&self, ids: impl Iterator<Item = u16>, core: &Core) {
        let mut state = self.lock();
        let count = ids.map(|id| state.received.forget(id)).count();
        if count > 0 {
            self.touch_all(&mut state, core);
        }
    }

    /// The client's PUBREL: `None` when there is no such message, else the group of changes that its end
    /// is written with.
    pub(super) fn release(&self, generation: u64, id: u16, core: &Core) -> Option<Option<Group>> {
        let mut state = self.lock();
        let released = state.generation == generation && state.received.release(id);
        released.then(|| self.touch_all(&mut state, core))
    }

    /// Messages have changed: a session that is kept is written, with the group of changes that is
    /// returned. `None` when nothing of it is to survive the process.
    pub(super) fn touch(&self, state: &mut State, core: &Core) -> Option<Group> {
        let journal = core.journal.as_ref()?;
        let is_kept = state.expiry_s > 0;
        if state.ended || !(is_kept || state.saved.exists) {
            return None;
        }
        let note = || journal.note_session(self.me.clone(), &core.counters);
        let group = *state.saved.listed.get_or_insert_with(note);
        is_kept.then_some(group)
    }

    /// More than messages has changed.
    pub(super) fn touch_all(&self, state: &mut State, core: &Core) -> Option<Group> {
        state.saved.changed = true;
        self.touch(state, core)
    }

    /// Waits until the engine has decided about a message that an earlier connection brought.
    pub(super) fn decided(&self, id: u16, cx: &Context<'_>) -> Poll<Result<(), Nacked>> {
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

/// Adds to an amount unless it would pass the limit.
pub(super) fn reserve(amount: &AtomicU64, size: usize, most: usize) -> bool {
    let size = size as u64;
    let before = amount.fetch_add(size, Ordering::Relaxed);
    let fits = before + size <= most as u64;
    if !fits {
        amount.fetch_sub(size, Ordering::Relaxed);
    }
    fits
}
