//! `tidegate run`: the daemon, put together from its parts.
//!
//! The one place where all parts meet: listeners, broker, engine, rules, store, sources.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use connectors::contract::{
    AckWhen, Batch, DeliveryError, DeviceFacts, Env, FailureKind, Ingress, Message, Nacked,
    Promise, Promised, Publisher, Shutdown, ShutdownHandle, shutdown,
};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

pub use super::listen::Ports;
use super::listen::Sockets;
use super::status::Status;
use super::{
    NamedSource, Outcome, cannot_start, compiler, folder, greeting, install_tls, reload, sources,
    things,
};
use crate::api;
use crate::broker::{
    Broker, BrokerHandle, Delivered, DeviceAccess, Hooks, Proof, Routed, StatusMessages,
};
use crate::config::{Config, DeviceAuth, in_force};
use crate::engine::dead::{self, DeadLetters, DeadLimits};
use crate::engine::{Engine, EngineLimits, LaneLimits, RuleSet, Storage};
use crate::registry::{self, Registry};
use crate::rule::store::{AccessKey, Claim, KEY_FILE, MASTER_KEY, Store};
use crate::thing::{Forwarder, Things};
use crate::web::Pages;

/// The daemon, running.
pub struct Daemon {
    /// Where it listens.
    pub ports: Ports,
    /// The file with the generated access key, when there is one.
    pub key_file: Option<PathBuf>,
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// How many sources bring messages in beside the listeners.
    pub sources: usize,
    /// What no action took.
    pub dead: Arc<DeadLetters>,
    engine: Arc<Engine>,
    broker: BrokerHandle,
    /// Locked as long as the daemon is.
    _lock: File,
    /// The database of the store, when it is not in that folder.
    _claim: Option<Claim>,
    stop: ShutdownHandle,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
    patience: Duration,
}

/// The time that is kept for the end of the shards and for what has to be written then; less when the
/// daemon may take less than four times as long.
const REST: Duration = Duration::from_secs(1);

/// The time that the disk has to take what has to be written at the end, however little is left.
const WRITE_AT_LEAST: Duration = Duration::from_secs(2);

/// The time that threads have to end which the daemon has not waited for.
const LEAVE_AFTER: Duration = Duration::from_millis(100);

/// How often the cursors of the log move on.
const TEND_EVERY: Duration = Duration::from_millis(20);

/// Publishes from within the daemon: to the broker's subscribers, and to the rules again.
struct Republisher {
    broker: BrokerHandle,
    ingress: Arc<dyn Ingress>,
}

#[async_trait::async_trait]
impl Publisher for Republisher {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), DeliveryError> {
        let busy = |text: String| DeliveryError::new(FailureKind::Busy, text);
        // They would be queued again with every try.
        if let Some(trouble) = self.broker.trouble() {
            return Err(busy(format!("MQTT sessions cannot be written: {trouble}")));
        }
        let (mut batch, accepted) = Batch::awaited(messages);
        let mut delivered = Delivered::default();
        for message in &batch.messages {
            // What a client's full queue drops is counted by the broker.
            delivered = delivered.and(self.broker.publish(message));
        }
        if delivered.refused {
            return Err(busy("MQTT sessions cannot be written".to_owned()));
        }
        self.broker.hold(delivered, &mut batch.ack);
        self.ingress.submit(batch.under(Promise { internal: true, ..Promise::default() })).await;
        accepted
            .wait()
            .await
            .map_err(|refused: Nacked| busy(format!("{refused}; they are published again")))
    }
}

/// The way in for a source that promises this.
fn promised(ingress: &Arc<dyn Ingress>, promise: impl Into<Promise>) -> Arc<dyn Ingress> {
    Arc::new(Promised::new(Arc::clone(ingress), promise.into()))
}

pub(super) fn run(config: Config) -> Outcome {
    greeting::say_where(&config);
    start_logging();
    install_tls();
    config.check_exposure().map_err(cannot_start)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(cannot_start)?;
    let ended = runtime.block_on(async {
        // Before anybody can take the daemon for ready: a signal that nobody receives ends it at once.
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot_start)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot_start)?;
        let daemon = Daemon::start(&config).await.map_err(cannot_start)?;
        greeting::say_ready(&daemon, &config);
        let told = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!("{told}: stopping");
        daemon.stop().await;
        Ok(())
    });
    // A thread that does not come to an end must not keep the process.
    runtime.shutdown_timeout(LEAVE_AFTER);
    ended
}

fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // An error means that a logger is installed already.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init()
        .ok();
}

impl Daemon {
    /// Starts everything. What is wrong with single rules is logged and shows in `/readyz`.
    ///
    /// # Errors
    /// What keeps the daemon from starting: a port in use, a bad configuration, an unusable store.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let (stop, stopped) = shutdown();
        let Sockets { ports, mqtt, http } = Sockets::open(config).await?;
        let lock = folder::take(config)?;
        let (store, claim) = take_store(config).await?;
        let dead = Arc::new(open_dead_letters(config).await?);

        let registry = Registry::open(store.clone(), registry_limits(config)).await?;
        let facts: Arc<dyn DeviceFacts> = Arc::new(registry.clone());
        let storage = open_storage(config, &facts, &dead)?;
        let engine = Engine::start(engine_limits(config), facts, storage, now_ms())?;
        let things = things::open(config, &store, &registry, engine.clone()).await?;
        let ingress: Arc<dyn Ingress> = Arc::new(Forwarder::new(engine.clone(), things.clone()));
        let (broker, routed) = broker(config, &ingress, &registry).await?;
        things.connect(Arc::new(things::Line(broker.handle())));
        let publisher = Republisher { broker: broker.handle(), ingress: Arc::clone(&ingress) };
        let folder = config.path(&config.rules);
        let watch = reload::Watch::new(&folder);
        let (rules, env) = load_rules(config, &folder, &engine, publisher)?;
        let key_file = first_key(config, &store).await?;
        let status = Status {
            engine: Arc::clone(&engine),
            rules: Arc::clone(&rules),
            broker: broker.handle(),
            promises: in_force(&config.promises, &config.sources).into(),
            dead: Arc::clone(&dead),
            things: things.clone(),
            started: Instant::now(),
        };
        let http_ingress = promised(&ingress, config.promises.http);
        let state = api_state(config, store, registry.clone(), status, &env, http_ingress)?;
        for (name, problem) in api::restore(&state).await? {
            tracing::error!(rule = name, "a rule of the API cannot run: {problem}");
            rules.note_failed(name, problem.to_string());
        }
        let api_limits = state.limits;
        rules.start();

