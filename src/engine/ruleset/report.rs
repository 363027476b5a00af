//! What can be seen of the rules: what they are, what they have done, and what does not work.

use std::sync::Arc;

use contract::TopicFilter;

use super::{Entry, Refused, RuleSet};
use crate::delivery::{Lane, LaneCounts};
use crate::dispatch::RuleCounts;
use rule::{Owner, Rule};

/// A rule and what it has done.
#[derive(Debug, Clone)]
pub struct RuleReport {
    /// The rule as written.
    pub rule: Arc<Rule>,
    /// When this version of it came to run, in milliseconds since 1970.
    pub since_ms: u64,
    /// Its counts.
    pub counts: RuleCounts,
    /// Its actions with theirs; the error action comes last and is named `error_action`.
    pub actions: Vec<(String, LaneCounts)>,
    /// Which actions do not work at present, and why: paused by a wrong configuration, or waiting for
    /// their destination.
    pub abnormal: Vec<String>,
}

impl RuleSet {
    /// The owner of the rule with that name.
    #[must_use]
    pub fn owner(&self, name: &str) -> Option<Owner> {
        self.lock().by_name.get(name).map(|entry| entry.rule.owner.clone())
    }

    /// The rule with that name as it was written.
    #[must_use]
    pub fn rule(&self, name: &str) -> Option<Arc<Rule>> {
        self.lock().by_name.get(name).map(|entry| Arc::clone(&entry.rule))
    }

    /// All rules with what they have done, by name.
    #[must_use]
    pub fn report(&self) -> Vec<RuleReport> {
        let rules = self.lock();
        rules.by_name.values().map(Entry::report).collect()
    }

    /// The topic filters of all rules that have a statement, by rule name.
    #[must_use]
    pub fn filters(&self) -> Vec<TopicFilter> {
        let rules = self.lock();
        let queries = rules.by_name.values().filter_map(|entry| entry.query.as_ref());
        queries.map(|query| query.filter().clone()).collect()
    }

    /// What is refused of the rule files as they are now.
    #[must_use]
    pub fn refused(&self) -> Vec<Refused> {
        self.lock().refused.clone()
    }

    /// What keeps rules from running as they should: what is refused of rule files, and what runs in
    /// its place; rules of the API that can't run.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let rules = self.lock();
        let files = rules.refused.iter().flat_map(Refused::lines);
        let failed = rules.failed.iter().map(|(name, reason)| format!("rule `{name}`: {reason}"));
        let waits = self.lanes.has_failed().then(|| {
            "a change of rules waits until the spool can write; the earlier rules run".to_owned()
        });
        files.chain(failed).chain(waits).collect()
    }

    /// Rules that run and whose actions do not work at present; the daemon is ready all the same.
    #[must_use]
    pub fn abnormal(&self) -> Vec<String> {
        let rules = self.lock();
        let lines = rules.by_name.iter().flat_map(|(name, entry)| {
            entry.troubles().map(move |reason| format!("rule `{name}`: {reason}"))
        });
        let retired = self.lanes.retired();
        let earlier = retired.iter().filter_map(|lane| {
            let (rule, action) = (&lane.rule().name, lane.name());
            lane.trouble().map(|trouble| {
                format!("rule `{rule}`, earlier version: action `{action}`: {trouble}")
            })
        });
        lines.chain(earlier).chain(rules.stuck.iter().cloned()).collect()
    }

    /// Records that wait or are being delivered, over all actions: also those of actions that were
    /// changed or removed meanwhile, which are still delivered as they were.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.lanes.queued()
    }

    /// Records of actions that were changed or removed, which are still delivered as they were.
    #[must_use]
    pub fn retired(&self) -> u64 {
        self.lanes.retired().iter().map(|lane| lane.counts().queued).sum()
    }

    /// Whether something is under way that the end of the daemon should wait for: deliveries to
    /// destinations that work, and whatever the log does not have.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.lanes.is_busy()
    }

    /// Of what waits: records that a restart loses, because the log does not have them.
    #[must_use]
    pub fn volatile(&self) -> u64 {
        self.lanes.all().iter().map(|lane| lane.volatile()).sum()
    }

    /// All lanes, those of changed or removed actions included.
    #[must_use]
    pub fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.all()
    }

    /// The lane of an action of a rule that runs, by their names.
    #[must_use]
    pub fn lane(&self, rule: &str, action: &str) -> Option<Arc<Lane>> {
        let rules = self.lock();
        let entry = rules.by_name.get(rule).filter(|entry| entry.rule.enabled)?;
        entry.lanes.iter().chain(&entry.error_lane).find(|lane| **lane.name() == *action).cloned()
    }
}

impl Entry {
    /// Which actions do not work at present, and why.
    fn troubles(&self) -> impl Iterator<Item = String> {
        self.lanes.iter().chain(&self.error_lane).filter_map(|lane| {
            lane.trouble().map(|trouble| format!("action `{}`: {trouble}", lane.name()))
        })
    }

    fn report(&self) -> RuleReport {
        let abnormal = self.troubles().collect();
        let mut actions: Vec<_> =
            self.lanes.iter().map(|lane| (lane.name().to_string(), lane.counts())).collect();
        if let Some(lane) = &self.error_lane {
            actions.push((lane.name().to_string(), lane.counts()));
        }
        let rule = Arc::clone(&self.rule);
        RuleReport { rule, since_ms: self.since_ms, counts: self.stats.counts(), actions, abnormal }
    }
}
