//! Records as rows: what all table sinks share — names of columns, values, groups of rows that fit one
//! statement, and who is to blame when they are refused. It knows no database, and of SQL only how names
//! are quoted and how a row takes the place of another.

mod name;
mod row;
mod write;

pub use name::{Name, NameError, Names, list, upsert};
pub use row::{Cell, ColumnTemplates, Layout, Row};
pub use write::{Group, Refusal, Writer, groups, last_of_each_key, may_add, write_all};
