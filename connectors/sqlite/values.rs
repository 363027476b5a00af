//! Values of records as SQLite stores them. A column's type is a wish to SQLite, its affinity: what it
//! would bend on the way into a column is refused here.

use std::borrow::Cow;

use crate::contract::Decimal;
use crate::contract::table::Cell;

/// What SQLite makes of values on their way into a column (sqlite.org/datatype3.html, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Affinity {
    /// Nothing: a column without a type, `BLOB`, or `ANY` of a strict table.
    None,
    /// Numbers become text.
    Text,
    /// Numbers, and text of numbers, become whole numbers where that loses nothing, else reals.
    Numeric,
    /// Numbers, and text of numbers, become reals.
    Real,
}

impl Affinity {
    /// The affinity of a declared type.
    pub(super) fn of(declared: &str, strict: bool) -> Self {
        let declared = declared.to_ascii_uppercase();
        let holds = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
        if declared.is_empty() || strict && declared == "ANY" {
            Self::None
        } else if holds(&["INT"]) {
            Self::Numeric
        } else if holds(&["CHAR", "CLOB", "TEXT"]) {
            Self::Text
        } else if holds(&["BLOB"]) {
            Self::None
        } else if holds(&["REAL", "FLOA", "DOUB"]) {
            Self::Real
        } else {
            Self::Numeric
        }
    }
}

/// A value in one of SQLite's storage classes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stored<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'a, str>),
}

/// What is stored in a column of that affinity; `None` when SQLite would round the value.
pub(super) fn stored<'c>(cell: &'c Cell<'_>, affinity: Affinity) -> Option<Stored<'c>> {
    Some(match cell {
        Cell::Null => Stored::Null,
        Cell::Bool(yes) => Stored::Integer(i64::from(*yes)),
        Cell::Number(number) => return stored_number(number, affinity),
        Cell::Text(text) => match affinity {
            // SQLite would make a number of it: let it be the right one.
            Affinity::Numeric | Affinity::Real if Decimal::parse(text.trim()).is_some() => {
                return stored_number(text.trim(), affinity);
            }
            _ => Stored::Text(Cow::Borrowed(text.as_ref())),
        },
        Cell::List(json) | Cell::Object(json) => Stored::Text(Cow::Borrowed(json)),
    })
}

fn stored_number(text: &str, affinity: Affinity) -> Option<Stored<'_>> {
    let real = || Decimal::parse(text).and_then(Decimal::double).map(Stored::Real);
    // Whole numbers that are written as such do not become reals, even where no digit is lost.
    let whole = || match text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        true => text.parse().ok().map(Stored::Integer),
        false => real(),
    };
    match affinity {
        Affinity::Text => Some(Stored::Text(text.into())),
        Affinity::None => Some(whole().unwrap_or(Stored::Text(text.into()))),
        Affinity::Numeric => whole(),
        Affinity::Real => real(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinities_are_those_of_sqlite() {
        let cases = [
            ("", Affinity::None),
            ("INTEGER", Affinity::Numeric),
            ("bigint", Affinity::Numeric),
            ("CHARINT", Affinity::Numeric),
            ("varchar(20)", Affinity::Text),
            ("CLOB", Affinity::Text),
            ("BLOB", Affinity::None),
            ("DOUBLE PRECISION", Affinity::Real),
            ("float", Affinity::Real),
            ("FLOATING POINT", Affinity::Numeric),
            ("DECIMAL(10,5)", Affinity::Numeric),
            ("DATETIME", Affinity::Numeric),
            ("ANY", Affinity::Numeric),
        ];
        for (declared, affinity) in cases {
            assert_eq!(Affinity::of(declared, false), affinity, "{declared}");
        }
        assert_eq!(Affinity::of("ANY", true), Affinity::None);
    }
}
