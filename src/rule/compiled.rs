//! From a rule as written to one that can run: the statement compiled, each action's sink made.
//!
//! Nothing here reaches a destination: connecting is the sinks' business, later.

use std::sync::Arc;

use connectors::contract::{ConfigError, Env, Sink, SinkSpec};

use super::{Action, DataType, Rule, Statement};
use crate::problem::{Position, Problem, nearest};
use crate::sql::{self, Query};

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
}

/// What is wrong with a rule, and at which of its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The setting, such as `actions[1].kafka.topic`.
    pub path: String,
    /// A place within the text of the setting.
    pub inside: Option<Position>,
    /// The finding, without its place in a file.
    pub problem: Problem,
}

impl Fault {
    /// A finding at a setting.
    pub fn new(path: impl Into<String>, problem: Problem) -> Self {
        Self { path: path.into(), inside: None, problem }
    }
}

/// Connectors that write rows: a binary payload has no columns.
const TABLES: &[&str] = &["postgres", "sqlite"];

impl Compiler {
    /// Compiles a rule.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn compile(&self, rule: Arc<Rule>) -> Result<CompiledRule, Fault> {
        check_name(&rule.name).map_err(|problem| Fault::new("name", problem))?;
        let query = self.query(&rule)?.map(Arc::new);
        if rule.actions.len() > self.actions_max {
            let message = format!(
                "{} actions are too many, a rule has at most {}",
                rule.actions.len(),
                self.actions_max
            );
            return Err(Fault::new("actions", Problem::new(message)));
        }
        let mut sinks = Vec::with_capacity(rule.actions.len());
        for (index, action) in rule.actions.iter().enumerate() {
            sinks.push(self.sink(rule.data_type, action, &format!("actions[{index}]"))?);
        }
        let error_sink = match &rule.error_action {
            Some(action) => Some(self.sink(DataType::Json, action, "error_action")?),
            None => None,
        };
        Ok(CompiledRule { rule, query, sinks, error_sink })
    }

    /// Compiles a rule's statement.
    ///
    /// # Errors
    /// What is wrong with the statement, with the place in its text.
    pub fn query(&self, rule: &Rule) -> Result<Option<Query>, Fault> {
        let options = self.options(rule.data_type);
        let (path, result) = match &rule.sql {
            None => return Ok(None),
            Some(Statement::Text(text)) => ("sql", Query::compile(text, &options)),
            Some(Statement::Parts { select, from, filter }) => {
                ("select", Query::from_parts(select, from, filter.as_deref(), &options))
            }
        };
        result.map(Some).map_err(|error| {
            let inside = Position { line: error.line, column: error.column };
            let mut problem = Problem::new(error.message);
            problem.at = Some(inside);
            problem.expected = error.expected;
            problem.hint = error.hint;
            problem.in_sql = true;
            Fault { path: path.to_owned(), inside: Some(inside), problem }
        })
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

    fn sink(&self, data: DataType, action: &Action, path: &str) -> Result<Arc<dyn Sink>, Fault> {
        let name = action.connector.as_str();
        let Some(spec) = self.sinks.iter().find(|spec| spec.name == name) else {
            let known = self.sinks.iter().map(|spec| spec.name);
            let mut problem = Problem::new(format!("there is no connector `{name}`"));
            problem.expected =
                Some(format!("one of {}", known.clone().collect::<Vec<_>>().join(", ")));
            problem.hint = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
            return Err(Fault::new(format!("{path}.{name}"), problem));
        };
        if data == DataType::Binary && TABLES.contains(&name) {
            let problem =
                Problem::new(format!("`{name}` writes rows, and a binary rule has no columns"))
                    .hint("use `data_type: json`, or another action");
            return Err(Fault::new(format!("{path}.{name}"), problem));
        }
        (spec.build)(&action.settings, &self.env).map_err(|error| {
            let ConfigError { path: setting, message } = error;
            let below = if setting.is_empty() { String::new() } else { format!(".{setting}") };
            Fault::new(format!("{path}.{name}{below}"), Problem::new(message))
        })
    }
}

/// Checks a rule's name: 4–30 characters where a CJK character counts 2; letters, digits, `_`, `-`.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), Problem> {
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
