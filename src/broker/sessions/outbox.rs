//! What waits for one client and what the client has not acknowledged, in order.
//!
//! A plain state machine under its session's lock: it wakes nobody and writes nothing. It knows which of
//! its messages the store has, so that only differences are written.

use std::collections::VecDeque;
use std::sync::Arc;

use contract::QoS;
use smallvec::SmallVec;

use super::publication::Routed;
use super::subscription::Wanted;
use crate::codec::{PublishHead, Reason, Version, publish_len};
use crate::counters::{Counters, add};
use crate::hooks::Clock;

/// A message for one client.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub routed: Arc<Routed>,
    pub qos: QoS,
    pub retain: bool,
    pub ids: SmallVec<[u32; 2]>,
    /// The shared subscription that chose the client.
    pub shared: Option<Arc<Wanted>>,
}

/// What is to be written to the client now.
#[derive(Debug)]
pub enum Sending {
    /// PUBLISH.
    Message { outgoing: Outgoing, packet_id: u16, dup: bool },
    /// PUBREL, again.
    Release { packet_id: u16 },
}

/// What a client says about a message that was sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acked {
    /// PUBACK.
    Ack(u16),
    /// PUBREC, with its reason.
    Received(u16, Reason),
    /// PUBCOMP.
    Complete(u16),
}

/// What a connection takes.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Unacknowledged messages of QoS 1 and 2 at the same time.
    pub messages: usize,
    /// Bytes of a packet.
    pub packet_bytes: usize,
    pub version: Version,
}

/// The connection that messages are handed out to, and what tells and counts those that it does not get.
#[derive(Clone, Copy)]
pub(super) struct Taker<'a> {
    pub window: Window,
    pub clock: &'a Clock,
    pub counters: &'a Counters,
}

/// A message and its place in the store.
#[derive(Debug)]
pub struct Entry {
    /// The store's name for it, increasing; 0 when the store does not have it.
    pub key: u64,
    /// The number that its packet identifier comes from, once it was sent.
    pub seq: Option<u64>,
    /// `None` when the client has it (PUBREC) and PUBCOMP is awaited.
    pub outgoing: Option<Outgoing>,
}

#[derive(Debug)]
struct Queued {
    key: u64,
    outgoing: Outgoing,
}

#[derive(Debug)]
struct Unacked {
    seq: u64,
    key: u64,
    /// The store has it in an earlier state.
    changed: bool,
    /// It is being written as it is, or as it was.
    writing: bool,
    /// The client may have got it.
    tried: bool,
    outgoing: Option<Outgoing>,
}

impl Unacked {
    /// Something of QoS 2 that is not on disk as it is.
    fn is_held(&self) -> bool {
        let exactly_once = |outgoing: &Outgoing| outgoing.qos == QoS::ExactlyOnce;
        (self.changed || self.writing) && self.outgoing.as_ref().is_none_or(exactly_once)
    }
}

/// A difference between an outbox and what the store has of it.
#[derive(Debug)]
pub enum Difference {
    Add(Entry),
    /// It was sent, or the client has it; the rest of it is as it was.
    Change(Entry),
    Remove(u64),
}

/// Messages in order: those that were sent and not settled, then those that wait.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Queued>,
    inflight: VecDeque<Unacked>,
    /// How many of `inflight`, from the front, were sent over the present connection.
    sent: usize,
    /// Numbers of messages whose PUBREC is to be answered, in its order.
    releasing: VecDeque<u64>,
    next_seq: u64,
    last_key: u64,
    bytes: usize,
    /// Keys of messages that the store has, and that are settled.
    gone: Vec<u64>,
}

/// How many packet identifiers there are.
const IDS: u64 = 65_535;

fn packet_id(seq: u64) -> u16 {
    u16::try_from(seq % IDS + 1).unwrap_or(u16::MAX)
}

