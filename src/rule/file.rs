//! Rule files: the YAML form of rules, with the place of everything in it.
//!
//! The form is declared once, in the structs below: parsing, `rules/rule.schema.json` and the
//! reference in `rules/README.md` come from them.

mod build;
mod update;

pub use update::{TestChanges, update};

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use contract::{ConfigError, Period, misfit, read_fitting};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::compiled::{CompiledRule, Compiler, Fault};
use super::selftest::{Hidden, RuleTest, TestForm};
use super::{DataType, Owner, Pending, Statement, Then};
use yaml::Document;
use yaml::problem::{Position, Problem};

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
    #[schemars(with = "Vec<TestForm>")]
    tests: Vec<Value>,
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

/// What a rule file says, as far as it is right: a rule that is wrong is refused alone.
#[derive(Default)]
pub struct RuleFile {
    /// The rules that are right, in the order of the file.
    pub rules: Vec<LoadedRule>,
    /// The rules that are refused, in the order of the file.
    pub refused: Vec<RefusedRule>,
    /// Keys beside `rules`; they are not looked at.
    pub strange: Vec<Problem>,
}

/// A rule of a file with what `tidegate test` needs.
pub struct LoadedRule {
    /// Its index among the rules of the file.
    pub index: usize,
    /// The rule, ready to run.
    pub compiled: CompiledRule,
    /// Its tests, as far as they are right.
    pub tests: Vec<RuleTest>,
    /// What is wrong with others of its tests; the rule is right all the same.
    pub wrong_tests: Vec<Problem>,
    /// Remarks that do not stop it.
    pub warnings: Vec<Problem>,
}

/// A rule of a file that cannot run.
#[derive(Debug, Clone)]
pub struct RefusedRule {
    /// Its index among the rules of the file.
    pub index: usize,
    /// Its name, when it has one.
    pub name: Option<String>,
    /// Everything that is wrong with it, in the order of the file; one problem at least.
    pub problems: Vec<Problem>,
}

impl RuleFile {
    /// Everything that is wrong, tests included, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> Vec<&Problem> {
        let tests = self.rules.iter().flat_map(|rule| &rule.wrong_tests);
        let refused = self.refused.iter().flat_map(|rule| &rule.problems);
        let mut all: Vec<&Problem> = self.strange.iter().chain(tests).chain(refused).collect();
        all.sort_by_key(|problem| problem.at);
        all
    }
}

