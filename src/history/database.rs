//! The tables of a history: an SQLite file of their own, or those of the store when that is PostgreSQL.
//!
//! One writer has them; readers do not wait for it. Both databases get the same statements. A value is a
//! row of a tree that is ordered by series, time and number, so a page is one look into it, however
//! much is kept.

use std::path::Path;
use std::sync::LazyLock;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, Row as _};

use super::book::{Book, Known};
use super::entry::{Answer, Entry, Found, Series, Service};
use super::page::{Mark, Order, Row, WITHIN, Window};
use super::quiet::quietly;
use rule::store::{HISTORY, Store, StoreError, open_file, signed, unsigned};

/// The file below the data directory.
pub const FILE: &str = "device_history.db";

/// Rows of one INSERT; those that are left over go in smaller ones.
const CHUNKS: [usize; 4] = [512, 64, 8, 1];

/// How many calls of a service back the one is looked for that an answer belongs to.
const CALLS_BACK: i64 = 256;

/// Series that one step of retention looks at.
const SERIES_AT_ONCE: i64 = 500;

/// Values that it deletes at once, at least; of one series at most.
const DELETED_AT_ONCE: i64 = 5_000;

/// Memory of the writer for pages of the file, in KiB.
const CACHE_KIB: u32 = 32 << 10;

/// Pages that the file's journal holds before they go into it: many are written again until then.
const JOURNAL_PAGES: u32 = 8 << 10;

/// The INSERTs of [`CHUNKS`].
static INSERTS: LazyLock<Vec<(usize, String)>> =
    LazyLock::new(|| CHUNKS.into_iter().map(|rows| (rows, insert(rows))).collect());

/// The tables.
#[derive(Debug, Clone)]
pub(super) struct Database {
    reader: AnyPool,
    writer: AnyPool,
    in_file: bool,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Written {
    pub values: u64,
    /// More than a millisecond can hold.
    pub crowded: u64,
}

/// What a step of retention did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Swept {
    /// The series to go on behind; `None` when all were looked at.
    pub next: Option<i64>,
    /// Series that have no values any more.
    pub gone: Vec<i64>,
}

/// A row that is to be written.
struct Fresh<'f> {
    series: i64,
    time_ms: i64,
    nth: i64,
    value: &'f str,
}

impl Database {
    /// The tables of a store in PostgreSQL.
    pub(super) fn of(store: &Store) -> Self {
        let pool = store.pool().clone();
        Self { reader: pool.clone(), writer: pool, in_file: false }
    }

