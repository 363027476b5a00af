//! The engine: takes messages in, finds the rules that want them, runs those, delivers the records.
//!
//! To read, the way of a message: `dispatch` takes it in, lets the [`spool`] have it and evaluates the
//! rules that want it; `delivery` brings the records to the actions; what no action takes is a letter of
//! the [`dead`]; `ruleset` says which rules run, and what becomes of what waits when they change. The
//! log, the journal of rule versions and the dead letters are held together by `storage`.
//!
//! It never looks into a payload (the compiled rules do) and speaks to no system (the sinks do). Which
//! wing may use which is in `tests/tidy/wings.rs`.

mod atomic_file;
pub mod dead;
mod delivery;
mod dispatch;
pub mod metrics;
mod ruleset;
pub mod spool;
mod storage;
mod watch;

pub use delivery::{
    BACKOFF_MAX, BACKOFF_MIN, BREAKER_FAILURES, BreakerState, Lane, LaneCounts, LaneLimits,
    LaneParts, RETRY_AFTER_MAX, Reason, Receipt,
};
pub use dispatch::{
    Dispatcher, Engine, EngineCounts, EngineLimits, FilterIndex, RuleCounts, RuleStats,
    ShardCounts, Snapshot,
};
pub use metrics::{METRICS, Metric, MetricsText};
pub use ruleset::{Instead, Loaded, Refused, RuleReport, RuleSet, rule_files};
pub use storage::{Followed, Follower, Storage, StorageError};

pub use rule::ActionPlace;
