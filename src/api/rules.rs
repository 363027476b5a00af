//! The operations on rules (development guide §2.11): create, look at, change, start and stop.
//!
//! Actions have their own file; SQL is checked by the engine.

use std::future::Future;

use serde_json::{Map, Value, json};

use super::error::{self, ApiError, ErrorCode};
use super::operation::{Operation, may, need};
use super::rpc::{Answer, Call, failed, object};
use super::topics::SourceTopic;
use super::{ACCOUNT_ID, Api, ApiState, RuleProblem, destination};
use crate::rule::store::{Role, StoreError, StoredAction, StoredRule};
use crate::rule::{DataType, Owner, Pending, Retry, Rule, Statement};

/// The operations of rules, sorted by name.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "CreateRule",
        parameters: &[
            need("Name"),
            may("ProductKey"),
            may("ShortTopic"),
            may("Select"),
            may("Where"),
            may("RuleDesc"),
            may("DataType"),
            may("TopicType"),
            may("Topic"),
        ],
        role: Role::Admin,
        call: |api, call| Box::pin(create(api, call)),
    },
    Operation {
        name: "DeleteRule",
        parameters: &[need("RuleId")],
        role: Role::Admin,
        call: |api, call| Box::pin(delete(api, call)),
    },
    Operation {
        name: "GetRule",
        parameters: &[need("RuleId")],
        role: Role::Read,
        call: |api, call| Box::pin(get(api, call)),
    },
    Operation {
        name: "ListRule",
        parameters: &[may("CurrentPage"), may("PageSize")],
        role: Role::Read,
        call: |api, call| Box::pin(list(api, call)),
    },
    Operation {
        name: "StartRule",
        parameters: &[need("RuleId")],
        role: Role::Operate,
        call: |api, call| Box::pin(start(api, call)),
    },
    Operation {
        name: "StopRule",
        parameters: &[need("RuleId")],
        role: Role::Operate,
        call: |api, call| Box::pin(stop(api, call)),
    },
    Operation {
        name: "UpdateRule",
        parameters: &[
            need("RuleId"),
            may("Name"),
            may("ProductKey"),
            may("ShortTopic"),
            may("Select"),
            may("Where"),
            may("RuleDesc"),
            may("TopicType"),
            may("Topic"),
        ],
        role: Role::Admin,
        call: |api, call| Box::pin(update(api, call)),
    },
];

/// Characters of a name; a CJK character counts 2.
const NAME_WIDTH: std::ops::RangeInclusive<usize> = 4..=30;

/// Characters of a description; a CJK character counts 1.
const DESCRIPTION_MAX: usize = 100;

/// Rules on a page, and what it is without `PageSize`.
const PAGE_SIZE_MAX: u64 = 100;
const PAGE_SIZE: u64 = 10;

/// The last page that can be asked for.
const PAGE_MAX: u64 = 1000;

pub(super) async fn create(api: &Api, call: &Call) -> Answer {
    let name = checked_name(call.required("Name")?)?;
    let now_ms = api.now_ms();
    let mut rule = StoredRule {
        id: 0,
        name: name.to_owned(),
        description: String::new(),
        data_type: data_type(call.text("DataType"))?,
        product_key: None,
        short_topic: None,
        topic_type: None,
        select: None,
        filter: None,
        running: false,
        created_ms: now_ms,
        modified_ms: now_ms,
    };
    apply(api, call, &mut rule)?;
    let _change = api.change.lock().await;
    name_is_free(api, name, error::CREATE_RULE).await?;
    let count = api.state.store.rule_count().await.map_err(failed(error::CREATE_RULE))?;
    if count >= api.state.limits.rules {
        return Err(error::RULE_COUNT.with(count));
    }
    check(api, &rule, error::CREATE_RULE)?;
    let id = api.state.store.insert_rule(&rule).await.map_err(failed(error::CREATE_RULE))?;
    Ok(object(json!({ "RequestId": call.id, "RuleId": id, "Success": true })))
}

pub(super) async fn get(api: &Api, call: &Call) -> Answer {
    let rule = find(api, call, error::QUERY_RULE).await?;
    let mut info = info(&rule);
    let topic_type = match statement(&rule) {
        Some(_) => rule.topic_type.map_or(-1, i16::from),
        None => -1,
    };
    info.insert("TopicType".to_owned(), topic_type.into());
    Ok(object(json!({ "RequestId": call.id, "Success": true, "RuleInfo": info })))
}

