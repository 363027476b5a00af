//! The rules that run, as of one moment: what the shards look up and evaluate.

use std::sync::Arc;

use super::index::FilterIndex;
use super::stats::RuleStats;
use crate::delivery::Lane;
use sql::Query;

/// All rules that run, as of one moment. Immutable: a change makes a new one.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub(crate) index: FilterIndex,
    pub(crate) rules: Vec<LiveRule>,
}

/// A rule that runs.
#[derive(Debug)]
pub(crate) struct LiveRule {
    pub(crate) name: Arc<str>,
    pub(crate) query: Arc<Query>,
    pub(crate) lanes: Arc<[Arc<Lane>]>,
    pub(crate) error_lane: Option<Arc<Lane>>,
    pub(crate) stats: Arc<RuleStats>,
}
