//! The `postgres` sink: rows in one statement per group. Values travel as text and are cast to the
//! column's type, so that a table may have any types. It reads nothing but the catalogue.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::catalog::{self, Column, Columns};
use super::connection::Database;
use super::values::{BytesAs, Reading, TimeUnit, text_for};
use crate::contract::table::{
    self, Cell, ColumnTemplates, Group, Layout, Name, Names, Refusal, Writer,
};
use crate::contract::{
    ConfigError, DeliveryError, Env, FailureKind, Outcome, Preview, Record, Sink, SinkConfig,
};

/// Records in one statement.
const BATCH_MAX: usize = 500;

/// What PostgreSQL takes as names (NAMEDATALEN; its system columns).
const NAMES: Names = Names {
    max: 63,
    reserved: &["cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"],
    ignores_case: false,
};

/// Writes each record as a row of a table. A value that its column can't hold as it is makes the record
/// poison, and the error says which and what to do; nothing is rounded or cut. Numbers go into `real`
/// and `double precision` when these give the same digits back, so 0.1 does and 9007199254740993 does
/// not. Lists go into array columns, `true` as 1 into number columns.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresSinkSettings {
    /// The name of a `postgres` connection.
    connection: String,
    /// The table, or `schema.table`, where upper and lower case count; a part that holds a dot stands
    /// in double quotes.
    table: String,
    /// Columns to values; a value that is only `${x}` keeps its type. Without it each key of the
    /// record is a column.
    columns: Option<ColumnTemplates>,
    /// With `columns`: whether keys of the record that are not among them become columns, too.
    #[serde(default)]
    rest: bool,
    /// The columns that identify a row (they need a primary key or unique constraint): a record with
    /// the same values replaces the others of that row. Without it rows are only added.
    #[serde(default)]
    key: Vec<String>,
    /// Whether to create the table, and columns for new keys of the record, up to 200: `numeric`,
    /// `boolean`, `text`, or `jsonb` for anything else.
    #[serde(default)]
    create: bool,
    /// How numbers in timestamp and `date` columns are counted from 1970 on: `s`, `ms`, `us`, `ns`, or
    /// `auto`, the one of these that gives a year from 1990 to 2200; what gives none is refused.
    #[serde(default)]
    time_unit: TimeUnit,
    /// How text in `bytea` columns is written: `base64` or `hex`. After `\x` it is always hexadecimal.
    #[serde(default)]
    bytes: BytesAs,
}

impl SinkConfig for PostgresSinkSettings {
    const NAME: &'static str = "postgres";
    const SUMMARY: &'static str = "Writes each record as a row of a PostgreSQL table.";
    const EXAMPLE: &'static str = r#"{ connection: plant, table: public.alerts, columns: { device: "${device}", t: "${t}" }, key: [device] }"#;

    fn build(self, env: &Env) -> Result<Arc<dyn Sink>, ConfigError> {
        let names = NAMES
            .table(&self.table, 2, "`table` or `schema.table`")
            .map_err(|error| ConfigError::new("table", error.to_string()))?;
        let parts: Vec<_> = names.iter().map(ToString::to_string).collect();
        let shown: Vec<_> = names.iter().map(Name::as_str).collect();
        Ok(Arc::new(Table {
            database: env.connections.get(&self.connection, "postgres")?,
            table: parts.join("."),
            shown: shown.join("."),
            layout: Layout::new(NAMES, self.columns, self.rest, &self.key)?,
            reading: Reading { time: self.time_unit, bytes: self.bytes },
            create: self.create,
            resource: format!("{}.{}", self.connection, self.table),
            columns: Mutex::default(),
        }))
    }
}

struct Table {
    database: Arc<Database>,
    /// Quoted, with its schema when there is one.
    table: String,
    /// The same without quotes.
    shown: String,
    layout: Layout,
    reading: Reading,
    create: bool,
    resource: String,
    /// The table's columns, as far as they are known.
    columns: Mutex<Arc<Columns>>,
}

