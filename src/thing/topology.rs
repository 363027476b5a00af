//! Which devices are a gateway's: in memory, since every post of a gateway for others asks.
//!
//! The database has the same; who changes one changes the other.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use sqlx::{AnyPool, Row as _};

use rule::store::StoreError;

/// Devices of one gateway.
pub(super) const SUB_DEVICES_MAX: usize = 1_500;

/// The gateways of devices; both by their ids, which no other device ever has.
#[derive(Debug, Default)]
pub(super) struct Topology {
    gateways: RwLock<HashMap<String, String>>,
}

impl Topology {
    pub(super) async fn load(pool: &AnyPool) -> Result<Self, StoreError> {
        let rows = sqlx::query(
            "SELECT (SELECT iot_id FROM devices WHERE id = s.device_id),
             (SELECT iot_id FROM devices WHERE id = s.gateway_id) FROM sub_devices s",
        )
        .fetch_all(pool)
        .await?;
        let mut gateways = HashMap::with_capacity(rows.len());
        for row in &rows {
            gateways.insert(row.try_get(0)?, row.try_get(1)?);
        }
        Ok(Self { gateways: RwLock::new(gateways) })
    }

    /// True when the device is one of the gateway's.
    pub(super) fn is_attached(&self, gateway: &str, device: &str) -> bool {
        let gateways = self.gateways.read().unwrap_or_else(PoisonError::into_inner);
        gateways.get(device).is_some_and(|known| known == gateway)
    }

    pub(super) fn attach(&self, gateway: &str, device: &str) {
        let mut gateways = self.gateways.write().unwrap_or_else(PoisonError::into_inner);
        gateways.insert(device.to_owned(), gateway.to_owned());
    }

    pub(super) fn detach(&self, device: &str) {
        let mut gateways = self.gateways.write().unwrap_or_else(PoisonError::into_inner);
        gateways.remove(device);
    }
}
