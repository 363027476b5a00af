//! Which device is in which group.
//!
//! The database has it for lists, and memory beside who is connected, so that a group can be counted.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use sqlx::{AnyPool, Row as _};

use super::groups::{Group, count, read};
use super::memory::Memory;
use super::{Found, Registry, RegistryError};
use rule::store::{StoreError, signed};

/// Groups that a device may be in.
pub const GROUPS_OF_DEVICE_MAX: usize = 10;

/// Devices that leave a deleted group while memory is locked.
const FORGOTTEN_AT_ONCE: usize = 1_000;

/// A device: the key of its product, and its name.
type Named<'a> = (&'a str, &'a str);

/// What became of devices that were to be put into a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Joined {
    /// Those that are registered; each counts once.
    pub valid: u64,
    /// Those that are in the group since then.
    pub added: u64,
    /// Those that were in it before.
    pub already: u64,
    /// Those that are in as many groups as they may be.
    pub full: u64,
}

/// What became of devices that were to be taken out of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Left {
    /// Those that are registered; each counts once.
    pub valid: u64,
    /// Those that were in the group, and are not any more.
    pub removed: u64,
}

/// How many devices of a group there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Crowd {
    /// All.
    pub devices: u64,
    /// Those that have connected once or more.
    pub active: u64,
    /// Those that are connected now.
    pub online: u64,
}

impl Registry {
    /// Puts devices into a group. Those that are not registered are left out, and so are those that are
    /// in [`GROUPS_OF_DEVICE_MAX`] groups already.
    ///
    /// # Errors
    /// [`RegistryError::NoGroup`], or what the database says; then none is in it.
    pub async fn join_group(
        &self,
        id: &str,
        devices: &BTreeSet<Named<'_>>,
    ) -> Result<Joined, RegistryError> {
        let _change = self.changing().await;
        let row = self.group_row(id).await?;
        let (mut joined, mut fresh) = (Joined::default(), Vec::new());
        for device in devices {
            let Some(groups) = self.read().groups_of(*device).map(<[i64]>::to_vec) else {
                continue;
            };
            joined.valid += 1;
            if groups.contains(&row) {
                joined.already += 1;
            } else if groups.len() >= GROUPS_OF_DEVICE_MAX {
                joined.full += 1;
            } else {
                fresh.push(*device);
            }
        }
        self.for_each(
            row,
            &fresh,
            "INSERT INTO device_group_members (group_id, device_id)
             SELECT $1, id FROM devices WHERE product_key = $2 AND name = $3",
        )
        .await?;
        let mut memory = self.write();
        for device in &fresh {
            memory.join(*device, row);
        }
        joined.added = fresh.len() as u64;
        Ok(joined)
    }

    /// Takes devices out of a group. Those that are not in it are left out.
    ///
    /// # Errors
    /// [`RegistryError::NoGroup`], or what the database says; then all stay in it.
    pub async fn leave_group(
        &self,
        id: &str,
        devices: &BTreeSet<Named<'_>>,
    ) -> Result<Left, RegistryError> {
        let _change = self.changing().await;
        let row = self.group_row(id).await?;
        let (mut left, mut gone) = (Left::default(), Vec::new());
        for device in devices {
            let is_in = self.read().groups_of(*device).map(|groups| groups.contains(&row));
            left.valid += u64::from(is_in.is_some());
            if is_in == Some(true) {
                gone.push(*device);
            }
        }
        self.for_each(
            row,
            &gone,
            "DELETE FROM device_group_members WHERE group_id = $1 AND device_id IN
             (SELECT id FROM devices WHERE product_key = $2 AND name = $3)",
        )
        .await?;
        let mut memory = self.write();
        for device in &gone {
            memory.leave(*device, row);
        }
        left.removed = gone.len() as u64;
        Ok(left)
    }

    /// Carries a change of a group's row out for each of these devices, or for none.
    async fn for_each(
        &self,
        row: i64,
        devices: &[Named<'_>],
        statement: &'static str,
    ) -> Result<(), StoreError> {
        let mut change = self.pool().begin().await?;
        for (product_key, device_name) in devices {
            let statement = sqlx::query(statement).bind(row);
            statement.bind(*product_key).bind(*device_name).execute(&mut *change).await?;
        }
        Ok(change.commit().await?)
    }

    /// The groups that a device is in, the newest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn groups_of(
        &self,
        product_key: &str,
        device_name: &str,
    ) -> Result<Vec<Group>, StoreError> {
        let rows = sqlx::query(
            "SELECT g.* FROM device_groups g
             JOIN device_group_members m ON m.group_id = g.id
             JOIN devices d ON d.id = m.device_id
             WHERE d.product_key = $1 AND d.name = $2 ORDER BY g.id DESC",
        )
        .bind(product_key)
        .bind(device_name)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(read).collect()
    }

