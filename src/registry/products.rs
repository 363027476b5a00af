//! Making, changing and deleting products.
//!
//! Names are checked by who asks; here is only whether they are taken.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::codes::Chance;
use super::memory::Shelf;
use super::{NewProduct, Product, Registry, RegistryError, TopicClass, TopicOperation, topics};
use rule::store::{StoreError, signed, unsigned};

/// What devices of a new product may do: the topics that the development guide prints (§2.10.3), and
/// the same below `user/`, where the vendor's later platform and its device software expect them.
const FIRST_TOPICS: &[(&str, TopicOperation)] = &[
    ("update", TopicOperation::Publish),
    ("update/error", TopicOperation::Both),
    ("get", TopicOperation::Subscribe),
    ("user/update", TopicOperation::Publish),
    ("user/update/error", TopicOperation::Both),
    ("user/get", TopicOperation::Subscribe),
];

/// A device that was deleted with its product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Its name.
    pub device_name: Box<str>,
    /// Its id.
    pub iot_id: Box<str>,
    /// The gateway that it was attached to.
    pub gateway: Option<Arc<contract::Device>>,
}

impl Registry {
    /// Makes a product with the first topic classes.
    ///
    /// # Errors
    /// [`RegistryError::NameTaken`], [`RegistryError::Full`], or what the database says.
    pub async fn create_product(
        &self,
        new: NewProduct,
        now_ms: u64,
    ) -> Result<Arc<Product>, RegistryError> {
        self.make_product(new, None, now_ms).await
    }

    pub(super) async fn make_product(
        &self,
        new: NewProduct,
        join_permission: Option<&str>,
        now_ms: u64,
    ) -> Result<Arc<Product>, RegistryError> {
        let _change = self.changing().await;
        self.product_name_is_free(&new.name)?;
        let count = self.read().products.len() as u64;
        if count >= self.limits().products {
            return Err(RegistryError::Full(count));
        }
        let mut chance = Chance::default();
        let mut product = Product {
            key: chance.product_key(),
            name: new.name,
            description: new.description,
            node_type: new.node_type,
            data_format: new.data_format,
            senior: new.senior,
            category_key: new.category_key,
            auth_type: "secret".to_owned(),
            net_type: new.net_type,
            protocol_type: new.protocol_type,
            validate_type: new.validate_type,
            secret: chance.product_secret(),
            created_ms: now_ms,
            tsl: None,
            topics: Vec::new(),
        };
        let mut change = self.pool().begin().await?;
        insert(&product).execute(&mut *change).await?;
        for &(short_name, operation) in FIRST_TOPICS {
            let mut class = TopicClass {
                id: 0,
                short_name: short_name.to_owned(),
                operation,
                description: String::new(),
            };
            class.id = topics::insert(&mut change, &product.key, &class).await?;
            product.topics.push(class);
        }
        if let Some(id) = join_permission {
            sqlx::query("INSERT INTO lora_products (product_key, join_permission) VALUES ($1, $2)")
                .bind(&product.key)
                .bind(id)
                .execute(&mut *change)
                .await?;
        }
        change.commit().await?;
        let product = Arc::new(product);
        let shelf = Shelf::new(Arc::clone(&product));
        self.write().products.insert(product.key.clone().into_boxed_str(), shelf);
        Ok(product)
    }

    /// Changes name and description of a product; what is `None` stays.
    ///
    /// # Errors
    /// [`RegistryError::NoProduct`], [`RegistryError::NameTaken`], or what the database says.
    pub async fn update_product(
        &self,
        key: &str,
        name: Option<&str>,
        description: Option<&str>,
    ) -> Result<(), RegistryError> {
        let _change = self.changing().await;
        let old = self.product(key).ok_or_else(|| RegistryError::NoProduct(key.to_owned()))?;
        if let Some(name) = name.filter(|name| *name != old.name) {
            self.product_name_is_free(name)?;
        }
        let name = name.unwrap_or(&old.name);
        let description = description.unwrap_or(&old.description);
        sqlx::query("UPDATE products SET name = $1, description = $2 WHERE product_key = $3")
            .bind(name)
            .bind(description)
            .bind(key)
            .execute(self.pool())
            .await?;
        self.write().change(key, |product| {
            product.name = name.to_owned();
            product.description = description.to_owned();
        });
        Ok(())
    }

    /// Deletes a product with its devices and all that belongs to them. Returns the devices.
    ///
    /// # Errors
    /// [`RegistryError::NoProduct`], or what the database says.
    pub async fn delete_product(&self, key: &str) -> Result<Vec<Gone>, RegistryError> {
        let _change = self.changing().await;
        if self.product(key).is_none() {
            return Err(RegistryError::NoProduct(key.to_owned()));
        }
        sqlx::query("DELETE FROM products WHERE product_key = $1")
            .bind(key)
            .execute(self.pool())
            .await?;
        let mut gone = Vec::new();
        {
            let mut memory = self.write();
            if let Some(mut shelf) = memory.products.remove(key) {
                memory.devices -= shelf.devices.len() as u64;
                gone.extend(shelf.devices.drain().map(|(device_name, known)| Gone {
                    gateway: shelf.gateways.remove(&device_name),
                    device_name,
                    iot_id: known.iot_id,
                }));
            }
            memory.forget_gateways(|gateway| gateway.product_key == *key);
        }
        self.seen().forget_product(key);
        self.forget_routes(&format!("/{key}/"));
        Ok(gone)
    }

