//! Device messages within the daemon: the thing models of the configuration, and devices as the broker
//! reaches them.
//!
//! What is said to devices is decided elsewhere.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use connectors::contract::{Ack, Ingress, Message, now_ms};

use crate::broker::BrokerHandle;
use crate::config::{Config, DeviceAuth};
use crate::registry::{Registry, session_id};
use crate::rule::store::Store;
use crate::thing::tsl::Model;
use crate::thing::{Connection, Downlink, FileOptions, Options, Things};
use crate::yaml::Document;

/// Devices as the broker reaches them.
pub(super) struct Line(pub(super) BrokerHandle);

impl Downlink for Line {
    fn publish(&self, message: &Message, ack: &mut Ack) -> bool {
        let delivered = self.0.publish(message);
        self.0.hold(delivered, ack);
        delivered.queued > 0
    }

    fn connection(&self, product_key: &str, device_name: &str) -> Option<Connection> {
        let client = self.0.client(&session_id(product_key, device_name))?;
        Some(Connection { extended: client.identity.rrpc_ext })
    }
}

/// Device messages of the devices of a registry.
pub(super) async fn open(
    config: &Config,
    store: &Store,
    registry: &Registry,
    rules: Arc<dyn Ingress>,
) -> anyhow::Result<Things> {
    let strict = config.auth.devices == Some(DeviceAuth::Required);
    let folder = config.path(&config.data_dir).join("files");
    let files = FileOptions::folder(folder, config.files.limits());
    let options = Options { models: models(config)?, strict, files, ..Options::default() };
    Things::open(store, registry.clone(), rules, Arc::new(now_ms), options)
        .await
        .context("cannot read what is kept of devices")
}

/// The models that the configuration names, by product key.
pub(in crate::cli) fn models(config: &Config) -> anyhow::Result<HashMap<String, Model>> {
    let mut models = HashMap::new();
    for (product_key, file) in &config.things {
        let file = config.path(file);
        let wanted = || format!("cannot read the thing model {} (`things`)", file.display());
        let text = std::fs::read_to_string(&file).with_context(wanted)?;
        let document = Document::parse(&file, &text).map_err(anyhow::Error::msg)?;
        let model = Model::read(document.value()).map_err(|problem| {
            anyhow::anyhow!("{}", document.problem(&problem.path, problem.message))
        })?;
        models.insert(product_key.clone(), model);
    }
    Ok(models)
}
