//! A finding in something that a person wrote: what is wrong, where, what was expected, what to do.

use std::fmt;
use std::path::{Path, PathBuf};

pub use contract::{Position, nearest};

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file that it was found in, if it came from a file.
    pub file: Option<PathBuf>,
    /// Where in the file or the text.
    pub at: Option<Position>,
    /// The rule that it was found in.
    pub rule: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What was expected instead.
    pub expected: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// The SQL statement is what is wrong.
    pub in_sql: bool,
}

impl Problem {
    /// A finding without a place.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            file: None,
            at: None,
            rule: None,
            message: message.into(),
            expected: None,
            hint: None,
            in_sql: false,
        }
    }

    /// The same finding in a file.
    #[must_use]
    pub fn in_file(mut self, file: &Path, at: Position) -> Self {
        self.file = Some(file.to_owned());
        self.at = Some(at);
        self
    }

    /// The same finding with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same finding in a rule.
    #[must_use]
    pub fn rule(mut self, name: &str) -> Self {
        self.rule.get_or_insert_with(|| name.to_owned());
        self
    }
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.at) {
            (Some(file), Some(at)) => {
                write!(f, "{}:{}:{}: ", file.display(), at.line, at.column)?;
            }
            (Some(file), None) => write!(f, "{}: ", file.display())?,
            (None, Some(at)) => write!(f, "line {}, column {}: ", at.line, at.column)?,
            (None, None) => {}
        }
        if let Some(rule) = &self.rule {
            write!(f, "rule `{rule}`: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; hint: {hint}")?;
        }
        Ok(())
    }
}

/// A finding about a key that serde does not know, from its message; `None` for other messages. It
/// has no place yet; the key comes with it.
#[must_use]
pub fn unknown_key(message: &str) -> Option<(Problem, String)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (key, rest) = rest.split_once('`').unwrap_or((rest, ""));
    let expected = rest.trim_start_matches(", expected ");
    let known = expected.split('`').skip(1).step_by(2);
    let mut problem = Problem::new(format!("unknown key `{key}`"));
    problem.hint = nearest(key, known).map(|near| format!("did you mean `{near}`?"));
    problem.expected = Some(expected.to_owned()).filter(|text| !text.is_empty());
    Some((problem, key.to_owned()))
}
