//! What all parts of the device messages share: the registry, calls, models, and the ways to devices and
//! rules.
//!
//! What becomes of a device's message is decided in `uplink` and `later`, of a request in `service`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use contract::{Ack, Batch, Ingress, Message, Nacked, Shutdown};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::alink::{Address, Who, quoted, stranger_id};
use super::calls::{CALLS_MAX, CallCounts, Calls};
use super::desired::DesiredValues;
use super::files::{FileCounts, FileOptions, Files};
use super::models::Models;
use super::service::SYNC_PATIENCE;
use super::shadow::Shadow;
use super::shadows::Shadows;
use super::tsl::Model;
use super::values::{Last, LastValues, WRITE_EVERY};
use super::{Connection, Downlink};
use history::History;
use registry::Registry;
use rule::store::{Store, StoreError};

/// Milliseconds since 1970, from whatever clock the daemon uses.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Messages of devices that may wait for the database.
const LATER_MAX: usize = 1_000;

/// Bytes of a message that may wait for the database.
const LATER_BYTES: usize = 64 << 10;

/// Device messages. Clones share everything.
#[derive(Clone)]
pub struct Things {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    calls: Calls,
    models: Models,
    values: LastValues,
    shadows: Shadows,
    desired: DesiredValues,
    files: Files,
    history: History,
    clock: Clock,
    /// Whether devices have to be registered.
    strict: bool,
    sub_register: HashSet<String>,
    patience: Duration,
    /// The broker, which is made later.
    downlink: OnceLock<Arc<dyn Downlink>>,
    /// The engine: what is written for rules.
    rules: Arc<dyn Ingress>,
    waiting: mpsc::Sender<Message>,
    work: Mutex<Option<mpsc::Receiver<Message>>>,
    refused: AtomicU64,
}

/// How device messages are treated.
#[derive(Debug)]
pub struct Options {
    /// The models that the configuration names, by product key.
    pub models: HashMap<String, Model>,
    /// Whether devices have to be registered.
    pub strict: bool,
    /// Products whose devices' secrets gateways may ask for.
    pub sub_register: HashSet<String>,
    /// How long a synchronous service is waited for.
    pub patience: Duration,
    /// Where files of devices are kept, and how many.
    pub files: FileOptions,
    /// What keeps what devices post.
    pub history: History,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            models: HashMap::new(),
            strict: false,
            sub_register: HashSet::new(),
            patience: SYNC_PATIENCE,
            files: FileOptions::default(),
            history: History::off(),
        }
    }
}

/// What was counted since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Calls that somebody waited for.
    pub calls: CallCounts,
    /// Values that were not kept.
    pub values_lost: u64,
    /// Messages that needed the database when too many waited for it.
    pub refused: u64,
    /// Files.
    pub files: FileCounts,
}

impl Things {
    /// Device messages of the devices of that registry; `rules` gets what is written for rules.
    ///
    /// # Errors
    /// What the database says.
    pub async fn open(
        store: &Store,
        registry: Registry,
        rules: Arc<dyn Ingress>,
        clock: Clock,
        options: Options,
    ) -> Result<Self, StoreError> {
        let pool = store.pool();
        let (waiting, work) = mpsc::channel(LATER_MAX);
        Ok(Self {
            inner: Arc::new(Inner {
                registry,
                calls: Calls::new(clock(), CALLS_MAX),
                models: Models::new(options.models),
                values: LastValues::new(pool.clone()),
                shadows: Shadows::new(pool.clone()),
                desired: DesiredValues::new(pool.clone()),
                files: Files::open(pool.clone(), options.files).await?,
                history: options.history,
                clock,
                strict: options.strict,
                sub_register: options.sub_register,
                patience: options.patience,
                downlink: OnceLock::new(),
                rules,
                waiting,
                work: Mutex::new(Some(work)),
                refused: AtomicU64::new(0),
            }),
        })
    }

    /// Tells where devices are. Only the first counts.
    pub fn connect(&self, downlink: Arc<dyn Downlink>) {
        self.inner.downlink.set(downlink).ok();
    }

