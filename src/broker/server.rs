//! The broker as the daemon sees it: listening, stopping, and a handle for what is in the daemon.
//!
//! It opens no listener and starts no signal handling: both are passed in.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use bytestring::ByteString;
use connectors::contract::{Ack, AckWhen, Ingress, Message, Shutdown, TopicLimits};
use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::codec::{Reason, Version};
use super::connection::{CHUNK, Connection};
use super::core::Core;
use super::counters::{Counters, Snapshot, add, sub};
use super::crowd::{Failures, Place};
use super::handshake::handshake;
use super::hooks::{Hooks, Identity};
use super::limits::Limits;
use super::route::{Delivered, Publication};
use super::session::Session;
use super::store::{KeptError, Store};
use super::tls::Tls;
use super::websocket;
use crate::web::Pages;

/// Tells the time in milliseconds since 1970-01-01T00:00:00Z.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a broker is made with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The bounds of the broker.
    pub limits: Limits,
    /// The bounds of topic names and filters, which the whole daemon shares.
    pub topics: TopicLimits,
    /// Bytes of a payload, which the whole daemon shares. MQTT 5 clients get reason 0x97 for a larger
    /// one; what MQTT 3 clients send is acknowledged, dropped and counted.
    pub payload_max: usize,
    /// Which web pages may connect over WebSocket.
    pub pages: Pages,
    /// What PUBACK, PUBREC, PUBCOMP, SUBACK and UNSUBACK say about sessions that are kept on disk: that
    /// they are there, or only in memory.
    pub ack: AckWhen,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            topics: TopicLimits::default(),
            payload_max: 1 << 20,
            pages: Pages::default(),
            ack: AckWhen::Durable,
        }
    }
}

/// The embedded MQTT broker.
#[derive(Debug)]
pub struct Broker {
    core: Arc<Core>,
}

/// A broker as other parts of the daemon use it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BrokerHandle {
    core: Arc<Core>,
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

/// Where clients connect.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub tcp: TcpListener,
    /// The certificate; `None` without TLS.
    pub tls: Option<Arc<Tls>>,
    /// MQTT over WebSocket, at the path `/mqtt`.
    pub websocket: bool,
}

impl Listener {
    /// MQTT over TCP.
    #[must_use]
    pub fn plain(tcp: TcpListener) -> Self {
        Self { tcp, tls: None, websocket: false }
    }
}

/// Any stream; one type for all, so that a connection's code is there twice and not once for each.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send> Wire for IO {}

/// The last part of the connections, an eighth of them, is for addresses that have few on their way in.
const SCARCE: usize = 8;