    /// The tables in a file of their own below the data directory.
    ///
    /// # Errors
    /// Those of the store's file.
    pub(super) async fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join(FILE);
        let tuned = format!(
            "PRAGMA cache_size = -{CACHE_KIB}; PRAGMA wal_autocheckpoint = {JOURNAL_PAGES}"
        );
        let (folder, file) = (data_dir.to_owned(), path.clone());
        let opening = async move { open_file(&folder, &file, HISTORY, 1, &tuned).await };
        let writer = quietly(opening).await?;
        let reader = open_file(data_dir, &path, HISTORY, 2, "PRAGMA query_only = ON").await?;
        Ok(Self { reader, writer, in_file: true })
    }

    /// Whether the bytes that it takes can be bounded: a server gives none back.
    pub(super) fn is_file(&self) -> bool {
        self.in_file
    }

    /// Closes what writes to a file of its own; the store closes itself.
    pub(super) async fn close_writer(&self) {
        if self.in_file {
            self.writer.close().await;
        }
    }

    /// Closes it; every later call fails.
    pub(super) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    /// How far in the log of that cursor everything is here.
    pub(super) async fn place(&self, cursor: &str) -> Result<Option<u64>, StoreError> {
        let query = sqlx::query("SELECT position FROM history_place WHERE cursor = $1");
        let row = query.bind(cursor).fetch_optional(&self.writer).await?;
        Ok(row.map(|row| row.try_get(0).map(unsigned)).transpose()?)
    }

    /// Writes what was found, and with it the place in the log up to which that is all; everything or
    /// nothing. What was written is taken out of `found`.
    pub(super) async fn write(
        &self,
        found: &mut Found,
        place: Option<(&str, u64)>,
        book: &mut Book,
    ) -> Result<Written, StoreError> {
        let written = self.try_write(found, place, book).await;
        match &written {
            Ok(_) => *found = Found::default(),
            // What it knows may be of rows that are not there now.
            Err(_) => book.forget(),
        }
        written
    }

    async fn try_write(
        &self,
        found: &Found,
        place: Option<(&str, u64)>,
        book: &mut Book,
    ) -> Result<Written, StoreError> {
        let mut change = self.writer.begin().await?;
        let (mut fresh, crowded) = number(&mut change, &found.entries, book).await?;
        let written = Written { values: fresh.len() as u64, crowded };
        let mut rows = fresh.drain(..);
        for (size, statement) in &*INSERTS {
            while rows.len() >= *size {
                let mut query = sqlx::query(statement.as_str());
                for row in rows.by_ref().take(*size) {
                    query = query.bind(row.series).bind(row.time_ms).bind(row.nth).bind(row.value);
                }
                query.execute(&mut *change).await?;
            }
        }
        for answer in &found.answers {
            note(&mut change, answer, book).await?;
        }
        if let Some((cursor, position)) = place {
            sqlx::query("DELETE FROM history_place").execute(&mut *change).await?;
            let insert = sqlx::query("INSERT INTO history_place VALUES ($1, $2)");
            insert.bind(cursor).bind(signed(position)).execute(&mut *change).await?;
        }
        change.commit().await?;
        Ok(written)
    }

    /// Values of a series in a window, in its order.
    pub(super) async fn rows(
        &self,
        series: &Series,
        window: &Window,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let mut connection = self.reader.acquire().await?;
        let Some(id) = id_of(&mut connection, series).await? else { return Ok(Vec::new()) };
        let text = match window.order {
            Order::Ascending => {
                "SELECT time_ms, nth, value FROM history_values
                 WHERE series = $1 AND (time_ms, nth) >= ($2, $3) AND time_ms <= $4
                 ORDER BY time_ms, nth LIMIT $5"
            }
            Order::Descending => {
                "SELECT time_ms, nth, value FROM history_values
                 WHERE series = $1 AND (time_ms, nth) < ($2, $3) AND time_ms >= $4
                 ORDER BY time_ms DESC, nth DESC LIMIT $5"
            }
        };
        let Mark { time_ms, nth } = window.start;
        let query = sqlx::query(text).bind(id).bind(signed(time_ms)).bind(signed(nth));
        let query = query.bind(signed(window.end_ms)).bind(signed(limit as u64));
        let rows = query.fetch_all(&mut *connection).await?;
        let row = |row: &AnyRow| {
            let mark = Mark { time_ms: unsigned(row.try_get(0)?), nth: unsigned(row.try_get(1)?) };
            Ok(Row { mark, value: row.try_get(2)? })
        };
        rows.iter().map(row).collect()
    }

    /// Deletes values older than that: of some series behind `after`, and a bounded number of them.
    pub(super) async fn sweep(&self, after: i64, oldest_ms: u64) -> Result<Swept, StoreError> {
        let mut change = self.writer.begin().await?;
        let series = sqlx::query(
            "SELECT s.id, (SELECT min(time_ms) FROM history_values v WHERE v.series = s.id)
             FROM history_series s WHERE s.id > $1 ORDER BY s.id LIMIT $2",
        );
        let series = series.bind(after).bind(SERIES_AT_ONCE).fetch_all(&mut *change).await?;
        let mut swept = Swept { next: None, ..Swept::default() };
        let (mut last, mut deleted) = (after, 0);
        let mut all = (series.len() as u64) < unsigned(SERIES_AT_ONCE);
        for row in &series {
            let (id, first): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
            if first.is_none_or(|first| first < signed(oldest_ms)) {
                let (gone, done) = delete(&mut change, id, signed(oldest_ms)).await?;
                deleted += gone;
                if done && forget(&mut change, id).await? {
                    swept.gone.push(id);
                }
                if !done || deleted >= unsigned(DELETED_AT_ONCE) {
                    last = if done { id } else { last };
                    all = false;
                    break;
                }
            }
            last = id;
        }
        change.commit().await?;
        swept.next = Some(last).filter(|_| !all);
        Ok(swept)
    }

    /// Bytes that the values take.
    pub(super) async fn bytes(&self) -> Result<u64, StoreError> {
        let text = match self.in_file {
            true => {
                "SELECT (page_count - freelist_count) * page_size
                 FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
            }
            false => {
                "SELECT pg_total_relation_size('history_values')
                      + pg_total_relation_size('history_series')"
            }
        };
        Ok(unsigned(sqlx::query(text).fetch_one(&self.writer).await?.try_get(0)?))
    }
}

