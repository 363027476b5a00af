//! The spool's numbers, for metrics and `tidegate spool status`.

use std::sync::atomic::Ordering;

use super::shared::Shared;

/// The spool at one moment.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SpoolStatus {
    /// Bytes of log that are kept.
    pub bytes: u64,
    /// Bytes that may be kept.
    pub bytes_limit: u64,
    /// Bytes of records that wait in memory for the disk.
    pub queued_bytes: usize,
    /// Segments that are kept.
    pub segments: usize,
    /// The position of the oldest record that is kept.
    pub oldest: u64,
    /// The position behind the last durable record.
    pub end: u64,
    /// When the oldest segment with a record that a cursor has ahead was begun, in milliseconds since
    /// 1970: no record that waits is older. `None` when none waits.
    pub waiting_since_ms: Option<u64>,
    /// Records made durable since the start.
    pub appended: u64,
    /// Group commits since the start.
    pub commits: u64,
    /// Failed writes and syncs since the start.
    pub errors: u64,
    /// Why nothing is accepted now.
    pub trouble: Option<String>,
    /// Damaged places that readers have met since the start.
    pub damaged: usize,
    /// Records dropped because the log was full, before they were in it.
    pub dropped_newest: u64,
    /// By name.
    pub cursors: Vec<CursorStatus>,
}

/// One cursor at one moment.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CursorStatus {
    /// Its name.
    pub name: String,
    /// The position of the first record that was not committed.
    pub position: u64,
    /// The position that a power cut leaves.
    pub durable: u64,
    /// Records between its position and the end.
    pub backlog: u64,
    /// Bytes of the segments that it has ahead, the one in which it stands counted whole.
    pub backlog_bytes: u64,
    /// Records dropped for it because the log was full.
    pub dropped_full: u64,
    /// Records dropped for it because they were too old.
    pub dropped_age: u64,
    /// Records that it did not get because they were damaged or missing.
    pub lost: u64,
}

impl Shared {
    /// The numbers now; `bytes_limit` is the owner's.
    pub(super) fn status(&self, bytes_limit: u64) -> SpoolStatus {
        let queued_bytes = self.queue().records();
        let end = self.end();
        let state = self.state();
        // The end of each segment, and its bytes with those of all behind it.
        let mut ends: Vec<(u64, u64)> = Vec::with_capacity(state.segments.len());
        for segment in state.segments.values().rev() {
            let behind = ends.last().map_or(0, |(_, bytes)| *bytes);
            ends.push((segment.end, behind + segment.bytes));
        }
        let ahead = |position| match ends.partition_point(|(end, _)| *end > position) {
            0 => 0,
            count => ends.get(count - 1).map_or(0, |(_, bytes)| *bytes),
        };
        let cursors: Vec<CursorStatus> = state
            .places
            .values()
            .map(|place| {
                let position = place.position.load(Ordering::Acquire);
                CursorStatus {
                    name: place.name.to_string(),
                    position,
                    durable: place.durable.load(Ordering::Acquire),
                    backlog: end.saturating_sub(position),
                    backlog_bytes: ahead(position),
                    dropped_full: place.dropped_full.load(Ordering::Relaxed),
                    dropped_age: place.dropped_age.load(Ordering::Relaxed),
                    lost: place.lost.load(Ordering::Relaxed),
                }
            })
            .collect();
        let slowest = cursors.iter().map(|cursor| cursor.position).min().unwrap_or(end);
        let waiting = state.holding(slowest).filter(|_| slowest < end);
        SpoolStatus {
            bytes: self.used.load(Ordering::Acquire),
            bytes_limit,
            queued_bytes,
            segments: state.segments.len(),
            oldest: state.oldest().unwrap_or(end),
            end,
            waiting_since_ms: waiting.map(|segment| segment.created_ms),
            appended: state.appended,
            commits: state.commits,
            errors: state.errors,
            trouble: state.trouble.clone(),
            damaged: state.damage.len(),
            dropped_newest: state.dropped_newest,
            cursors,
        }
    }
}
