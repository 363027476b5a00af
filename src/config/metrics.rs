//! Who may read the metrics: `metrics:`.
//!
//! What is measured is declared where it happens.

use schemars::JsonSchema;
use serde::Deserialize;

/// Who may read `/metrics`, and the details of `/readyz`. On a listener that is not on loopback both
/// need an access key (role `read`), as they name rules and destinations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsForm {
    /// Everybody who reaches the listener may.
    pub open: bool,
}
