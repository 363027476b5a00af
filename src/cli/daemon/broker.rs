//! The broker: who may connect, what becomes of what clients publish, and how the daemon itself publishes.

use std::sync::Arc;

use anyhow::Context as _;
use connectors::contract::{
    AckWhen, Batch, DeliveryError, FailureKind, Ingress, Message, Nacked, Promise, Publisher,
    Shutdown, now_ms,
};

use super::listen::pages;
use super::sources::promised;
use crate::broker::{
    self, Broker, BrokerHandle, Delivered, DeviceAccess, Hooks, Listener, Proof, Routed,
    StatusMessages,
};
use crate::config::{Config, DeviceAuth};
use crate::registry::Registry;

/// Opens the broker, which serves nobody yet, and what routes the messages of its clients: to
/// subscribers, and in.
pub(super) async fn open(
    config: &Config,
    ingress: &Arc<dyn Ingress>,
    registry: &Registry,
) -> anyhow::Result<(Broker, Arc<Routed>)> {
    let bounds = broker::Config {
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
    let file = config.path(&config.data_dir).join(broker::FILE);
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

/// Serves clients until told to stop; then nothing is routed any more.
pub(super) async fn serve(
    broker: Broker,
    routed: Arc<Routed>,
    listeners: Vec<Listener>,
    stopped: Shutdown,
) {
    if let Err(error) = broker.serve_all(listeners, stopped).await {
        tracing::error!("the MQTT listeners ended: {error}");
    }
    routed.attach(None);
}

/// What rules publish with.
pub(super) fn publisher(broker: &Broker, ingress: &Arc<dyn Ingress>) -> Arc<dyn Publisher> {
    Arc::new(Republisher { broker: broker.handle(), ingress: Arc::clone(ingress) })
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
