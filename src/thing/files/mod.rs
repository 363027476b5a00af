//! Files of devices: sent in parts over MQTT, kept, listed, read and deleted.
//!
//! Which files there are stands in the database (`catalogue`), their bytes in a [`Place`], what devices
//! say in `upload`. A part is answered when it survives a power cut. A file is there when its row says
//! that it is complete: no half of one is ever seen, and one of the same name stays until then.

mod catalogue;
mod check;
mod place;
mod upload;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use contract::{Ack, Message, Shutdown};
use sqlx::AnyPool;
use tokio::sync::{Notify, RwLock, mpsc};

use super::things::Things;
use catalogue::{Catalogue, Entry};
pub use place::Place;
use rule::store::StoreError;
pub(super) use upload::TAIL;

/// Parts of files that are worked on at the same time: one device's always by the same task.
const TASKS: usize = 4;

/// Messages about files that may wait for each task, of at most some 128 KiB each.
const WAITING_MAX: usize = 64;

/// Bytes of a message about files: the largest part and what stands around it.
const MESSAGE_BYTES: usize = (128 << 10) + (8 << 10);

/// How long a file that is not complete is kept, as at the vendor.
const UNFINISHED_MS: u64 = 24 * 60 * 60 * 1000;

/// How often is looked for what nobody needs any more.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Files whose bytes are removed at once.
const TIDY_AT_ONCE: u32 = 100;

/// Bounds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLimits {
    /// Bytes of one.
    pub bytes: u64,
    /// Files of a device, those that are being sent included.
    pub per_device: u64,
    /// Their bytes. One that is being sent counts as it will be, or as the largest.
    pub device_bytes: u64,
    /// Files of all devices.
    pub total: u64,
    /// Their bytes.
    pub total_bytes: u64,
}

/// The vendor's, but for the number of all files, which nobody bounds there.
impl Default for FileLimits {
    fn default() -> Self {
        Self {
            bytes: 16 << 20,
            per_device: 1_000,
            device_bytes: 1 << 30,
            total: 1_000_000,
            total_bytes: 1 << 30,
        }
    }
}

/// How files are kept.
#[derive(Debug)]
pub struct FileOptions {
    /// Where their bytes are.
    pub place: Arc<dyn Place>,
    /// How many.
    pub limits: FileLimits,
}

impl FileOptions {
    /// Files in a folder, which is made with the first one.
    #[must_use]
    pub fn folder(path: PathBuf, limits: FileLimits) -> Self {
        Self { place: Arc::new(place::Folder::new(path)), limits }
    }
}

impl Default for FileOptions {
    fn default() -> Self {
        Self::folder(PathBuf::from("files"), FileLimits::default())
    }
}

/// A file that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Unlike that of any other, and not to be guessed.
    pub id: String,
    /// As its device calls it: letters, digits, `_` and `.`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// When it was complete, in milliseconds since 1970.
    pub created_ms: u64,
}

impl From<Entry> for StoredFile {
    fn from(entry: Entry) -> Self {
        let Entry { id, name, size, created_ms, .. } = entry;
        Self { id, name, size: size.unwrap_or(0), created_ms }
    }
}

/// What was counted of files since the start, and what there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Bytes that are kept.
    pub bytes: u64,
    /// Files, those that are being sent included.
    pub entries: u64,
    /// Files that were completed.
    pub completed: u64,
    /// Messages of devices that were refused.
    pub refused: u64,
    /// Messages that could not be worked on: the database or the place failed.
    pub failed: u64,
    /// Messages that were dropped: too large, or too many at once.
    pub dropped: u64,
    /// Why the last part could not be kept; `None` when it was.
    pub trouble: Option<String>,
}

#[derive(Debug, Default)]
struct Counters {
    completed: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// A message about files, and who waits until it is done.
type Job = (Message, Ack);

/// The files.
#[derive(Debug)]
pub(super) struct Files {
    catalogue: Catalogue,
    place: Arc<dyn Place>,
    limits: FileLimits,
    /// Bytes in the place.
    used: AtomicU64,
    /// Entries in the catalogue.
    entries: AtomicU64,
    /// Taken for each message, and as a whole while bytes are removed: what is removed is not written to.
    removing: RwLock<()>,
    /// Something belongs to nobody.
    nobodys: Notify,
    tasks: Vec<mpsc::Sender<Job>>,
    work: Mutex<Vec<mpsc::Receiver<Job>>>,
    counters: Counters,
    trouble: Mutex<Option<String>>,
}

impl Files {
    /// The files of that database.
    ///
    /// # Errors
    /// What the database says, or the place.
    pub(super) async fn open(pool: AnyPool, options: FileOptions) -> Result<Self, StoreError> {
        let catalogue = Catalogue::new(pool);
        let FileOptions { place, limits } = options;
        let (mut used, unfinished) = catalogue.all().await?;
        let entries = catalogue.entries().await?;
        for id in &unfinished {
            used += place.length(id).await.map_err(|e| sqlx::Error::Io(io::Error::other(e)))?;
        }
        let (tasks, work) = (0..TASKS).map(|_| mpsc::channel(WAITING_MAX)).unzip();
        Ok(Self {
            catalogue,
            place,
            limits,
            used: used.into(),
            entries: entries.into(),
            removing: RwLock::default(),
            nobodys: Notify::new(),
            tasks,
            work: Mutex::new(work),
            counters: Counters::default(),
            trouble: Mutex::default(),
        })
    }

