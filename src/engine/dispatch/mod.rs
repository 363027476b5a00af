//! Dispatch: from a batch that a source hands in to the records that lanes get.
//!
//! To read, in this order: the `engine` takes batches in, lets the log have them and gives them to a
//! `shard`; its `dispatcher` looks up which rules of the `snapshot` want a topic (`index`), evaluates them,
//! counts in `stats`, and pushes the records to their lanes.
//!
//! It uses the log, and the lanes only to push to them. It knows no rule but as it is compiled, and does
//! not decide which of them run: [`super::ruleset`] makes the snapshots.

mod dispatcher;
mod engine;
mod index;
mod shard;
mod snapshot;
mod stats;

pub use dispatcher::{Dispatcher, ShardCounts};
pub use engine::{Engine, EngineCounts};
pub use index::FilterIndex;
pub use shard::EngineLimits;
pub(super) use snapshot::LiveRule;
pub use snapshot::Snapshot;
pub use stats::{RuleCounts, RuleStats};
