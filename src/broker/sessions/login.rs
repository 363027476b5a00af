//! A device that has logged in over a gateway's connection.

use std::net::SocketAddr;
use std::sync::Arc;

use super::session::Session;
use crate::hooks::Identity;

/// A device that has logged in over a gateway's connection.
#[derive(Debug, Clone)]
pub struct Login {
    /// The device; its client identifier is that of the session that it has when it connects itself.
    pub device: Arc<Identity>,
    /// The gateway.
    pub gateway: Arc<Identity>,
    /// The gateway's session.
    pub over: Arc<Session>,
    /// Where the gateway's connection comes from.
    pub peer: SocketAddr,
    /// As [`super::Attached::connection`].
    pub connection: u64,
}
