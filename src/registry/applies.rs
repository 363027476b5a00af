//! Applications for many devices at once: names are checked first, devices made of them later.
//!
//! The vendor does both behind its answers; here both are done when the answer comes.

use std::collections::HashSet;

use sqlx::{AnyConnection, Row as _};

use super::codes::Chance;
use super::devices::{fresh, insert};
use super::names::{check_device_name, check_nickname};
use super::{Device, Registry, RegistryError};
use rule::store::{StoreError, signed, unsigned};

/// Devices of one application.
pub const NAMES_MAX: usize = 1_000;

/// Applications that are remembered; then the oldest are forgotten. Their devices stay.
const APPLIES_MAX: u64 = 1_000;

/// How far an application is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApplyStatus {
    /// All names are good and free.
    CheckSuccess,
    /// Some are not.
    CheckFailed,
    /// All devices are there.
    CreateSuccess,
    /// Some names were taken meanwhile.
    CreateFailed,
}

impl ApplyStatus {
    const ALL: [Self; 4] =
        [Self::CheckSuccess, Self::CheckFailed, Self::CreateSuccess, Self::CreateFailed];

    /// The vendor's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CheckSuccess => "CHECK_SUCCESS",
            Self::CheckFailed => "CHECK_FAILED",
            Self::CreateSuccess => "CREATE_SUCCESS",
            Self::CreateFailed => "CREATE_FAILED",
        }
    }

    /// True when part of it did not work.
    #[must_use]
    pub fn failed(self) -> bool {
        matches!(self, Self::CheckFailed | Self::CreateFailed)
    }

    /// The table holds no other text; should one get in, no device is made of it.
    fn parse(text: &str) -> Self {
        Self::ALL.into_iter().find(|one| one.as_str() == text).unwrap_or(Self::CheckFailed)
    }
}

/// One name of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyName {
    /// The name of the device.
    pub name: String,
    /// Its nickname.
    pub nickname: Option<String>,
    /// What is wrong with it; in what is read from the database only whether anything is.
    pub problem: Option<String>,
}

/// An application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apply {
    /// From 1000 up.
    pub id: u64,
    /// The product of the devices.
    pub product_key: String,
    /// How far it is.
    pub status: ApplyStatus,
    /// The names in the order in which they were given; none when names were made up.
    pub names: Vec<ApplyName>,
}

impl Registry {
    /// Checks names and keeps them as an application. `problem` of the names is not read.
    ///
    /// # Errors
    /// [`RegistryError::NoProduct`], or what the database says.
    pub async fn apply_for(
        &self,
        product_key: &str,
        mut names: Vec<ApplyName>,
        now_ms: u64,
    ) -> Result<Apply, RegistryError> {
        let _change = self.changing().await;
        if self.product(product_key).is_none() {
            return Err(RegistryError::NoProduct(product_key.to_owned()));
        }
        let mut before = HashSet::new();
        for name in &mut names {
            let repeated = !before.insert(name.name.clone());
            name.problem = self.problem(product_key, name, repeated);
        }
        let bad = names.iter().any(|name| name.problem.is_some());
        let status = if bad { ApplyStatus::CheckFailed } else { ApplyStatus::CheckSuccess };
        let mut change = self.pool().begin().await?;
        let id = insert_apply(&mut change, product_key, status, now_ms).await?;
        insert_names(&mut change, id, &names).await?;
        change.commit().await?;
        Ok(Apply { id, product_key: product_key.to_owned(), status, names })
    }

    fn problem(&self, product_key: &str, name: &ApplyName, repeated: bool) -> Option<String> {
        if let Err(problem) = check_device_name(&name.name) {
            return Some(problem);
        }
        if let Some(nickname) = &name.nickname
            && let Err(problem) = check_nickname(nickname)
        {
            return Some(format!("nickname: {problem}"));
        }
        if repeated {
            return Some("the name is given twice".to_owned());
        }
        self.knows_device(product_key, &name.name).then(|| "the name is taken".to_owned())
    }

    /// Makes the devices of an application whose names were good. Those whose name was taken since
    /// then are left out.
    ///
    /// # Errors
    /// [`RegistryError::NoApply`], [`RegistryError::ApplyState`], [`RegistryError::ApplyRunning`],
    /// [`RegistryError::Full`], or what the database says.
    pub async fn carry_out(
        &self,
        product_key: &str,
        id: u64,
        now_ms: u64,
    ) -> Result<Vec<Device>, RegistryError> {
        let _running = Running::enter(self, id)?;
        let _change = self.changing().await;
        let apply = self.apply(id).await?.ok_or(RegistryError::NoApply(id))?;
        if apply.product_key != product_key {
            return Err(RegistryError::ApplyState(id, "it is for another product"));
        }
        match apply.status {
            ApplyStatus::CheckSuccess => {}
            ApplyStatus::CheckFailed => {
                return Err(RegistryError::ApplyState(id, "not all of its names can be used"));
            }
            _ => return Err(RegistryError::ApplyState(id, "its devices were made already")),
        }
        self.has_room(apply.names.len())?;
        let mut names = apply.names;
        for name in &mut names {
            let taken = self.knows_device(product_key, &name.name);
            name.problem = taken.then(|| "the name is taken".to_owned());
        }
        let status = match names.iter().any(|name| name.problem.is_some()) {
            true => ApplyStatus::CreateFailed,
            false => ApplyStatus::CreateSuccess,
        };
        let mut chance = Chance::default();
        let good = names.iter().filter(|name| name.problem.is_none());
        let devices: Vec<_> = good
            .map(|one| {
                let nickname = one.nickname.clone();
                fresh(&mut chance, product_key, one.name.clone(), nickname, now_ms)
            })
            .collect();
        let mut change = self.pool().begin().await?;
        sqlx::query("UPDATE device_applies SET status = $1 WHERE id = $2")
            .bind(status.as_str())
            .bind(signed(id))
            .execute(&mut *change)
            .await?;
        sqlx::query("DELETE FROM device_apply_names WHERE apply_id = $1")
            .bind(signed(id))
            .execute(&mut *change)
            .await?;
        insert_names(&mut change, id, &names).await?;
        for device in &devices {
            insert(&mut change, device, Some(id)).await?;
        }
        change.commit().await?;
        self.remember(&devices);
        Ok(devices)
    }

