//! SQLite: a connection to one database file, and a sink that writes rows to its tables. Writes of
//! one connection follow each other; other processes may read, and write in turn.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use sqlx::sqlite::{
    Sqlite, SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::contract::table::{
    self, COLUMNS_MAX, ColumnTemplates, Group, Layout, Name, Refusal, Writer,
};
use crate::contract::{
    AnyConnection, ConfigError, ConnectionConfig, DeliveryError, Env, FailureKind, Outcome,
    Preview, Record, Sink, SinkConfig,
};

/// Records in one transaction.
const BATCH_MAX: usize = 500;

/// Values in one statement; SQLite itself takes 32 766 (SQLITE_MAX_VARIABLE_NUMBER).
const VALUES_MAX: usize = 30_000;

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

struct Database {
    path: PathBuf,
    pool: OnceLock<SqlitePool>,
}

impl Database {
    /// The one connection, opened when it is first needed.
    async fn acquire(&self) -> Result<sqlx::pool::PoolConnection<Sqlite>, DeliveryError> {
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

    fn failure(&self, error: sqlx::Error) -> DeliveryError {
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
    let mut options = std::fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.create(true).append(true).open(path).map(drop)
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

/// Writes each record as a row of a table. A further try after a lost answer adds the row once more,
/// unless `key` names what identifies it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqliteSinkSettings {
    /// The name of an `sqlite` connection.
    #[serde(default = "history")]
    connection: String,
    /// The table; letters, digits, `_` and `$`.
    table: String,
    /// Columns to values; a value that is only `${x}` keeps its type. Without it each key of the
    /// record is a column.
    columns: Option<ColumnTemplates>,
    /// With `columns`: whether keys of the record that are not among them become columns, too.
    #[serde(default)]
    rest: bool,
    /// The columns that identify a row: a record with the same values replaces the others of that
    /// row. Without it rows are only added.
    #[serde(default)]
    key: Vec<String>,
    /// Whether to create the table, and columns for new keys of the record, up to 200.
    #[serde(default = "yes")]
    create: bool,
}

fn history() -> String {
    "history".to_owned()
}

fn yes() -> bool {
    true
}

impl SinkConfig for SqliteSinkSettings {
    const NAME: &'static str = "sqlite";
    const SUMMARY: &'static str = "Writes each record as a row of an SQLite table.";
    const EXAMPLE: &'static str =
        r#"{ table: alerts, columns: { device: "${device}", t: "${t}" }, key: [device] }"#;

    fn build(self, env: &Env) -> Result<Arc<dyn Sink>, ConfigError> {
        let table = Name::parse(&self.table)
            .map_err(|error| ConfigError::new("table", error.to_string()))?;
        Ok(Arc::new(Table {
            database: env.connections.get(&self.connection, "sqlite")?,
            layout: Layout::new(self.columns, self.rest, &self.key)?,
            resource: format!("{}.{}", self.connection, self.table),
            table,
            create: self.create,
            columns: Mutex::default(),
        }))
    }
}

struct Table {
    database: Arc<Database>,
    table: Name,
    layout: Layout,
    create: bool,
    resource: String,
    /// The table's columns in lower case, as far as they are known: SQLite ignores case.
    columns: Mutex<BTreeSet<String>>,
}

#[async_trait::async_trait]
impl Sink for Table {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        table::write_all(self, &self.layout, records, BATCH_MAX).await
    }

    async fn check(&self) -> Result<(), DeliveryError> {
        let mut connection = self.database.acquire().await?;
        if self.create || !self.existing(&mut connection).await?.is_empty() {
            return Ok(());
        }
        Err(self.no_table())
    }

    fn resource(&self) -> String {
        self.resource.clone()
    }

    fn preview(&self, record: &Record) -> Result<Preview, DeliveryError> {
        Ok(self.layout.row(record)?.preview(self.table.as_str()))
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }
}

#[async_trait::async_trait]
impl Writer for Table {
    async fn write(&self, groups: &[Group]) -> Result<(), Refusal> {
        let remembered = !self.lock_columns().is_empty();
        match self.try_write(groups).await {
            // Somebody has changed the table since it was looked at: look once more.
            Err(Refusal::Rows(error)) if error.kind == FailureKind::Misconfigured && remembered => {
                self.lock_columns().clear();
                self.try_write(groups).await
            }
            done => done,
        }
    }
}

impl Table {
    async fn try_write(&self, groups: &[Group]) -> Result<(), Refusal> {
        let mut connection = self.database.acquire().await?;
        self.make_columns(&mut connection, groups).await?;
        let written = self.insert(&mut connection, groups).await;
        Ok(written.map_err(|error| self.database.failure(error))?)
    }

