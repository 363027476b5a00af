//! The numbers of all parts of the daemon, as `/metrics` shows them.
//!
//! Which metrics there are is in [`crate::engine::metrics`].

use connectors::contract::{AckWhen, OutcomeClass};

use super::status::Status;
use crate::engine::{
    Instead, LaneCounts, METRICS, Metric, MetricsText, Reason, Refused, RuleReport, metrics, spool,
};
use crate::history::Dropped;

impl Status {
    /// All metrics in Prometheus' text format.
    pub(super) fn metrics(&self) -> String {
        let mut text = MetricsText::default();
        let engine = self.engine.counts();
        let dead = self.dead.counts();
        let reports = self.rules.report();
        let refused = self.rules.refused();
        let spool = self.engine.storage().map(|storage| storage.status());
        for metric in METRICS {
            match *metric {
                metrics::MESSAGES_RECEIVED => text.add(*metric, &[], engine.received),
                metrics::MESSAGES_UNMATCHED => text.add(*metric, &[], engine.unmatched),
                metrics::MESSAGES_QUEUED => text.add(*metric, &[], engine.queued),
                metrics::MESSAGES_LONG => text.add(*metric, &[], engine.long),
                metrics::MESSAGES_REFUSED => text.add(*metric, &[], engine.refused),
                metrics::RULES | metrics::RULE_REFUSED | metrics::FILES_REFUSED => {
                    rules_metric(&mut text, *metric, &reports, &refused);
                }
                metrics::RETIRED_QUEUED => text.add(*metric, &[], self.rules.retired()),
                metrics::SPOOL_BYTES
                | metrics::SPOOL_LIMIT
                | metrics::SPOOL_QUEUED
                | metrics::SPOOL_APPENDED
                | metrics::SPOOL_COMMITS
                | metrics::SPOOL_ERRORS
                | metrics::SPOOL_DAMAGED
                | metrics::SPOOL_DROPPED
                | metrics::SPOOL_BACKLOG
                | metrics::SPOOL_WORKS => {
                    if let Some(spool) = &spool {
                        text.add(*metric, &[], of_spool(*metric, spool));
                    }
                }
                metrics::DEAD_LETTERS => text.add(*metric, &[], dead.kept),
                metrics::DEAD_BYTES => text.add(*metric, &[], dead.bytes),
                metrics::DEAD_ADDED => text.add(*metric, &[], dead.added),
                metrics::DEAD_REPLAYED => text.add(*metric, &[], dead.replayed),
                metrics::DEAD_DROPPED => text.add(*metric, &[], dead.dropped),
                metric if metric.name.starts_with("tidegate_mqtt_") => {
                    self.broker_metric(&mut text, metric);
                }
                metrics::SOURCE_PROMISE => {
                    for (source, promise) in &*self.promises {
                        let ack = match promise.ack {
                            AckWhen::Durable => "durable",
                            AckWhen::Received => "received",
                        };
                        let qos0 = if promise.durable { "durable" } else { "memory" };
                        text.add(*metric, &[("source", source), ("ack", ack), ("qos0", qos0)], 1);
                    }
                }
                metrics::DEVICE_CALLS
                | metrics::DEVICE_LOST
                | metrics::DEVICE_FILES
                | metrics::DEVICE_FILE_BYTES => self.device_metric(&mut text, *metric),
                metric if metric.name.starts_with("tidegate_history_") => {
                    self.history_metric(&mut text, metric);
                }
                metrics::MEMORY => text.add(*metric, &[], resident_bytes()),
                metrics::UPTIME => text.add(*metric, &[], self.started.elapsed().as_secs()),
                _ => reports.iter().for_each(|report| rule_metric(&mut text, *metric, report)),
            }
        }
        text.finish()
    }

    fn device_metric(&self, text: &mut MetricsText, metric: Metric) {
        let counts = self.things.counts();
        let calls = counts.calls;
        let calls = [
            ("made", calls.made),
            ("answered", calls.answered),
            ("timed_out", calls.timed_out),
            ("late", calls.late),
        ];
        let lost = [("value", counts.values_lost), ("message", counts.refused)];
        let files = counts.files;
        if metric == metrics::DEVICE_FILE_BYTES {
            return text.add(metric, &[], files.bytes);
        }
        let files = [
            ("completed", files.completed),
            ("refused", files.refused),
            ("failed", files.failed),
            ("dropped", files.dropped),
        ];
        let (label, values) = match metric {
            metrics::DEVICE_CALLS => ("outcome", &calls[..]),
            metrics::DEVICE_FILES => ("outcome", &files[..]),
            _ => ("what", &lost[..]),
        };
        for (value, count) in values {
            text.add(metric, &[(label, value)], *count);
        }
    }

