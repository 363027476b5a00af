//! The history of devices within the daemon: opened, and with the log as it reads it.
//!
//! What is kept, and how, is its own matter.

use std::sync::Arc;

use anyhow::Context as _;
use connectors::contract::{ShutdownHandle, now_ms, shutdown};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::engine::{Engine, Followed, Follower};
use crate::history::{End, History, Log, Logged, Looked, WayIn, Writer};
use crate::registry::Registry;
use crate::rule::store::Store;

/// What the cursor of the log serves.
const SERVES: &str = "history";

/// The log.
struct Reader(Follower);

#[async_trait::async_trait]
impl Log for Reader {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn position(&self) -> u64 {
        self.0.position()
    }

    fn seek(&mut self, position: u64) {
        self.0.seek(position);
    }

    fn end(&self) -> End {
        self.0.log_end()
    }

    fn way_in(&self) -> WayIn {
        self.0.way_in()
    }

    fn read(&mut self, wanted: fn(&str) -> bool) -> Looked {
        let Followed { messages, skipped } = self.0.read(wanted);
        let messages = messages.into_iter().map(|(message, own)| Logged { message, own });
        Looked { messages: messages.collect(), lost: skipped }
    }

    async fn ready(&self) {
        self.0.ready().await;
    }

    fn commit(&self, position: u64) {
        self.0.commit(position);
    }

    fn is_pressed(&self) -> bool {
        self.0.is_pressed()
    }
}

/// Opens it, when the configuration wants one; with what writes it.
pub(super) async fn open(
    config: &Config,
    store: &Store,
    registry: &Registry,
    engine: &Engine,
) -> anyhow::Result<(History, Option<Writer>)> {
    let log = engine.storage();
    let Some(settings) = config.history.settings() else {
        if let Some(log) = log {
            Follower::end(log, SERVES);
        }
        return Ok((History::off(), None));
    };
    let data_dir = config.path(&config.data_dir);
    let clock = Arc::new(now_ms);
    let opened = History::open(store, &data_dir, registry.clone(), settings, clock).await;
    let (history, mut writer) = opened.context("cannot open the history of devices")?;
    if let Some(log) = log {
        let follower = Follower::open(log, SERVES).await;
        let follower = follower.context("the spool cannot keep what the history has not read")?;
        writer.follow(Box::new(Reader(follower))).await?;
    }
    Ok((history, Some(writer)))
}

/// Starts what writes it; with what ends that.
pub(super) fn start(writer: Option<Writer>) -> (ShutdownHandle, Option<JoinHandle<()>>) {
    let (stop, stopped) = shutdown();
    (stop, writer.map(|writer| tokio::spawn(writer.run(stopped))))
}
