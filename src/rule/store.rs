//! The store of what the API creates: rules, their actions, and access keys. It is an embedded SQLite
//! file, or a PostgreSQL database.
//!
//! It keeps texts as they were given and hands out ids that are never used twice. It knows neither
//! the protocol's error codes nor what a configuration means, and it compiles nothing.
//!
//! Both databases get the same statements, which therefore have parameters `$1`, whole numbers of 64 bits
//! (0 and 1 for no and yes) and texts only. What differs stands in `sqlite`, `postgres` and `steps`.

mod keys;
mod postgres;
mod seal;
mod sqlite;
mod steps;

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyPool, Row as _};

use super::DataType;
pub use keys::{AccessKey, KEY_FILE, Role};
pub(crate) use postgres::is_postgres;
pub use postgres::{Claim, Server};
pub use seal::{MASTER_KEY, MASTER_KEY_MIN};
use seal::{Seal, unlock};
pub(crate) use sqlite::{create_private, durable, migrate, private_folder};

/// The file below the data directory.
pub const FILE: &str = "tidegate.db";

/// Why the store could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file or its folder can't be made or read.
    #[error("can't open the store {path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A newer version of the program wrote it.
    #[error(
        "the store {place} has version {found}, this program knows versions up to {known}: use the newer program, or another `data_dir` or database"
    )]
    TooNew {
        /// The file, or server and database.
        place: String,
        /// The version of the store.
        found: i64,
        /// The newest version that is known.
        known: usize,
    },
    /// The secrets are encrypted, and nobody has given the master key.
    #[error(
        "the access keys in {place} are encrypted: set the environment variable {MASTER_KEY} to their master key"
    )]
    NoMasterKey {
        /// The file, or server and database.
        place: String,
    },
    /// The secrets are encrypted with another master key.
    #[error(
        "{MASTER_KEY} is not the master key of the access keys in {place}: set it to the one with which the daemon first ran there"
    )]
    WrongMasterKey {
        /// The file, or server and database.
        place: String,
    },
    /// A master key that is easy to guess.
    #[error(
        "{MASTER_KEY} is too short: expected {MASTER_KEY_MIN} characters or more, such as `openssl rand -hex 32` makes"
    )]
    ShortMasterKey,
    /// A secret that can't be decrypted although the master key is right.
    #[error(
        "the secret of access key {0} is damaged: revoke it with `tidegate keys revoke {0}` and make another"
    )]
    DamagedSecret(String),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
    /// The PostgreSQL server is not there, or lets nobody in.
    #[error(
        "cannot reach the store {place}: {reason}; check `store.postgres` and that the server takes connections"
    )]
    Unreachable {
        /// Server and database, without the user and the password.
        place: String,
        /// What the system or the server said.
        reason: String,
    },
    /// Another daemon has the database.
    #[error(
        "another daemon uses the store {place}; stop it, or set another database in `store.postgres`"
    )]
    InUse {
        /// Server and database.
        place: String,
    },
    /// The database refused a statement.
    #[error("the store failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// A rule as the API was told to keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRule {
    /// From 100000 up; 0 before the rule is in the store.
    pub id: u64,
    /// Unique.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// Fixed when the rule is created.
    pub data_type: DataType,
    /// The product whose messages the rule reads.
    pub product_key: Option<String>,
    /// What follows the product key in the topic.
    pub short_topic: Option<String>,
    /// 0 system topics, 1 custom topics, 2 device status.
    pub topic_type: Option<u8>,
    /// What follows SELECT.
    pub select: Option<String>,
    /// What follows WHERE.
    pub filter: Option<String>,
    /// Started and not stopped.
    pub running: bool,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Milliseconds since 1970.
    pub modified_ms: u64,
}

/// An action of a rule as the API was told to keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAction {
    /// From 100000 up; 0 before the action is in the store.
    pub id: u64,
    /// The rule it belongs to.
    pub rule_id: u64,
    /// `REPUBLISH`, `OTS`, …
    pub kind: String,
    /// The JSON text as it was given.
    pub configuration: String,
    /// Gets what the others could not deliver.
    pub error: bool,
}

/// The store. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    /// Present when the secrets of access keys are encrypted.
    seal: Option<Arc<Seal>>,
}

/// Which database it is, for the little that they do not do the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    Sqlite,
    Postgres,
}

impl Store {
    /// Opens the store in a data directory; makes both when they are missing. Only the owner of the
    /// process may read the file: it holds secrets. What a call has written survives a power cut.
    ///
    /// # Errors
    /// [`StoreError::File`], [`StoreError::TooNew`], [`StoreError::NoMasterKey`], or what the database
    /// says.
    pub async fn open(data_dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(data_dir, None).await
    }

