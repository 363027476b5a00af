//! The registry itself: what it is made of, how it is loaded, and what is asked of its memory.
//!
//! Changes stand beside, a file for each kind of thing.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use contract::{DeviceFacts, Topic, TopicLimits};
use futures_util::TryStreamExt as _;
use sqlx::{AnyPool, Row as _};

use super::memory::{DeviceStatus, Known, Memory, Shelf};
use super::presence::Seen;
use super::{Product, members, products, topics};
use rule::store::{Store, StoreError};

/// How much may be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Products.
    pub products: u64,
    /// Devices of all products.
    pub devices: u64,
    /// Groups of devices, of all levels.
    pub groups: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { products: 1_000, devices: 1_000_000, groups: 10_000 }
    }
}

/// Products, devices, tags, topic classes and routes. Clones share them.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    limits: Limits,
    memory: RwLock<Memory>,
    /// How many topics have a route: most messages need not look further.
    routed: AtomicUsize,
    /// Held while something changes, so that database and memory agree.
    change: tokio::sync::Mutex<()>,
    seen: Mutex<Seen>,
    /// Applications that are being carried out.
    running: Mutex<HashSet<u64>>,
}

impl Registry {
    /// Reads what the store has.
    ///
    /// # Errors
    /// What the database says.
    pub async fn open(store: Store, limits: Limits) -> Result<Self, StoreError> {
        let memory = load(store.pool()).await?;
        let routed = AtomicUsize::new(memory.routes.len());
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                limits,
                memory: RwLock::new(memory),
                routed,
                change: tokio::sync::Mutex::default(),
                seen: Mutex::default(),
                running: Mutex::default(),
            }),
        })
    }

    /// How much may be registered.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.inner.limits
    }

    /// The product of that key.
    #[must_use]
    pub fn product(&self, key: &str) -> Option<Arc<Product>> {
        self.read().products.get(key).map(|shelf| Arc::clone(&shelf.product))
    }

    /// True when the device is registered, disabled or not.
    #[must_use]
    pub fn knows_device(&self, product_key: &str, device_name: &str) -> bool {
        self.read().known(product_key, device_name).is_some()
    }

    /// True when the device is registered and not disabled.
    #[must_use]
    pub fn may_connect(&self, product_key: &str, device_name: &str) -> bool {
        self.read().known(product_key, device_name).is_some_and(|known| !known.disabled)
    }

    /// The id of a device.
    #[must_use]
    pub fn iot_id(&self, product_key: &str, device_name: &str) -> Option<Box<str>> {
        self.read().known(product_key, device_name).map(|known| known.iot_id.clone())
    }

    /// How a device is doing.
    #[must_use]
    pub fn status(&self, product_key: &str, device_name: &str) -> Option<DeviceStatus> {
        self.read().known(product_key, device_name).map(Known::status)
    }

    /// True once the device has connected.
    #[must_use]
    pub fn is_active(&self, product_key: &str, device_name: &str) -> bool {
        self.read().known(product_key, device_name).is_some_and(|known| known.active)
    }

    /// How many devices are registered.
    #[must_use]
    pub fn device_count(&self) -> u64 {
        self.read().devices
    }

    /// The names of a product's devices, in no order.
    #[must_use]
    pub fn device_names(&self, product_key: &str) -> Vec<Box<str>> {
        let memory = self.read();
        memory
            .products
            .get(product_key)
            .map_or(Vec::new(), |shelf| shelf.devices.keys().cloned().collect())
    }

    /// How many devices of a product, or of all of them, are connected now and have ever been.
    #[must_use]
    pub fn activity(&self, product_key: Option<&str>) -> Activity {
        let memory = self.read();
        let mut sum = Activity::default();
        let wanted = |key: &str| product_key.is_none_or(|wanted| wanted == key);
        for shelf in memory.products.iter().filter(|(key, _)| wanted(key)).map(|(_, shelf)| shelf) {
            for known in shelf.devices.values() {
                sum.online += u64::from(known.online);
                sum.active += u64::from(known.active);
            }
        }
        sum
    }

    /// Where messages on a topic are published again; `None` when nowhere.
    #[must_use]
    pub fn routes_from(&self, topic: &str) -> Option<Arc<[Topic]>> {
        if self.inner.routed.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.read().routes.get(topic).cloned()
    }

    pub(super) fn pool(&self) -> &AnyPool {
        self.inner.store.pool()
    }

    // What a thread that panicked has left is whole: each change of the memory is one step.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Memory> {
        self.inner.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Memory> {
        self.inner.memory.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn changing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.inner.change.lock().await
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.inner.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn running(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the routes from and to topics that start so.
    pub(super) fn forget_routes(&self, start: &str) {
        let mut memory = self.write();
        let gone = |topic: &Topic| topic.as_str().starts_with(start);
        memory.routes.retain(|source, destinations| {
            if destinations.iter().any(gone) {
                *destinations = destinations.iter().filter(|to| !gone(to)).cloned().collect();
            }
            !source.starts_with(start) && !destinations.is_empty()
        });
        self.inner.routed.store(memory.routes.len(), Ordering::Release);
    }

    /// Puts routes in force that were read from the database.
    pub(super) fn set_routes(&self, pairs: Vec<(String, String)>) {
        let mut memory = self.write();
        memory.routes = routes(pairs);
        self.inner.routed.store(memory.routes.len(), Ordering::Release);
    }
}

/// How many devices are up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    /// Connected now.
    pub online: u64,
    /// Connected once or more.
    pub active: u64,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("limits", &self.inner.limits).finish_non_exhaustive()
    }
}

