//! Shadows and gateways' sub-devices in the database.
//!
//! What a change does to a shadow stands in `shadow`; who may be whose sub-device is decided by who asks.

use connectors::contract::tree;
use sqlx::{AnyPool, Row as _};

use super::shadow::Shadow;
use crate::rule::store::StoreError;

/// The shadows. Only registered devices have one.
#[derive(Debug)]
pub(super) struct Shadows {
    pool: AnyPool,
    /// Held from reading a shadow to writing it.
    pub(super) change: tokio::sync::Mutex<()>,
}

/// A device by its name.
pub(super) type Name<'a> = (&'a str, &'a str);

impl Shadows {
    pub(super) fn new(pool: AnyPool) -> Self {
        Self { pool, change: tokio::sync::Mutex::default() }
    }

    /// The shadow of a device; one that was never written is empty.
    pub(super) async fn read(&self, of: Name<'_>) -> Result<Shadow, StoreError> {
        let row = sqlx::query(
            "SELECT s.document FROM device_shadows s JOIN devices d ON d.id = s.device_id
             WHERE d.product_key = $1 AND d.name = $2",
        )
        .bind(of.0)
        .bind(of.1)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(Shadow::default()) };
        let document = tree(row.try_get::<&str, _>(0)?.as_bytes());
        let document = document.map_err(|e| sqlx::Error::Decode(e.into()))?;
        Ok(Shadow::from_document(&document))
    }

    /// Keeps the shadow of a device; false when there is no such device.
    pub(super) async fn write(&self, of: Name<'_>, shadow: &Shadow) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO device_shadows (device_id, document)
             SELECT id, $3 FROM devices WHERE product_key = $1 AND name = $2
             ON CONFLICT (device_id) DO UPDATE SET document = excluded.document",
        )
        .bind(of.0)
        .bind(of.1)
        .bind(shadow.document().to_string())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Makes a device one of a gateway; it leaves the one that it was at. False when there is no such
    /// device or gateway.
    pub(super) async fn attach(&self, to: Name<'_>, device: Name<'_>) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO sub_devices (device_id, gateway_id)
             SELECT d.id, g.id FROM devices d, devices g
             WHERE d.product_key = $1 AND d.name = $2 AND g.product_key = $3 AND g.name = $4
             ON CONFLICT (device_id) DO UPDATE SET gateway_id = excluded.gateway_id",
        )
        .bind(device.0)
        .bind(device.1)
        .bind(to.0)
        .bind(to.1)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Takes a device away from a gateway; false when it was none of its.
    pub(super) async fn detach(
        &self,
        from: Name<'_>,
        device: Name<'_>,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "DELETE FROM sub_devices
             WHERE device_id = (SELECT id FROM devices WHERE product_key = $1 AND name = $2)
             AND gateway_id = (SELECT id FROM devices WHERE product_key = $3 AND name = $4)",
        )
        .bind(device.0)
        .bind(device.1)
        .bind(from.0)
        .bind(from.1)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// The devices of a gateway, by product key and name.
    pub(super) async fn attached(
        &self,
        to: Name<'_>,
        most: u32,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let rows = sqlx::query(
            "SELECT d.product_key, d.name FROM sub_devices s
             JOIN devices d ON d.id = s.device_id JOIN devices g ON g.id = s.gateway_id
             WHERE g.product_key = $1 AND g.name = $2
             ORDER BY d.product_key, d.name LIMIT $3",
        )
        .bind(to.0)
        .bind(to.1)
        .bind(i64::from(most))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::topology::Topology;
    use super::super::values::LastValues;
    use super::*;
    use crate::registry::{Limits, NewDevice, NewProduct, Registry};
    use crate::rule::store::tests::Home;

    #[tokio::test]
    async fn things_are_kept_in_a_file() {
        things_are_kept(Home::file()).await;
    }

    #[tokio::test]
    async fn things_are_kept_in_postgres() {
        if let Some(home) = Home::postgres().await {
            things_are_kept(home).await;
        }
    }

    async fn things_are_kept(home: Home) {
        let store = home.open().await;
        let registry = Registry::open(store.clone(), Limits::default()).await.expect("registry");
        let product = NewProduct {
            name: "product".into(),
            description: String::new(),
            node_type: 1,
            data_format: 1,
            senior: true,
            category_key: None,
            net_type: None,
            protocol_type: None,
            validate_type: 1,
        };
        let pk = registry.create_product(product, 0).await.expect("product").key.clone();
        for name in ["gateway", "sub"] {
            let (product_key, device_name) = (pk.clone(), Some(name.to_owned()));
            let device = NewDevice { product_key, device_name, nickname: None };
            registry.register(device, 0).await.expect("device");
        }
        let (gateway, sub): (Name<'_>, Name<'_>) = ((&pk, "gateway"), (&pk, "sub"));

        let shadows = Shadows::new(store.pool().clone());
        for _ in 0..2 {
            assert!(shadows.attach(gateway, sub).await.expect("attached"));
        }
        assert!(!shadows.attach(gateway, (&pk, "nobody")).await.expect("no such device"));
        let attached = shadows.attached(gateway, 10).await.expect("read");
        assert_eq!(attached, [(pk.clone(), "sub".to_owned())]);
        let topology = Topology::load(store.pool()).await.expect("loaded");
        let id = |name: &str| registry.iot_id(&pk, name).expect("an id");
        assert!(topology.is_attached(&id("gateway"), &id("sub")));
        assert!(shadows.detach(gateway, sub).await.expect("detached"));
        assert!(!shadows.detach(gateway, sub).await.expect("it was none"));

        for _ in 0..2 {
            assert!(shadows.write(sub, &Shadow::default()).await.expect("written"));
        }
        let shadow = shadows.read(sub).await.expect("read");
        assert_eq!(shadow.document(), Shadow::default().document());

        let values = LastValues::new(store.pool().clone());
        let long = "x".repeat(10_000);
        for value in ["1", "2"] {
            let posted = [("b", value, 7), ("a", "\"描述\"", 8), ("n\0", "1", 9), (&*long, "1", 9)];
            values.take(&format!("{pk}/sub"), posted.into_iter());
            values.write().await.expect("written");
        }
        let kept = values.of(&pk, "sub").await.expect("read");
        let kept: Vec<_> =
            kept.iter().map(|last| (&*last.identifier, &*last.value, last.time_ms)).collect();
        assert_eq!(kept, [("a", "\"描述\"", 8), ("b", "2", 7)]);
        assert_eq!(values.lost(), 4);
        store.close().await;
    }
}
