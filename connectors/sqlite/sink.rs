//! The `sqlite` sink: rows in one transaction per call, in which the table's columns are looked at
//! first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::sqlite::{Sqlite, SqliteArguments};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use super::connection::Database;
use super::values::{Affinity, Stored, stored};
use crate::contract::table::{self, ColumnTemplates, Group, Layout, Name, Names, Refusal, Writer};
use crate::contract::{
    ConfigError, DeliveryError, Env, FailureKind, Outcome, Preview, Record, Sink, SinkConfig,
};

/// Records in one transaction.
const BATCH_MAX: usize = 500;

/// Values in one statement; SQLite itself takes 32 766 (SQLITE_MAX_VARIABLE_NUMBER).
const VALUES_MAX: usize = 30_000;

/// What SQLite takes as names; the length is our own bound.
const NAMES: Names = Names { max: 255, reserved: &[], ignores_case: true };

/// Writes each record as a row of a table. A further try after a lost answer adds the row once more,
/// unless `key` names what identifies it. Columns that the sink makes have no type: values keep theirs,
/// and a number that neither 64 bits nor a real hold as it is becomes text with all its digits. Where a
/// column's type would have SQLite round a value, the record is poison, and the error says which and
/// what to do.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqliteSinkSettings {
    /// The name of an `sqlite` connection.
    #[serde(default = "history")]
    connection: String,
    /// The table; a name that holds a dot stands in double quotes.
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
        let names = NAMES
            .table(&self.table, 1, "one name, without a schema")
            .map_err(|error| ConfigError::new("table", error.to_string()))?;
        let [table] = <[Name; 1]>::try_from(names)
            .map_err(|_| ConfigError::new("table", "expected one name"))?;
        Ok(Arc::new(Table {
            database: env.connections.get(&self.connection, "sqlite")?,
            layout: Layout::new(NAMES, self.columns, self.rest, &self.key)?,
            resource: format!("{}.{}", self.connection, self.table),
            table,
            create: self.create,
            known: Mutex::default(),
        }))
    }
}

struct Table {
    database: Arc<Database>,
    table: Name,
    layout: Layout,
    create: bool,
    resource: String,
    known: Mutex<Arc<Columns>>,
}

/// The columns of a table in lower case, since SQLite ignores case, as they were at one version of the
/// file's schema.
#[derive(Debug, Clone, Default)]
struct Columns {
    version: i64,
    columns: BTreeMap<String, Column>,
}

#[derive(Debug, Clone)]
struct Column {
    /// The type as it is declared, for people.
    declared: String,
    affinity: Affinity,
    /// SQLite makes the values.
    generated: bool,
}

