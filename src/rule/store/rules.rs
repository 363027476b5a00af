//! The rules of the store.

use sqlx::any::AnyRow;
use sqlx::{Any, FromRow, Row as _};

use super::{Store, StoreError, changed, inserted, signed, unsigned};
use crate::DataType;

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

impl FromRow<'_, AnyRow> for StoredRule {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let binary = row.try_get::<&str, _>("data_type")? == data_type_name(DataType::Binary);
        // Types of topics are small numbers.
        let small = |value: i64| u8::try_from(value).ok();
        Ok(Self {
            id: unsigned(row.try_get("id")?),
            name: row.try_get("name")?,
            description: row.try_get("description")?,
            data_type: if binary { DataType::Binary } else { DataType::Json },
            product_key: row.try_get("product_key")?,
            short_topic: row.try_get("short_topic")?,
            topic_type: row.try_get::<Option<i64>, _>("topic_type")?.and_then(small),
            select: row.try_get("select_list")?,
            filter: row.try_get("filter")?,
            running: row.try_get::<i64, _>("running")? != 0,
            created_ms: unsigned(row.try_get("created_ms")?),
            modified_ms: unsigned(row.try_get("modified_ms")?),
        })
    }
}

impl Store {
    /// Adds a rule and returns its id. `rule.id` is not read.
    ///
    /// # Errors
    /// What the database says; the name must be free.
    pub async fn insert_rule(&self, rule: &StoredRule) -> Result<u64, StoreError> {
        let query = sqlx::query(
            "INSERT INTO rules (name, description, data_type, product_key, short_topic, topic_type,
             select_list, filter, running, created_ms, modified_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id",
        )
        .bind(&rule.name)
        .bind(&rule.description)
        .bind(data_type_name(rule.data_type))
        .bind(&rule.product_key)
        .bind(&rule.short_topic)
        .bind(rule.topic_type.map(i64::from))
        .bind(&rule.select)
        .bind(&rule.filter)
        .bind(i64::from(rule.running))
        .bind(signed(rule.created_ms))
        .bind(signed(rule.modified_ms));
        inserted(query, &self.pool).await
    }

    /// Replaces everything of a rule but its id, its data type and when it was created.
    ///
    /// # Errors
    /// What the database says; a rule of that id must exist and the name must be free.
    pub async fn update_rule(&self, rule: &StoredRule) -> Result<(), StoreError> {
        let query = sqlx::query(
            "UPDATE rules SET name = $1, description = $2, product_key = $3, short_topic = $4,
             topic_type = $5, select_list = $6, filter = $7, running = $8, modified_ms = $9
             WHERE id = $10",
        )
        .bind(&rule.name)
        .bind(&rule.description)
        .bind(&rule.product_key)
        .bind(&rule.short_topic)
        .bind(rule.topic_type.map(i64::from))
        .bind(&rule.select)
        .bind(&rule.filter)
        .bind(i64::from(rule.running))
        .bind(signed(rule.modified_ms))
        .bind(signed(rule.id));
        changed(query, &self.pool).await
    }

    /// Deletes a rule and its actions.
    ///
    /// # Errors
    /// What the database says; a rule of that id must exist.
    pub async fn delete_rule(&self, id: u64) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM rules WHERE id = $1").bind(signed(id));
        changed(query, &self.pool).await
    }

    /// The rule of that id.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rule(&self, id: u64) -> Result<Option<StoredRule>, StoreError> {
        let query = sqlx::query_as::<Any, _>("SELECT * FROM rules WHERE id = $1").bind(signed(id));
        Ok(query.fetch_optional(&self.pool).await?)
    }

    /// The rule of that name.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rule_named(&self, name: &str) -> Result<Option<StoredRule>, StoreError> {
        let query = sqlx::query_as::<Any, _>("SELECT * FROM rules WHERE name = $1").bind(name);
        Ok(query.fetch_optional(&self.pool).await?)
    }

    /// At most `limit` rules, the newest first, after the first `offset`.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rules(&self, limit: u64, offset: u64) -> Result<Vec<StoredRule>, StoreError> {
        let query =
            sqlx::query_as::<Any, _>("SELECT * FROM rules ORDER BY id DESC LIMIT $1 OFFSET $2")
                .bind(signed(limit))
                .bind(signed(offset));
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// The rules that were started and not stopped, the oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn running_rules(&self) -> Result<Vec<StoredRule>, StoreError> {
        let query = sqlx::query_as::<Any, _>("SELECT * FROM rules WHERE running <> 0 ORDER BY id");
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// How many rules there are.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rule_count(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT count(*) FROM rules").fetch_one(&self.pool).await?;
        Ok(unsigned(row.try_get(0)?))
    }
}

fn data_type_name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Json => "JSON",
        DataType::Binary => "BINARY",
    }
}
