//! What the daemon says about itself in words: readiness, what works badly, what an acknowledgement
//! promises, and what waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use connectors::contract::{Promise, now_ms};

use crate::api::{CursorStatus, Dropped, PromiseText, SpoolStatus};
use crate::broker::BrokerHandle;
use crate::engine::dead::DeadLetters;
use crate::engine::{Engine, RuleSet, spool};
use crate::history::History;
use crate::thing::Things;

/// What an acknowledgement means with the log on disk.
const PROMISE_DURABLE: PromiseText = PromiseText {
    short: "what is acknowledged is on disk",
    full: "an acknowledged message of QoS 1, or of a source that is `durable`, is on disk and reaches every action of every rule that matched it, or its error action, or the dead letters, at least once; sources with `ack: received` and QoS 0 are only in memory at first",
};

/// What a QoS 1 acknowledgement means without a log on disk.
const PROMISE_IN_MEMORY: PromiseText = PromiseText {
    short: "what is acknowledged is in memory only",
    full: "an acknowledged message is in the daemon's memory: what waits there is lost when the process or the power ends",
};

/// Where the numbers come from.
#[derive(Clone)]
pub(super) struct Status {
    pub(super) engine: Arc<Engine>,
    pub(super) rules: Arc<RuleSet>,
    pub(super) broker: BrokerHandle,
    /// What each source promises, by its name.
    pub(super) promises: Arc<[(String, Promise)]>,
    pub(super) dead: Arc<DeadLetters>,
    pub(super) things: Things,
    pub(super) history: History,
    pub(super) started: Instant,
}

impl Status {
    /// Nothing, when all listeners and rules are up; otherwise what is not.
    pub(super) fn unready(&self) -> Vec<String> {
        let spool = self.engine.storage().and_then(|storage| storage.status().trouble);
        let spool = spool
            .map(|trouble| format!("the spool cannot write, nothing is acknowledged: {trouble}"));
        let kept = self.broker.trouble();
        let kept = kept.map(|trouble| {
            format!(
                "MQTT sessions cannot be written, what is for them is not acknowledged: {trouble}"
            )
        });
        let all = self.rules.problems().into_iter().chain(spool).chain(kept);
        all.map(|text| hosts_only(&text)).collect()
    }

    /// Rules whose actions do not work at present, and a history that is behind.
    pub(super) fn abnormal(&self) -> Vec<String> {
        let long = self.engine.counts().long;
        let long = (long > 0).then(|| {
            format!("{long} evaluations have taken more than a second and still go on; the log has their positions")
        });
        let files = self.things.counts().files.trouble;
        let files = files.map(|trouble| format!("files of devices cannot be kept: {trouble}"));
        let rules = self.rules.abnormal();
        let history = self.history.abnormal().map(|text| hosts_only(&text));
        let rest = long.into_iter().chain(files).chain(history);
        rules.iter().map(|text| hosts_only(text)).chain(rest).collect()
    }

    /// What an acknowledgement means at present.
    pub(super) fn promise(&self) -> PromiseText {
        match self.engine.storage() {
            Some(_) => PROMISE_DURABLE,
            None => PROMISE_IN_MEMORY,
        }
    }

    /// The actions that count records as delivered before their destination has said that it keeps
    /// them, as `rule/action`.
    fn unconfirmed(&self) -> Vec<String> {
        let reports = self.rules.report();
        let actions = reports.iter().flat_map(|report| {
            let unconfirmed = report.actions.iter().filter(|(_, counts)| counts.unconfirmed);
            unconfirmed.map(|(action, _)| format!("{}/{action}", report.rule.name))
        });
        actions.collect()
    }

    /// What an acknowledgement means, and what waits.
    pub(super) fn spool(&self) -> SpoolStatus {
        let status = SpoolStatus {
            promise: self.promise().short.to_owned(),
            promise_in_full: self.promise().full.to_owned(),
            backlog_records: self.rules.queued(),
            trouble: self.abnormal(),
            unconfirmed: self.unconfirmed(),
            ..SpoolStatus::default()
        };
        let Some(log) = self.engine.storage().map(|storage| storage.status()) else {
            return status;
        };
        let lanes = self.rules.lanes();
        let by_name: HashMap<&str, &spool::CursorStatus> =
            log.cursors.iter().map(|cursor| (cursor.name.as_str(), cursor)).collect();
        let cursors = lanes.iter().filter_map(|lane| {
            let cursor = by_name.get(lane.cursor()?)?;
            let counts = lane.counts();
            let waits = counts.queued > 0 || counts.behind;
            // The version is a hash of the rule: not for those that have nothing to say.
            let bytes = if waits { cursor.backlog_bytes } else { 0 };
            (counts.queued > 0 || bytes > 0).then(|| CursorStatus {
                rule: lane.rule().name.clone(),
                version: lane.version(),
                action: lane.name().to_string(),
                backlog_records: counts.queued,
                backlog_bytes: bytes,
                oldest_ms: log.waiting_since_ms.map(|since| now_ms().saturating_sub(since)),
            })
        });
        let cursors: Vec<CursorStatus> = cursors.collect();
        let sum = |of: fn(&spool::CursorStatus) -> u64| log.cursors.iter().map(of).sum::<u64>();
        let dropped = [
            ("full, newest", log.dropped_newest),
            ("full, oldest", sum(|cursor| cursor.dropped_full)),
            ("age", sum(|cursor| cursor.dropped_age)),
            ("damage", sum(|cursor| cursor.lost)),
        ];
        let dropped = dropped.into_iter().filter(|(_, count)| *count > 0);
        SpoolStatus {
            enabled: true,
            bytes: log.bytes,
            bytes_max: log.bytes_limit,
            backlog_bytes: cursors.iter().map(|cursor| cursor.backlog_bytes).max().unwrap_or(0),
            cursors,
            dropped: dropped
                .map(|(reason, count)| Dropped { reason: reason.to_owned(), count })
                .collect(),
            trouble: log.trouble.into_iter().chain(status.trouble.clone()).collect(),
            ..status
        }
    }
}

/// A text for everybody: its URLs end after the host, since the rest can be a secret.
fn hosts_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after.find(|c: char| c.is_whitespace() || "`\"'<>".contains(c));
        let (url, beyond) = after.split_at(end.unwrap_or(after.len()));
        let bare = url.trim_end_matches([':', ',', ';', '.', ')']);
        let (host, path) = bare.split_at(bare.find(['/', '?', '#']).unwrap_or(bare.len()));
        out.push_str(host.rsplit('@').next().unwrap_or(host));
        out.push_str(if path.is_empty() { "" } else { "/…" });
        out.push_str(url.get(bare.len()..).unwrap_or_default());
        rest = beyond;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_end_after_the_host() {
        for (text, want) in [
            ("no URL: a/b", "no URL: a/b"),
            ("http://h/secret?k=v: refused", "http://h/…: refused"),
            (
                "rule `r`: https://u:p@h:8443/a/b answered 404",
                "rule `r`: https://h:8443/… answered 404",
            ),
            ("`http://h/x`, http://h", "`http://h/…`, http://h"),
            ("http://h#x http://[::1]:9/y.", "http://h/… http://[::1]:9/…."),
            ("a://", "a://"),
        ] {
            assert_eq!(hosts_only(text), want);
        }
    }
}
