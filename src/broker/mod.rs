//! The embedded MQTT broker: MQTT 3.1, 3.1.1 and 5.0 on one port, QoS 0 to 2.
//!
//! A connection hands what it reads to the contract's `Ingress` and sends PUBACK or PUBREC
//! only when the engine has accepted it, and when what kept sessions are to get of it is on disk; beside that,
//! messages go from topic to subscribers without the engine.
//! Sessions and retained messages are in memory, and in a file that the next run reads.
//! The broker knows no rule. It speaks over TCP, TLS and WebSocket; whoever has
//! another stream passes it to [`Broker::serve_stream`].
//!
//! # Map (each may use those above it)
//! - `codec`: packets to bytes and back; `client` is a small client made of it.
//! - `limits`, `counters`, `hooks`: what the daemon sets, reads, and decides for the broker. `access`
//!   decides so for devices and users; the rest of the broker does not know it. `sub_devices` are those that
//!   have logged in over a gateway's connection. `recent` remembers
//!   attempts, for `access` and for connections.
//! - `sessions`: who has a session, who gets a message, what is retained, what is to be written.
//! - `durability` writes that to a file and reads it; `sys` publishes the counters on `$SYS/…`.
//! - `connections`: from an accepted stream to packets, and to the sessions and the engine.
//! - `handle` is what others do with the broker, `server` puts all of it together, and `route_table`
//!   stands between the broker and the engine.

mod access;
pub mod client;
pub mod codec;
mod connections;
mod counters;
mod durability;
mod handle;
mod hooks;
mod limits;
mod recent;
mod route_table;
mod server;
mod sessions;
mod sub_devices;
mod sys;

pub use access::{DeviceAccess, PasswordHash, Proof, StatusMessages, User, Users};
pub use connections::{Crowd, Listener, Place, Tls, TlsError, TlsFiles};
pub use counters::{Counters, Snapshot};
pub use durability::{FILE, KeptError};
pub use handle::{BrokerHandle, ClientInfo};
pub use hooks::{
    Acl, AllowAll, Authenticator, Clock, ConnectInfo, Connected, Disconnected, Hooks, Identity,
    Lifecycle, Parted, Parting, Refusal,
};
pub use limits::Limits;
pub use route_table::Routed;
pub use server::{Broker, Config};
pub use sessions::{Delivered, Entrant, NotLoggedIn};
pub use sub_devices::SubDevices;
