//! A client's connection: CONNECT, keep-alive, topic aliases, the hand-over to the engine, and what it
//! runs over.

mod aliases;
mod connect;
mod ingress;
mod keep_alive;
pub mod tls;
pub mod websocket;
