//! What all connections of a broker share: the sessions, and what the daemon has passed in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use contract::{AckWhen, Batch, Ingress, Shutdown, Topic, TopicLimits};
use tokio::sync::Notify;

use super::crowd::{Crowd, Failures};
use crate::codec::Reason;
use crate::counters::Counters;
use crate::hooks::{Disconnected, Hooks, Identity, Parted, Parting};
use crate::limits::Limits;
use crate::sessions::{Login, Publication, Session, Sessions, Shared};
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
        self.announce_all(vec![publication]).await;
    }

    pub(super) async fn announce_all(&self, publications: Vec<Publication>) {
        for publication in &publications {
            self.sessions.route_now(publication);
        }
        let messages: Vec<_> = publications.into_iter().map(|sent| sent.message).collect();
        if !messages.is_empty() {
            self.ingress.submit(Batch::unacknowledged(messages)).await;
        }
    }

    /// The status messages of devices whose logins have ended; `last_seen_ms` is when their gateway was
    /// last heard.
    pub fn went(
        &self,
        logins: &[Login],
        (at_ms, last_seen_ms): (u64, u64),
        reason: Reason,
    ) -> Vec<Publication> {
        let status = |login: &Login| {
            let identity = Arc::clone(&login.device);
            let (peer, connection) = (login.peer, login.connection);
            let event = Disconnected { identity, peer, at_ms, last_seen_ms, reason, connection };
            self.hooks.lifecycle.disconnected(&event).map(Publication::from_message)
        };
        logins.iter().filter_map(status).collect()
    }

    /// Devices were cut off from their gateways' connections: the gateways are told, and may have no
    /// subscriptions of these devices any more.
    pub fn part(&self, logins: &[Login], why: Parting) {
        for Login { device, gateway, over, .. } in logins {
            let (gateway, device) = (Arc::clone(gateway), Arc::clone(device));
            let at_ms = self.now_ms();
            let event = Parted { gateway, device, why, at_ms };
            if let Some(notice) = self.hooks.lifecycle.parted(&event) {
                let notice = Publication::from_message(notice);
                self.sessions.route_downlink(&notice, Some(&event.gateway.client_id));
            }
            self.end_subscriptions(over, &event.gateway, Some(&event.device));
        }
    }

    /// Removes the subscriptions of a session that its client may not have any more: all, or those that
    /// can be about a device which has gone.
    pub fn end_subscriptions(
        &self,
        session: &Session,
        identity: &Arc<Identity>,
        gone: Option<&Identity>,
    ) {
        let gone = gone.and_then(|gone| gone.device.as_deref());
        self.sessions.end_subscriptions(session, identity, |filter| {
            // A gateway has thousands, and few are about one device.
            let may_be = gone.is_none_or(|gone| filter.as_str().contains(&*gone.device_name));
            !may_be || self.hooks.acl.subscribe(identity, filter)
        });
    }

    /// Tells subscribers, and the engine over the connection of a session, which waits when the engine is
    /// full.
    pub fn tell_over(&self, session: &Session, publications: Vec<Publication>) {
        for publication in &publications {
            self.sessions.route_now(publication);
        }
        let messages: Vec<_> = publications.into_iter().map(|sent| sent.message).collect();
        if messages.is_empty() {
            return;
        }
        let left = session.tell(messages);
        if !left.is_empty() {
            // The connection has ended in between.
            let ingress = Arc::clone(&self.ingress);
            tokio::spawn(async move { ingress.submit(Batch::unacknowledged(left)).await });
        }
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
