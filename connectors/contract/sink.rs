//! The way out: what a sink promises, and what it may answer.

use super::{Preview, Record};

/// Delivers records to one destination. It speaks the protocol and says what happened; deadlines,
/// retry, batching, the error action and acknowledgement belong to the engine.
#[async_trait::async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Delivers records in order and answers one outcome per record, in the same order. Never
    /// retries, never sleeps, may be dropped at any await (a deadline has passed).
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
            FailureKind::Unreachable | FailureKind::Busy | FailureKind::Timeout => {
                Self::Retry(error)
            }
            FailureKind::Misconfigured | FailureKind::Denied => Self::Misconfigured(error),
            FailureKind::Rejected => Self::Poison(error),
        }
    }

    /// The same failure for every record of a batch.
    #[must_use]
    pub fn all(error: &DeliveryError, count: usize) -> Vec<Self> {
        vec![Self::from_error(error.clone()); count]
    }
}

/// Kinds of failure; the names label metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No connection.
    Unreachable,
    /// The destination or a local queue is full.
    Busy,
    /// No answer in time.
    Timeout,
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
}

impl DeliveryError {
    /// An error of a kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}