    /// Makes devices with names that are made up.
    ///
    /// # Errors
    /// [`RegistryError::NoProduct`], [`RegistryError::Full`], or what the database says.
    pub async fn register_many(
        &self,
        product_key: &str,
        count: usize,
        now_ms: u64,
    ) -> Result<(u64, Vec<Device>), RegistryError> {
        let _change = self.changing().await;
        if self.product(product_key).is_none() {
            return Err(RegistryError::NoProduct(product_key.to_owned()));
        }
        self.has_room(count)?;
        let mut chance = Chance::default();
        let devices: Vec<_> = (0..count)
            .map(|_| {
                let name = chance.device_name();
                fresh(&mut chance, product_key, name, None, now_ms)
            })
            .collect();
        let mut change = self.pool().begin().await?;
        let id = insert_apply(&mut change, product_key, ApplyStatus::CreateSuccess, now_ms).await?;
        for device in &devices {
            insert(&mut change, device, Some(id)).await?;
        }
        change.commit().await?;
        self.remember(&devices);
        Ok((id, devices))
    }

    /// An application with its names.
    ///
    /// # Errors
    /// What the database says.
    pub async fn apply(&self, id: u64) -> Result<Option<Apply>, StoreError> {
        let row = sqlx::query("SELECT product_key, status FROM device_applies WHERE id = $1")
            .bind(signed(id))
            .fetch_optional(self.pool())
            .await?;
        let Some(row) = row else { return Ok(None) };
        let rows = sqlx::query(
            "SELECT name, nickname, good FROM device_apply_names WHERE apply_id = $1
             ORDER BY position",
        )
        .bind(signed(id))
        .fetch_all(self.pool())
        .await?;
        let mut names = Vec::with_capacity(rows.len());
        for row in rows {
            let good = row.try_get::<i64, _>("good")? != 0;
            names.push(ApplyName {
                name: row.try_get("name")?,
                nickname: row.try_get("nickname")?,
                problem: (!good).then(|| "it can't be used".to_owned()),
            });
        }
        Ok(Some(Apply {
            id,
            product_key: row.try_get("product_key")?,
            status: ApplyStatus::parse(row.try_get("status")?),
            names,
        }))
    }

    /// At most `limit` devices that were made of an application, the oldest first, after the first
    /// `offset`; and how many there are.
    ///
    /// # Errors
    /// What the database says.
    pub async fn devices_of_apply(
        &self,
        id: u64,
        limit: u32,
        offset: u64,
    ) -> Result<(Vec<Device>, u64), StoreError> {
        let rows =
            sqlx::query("SELECT * FROM devices WHERE apply_id = $1 ORDER BY id LIMIT $2 OFFSET $3")
                .bind(signed(id))
                .bind(i64::from(limit))
                .bind(signed(offset))
                .fetch_all(self.pool())
                .await?;
        let count = sqlx::query("SELECT count(*) FROM devices WHERE apply_id = $1")
            .bind(signed(id))
            .fetch_one(self.pool())
            .await?;
        let devices = rows.iter().map(|row| self.read_device(row)).collect::<Result<_, _>>()?;
        Ok((devices, unsigned(count.try_get(0)?)))
    }
}

/// An application that is being carried out; a second call for it does not wait.
struct Running<'a> {
    registry: &'a Registry,
    id: u64,
}

impl<'a> Running<'a> {
    fn enter(registry: &'a Registry, id: u64) -> Result<Self, RegistryError> {
        match registry.running().insert(id) {
            true => Ok(Self { registry, id }),
            false => Err(RegistryError::ApplyRunning(id)),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.registry.running().remove(&self.id);
    }
}

pub(super) async fn insert_apply(
    connection: &mut AnyConnection,
    product_key: &str,
    status: ApplyStatus,
    now_ms: u64,
) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "INSERT INTO device_applies (product_key, status, created_ms) VALUES ($1, $2, $3)
         RETURNING id",
    )
    .bind(product_key)
    .bind(status.as_str())
    .bind(signed(now_ms))
    .fetch_one(&mut *connection)
    .await?;
    let id = unsigned(row.try_get(0)?);
    sqlx::query("DELETE FROM device_applies WHERE id <= $1")
        .bind(signed(id.saturating_sub(APPLIES_MAX)))
        .execute(&mut *connection)
        .await?;
    Ok(id)
}

pub(super) async fn insert_names(
    connection: &mut AnyConnection,
    id: u64,
    names: &[ApplyName],
) -> Result<(), StoreError> {
    for (position, name) in names.iter().enumerate() {
        sqlx::query(
            "INSERT INTO device_apply_names (apply_id, position, name, nickname, good)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(signed(id))
        .bind(signed(position as u64))
        .bind(&name.name)
        .bind(&name.nickname)
        .bind(i64::from(name.problem.is_none()))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
