//! The store in a PostgreSQL database: how it is reached, brought up to date, and kept for one daemon.
//!
//! Nothing here lets a password out. What is in the tables stands elsewhere.

use std::fmt;
use std::future::Future;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Executor as _, Row as _};
use tokio::task::JoinHandle;

use super::steps::{STEPS, Step};
use super::{Store, StoreError};

/// Connections of the store: requests of the API wait for one, messages never do.
const CONNECTIONS: u32 = 4;

/// How long it takes at most until there is a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a statement waits for another process (such as `keys create`) that writes.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a daemon waits for one that is about to end.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a daemon looks whether the database is still its own.
const CLAIM_CHECK: Duration = Duration::from_secs(5);

/// What the advisory locks are called, each with the schema's hash as the second key: the one of a daemon
/// while it runs, and the one of who changes the tables. Any numbers that nobody else uses.
const RUN_LOCK: i32 = 0x7164_0001;
const STEP_LOCK: i32 = 0x7164_0002;

/// What the server says when a lock is not given in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Takes what was deleted off the disk.
pub(super) const CLEAN: &[&str] = &["VACUUM FULL access_keys"];

/// How a URL is written.
const EXAMPLE: &str = "`postgres://user:password@host:5432/database`";

/// Parameters that a URL may have, beside `options[…]`. The library would log any other with its value.
const PARAMETERS: &[&str] =
    &["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "application_name", "options"];

/// Where a PostgreSQL database is, and who goes there. `Debug` leaves the latter out.
#[derive(Clone)]
pub struct Server {
    url: String,
    options: PgConnectOptions,
    place: String,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Server {
    /// Reads a URL such as `postgres://user:password@host:5432/database?sslmode=require`.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = || format!("this is no URL of a PostgreSQL database; expected {EXAMPLE}");
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(wrong());
        }
        let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, _) = parameter.split_once('=').unwrap_or_default();
            if !PARAMETERS.contains(&name) && !name.starts_with("options[") {
                let known = PARAMETERS.join(", ");
                return Err(format!(
                    "the URL has a parameter that is not known here; expected one of {known}, \
                     and the user and the password before the host: {EXAMPLE}"
                ));
            }
        }
        // The library's error could repeat the password.
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            format!(
                "{}; write special characters of the password as in URLs, `@` as `%40`",
                wrong()
            )
        })?;
        let host = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let database = options.get_database().unwrap_or(options.get_username());
        let place = format!("postgres://{host}/{database}");
        // Who waits for a lock is not slow; it is told so otherwise.
        let options = options.disable_statement_logging();
        Ok(Self { url: url.to_owned(), options, place })
    }

    /// Server and database, without the user and the password.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Takes the database for one daemon, for as long as the claim lives: two would mix up their rules.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Unreachable`], or what the database says.
    pub async fn claim(&self) -> Result<Claim, StoreError> {
        let held = self.take().await?;
        Ok(Claim { server: self.clone(), held: Some(held), watch: None })
    }

    pub(super) async fn connect(&self) -> Result<PgConnection, StoreError> {
        let unreachable =
            |reason: String| StoreError::Unreachable { place: self.place.clone(), reason };
        match within(CONNECT_TIMEOUT, self.options.connect()).await {
            Some(Err(sqlx::Error::Database(error))) => Err(unreachable(error.message().to_owned())),
            Some(connected) => connected.map_err(|error| unreachable(error.to_string())),
            None => Err(unreachable(format!("no answer within {CONNECT_TIMEOUT:?}"))),
        }
    }

    /// Takes the lock of a daemon, on a connection of its own.
    pub(super) async fn take(&self) -> Result<Held, StoreError> {
        let mut connection = self.connect().await?;
        set_lock_timeout(&mut connection, CLAIM_TIMEOUT).await?;
        let lock = sqlx::query("SELECT pg_advisory_lock($1, hashtext(current_schema()))");
        match lock.bind(RUN_LOCK).execute(&mut connection).await {
            Ok(_) => {}
            Err(sqlx::Error::Database(error))
                if error.code().as_deref() == Some(LOCK_NOT_AVAILABLE) =>
            {
                return Err(StoreError::InUse { place: self.place.clone() });
            }
            Err(error) => return Err(error.into()),
        }
        let row = sqlx::query("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
        Ok(Held { process: row.try_get(0)?, connection })
    }

    /// Ends what holds the lock when that is an earlier connection of this daemon: a server that has not
    /// noticed yet that it broke.
    pub(super) async fn end(&self, process: i32) -> Result<(), StoreError> {
        let mut connection = self.connect().await?;
        let end = sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_locks
             WHERE locktype = 'advisory' AND granted AND pid = $1 AND classid = $2::int8::oid
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        );
        end.bind(process).bind(i64::from(RUN_LOCK)).execute(&mut connection).await?;
        Ok(())
    }
}

/// The lock of a daemon.
pub(super) struct Held {
    /// The server's process that has it.
    pub(super) process: i32,
    connection: PgConnection,
}

/// A database is this daemon's as long as this lives.
pub struct Claim {
    server: Server,
    held: Option<Held>,
    watch: Option<JoinHandle<()>>,
}