impl DeviceFacts for Registry {
    fn tag(&self, product_key: &str, device_name: &str, key: &str) -> Option<String> {
        let memory = self.read();
        let tags = memory.products.get(product_key)?.tags.get(device_name)?;
        tags.get(key).map(|value| value.to_string())
    }
}

/// Everything that is kept in memory. Row by row: all rows at once would take a multiple of it.
async fn load(pool: &AnyPool) -> Result<Memory, StoreError> {
    let mut memory = Memory::default();
    let mut rows = sqlx::query("SELECT * FROM products").fetch(pool);
    while let Some(row) = rows.try_next().await? {
        let product = products::read(&row)?;
        let key = product.key.clone().into_boxed_str();
        memory.products.insert(key, Shelf::new(Arc::new(product)));
    }
    drop(rows);
    let mut rows = sqlx::query("SELECT * FROM topic_classes ORDER BY id").fetch(pool);
    while let Some(row) = rows.try_next().await? {
        let class = topics::read(&row)?;
        memory.change(row.try_get("product_key")?, |product| product.topics.push(class));
    }
    drop(rows);
    let mut rows =
        sqlx::query("SELECT product_key, name, iot_id, disabled, active_ms FROM devices")
            .fetch(pool);
    while let Some(row) = rows.try_next().await? {
        let known = Known {
            iot_id: row.try_get::<&str, _>(2)?.into(),
            disabled: row.try_get::<i64, _>(3)? != 0,
            active: row.try_get::<Option<i64>, _>(4)?.is_some(),
            online: false,
            connection: 0,
        };
        if let Some(shelf) = memory.products.get_mut(row.try_get::<&str, _>(0)?) {
            shelf.devices.insert(row.try_get::<&str, _>(1)?.into(), known);
            memory.devices += 1;
        }
    }
    drop(rows);
    load_tags(pool, &mut memory).await?;
    members::load(pool, &mut memory).await?;
    super::topology::load(pool, &mut memory).await?;
    let pairs = super::routes::all(pool).await?;
    memory.routes = routes(pairs);
    Ok(memory)
}

async fn load_tags(pool: &AnyPool, memory: &mut Memory) -> Result<(), StoreError> {
    let mut rows = sqlx::query(
        "SELECT d.product_key, d.name, t.key, t.value FROM device_tags t
         JOIN devices d ON d.id = t.device_id",
    )
    .fetch(pool);
    while let Some(row) = rows.try_next().await? {
        if let Some(shelf) = memory.products.get_mut(row.try_get::<&str, _>(0)?) {
            let tags = shelf.tags.entry(row.try_get::<&str, _>(1)?.into()).or_default();
            tags.insert(row.try_get::<&str, _>(2)?.into(), row.try_get::<&str, _>(3)?.into());
        }
    }
    Ok(())
}

/// Pairs of source and destination, sorted, as they are looked up.
fn routes(
    pairs: Vec<(String, String)>,
) -> std::collections::HashMap<Box<str>, Arc<[Topic]>, foldhash::fast::RandomState> {
    // They were checked against the limits of the day when they came in.
    let limits = TopicLimits { bytes: usize::MAX, levels: usize::MAX };
    let mut found = std::collections::BTreeMap::<String, Vec<Topic>>::new();
    for (source, destination) in pairs {
        if let Ok(topic) = Topic::parse(destination, limits) {
            found.entry(source).or_default().push(topic);
        }
    }
    found.into_iter().map(|(source, to)| (source.into_boxed_str(), to.into())).collect()
}