        let mut daemon = Self {
            ports,
            key_file,
            rules: Arc::clone(&rules),
            sources: config.sources.len(),
            dead,
            engine,
            broker: broker.handle(),
            _lock: lock,
            _claim: claim,
            stop,
            tasks: Vec::new(),
            patience: Duration::from_secs(config.limits.stop_seconds),
        };
        daemon.start_sources(config, &env, &ingress, &stopped)?;
        let serving = api::serve(http, api::router(state), api_limits, stopped.clone());
        daemon.spawn("http", async move {
            if let Err(error) = serving.await {
                tracing::error!("the HTTP listener ended: {error}");
            }
        });
        daemon.tend_rules(watch, &stopped);
        daemon.tend_devices(registry, things, &stopped);
        daemon.spawn("mqtt", async move {
            if let Err(error) = broker.serve_all(mqtt, stopped).await {
                tracing::error!("the MQTT listeners ended: {error}");
            }
            routed.attach(None);
        });
        Ok(daemon)
    }

    /// What rules need beside messages: files that change, cursors that move, letters that come back.
    fn tend_rules(&mut self, watch: reload::Watch, stopped: &Shutdown) {
        let (dead, rules) = (Arc::clone(&self.dead), Arc::clone(&self.rules));
        self.spawn("replay", dead.replay(rules, stopped.clone()));
        self.spawn("cursors", tend(Arc::clone(&self.rules), stopped.clone()));
        self.spawn("rules", watch.run(Arc::clone(&self.rules), stopped.clone()));
    }

    /// What is known of devices, and what they send, as far as it has to be written.
    fn tend_devices(&mut self, registry: Registry, things: Things, stopped: &Shutdown) {
        self.spawn("devices", registry.tend(stopped.clone()));
        self.spawn("things", things.run(stopped.clone()));
    }

    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push((name, tokio::spawn(task)));
    }

    fn start_sources(
        &mut self,
        config: &Config,
        env: &Env,
        ingress: &Arc<dyn Ingress>,
        stopped: &Shutdown,
    ) -> anyhow::Result<()> {
        for NamedSource { name, promise, source } in sources(config, env)? {
            let (ingress, stopped) = (promised(ingress, promise), stopped.clone());
            self.spawn("source", async move {
                if let Err(error) = source.run(ingress, stopped).await {
                    tracing::error!(source = name, "the source ended: {error}");
                }
            });
        }
        Ok(())
    }

    /// Stops what brings messages in, lets the actions finish for a limited time, and ends. Whatever a
    /// shard or a destination does, it comes back within `limits.stop_seconds`, or as soon as the disk
    /// has what has to be written.
    pub async fn stop(mut self) {
        let start = Instant::now();
        self.stop.stop();
        let (all, rest) = (self.patience, (self.patience / 4).min(REST));
        let left = |patience: Duration| patience.saturating_sub(start.elapsed());
        // What was accepted is evaluated and delivered, also what is republished on the way. What the
        // log has and whose destination does not work waits for the next start.
        let orderly = all.saturating_sub(rest);
        for (name, task) in std::mem::take(&mut self.tasks) {
            if tokio::time::timeout(left(orderly), task).await.is_err() {
                tracing::warn!("{name} did not stop in time");
            }
        }
        while self.is_busy() && !left(orderly).is_zero() {
            self.rules.tend();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.stop_engine(left(all.saturating_sub(rest / 2))).await;
        while self.rules.is_busy() && !left(orderly).is_zero() {
            self.rules.tend();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // What rules have republished on the way waits for clients that are absent.
        if tokio::time::timeout(WRITE_AT_LEAST.max(left(all)), self.broker.save()).await.is_err() {
            tracing::error!("the last changes of MQTT sessions were not written in time");
        }
        let left_over = self.rules.queued();
        let Some(storage) = self.engine.storage().cloned() else {
            if left_over > 0 {
                tracing::warn!("{left_over} records were not delivered before the daemon ended");
            }
            return;
        };
        storage.end();
        self.rules.tend();
        let lost = self.rules.volatile();
        let close = tokio::task::spawn_blocking(move || storage.close());
        match tokio::time::timeout(WRITE_AT_LEAST.max(left(all)), close).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the log ended unexpectedly"),
            Err(_) => {
                tracing::error!("the log was not closed in time; some deliveries may be repeated")
            }
        }
        if left_over > lost {
            tracing::info!("{} records wait in the spool for the next start", left_over - lost);
        }
        if lost > 0 {
            tracing::warn!("{lost} records of QoS 0 were not delivered before the daemon ended");
        }
    }

    /// Ends the shards, but for one that does not come to the end of a message: it ends with the process,
    /// and what it has not done is done after the next start.
    async fn stop_engine(&self, patience: Duration) {
        let engine = Arc::clone(&self.engine);
        let stop = tokio::task::spawn_blocking(move || engine.stop());
        match tokio::time::timeout(patience, stop).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the engine ended unexpectedly"),
            Err(_) => {
                tracing::error!("a message is still being evaluated; its shard is left behind")
            }
        }
    }

    fn is_busy(&self) -> bool {
        self.engine.counts().queued > 0 || self.rules.is_busy()
    }
}

/// Moves the cursors on, until told to stop; then [`Daemon::stop`] does.
async fn tend(rules: Arc<RuleSet>, mut stopped: Shutdown) {
    let mut tick = tokio::time::interval(TEND_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopped.wait() => return,
            _ = tick.tick() => rules.tend(),
        }
    }
}

