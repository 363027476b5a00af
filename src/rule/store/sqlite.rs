//! The store in a file, and how files of SQLite are opened and brought up to date.
//!
//! Other parts keep files of their own with it. What is in the tables stands elsewhere.

use std::io;
use std::path::Path;
use std::time::Duration;

use contract::private;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AnyPool, Executor as _, Row as _};

use super::StoreError;
use super::steps::STEPS;

/// How long a statement waits for another process (such as `keys create`) that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes what was deleted off the disk.
pub(super) const CLEAN: &[&str] = &["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"];

/// Opens the store's file, which is made when it is missing.
///
/// # Errors
/// [`StoreError::File`], [`StoreError::TooNew`], or what the database says.
pub(super) async fn open(data_dir: &Path, path: &Path) -> Result<AnyPool, StoreError> {
    let steps: Vec<_> = STEPS.iter().map(|step| step.sqlite).collect();
    // One connection: writes come one by one anyway.
    open_file(data_dir, path, &steps, 1, "").await
}

/// Opens a file below a folder, brought up to date by its list of steps, for statements that mean the
/// same to any database. `tuned` is said to each connection.
///
/// # Errors
/// [`StoreError::TooNew`], [`StoreError::File`], or what the database says.
pub async fn open_file(
    folder: &Path,
    path: &Path,
    steps: &[&'static str],
    connections: u32,
    tuned: &str,
) -> Result<AnyPool, StoreError> {
    let file = |source| StoreError::File { path: path.to_owned(), source };
    create_private(folder, path).map_err(file)?;
    // The pool of any database knows no options but a URL, and a URL is text.
    let text = path.to_str().ok_or_else(|| {
        file(io::Error::new(io::ErrorKind::InvalidFilename, "expected a path in UTF-8"))
    })?;
    let setup = SqlitePoolOptions::new().max_connections(1).connect_with(durable(path)).await?;
    let migrated = migrate(&setup, path, steps).await;
    setup.close().await;
    migrated?;

    sqlx::any::install_default_drivers();
    let url = format!("sqlite:{}?mode=rw", utf8_percent_encode(text, NON_ALPHANUMERIC));
    let options: AnyConnectOptions = url.parse()?;
    // A file can't hang up as a server can, so there is nothing to test before each use, and nothing gets
    // better by opening it again.
    let pool = AnyPoolOptions::new().max_connections(connections).test_before_acquire(false);
    let pool = pool.idle_timeout(None).max_lifetime(None);
    // What `durable` says, as far as the file does not keep it.
    let busy = BUSY_TIMEOUT.as_millis();
    let same = format!(
        "PRAGMA busy_timeout = {busy}; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; {tuned}"
    );
    let pool = pool.after_connect(move |connection, _| {
        let same = same.clone();
        Box::pin(async move {
            connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(same))).await.map(drop)
        })
    });
    Ok(pool.connect_with(options).await?)
}

/// How a database is opened: what a call has written survives a power cut.
pub fn durable(path: &Path) -> SqliteConnectOptions {
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
pub async fn migrate(
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
        return Err(StoreError::TooNew { place: path.display().to_string(), found, known });
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
pub fn create_private(folder: &Path, file: &Path) -> io::Result<()> {
    private_folder(folder)?;
    private(std::fs::OpenOptions::new().create(true).append(true)).open(file).map(drop)
}

/// Makes a folder, and those above it that are missing; only its owner can look into it.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}
