//! Who has a session, and what every message, subscription and acknowledgement does to it.
//!
//! [`Sessions`] is all of it. To read, from the plain data up: a [`Publication`] is a message, a
//! `subscription` who wants it and how; the [`Outbox`] holds what waits for one client, `received` what
//! came from it; the [`Journal`] notes what has changed since it was written. A [`Session`] joins these
//! for one client. Above it, the `trie` finds the sessions that want a topic, `retained` keeps the last
//! message of each, `deadlines` the times of absent clients. Then four files say what happens: `roster`
//! when clients come and go, `logins` when devices do so over a gateway's connection, `subscribe` when they subscribe, `route` when somebody publishes.
//!
//! It uses the codec's words and the hooks' identities, knows no socket, no engine and no file, and
//! waits for none: what is slow is with the connections and with `durability`, which use it.

mod deadlines;
mod journal;
mod login;
mod logins;
mod outbox;
mod publication;
mod received;
mod retained;
mod roster;
mod route;
mod session;
mod subscribe;
mod subscription;
mod trie;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

pub use self::journal::{Group, Journal, Noted};
pub use self::login::Login;
pub use self::logins::{Entrant, LoggedIn, NotLoggedIn};
pub use self::outbox::{Acked, Difference, Entry, Outgoing, Sending, Window};
pub use self::publication::{Publication, Routed};
pub use self::received::{Receipt, Received};
pub use self::retained::{Kept, Retained, Retention};
pub use self::roster::{Attached, Detached, Leave, Wish};
pub use self::route::Delivered;
pub use self::session::{Online, Session, Shared, Testament, Turn, Wakers};
pub use self::subscription::{Subscribed, Terms, Wanted};
pub use self::trie::Publisher;

use self::deadlines::Deadlines;
use self::roster::Roster;
use self::trie::Trie;

/// All sessions of a broker, with the subscriptions and the retained messages.
pub struct Sessions {
    pub shared: Shared,
    pub retained: RwLock<Retained>,
    trie: RwLock<Trie>,
    deadlines: Deadlines,
    roster: Mutex<Roster>,
    next_number: AtomicU64,
    next_connection: AtomicU64,
}

impl Sessions {
    /// No sessions yet.
    pub fn new(shared: Shared) -> Self {
        Self {
            shared,
            retained: RwLock::default(),
            trie: RwLock::default(),
            deadlines: Deadlines::default(),
            roster: Mutex::default(),
            next_number: 1.into(),
            next_connection: 1.into(),
        }
    }

    /// Numbers up to this one are an earlier run's.
    pub fn number_after(&self, last: u64) {
        self.next_number.store(last + 1, Ordering::Relaxed);
    }

    /// True when somebody has subscribed to topics that start with that level.
    pub fn is_wanted_below(&self, first: &str) -> bool {
        self.trie.read().unwrap_or_else(PoisonError::into_inner).is_wanted_below(first)
    }
}