    fn lock_columns(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.columns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn no_table(&self) -> DeliveryError {
        let text = format!(
            "{} has no table {}; create it, or set `create: true`",
            self.database.path.display(),
            self.table
        );
        DeliveryError::new(FailureKind::Misconfigured, text)
    }

    async fn existing(
        &self,
        connection: &mut sqlx::SqliteConnection,
    ) -> Result<BTreeSet<String>, DeliveryError> {
        let rows = sqlx::query("SELECT lower(name) FROM pragma_table_info(?)")
            .bind(self.table.as_str())
            .fetch_all(connection)
            .await;
        let rows = rows.map_err(|error| self.database.failure(error))?;
        Ok(rows.iter().filter_map(|row| row.try_get::<String, _>(0).ok()).collect())
    }

    /// Looks up the table's columns when some are not known, and makes those that are missing.
    async fn make_columns(
        &self,
        connection: &mut sqlx::SqliteConnection,
        groups: &[Group],
    ) -> Result<(), Refusal> {
        let wanted = |known: &BTreeSet<String>| -> Vec<Name> {
            let mut seen = known.clone();
            let names = groups.iter().flat_map(|group| group.columns());
            names.filter(|name| seen.insert(lower(name))).cloned().collect()
        };
        if wanted(&self.lock_columns()).is_empty() {
            return Ok(());
        }
        let mut known = self.existing(connection).await?;
        let missing = wanted(&known);
        if !self.create {
            if known.is_empty() {
                return Err(self.no_table().into());
            }
            *self.lock_columns() = known;
            if let Some(foreign) = missing.iter().find(|name| !self.layout.names(name)) {
                let text = format!(
                    "table {} has no column {foreign} for a key of the record; add it, name `columns`, or set `create: true`",
                    self.table
                );
                return Err(Refusal::Columns(DeliveryError::new(FailureKind::Rejected, text)));
            }
            // The statement itself says which column of the settings is missing.
            return Ok(());
        }
        if known.len() + missing.len() > COLUMNS_MAX {
            let text = format!(
                "table {} would get more than {COLUMNS_MAX} columns; name `columns`, or select fewer keys",
                self.table
            );
            return Err(Refusal::Columns(DeliveryError::new(FailureKind::Rejected, text)));
        }
        for sql in self.definitions(known.is_empty(), &missing) {
            let done = sqlx::query(AssertSqlSafe(sql)).persistent(false).execute(&mut *connection);
            done.await.map_err(|error| self.database.failure(error))?;
        }
        known.extend(missing.iter().map(lower));
        *self.lock_columns() = known;
        Ok(())
    }

    /// The statements that make missing columns. They have no type, so that values keep theirs.
    fn definitions(&self, new: bool, missing: &[Name]) -> Vec<String> {
        if !new {
            let add = |name: &Name| format!("ALTER TABLE {} ADD COLUMN {name}", self.table);
            return missing.iter().map(add).collect();
        }
        let mut columns = table::list(missing);
        if !self.layout.key().is_empty() {
            columns.push_str(&format!(", PRIMARY KEY ({})", table::list(self.layout.key())));
        }
        vec![format!("CREATE TABLE IF NOT EXISTS {} ({columns})", self.table)]
    }

    async fn insert(
        &self,
        connection: &mut sqlx::SqliteConnection,
        groups: &[Group],
    ) -> Result<(), sqlx::Error> {
        let mut transaction = connection.begin().await?;
        for group in groups {
            let rows_max = (VALUES_MAX / group.columns().len().max(1)).max(1);
            for rows in group.rows.chunks(rows_max) {
                let sql = self.statement(group.columns(), rows.len());
                let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(rows.len() == 1);
                for (_, row) in rows {
                    for value in &row.values {
                        query = bind(query, value);
                    }
                }
                query.execute(&mut *transaction).await?;
            }
        }
        transaction.commit().await
    }

    fn statement(&self, columns: &[Name], rows: usize) -> String {
        let row = format!("({})", vec!["?"; columns.len()].join(","));
        let values = vec![row.as_str(); rows].join(",");
        let names = table::list(columns);
        let mut sql = format!("INSERT INTO {} ({names}) VALUES {values}", self.table);
        let key = self.layout.key();
        if !key.is_empty() {
            let set: Vec<_> = columns
                .iter()
                .filter(|column| !key.contains(column))
                .map(|column| format!("{column} = excluded.{column}"))
                .collect();
            let action = if set.is_empty() {
                "NOTHING".to_owned()
            } else {
                format!("UPDATE SET {}", set.join(", "))
            };
            sql.push_str(&format!(" ON CONFLICT ({}) DO {action}", table::list(key)));
        }
        sql
    }
}

fn lower(name: &Name) -> String {
    name.as_str().to_ascii_lowercase()
}

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// Binds a JSON value: numbers and text as they are, `true` as 1, objects and lists as JSON text.
fn bind<'q>(query: Query<'q>, value: &'q Value) -> Query<'q> {
    match value {
        Value::Null => query.bind(None::<String>),
        Value::Bool(yes) => query.bind(i64::from(*yes)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => query.bind(whole),
            (None, Some(real)) => query.bind(real),
            (None, None) => query.bind(number.to_string()),
        },
        Value::String(text) => query.bind(text.as_str()),
        Value::Array(_) | Value::Object(_) => query.bind(value.to_string()),
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