    fn history_metric(&self, text: &mut MetricsText, metric: Metric) {
        if !self.history.is_on() {
            return;
        }
        let counts = self.history.counts();
        match metric {
            metrics::HISTORY_VALUES => text.add(metric, &[], counts.written),
            metrics::HISTORY_BEHIND => text.add(metric, &[], counts.behind),
            metrics::HISTORY_LAG => text.add(metric, &[], counts.lag_ms / 1_000),
            metrics::HISTORY_BYTES => text.add(metric, &[], counts.bytes),
            metrics::HISTORY_WORKS => text.add(metric, &[], u64::from(counts.trouble.is_none())),
            _ => {
                for (reason, count) in Dropped::ALL.iter().zip(counts.dropped) {
                    text.add(metric, &[("reason", reason.as_str())], count);
                }
            }
        }
    }

    fn broker_metric(&self, text: &mut MetricsText, metric: Metric) {
        let counts = self.broker.snapshot();
        match metric {
            metrics::BROKER_CONNECTIONS => text.add(metric, &[], counts.connections),
            metrics::BROKER_SESSIONS => text.add(metric, &[], counts.sessions),
            metrics::BROKER_SUB_DEVICES => text.add(metric, &[], counts.sub_devices),
            metrics::BROKER_EXPIRED => text.add(metric, &[], counts.sessions_expired),
            metrics::BROKER_UNSAVED => text.add(metric, &[], counts.unsaved),
            metrics::BROKER_COMMITS => text.add(metric, &[], counts.commits),
            metrics::BROKER_ERRORS => text.add(metric, &[], counts.commit_errors),
            metrics::BROKER_WORKS => {
                text.add(metric, &[], u64::from(self.broker.trouble().is_none()));
            }
            metrics::BROKER_RECEIVED => text.add(metric, &[], counts.messages_received),
            metrics::BROKER_SENT => text.add(metric, &[], counts.messages_sent),
            metrics::BROKER_CLOSED => {
                for (reason, count) in [
                    ("too_many", counts.connections_refused),
                    ("address", counts.connections_crowded),
                    ("login", counts.logins_failed),
                    (
                        "connect_refused",
                        counts.connects_refused.saturating_sub(counts.logins_failed),
                    ),
                    ("connect_timeout", counts.connect_timeouts),
                    ("handshake", counts.handshakes_failed),
                    ("protocol_error", counts.protocol_errors),
                    ("keep_alive", counts.keep_alive_timeouts),
                    ("takeover", counts.takeovers),
                    ("too_many_sessions", counts.sessions_refused),
                    ("batch_refused", counts.batches_refused),
                ] {
                    text.add(metric, &[("reason", reason)], count);
                }
            }
            _ => {
                for (name, count) in counts.named() {
                    let reason = name.strip_prefix("dropped_").or(name.strip_prefix("refused_"));
                    if let Some(reason) = reason {
                        text.add(metric, &[("reason", reason)], count);
                    }
                }
            }
        }
    }
}

fn of_spool(metric: Metric, spool: &spool::SpoolStatus) -> u64 {
    match metric {
        metrics::SPOOL_BYTES => spool.bytes,
        metrics::SPOOL_LIMIT => spool.bytes_limit,
        metrics::SPOOL_QUEUED => spool.queued_bytes as u64,
        metrics::SPOOL_APPENDED => spool.appended,
        metrics::SPOOL_COMMITS => spool.commits,
        metrics::SPOOL_ERRORS => spool.errors,
        metrics::SPOOL_DAMAGED => spool.damaged as u64,
        metrics::SPOOL_DROPPED => spool.dropped_newest,
        metrics::SPOOL_BACKLOG => {
            spool.cursors.iter().map(|cursor| cursor.backlog).max().unwrap_or(0)
        }
        _ => u64::from(spool.trouble.is_none()),
    }
}