    /// Replaces the thing model of a product. An unknown product is left alone.
    ///
    /// # Errors
    /// What the database says.
    pub async fn set_tsl(&self, product_key: &str, tsl: Option<&str>) -> Result<(), StoreError> {
        let _change = self.changing().await;
        sqlx::query("UPDATE products SET tsl = $1 WHERE product_key = $2")
            .bind(tsl)
            .bind(product_key)
            .execute(self.pool())
            .await?;
        self.write().change(product_key, |product| product.tsl = tsl.map(Arc::from));
        Ok(())
    }

    /// Reads a product from the database, without its topic classes.
    ///
    /// # Errors
    /// What the database says.
    pub async fn stored_product(&self, key: &str) -> Result<Option<Product>, StoreError> {
        let row = sqlx::query("SELECT * FROM products WHERE product_key = $1")
            .bind(key)
            .fetch_optional(self.pool())
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// At most `limit` products, the newest first, after the first `offset`; without their topic
    /// classes. `senior` leaves out those of the other kind.
    ///
    /// # Errors
    /// What the database says.
    pub async fn products(
        &self,
        senior: Option<bool>,
        limit: u32,
        offset: u64,
    ) -> Result<Vec<Product>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM products WHERE senior = $1 OR $1 < 0 ORDER BY id DESC LIMIT $2 OFFSET $3",
        )
        .bind(senior.map_or(-1, i64::from))
        .bind(i64::from(limit))
        .bind(signed(offset))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(read).collect()
    }

    /// How many products there are, all or of one kind.
    ///
    /// # Errors
    /// What the database says.
    pub async fn product_count(&self, senior: Option<bool>) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT count(*) FROM products WHERE senior = $1 OR $1 < 0")
            .bind(senior.map_or(-1, i64::from))
            .fetch_one(self.pool())
            .await?;
        Ok(unsigned(row.try_get(0)?))
    }

    /// How many devices each of these products has; those without any are left out.
    ///
    /// # Errors
    /// What the database says.
    pub async fn device_counts(&self, keys: &[&str]) -> Result<HashMap<String, u64>, StoreError> {
        let mut counts = HashMap::new();
        for key in keys {
            let row = sqlx::query("SELECT count(*) FROM devices WHERE product_key = $1")
                .bind(*key)
                .fetch_one(self.pool())
                .await?;
            counts.insert((*key).to_owned(), unsigned(row.try_get(0)?));
        }
        Ok(counts)
    }

    fn product_name_is_free(&self, name: &str) -> Result<(), RegistryError> {
        let memory = self.read();
        if memory.products.values().any(|shelf| shelf.product.name == name) {
            return Err(RegistryError::NameTaken(name.to_owned()));
        }
        Ok(())
    }
}

fn insert(product: &Product) -> sqlx::query::Query<'_, sqlx::Any, sqlx::any::AnyArguments> {
    sqlx::query(
        "INSERT INTO products (product_key, name, description, node_type, data_format, senior,
         category_key, auth_type, net_type, protocol_type, validate_type, secret, created_ms, tsl)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(&product.key)
    .bind(&product.name)
    .bind(&product.description)
    .bind(i64::from(product.node_type))
    .bind(i64::from(product.data_format))
    .bind(i64::from(product.senior))
    .bind(&product.category_key)
    .bind(&product.auth_type)
    .bind(&product.net_type)
    .bind(&product.protocol_type)
    .bind(i64::from(product.validate_type))
    .bind(&product.secret)
    .bind(signed(product.created_ms))
    .bind(product.tsl.as_deref())
}

/// A product without its topic classes.
pub(super) fn read(row: &AnyRow) -> Result<Product, StoreError> {
    let small = |name: &str| {
        row.try_get::<i64, _>(name).map(|number| u8::try_from(number).unwrap_or(u8::MAX))
    };
    Ok(Product {
        key: row.try_get("product_key")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        node_type: small("node_type")?,
        data_format: small("data_format")?,
        senior: row.try_get::<i64, _>("senior")? != 0,
        category_key: row.try_get("category_key")?,
        auth_type: row.try_get("auth_type")?,
        net_type: row.try_get("net_type")?,
        protocol_type: row.try_get("protocol_type")?,
        validate_type: small("validate_type")?,
        secret: row.try_get("secret")?,
        created_ms: unsigned(row.try_get("created_ms")?),
        tsl: row.try_get::<Option<&str>, _>("tsl")?.map(Arc::from),
        topics: Vec::new(),
    })
}