fn insert(rows: usize) -> String {
    let row =
        |n: usize| format!("(${}, ${}, ${}, ${})", 4 * n + 1, 4 * n + 2, 4 * n + 3, 4 * n + 4);
    let rows: Vec<_> = (0..rows).map(row).collect();
    format!("INSERT INTO history_values (series, time_ms, nth, value) VALUES {}", rows.join(", "))
}

/// Gives each value its series and its number among those of its millisecond, in the order in which
/// they came; sorted as the tree is. Also how many there is no number for.
async fn number<'f>(
    change: &mut AnyConnection,
    entries: &'f [Entry],
    book: &mut Book,
) -> Result<(Vec<Fresh<'f>>, u64), StoreError> {
    let mut order: Vec<(i64, i64, usize)> = Vec::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        let known = remembered(change, &entry.series, book).await?;
        order.push((known.id, signed(entry.time_ms), at));
    }
    order.sort_unstable();
    let mut fresh = Vec::with_capacity(order.len());
    let (mut crowded, mut before) = (0, None);
    for (series, time_ms, at) in order {
        let Some(entry) = entries.get(at) else { continue };
        let nth = match before {
            Some((same, time, nth)) if (same, time) == (series, time_ms) => nth + 1,
            _ => match remembered(change, &entry.series, book).await?.next(time_ms) {
                Some(nth) => nth,
                None => last_at(change, series, time_ms).await?.map_or(0, |last| last + 1),
            },
        };
        before = Some((series, time_ms, nth));
        if nth >= signed(WITHIN - 1) {
            crowded += 1;
            continue;
        }
        book.reach(&entry.series, (time_ms, nth));
        fresh.push(Fresh { series, time_ms, nth, value: &entry.value });
    }
    Ok((fresh, crowded))
}

/// A series as the book has it, or else the tables.
async fn remembered(
    change: &mut AnyConnection,
    of: &Series,
    book: &mut Book,
) -> Result<Known, StoreError> {
    match book.get(of) {
        Some(known) => Ok(known),
        None => Ok(book.add(of, open(change, of).await?)),
    }
}

/// The id of a series.
async fn id_of(connection: &mut AnyConnection, of: &Series) -> Result<Option<i64>, StoreError> {
    let query = sqlx::query(
        "SELECT id FROM history_series WHERE device = $1 AND kind = $2 AND identifier = $3",
    );
    let query = query.bind(&*of.device).bind(of.kind.number()).bind(&*of.identifier);
    Ok(query.fetch_optional(connection).await?.map(|row| row.try_get(0)).transpose()?)
}

