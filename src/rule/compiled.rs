//! From a rule as written to one that can run: the statement compiled, each action's sink made.
//!
//! Nothing here reaches a destination: connecting is the sinks' business, later.

use std::borrow::Cow;
use std::sync::Arc;

use contract::{Body, ConfigError, Env, Sink, SinkSpec};

use super::envelope;
use super::templates::{self, Given};
use super::{Action, DataType, ERROR_ACTION, Owner, Rule, Statement};
use sql::{self, Query};
use yaml::problem::{Position, Problem, nearest, unknown_key};

/// Makes rules ready to run.
#[derive(Clone)]
pub struct Compiler {
    /// The catalogue of sinks.
    pub sinks: &'static [SinkSpec],
    /// What sinks may use.
    pub env: Env,
    /// The zone of `timestamp(format)`.
    pub time_zone: jiff::tz::TimeZone,
    /// Bounds of statements.
    pub sql: sql::Limits,
    /// Actions that a rule may have.
    pub actions_max: usize,
}

/// A rule that is ready to run. Immutable.
pub struct CompiledRule {
    /// The rule as written.
    pub rule: Arc<Rule>,
    /// The statement; `None` for a rule of the API that has none yet.
    pub query: Option<Arc<Query>>,
    /// The sink of each action, in order.
    pub sinks: Vec<Arc<dyn Sink>>,
    /// The sink of the error action.
    pub error_sink: Option<Arc<dyn Sink>>,
    /// What is allowed in its actions but probably not meant.
    pub warnings: Vec<Fault>,
}

/// What is wrong with a rule, and at which of its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The setting, such as `actions[1].kafka.topic`.
    pub path: String,
    /// A place within the text of the setting.
    pub inside: Option<Position>,
    /// The setting's name is wrong, not its value.
    pub in_key: bool,
    /// The finding, without its place in a file.
    pub problem: Problem,
}

impl Fault {
    /// A finding at a setting.
    pub fn new(path: impl Into<String>, problem: Problem) -> Self {
        Self { path: path.into(), inside: None, in_key: false, problem }
    }
}

/// The sink of an action, and remarks on its templates.
type Checked = (Arc<dyn Sink>, Vec<Fault>);

/// Connectors that write rows: a binary payload has no columns.
const TABLES: &[&str] = &["postgres", "sqlite"];

impl Compiler {
    /// With the limits that hold unless others are set, and times in UTC.
    #[must_use]
    pub fn new(sinks: &'static [SinkSpec], env: Env) -> Self {
        let (time_zone, sql) = (jiff::tz::TimeZone::UTC, sql::Limits::default());
        Self { sinks, env, time_zone, sql, actions_max: 10 }
    }

    /// Compiles a rule.
    ///
    /// # Errors
    /// Everything that is wrong with it, the first in its order first; one fault at least.
    pub fn compile(&self, rule: Arc<Rule>) -> Result<CompiledRule, Vec<Fault>> {
        let mut faults = Vec::new();
        faults.extend(check_name(&rule.name).err().map(|problem| Fault::new("name", problem)));
        let query = self.query(&rule).unwrap_or_else(|mistakes| {
            faults.extend(mistakes);
            None
        });
        let query = query.map(Arc::new);
        if rule.actions.len() > self.actions_max {
            let message = format!(
                "{} actions are too many, a rule has at most {}",
                rule.actions.len(),
                self.actions_max
            );
            faults.push(Fault::new("actions", Problem::new(message)));
        }
        let env = self.env_for(&rule.owner);
        let mut warnings = Vec::new();
        let (body, keys) = query.as_deref().map_or((Body::Json, None), outcome);
        let given = keys.as_ref().map(|keys| Given { maker: templates::SELECT, keys, body });
        let actions = rule.actions.iter().enumerate();
        let sinks = actions.filter_map(|(index, action)| {
            let place = format!("actions[{index}]");
            let sink = self.sink(&env, rule.data_type, action, &place, given.as_ref());
            noted(sink, &mut warnings, &mut faults)
        });
        let sinks = sinks.collect();
        let error_sink = rule.error_action.as_ref().and_then(|action| {
            let unnests = query.as_ref().is_some_and(|query| query.unnests());
            let keys = envelope::keys(unnests).iter().map(|key| (*key).to_owned());
            let keys: Vec<String> = keys.collect();
            let given = Given { maker: "the error envelope", keys: &keys, body: Body::Json };
            let sink = self.sink(&env, DataType::Json, action, ERROR_ACTION, Some(&given));
            noted(sink, &mut warnings, &mut faults)
        });
        match faults.is_empty() {
            true => Ok(CompiledRule { rule, query, sinks, error_sink, warnings }),
            false => Err(faults),
        }
    }

    /// Compiles a rule's statement.
    ///
    /// # Errors
    /// What is wrong with the statement, with the places in its text.
    fn query(&self, rule: &Rule) -> Result<Option<Query>, Vec<Fault>> {
        let options = self.options(rule.data_type);
        let (path, result) = match &rule.sql {
            None => return Ok(None),
            Some(Statement::Text(text)) => ("sql", Query::compile(text, &options)),
            Some(Statement::Parts { select, from, filter }) => {
                ("select", Query::from_parts(select, from, filter.as_deref(), &options))
            }
        };
        let fault = |error: sql::Error| {
            let path = error.part.map_or(path.to_owned(), str::to_ascii_lowercase);
            let inside = Position { line: error.line, column: error.column };
            let mut problem = Problem::new(error.message);
            problem.at = Some(inside);
            problem.expected = error.expected;
            problem.hint = error.hint;
            problem.in_sql = true;
            Fault { inside: Some(inside), ..Fault::new(path, problem) }
        };
        result.map(Some).map_err(|mistakes| mistakes.all().map(fault).collect())
    }

