//! What Tidegate promises, held against the built program: daemons of their own process, real sockets
//! and disks, kills, full disks, dead destinations. Each test bears the number that
//! `docs/reliability.md` gives it, and says how much work it did.
//!
//! Crash histories and damaged files are tested beside the log itself, destinations that break
//! protocols beside the connectors.

mod amounts;
mod boot;
mod dead_letters;
mod disk;
mod folder;
mod gateways;
mod hostile;
mod isolation;
mod kept;
mod kill;
mod oracle;
mod outage;
mod process;
mod producer;
mod recorder;
mod reload;
mod sink;
mod stalled;
mod subscriber;

/// The rules of most tests: everything goes to a function over HTTP and to a broker.
fn two_rules(calls: &sink::Sink) -> String {
    format!("rules:\n{}{}", rule("calls", &calls.http_action()), rule("topics", MQTT_ACTION))
}

/// One rule for all messages of the producers.
fn rule(name: &str, action: &str) -> String {
    format!(
        "  - name: {name}\n    sql: SELECT * FROM \"/pk/+/user/data\"\n    actions:\n      - {action}\n        retry: {{ delays: [50ms, 100ms], then: keep }}\n"
    )
}

/// To the connection of [`broker`].
const MQTT_ACTION: &str = "mqtt: { connection: recorder, topic: out }";

/// Configuration of the connection that [`MQTT_ACTION`] uses.
fn broker(sink: &sink::Sink) -> String {
    format!(
        "connections: {{ recorder: {{ mqtt: {{ host: \"{}\", port: {} }} }} }}\n",
        sink::HOST,
        sink.port
    )
}
