//! Saying which letters are to be replayed, with changes if need be, and how far a replay has come.
//!
//! Any process may do that; what is wanted is delivered by the daemon, now or at its next start.

use bytes::Bytes;
use contract::Topic;
use sqlx::Row as _;

use super::list::Filter;
use super::writer::json;
use super::{Database, DeadError};
use rule::store::{signed, unsigned};

/// Letters in one transaction: what the daemon has to keep waits no longer than one takes.
const CHUNK: u64 = 2000;

/// Replays whose numbers are remembered.
const REPLAYS_MAX: i64 = 100;

/// A replay that is being asked for: its number, and how far the asking has come.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The number of the replay.
    pub replay: u64,
    /// Later letters are not part of it.
    last: u64,
    after: Option<(u64, u64)>,
}

/// What takes the place of a letter's topic and payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The letter's number.
    pub id: u64,
    /// The new topic.
    pub topic: Topic,
    /// The new payload.
    pub payload: Bytes,
}

/// How far a replay has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Letters that are part of it so far.
    pub total: u64,
    /// Those that were delivered.
    pub delivered: u64,
    /// Those that failed again and are dead as before.
    pub failed: u64,
    /// Those that the limit has driven out meanwhile.
    pub dropped: u64,
    /// When a daemon was last seen to be at work on it, in milliseconds since 1970.
    pub seen_ms: Option<u64>,
}

impl Progress {
    /// Letters of which the end is known.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.delivered + self.failed + self.dropped
    }
}

impl Database {
    /// Begins to ask for a replay of letters that are there by now.
    ///
    /// # Errors
    /// What the database says.
    pub async fn begin_replay(&self, now_ms: u64) -> Result<Wanted, DeadError> {
        let mut change = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let done = sqlx::query("INSERT INTO replays (created_ms) VALUES (?)")
            .bind(signed(now_ms))
            .execute(&mut *change)
            .await?;
        let replay = done.last_insert_rowid();
        sqlx::query("DELETE FROM replays WHERE id <= ? AND delivered + failed + dropped >= total")
            .bind(replay - REPLAYS_MAX)
            .execute(&mut *change)
            .await?;
        let row =
            sqlx::query("SELECT coalesce(max(id), 0) FROM letters").fetch_one(&mut *change).await?;
        let last = unsigned(row.try_get(0)?);
        change.commit().await?;
        Ok(Wanted { replay: unsigned(replay), last, after: None })
    }

    /// Asks for some more of the letters that fit, the oldest first; false when there are no more.
    /// What an earlier replay has asked for and not got is this one's from now on.
    ///
    /// # Errors
    /// What the database says; what was asked for before stays.
    pub async fn want(&self, wanted: &mut Wanted, filter: &Filter) -> Result<bool, DeadError> {
        let found = self.numbers(filter, wanted.after, wanted.last, CHUNK).await?;
        let Some(last) = found.last() else { return Ok(false) };
        let ids: Vec<u64> = found.iter().map(|(_, id)| *id).collect();
        let text = if filter.replayed {
            "UPDATE letters SET wanted = ?, replayed_ms = NULL
             WHERE replayed_ms IS NOT NULL AND id IN (SELECT value FROM json_each(?))"
        } else {
            "UPDATE letters SET wanted = ?
             WHERE replayed_ms IS NULL AND id IN (SELECT value FROM json_each(?))"
        };
        sqlx::query(text).bind(signed(wanted.replay)).bind(json(&ids)).execute(&self.pool).await?;
        wanted.after = Some(*last);
        Ok(true)
    }

    /// Asks for letters with other topics and payloads, all or none. Returns the numbers of those that
    /// stay as they are: they are not there, are being replayed already, or (without `force`) were
    /// replayed before.
    ///
    /// # Errors
    /// What the database says; nothing is changed.
    pub async fn want_edited(
        &self,
        wanted: &Wanted,
        edits: &[Edit],
        force: bool,
    ) -> Result<Vec<u64>, DeadError> {
        let mut change = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let mut left = Vec::new();
        for edit in edits {
            let topic = edit.topic.as_str();
            let done = sqlx::query(
                "UPDATE letters SET
                    bytes = bytes - length(CAST(topic AS BLOB)) - length(payload)
                        - coalesce(length(record), 0) + ?,
                    topic = ?, payload = ?, record = NULL, edited = 1,
                    wanted = ?, replayed_ms = NULL
                 WHERE id = ? AND wanted IS NULL AND (replayed_ms IS NULL OR ?)",
            )
            .bind(signed((topic.len() + edit.payload.len()) as u64))
            .bind(topic)
            .bind(&edit.payload[..])
            .bind(signed(wanted.replay))
            .bind(signed(edit.id))
            .bind(force)
            .execute(&mut *change)
            .await?;
            if done.rows_affected() == 0 {
                left.push(edit.id);
            }
        }
        change.commit().await?;
        Ok(left)
    }

    /// How far a replay has come.
    ///
    /// # Errors
    /// What the database says; the replay must be known.
    pub async fn progress(&self, replay: u64) -> Result<Progress, DeadError> {
        let row = sqlx::query(
            "SELECT total, delivered, failed, dropped, seen_ms FROM replays WHERE id = ?",
        )
        .bind(signed(replay))
        .fetch_one(&self.pool)
        .await?;
        let number = |at: usize| row.try_get(at).map(unsigned);
        Ok(Progress {
            total: number(0)?,
            delivered: number(1)?,
            failed: number(2)?,
            dropped: number(3)?,
            seen_ms: row.try_get::<Option<i64>, _>(4)?.map(unsigned),
        })
    }
}
