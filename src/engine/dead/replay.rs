//! The replay: gives wanted letters to their actions once more, in order and a bounded number at a
//! time, and writes down what came of each.
//!
//! What is wanted stands in the database, so a replay goes on where it was after a restart. A letter
//! that was delivered, but not yet written down when the daemon was cut off, is given again; it has the
//! same idempotency key then. How a letter is delivered is behind [`ReplayTo`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use contract::Shutdown;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::letter::StoredLetter;
use super::writer::{Failed, Work, json};
use super::{DeadError, DeadLetters};
use rule::store::{signed, unsigned};

/// Letters that are given and not yet settled, at most.
pub const IN_FLIGHT_MAX: usize = 1000;

/// Bytes of such letters, at most; one letter is always given.
pub const IN_FLIGHT_BYTES: u64 = 64 << 20;

/// How often the database is asked whether another process wants something. It is a look at a number.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// When the daemon stops: how long letters in flight may take to be settled.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// Where letters go. The rules implement it.
pub trait ReplayTo: Send + Sync + 'static {
    /// Somebody has just asked for a replay, perhaps because a destination is mended: what is left
    /// alone because it did not work is worth a try, before the letters come.
    fn asked(&self) {}

    /// Takes one letter for its rule and action, as they are now: the message is evaluated again under
    /// the rule's present version. It must not block. Letters come in the order in which they were
    /// kept. A `done` that is dropped leaves the letter wanted: it is given again about a second
    /// later, or at the next start.
    fn give(&self, letter: StoredLetter, done: Done);
}

/// The obligation to say what came of a letter.
#[derive(Debug)]
pub struct Done {
    id: u64,
    settled: Option<mpsc::Sender<(u64, Verdict)>>,
}

#[derive(Debug)]
enum Verdict {
    Delivered,
    Failed(String, String),
    Nothing,
}

impl Done {
    /// The action has it.
    pub fn delivered(mut self) {
        self.settle(Verdict::Delivered);
    }

    /// It is dead again, with one attempt more: why, and what the destination said.
    pub fn failed(mut self, reason: impl Into<String>, error: impl Into<String>) {
        self.settle(Verdict::Failed(reason.into(), error.into()));
    }

    fn settle(&mut self, verdict: Verdict) {
        if let Some(settled) = self.settled.take() {
            // There is a place for each letter in flight. A replay that has ended reads no more.
            settled.try_send((self.id, verdict)).ok();
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        self.settle(Verdict::Nothing);
    }
}

/// What a replay has in hand.
struct Course<'a> {
    dead: &'a DeadLetters,
    to: &'a dyn ReplayTo,
    settled: mpsc::Sender<(u64, Verdict)>,
    /// Letters given, or settled and not yet written down, with their bytes.
    in_flight: HashMap<u64, u64>,
    bytes: u64,
    /// Where to look on; letters of lower numbers were given.
    after: u64,
    /// There may be more to give.
    more: bool,
    delivered: Vec<u64>,
    failed: Vec<Failed>,
    /// Given back unsettled; free again at the next tick.
    back: Vec<u64>,
    /// What `PRAGMA data_version` has said last.
    version: i64,
    /// A replay is open, as far as is known.
    open: bool,
    /// The number of the last replay that was asked for.
    last: i64,
    /// The database failed: nothing is tried before the next tick.
    waits: bool,
}

impl DeadLetters {
    /// Replays what is wanted, until told to stop. At most one of these may run.
    pub async fn replay(self: Arc<Self>, to: Arc<dyn ReplayTo>, mut stop: Shutdown) {
        let (settled, mut verdicts) = mpsc::channel(IN_FLIGHT_MAX);
        let mut course = Course {
            dead: &self,
            to: &*to,
            settled,
            in_flight: HashMap::new(),
            bytes: 0,
            after: 0,
            more: true,
            delivered: Vec::new(),
            failed: Vec::new(),
            back: Vec::new(),
            version: 0,
            open: true,
            last: 0,
            waits: false,
        };
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut group = Vec::with_capacity(IN_FLIGHT_MAX);
        loop {
            let mut result = Ok(());
            tokio::select! {
                () = stop.wait() => break,
                _ = verdicts.recv_many(&mut group, IN_FLIGHT_MAX) => course.take(group.drain(..)),
                _ = look.tick() => result = course.tick().await,
                () = self.wanted.notified() => course.restart(),
            }
            if result.is_ok() {
                result = course.go_on().await;
            }
            if let Err(error) = result {
                // The next tick tries again; nothing is forgotten meanwhile.
                tracing::warn!("the replay of dead letters waits: {error}");
                course.waits = true;
                course.version = 0;
            }
        }
        // What is settled yet is written down, so that it is not delivered twice.
        let rest = async {
            while course.in_flight.len() > course.known() {
                verdicts.recv_many(&mut group, IN_FLIGHT_MAX).await;
                course.take(group.drain(..));
            }
        };
        tokio::time::timeout(STOP_WAIT, rest).await.ok();
        if let Err(error) = course.write().await {
            tracing::warn!("replayed dead letters will be delivered again: {error}");
        }
    }
}

