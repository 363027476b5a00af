//! The actions of the store's rules.

use std::convert::Infallible;

use sqlx::any::AnyRow;
use sqlx::{Any, FromRow, Row as _};

use super::{Store, StoreError, changed, inserted, signed, unsigned};

/// An action of a rule as the API was told to keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAction {
    /// From 100000 up; 0 before the action is in the store.
    pub id: u64,
    /// The rule it belongs to.
    pub rule_id: u64,
    /// `REPUBLISH`, `OTS`, …
    pub kind: String,
    /// The JSON text as it was given.
    pub configuration: String,
    /// Gets what the others could not deliver.
    pub error: bool,
}

impl FromRow<'_, AnyRow> for StoredAction {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: unsigned(row.try_get("id")?),
            rule_id: unsigned(row.try_get("rule_id")?),
            kind: row.try_get("kind")?,
            configuration: row.try_get("configuration")?,
            error: row.try_get::<i64, _>("error_action")? != 0,
        })
    }
}

impl Store {
    /// Adds an action and returns its id. `action.id` is not read.
    ///
    /// # Errors
    /// What the database says; the rule must exist.
    pub async fn insert_action(&self, action: &StoredAction) -> Result<u64, StoreError> {
        let inserted = self.insert_action_if(action, |_| Ok::<_, Infallible>(())).await?;
        Ok(match inserted {
            Ok(id) => id,
            Err(never) => match never {},
        })
    }

    /// Adds an action if somebody who is told its id agrees; otherwise nothing happened. The id is then
    /// used up.
    ///
    /// # Errors
    /// What the database says, also after the consent; the rule must exist.
    pub async fn insert_action_if<E>(
        &self,
        action: &StoredAction,
        consent: impl FnOnce(u64) -> Result<(), E>,
    ) -> Result<Result<u64, E>, StoreError> {
        let mut change = self.pool.begin().await?;
        let query = sqlx::query(
            "INSERT INTO actions (rule_id, kind, configuration, error_action)
             VALUES ($1, $2, $3, $4) RETURNING id",
        )
        .bind(signed(action.rule_id))
        .bind(&action.kind)
        .bind(&action.configuration)
        .bind(i64::from(action.error));
        let id = inserted(query, &mut *change).await?;
        if let Err(refusal) = consent(id) {
            change.rollback().await?;
            return Ok(Err(refusal));
        }
        change.commit().await?;
        Ok(Ok(id))
    }

    /// Replaces kind and configuration of an action.
    ///
    /// # Errors
    /// What the database says; an action of that id must exist.
    pub async fn update_action(&self, action: &StoredAction) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE actions SET kind = $1, configuration = $2 WHERE id = $3")
            .bind(&action.kind)
            .bind(&action.configuration)
            .bind(signed(action.id));
        changed(query, &self.pool).await
    }

    /// Deletes an action.
    ///
    /// # Errors
    /// What the database says; an action of that id must exist.
    pub async fn delete_action(&self, id: u64) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM actions WHERE id = $1").bind(signed(id));
        changed(query, &self.pool).await
    }

    /// The action of that id.
    ///
    /// # Errors
    /// What the database says.
    pub async fn action(&self, id: u64) -> Result<Option<StoredAction>, StoreError> {
        let query =
            sqlx::query_as::<Any, _>("SELECT * FROM actions WHERE id = $1").bind(signed(id));
        Ok(query.fetch_optional(&self.pool).await?)
    }

    /// The actions of all rules that were started and not stopped, the oldest of each rule first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn running_actions(&self) -> Result<Vec<StoredAction>, StoreError> {
        let query = sqlx::query_as::<Any, _>(
            "SELECT actions.* FROM actions JOIN rules ON rules.id = actions.rule_id
             WHERE rules.running <> 0 ORDER BY actions.rule_id, actions.id",
        );
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// All actions of a rule, the oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn actions(&self, rule_id: u64) -> Result<Vec<StoredAction>, StoreError> {
        let query =
            sqlx::query_as::<Any, _>("SELECT * FROM actions WHERE rule_id = $1 ORDER BY id")
                .bind(signed(rule_id));
        Ok(query.fetch_all(&self.pool).await?)
    }
}
