//! What one rule may cost for one message: a budget of work, in units that are the same on every
//! machine and for every run.
//!
//! A unit is about a tenth of a nanosecond. Whatever takes time in proportion to what a device sends
//! is paid before it is done: paths that are read, operators, LIKE, functions (what they cost is
//! declared with them, see [`Price`]), regular expressions by program and text, JSONPath by the
//! document, elements of UNNEST. What is bounded by the limits of statements alone costs nothing.
//!
//! A part that would cost more than is left is not done: it is MISSING with the error `too_costly`, as
//! with any other error, and the rest goes on with what is left. Only UNNEST ends the run: records of
//! some elements would look like all of them.

use std::cell::Cell;

use super::functions::Fault;
use super::value::Value;

/// The budget by default: 40 milliseconds or less.
pub(crate) const BUDGET: u64 = 400_000_000;

/// For each byte of a value of the document that is read, and of a new value: to decode and check it,
/// and to compare it, write it or read it as a number once.
pub(crate) const VALUE: u64 = 20;

/// For each byte of a value that is put together or has escapes taken out: piece by piece.
pub(crate) const PIECES: u64 = 150;

/// For each byte that is only searched or compared, without a copy.
pub(crate) const SCAN: u64 = 2;

/// For each byte of arrays and objects that are compared with each other.
pub(crate) const DOCUMENTS: u64 = 500;

/// For each byte of arrays and objects, and each level of them within each other beyond [`FLAT`]: what takes
/// a document apart level by level reads its inner parts again at each.
const LEVEL: u64 = 120;

/// What comparing elements of arrays, or documents, costs: those that are objects are read member by
/// member, and found again by what they hold.
pub(crate) const COMPARED: Price = Price::new(1_000, 220).per_part(15_000);

/// From so many units for a byte on, a function takes documents apart.
const APART: u64 = 150;

/// Levels that the other prices include.
const FLAT: u64 = 4;

/// For each byte of a document that is taken apart into its members.
pub(crate) const MEMBERS: u64 = 300;

/// For each byte of a document that becomes a tree, for JSONPath.
pub(crate) const TREE: u64 = 400;

/// For each part of a statement that is evaluated again, for an element of UNNEST.
pub(crate) const PART: u64 = 1_000;

/// What a call costs, in units of work. What depends on more than the size of the arguments pays the
/// function itself, through its `Site`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// For the call.
    pub call: u32,
    /// For each byte of the arguments.
    pub byte: u32,
    /// For each array and object within the arguments.
    pub part: u32,
}

impl Price {
    pub(crate) const fn new(call: u32, byte: u32) -> Self {
        Self { call, byte, part: 0 }
    }

    /// The same with a price for each array and object within the arguments.
    pub(crate) const fn per_part(self, part: u32) -> Self {
        Self { part, ..self }
    }

    /// What an argument costs because it is taken apart, where the price is that of such a function: for its
    /// arrays and objects, and for the levels of them within each other. It is one pass over the bytes.
    #[inline]
    pub(crate) fn apart(self, value: &Value<'_>) -> u64 {
        if u64::from(self.byte) < APART {
            return 0;
        }
        let Some((levels, parts)) = value.depth() else { return 0 };
        let by_level = value.size().saturating_mul(levels.saturating_sub(FLAT));
        by_level.saturating_mul(LEVEL).saturating_add(parts.saturating_mul(self.part.into()))
    }

    /// What a call with these arguments costs.
    #[inline]
    pub(crate) fn with(self, arguments: &[Value<'_>]) -> u64 {
        let bytes: u64 = arguments.iter().map(Value::size).sum();
        let units = bytes.saturating_mul(self.byte.into()).saturating_add(self.call.into());
        if u64::from(self.byte) < APART {
            return units;
        }
        arguments.iter().fold(units, |sum, value| sum.saturating_add(self.apart(value)))
    }
}

/// What is left of a budget.
#[derive(Debug, Default)]
pub(crate) struct Work(Cell<u64>);

impl Work {
    pub(crate) fn new(units: u64) -> Self {
        Self(Cell::new(units))
    }

    /// Starts over with so many units.
    #[inline]
    pub(crate) fn set(&self, units: u64) {
        self.0.set(units);
    }

    #[inline]
    pub(crate) fn left(&self) -> u64 {
        self.0.get()
    }

    /// Takes units; nothing is taken when not so many are left.
    ///
    /// # Errors
    /// `too_costly`.
    #[inline]
    pub(crate) fn pay(&self, units: u64) -> Result<(), Fault> {
        if self.take(units) { Ok(()) } else { Err(self.refuse(units)) }
    }

    /// As [`Work::pay`], without a word about it.
    #[inline]
    pub(crate) fn take(&self, units: u64) -> bool {
        let left = self.left().checked_sub(units);
        self.0.set(left.unwrap_or(self.left()));
        left.is_some()
    }

    /// What is said of work that is not paid.
    #[cold]
    pub(crate) fn refuse(&self, units: u64) -> Fault {
        let left = self.left();
        let message = format!(
            "it takes {units} units of work, and {left} of the message's are left; shorten the text, \
             simplify the expression, or raise `limits.sql.work`"
        );
        Fault::new(TOO_COSTLY, message)
    }
}

/// The word for what the budget does not pay.
pub(crate) const TOO_COSTLY: &str = "too_costly";
