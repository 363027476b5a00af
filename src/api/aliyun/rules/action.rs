//! The operations on the actions of rules (development guide §2.11).
//!
//! What a configuration means stands in `destination`; here is who may be added to whom.

use std::slice::from_ref;

use connectors::contract::{self, tree};
use serde_json::{Map, Value, json};

use super::destination::{self, configuration};
use super::rule::find;
use super::running::{build, check, put_back, refused, swap};
use crate::api::aliyun::operation::{Operation, failed, may, need};
use crate::api::aliyun::wire::answer::{ACCOUNT, Answer, object};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError, ErrorCode};
use crate::api::state::Api;
use crate::rule::DataType;
use crate::rule::store::{Role, StoredAction, StoredRule};

/// The operations of rules' actions, sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "CreateRuleAction",
        parameters: &[need("RuleId"), need("Type"), need("Configuration"), may("ErrorActionFlag")],
        role: Role::Admin,
        call: |api, call| Box::pin(create(api, call)),
    },
    Operation {
        name: "DeleteRuleAction",
        parameters: &[need("ActionId")],
        role: Role::Admin,
        call: |api, call| Box::pin(delete(api, call)),
    },
    Operation {
        name: "GetRuleAction",
        parameters: &[need("ActionId")],
        role: Role::Read,
        call: |api, call| Box::pin(get(api, call)),
    },
    Operation {
        name: "ListRuleActions",
        parameters: &[need("RuleId")],
        role: Role::Read,
        call: |api, call| Box::pin(list(api, call)),
    },
    Operation {
        name: "UpdateRuleAction",
        parameters: &[need("ActionId"), need("Type"), need("Configuration")],
        role: Role::Admin,
        call: |api, call| Box::pin(update(api, call)),
    },
];

async fn create(api: &Api, call: &Call) -> Answer {
    let error = call.flag("ErrorActionFlag")?.unwrap_or(false);
    let _change = api.change.lock().await;
    let rule = find(api, call, error::CREATE_ACTION).await?;
    let mut action = given(call, &rule)?;
    action.error = error;
    let store = &api.state.store;
    let actions = store.actions(rule.id).await.map_err(failed(error::CREATE_ACTION))?;
    fits(api, &action, &actions)?;
    check(api, &rule, from_ref(&action), error::CONFIGURATION)?;
    let mut runs = false;
    let inserted = store.insert_action_if(&action, |id| {
        if rule.running {
            let mut all = actions.clone();
            all.push(StoredAction { id, ..action.clone() });
            let after = build(&api.state, &rule, &all)?;
            let put = api.state.rules.put(after);
            put.map_err(|problem| refused(error::CREATE_ACTION, problem))?;
            runs = true;
        }
        Ok(())
    });
    let inserted = inserted.await;
    if inserted.is_err() && runs {
        put_back(api, build(&api.state, &rule, &actions)?);
    }
    let id = inserted.map_err(failed(error::CREATE_ACTION))??;
    Ok(object(json!({ "RequestId": call.id, "ActionId": id, "Success": true })))
}

async fn get(api: &Api, call: &Call) -> Answer {
    let action = find_action(api, call, error::QUERY_ACTION).await?;
    Ok(object(json!({
        "RuleActionInfo": info(&action), "RequestId": call.id, "Success": true
    })))
}

async fn list(api: &Api, call: &Call) -> Answer {
    let rule = find(api, call, error::QUERY_ACTIONS).await?;
    let actions = api.state.store.actions(rule.id).await.map_err(failed(error::QUERY_ACTIONS))?;
    let actions: Vec<_> = actions.iter().map(info).collect();
    Ok(object(json!({
        "RuleActionList": { "RuleActionInfo": actions }, "RequestId": call.id, "Success": true
    })))
}

async fn update(api: &Api, call: &Call) -> Answer {
    let _change = api.change.lock().await;
    let old = find_action(api, call, error::UPDATE_ACTION).await?;
    let rule = rule_of(api, &old, error::UPDATE_ACTION).await?;
    let new = StoredAction { id: old.id, error: old.error, ..given(call, &rule)? };
    let store = &api.state.store;
    let before = store.actions(rule.id).await.map_err(failed(error::UPDATE_ACTION))?;
    let (mut at, mut others) = (0, before.clone());
    if let Some(found) = others.iter().position(|action| action.id == old.id) {
        others.remove(found);
        at = found;
    }
    fits(api, &new, &others)?;
    check(api, &rule, from_ref(&new), error::CONFIGURATION)?;
    if rule.running {
        others.insert(at, new.clone());
        let after = build(&api.state, &rule, &others)?;
        let before = build(&api.state, &rule, &before)?;
        swap(api, error::UPDATE_ACTION, before, after, store.update_action(&new)).await?;
    } else {
        store.update_action(&new).await.map_err(failed(error::UPDATE_ACTION))?;
    }
    Ok(call.done())
}

