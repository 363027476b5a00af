//! The store of what the API creates: rules, their actions, and access keys. It is an embedded SQLite
//! file, or a PostgreSQL database.
//!
//! It keeps texts as they were given and hands out ids that are never used twice. It knows neither
//! the protocol's error codes nor what a configuration means, and it compiles nothing.
//!
//! Both databases get the same statements, which therefore have parameters `$1`, whole numbers of 64 bits
//! (0 and 1 for no and yes) and texts only: in `rules`, `actions` and `keys`, whose secrets `seal`
//! encrypts. What differs stands in `sqlite`, `postgres` and `steps`.

mod actions;
mod error;
mod keys;
mod postgres;
mod rules;
mod seal;
mod secrets;
mod sqlite;
mod steps;

use std::path::Path;
use std::sync::Arc;

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyPool, Row as _};

pub use actions::StoredAction;
pub use error::StoreError;
pub use keys::{AccessKey, KEY_FILE, Role};
pub use postgres::is_postgres;
pub use postgres::{Claim, Server};
pub use rules::StoredRule;
pub use seal::{MASTER_KEY, MASTER_KEY_MIN};
use seal::{Seal, unlock};
pub use sqlite::{create_private, durable, migrate, open_file, private_folder};
pub use steps::HISTORY;

/// The file below the data directory.
pub const FILE: &str = "tidegate.db";

/// The store. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    /// Present when the secrets of access keys are encrypted.
    seal: Option<Arc<Seal>>,
    in_postgres: bool,
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
        Ok(Self { pool, seal, in_postgres: backend == Backend::Postgres })
    }

    /// Whether it is in a PostgreSQL database.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        self.in_postgres
    }

    /// The connections, for the parts whose tables are kept here too.
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Closes the database; every later call fails.
    pub async fn close(&self) {
        self.pool.close().await;
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

/// Runs a statement that has to change one row.
async fn changed(query: Query<'_, Any, AnyArguments>, pool: &AnyPool) -> Result<(), StoreError> {
    match query.execute(pool).await?.rows_affected() {
        1 => Ok(()),
        _ => Err(sqlx::Error::RowNotFound.into()),
    }
}

/// The databases' integers are signed; ids and times stay far below the limit.
#[must_use]
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The other way round.
#[must_use]
pub fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests;
