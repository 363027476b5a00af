//! The one task of the daemon that writes: what is asked for at the same time shares one transaction.
//!
//! It also keeps the table within its limits. What is wanted and by whom is the business of `want`.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteArguments, SqlitePool};
use sqlx::{Row as _, Sqlite, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::database::{connect, totals};
use super::letter::{context, shortened, size, stored_id};
use super::{Clock, DeadCounts, DeadError, DeadLetter, DeadLimits};
use rule::store::{signed, unsigned};

/// Requests that wait for the disk; further ones wait for room.
const WAITING_MAX: usize = 1024;

/// Letters in one statement.
const ROWS: usize = 32;

/// Replayed letters that are kept, so that they can be looked at and replayed by force.
pub(super) const REPLAYED_MAX: u64 = 10_000;

/// Letters looked at in one step when bytes must be made free.
const STEP: u64 = 256;

/// Losses to the limit are told at most this often.
const SAY_EVERY: Duration = Duration::from_secs(60);

pub(super) type Reply = oneshot::Sender<Result<(), DeadError>>;

/// What is to be written, and who waits for it.
pub(super) struct Work {
    pub(super) letters: Vec<DeadLetter>,
    pub(super) delivered: Vec<u64>,
    pub(super) failed: Vec<Failed>,
    /// Open replays are told that a daemon is at work.
    pub(super) seen: bool,
    pub(super) reply: Reply,
}

/// A letter that a replay could not deliver.
#[derive(Clone)]
pub(super) struct Failed {
    pub(super) id: u64,
    pub(super) reason: String,
    pub(super) error: String,
}

impl Work {
    pub(super) fn new(reply: Reply) -> Self {
        Self { letters: Vec::new(), delivered: Vec::new(), failed: Vec::new(), seen: false, reply }
    }
}

struct Writer {
    pool: SqlitePool,
    limits: DeadLimits,
    clock: Clock,
    counts: Arc<Mutex<DeadCounts>>,
    /// Letters that the limit has driven out so far; `None` before the first look.
    dropped: Option<u64>,
    said: Option<Instant>,
}

/// Starts the task. It ends when nobody can ask any more.
pub(super) async fn start(
    path: &Path,
    limits: DeadLimits,
    clock: Clock,
    counts: Arc<Mutex<DeadCounts>>,
) -> Result<mpsc::Sender<Work>, DeadError> {
    let pool = connect(path).await?;
    let mut writer = Writer { pool, limits, clock, counts, dropped: None, said: None };
    // Limits may have been lowered since the last start.
    writer.write(&[]).await?;
    let (sender, mut receiver) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        let mut group: Vec<Work> = Vec::new();
        while receiver.recv_many(&mut group, WAITING_MAX).await > 0 {
            let result = writer.write(&group).await;
            for work in group.drain(..) {
                // Who no longer waits has been served all the same.
                work.reply.send(result.clone()).ok();
            }
        }
        writer.pool.close().await;
    });
    Ok(sender)
}

impl Writer {
    async fn write(&mut self, group: &[Work]) -> Result<(), DeadError> {
        let now = signed((self.clock)());
        let mut change = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let letters: Vec<&DeadLetter> = group.iter().flat_map(|work| &work.letters).collect();
        for letters in letters.chunks(ROWS) {
            insert(&mut change, letters, now).await?;
        }
        let delivered: Vec<u64> =
            group.iter().flat_map(|work| work.delivered.iter().copied()).collect();
        if !delivered.is_empty() {
            sqlx::query(
                "UPDATE letters SET wanted = NULL, replayed_ms = ?
                 WHERE wanted IS NOT NULL AND id IN (SELECT value FROM json_each(?))",
            )
            .bind(now)
            .bind(json(&delivered))
            .execute(&mut *change)
            .await?;
        }
        for failed in group.iter().flat_map(|work| &work.failed) {
            sqlx::query(
                "UPDATE letters SET wanted = NULL, attempts = attempts + 1, reason = ?, error = ?
                 WHERE wanted IS NOT NULL AND id = ?",
            )
            .bind(&failed.reason)
            .bind(shortened(&failed.error))
            .bind(signed(failed.id))
            .execute(&mut *change)
            .await?;
        }
        if group.iter().any(|work| work.seen) {
            sqlx::query(
                "UPDATE replays SET seen_ms = ?
                 WHERE seen_ms IS NULL OR delivered + failed + dropped < total",
            )
            .bind(now)
            .execute(&mut *change)
            .await?;
        }
        let counts = self.trim(&mut change).await?;
        change.commit().await?;
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
        self.tell(counts.dropped);
        Ok(())
    }

    /// Says that the limit drives letters out.
    fn tell(&mut self, dropped: u64) {
        let before = self.dropped.replace(dropped).unwrap_or(dropped);
        if dropped == before || self.said.is_some_and(|said| said.elapsed() < SAY_EVERY) {
            return;
        }
        self.said = Some(Instant::now());
        tracing::warn!(
            "dead letters are full: the oldest make room and are lost; replay them, or raise `limits.dead_letters` or `limits.dead_letter_bytes`"
        );
    }

