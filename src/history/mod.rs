//! The history of devices: what they posted and were asked, for as long as it is kept.
//!
//! Its [`Writer`] is one more reader of the log: it takes the documents that rules see, at its own pace
//! and in batches, so that it delays nothing and nobody. What the log does not keep (QoS 0, or all when
//! there is no log) comes through a bounded queue, and is lost with it in a crash. Calls of services go
//! through the log, too, when there is one. Values are texts, as they were posted. Of devices that are
//! not registered nothing is kept, and what is kept of one that is deleted nobody can ask for any more.
//!
//! To read: `entry` says what is kept of a message, `intake` and `log` how it comes, `writer` goes on
//! with it, `database` has the tables, `sweep` deletes, `quiet` lets others go first, and `page` is what a reader gets.

mod book;
mod database;
mod entry;
mod intake;
mod log;
mod page;
mod quiet;
mod shared;
mod sweep;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use contract::Message;
use tokio::sync::oneshot;

use self::book::Book;
use self::database::Database;
use self::entry::Series;
use self::intake::{Arrived, Intake};
use self::shared::Shared;
use self::sweep::Sweep;
use self::writer::Batch;
use registry::Registry;
use rule::store::{Store, StoreError};

pub use database::FILE;
pub use entry::{Called, Event, Kind, Service};
pub use log::{End, Log, Logged, Looked, WayIn};
pub use page::{Mark, Order, Page, Row, WITHIN, Window};
pub use shared::{Counts, Dropped};
pub use writer::Writer;

/// Milliseconds since 1970, from whatever clock the daemon uses.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How long a reader waits at most until what came before is written.
const PATIENCE: Duration = Duration::from_secs(1);

/// From here on it is told that history is behind, in milliseconds.
const LATE_MS: u64 = 60_000;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long values are kept after their time.
    pub keep: Duration,
    /// Bytes that they may take in a file; then the oldest make room.
    pub max_bytes: Option<u64>,
}

impl Settings {
    fn keep_ms(&self) -> u64 {
        u64::try_from(self.keep.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { keep: Duration::from_secs(30 * 24 * 60 * 60), max_bytes: None }
    }
}

/// The history of devices. Clones are the same one.
#[derive(Clone, Default)]
pub struct History {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    database: Database,
    intake: Intake,
    shared: Arc<Shared>,
    clock: Clock,
    settings: Settings,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("on", &self.is_on()).finish_non_exhaustive()
    }
}

impl History {
    /// One that keeps nothing.
    #[must_use]
    pub fn off() -> Self {
        Self::default()
    }

    /// Opens it, and what writes it: in the tables of a store in PostgreSQL, else in the file [`FILE`]
    /// below a data directory.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open(
        store: &Store,
        data_dir: &Path,
        registry: Registry,
        settings: Settings,
        clock: Clock,
    ) -> Result<(Self, Writer), StoreError> {
        let database = match store.is_postgres() {
            true => Database::of(store),
            false => Database::open(data_dir).await?,
        };
        let (intake, arrivals) = intake::queue();
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            database: database.clone(),
            arrivals,
            shared: Arc::clone(&shared),
            registry,
            clock: Arc::clone(&clock),
            settings,
            log: None,
            book: Book::default(),
            sweep: Sweep::new(settings),
            batch: Batch::default(),
        };
        let inner = Inner { database, intake, shared, clock, settings };
        Ok((Self { inner: Some(Arc::new(inner)) }, writer))
    }

    /// Whether anything is kept.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.inner.is_some()
    }

    /// Whether a message is to be [offered](Self::offer), because it may be a document that the log does
    /// not keep. `durable` says that it keeps those of QoS 0, too. Called for every message.
    #[must_use]
    pub fn wants(&self, message: &Message, durable: bool) -> bool {
        let Some(inner) = &self.inner else { return false };
        let in_log = (durable || message.qos.is_acknowledged()) && inner.shared.end.get().is_some();
        !in_log && message.hops == 0 && entry::is_document(message.topic.as_str())
    }

    /// Takes a document that the log does not keep, if there is room. Never waits.
    pub fn offer(&self, message: Message) {
        if let Some(inner) = &self.inner {
            inner.offer(Arrived::Document(message));
        }
    }

    /// Takes a call of a service, or the answer to one: into the log, when there is one. Never waits.
    pub fn called(&self, called: &Called<'_>) {
        let Some(inner) = &self.inner else { return };
        let Some(message) = called.message() else { return };
        let logged = inner.shared.way_in.get().is_some_and(|way_in| way_in(&message));
        if !logged {
            inner.offer(Arrived::Call(message));
        }
    }

    /// Values of a device, oldest or newest first: of each identifier at most `size`, all of the same
    /// span of time. What came before is among them, if it is written within a second; `None` when
    /// nothing is kept.
    ///
    /// # Errors
    /// What the database says.
    pub async fn page(
        &self,
        device: &str,
        kind: Kind,
        identifiers: &[&str],
        window: Window,
        size: usize,
    ) -> Result<Option<Page>, StoreError> {
        let Some(inner) = &self.inner else { return Ok(None) };
        inner.settle().await;
        let oldest = (inner.clock)().saturating_sub(inner.settings.keep_ms());
        let window = window.since(oldest);
        let mut series = Vec::with_capacity(identifiers.len());
        for identifier in identifiers {
            let of = Series { device: device.into(), kind, identifier: (*identifier).into() };
            series.push(inner.database.rows(&of, &window, size + 1).await?);
        }
        Ok(Some(window.cut(series, size)))
    }

    /// What was counted, and how far it is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let counts = |inner: &Arc<Inner>| inner.shared.counts((inner.clock)());
        self.inner.as_ref().map(counts).unwrap_or_default()
    }

    /// What does not work at present.
    #[must_use]
    pub fn abnormal(&self) -> Option<String> {
        let Counts { behind, lag_ms, trouble, .. } = self.counts();
        let late = format!("{} s and {behind} messages behind", lag_ms / 1_000);
        match trouble {
            Some(trouble) => {
                Some(format!("the history of devices cannot be written, it is {late}: {trouble}"))
            }
            None if lag_ms > LATE_MS => Some(format!("the history of devices is {late}")),
            None => None,
        }
    }

    /// Closes it; every later look fails.
    pub async fn close(&self) {
        if let Some(inner) = &self.inner {
            inner.database.close().await;
        }
    }
}

impl Inner {
    fn offer(&self, arrived: Arrived) {
        if !self.intake.offer(arrived) {
            self.shared.let_go(Dropped::Queue, 1);
        }
    }

    /// Waits some time until what came before is written.
    async fn settle(&self) {
        let (sender, settled) = oneshot::channel();
        if self.intake.offer(Arrived::Settle(sender)) {
            // Who reads gets what there is in any case.
            tokio::time::timeout(PATIENCE, settled).await.ok();
        }
    }
}
