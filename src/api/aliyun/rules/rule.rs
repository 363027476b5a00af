//! The operations on rules (development guide §2.11): create, look at, change, start and stop.
//!
//! Actions have their own file; how a stored rule comes to run, `running` says.

use serde_json::{Map, Value, json};

use super::running::{self, build, refused, statement, swap};
use super::source::SourceTopic;
use crate::api::aliyun::operation::{Operation, failed, may, need};
use crate::api::aliyun::wire::answer::{ACCOUNT_ID, Answer, object};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError, ErrorCode};
use crate::api::aliyun::wire::page::Page;
use crate::api::aliyun::wire::times::cst_and_utc;
use crate::api::state::Api;
use crate::rule::DataType;
use crate::rule::store::{Role, StoredRule};

/// The operations of rules, sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
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

/// Rules on a page.
const PAGE_SIZE_MAX: u32 = 100;

/// The last page that can be asked for.
const PAGE_MAX: u32 = 1000;

async fn create(api: &Api, call: &Call) -> Answer {
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

async fn get(api: &Api, call: &Call) -> Answer {
    let rule = find(api, call, error::QUERY_RULE).await?;
    let mut info = info(&rule);
    let topic_type = match statement(&rule) {
        Some(_) => rule.topic_type.map_or(-1, i16::from),
        None => -1,
    };
    info.insert("TopicType".to_owned(), topic_type.into());
    Ok(object(json!({ "RequestId": call.id, "Success": true, "RuleInfo": info })))
}

async fn list(api: &Api, call: &Call) -> Answer {
    let page = Page::up_to(PAGE_MAX, call, PAGE_SIZE_MAX)?;
    let store = &api.state.store;
    let rules = store.rules(page.size.into(), page.offset()).await;
    let rules = rules.map_err(failed(error::QUERY_RULES))?;
    let total = store.rule_count().await.map_err(failed(error::QUERY_RULES))?;
    let rules: Vec<_> = rules.iter().map(info).collect();
    Ok(object(json!({
        "Data": { "RuleInfo": rules }, "PageSize": page.size, "Page": page.number, "RequestId": call.id,
        "Success": true, "Total": total
    })))
}

async fn update(api: &Api, call: &Call) -> Answer {
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
    let before = build(&api.state, &old, &actions)?;
    let after = build(&api.state, &new, &actions)?;
    swap(api, error::UPDATE_RULE, before, after, store.update_rule(&new)).await?;
    Ok(call.done())
}

async fn delete(api: &Api, call: &Call) -> Answer {
    let _change = api.change.lock().await;
    let rule = find(api, call, error::DELETE_RULE).await?;
    if rule.running {
        return Err(error::DELETE_RULE.with("it is running; stop it with StopRule first"));
    }
    api.state.store.delete_rule(rule.id).await.map_err(failed(error::DELETE_RULE))?;
    Ok(call.done())
}

async fn start(api: &Api, call: &Call) -> Answer {
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
    let built = build(&api.state, &rule, &actions)?;
    api.state.rules.put(built).map_err(|problem| refused(error::START_RULE, problem))?;
    if let Err(problem) = store.update_rule(&rule).await {
        api.state.rules.remove(&rule.name);
        return Err(failed(error::START_RULE)(problem));
    }
    Ok(call.done())
}

/// Stopping a rule that does not run is fine.
async fn stop(api: &Api, call: &Call) -> Answer {
    let _change = api.change.lock().await;
    let rule = find(api, call, error::STOP_RULE).await?;
    if rule.running {
        let rule = StoredRule { running: false, ..rule };
        api.state.store.update_rule(&rule).await.map_err(failed(error::STOP_RULE))?;
        api.state.rules.remove(&rule.name);
    }
    Ok(call.done())
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

/// Lets the engine check a rule that has a statement, with its actions left out.
fn check(api: &Api, rule: &StoredRule, code: &'static ErrorCode) -> Result<(), ApiError> {
    match statement(rule) {
        Some(_) => running::check(api, rule, &[], code),
        None => Ok(()),
    }
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
    let (created, utc_created) = cst_and_utc(rule.created_ms);
    let (modified, utc_modified) = cst_and_utc(rule.modified_ms);
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
}
