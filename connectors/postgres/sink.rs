//! The `postgres` sink: rows in one statement per group. Values travel as text and are cast to the
//! column's type, so that a table may have any types. It reads nothing but the catalogue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::connection::Database;
use super::values::{Kind, text_for};
use crate::contract::table::{
    self, COLUMNS_MAX, ColumnTemplates, Group, Layout, Name, Refusal, Row, Writer,
};
use crate::contract::{
    ConfigError, DeliveryError, Env, FailureKind, Outcome, Preview, Record, Sink, SinkConfig,
};

/// Records in one statement.
const BATCH_MAX: usize = 500;

/// Writes each record as a row of a table.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresSinkSettings {
    /// The name of a `postgres` connection.
    connection: String,
    /// The table, or `schema.table`. Upper and lower case count, as in SQL's double quotes.
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
}

impl SinkConfig for PostgresSinkSettings {
    const NAME: &'static str = "postgres";
    const SUMMARY: &'static str = "Writes each record as a row of a PostgreSQL table.";
    const EXAMPLE: &'static str = r#"{ connection: plant, table: public.alerts, columns: { device: "${device}", t: "${t}" }, key: [device] }"#;

    fn build(self, env: &Env) -> Result<Arc<dyn Sink>, ConfigError> {
        let parts: Vec<_> = self.table.split('.').collect();
        if parts.len() > 2 {
            return Err(ConfigError::new("table", "expected `table` or `schema.table`"));
        }
        let names = parts
            .into_iter()
            .map(|part| Name::parse(part).map(|name| name.to_string()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| ConfigError::new("table", error.to_string()))?;
        Ok(Arc::new(Table {
            database: env.connections.get(&self.connection, "postgres")?,
            table: names.join("."),
            layout: Layout::new(self.columns, self.rest, &self.key)?,
            create: self.create,
            resource: format!("{}.{}", self.connection, self.table),
            types: Mutex::default(),
        }))
    }
}

struct Table {
    database: Arc<Database>,
    /// Quoted, with its schema when there is one.
    table: String,
    layout: Layout,
    create: bool,
    resource: String,
    /// The types of the table's columns, as far as they are known.
    types: Mutex<Arc<HashMap<String, ColumnType>>>,
}

#[derive(Debug, Clone)]
struct ColumnType {
    /// As it stands in a cast. Without its length: the cast would cut, the assignment refuses.
    cast: String,
    kind: Kind,
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
        Ok(self.layout.row(record)?.preview(&self.table.replace('"', "")))
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }
}

#[async_trait::async_trait]
impl Writer for Table {
    async fn write(&self, groups: &[Group]) -> Result<(), Refusal> {
        let remembered = !self.lock_types().is_empty();
        match self.try_write(groups).await {
            // Somebody has changed the table since it was looked at: look once more.
            Err(Refusal::Rows(error)) if error.kind == FailureKind::Misconfigured && remembered => {
                *self.lock_types() = Arc::default();
                self.try_write(groups).await
            }
            done => done,
        }
    }
}

impl Table {
    async fn try_write(&self, groups: &[Group]) -> Result<(), Refusal> {
        let mut connection = self.database.acquire().await?;
        let types = self.types(&mut connection, groups).await?;
        let written = self.insert(&mut connection, groups, &types).await;
        Ok(written.map_err(|error| self.database.failure_after_sending(error))?)
    }

    fn lock_types(&self) -> std::sync::MutexGuard<'_, Arc<HashMap<String, ColumnType>>> {
        self.types.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn missing(&self, what: &str) -> DeliveryError {
        let text = format!(
            "postgres {}: {what} in {}; create it, or set `create: true`",
            self.database.shown, self.table
        );
        DeliveryError::new(FailureKind::Misconfigured, text)
    }

    async fn look_up(
        &self,
        connection: &mut PgConnection,
    ) -> Result<HashMap<String, ColumnType>, DeliveryError> {
        const SQL: &str = "SELECT attname::text, format_type(atttypid, -1) FROM pg_attribute \
             WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
        let rows = sqlx::query(SQL).bind(&self.table).fetch_all(connection).await;
        let rows = rows.map_err(|error| self.database.failure(error))?;
        let column = |row: &sqlx::postgres::PgRow| {
            let (name, cast): (String, String) = (row.try_get(0).ok()?, row.try_get(1).ok()?);
            let kind = match cast.as_str() {
                "json" | "jsonb" => Kind::Json,
                "smallint" | "integer" | "bigint" => Kind::Integer,
                "timestamp with time zone" | "timestamp without time zone" => Kind::Time,
                _ => Kind::Other,
            };
            Some((name, ColumnType { cast, kind }))
        };
        Ok(rows.iter().filter_map(column).collect())
    }

