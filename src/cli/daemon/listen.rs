//! The sockets of the daemon: which of them the configuration wants, bound before anything else starts.
//!
//! What is spoken over them is the broker's and the API's.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::broker::{Listener, Tls, TlsError, TlsFiles};
use crate::config::Config;
use crate::web::Pages;

/// The addresses of the listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// MQTT.
    pub mqtt: SocketAddr,
    /// MQTT over TLS.
    pub mqtts: Option<SocketAddr>,
    /// MQTT over WebSocket.
    pub ws: Option<SocketAddr>,
    /// MQTT over WebSocket and TLS.
    pub wss: Option<SocketAddr>,
    /// The API and everything else over HTTP.
    pub http: SocketAddr,
}

/// The sockets.
pub(super) struct Sockets {
    pub ports: Ports,
    pub mqtt: Vec<Listener>,
    pub http: TcpListener,
}

/// The certificate that the configuration names.
///
/// # Errors
/// Which of its files is wrong, and how.
pub(in crate::cli) fn certificate(config: &Config) -> Result<Option<Tls>, TlsError> {
    let Some(files) = &config.tls else { return Ok(None) };
    let tls = Tls::load(TlsFiles {
        cert: config.path(&files.cert),
        key: config.path(&files.key),
        client_ca: files.client_ca.as_ref().map(|path| config.path(path)),
    })?;
    Ok(Some(tls))
}

impl Sockets {
    /// Reads the certificate and binds what the configuration names.
    ///
    /// # Errors
    /// What is wrong with the certificate, or which socket cannot be bound, and why.
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        let tls = certificate(config)?.map(Arc::new);
        let listen = &config.listen;
        let mut mqtt = vec![Listener::plain(bind(listen.mqtt, "MQTT", "listen.mqtt").await?)];
        let mut more = [None; 3];
        let wanted = [
            (listen.mqtts, "MQTT over TLS", "listen.mqtts", true, false),
            (listen.ws, "MQTT over WebSocket", "listen.ws", false, true),
            (listen.wss, "MQTT over WebSocket and TLS", "listen.wss", true, true),
        ];
        for ((address, what, setting, secure, websocket), port) in wanted.into_iter().zip(&mut more)
        {
            let Some(address) = address else { continue };
            let tcp = bind(address, what, setting).await?;
            *port = Some(tcp.local_addr()?);
            let tls = tls.clone().filter(|_| secure);
            mqtt.push(Listener { tcp, tls, websocket });
        }
        let http = bind(listen.http, "HTTP", "listen.http").await?;
        let [mqtts, ws, wss] = more;
        let ports =
            Ports { mqtt: mqtt[0].tcp.local_addr()?, mqtts, ws, wss, http: http.local_addr()? };
        Ok(Self { ports, mqtt, http })
    }
}

impl Ports {
    /// What listens where, a line each.
    pub(in crate::cli) fn lines(&self) -> Vec<String> {
        let secure = self.mqtts.map(|at| format!("  MQTTS  {at}  (TLS)"));
        let web = [("ws", self.ws), ("wss", self.wss)];
        let web = web.into_iter().filter_map(|(scheme, at)| {
            at.map(|at| format!("  {:<5}  {scheme}://{at}/mqtt", scheme.to_uppercase()))
        });
        std::iter::once(format!("  MQTT   {}  (3.1, 3.1.1 and 5)", self.mqtt))
            .chain(secure)
            .chain(web)
            .chain([format!(
                "  HTTP   http://{}  (API, /ingest, /healthz, /readyz, /metrics)",
                self.http
            )])
            .collect()
    }
}

async fn bind(address: SocketAddr, what: &str, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!("another program uses the port; stop it, or set `{setting}` in the configuration")
            }
            _ => format!("check `{setting}` in the configuration"),
        };
        anyhow::anyhow!("cannot listen for {what} on {address}: {error}; {hint}")
    })
}

/// The pages whose scripts may reach the listeners.
pub(super) fn pages(config: &Config) -> anyhow::Result<Pages> {
    config.pages().map_err(|(list, message)| anyhow::anyhow!("listen.{list}: {message}"))
}
