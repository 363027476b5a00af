//! The rules that run, as of one moment: what the shards look up and evaluate.

use std::sync::Arc;

use super::index::FilterIndex;
use super::stats::RuleStats;
use crate::engine::delivery::Lane;
use crate::sql::Query;

/// All rules that run, as of one moment. Immutable: a change makes a new one.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub(in crate::engine) index: FilterIndex,
    pub(in crate::engine) rules: Vec<LiveRule>,
}

/// A rule that runs.
#[derive(Debug)]
pub(in crate::engine) struct LiveRule {
    pub(in crate::engine) name: Arc<str>,
    pub(in crate::engine) query: Arc<Query>,
    pub(in crate::engine) lanes: Arc<[Arc<Lane>]>,
    pub(in crate::engine) error_lane: Option<Arc<Lane>>,
    pub(in crate::engine) stats: Arc<RuleStats>,
}
