//! The connection to a database file, opened when it is first needed, and what SQLite's errors mean.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};

use crate::contract::{
    AnyConnection, ConfigError, ConnectionConfig, DeliveryError, Env, FailureKind, private,
};

/// How long a write waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A database file for `sqlite` actions. It is opened in WAL mode with `synchronous=FULL`: a row that
/// counts as delivered survives a power cut.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqliteSettings {
    /// The file; it and the folders above it are created when they are missing. A relative path is
    /// relative to the configuration file.
    path: PathBuf,
}

impl ConnectionConfig for SqliteSettings {
    const NAME: &'static str = "sqlite";
    const SUMMARY: &'static str = "An SQLite database file.";
    const EXAMPLE: &'static str = r#"{ path: "data/history.db" }"#;

    fn open(self, env: &Env) -> Result<AnyConnection, ConfigError> {
        if self.path.file_name().is_none() {
            return Err(ConfigError::new("path", "name a file, not a folder"));
        }
        Ok(Arc::new(Database { path: env.path(&self.path), pool: OnceLock::new() }))
    }
}

pub(super) struct Database {
    pub(super) path: PathBuf,
    pool: OnceLock<SqlitePool>,
}

impl Database {
    /// The one connection, opened when it is first needed.
    pub(super) async fn acquire(
        &self,
    ) -> Result<sqlx::pool::PoolConnection<Sqlite>, DeliveryError> {
        if let Some(folder) = self.path.parent().filter(|_| self.pool.get().is_none()) {
            tokio::fs::create_dir_all(folder).await.map_err(|error| {
                let text = format!("can't create folder {}: {error}", folder.display());
                DeliveryError::new(FailureKind::Misconfigured, text)
            })?;
            // Rows are what devices send: nobody else reads them. What is wrong with an existing file
            // is found when it is opened.
            create_private(&self.path).ok();
        }
        let pool = self.pool.get_or_init(|| {
            let options = SqliteConnectOptions::new()
                .filename(&self.path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(BUSY_TIMEOUT);
            // One writer at a time is SQLite's own rule; more connections would only wait.
            SqlitePoolOptions::new()
                .max_connections(1)
                .acquire_timeout(BUSY_TIMEOUT)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
                .connect_lazy_with(options)
        });
        pool.acquire().await.map_err(|error| self.failure(error))
    }

    pub(super) fn failure(&self, error: sqlx::Error) -> DeliveryError {
        let kind = match &error {
            sqlx::Error::Database(inner) => {
                let code = inner.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or(0);
                kind_of(code & 0xff)
            }
            sqlx::Error::PoolTimedOut => FailureKind::Busy,
            sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => FailureKind::Rejected,
            _ => FailureKind::Unreachable,
        };
        DeliveryError::new(kind, format!("{}: {error}", self.path.display()))
    }
}

/// Makes the file, when it is missing; SQLite gives its journal the same permissions.
fn create_private(path: &Path) -> std::io::Result<()> {
    private(std::fs::OpenOptions::new().create(true).append(true)).open(path).map(drop)
}

/// What a primary result code of SQLite means (sqlite.org/rescode.html).
fn kind_of(code: u32) -> FailureKind {
    match code {
        // BUSY, LOCKED, FULL
        5 | 6 | 13 => FailureKind::Busy,
        // PERM, READONLY, AUTH
        3 | 8 | 23 => FailureKind::Denied,
        // TOOBIG, CONSTRAINT, MISMATCH, RANGE
        18 | 19 | 20 | 25 => FailureKind::Rejected,
        // ERROR (no such table or column), CORRUPT, CANTOPEN, NOTADB
        1 | 11 | 14 | 26 => FailureKind::Misconfigured,
        _ => FailureKind::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r15_codes_mean_what_the_engine_can_do() {
        let cases: [(FailureKind, &[u32]); 5] = [
            (FailureKind::Busy, &[5, 6, 13]),
            (FailureKind::Denied, &[3, 8, 23]),
            (FailureKind::Rejected, &[18, 19, 20, 25]),
            (FailureKind::Misconfigured, &[1, 11, 14, 26]),
            (FailureKind::Unreachable, &[0, 2, 4, 7, 9, 10, 12, 15, 16, 17, 21, 22, 24]),
        ];
        for (kind, codes) in cases {
            for code in codes {
                assert_eq!(kind_of(*code), kind, "{code}");
            }
        }
    }
}
