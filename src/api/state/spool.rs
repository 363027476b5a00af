//! How the spool stands, as `GET /spool` answers and `tidegate spool status` reads.
//!
//! The numbers come from the daemon through [`Spool`]; nothing is counted here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How the spool stands.
pub type Spool = Arc<dyn Fn() -> SpoolStatus + Send + Sync>;

/// How the spool stands, as `GET /spool` answers and `tidegate spool status` reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolStatus {
    /// What an acknowledgement means at present, in some words.
    pub promise: String,
    /// Whether there is a log on disk at all.
    pub enabled: bool,
    /// Bytes of the log on disk.
    pub bytes: u64,
    /// The most that it may have.
    pub bytes_max: u64,
    /// Records that wait, over all cursors.
    pub backlog_records: u64,
    /// Bytes of the log that at least one cursor has not passed.
    pub backlog_bytes: u64,
    /// What waits for which action.
    pub cursors: Vec<CursorStatus>,
    /// What was given up unseen, by reason.
    pub dropped: Vec<Dropped>,
    /// What does not work, in words; empty when all does.
    pub trouble: Vec<String>,
    /// Actions whose records count as delivered before their destination has said that it keeps them,
    /// as `rule/action`.
    #[serde(default)]
    pub unconfirmed: Vec<String>,
    /// What an acknowledgement means at present, in one sentence.
    #[serde(default)]
    pub promise_in_full: String,
}

/// What waits for one action of one version of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorStatus {
    /// The name of the rule.
    pub rule: String,
    /// What tells this version of the rule from others.
    pub version: String,
    /// The name of the action, unique within the rule.
    pub action: String,
    /// Records.
    pub backlog_records: u64,
    /// Bytes of the log between the cursor and its end.
    pub backlog_bytes: u64,
    /// How long the oldest of them has waited, in milliseconds; `None` when none waits.
    pub oldest_ms: Option<u64>,
}

/// How many messages or records were given up unseen for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The reason, as in the metrics.
    pub reason: String,
    /// How many since the start.
    pub count: u64,
}