    /// Takes a message about files of a device. Who sent it is refused when too many wait.
    pub(super) fn take(&self, message: Message, ack: Ack) {
        let key = crc32fast::hash(upload::device_of(message.topic.as_str()).as_bytes());
        let task = self.tasks.get(key as usize % TASKS);
        let fits = message.payload.len() <= MESSAGE_BYTES;
        if !fits {
            // Sent again it would not fit either.
            ack.accept();
            count(&self.counters.dropped);
        } else if task.is_none_or(|task| task.try_send((message, ack)).is_err()) {
            count(&self.counters.dropped);
        }
    }

    pub(super) fn counts(&self) -> FileCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        FileCounts {
            bytes: read(&self.used),
            entries: read(&self.entries),
            completed: read(&self.counters.completed),
            refused: read(&self.counters.refused),
            failed: read(&self.counters.failed),
            dropped: read(&self.counters.dropped),
            trouble: self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Notes whether the place works.
    fn note(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Removes what belongs to nobody, and what was begun too long ago.
    async fn tidy(&self, now_ms: u64) -> Result<(), StoreError> {
        self.catalogue.expire(now_ms.saturating_sub(UNFINISHED_MS)).await?;
        loop {
            let _removing = self.removing.write().await;
            let ids = self.catalogue.nobodys(TIDY_AT_ONCE).await?;
            for id in &ids {
                let gone = async {
                    let bytes = self.place.length(id).await?;
                    self.place.remove(id).await.map(|()| bytes)
                };
                let bytes = gone.await.map_err(|e| sqlx::Error::Io(io::Error::other(e)))?;
                self.used.fetch_sub(bytes, Ordering::Relaxed);
                self.catalogue.forget(id).await?;
                self.entries.fetch_sub(1, Ordering::Relaxed);
            }
            if ids.is_empty() {
                return Ok(());
            }
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Things {
    /// Works on messages about files until told to stop, and then on what is left.
    pub(super) async fn keep_files(&self, stopped: Shutdown) {
        let work =
            std::mem::take(&mut *self.files().work.lock().unwrap_or_else(PoisonError::into_inner));
        let tasks = work.into_iter().map(|mut work| {
            let mut stopped = stopped.clone();
            async move {
                loop {
                    tokio::select! {
                        () = stopped.wait() => break,
                        Some((message, ack)) = work.recv() => {
                            self.upload(&message).await;
                            ack.accept();
                        }
                    }
                }
                work.close();
                while let Some((message, ack)) = work.recv().await {
                    self.upload(&message).await;
                    ack.accept();
                }
            }
        });
        let all = futures_util::future::join_all(tasks);
        tokio::join!(all, self.tidy_files(stopped.clone()));
    }

    async fn tidy_files(&self, mut stopped: Shutdown) {
        let mut tick = tokio::time::interval(TIDY_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopped.wait() => return,
                () = self.files().nobodys.notified() => {}
                _ = tick.tick() => {}
            }
            if let Err(problem) = self.files().tidy(self.now_ms()).await {
                tracing::error!(%problem, "files that nobody needs were not removed");
            }
        }
    }

    /// At most so many files of a registered device, the newest first, after the first `offset`; and how
    /// many it has.
    ///
    /// # Errors
    /// What the database says.
    pub async fn device_files(
        &self,
        product_key: &str,
        device_name: &str,
        limit: u32,
        offset: u64,
    ) -> Result<(Vec<StoredFile>, u64), StoreError> {
        let device = (product_key, device_name);
        let (entries, total) = self.files().catalogue.list(device, limit, offset).await?;
        Ok((entries.into_iter().map(StoredFile::from).collect(), total))
    }

    /// A file of a device.
    ///
    /// # Errors
    /// What the database says.
    pub async fn device_file(
        &self,
        product_key: &str,
        device_name: &str,
        id: &str,
    ) -> Result<Option<StoredFile>, StoreError> {
        let found = self.files().catalogue.find((product_key, device_name), id).await?;
        Ok(found.filter(|entry| entry.complete).map(StoredFile::from))
    }

    /// Deletes a file of a device; false when it has no such one.
    ///
    /// # Errors
    /// What the database says.
    pub async fn delete_device_file(
        &self,
        product_key: &str,
        device_name: &str,
        id: &str,
    ) -> Result<bool, StoreError> {
        let done = self.files().catalogue.give_up((product_key, device_name), id, true).await?;
        self.files().nobodys.notify_one();
        Ok(done)
    }

    /// A file, whosesoever it is.
    ///
    /// # Errors
    /// What the database says.
    pub async fn file(&self, id: &str) -> Result<Option<StoredFile>, StoreError> {
        Ok(self.files().catalogue.complete(id).await?.map(StoredFile::from))
    }

    /// Some bytes of a file from an offset on.
    ///
    /// # Errors
    /// What the place says; a file that was deleted meanwhile is not found.
    pub async fn read_file(&self, id: &str, offset: u64, most: usize) -> io::Result<Bytes> {
        self.files().place.read(id, offset, most).await
    }
}

#[cfg(test)]
mod tests;
