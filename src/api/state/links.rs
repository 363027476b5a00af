//! Links to files of devices: where they lead, how long they are good, and who signs them.

use std::time::Duration;

use crate::api::access::link::Signer;

/// The path below which files are read.
pub(crate) const FILES: &str = "/files";

/// Makes and checks links to files.
#[derive(Debug, Clone)]
pub struct FileLinks {
    /// Signs them.
    pub signer: Signer,
    /// Scheme and authority that they start with, such as `https://files.example`; without one, they
    /// lead where the request came.
    pub url: Option<String>,
    /// How long they are good.
    pub valid: Duration,
}

impl FileLinks {
    /// A link to a file; `host` is where the request came.
    pub(crate) fn link(&self, host: &str, id: &str, name: &str, now_ms: u64) -> String {
        let expires = now_ms / 1000 + self.valid.as_secs();
        let signature = self.signer.sign(id, expires);
        let base = match &self.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{host}"),
        };
        format!("{base}{FILES}/{id}/{name}?Expires={expires}&Signature={signature}")
    }
}
