//! Rule files: the YAML form of rules, with the place of everything in it.
//!
//! The form is declared once, in the structs below: parsing, `rules/rule.schema.json` and the
//! reference in `rules/README.md` come from them.

mod update;

pub use update::{TestChanges, update};

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use connectors::contract::Period;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::compiled::{CompiledRule, Compiler, Fault};
use super::selftest::{Hidden, RuleTest, TestForm};
use super::{
    Action, Batching, DEADLINE, DataType, ERROR_ACTION, Owner, Pending, Retry, Rule, Statement,
    Then,
};
use crate::problem::{Position, Problem, unknown_key};
use crate::yaml::Document;

/// A rule file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with the key `rules`")]
pub struct FileForm {
    /// The rules of the file, one or more.
    #[schemars(with = "Vec<RuleForm>")]
    rules: Vec<Value>,
}

/// One rule.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a rule: a map with `name`, `sql` and `actions`")]
pub struct RuleForm {
    /// Unique; 4–30 letters, digits, `_`, `-`, where a CJK character counts 2.
    name: String,
    /// For people.
    #[serde(default)]
    description: String,
    /// Whether the rule gets messages.
    #[serde(default = "yes")]
    enabled: bool,
    /// How payloads are read: `json` or `binary`.
    #[serde(default)]
    data_type: DataType,
    /// The statement; or give `select`, `from` and `where`.
    sql: Option<String>,
    /// What follows SELECT.
    select: Option<String>,
    /// The topic filter.
    from: Option<String>,
    /// What follows WHERE.
    r#where: Option<String>,
    /// What to do with each record: maps with one connector's name as key.
    #[serde(default)]
    actions: Vec<Map<String, Value>>,
    /// Gets one envelope for a record that actions could not deliver.
    error_action: Option<Map<String, Value>>,
    /// When actions try again.
    retry: Option<RetryForm>,
    /// What becomes of records that wait when the rule is changed: `finish` (the default) under the
    /// version that accepted them, or `hand_over` to the new version.
    #[serde(default)]
    pending: Pending,
    /// Messages and what the rule must make of them (`tidegate test`).
    #[serde(default)]
    tests: Vec<TestForm>,
}

/// When an action tries again after a failure that can heal.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{ delays: [1s, 3s, 10s] }`")]
pub struct RetryForm {
    /// The pause before each further try, `[1s, 3s, 10s]` by default; empty for none.
    delays: Option<Vec<Period>>,
    /// What comes afterwards: `error_action` (the default of a rule that has one), or `keep` (else):
    /// the record is kept and tried again with pauses that grow to 60 s.
    then: Option<Then>,
    /// The longest that a record waits for its destination, `7d` by default; then it is given up.
    max_age: Option<Period>,
}

/// The most tries that a schedule may name.
const DELAYS_MAX: usize = 100;
/// Records of one delivery.
const BATCH_ROWS_MAX: u64 = 10_000;
/// Bytes of one delivery.
const BATCH_BYTES_MAX: u64 = 64 << 20;
/// How long a delivery may wait for more records.
const LINGER_MAX: Duration = Duration::from_secs(60);

fn yes() -> bool {
    true
}

/// A rule of a file with what `tidegate test` needs.
pub struct LoadedRule {
    /// The rule, ready to run.
    pub compiled: CompiledRule,
    /// Its tests.
    pub tests: Vec<RuleTest>,
    /// Remarks that do not stop it.
    pub warnings: Vec<Problem>,
}

/// Reads the rules of a file.
///
/// # Errors
/// Everything that is wrong with the file, each with its place.
pub fn load(path: &Path, compiler: &Compiler) -> Result<Vec<LoadedRule>, Vec<Problem>> {
    let text = read_text(path).map_err(|problem| vec![problem])?;
    parse(path, &text, compiler)
}

/// Reads the text of a file.
///
/// # Errors
/// Why it can't be read, or the place where it stops being UTF-8.
pub fn read_text(path: &Path) -> Result<String, Problem> {
    let bytes = std::fs::read(path).map_err(|error| {
        let mut problem = Problem::new(format!("cannot be read: {error}"));
        problem.file = Some(path.to_owned());
        problem
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let (good, bad) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let good = String::from_utf8_lossy(good);
        let line = good.rsplit('\n').next().unwrap_or_default();
        let at =
            Position { line: good.matches('\n').count() + 1, column: line.chars().count() + 1 };
        let byte = bad.first().copied().unwrap_or_default();
        Problem::new(format!("the byte 0x{byte:02x} is no UTF-8 here"))
            .in_file(path, at)
            .hint("save the file as UTF-8")
    })
}

