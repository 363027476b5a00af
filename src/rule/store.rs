//! The embedded store of what the API creates: rules, their actions, and access keys.
//!
//! It keeps texts as they were given and hands out ids that are never used twice. It knows neither
//! the protocol's error codes nor what a configuration means, and it compiles nothing.

mod keys;
mod seal;

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};

use super::DataType;
pub use keys::{AccessKey, KEY_FILE, Role};
pub use seal::{MASTER_KEY, MASTER_KEY_MIN};
use seal::{Seal, unlock};

/// The file below the data directory.
pub const FILE: &str = "tidegate.db";

/// How long a statement waits for another process (such as `keys create`) that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Each step brings a database from the version that is its index to the next. Never edit one that
/// was released; add another. Ids start where the vendor's do, with six digits, and `AUTOINCREMENT`
/// keeps them from ever being used again.
const STEPS: &[&str] = &[
    "
    CREATE TABLE rules (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        description TEXT NOT NULL,
        data_type TEXT NOT NULL CHECK (data_type IN ('JSON', 'BINARY')),
        product_key TEXT,
        short_topic TEXT,
        topic_type INTEGER,
        select_list TEXT,
        filter TEXT,
        running INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        modified_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE actions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        rule_id INTEGER NOT NULL REFERENCES rules (id) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        configuration TEXT NOT NULL,
        error_action INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX actions_by_rule ON actions (rule_id);
    CREATE TABLE access_keys (
        id TEXT PRIMARY KEY,
        secret TEXT NOT NULL,
        role TEXT NOT NULL CHECK (role IN ('read', 'operate', 'admin')),
        created_ms INTEGER NOT NULL,
        revoked_ms INTEGER
    ) STRICT;
    INSERT INTO sqlite_sequence (name, seq) VALUES ('rules', 99999), ('actions', 99999);
",
    "
    CREATE TABLE settings (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
",
    include_str!("store/registry.sql"),
    include_str!("store/things.sql"),
];

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
    /// A newer version of the program wrote the file.
    #[error(
        "the store {path} has version {found}, this program knows versions up to {known}: use the newer program, or another `data_dir`"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The version of the file.
        found: i64,
        /// The newest version that is known.
        known: usize,
    },
    /// The secrets are encrypted, and nobody has given the master key.
    #[error(
        "the access keys in {path} are encrypted: set the environment variable {MASTER_KEY} to their master key"
    )]
    NoMasterKey {
        /// The file.
        path: PathBuf,
    },
    /// The secrets are encrypted with another master key.
    #[error(
        "{MASTER_KEY} is not the master key of the access keys in {path}: set it to the one with which the daemon first ran there"
    )]
    WrongMasterKey {
        /// The file.
        path: PathBuf,
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
    pool: SqlitePool,
    /// Present when the secrets of access keys are encrypted.
    seal: Option<Arc<Seal>>,
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
        create_private(data_dir, &path)
            .map_err(|source| StoreError::File { path: path.clone(), source })?;
        // One connection: writes come one by one anyway. A file can't hang up as a server can, so there is
        // nothing to test before each use.
        let options = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false);
        let pool = options.connect_with(durable(&path)).await?;
        migrate(&pool, &path, STEPS).await?;
        let seal = unlock(&pool, &path, master).await?.map(Arc::new);
        Ok(Self { pool, seal })
    }

    /// The connection, for the parts whose tables are kept here too.
    pub(crate) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Closes the file; every later call fails.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Adds a rule and returns its id. `rule.id` is not read.
    ///
    /// # Errors
    /// What the database says; the name must be free.
    pub async fn insert_rule(&self, rule: &StoredRule) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "INSERT INTO rules (name, description, data_type, product_key, short_topic, topic_type,
             select_list, filter, running, created_ms, modified_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&rule.name)
        .bind(&rule.description)
        .bind(data_type_name(rule.data_type))
        .bind(&rule.product_key)
        .bind(&rule.short_topic)
        .bind(rule.topic_type)
        .bind(&rule.select)
        .bind(&rule.filter)
        .bind(rule.running)
        .bind(signed(rule.created_ms))
        .bind(signed(rule.modified_ms))
        .execute(&self.pool)
        .await?;
        Ok(unsigned(done.last_insert_rowid()))
    }

    /// Replaces everything of a rule but its id, its data type and when it was created.
    ///
    /// # Errors
    /// What the database says; a rule of that id must exist and the name must be free.
    pub async fn update_rule(&self, rule: &StoredRule) -> Result<(), StoreError> {
        let done = sqlx::query(
            "UPDATE rules SET name = ?, description = ?, product_key = ?, short_topic = ?,
             topic_type = ?, select_list = ?, filter = ?, running = ?, modified_ms = ?
             WHERE id = ?",
        )
        .bind(&rule.name)
        .bind(&rule.description)
        .bind(&rule.product_key)
        .bind(&rule.short_topic)
        .bind(rule.topic_type)
        .bind(&rule.select)
        .bind(&rule.filter)
        .bind(rule.running)
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
        let done = sqlx::query("DELETE FROM rules WHERE id = ?")
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
        let row = sqlx::query("SELECT * FROM rules WHERE id = ?")
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
        let row = sqlx::query("SELECT * FROM rules WHERE name = ?")
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
        let rows = sqlx::query("SELECT * FROM rules ORDER BY id DESC LIMIT ? OFFSET ?")
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
        let rows = sqlx::query("SELECT * FROM rules WHERE running ORDER BY id")
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
        let done = sqlx::query(
            "INSERT INTO actions (rule_id, kind, configuration, error_action) VALUES (?, ?, ?, ?)",
        )
        .bind(signed(action.rule_id))
        .bind(&action.kind)
        .bind(&action.configuration)
        .bind(action.error)
        .execute(&mut *change)
        .await?;
        let id = unsigned(done.last_insert_rowid());
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
        let done = sqlx::query("UPDATE actions SET kind = ?, configuration = ? WHERE id = ?")
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
        let done = sqlx::query("DELETE FROM actions WHERE id = ?")
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
        let row = sqlx::query("SELECT * FROM actions WHERE id = ?")
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
             WHERE rules.running ORDER BY actions.rule_id, actions.id",
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
        let rows = sqlx::query("SELECT * FROM actions WHERE rule_id = ? ORDER BY id")
            .bind(signed(rule_id))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read_action).collect()
    }
}

