//! The file: its tables, its indices, and the numbers that its triggers keep right, whichever process
//! writes.
//!
//! What is read from it and written to it stands in the other files of this folder.

use std::path::{Path, PathBuf};

use sqlx::Row as _;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

use super::{DeadCounts, DeadError};
use rule::store::{StoreError, create_private, durable, migrate, unsigned};

/// The file below the data directory.
pub const FILE: &str = "dead_letters.db";

/// Each step brings a database from the version that is its index to the next. Never edit one that
/// was released; add another.
///
/// A letter is dead (`replayed_ms` NULL) or was replayed and is still there to be looked at. `wanted`
/// is the number of the replay that is to deliver it. Columns that are searched stand before those that
/// may be large, so that a search does not read these.
const STEPS: &[&str] = &["
    CREATE TABLE letters (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        rule TEXT NOT NULL,
        action TEXT NOT NULL,
        reason TEXT NOT NULL,
        kept_ms INTEGER NOT NULL,
        wanted INTEGER,
        replayed_ms INTEGER,
        bytes INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        edited INTEGER NOT NULL DEFAULT 0,
        message_id INTEGER,
        nth INTEGER NOT NULL,
        received_ms INTEGER NOT NULL,
        qos INTEGER NOT NULL,
        version TEXT NOT NULL,
        topic TEXT NOT NULL,
        error TEXT NOT NULL,
        context TEXT NOT NULL,
        payload BLOB NOT NULL,
        record BLOB,
        UNIQUE (rule, action, message_id, nth, received_ms)
    ) STRICT;
    CREATE INDEX letters_by_time ON letters (kept_ms) WHERE replayed_ms IS NULL;
    CREATE INDEX letters_by_rule ON letters (rule, kept_ms) WHERE replayed_ms IS NULL;
    CREATE INDEX letters_by_action ON letters (rule, action, kept_ms) WHERE replayed_ms IS NULL;
    CREATE INDEX letters_by_reason ON letters (reason, kept_ms) WHERE replayed_ms IS NULL;
    CREATE INDEX letters_wanted ON letters (id) WHERE wanted IS NOT NULL;
    CREATE INDEX letters_replayed ON letters (replayed_ms) WHERE replayed_ms IS NOT NULL;
    CREATE TABLE replays (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        created_ms INTEGER NOT NULL,
        seen_ms INTEGER,
        total INTEGER NOT NULL DEFAULT 0,
        delivered INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        dropped INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE totals (
        kept INTEGER NOT NULL,
        spent INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        added INTEGER NOT NULL,
        replayed INTEGER NOT NULL,
        dropped INTEGER NOT NULL
    ) STRICT;
    INSERT INTO totals VALUES (0, 0, 0, 0, 0, 0);
    CREATE TRIGGER letter_added AFTER INSERT ON letters BEGIN
        UPDATE totals SET kept = kept + 1, added = added + 1, bytes = bytes + NEW.bytes;
    END;
    CREATE TRIGGER letter_removed AFTER DELETE ON letters BEGIN
        UPDATE totals SET
            bytes = bytes - OLD.bytes,
            kept = kept - (OLD.replayed_ms IS NULL),
            spent = spent - (OLD.replayed_ms IS NOT NULL),
            dropped = dropped + (OLD.replayed_ms IS NULL);
        UPDATE replays SET dropped = dropped + 1 WHERE id = OLD.wanted;
    END;
    CREATE TRIGGER letter_changed AFTER UPDATE OF bytes, replayed_ms, wanted ON letters BEGIN
        UPDATE totals SET
            bytes = bytes + NEW.bytes - OLD.bytes,
            kept = kept + (NEW.replayed_ms IS NULL) - (OLD.replayed_ms IS NULL),
            spent = spent + (NEW.replayed_ms IS NOT NULL) - (OLD.replayed_ms IS NOT NULL),
            replayed = replayed + (NEW.replayed_ms IS NOT NULL AND OLD.replayed_ms IS NULL);
        UPDATE replays SET
            total = total - (NEW.wanted IS NOT NULL),
            delivered = delivered + (NEW.wanted IS NULL AND NEW.replayed_ms IS NOT NULL),
            failed = failed + (NEW.wanted IS NULL AND NEW.replayed_ms IS NULL)
            WHERE id = OLD.wanted AND NEW.wanted IS NOT OLD.wanted;
        UPDATE replays SET total = total + 1
            WHERE id = NEW.wanted AND NEW.wanted IS NOT OLD.wanted;
    END;
"];

/// The file, open for looking and for saying what is wanted. A daemon may have it open, too.
#[derive(Debug, Clone)]
pub struct Database {
    pub(super) pool: SqlitePool,
    path: PathBuf,
}

impl Database {
    /// Opens the file; makes it, and the folder, when they are missing. Only the owner of the process
    /// may read it: it holds what devices sent.
    ///
    /// # Errors
    /// A [`DeadError`] when the file can't be used.
    pub async fn create(path: &Path) -> Result<Self, DeadError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        create_private(folder, path)
            .map_err(|source| StoreError::File { path: path.to_owned(), source })?;
        let pool = connect(path).await?;
        migrate(&pool, path, STEPS).await?;
        Ok(Self { pool, path: path.to_owned() })
    }

    /// Opens the file if there is one.
    ///
    /// # Errors
    /// A [`DeadError`] when the file can't be used.
    pub async fn open(path: &Path) -> Result<Option<Self>, DeadError> {
        if path.exists() { Self::create(path).await.map(Some) } else { Ok(None) }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the file; every later call fails.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// One connection that stays: `PRAGMA data_version` only means something on the same one.
pub(super) async fn connect(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(durable(path))
        .await
}

/// What the triggers have counted, and how many letters are replayed and still there.
pub(super) async fn totals(
    connection: &mut sqlx::SqliteConnection,
) -> Result<(DeadCounts, u64), sqlx::Error> {
    let row = sqlx::query("SELECT kept, bytes, added, replayed, dropped, spent FROM totals")
        .fetch_one(connection)
        .await?;
    let number = |at: usize| row.try_get(at).map(unsigned);
    let counts = DeadCounts {
        kept: number(0)?,
        bytes: number(1)?,
        added: number(2)?,
        replayed: number(3)?,
        dropped: number(4)?,
    };
    Ok((counts, number(5)?))
}