    /// At most `limit` devices of a group, the newest first, after the first `offset`; and how many there
    /// are.
    ///
    /// # Errors
    /// [`RegistryError::NoGroup`], or what the database says.
    pub async fn devices_of_group(
        &self,
        id: &str,
        limit: u32,
        offset: u64,
    ) -> Result<(Vec<Found>, u64), RegistryError> {
        let row = self.group_row(id).await?;
        // The page is cut out of the index, so that only its devices are looked up.
        let rows = sqlx::query(
            "SELECT d.product_key, d.name, d.iot_id FROM
             (SELECT device_id FROM device_group_members WHERE group_id = $1
              ORDER BY device_id DESC LIMIT $2 OFFSET $3) m
             JOIN devices d ON d.id = m.device_id ORDER BY d.id DESC",
        )
        .bind(row)
        .bind(i64::from(limit))
        .bind(signed(offset))
        .fetch_all(self.pool())
        .await?;
        let total = sqlx::query("SELECT count(*) FROM device_group_members WHERE group_id = $1");
        let total = count(self.pool(), total.bind(row)).await?;
        let found = rows.iter().map(|row| {
            Ok(Found {
                product_key: row.try_get(0)?,
                device_name: row.try_get(1)?,
                iot_id: row.try_get(2)?,
            })
        });
        Ok((found.collect::<Result<_, RegistryError>>()?, total))
    }

    /// Forgets a group that was deleted: in steps, since rules that read tags wait for each of them.
    pub(super) fn forget_group(&self, group: i64) {
        let members = self.read().members(group);
        for some in members.chunks(FORGOTTEN_AT_ONCE) {
            let mut memory = self.write();
            for (product_key, device_name) in some {
                memory.leave((product_key, device_name), group);
            }
        }
    }

    /// How many devices of a group there are, of one product or of all.
    ///
    /// # Errors
    /// [`RegistryError::NoGroup`], or what the database says.
    pub async fn crowd(&self, id: &str, product: Option<&str>) -> Result<Crowd, RegistryError> {
        let row = self.group_row(id).await?;
        let memory = self.read();
        let mut crowd = Crowd::default();
        let wanted = |key: &str| product.is_none_or(|wanted| wanted == key);
        for (_, shelf) in memory.products.iter().filter(|(key, _)| wanted(key)) {
            let inside = shelf.groups.iter().filter(|(_, groups)| groups.contains(&row));
            for known in inside.filter_map(|(name, _)| shelf.devices.get(name)) {
                crowd.devices += 1;
                crowd.active += u64::from(known.active);
                crowd.online += u64::from(known.online);
            }
        }
        Ok(crowd)
    }
}

impl Memory {
    /// The groups of a device; `None` when it is not registered.
    fn groups_of(&self, (product_key, device_name): Named<'_>) -> Option<&[i64]> {
        let shelf = self.products.get(product_key)?;
        shelf.devices.get(device_name)?;
        Some(shelf.groups.get(device_name).map_or(&[], Vec::as_slice))
    }

    fn join(&mut self, (product_key, device_name): Named<'_>, group: i64) {
        if let Some(shelf) = self.products.get_mut(product_key) {
            let groups = shelf.groups.entry(device_name.into()).or_default();
            // Few are in many groups.
            groups.reserve_exact(1);
            groups.push(group);
        }
    }

    fn leave(&mut self, (product_key, device_name): Named<'_>, group: i64) {
        if let Some(shelf) = self.products.get_mut(product_key)
            && let Some(groups) = shelf.groups.get_mut(device_name)
        {
            groups.retain(|one| *one != group);
            if groups.is_empty() {
                shelf.groups.remove(device_name);
            }
        }
    }

    /// Product keys and names of the devices of a group.
    fn members(&self, group: i64) -> Vec<(Box<str>, Box<str>)> {
        let mut members = Vec::new();
        for (key, shelf) in &self.products {
            let inside = shelf.groups.iter().filter(|(_, groups)| groups.contains(&group));
            members.extend(inside.map(|(name, _)| (key.clone(), name.clone())));
        }
        members
    }
}

/// Reads all groups of all devices into memory.
pub(super) async fn load(pool: &AnyPool, memory: &mut Memory) -> Result<(), StoreError> {
    let mut rows = sqlx::query(
        "SELECT d.product_key, d.name, m.group_id FROM device_group_members m
         JOIN devices d ON d.id = m.device_id",
    )
    .fetch(pool);
    while let Some(row) = rows.try_next().await? {
        memory.join((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?);
    }
    Ok(())
}
