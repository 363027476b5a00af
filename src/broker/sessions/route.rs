//! From a published message to the queues of those who subscribed to it, and to the retained ones.
//!
//! This path does not know the engine: a subscriber gets a message whatever the rules do.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::Waker;

use contract::Message;

use super::Sessions;
use super::journal::{Group, Journal};
use super::outbox::Outgoing;
use super::publication::Publication;
use super::retained::Kept;
use super::session::{Pushed, Session, Wakers};
use super::trie::{Publisher, Target};
use crate::counters::add;

/// What became of a published message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivered {
    /// Sessions that it was queued for.
    pub queued: usize,
    /// Sessions that could not take it: queue full, or QoS 0 and the client absent.
    pub dropped: usize,
    /// It was to be retained, and there was no room.
    pub not_retained: bool,
    /// It was queued for nobody, because what sessions are to keep cannot be written at present.
    pub refused: bool,
    /// The group of changes that it is written with, when some of it is to survive the process.
    pub(crate) group: Option<Group>,
}

impl Delivered {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            queued: self.queued + other.queued,
            dropped: self.dropped + other.dropped,
            not_retained: self.not_retained || other.not_retained,
            refused: self.refused || other.refused,
            group: self.group.max(other.group),
        }
    }
}

impl Sessions {
    /// Queues a message for all who subscribed to its topic, and keeps it when it is retained.
    /// Never waits. The caller wakes the `wakers` after the last message of a batch.
    pub fn route(
        &self,
        publication: &Publication,
        from: Publisher,
        wakers: &mut Wakers,
    ) -> Delivered {
        self.route_to(publication, from, None, wakers)
    }

    /// The same, and to one session whether it has subscribed or not, once.
    fn route_to(
        &self,
        publication: &Publication,
        from: Publisher,
        addressee: Option<Arc<Session>>,
        wakers: &mut Wakers,
    ) -> Delivered {
        let mut delivered = Delivered::default();
        let message = &publication.message;
        let mut targets =
            self.trie.read().unwrap_or_else(PoisonError::into_inner).matches(&message.topic, from);
        if let Some(session) = addressee
            && targets.iter().all(|target| target.session.number != session.number)
        {
            targets.push(Target::without_subscription(session));
        }
        if self.must_refuse(message, &targets) {
            delivered.refused = true;
            return delivered;
        }
        if message.retain {
            let (kept, group) = self.keep(publication);
            delivered.not_retained = kept == Kept::Full;
            delivered.group = group.filter(|_| message.qos.is_acknowledged());
        }
        let (mut shared, mut copied) = (None, None);
        for target in targets {
            let qos = target.qos.min(message.qos);
            let needs_copy = qos.is_acknowledged() || target.session.is_backlogged();
            let routed = if needs_copy {
                copied.get_or_insert_with(|| Arc::new(publication.copied(self.shared.topics)))
            } else {
                shared.get_or_insert_with(|| Arc::new(publication.routed()))
            };
            let outgoing = Outgoing {
                routed: Arc::clone(routed),
                qos,
                retain: message.retain && target.retain_as_published,
                ids: target.ids,
                shared: target.shared,
            };
            match target.session.push(outgoing, &self.shared, wakers) {
                Pushed::Queued(group) => {
                    delivered.queued += 1;
                    delivered.group = delivered.group.max(group);
                }
                Pushed::Dropped => delivered.dropped += 1,
            }
        }
        delivered
    }

    /// True when the message would be promised to somebody, and that cannot be written at present. It
    /// comes again, and would be queued again.
    fn must_refuse(&self, message: &Message, targets: &[Target]) -> bool {
        let failing = self.shared.journal.as_ref().is_some_and(Journal::is_failing);
        let kept = |target: &Target| target.qos.is_acknowledged() && target.session.is_kept();
        failing && message.qos.is_acknowledged() && (message.retain || targets.iter().any(kept))
    }

    /// Routes one message of the daemon's own and wakes who got it.
    pub fn route_now(&self, publication: &Publication) -> Delivered {
        let mut wakers = Wakers::new();
        let delivered = self.route(publication, Publisher::NOBODY, &mut wakers);
        for waker in wakers {
            waker.wake();
        }
        delivered
    }

    /// Routes a message that the daemon publishes, also to the client that the topic is for, if there is
    /// one.
    pub fn route_downlink(&self, publication: &Publication, addressee: Option<&str>) -> Delivered {
        let session = addressee.and_then(|id| self.receiver(id));
        let mut wakers = Wakers::new();
        let delivered = self.route_to(publication, Publisher::NOBODY, session, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        delivered
    }

    /// Gives messages of a session that has ended to another member of their shared subscription each
    /// (MQTT 5.0 §4.8.2).
    pub(super) fn hand_on(&self, back: Vec<Outgoing>) {
        let mut wakers = Wakers::new();
        for outgoing in back {
            let trie = self.trie.read().unwrap_or_else(PoisonError::into_inner);
            let member = outgoing.shared.as_ref().and_then(|wanted| trie.member(wanted));
            drop(trie);
            let Some((session, qos)) = member else {
                add(&self.shared.counters.dropped_session, 1);
                continue;
            };
            let outgoing = Outgoing { qos: qos.min(outgoing.routed.qos), ..outgoing };
            session.push(outgoing, &self.shared, &mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Keeps a retained message, or forgets the topic's when the payload is empty.
    fn keep(&self, publication: &Publication) -> (Kept, Option<Group>) {
        let message = &publication.message;
        let fresh =
            (!message.payload.is_empty()).then(|| Arc::new(publication.copied(self.shared.topics)));
        let mut retained = self.retained.write().unwrap_or_else(PoisonError::into_inner);
        let kept = match fresh {
            None => {
                retained.clear(&message.topic);
                Kept::Yes
            }
            Some(fresh) => retained.keep(fresh, &self.shared.limits, message.received_ms),
        };
        let note = |journal: &Journal<Session>| journal.note_retained(&self.shared.counters);
        let group = self.shared.journal.as_ref().map(note);
        self.shared.counters.retained.store(retained.len() as u64, Ordering::Relaxed);
        drop(retained);
        if kept == Kept::Full {
            add(&self.shared.counters.refused_retained, 1);
        }
        (kept, group)
    }
}
