//! One client's session: what waits for it, what it has not acknowledged, and who is connected to it.
//!
//! Locks here are held for moves of a few words only; packets are encoded by the connection. The
//! order of locks is: the map of sessions, then a session, then the subscriptions.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bytestring::ByteString;
use connectors::contract::QoS;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::codec::{PublishHead, Reason, Version, publish_len};
use super::core::Core;
use super::counters::{add, sub};
use super::hooks::Identity;
use super::route::{Publication, Routed};
use super::trie::Wanted;

/// Wake-ups that are owed once a batch of messages has been routed, so that a subscriber is woken
/// once per batch and not once per message.
pub(super) type Wakers = SmallVec<[Waker; 4]>;

/// A message for one client.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub routed: Arc<Routed>,
    pub qos: QoS,
    pub retain: bool,
    pub ids: SmallVec<[u32; 2]>,
}

/// A message that is to be written now.
#[derive(Debug)]
pub(super) struct Sending {
    pub outgoing: Outgoing,
    pub packet_id: u16,
    pub dup: bool,
}

/// The connection of a session.
#[derive(Debug, Clone)]
pub(super) struct Online {
    pub identity: Arc<Identity>,
    pub peer: SocketAddr,
    pub version: Version,
    pub connected_ms: u64,
    /// Unacknowledged QoS 1 messages that the client takes at the same time.
    pub inflight: usize,
    /// Bytes of a packet that the client takes.
    pub packet_bytes: usize,
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
    Queued,
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
    online: AtomicBool,
    state: Mutex<State>,
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
    queue: VecDeque<Outgoing>,
    inflight: VecDeque<(u64, Outgoing)>,
    /// How many of `inflight`, from the front, were sent over the present connection.
    sent: usize,
    next_seq: u64,
    bytes: usize,
    pub subscriptions: HashMap<ByteString, Wanted, foldhash::fast::RandomState>,
    pub expiry_s: u32,
    /// When the session of the absent client ends.
    pub expires: Option<Instant>,
    pub will: Option<Box<Testament>>,
    pub will_due: Option<Instant>,
    /// Where the session stands among the deadlines.
    pub deadline: Option<Instant>,
}

