//! Device messages: what devices post, as the documents that rules see; what they are asked and answer;
//! their shadows, last values, sub-devices and thing models.
//!
//! Who may connect and what devices there are is the registry's matter; connections are the broker's,
//! which is reached through [`Downlink`] only.

mod alink;
mod calls;
mod desired;
mod files;
mod forwarder;
mod gateway;
mod held;
mod later;
mod models;
mod reply;
mod service;
pub mod shadow;
mod shadows;
mod things;
mod topology;
pub mod tsl;
mod uplink;
mod values;

use contract::{Ack, Message};

pub use calls::{CALLS_MAX, CallCounts, CallError, Calls};
pub use desired::{DESIRED_AT_ONCE, Desired, DesiredError, Granted};
pub use files::{FileCounts, FileLimits, FileOptions, Place, StoredFile};
pub use forwarder::{Forwarder, forward};
pub use service::{Dialect, Done, RRPC_PATIENCE_MS, SYNC_PATIENCE, Service, ServiceError};
pub use things::{Clock, Counts, Options, Things};
pub use values::{Last, WRITE_EVERY};

/// The way to devices. The broker stands behind it.
pub trait Downlink: Send + Sync + 'static {
    /// Sends a message to those who subscribed to its topic and to the device whose own topic it is;
    /// false when it was queued for nobody. Never waits. A share of `ack` is held until the message is on
    /// disk for those who are to get it later.
    fn publish(&self, message: &Message, ack: &mut Ack) -> bool;

    /// The connection of a device; `None` while it has none.
    fn connection(&self, product_key: &str, device_name: &str) -> Option<Connection>;
}

/// What is known of a device's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Connection {
    /// The device takes calls on topics below `/ext/rrpc/` (`ext=1` in its client id).
    pub extended: bool,
}

#[cfg(test)]
mod tests;
