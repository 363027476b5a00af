//! The file that keeps sessions and retained messages over a restart.
//!
//! It writes and reads rows; what a row means for a session is the `writer`'s and `restore`'s.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use contract::QoS;
use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqlitePoolOptions};

use super::rows::{
    Change, KeptError, SessionRow, read_message, read_retained, read_session, subscription_lines,
};
use crate::sessions::{Difference, Entry, Retention, Routed};
use rule::store::{StoreError, create_private, durable, migrate, signed};

/// The file below the data directory.
pub const FILE: &str = "broker.db";

/// Each step brings the file from the version that is its index to the next. Never edit one that was
/// released; add another.
const STEPS: &[&str] = &["
    CREATE TABLE sessions (
        number INTEGER PRIMARY KEY,
        client_id TEXT NOT NULL UNIQUE,
        expiry_s INTEGER NOT NULL,
        left_ms INTEGER,
        received BLOB NOT NULL,
        routed BLOB NOT NULL,
        subscriptions TEXT NOT NULL
    ) STRICT;
    CREATE TABLE messages (
        session INTEGER NOT NULL,
        key INTEGER NOT NULL,
        seq INTEGER,
        qos INTEGER NOT NULL,
        retain INTEGER NOT NULL,
        ids BLOB NOT NULL,
        topic TEXT,
        payload BLOB NOT NULL,
        properties BLOB NOT NULL,
        expires_ms INTEGER,
        published_qos INTEGER NOT NULL,
        PRIMARY KEY (session, key)
    ) STRICT;
    CREATE TABLE retained (
        topic TEXT PRIMARY KEY,
        payload BLOB NOT NULL,
        properties BLOB NOT NULL,
        expires_ms INTEGER,
        published_qos INTEGER NOT NULL
    ) STRICT;
"];

/// The file, open.
#[derive(Debug)]
pub struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens the file, and makes it when it is missing. Only the owner of the process may read it. What
    /// is written survives a power cut.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        create_private(folder, path)
            .map_err(|source| StoreError::File { path: path.to_owned(), source })?;
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(durable(path)).await?;
        migrate(&pool, path, STEPS).await?;
        Ok(Self { pool })
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// Writes all changes, or none. Writing them again does no harm.
    pub(super) async fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut group = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let mut rest = changes;
        while let Some(first) = rest.first() {
            let count = in_one_statement(rest);
            let (run, behind) = rest.split_at(count);
            match first {
                Change::End(number) => end(*number, &mut group).await?,
                Change::Session(row) => put_session(row, &mut group).await?,
                Change::Message(session, difference) => match difference {
                    Difference::Add(_) => add_messages(run, &mut group).await?,
                    Difference::Remove(key) => remove(*session, *key, count, &mut group).await?,
                    Difference::Change(Entry { outgoing: None, .. }) => {
                        add_messages(run, &mut group).await?;
                    }
                    Difference::Change(entry) => number(*session, entry, count, &mut group).await?,
                },
                Change::Retained(retention) => put_retained(retention, &mut group).await?,
            }
            rest = behind;
        }
        group.commit().await?;
        Ok(())
    }

    /// All sessions.
    pub(super) async fn sessions(&self) -> Result<Vec<SessionRow>, KeptError> {
        let rows = sqlx::query("SELECT * FROM sessions").fetch_all(&self.pool).await?;
        rows.iter().map(read_session).collect()
    }

    /// Hands out all messages with the numbers of their sessions, those of a session in order.
    pub(super) async fn messages(&self, mut each: impl FnMut(u64, Entry)) -> Result<(), KeptError> {
        let query = sqlx::query("SELECT * FROM messages ORDER BY session, key");
        let mut rows = query.fetch(&self.pool);
        while let Some(row) = rows.try_next().await? {
            let (session, entry) = read_message(&row)?;
            each(session, entry);
        }
        Ok(())
    }

    /// Hands out all retained messages.
    pub(super) async fn retained(
        &self,
        mut each: impl FnMut(Arc<Routed>),
    ) -> Result<(), KeptError> {
        let mut rows = sqlx::query("SELECT * FROM retained").fetch(&self.pool);
        while let Some(row) = rows.try_next().await? {
            each(Arc::new(read_retained(&row)?));
        }
        Ok(())
    }
}

async fn end(number: u64, group: &mut SqliteConnection) -> Result<(), StoreError> {
    for statement in
        ["DELETE FROM messages WHERE session = ?", "DELETE FROM sessions WHERE number = ?"]
    {
        sqlx::query(statement).bind(signed(number)).execute(&mut *group).await?;
    }
    Ok(())
}

async fn put_session(row: &SessionRow, group: &mut SqliteConnection) -> Result<(), StoreError> {
    let ids = |list: &[u16]| list.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>();
    sqlx::query(
        "INSERT INTO sessions
         (number, client_id, expiry_s, left_ms, received, routed, subscriptions)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (number) DO UPDATE SET expiry_s = excluded.expiry_s,
         left_ms = excluded.left_ms, received = excluded.received, routed = excluded.routed,
         subscriptions = excluded.subscriptions",
    )
    .bind(signed(row.number))
    .bind(&*row.client_id)
    .bind(row.expiry_s)
    .bind(row.left_ms.map(signed))
    .bind(ids(&row.received))
    .bind(ids(&row.routed))
    .bind(subscription_lines(row)?)
    .execute(group)
    .await?;
    Ok(())
}

