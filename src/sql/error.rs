//! What can be wrong with a statement, a payload or one evaluation.
//!
//! Nothing here counts or logs; the engine does.

use std::fmt;

pub(crate) use contract::Position;

/// Why a statement is refused, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub message: String,
    /// The line in the text (or in the part, see `Query::from_parts`), from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// The part that is meant, `SELECT`, `FROM` or `WHERE`, of a statement in parts.
    pub part: Option<&'static str>,
    /// What should have been there.
    pub expected: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Error {
    pub(crate) fn at(at: Position, message: impl Into<String>) -> Self {
        let Position { line, column } = at;
        Self { message: message.into(), line, column, part: None, expected: None, hint: None }
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// The most mistakes of one statement that are told.
const MISTAKES: usize = 20;

/// Why a statement is refused: one mistake at least, in the order of SELECT, FROM, WHERE and of the
/// text; 20 at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes {
    first: Error,
    rest: Vec<Error>,
}

impl Mistakes {
    /// The first in the text, for those who can tell one only.
    #[must_use]
    pub fn first(self) -> Error {
        self.first
    }

    /// All of them.
    pub fn all(self) -> impl Iterator<Item = Error> {
        std::iter::once(self.first).chain(self.rest)
    }

    /// These and others that follow.
    pub(crate) fn and(mut self, others: Self) -> Self {
        let free = MISTAKES.saturating_sub(1 + self.rest.len());
        self.rest.extend(others.all().take(free));
        self
    }

    pub(crate) fn map(self, told: impl Fn(Error) -> Error) -> Self {
        let Self { first, rest } = self;
        Self { first: told(first), rest: rest.into_iter().map(told).collect() }
    }
}

impl From<Error> for Mistakes {
    fn from(first: Error) -> Self {
        Self { first, rest: Vec::new() }
    }
}

/// One line each.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.rest.iter().try_for_each(|error| write!(f, "\n{error}"))
    }
}

impl std::error::Error for Mistakes {}

/// Something that is allowed but probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What looks wrong.
    pub message: String,
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What to do.
    pub hint: String,
    /// The part that the place is relative to when the statement came in parts: `SELECT`, `FROM` or
    /// `WHERE`.
    pub part: &'static str,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, line, column, hint, .. } = self;
        write!(f, "line {line}, column {column}: {message}; hint: {hint}")
    }
}

/// Why a payload is no JSON document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {reason}")]
pub struct InvalidPayload {
    /// The byte at which it stops being one, from 0.
    pub offset: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

/// A part of a statement that could not be evaluated for one message; its result is MISSING.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{item}: {message}")]
pub struct EvalError {
    /// A stable word for metrics: `division_by_zero`, `domain`, `not_finite`, `wrong_type`, ….
    pub code: &'static str,
    /// What happened, with the values.
    pub message: String,
    /// The key of the SELECT item, or `WHERE`.
    pub item: String,
}
