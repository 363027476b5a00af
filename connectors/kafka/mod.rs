//! Kafka: a connection to a cluster, a sink that produces to it and a source that consumes from it.
//! Transactions and schemas are not here.

mod connection;
mod member;
mod sink;
mod source;

pub use connection::KafkaSettings;
pub use sink::KafkaSinkSettings;
pub use source::KafkaSourceSettings;
