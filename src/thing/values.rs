//! The last value of each property of each registered device: in the database, written in batches.
//!
//! What was posted since the last write is in memory, a second's worth at most; a crash loses that, a
//! normal end writes it. Values of the past (history posts) do not come here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::{AnyConnection, AnyPool, Row as _};

use rule::store::{StoreError, is_postgres, signed, unsigned};

/// How long a value may be in memory only.
pub const WRITE_EVERY: Duration = Duration::from_secs(1);

/// Properties of one device that are kept; a product without a model could make up any number.
pub const VALUES_MAX: i64 = 1_000;

/// Bytes of a value that is kept.
pub(super) const VALUE_BYTES: usize = 16 << 10;

/// Bytes of an identifier whose value is kept: the vendor's have 50 characters, a module's name before
/// them included, and a database's index takes no long ones.
pub(super) const IDENTIFIER_BYTES: usize = 512;

/// Bytes that may wait for the database. What comes when it is full is not kept, but counted.
const WAITING_BYTES: usize = 32 << 20;

/// Devices whose values are written in one transaction.
const DEVICES_AT_ONCE: usize = 256;

/// What an entry counts for beside its text, in bytes.
const OVERHEAD: usize = 64;

/// A property's last value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// Its identifier.
    pub identifier: String,
    /// JSON, as it was posted.
    pub value: String,
    /// When it was so, in milliseconds since 1970: the device's word, else when it was received.
    pub time_ms: u64,
}

type Values = HashMap<String, (String, u64)>;

/// The last values.
#[derive(Debug)]
pub(super) struct LastValues {
    pool: AnyPool,
    fresh: Mutex<Fresh>,
    /// Held while values are written, so that who reads sees those of a batch that is under way.
    writing: tokio::sync::Mutex<()>,
    lost: AtomicU64,
}

/// What is not written yet, by `product key/device name`.
#[derive(Debug, Default)]
struct Fresh {
    devices: HashMap<String, Values>,
    bytes: usize,
}

impl LastValues {
    pub(super) fn new(pool: AnyPool) -> Self {
        let (fresh, writing, lost) = (Mutex::default(), tokio::sync::Mutex::default(), 0.into());
        Self { pool, fresh, writing, lost }
    }

