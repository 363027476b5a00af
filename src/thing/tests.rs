//! For tests: device messages of three registered devices, and what rules and devices get.

use std::sync::{Arc, Mutex};

use contract::{Ack, Batch, Ingress, Message, Origin, Topic, TopicLimits};
use serde_json::Value;

use super::tsl::Model;
use super::{Connection, Downlink, FileLimits, FileOptions, Forwarder, Options, Things};
use registry::{Limits, NewDevice, NewProduct, Registry};
use rule::store::Store;

#[path = "../../tests/schema.rs"]
pub(super) mod schema;
#[path = "../../tests/services.rs"]
mod services;

pub(super) const NOW_MS: u64 = 1_510_799_670_074;

/// What rules and devices got.
#[derive(Default)]
pub(super) struct Got {
    pub(super) rules: Mutex<Vec<Message>>,
    pub(super) devices: Mutex<Vec<Message>>,
    pub(super) full: Mutex<bool>,
}

#[async_trait::async_trait]
impl Ingress for Got {
    fn try_submit(&self, batch: Batch) -> Result<(), Batch> {
        if *self.full.lock().expect("lock") {
            return Err(batch);
        }
        self.rules.lock().expect("lock").extend(batch.messages);
        batch.ack.accept();
        Ok(())
    }

    async fn ready(&self) {}
}

impl Downlink for Got {
    fn publish(&self, message: &Message, _: &mut Ack) -> bool {
        self.devices.lock().expect("lock").push(message.clone());
        true
    }

    fn connection(&self, _: &str, device_name: &str) -> Option<Connection> {
        (device_name != "absent").then(Connection::default)
    }
}

/// Topics and payloads.
pub(super) type Short = Vec<(String, Value)>;

pub(super) struct Rig {
    pub(super) got: Arc<Got>,
    pub(super) things: Things,
    pub(super) registry: Registry,
    pub(super) forwarder: Forwarder,
    pub(super) pk: String,
    /// The product of `sub`, whose devices are no gateways.
    pub(super) sub_pk: String,
    pub(super) store: Store,
    /// Where files are.
    pub(super) folder: tempfile::TempDir,
    /// Where the store is, if it is a file.
    _home: Option<tempfile::TempDir>,
}

impl Rig {
    /// A product with the gateways `dn`, `other` and `absent`, and perhaps a model; and one with `sub`.
    pub(super) async fn new(model: Option<Value>) -> Self {
        Self::with(model, FileLimits::default()).await
    }

    /// The same with bounds of files.
    pub(super) async fn with(model: Option<Value>, files: FileLimits) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let store = Store::open(folder.path()).await.expect("store");
        Self { _home: Some(folder), ..Self::at(store, model, files).await }
    }

    /// The same with that store.
    pub(super) async fn at(store: Store, model: Option<Value>, files: FileLimits) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let registry = Registry::open(store.clone(), Limits::default()).await.expect("registry");
        let product = |name: &str, node_type| NewProduct {
            node_type,
            category_key: Some("Ammeter".into()),
            ..NewProduct::named(name)
        };
        let gateways = registry.create_product(product("product", 1), 0).await.expect("product");
        let subs = registry.create_product(product("subs", 0), 0).await.expect("product");
        let (pk, sub_pk) = (gateways.key.clone(), subs.key.clone());
        for (key, name) in [(&pk, "dn"), (&pk, "other"), (&pk, "absent"), (&sub_pk, "sub")] {
            let (product_key, device_name) = (key.clone(), Some(name.to_owned()));
            let device = NewDevice { product_key, device_name, nickname: None };
            registry.register(device, 0).await.expect("device");
        }
        let got = Arc::new(Got::default());
        let files = FileOptions::folder(folder.path().join("files"), files);
        let sub_register = [sub_pk.clone()].into();
        let mut options = Options { strict: true, sub_register, files, ..Options::default() };
        if let Some(model) = model {
            options.models.insert(pk.clone(), Model::read(&model).expect("model"));
        }
        let rules: Arc<dyn Ingress> = got.clone();
        let clock: crate::Clock = Arc::new(|| NOW_MS);
        let things = Things::open(&store, registry.clone(), rules.clone(), clock, options).await;
        let things = things.expect("things");
        things.connect(got.clone());
        let forwarder = Forwarder::new(rules, things.clone());
        Self { got, things, registry, forwarder, pk, sub_pk, store, folder, _home: None }
    }

    pub(super) fn send(&self, topic: &str, payload: &str) -> Result<(), Batch> {
        let topic = Topic::parse(topic, TopicLimits::default()).expect("topic");
        let mut message = Message::new(topic, payload.to_owned(), NOW_MS);
        message.origin = Arc::new(Origin { source: Some("mqtt".into()), ..Origin::default() });
        self.forwarder.try_submit(Batch::unacknowledged(vec![message]))
    }

    /// Sends to `/sys/{pk}/dn/{tail}`; what rules got for it, and what devices were told.
    pub(super) fn sys(&self, tail: &str, payload: &str) -> (Short, Short) {
        self.send(&format!("/sys/{}/dn/{tail}", self.pk), payload).expect("room");
        (self.take(&self.got.rules), self.take(&self.got.devices))
    }

    /// Topics without the product keys, and payloads.
    pub(super) fn take(&self, from: &Mutex<Vec<Message>>) -> Short {
        let messages = std::mem::take(&mut *from.lock().expect("lock"));
        let short = |message: &Message| {
            let topic = message.topic.as_str().replace(&self.pk, "PK").replace(&self.sub_pk, "SUB");
            (topic, serde_json::from_slice(&message.payload).unwrap_or(Value::Null))
        };
        messages.iter().map(short).collect()
    }
}
