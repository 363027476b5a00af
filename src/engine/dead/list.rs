//! Looking at letters: pages of a list, single letters, sums.
//!
//! It changes nothing. Every page comes from an index in the order of the list, so that it takes as
//! long with a million letters as with ten.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::database::totals;
use super::letter::{State, StoredLetter};
use super::writer::json;
use super::{Database, DeadCounts, DeadError};
use rule::store::{signed, unsigned};

/// Which letters; each condition that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of these numbers.
    pub ids: Option<Vec<u64>>,
    /// Of the rule of that name.
    pub rule: Option<String>,
    /// Of the action of that name.
    pub action: Option<String>,
    /// That ended for this reason.
    pub reason: Option<String>,
    /// Kept at that time or later, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Those that were replayed and are still there, in the place of those that wait.
    pub replayed: bool,
}

/// A letter in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its number.
    pub id: u64,
    /// When it was kept, in milliseconds since 1970.
    pub kept_ms: u64,
    /// The name of the rule.
    pub rule: String,
    /// The name of the action.
    pub action: String,
    /// The class of the end.
    pub reason: String,
    /// What the destination said last.
    pub error: String,
    /// How often delivery was tried.
    pub attempts: u32,
    /// What the message was published to.
    pub topic: String,
    /// Bytes of the payload.
    pub payload_bytes: u64,
    /// How it stands.
    pub state: State,
}

/// How many letters an action has for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The name of the rule.
    pub rule: String,
    /// The name of the action.
    pub action: String,
    /// The class of the end.
    pub reason: String,
    /// Letters.
    pub count: u64,
}

impl Filter {
    /// Adds the conditions after `WHERE`.
    fn conditions(&self, query: &mut QueryBuilder<Sqlite>) {
        query.push(if self.replayed { "replayed_ms IS NOT NULL" } else { "replayed_ms IS NULL" });
        // With numbers at hand no other index is worth a look; a `+` says so to SQLite.
        let plain = if self.ids.is_some() { " AND +" } else { " AND " };
        if let Some(ids) = &self.ids {
            query.push(" AND id IN (SELECT value FROM json_each(");
            query.push_bind(json(ids)).push("))");
        }
        let texts = [("rule", &self.rule), ("action", &self.action), ("reason", &self.reason)];
        for (column, text) in texts {
            if let Some(text) = text {
                query.push(plain).push(column).push(" = ").push_bind(text.clone());
            }
        }
        if let Some(since) = self.since_ms {
            query.push(plain).push("kept_ms >= ").push_bind(signed(since));
        }
    }
}

impl Database {
    /// At most `limit` letters, the latest first; with `before` (time and number of a letter) those
    /// that come after it in this order.
    ///
    /// # Errors
    /// What the database says.
    pub async fn list(
        &self,
        filter: &Filter,
        before: Option<(u64, u64)>,
        limit: u64,
    ) -> Result<Vec<Listed>, DeadError> {
        let mut query = QueryBuilder::new(
            "SELECT id, kept_ms, rule, action, reason, error, attempts, topic,
             length(payload) AS payload_bytes, wanted, replayed_ms FROM letters WHERE ",
        );
        filter.conditions(&mut query);
        if let Some((kept_ms, id)) = before {
            query.push(" AND (kept_ms, id) < (").push_bind(signed(kept_ms));
            query.push(", ").push_bind(signed(id)).push(")");
        }
        query.push(" ORDER BY kept_ms DESC, id DESC LIMIT ").push_bind(signed(limit));
        let rows = query.build().fetch_all(&self.pool).await?;
        rows.iter().map(|row| listed(row).map_err(DeadError::from)).collect()
    }

    /// Times and numbers of at most `limit` letters, the oldest first; with `after` those that come
    /// after it in this order. None has a number above `last`.
    pub(super) async fn numbers(
        &self,
        filter: &Filter,
        after: Option<(u64, u64)>,
        last: u64,
        limit: u64,
    ) -> Result<Vec<(u64, u64)>, DeadError> {
        let mut query = QueryBuilder::new("SELECT kept_ms, id FROM letters WHERE ");
        filter.conditions(&mut query);
        query.push(" AND +id <= ").push_bind(signed(last));
        if let Some((kept_ms, id)) = after {
            query.push(" AND (kept_ms, id) > (").push_bind(signed(kept_ms));
            query.push(", ").push_bind(signed(id)).push(")");
        }
        query.push(" ORDER BY kept_ms, id LIMIT ").push_bind(signed(limit));
        let rows = query.build().fetch_all(&self.pool).await?;
        let read = |row: &SqliteRow| Ok((unsigned(row.try_get(0)?), unsigned(row.try_get(1)?)));
        rows.iter().map(read).collect()
    }

    /// How the letters of these numbers stand, by number; those that are not there are left out.
    ///
    /// # Errors
    /// What the database says.
    pub async fn states(&self, ids: &[u64]) -> Result<Vec<(u64, State)>, DeadError> {
        let rows = sqlx::query(
            "SELECT id, wanted, replayed_ms FROM letters
             WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
        )
        .bind(json(ids))
        .fetch_all(&self.pool)
        .await?;
        let read = |row: &SqliteRow| Ok((unsigned(row.try_get("id")?), State::read(row)?));
        rows.iter().map(read).collect()
    }

    /// The letter of that number, if it is there.
    ///
    /// # Errors
    /// What the database says, or that the row is damaged.
    pub async fn letter(&self, id: u64) -> Result<Option<StoredLetter>, DeadError> {
        let row = sqlx::query("SELECT * FROM letters WHERE id = ?")
            .bind(signed(id))
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(StoredLetter::read).transpose()
    }

    /// How many letters there are by rule, action and reason. It reads all that fit.
    ///
    /// # Errors
    /// What the database says.
    pub async fn groups(&self, filter: &Filter) -> Result<Vec<Group>, DeadError> {
        let mut query =
            QueryBuilder::new("SELECT rule, action, reason, count(*) FROM letters WHERE ");
        filter.conditions(&mut query);
        query.push(" GROUP BY rule, action, reason ORDER BY rule, action, reason");
        let rows = query.build().fetch_all(&self.pool).await?;
        let read = |row: &SqliteRow| {
            Ok(Group {
                rule: row.try_get(0)?,
                action: row.try_get(1)?,
                reason: row.try_get(2)?,
                count: unsigned(row.try_get(3)?),
            })
        };
        rows.iter().map(read).collect()
    }

    /// What is kept, and what became of the rest.
    ///
    /// # Errors
    /// What the database says.
    pub async fn counts(&self) -> Result<DeadCounts, DeadError> {
        let mut connection = self.pool.acquire().await?;
        Ok(totals(&mut connection).await?.0)
    }
}

fn listed(row: &SqliteRow) -> Result<Listed, sqlx::Error> {
    Ok(Listed {
        id: unsigned(row.try_get("id")?),
        kept_ms: unsigned(row.try_get("kept_ms")?),
        rule: row.try_get("rule")?,
        action: row.try_get("action")?,
        reason: row.try_get("reason")?,
        error: row.try_get("error")?,
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
        topic: row.try_get("topic")?,
        payload_bytes: unsigned(row.try_get("payload_bytes")?),
        state: State::read(row)?,
    })
}
