//! Bounds of the API, as `limits.api` sets them.
//!
//! What a limit does is told where it is kept: in `api`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::{ApiLimits, NONCES_MAX};

/// Bounds of the API; each has a default.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiBounds {
    /// Rules that the API keeps.
    pub rules: u64,
    /// Connections at the same time.
    pub connections: usize,
    /// Those of one address, which can be that of a proxy.
    pub connections_per_address: usize,
    /// Signed requests of one access key per second; 0 is any number.
    pub requests_per_second: u32,
    /// Signed requests of one access key at once.
    pub burst: u32,
    /// Signed requests of one access key within 15 minutes: so many nonces are remembered.
    pub nonces: usize,
}

impl Default for ApiBounds {
    fn default() -> Self {
        let limits = ApiLimits::default();
        Self {
            rules: limits.rules,
            connections: limits.connections,
            connections_per_address: limits.connections_per_address,
            requests_per_second: limits.requests_per_second,
            burst: limits.burst,
            nonces: NONCES_MAX,
        }
    }
}

impl ApiBounds {
    /// The first bound with which nobody could work, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let bounds = [
            ("limits.api.connections", self.connections),
            ("limits.api.connections_per_address", self.connections_per_address),
            ("limits.api.nonces", self.nonces),
            ("limits.api.burst", self.burst as usize),
        ];
        match bounds.into_iter().find(|(_, bound)| *bound == 0) {
            Some((path, _)) => Err((path, "nobody could work; expected 1 or more".into())),
            None => Ok(()),
        }
    }
}
