//! The broker as other parts of the daemon use it: to publish, to look, to cut clients off.

use std::net::SocketAddr;
use std::sync::Arc;

use bytestring::ByteString;
use contract::{Ack, Message};

use super::codec::{Reason, Version};
use super::connections::Core;
use super::counters::{Counters, Snapshot};
use super::durability::Writer;
use super::hooks::{Connected, Identity, Parting};
use super::sessions::{
    Delivered, Entrant, Journal, LoggedIn, Login, NotLoggedIn, Publication, Session,
};

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

    /// Closes the connection of a client, with DISCONNECT 0x98 (administrative action) for MQTT 5, or ends
    /// its login over a gateway's; false when it is not connected. Nothing more is read from it, and it
    /// counts as absent at once. A client that is connecting meanwhile is authenticated again.
    pub fn kick(&self, client_id: &str) -> bool {
        let had_login = self.end_login(client_id, Some(Parting::Disabled));
        self.core.sessions.kick(client_id, Reason::ADMINISTRATIVE) || had_login
    }

    /// Ends a client's session with all that is kept for it, and its connection as [`Self::kick`] does;
    /// false when it has none.
    pub fn forget(&self, client_id: &str) -> bool {
        let had_login = self.end_login(client_id, Some(Parting::Deleted));
        self.core.sessions.end(client_id, Reason::ADMINISTRATIVE) || had_login
    }

    /// Logs devices in over the gateway's connection that a message came over, all of them or none; a
    /// gateway has at most `most`. Each is then reached over that connection, and over no other. `kicks` is
    /// [`Self::kicks`] before the devices were looked at.
    ///
    /// # Errors
    /// A [`NotLoggedIn`]; nothing has changed.
    pub fn log_in(
        &self,
        over: &Message,
        entrants: Vec<Entrant>,
        kicks: u64,
        most: usize,
    ) -> Result<(), NotLoggedIn> {
        let LoggedIn { logins, ended } =
            self.core.sessions.log_in(&over.origin, entrants, kicks, most)?;
        self.core.part(&ended, Parting::Elsewhere);
        let at_ms = self.core.now_ms();
        let status = |login: &Login| {
            let (identity, peer) = (Arc::clone(&login.device), login.peer);
            let event = Connected { identity, peer, at_ms, connection: login.connection };
            self.core.hooks.lifecycle.connected(&event).map(Publication::from_message)
        };
        if let Some(Login { over, .. }) = logins.first() {
            self.core.tell_over(over, logins.iter().filter_map(status).collect());
        }
        Ok(())
    }

    /// Logs devices out that have logged in over the connection that a message came over, all or none.
    ///
    /// # Errors
    /// A [`NotLoggedIn`]; nothing has changed.
    pub fn log_out(&self, over: &Message, client_ids: &[String]) -> Result<(), NotLoggedIn> {
        let ended = self.core.sessions.log_out(&over.origin, client_ids)?;
        self.tell_ended(&ended);
        for Login { over, gateway, device, .. } in &ended {
            self.core.end_subscriptions(over, gateway, Some(device));
        }
        Ok(())
    }

    /// Ends a device's login over a gateway's connection, and tells the gateway why unless that knows;
    /// false when there is none.
    pub fn end_login(&self, client_id: &str, why: Option<Parting>) -> bool {
        let Some(login) = self.core.sessions.end_login(client_id) else { return false };
        self.tell_ended(std::slice::from_ref(&login));
        match why {
            Some(why) => self.core.part(std::slice::from_ref(&login), why),
            None => {
                let Login { over, gateway, device, .. } = &login;
                self.core.end_subscriptions(over, gateway, Some(device));
            }
        }
        true
    }

    fn tell_ended(&self, logins: &[Login]) {
        let at_ms = self.core.now_ms();
        for login in logins {
            let one = std::slice::from_ref(login);
            let went = self.core.went(one, (at_ms, at_ms), Reason::ADMINISTRATIVE);
            self.core.tell_over(&login.over, went);
        }
    }

    /// How many clients were to be cut off so far.
    #[must_use]
    pub fn kicks(&self) -> u64 {
        self.core.sessions.kicks()
    }

    /// A client that is connected, or a device that has logged in over a gateway's connection.
    #[must_use]
    pub fn identity(&self, client_id: &str) -> Option<Arc<Identity>> {
        self.core.sessions.identity(client_id)
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
