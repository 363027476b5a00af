//! The engine: takes messages in, finds the rules that want them, runs those, delivers the records.
//!
//! It never looks into a payload (the compiled rules do) and speaks to no system (the sinks do).

mod backoff;
mod breaker;
pub mod dead;
mod delivery;
mod dispatch;
mod fanout;
mod index;
mod journal;
mod lanes;
pub mod metrics;
mod replay;
mod restore;
mod ruleset;
mod shard;
pub mod spool;
mod storage;
#[cfg(test)]
mod tests;
mod watch;

pub use backoff::{BACKOFF_MAX, BACKOFF_MIN, RETRY_AFTER_MAX};
pub use breaker::{BREAKER_FAILURES, BreakerState};
pub use delivery::{ActionPlace, Lane, LaneCounts, LaneLimits, LaneParts, Reason, Receipt};
pub use dispatch::{Dispatcher, ShardCounts, Snapshot};
pub use index::FilterIndex;
pub use metrics::{METRICS, Metric, MetricsText, RuleCounts, RuleStats};
pub use ruleset::{Instead, Loaded, Refused, RuleReport, RuleSet, rule_files};
pub use shard::{Engine, EngineCounts, EngineLimits};
pub use storage::{Storage, StorageError};
