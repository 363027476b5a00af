//! Products and devices of LoRaWAN, as data: what they are called, not how they are reached.
//!
//! A task that registers nodes is an application whose devices are made at once.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::{AnyConnection, Row as _};

use super::applies::{ApplyName, ApplyStatus, insert_apply, insert_names};
use super::codes::Chance;
use super::devices::{fresh, insert};
use super::{Device, NewDevice, NewProduct, Product, Registry, RegistryError};
use rule::store::StoreError;

/// What a node is known by in its network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    /// 16 hexadecimal digits in lower case, unique over all products.
    pub dev_eui: String,
    /// What is printed beside it. Nothing here can check it.
    pub pin_code: String,
}

impl Registry {
    /// Makes a product whose devices are nodes that join with that permission.
    ///
    /// # Errors
    /// As [`Registry::create_product`].
    pub async fn create_lora_product(
        &self,
        new: NewProduct,
        join_permission: &str,
        now_ms: u64,
    ) -> Result<Arc<Product>, RegistryError> {
        self.make_product(new, Some(join_permission), now_ms).await
    }

    /// The permission that the devices of a product join with.
    ///
    /// # Errors
    /// What the database says.
    pub async fn join_permission(&self, product_key: &str) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT join_permission FROM lora_products WHERE product_key = $1")
            .bind(product_key)
            .fetch_optional(self.pool())
            .await?;
        row.map(|row| Ok(row.try_get(0)?)).transpose()
    }

    /// Registers a device that is a node.
    ///
    /// # Errors
    /// As [`Registry::register`]; [`RegistryError::NameTaken`] also for the node's identifier.
    pub async fn register_node(
        &self,
        new: NewDevice,
        node: &Node,
        now_ms: u64,
    ) -> Result<Device, RegistryError> {
        let _change = self.changing().await;
        if self.knows_node(&node.dev_eui).await? {
            return Err(RegistryError::NameTaken(node.dev_eui.clone()));
        }
        let device = self.new_device(new, now_ms)?;
        let mut change = self.pool().begin().await?;
        insert(&mut change, &device, None).await?;
        insert_node(&mut change, &device, node).await?;
        change.commit().await?;
        self.remember(std::slice::from_ref(&device));
        Ok(device)
    }

    /// Registers nodes as devices that are called as they are. Those that are known already, or that come
    /// twice, are left out. Returns the application that lists them, and the devices.
    ///
    /// # Errors
    /// [`RegistryError::NoProduct`], [`RegistryError::Full`], or what the database says.
    pub async fn register_nodes(
        &self,
        product_key: &str,
        nodes: &[Node],
        now_ms: u64,
    ) -> Result<(u64, Vec<Device>), RegistryError> {
        let _change = self.changing().await;
        if self.product(product_key).is_none() {
            return Err(RegistryError::NoProduct(product_key.to_owned()));
        }
        self.has_room(nodes.len())?;
        let mut before = HashSet::new();
        let (mut names, mut good) = (Vec::with_capacity(nodes.len()), Vec::new());
        let mut chance = Chance::default();
        for node in nodes {
            let name = node.dev_eui.clone();
            let taken = !before.insert(&node.dev_eui)
                || self.knows_device(product_key, &name)
                || self.knows_node(&name).await?;
            if !taken {
                good.push((fresh(&mut chance, product_key, name.clone(), None, now_ms), node));
            }
            let problem = taken.then(|| "the node is registered already".to_owned());
            names.push(ApplyName { name, nickname: None, problem });
        }
        let status = match good.len() == nodes.len() {
            true => ApplyStatus::CreateSuccess,
            false => ApplyStatus::CreateFailed,
        };
        let mut change = self.pool().begin().await?;
        let id = insert_apply(&mut change, product_key, status, now_ms).await?;
        insert_names(&mut change, id, &names).await?;
        for (device, node) in &good {
            insert(&mut change, device, Some(id)).await?;
            insert_node(&mut change, device, node).await?;
        }
        change.commit().await?;
        let devices: Vec<_> = good.into_iter().map(|(device, _)| device).collect();
        self.remember(&devices);
        Ok((id, devices))
    }

    async fn knows_node(&self, dev_eui: &str) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT device_id FROM lora_nodes WHERE dev_eui = $1").bind(dev_eui);
        Ok(row.fetch_optional(self.pool()).await?.is_some())
    }
}

async fn insert_node(
    connection: &mut AnyConnection,
    device: &Device,
    node: &Node,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO lora_nodes (device_id, dev_eui, pin_code)
         SELECT id, $1, $2 FROM devices WHERE iot_id = $3",
    )
    .bind(&node.dev_eui)
    .bind(&node.pin_code)
    .bind(&device.iot_id)
    .execute(connection)
    .await?;
    Ok(())
}