    /// How statements of rules are compiled.
    #[must_use]
    pub fn options(&self, data_type: DataType) -> sql::Options {
        sql::Options {
            data_type,
            time_zone: self.time_zone.clone(),
            limits: self.sql,
            topic_limits: self.env.topic_limits,
        }
    }

    /// What the sinks of a rule may use: who wrote it decides which addresses they reach.
    fn env_for(&self, owner: &Owner) -> Cow<'_, Env> {
        match owner {
            Owner::Api(_) => {
                let network = self.env.network.for_api();
                Cow::Owned(Env { network, ..self.env.clone() })
            }
            Owner::File { .. } => Cow::Borrowed(&self.env),
        }
    }

    /// The sink of an action, and remarks on its templates as far as it is known what they are
    /// given. `place` is the action's.
    fn sink(
        &self,
        env: &Env,
        data: DataType,
        action: &Action,
        place: &str,
        given: Option<&Given<'_>>,
    ) -> Result<Checked, Vec<Fault>> {
        let name = action.connector.as_str();
        if name.is_empty() {
            let problem = Problem::new("the action names no connector");
            return Err(vec![Fault::new(place, problem.hint("for example `log: {}`"))]);
        }
        let place = format!("{place}.{name}");
        let Some(spec) = self.sinks.iter().find(|spec| spec.name == name) else {
            let known = self.sinks.iter().map(|spec| spec.name);
            let mut problem = Problem::new(format!("there is no connector `{name}`"));
            problem.expected =
                Some(format!("one of {}", known.clone().collect::<Vec<_>>().join(", ")));
            problem.hint = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
            return Err(vec![Fault { in_key: true, ..Fault::new(place, problem) }]);
        };
        if data == DataType::Binary && TABLES.contains(&name) {
            let problem =
                Problem::new(format!("`{name}` writes rows, and a binary rule has no columns"))
                    .hint("use `data_type: json`, or another action");
            return Err(vec![Fault { in_key: true, ..Fault::new(place, problem) }]);
        }
        let sink = (spec.build)(&action.settings, env).map_err(|error| {
            let misread = (spec.misread)(&action.settings);
            let all = if misread.is_empty() { vec![error] } else { misread };
            all.iter().map(|error| setting_fault(error, &place)).collect::<Vec<_>>()
        })?;
        let warnings = match given {
            Some(given) => templates::check(spec, &action.settings, &*sink, given, &place)?,
            None => Vec::new(),
        };
        Ok((sink, warnings))
    }
}

/// The sink, when there is one; notes the rest.
fn noted(
    result: Result<Checked, Vec<Fault>>,
    warnings: &mut Vec<Fault>,
    faults: &mut Vec<Fault>,
) -> Option<Arc<dyn Sink>> {
    match result {
        Ok((sink, remarks)) => {
            warnings.extend(remarks);
            Some(sink)
        }
        Err(wrong) => {
            faults.extend(wrong);
            None
        }
    }
}

/// Whether records are JSON, and the keys that they can have; `None` when the document decides.
fn outcome(query: &Query) -> (Body, Option<Vec<String>>) {
    match query.output_keys() {
        // `SELECT *` of a binary rule passes the payload on.
        None if query.data_type() == DataType::Binary => (Body::Binary, Some(Vec::new())),
        keys => (Body::Json, keys),
    }
}

/// What a connector says about its settings, at `place` in the rule.
fn setting_fault(error: &ConfigError, place: &str) -> Fault {
    let ConfigError { path, message } = error;
    match unknown_key(message) {
        // The path may name the unknown key already.
        Some((problem, key)) => {
            let above = path.strip_suffix(&*key).unwrap_or(path).trim_end_matches('.');
            let above = if above.is_empty() { String::new() } else { format!(".{above}") };
            Fault { in_key: true, ..Fault::new(format!("{place}{above}.{key}"), problem) }
        }
        None if path.is_empty() => Fault::new(place, Problem::new(message)),
        None => Fault::new(format!("{place}.{path}"), Problem::new(message)),
    }
}

/// Checks a rule's name: 4–30 characters where a CJK character counts 2; letters, digits, `_`, `-`.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), Problem> {
    if name.is_empty() {
        return Err(Problem::new("the rule has no name").hint("add one, such as `name: hot_meter`"));
    }
    if let Some(bad) = name.chars().find(|c| !(c.is_alphanumeric() || matches!(c, '_' | '-'))) {
        return Err(Problem::new(format!("a rule's name may not contain {bad:?}"))
            .hint("use letters, digits, `_` and `-`"));
    }
    let width: usize = name.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum();
    if !(4..=30).contains(&width) {
        return Err(Problem::new(format!(
            "a rule's name has 4 to 30 characters (a CJK character counts 2), `{name}` has {width}"
        )));
    }
    Ok(())
}

/// CJK ideographs, kana, Hangul and full-width forms.
fn is_wide(c: char) -> bool {
    matches!(u32::from(c), 0x1100..=0x11ff | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff
        | 0xfe30..=0xfe4f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x20000..=0x3ffff)
}
