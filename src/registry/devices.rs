//! Registering, looking up, disabling and deleting devices.
//!
//! Batches of them stand beside; connections are not cut off here.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::codes::Chance;
use super::memory::Known;
use super::{Registry, RegistryError};
use rule::store::{StoreError, signed, unsigned};

/// A device as it is registered.
#[derive(Clone, PartialEq, Eq)]
pub struct Device {
    /// Its product.
    pub product_key: String,
    /// Unique within the product.
    pub device_name: String,
    /// Unique over all products.
    pub iot_id: String,
    /// What it signs with.
    pub secret: String,
    /// For people.
    pub nickname: Option<String>,
    /// Not allowed to connect.
    pub disabled: bool,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Milliseconds since 1970.
    pub modified_ms: u64,
    /// When it connected first, in milliseconds since 1970.
    pub active_ms: Option<u64>,
    /// When it connected last, in milliseconds since 1970.
    pub online_ms: Option<u64>,
    /// The address that it connected from last.
    pub address: Option<String>,
}

/// Leaves the secret out.
impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("product_key", &self.product_key)
            .field("device_name", &self.device_name)
            .field("iot_id", &self.iot_id)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

/// Which device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceRef<'a> {
    /// By its id.
    IotId(&'a str),
    /// By product and name.
    Name {
        /// The product's key.
        product_key: &'a str,
        /// The device's name.
        device_name: &'a str,
    },
}

impl std::fmt::Display for DeviceRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::IotId(id) => write!(f, "with IotId `{id}`"),
            Self::Name { product_key, device_name } => {
                write!(f, "`{device_name}` of product `{product_key}`")
            }
        }
    }
}

/// A device to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// Its product.
    pub product_key: String,
    /// Its name; one is made up without.
    pub device_name: Option<String>,
    /// For people.
    pub nickname: Option<String>,
}

impl Registry {
    /// Registers a device.
    ///
    /// # Errors
    /// [`RegistryError::NoProduct`], [`RegistryError::NameTaken`], [`RegistryError::Full`], or what
    /// the database says.
    pub async fn register(&self, new: NewDevice, now_ms: u64) -> Result<Device, RegistryError> {
        let _change = self.changing().await;
        let device = self.new_device(new, now_ms)?;
        let mut connection = self.pool().acquire().await?;
        insert(&mut connection, &device, None).await?;
        self.remember(std::slice::from_ref(&device));
        Ok(device)
    }

    /// A device that may be registered, and is not yet.
    pub(super) fn new_device(&self, new: NewDevice, now_ms: u64) -> Result<Device, RegistryError> {
        let NewDevice { product_key, device_name, nickname } = new;
        if self.product(&product_key).is_none() {
            return Err(RegistryError::NoProduct(product_key));
        }
        let mut chance = Chance::default();
        let name = device_name.unwrap_or_else(|| chance.device_name());
        if self.knows_device(&product_key, &name) {
            return Err(RegistryError::NameTaken(name));
        }
        self.has_room(1)?;
        Ok(fresh(&mut chance, &product_key, name, nickname, now_ms))
    }

