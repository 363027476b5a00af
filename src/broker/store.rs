//! The file that keeps sessions and retained messages over a restart.
//!
//! It writes and reads rows; what a row means for a session is the journal's and `restore`'s.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use bytestring::ByteString;
use connectors::contract::{QoS, Topic, TopicLimits};
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqlitePoolOptions, SqliteRow};

use super::codec::Properties;
use super::journal::{Change, SessionRow};
use super::outbox::{Difference, Entry, Outgoing};
use super::retained::Retention;
use super::route::Routed;
use super::session::Subscribed;
use super::trie::{Terms, Wanted};
use crate::rule::store::{StoreError, create_private, durable, migrate, signed, unsigned};

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

/// What was accepted is read whatever the limits are now.
const ANY_TOPIC: TopicLimits = TopicLimits { bytes: usize::MAX, levels: usize::MAX };

/// Why what is kept cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row holds what was never written.
    #[error("{row} cannot be read: {problem}")]
    Row {
        /// Which.
        row: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl From<sqlx::Error> for KeptError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A subscription as it is written.
#[derive(Serialize, Deserialize)]
struct Line {
    filter: String,
    qos: u8,
    id: Option<u32>,
    no_local: bool,
    retain_as_published: bool,
}

/// The file, open.
#[derive(Debug)]
pub(super) struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens the file, and makes it when it is missing. Only the owner of the process may read it. What
    /// is written survives a power cut.
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
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
            let topic: String = row.try_get("topic")?;
            let named = format!("the retained message of `{topic}`");
            each(Arc::new(read_routed(&row, topic).map_err(|error| error.at(&named))?));
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
    let lines = row.subscriptions.iter().map(|(filter, subscribed)| Line {
        filter: filter.to_string(),
        qos: subscribed.terms.qos.level(),
        id: subscribed.terms.id,
        no_local: subscribed.terms.no_local,
        retain_as_published: subscribed.terms.retain_as_published,
    });
    let lines = serde_json::to_string(&lines.collect::<Vec<_>>());
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
    .bind(lines.map_err(|error| sqlx::Error::Encode(error.into()))?)
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

/// What is wrong with a row, before it is known which.
enum Fault {
    Database(sqlx::Error),
    Content(String),
}

impl Fault {
    fn at(self, row: &str) -> KeptError {
        match self {
            Self::Database(error) => error.into(),
            Self::Content(problem) => KeptError::Row { row: row.to_owned(), problem },
        }
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

fn content(problem: impl ToString) -> Fault {
    Fault::Content(problem.to_string())
}

fn level(row: &SqliteRow, column: &str) -> Result<QoS, Fault> {
    let level: i64 = row.try_get(column)?;
    u8::try_from(level).map_err(content).and_then(|level| QoS::try_from(level).map_err(content))
}

fn read_session(row: &SqliteRow) -> Result<SessionRow, KeptError> {
    let client_id: String = row.try_get("client_id")?;
    let named = format!("the session of `{}`", client_id.escape_debug());
    let read = || {
        let ids = |column: &str| {
            let bytes: Vec<u8> = row.try_get(column)?;
            Ok::<_, Fault>(bytes.as_chunks().0.iter().map(|id| u16::from_le_bytes(*id)).collect())
        };
        let lines: Vec<Line> =
            serde_json::from_str(row.try_get("subscriptions")?).map_err(content)?;
        let subscriptions = lines.into_iter().map(|line| {
            let terms = Terms {
                qos: QoS::try_from(line.qos).map_err(content)?,
                id: line.id,
                no_local: line.no_local,
                retain_as_published: line.retain_as_published,
            };
            let wanted = Wanted::parse(&line.filter, ANY_TOPIC).map_err(content)?;
            Ok::<_, Fault>((line.filter.into(), Subscribed { wanted, terms }))
        });
        let left: Option<i64> = row.try_get("left_ms")?;
        Ok(SessionRow {
            number: unsigned(row.try_get("number")?),
            client_id: ByteString::from(&*client_id),
            expiry_s: u32::try_from(row.try_get::<i64, _>("expiry_s")?).map_err(content)?,
            left_ms: left.map(unsigned),
            received: ids("received")?,
            routed: ids("routed")?,
            subscriptions: subscriptions.collect::<Result<_, _>>()?,
        })
    };
    read().map_err(|fault: Fault| fault.at(&named))
}

fn read_message(row: &SqliteRow) -> Result<(u64, Entry), KeptError> {
    let session = unsigned(row.try_get("session")?);
    let key = unsigned(row.try_get("key")?);
    let read = || {
        let seq: Option<i64> = row.try_get("seq")?;
        let topic: Option<String> = row.try_get("topic")?;
        let ids: Vec<u8> = row.try_get("ids")?;
        let ids: SmallVec<[u32; 2]> =
            ids.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id)).collect();
        let outgoing = match topic {
            None => None,
            Some(topic) => Some(Outgoing {
                routed: Arc::new(read_routed(row, topic)?),
                qos: level(row, "qos")?,
                retain: row.try_get("retain")?,
                ids,
                shared: None,
            }),
        };
        Ok(Entry { key, seq: seq.map(unsigned), outgoing })
    };
    let entry = read();
    let entry = entry.map_err(|fault: Fault| fault.at(&format!("message {key} of {session}")))?;
    Ok((session, entry))
}

fn read_routed(row: &SqliteRow, topic: String) -> Result<Routed, Fault> {
    let properties: Vec<u8> = row.try_get("properties")?;
    let payload: Vec<u8> = row.try_get("payload")?;
    let expires: Option<i64> = row.try_get("expires_ms")?;
    Ok(Routed::new(
        Topic::parse(topic, ANY_TOPIC).map_err(content)?,
        payload.into(),
        Properties::from_bytes(&Bytes::from(properties)).map_err(content)?,
        expires.map(unsigned),
        level(row, "published_qos")?,
    ))
}
