//! From the form of a rule to the rule as written: its statement, actions and schedules.
//!
//! What is wrong is noted, and the usual value stands in its place, so that everything that is wrong
//! with a rule is found at once. Such a rule is looked at further, and never runs.

use std::time::Duration;

use contract::{Period, misfit};
use serde_json::{Map, Value};

use super::super::compiled::Fault;
use super::super::{Action, Batching, DEADLINE, ERROR_ACTION, Owner, Retry, Rule, Statement, Then};
use super::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, DELAYS_MAX, LINGER_MAX, RetryForm, RuleForm};
use yaml::problem::{Problem, unknown_key};

/// Makes a rule of its form. A form that is not whole has lost settings that could not be read: then
/// nothing is missed.
pub(super) fn build(form: RuleForm, whole: bool, owner: Owner, faults: &mut Vec<Fault>) -> Rule {
    let sql = statement(&form, whole).unwrap_or_else(|fault| {
        faults.push(fault);
        None
    });
    if form.actions.is_empty() && whole {
        let problem = Problem::new("the rule has no action")
            .hint("add one, for example `actions: [{ log: {} }]`");
        faults.push(Fault::new("actions", problem));
    }
    let actions = form.actions.into_iter().enumerate();
    let actions = actions.map(|(index, map)| action(map, &format!("actions[{index}]"), faults));
    let actions = actions.collect();
    let error_action = form.error_action.map(|map| Box::new(action(map, ERROR_ACTION, faults)));
    let retry = form.retry.map(|form| retry(form, "retry", faults)).unwrap_or_default();
    let rule = Rule {
        name: form.name,
        description: form.description,
        enabled: form.enabled,
        data_type: form.data_type,
        sql,
        actions,
        error_action,
        retry,
        pending: form.pending,
        owner,
    };
    faults.extend(if whole { check_then(&rule).err() } else { None });
    rule
}

fn statement(form: &RuleForm, whole: bool) -> Result<Option<Statement>, Fault> {
    match (&form.sql, &form.select, &form.from) {
        (Some(text), None, None) if form.r#where.is_none() => {
            Ok(Some(Statement::Text(text.clone())))
        }
        (None, Some(select), Some(from)) => Ok(Some(Statement::Parts {
            select: select.clone(),
            from: from.clone(),
            filter: form.r#where.clone(),
        })),
        (None, ..) if !whole => Ok(None),
        _ => {
            let problem = Problem::new("the statement is missing or given twice")
                .hint("give `sql:`, or `select:` and `from:` and if need be `where:`");
            Err(Fault::new("sql", problem))
        }
    }
}

/// Reads `{connector: settings, name?, retry?, deadline?, batch?}`. The connector is empty when none
/// is named.
fn action(map: Map<String, Value>, place: &str, faults: &mut Vec<Fault>) -> Action {
    let mut connector: Option<String> = None;
    let mut action = Action {
        name: None,
        connector: String::new(),
        settings: Value::Null,
        retry: None,
        deadline: DEADLINE,
        batch: Batching::default(),
        vendor: None,
    };
    for (key, value) in map {
        let path = format!("{place}.{key}");
        let result = match key.as_str() {
            "name" => text(&value, "text", &path).map(|text| action.name = Some(text.to_owned())),
            "deadline" => deadline(&value, &path).map(|deadline| action.deadline = deadline),
            "batch" => batching(value, &path).map(|batch| action.batch = batch),
            "retry" => {
                retry_form(value, &path).map(|form| action.retry = Some(retry(form, &path, faults)))
            }
            _ => match &connector {
                None => {
                    action.settings = compact(value);
                    connector = Some(key);
                    Ok(())
                }
                Some(first) => {
                    let problem = Problem::new(format!(
                        "an action has one connector, not both `{first}` and `{key}`"
                    ));
                    let hint = "write a list item for each, or look for a misspelt `name`, `retry`, `deadline` or `batch`";
                    Err(Fault::new(path, problem.hint(hint)))
                }
            },
        };
        faults.extend(result.err());
    }
    action.connector = connector.unwrap_or_default();
    action
}

/// A text at the last key of a path; `what` it must be otherwise.
fn text<'a>(value: &'a Value, what: &str, path: &str) -> Result<&'a str, Fault> {
    value.as_str().ok_or_else(|| must_be(what, path))
}

