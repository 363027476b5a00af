//! The HTTP interface over a real listener, a real store, and signed requests.
//!
//! Only the engine is a stand-in: it remembers what it was given, and refuses what says so.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

pub(crate) mod client;
mod crowd;
mod explain;
mod gateway;
mod hostile;
mod ingest;
mod keys;
mod line;
mod model;
mod newer;
mod pages;
mod registered;
mod scenario;
mod sdk;
mod server;
mod store_fails;
mod things;
mod vendors;
