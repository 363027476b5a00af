//! From the store to the engine: a stored rule and its actions as one rule that can run, and changes
//! that both must have or neither.
//!
//! SQL and actions are checked by the engine; what a destination of the vendor is here, `destination`
//! says.

use std::future::Future;

use super::destination::{self, configuration};
use super::source::SourceTopic;
use crate::api::aliyun::operation::failed;
use crate::api::aliyun::wire::error::{self, ApiError, ErrorCode};
use crate::api::state::rules::RuleProblem;
use crate::api::state::{Api, ApiState};
use crate::rule::store::{StoreError, StoredAction, StoredRule};
use crate::rule::{Owner, Pending, Retry, Rule, Statement};

/// The statement, once everything that it needs is there.
pub(crate) fn statement(rule: &StoredRule) -> Option<Statement> {
    let source = SourceTopic {
        product_key: rule.product_key.clone()?,
        short_topic: rule.short_topic.clone()?,
        topic_type: rule.topic_type?,
    };
    let (select, filter) = (rule.select.clone()?, rule.filter.clone());
    Some(Statement::Parts { select, from: source.filter(), filter })
}

/// A rule of the store as the engine takes it.
pub(super) fn build(
    state: &ApiState,
    rule: &StoredRule,
    actions: &[StoredAction],
) -> Result<Rule, ApiError> {
    let mut normal = Vec::new();
    let mut error_action = None;
    for action in actions {
        let name = format!("{}-{}", action.kind.to_lowercase(), action.id);
        let configuration = configuration::parse(&action.configuration)?;
        let built = destination::action(&state.destinations, name, &action.kind, &configuration)?;
        if action.error {
            error_action = Some(Box::new(built));
        } else {
            normal.push(built);
        }
    }
    Ok(Rule {
        name: rule.name.clone(),
        description: rule.description.clone(),
        enabled: rule.running,
        data_type: rule.data_type,
        sql: statement(rule),
        actions: normal,
        error_action,
        retry: Retry::default(),
        pending: Pending::Finish,
        owner: Owner::Api(rule.id),
    })
}

/// Lets the engine check a rule with no other actions than those; nothing comes to run.
pub(super) fn check(
    api: &Api,
    rule: &StoredRule,
    actions: &[StoredAction],
    code: &'static ErrorCode,
) -> Result<(), ApiError> {
    let rule = build(&api.state, rule, actions)?;
    api.state.rules.check(&rule).map_err(|problem| refused(code, problem))
}

/// Runs `after` in the place of `before` and writes the change to the store, or does neither.
pub(super) async fn swap(
    api: &Api,
    code: &'static ErrorCode,
    before: Rule,
    after: Rule,
    write: impl Future<Output = Result<(), StoreError>>,
) -> Result<(), ApiError> {
    api.state.rules.put(after).map_err(|problem| refused(code, problem))?;
    let Err(failure) = write.await else { return Ok(()) };
    put_back(api, before);
    Err(failed(code)(failure))
}

/// Runs what ran a moment ago, so that only a rule file that took its name since then can be in the way.
pub(super) fn put_back(api: &Api, before: Rule) {
    let name = before.name.clone();
    if let Err(problem) = api.state.rules.put(before) {
        tracing::error!(%problem, rule = name, "the rule could not be put back");
    }
}

/// What the engine found, in the protocol's codes.
pub(super) fn refused(code: &'static ErrorCode, problem: RuleProblem) -> ApiError {
    if problem.sql { error::SQL.with(problem) } else { code.with(problem) }
}

/// Gives the engine all rules that run, when the daemon starts. Answers the rules that could not be
/// started with the reason: they stay in the store as running, for a start with a better
/// configuration.
///
/// # Errors
/// What the store says.
pub async fn restore(state: &ApiState) -> Result<Vec<(String, RuleProblem)>, StoreError> {
    let mut failed = Vec::new();
    let actions = state.store.running_actions().await?;
    for rule in state.store.running_rules().await? {
        let from = actions.partition_point(|action| action.rule_id < rule.id);
        let end = actions.partition_point(|action| action.rule_id <= rule.id);
        let problem = match build(state, &rule, &actions[from..end]) {
            Ok(built) => state.rules.put(built).err(),
            Err(error) => Some(RuleProblem { message: error.to_string(), sql: false }),
        };
        failed.extend(problem.map(|problem| (rule.name, problem)));
    }
    Ok(failed)
}
