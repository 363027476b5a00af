//! What all connections of a broker share.
//!
//! It has no behaviour of its own: routing, sessions and the server add theirs beside it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytestring::ByteString;
use connectors::contract::{AckWhen, Batch, Ingress, Topic, TopicLimits};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::counters::Counters;
use super::crowd::{Crowd, Failures};
use super::hooks::{Hooks, Identity};
use super::journal::Journal;
use super::limits::Limits;
use super::retained::Retained;
use super::route::Publication;
use super::server::Clock;
use super::session::Session;
use super::sys;
use super::trie::Trie;
use crate::web::Pages;

/// The sessions by client identifier.
pub(super) type SessionMap = HashMap<ByteString, Arc<Session>, foldhash::fast::RandomState>;

/// The state of a broker.
pub(super) struct Core {
    pub limits: Limits,
    pub topics: TopicLimits,
    pub payload_max: usize,
    pub pages: Pages,
    pub ack: AckWhen,
    pub hooks: Hooks,
    pub ingress: Arc<dyn Ingress>,
    pub clock: Clock,
    /// The name of this source in messages' origin.
    pub source: Arc<str>,
    pub counters: Counters,
    pub trie: RwLock<Trie>,
    pub retained: RwLock<Retained>,
    /// What is to be written, when sessions and retained messages are kept over a restart.
    pub journal: Option<Journal>,
    pub sessions: Mutex<Sessions>,
    pub next_session: AtomicU64,
    /// What is to happen to absent clients' sessions, by time and session number.
    pub deadlines: Mutex<BTreeMap<(Instant, u64), Arc<Session>>>,
    /// Told when a deadline is added that may be the next.
    pub deadline_added: Notify,
    /// Connections that exist, and who waits until there are none.
    pub live: AtomicUsize,
    pub none_live: Notify,
    /// Connections by address, and logins that have failed.
    pub crowd: Arc<Crowd>,
    pub failures: Failures,
}

/// The sessions, and whether more are taken.
#[derive(Default)]
pub(super) struct Sessions {
    pub by_client: SessionMap,
    pub closing: bool,
    /// How many clients were to be cut off so far. Who was let in before one of them may be it.
    pub kicks: u64,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Core {
    pub(super) fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    pub(super) fn lock_sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when a client may publish to a topic, its will included. What the broker says of itself,
    /// nobody else says.
    pub(super) fn may_publish(&self, identity: &Identity, topic: &Topic) -> bool {
        !sys::is_reserved(topic.as_str()) && self.hooks.acl.publish(identity, topic)
    }

    /// Sends a message of the broker's own to subscribers and to the engine: a will or a status.
    pub(super) async fn announce(&self, publication: Publication) {
        self.route_now(&publication);
        self.ingress.submit(Batch::unacknowledged(vec![publication.message])).await;
    }
}
