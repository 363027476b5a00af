//! What the writer remembers of series: their ids, and how far each has come.
//!
//! It is only a memory: what it has forgotten stands in the tables.

use std::collections::HashMap;

use super::entry::Series;

/// Series that are remembered: some 40 MB. More that are written to in turn cost a look each.
const MOST: usize = 1 << 18;

/// A series in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// Its id.
    pub id: i64,
    /// Time and number of its last value.
    pub last: (i64, i64),
}

impl Known {
    /// Before all values.
    pub(super) const NOTHING: (i64, i64) = (i64::MIN, 0);

    /// The number of the next value of a time; `None` when the tables have to say, because later ones
    /// have come already.
    pub(super) fn next(&self, time_ms: i64) -> Option<i64> {
        match self.last {
            (last, nth) if last == time_ms => Some(nth + 1),
            (last, _) if last < time_ms => Some(0),
            _ => None,
        }
    }
}

/// The series that were written to of late.
#[derive(Debug, Default)]
pub(super) struct Book {
    known: HashMap<Series, Known, foldhash::fast::RandomState>,
}

impl Book {
    pub(super) fn get(&self, series: &Series) -> Option<Known> {
        self.known.get(series).copied()
    }

    pub(super) fn add(&mut self, series: &Series, known: Known) -> Known {
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.known.insert(series.clone(), known);
        known
    }

    /// A series has come so far, if it was not further already.
    pub(super) fn reach(&mut self, series: &Series, last: (i64, i64)) {
        if let Some(known) = self.known.get_mut(series) {
            known.last = known.last.max(last);
        }
    }

    /// These do not exist any more.
    pub(super) fn remove(&mut self, gone: &[i64]) {
        if !gone.is_empty() {
            self.known.retain(|_, known| !gone.contains(&known.id));
        }
    }

    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}