#[async_trait::async_trait]
impl Sink for Table {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        table::write_all(self, &self.layout, records, BATCH_MAX).await
    }

    async fn check(&self) -> Result<(), DeliveryError> {
        let mut connection = self.database.acquire().await?;
        let columns = self.look_up(&mut connection).await;
        let columns = columns.map_err(|error| self.database.failure(error))?;
        if self.create || !columns.columns.is_empty() {
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

    fn keys_left_out(&self) -> u64 {
        self.layout.left_out()
    }
}

#[async_trait::async_trait]
impl Writer for Table {
    async fn write(&self, groups: &[Group<'_>]) -> Result<(), Refusal> {
        let failure = |error| self.database.failure(error);
        let mut connection = self.database.acquire().await?;
        // Nobody changes the table between the look at it and the end.
        let begun = connection.begin_with("BEGIN IMMEDIATE").await;
        let mut transaction = begun.map_err(failure)?;
        let columns = self.columns(&mut transaction, groups).await?;
        let values = self.values(groups, &columns)?;
        self.insert(&mut transaction, groups, values).await.map_err(failure)?;
        transaction.commit().await.map_err(failure)?;
        *self.lock_known() = columns;
        Ok(())
    }
}

impl Table {
    fn lock_known(&self) -> std::sync::MutexGuard<'_, Arc<Columns>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn no_table(&self) -> DeliveryError {
        let text = format!(
            "{} has no table {}; create it, or set `create: true`",
            self.database.path.display(),
            self.table
        );
        DeliveryError::new(FailureKind::Misconfigured, text)
    }

    async fn look_up(&self, connection: &mut SqliteConnection) -> Result<Columns, sqlx::Error> {
        const SQL: &str = "SELECT lower(name), type, hidden IN (2, 3), \
             coalesce((SELECT strict FROM pragma_table_list(?1) WHERE schema = 'main'), 0) \
             FROM pragma_table_xinfo(?1)";
        let version = version(connection).await?;
        let rows = sqlx::query(SQL).bind(self.table.as_str()).fetch_all(connection).await?;
        let mut columns = BTreeMap::new();
        for row in rows {
            let (name, declared): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let affinity = Affinity::of(&declared, row.try_get(3)?);
            columns.insert(name, Column { declared, affinity, generated: row.try_get(2)? });
        }
        Ok(Columns { version, columns })
    }

    /// The table's columns: looked up when the file's schema has changed, made when some are missing.
    async fn columns(
        &self,
        connection: &mut SqliteConnection,
        groups: &[Group<'_>],
    ) -> Result<Arc<Columns>, Refusal> {
        let failure = |error| self.database.failure(error);
        let mut known = self.lock_known().clone();
        if known.columns.is_empty() || version(connection).await.map_err(failure)? != known.version
        {
            known = Arc::new(self.look_up(connection).await.map_err(failure)?);
        }
        let mut seen = std::collections::HashSet::new();
        let names = groups.iter().flat_map(|group| group.columns());
        let missing: Vec<&Name> = names
            .filter(|name| !known.columns.contains_key(&lower(name)) && seen.insert(*name))
            .collect();
        if !missing.is_empty() {
            self.make_columns(connection, &known, &missing).await?;
            known = Arc::new(self.look_up(connection).await.map_err(failure)?);
        }
        let generated = |name: &&Name| known.columns.get(&lower(name)).is_some_and(|c| c.generated);
        match groups.iter().flat_map(|group| group.columns()).find(generated) {
            Some(name) => Err(self.layout.generated(name, &self.table, |text| self.wrong(&text))),
            None => Ok(known),
        }
    }

    fn wrong(&self, text: &str) -> DeliveryError {
        let text = format!("{}: {text}", self.database.path.display());
        DeliveryError::new(FailureKind::Misconfigured, text)
    }

    async fn make_columns(
        &self,
        connection: &mut SqliteConnection,
        known: &Columns,
        missing: &[&Name],
    ) -> Result<(), Refusal> {
        if !self.create {
            if known.columns.is_empty() {
                return Err(self.no_table().into());
            }
            let Some(name) =
                missing.iter().find(|name| !self.layout.names(name)).or(missing.first())
            else {
                return Ok(());
            };
            let text = format!(
                "table {} has no column {name}; add it, name `columns`, or set `create: true`",
                self.table
            );
            return Err(self.layout.blame(name, self.wrong(&text)));
        }
        table::may_add(known.columns.len(), missing.len(), &self.table)?;
        for sql in self.definitions(known.columns.is_empty(), missing) {
            let done = sqlx::query(AssertSqlSafe(sql)).persistent(false).execute(&mut *connection);
            done.await.map_err(|error| self.database.failure(error))?;
        }
        Ok(())
    }

    /// The statements that make missing columns. They have no type, so that values keep theirs.
    fn definitions(&self, new: bool, missing: &[&Name]) -> Vec<String> {
        if !new {
            let add = |name: &&Name| format!("ALTER TABLE {} ADD COLUMN {name}", self.table);
            return missing.iter().map(add).collect();
        }
        let mut columns: Vec<_> = missing.iter().map(ToString::to_string).collect();
        if !self.layout.key().is_empty() {
            columns.push(format!("PRIMARY KEY ({})", table::list(self.layout.key())));
        }
        vec![format!("CREATE TABLE {} ({})", self.table, columns.join(", "))]
    }

    /// The values of all rows, as they are stored.
    ///
    /// # Errors
    /// [`Refusal::Values`] for the rows with a value that SQLite would round.
    fn values<'g>(
        &self,
        groups: &'g [Group<'_>],
        known: &Columns,
    ) -> Result<Vec<Stored<'g>>, Refusal> {
        let (mut values, mut bad) = (Vec::new(), Vec::new());
        for group in groups {
            let columns = group.columns().iter();
            let columns: Vec<_> =
                columns.filter_map(|name| Some((name, known.columns.get(&lower(name))?))).collect();
            for (at, row) in &group.rows {
                for (cell, (name, column)) in row.values.iter().zip(&columns) {
                    let Some(value) = stored(cell, column.affinity) else {
                        let text = format!(
                            "the value {} for column {name} of type {} in {} can't be stored exactly: SQLite would make a rounded real of it; make the column TEXT, or select round(…)",
                            cell.shown(),
                            column.declared,
                            self.table
                        );
                        bad.push((*at, DeliveryError::new(FailureKind::Rejected, text)));
                        break;
                    };
                    values.push(value);
                }
            }
        }
        if bad.is_empty() { Ok(values) } else { Err(Refusal::Values(bad)) }
    }

    async fn insert(
        &self,
        connection: &mut SqliteConnection,
        groups: &[Group<'_>],
        values: Vec<Stored<'_>>,
    ) -> Result<(), sqlx::Error> {
        let mut values = values.into_iter();
        for group in groups {
            let width = group.columns().len().max(1);
            for rows in group.rows.chunks((VALUES_MAX / width).max(1)) {
                let sql = self.statement(group.columns(), rows.len());
                let query = sqlx::query(AssertSqlSafe(sql)).persistent(rows.len() == 1);
                let query = values.by_ref().take(rows.len() * width).fold(query, bind);
                query.execute(&mut *connection).await?;
            }
        }
        Ok(())
    }

    fn statement(&self, columns: &[Name], rows: usize) -> String {
        let row = format!("({})", vec!["?"; columns.len()].join(","));
        let values = vec![row.as_str(); rows].join(",");
        let names = table::list(columns);
        let upsert = table::upsert(self.layout.key(), columns.iter());
        format!("INSERT INTO {} ({names}) VALUES {values}{upsert}", self.table)
    }
}

fn lower(name: &Name) -> String {
    name.as_str().to_ascii_lowercase()
}

/// A number that changes with every change of the file's tables.
async fn version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query("PRAGMA schema_version").fetch_one(connection).await?.try_get(0)
}

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

fn bind<'q>(query: Query<'q>, value: Stored<'q>) -> Query<'q> {
    match value {
        Stored::Null => query.bind(None::<String>),
        Stored::Integer(whole) => query.bind(whole),
        Stored::Real(real) => query.bind(real),
        Stored::Text(text) => query.bind(text),
    }
}