/// How many messages are added by one statement: the largest that fits counts.
const ROWS: [usize; 3] = [64, 8, 1];

/// How many of the changes, from the first, one statement does. Messages mostly come, are numbered and go
/// in order, so that this is many.
fn in_one_statement(changes: &[Change]) -> usize {
    let Some(Change::Message(session, first)) = changes.first() else { return 1 };
    let same = |n: usize, change: &Change| {
        let Change::Message(of, next) = change else { return false };
        let n = n as u64;
        match (first, next) {
            (Difference::Add(_), Difference::Add(_)) => true,
            (Difference::Remove(first), Difference::Remove(key)) => {
                of == session && *key == first + n
            }
            (
                Difference::Change(Entry { key: first, seq: Some(first_seq), outgoing: Some(_) }),
                Difference::Change(Entry { key, seq: Some(seq), outgoing: Some(_) }),
            ) => of == session && *key == first + n && *seq == first_seq + n,
            _ => false,
        }
    };
    let most = match first {
        Difference::Add(_) => ROWS[0],
        _ => usize::MAX,
    };
    let pairs = changes.iter().enumerate().take(most);
    let count = pairs.take_while(|(n, change)| *n == 0 || same(*n, change)).count();
    match first {
        Difference::Add(_) => ROWS.into_iter().find(|rows| *rows <= count).unwrap_or(1),
        _ => count,
    }
}

/// The statement that adds so many messages.
fn insertion(rows: usize) -> &'static str {
    static TEXTS: OnceLock<[String; ROWS.len()]> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| {
        ROWS.map(|rows| {
            let row = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
            format!(
                "INSERT OR REPLACE INTO messages (session, key, seq, qos, retain, ids, topic,
                 payload, properties, expires_ms, published_qos) VALUES {}",
                vec![row; rows].join(", ")
            )
        })
    });
    let at = ROWS.iter().position(|of| *of == rows).unwrap_or(ROWS.len() - 1);
    &texts[at]
}

/// Writes messages as they are; as many as [`ROWS`] has.
async fn add_messages(changes: &[Change], group: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut query = sqlx::query(insertion(changes.len()));
    for change in changes {
        let Change::Message(session, Difference::Add(entry) | Difference::Change(entry)) = change
        else {
            continue;
        };
        let outgoing = entry.outgoing.as_ref();
        let routed = outgoing.map(|outgoing| &outgoing.routed);
        let ids = outgoing.map(|outgoing| outgoing.ids.as_slice()).unwrap_or_default();
        let ids: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        query = query
            .bind(signed(*session))
            .bind(signed(entry.key))
            .bind(entry.seq.map(signed))
            .bind(outgoing.map_or(QoS::ExactlyOnce, |outgoing| outgoing.qos).level())
            .bind(outgoing.is_some_and(|outgoing| outgoing.retain))
            .bind(ids)
            .bind(routed.map(|routed| routed.topic.as_str()))
            .bind(routed.map(|routed| &*routed.payload).unwrap_or_default())
            .bind(routed.map(|routed| routed.properties.to_bytes()).unwrap_or_default())
            .bind(routed.and_then(|routed| routed.expires_ms).map(signed))
            .bind(routed.map_or(QoS::ExactlyOnce, |routed| routed.qos).level());
    }
    query.execute(group).await?;
    Ok(())
}

/// Removes so many messages of a session, from one on.
async fn remove(
    session: u64,
    first: u64,
    count: usize,
    group: &mut SqliteConnection,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM messages WHERE session = ? AND key BETWEEN ? AND ?")
        .bind(signed(session))
        .bind(signed(first))
        .bind(signed(first + count as u64 - 1))
        .execute(group)
        .await?;
    Ok(())
}

/// Notes the numbers of so many messages of a session, from one on.
async fn number(
    session: u64,
    first: &Entry,
    count: usize,
    group: &mut SqliteConnection,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE messages SET seq = key + ? WHERE session = ? AND key BETWEEN ? AND ?")
        .bind(signed(first.seq.unwrap_or(0)) - signed(first.key))
        .bind(signed(session))
        .bind(signed(first.key))
        .bind(signed(first.key + count as u64 - 1))
        .execute(group)
        .await?;
    Ok(())
}

async fn put_retained(
    retention: &Retention,
    group: &mut SqliteConnection,
) -> Result<(), StoreError> {
    match retention {
        Retention::Clear(topic) => {
            let query = sqlx::query("DELETE FROM retained WHERE topic = ?");
            query.bind(topic.as_str()).execute(group).await?;
        }
        Retention::Keep(routed) => {
            sqlx::query(
                "INSERT OR REPLACE INTO retained
                 (topic, payload, properties, expires_ms, published_qos) VALUES (?, ?, ?, ?, ?)",
            )
            .bind(routed.topic.as_str())
            .bind(&*routed.payload)
            .bind(routed.properties.to_bytes())
            .bind(routed.expires_ms.map(signed))
            .bind(routed.qos.level())
            .execute(group)
            .await?;
        }
    }
    Ok(())
}
