//! Where clients connect: accepting, how many are let in, and TLS and WebSocket around the stream.
//!
//! The last step of all is one client's life: its handshake, then its connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use contract::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::connection::{Connection, Displaced};
use super::core::Core;
use super::crowd::Place;
use super::handshake::handshake;
use super::stream::CHUNK;
use super::tls::Tls;
use super::websocket;
use crate::counters::{add, sub};
use web::Pages;

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

/// Accepts clients for as long as it is polled.
pub async fn accept(core: &Arc<Core>, listener: &Listener, shutdown: &Shutdown) {
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
        add(&core.counters().connections_accepted, 1);
        // Without TCP_NODELAY it still works, only with delays.
        io.set_nodelay(true).ok();
        let Some(live) = Live::enter(core, peer) else { continue };
        let shutdown = shutdown.clone();
        if listener.tls.is_none() && !listener.websocket {
            tokio::spawn(serve_client(live, io, peer, shutdown));
        } else {
            let tls = listener.tls.as_ref().map(|tls| tls.acceptor());
            tokio::spawn(serve_wrapped(live, io, peer, tls, listener.websocket, shutdown));
        }
    }
}

/// Serves one client over any stream until its connection ends.
pub async fn serve<IO>(core: &Arc<Core>, io: IO, peer: SocketAddr, shutdown: Shutdown)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if let Some(live) = Live::enter(core, peer) {
        serve_client(live, io, peer, shutdown).await;
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
        let before = core.entrance.live.fetch_add(1, Ordering::AcqRel);
        add(&core.counters().connections, 1);
        let mut live = Self { core: Arc::clone(core), place: None };
        let free = core.limits().connections.saturating_sub(before);
        if free == 0 {
            add(&core.counters().connections_refused, 1);
            return None;
        }
        let most = core.limits().connections_per_address;
        let scarce = free <= core.limits().connections / SCARCE;
        live.place = core.entrance.crowd.enter(peer.ip(), most, scarce);
        if live.place.is_none() {
            add(&core.counters().connections_crowded, 1);
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
        sub(&self.core.counters().connections, 1);
        if self.core.entrance.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.core.entrance.none_live.notify_waiters();
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
        let displaced = Displaced::by(&mut greeted.attached);
        let connection = Connection::new(Arc::clone(&live.core), io, greeted);
        Box::pin(connection.run(displaced)).await;
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
    let limits = live.core.limits();
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
    add(&live.core.counters().handshakes_failed, 1);
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
