//! Device messages: what devices post, as the documents that rules see; what they are asked and answer;
//! their shadows, last values and thing models; what gateways do for their sub-devices.
//!
//! Who may connect and what devices there are is the registry's matter; connections are the broker's,
//! which is reached through [`Downlink`] only.

mod alink;
mod calls;
mod credentials;
mod desired;
mod files;
mod forwarder;
mod gateway;
mod held;
mod later;
mod logins;
mod models;
mod record;
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
pub use topology::TopologyChange;
pub use values::{Last, WRITE_EVERY};

/// The way to devices. The broker stands behind it.
pub trait Downlink: Send + Sync + 'static {
    /// Sends a message to those who subscribed to its topic and to the device whose own topic it is;
    /// false when it was queued for nobody. Never waits. A share of `ack` is held until the message is on
    /// disk for those who are to get it later.
    fn publish(&self, message: &Message, ack: &mut Ack) -> bool;

    /// The connection of a device, its own or its gateway's; `None` while it has none.
    fn connection(&self, product_key: &str, device_name: &str) -> Option<Connection>;

    /// A number to be asked for before devices are looked at that are to log in.
    fn seen(&self) -> u64 {
        0
    }

    /// Logs devices in over the gateway's connection that a message came over, all or none.
    ///
    /// # Errors
    /// A [`LoginError`]; nothing has changed.
    fn log_in(&self, over: &Message, devices: &[SubDevice], seen: u64) -> Result<(), LoginError> {
        let (_, _, _) = (over, devices, seen);
        Err(LoginError::NoConnection)
    }

    /// Logs devices out that have logged in over the connection that a message came over, all or none:
    /// false when one of them has not.
    fn log_out(&self, over: &Message, devices: &[(String, String)]) -> bool {
        let (_, _) = (over, devices);
        false
    }

    /// A device is none of its gateway's any more: it is not reached over the gateway's connection. `tell`
    /// says whether the gateway does not know yet.
    fn part(&self, product_key: &str, device_name: &str, tell: bool) {
        let (_, _, _) = (product_key, device_name, tell);
    }
}

/// A device that logs in over a gateway's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubDevice {
    /// Its product.
    pub product_key: String,
    /// Its name.
    pub device_name: String,
    /// As [`Connection::extended`].
    pub extended: bool,
    /// It does not want what is kept for it.
    pub clean_start: bool,
}

/// Why devices have not logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The connection has ended, or is none of a gateway.
    #[error("the gateway's connection has ended")]
    NoConnection,
    /// Somebody was cut off meanwhile: the devices have to be looked at again.
    #[error("devices were cut off all the while")]
    LookAgain,
    /// The gateway would have too many.
    #[error("too many sub-devices are logged in")]
    TooMany,
}

/// What is known of a device's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Connection {
    /// The device takes calls on topics below `/ext/rrpc/` (`ext=1` in its client id).
    pub extended: bool,
}

#[cfg(test)]
mod tests;
