//! What the broker says of itself on `$SYS/broker/…`, under the names that Mosquitto's dashboards know.
//!
//! Subscribers get it, the engine does not, and none of it is retained.

use std::time::Duration;

use contract::{Message, Shutdown, Topic, TopicLimits};
use tokio::time::Instant;

use super::counters::Snapshot;
use super::sessions::{Publication, Sessions};

/// How often it is said.
const EVERY: Duration = Duration::from_secs(10);

/// The first level of the topics.
const FIRST: &str = "$SYS";

/// A number of the broker.
type Figure = fn(&Snapshot) -> u64;

/// Numbers that are said as they are, below `$SYS/broker/`.
const FIGURES: [(&str, Figure); 15] = [
    ("clients/connected", |now| now.clients),
    ("clients/disconnected", |now| now.sessions.saturating_sub(now.clients)),
    ("clients/total", |now| now.sessions),
    ("subscriptions/count", |now| now.subscriptions),
    ("retained messages/count", |now| now.retained),
    ("store/messages/bytes", |now| now.queued_bytes),
    ("messages/received", |now| now.packets_received),
    ("messages/sent", |now| now.packets_sent),
    ("bytes/received", |now| now.bytes_received),
    ("bytes/sent", |now| now.bytes_sent),
    ("publish/messages/received", |now| now.messages_received),
    ("publish/messages/sent", |now| now.messages_sent),
    ("publish/messages/dropped", dropped),
    ("publish/bytes/received", |now| now.payload_bytes_received),
    ("publish/bytes/sent", |now| now.payload_bytes_sent),
];

/// Numbers whose moving averages are said, in units a minute.
const LOADS: [(&str, Figure); 9] = [
    ("messages/received", |now| now.packets_received),
    ("messages/sent", |now| now.packets_sent),
    ("bytes/received", |now| now.bytes_received),
    ("bytes/sent", |now| now.bytes_sent),
    ("publish/received", |now| now.messages_received),
    ("publish/sent", |now| now.messages_sent),
    ("publish/dropped", dropped),
    ("sockets", |now| now.connections_accepted),
    ("connections", |now| now.connects),
];

/// Minutes that averages are over.
const MINUTES: [u8; 3] = [1, 5, 15];

fn dropped(now: &Snapshot) -> u64 {
    now.dropped_qos0
        + now.dropped_qos1
        + now.dropped_offline
        + now.dropped_session
        + now.dropped_expired
        + now.dropped_too_large
}

/// True for topics that only the broker publishes to.
pub(super) fn is_reserved(topic: &str) -> bool {
    topic.strip_prefix(FIRST).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Moving averages, with the number at which they were last brought up to date.
#[derive(Debug, Default)]
struct Load {
    last: u64,
    averages: [f64; 3],
}

impl Load {
    /// The same averages as Mosquitto's: what is older than their time counts for 1/e.
    fn advance(&mut self, now: u64, passed: Duration) {
        let minutes = passed.as_secs_f64() / 60.0;
        let rate = now.saturating_sub(std::mem::replace(&mut self.last, now)) as f64 / minutes;
        for (average, over) in self.averages.iter_mut().zip(MINUTES) {
            *average = rate + (-minutes / f64::from(over)).exp() * (*average - rate);
        }
    }
}

/// What is remembered from one time to the next.
struct Report {
    start: Instant,
    last: Instant,
    clients_max: u64,
    loads: [Load; LOADS.len()],
}

impl Report {
    fn advance(&mut self, now: &Snapshot, at: Instant) {
        let passed = at - std::mem::replace(&mut self.last, at);
        self.clients_max = self.clients_max.max(now.clients);
        for (load, (_, figure)) in self.loads.iter_mut().zip(LOADS) {
            load.advance(figure(now), passed);
        }
    }

    /// Topics below `$SYS/broker/` and texts.
    fn lines(&self, now: &Snapshot) -> Vec<(String, String)> {
        let uptime = format!("{} seconds", (self.last - self.start).as_secs());
        let mut lines = vec![
            ("version".to_owned(), concat!("tidegate version ", env!("CARGO_PKG_VERSION")).into()),
            ("uptime".to_owned(), uptime),
            ("clients/maximum".to_owned(), self.clients_max.to_string()),
        ];
        lines.extend(FIGURES.map(|(name, figure)| (name.to_owned(), figure(now).to_string())));
        for (load, (name, _)) in self.loads.iter().zip(LOADS) {
            for (average, minutes) in load.averages.iter().zip(MINUTES) {
                lines.push((format!("load/{name}/{minutes}min"), format!("{average:.2}")));
            }
        }
        lines
    }
}

/// Says how the broker is doing until told to stop.
pub(super) async fn report(sessions: &Sessions, mut shutdown: Shutdown) {
    let start = Instant::now();
    let loads = std::array::from_fn(|_| Load::default());
    let mut report = Report { start, last: start, clients_max: 0, loads };
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(report.last + EVERY) => {}
            () = shutdown.wait() => return,
        }
        let now = sessions.shared.counters.snapshot();
        report.advance(&now, Instant::now());
        if sessions.is_wanted_below(FIRST) {
            report.lines(&now).into_iter().for_each(|line| tell(sessions, line));
        }
    }
}

fn tell(sessions: &Sessions, (name, text): (String, String)) {
    // Whatever the configuration says of topics: these are short.
    let topic = Topic::parse(format!("{FIRST}/broker/{name}"), TopicLimits::default());
    if let Ok(topic) = topic {
        let message = Message::new(topic, text, sessions.shared.now_ms());
        sessions.route_now(&Publication::from_message(message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_move_towards_the_rate() {
        let mut load = Load::default();
        for step in 1..=600 {
            load.advance(step * 20, EVERY);
        }
        // 20 in 10 seconds are 120 a minute, for 100 minutes.
        for (average, most) in load.averages.into_iter().zip([1e-9, 1e-6, 0.2]) {
            assert!((average - 120.0).abs() < most, "{:?}", load.averages);
        }
        let mut load = Load::default();
        load.advance(60, EVERY);
        let text = load.averages.map(|average| format!("{average:.2}"));
        assert_eq!(text, ["55.27", "11.80", "3.98"]);
    }

    #[test]
    fn the_topics_are_the_brokers_own() {
        for own in ["$SYS", "$SYS/", "$SYS/broker/uptime"] {
            assert!(is_reserved(own), "{own}");
        }
        for other in ["$SYSTEM", "$sys/pk/dn/x", "a/$SYS", "SYS"] {
            assert!(!is_reserved(other), "{other}");
        }
    }
}