#[async_trait::async_trait]
impl Sink for Table {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        table::write_all(self, &self.layout, records, BATCH_MAX).await
    }

    async fn check(&self) -> Result<(), DeliveryError> {
        let mut connection = self.database.acquire().await?;
        if self.create || !self.look_up(&mut connection).await?.is_empty() {
            return Ok(());
        }
        Err(self.missing("no such table"))
    }

    fn resource(&self) -> String {
        self.resource.clone()
    }

    fn preview(&self, record: &Record) -> Result<Preview, DeliveryError> {
        Ok(self.layout.row(record)?.preview(&self.shown))
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
        let remembered = !self.lock_columns().is_empty();
        match self.try_write(groups).await {
            // Somebody has changed the table since it was looked at: look once more.
            Err(Refusal::Rows(error)) if error.kind == FailureKind::Misconfigured && remembered => {
                *self.lock_columns() = Arc::default();
                self.try_write(groups).await
            }
            done => done,
        }
    }
}

/// The values of a group by columns, as PostgreSQL reads them.
struct Texts<'g> {
    columns: Vec<(&'g Name, &'g Column)>,
    values: Vec<Vec<Option<Cow<'g, str>>>>,
}

impl Table {
    async fn try_write(&self, groups: &[Group<'_>]) -> Result<(), Refusal> {
        let mut connection = self.database.acquire().await?;
        let columns = self.columns(&mut connection, groups).await?;
        let texts = self.texts(groups, &columns)?;
        let written = self.insert(&mut connection, &texts).await;
        Ok(written.map_err(|error| self.database.failure_after_sending(error))?)
    }

    fn lock_columns(&self) -> std::sync::MutexGuard<'_, Arc<Columns>> {
        self.columns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn missing(&self, what: &str) -> DeliveryError {
        self.wrong(&format!("{what} in {}; create it, or set `create: true`", self.table))
    }

    fn wrong(&self, text: &str) -> DeliveryError {
        let text = format!("postgres {}: {text}", self.database.shown);
        DeliveryError::new(FailureKind::Misconfigured, text)
    }

    async fn look_up(&self, connection: &mut PgConnection) -> Result<Columns, DeliveryError> {
        let columns = catalog::columns(connection, &self.table).await;
        columns.map_err(|error| self.database.failure(error))
    }

    /// All columns that the groups need, looked up or made when they are not known.
    async fn columns(
        &self,
        connection: &mut PgConnection,
        groups: &[Group<'_>],
    ) -> Result<Arc<Columns>, Refusal> {
        let known = self.lock_columns().clone();
        let wanted = || groups.iter().flat_map(|group| group.columns());
        let lacks =
            |columns: &Columns| wanted().find(|name| !columns.contains_key(name.as_str())).cloned();
        let columns = if lacks(&known).is_none() {
            known
        } else {
            let mut columns = self.look_up(connection).await?;
            if self.create && lacks(&columns).is_some() {
                self.make_columns(connection, groups, &columns).await?;
                columns = self.look_up(connection).await?;
            }
            if columns.is_empty() {
                return Err(self.missing("no such table").into());
            }
            if let Some(name) = lacks(&columns) {
                let error = self.missing(&format!("no column {name}"));
                return Err(self.layout.blame(&name, error));
            }
            let columns = Arc::new(columns);
            *self.lock_columns() = columns.clone();
            columns
        };
        let generated = |name: &&Name| columns.get(name.as_str()).is_some_and(|c| c.generated);
        match wanted().find(generated) {
            Some(name) => Err(self.layout.generated(name, &self.table, |text| self.wrong(&text))),
            None => Ok(columns),
        }
    }

    async fn make_columns(
        &self,
        connection: &mut PgConnection,
        groups: &[Group<'_>],
        columns: &Columns,
    ) -> Result<(), Refusal> {
        let mut new: Vec<String> = Vec::new();
        let mut seen = HashSet::new();
        for (_, row) in groups.iter().flat_map(|group| &group.rows) {
            for (name, value) in row.columns.iter().zip(&row.values) {
                if !columns.contains_key(name.as_str()) && seen.insert(name) {
                    new.push(format!("{name} {}", type_for(value)));
                }
            }
        }
        table::may_add(columns.len(), new.len(), &self.table)?;
        let sql = if columns.is_empty() {
            if !self.layout.key().is_empty() {
                new.push(format!("PRIMARY KEY ({})", table::list(self.layout.key())));
            }
            format!("CREATE TABLE IF NOT EXISTS {} ({})", self.table, new.join(", "))
        } else {
            let add: Vec<_> =
                new.iter().map(|column| format!("ADD COLUMN IF NOT EXISTS {column}")).collect();
            format!("ALTER TABLE {} {}", self.table, add.join(", "))
        };
        let done = sqlx::query(AssertSqlSafe(sql)).persistent(false).execute(connection).await;
        done.map(drop).map_err(|error| {
            let code = error.as_database_error().and_then(|inner| inner.code());
            let raced = matches!(code.as_deref(), Some("23505" | "42P07" | "42701" | "42710"));
            let mut failure = self.database.failure(error);
            if raced {
                // Another action has just made the same table or column.
                failure.kind = FailureKind::Busy;
            }
            failure.into()
        })
    }

    /// The values of all groups as text.
    ///
    /// # Errors
    /// [`Refusal::Values`] for the rows with a value that its column can't hold.
    fn texts<'g>(
        &self,
        groups: &'g [Group<'_>],
        columns: &'g Columns,
    ) -> Result<Vec<Texts<'g>>, Refusal> {
        let mut bad = Vec::new();
        let texts = groups.iter().map(|group| self.texts_of(group, columns, &mut bad)).collect();
        if bad.is_empty() { Ok(texts) } else { Err(Refusal::Values(bad)) }
    }

