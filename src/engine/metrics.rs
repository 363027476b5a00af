//! What is counted, by whatever part of the daemon: one list of metrics, and how they are written down.
//!
//! Rendering is Prometheus' text format. Labels are rules, actions and closed sets, never topics or
//! devices.

use std::fmt::Write as _;

/// A metric that `/metrics` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name, with its unit.
    pub name: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// What it tells.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $kind:literal $name:literal: $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: Metric =
            Metric { name: $name, kind: $kind, help: $help };)*
        /// All metrics, sorted by name within their part of the daemon.
        pub const METRICS: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    MESSAGES_RECEIVED = "counter" "tidegate_messages_received_total": "messages that the engine has evaluated";
    MESSAGES_UNMATCHED = "counter" "tidegate_messages_unmatched_total": "messages that no rule's topic filter matched";
    MESSAGES_QUEUED = "gauge" "tidegate_messages_queued": "messages that wait for evaluation";
    MESSAGES_LONG = "gauge" "tidegate_messages_evaluated_long": "evaluations of a message that have taken more than a second and still go on";
    MESSAGES_REFUSED = "counter" "tidegate_messages_refused_total": "messages that the spool could not write; who sent them was not told that they are accepted";
    RULES = "gauge" "tidegate_rules": "rules by state: running, abnormal (an action is paused or its destination does not work), stopped, refused (of a rule file that is wrong there; an earlier version may run)";
    RULE_REFUSED = "gauge" "tidegate_rule_refused": "1 for each rule that is refused as its file has it, with what runs in its place: earlier (its last good version) or nothing";
    FILES_REFUSED = "gauge" "tidegate_rule_files_refused": "rule files that cannot be read as a whole; the rules of their last good versions run";
    RULE_SINCE = "gauge" "tidegate_rule_version_timestamp_seconds": "when the version of the rule that runs came to run";
    RULE_RECEIVED = "counter" "tidegate_rule_received_total": "messages whose topic the rule's filter matched";
    RULE_SELECTED = "counter" "tidegate_rule_selected_total": "messages of which the rule selected at least one record";
    RULE_FILTERED = "counter" "tidegate_rule_filtered_total": "messages for which WHERE was not true";
    RULE_INVALID = "counter" "tidegate_rule_invalid_payload_total": "messages whose payload is no valid JSON";
    RULE_ABORTED = "counter" "tidegate_rule_aborted_total": "messages for which an error ended the evaluation";
    RULE_ERRORS = "counter" "tidegate_rule_eval_errors_total": "items that became MISSING by an evaluation error, by reason; too_costly: it would take more than `limits.sql.work`";
    ACTION_RECEIVED = "counter" "tidegate_action_received_total": "records given to the action";
    ACTION_DELIVERED = "counter" "tidegate_action_delivered_total": "records that the destination confirmed";
    ACTION_ATTEMPTS = "counter" "tidegate_action_attempts_total": "tries to deliver a record, by outcome: ok, transient, unknown (perhaps delivered), misconfigured, poison";
    ACTION_RETRIED = "counter" "tidegate_action_retried_total": "further tries to deliver a record";
    ACTION_FAILED = "counter" "tidegate_action_failed_total": "records given up";
    ACTION_DROPPED = "counter" "tidegate_action_dropped_total": "records given up for which there is no error action, by reason: poison, exhausted (all scheduled tries failed), expired, overflow, log (the spool's limit or damage), stalled (the daemon ended over it again and again)";
    ACTION_DEAD = "counter" "tidegate_action_dead_lettered_total": "records given up that are dead letters now, by reason";
    ACTION_OVERFLOWED = "counter" "tidegate_action_overflowed_total": "records given up because the action's queue was full";
    ACTION_QUEUED = "gauge" "tidegate_action_queued": "records that wait or are being delivered";
    ACTION_SPOOLED = "gauge" "tidegate_action_spooled": "of the queued records: those that only the spool has; what an earlier run left is counted when it is read";
    ACTION_BREAKER = "gauge" "tidegate_action_breaker_state": "the action's circuit breaker: 0 closed, 1 half open (a probe is under way), 2 open";
    ACTION_PAUSED = "gauge" "tidegate_action_paused": "1 while a wrong configuration pauses the action";
    ACTION_KEYS = "counter" "tidegate_action_keys_left_out_total": "keys of records that were left out of rows, because no column can be called so";
    ACTION_UNCONFIRMED = "gauge" "tidegate_action_unconfirmed": "1 for an action whose records count as delivered before their destination has said that it keeps them: file with sync: never, log, mqtt and republish at QoS 0";
    RETIRED_QUEUED = "gauge" "tidegate_retired_queued": "records that wait for earlier versions of changed or removed rules";
    SPOOL_BYTES = "gauge" "tidegate_spool_bytes": "bytes of log that the spool keeps";
    SPOOL_LIMIT = "gauge" "tidegate_spool_limit_bytes": "bytes of log that the spool may keep";
    SPOOL_QUEUED = "gauge" "tidegate_spool_queued_bytes": "bytes that wait in memory for the disk";
    SPOOL_APPENDED = "counter" "tidegate_spool_appended_total": "messages made durable";
    SPOOL_COMMITS = "counter" "tidegate_spool_commits_total": "group commits, each one sync of the disk";
    SPOOL_ERRORS = "counter" "tidegate_spool_errors_total": "writes and syncs that failed";
    SPOOL_DAMAGED = "counter" "tidegate_spool_damaged_total": "damaged places that readers have met";
    SPOOL_DROPPED = "counter" "tidegate_spool_dropped_total": "messages that the full spool did not take (drop_newest), before any rule saw them";
    SPOOL_BACKLOG = "gauge" "tidegate_spool_backlog": "messages that the action, or the history, furthest behind has ahead of it";
    SPOOL_WORKS = "gauge" "tidegate_spool_writable": "1 while the spool can write; 0 while nothing is acknowledged";
    DEAD_LETTERS = "gauge" "tidegate_dead_letters": "dead letters that are kept";
    DEAD_BYTES = "gauge" "tidegate_dead_letter_bytes": "bytes of dead letters, and of the last ones that were replayed";
    DEAD_ADDED = "counter" "tidegate_dead_letters_added_total": "dead letters that came in, over restarts";
    DEAD_REPLAYED = "counter" "tidegate_dead_letters_replayed_total": "dead letters that a replay delivered, over restarts";
    DEAD_DROPPED = "counter" "tidegate_dead_letters_dropped_total": "dead letters that the limit drove out, over restarts";
    BROKER_CONNECTIONS = "gauge" "tidegate_mqtt_connections": "MQTT clients that are connected";
    BROKER_SESSIONS = "gauge" "tidegate_mqtt_sessions": "sessions of MQTT clients, those of absent clients included (at most limits.mqtt.sessions)";
    BROKER_SUB_DEVICES = "gauge" "tidegate_mqtt_sub_devices": "devices that are logged in over a gateway's connection";
    BROKER_EXPIRED = "counter" "tidegate_mqtt_sessions_expired_total": "sessions that ended because their clients were absent for longer than they, or limits.mqtt.session_expiry_s, say";
    BROKER_UNSAVED = "gauge" "tidegate_mqtt_sessions_unsaved": "sessions with changes that are not on disk yet";
    BROKER_COMMITS = "counter" "tidegate_mqtt_sessions_commits_total": "group commits of what sessions keep and of retained messages";
    BROKER_ERRORS = "counter" "tidegate_mqtt_sessions_errors_total": "group commits of what sessions keep that failed";
    BROKER_WORKS = "gauge" "tidegate_mqtt_sessions_writable": "1 while what sessions keep can be written; 0 while messages for them are not acknowledged";
    BROKER_RECEIVED = "counter" "tidegate_mqtt_received_total": "MQTT messages received from clients";
    BROKER_SENT = "counter" "tidegate_mqtt_sent_total": "MQTT messages sent to clients";
    BROKER_CLOSED = "counter" "tidegate_mqtt_closed_total": "MQTT connections and batches that the broker ended or refused, by reason";
    BROKER_DROPPED = "counter" "tidegate_mqtt_dropped_total": "MQTT messages dropped, by reason";
    DEVICE_CALLS = "counter" "tidegate_device_calls_total": "requests to devices that somebody waits for, by outcome: made, answered, timed_out, late (answers that nobody waited for any more)";
    DEVICE_LOST = "counter" "tidegate_device_lost_total": "what could not be kept of devices: value (last values of properties), message (shadows, tags and topology, when too much waited for the database)";
    DEVICE_FILE_BYTES = "gauge" "tidegate_device_file_bytes": "bytes of files that devices have sent (at most files.max_bytes)";
    DEVICE_FILES = "counter" "tidegate_device_file_messages_total": "messages about files of devices, by outcome: completed (the last part of a file), refused (the device was told why), failed (the store or the disk did), dropped (too large, or too many at once)";
    HISTORY_VALUES = "counter" "tidegate_history_values_total": "values of devices that were written to the history";
    HISTORY_DROPPED = "counter" "tidegate_history_dropped_total": "what the history did not keep, by reason: queue (messages that the log does not keep, faster than they could be written), log (messages that the log could not keep for it any longer), and values: old, future (more than a day ahead), crowded (more than 2047 in a millisecond), identifier (too long)";
    HISTORY_BEHIND = "gauge" "tidegate_history_behind": "messages of the log that the history has ahead of it";
    HISTORY_LAG = "gauge" "tidegate_history_lag_seconds": "how long ago everything was written to the history; 0 when nothing waits";
    HISTORY_BYTES = "gauge" "tidegate_history_bytes": "bytes that the history takes, as of the last look at what is too old";
    HISTORY_WORKS = "gauge" "tidegate_history_writable": "1 while the history can be written";
    SOURCE_PROMISE = "gauge" "tidegate_source_promise": "1, with the promise in force for each source: ack is durable (acknowledged when on disk) or received (when in memory: a crash loses what was not yet on disk); qos0 is memory or durable";
    MEMORY = "gauge" "tidegate_resident_memory_bytes": "memory of the process";
    UPTIME = "gauge" "tidegate_uptime_seconds": "time since the start";
}

/// Writes metrics in Prometheus' text format.
#[derive(Debug, Default)]
pub struct MetricsText {
    text: String,
    last: &'static str,
}

impl MetricsText {
    /// Adds a value with its labels. Values of one metric follow each other.
    pub fn add(&mut self, metric: Metric, labels: &[(&str, &str)], value: u64) {
        if self.last != metric.name {
            let Metric { name, kind, help } = metric;
            writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
            self.last = name;
        }
        self.text.push_str(metric.name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            write!(self.text, "{open}{label}=\"{value}\"").ok();
        }
        let close = if labels.is_empty() { "" } else { "}" };
        writeln!(self.text, "{close} {value}").ok();
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}