impl Session {
    pub(super) fn new(number: u64, client_id: ByteString) -> Self {
        Self { number, client_id, online: AtomicBool::new(false), state: Mutex::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while a client is connected.
    pub(super) fn is_online(&self) -> bool {
        self.online.load(Ordering::Relaxed)
    }

    /// Makes `online` the connection of the session and returns its generation.
    pub(super) fn attach(&self, state: &mut State, online: Online) -> u64 {
        state.generation += 1;
        state.online = Some(online);
        state.kick = None;
        state.sent = 0;
        state.expires = None;
        state.will_due = None;
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
        state.online = None;
        state.kick = None;
        state.waker = None;
        state.sent = 0;
        let (mut count, mut bytes) = (0, 0);
        state.queue.retain(|outgoing| {
            let keep = outgoing.qos == QoS::AtLeastOnce;
            if !keep {
                count += 1;
                bytes += outgoing.routed.size;
            }
            keep
        });
        state.queue.shrink_to_fit();
        state.bytes -= bytes;
        sub(&core.counters.queued_bytes, bytes);
        add(&core.counters.dropped_offline, count);
    }

    /// Ends the session: drops what waits and returns its subscriptions, which the caller removes.
    pub(super) fn end(&self, state: &mut State, core: &Core) -> Vec<Wanted> {
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        self.leave(state, core);
        state.ended = true;
        state.generation += 1;
        add(&core.counters.dropped_session, state.queue.len() + state.inflight.len());
        sub(&core.counters.queued_bytes, state.bytes);
        sub(&core.counters.subscriptions, state.subscriptions.len());
        state.queue = VecDeque::new();
        state.inflight = VecDeque::new();
        state.bytes = 0;
        std::mem::take(&mut state.subscriptions).into_values().collect()
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

    /// Queues a message for the client.
    pub(super) fn push(&self, outgoing: Outgoing, core: &Core, wakers: &mut Wakers) -> Pushed {
        let (qos, size) = (outgoing.qos, outgoing.routed.size);
        let (limits, counters) = (&core.limits, &core.counters);
        let mut state = self.lock();
        if state.ended || (state.online.is_none() && qos == QoS::AtMostOnce) {
            add(&counters.dropped_offline, 1);
            return Pushed::Dropped;
        }
        let full = state.queue.len() >= limits.queue_messages
            || state.bytes + size > limits.queue_bytes
            || !reserve(&counters.queued_bytes, size, limits.queue_bytes_total);
        if full {
            let counter = match qos {
                QoS::AtMostOnce => &counters.dropped_qos0,
                QoS::AtLeastOnce => &counters.dropped_qos1,
            };
            add(counter, 1);
            return Pushed::Dropped;
        }
        state.bytes += size;
        state.queue.push_back(outgoing);
        wakers.extend(state.waker.take());
        Pushed::Queued
    }

    /// True when a message for the client may wait long, so that it needs memory of its own.
    pub(super) fn is_backlogged(&self) -> bool {
        self.lock().bytes > BACKLOG
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
        let released = state.hand_out(room, core, batch);
        state.bytes -= released;
        if batch.is_empty() && !state.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        drop(state);
        sub(&core.counters.queued_bytes, released);
        Turn::Go
    }

    /// Takes acknowledgements of the client.
    pub(super) fn acknowledge(&self, generation: u64, ids: &[u16], core: &Core) {
        let mut state = self.lock();
        if state.generation != generation {
            return;
        }
        let mut released = 0;
        for &id in ids {
            let sent = state.sent;
            let found = state.inflight.iter().take(sent).position(|(seq, _)| packet_id(*seq) == id);
            if let Some((_, outgoing)) = found.and_then(|at| state.inflight.remove(at)) {
                state.sent -= 1;
                released += outgoing.routed.size;
            }
        }
        state.bytes -= released;
        drop(state);
        sub(&core.counters.queued_bytes, released);
    }
}

/// Bytes that may wait before messages are copied out of the buffers they were read into, each of
/// which has up to 64 KiB.
const BACKLOG: usize = 8 << 10;

impl State {
    /// Moves messages to `batch` and returns the bytes that no longer wait.
    fn hand_out(&mut self, room: usize, core: &Core, batch: &mut Vec<Sending>) -> usize {
        let Some(online) = &self.online else { return 0 };
        let (window, packet_bytes, version) =
            (online.inflight, online.packet_bytes, online.version);
        let (mut taken, mut released) = (0, 0);
        while taken < room && self.sent < self.inflight.len() && self.sent < window {
            let (seq, outgoing) = &self.inflight[self.sent];
            taken += outgoing.routed.size;
            let packet_id = packet_id(*seq);
            batch.push(Sending { outgoing: outgoing.clone(), packet_id, dup: true });
            self.sent += 1;
        }
        while taken < room && self.sent == self.inflight.len() {
            let Some(next) = self.queue.front() else { break };
            let reliable = next.qos == QoS::AtLeastOnce;
            if reliable && !self.may_send(window) {
                break;
            }
            let Some(outgoing) = self.queue.pop_front() else { break };
            let size = outgoing.routed.size;
            let expires = outgoing.routed.expires_ms;
            if expires.is_some_and(|at| at <= (core.clock)()) {
                add(&core.counters.dropped_expired, 1);
                released += size;
                continue;
            }
            if is_larger(&outgoing, version, packet_bytes) {
                add(&core.counters.dropped_too_large, 1);
                released += size;
                continue;
            }
            taken += size;
            let mut id = 0;
            if reliable {
                id = packet_id(self.next_seq);
                self.inflight.push_back((self.next_seq, outgoing.clone()));
                self.next_seq += 1;
                self.sent += 1;
            } else {
                released += size;
            }
            batch.push(Sending { outgoing, packet_id: id, dup: false });
        }
        released
    }

    /// False while the client has enough unacknowledged messages, or the next packet identifier is
    /// still in use because the client has left out one message for a whole turn of identifiers.
    fn may_send(&self, window: usize) -> bool {
        let oldest = self.inflight.front().map_or(self.next_seq, |(seq, _)| *seq);
        self.inflight.len() < window && self.next_seq - oldest < IDS
    }
}

/// How many packet identifiers there are.
const IDS: u64 = 65_535;

fn packet_id(seq: u64) -> u16 {
    u16::try_from(seq % IDS + 1).unwrap_or(u16::MAX)
}

fn is_larger(outgoing: &Outgoing, version: Version, most: usize) -> bool {
    // 64 bytes are more than the header and the subscription identifiers add in the usual case.
    if most == usize::MAX || outgoing.routed.size + 64 <= most {
        return false;
    }
    let properties = outgoing.routed.properties_for(&outgoing.ids, 0);
    let head = PublishHead {
        dup: false,
        qos: outgoing.qos.level(),
        retain: false,
        packet_id: 1,
        properties: &properties,
    };
    publish_len(head, outgoing.routed.topic.as_str(), &outgoing.routed.payload, version) > most
}

/// Adds to an amount unless it would pass the limit.
fn reserve(amount: &AtomicU64, size: usize, most: usize) -> bool {
    let size = size as u64;
    let before = amount.fetch_add(size, Ordering::Relaxed);
    let fits = before + size <= most as u64;
    if !fits {
        amount.fetch_sub(size, Ordering::Relaxed);
    }
    fits
}