    fn texts_of<'g>(
        &self,
        group: &'g Group<'_>,
        columns: &'g Columns,
        bad: &mut Vec<(usize, DeliveryError)>,
    ) -> Texts<'g> {
        let columns: Vec<_> = group
            .columns()
            .iter()
            .filter_map(|name| Some((name, columns.get(name.as_str())?)))
            .collect();
        let mut values: Vec<Vec<_>> =
            columns.iter().map(|_| Vec::with_capacity(group.rows.len())).collect();
        let kept = table::last_of_each_key(&group.rows, self.layout.key());
        for ((at, row), kept) in group.rows.iter().zip(kept) {
            for ((list, (name, column)), cell) in values.iter_mut().zip(&columns).zip(&row.values) {
                match text_for(cell, &column.kind, self.reading) {
                    Ok(text) if kept => list.push(text),
                    Ok(_) => {}
                    Err(why) => {
                        let (value, shown) = (cell.shown(), &column.shown);
                        let text = format!(
                            "the value {value} for column {name} of type {shown} in {} {why}",
                            self.table
                        );
                        bad.push((*at, DeliveryError::new(FailureKind::Rejected, text)));
                        break;
                    }
                }
            }
        }
        Texts { columns, values }
    }

    async fn insert(
        &self,
        connection: &mut PgConnection,
        groups: &[Texts<'_>],
    ) -> Result<(), sqlx::Error> {
        if let [group] = groups {
            // One statement is a transaction by itself.
            return self.insert_group(connection, group).await;
        }
        let mut transaction = connection.begin().await?;
        for group in groups {
            self.insert_group(&mut transaction, group).await?;
        }
        transaction.commit().await
    }

    /// Sends each column as one list, so that any number of rows is the same prepared statement.
    async fn insert_group(
        &self,
        connection: &mut PgConnection,
        group: &Texts<'_>,
    ) -> Result<(), sqlx::Error> {
        let mut query = sqlx::query(AssertSqlSafe(self.statement(&group.columns)));
        for list in &group.values {
            query = query.bind(list);
        }
        query.execute(connection).await.map(drop)
    }

    fn statement(&self, columns: &[(&Name, &Column)]) -> String {
        let (mut casts, mut lists, mut aliases) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (_, column)) in columns.iter().enumerate() {
            casts.push(format!("r.c{at}::{}", column.cast));
            lists.push(format!("${}::text[]", at + 1));
            aliases.push(format!("c{at}"));
        }
        let names: Vec<_> = columns.iter().map(|(name, _)| name.to_string()).collect();
        format!(
            "INSERT INTO {} ({}) SELECT {} FROM unnest({}) AS r({}){}",
            self.table,
            names.join(", "),
            casts.join(", "),
            lists.join(", "),
            aliases.join(", "),
            table::upsert(self.layout.key(), columns.iter().map(|(name, _)| *name))
        )
    }
}

/// The type of a new column; `jsonb` holds whatever comes after a first null.
fn type_for(value: &Cell<'_>) -> &'static str {
    match value {
        Cell::Bool(_) => "boolean",
        Cell::Number(_) => "numeric",
        Cell::Text(_) => "text",
        Cell::Null | Cell::List(_) | Cell::Object(_) => "jsonb",
    }
}