/// Reads the rules of the text of a file.
///
/// # Errors
/// Everything that is wrong with the file, each with its place.
pub fn parse(
    path: &Path,
    text: &str,
    compiler: &Compiler,
) -> Result<Vec<LoadedRule>, Vec<Problem>> {
    let mut document = Document::parse(path, text).map_err(|problem| vec![problem])?;
    let named: RefCell<BTreeMap<String, String>> = RefCell::default();
    let lookup = |name: &str| {
        let value = std::env::var(name).ok()?;
        named.borrow_mut().insert(name.to_owned(), value.clone());
        Some(value)
    };
    document.substitute(&lookup).map_err(|problem| vec![problem])?;
    let hidden: Hidden = named.into_inner().into_iter().collect();
    let value = document.take();
    let form: FileForm = read(&document, "", value).map_err(|problem| vec![*problem])?;
    let mut rules: Vec<LoadedRule> = Vec::new();
    let mut names = HashSet::new();
    let mut problems = Vec::new();
    // Each rule's part of the document is given back before the next is compiled.
    for (index, value) in form.rules.into_iter().enumerate() {
        let place = format!("rules[{index}]");
        match rule(&document, &place, value, compiler, &hidden) {
            Ok(rule) => {
                let name = &rule.compiled.rule.name;
                if !names.insert(name.clone()) {
                    let message = format!("the name `{name}` is used twice in this file");
                    problems.push(document.problem(&format!("{place}.name"), message));
                }
                rules.push(rule);
            }
            Err(problem) => problems.push(*problem),
        }
    }
    if problems.is_empty() { Ok(rules) } else { Err(problems) }
}

fn rule(
    document: &Document,
    place: &str,
    value: Value,
    compiler: &Compiler,
    hidden: &Hidden,
) -> Result<LoadedRule, Box<Problem>> {
    let mut form: RuleForm = read(document, place, value)?;
    let name = form.name.clone();
    let at = |fault: Fault| {
        let path = format!("{place}.{}", fault.path);
        let position = match fault.inside {
            Some(inside) => document.position_in_text(&path, inside),
            None if fault.in_key => document.position_of_key(&path),
            None => document.position(&path),
        };
        Box::new(fault.problem.in_file(document.file(), position).rule(&name))
    };
    let tests: Vec<TestForm> = std::mem::take(&mut form.tests);
    let rule = build(form, document, place).map_err(at)?;
    let compiled = compiler.compile(Arc::new(rule)).map_err(at)?;
    let whole = matches!(compiled.rule.sql, Some(Statement::Text(_)));
    let warnings = compiled.query.iter().flat_map(|query| query.warnings()).map(|warning| {
        let inside = crate::problem::Position { line: warning.line, column: warning.column };
        let key = if whole { "sql" } else { &warning.part.to_ascii_lowercase() };
        let position = document.position_in_text(&format!("{place}.{key}"), inside);
        let problem = Problem::new(warning.message.clone()).hint(warning.hint.clone());
        problem.in_file(document.file(), position).rule(&name)
    });
    let templates = compiled.warnings.iter().map(|fault| *at(fault.clone()));
    let warnings = warnings.chain(templates).collect();
    let tests = tests.into_iter().enumerate().map(|(index, test)| {
        let path = format!("tests[{index}]");
        let line = document.position(&format!("{place}.{path}")).line;
        RuleTest::new(test, &compiled, line, hidden).map_err(|fault| {
            let path = match fault.path.is_empty() {
                true => path,
                false => format!("{path}.{}", fault.path),
            };
            at(Fault { path, ..fault })
        })
    });
    let tests = tests.collect::<Result<_, _>>()?;
    Ok(LoadedRule { compiled, tests, warnings })
}

/// Reads a part of a document as a type; `place` is the part's path.
fn read<T: DeserializeOwned>(
    document: &Document,
    place: &str,
    value: Value,
) -> Result<T, Box<Problem>> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let below = error.path().to_string();
        let path = match below.as_str() {
            "." => place.to_owned(),
            below if place.is_empty() => below.to_owned(),
            below => format!("{place}.{below}"),
        };
        Box::new(document.mismatch(&path, &error.inner().to_string()))
    })
}

