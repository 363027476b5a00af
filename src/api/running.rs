//! The engine's set of rules as the API sees it.

use std::sync::Arc;

use super::{RuleProblem, Rules};
use crate::engine::RuleSet;
use crate::rule::{DataType, Fault, Owner, Rule};
use crate::sql;

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
