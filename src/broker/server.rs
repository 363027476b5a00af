//! The broker, put together: sessions, connections and the file, from the start to the stop.
//!
//! It opens no listener and starts no signal handling: both are passed in.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use contract::{AckWhen, Ingress, Shutdown, TopicLimits};
use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

use super::codec::Reason;
use super::connections::{self, Core, Entrance, Listener};
use super::counters::Counters;
use super::durability::{KeptError, Writer};
use super::handle::BrokerHandle;
use super::hooks::{Clock, Hooks};
use super::limits::Limits;
use super::sessions::{Journal, Session, Sessions, Shared};
use super::sys;
use web::Pages;

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
    /// Unless nothing is kept over a restart.
    writer: Option<Arc<Writer>>,
}

impl Broker {
    /// A broker without connections, which keeps nothing on disk. Messages of clients go to `ingress`.
    #[must_use]
    pub fn new(config: Config, hooks: Hooks, ingress: Arc<dyn Ingress>, clock: Clock) -> Self {
        let core = core(config, hooks, ingress, clock, None);
        Self { core: Arc::new(core), writer: None }
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
        let core = core(config, hooks, ingress, clock, Some(Journal::default()));
        let writer = Writer::open(file, &core.sessions).await?;
        Ok(Self { core: Arc::new(core), writer: Some(Arc::new(writer)) })
    }

    /// A handle for other parts of the daemon.
    #[must_use]
    pub fn handle(&self) -> BrokerHandle {
        BrokerHandle::new(Arc::clone(&self.core), self.writer.clone())
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
            let all = listeners
                .iter()
                .map(|listener| connections::accept(&self.core, listener, &shutdown));
            tokio::select! {
                _ = join_all(all) => {}
                () = stop.wait() => {}
            }
        };
        if let Some(writer) = &self.writer {
            let (core, writer) = (Arc::clone(&self.core), Arc::clone(writer));
            // It goes on until the end of everything: rules may still publish.
            tokio::spawn(async move { writer.write_behind(&core.sessions).await });
        }
        tokio::join!(accepting, self.tend(shutdown.clone()));
        drop(listeners);
        self.stop().await;
        if let Some(writer) = &self.writer {
            writer.flush(&self.core.sessions).await;
        }
        Ok(())
    }

    /// Publishes delayed wills, ends old sessions, and says every 10 s on `$SYS/broker/…` how the broker
    /// is doing, until told to stop. [`Broker::serve_all`] does this itself; only who passes all
    /// connections to [`Broker::serve_stream`] calls it.
    pub async fn tend(&self, shutdown: Shutdown) {
        tokio::join!(self.core.tend(shutdown.clone()), sys::report(&self.core.sessions, shutdown));
    }

    /// Serves one client over any stream until its connection ends.
    pub async fn serve_stream<IO>(&self, io: IO, peer: SocketAddr, shutdown: Shutdown)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        connections::serve(&self.core, io, peer, shutdown).await;
    }

    /// Closes all connections and waits for their end, for a limited time.
    async fn stop(&self) {
        self.core.sessions.close(Reason::SERVER_SHUTTING_DOWN);
        let timeout = self.core.limits().close_timeout();
        if tokio::time::timeout(timeout, self.core.entrance.empty()).await.is_err() {
            let left = self.core.entrance.live.load(Ordering::Acquire);
            tracing::warn!(left, "mqtt connections did not end in time");
        }
    }
}

fn core(
    config: Config,
    hooks: Hooks,
    ingress: Arc<dyn Ingress>,
    clock: Clock,
    journal: Option<Journal<Session>>,
) -> Core {
    let Config { limits, topics, payload_max, pages, ack } = config;
    let counters = Counters::default();
    let shared = Shared { limits, topics, clock, counters, journal };
    Core {
        sessions: Sessions::new(shared),
        payload_max,
        pages,
        ack,
        hooks,
        ingress,
        source: Arc::from("mqtt"),
        entrance: Entrance::default(),
    }
}
