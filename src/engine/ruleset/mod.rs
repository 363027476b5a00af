//! All rules, whoever owns them, and the one way in which they come to run.
//!
//! Start, reload and every change over the API are the same step: the set is changed, a new snapshot
//! is made from it and swapped in. An action that did not change keeps its lane and what waits there.
//!
//! `files` says what rule files put in the place of what, `lanes` brings a change into force with the lanes
//! that it needs and takes back those that it does not, `restore` makes lanes for what an earlier run has
//! left, `replay` gives dead letters to lanes once more, and `report` is what can be seen of all that.
//!
//! It uses the whole engine and speaks to no system itself.

mod files;
mod lanes;
mod replay;
mod report;
mod restore;
#[cfg(test)]
mod tests;

pub use files::{Instead, Loaded, Refused, rule_files};
pub use report::RuleReport;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contract::{DeviceFacts, Sink, now_ms};
use tokio::runtime::Handle;

use self::lanes::Lanes;
use super::delivery::{Lane, LaneLimits, LaneParts};
use super::dispatch::{Engine, LiveRule, RuleStats, Snapshot};
use rule::{ActionPlace, CompiledRule, Compiler, Fault, Owner, Pending, Rule};
use sql::Query;
use yaml::problem::Problem;

/// The rules of the daemon.
pub struct RuleSet {
    engine: Arc<Engine>,
    compiler: Compiler,
    limits: LaneLimits,
    runtime: Handle,
    rules: Mutex<Rules>,
    lanes: Arc<Lanes>,
    /// All rules of the start are known. Before, none is put in force: the log's cursors are claimed
    /// by all of them at once.
    started: AtomicBool,
}

#[derive(Default)]
struct Rules {
    by_name: BTreeMap<String, Entry>,
    /// What is refused of the rule files as they are now.
    refused: Vec<Refused>,
    /// Rules of the API that should run and can't, with the reason.
    failed: BTreeMap<String, String>,
    /// Earlier versions whose records wait and cannot be delivered, with the reason.
    stuck: Vec<String>,
}

struct Entry {
    rule: Arc<Rule>,
    /// When this version came to run, in milliseconds since 1970.
    since_ms: u64,
    /// Its index among the rules of its file.
    index: usize,
    query: Option<Arc<Query>>,
    name: Arc<str>,
    stats: Arc<RuleStats>,
    lanes: Arc<[Arc<Lane>]>,
    error_lane: Option<Arc<Lane>>,
}