    /// The same, with the master key that the secrets of access keys are encrypted with. From the first
    /// time on that there is one, the store does not open without it.
    ///
    /// # Errors
    /// As [`Store::open`], or that it is the wrong one.
    pub async fn open_with(data_dir: &Path, master: Option<&str>) -> Result<Self, StoreError> {
        let path = data_dir.join(FILE);
        let pool = sqlite::open(data_dir, &path).await?;
        Self::unlocked(pool, Backend::Sqlite, &path.display().to_string(), master).await
    }

    /// Opens the store in a PostgreSQL database; makes its tables when they are missing. The schema is
    /// the connection's first one.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`], [`StoreError::TooNew`], [`StoreError::NoMasterKey`], or what the
    /// database says.
    pub async fn open_postgres(server: &Server, master: Option<&str>) -> Result<Self, StoreError> {
        let pool = postgres::open(server).await?;
        Self::unlocked(pool, Backend::Postgres, server.place(), master).await
    }

    async fn unlocked(
        pool: AnyPool,
        backend: Backend,
        place: &str,
        master: Option<&str>,
    ) -> Result<Self, StoreError> {
        let seal = unlock(&pool, backend, place, master).await?.map(Arc::new);
        Ok(Self { pool, seal })
    }

    /// The connections, for the parts whose tables are kept here too.
    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Closes the database; every later call fails.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Adds a rule and returns its id. `rule.id` is not read.
    ///
    /// # Errors
    /// What the database says; the name must be free.
    pub async fn insert_rule(&self, rule: &StoredRule) -> Result<u64, StoreError> {
        let query = sqlx::query(
            "INSERT INTO rules (name, description, data_type, product_key, short_topic, topic_type,
             select_list, filter, running, created_ms, modified_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id",
        )
        .bind(&rule.name)
        .bind(&rule.description)
        .bind(data_type_name(rule.data_type))
        .bind(&rule.product_key)
        .bind(&rule.short_topic)
        .bind(rule.topic_type.map(i64::from))
        .bind(&rule.select)
        .bind(&rule.filter)
        .bind(i64::from(rule.running))
        .bind(signed(rule.created_ms))
        .bind(signed(rule.modified_ms));
        inserted(query, &self.pool).await
    }

    /// Replaces everything of a rule but its id, its data type and when it was created.
    ///
    /// # Errors
    /// What the database says; a rule of that id must exist and the name must be free.
    pub async fn update_rule(&self, rule: &StoredRule) -> Result<(), StoreError> {
        let done = sqlx::query(
            "UPDATE rules SET name = $1, description = $2, product_key = $3, short_topic = $4,
             topic_type = $5, select_list = $6, filter = $7, running = $8, modified_ms = $9
             WHERE id = $10",
        )
        .bind(&rule.name)
        .bind(&rule.description)
        .bind(&rule.product_key)
        .bind(&rule.short_topic)
        .bind(rule.topic_type.map(i64::from))
        .bind(&rule.select)
        .bind(&rule.filter)
        .bind(i64::from(rule.running))
        .bind(signed(rule.modified_ms))
        .bind(signed(rule.id))
        .execute(&self.pool)
        .await?;
        expect_one(done.rows_affected())
    }

    /// Deletes a rule and its actions.
    ///
    /// # Errors
    /// What the database says; a rule of that id must exist.
    pub async fn delete_rule(&self, id: u64) -> Result<(), StoreError> {
        let done = sqlx::query("DELETE FROM rules WHERE id = $1")
            .bind(signed(id))
            .execute(&self.pool)
            .await?;
        expect_one(done.rows_affected())
    }

