//! One client's connection, from the listener to the goodbye.
//!
//! To read in the order of its life: `listener` accepts it, with `tls` and `websocket` around the stream
//! and `crowd` to say how many an address may have; `handshake` reads CONNECT, asks the hooks and takes
//! a session; `connection` then reads, writes, waits and ends, with what packets mean in `inbound` and
//! what is written in `outbound`. `owed` holds the acknowledgements that wait for the engine and the
//! disk, `aliases` the numbers that stand for topics, `stream` reads and writes bytes. [`Core`] is what
//! all connections share.
//!
//! It uses the sessions, the codec and the hooks, and hands messages to the contract's `Ingress`. It
//! keeps nothing over the end of a connection: what is to stay is the session's.

mod aliases;
mod connection;
mod core;
mod crowd;
mod handshake;
mod inbound;
mod listener;
mod outbound;
mod owed;
mod stream;
mod tls;
mod websocket;

pub use self::core::{Core, Entrance};
pub use self::crowd::{Crowd, Place};
pub use self::listener::{Listener, accept, serve};
pub use self::tls::{Tls, TlsError, TlsFiles};
