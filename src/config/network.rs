//! Which addresses rules may reach: `network:`.
//!
//! What the lists mean is told, and checked, in the contract.

use schemars::JsonSchema;
use serde::Deserialize;

/// Which addresses actions may connect to where a rule says where to (`http`), whatever name leads
/// there: networks such as `10.0.0.0/8`, and addresses. `connections:` are not bound: they are written
/// beside this. Rules of the API do not reach link-local addresses and those where clouds keep secrets,
/// and loopback only where `endpoints:` says so, unless an entry of `allow` lies within one of these
/// networks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkForm {
    /// With an entry, only what is listed is reached.
    pub allow: Vec<String>,
    /// What is never reached.
    pub deny: Vec<String>,
}
