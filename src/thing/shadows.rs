//! Shadows in the database.
//!
//! What a change does to a shadow stands in `shadow`.

use contract::tree;
use sqlx::{AnyPool, Row as _};

use super::shadow::Shadow;
use rule::store::StoreError;

/// The shadows. Only registered devices have one.
#[derive(Debug)]
pub(super) struct Shadows {
    pool: AnyPool,
    /// Held from reading a shadow to writing it.
    pub(super) change: tokio::sync::Mutex<()>,
}

/// A device by its name.
pub(super) type Name<'a> = (&'a str, &'a str);

impl Shadows {
    pub(super) fn new(pool: AnyPool) -> Self {
        Self { pool, change: tokio::sync::Mutex::default() }
    }

    /// The shadow of a device; one that was never written is empty.
    pub(super) async fn read(&self, of: Name<'_>) -> Result<Shadow, StoreError> {
        let row = sqlx::query(
            "SELECT s.document FROM device_shadows s JOIN devices d ON d.id = s.device_id
             WHERE d.product_key = $1 AND d.name = $2",
        )
        .bind(of.0)
        .bind(of.1)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(Shadow::default()) };
        let document = tree(row.try_get::<&str, _>(0)?.as_bytes());
        let document = document.map_err(|e| sqlx::Error::Decode(e.into()))?;
        Ok(Shadow::from_document(&document))
    }

    /// Keeps the shadow of a device; false when there is no such device.
    pub(super) async fn write(&self, of: Name<'_>, shadow: &Shadow) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO device_shadows (device_id, document)
             SELECT id, $3 FROM devices WHERE product_key = $1 AND name = $2
             ON CONFLICT (device_id) DO UPDATE SET document = excluded.document",
        )
        .bind(of.0)
        .bind(of.1)
        .bind(shadow.document().to_string())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }
}

#[cfg(test)]
mod tests;
