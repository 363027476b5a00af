//! SQLite: a connection to one database file, and a sink that writes rows to its tables. Writes of
//! one connection follow each other; other processes may read, and write in turn.

mod connection;
mod sink;
mod values;

pub use connection::SqliteSettings;
pub use sink::SqliteSinkSettings;
