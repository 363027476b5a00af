//! The broker as other parts of the daemon use it: to publish, to look, to cut clients off.

use std::net::SocketAddr;
use std::sync::Arc;

use bytestring::ByteString;
use contract::{Ack, Message};

use super::codec::{Reason, Version};
use super::connections::Core;
use super::counters::{Counters, Snapshot};
use super::durability::Writer;
use super::hooks::Identity;
use super::sessions::{Delivered, Journal, Publication, Session};

/// A broker as other parts of the daemon use it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BrokerHandle {
    core: Arc<Core>,
    writer: Option<Arc<Writer>>,
}

/// A client that is connected.
#[derive(Debug, Clone)]
pub struct ClientInfo {
    /// Who.
    pub identity: Arc<Identity>,
    /// From where.
    pub peer: SocketAddr,
    /// The protocol.
    pub version: Version,
    /// Since when, in milliseconds since 1970.
    pub connected_ms: u64,
    /// How many subscriptions the session has.
    pub subscriptions: usize,
}

impl BrokerHandle {
    pub(super) fn new(core: Arc<Core>, writer: Option<Arc<Writer>>) -> Self {
        Self { core, writer }
    }

    /// Sends a message to the subscribers of its topic, and to the client that [`Acl::addressee`](super::Acl::addressee)
    /// names, which need not have subscribed; keeps it when it is retained. Never waits, and does not hand the message to the engine: the caller does when rules are to see it.
    #[must_use = "what could not be queued is told here"]
    pub fn publish(&self, message: &Message) -> Delivered {
        let addressee = self.core.hooks.acl.addressee(&message.topic);
        let publication = Publication::from_message(message.clone());
        self.core.sessions.route_downlink(&publication, addressee.as_deref())
    }

    /// True while a client with this identifier is connected.
    #[must_use]
    pub fn is_online(&self, client_id: &str) -> bool {
        self.core.sessions.of_client(client_id).is_some_and(|session| session.is_online())
    }

    /// The client with this identifier, when it is connected.
    #[must_use]
    pub fn client(&self, client_id: &str) -> Option<ClientInfo> {
        let session = self.core.sessions.of_client(client_id)?;
        ClientInfo::of(&session)
    }

    /// Closes the connection of a client, with DISCONNECT 0x98 (administrative action) for MQTT 5;
    /// false when it is not connected. Nothing more is read from it, and it counts as absent at once.
    /// A client that is connecting meanwhile is authenticated again.
    pub fn kick(&self, client_id: &str) -> bool {
        self.core.sessions.kick(client_id, Reason::ADMINISTRATIVE)
    }

    /// Ends a client's session with all that is kept for it, and its connection as [`Self::kick`] does;
    /// false when it has none.
    pub fn forget(&self, client_id: &str) -> bool {
        self.core.sessions.end(client_id, Reason::ADMINISTRATIVE)
    }

    /// The clients that are connected, in no order.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientInfo> {
        self.core.sessions.all().iter().filter_map(|session| ClientInfo::of(session)).collect()
    }

    /// Identifiers of all sessions, those of absent clients included.
    #[must_use]
    pub fn sessions(&self) -> Vec<ByteString> {
        self.core.sessions.all().iter().map(|session| session.client_id.clone()).collect()
    }

    /// Holds a share of an obligation until what was published is on disk, as far as sessions keep it or
    /// it is retained, and refuses it when that cannot be written.
    pub fn hold(&self, delivered: Delivered, ack: &mut Ack) {
        match delivered.refused {
            true => drop(ack.share()),
            false => self.core.shared().hold(delivered.group, ack),
        }
    }

    /// Why sessions cannot be written at present.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.core.shared().journal.as_ref().and_then(Journal::trouble)
    }

    /// Writes what was published since the broker has stopped, for clients that are absent, and closes
    /// the file. What is published later is lost with the process.
    pub async fn save(&self) {
        if let Some(writer) = &self.writer {
            writer.save(&self.core.sessions).await;
        }
    }

    /// What the broker has counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        self.core.counters()
    }

    /// What the broker has counted, at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.core.counters().snapshot()
    }
}

impl ClientInfo {
    fn of(session: &Session) -> Option<Self> {
        let state = session.lock();
        let online = state.online.as_ref().filter(|_| state.kick.is_none())?;
        Some(Self {
            identity: Arc::clone(&online.identity),
            peer: online.peer,
            version: online.window.version,
            connected_ms: online.connected_ms,
            subscriptions: state.subscriptions.len(),
        })
    }
}