    /// Values that were not kept: too large, or more than could be written.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Takes values of a device, which is `product key/device name`.
    pub(super) fn take<'a>(
        &self,
        device: &str,
        values: impl Iterator<Item = (&'a str, &'a str, u64)>,
    ) {
        let mut fresh = self.lock();
        let Fresh { devices, bytes } = &mut *fresh;
        if !devices.contains_key(device) {
            *bytes += device.len() + OVERHEAD;
            devices.insert(device.to_owned(), Values::new());
        }
        let Some(known) = devices.get_mut(device) else { return };
        let mut lost = 0;
        for (identifier, value, time_ms) in values {
            let size = match known.contains_key(identifier) {
                true => value.len(),
                false => value.len() + identifier.len() + OVERHEAD,
            };
            // A NUL is no text for every database, and one bad value would hold up the whole batch.
            let good = value.len() <= VALUE_BYTES
                && identifier.len() <= IDENTIFIER_BYTES
                && !identifier.contains('\0');
            if !good || *bytes + size > WAITING_BYTES {
                lost += 1;
                continue;
            }
            match known.get_mut(identifier) {
                Some((old, time)) => {
                    *bytes = *bytes + value.len() - old.len();
                    old.clear();
                    old.push_str(value);
                    *time = time_ms;
                }
                None => {
                    *bytes += size;
                    known.insert(identifier.to_owned(), (value.to_owned(), time_ms));
                }
            }
        }
        drop(fresh);
        if lost > 0 {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// Writes what there is at this moment.
    ///
    /// # Errors
    /// What the database says; what was not written is lost then, and counted.
    pub(super) async fn write(&self) -> Result<(), StoreError> {
        let mut left = self.lock().devices.len();
        while left > 0 {
            let _writing = self.writing.lock().await;
            let names: Vec<_> = {
                let fresh = self.lock();
                fresh.devices.keys().take(DEVICES_AT_ONCE).cloned().collect()
            };
            if names.is_empty() {
                return Ok(());
            }
            left = left.saturating_sub(names.len());
            self.write_some(&names).await?;
        }
        Ok(())
    }

    /// The last values of a registered device, by identifier.
    ///
    /// # Errors
    /// What the database says.
    pub(super) async fn of(
        &self,
        product_key: &str,
        device_name: &str,
    ) -> Result<Vec<Last>, StoreError> {
        let _writing = self.writing.lock().await;
        self.write_some(&[format!("{product_key}/{device_name}")]).await?;
        let rows = sqlx::query(
            "SELECT v.identifier, v.value, v.time_ms FROM device_values v
             JOIN devices d ON d.id = v.device_id
             WHERE d.product_key = $1 AND d.name = $2 ORDER BY v.identifier",
        )
        .bind(product_key)
        .bind(device_name)
        .fetch_all(&self.pool)
        .await?;
        let last = |row: &sqlx::any::AnyRow| {
            Ok(Last {
                identifier: row.try_get(0)?,
                value: row.try_get(1)?,
                time_ms: unsigned(row.try_get(2)?),
            })
        };
        rows.iter().map(last).collect()
    }

    /// Writes the values of these devices. The caller holds `writing`.
    async fn write_some(&self, names: &[String]) -> Result<(), StoreError> {
        let taken: Vec<_> = {
            let mut fresh = self.lock();
            let taken: Vec<_> =
                names.iter().filter_map(|name| fresh.devices.remove_entry(name)).collect();
            let size = |(name, values): &(String, Values)| {
                let values =
                    values.iter().map(|(id, (value, _))| id.len() + value.len() + OVERHEAD);
                name.len() + OVERHEAD + values.sum::<usize>()
            };
            let gone: usize = taken.iter().map(size).sum();
            fresh.bytes = fresh.bytes.saturating_sub(gone);
            taken
        };
        if taken.is_empty() {
            return Ok(());
        }
        let count: usize = taken.iter().map(|(_, values)| values.len()).sum();
        let written = async {
            let mut change = self.pool.begin().await?;
            for (name, values) in &taken {
                write_device(&mut change, name, values).await?;
            }
            change.commit().await
        };
        if let Err(problem) = written.await {
            self.lost.fetch_add(count as u64, Ordering::Relaxed);
            return Err(problem.into());
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A device, and how many values it has.
const FIND: &str = "
    SELECT d.id, (SELECT count(*) FROM device_values v WHERE v.device_id = d.id)
    FROM devices d WHERE d.product_key = $1 AND d.name = $2";

/// The same, where somebody else may delete device or product at the same time: who does that waits
/// before it has taken anything that is needed here.
const FIND_AND_HOLD: &str = "
    SELECT d.id, (SELECT count(*) FROM device_values v WHERE v.device_id = d.id)
    FROM devices d JOIN products p ON p.product_key = d.product_key
    WHERE d.product_key = $1 AND d.name = $2 FOR KEY SHARE OF p, d";

/// Writes the values of a device that may have been deleted since; then nothing is written.
async fn write_device(
    change: &mut AnyConnection,
    name: &str,
    values: &Values,
) -> Result<(), sqlx::Error> {
    let Some((product_key, device_name)) = name.split_once('/') else { return Ok(()) };
    let find = match is_postgres(change) {
        true => FIND_AND_HOLD,
        false => FIND,
    };
    let found =
        sqlx::query(find).bind(product_key).bind(device_name).fetch_optional(&mut *change).await?;
    let Some(row) = found else { return Ok(()) };
    let (id, mut kept): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    for (identifier, (value, time_ms)) in values {
        let done = sqlx::query(
            "UPDATE device_values SET value = $1, time_ms = $2
             WHERE device_id = $3 AND identifier = $4",
        )
        .bind(value)
        .bind(signed(*time_ms))
        .bind(id)
        .bind(identifier)
        .execute(&mut *change)
        .await?;
        if done.rows_affected() > 0 || kept >= VALUES_MAX {
            continue;
        }
        kept += 1;
        sqlx::query(
            "INSERT INTO device_values (device_id, identifier, value, time_ms)
             VALUES ($1, $2, $3, $4)",
        )
        .bind(id)
        .bind(identifier)
        .bind(value)
        .bind(signed(*time_ms))
        .execute(&mut *change)
        .await?;
    }
    Ok(())
}