fn build(form: RuleForm, document: &Document, place: &str) -> Result<Rule, Fault> {
    let sql = statement(&form)?;
    let mut actions = Vec::with_capacity(form.actions.len());
    for (index, map) in form.actions.into_iter().enumerate() {
        actions.push(action(map, &format!("actions[{index}]"))?);
    }
    if actions.is_empty() {
        let problem = Problem::new("the rule has no action")
            .hint("add one, for example `actions: [{ log: {} }]`");
        return Err(Fault::new("actions", problem));
    }
    let error_action =
        form.error_action.map(|map| action(map, ERROR_ACTION).map(Box::new)).transpose()?;
    let retry = form.retry.map(|form| retry(form, "retry")).transpose()?.unwrap_or_default();
    let owner =
        Owner::File { path: document.file().to_owned(), line: document.position(place).line };
    let rule = Rule {
        name: form.name,
        description: form.description,
        enabled: form.enabled,
        data_type: form.data_type,
        sql: Some(sql),
        actions,
        error_action,
        retry,
        pending: form.pending,
        owner,
    };
    check_then(&rule)?;
    Ok(rule)
}

fn statement(form: &RuleForm) -> Result<Statement, Fault> {
    match (&form.sql, &form.select, &form.from) {
        (Some(text), None, None) if form.r#where.is_none() => Ok(Statement::Text(text.clone())),
        (None, Some(select), Some(from)) => Ok(Statement::Parts {
            select: select.clone(),
            from: from.clone(),
            filter: form.r#where.clone(),
        }),
        _ => {
            let problem = Problem::new("the statement is missing or given twice")
                .hint("give `sql:`, or `select:` and `from:` and if need be `where:`");
            Err(Fault::new("sql", problem))
        }
    }
}

/// Reads `{connector: settings, name?, retry?, deadline?, batch?}`.
fn action(map: Map<String, Value>, place: &str) -> Result<Action, Fault> {
    let mut connector = None;
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
        let wrong = |what: &str| Fault::new(&path, Problem::new(format!("`{key}` must be {what}")));
        match key.as_str() {
            "name" => {
                action.name = Some(value.as_str().ok_or_else(|| wrong("text"))?.to_owned());
            }
            "deadline" => {
                let text = value.as_str().ok_or_else(|| wrong("a time such as `10s`"))?;
                action.deadline = Period::parse(text)
                    .map_err(|error| Fault::new(&path, Problem::new(error.to_string())))?
                    .get();
                if action.deadline.is_zero() {
                    return Err(wrong("longer than nothing, such as `10s`"));
                }
            }
            "batch" => action.batch = batching(value, &path)?,
            "retry" => {
                let form = serde_path_to_error::deserialize(value).map_err(|error| {
                    let message = error.inner().to_string();
                    match unknown_key(&message) {
                        Some((problem, key)) => {
                            Fault { in_key: true, ..Fault::new(format!("{path}.{key}"), problem) }
                        }
                        None => Fault::new(&path, Problem::new(message)),
                    }
                })?;
                action.retry = Some(retry(form, &path)?);
            }
            _ => {
                if let Some(first) = connector.replace(key.clone()) {
                    let problem = Problem::new(format!("an action has one connector, not both `{first}` and `{key}`"))
                        .hint("write a list item for each, or look for a misspelt `name`, `retry`, `deadline` or `batch`");
                    return Err(Fault::new(path, problem));
                }
                action.settings = compact(value);
            }
        }
    }
    action.connector = connector.ok_or_else(|| {
        Fault::new(
            place,
            Problem::new("the action names no connector").hint("for example `log: {}`"),
        )
    })?;
    Ok(action)
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

fn retry(form: RetryForm, place: &str) -> Result<Retry, Fault> {
    if form.delays.as_ref().is_some_and(|delays| delays.len() > DELAYS_MAX) {
        let problem = Problem::new(format!("at most {DELAYS_MAX} tries can be scheduled"));
        return Err(Fault::new(format!("{place}.delays"), problem));
    }
    let usual = Retry::default();
    Ok(Retry {
        delays: form
            .delays
            .map_or(usual.delays, |delays| delays.into_iter().map(Period::get).collect()),
        then: form.then,
        max_age: form.max_age.map_or(usual.max_age, Period::get),
    })
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