/// Opens the log and what belongs to it, when the configuration wants that.
fn open_storage(
    config: &Config,
    facts: &Arc<dyn DeviceFacts>,
    dead: &Arc<DeadLetters>,
) -> anyhow::Result<Option<Arc<Storage>>> {
    if !config.spool.enabled {
        tracing::warn!(
            "the spool is off: messages are acknowledged when they are in memory, and a restart loses what waits"
        );
        return Ok(None);
    }
    let folder = config.path(&config.data_dir).join("spool");
    let shards = engine_limits(config).shards;
    let limits = config.spool.limits(config.limits.payload);
    let (facts, dead) = (Arc::clone(facts), Some(Arc::clone(dead)));
    let opened = Storage::open(&folder, limits, shards, facts, dead, now_ms);
    let (storage, found) =
        opened.with_context(|| format!("cannot open the spool in {}", folder.display()))?;
    if found.records > 0 {
        tracing::info!("the spool has {} messages of the last run", found.records);
    }
    Ok(Some(storage))
}

/// Makes the set of rules and reads the folder of rule files.
fn load_rules(
    config: &Config,
    folder: &Path,
    engine: &Arc<Engine>,
    publisher: Republisher,
) -> anyhow::Result<(Arc<RuleSet>, Env)> {
    let compiler = compiler(config, Some(Arc::new(publisher)))?;
    let env = compiler.env.clone();
    let lanes =
        LaneLimits { records: config.limits.action_records, bytes: config.limits.action_bytes };
    let rules = Arc::new(RuleSet::new(Arc::clone(engine), compiler, lanes, Handle::current()));
    if folder.exists() {
        reload::tell(&rules.load_folder(folder));
    } else {
        tracing::warn!("there is no folder {} with rules", folder.display());
    }
    Ok((rules, env))
}

/// Opens the store for this daemon alone. A folder was taken already, a database is taken here.
async fn take_store(config: &Config) -> anyhow::Result<(Store, Option<Claim>)> {
    let Some(server) = config.store.server().map_err(anyhow::Error::msg)? else {
        return Ok((open_store(config).await?, None));
    };
    // Before its tables are brought up to date: that would be under the feet of another.
    let mut claim = server.claim().await?;
    let store = open_store(config).await?;
    claim.keep(store.clone());
    Ok((store, Some(claim)))
}

pub(super) async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let folder = config.path(&config.data_dir);
    folder::make(&folder)?;
    // An empty variable is one that is not set.
    let master = std::env::var(MASTER_KEY).ok().filter(|key| !key.is_empty());
    if let Some(server) = config.store.server().map_err(anyhow::Error::msg)? {
        return Ok(Store::open_postgres(&server, master.as_deref()).await?);
    }
    Store::open_with(&folder, master.as_deref())
        .await
        .with_context(|| format!("cannot open the store in {}", folder.display()))
}

/// Makes the first access key, when there is none; the file with it, as long as it exists.
async fn first_key(config: &Config, store: &Store) -> anyhow::Result<Option<PathBuf>> {
    let data_dir = config.path(&config.data_dir);
    store.first_key(&data_dir, now_ms()).await.context("cannot make the first access key")?;
    Ok(Some(data_dir.join(KEY_FILE)).filter(|file| file.exists()))
}

async fn open_dead_letters(config: &Config) -> anyhow::Result<DeadLetters> {
    let path = config.path(&config.data_dir).join(dead::FILE);
    let limits =
        DeadLimits { entries: config.limits.dead_letters, bytes: config.limits.dead_letter_bytes };
    DeadLetters::open(&path, limits)
        .await
        .with_context(|| format!("cannot open the dead letters in {}", path.display()))
}

