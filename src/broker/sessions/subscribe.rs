//! Who wants what: subscriptions come, with the retained messages that they match, and go.

use std::sync::{Arc, PoisonError};
use std::task::Waker;

use bytestring::ByteString;

use super::Sessions;
use super::journal::Group;
use super::outbox::Outgoing;
use super::session::{Left, Pushed, Session, State, Wakers};
use super::subscription::{Subscribed, Terms, Wanted};
use super::trie::Subscription;
use crate::codec::Reason;
use crate::counters::{add, sub};

/// Subscriptions that a gateway's session may have for each device that has logged in over it, beside its
/// own.
const SUBSCRIPTIONS_OF_A_DEVICE: usize = 100;

impl Sessions {
    /// Adds a subscription: whether the session had none to that filter, and the group of changes that
    /// it is written with.
    pub fn subscribe(
        &self,
        session: &Arc<Session>,
        generation: u64,
        text: &str,
        wanted: &Wanted,
        terms: Terms,
    ) -> Result<(bool, Option<Group>), Reason> {
        let mut state = session.lock();
        if state.generation != generation {
            return Err(Reason::UNSPECIFIED);
        }
        let known = state.subscriptions.get_mut(text);
        let known = known.map(|known| std::mem::replace(&mut known.terms, terms));
        let (is_new, changed) = match known {
            Some(before) => (false, before != terms),
            None if state.subscriptions.len() >= self.most_subscriptions(&state) => {
                return Err(Reason::QUOTA_EXCEEDED);
            }
            None => {
                let subscribed = Subscribed { wanted: wanted.clone(), terms };
                state.subscriptions.insert(text.into(), subscribed);
                add(&self.shared.counters.subscriptions, 1);
                (true, true)
            }
        };
        let group = if changed { session.touch_all(&mut state, &self.shared) } else { None };
        // Under the session's lock, so that the end of the session cannot come in between.
        let subscription = Subscription { session: Arc::clone(session), terms };
        self.trie.write().unwrap_or_else(PoisonError::into_inner).insert(wanted, subscription);
        Ok((is_new, group))
    }

    /// Subscriptions of a session: a gateway's has room for its devices', too.
    fn most_subscriptions(&self, state: &State) -> usize {
        let sub_devices = state.online.as_ref().map_or(0, |o| o.identity.sub_devices.len());
        self.shared.limits.subscriptions + sub_devices * SUBSCRIPTIONS_OF_A_DEVICE
    }

    /// The subscriptions of a session of an earlier run.
    pub(super) fn subscribe_again(
        &self,
        session: &Arc<Session>,
        subscriptions: Vec<(ByteString, Subscribed)>,
    ) {
        add(&self.shared.counters.subscriptions, subscriptions.len());
        let mut state = session.lock();
        let mut trie = self.trie.write().unwrap_or_else(PoisonError::into_inner);
        for (text, subscribed) in subscriptions {
            let subscription =
                Subscription { session: Arc::clone(session), terms: subscribed.terms };
            trie.insert(&subscribed.wanted, subscription);
            state.subscriptions.insert(text, subscribed);
        }
    }

    /// Queues the retained messages that a filter matches for a session that has subscribed to it. Returns
    /// the group of changes that they are written with.
    pub fn push_retained(
        &self,
        session: &Session,
        wanted: &Wanted,
        Terms { qos, id, .. }: Terms,
    ) -> Option<Group> {
        let found = {
            let kept = self.retained.read().unwrap_or_else(PoisonError::into_inner);
            kept.find(&wanted.filter, self.shared.now_ms())
        };
        let (mut wakers, mut group) = (Wakers::new(), None);
        for routed in found {
            let ids = id.into_iter().collect();
            let qos = qos.min(routed.qos);
            let outgoing = Outgoing { qos, routed, retain: true, ids, shared: None };
            if let Pushed::Queued(with) = session.push(outgoing, &self.shared, &mut wakers) {
                group = group.max(with);
            }
        }
        wakers.into_iter().for_each(Waker::wake);
        group
    }

    /// Removes a subscription: `None` when there was none, else the group of changes that this is
    /// written with.
    pub fn unsubscribe(
        &self,
        session: &Session,
        generation: u64,
        text: &str,
    ) -> Option<Option<Group>> {
        let mut state = session.lock();
        if state.generation != generation {
            return None;
        }
        let subscribed = state.subscriptions.remove(text)?;
        sub(&self.shared.counters.subscriptions, 1);
        let group = session.touch_all(&mut state, &self.shared);
        self.forget(&[subscribed.wanted], session.number);
        Some(group)
    }

    /// Removes the subscriptions of a session that has ended, and gives its messages to others that
    /// share them.
    pub(super) fn settle_left(&self, left: Left, number: u64) {
        self.forget(&left.orphans, number);
        self.hand_on(left.back);
    }

    /// Removes subscriptions of a session from the tree.
    pub(super) fn forget(&self, orphans: &[Wanted], number: u64) {
        if orphans.is_empty() {
            return;
        }
        let mut trie = self.trie.write().unwrap_or_else(PoisonError::into_inner);
        for wanted in orphans {
            trie.remove(wanted, number);
        }
    }
}
