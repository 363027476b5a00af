//! The task that writes a history: reads the log and what comes beside it, in batches, and deletes what
//! is too old.
//!
//! The position in the log is committed with the values that were read before it, so a kill neither loses
//! nor repeats any. While the store does not work, the batch in hand waits; the log keeps the rest.

use std::sync::Arc;
use std::time::Duration;

use contract::Shutdown;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::book::Book;
use super::database::Database;
use super::entry::{self, Found};
use super::intake::{Arrivals, Arrived};
use super::log::{Log, Looked};
use super::shared::{Dropped, Shared};
use super::sweep::Sweep;
use super::{Clock, Settings};
use registry::Registry;
use rule::store::StoreError;

/// Values that are written at once.
const VALUES: usize = 16 << 10;

/// Bytes of messages that are read for one batch.
const BYTES: usize = 8 << 20;

/// How long a value waits for others to be written with.
const LINGER: Duration = Duration::from_millis(100);

/// Messages of the log that are enough to wait for no more.
const MANY: u64 = 1_000;

/// How often it looks what there is to do at least.
const TICK: Duration = Duration::from_secs(1);

/// The pause between two tries to write.
const AGAIN: Duration = Duration::from_secs(1);

/// How far ahead of the daemon's clock a value may be, in milliseconds: clocks of devices differ.
const AHEAD_MS: u64 = 24 * 60 * 60 * 1_000;

/// Writes a history.
pub struct Writer {
    pub(super) database: Database,
    pub(super) arrivals: Arrivals,
    pub(super) shared: Arc<Shared>,
    pub(super) registry: Registry,
    pub(super) clock: Clock,
    pub(super) settings: Settings,
    pub(super) log: Option<Box<dyn Log>>,
    pub(super) book: Book,
    pub(super) sweep: Sweep,
    pub(super) batch: Batch,
}

