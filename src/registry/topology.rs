//! Which devices are a gateway's: their topology, as the vendor calls it.
//!
//! Whose each device is, is in memory: every message that a gateway sends for another device asks.
//! Who may be whose sub-device, and which of them are connected, is decided elsewhere.

use std::collections::HashMap;
use std::sync::Arc;

use bytestring::ByteString;
use futures_util::TryStreamExt as _;
use sqlx::{AnyConnection, AnyPool, Row as _};

use super::devices::no_device;
use super::memory::Memory;
use super::{Found, Registry, RegistryError};
use rule::store::{StoreError, signed, unsigned};

/// Devices of one gateway.
pub const SUB_DEVICES_MAX: usize = 1_500;

/// The node type of products whose devices are gateways.
const GATEWAY: u8 = 1;

/// A device by its product key and name.
type Name<'a> = (&'a str, &'a str);

impl Registry {
    /// The gateway that a device is attached to.
    #[must_use]
    pub fn gateway_of(
        &self,
        product_key: &str,
        device_name: &str,
    ) -> Option<Arc<contract::Device>> {
        self.read().products.get(product_key)?.gateways.get(device_name).cloned()
    }

    /// True when a device is one of the gateway's. Asked for every message of a gateway for another.
    #[must_use]
    pub fn is_attached(&self, (key, name): Name<'_>, device: Name<'_>) -> bool {
        let memory = self.read();
        let shelf = memory.products.get(device.0);
        let gateway = shelf.and_then(|shelf| shelf.gateways.get(device.1));
        gateway.is_some_and(|known| known.product_key == *key && known.device_name == *name)
    }

    /// True when a device is of a product whose devices may have sub-devices.
    #[must_use]
    pub fn is_gateway(&self, product_key: &str, device_name: &str) -> bool {
        let memory = self.read();
        let shelf = memory.products.get(product_key);
        let gateways = shelf.filter(|shelf| shelf.product.node_type == GATEWAY);
        gateways.is_some_and(|shelf| shelf.devices.contains_key(device_name))
    }

    /// Makes devices a gateway's, all of them or none. Each leaves the gateway that it was at; returned
    /// is which device left which.
    ///
    /// # Errors
    /// [`RegistryError::NoDevice`], [`RegistryError::NodeType`], [`RegistryError::Full`], or what the
    /// database says.
    pub async fn attach(
        &self,
        gateway: Name<'_>,
        devices: &[(String, String)],
    ) -> Result<Vec<(usize, Arc<contract::Device>)>, RegistryError> {
        let _change = self.changing().await;
        if !self.knows_device(gateway.0, gateway.1) {
            return Err(no_device(gateway.0, gateway.1));
        }
        if !self.is_gateway(gateway.0, gateway.1) {
            return Err(RegistryError::NodeType(gateway.1.to_owned(), "no gateway"));
        }
        for (key, name) in devices {
            if !self.knows_device(key, name) {
                return Err(no_device(key, name));
            }
            if self.is_gateway(key, name) {
                return Err(RegistryError::NodeType(name.clone(), "a gateway itself"));
            }
        }
        let new = devices.iter().filter(|(key, name)| !self.is_attached(gateway, (key, name)));
        let new = new.count();
        let mut change = self.pool().begin().await?;
        let have = count(&mut change, gateway).await?;
        if have.saturating_add(new as u64) > SUB_DEVICES_MAX as u64 {
            return Err(RegistryError::Full(have));
        }
        for (key, name) in devices {
            insert(&mut change, gateway, (key, name)).await?;
        }
        change.commit().await?;
        let gateway = device(gateway.0.to_owned(), gateway.1.to_owned());
        let mut left = Vec::new();
        let mut memory = self.write();
        for (at, (key, name)) in devices.iter().enumerate() {
            let Some(shelf) = memory.products.get_mut(key.as_str()) else { continue };
            let before = shelf.gateways.insert(name.as_str().into(), Arc::clone(&gateway));
            left.extend(before.filter(|before| *before != gateway).map(|before| (at, before)));
        }
        Ok(left)
    }

    /// Takes a device away from its gateway and returns that; `None` when it had none.
    ///
    /// # Errors
    /// What the database says.
    pub async fn detach(
        &self,
        product_key: &str,
        device_name: &str,
    ) -> Result<Option<Arc<contract::Device>>, StoreError> {
        let _change = self.changing().await;
        if self.gateway_of(product_key, device_name).is_none() {
            return Ok(None);
        }
        sqlx::query(
            "DELETE FROM sub_devices
             WHERE device_id = (SELECT id FROM devices WHERE product_key = $1 AND name = $2)",
        )
        .bind(product_key)
        .bind(device_name)
        .execute(self.pool())
        .await?;
        let mut memory = self.write();
        let shelf = memory.products.get_mut(product_key);
        Ok(shelf.and_then(|shelf| shelf.gateways.remove(device_name)))
    }