fn state_of(report: &RuleReport) -> &'static str {
    match report.rule.enabled {
        false => "stopped",
        true if report.abnormal.is_empty() => "running",
        true => "abnormal",
    }
}

/// The metrics of all rules together, and of what is refused of rule files.
fn rules_metric(
    text: &mut MetricsText,
    metric: Metric,
    reports: &[RuleReport],
    refused: &[Refused],
) {
    let rules = refused.iter().filter_map(|one| Some((one.rule.as_ref()?, &one.instead)));
    match metric {
        metrics::RULES => {
            for state in ["running", "abnormal", "stopped"] {
                let count = reports.iter().filter(|report| state_of(report) == state).count();
                text.add(metric, &[("state", state)], count as u64);
            }
            text.add(metric, &[("state", "refused")], rules.count() as u64);
        }
        metrics::RULE_REFUSED => {
            for (rule, instead) in rules {
                let earlier = matches!(instead, Instead::Earlier { .. });
                let runs = if earlier { "earlier" } else { "nothing" };
                text.add(metric, &[("rule", rule), ("runs", runs)], 1);
            }
        }
        _ => {
            let files = refused.iter().filter(|one| matches!(one.instead, Instead::File(_)));
            text.add(metric, &[], files.count() as u64);
        }
    }
}

fn rule_metric(text: &mut MetricsText, metric: Metric, report: &RuleReport) {
    let name = report.rule.name.as_str();
    let counts = &report.counts;
    let of_rule = match metric {
        metrics::RULE_RECEIVED => Some(counts.received),
        metrics::RULE_SELECTED => Some(counts.selected),
        metrics::RULE_FILTERED => Some(counts.filtered),
        metrics::RULE_INVALID => Some(counts.invalid),
        metrics::RULE_ABORTED => Some(counts.aborted),
        _ => None,
    };
    if let Some(value) = of_rule {
        text.add(metric, &[("rule", name)], value);
        return;
    }
    if metric == metrics::RULE_SINCE {
        text.add(metric, &[("rule", name)], report.since_ms / 1000);
        return;
    }
    if metric == metrics::RULE_ERRORS {
        for (reason, count) in &counts.errors {
            text.add(metric, &[("rule", name), ("reason", reason)], *count);
        }
        return;
    }
    if matches!(metric, metrics::ACTION_ATTEMPTS | metrics::ACTION_DROPPED | metrics::ACTION_DEAD) {
        for (action, counts) in &report.actions {
            by_label(text, metric, name, action, counts);
        }
        return;
    }
    let of_action = |counts: &LaneCounts| match metric {
        metrics::ACTION_RECEIVED => counts.received,
        metrics::ACTION_DELIVERED => counts.delivered,
        metrics::ACTION_RETRIED => counts.retried,
        metrics::ACTION_FAILED => counts.failed,
        metrics::ACTION_OVERFLOWED => counts.overflowed,
        metrics::ACTION_SPOOLED => counts.spooled,
        metrics::ACTION_BREAKER => counts.breaker.number(),
        metrics::ACTION_PAUSED => u64::from(counts.paused),
        metrics::ACTION_KEYS => counts.keys_left_out,
        metrics::ACTION_UNCONFIRMED => u64::from(counts.unconfirmed),
        _ => counts.queued,
    };
    for (action, counts) in &report.actions {
        text.add(metric, &[("rule", name), ("action", action)], of_action(counts));
    }
}

/// The metrics of an action that have a label of their own.
fn by_label(text: &mut MetricsText, metric: Metric, rule: &str, action: &str, counts: &LaneCounts) {
    let mut add = |label: &str, value: &str, count: u64| {
        text.add(metric, &[("rule", rule), ("action", action), (label, value)], count);
    };
    if metric == metrics::ACTION_ATTEMPTS {
        for (class, count) in OutcomeClass::ALL.iter().zip(counts.tried) {
            add("outcome", class.as_str(), count);
        }
        return;
    }
    let by_reason = if metric == metrics::ACTION_DEAD { counts.dead_by } else { counts.dropped_by };
    for (reason, count) in Reason::ALL.iter().zip(by_reason) {
        add("reason", reason.as_str(), count);
    }
}

/// Resident memory as the system accounts it; 0 where it does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