    /// The rule of that id.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rule(&self, id: u64) -> Result<Option<StoredRule>, StoreError> {
        let row = sqlx::query("SELECT * FROM rules WHERE id = $1")
            .bind(signed(id))
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read_rule).transpose()
    }

    /// The rule of that name.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rule_named(&self, name: &str) -> Result<Option<StoredRule>, StoreError> {
        let row = sqlx::query("SELECT * FROM rules WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read_rule).transpose()
    }

    /// At most `limit` rules, the newest first, after the first `offset`.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rules(&self, limit: u64, offset: u64) -> Result<Vec<StoredRule>, StoreError> {
        let rows = sqlx::query("SELECT * FROM rules ORDER BY id DESC LIMIT $1 OFFSET $2")
            .bind(signed(limit))
            .bind(signed(offset))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read_rule).collect()
    }

    /// The rules that were started and not stopped, the oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn running_rules(&self) -> Result<Vec<StoredRule>, StoreError> {
        let rows = sqlx::query("SELECT * FROM rules WHERE running <> 0 ORDER BY id")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read_rule).collect()
    }

    /// How many rules there are.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rule_count(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT count(*) FROM rules").fetch_one(&self.pool).await?;
        Ok(unsigned(row.try_get(0)?))
    }

    /// Adds an action and returns its id. `action.id` is not read.
    ///
    /// # Errors
    /// What the database says; the rule must exist.
    pub async fn insert_action(&self, action: &StoredAction) -> Result<u64, StoreError> {
        let inserted = self.insert_action_if(action, |_| Ok::<_, Infallible>(())).await?;
        Ok(match inserted {
            Ok(id) => id,
            Err(never) => match never {},
        })
    }

    /// Adds an action if somebody who is told its id agrees; otherwise nothing happened. The id is then
    /// used up.
    ///
    /// # Errors
    /// What the database says, also after the consent; the rule must exist.
    pub async fn insert_action_if<E>(
        &self,
        action: &StoredAction,
        consent: impl FnOnce(u64) -> Result<(), E>,
    ) -> Result<Result<u64, E>, StoreError> {
        let mut change = self.pool.begin().await?;
        let query = sqlx::query(
            "INSERT INTO actions (rule_id, kind, configuration, error_action)
             VALUES ($1, $2, $3, $4) RETURNING id",
        )
        .bind(signed(action.rule_id))
        .bind(&action.kind)
        .bind(&action.configuration)
        .bind(i64::from(action.error));
        let id = inserted(query, &mut *change).await?;
        if let Err(refusal) = consent(id) {
            change.rollback().await?;
            return Ok(Err(refusal));
        }
        change.commit().await?;
        Ok(Ok(id))
    }

    /// Replaces kind and configuration of an action.
    ///
    /// # Errors
    /// What the database says; an action of that id must exist.
    pub async fn update_action(&self, action: &StoredAction) -> Result<(), StoreError> {
        let done = sqlx::query("UPDATE actions SET kind = $1, configuration = $2 WHERE id = $3")
            .bind(&action.kind)
            .bind(&action.configuration)
            .bind(signed(action.id))
            .execute(&self.pool)
            .await?;
        expect_one(done.rows_affected())
    }

    /// Deletes an action.
    ///
    /// # Errors
    /// What the database says; an action of that id must exist.
    pub async fn delete_action(&self, id: u64) -> Result<(), StoreError> {
        let done = sqlx::query("DELETE FROM actions WHERE id = $1")
            .bind(signed(id))
            .execute(&self.pool)
            .await?;
        expect_one(done.rows_affected())
    }

    /// The action of that id.
    ///
    /// # Errors
    /// What the database says.
    pub async fn action(&self, id: u64) -> Result<Option<StoredAction>, StoreError> {
        let row = sqlx::query("SELECT * FROM actions WHERE id = $1")
            .bind(signed(id))
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read_action).transpose()
    }

    /// The actions of all rules that were started and not stopped, the oldest of each rule first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn running_actions(&self) -> Result<Vec<StoredAction>, StoreError> {
        let rows = sqlx::query(
            "SELECT actions.* FROM actions JOIN rules ON rules.id = actions.rule_id
             WHERE rules.running <> 0 ORDER BY actions.rule_id, actions.id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_action).collect()
    }

    /// All actions of a rule, the oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn actions(&self, rule_id: u64) -> Result<Vec<StoredAction>, StoreError> {
        let rows = sqlx::query("SELECT * FROM actions WHERE rule_id = $1 ORDER BY id")
            .bind(signed(rule_id))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read_action).collect()
    }
}

/// Runs an INSERT of one row that returns its id. All that comes is read: SQLite reports what goes wrong
/// with the commit of a single statement only at its end.
async fn inserted(
    query: Query<'_, Any, AnyArguments>,
    executor: impl sqlx::AnyExecutor<'_>,
) -> Result<u64, StoreError> {
    let rows = query.fetch_all(executor).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok(unsigned(row.try_get(0)?))
}

fn expect_one(rows: u64) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound.into()) }
}

/// The databases' integers are signed; ids and times stay far below the limit.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn data_type_name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Json => "JSON",
        DataType::Binary => "BINARY",
    }
}

/// Types of topics are small numbers.
fn small(value: Option<i64>) -> Option<u8> {
    value.and_then(|value| u8::try_from(value).ok())
}

fn read_rule(row: &AnyRow) -> Result<StoredRule, StoreError> {
    let binary = row.try_get::<&str, _>("data_type")? == data_type_name(DataType::Binary);
    Ok(StoredRule {
        id: unsigned(row.try_get("id")?),
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        data_type: if binary { DataType::Binary } else { DataType::Json },
        product_key: row.try_get("product_key")?,
        short_topic: row.try_get("short_topic")?,
        topic_type: small(row.try_get("topic_type")?),
        select: row.try_get("select_list")?,
        filter: row.try_get("filter")?,
        running: row.try_get::<i64, _>("running")? != 0,
        created_ms: unsigned(row.try_get("created_ms")?),
        modified_ms: unsigned(row.try_get("modified_ms")?),
    })
}

fn read_action(row: &AnyRow) -> Result<StoredAction, StoreError> {
    Ok(StoredAction {
        id: unsigned(row.try_get("id")?),
        rule_id: unsigned(row.try_get("rule_id")?),
        kind: row.try_get("kind")?,
        configuration: row.try_get("configuration")?,
        error: row.try_get::<i64, _>("error_action")? != 0,
    })
}

#[cfg(test)]
pub(crate) mod tests;