impl Held {
    /// Takes the lock again when its connection broke, which it then says.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another daemon was faster, or why the server can't be asked.
    pub(super) async fn renew(&mut self, server: &Server) -> Result<bool, StoreError> {
        if let Some(Ok(())) = within(CONNECT_TIMEOUT, self.connection.ping()).await {
            return Ok(false);
        }
        server.end(self.process).await?;
        *self = server.take().await?;
        Ok(true)
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

impl Claim {
    /// Keeps it, also when the server restarts. Should another daemon have the database then, the store
    /// is closed: what two write would not fit together.
    pub fn keep(&mut self, store: Store) {
        if let Some(held) = self.held.take() {
            self.watch = Some(tokio::spawn(watch(self.server.clone(), held, store)));
        }
    }
}

async fn watch(server: Server, mut held: Held, store: Store) {
    let mut tick = tokio::time::interval(CLAIM_CHECK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match held.renew(&server).await {
            Ok(false) => {}
            Ok(true) => tracing::info!("the store {} is this daemon's again", server.place),
            Err(problem @ StoreError::InUse { .. }) => {
                tracing::error!(%problem, "the store is closed; end this daemon");
                store.close().await;
                return;
            }
            Err(problem) => tracing::warn!(%problem, "the store is tried again"),
        }
    }
}

async fn within<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(time, future).await.ok()
}

async fn set_lock_timeout(
    connection: &mut PgConnection,
    time: Duration,
) -> Result<(), sqlx::Error> {
    // A SET takes no parameters; the text holds nothing but a number of our own.
    let text = format!("SET lock_timeout = {}", time.as_millis());
    connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(text))).await.map(drop)
}

/// Where writers do not wait for each other by themselves, as those of SQLite do.
pub fn is_postgres(connection: &AnyConnection) -> bool {
    connection.backend_name() == <sqlx::Postgres as sqlx::Database>::NAME
}

/// Opens the database, whose tables are made when they are missing.
///
/// # Errors
/// [`StoreError::Unreachable`], [`StoreError::TooNew`], or what the database says.
pub(super) async fn open(server: &Server) -> Result<AnyPool, StoreError> {
    // A pool would try until the time is up, and not tell why.
    let mut connection = server.connect().await?;
    set_lock_timeout(&mut connection, LOCK_TIMEOUT).await?;
    migrate(&mut connection, server, STEPS).await?;
    connection.close().await?;

    sqlx::any::install_default_drivers();
    let options: AnyConnectOptions = server.url.parse()?;
    let pool = AnyPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(CONNECT_TIMEOUT);
    let pool = pool.after_connect(|connection, _| {
        Box::pin(async move {
            let text = format!("SET lock_timeout = {}", LOCK_TIMEOUT.as_millis());
            connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(text))).await.map(drop)
        })
    });
    Ok(pool.connect_with(options).await?)
}

/// Brings the tables to the version that the list of steps leads to; it is kept in a table of one row.
pub(super) async fn migrate(
    connection: &mut PgConnection,
    server: &Server,
    steps: &[Step],
) -> Result<(), StoreError> {
    let mut change = connection.begin().await?;
    // Of two that come at the same time, the second waits and finds nothing left to do.
    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))");
    lock.bind(STEP_LOCK).execute(&mut *change).await?;
    let there =
        sqlx::query("SELECT to_regclass(format('%I.store_version', current_schema())) IS NOT NULL");
    if !there.fetch_one(&mut *change).await?.try_get(0)? {
        let table = "CREATE TABLE store_version (version BIGINT NOT NULL);
                     INSERT INTO store_version VALUES (0)";
        sqlx::raw_sql(table).execute(&mut *change).await?;
    }
    let version = sqlx::query("SELECT version FROM store_version").fetch_one(&mut *change).await?;
    let (found, known): (i64, usize) = (version.try_get(0)?, steps.len());
    let done = usize::try_from(found).unwrap_or(usize::MAX);
    if done > known {
        return Err(StoreError::TooNew { place: server.place.clone(), found, known });
    }
    for step in steps.iter().skip(done) {
        sqlx::raw_sql(step.postgres).execute(&mut *change).await?;
    }
    if done < known {
        let update = sqlx::query("UPDATE store_version SET version = $1");
        update.bind(super::signed(known as u64)).execute(&mut *change).await?;
    }
    change.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_without_who_goes_there() {
        let server = Server::parse("postgres://who:hunter2@db.example/plant?sslmode=require");
        let server = server.expect("a server");
        assert_eq!(server.place(), "postgres://db.example:5432/plant");
        let shown = format!("{server:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("who"), "{shown}");
        for bad in [
            "host=db.example password=hunter2",
            "mysql://who:hunter2@db.example/plant",
            "postgres://who:hunter2@db.example:port/plant",
            "postgres://who@db.example/plant?pasword=hunter2",
            "postgres://who@db.example/plant?sslmode=hunter2",
        ] {
            let error = Server::parse(bad).expect_err(bad);
            assert!(error.contains("postgres://user:") && !error.contains("hunter2"), "{error}");
        }
    }
}
