//! What waits for one client and what the client has not acknowledged, in order.
//!
//! A plain state machine under its session's lock: it wakes nobody and writes nothing. It knows which of
//! its messages the store has, so that only differences are written.

use std::collections::VecDeque;
use std::sync::Arc;

use connectors::contract::QoS;
use smallvec::SmallVec;

use super::codec::{PublishHead, Reason, Version, publish_len};
use super::core::Core;
use super::counters::add;
use super::route::Routed;
use super::trie::Wanted;

/// A message for one client.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub routed: Arc<Routed>,
    pub qos: QoS,
    pub retain: bool,
    pub ids: SmallVec<[u32; 2]>,
    /// The shared subscription that chose the client.
    pub shared: Option<Arc<Wanted>>,
}

/// What is to be written to the client now.
#[derive(Debug)]
pub(super) enum Sending {
    /// PUBLISH.
    Message { outgoing: Outgoing, packet_id: u16, dup: bool },
    /// PUBREL, again.
    Release { packet_id: u16 },
}

/// What a client says about a message that was sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acked {
    /// PUBACK.
    Ack(u16),
    /// PUBREC, with its reason.
    Received(u16, Reason),
    /// PUBCOMP.
    Complete(u16),
}

/// What a connection takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Unacknowledged messages of QoS 1 and 2 at the same time.
    pub messages: usize,
    /// Bytes of a packet.
    pub packet_bytes: usize,
    pub version: Version,
}

/// A message and its place in the store.
#[derive(Debug)]
pub(super) struct Entry {
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
    outgoing: Option<Outgoing>,
}

/// A difference between an outbox and what the store has of it.
#[derive(Debug)]
pub(super) enum Difference {
    Add(Entry),
    /// It was sent, or the client has it; the rest of it is as it was.
    Change(Entry),
    Remove(u64),
}

/// Messages in order: those that were sent and not settled, then those that wait.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Queued>,
    inflight: VecDeque<Unacked>,
    /// How many of `inflight`, from the front, were sent over the present connection.
    sent: usize,
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
    pub(super) fn bytes(&self) -> usize {
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
    pub(super) fn restore(&mut self, entry: Entry) {
        let Entry { key, seq, outgoing } = entry;
        self.last_key = self.last_key.max(key);
        self.bytes += outgoing.as_ref().map_or(0, |outgoing| outgoing.routed.size);
        match (seq, outgoing) {
            (Some(seq), outgoing) => {
                self.next_seq = self.next_seq.max(seq + 1);
                self.inflight.push_back(Unacked { seq, key, changed: false, outgoing });
            }
            (None, Some(outgoing)) => self.queue.push_back(Queued { key, outgoing }),
            (None, None) => self.gone.push(key),
        }
    }

    /// A message of the store is not to be kept.
    pub(super) fn drop_stored(&mut self, key: u64) {
        self.last_key = self.last_key.max(key);
        self.gone.push(key);
    }

    /// A new connection: what is not settled is sent again.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
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
    /// whether there is something new for the store.
    pub(super) fn hand_out(
        &mut self,
        window: Window,
        room: usize,
        core: &Core,
        batch: &mut Vec<Sending>,
    ) -> (usize, bool) {
        let (mut taken, mut released, mut changed) = (0, 0, false);
        while taken < room && self.sent < self.inflight.len() && self.sent < window.messages {
            let Unacked { seq, outgoing, .. } = &self.inflight[self.sent];
            let packet_id = packet_id(*seq);
            match outgoing.clone() {
                Some(outgoing) => {
                    taken += outgoing.routed.size;
                    batch.push(Sending::Message { outgoing, packet_id, dup: true });
                }
                None => batch.push(Sending::Release { packet_id }),
            }
            self.sent += 1;
        }
        while taken < room && self.sent == self.inflight.len() {
            let Some(next) = self.queue.front() else { break };
            let reliable = next.outgoing.qos.is_acknowledged();
            if reliable && !self.may_send(window.messages) {
                break;
            }
            let Some(Queued { key, outgoing }) = self.queue.pop_front() else { break };
            let size = outgoing.routed.size;
            let expired = outgoing.routed.expires_ms.is_some_and(|at| at <= core.now_ms());
            if expired || is_larger(&outgoing, window) {
                let counters = &core.counters;
                add(
                    if expired { &counters.dropped_expired } else { &counters.dropped_too_large },
                    1,
                );
                changed |= self.forget(key);
                released += size;
                continue;
            }
            taken += size;
            let mut id = 0;
            if reliable {
                id = packet_id(self.next_seq);
                let (seq, outgoing) = (self.next_seq, Some(outgoing.clone()));
                self.inflight.push_back(Unacked { seq, key, changed: true, outgoing });
                self.next_seq += 1;
                self.sent += 1;
                changed = true;
            } else {
                released += size;
            }
            batch.push(Sending::Message { outgoing, packet_id: id, dup: false });
        }
        self.bytes -= released;
        (released, changed)
    }

    /// Takes an acknowledgement of the client, adds the PUBREL that it calls for to `releases`, and
    /// returns the bytes that no longer wait.
    pub(super) fn acknowledge(&mut self, ack: Acked, releases: &mut Vec<(u16, Reason)>) -> usize {
        let released = match ack {
            Acked::Ack(id) => self.settle(id, |qos| qos == Some(QoS::AtLeastOnce)),
            Acked::Complete(id) => self.settle(id, |qos| qos.is_none()),
            Acked::Received(id, reason) if reason.is_error() => {
                self.settle(id, |qos| qos == Some(QoS::ExactlyOnce))
            }
            Acked::Received(id, _) => {
                let found = self.hand_over(id);
                let reason = match found {
                    Some(_) => Reason::SUCCESS,
                    None => Reason::PACKET_ID_NOT_FOUND,
                };
                releases.push((id, reason));
                found.unwrap_or(0)
            }
        };
        self.bytes -= released;
        released
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
        let found = self.position(id, wanted);
        let Some(unacked) = found.and_then(|at| self.inflight.remove(at)) else { return 0 };
        self.sent -= 1;
        self.forget(unacked.key);
        unacked.outgoing.map_or(0, |outgoing| outgoing.routed.size)
    }

    /// The client has a message of QoS 2, which is dropped, its identifier not. Returns the bytes that
    /// no longer wait, or `None` when there is no such message.
    fn hand_over(&mut self, id: u16) -> Option<usize> {
        let at = self.position(id, |have| have.is_none_or(|qos| qos == QoS::ExactlyOnce))?;
        let unacked = &mut self.inflight[at];
        unacked.changed = true;
        Some(unacked.outgoing.take().map_or(0, |outgoing| outgoing.routed.size))
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

    /// Tells what the store does not know, and takes it for known.
    pub(super) fn differences(&mut self, out: &mut Vec<Difference>) {
        out.extend(std::mem::take(&mut self.gone).into_iter().map(Difference::Remove));
        for unacked in self.inflight.iter_mut().filter(|unacked| unacked.changed) {
            unacked.changed = false;
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