/// Reads the rules of a file.
///
/// # Errors
/// Why nothing of it can be read: the file itself, text that is no YAML, or no list of rules.
pub fn load(path: &Path, compiler: &Compiler) -> Result<RuleFile, Problem> {
    parse(path, &read_text(path)?, compiler)
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
/// Why nothing of it can be read: text that is no YAML, or no list of rules.
pub fn parse(path: &Path, text: &str, compiler: &Compiler) -> Result<RuleFile, Problem> {
    let mut document = Document::parse(path, text)?;
    let mut value = document.take();
    let strange = strange_keys(&document, &mut value);
    let form: FileForm = read(&document, "", value)?;
    let named: RefCell<BTreeMap<String, String>> = RefCell::default();
    let lookup = |name: &str| {
        let value = std::env::var(name).ok()?;
        named.borrow_mut().insert(name.to_owned(), value.clone());
        Some(value)
    };
    let rules = form.rules.into_iter().enumerate().map(|(index, mut value)| {
        match document.substitute_in(&mut value, &place_of(index), &lookup) {
            Ok(()) => Ok(value),
            Err(unset) => Err((name_of(&value), unset)),
        }
    });
    let rules: Vec<_> = rules.collect();
    let hidden: Hidden = named.into_inner().into_iter().collect();
    let mut file = RuleFile { strange, ..RuleFile::default() };
    let mut names: HashMap<String, usize> = HashMap::new();
    // Each rule's part of the document is given back before the next is compiled.
    for (index, value) in rules.into_iter().enumerate() {
        let (name, result) = match value {
            Ok(value) => (name_of(&value), rule(&document, index, value, compiler, &hidden)),
            Err((name, unset)) => (name, Err(unset)),
        };
        let twice = name.as_ref().and_then(|name| {
            let line = document.position(&place_of(index)).line;
            let first = *names.entry(name.clone()).or_insert(line);
            (first != line).then(|| {
                let text =
                    format!("the name `{name}` is used twice in this file, first in line {first}");
                document.problem(&format!("{}.name", place_of(index)), text)
            })
        });
        match (result, twice) {
            (Ok(rule), None) => file.rules.push(rule),
            (result, twice) => {
                let mut problems = result.err().unwrap_or_default();
                problems.extend(twice);
                problems.sort_by_key(|problem| problem.at);
                file.refused.push(RefusedRule { index, name, problems });
            }
        }
    }
    Ok(file)
}

fn place_of(index: usize) -> String {
    format!("rules[{index}]")
}

fn name_of(rule: &Value) -> Option<String> {
    rule.get("name")?.as_str().map(str::to_owned)
}

/// Takes out what stands beside the rules.
fn strange_keys(document: &Document, file: &mut Value) -> Vec<Problem> {
    let Some(map) = file.as_object_mut().filter(|map| map.contains_key("rules")) else {
        return Vec::new();
    };
    let strange: Vec<String> = map.keys().filter(|key| *key != "rules").cloned().collect();
    map.retain(|key, _| key == "rules");
    let problem =
        |key: &String| document.mismatch("", &format!("unknown field `{key}`, expected `rules`"));
    strange.iter().map(problem).collect()
}

fn rule(
    document: &Document,
    index: usize,
    value: Value,
    compiler: &Compiler,
    hidden: &Hidden,
) -> Result<LoadedRule, Vec<Problem>> {
    let place = place_of(index);
    let mut problems = Vec::new();
    let Some(mut form) = rule_form(document, &place, value, &mut problems) else {
        return Err(problems);
    };
    let name = form.name.clone();
    let at = |fault: Fault| located(fault, document, &place, &name);
    let tests = test_forms(document, &place, std::mem::take(&mut form.tests));
    let owner =
        Owner::File { path: document.file().to_owned(), line: document.position(&place).line };
    let whole = problems.is_empty();
    let mut faults = Vec::new();
    let rule = build::build(form, whole, owner, &mut faults);
    let compiled = compiler.compile(Arc::new(rule));
    let compiled = compiled.map_err(|more| faults.extend(more)).ok();
    if !whole {
        // What is missing may be what could not be read.
        faults.retain(|fault| fault.path != "name" || !name.is_empty());
    }
    problems.extend(faults.into_iter().map(at));
    let Some(compiled) = compiled.filter(|_| problems.is_empty()) else {
        problems.extend(tests.into_iter().filter_map(Result::err));
        problems.sort_by_key(|problem| problem.at);
        return Err(problems);
    };
    let (mut good, mut wrong_tests) = (Vec::new(), Vec::new());
    for (index, test) in tests.into_iter().enumerate() {
        let path = format!("tests[{index}]");
        let line = document.position(&format!("{place}.{path}")).line;
        let test = test.and_then(|test| {
            RuleTest::new(test, &compiled, (index, line), hidden).map_err(|fault| {
                let path = yaml::join(&path, &fault.path);
                at(Fault { path: path.trim_end_matches('.').to_owned(), ..fault })
            })
        });
        test.map_or_else(|problem| wrong_tests.push(problem), |test| good.push(test));
    }
    let warnings = warnings(document, &place, &compiled);
    Ok(LoadedRule { index, compiled, tests: good, wrong_tests, warnings })
}

/// A finding of a rule at its place in the file.
fn located(fault: Fault, document: &Document, place: &str, name: &str) -> Problem {
    let path = yaml::join(place, &fault.path);
    let position = match fault.inside {
        Some(inside) => document.position_in_text(&path, inside),
        None if fault.in_key => document.position_of_key(&path),
        None => document.position(&path),
    };
    let problem = fault.problem.in_file(document.file(), position);
    if name.is_empty() { problem } else { problem.rule(name) }
}

/// Remarks on a rule that is right.
fn warnings(document: &Document, place: &str, compiled: &CompiledRule) -> Vec<Problem> {
    let name = compiled.rule.name.as_str();
    let whole = matches!(compiled.rule.sql, Some(Statement::Text(_)));
    let statement = compiled.query.iter().flat_map(|query| query.warnings()).map(|warning| {
        let inside = Position { line: warning.line, column: warning.column };
        let key = if whole { "sql" } else { &warning.part.to_ascii_lowercase() };
        let problem = Problem::new(warning.message.clone()).hint(warning.hint.clone());
        let fault = Fault { inside: Some(inside), ..Fault::new(key, problem) };
        located(fault, document, place, name)
    });
    let templates = compiled.warnings.iter();
    let templates = templates.map(|fault| located(fault.clone(), document, place, name));
    statement.chain(templates).collect()
}

/// Reads the form of a rule. A setting that does not fit is noted and left out, so that the others are
/// looked at too; `None` for what is no rule at all.
fn rule_form(
    document: &Document,
    place: &str,
    value: Value,
    problems: &mut Vec<Problem>,
) -> Option<RuleForm> {
    // Only the name must be there; that it is missing is said where names are checked.
    let (form, misfits) = read_fitting(value, |map| {
        map.entry("name").or_insert_with(|| Value::String(String::new()));
    });
    problems.extend(misfits.iter().map(|ConfigError { path, message }| {
        mismatch(document, place, if path.is_empty() { "." } else { path }, message)
    }));
    form
}

/// Reads the forms of a rule's tests.
fn test_forms(
    document: &Document,
    place: &str,
    tests: Vec<Value>,
) -> Vec<Result<TestForm, Problem>> {
    let tests = tests.into_iter().enumerate();
    tests.map(|(index, test)| read(document, &format!("{place}.tests[{index}]"), test)).collect()
}

/// Reads a part of a document as a type; `place` is the part's path.
fn read<T: DeserializeOwned>(document: &Document, place: &str, value: Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(&value).map_err(|error| {
        mismatch(document, place, &error.path().to_string(), &misfit(&value, &error))
    })
}

/// A finding of serde at a path below a part of the document.
fn mismatch(document: &Document, place: &str, below: &str, message: &str) -> Problem {
    let path = match below {
        "." => place.to_owned(),
        below if place.is_empty() => below.to_owned(),
        below => format!("{place}.{below}"),
    };
    document.mismatch(&path, message)
}
