//! The way out: what a sink promises, and what it may answer.

use std::time::Duration;

use super::{Preview, Record};

/// Delivers records to one destination. It speaks the protocol and says what happened; deadlines,
/// retry, batching, the error action and acknowledgement belong to the engine.
#[async_trait::async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Delivers records in order and answers one outcome per record, in the same order. Never
    /// retries, never sleeps, may be dropped at any await (a deadline has passed). After a record that
    /// it answers `Retry` or `Misconfigured` for, it sends none of the same device in the same call, as
    /// far as the protocol lets it: the engine tries that one again, and order is kept.
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome>;

    /// Reaches the destination without delivering anything (`tidegate check --connect`).
    ///
    /// # Errors
    /// Why the destination can't be used.
    async fn check(&self) -> Result<(), DeliveryError>;

    /// What the error envelope calls `actionResource`: a topic, a table, a URL without secrets.
    fn resource(&self) -> String;

    /// What would be sent for a record: rendered by the same code as in `deliver`, but nothing is
    /// reached and passwords of the settings are left out. A sink without templates sends the record
    /// as it is.
    ///
    /// # Errors
    /// Why the record can never be delivered.
    fn preview(&self, record: &Record) -> Result<Preview, DeliveryError> {
        Ok(Preview::of(record))
    }

    /// Records in one `deliver` call that serve this sink best; the engine gives at most as many.
    fn batch_max(&self) -> usize {
        1
    }

    /// What [`Outcome::Ok`] means here.
    fn confirms(&self) -> Confirms {
        Confirms::Kept
    }

    /// Keys of records that were left out since the start, because the destination can't have them.
    fn keys_left_out(&self) -> u64 {
        0
    }
}

/// How much a sink knows when it answers [`Outcome::Ok`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirms {
    /// The destination has said that it has the record, or the record is on disk.
    Kept,
    /// The record was handed over, and nobody has said that it is kept: a power cut, or the end of a
    /// connection, can lose it. The owner has chosen so, or the destination can't say it.
    HandedOver,
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The destination has confirmed it.
    Ok,
    /// It may succeed later: not reachable, busy, timed out.
    Retry(DeliveryError),
    /// It can't succeed until somebody changes the configuration: no such table, access denied.
    Misconfigured(DeliveryError),
    /// This record can never be delivered, others can: a value of the wrong type.
    Poison(DeliveryError),
}

impl Outcome {
    /// The outcome that fits the kind of an error.
    #[must_use]
    pub fn from_error(error: DeliveryError) -> Self {
        match error.kind {
            FailureKind::Unreachable
            | FailureKind::Busy
            | FailureKind::Timeout
            | FailureKind::Unknown => Self::Retry(error),
            FailureKind::Misconfigured | FailureKind::Denied => Self::Misconfigured(error),
            FailureKind::Rejected => Self::Poison(error),
        }
    }

    /// What the outcome means for what comes next.
    #[must_use]
    pub fn class(&self) -> OutcomeClass {
        match self {
            Self::Ok => OutcomeClass::Ok,
            Self::Retry(error) if error.kind == FailureKind::Unknown => OutcomeClass::Unknown,
            Self::Retry(_) => OutcomeClass::Transient,
            Self::Misconfigured(_) => OutcomeClass::Misconfigured,
            Self::Poison(_) => OutcomeClass::Poison,
        }
    }

    /// The same failure for every record of a batch.
    #[must_use]
    pub fn all(error: &DeliveryError, count: usize) -> Vec<Self> {
        vec![Self::from_error(error.clone()); count]
    }
}

/// Classes of outcome; the names label metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutcomeClass {
    /// Confirmed.
    Ok,
    /// Not delivered; a later try may succeed.
    Transient,
    /// Perhaps delivered; tried again under the same key.
    Unknown,
    /// Somebody has to change the configuration first.
    Misconfigured,
    /// This record can never be delivered.
    Poison,
}

impl OutcomeClass {
    /// All of them, each at the place that its number says.
    pub const ALL: [Self; 5] =
        [Self::Ok, Self::Transient, Self::Unknown, Self::Misconfigured, Self::Poison];

    /// The label in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Transient => "transient",
            Self::Unknown => "unknown",
            Self::Misconfigured => "misconfigured",
            Self::Poison => "poison",
        }
    }
}

/// Kinds of failure; the names label metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No connection.
    Unreachable,
    /// The destination or a local queue is full.
    Busy,
    /// The destination says, or it is known, that time ran out before the record was taken.
    Timeout,
    /// The record was sent and no answer came: it may have been taken.
    Unknown,
    /// The destination does not know what the action names.
    Misconfigured,
    /// The destination refuses access.
    Denied,
    /// The destination refuses this record.
    Rejected,
}

impl FailureKind {
    /// The label in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::Unknown => "unknown",
            Self::Misconfigured => "misconfigured",
            Self::Denied => "denied",
            Self::Rejected => "rejected",
        }
    }
}

/// Why a delivery failed, in a text without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DeliveryError {
    /// The kind, for the engine and the metrics.
    pub kind: FailureKind,
    /// What happened, for people.
    pub message: String,
    /// How long the destination asks to be left alone; the engine heeds it within a bound.
    pub retry_after: Option<Duration>,
}

/// Bytes of a message of an error, which logs, `/readyz` and dead letters repeat.
const MESSAGE_MAX: usize = 2_000;

impl DeliveryError {
    /// An error of a kind. Of a message of more than 2,000 bytes, as a destination may send one that
    /// repeats a value, the rest is left out.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_MAX));
            message.push('…');
        }
        Self { kind, message, retry_after: None }
    }

    /// The same error of a place (a topic, a path, a column) that the record itself has named when
    /// `named` holds: then only this record is to blame, and the action goes on with others.
    #[must_use]
    pub fn of_place(mut self, named: bool) -> Self {
        if named && matches!(self.kind, FailureKind::Misconfigured | FailureKind::Denied) {
            self.kind = FailureKind::Rejected;
        }
        self
    }
}
