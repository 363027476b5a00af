//! The embedded MQTT broker: MQTT 3.1, 3.1.1 and 5.0 on one port, QoS 0 to 2.
//!
//! A connection hands what it reads to the contract's `Ingress` and sends PUBACK or PUBREC
//! only when the engine has accepted it, and when what kept sessions are to get of it is on disk; beside that,
//! messages go from topic to subscribers without the engine.
//! Sessions and retained messages are in memory, and in a file that the next run reads.
//! The broker knows no rule. It speaks over TCP, TLS and WebSocket; whoever has
//! another stream passes it to [`Broker::serve_stream`].

mod aliases;
pub mod client;
pub mod codec;
mod commits;
mod connection;
mod core;
mod counters;
mod crowd;
mod device_topics;
mod devices;
mod handshake;
mod hooks;
mod inbound;
mod journal;
mod limits;
mod outbound;
mod outbox;
mod owed;
mod passwords;
mod received;
mod recent;
mod restore;
mod retained;
mod route;
mod routes;
mod server;
mod session;
mod sessions;
mod status;
mod store;
mod sys;
mod tencent;
mod tls;
mod trie;
mod users;
mod websocket;

pub use counters::{Counters, Snapshot};
pub use crowd::{Crowd, Place};
pub use devices::{DeviceAccess, Proof};
pub use hooks::{
    Acl, AllowAll, Authenticator, ConnectInfo, Connected, Disconnected, Hooks, Identity, Lifecycle,
    Refusal,
};
pub use limits::Limits;
pub use route::Delivered;
pub use routes::Routed;
pub use server::{Broker, BrokerHandle, ClientInfo, Clock, Config, Listener};
pub use status::StatusMessages;
pub use store::{FILE, KeptError};
pub use tls::{Tls, TlsError, TlsFiles};
pub use users::{PasswordHash, User, Users};
