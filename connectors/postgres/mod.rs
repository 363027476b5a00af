//! PostgreSQL: a connection to one database, and a sink that writes rows to its tables. Nothing is read
//! from it but what its tables look like.

mod catalog;
mod connection;
mod sink;
mod values;

pub use connection::PostgresSettings;
pub use sink::PostgresSinkSettings;