    /// Does what needs the database until told to stop, and then what is left.
    pub async fn run(self, stopped: Shutdown) {
        tokio::join!(self.keep_changes(stopped.clone()), self.keep_files(stopped));
    }

    async fn keep_changes(&self, mut stopped: Shutdown) {
        let work = self.inner.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Only one of them works.
        let Some(mut work) = work else { return };
        let mut tick = tokio::time::interval(WRITE_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopped.wait() => break,
                _ = tick.tick() => self.write().await,
                Some(message) = work.recv() => self.work_on(&message).await,
            }
        }
        work.close();
        while let Some(message) = work.recv().await {
            self.work_on(&message).await;
        }
        self.write().await;
    }

    async fn write(&self) {
        if let Err(problem) = self.inner.values.write().await {
            tracing::error!(%problem, "last values of properties were not written");
        }
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            calls: self.inner.calls.counts(),
            values_lost: self.inner.values.lost(),
            refused: self.inner.refused.load(Ordering::Relaxed),
            files: self.inner.files.counts(),
        }
    }

    /// The history of what devices post and are asked.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.inner.history
    }

    /// The connection of a device; `None` while it has none.
    #[must_use]
    pub fn connection(&self, product_key: &str, device_name: &str) -> Option<Connection> {
        self.inner.downlink.get()?.connection(product_key, device_name)
    }

    /// Sends a message to devices; false when it was queued for nobody.
    #[must_use]
    pub fn publish(&self, message: &Message) -> bool {
        self.publish_for(message, &mut Ack::none())
    }

    /// The same, once the message is on disk for those who are to get it later.
    ///
    /// # Errors
    /// [`Nacked`] when that cannot be written at present.
    pub async fn publish_kept(&self, message: &Message) -> Result<bool, Nacked> {
        let (mut ack, kept) = Ack::pair();
        let queued = self.publish_for(message, &mut ack);
        ack.accept();
        kept.wait().await.map(|()| queued)
    }

    fn publish_for(&self, message: &Message, ack: &mut Ack) -> bool {
        self.inner.downlink.get().is_some_and(|downlink| downlink.publish(message, ack))
    }

    /// An id for a message that a person asked for: below 2^53.
    #[must_use]
    pub fn message_id(&self) -> u64 {
        self.inner.calls.long_id()
    }

    /// True when there is such a device: a registered one, or one that is connected where devices
    /// need not be registered.
    #[must_use]
    pub fn knows(&self, product_key: &str, device_name: &str) -> bool {
        self.inner.registry.knows_device(product_key, device_name)
            || (!self.inner.strict && self.connection(product_key, device_name).is_some())
    }

    /// True when messages may be for a product: a registered one, or any where devices need not be
    /// registered.
    #[must_use]
    pub fn knows_product(&self, product_key: &str) -> bool {
        !self.inner.strict || self.inner.registry.product(product_key).is_some()
    }

    /// The model of a product.
    #[must_use]
    pub fn model(&self, product_key: &str) -> Option<Arc<Model>> {
        let product = self.inner.registry.product(product_key);
        self.inner.models.of(product_key, product.as_deref())
    }

    /// True when the configuration has the product's model, so that none can be imported.
    #[must_use]
    pub fn model_is_in_file(&self, product_key: &str) -> bool {
        self.inner.models.in_file(product_key)
    }

    /// The last values of a registered device's properties, by identifier.
    ///
    /// # Errors
    /// What the database says.
    pub async fn last_values(
        &self,
        product_key: &str,
        device_name: &str,
    ) -> Result<Vec<Last>, StoreError> {
        self.inner.values.of(product_key, device_name).await
    }

    /// The shadow of a registered device.
    ///
    /// # Errors
    /// What the database says.
    pub async fn shadow(&self, product_key: &str, device_name: &str) -> Result<Shadow, StoreError> {
        self.inner.shadows.read((product_key, device_name)).await
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    pub(super) fn shadows(&self) -> &Shadows {
        &self.inner.shadows
    }

    pub(super) fn desired_values(&self) -> &DesiredValues {
        &self.inner.desired
    }

    pub(super) fn files(&self) -> &Files {
        &self.inner.files
    }

    /// True when gateways may ask for the secrets of a product's devices.
    pub(super) fn gives_secrets_of(&self, product_key: &str) -> bool {
        self.inner.sub_register.contains(product_key)
    }

    pub(super) fn calls(&self) -> &Calls {
        &self.inner.calls
    }

    pub(super) fn patience(&self) -> Duration {
        self.inner.patience
    }

    pub(super) fn downlink(&self) -> Option<&dyn Downlink> {
        self.inner.downlink.get().map(|downlink| &**downlink)
    }

    pub(super) fn now_ms(&self) -> u64 {
        (self.inner.clock)()
    }

    /// What is known of a device.
    pub(super) fn who<'a>(&self, product_key: &'a str, device_name: &'a str) -> Who<'a> {
        let product = self.inner.registry.product(product_key);
        let unchecked = product.as_ref().is_some_and(|product| product.validate_type == UNCHECKED);
        let model = self.inner.models.of(product_key, product.as_deref()).filter(|_| !unchecked);
        let iot_id = match self.inner.registry.iot_id(product_key, device_name) {
            Some(id) => Cow::Owned(id.into()),
            None => Cow::Owned(stranger_id(product_key, device_name)),
        };
        let category = product.and_then(|product| product.category_key.as_deref().map(Arc::from));
        Who { product_key, device_name, iot_id, category, model }
    }

    /// Keeps the values of a property post, if the device is registered.
    pub(super) fn keep(&self, of: Address<'_>, values: &[(Cow<'_, str>, &str, u64)]) {
        if self.inner.registry.knows_device(of.product_key, of.device_name) {
            let device = format!("{}/{}", of.product_key, of.device_name);
            let values = values.iter().map(|(name, value, time)| (&**name, *value, *time));
            self.inner.values.take(&device, values);
        }
    }

    /// True when a gateway may speak for a device: one of its own, or one that nobody has registered
    /// where devices need not be.
    pub(super) fn may_post_for(&self, gateway: (&str, &str), device: (&str, &str)) -> bool {
        match self.inner.registry.knows_device(device.0, device.1) {
            true => self.inner.registry.is_attached(gateway, device),
            false => !self.inner.strict,
        }
    }

    /// Keeps a message that needs the database for the task that does. When there is no room, the device
    /// is told that, if its message is answered at all.
    pub(super) fn later(&self, message: Message) {
        let left = match message.payload.len() <= LATER_BYTES {
            true => self.inner.waiting.try_send(message).err().map(TrySendError::into_inner),
            false => Some(message),
        };
        if let Some(message) = left {
            self.inner.refused.fetch_add(1, Ordering::Relaxed);
            self.refuse(&message);
        }
    }

    /// Hands the rules a message that was written for them; waits until it is taken.
    pub(super) async fn tell_rules(&self, message: Message) {
        if self.history().wants(&message, false) {
            self.history().offer(message.clone());
        }
        self.inner.rules.submit(Batch::unacknowledged(vec![message])).await;
    }

    /// The document about devices of a gateway; `action` for what was done with them.
    pub(super) fn gateway_document(
        &self,
        gateway: Address<'_>,
        action: Option<(&str, u64)>,
        devices: &str,
    ) -> String {
        let who = self.who(gateway.product_key, gateway.device_name);
        let (head, tail) = match action {
            None => (String::new(), String::new()),
            Some((action, at_ms)) => {
                (format!(r#""action":"{action}","#), format!(r#","messageCreateTime":{at_ms}"#))
            }
        };
        format!(
            r#"{{{head}"gwIotId":{},"gwProductKey":{},"gwDeviceName":{},"devices":{devices}{tail}}}"#,
            quoted(&who.iot_id),
            quoted(gateway.product_key),
            quoted(gateway.device_name)
        )
    }
}

/// The product's `ValidateType` that says that posts are not checked.
const UNCHECKED: u8 = 2;