    /// At most `limit` devices of a gateway, by product and name, after the first `offset`; and how many
    /// it has.
    ///
    /// # Errors
    /// What the database says.
    pub async fn sub_devices(
        &self,
        gateway: Name<'_>,
        limit: u32,
        offset: u64,
    ) -> Result<(Vec<Found>, u64), StoreError> {
        let rows = sqlx::query(
            "SELECT d.product_key, d.name, d.iot_id FROM sub_devices s
             JOIN devices d ON d.id = s.device_id JOIN devices g ON g.id = s.gateway_id
             WHERE g.product_key = $1 AND g.name = $2
             ORDER BY d.product_key, d.name LIMIT $3 OFFSET $4",
        )
        .bind(gateway.0)
        .bind(gateway.1)
        .bind(i64::from(limit))
        .bind(signed(offset))
        .fetch_all(self.pool())
        .await?;
        let found = rows.iter().map(|row| {
            Ok(Found {
                product_key: row.try_get(0)?,
                device_name: row.try_get(1)?,
                iot_id: row.try_get(2)?,
            })
        });
        let found = found.collect::<Result<_, StoreError>>()?;
        let mut connection = self.pool().acquire().await?;
        Ok((found, count(&mut connection, gateway).await?))
    }
}

async fn count(connection: &mut AnyConnection, gateway: Name<'_>) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "SELECT count(*) FROM sub_devices
         WHERE gateway_id = (SELECT id FROM devices WHERE product_key = $1 AND name = $2)",
    )
    .bind(gateway.0)
    .bind(gateway.1)
    .fetch_one(connection)
    .await?;
    Ok(unsigned(row.try_get(0)?))
}

async fn insert(
    change: &mut AnyConnection,
    gateway: Name<'_>,
    device: Name<'_>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO sub_devices (device_id, gateway_id)
         SELECT d.id, g.id FROM devices d, devices g
         WHERE d.product_key = $1 AND d.name = $2 AND g.product_key = $3 AND g.name = $4
         ON CONFLICT (device_id) DO UPDATE SET gateway_id = excluded.gateway_id",
    )
    .bind(device.0)
    .bind(device.1)
    .bind(gateway.0)
    .bind(gateway.1)
    .execute(change)
    .await?;
    Ok(())
}

fn device(product_key: String, device_name: String) -> Arc<contract::Device> {
    let (product_key, device_name) = (ByteString::from(product_key), device_name.into());
    Arc::new(contract::Device { product_key, device_name })
}

/// Whose each device is, as the database has it.
pub(super) async fn load(pool: &AnyPool, memory: &mut Memory) -> Result<(), StoreError> {
    let mut gateways: HashMap<i64, Arc<contract::Device>> = HashMap::new();
    let mut rows = sqlx::query(
        "SELECT d.product_key, d.name, g.id, g.product_key, g.name FROM sub_devices s
         JOIN devices d ON d.id = s.device_id JOIN devices g ON g.id = s.gateway_id",
    )
    .fetch(pool);
    while let Some(row) = rows.try_next().await? {
        let gateway = match gateways.entry(row.try_get(2)?) {
            std::collections::hash_map::Entry::Occupied(known) => Arc::clone(known.get()),
            std::collections::hash_map::Entry::Vacant(free) => {
                Arc::clone(free.insert(device(row.try_get(3)?, row.try_get(4)?)))
            }
        };
        if let Some(shelf) = memory.products.get_mut(row.try_get::<&str, _>(0)?) {
            shelf.gateways.insert(row.try_get::<&str, _>(1)?.into(), gateway);
        }
    }
    Ok(())
}

impl Memory {
    /// A device is gone, and with it what it was to others.
    pub(super) fn forget_topology(&mut self, product_key: &str, device_name: &str) {
        let was_gateway =
            self.products.get(product_key).is_some_and(|s| s.product.node_type == GATEWAY);
        if let Some(shelf) = self.products.get_mut(product_key) {
            shelf.gateways.remove(device_name);
        }
        if was_gateway {
            self.forget_gateways(|gateway| {
                gateway.product_key == *product_key && gateway.device_name == *device_name
            });
        }
    }

    /// Devices of these gateways have none any more.
    pub(super) fn forget_gateways(&mut self, gone: impl Fn(&contract::Device) -> bool) {
        for shelf in self.products.values_mut() {
            shelf.gateways.retain(|_, gateway| !gone(gateway));
        }
    }
}

#[cfg(test)]
mod tests;
