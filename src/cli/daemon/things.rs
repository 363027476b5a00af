//! Device messages within the daemon: the thing models of the configuration, and devices as the broker
//! reaches them.
//!
//! What is said to devices is decided elsewhere.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use connectors::contract::{Ack, Device, Ingress, Message, now_ms};

use crate::broker::{BrokerHandle, Entrant, Identity, NotLoggedIn, Parting, SubDevices};
use crate::config::{Config, DeviceAuth};
use crate::history::History;
use crate::registry::{Registry, SUB_DEVICES_MAX, session_id};
use crate::rule::store::Store;
use crate::thing::tsl::Model;
use crate::thing::{Connection, Downlink, FileOptions, LoginError, Options, SubDevice, Things};
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
        let identity = self.0.identity(&session_id(product_key, device_name))?;
        Some(Connection { extended: identity.rrpc_ext })
    }

    fn seen(&self) -> u64 {
        self.0.kicks()
    }

    fn log_in(&self, over: &Message, devices: &[SubDevice], seen: u64) -> Result<(), LoginError> {
        let entrants = devices.iter().map(entrant).collect();
        self.0.log_in(over, entrants, seen, SUB_DEVICES_MAX).map_err(|problem| match problem {
            NotLoggedIn::NoConnection | NotLoggedIn::NotHere => LoginError::NoConnection,
            NotLoggedIn::LookAgain => LoginError::LookAgain,
            NotLoggedIn::TooMany => LoginError::TooMany,
        })
    }

    fn log_out(&self, over: &Message, devices: &[(String, String)]) -> bool {
        let ids: Vec<_> = devices.iter().map(|(key, name)| session_id(key, name)).collect();
        self.0.log_out(over, &ids).is_ok()
    }

    fn part(&self, product_key: &str, device_name: &str, tell: bool) {
        let why = tell.then_some(Parting::Detached);
        self.0.end_login(&session_id(product_key, device_name), why);
    }
}

fn entrant(device: &SubDevice) -> Entrant {
    let SubDevice { product_key, device_name, extended, clean_start } = device;
    let client_id = session_id(product_key, device_name).into();
    let device = Device {
        product_key: product_key.as_str().into(),
        device_name: device_name.as_str().into(),
    };
    let identity = Identity {
        client_id,
        username: None,
        device: Some(Arc::new(device)),
        rrpc_ext: *extended,
        sub_devices: SubDevices::default(),
    };
    Entrant { identity, clean_start: *clean_start }
}

/// Device messages of the devices of a registry.
pub(super) async fn open(
    config: &Config,
    store: &Store,
    registry: &Registry,
    rules: Arc<dyn Ingress>,
    history: &History,
) -> anyhow::Result<Things> {
    let strict = config.auth.devices == Some(DeviceAuth::Required);
    let sub_register = config.auth.sub_register.iter().cloned().collect();
    let folder = config.path(&config.data_dir).join("files");
    let files = FileOptions::folder(folder, config.files.limits());
    let (models, history) = (models(config)?, history.clone());
    let options = Options { models, strict, sub_register, files, history, ..Options::default() };
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