/// How long accepting pauses after an error such as "too many open files".
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Broker {
    /// A broker without connections, which keeps nothing on disk. Messages of clients go to `ingress`.
    #[must_use]
    pub fn new(config: Config, hooks: Hooks, ingress: Arc<dyn Ingress>, clock: Clock) -> Self {
        Self { core: Arc::new(Self::core(config, hooks, ingress, clock)) }
    }

    fn core(config: Config, hooks: Hooks, ingress: Arc<dyn Ingress>, clock: Clock) -> Core {
        Core {
            limits: config.limits,
            topics: config.topics,
            payload_max: config.payload_max,
            pages: config.pages,
            ack: config.ack,
            hooks,
            ingress,
            clock,
            source: Arc::from("mqtt"),
            counters: Counters::default(),
            trie: RwLock::default(),
            retained: RwLock::default(),
            journal: None,
            sessions: Mutex::default(),
            next_session: 1.into(),
            deadlines: Mutex::default(),
            deadline_added: Notify::new(),
            live: 0.into(),
            none_live: Notify::new(),
            crowd: Arc::default(),
            failures: Failures::default(),
        }
    }

    /// A broker that goes on where the last run with this file has stopped, and keeps sessions and
    /// retained messages there. Changes are written in groups: at once while somebody waits for an
    /// acknowledgement ([`Config::ack`]), else within some 200 ms. Call [`BrokerHandle::save`] at the end.
    ///
    /// # Errors
    /// A [`KeptError`] when the file cannot be read, or a newer version has written it.
    pub async fn open(
        config: Config,
        hooks: Hooks,
        ingress: Arc<dyn Ingress>,
        clock: Clock,
        file: &Path,
    ) -> Result<Self, KeptError> {
        let mut core = Self::core(config, hooks, ingress, clock);
        core.restore(Store::open(file).await?).await?;
        Ok(Self { core: Arc::new(core) })
    }

    /// A handle for other parts of the daemon.
    #[must_use]
    pub fn handle(&self) -> BrokerHandle {
        BrokerHandle { core: Arc::clone(&self.core) }
    }

    /// Accepts MQTT clients over TCP until told to stop, as [`Broker::serve_all`] does.
    ///
    /// # Errors
    /// Only when the listener has no local address; errors of single connections are counted.
    pub async fn serve(&self, tcp: TcpListener, shutdown: Shutdown) -> io::Result<()> {
        self.serve_all(vec![Listener::plain(tcp)], shutdown).await
    }

    /// Accepts MQTT clients until told to stop. Then tells the connected ones (DISCONNECT 0x8B for
    /// MQTT 5) and returns when they are gone or [`Limits::close_timeout_ms`] has passed. A broker
    /// that has stopped takes no more clients.
    ///
    /// # Errors
    /// Only when a listener has no local address; errors of single connections are counted.
    pub async fn serve_all(&self, listeners: Vec<Listener>, shutdown: Shutdown) -> io::Result<()> {
        for listener in &listeners {
            let address = listener.tcp.local_addr()?;
            let (tls, websocket) = (listener.tls.is_some(), listener.websocket);
            tracing::debug!(%address, tls, websocket, "mqtt broker listens");
        }
        let accepting = async {
            let mut stop = shutdown.clone();
            let all = listeners.iter().map(|listener| self.accept(listener, &shutdown));
            tokio::select! {
                _ = join_all(all) => {}
                () = stop.wait() => {}
            }
        };
        // It goes on until the end of everything: rules may still publish.
        tokio::spawn(Arc::clone(&self.core).write_behind());
        tokio::join!(accepting, self.tend(shutdown.clone()));
        drop(listeners);
        self.stop().await;
        self.core.flush().await;
        Ok(())
    }

    /// Publishes delayed wills, ends old sessions, and says every 10 s on `$SYS/broker/…` how the broker
    /// is doing, until told to stop. [`Broker::serve_all`] does this itself; only who passes all
    /// connections to [`Broker::serve_stream`] calls it.
    pub async fn tend(&self, shutdown: Shutdown) {
        tokio::join!(self.core.tend(shutdown.clone()), self.core.report(shutdown));
    }

    /// Serves one client over any stream until its connection ends.
    pub async fn serve_stream<IO>(&self, io: IO, peer: SocketAddr, shutdown: Shutdown)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if let Some(live) = Live::enter(&self.core, peer) {
            serve_client(live, io, peer, shutdown).await;
        }
    }

    async fn accept(&self, listener: &Listener, shutdown: &Shutdown) {
        let mut failing = false;
        loop {
            let (io, peer) = match listener.tcp.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if !failing {
                        tracing::warn!("cannot accept MQTT connections: {error}");
                    }
                    failing = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            failing = false;
            add(&self.core.counters.connections_accepted, 1);
            // Without TCP_NODELAY it still works, only with delays.
            io.set_nodelay(true).ok();
            let Some(live) = Live::enter(&self.core, peer) else { continue };
            let shutdown = shutdown.clone();
            if listener.tls.is_none() && !listener.websocket {
                tokio::spawn(serve_client(live, io, peer, shutdown));
            } else {
                let tls = listener.tls.as_ref().map(|tls| tls.acceptor());
                tokio::spawn(serve_wrapped(live, io, peer, tls, listener.websocket, shutdown));
            }
        }
    }

    /// Closes all connections and waits for their end, for a limited time.
    async fn stop(&self) {
        let sessions: Vec<_> = {
            let mut sessions = self.core.lock_sessions();
            sessions.closing = true;
            sessions.by_client.values().cloned().collect()
        };
        for session in sessions {
            session.kick(Reason::SERVER_SHUTTING_DOWN);
        }
        let gone = async {
            loop {
                let none = self.core.none_live.notified();
                if self.core.live.load(Ordering::Acquire) == 0 {
                    return;
                }
                none.await;
            }
        };
        if tokio::time::timeout(self.core.limits.close_timeout(), gone).await.is_err() {
            let left = self.core.live.load(Ordering::Acquire);
            tracing::warn!(left, "mqtt connections did not end in time");
        }
    }
}

impl BrokerHandle {
    /// Sends a message to the subscribers of its topic, and to the client that [`Acl::addressee`](super::Acl::addressee)
    /// names, which need not have subscribed; keeps it when it is retained. Never waits, and does not hand the message to the engine: the caller does when rules are to see it.
    #[must_use = "what could not be queued is told here"]
    pub fn publish(&self, message: &Message) -> Delivered {
        self.core.route_downlink(&Publication::from_message(message.clone()))
    }

    /// True while a client with this identifier is connected.
    #[must_use]
    pub fn is_online(&self, client_id: &str) -> bool {
        let sessions = self.core.lock_sessions();
        sessions.by_client.get(client_id).is_some_and(|session| session.is_online())
    }

    /// The client with this identifier, when it is connected.
    #[must_use]
    pub fn client(&self, client_id: &str) -> Option<ClientInfo> {
        let session = self.core.lock_sessions().by_client.get(client_id).cloned()?;
        ClientInfo::of(&session)
    }

    /// Closes the connection of a client, with DISCONNECT 0x98 (administrative action) for MQTT 5;
    /// false when it is not connected. Nothing more is read from it, and it counts as absent at once.
    /// A client that is connecting meanwhile is authenticated again.
    pub fn kick(&self, client_id: &str) -> bool {
        let session = {
            let mut sessions = self.core.lock_sessions();
            sessions.kicks += 1;
            sessions.by_client.get(client_id).cloned()
        };
        session.is_some_and(|session| session.kick(Reason::ADMINISTRATIVE))
    }

