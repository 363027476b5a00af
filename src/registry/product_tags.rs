//! Tags of products.
//!
//! No rule reads them: they stay in the database. The form of keys and values is checked by who asks.

use std::collections::BTreeMap;

use sqlx::Row as _;

use super::tags::{bind_tags, having};
use super::{Product, Registry, RegistryError, products};
use rule::store::{StoreError, signed};

/// Tags of a product.
pub const PRODUCT_TAGS_MAX: usize = 100;

impl Registry {
    /// Adds tags to a product, unless it has one of their keys: then none is added, and those keys are
    /// returned.
    ///
    /// # Errors
    /// [`RegistryError::NoProduct`], [`RegistryError::Full`], or what the database says.
    pub async fn add_product_tags(
        &self,
        product_key: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Vec<String>, RegistryError> {
        let _change = self.changing().await;
        let have = self.tags_of(product_key).await?;
        let taken: Vec<_> = tags.keys().filter(|key| have.contains_key(*key)).cloned().collect();
        if !taken.is_empty() {
            return Ok(taken);
        }
        if have.len() + tags.len() > PRODUCT_TAGS_MAX {
            return Err(RegistryError::Full(have.len() as u64));
        }
        self.write_tags(product_key, tags).await?;
        Ok(Vec::new())
    }

    /// Gives tags of a product other values, unless it has not all of their keys: then none is changed,
    /// and the missing keys are returned.
    ///
    /// # Errors
    /// [`RegistryError::NoProduct`], or what the database says.
    pub async fn update_product_tags(
        &self,
        product_key: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Vec<String>, RegistryError> {
        let _change = self.changing().await;
        let have = self.tags_of(product_key).await?;
        let missing: Vec<_> = tags.keys().filter(|key| !have.contains_key(*key)).cloned().collect();
        if missing.is_empty() {
            self.write_tags(product_key, tags).await?;
        }
        Ok(missing)
    }

    /// Deletes tags of a product; what it has not is left out.
    ///
    /// # Errors
    /// [`RegistryError::NoProduct`], or what the database says.
    pub async fn delete_product_tags(
        &self,
        product_key: &str,
        keys: &[&str],
    ) -> Result<(), RegistryError> {
        let _change = self.changing().await;
        self.must_have_product(product_key)?;
        let mut change = self.pool().begin().await?;
        for key in keys {
            sqlx::query("DELETE FROM product_tags WHERE product_key = $1 AND key = $2")
                .bind(product_key)
                .bind(*key)
                .execute(&mut *change)
                .await?;
        }
        change.commit().await?;
        Ok(())
    }

    /// The tags of a product.
    ///
    /// # Errors
    /// What the database says.
    pub async fn product_tags(
        &self,
        product_key: &str,
    ) -> Result<BTreeMap<String, String>, StoreError> {
        let rows = sqlx::query("SELECT key, value FROM product_tags WHERE product_key = $1")
            .bind(product_key)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// At most `limit` products that have any of these tags, the newest first, after the first `offset`;
    /// without their topic classes. A tag without a value counts whatever its value is.
    ///
    /// # Errors
    /// What the database says.
    pub async fn products_with_tags(
        &self,
        tags: &[(String, Option<String>)],
        limit: u32,
        offset: u64,
    ) -> Result<Vec<Product>, StoreError> {
        let conditions =
            having(tags.len(), "product_tags", "t.product_key = p.product_key", " OR ");
        let next = tags.len() * 2 + 1;
        let page = format!(
            "SELECT p.* FROM products p WHERE {conditions} ORDER BY p.id DESC
             LIMIT ${next} OFFSET ${}",
            next + 1
        );
        let page = bind_tags(sqlx::query(sqlx::AssertSqlSafe(page)), tags);
        let page = page.bind(i64::from(limit)).bind(signed(offset));
        page.fetch_all(self.pool()).await?.iter().map(products::read).collect()
    }

    fn must_have_product(&self, key: &str) -> Result<(), RegistryError> {
        match self.product(key) {
            Some(_) => Ok(()),
            None => Err(RegistryError::NoProduct(key.to_owned())),
        }
    }

    async fn tags_of(&self, product_key: &str) -> Result<BTreeMap<String, String>, RegistryError> {
        self.must_have_product(product_key)?;
        Ok(self.product_tags(product_key).await?)
    }

    async fn write_tags(
        &self,
        product_key: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        let mut change = self.pool().begin().await?;
        for (key, value) in tags {
            sqlx::query(
                "INSERT INTO product_tags (product_key, key, value) VALUES ($1, $2, $3)
                 ON CONFLICT (product_key, key) DO UPDATE SET value = excluded.value",
            )
            .bind(product_key)
            .bind(key)
            .bind(value)
            .execute(&mut *change)
            .await?;
        }
        change.commit().await?;
        Ok(())
    }
}
