//! The HTTP interface over a real listener, a real store, and signed requests.
//!
//! Only the engine is a stand-in: it remembers what it was given, and refuses what says so. `client`,
//! `server`, `devices` and `upload` are what tests are made of; the others test the wing of their name.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod aliyun;
pub(crate) mod client;
mod devices;
mod http;
mod onenet;
mod server;
mod tencent;
pub(crate) mod upload;
