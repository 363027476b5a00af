//! Shadows and gateways' sub-devices in the database.
//!
//! What a change does to a shadow stands in `shadow`; who may be whose sub-device is decided by who asks.

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

    /// Makes a device one of a gateway; it leaves the one that it was at. False when there is no such
    /// device or gateway.
    pub(super) async fn attach(&self, to: Name<'_>, device: Name<'_>) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO sub_devices (device_id, gateway_id)
             SELECT d.id, g.id FROM devices d, devices g
             WHERE d.product_key = $1 AND d.name = $2 AND g.product_key = $3 AND g.name = $4
             ON CONFLICT (device_id) DO UPDATE SET gateway_id = excluded.gateway_id",
        )
        .bind(device.0)
        .bind(device.1)
        .bind(to.0)
        .bind(to.1)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Takes a device away from a gateway; false when it was none of its.
    pub(super) async fn detach(
        &self,
        from: Name<'_>,
        device: Name<'_>,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "DELETE FROM sub_devices
             WHERE device_id = (SELECT id FROM devices WHERE product_key = $1 AND name = $2)
             AND gateway_id = (SELECT id FROM devices WHERE product_key = $3 AND name = $4)",
        )
        .bind(device.0)
        .bind(device.1)
        .bind(from.0)
        .bind(from.1)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// The devices of a gateway, by product key and name.
    pub(super) async fn attached(
        &self,
        to: Name<'_>,
        most: u32,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let rows = sqlx::query(
            "SELECT d.product_key, d.name FROM sub_devices s
             JOIN devices d ON d.id = s.device_id JOIN devices g ON g.id = s.gateway_id
             WHERE g.product_key = $1 AND g.name = $2
             ORDER BY d.product_key, d.name LIMIT $3",
        )
        .bind(to.0)
        .bind(to.1)
        .bind(i64::from(most))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }
}

#[cfg(test)]
mod tests;