impl RuleSet {
    /// A set without rules. With a log, none runs before [`RuleSet::start`].
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        compiler: Compiler,
        limits: LaneLimits,
        runtime: Handle,
    ) -> Self {
        let started = AtomicBool::new(engine.storage().is_none());
        let (rules, lanes) = Default::default();
        Self { engine, compiler, limits, runtime, rules, lanes, started }
    }

    /// Puts all rules in force and goes on with what an earlier run has left in the log: records of
    /// actions that are as they were, and, under their own version, those of others.
    pub fn start(&self) {
        if self.started.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut rules = self.lock();
        self.apply(&rules);
        if let Some(storage) = self.engine.storage() {
            let retired = restore::restore(storage, &self.compiler, self.limits, &self.runtime);
            rules.stuck = retired.stuck;
            self.lanes.add_retired(retired.lanes);
            storage.cursors_complete();
            storage.journal().settle();
        }
    }

    /// Moves the cursors of all actions on, and puts in force what could not be while the log could
    /// not write. Called some fifty times a second.
    pub fn tend(&self) {
        let Some(storage) = self.engine.storage() else { return };
        if self.lanes.try_again() {
            let rules = self.lock();
            self.apply(&rules);
        }
        if storage.was_stirred() {
            self.lanes.tend(Some(storage));
        }
    }

    /// What compiles the rules.
    #[must_use]
    pub fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// Reads all rule files of a folder and runs what is right. What is wrong is refused alone, a rule
    /// or a file, and keeps its last good version if there is one; rules that no file has any more stop.
    pub fn load_folder(&self, folder: &Path) -> Loaded {
        let read = match files::read_all(folder, &self.compiler) {
            Ok(read) => read,
            Err(problem) => return self.refuse_folder(folder, problem),
        };
        let mut rules = self.lock();
        let loaded = self.replace_files(&mut rules, read);
        self.apply(&rules);
        loaded
    }

    /// Compiles a rule without running it.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self, rule: &Rule) -> Result<(), Fault> {
        let compiled = self.compiler.compile(Arc::new(rule.clone())).map_err(first)?;
        for remark in compiled.query.iter().flat_map(|query| query.warnings()) {
            tracing::warn!(rule = rule.name, part = remark.part, "{remark}");
        }
        for Fault { path, problem, .. } in &compiled.warnings {
            tracing::warn!(rule = rule.name, "{path}: {problem}");
        }
        Ok(())
    }

    /// Adds a rule, or puts it in the place of the one with its name, and runs it if it is enabled and
    /// has a statement.
    ///
    /// # Errors
    /// The first thing that is wrong with it; the earlier version stays.
    pub fn put(&self, rule: Rule) -> Result<(), Fault> {
        let compiled = self.compiler.compile(Arc::new(rule)).map_err(first)?;
        let mut rules = self.lock();
        let name = compiled.rule.name.clone();
        if let Some(other) = rules.by_name.get(&name)
            && other.rule.owner != compiled.rule.owner
        {
            return Err(Fault::new("name", taken(&compiled.rule, &other.rule)));
        }
        // The owner is the same object under an earlier name: that name is free again.
        let owner = compiled.rule.owner.clone();
        let before = rules
            .by_name
            .iter()
            .find(|(_, entry)| entry.rule.owner == owner)
            .map(|(name, _)| name.clone())
            .and_then(|name| rules.by_name.remove(&name));
        let entry = self.entry(compiled, 0, before);
        rules.failed.remove(&name);
        rules.by_name.insert(name, entry);
        self.apply(&rules);
        Ok(())
    }

    /// Stops and forgets a rule.
    pub fn remove(&self, name: &str) {
        let mut rules = self.lock();
        rules.failed.remove(name);
        rules.by_name.remove(name);
        self.apply(&rules);
    }

    /// Notes that a rule of the API should run and can't; a later [`RuleSet::put`] or
    /// [`RuleSet::remove`] of its name settles that.
    pub fn note_failed(&self, name: String, reason: String) {
        self.lock().failed.insert(name, reason);
    }

    /// What is known about devices.
    fn facts(&self) -> Arc<dyn DeviceFacts> {
        self.engine.facts()
    }

    fn entry(&self, compiled: CompiledRule, index: usize, before: Option<Entry>) -> Entry {
        let rule = &compiled.rule;
        let same = before.as_ref().filter(|entry| same_version(&entry.rule, rule));
        let since_ms = same.map_or_else(now_ms, |entry| entry.since_ms);
        let name: Arc<str> = rule.name.as_str().into();
        let mut old: Vec<Arc<Lane>> = Vec::new();
        let mut stats = None;
        if let Some(entry) = before {
            stats = (entry.name == name).then_some(entry.stats);
            old.extend(entry.lanes.iter().cloned());
            old.extend(entry.error_lane);
        }
        let lane = |place, sink: &Arc<dyn Sink>, errors| {
            let parts = LaneParts {
                rule: Arc::clone(rule),
                query: compiled.query.clone(),
                place,
                sink: Arc::clone(sink),
                limits: self.limits,
                runtime: self.runtime.clone(),
            };
            lane_for(parts, errors, &old)
        };
        let error_lane =
            compiled.error_sink.as_ref().map(|sink| lane(ActionPlace::Error, sink, None));
        let sinks = compiled.sinks.iter().enumerate();
        let lanes = sinks.map(|(n, sink)| lane(ActionPlace::Nth(n), sink, error_lane.clone()));
        let lanes = lanes.collect();
        let stats = stats.unwrap_or_else(|| Arc::new(RuleStats::new(self.engine.shards())));
        let CompiledRule { rule, query, .. } = compiled;
        Entry { rule, since_ms, index, query, name, stats, lanes, error_lane }
    }

    fn apply(&self, rules: &Rules) {
        if !self.started.load(Ordering::Acquire) {
            return;
        }
        let mut wanted = Vec::new();
        let mut snapshot = Snapshot::default();
        for entry in rules.by_name.values() {
            let Some(query) = entry.query.as_ref().filter(|_| entry.rule.enabled) else {
                continue;
            };
            wanted.extend(entry.error_lane.iter().chain(entry.lanes.iter()).cloned());
            let id = u32::try_from(snapshot.rules.len()).unwrap_or(u32::MAX);
            snapshot.index.insert(query.filter(), id);
            snapshot.rules.push(LiveRule {
                name: Arc::clone(&entry.name),
                query: Arc::clone(query),
                lanes: Arc::clone(&entry.lanes),
                error_lane: entry.error_lane.clone(),
                stats: Arc::clone(&entry.stats),
            });
        }
        self.lanes.install(&self.engine, snapshot, wanted);
    }

    fn lock(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lane of an earlier version that would do the same, or a new one in its place.
fn lane_for(parts: LaneParts, errors: Option<Arc<Lane>>, old: &[Arc<Lane>]) -> Arc<Lane> {
    let lane = Lane::new(parts, errors.clone());
    let rule = Arc::clone(lane.rule());
    if let Some(same) = old.iter().find(|old| old.serves(&rule, lane.place(), lane.action())) {
        same.set_errors(errors);
        same.resume();
        return Arc::clone(same);
    }
    let earlier = old.iter().find(|old| {
        let for_errors = |lane: &Lane| lane.place() == ActionPlace::Error;
        old.name() == lane.name() && for_errors(old) == for_errors(&lane)
    });
    if let Some(earlier) = earlier {
        // What is bound to an error action stays there.
        if rule.pending == Pending::HandOver && lane.place() != ActionPlace::Error {
            lane.take_over(Arc::clone(earlier));
        } else if lane.same_destination(earlier) {
            lane.follow(Arc::clone(earlier));
        }
    }
    lane
}

/// The first of what is wrong with a rule.
fn first(faults: Vec<Fault>) -> Fault {
    faults.into_iter().next().expect("invariant: a rule that is refused has a fault")
}

/// True when only the place in the file has changed.
fn same_version(one: &Rule, other: &Rule) -> bool {
    *one == Rule { owner: one.owner.clone(), ..other.clone() }
}

fn taken(rule: &Rule, other: &Rule) -> Problem {
    let owner = match &other.owner {
        Owner::File { path, line } => format!("the rule at {}:{line}", path.display()),
        Owner::Api(id) => format!("rule {id} of the API"),
    };
    let mut problem = Problem::new(format!("the name is used by {owner}"))
        .rule(&rule.name)
        .hint("give one of them another name");
    if let Owner::File { path, line } = &rule.owner {
        problem = problem.in_file(path, yaml::problem::Position { line: *line, column: 1 });
    }
    problem
}
