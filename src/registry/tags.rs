//! Tags of devices: what `attribute()` reads in rules.
//!
//! The form of keys and values is checked by who asks.

use std::collections::BTreeMap;

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, Row as _};

use super::devices::no_device;
use super::{Registry, RegistryError};
use rule::store::{StoreError, signed, unsigned};

/// Tags of a device.
pub const TAGS_MAX: usize = 100;

/// Bytes of the tags that one call may set.
pub const TAG_BYTES_MAX: usize = 5 << 10;

/// A device that was found by its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its product.
    pub product_key: String,
    /// Its name.
    pub device_name: String,
    /// Its id.
    pub iot_id: String,
}

impl Registry {
    /// Sets tags of a device; those of other keys stay.
    ///
    /// # Errors
    /// [`RegistryError::NoDevice`], [`RegistryError::Full`], or what the database says.
    pub async fn set_tags(
        &self,
        product_key: &str,
        device_name: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), RegistryError> {
        let _change = self.changing().await;
        let mut all = {
            let memory = self.read();
            let shelf = memory.products.get(product_key);
            let shelf = shelf.filter(|shelf| shelf.devices.contains_key(device_name));
            let shelf = shelf.ok_or_else(|| no_device(product_key, device_name))?;
            shelf.tags.get(device_name).cloned().unwrap_or_default()
        };
        let had = all.len() as u64;
        for (key, value) in tags {
            all.insert(key.as_str().into(), value.as_str().into());
        }
        if all.len() > TAGS_MAX {
            return Err(RegistryError::Full(had));
        }
        let mut change = self.pool().begin().await?;
        for (key, value) in tags {
            sqlx::query(
                "INSERT INTO device_tags (device_id, key, value)
                 SELECT id, $1, $2 FROM devices WHERE product_key = $3 AND name = $4
                 ON CONFLICT (device_id, key) DO UPDATE SET value = excluded.value",
            )
            .bind(key)
            .bind(value)
            .bind(product_key)
            .bind(device_name)
            .execute(&mut *change)
            .await?;
        }
        change.commit().await?;
        if let Some(shelf) = self.write().products.get_mut(product_key) {
            shelf.tags.insert(device_name.into(), all);
        }
        Ok(())
    }

    /// Deletes a tag. One that is not there is fine.
    ///
    /// # Errors
    /// [`RegistryError::NoDevice`], or what the database says.
    pub async fn delete_tag(
        &self,
        product_key: &str,
        device_name: &str,
        key: &str,
    ) -> Result<(), RegistryError> {
        let _change = self.changing().await;
        if !self.knows_device(product_key, device_name) {
            return Err(no_device(product_key, device_name));
        }
        sqlx::query(
            "DELETE FROM device_tags WHERE key = $1 AND device_id IN
             (SELECT id FROM devices WHERE product_key = $2 AND name = $3)",
        )
        .bind(key)
        .bind(product_key)
        .bind(device_name)
        .execute(self.pool())
        .await?;
        if let Some(shelf) = self.write().products.get_mut(product_key)
            && let Some(tags) = shelf.tags.get_mut(device_name)
        {
            tags.remove(key);
            if tags.is_empty() {
                shelf.tags.remove(device_name);
            }
        }
        Ok(())
    }

    /// The tags of a device, sorted by key.
    ///
    /// # Errors
    /// What the database says.
    pub async fn tags(
        &self,
        product_key: &str,
        device_name: &str,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let rows = sqlx::query(
            "SELECT t.key, t.value FROM device_tags t JOIN devices d ON d.id = t.device_id
             WHERE d.product_key = $1 AND d.name = $2 ORDER BY t.key",
        )
        .bind(product_key)
        .bind(device_name)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// At most `limit` devices that have all of these tags, the newest first, after the first
    /// `offset`; and how many there are. A tag without a value counts whatever its value is.
    ///
    /// # Errors
    /// What the database says.
    pub async fn devices_with_tags(
        &self,
        tags: &[(String, Option<String>)],
        limit: u32,
        offset: u64,
    ) -> Result<(Vec<Found>, u64), StoreError> {
        let conditions = having(tags.len(), "device_tags", "t.device_id = d.id", " AND ");
        let next = tags.len() * 2 + 1;
        let page = format!(
            "SELECT d.product_key, d.name, d.iot_id FROM devices d WHERE {conditions}
             ORDER BY d.id DESC LIMIT ${next} OFFSET ${}",
            next + 1
        );
        let total = format!("SELECT count(*) FROM devices d WHERE {conditions}");
        let page = bind_tags(sqlx::query(sqlx::AssertSqlSafe(page)), tags);
        let total = bind_tags(sqlx::query(sqlx::AssertSqlSafe(total)), tags);
        let page = page.bind(i64::from(limit)).bind(signed(offset));
        let rows = page.fetch_all(self.pool()).await?;
        let total = total.fetch_one(self.pool()).await?;
        let found = rows.iter().map(|row| {
            Ok(Found {
                product_key: row.try_get(0)?,
                device_name: row.try_get(1)?,
                iot_id: row.try_get(2)?,
            })
        });
        Ok((found.collect::<Result<_, StoreError>>()?, unsigned(total.try_get(0)?)))
    }
}

/// A condition for each of so many tags, at least one: that the table of tags `t` has it for the row
/// that `whose` says. Parameters 1 and 2 are key and value of the first, 3 and 4 those of the second, …;
/// an empty value stands for any.
pub(super) fn having(tags: usize, table: &str, whose: &str, between: &str) -> String {
    let one = |at: usize| {
        // Only words and numbers of our own go into the text.
        let (key, value) = (at * 2 + 1, at * 2 + 2);
        format!(
            "EXISTS (SELECT 1 FROM {table} t WHERE {whose}
             AND t.key = ${key} AND (${value} = '' OR t.value = ${value}))"
        )
    };
    let conditions: Vec<_> = (0..tags).map(one).collect();
    format!("({})", conditions.join(between))
}

/// Binds the parameters of [`having`].
pub(super) fn bind_tags<'q>(
    mut query: Query<'q, Any, AnyArguments>,
    tags: &[(String, Option<String>)],
) -> Query<'q, Any, AnyArguments> {
    for (key, value) in tags {
        query = query.bind(key.clone()).bind(value.clone().unwrap_or_default());
    }
    query
}