    /// Brings the table back within its limits: first what was replayed goes, then what is oldest.
    async fn trim(&self, change: &mut SqliteConnection) -> Result<DeadCounts, sqlx::Error> {
        loop {
            let (counts, spent) = totals(change).await?;
            if spent > REPLAYED_MAX {
                remove_first(change, true, spent - REPLAYED_MAX).await?;
            } else if counts.kept > self.limits.entries {
                remove_first(change, false, counts.kept - self.limits.entries).await?;
            } else if counts.bytes > self.limits.bytes && counts.kept + spent > 0 {
                let over = counts.bytes - self.limits.bytes;
                let count = enough(change, spent > 0, over).await?;
                remove_first(change, spent > 0, count).await?;
            } else {
                return Ok(counts);
            }
        }
    }
}

/// A list of numbers as one parameter.
pub(super) fn json(ids: &[u64]) -> String {
    serde_json::to_string(ids).expect("invariant: numbers are always JSON")
}

// What is oldest is told by numbers: a clock that was set back does not make new letters old. Only
// the few that were replayed stand between them.

/// How many of the first letters hold that many bytes, as far as one step looks; at least one.
async fn enough(
    change: &mut SqliteConnection,
    replayed: bool,
    over: u64,
) -> Result<u64, sqlx::Error> {
    let text = if replayed {
        "SELECT bytes FROM letters WHERE replayed_ms IS NOT NULL ORDER BY replayed_ms, id LIMIT ?"
    } else {
        "SELECT bytes FROM letters NOT INDEXED WHERE replayed_ms IS NULL ORDER BY id LIMIT ?"
    };
    let rows = sqlx::query(text).bind(signed(STEP)).fetch_all(change).await?;
    let (mut count, mut sum) = (0, 0);
    for row in rows {
        if sum >= over {
            break;
        }
        sum += unsigned(row.try_get(0)?);
        count += 1;
    }
    Ok(count.max(1))
}

async fn remove_first(
    change: &mut SqliteConnection,
    replayed: bool,
    count: u64,
) -> Result<(), sqlx::Error> {
    let text = if replayed {
        "DELETE FROM letters WHERE id IN (SELECT id FROM letters WHERE replayed_ms IS NOT NULL
         ORDER BY replayed_ms, id LIMIT ?)"
    } else {
        "DELETE FROM letters WHERE id IN (SELECT id FROM letters NOT INDEXED
         WHERE replayed_ms IS NULL ORDER BY id LIMIT ?)"
    };
    sqlx::query(text).bind(signed(count)).execute(change).await?;
    Ok(())
}

/// The statement for a full chunk, and the one for a single letter.
static MANY: LazyLock<String> = LazyLock::new(|| statement(ROWS));
static ONE: LazyLock<String> = LazyLock::new(|| statement(1));

fn statement(rows: usize) -> String {
    let mut text = String::from(
        "INSERT INTO letters (rule, action, reason, kept_ms, bytes, attempts, message_id, nth,
         received_ms, qos, version, topic, error, context, payload, record) VALUES ",
    );
    for row in 0..rows {
        let comma = if row == 0 { "" } else { ", " };
        write!(text, "{comma}(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .expect("invariant: a text can be written to");
    }
    // The same record once more: its end was not yet known to be kept when the daemon was cut off.
    text.push_str(
        " ON CONFLICT (rule, action, message_id, nth, received_ms) DO UPDATE SET
         reason = excluded.reason, bytes = excluded.bytes, attempts = excluded.attempts,
         version = excluded.version, topic = excluded.topic, error = excluded.error,
         context = excluded.context, payload = excluded.payload, record = excluded.record,
         replayed_ms = NULL, edited = 0",
    );
    text
}

async fn insert(
    change: &mut SqliteConnection,
    letters: &[&DeadLetter],
    now: i64,
) -> Result<(), sqlx::Error> {
    if letters.len() == ROWS {
        let mut query = sqlx::query(MANY.as_str());
        for letter in letters {
            query = bind(query, letter, now);
        }
        query.execute(change).await?;
        return Ok(());
    }
    for letter in letters {
        bind(sqlx::query(ONE.as_str()), letter, now).execute(&mut *change).await?;
    }
    Ok(())
}

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

fn bind<'q>(query: Query<'q>, letter: &'q DeadLetter, now: i64) -> Query<'q> {
    let message = &letter.message;
    let context = context(message);
    let bytes = size(letter, &context);
    query
        .bind(&*letter.rule)
        .bind(&*letter.action)
        .bind(letter.reason)
        .bind(now)
        .bind(signed(bytes as u64))
        .bind(letter.attempts)
        .bind(stored_id(message.id))
        .bind(letter.nth)
        .bind(signed(message.received_ms))
        .bind(message.qos.level())
        .bind(&*letter.version)
        .bind(message.topic.as_str())
        .bind(shortened(&letter.error))
        .bind(context)
        .bind(&message.payload[..])
        .bind(letter.record.as_deref())
}