/// A series and its last value; makes it when there is none.
async fn open(change: &mut AnyConnection, of: &Series) -> Result<Known, StoreError> {
    let Some(id) = id_of(change, of).await? else {
        let query = sqlx::query(
            "INSERT INTO history_series (device, kind, identifier) VALUES ($1, $2, $3) RETURNING id",
        );
        let query = query.bind(&*of.device).bind(of.kind.number()).bind(&*of.identifier);
        let id = query.fetch_one(change).await?.try_get(0)?;
        return Ok(Known { id, last: Known::NOTHING });
    };
    let query = sqlx::query(
        "SELECT time_ms, nth FROM history_values WHERE series = $1
         ORDER BY time_ms DESC, nth DESC LIMIT 1",
    );
    let last = query.bind(id).fetch_optional(change).await?;
    let last = last.map(|row| Ok::<_, sqlx::Error>((row.try_get(0)?, row.try_get(1)?)));
    Ok(Known { id, last: last.transpose()?.unwrap_or(Known::NOTHING) })
}

/// The last number of a millisecond.
async fn last_at(
    change: &mut AnyConnection,
    series: i64,
    time_ms: i64,
) -> Result<Option<i64>, StoreError> {
    let query = sqlx::query(
        "SELECT nth FROM history_values WHERE series = $1 AND time_ms = $2
         ORDER BY nth DESC LIMIT 1",
    );
    let row = query.bind(series).bind(time_ms).fetch_optional(change).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Notes the answer to one of the last calls of a service. One that is not known is let go.
async fn note(
    change: &mut AnyConnection,
    answer: &Answer,
    book: &mut Book,
) -> Result<(), StoreError> {
    let id = match book.get(&answer.series) {
        Some(known) => Some(known.id),
        None => id_of(change, &answer.series).await?,
    };
    let Some(series) = id else { return Ok(()) };
    // A call's text begins with its id: only those with this one leave the database.
    let calls = sqlx::query(
        "SELECT time_ms, nth, value FROM
         (SELECT time_ms, nth, value FROM history_values WHERE series = $1
          ORDER BY time_ms DESC, nth DESC LIMIT $2) AS last
         WHERE value LIKE $3 ORDER BY time_ms DESC, nth DESC",
    );
    let begins = format!("{{\"id\":{},%", answer.id);
    let calls = calls.bind(series).bind(CALLS_BACK).bind(begins).fetch_all(&mut *change).await?;
    for row in &calls {
        let value: String = row.try_get(2)?;
        let Some(mut call) = Service::read(&value).filter(|call| call.id == answer.id) else {
            continue;
        };
        call.output = Some(answer.output.as_str().into());
        let Ok(text) = serde_json::to_string(&call) else { return Ok(()) };
        let (time_ms, nth): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let update = sqlx::query(
            "UPDATE history_values SET value = $1 WHERE series = $2 AND time_ms = $3 AND nth = $4",
        );
        update.bind(text).bind(series).bind(time_ms).bind(nth).execute(&mut *change).await?;
        return Ok(());
    }
    Ok(())
}

/// Deletes values of a series older than that: how many, and whether those were all.
async fn delete(
    change: &mut AnyConnection,
    id: i64,
    oldest: i64,
) -> Result<(u64, bool), StoreError> {
    let beyond = sqlx::query(
        "SELECT time_ms FROM history_values WHERE series = $1 AND time_ms < $2
         ORDER BY time_ms LIMIT 1 OFFSET $3",
    );
    let beyond = beyond.bind(id).bind(oldest).bind(DELETED_AT_ONCE);
    let beyond: Option<i64> =
        beyond.fetch_optional(&mut *change).await?.map(|row| row.try_get(0)).transpose()?;
    let delete = sqlx::query("DELETE FROM history_values WHERE series = $1 AND time_ms < $2");
    let deleted = delete.bind(id).bind(beyond.unwrap_or(oldest)).execute(change).await?;
    Ok((deleted.rows_affected(), beyond.is_none()))
}

/// Deletes a series that has no values; whether it had none.
async fn forget(change: &mut AnyConnection, id: i64) -> Result<bool, StoreError> {
    let forget = sqlx::query(
        "DELETE FROM history_series WHERE id = $1
         AND NOT EXISTS (SELECT 1 FROM history_values WHERE series = $1)",
    );
    Ok(forget.bind(id).execute(change).await?.rows_affected() > 0)
}