async fn delete(api: &Api, call: &Call) -> Answer {
    let _change = api.change.lock().await;
    let action = find_action(api, call, error::DELETE_ACTION).await?;
    let rule = rule_of(api, &action, error::DELETE_ACTION).await?;
    let store = &api.state.store;
    if !rule.running {
        store.delete_action(action.id).await.map_err(failed(error::DELETE_ACTION))?;
        return Ok(call.done());
    }
    let before = store.actions(rule.id).await.map_err(failed(error::DELETE_ACTION))?;
    let rest: Vec<_> = before.iter().filter(|other| other.id != action.id).cloned().collect();
    if rest.iter().all(|other| other.error) {
        let text = "the rule is running and this is its last action; stop it with StopRule first";
        return Err(error::DELETE_ACTION.with(text));
    }
    let after = build(&api.state, &rule, &rest)?;
    let before = build(&api.state, &rule, &before)?;
    swap(api, error::DELETE_ACTION, before, after, store.delete_action(action.id)).await?;
    Ok(call.done())
}

/// The action that `ActionId` names; the code is for a store that fails.
async fn find_action(
    api: &Api,
    call: &Call,
    code: &'static ErrorCode,
) -> Result<StoredAction, ApiError> {
    let text = call.required("ActionId")?;
    let Some(id) = text.parse().ok().filter(|id| *id > 0) else {
        return Err(error::ACTION_ID.with(format!("`{text}`; expected a number such as 100000")));
    };
    let action = api.state.store.action(id).await.map_err(failed(code))?;
    action.ok_or_else(|| error::NO_RULE_ACTION.with(id))
}

async fn rule_of(
    api: &Api,
    action: &StoredAction,
    code: &'static ErrorCode,
) -> Result<StoredRule, ApiError> {
    let rule = api.state.store.rule(action.rule_id).await.map_err(failed(code))?;
    rule.ok_or_else(|| error::NO_RULE.with(action.rule_id))
}

/// `Type` and `Configuration` of a request, checked as far as no other action matters.
fn given(call: &Call, rule: &StoredRule) -> Result<StoredAction, ApiError> {
    let kind = call.required("Type")?;
    if kind.is_empty() {
        return Err(error::NULL_ACTION_TYPE.plain());
    }
    if !destination::is_type(kind) {
        let text = format!("`{kind}`; expected {}", destination::types());
        return Err(error::ACTION_TYPE.with(text));
    }
    if kind == "OTS" && rule.data_type == DataType::Binary {
        return Err(error::ACTION_TYPE.with("a BINARY rule can't forward to OTS"));
    }
    let text = call.required("Configuration")?;
    configuration::parse(text)?;
    Ok(StoredAction {
        id: 0,
        rule_id: rule.id,
        kind: kind.to_owned(),
        configuration: text.to_owned(),
        error: false,
    })
}

/// Checks an action against the other actions of its rule.
fn fits(api: &Api, action: &StoredAction, others: &[StoredAction]) -> Result<(), ApiError> {
    let parsed = |action: &StoredAction| tree(action.configuration.as_bytes()).ok();
    let same = |other: &&StoredAction| {
        other.kind == action.kind && other.error == action.error && parsed(other) == parsed(action)
    };
    if let Some(other) = others.iter().find(same) {
        return Err(error::SAME_ACTION.with(other.id));
    }
    let mut error_actions = others.iter().filter(|other| other.error);
    let normal = others.iter().filter(|other| !other.error).count();
    if action.error
        && let Some(other) = error_actions.next()
    {
        return Err(error::ONE_ERROR_ACTION.with(format!("action {}", other.id)));
    }
    if !action.error && normal >= api.state.limits.actions {
        return Err(error::TOO_MANY_ACTIONS.with(normal));
    }
    if others.iter().any(|other| other.error != action.error && other.kind == action.kind) {
        return Err(error::ERROR_ACTION_TYPE.with(&action.kind));
    }
    Ok(())
}

fn info(action: &StoredAction) -> Map<String, Value> {
    object(json!({
        "Type": action.kind,
        "RuleId": action.rule_id,
        "Id": action.id,
        "Configuration": with_account(&action.configuration),
        "ErrorActionFlag": action.error,
    }))
}

/// The configuration with `uid` as its last key. Everything else stays as it was written.
fn with_account(configuration: &str) -> String {
    let fields = contract::object(configuration.as_bytes()).unwrap_or_default();
    let text = configuration.trim_end();
    match text.strip_suffix('}') {
        Some(text) if !fields.contains_key("uid") => {
            let comma = if fields.is_empty() { "" } else { "," };
            format!("{}{comma}\"uid\":\"{ACCOUNT}\"}}", text.trim_end())
        }
        _ => configuration.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_come_back_as_they_were() {
        assert_eq!(
            with_account("{\"a\": 1.10 }\n"),
            format!("{{\"a\": 1.10,\"uid\":\"{ACCOUNT}\"}}")
        );
        assert_eq!(with_account("{}"), format!("{{\"uid\":\"{ACCOUNT}\"}}"));
        assert_eq!(with_account("{\"uid\":\"7\"}"), "{\"uid\":\"7\"}");
    }
}
