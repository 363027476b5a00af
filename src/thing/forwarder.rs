//! The gate before the engine: device messages become what rules are written for, and what devices
//! answer finds who asked.
//!
//! What is none of the device protocols' passes at the cost of a look at its topic's first bytes.

use std::sync::Arc;

use contract::{Ack, Batch, Ingress, Message};

use super::Things;
use super::uplink::{Effect, Uplink};

/// Stands before the engine's ingress and turns messages of the device protocols into the documents
/// that the vendor's rules are written for. All other messages pass as they are.
pub struct Forwarder {
    inner: Arc<dyn Ingress>,
    things: Things,
}

impl Forwarder {
    /// A forwarder before that ingress.
    #[must_use]
    pub fn new(inner: Arc<dyn Ingress>, things: Things) -> Self {
        Self { inner, things }
    }
}

/// True when a topic is one of the device protocols'. Called for every message.
fn is_ours(topic: &str) -> bool {
    let bytes = topic.as_bytes();
    match (bytes.first(), bytes.get(1)) {
        (Some(b'/'), Some(b's')) => {
            topic.starts_with("/sys/") || topic.starts_with("/shadow/update/")
        }
        (Some(b'/'), Some(b'e')) => topic.starts_with("/ext/"),
        (Some(b'$'), _) => topic.starts_with("$sys/"),
        _ => false,
    }
}

#[async_trait::async_trait]
impl Ingress for Forwarder {
    /// Nothing has happened to a batch that comes back: it is translated again when it is offered
    /// again, and devices are answered once.
    fn try_submit(&self, mut batch: Batch) -> Result<(), Batch> {
        if !batch.messages.iter().any(|message| is_ours(message.topic.as_str())) {
            return self.submit(batch);
        }
        let received = std::mem::take(&mut batch.messages);
        let mut effects = Vec::new();
        batch.messages = Vec::with_capacity(received.len());
        for message in &received {
            match is_ours(message.topic.as_str()) {
                true => Uplink::new(&self.things, &mut batch.messages, &mut effects).take(message),
                false => batch.messages.push(message.clone()),
            }
        }
        // Who sent a part of a file waits until it is kept.
        let files = effects.iter().filter(|effect| matches!(effect, Effect::File(_))).count();
        let mut shares: Vec<Ack> = (0..files).map(|_| batch.ack.share()).collect();
        match self.submit_documents(batch) {
            Ok(()) => {
                for effect in effects {
                    carry_out(&self.things, effect, &mut shares);
                }
                Ok(())
            }
            Err(mut batch) => {
                // A share that is dropped would refuse the batch, which comes again.
                shares.into_iter().for_each(Ack::accept);
                batch.messages = received;
                Err(batch)
            }
        }
    }

    async fn ready(&self) {
        self.inner.ready().await;
    }
}

impl Forwarder {
    /// What is left of a batch; all of it may have been about files.
    fn submit_documents(&self, batch: Batch) -> Result<(), Batch> {
        match batch.messages.is_empty() {
            true => {
                batch.ack.accept();
                Ok(())
            }
            false => self.submit(batch),
        }
    }

    /// Hands a batch on; the history gets the documents that it would not find in the log.
    fn submit(&self, batch: Batch) -> Result<(), Batch> {
        let history = self.things.history();
        let wants = |message: &&Message| history.wants(message, batch.promise.durable);
        let kept: Vec<Message> = batch.messages.iter().filter(wants).cloned().collect();
        self.inner.try_submit(batch)?;
        kept.into_iter().for_each(|message| history.offer(message));
        Ok(())
    }
}

fn carry_out(things: &Things, effect: Effect, shares: &mut Vec<Ack>) {
    match effect {
        Effect::File(message) => {
            things.files().take(message, shares.pop().unwrap_or_else(Ack::none));
        }
        // A device that can't take the answer now will post again.
        Effect::Reply(message) => drop(things.publish(&message)),
        Effect::Answer { id, topic, payload } => drop(things.calls().answer(id, &topic, &payload)),
        Effect::Later(message) => things.later(message),
    }
}

/// The document that rules see of a post, when nothing is known of devices; any other message as it is.
pub fn forward(message: &mut Message) {
    if let Some(document) = super::uplink::plain_document(message) {
        *message = document;
    }
}

#[cfg(test)]
mod tests;
