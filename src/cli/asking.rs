//! How a verb asks the running daemon over HTTP: where it is, and with which access key.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;

use crate::config::Config;
use crate::rule::store::KEY_FILE;

/// How long the daemon may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The variables that hold an access key, as in the file that the daemon makes.
pub(super) const KEY_ID: &str = "TIDEGATE_ACCESS_KEY_ID";
pub(super) const KEY_SECRET: &str = "TIDEGATE_ACCESS_KEY_SECRET";

/// The address under which a listener is reached from here.
pub(super) fn here(mut listener: SocketAddr) -> SocketAddr {
    if listener.ip().is_unspecified() {
        // It listens everywhere, hence here, too.
        listener.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    listener
}

/// What is said when nobody answers.
pub(super) fn unreachable(to: SocketAddr) -> String {
    format!("cannot reach the daemon at {to}; is it running? `--to` names another address")
}

/// The access key to use, its id and its secret: from the environment, the configuration, or the file in
/// the data folder.
pub(super) fn key(config: &Config) -> anyhow::Result<Option<(String, String)>> {
    if let (Ok(id), Ok(secret)) = (std::env::var(KEY_ID), std::env::var(KEY_SECRET)) {
        return Ok(Some((id, secret)));
    }
    if let Some(key) = config.access_keys.first() {
        return Ok(Some((key.id.clone(), key.secret.clone())));
    }
    let path = config.path(&config.data_dir).join(KEY_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    let value = |name: &str| {
        let find = |line: &str| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned());
        text.lines().find_map(find)
    };
    Ok(value(KEY_ID).zip(value(KEY_SECRET)))
}