    /// Ends a client's session with all that is kept for it, and its connection as [`Self::kick`] does;
    /// false when it has none.
    pub fn forget(&self, client_id: &str) -> bool {
        self.core.end_session(client_id, Reason::ADMINISTRATIVE)
    }

    /// The clients that are connected, in no order.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientInfo> {
        let sessions: Vec<_> = self.core.lock_sessions().by_client.values().cloned().collect();
        sessions.iter().filter_map(|session| ClientInfo::of(session)).collect()
    }

    /// Identifiers of all sessions, those of absent clients included.
    #[must_use]
    pub fn sessions(&self) -> Vec<ByteString> {
        self.core.lock_sessions().by_client.keys().cloned().collect()
    }

    /// Holds a share of an obligation until what was published is on disk, as far as sessions keep it or
    /// it is retained, and refuses it when that cannot be written.
    pub fn hold(&self, delivered: Delivered, ack: &mut Ack) {
        match delivered.refused {
            true => drop(ack.share()),
            false => self.core.hold(delivered.group, ack),
        }
    }

    /// Why sessions cannot be written at present.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.core.journal.as_ref().and_then(super::journal::Journal::trouble)
    }

    /// Writes what was published since the broker has stopped, for clients that are absent, and closes
    /// the file. What is published later is lost with the process.
    pub async fn save(&self) {
        self.core.save().await;
    }

    /// What the broker has counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// What the broker has counted, at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.core.counters.snapshot()
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

/// One of the connections that are allowed at the same time.
struct Live {
    core: Arc<Core>,
    /// Among those of its address.
    place: Option<Place>,
}

impl Live {
    fn enter(core: &Arc<Core>, peer: SocketAddr) -> Option<Self> {
        let before = core.live.fetch_add(1, Ordering::AcqRel);
        add(&core.counters.connections, 1);
        let mut live = Self { core: Arc::clone(core), place: None };
        let free = core.limits.connections.saturating_sub(before);
        if free == 0 {
            add(&core.counters.connections_refused, 1);
            return None;
        }
        let most = core.limits.connections_per_address;
        let scarce = free <= core.limits.connections / SCARCE;
        live.place = core.crowd.enter(peer.ip(), most, scarce);
        if live.place.is_none() {
            add(&core.counters.connections_crowded, 1);
            return None;
        }
        Some(live)
    }

    fn let_in(&mut self) {
        if let Some(place) = &mut self.place {
            place.let_in();
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        sub(&self.core.counters.connections, 1);
        if self.core.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.core.none_live.notify_waiters();
        }
    }
}

async fn serve_client<IO>(mut live: Live, mut io: IO, peer: SocketAddr, mut shutdown: Shutdown)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // In boxes of its own, so that an idle connection does not keep the room that CONNECT needed.
    let greeted = {
        let greeting = Box::pin(handshake(&live.core, &mut io, peer));
        tokio::select! {
            greeted = greeting => greeted,
            () = shutdown.wait() => None,
        }
    };
    drop(shutdown);
    if let Some(mut greeted) = greeted {
        live.let_in();
        let will = greeted.attached.will.take();
        let connection = Connection::new(Arc::clone(&live.core), io, greeted);
        Box::pin(connection.run(will)).await;
    }
}

/// Serves a client over TLS, WebSocket or both, once their handshakes are done.
async fn serve_wrapped(
    live: Live,
    io: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    websocket: bool,
    mut shutdown: Shutdown,
) {
    let limits = &live.core.limits;
    // In a box of its own: an idle connection does not keep the room that the handshakes needed.
    let wrapping = Box::pin(tokio::time::timeout(
        limits.connect_timeout(),
        wrap(io, tls, websocket.then_some(&live.core.pages), limits.packet_bytes as usize),
    ));
    let wrapped = tokio::select! {
        wrapped = wrapping => wrapped,
        () = shutdown.wait() => return,
    };
    let why = match wrapped {
        Ok(Ok(io)) => return serve_client(live, io, peer, shutdown).await,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it took too long".to_owned(),
    };
    add(&live.core.counters.handshakes_failed, 1);
    tracing::debug!(%peer, "the TLS or WebSocket handshake failed: {why}");
}

async fn wrap(
    io: TcpStream,
    tls: Option<TlsAcceptor>,
    websocket: Option<&Pages>,
    message_bytes: usize,
) -> io::Result<Box<dyn Wire>> {
    let io: Box<dyn Wire> = match tls {
        Some(tls) => Box::new(tls.accept(io).await?),
        None => Box::new(io),
    };
    let Some(pages) = websocket else { return Ok(io) };
    let accepted = websocket::accept(io, message_bytes.max(CHUNK), pages).await;
    accepted.map(|io| Box::new(io) as Box<dyn Wire>).map_err(io::Error::other)
}
