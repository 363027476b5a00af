//! How much the spool may hold, and what happens beyond.

use std::time::Duration;

use super::frame::BODY_MAX;

/// What happens to a message for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It is not taken; its sender waits or sends again.
    #[default]
    Block,
    /// The oldest segment makes room, for all cursors that have not passed it.
    DropOldest,
    /// It is dropped.
    DropNewest,
}

/// The bounds of a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Bytes of log that may be kept; at least four segments.
    pub bytes: u64,
    /// A segment whose newest record is older than this is dropped.
    pub max_age: Duration,
    /// What happens when `bytes` is reached.
    pub when_full: WhenFull,
    /// Bytes at which a new segment is begun, and that are reserved for one; fewer when room is short.
    pub segment_bytes: u64,
    /// The longest record, in bytes of its encoding.
    pub record_bytes: usize,
    /// Bytes of records that may wait in memory for the disk.
    pub queue_bytes: usize,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        Self {
            bytes: 8 << 30,
            max_age: Duration::from_secs(7 * 24 * 3600),
            when_full: WhenFull::Block,
            segment_bytes: 32 << 20,
            record_bytes: 4 << 20,
            queue_bytes: 32 << 20,
        }
    }
}

/// Why limits cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitsError {
    /// `bytes` is too small.
    #[error(
        "the spool may hold {bytes} bytes, which are less than four segments of {segment} bytes; raise the limit or make segments smaller"
    )]
    TooFew {
        /// `bytes`.
        bytes: u64,
        /// `segment_bytes`.
        segment: u64,
    },
    /// `segment_bytes` is too small.
    #[error("a segment of the spool has {got} bytes; it needs at least {least}")]
    Segment {
        /// `segment_bytes`.
        got: u64,
        /// The least.
        least: u64,
    },
    /// `record_bytes` or `queue_bytes` is out of bounds.
    #[error(
        "a record of {record} bytes must fit into the queue of {queue} bytes and be no longer than {most} bytes"
    )]
    Record {
        /// `record_bytes`.
        record: usize,
        /// `queue_bytes`.
        queue: usize,
        /// The most.
        most: usize,
    },
}

impl SpoolLimits {
    /// The smallest segment, in bytes.
    pub const SEGMENT_LEAST: u64 = 4096;

    /// Checks that the limits can be kept together.
    ///
    /// # Errors
    /// A [`LimitsError`] that says which cannot.
    pub fn check(&self) -> Result<(), LimitsError> {
        if self.segment_bytes < Self::SEGMENT_LEAST {
            return Err(LimitsError::Segment {
                got: self.segment_bytes,
                least: Self::SEGMENT_LEAST,
            });
        }
        if self.bytes / 4 < self.segment_bytes {
            return Err(LimitsError::TooFew { bytes: self.bytes, segment: self.segment_bytes });
        }
        if self.record_bytes > BODY_MAX || self.record_bytes > self.queue_bytes {
            let (record, queue) = (self.record_bytes, self.queue_bytes);
            return Err(LimitsError::Record { record, queue, most: BODY_MAX });
        }
        Ok(())
    }
}
