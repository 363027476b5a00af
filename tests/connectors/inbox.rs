//! The engine's side of a source, held by the test: it decides what is accepted, and when.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connectors::contract::{Batch, Env, Ingress, Message, ShutdownHandle, SourceError, shutdown};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The longest that a test waits for a message.
const WAIT: Duration = Duration::from_secs(30);

/// Takes at most `room` batches until the test takes them out.
pub struct Inbox {
    batches: Mutex<VecDeque<Batch>>,
    room: usize,
    arrived: Notify,
    taken: Notify,
}

impl Inbox {
    pub fn new(room: usize) -> Arc<Self> {
        let (batches, arrived, taken) = Default::default();
        Arc::new(Self { batches, room, arrived, taken })
    }

    /// The next batch, not accepted yet.
    pub async fn take(&self) -> Batch {
        let next = async {
            loop {
                let arrived = self.arrived.notified();
                let batch = self.batches.lock().expect("lock").pop_front();
                if let Some(batch) = batch {
                    self.taken.notify_waiters();
                    return batch;
                }
                arrived.await;
            }
        };
        tokio::time::timeout(WAIT, next).await.expect("no message within 30 s")
    }

    /// Accepts batches until there are `count` messages.
    pub async fn accept(&self, count: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        while messages.len() < count {
            let batch = self.take().await;
            messages.extend(batch.messages);
            batch.ack.accept();
        }
        messages
    }

    /// Accepts batches until a message has that payload; returns the payloads.
    pub async fn accept_until(&self, last: &str) -> Vec<String> {
        let mut seen: Vec<String> = Vec::new();
        while !seen.iter().any(|payload| payload == last) {
            seen.extend(texts(&self.accept(1).await));
        }
        seen
    }
}

/// The payloads as text.
pub fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|m| String::from_utf8_lossy(&m.payload).into_owned()).collect()
}

#[async_trait::async_trait]
impl Ingress for Inbox {
    fn try_submit(&self, batch: Batch) -> Result<(), Batch> {
        let mut batches = self.batches.lock().expect("lock");
        if batches.len() >= self.room {
            return Err(batch);
        }
        batches.push_back(batch);
        self.arrived.notify_one();
        Ok(())
    }

    async fn ready(&self) {
        loop {
            let taken = self.taken.notified();
            if self.batches.lock().expect("lock").len() < self.room {
                return;
            }
            taken.await;
        }
    }
}

/// A source that runs until it is stopped.
pub struct Running {
    pub inbox: Arc<Inbox>,
    stop: ShutdownHandle,
    task: JoinHandle<Result<(), SourceError>>,
}

impl Running {
    pub fn start(connector: &str, settings: &Value, env: &Env) -> Self {
        Self::start_into(connector, settings, env, Inbox::new(1000))
    }

    pub fn start_into(connector: &str, settings: &Value, env: &Env, inbox: Arc<Inbox>) -> Self {
        let spec = connectors::SOURCES.iter().find(|s| s.name == connector).expect("the source");
        let source = (spec.build)("plant", settings, env).expect("the source's settings");
        let (stop, stopped) = shutdown();
        let task = tokio::spawn(source.run(inbox.clone(), stopped));
        Self { inbox, stop, task }
    }

    /// Stops the source; it has to return soon.
    pub async fn stop(self) {
        self.stop.stop();
        let ended = tokio::time::timeout(Duration::from_secs(15), self.task).await;
        ended.expect("the source stops").expect("no panic").expect("no error");
    }
}
