//! MQTT over TLS: certificates, who may connect, and what becomes of changed files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use connectors::contract::{ShutdownHandle, shutdown};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tidegate::broker::codec::{Reason, Version};
use tidegate::broker::{Broker, BrokerHandle, Config, Hooks, Listener, Tls, TlsFiles};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::broker::rig::{Engine, Raw, connect};

pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broker/certs").join(name)
}

pub fn files() -> TlsFiles {
    TlsFiles { cert: file("server.pem"), key: file("server.key"), client_ca: None }
}

/// A broker that listens on one port of the kind that a test wants, with real time.
pub struct Server {
    pub address: SocketAddr,
    pub engine: Arc<Engine>,
    pub handle: BrokerHandle,
    pub stop: Arc<ShutdownHandle>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub async fn start(tls: Option<Arc<Tls>>, websocket: bool) -> Self {
        let engine = Arc::new(Engine::default());
        let clock = Arc::new(|| 0);
        let mut config = Config::default();
        config.limits.packet_bytes = 100_000;
        let broker = Broker::new(config, Hooks::default(), engine.clone(), clock);
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let (stop, stopped) = shutdown();
        let handle = broker.handle();
        let listeners = vec![Listener { tcp, tls, websocket }];
        let serving = tokio::spawn(async move { broker.serve_all(listeners, stopped).await });
        Self { address, engine, handle, stop: Arc::new(stop), serving }
    }

    pub async fn end(self) {
        self.stop.stop();
        self.serving.await.unwrap().unwrap();
    }
}

/// Connects as a client that knows the test authority, with a certificate of its own or none.
pub async fn dial(address: SocketAddr, own: Option<&str>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let chain = CertificateDer::from_pem_file(file(&format!("{name}.pem"))).unwrap();
            let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(vec![chain], key).unwrap()
        }
    };
    let io = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, io).await
}

#[tokio::test]
async fn clients_speak_over_tls() {
    let server = Server::start(Some(Arc::new(Tls::load(files()).unwrap())), false).await;
    for version in Version::ALL {
        let io = dial(server.address, None).await.unwrap();
        let mut raw = Raw::over(io, version, server.stop.clone());
        raw.hello(connect("a", version)).await;
        raw.subscribe("b", 1).await;
        let large = "x".repeat(90_000);
        raw.publish("a", &large, 1).await;
        raw.publish("a", "small", 2).await;
        raw.quiet().await;
        raw.goodbye(Reason::SUCCESS).await;
    }
    assert_eq!(server.engine.messages().len(), 2 * Version::ALL.len());
    server.end().await;
}

#[tokio::test]
async fn what_is_no_tls_is_closed_and_counted() {
    let server = Server::start(Some(Arc::new(Tls::load(files()).unwrap())), false).await;
    let io = TcpStream::connect(server.address).await.unwrap();
    let mut raw = Raw::over(io, Version::V311, server.stop.clone());
    raw.send(tidegate::broker::codec::Packet::Connect(Box::new(connect("a", Version::V311)))).await;
    raw.hang_up_rudely().await;
    assert_eq!(server.handle.snapshot().handshakes_failed, 1);
    server.end().await;
}

#[tokio::test]
async fn clients_need_a_certificate_when_an_authority_is_set() {
    let with_ca = TlsFiles { client_ca: Some(file("ca.pem")), ..files() };
    let server = Server::start(Some(Arc::new(Tls::load(with_ca).unwrap())), false).await;
    let io = dial(server.address, Some("client")).await.unwrap();
    let mut raw = Raw::over(io, Version::V5, server.stop.clone());
    raw.hello(connect("a", Version::V5)).await;
    raw.goodbye(Reason::SUCCESS).await;
    // With TLS 1.3 a client learns of it at its first read.
    if let Ok(io) = dial(server.address, None).await {
        Raw::over(io, Version::V5, server.stop.clone()).hang_up_rudely().await;
    }
    assert_eq!(server.handle.snapshot().handshakes_failed, 1);
    server.end().await;
}

/// A folder of its own with one of the certificates as `cert.pem` and `key.pem`.
fn folder(name: &str) -> (tempfile::TempDir, TlsFiles) {
    let folder = tempfile::tempdir().unwrap();
    let to = |name: &str| folder.path().join(name);
    std::fs::copy(file(&format!("{name}.pem")), to("cert.pem")).unwrap();
    std::fs::copy(file(&format!("{name}.key")), to("key.pem")).unwrap();
    let files = TlsFiles { cert: to("cert.pem"), key: to("key.pem"), client_ca: None };
    (folder, files)
}

#[tokio::test]
async fn certificates_are_read_again_when_they_change() {
    let (folder, files) = folder("server");
    let tls = Arc::new(Tls::load(files).unwrap());
    assert!(!tls.refresh().unwrap());
    let server = Server::start(Some(tls.clone()), false).await;
    let shown = async || {
        let io = dial(server.address, None).await.unwrap();
        io.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let old = shown().await;
    // Half of a change: what was in force stays, and the problem is told once.
    std::fs::copy(file("other.pem"), folder.path().join("cert.pem")).unwrap();
    assert!(tls.refresh().unwrap_err().to_string().contains("is not the key of"));
    assert!(!tls.refresh().unwrap());
    assert_eq!(shown().await, old);
    std::fs::copy(file("other.key"), folder.path().join("key.pem")).unwrap();
    assert!(tls.refresh().unwrap());
    assert_ne!(shown().await, old);
    std::fs::remove_file(folder.path().join("key.pem")).unwrap();
    assert!(tls.refresh().is_err());
    assert_ne!(shown().await, old);
    server.end().await;
}

#[test]
fn errors_name_the_setting_and_the_file() {
    let wrong = |change: fn(&mut TlsFiles)| {
        let mut files = files();
        change(&mut files);
        Tls::load(files).unwrap_err().to_string()
    };
    let missing = wrong(|files| files.cert = "/nowhere/x.pem".into());
    assert!(missing.starts_with("`tls.cert`: /nowhere/x.pem: cannot be read: "), "{missing}");
    let swapped = wrong(|files| files.key = files.cert.clone());
    assert!(swapped.contains("`tls.key`: ") && swapped.contains("holds no private key"));
    let no_pem = wrong(|files| files.cert = file("README.md"));
    assert!(no_pem.contains("`tls.cert`: ") && no_pem.contains("holds no certificate"));
    let other = wrong(|files| files.key = file("other.key"));
    assert!(other.contains("`tls.key`: ") && other.contains("is not the key of"), "{other}");
    let authority = wrong(|files| files.client_ca = Some(file("server.key")));
    assert!(authority.starts_with("`tls.client_ca`: "), "{authority}");
}