impl Outbox {
    /// Bytes of all messages.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages that were not sent yet.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn push(&mut self, outgoing: Outgoing) {
        self.bytes += outgoing.routed.size;
        self.queue.push_back(Queued { key: 0, outgoing });
    }

    /// A message of the store, in the order of their keys.
    pub fn restore(&mut self, entry: Entry) {
        let Entry { key, seq, outgoing } = entry;
        self.last_key = self.last_key.max(key);
        self.bytes += outgoing.as_ref().map_or(0, |outgoing| outgoing.routed.size);
        match (seq, outgoing) {
            (Some(seq), outgoing) => {
                self.next_seq = self.next_seq.max(seq + 1);
                let (changed, writing, tried) = (false, false, true);
                self.inflight.push_back(Unacked { seq, key, changed, writing, tried, outgoing });
            }
            (None, Some(outgoing)) => self.queue.push_back(Queued { key, outgoing }),
            (None, None) => self.gone.push(key),
        }
    }

    /// A message of the store is not to be kept.
    pub fn drop_stored(&mut self, key: u64) {
        self.last_key = self.last_key.max(key);
        self.gone.push(key);
    }

    /// A new connection: what is not settled is sent again.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
        self.releasing.clear();
    }

    /// Drops what is only for a client that is there; returns how many and their bytes.
    pub(super) fn drop_unreliable(&mut self) -> (usize, usize) {
        let (mut count, mut bytes) = (0, 0);
        self.queue.retain(|queued| {
            let keep = queued.outgoing.qos.is_acknowledged();
            if !keep {
                count += 1;
                bytes += queued.outgoing.routed.size;
            }
            keep
        });
        self.queue.shrink_to_fit();
        self.bytes -= bytes;
        (count, bytes)
    }

    /// Empties the outbox. Returns the messages that another member of a shared subscription may get
    /// (MQTT 5.0 §4.8.2), and how many others the client does not have. A message of QoS 2 that was sent
    /// goes to nobody else (MQTT-4.8.2-5).
    pub(super) fn clear(&mut self) -> (Vec<Outgoing>, usize) {
        let sent = self.inflight.drain(..).filter_map(|unacked| unacked.outgoing);
        let sent = sent.map(|outgoing| (outgoing.qos != QoS::ExactlyOnce, outgoing));
        let waiting = self.queue.drain(..).map(|queued| (true, queued.outgoing));
        let (mut back, mut lost) = (Vec::new(), 0);
        for (may_go_on, outgoing) in sent.chain(waiting) {
            if may_go_on && outgoing.shared.is_some() {
                back.push(outgoing);
            } else {
                lost += 1;
            }
        }
        *self = Self::default();
        (back, lost)
    }

    /// Moves about `room` bytes of messages to `batch` and returns the bytes that no longer wait, and
    /// whether there is something new for the store. With `keeps`, nothing of QoS 2 goes out before the
    /// store has its packet identifier, and no PUBREL before the store knows of the PUBREC: after a crash
    /// the client would take the message for another one.
    pub(super) fn hand_out(
        &mut self,
        to: Taker<'_>,
        room: usize,
        keeps: bool,
        batch: &mut Vec<Sending>,
    ) -> (usize, bool) {
        let (before, mut taken, mut changed) = (self.bytes, 0, false);
        if room > 0 {
            self.hand_out_releases(keeps, batch);
        }
        while taken < room {
            if self.sent == self.inflight.len() {
                let Some(queued) = self.next(to, &mut changed) else { break };
                if queued.outgoing.qos.is_acknowledged() {
                    self.number(queued);
                    changed = true;
                    continue;
                }
                taken += queued.outgoing.routed.size;
                self.bytes -= queued.outgoing.routed.size;
                let (outgoing, packet_id, dup) = (queued.outgoing, 0, false);
                batch.push(Sending::Message { outgoing, packet_id, dup });
                continue;
            }
            if self.sent >= to.window.messages {
                break;
            }
            let unacked = &mut self.inflight[self.sent];
            if keeps && unacked.is_held() {
                // All that may follow gets its number now, so that one write serves it.
                changed |= self.number_ahead(to);
                break;
            }
            let (packet_id, dup) = (packet_id(unacked.seq), unacked.tried);
            match unacked.outgoing.clone() {
                Some(outgoing) if !dup && outgoing.is_expired(to.clock) => {
                    add(&to.counters.dropped_expired, 1);
                    changed |= self.remove(self.sent) > 0;
                    continue;
                }
                Some(outgoing) => {
                    taken += outgoing.routed.size;
                    batch.push(Sending::Message { outgoing, packet_id, dup });
                }
                None => batch.push(Sending::Release { packet_id }),
            }
            unacked.tried = true;
            self.sent += 1;
        }
        (before - self.bytes, changed)
    }

    /// PUBRELs in the order in which PUBRECs came (MQTT-4.6.0-4).
    fn hand_out_releases(&mut self, keeps: bool, batch: &mut Vec<Sending>) {
        while let Some(seq) = self.releasing.front() {
            let found = self.inflight.binary_search_by_key(seq, |unacked| unacked.seq);
            if let Ok(at) = found {
                if keeps && self.inflight[at].is_held() {
                    return;
                }
                batch.push(Sending::Release { packet_id: packet_id(*seq) });
            }
            self.releasing.pop_front();
        }
        self.releasing.shrink_to_fit();
    }

    /// The first message of the queue that may be sent; those that never are go. `None` when it has to
    /// wait for the client.
    fn next(&mut self, to: Taker<'_>, changed: &mut bool) -> Option<Queued> {
        loop {
            let next = self.queue.front()?;
            let (expired, reliable) =
                (next.outgoing.is_expired(to.clock), next.outgoing.qos.is_acknowledged());
            if reliable && !self.may_send(to.window.messages) {
                return None;
            }
            if !expired && !is_larger(&next.outgoing, to.window) {
                return self.queue.pop_front();
            }
            let counters = to.counters;
            add(if expired { &counters.dropped_expired } else { &counters.dropped_too_large }, 1);
            let Queued { key, outgoing } = self.queue.pop_front()?;
            self.bytes -= outgoing.routed.size;
            *changed |= self.forget(key);
        }
    }

    /// Gives a message its number, and so its packet identifier.
    fn number(&mut self, Queued { key, outgoing }: Queued) {
        let (seq, outgoing) = (self.next_seq, Some(outgoing));
        self.next_seq += 1;
        let (changed, writing, tried) = (true, false, false);
        self.inflight.push_back(Unacked { seq, key, changed, writing, tried, outgoing });
    }

    /// Numbers what may follow those that are held, up to the next message of QoS 0, which keeps its
    /// place. True when there is something new for the store.
    fn number_ahead(&mut self, to: Taker<'_>) -> bool {
        let mut changed = false;
        while self.queue.front().is_some_and(|next| next.outgoing.qos.is_acknowledged()) {
            let Some(queued) = self.next(to, &mut changed) else { break };
            if !queued.outgoing.qos.is_acknowledged() {
                // What stood before it has expired.
                self.queue.push_front(queued);
                break;
            }
            self.number(queued);
            changed = true;
        }
        changed
    }

    /// Takes an acknowledgement of the client and returns the bytes that no longer wait. What it says of
    /// no message that was sent goes to `unknown`.
    pub(super) fn acknowledge(&mut self, ack: Acked, unknown: &mut Vec<u16>) -> usize {
        match ack {
            Acked::Ack(id) => self.settle(id, |qos| qos == Some(QoS::AtLeastOnce)),
            Acked::Complete(id) => self.settle(id, |qos| qos.is_none()),
            Acked::Received(id, reason) if reason.is_error() => {
                self.settle(id, |qos| qos == Some(QoS::ExactlyOnce))
            }
            Acked::Received(id, _) => self.hand_over(id).unwrap_or_else(|| {
                unknown.push(id);
                0
            }),
        }
    }

    /// What was asked of the store is on disk.
    pub(super) fn stored(&mut self) {
        self.inflight.iter_mut().for_each(|unacked| unacked.writing = false);
    }

    /// Where a message stands among those that were sent over the present connection. `wanted` is asked
    /// about its QoS, `None` when the client has it.
    fn position(&self, id: u16, wanted: impl Fn(Option<QoS>) -> bool) -> Option<usize> {
        self.inflight.iter().take(self.sent).position(|unacked| {
            let qos = unacked.outgoing.as_ref().map(|outgoing| outgoing.qos);
            packet_id(unacked.seq) == id && wanted(qos)
        })
    }

    fn settle(&mut self, id: u16, wanted: impl Fn(Option<QoS>) -> bool) -> usize {
        let Some(at) = self.position(id, wanted) else { return 0 };
        self.sent -= 1;
        self.remove(at)
    }

    /// Removes a message that was numbered and returns its bytes.
    fn remove(&mut self, at: usize) -> usize {
        let Some(unacked) = self.inflight.remove(at) else { return 0 };
        self.forget(unacked.key);
        let size = unacked.outgoing.map_or(0, |outgoing| outgoing.routed.size);
        self.bytes -= size;
        size
    }

    /// The client has a message of QoS 2, which is dropped, its identifier not. Returns the bytes that
    /// no longer wait, or `None` when there is no such message.
    fn hand_over(&mut self, id: u16) -> Option<usize> {
        let at = self.position(id, |have| have.is_none_or(|qos| qos == QoS::ExactlyOnce))?;
        let unacked = &mut self.inflight[at];
        let size = unacked.outgoing.take().map_or(0, |outgoing| outgoing.routed.size);
        // A repetition changes nothing.
        unacked.changed |= size > 0;
        self.releasing.push_back(unacked.seq);
        self.bytes -= size;
        Some(size)
    }

    /// False while the client has enough unacknowledged messages, or the next packet identifier is
    /// still in use because the client has left out one message for a whole turn of identifiers.
    fn may_send(&self, window: usize) -> bool {
        let oldest = self.inflight.front().map_or(self.next_seq, |unacked| unacked.seq);
        self.inflight.len() < window && self.next_seq - oldest < IDS
    }

    /// A message is settled; true when the store has it.
    fn forget(&mut self, key: u64) -> bool {
        if key > 0 {
            self.gone.push(key);
        }
        key > 0
    }

    /// Tells what the store does not know, and takes it for known. True when something is sent once
    /// the store has it.
    pub fn differences(&mut self, out: &mut Vec<Difference>) -> bool {
        let mut holds = false;
        out.extend(std::mem::take(&mut self.gone).into_iter().map(Difference::Remove));
        for unacked in self.inflight.iter_mut().filter(|unacked| unacked.changed) {
            holds |= unacked.is_held();
            (unacked.changed, unacked.writing) = (false, true);
            let is_new = unacked.key == 0;
            if is_new {
                self.last_key += 1;
                unacked.key = self.last_key;
            }
            let (key, seq) = (unacked.key, Some(unacked.seq));
            let entry = Entry { key, seq, outgoing: unacked.outgoing.clone() };
            out.push(if is_new { Difference::Add(entry) } else { Difference::Change(entry) });
        }
        // Those that the store has come first, but for the ones that it never gets.
        let known = self.queue.iter().rposition(|queued| queued.key > 0).map_or(0, |at| at + 1);
        for queued in self.queue.iter_mut().skip(known) {
            if queued.outgoing.qos.is_acknowledged() {
                self.last_key += 1;
                queued.key = self.last_key;
                let outgoing = Some(queued.outgoing.clone());
                out.push(Difference::Add(Entry { key: queued.key, seq: None, outgoing }));
            }
        }
        holds
    }
}

impl Outgoing {
    fn is_expired(&self, clock: &Clock) -> bool {
        self.routed.expires_ms.is_some_and(|at| at <= clock())
    }
}

fn is_larger(outgoing: &Outgoing, window: Window) -> bool {
    let most = window.packet_bytes;
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
        topic_alias: None,
        properties: &properties,
    };
    let routed = &outgoing.routed;
    publish_len(head, routed.topic.as_str(), &routed.payload, window.version) > most
}
