//! The daemon, put together from its parts.
//!
//! The one place where all parts meet. [`Daemon::start`] is the list of them: what is made in which order,
//! and what is handed to whom. What a part takes from the configuration is in a file of its own: the
//! sockets (`listen`), what is kept (`store`), the engine with its log and its rules (`engine`, `reload`),
//! device messages (`things`) and their `history`, the `broker`, the API and the pages (`http`), further `sources`, and what the
//! daemon says about itself (`status`, `metrics`). How it ends is in `stop`.

mod broker;
mod engine;
mod history;
mod http;
mod listen;
mod metrics;
mod reload;
mod sources;
mod status;
mod stop;
mod store;
mod things;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors::contract::{Ingress, ShutdownHandle, shutdown};
use tokio::task::JoinHandle;

pub use self::listen::Ports;
use self::listen::Sockets;
pub(super) use self::listen::certificate;
use self::status::Status;
pub(super) use self::store::open as open_store;
pub(super) use self::things::models;
use super::folder;
use crate::broker::BrokerHandle;
use crate::config::{Config, in_force};
use crate::engine::dead::DeadLetters;
use crate::engine::{Engine, RuleSet};
use crate::rule::store::Claim;
use crate::thing::Forwarder;

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
    /// What writes the history of devices, and what ends it: behind all that it reads.
    history: (ShutdownHandle, Option<JoinHandle<()>>),
}

impl Daemon {
    /// Starts everything. What is wrong with single rules is logged and shows in `/readyz`.
    ///
    /// # Errors
    /// What keeps the daemon from starting: a port in use, a bad configuration, an unusable store.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let (stop, stopped) = shutdown();
        let Sockets { ports, mqtt, http } = Sockets::open(config).await?;

        // What is kept. Nobody else has it from here on.
        let lock = folder::take(config)?;
        let (store, claim) = store::take(config).await?;
        let dead = Arc::new(store::dead_letters(config).await?);
        let registry = store::registry(config, &store).await?;

        // The way of a message: from the broker, by device messages, to the engine.
        let engine = engine::start(config, &registry, &dead)?;
        let (history, writer) = history::open(config, &store, &registry, &engine).await?;
        let things = things::open(config, &store, &registry, engine.clone(), &history).await?;
        let ingress: Arc<dyn Ingress> = Arc::new(Forwarder::new(engine.clone(), things.clone()));
        let (broker, routed) = broker::open(config, &ingress, &registry).await?;
        things.connect(Arc::new(things::Line(broker.handle())));

        // The rules: those of files, then those of the API. None runs before all of them are known.
        let publisher = broker::publisher(&broker, &ingress);
        let watch = reload::Watch::new(&config.path(&config.rules));
        let (rules, env) = engine::load_rules(config, &engine, publisher)?;
        let key_file = store::first_key(config, &store).await?;
        let status = Status {
            engine: Arc::clone(&engine),
            rules: Arc::clone(&rules),
            broker: broker.handle(),
            promises: in_force(&config.promises, &config.sources).into(),
            dead: Arc::clone(&dead),
            things: things.clone(),
            history,
            started: Instant::now(),
        };
        let state = http::state(config, store, registry.clone(), status, &env, &ingress).await?;
        http::restore_rules(&state, &rules).await?;
        rules.start();

        let mut daemon = Self {
            ports,
            key_file,
            rules: Arc::clone(&rules),
            sources: config.sources.len(),
            dead: Arc::clone(&dead),
            engine,
            broker: broker.handle(),
            _lock: lock,
            _claim: claim,
            stop,
            tasks: Vec::new(),
            patience: Duration::from_secs(config.limits.stop_seconds),
            history: history::start(writer),
        };
        // What runs until told to stop; the end is waited for in this order.
        daemon.start_sources(config, &env, &ingress, &stopped)?;
        daemon.spawn("http", http::serve(http, state, stopped.clone()));
        daemon.spawn("replay", dead.replay(rules.clone(), stopped.clone()));
        daemon.spawn("cursors", engine::tend(rules.clone(), stopped.clone()));
        daemon.spawn("rules", watch.run(rules, stopped.clone()));
        daemon.spawn("devices", registry.tend(stopped.clone()));
        daemon.spawn("things", things.run(stopped.clone()));
        daemon.spawn("mqtt", broker::serve(broker, routed, mqtt, stopped));
        Ok(daemon)
    }

    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push((name, tokio::spawn(task)));
    }
}
