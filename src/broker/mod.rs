//! The embedded MQTT broker: MQTT 3.1.1 and 5.0 on one port, QoS 0 and 1, sessions in memory.
//!
//! A connection hands what it reads to the contract's `Ingress` and sends PUBACK only when the
//! engine has accepted it; beside that, messages go from topic to subscribers without the engine.
//! The broker knows no rule, keeps nothing on disk, and speaks no TLS and no WebSocket: whoever has
//! such a stream passes it to [`Broker::serve_stream`].

pub mod client;
pub mod codec;
mod connection;
mod core;
mod counters;
mod device_topics;
mod devices;
mod handshake;
mod hooks;
mod inbound;
mod limits;
mod outbound;
mod retained;
mod route;
mod routes;
mod server;
mod session;
mod sessions;
mod status;
mod trie;
mod users;

pub use counters::{Counters, Snapshot};
pub use devices::{DeviceAccess, Proof};
pub use hooks::{
    Acl, AllowAll, Authenticator, ConnectInfo, Connected, Disconnected, Hooks, Identity, Lifecycle,
    Refusal,
};
pub use limits::Limits;
pub use route::Delivered;
pub use routes::Routed;
pub use server::{Broker, BrokerHandle, ClientInfo, Clock, Config};
pub use status::StatusMessages;
pub use users::{PasswordHash, User, Users};