pub(super) async fn list(api: &Api, call: &Call) -> Answer {
    let page = call.number("CurrentPage", 1..=PAGE_MAX, error::PAGE)?.unwrap_or(1);
    let size = call.number("PageSize", 1..=PAGE_SIZE_MAX, error::PAGE)?.unwrap_or(PAGE_SIZE);
    let store = &api.state.store;
    let rules = store.rules(size, (page - 1) * size).await.map_err(failed(error::QUERY_RULES))?;
    let total = store.rule_count().await.map_err(failed(error::QUERY_RULES))?;
    let rules: Vec<_> = rules.iter().map(info).collect();
    Ok(object(json!({
        "Data": { "RuleInfo": rules }, "PageSize": size, "Page": page, "RequestId": call.id,
        "Success": true, "Total": total
    })))
}

pub(super) async fn update(api: &Api, call: &Call) -> Answer {
    let _change = api.change.lock().await;
    let old = find(api, call, error::UPDATE_RULE).await?;
    let mut new = StoredRule { modified_ms: api.now_ms(), ..old.clone() };
    if let Some(name) = call.text("Name") {
        new.name = checked_name(name)?.to_owned();
        if new.name != old.name {
            name_is_free(api, &new.name, error::UPDATE_RULE).await?;
        }
    }
    apply(api, call, &mut new)?;
    let store = &api.state.store;
    if !old.running {
        check(api, &new, error::UPDATE_RULE)?;
        store.update_rule(&new).await.map_err(failed(error::UPDATE_RULE))?;
        return Ok(call.done());
    }
    if statement(&new).is_none() {
        return Err(error::NO_SQL.plain());
    }
    let actions = store.actions(old.id).await.map_err(failed(error::UPDATE_RULE))?;
    let before = compile(&api.state, &old, &actions)?;
    let after = compile(&api.state, &new, &actions)?;
    swap(api, error::UPDATE_RULE, before, after, store.update_rule(&new)).await?;
    Ok(call.done())
}

pub(super) async fn delete(api: &Api, call: &Call) -> Answer {
    let _change = api.change.lock().await;
    let rule = find(api, call, error::DELETE_RULE).await?;
    if rule.running {
        return Err(error::DELETE_RULE.with("it is running; stop it with StopRule first"));
    }
    api.state.store.delete_rule(rule.id).await.map_err(failed(error::DELETE_RULE))?;
    Ok(call.done())
}

pub(super) async fn start(api: &Api, call: &Call) -> Answer {
    let _change = api.change.lock().await;
    let rule = find(api, call, error::START_RULE).await?;
    if rule.running {
        return Err(error::RUNNING.plain());
    }
    if statement(&rule).is_none() {
        return Err(error::NO_SQL.plain());
    }
    let store = &api.state.store;
    let actions = store.actions(rule.id).await.map_err(failed(error::START_RULE))?;
    if actions.iter().all(|action| action.error) {
        return Err(error::NO_ACTION.plain());
    }
    let rule = StoredRule { running: true, ..rule };
    let compiled = compile(&api.state, &rule, &actions)?;
    api.state.rules.put(compiled).map_err(|problem| refused(error::START_RULE, problem))?;
    if let Err(problem) = store.update_rule(&rule).await {
        api.state.rules.remove(&rule.name);
        return Err(failed(error::START_RULE)(problem));
    }
    Ok(call.done())
}

/// Stopping a rule that does not run is fine.
pub(super) async fn stop(api: &Api, call: &Call) -> Answer {
    let _change = api.change.lock().await;
    let rule = find(api, call, error::STOP_RULE).await?;
    if rule.running {
        let rule = StoredRule { running: false, ..rule };
        api.state.store.update_rule(&rule).await.map_err(failed(error::STOP_RULE))?;
        api.state.rules.remove(&rule.name);
    }
    Ok(call.done())
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
        let problem = match compile(state, &rule, &actions[from..end]) {
            Ok(compiled) => state.rules.put(compiled).err(),
            Err(error) => Some(RuleProblem { message: error.to_string(), sql: false }),
        };
        failed.extend(problem.map(|problem| (rule.name, problem)));
    }
    Ok(failed)
}

