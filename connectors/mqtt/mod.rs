//! MQTT: a connection to an external broker, a sink that publishes to it and a source that subscribes
//! to it. The embedded broker is reached by `republish` and listeners, not from here.

mod connection;
mod sink;
mod source;

pub use connection::MqttSettings;
pub use sink::MqttSinkSettings;
pub use source::MqttSourceSettings;
