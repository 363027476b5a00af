//! The topic route table at work: what a device publishes on a source topic is published on the
//! destinations, too.
//!
//! The table itself stands in the registry. What rules republish is not routed again.

use std::sync::{Arc, PoisonError, RwLock};

use contract::{Batch, Ingress, Message, Origin};

use super::handle::BrokerHandle;
use super::sessions::Delivered;
use registry::Registry;

/// Copies of one message at most, over all hops.
const COPIES_MAX: usize = 1_000;

/// Stands between the broker and the engine. Copies go with the message that they are made of: they
/// are accepted with it or not at all.
pub struct Routed {
    inner: Arc<dyn Ingress>,
    registry: Registry,
    hops_max: u8,
    broker: RwLock<Option<BrokerHandle>>,
}

impl Routed {
    /// Routes before that ingress. A message is routed at most `hops_max` times.
    #[must_use]
    pub fn new(inner: Arc<dyn Ingress>, registry: Registry, hops_max: u8) -> Self {
        Self { inner, registry, hops_max, broker: RwLock::default() }
    }

    /// The broker whose subscribers get copies, too. `None` when it ends: it has this ingress, so that
    /// neither would ever be dropped.
    pub fn attach(&self, broker: Option<BrokerHandle>) {
        *self.broker.write().unwrap_or_else(PoisonError::into_inner) = broker;
    }

    /// Where a message goes, step by step: what is published on a destination may be routed again.
    fn copies(&self, messages: &[Message]) -> Vec<Message> {
        let mut copies = Vec::new();
        for message in messages {
            let first = copies.len();
            self.step(message, &mut copies, first);
            let mut at = first;
            while let Some(copy) = copies.get(at).cloned() {
                self.step(&copy, &mut copies, first);
                at += 1;
            }
        }
        copies
    }

    /// Appends a copy for each destination. Those of one message start at `first`.
    fn step(&self, message: &Message, copies: &mut Vec<Message>, first: usize) {
        let Some(destinations) = self.registry.routes_from(message.topic.as_str()) else { return };
        if message.hops >= self.hops_max {
            tracing::warn!(
                topic = %message.topic,
                "routes have led this message on {} times already; look for a circle with QueryTopicRouteTable",
                message.hops
            );
            return;
        }
        for topic in destinations.iter() {
            if copies.len() - first >= COPIES_MAX {
                tracing::warn!(topic = %message.topic, "routes made {COPIES_MAX} copies of one message, which is the limit");
                return;
            }
            copies.push(Message {
                topic: topic.clone(),
                // Whose the copy is, its topic says.
                device: None,
                retain: false,
                hops: message.hops + 1,
                origin: Arc::new(Origin { source: Some("route".into()), ..Origin::default() }),
                ..message.clone()
            });
        }
    }
}

#[async_trait::async_trait]
impl Ingress for Routed {
    fn try_submit(&self, mut batch: Batch) -> Result<(), Batch> {
        let copies = self.copies(&batch.messages);
        if copies.is_empty() {
            return self.inner.try_submit(batch);
        }
        let own = batch.messages.len();
        batch.messages.extend(copies.iter().cloned());
        let mut kept = batch.ack.share();
        let submitted = self.inner.try_submit(batch);
        if submitted.is_ok()
            && let Some(broker) = &*self.broker.read().unwrap_or_else(PoisonError::into_inner)
        {
            // What a client's full queue drops is counted by the broker.
            let delivered = copies.iter().map(|copy| broker.publish(copy));
            let delivered = delivered.reduce(Delivered::and).unwrap_or_default();
            broker.hold(delivered, &mut kept);
        }
        kept.accept();
        match submitted {
            Ok(()) => Ok(()),
            Err(mut batch) => {
                // It is offered again, and its copies are made again then.
                batch.messages.truncate(own);
                Err(batch)
            }
        }
    }

    async fn ready(&self) {
        self.inner.ready().await;
    }
}
