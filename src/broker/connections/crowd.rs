//! What one address may take: connections, those of clients that nobody knows yet, and wrong
//! credentials.
//!
//! Many honest devices can share an address (NAT, a gateway). So only clients that have not been let
//! in count against each other, and a failed login makes only failed logins slower.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::recent::{Print, Prints, Recent, one_address};

/// Clients of one address that may be on their way in at the same time when connections are scarce.
const PENDING_MAX: usize = 16;

/// Addresses, and names of an address, whose failed logins are remembered, and how long at least.
const FAILURES_MAX: usize = 8192;
const FAILURES_KEPT: Duration = Duration::from_secs(600);

/// How often the delay of a refusal is doubled.
const DOUBLED_MAX: u32 = 3;

/// Who is connected, by address.
#[derive(Debug, Default)]
pub struct Crowd(Mutex<HashMap<IpAddr, Count>>);

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    all: usize,
    pending: usize,
}

/// The place of one connection; it is given back when this is dropped.
#[derive(Debug)]
pub struct Place {
    crowd: Arc<Crowd>,
    address: IpAddr,
    pending: bool,
}

impl Crowd {
    /// A place for a connection, unless its address has too many: `most` altogether, or a few that are
    /// on their way in while connections are `scarce`.
    #[must_use]
    pub fn enter(self: &Arc<Self>, from: IpAddr, most: usize, scarce: bool) -> Option<Place> {
        let address = one_address(from);
        let mut counts = self.lock();
        let Count { all, pending } = counts.get(&address).copied().unwrap_or_default();
        if all >= most || (scarce && pending >= PENDING_MAX) {
            return None;
        }
        counts.insert(address, Count { all: all + 1, pending: pending + 1 });
        Some(Place { crowd: Arc::clone(self), address, pending: true })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The client was let in.
    pub fn let_in(&mut self) {
        if std::mem::take(&mut self.pending)
            && let Some(count) = self.crowd.lock().get_mut(&self.address)
        {
            count.pending -= 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.lock();
        let Some(count) = counts.get_mut(&self.address) else { return };
        count.all -= 1;
        count.pending -= usize::from(self.pending);
        if count.all == 0 {
            counts.remove(&self.address);
        }
    }
}

/// Failed logins by address, and by address and name.
pub struct Failures {
    prints: Prints,
    counts: Mutex<Recent<u32>>,
}

impl Default for Failures {
    fn default() -> Self {
        let counts = Mutex::new(Recent::new(FAILURES_MAX, FAILURES_KEPT));
        Self { prints: Prints::new(), counts }
    }
}

impl Failures {
    /// Counts a login that failed, and says how long after its start the client may learn of it:
    /// `least`, and twice as long with each further one of the address, or of the name there.
    pub(super) fn note(&self, from: IpAddr, name: Option<&str>, least: Duration) -> Duration {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.prints(from, name).map(|print| {
            let before = counts.get(&print).unwrap_or(0);
            counts.put(print, before.saturating_add(1));
            before
        });
        let doubled = before.into_iter().max().unwrap_or(0).min(DOUBLED_MAX);
        least * 2_u32.pow(doubled)
    }

    /// Forgets the failures of a name at an address: somebody there has proven it.
    pub(super) fn forget(&self, from: IpAddr, name: &str) {
        let [_, of_name] = self.prints(from, Some(name));
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).remove(&of_name);
    }

    fn prints(&self, from: IpAddr, name: Option<&str>) -> [Print; 2] {
        let address = one_address(from).to_string();
        let name = name.unwrap_or("");
        [
            self.prints.of(&[address.as_bytes()]),
            self.prints.of(&[address.as_bytes(), name.as_bytes()]),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_last_connections_are_for_other_addresses() {
        let crowd = Arc::new(Crowd::default());
        let enter = |from: &str, scarce| crowd.enter(ip(from), 1000, scarce);
        let mut held: Vec<_> = (0..100).filter_map(|_| enter("192.0.2.1", false)).collect();
        assert_eq!(held.len(), 100, "there are enough");
        assert!(enter("192.0.2.1", true).is_none());
        assert!(enter("192.0.2.2", true).is_some());
        for place in &mut held {
            place.let_in();
        }
        let more = enter("192.0.2.1", true).expect("those who are in do not count");
        drop((held, more));
        assert!(crowd.lock().is_empty());
        let two: Vec<_> = (0..3).filter_map(|_| crowd.enter(ip("192.0.2.9"), 2, false)).collect();
        assert_eq!(two.len(), 2, "all of one address");
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_get_slower_for_who_fails() {
        let failures = Failures::default();
        let least = Duration::from_millis(500);
        let note = |from: &str, name: &str| failures.note(ip(from), Some(name), least).as_millis();
        let delays: Vec<_> = (0..5).map(|_| note("192.0.2.1", "desk")).collect();
        assert_eq!(delays, [500, 1000, 2000, 4000, 4000]);
        assert_eq!(note("192.0.2.1", "other"), 4000, "the address is the same");
        assert_eq!(note("192.0.2.2", "desk"), 500);
        failures.forget(ip("192.0.2.2"), "desk");
        assert_eq!(note("192.0.2.2", "desk"), 1000, "of the address it stays");
        tokio::time::advance(2 * FAILURES_KEPT).await;
        assert_eq!(note("192.0.2.1", "desk"), 500);
    }
}
