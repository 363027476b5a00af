//! What all connections of a broker share: the sessions, and what the daemon has passed in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use contract::{AckWhen, Batch, Ingress, Shutdown, Topic, TopicLimits};
use tokio::sync::Notify;

use super::crowd::{Crowd, Failures};
use crate::counters::Counters;
use crate::hooks::{Hooks, Identity};
use crate::limits::Limits;
use crate::sessions::{Publication, Sessions, Shared};
use crate::sys;
use web::Pages;

/// The state of a broker.
pub struct Core {
    pub sessions: Sessions,
    pub payload_max: usize,
    pub pages: Pages,
    pub ack: AckWhen,
    pub hooks: Hooks,
    pub ingress: Arc<dyn Ingress>,
    /// The name of this source in messages' origin.
    pub source: Arc<str>,
    pub entrance: Entrance,
}

/// Who is there, and who tries to come in.
#[derive(Default)]
pub struct Entrance {
    /// Connections that exist, and who waits until there are none.
    pub live: AtomicUsize,
    pub(super) none_live: Notify,
    /// Connections by address, and logins that have failed.
    pub(super) crowd: Arc<Crowd>,
    pub(super) failures: Failures,
}

impl Entrance {
    /// Waits until there are no connections.
    pub async fn empty(&self) {
        loop {
            let none = self.none_live.notified();
            if self.live.load(Ordering::Acquire) == 0 {
                return;
            }
            none.await;
        }
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("limits", self.limits()).finish_non_exhaustive()
    }
}

impl Core {
    pub fn shared(&self) -> &Shared {
        &self.sessions.shared
    }

    pub fn limits(&self) -> &Limits {
        &self.shared().limits
    }

    pub fn topics(&self) -> TopicLimits {
        self.shared().topics
    }

    pub fn counters(&self) -> &Counters {
        &self.shared().counters
    }

    pub fn now_ms(&self) -> u64 {
        self.shared().now_ms()
    }

    /// True when a client may publish to a topic, its will included. What the broker says of itself,
    /// nobody else says.
    pub(super) fn may_publish(&self, identity: &Identity, topic: &Topic) -> bool {
        !sys::is_reserved(topic.as_str()) && self.hooks.acl.publish(identity, topic)
    }

    /// Sends a message of the broker's own to subscribers and to the engine: a will or a status.
    pub(super) async fn announce(&self, publication: Publication) {
        self.sessions.route_now(&publication);
        self.ingress.submit(Batch::unacknowledged(vec![publication.message])).await;
    }

    /// Publishes delayed wills and ends sessions when they are due, until told to stop. While the
    /// engine takes no messages, wills and the ends after them wait.
    pub async fn tend(&self, mut shutdown: Shutdown) {
        loop {
            let will = tokio::select! {
                will = self.sessions.next_will() => will,
                () = shutdown.wait() => return,
            };
            tokio::select! {
                () = self.announce(will) => {}
                () = shutdown.wait() => return,
            }
        }
    }
}