/// How a database is opened: what a call has written survives a power cut.
pub(crate) fn durable(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
}

/// Brings a database to the version that its list of steps leads to.
///
/// # Errors
/// [`StoreError::TooNew`], or what the database says.
pub(crate) async fn migrate(
    pool: &SqlitePool,
    path: &Path,
    steps: &[&'static str],
) -> Result<(), StoreError> {
    let mut change = pool.begin_with("BEGIN IMMEDIATE").await?;
    let found: i64 =
        sqlx::query("PRAGMA user_version").fetch_one(&mut *change).await?.try_get(0)?;
    let known = steps.len();
    let done = usize::try_from(found).unwrap_or(usize::MAX);
    if done > known {
        return Err(StoreError::TooNew { path: path.to_owned(), found, known });
    }
    for step in steps.iter().skip(done) {
        sqlx::raw_sql(*step).execute(&mut *change).await?;
    }
    // A PRAGMA takes no parameters; the text holds nothing but a number of our own.
    let version = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {known}"));
    sqlx::raw_sql(version).execute(&mut *change).await?;
    change.commit().await?;
    Ok(())
}

/// Makes folder and file; SQLite gives its journal the same permissions as the file.
pub(crate) fn create_private(folder: &Path, file: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    private(std::fs::OpenOptions::new().create(true).append(true)).open(file).map(drop)
}

/// A file that is made with these options can only be read by its owner.
pub(crate) fn private(options: &mut std::fs::OpenOptions) -> &mut std::fs::OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

fn expect_one(rows: u64) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound.into()) }
}

/// SQLite's integers are signed; ids and times stay far below the limit.
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

fn read_rule(row: &SqliteRow) -> Result<StoredRule, StoreError> {
    let binary = row.try_get::<&str, _>("data_type")? == data_type_name(DataType::Binary);
    Ok(StoredRule {
        id: unsigned(row.try_get("id")?),
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        data_type: if binary { DataType::Binary } else { DataType::Json },
        product_key: row.try_get("product_key")?,
        short_topic: row.try_get("short_topic")?,
        topic_type: row.try_get("topic_type")?,
        select: row.try_get("select_list")?,
        filter: row.try_get("filter")?,
        running: row.try_get("running")?,
        created_ms: unsigned(row.try_get("created_ms")?),
        modified_ms: unsigned(row.try_get("modified_ms")?),
    })
}

fn read_action(row: &SqliteRow) -> Result<StoredAction, StoreError> {
    Ok(StoredAction {
        id: unsigned(row.try_get("id")?),
        rule_id: unsigned(row.try_get("rule_id")?),
        kind: row.try_get("kind")?,
        configuration: row.try_get("configuration")?,
        error: row.try_get("error_action")?,
    })
}

#[cfg(test)]
mod tests;
