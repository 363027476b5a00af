//! TLS for listeners: certificate and key from PEM files, read again when the files change.
//!
//! It accepts streams and knows no MQTT; what a client's certificate says is not used as an identity.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// How often new connections make the broker look whether the files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Where the certificate of the TLS listeners is, in PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate, and behind it those that lead to one that clients know.
    pub cert: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
    /// Certificates of authorities. With them, only clients with a certificate of one may connect.
    pub client_ca: Option<PathBuf>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[error("`{setting}`: {}: {message}", path.display())]
pub struct TlsError {
    /// The setting that names the file, such as `tls.cert`.
    pub setting: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub message: String,
}

/// Certificate and key in force.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: ArcSwap<ServerConfig>,
    seen: Mutex<Seen>,
}

/// The files as they were when they were read, and when that was looked at.
#[derive(Debug)]
struct Seen {
    stamps: Vec<Option<Stamp>>,
    looked: Instant,
}

/// What tells one content of a file from the next.
type Stamp = (Option<SystemTime>, u64, u64);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// A [`TlsError`] that names the setting, the file and what is wrong.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let seen = Mutex::new(Seen { stamps: stamps(&files), looked: Instant::now() });
        let current = ArcSwap::from(read(&files)?);
        Ok(Self { files, current, seen })
    }

    /// Reads the files again when they have changed; true when what they hold is in force now.
    ///
    /// # Errors
    /// As [`Tls::load`], once for each change; what was in force stays.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let now = stamps(&self.files);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.looked = Instant::now();
            if seen.stamps == now {
                return Ok(false);
            }
            seen.stamps = now;
        }
        self.current.store(read(&self.files)?);
        Ok(true)
    }

    /// What accepts the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let looked = self.seen.lock().unwrap_or_else(PoisonError::into_inner).looked;
        if looked.elapsed() >= LOOK_EVERY {
            match self.refresh() {
                Ok(false) => {}
                Ok(true) => tracing::info!("the TLS certificate was read again"),
                Err(error) => tracing::error!("the old TLS certificate stays in force: {error}"),
            }
        }
        TlsAcceptor::from(self.current.load_full())
    }
}

impl TlsFiles {
    fn each(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
    }
}

fn stamps(files: &TlsFiles) -> Vec<Option<Stamp>> {
    files.each().map(|path| path.metadata().ok().map(|found| stamp(&found))).collect()
}

fn stamp(found: &Metadata) -> Stamp {
    #[cfg(unix)]
    let file = std::os::unix::fs::MetadataExt::ino(found);
    #[cfg(not(unix))]
    let file = 0;
    (found.modified().ok(), found.len(), file)
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let wrong = |setting, path: &Path, message: String| TlsError {
        setting,
        path: path.to_owned(),
        message,
    };
    let chain = certificates(&files.cert).map_err(|text| wrong("tls.cert", &files.cert, text))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| wrong("tls.key", &files.key, in_words(&error, "private key")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("tls.cert", &files.cert, error.to_string()))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let wrong = |text| wrong("tls.client_ca", path, text);
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path).map_err(wrong)? {
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.build().map_err(|error| wrong(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            let message = format!("is not the key of {}", files.cert.display());
            wrong("tls.key", &files.key, message)
        }
        error => wrong("tls.cert", &files.cert, error.to_string()),
    })?;
    Ok(Arc::new(config))
}

/// The certificates of a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let list = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match list {
        Ok(list) if list.is_empty() => Err(in_words(&PemError::NoItemsFound, "certificate")),
        Ok(list) => Ok(list),
        Err(error) => Err(in_words(&error, "certificate")),
    }
}

fn in_words(error: &PemError, what: &str) -> String {
    match error {
        PemError::Io(error) => format!("cannot be read: {error}"),
        PemError::NoItemsFound => format!("holds no {what} in PEM (`-----BEGIN …-----`)"),
        error => format!("is no PEM file: {error}"),
    }
}
