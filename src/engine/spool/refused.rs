//! What appends come to: stored, or refused and why.
//!
//! Who decides is [`super::queue`] (at once) and [`super::log`] (when it is written).

use super::log::WriteError;

/// The longest name of a cursor, in bytes.
pub(super) const NAME_MAX: usize = 1024;

/// Why messages or cursors were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The log has reached its limit; wait for [`super::Spool::room`].
    #[error(
        "the spool is full: {used} of {limit} bytes; deliver or drop what waits, or raise the limit"
    )]
    Full {
        /// Bytes that are kept and queued.
        used: u64,
        /// The limit.
        limit: u64,
    },
    /// The disk does not keep up; wait for [`super::Spool::room`].
    #[error("{queued} bytes wait for the disk already, at most {limit} may")]
    Busy {
        /// Bytes that wait.
        queued: usize,
        /// The limit.
        limit: usize,
    },
    /// A message is longer than a record may be. It will never be taken.
    #[error(
        "a message takes {got} bytes in the spool, at most {most} are allowed; send less or raise the limit"
    )]
    TooLong {
        /// Bytes of the record.
        got: usize,
        /// The limit.
        most: usize,
    },
    /// A cursor's name is too long.
    #[error("the name of a cursor has {got} bytes, at most {NAME_MAX} are allowed")]
    Name {
        /// Bytes of the name.
        got: usize,
    },
    /// The write failed. Nothing was stored.
    #[error(transparent)]
    Failed(#[from] WriteError),
    /// The spool was closed.
    #[error("the spool is closed; nothing of this was stored")]
    Closed,
}

impl Refused {
    /// Whether it may be taken when there is room ([`super::Spool::room`]).
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Busy { .. })
    }

    /// Checks the length of a cursor's name.
    pub(super) fn check_name(name: &str) -> Result<(), Self> {
        if name.len() > NAME_MAX { Err(Self::Name { got: name.len() }) } else { Ok(()) }
    }
}

/// What was not taken, whole: it may be offered again.
pub struct NotTaken<P, T, F> {
    /// Why.
    pub why: Refused,
    /// What was offered.
    pub offered: P,
    /// Whose it is.
    pub owner: T,
    /// What was to be called. It was not.
    pub done: F,
}

impl<P, T, F> std::fmt::Debug for NotTaken<P, T, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NotTaken").field("why", &self.why).finish_non_exhaustive()
    }
}

/// What became of messages that were appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The position of the first message; the others follow.
    pub first: u64,
    /// How many were stored: all of them, or none when they were dropped by
    /// [`super::WhenFull::DropNewest`].
    pub count: u64,
    /// How many were dropped, which is counted.
    pub dropped: u64,
}

/// Whose messages ask for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Room {
    /// A source's, which can wait or send again: the limits of the spool hold.
    #[default]
    Source,
    /// The daemon's own, which come of messages that were taken before (error envelopes, republished
    /// messages): they may exceed the limits by an eighth, so that delivery is not stuck behind what it
    /// frees, and [`super::WhenFull::DropNewest`] drops none of them.
    Internal,
}