fn api_state(
    config: &Config,
    store: Store,
    registry: Registry,
    status: Status,
    env: &Env,
    ingress: Arc<dyn Ingress>,
) -> anyhow::Result<api::ApiState> {
    let data_dir = config.path(&config.data_dir);
    let nonces = api::Nonces::open(&data_dir, config.limits.api.nonces, now_ms())
        .with_context(|| format!("cannot read the nonces in {}", data_dir.display()))?;
    let keys = config.access_keys.iter().map(|key| AccessKey {
        id: key.id.clone(),
        secret: key.secret.clone(),
        role: key.role,
        created_ms: 0,
        revoked_ms: None,
    });
    let rules = Arc::clone(&status.rules);
    let ready = status.clone();
    let abnormal = status.clone();
    let spool = status.clone();
    let broker = status.broker.clone();
    let require_key = !config.listen.http.ip().is_loopback();
    Ok(api::ApiState {
        store,
        registry,
        cut: Arc::new(move |session, cut| {
            match cut {
                api::Cut::Connection => broker.kick(session),
                api::Cut::Session => broker.forget(session),
            };
        }),
        rules,
        ingress,
        things: status.things.clone(),
        destinations: api::Destinations {
            endpoints: config.endpoints.clone(),
            connections: Arc::clone(&env.connections),
            topics: config.limits.topic(),
        },
        keys: keys.collect(),
        nonces: Arc::new(nonces),
        require_key,
        open_details: config.metrics.open,
        pages: pages(config)?.behind_proof(require_key),
        clock: Arc::new(now_ms),
        ready: Arc::new(move || ready.unready()),
        abnormal: Arc::new(move || abnormal.abnormal()),
        promise: status.promise(),
        metrics: Arc::new(move || status.metrics()),
        spool: Arc::new(move || spool.spool()),
        limits: api::ApiLimits {
            actions: config.limits.actions,
            payload: config.limits.payload,
            topics: config.limits.topic(),
            rules: config.limits.api.rules,
            connections: config.limits.api.connections,
            connections_per_address: config.limits.api.connections_per_address,
            requests_per_second: config.limits.api.requests_per_second,
            burst: config.limits.api.burst,
            ..api::ApiLimits::default()
        },
    })
}

async fn broker(
    config: &Config,
    ingress: &Arc<dyn Ingress>,
    registry: &Registry,
) -> anyhow::Result<(Broker, Arc<Routed>)> {
    let bounds = crate::broker::Config {
        limits: config.limits.mqtt.clone(),
        topics: config.limits.topic(),
        payload_max: config.limits.payload,
        pages: pages(config)?.behind_proof(proof(config) != Proof::None),
        ack: match config.spool.enabled {
            true => config.promises.mqtt.ack,
            false => AckWhen::Received,
        },
    };
    let ingress = promised(ingress, config.promises.mqtt);
    let routed = Arc::new(Routed::new(ingress, registry.clone(), config.limits.hops));
    let hooks = hooks(config, registry)?;
    let file = config.path(&config.data_dir).join(crate::broker::FILE);
    let opened = Broker::open(bounds, hooks, routed.clone(), Arc::new(now_ms), &file).await;
    let broker = opened.with_context(|| {
        format!(
            "cannot read the MQTT sessions in {}; to start without them, move the file away",
            file.display()
        )
    })?;
    routed.attach(Some(broker.handle()));
    Ok((broker, routed))
}

fn hooks(config: &Config, registry: &Registry) -> anyhow::Result<Hooks> {
    let zone = config.zone().map_err(anyhow::Error::msg)?;
    let status = StatusMessages::new(zone, config.limits.topic());
    let users = config.users().map_err(|(path, message)| anyhow::anyhow!("{path}: {message}"))?;
    let access = Arc::new(DeviceAccess::new(registry.clone(), proof(config), users, status));
    Ok(Hooks { authenticator: access.clone(), acl: access.clone(), lifecycle: access })
}

fn proof(config: &Config) -> Proof {
    match config.auth.devices {
        None | Some(DeviceAuth::None) => Proof::None,
        Some(DeviceAuth::Password) => Proof::Password,
        Some(DeviceAuth::Required) => Proof::Required,
    }
}

fn pages(config: &Config) -> anyhow::Result<Pages> {
    config.pages().map_err(|(list, message)| anyhow::anyhow!("listen.{list}: {message}"))
}

fn registry_limits(config: &Config) -> registry::Limits {
    registry::Limits { products: config.limits.products, devices: config.limits.devices }
}

fn engine_limits(config: &Config) -> EngineLimits {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    EngineLimits {
        shards: if config.limits.shards == 0 { cores } else { config.limits.shards },
        messages: config.limits.queue_messages,
        bytes: config.limits.queue_bytes,
    }
}

/// The wall clock, in milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}