    /// The types of all columns that the groups need, looked up or made when they are not known.
    async fn types(
        &self,
        connection: &mut PgConnection,
        groups: &[Group],
    ) -> Result<Arc<HashMap<String, ColumnType>>, Refusal> {
        let known = self.lock_types().clone();
        let lacks = |types: &HashMap<String, ColumnType>| {
            let names = groups.iter().flat_map(|group| group.columns());
            names.into_iter().find(|name| !types.contains_key(name.as_str())).cloned()
        };
        if lacks(&known).is_none() {
            return Ok(known);
        }
        let mut types = self.look_up(connection).await?;
        if self.create && lacks(&types).is_some() {
            self.make_columns(connection, groups, &types).await?;
            types = self.look_up(connection).await?;
        }
        if types.is_empty() {
            return Err(self.missing("no such table").into());
        }
        if let Some(name) = lacks(&types) {
            let missing = self.missing(&format!("no column {name}"));
            return Err(match self.layout.names(&name) {
                true => missing.into(),
                false => Refusal::Columns(missing.of_place(true)),
            });
        }
        let types = Arc::new(types);
        *self.lock_types() = types.clone();
        Ok(types)
    }

    async fn make_columns(
        &self,
        connection: &mut PgConnection,
        groups: &[Group],
        types: &HashMap<String, ColumnType>,
    ) -> Result<(), Refusal> {
        let mut new: Vec<(&Name, &'static str)> = Vec::new();
        for (_, row) in groups.iter().flat_map(|group| &group.rows) {
            for (name, value) in row.columns.iter().zip(&row.values) {
                if !types.contains_key(name.as_str()) && !new.iter().any(|(have, _)| *have == name)
                {
                    new.push((name, type_for(value)));
                }
            }
        }
        if types.len() + new.len() > COLUMNS_MAX {
            let text = format!(
                "table {} would get more than {COLUMNS_MAX} columns; name `columns`, or select fewer keys",
                self.table
            );
            return Err(Refusal::Columns(DeliveryError::new(FailureKind::Rejected, text)));
        }
        let mut columns: Vec<_> = new.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        let sql = if types.is_empty() {
            if !self.layout.key().is_empty() {
                columns.push(format!("PRIMARY KEY ({})", table::list(self.layout.key())));
            }
            format!("CREATE TABLE IF NOT EXISTS {} ({})", self.table, columns.join(", "))
        } else {
            let add: Vec<_> =
                columns.iter().map(|column| format!("ADD COLUMN IF NOT EXISTS {column}")).collect();
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

    async fn insert(
        &self,
        connection: &mut PgConnection,
        groups: &[Group],
        types: &HashMap<String, ColumnType>,
    ) -> Result<(), sqlx::Error> {
        if let [group] = groups {
            // One statement is a transaction by itself.
            return self.insert_group(connection, group, types).await;
        }
        let mut transaction = connection.begin().await?;
        for group in groups {
            self.insert_group(&mut transaction, group, types).await?;
        }
        transaction.commit().await
    }

    /// Sends each column as one list, so that any number of rows is the same prepared statement.
    async fn insert_group(
        &self,
        connection: &mut PgConnection,
        group: &Group,
        types: &HashMap<String, ColumnType>,
    ) -> Result<(), sqlx::Error> {
        let rows = table::last_of_each_key(&group.rows, self.layout.key());
        let columns = group.columns();
        let mut query = sqlx::query(AssertSqlSafe(self.statement(columns, types)));
        for (at, name) in columns.iter().enumerate() {
            let kind = types.get(name.as_str()).map_or(Kind::Other, |t| t.kind);
            query = query.bind(column_values(&rows, at, kind));
        }
        query.execute(connection).await.map(drop)
    }

    fn statement(&self, columns: &[Name], types: &HashMap<String, ColumnType>) -> String {
        let (mut casts, mut lists, mut aliases) = (Vec::new(), Vec::new(), Vec::new());
        for (at, name) in columns.iter().enumerate() {
            let cast = types.get(name.as_str()).map_or("text", |t| &t.cast);
            casts.push(format!("r.c{at}::{cast}"));
            lists.push(format!("${}::text[]", at + 1));
            aliases.push(format!("c{at}"));
        }
        let mut sql = format!(
            "INSERT INTO {} ({}) SELECT {} FROM unnest({}) AS r({})",
            self.table,
            table::list(columns),
            casts.join(", "),
            lists.join(", "),
            aliases.join(", ")
        );
        let key = self.layout.key();
        if !key.is_empty() {
            let set: Vec<_> = columns
                .iter()
                .filter(|column| !key.contains(column))
                .map(|column| format!("{column} = EXCLUDED.{column}"))
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

/// The type of a new column; `jsonb` holds whatever comes after a first null.
fn type_for(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "boolean",
        Value::Number(_) => "numeric",
        Value::String(_) => "text",
        Value::Null | Value::Array(_) | Value::Object(_) => "jsonb",
    }
}

fn column_values(rows: &[&Row], at: usize, kind: Kind) -> Vec<Option<String>> {
    rows.iter().map(|row| row.values.get(at).and_then(|value| text_for(value, kind))).collect()
}