fn must_be(what: &str, path: &str) -> Fault {
    let key = path.rsplit('.').next().unwrap_or(path);
    Fault::new(path, Problem::new(format!("`{key}` must be {what}")))
}

fn deadline(value: &Value, path: &str) -> Result<Duration, Fault> {
    let text = text(value, "a time such as `10s`", path)?;
    let period = Period::parse(text);
    let period = period.map_err(|error| Fault::new(path, Problem::new(error.to_string())))?.get();
    match period.is_zero() {
        true => Err(must_be("longer than nothing, such as `10s`", path)),
        false => Ok(period),
    }
}

fn retry_form(value: Value, path: &str) -> Result<RetryForm, Fault> {
    serde_path_to_error::deserialize(&value).map_err(|error| {
        let message = misfit(&value, &error);
        match unknown_key(&message) {
            Some((problem, key)) => {
                Fault { in_key: true, ..Fault::new(format!("{path}.{key}"), problem) }
            }
            None => Fault::new(path, Problem::new(message)),
        }
    })
}

/// Reads a number of records, or `{rows?, bytes?, linger?}`.
fn batching(value: Value, place: &str) -> Result<Batching, Fault> {
    let mut batch = Batching::default();
    let map = match value {
        Value::Object(map) => map,
        rows => Map::from_iter([("rows".to_owned(), rows)]),
    };
    for (key, value) in map {
        let wrong = |what: &str| {
            let problem = Problem::new(format!("`{key}` of a batch must be {what}"));
            Fault::new(format!("{place}.{key}"), problem)
        };
        let number = |most: u64| {
            let number = value.as_u64().filter(|number| (1..=most).contains(number));
            let number = number.and_then(|number| usize::try_from(number).ok());
            number.ok_or_else(|| wrong(&format!("a number from 1 to {most}")))
        };
        match key.as_str() {
            "rows" => batch.rows = Some(number(BATCH_ROWS_MAX)?),
            "bytes" => batch.bytes = number(BATCH_BYTES_MAX)?,
            "linger" => {
                let period = value.as_str().and_then(|text| Period::parse(text).ok());
                let period = period.map(Period::get).filter(|period| *period <= LINGER_MAX);
                batch.linger = period.ok_or_else(|| wrong("a time up to `1m`, such as `50ms`"))?;
            }
            _ => {
                let problem = Problem::new(format!("a batch has no `{key}`")).hint(
                    "write a number of records, or `{ rows: 500, bytes: 1000000, linger: 50ms }`",
                );
                return Err(Fault {
                    in_key: true,
                    ..Fault::new(format!("{place}.{key}"), problem)
                });
            }
        }
    }
    Ok(batch)
}

/// The same value in maps that are no larger than they need to be: settings are kept as long as their
/// rule, and rules are many.
fn compact(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut exact = Map::with_capacity(map.len());
            exact.extend(map.into_iter().map(|(key, value)| (key, compact(value))));
            Value::Object(exact)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(compact).collect()),
        other => other,
    }
}

fn retry(form: RetryForm, place: &str, faults: &mut Vec<Fault>) -> Retry {
    if form.delays.as_ref().is_some_and(|delays| delays.len() > DELAYS_MAX) {
        let problem = Problem::new(format!("at most {DELAYS_MAX} tries can be scheduled"));
        faults.push(Fault::new(format!("{place}.delays"), problem));
    }
    let usual = Retry::default();
    Retry {
        delays: form
            .delays
            .map_or(usual.delays, |delays| delays.into_iter().map(Period::get).collect()),
        then: form.then,
        max_age: form.max_age.map_or(usual.max_age, Period::get),
    }
}

/// A schedule that ends with the error action needs one.
fn check_then(rule: &Rule) -> Result<(), Fault> {
    let wants = |retry: Option<&Retry>| retry.is_some_and(|r| r.then == Some(Then::ErrorAction));
    let own = rule.actions.iter().position(|action| wants(action.retry.as_ref()));
    let place = match (wants(Some(&rule.retry)), own) {
        _ if rule.error_action.is_some() => return Ok(()),
        (true, _) => "retry.then".to_owned(),
        (false, Some(own)) => format!("actions[{own}].retry.then"),
        (false, None) => return Ok(()),
    };
    let problem = Problem::new("the rule has no error action")
        .hint("add `error_action: { file: { path: data/errors.jsonl } }`, or leave `then` out");
    Err(Fault::new(place, problem))
}
