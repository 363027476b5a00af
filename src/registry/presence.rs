//! Who is connected, and since when; written to the database in batches.
//!
//! The broker tells of it. A crash loses the times of the last second, nothing else.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use contract::Shutdown;

use super::{Device, Registry};
use rule::store::{StoreError, signed};

/// How often times are written.
pub const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// What is not yet in the database, by product key and device name: at most one entry for a device.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pending: Times,
    /// Those that are being written now.
    writing: Arc<Times>,
}

type Times = HashMap<(Box<str>, Box<str>), Came, foldhash::fast::RandomState>;

/// A device came.
#[derive(Debug, Clone, Copy)]
struct Came {
    first_ms: u64,
    last_ms: u64,
    from: IpAddr,
}

impl Seen {
    pub(super) fn forget(&mut self, product_key: &str, device_name: &str) {
        self.pending.remove(&(product_key.into(), device_name.into()));
    }

    pub(super) fn forget_product(&mut self, product_key: &str) {
        self.pending.retain(|(key, _), _| **key != *product_key);
    }

    /// Adds what the database does not know yet.
    pub(super) fn complete(&self, device: &mut Device) {
        if self.pending.is_empty() && self.writing.is_empty() {
            return;
        }
        let key = (device.product_key.as_str().into(), device.device_name.as_str().into());
        for came in [self.writing.get(&key), self.pending.get(&key)].into_iter().flatten() {
            device.active_ms.get_or_insert(came.first_ms);
            device.online_ms = Some(came.last_ms);
            device.address = Some(came.from.to_string());
        }
    }

    fn note(&mut self, key: (Box<str>, Box<str>), came: Came) {
        self.pending
            .entry(key)
            .and_modify(|have| {
                have.first_ms = have.first_ms.min(came.first_ms);
                if have.last_ms <= came.last_ms {
                    (have.last_ms, have.from) = (came.last_ms, came.from);
                }
            })
            .or_insert(came);
    }
}

impl Registry {
    /// A device has connected, over the connection of that number. False when it may not: it was disabled
    /// or deleted meanwhile; or when that connection has ended, or a later one has come, already.
    pub fn came(
        &self,
        product_key: &str,
        device_name: &str,
        at_ms: u64,
        from: IpAddr,
        connection: u64,
    ) -> bool {
        let mut memory = self.write();
        let Some(known) = memory.known_mut(product_key, device_name) else { return false };
        if known.disabled || connection <= known.connection {
            return false;
        }
        (known.online, known.active, known.connection) = (true, true, connection);
        // While the memory is held, so that nobody deletes the device in between.
        let came = Came { first_ms: at_ms, last_ms: at_ms, from };
        self.seen().note((product_key.into(), device_name.into()), came);
        true
    }

    /// The connection of a device has ended. False when the device has come over a later one meanwhile.
    pub fn went(&self, product_key: &str, device_name: &str, connection: u64) -> bool {
        let mut memory = self.write();
        let Some(known) = memory.known_mut(product_key, device_name) else { return true };
        let is_last = connection >= known.connection;
        if is_last {
            // Also for one that nobody has told of yet.
            (known.online, known.connection) = (false, connection);
        }
        is_last
    }

    /// True while a device is connected.
    #[must_use]
    pub fn is_online(&self, product_key: &str, device_name: &str) -> bool {
        self.read().known(product_key, device_name).is_some_and(|known| known.online)
    }

    /// Writes the times that are not yet in the database, and returns of how many devices.
    ///
    /// # Errors
    /// What the database says; what was not written is tried again by the next call.
    pub async fn flush(&self) -> Result<usize, StoreError> {
        // Nobody deletes a device meanwhile: another one of its name would get its times.
        let _change = self.changing().await;
        let taken = {
            let mut seen = self.seen();
            seen.writing = Arc::new(std::mem::take(&mut seen.pending));
            Arc::clone(&seen.writing)
        };
        if taken.is_empty() {
            return Ok(0);
        }
        let written = self.write_times(&taken).await;
        // The memory is never locked while these are: `came` does it the other way round.
        let again =
            |key: &(Box<str>, Box<str>)| written.is_err() && self.knows_device(&key.0, &key.1);
        let again: Vec<_> = taken.iter().filter(|(key, _)| again(key)).collect();
        let mut seen = self.seen();
        seen.writing = Arc::default();
        for (key, came) in again {
            seen.note(key.clone(), *came);
        }
        written.map(|()| taken.len())
    }

    async fn write_times(&self, taken: &Times) -> Result<(), StoreError> {
        let mut change = self.pool().begin().await?;
        for ((product_key, device_name), came) in taken {
            sqlx::query(
                "UPDATE devices SET active_ms = coalesce(active_ms, $1), online_ms = $2,
                 address = $3 WHERE product_key = $4 AND name = $5",
            )
            .bind(signed(came.first_ms))
            .bind(signed(came.last_ms))
            .bind(came.from.to_string())
            .bind(&**product_key)
            .bind(&**device_name)
            .execute(&mut *change)
            .await?;
        }
        change.commit().await?;
        Ok(())
    }

    /// Writes times every second until told to stop, then once more.
    pub async fn tend(self, mut stopped: Shutdown) {
        let mut tick = tokio::time::interval(FLUSH_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let last = tokio::select! {
                () = stopped.wait() => true,
                _ = tick.tick() => false,
            };
            if let Err(problem) = self.flush().await {
                tracing::error!(%problem, "when devices were online could not be written");
            }
            if last {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
