//! The rules that run, as the API sees them: what it asks of the engine's set of rules, and no more.

use std::sync::Arc;

use crate::engine::RuleSet;
use crate::rule::{DataType, Fault, Owner, Rule};
use crate::sql;

/// The rules that run, as the API sees them. The engine implements it.
pub trait Rules: Send + Sync + 'static {
    /// Compiles a rule and builds its actions without keeping anything. A rule without a statement
    /// or without actions is fine as far as it goes.
    ///
    /// # Errors
    /// What is wrong.
    fn check(&self, rule: &Rule) -> Result<(), RuleProblem>;

    /// Runs a rule from now on. It takes the place of the rule with the same owner id, whatever that
    /// one was called, so that a rule that is renamed never runs twice.
    ///
    /// # Errors
    /// What is wrong; the rule that ran before still runs.
    fn put(&self, rule: Rule) -> Result<(), RuleProblem>;

    /// Stops running the rule of the API that has that name, if there is one.
    fn remove(&self, name: &str);

    /// True when a rule from a file has that name.
    fn name_taken_by_file(&self, name: &str) -> bool;

    /// The rule with that name, whoever owns it, if there is one that runs or could.
    fn rule(&self, name: &str) -> Option<Arc<Rule>>;

    /// How statements are compiled.
    fn options(&self, data_type: DataType) -> sql::Options;
}

/// Why a rule can't run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RuleProblem {
    /// What is wrong, where (line and column for SQL), and what was expected.
    pub message: String,
    /// True when the statement is to blame, false for an action.
    pub sql: bool,
}

impl Rules for RuleSet {
    fn check(&self, rule: &Rule) -> Result<(), RuleProblem> {
        RuleSet::check(self, rule).map_err(problem)
    }

    fn put(&self, rule: Rule) -> Result<(), RuleProblem> {
        RuleSet::put(self, rule).map_err(problem)
    }

    fn remove(&self, name: &str) {
        RuleSet::remove(self, name);
    }

    fn name_taken_by_file(&self, name: &str) -> bool {
        matches!(self.owner(name), Some(Owner::File { .. }))
    }

    fn rule(&self, name: &str) -> Option<Arc<Rule>> {
        RuleSet::rule(self, name)
    }

    fn options(&self, data_type: DataType) -> sql::Options {
        self.compiler().options(data_type)
    }
}

fn problem(fault: Fault) -> RuleProblem {
    let sql = fault.problem.in_sql;
    // A statement's own place is told; the path of an action's setting says where otherwise.
    let message = match sql || fault.path.is_empty() {
        true => fault.problem.to_string(),
        false => format!("{}: {}", fault.path, fault.problem),
    };
    RuleProblem { message, sql }
}