    /// A device with everything that is known of it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn device(&self, of: DeviceRef<'_>) -> Result<Option<Device>, StoreError> {
        let query = match of {
            DeviceRef::IotId(id) => {
                sqlx::query("SELECT * FROM devices WHERE iot_id = $1").bind(id.to_owned())
            }
            DeviceRef::Name { product_key, device_name } => {
                sqlx::query("SELECT * FROM devices WHERE product_key = $1 AND name = $2")
                    .bind(product_key.to_owned())
                    .bind(device_name.to_owned())
            }
        };
        let row = query.fetch_optional(self.pool()).await?;
        row.as_ref().map(|row| self.read_device(row)).transpose()
    }

    /// At most `limit` devices of a product, the newest first, after the first `offset`.
    ///
    /// # Errors
    /// What the database says.
    pub async fn devices(
        &self,
        product_key: &str,
        limit: u32,
        offset: u64,
    ) -> Result<Vec<Device>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM devices WHERE product_key = $1 ORDER BY id DESC LIMIT $2 OFFSET $3",
        )
        .bind(product_key)
        .bind(i64::from(limit))
        .bind(signed(offset))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| self.read_device(row)).collect()
    }

    /// How many devices the database has, all or of one product.
    ///
    /// # Errors
    /// What the database says.
    pub async fn stored_devices(&self, product_key: Option<&str>) -> Result<u64, StoreError> {
        let query = match product_key {
            Some(key) => {
                sqlx::query("SELECT count(*) FROM devices WHERE product_key = $1").bind(key)
            }
            None => sqlx::query("SELECT count(*) FROM devices"),
        };
        Ok(unsigned(query.fetch_one(self.pool()).await?.try_get(0)?))
    }

    /// Forbids a device to connect, or allows it again. False when it was so already.
    ///
    /// # Errors
    /// [`RegistryError::NoDevice`], or what the database says.
    pub async fn set_disabled(
        &self,
        product_key: &str,
        device_name: &str,
        disabled: bool,
        now_ms: u64,
    ) -> Result<bool, RegistryError> {
        let _change = self.changing().await;
        let was = self.read().known(product_key, device_name).map(|known| known.disabled);
        match was {
            None => return Err(no_device(product_key, device_name)),
            Some(was) if was == disabled => return Ok(false),
            Some(_) => {}
        }
        sqlx::query(
            "UPDATE devices SET disabled = $1, modified_ms = $2
             WHERE product_key = $3 AND name = $4",
        )
        .bind(i64::from(disabled))
        .bind(signed(now_ms))
        .bind(product_key)
        .bind(device_name)
        .execute(self.pool())
        .await?;
        if let Some(known) = self.write().known_mut(product_key, device_name) {
            known.disabled = disabled;
        }
        Ok(true)
    }

    /// Gives a device another nickname, or none.
    ///
    /// # Errors
    /// [`RegistryError::NoDevice`], or what the database says.
    pub async fn set_nicknames(
        &self,
        changes: &[(String, String, Option<String>)],
        now_ms: u64,
    ) -> Result<(), RegistryError> {
        let _change = self.changing().await;
        if let Some((key, name, _)) = changes.iter().find(|(k, n, _)| !self.knows_device(k, n)) {
            return Err(no_device(key, name));
        }
        let mut change = self.pool().begin().await?;
        for (product_key, device_name, nickname) in changes {
            sqlx::query(
                "UPDATE devices SET nickname = $1, modified_ms = $2
                 WHERE product_key = $3 AND name = $4",
            )
            .bind(nickname)
            .bind(signed(now_ms))
            .bind(product_key)
            .bind(device_name)
            .execute(&mut *change)
            .await?;
        }
        change.commit().await?;
        Ok(())
    }

    /// Deletes a device with its tags and routes; it is in no group any more.
    ///
    /// # Errors
    /// [`RegistryError::NoDevice`], or what the database says.
    pub async fn delete_device(
        &self,
        product_key: &str,
        device_name: &str,
    ) -> Result<(), RegistryError> {
        let _change = self.changing().await;
        if !self.knows_device(product_key, device_name) {
            return Err(no_device(product_key, device_name));
        }
        sqlx::query("DELETE FROM devices WHERE product_key = $1 AND name = $2")
            .bind(product_key)
            .bind(device_name)
            .execute(self.pool())
            .await?;
        {
            let mut memory = self.write();
            if let Some(shelf) = memory.products.get_mut(product_key) {
                let gone = shelf.devices.remove(device_name).is_some();
                shelf.tags.remove(device_name);
                shelf.groups.remove(device_name);
                memory.devices -= u64::from(gone);
            }
            memory.forget_topology(product_key, device_name);
        }
        self.seen().forget(product_key, device_name);
        self.forget_routes(&format!("/{product_key}/{device_name}/"));
        Ok(())
    }

    /// Whether so many more devices may be registered.
    pub(super) fn has_room(&self, more: usize) -> Result<(), RegistryError> {
        let have = self.device_count();
        match have.saturating_add(more as u64) > self.limits().devices {
            true => Err(RegistryError::Full(have)),
            false => Ok(()),
        }
    }

    /// Takes devices into memory that the database has taken.
    pub(super) fn remember(&self, devices: &[Device]) {
        let mut memory = self.write();
        for device in devices {
            let known = Known {
                iot_id: device.iot_id.as_str().into(),
                disabled: device.disabled,
                active: device.active_ms.is_some(),
                online: false,
                connection: 0,
            };
            let Some(shelf) = memory.products.get_mut(device.product_key.as_str()) else {
                continue;
            };
            if shelf.devices.insert(device.device_name.as_str().into(), known).is_none() {
                memory.devices += 1;
            }
        }
    }

    /// A device with the times that are not yet in the database.
    pub(super) fn read_device(&self, row: &AnyRow) -> Result<Device, StoreError> {
        let time = |name: &str| row.try_get::<Option<i64>, _>(name).map(|ms| ms.map(unsigned));
        let mut device = Device {
            product_key: row.try_get("product_key")?,
            device_name: row.try_get("name")?,
            iot_id: row.try_get("iot_id")?,
            secret: row.try_get("secret")?,
            nickname: row.try_get("nickname")?,
            disabled: row.try_get::<i64, _>("disabled")? != 0,
            created_ms: unsigned(row.try_get("created_ms")?),
            modified_ms: unsigned(row.try_get("modified_ms")?),
            active_ms: time("active_ms")?,
            online_ms: time("online_ms")?,
            address: row.try_get("address")?,
        };
        self.seen().complete(&mut device);
        Ok(device)
    }
}

pub(super) fn no_device(product_key: &str, device_name: &str) -> RegistryError {
    RegistryError::NoDevice(DeviceRef::Name { product_key, device_name }.to_string())
}

/// A device that was never connected.
pub(super) fn fresh(
    chance: &mut Chance,
    product_key: &str,
    device_name: String,
    nickname: Option<String>,
    now_ms: u64,
) -> Device {
    Device {
        product_key: product_key.to_owned(),
        device_name,
        iot_id: chance.iot_id(),
        secret: chance.device_secret(),
        nickname,
        disabled: false,
        created_ms: now_ms,
        modified_ms: now_ms,
        active_ms: None,
        online_ms: None,
        address: None,
    }
}

pub(super) async fn insert(
    connection: &mut AnyConnection,
    device: &Device,
    apply_id: Option<u64>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO devices (product_key, name, iot_id, secret, nickname, disabled, created_ms,
         modified_ms, apply_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(&device.product_key)
    .bind(&device.device_name)
    .bind(&device.iot_id)
    .bind(&device.secret)
    .bind(&device.nickname)
    .bind(i64::from(device.disabled))
    .bind(signed(device.created_ms))
    .bind(signed(device.modified_ms))
    .bind(apply_id.map(signed))
    .execute(connection)
    .await?;
    Ok(())
}
