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
pub mod metrics;
mod ruleset;
mod shard;
pub mod spool;
#[cfg(test)]
mod tests;

pub use backoff::{BACKOFF_MAX, BACKOFF_MIN, RETRY_AFTER_MAX};
pub use breaker::{BREAKER_FAILURES, BreakerState};
pub use delivery::{ActionPlace, Lane, LaneCounts, LaneLimits, Reason};
pub use dispatch::{Dispatcher, ShardCounts, Snapshot};
pub use index::FilterIndex;
pub use metrics::{METRICS, Metric, MetricsText, RuleCounts, RuleStats};
pub use ruleset::{Loaded, RuleReport, RuleSet, rule_files};
pub use shard::{Engine, EngineCounts, EngineLimits};
