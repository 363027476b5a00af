//! The limits of the interface, and what they are by default.
//!
//! Each is held where it counts; `limits.api` of the configuration sets some of them.

use std::time::Duration;

use connectors::contract::TopicLimits;

/// The limits of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiLimits {
    /// Rules of the API.
    pub rules: u64,
    /// Actions of one rule, without its error action.
    pub actions: usize,
    /// Bytes in the body of a signed request.
    pub body: usize,
    /// Bytes in the payload of an ingested message.
    pub payload: usize,
    /// Topics of ingested messages and of rules.
    pub topics: TopicLimits,
    /// From the first byte of a request, or the end of the one before, to the end of its headers; a
    /// fifth of it for connections that are made while more than half of them are in use.
    pub header_wait: Duration,
    /// From the end of the headers to the end of the body.
    pub body_wait: Duration,
    /// For the engine's answer to an ingested message.
    pub accept_wait: Duration,
    /// For requests that are under way when the daemon stops.
    pub stop_wait: Duration,
    /// Open connections; further ones wait in the system's queue.
    pub connections: usize,
    /// Those of one address; further ones are closed.
    pub connections_per_address: usize,
    /// Signed requests of one access key per second; 0 is any number.
    pub requests_per_second: u32,
    /// Signed requests of one access key at once.
    pub burst: u32,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            rules: 1000,
            actions: 10,
            body: 1 << 20,
            payload: 1 << 20,
            topics: TopicLimits::default(),
            header_wait: Duration::from_secs(10),
            body_wait: Duration::from_secs(30),
            accept_wait: Duration::from_secs(30),
            stop_wait: Duration::from_secs(10),
            connections: 1024,
            connections_per_address: 512,
            requests_per_second: 5000,
            burst: 10_000,
        }
    }
}

/// Statements that may be explained at the same time; further requests are turned away.
pub(crate) const EXPLAINED_AT_ONCE: usize = 2;
