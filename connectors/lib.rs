//! The sources and sinks of Tidegate, and the [`contract`] that they fulfil.
//!
//! One file (or folder) per *system*, source and sink together; no connector imports another, none
//! retries, sleeps or reads the clock of the engine. Adding one is a new file and two lines here.

pub use ::contract;

mod file;
mod http;
mod kafka;
mod log;
mod mqtt;
mod postgres;
mod republish;
mod sqlite;

use contract::{ConnectionSpec, SinkSpec, SourceSpec, connection, sink, source};

/// All connections, sorted by name.
pub const CONNECTIONS: &[ConnectionSpec] = &[
    connection::<kafka::KafkaSettings>(),
    connection::<mqtt::MqttSettings>(),
    connection::<postgres::PostgresSettings>(),
    connection::<sqlite::SqliteSettings>(),
];

/// All sinks, sorted by name.
pub const SINKS: &[SinkSpec] = &[
    sink::<file::FileSettings>(),
    sink::<http::HttpSettings>(),
    sink::<kafka::KafkaSinkSettings>(),
    sink::<log::LogSettings>(),
    sink::<mqtt::MqttSinkSettings>(),
    sink::<postgres::PostgresSinkSettings>(),
    sink::<republish::RepublishSettings>(),
    sink::<sqlite::SqliteSinkSettings>(),
];

/// All sources, sorted by name.
pub const SOURCES: &[SourceSpec] =
    &[source::<kafka::KafkaSourceSettings>(), source::<mqtt::MqttSourceSettings>()];