impl Course<'_> {
    fn take(&mut self, verdicts: impl Iterator<Item = (u64, Verdict)>) {
        for (id, verdict) in verdicts {
            match verdict {
                Verdict::Delivered => self.delivered.push(id),
                Verdict::Failed(reason, error) => self.failed.push(Failed { id, reason, error }),
                Verdict::Nothing => self.back.push(id),
            }
        }
    }

    /// Letters in flight of which it is known what came of them.
    fn known(&self) -> usize {
        self.delivered.len() + self.failed.len() + self.back.len()
    }

    /// Looks from the start again.
    fn restart(&mut self) {
        self.after = 0;
        self.more = true;
    }

    /// Once a second: has another process asked for something, and does it hear from us?
    async fn tick(&mut self) -> Result<(), DeadError> {
        self.waits = false;
        let pool = &self.dead.database.pool;
        let row = sqlx::query("PRAGMA data_version").fetch_one(pool).await?;
        let version: i64 = row.try_get(0)?;
        let back = std::mem::take(&mut self.back);
        let changed = version != self.version;
        if changed || !back.is_empty() {
            self.forget(&back);
            self.restart();
        }
        if changed {
            let row = sqlx::query(
                "SELECT EXISTS (SELECT 1 FROM replays
                 WHERE seen_ms IS NULL OR delivered + failed + dropped < total),
                 (SELECT coalesce(max(id), 0) FROM replays)",
            )
            .fetch_one(pool)
            .await?;
            self.open = row.try_get(0)?;
            let last = row.try_get(1)?;
            if std::mem::replace(&mut self.last, last) < last {
                self.to.asked();
            }
        }
        if self.open {
            self.dead.write(|reply| Work { seen: true, ..Work::new(reply) }).await?;
        }
        self.version = version;
        Ok(())
    }

    /// Writes down what is settled, and gives as much as there is room for.
    async fn go_on(&mut self) -> Result<(), DeadError> {
        if self.waits {
            return Ok(());
        }
        self.write().await?;
        // Letters that can't be given are settled at once: further ones have their place.
        while self.more {
            self.give().await?;
            if self.delivered.is_empty() && self.failed.is_empty() {
                break;
            }
            self.write().await?;
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), DeadError> {
        if self.delivered.is_empty() && self.failed.is_empty() {
            return Ok(());
        }
        let (delivered, failed) = (self.delivered.clone(), self.failed.clone());
        self.dead.write(|reply| Work { delivered, failed, ..Work::new(reply) }).await?;
        let mut ids = std::mem::take(&mut self.delivered);
        ids.extend(self.failed.drain(..).map(|failed| failed.id));
        self.forget(&ids);
        Ok(())
    }

    fn forget(&mut self, ids: &[u64]) {
        for id in ids {
            self.bytes -= self.in_flight.remove(id).unwrap_or(0);
        }
    }

    async fn give(&mut self) -> Result<(), DeadError> {
        let room = IN_FLIGHT_MAX.saturating_sub(self.in_flight.len());
        if room == 0 {
            return Ok(());
        }
        let pool = &self.dead.database.pool;
        // Those in flight are wanted still, and may stand before others after a restart of the look.
        let passed = self.in_flight.keys().filter(|id| **id > self.after).count();
        let most = room + passed;
        let rows = sqlx::query(
            "SELECT id, bytes FROM letters WHERE wanted IS NOT NULL AND id > ? ORDER BY id LIMIT ?",
        )
        .bind(signed(self.after))
        .bind(signed(most as u64))
        .fetch_all(pool)
        .await?;
        let mut more = rows.len() == most;
        let mut ids = Vec::new();
        for row in &rows {
            let (id, bytes) = size_of(row)?;
            if !self.in_flight.contains_key(&id) {
                let full = self.bytes + bytes > IN_FLIGHT_BYTES && !self.in_flight.is_empty();
                if full || ids.len() == room {
                    more = true;
                    break;
                }
                self.in_flight.insert(id, bytes);
                self.bytes += bytes;
                ids.push(id);
            }
            self.after = id;
        }
        self.more = more;
        let given = self.give_these(&ids).await;
        if given.is_err() {
            // They are looked for again.
            self.forget(&ids);
            self.restart();
        }
        given
    }

    async fn give_these(&mut self, ids: &[u64]) -> Result<(), DeadError> {
        if ids.is_empty() {
            return Ok(());
        }
        let rows = sqlx::query(
            "SELECT * FROM letters WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
        )
        .bind(json(ids))
        .fetch_all(&self.dead.database.pool)
        .await?;
        let here =
            rows.iter().map(|row| Ok(size_of(row)?.0)).collect::<Result<Vec<_>, DeadError>>()?;
        for (row, &id) in rows.iter().zip(&here) {
            match StoredLetter::read(row) {
                Ok(letter) => {
                    let done = Done { id, settled: Some(self.settled.clone()) };
                    self.to.give(letter, done);
                }
                Err(error) => {
                    let (reason, error) = ("unreadable".to_owned(), error.to_string());
                    self.failed.push(Failed { id, reason, error });
                }
            }
        }
        // The limit may have driven some out between the two statements.
        let gone: Vec<u64> =
            ids.iter().copied().filter(|id| here.binary_search(id).is_err()).collect();
        self.forget(&gone);
        Ok(())
    }
}

fn size_of(row: &SqliteRow) -> Result<(u64, u64), sqlx::Error> {
    Ok((unsigned(row.try_get("id")?), unsigned(row.try_get("bytes")?)))
}
