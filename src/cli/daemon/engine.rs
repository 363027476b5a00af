//! The engine with its log, and the rules that it runs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use connectors::contract::{DeviceFacts, Env, Publisher, Shutdown, now_ms};
use tokio::runtime::Handle;

use super::reload;
use crate::cli::compiler;
use crate::config::Config;
use crate::engine::dead::DeadLetters;
use crate::engine::{Engine, EngineLimits, LaneLimits, RuleSet, Storage};
use crate::registry::Registry;

/// How often the cursors of the log move on.
const TEND_EVERY: Duration = Duration::from_millis(20);

/// Starts the engine, which runs no rules yet.
pub(super) fn start(
    config: &Config,
    registry: &Registry,
    dead: &Arc<DeadLetters>,
) -> anyhow::Result<Arc<Engine>> {
    let facts: Arc<dyn DeviceFacts> = Arc::new(registry.clone());
    let storage = open_storage(config, &facts, dead)?;
    Ok(Engine::start(limits(config), facts, storage, now_ms())?)
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
    let shards = limits(config).shards;
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
pub(super) fn load_rules(
    config: &Config,
    engine: &Arc<Engine>,
    publisher: Arc<dyn Publisher>,
) -> anyhow::Result<(Arc<RuleSet>, Env)> {
    let folder = config.path(&config.rules);
    let compiler = compiler(config, Some(publisher))?;
    let env = compiler.env.clone();
    let lanes =
        LaneLimits { records: config.limits.action_records, bytes: config.limits.action_bytes };
    let rules = Arc::new(RuleSet::new(Arc::clone(engine), compiler, lanes, Handle::current()));
    if folder.exists() {
        reload::tell(&rules.load_folder(&folder));
    } else {
        tracing::warn!("there is no folder {} with rules", folder.display());
    }
    Ok((rules, env))
}

/// Moves the cursors on, until told to stop; then the end of the daemon does.
pub(super) async fn tend(rules: Arc<RuleSet>, mut stopped: Shutdown) {
    let mut tick = tokio::time::interval(TEND_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopped.wait() => return,
            _ = tick.tick() => rules.tend(),
        }
    }
}

fn limits(config: &Config) -> EngineLimits {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    EngineLimits {
        shards: if config.limits.shards == 0 { cores } else { config.limits.shards },
        messages: config.limits.queue_messages,
        bytes: config.limits.queue_bytes,
    }
}
