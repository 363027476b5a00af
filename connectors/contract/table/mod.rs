//! Records as rows: what all table sinks share — names of columns, values, and groups of rows that
//! fit one statement. It writes no SQL but quoted names and knows no database.

mod name;
mod row;
mod write;

pub use name::{Name, NameError, Names, list};
pub use row::{Cell, ColumnTemplates, Layout, Row};
pub use write::{Group, Refusal, Writer, groups, last_of_each_key, write_all};

/// The most columns that a sink adds to a table that it made.
pub const COLUMNS_MAX: usize = 200;
