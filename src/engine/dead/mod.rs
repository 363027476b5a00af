//! Dead letters: what an action gave up and no error action took, kept on disk until somebody looks at
//! it, mends it, and has it delivered again.
//!
//! It neither decides what is given up nor delivers: the lanes do both, the first through
//! [`DeadLetters::keep`], the second behind [`ReplayTo`].
//!
//! The daemon writes through the one task of `writer`; whoever else looks goes to the `database`: for a
//! `letter` or a `list` of them, and to say which ones a `replay` shall take (`want`).

mod database;
mod letter;
mod list;
mod replay;
#[cfg(test)]
mod tests;
mod want;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use contract::{Message, now_ms};
use tokio::sync::{Notify, mpsc};

pub use database::{Database, FILE};
pub use letter::{State, StoredLetter};
pub use list::{Filter, Group, Listed};
pub use replay::{Done, IN_FLIGHT_BYTES, IN_FLIGHT_MAX, ReplayTo};
pub use want::{Edit, Progress, Wanted};

use rule::store::StoreError;

/// A record that nobody takes.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The name of the rule.
    pub rule: Arc<str>,
    /// The text that tells this version of the rule from others.
    pub version: Arc<str>,
    /// The name of the action, unique within the rule.
    pub action: Arc<str>,
    /// The class of the end: `poison`, `exhausted`, `expired`, `overflow`, …
    pub reason: &'static str,
    /// What the destination said last.
    pub error: String,
    /// How often delivery was tried.
    pub attempts: u32,
    /// Which record of its message it is, from 0.
    pub nth: u32,
    /// The message as it came in.
    pub message: Message,
    /// What the action would have got.
    pub record: Option<Bytes>,
}

/// How much is kept. What was kept longest goes first, and is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLimits {
    /// Letters.
    pub entries: u64,
    /// Bytes of their topics, payloads and records, and some 0.5 KiB for each.
    pub bytes: u64,
}

/// What is kept, and what became of the rest. The last three count since the file was made, over
/// restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeadCounts {
    /// Letters that wait, those included that are being replayed.
    pub kept: u64,
    /// Bytes on account of the limit, those of replayed letters included.
    pub bytes: u64,
    /// Letters that came in.
    pub added: u64,
    /// Letters that were delivered by a replay.
    pub replayed: u64,
    /// Letters that the limit drove out.
    pub dropped: u64,
}

/// Why a letter is not kept, or can't be read. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DeadError {
    /// The database: a full disk, a file that is damaged or may not be written, a newer version.
    #[error("dead letters: {0}")]
    Store(#[from] Arc<StoreError>),
    /// The task that writes is gone: the daemon stops.
    #[error("dead letters: the store is closed because the daemon stops")]
    Closed,
    /// No row fits, or a row that cannot be understood.
    #[error("dead letter {id}: {problem}")]
    Letter {
        /// The letter's number.
        id: u64,
        /// What is wrong with it.
        problem: String,
    },
}

impl From<StoreError> for DeadError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<sqlx::Error> for DeadError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

/// The wall clock, in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The dead letters of a running daemon.
pub struct DeadLetters {
    database: Database,
    writer: mpsc::Sender<writer::Work>,
    counts: Arc<Mutex<DeadCounts>>,
    /// Somebody wants letters replayed, and says so here besides in the database.
    wanted: Notify,
}

impl std::fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetters").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl DeadLetters {
    /// Opens the file, makes it when it is missing, and starts the task that writes. Only one daemon
    /// may have it open; [`Database`] is for everybody else.
    ///
    /// # Errors
    /// A [`DeadError`] when the file can't be used.
    pub async fn open(path: &std::path::Path, limits: DeadLimits) -> Result<Self, DeadError> {
        Self::with_clock(path, limits, Arc::new(now_ms)).await
    }

    /// The same with a clock of one's own.
    ///
    /// # Errors
    /// A [`DeadError`] when the file can't be used.
    pub async fn with_clock(
        path: &std::path::Path,
        limits: DeadLimits,
        clock: Clock,
    ) -> Result<Self, DeadError> {
        let database = Database::create(path).await?;
        let counts = Arc::new(Mutex::default());
        let writer = writer::start(path, limits, clock, Arc::clone(&counts)).await?;
        Ok(Self { database, writer, counts, wanted: Notify::new() })
    }

    /// Keeps letters: they are on disk when it returns, all or none. Callers at the same time share
    /// one transaction. A letter of the same rule, action, message and record takes the place of the
    /// one before: after a crash between keeping and going on, a record is kept again, but once.
    ///
    /// # Errors
    /// A [`DeadError`]; none of the letters is kept.
    pub async fn keep(&self, letters: Vec<DeadLetter>) -> Result<(), DeadError> {
        if letters.is_empty() {
            return Ok(());
        }
        self.write(|reply| writer::Work { letters, ..writer::Work::new(reply) }).await
    }

    /// What is kept, and what became of the rest.
    #[must_use]
    pub fn counts(&self) -> DeadCounts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For looking at the letters.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Tells the replay to look at once for what is wanted; else it looks once a second.
    pub fn look(&self) {
        self.wanted.notify_one();
    }

    async fn write(
        &self,
        work: impl FnOnce(writer::Reply) -> writer::Work,
    ) -> Result<(), DeadError> {
        let (reply, done) = tokio::sync::oneshot::channel();
        self.writer.send(work(reply)).await.map_err(|_| DeadError::Closed)?;
        done.await.unwrap_or(Err(DeadError::Closed))
    }
}
