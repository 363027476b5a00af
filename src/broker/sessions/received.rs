//! Which QoS 2 messages of a client are between PUBLISH and PUBREL, so that none is taken twice
//! (MQTT 5.0 §4.3.3).
//!
//! It holds packet identifiers only; what the engine decides about a message comes from outside.

use std::task::Waker;

/// What a PUBLISH of QoS 2 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// A new message.
    New,
    /// A repetition of one that the engine has not decided about.
    Undecided,
    /// A repetition of one that the engine has accepted.
    Accepted,
    /// A repetition of one that the engine has refused, and that subscribers have.
    Routed,
    /// The session belongs to another connection now.
    Stale,
}

/// The packet identifiers of one client. The lists are sorted and hold at most 65,535 together, which
/// is what the protocol can number.
#[derive(Debug, Default)]
pub struct Received {
    /// The engine has them and has not decided.
    undecided: Vec<u16>,
    /// The engine has accepted them, and the client has not released them.
    accepted: Vec<u16>,
    /// The engine has refused them, and subscribers have them.
    routed: Vec<u16>,
    /// Told when one of `undecided` is decided about.
    wakers: Vec<Waker>,
}

impl Received {
    /// What an earlier run knew.
    pub fn restored(accepted: Vec<u16>, routed: Vec<u16>) -> Self {
        let sorted = |mut list: Vec<u16>| {
            list.sort_unstable();
            list.dedup();
            list
        };
        Self { accepted: sorted(accepted), routed: sorted(routed), ..Self::default() }
    }

    /// What the engine has accepted and the client has not released.
    pub fn accepted(&self) -> &[u16] {
        &self.accepted
    }

    /// What subscribers have and the engine has not accepted: after a crash it is not known whether
    /// it has.
    pub fn routed(&self) -> Vec<u16> {
        [self.routed.as_slice(), &self.undecided].concat()
    }

    /// What a message is, without noting it.
    pub(super) fn look(&self, id: u16) -> Receipt {
        if self.undecided.binary_search(&id).is_ok() {
            Receipt::Undecided
        } else if self.accepted.binary_search(&id).is_ok() {
            Receipt::Accepted
        } else if self.routed.binary_search(&id).is_ok() {
            Receipt::Routed
        } else {
            Receipt::New
        }
    }

    /// Notes a new message, about which the engine is asked.
    pub(super) fn note(&mut self, id: u16) {
        remove(&mut self.routed, id);
        insert(&mut self.undecided, id);
    }

    /// The engine has decided about a message. True when there was such a message.
    pub(super) fn decide(&mut self, id: u16, accepted: bool) -> bool {
        if !remove(&mut self.undecided, id) {
            return false;
        }
        self.wakers.drain(..).for_each(Waker::wake);
        insert(if accepted { &mut self.accepted } else { &mut self.routed }, id);
        true
    }

    /// A message is answered with an error, which frees its identifier.
    pub(super) fn forget(&mut self, id: u16) {
        if remove(&mut self.undecided, id) {
            self.wakers.drain(..).for_each(Waker::wake);
        }
    }

    /// The client releases a message: its identifier stands for a new one from now on. False when there
    /// was none.
    pub(super) fn release(&mut self, id: u16) -> bool {
        let lists = [&mut self.accepted, &mut self.undecided, &mut self.routed];
        lists.into_iter().any(|list| remove(list, id))
    }

    /// Wakes a connection when a message is decided about.
    pub(super) fn wait(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|known| known.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }

    /// Forgets everything and wakes who waits.
    pub(super) fn clear(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
        *self = Self::default();
    }
}

/// Identifiers mostly come in order, so that this is at the end.
fn insert(list: &mut Vec<u16>, id: u16) {
    if let Err(at) = list.binary_search(&id) {
        list.insert(at, id);
    }
}

fn remove(list: &mut Vec<u16>, id: u16) -> bool {
    let Ok(at) = list.binary_search(&id) else { return false };
    list.remove(at);
    if list.is_empty() {
        // An idle session keeps no memory for it.
        *list = Vec::new();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_new_until_it_is_noted_and_again_after_its_release() {
        let mut received = Received::default();
        for id in [7, 3, 65_535] {
            assert_eq!(received.look(id), Receipt::New);
            received.note(id);
            assert_eq!(received.look(id), Receipt::Undecided);
        }
        assert!(received.decide(3, true) && !received.decide(3, false));
        assert!(received.decide(7, false));
        assert_eq!(received.look(3), Receipt::Accepted);
        assert_eq!(received.look(7), Receipt::Routed);
        received.note(7);
        assert!(received.decide(7, true) && received.release(7));
        assert_eq!(received.look(7), Receipt::New);
        assert!(received.release(3) && !received.release(3));
        assert!(received.release(65_535), "also when the engine has not decided");
        assert!(!received.decide(65_535, true));
        assert_eq!(received.look(3), Receipt::New);
        let kept = Received::restored(vec![5, 2, 5], vec![9]);
        assert_eq!((kept.look(2), kept.look(3)), (Receipt::Accepted, Receipt::New));
        assert_eq!(kept.look(9), Receipt::Routed);
    }
}
