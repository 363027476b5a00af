//! Topic classes: what the devices of a product may do on topics below their own name.
//!
//! Whether a device may is decided where it connects.

use std::sync::Arc;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::{Product, Registry, RegistryError, TopicClass, TopicOperation};
use rule::store::{StoreError, signed, unsigned};

/// Topic classes of a product.
pub const CLASSES_MAX: usize = 50;

/// Characters of what follows the device name in a topic.
const SHORT_NAME_MAX: usize = 128;

/// Checks what follows the device name: levels of letters, digits and `_`.
///
/// # Errors
/// What is wrong.
pub fn check_short_name(text: &str) -> Result<(), String> {
    if text.len() > SHORT_NAME_MAX {
        let length = text.len();
        return Err(format!("it has {length} characters, at most {SHORT_NAME_MAX} are allowed"));
    }
    if text.split('/').any(str::is_empty) {
        return Err("each level needs a name, such as `user/update`".to_owned());
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/');
    match text.chars().find(|c| !fits(*c)) {
        Some(bad) => Err(format!("{bad:?} is not allowed; letters, digits and `_` are")),
        None => Ok(()),
    }
}

impl Registry {
    /// Adds a topic class to a product. `class.id` is not read; returns the one it got.
    ///
    /// # Errors
    /// [`RegistryError::NoProduct`], [`RegistryError::NameTaken`], [`RegistryError::Full`], or what
    /// the database says.
    pub async fn create_topic_class(
        &self,
        product_key: &str,
        mut class: TopicClass,
    ) -> Result<u64, RegistryError> {
        let _change = self.changing().await;
        let product = self.product(product_key);
        let product = product.ok_or_else(|| RegistryError::NoProduct(product_key.to_owned()))?;
        short_name_is_free(&product, &class)?;
        if product.topics.len() >= CLASSES_MAX {
            return Err(RegistryError::Full(product.topics.len() as u64));
        }
        let mut connection = self.pool().acquire().await?;
        class.id = insert(&mut connection, product_key, &class).await?;
        let id = class.id;
        self.write().change(product_key, |product| product.topics.push(class));
        Ok(id)
    }

    /// The product and the topic class of that id.
    #[must_use]
    pub fn topic_class(&self, id: u64) -> Option<(Arc<Product>, TopicClass)> {
        let memory = self.read();
        memory.products.values().find_map(|shelf| {
            let class = shelf.product.topics.iter().find(|class| class.id == id)?;
            Some((Arc::clone(&shelf.product), class.clone()))
        })
    }

    /// Changes a topic class; what is `None` stays.
    ///
    /// # Errors
    /// [`RegistryError::NoTopicClass`], [`RegistryError::NameTaken`], or what the database says.
    pub async fn update_topic_class(
        &self,
        id: u64,
        short_name: Option<&str>,
        operation: Option<TopicOperation>,
        description: Option<&str>,
    ) -> Result<(), RegistryError> {
        let _change = self.changing().await;
        let found = self.topic_class(id);
        let (product, mut class) = found.ok_or(RegistryError::NoTopicClass(id))?;
        if let Some(short_name) = short_name {
            class.short_name = short_name.to_owned();
        }
        if let Some(operation) = operation {
            class.operation = operation;
        }
        if let Some(description) = description {
            class.description = description.to_owned();
        }
        short_name_is_free(&product, &class)?;
        sqlx::query(
            "UPDATE topic_classes SET short_name = $1, operation = $2, description = $3
             WHERE id = $4",
        )
        .bind(&class.short_name)
        .bind(class.operation.number())
        .bind(&class.description)
        .bind(signed(id))
        .execute(self.pool())
        .await?;
        self.write().change(&product.key, |product| {
            for old in product.topics.iter_mut().filter(|old| old.id == id) {
                old.clone_from(&class);
            }
        });
        Ok(())
    }

    /// Deletes a topic class.
    ///
    /// # Errors
    /// [`RegistryError::NoTopicClass`], or what the database says.
    pub async fn delete_topic_class(&self, id: u64) -> Result<(), RegistryError> {
        let _change = self.changing().await;
        let (product, _) = self.topic_class(id).ok_or(RegistryError::NoTopicClass(id))?;
        sqlx::query("DELETE FROM topic_classes WHERE id = $1")
            .bind(signed(id))
            .execute(self.pool())
            .await?;
        self.write().change(&product.key, |product| product.topics.retain(|class| class.id != id));
        Ok(())
    }

    /// The topic classes of a product from the database, the oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn topic_classes(&self, product_key: &str) -> Result<Vec<TopicClass>, StoreError> {
        let rows = sqlx::query("SELECT * FROM topic_classes WHERE product_key = $1 ORDER BY id")
            .bind(product_key)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(read).collect()
    }
}

fn short_name_is_free(product: &Product, class: &TopicClass) -> Result<(), RegistryError> {
    let same = |old: &TopicClass| old.id != class.id && old.short_name == class.short_name;
    match product.topics.iter().any(same) {
        true => Err(RegistryError::NameTaken(class.short_name.clone())),
        false => Ok(()),
    }
}

pub(super) async fn insert(
    connection: &mut AnyConnection,
    product_key: &str,
    class: &TopicClass,
) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "INSERT INTO topic_classes (product_key, short_name, operation, description)
         VALUES ($1, $2, $3, $4) RETURNING id",
    )
    .bind(product_key)
    .bind(&class.short_name)
    .bind(class.operation.number())
    .bind(&class.description)
    .fetch_one(connection)
    .await?;
    Ok(unsigned(row.try_get(0)?))
}

pub(super) fn read(row: &AnyRow) -> Result<TopicClass, StoreError> {
    Ok(TopicClass {
        id: unsigned(row.try_get("id")?),
        short_name: row.try_get("short_name")?,
        operation: TopicOperation::numbered(row.try_get("operation")?),
        description: row.try_get("description")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_have_levels() {
        for good in ["update", "user/update_1", "a/b/c"] {
            assert_eq!(check_short_name(good), Ok(()), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "a b", "+/a", "#", "a-b", &"x".repeat(129)] {
            assert!(check_short_name(bad).is_err(), "{bad}");
        }
    }
}