/// What is in hand.
#[derive(Debug, Default)]
pub(super) struct Batch {
    found: Found,
    bytes: usize,
    /// Who waits until the log is written up to a position.
    settling: Vec<(u64, oneshot::Sender<()>)>,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.found.entries.len() >= VALUES || self.bytes >= BYTES
    }

    fn is_empty(&self) -> bool {
        self.found.entries.is_empty() && self.found.answers.is_empty()
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Writer {
    /// Reads the log, too, from where the tables have come to.
    ///
    /// # Errors
    /// What the database says.
    pub async fn follow(&mut self, mut log: Box<dyn Log>) -> Result<(), StoreError> {
        if let Some(place) = self.database.place(log.name()).await? {
            // What was written is never read again, though the log may not know of it yet.
            log.seek(place.max(log.position()));
        }
        self.shared.wrote(0, Some(log.position()));
        self.shared.end.set(log.end()).ok();
        self.shared.way_in.set(log.way_in()).ok();
        self.log = Some(log);
        Ok(())
    }

    /// Writes until told to stop, and then what is left.
    pub async fn run(mut self, mut stopped: Shutdown) {
        self.shared.caught_up((self.clock)());
        loop {
            let ending = stopped.is_stopped();
            if !ending {
                self.wait(&mut stopped).await;
            }
            let (from_ms, end) = ((self.clock)(), self.end());
            self.gather(end).await;
            if !self.write(&mut stopped).await {
                break;
            }
            let position = self.log.as_ref().map_or(0, |log| log.position());
            if position >= end {
                self.shared.caught_up(from_ms);
            }
            if ending && position >= self.end() && !self.more() {
                break;
            }
            self.tend().await;
        }
        self.database.close_writer().await;
    }

    fn end(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.end()())
    }

    /// Whether something came beside the log.
    fn more(&mut self) -> bool {
        match self.arrivals.take() {
            Some(arrived) => {
                self.take(arrived);
                true
            }
            None => false,
        }
    }

    /// Waits for something to do, and some time for more.
    async fn wait(&mut self, stopped: &mut Shutdown) {
        let behind = self.log.as_ref().map_or(0, |log| log.end()().saturating_sub(log.position()));
        if behind >= MANY {
            return;
        }
        let pause = if self.sweep.is_due((self.clock)()) { LINGER / 10 } else { TICK };
        let ready = async {
            match &self.log {
                Some(log) => log.ready().await,
                None => std::future::pending().await,
            }
        };
        let arrived = tokio::select! {
            () = stopped.wait() => return,
            () = tokio::time::sleep(pause) => return,
            () = ready => None,
            arrived = self.arrivals.next() => arrived,
        };
        arrived.into_iter().for_each(|arrived| self.take(arrived));
        let until = Instant::now() + LINGER;
        while self.batch.settling.is_empty() && !self.batch.is_full() {
            tokio::select! {
                () = stopped.wait() => return,
                () = tokio::time::sleep_until(until) => return,
                Some(arrived) = self.arrivals.next() => self.take(arrived),
            }
        }
    }

    fn take(&mut self, arrived: Arrived) {
        let found = &mut self.batch.found;
        match arrived {
            Arrived::Document(message) => {
                self.batch.bytes += message.payload.len();
                entry::read(&message, |key, name| self.registry.iot_id(key, name), found);
            }
            Arrived::Call(message) => {
                self.batch.bytes += message.payload.len();
                entry::called(&message.payload, found);
            }
            Arrived::Settle(reader) => {
                let end = self.log.as_ref().map_or(0, |log| log.end()());
                self.batch.settling.push((end, reader));
            }
        }
    }

    /// Fills the batch with what has come, from the log up to a position.
    async fn gather(&mut self, end: u64) {
        while !self.batch.is_full() && self.more() {}
        while let Some(mut log) = self.log.take() {
            let end = self.batch.settling.iter().map(|(end, _)| *end).fold(end, u64::max);
            if self.batch.is_full() || log.position() >= end {
                self.log = Some(log);
                break;
            }
            let from = log.position();
            let registry = self.registry.clone();
            let mut found = std::mem::take(&mut self.batch.found);
            let read = tokio::task::spawn_blocking(move || {
                let Looked { messages, lost } = log.read(entry::is_document);
                let bytes: usize = messages.iter().map(|logged| logged.message.payload.len()).sum();
                for logged in &messages {
                    match logged.own {
                        true => entry::called(&logged.message.payload, &mut found),
                        false => entry::read(
                            &logged.message,
                            |key, name| registry.iot_id(key, name),
                            &mut found,
                        ),
                    }
                }
                (log, found, bytes, lost)
            });
            // Reading does not panic; if it did, what the log has waits for the next start.
            let Ok((log, found, bytes, lost)) = read.await else {
                tracing::error!("reading the log for the history failed unexpectedly");
                return;
            };
            self.batch.found = found;
            self.batch.bytes += bytes;
            self.shared.let_go(Dropped::Log, lost);
            let stuck = log.position() == from;
            self.log = Some(log);
            if stuck {
                tokio::time::sleep(AGAIN).await;
                break;
            }
        }
        self.admit();
    }

    /// Leaves out what nobody could ask for.
    fn admit(&mut self) {
        let now_ms = (self.clock)();
        let oldest_ms = self.sweep.oldest_ms(now_ms);
        let (mut old, mut future) = (0, 0);
        self.batch.found.entries.retain(|entry| {
            old += u64::from(entry.time_ms < oldest_ms);
            future += u64::from(entry.time_ms > now_ms + AHEAD_MS);
            (oldest_ms..=now_ms + AHEAD_MS).contains(&entry.time_ms)
        });
        self.shared.let_go(Dropped::Old, old);
        self.shared.let_go(Dropped::Future, future);
        let unnamed = std::mem::take(&mut self.batch.found.unnamed);
        self.shared.let_go(Dropped::Identifier, unnamed);
    }

    /// Writes the batch, however long that takes; false when the daemon ends before.
    async fn write(&mut self, stopped: &mut Shutdown) -> bool {
        loop {
            let position = self.log.as_ref().map(|log| log.position());
            match self.try_write().await {
                Ok(()) => {
                    if self.shared.works(None) {
                        tracing::info!("the history of devices is written again");
                    }
                    self.batch.bytes = 0;
                    let done = position.unwrap_or(0);
                    let settled = self.batch.settling.extract_if(.., |(end, _)| *end <= done);
                    for (_, reader) in settled {
                        // Who has gone does not wait.
                        reader.send(()).ok();
                    }
                    return true;
                }
                Err(problem) => {
                    let text = problem.to_string();
                    if self.shared.works(Some(text)) {
                        tracing::error!(%problem, "the history of devices cannot be written; what waits for it stays in the log");
                    }
                }
            }
            if stopped.is_stopped() {
                return false;
            }
            self.relieve().await;
            tokio::select! {
                () = stopped.wait() => {}
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    async fn try_write(&mut self) -> Result<(), StoreError> {
        let place = self.log.as_ref().map(|log| (log.name(), log.position()));
        let position = place.map(|(_, position)| position);
        if self.batch.is_empty() {
            // A position alone is worth no write: what lies before it is nothing to keep.
            if let Some(log) = &self.log {
                log.commit(log.position());
            }
            self.shared.wrote(0, position);
            return Ok(());
        }
        let written = self.database.write(&mut self.batch.found, place, &mut self.book).await?;
        self.shared.wrote(written.values, position);
        self.shared.let_go(Dropped::Crowded, written.crowded);
        if let Some(log) = &self.log {
            log.commit(log.position());
        }
        Ok(())
    }

    /// Goes on without what the log cannot keep any longer: devices come first.
    async fn relieve(&mut self) {
        let Some(log) = &mut self.log else { return };
        let mut lost = 0;
        while log.is_pressed() && log.position() < log.end()() {
            let from = log.position();
            let looked = log.read(|_| false);
            lost += looked.lost + (log.position() - from);
            if log.position() == from {
                break;
            }
            log.commit(log.position());
            tokio::task::yield_now().await;
        }
        if lost > 0 {
            tracing::error!(
                lost,
                "the history goes on without messages that the log cannot keep for it any longer"
            );
            self.shared.let_go(Dropped::Log, lost);
        }
    }

    /// A step of retention, when one is due; and room in the log, when it takes too much.
    async fn tend(&mut self) {
        let behind = self.log.as_ref().map_or(0, |log| log.end()().saturating_sub(log.position()));
        if behind >= MANY {
            self.relieve().await;
        }
        let now_ms = (self.clock)();
        match self.sweep.step(&self.database, now_ms).await {
            Ok(Some(step)) => {
                self.book.remove(&step.gone);
                if let Some(bytes) = step.bytes {
                    self.shared.measured(bytes);
                }
            }
            Ok(None) => {}
            Err(problem) => {
                self.sweep.put_off(now_ms);
                tracing::warn!(%problem, "old values of the history were not deleted; that is tried again");
            }
        }
    }
}
