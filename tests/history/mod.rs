//! The history of devices: what was posted comes back, whatever was posted, and however it is asked for.

mod following;
mod keeping;
mod paging;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use connectors::contract::{Message, ShutdownHandle, Topic, TopicLimits, shutdown};
use tidegate::history::{History, Kind, Log, Order, Page, Settings, Window};
use tidegate::registry::{Limits, NewDevice, NewProduct, Registry};
use tidegate::rule::store::{Server, Store};
use tokio::task::JoinHandle;

use crate::schema::Schema;

/// The clock of all tests: 2019-02-28T06:14:33Z.
pub const NOW_MS: u64 = 1_551_334_473_000;

/// Where a history is kept over restarts.
pub struct Place {
    folder: tempfile::TempDir,
    schema: Option<Schema>,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), schema: None }
    }

    /// The same in PostgreSQL; `None` when that is not there.
    pub async fn postgres() -> Option<Self> {
        Some(Self { schema: Some(Schema::new().await?), ..Self::new() })
    }

    async fn store(&self) -> Store {
        match &self.schema {
            None => Store::open(self.folder.path()).await.expect("a store"),
            Some(schema) => {
                let server = Server::parse(&schema.url()).expect("a server");
                Store::open_postgres(&server, None).await.expect("a store")
            }
        }
    }
}

/// A history of the device `dn`, which is written to.
pub struct Rig {
    pub history: History,
    pub pk: String,
    pub id: String,
    pub now_ms: Arc<AtomicU64>,
    store: Store,
    stop: ShutdownHandle,
    task: JoinHandle<()>,
}

impl Rig {
    pub async fn new(place: &Place) -> Self {
        Self::open(place, Settings::default(), None).await
    }

    pub async fn open(place: &Place, settings: Settings, log: Option<Box<dyn Log>>) -> Self {
        let store = place.store().await;
        let registry = Registry::open(store.clone(), Limits::default()).await.expect("a registry");
        let known = registry.products(None, 1, 0).await.expect("products");
        let pk = match known.first() {
            Some(product) => product.key.clone(),
            None => furnish(&registry).await,
        };
        let now_ms = Arc::new(AtomicU64::new(NOW_MS));
        let clock = Arc::clone(&now_ms);
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let folder = place.folder.path();
        let opened = History::open(&store, folder, registry.clone(), settings, clock).await;
        let (history, mut writer) = opened.expect("a history");
        if let Some(log) = log {
            writer.follow(log).await.expect("a log");
        }
        let (stop, stopped) = shutdown();
        let task = tokio::spawn(writer.run(stopped));
        let id = registry.iot_id(&pk, "dn").expect("a device").into_string();
        Self { history, pk, id, now_ms, store, stop, task }
    }

    /// The document of a property post.
    pub fn document(&self, items: &[(&str, u64, &str)]) -> Message {
        document(&self.pk, &self.id, items)
    }

    pub async fn page(&self, names: &[&str], window: Window, size: usize) -> Page {
        let page = self.history.page(&self.id, Kind::Property, names, window, size).await;
        page.expect("a page").expect("it is on")
    }

    /// All values of a property, the oldest first.
    pub async fn all(&self, name: &str) -> Vec<(u64, String)> {
        let end = self.now_ms.load(Ordering::Relaxed) * 2;
        let window = Window::new(0, end, Order::Ascending);
        let page = self.page(&[name], window, 1_000_000).await;
        page.series[0].iter().map(|row| (row.mark.time_ms, row.value.clone())).collect()
    }

    /// Ends in order.
    pub async fn stop(self) {
        self.stop.stop();
        self.task.await.expect("it ends");
        self.store.close().await;
    }

    /// Ends wherever it is.
    pub async fn kill(self) {
        self.task.abort();
        self.task.await.ok();
        self.history.close().await;
        self.store.close().await;
    }

    /// Waits until something is so.
    pub async fn until(&self, mut is_so: impl FnMut(&Self) -> bool) {
        let wait = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it becomes so");
    }
}

async fn furnish(registry: &Registry) -> String {
    let product = NewProduct::named("product");
    let pk = registry.create_product(product, NOW_MS).await.expect("a product").key.clone();
    let (product_key, device_name) = (pk.clone(), Some("dn".to_owned()));
    let device = NewDevice { product_key, device_name, nickname: None };
    registry.register(device, NOW_MS).await.expect("a device");
    pk
}

/// The document of a property post.
pub fn document(pk: &str, id: &str, items: &[(&str, u64, &str)]) -> Message {
    let items: Vec<_> = items
        .iter()
        .map(|(name, time, value)| format!(r#""{name}":{{"value":{value},"time":{time}}}"#))
        .collect();
    let payload = format!(r#"{{"iotId":"{id}","items":{{{}}}}}"#, items.join(","));
    let topic = format!("/{pk}/dn/thing/event/property/post");
    let topic = Topic::parse(topic, TopicLimits::default()).expect("a topic");
    Message::new(topic, payload, NOW_MS)
}
