//! What makes delivery survive: the log, the journal of rule versions, the dead letters; and how far
//! the shards have come with what is in the log.
//!
//! The `journal` knows which version of a rule each cursor of the log was made for, `progress` what the
//! shards have yet to do. Who acknowledges a message after it is in the log is the engine
//! ([`super::dispatch`]); who reads it again is a lane ([`super::delivery`]).

mod follow;
pub(super) mod journal;
mod progress;

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contract::{DeviceFacts, Message};
use foldhash::fast::FixedState;
use tokio::sync::{Notify, Semaphore};

pub use self::follow::{Followed, Follower};
use self::journal::{Journal, Version};
use self::progress::Progress;
use super::dead::DeadLetters;
use super::spool::{Cursor, OpenError, Recovered, Spool, SpoolLimits, SpoolStatus};
use super::watch::Watch;

/// Lanes that read the log at the same time: each takes a thread and some megabytes meanwhile.
const READS_MAX: usize = 4;

/// Why what makes delivery survive cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The log.
    #[error(transparent)]
    Spool(#[from] OpenError),
    /// The journal of rule versions.
    #[error(
        "the journal of rule versions {file} cannot be read: {source}; records that wait for earlier versions of rules need it"
    )]
    Journal {
        /// The file.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// What the last runs have ended over.
    #[error("`attempts.json` in {folder} cannot be read: {source}; it may be deleted")]
    Attempts {
        /// The folder.
        folder: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The log and what belongs to it.
pub struct Storage {
    pub(super) spool: Spool,
    pub(super) dead: Option<Arc<DeadLetters>>,
    pub(super) progress: Progress,
    pub(super) facts: Arc<dyn DeviceFacts>,
    pub(super) reads: Semaphore,
    /// Messages whose evaluation takes too long.
    pub(super) watch: Arc<Watch>,
    /// The daemon ends: lanes make no further call, so that what the cursors say stays true.
    ending: AtomicBool,
    ended: Notify,
    journal: Mutex<Journal>,
    unclaimed: Mutex<Unclaimed>,
    /// Part of the names of new cursors.
    serial: AtomicU64,
    clock: fn() -> u64,
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage").field("spool", &self.spool).finish_non_exhaustive()
    }
}

/// Cursors of the last run that no rule has claimed yet.
struct Unclaimed {
    /// By what they serve, the oldest first: a rule that was stopped and started again may have left
    /// several.
    open: HashMap<String, Vec<String>>,
    /// Those whose action had been changed or removed.
    ended: Vec<String>,
}

impl Storage {
    /// Opens the log in a folder for an engine with so many shards. `clock` is the wall clock in
    /// milliseconds since 1970.
    ///
    /// # Errors
    /// A [`StorageError`] that says what to do.
    pub fn open(
        folder: &Path,
        limits: SpoolLimits,
        shards: usize,
        facts: Arc<dyn DeviceFacts>,
        dead: Option<Arc<DeadLetters>>,
        clock: fn() -> u64,
    ) -> Result<(Arc<Self>, Recovered), StorageError> {
        let (spool, recovered) = Spool::open(folder, limits)?;
        Ok((Self::over(spool, folder, shards, facts, dead, clock)?, recovered))
    }

    /// The same with a log that is open.
    pub(super) fn over(
        spool: Spool,
        folder: &Path,
        shards: usize,
        facts: Arc<dyn DeviceFacts>,
        dead: Option<Arc<DeadLetters>>,
        clock: fn() -> u64,
    ) -> Result<Arc<Self>, StorageError> {
        let path = folder.join(journal::FILE);
        let known: Vec<String> =
            spool.cursors().iter().map(|cursor| cursor.name().to_owned()).collect();
        let journal = Journal::open(&path, &known)
            .map_err(|source| StorageError::Journal { file: path.display().to_string(), source })?;
        let (ended, open) = known.into_iter().partition(|name| journal.end(name).is_some());
        let open: Vec<String> = open;
        let mut unclaimed = Unclaimed { open: HashMap::new(), ended };
        for name in open {
            unclaimed.open.entry(served_by(&name).to_owned()).or_default().push(name);
        }
        let unclaimed = Mutex::new(unclaimed);
        let progress = Progress::new(shards, spool.end());
        let watch = Watch::open(Some(folder), spool.status().oldest).map_err(|source| {
            StorageError::Attempts { folder: folder.display().to_string(), source }
        })?;
        let storage = Self {
            spool,
            dead,
            progress,
            facts,
            reads: Semaphore::new(READS_MAX),
            watch: Arc::new(watch),
            ending: AtomicBool::new(false),
            ended: Notify::new(),
            journal: Mutex::new(journal),
            unclaimed,
            serial: AtomicU64::new(clock()),
            clock,
        };
        Ok(Arc::new(storage))
    }

    /// The numbers of the log.
    #[must_use]
    pub fn status(&self) -> SpoolStatus {
        self.spool.status()
    }

    /// The wall clock, in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// True when lanes shall make no further call.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Whether a shard or a lane has moved since the last call.
    pub(super) fn was_stirred(&self) -> bool {
        self.progress.was_stirred()
    }

    /// Waits until lanes shall make no further call.
    pub(super) async fn ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.is_ending() {
                return;
            }
            ended.await;
        }
    }

    /// Tells the lanes to make no further call, so that what the cursors say stays true.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.ended.notify_waiters();
    }

    /// How many shards there are.
    pub(super) fn shards(&self) -> usize {
        self.progress.shards()
    }

    /// The cursor of the last run that serves this, or a new name.
    pub(super) fn claim(&self, serves: &str) -> String {
        let mut unclaimed = self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner);
        let found = unclaimed.open.get_mut(serves).and_then(Vec::pop);
        found.unwrap_or_else(|| {
            let serial = self.serial.fetch_add(1, Ordering::Relaxed);
            format!("{serves}.{serial:x}")
        })
    }

    /// Takes back what was claimed and could not be opened.
    pub(super) fn give_back(&self, name: String) {
        let mut unclaimed = self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner);
        unclaimed.open.entry(served_by(&name).to_owned()).or_default().push(name);
    }

    /// The cursors of the last run that no rule has claimed, with what they were made for.
    pub(super) fn take_unclaimed(&self) -> Vec<(Cursor, Option<Version>)> {
        let mut unclaimed = self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: HashSet<String> = unclaimed.ended.drain(..).collect();
        names.extend(unclaimed.open.drain().flat_map(|(_, names)| names));
        drop(unclaimed);
        let journal = self.journal();
        let cursors = self.spool.cursors().into_iter();
        cursors
            .filter(|cursor| names.contains(cursor.name()))
            .map(|cursor| (journal.version(cursor.name()), cursor))
            .map(|(version, cursor)| (cursor, version))
            .collect()
    }

    /// All rules of the start have claimed their cursors: what none needs may be deleted.
    pub(super) fn cursors_complete(&self) {
        if let Err(error) = self.spool.cursors_complete() {
            tracing::warn!(%error, "the log keeps what nobody needs until the next start");
        }
    }

    /// Ends in order: no lane makes a further call, the cursors are durable. Blocks meanwhile.
    pub fn close(&self) {
        match self.spool.flush().and_then(super::spool::Ticket::wait) {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "some deliveries may be repeated"),
        }
    }

    /// Removes cursors that nobody needs any more.
    pub(super) fn let_go(&self, cursors: &[&str]) {
        match self.spool.remove_cursors(cursors) {
            // It is done when it is done; if it fails they are found, and let go, at the next start.
            Ok(ticket) => drop(ticket),
            Err(error) => tracing::warn!(%error, "cursors that are done stay until the next start"),
        }
    }

    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shard of a message: one per device, so that a device's messages stay in order.
    pub(super) fn shard_of(&self, message: &Message) -> usize {
        shard_of(message, self.progress.shards())
    }
}

/// The shard of a message among so many.
pub(super) fn shard_of(message: &Message, shards: usize) -> usize {
    if shards < 2 {
        return 0;
    }
    let state = FixedState::with_seed(0);
    let hash = match (message.product_key(), message.device_name()) {
        (Some(product_key), Some(device_name)) => state.hash_one((product_key, device_name)),
        _ => state.hash_one(message.topic.as_str()),
    };
    usize::try_from(hash % shards as u64).unwrap_or(0)
}

/// What a cursor serves: its name without the serial number.
fn served_by(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(serves, _)| serves)
}