/// The rule that `RuleId` names; the code is for a store that fails.
pub(super) async fn find(
    api: &Api,
    call: &Call,
    code: &'static ErrorCode,
) -> Result<StoredRule, ApiError> {
    let text = call.required("RuleId")?;
    let Some(id) = text.parse().ok().filter(|id| *id > 0) else {
        return Err(error::RULE_ID.with(format!("`{text}`; expected a number such as 100000")));
    };
    let rule = api.state.store.rule(id).await.map_err(failed(code))?;
    rule.ok_or_else(|| error::NO_RULE.with(id))
}

/// A rule of the store as the engine takes it.
pub(super) fn compile(
    state: &ApiState,
    rule: &StoredRule,
    actions: &[StoredAction],
) -> Result<Rule, ApiError> {
    let mut normal = Vec::new();
    let mut error_action = None;
    for action in actions {
        let name = format!("{}-{}", action.kind.to_lowercase(), action.id);
        let configuration = destination::parse(&action.configuration)?;
        let built = state.destinations.action(name, &action.kind, &configuration)?;
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

/// Lets the engine check a rule, with its actions left out.
fn check(api: &Api, rule: &StoredRule, code: &'static ErrorCode) -> Result<(), ApiError> {
    if statement(rule).is_none() {
        return Ok(());
    }
    let compiled = compile(&api.state, rule, &[])?;
    api.state.rules.check(&compiled).map_err(|problem| refused(code, problem))
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

/// The statement, once everything that it needs is there.
pub(super) fn statement(rule: &StoredRule) -> Option<Statement> {
    let source = SourceTopic {
        product_key: rule.product_key.clone()?,
        short_topic: rule.short_topic.clone()?,
        topic_type: rule.topic_type?,
    };
    let (select, filter) = (rule.select.clone()?, rule.filter.clone());
    Some(Statement::Parts { select, from: source.filter(), filter })
}

/// Puts the parameters that both create and update take into a rule. One that is not given leaves
/// things as they are; an empty one clears.
fn apply(api: &Api, call: &Call, rule: &mut StoredRule) -> Result<(), ApiError> {
    if let Some(description) = call.text("RuleDesc") {
        let length = description.chars().count();
        if length > DESCRIPTION_MAX {
            let text =
                format!("RuleDesc has {length} characters, at most {DESCRIPTION_MAX} are allowed");
            return Err(error::FORMAT.with(text));
        }
        rule.description = description.to_owned();
    }
    let given =
        |name: &str| call.text(name).map(|text| Some(text).filter(|t| !t.trim().is_empty()));
    if let Some(select) = given("Select") {
        rule.select = select.map(str::to_owned);
    }
    if let Some(filter) = given("Where") {
        rule.filter = filter.map(str::to_owned);
    }
    apply_source(api, call, rule)?;
    if rule.data_type == DataType::Binary && rule.topic_type == Some(0) {
        let text = "0 (thing model) is always JSON; a BINARY rule takes 1 or 2";
        return Err(error::TOPIC_TYPE.with(text));
    }
    Ok(())
}

fn apply_source(api: &Api, call: &Call, rule: &mut StoredRule) -> Result<(), ApiError> {
    let limits = api.state.limits.topics;
    let given = |name: &str| call.text(name).map(|text| Some(text).filter(|t| !t.is_empty()));
    let topic_type = match given("TopicType").flatten() {
        Some(text) => match text.parse::<u8>() {
            Ok(number) if number <= 2 => Some(number),
            _ => return Err(error::TOPIC_TYPE.with(format!("`{text}`; expected 0, 1 or 2"))),
        },
        None => None,
    };
    let source = if let Some(topic) = given("Topic").flatten() {
        SourceTopic::from_topic(topic, topic_type, limits)?
    } else {
        let product_key = given("ProductKey").unwrap_or(rule.product_key.as_deref());
        let short_topic = given("ShortTopic").unwrap_or(rule.short_topic.as_deref());
        // A new topic without a type has its own; otherwise the type stays.
        let kept = rule.topic_type.filter(|_| given("ShortTopic").is_none());
        match (product_key, short_topic) {
            (Some(product), Some(short)) => {
                SourceTopic::new(product, short, topic_type.or(kept), limits)?
            }
            (None, Some(_)) => return Err(error::NO_PRODUCT_KEY.plain()),
            (product_key, None) => {
                rule.product_key = product_key.map(str::to_owned);
                rule.short_topic = None;
                rule.topic_type = topic_type.or(rule.topic_type);
                return Ok(());
            }
        }
    };
    rule.product_key = Some(source.product_key);
    rule.short_topic = Some(source.short_topic);
    rule.topic_type = Some(source.topic_type);
    Ok(())
}

async fn name_is_free(api: &Api, name: &str, code: &'static ErrorCode) -> Result<(), ApiError> {
    if api.state.rules.name_taken_by_file(name) {
        return Err(error::NAME_TAKEN.with(format!("a rule file has a rule `{name}`")));
    }
    match api.state.store.rule_named(name).await.map_err(failed(code))? {
        Some(rule) => Err(error::NAME_TAKEN.with(format!("rule {} is called `{name}`", rule.id))),
        None => Ok(()),
    }
}

/// Letters of Chinese, Japanese and Korean, which count 2 in a name.
fn is_cjk(c: char) -> bool {
    matches!(c,
        '\u{3005}' | '\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

fn checked_name(name: &str) -> Result<&str, ApiError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-') || is_cjk(c);
    if let Some(bad) = name.chars().find(|c| !fits(*c)) {
        let text =
            format!("Name may not contain {bad:?}; letters, digits, `_`, `-` and CJK are allowed");
        return Err(error::FORMAT.with(text));
    }
    let width: usize = name.chars().map(|c| if is_cjk(c) { 2 } else { 1 }).sum();
    if NAME_WIDTH.contains(&width) {
        return Ok(name);
    }
    Err(error::FORMAT.with(format!(
        "Name has {width} characters where CJK counts 2; expected {} to {}",
        NAME_WIDTH.start(),
        NAME_WIDTH.end()
    )))
}

fn data_type(text: Option<&str>) -> Result<DataType, ApiError> {
    match text {
        None | Some("" | "JSON") => Ok(DataType::Json),
        Some("BINARY") => Ok(DataType::Binary),
        Some(other) => {
            Err(error::FORMAT.with(format!("DataType `{other}`; expected JSON or BINARY")))
        }
    }
}

/// What is told of a rule; what it does not have is left out.
fn info(rule: &StoredRule) -> Map<String, Value> {
    let source = rule.product_key.clone().zip(rule.short_topic.clone()).zip(rule.topic_type);
    let topic = source.map(|((product_key, short_topic), topic_type)| {
        SourceTopic { product_key, short_topic, topic_type }.filter()
    });
    let data_type = match rule.data_type {
        DataType::Json => "JSON",
        DataType::Binary => "BINARY",
    };
    let (created, utc_created) = times(rule.created_ms);
    let (modified, utc_modified) = times(rule.modified_ms);
    let mut info = object(json!({
        "DataType": data_type,
        "ShortTopic": rule.short_topic,
        "ProductKey": rule.product_key,
        "UtcModified": utc_modified,
        "CreateUserId": ACCOUNT_ID,
        "UtcCreated": utc_created,
        "Name": rule.name,
        "RuleDesc": Some(&rule.description).filter(|text| !text.is_empty()),
        "Status": if rule.running { "RUNNING" } else { "STOP" },
        "Select": rule.select,
        "Where": rule.filter,
        "Created": created,
        "Modified": modified,
        "Topic": topic,
        "Id": rule.id,
    }));
    info.retain(|_, value| !value.is_null());
    info
}

/// A time as `Thu Feb 28 14:14:33 CST 2019` (China's, whatever the daemon's zone) and as
/// `2019-02-28T06:14:33.000Z`.
fn times(ms: u64) -> (String, String) {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    let china = time.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8)));
    (
        china.strftime("%a %b %d %H:%M:%S CST %Y").to_string(),
        time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_measured() {
        for good in
            ["abcd", "规则", "规则_1-x", &"a".repeat(30), &"规".repeat(15), "テスト", "iot_test1"]
        {
            assert_eq!(checked_name(good), Ok(good));
        }
        for bad in
            ["abc", "规a", &"a".repeat(31), &"规".repeat(16), "a b c", "a.bcd", "", "über", "😀😀"]
        {
            assert!(checked_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_look_like_the_vendors() {
        let want =
            ("Thu Feb 28 14:14:33 CST 2019".to_owned(), "2019-02-28T06:14:33.000Z".to_owned());
        assert_eq!(times(1_551_334_473_000), want);
    }
}
