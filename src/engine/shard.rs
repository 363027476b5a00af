//! The shards: one thread per core, each with a bounded queue; a device's messages go to one shard.
//!
//! This is the engine's [`Ingress`]. A batch is accepted when all its messages are in a queue. Full
//! queues push back on the source; nothing is dropped here.

use std::collections::VecDeque;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use connectors::contract::{Batch, DeviceFacts, Ingress, Message, MessageIds};
use foldhash::fast::FixedState;
use tokio::sync::Notify;

use super::Dispatcher;
use super::dispatch::{ShardCounts, Snapshot};

/// Bounds of the engine.
#[derive(Debug, Clone, Copy)]
pub struct EngineLimits {
    /// Threads that evaluate rules.
    pub shards: usize,
    /// Messages that wait in one shard's queue.
    pub messages: usize,
    /// Bytes of their payloads.
    pub bytes: usize,
}

/// The engine's threads and their queues.
pub struct Engine {
    snapshot: Arc<ArcSwap<Snapshot>>,
    shards: Vec<Arc<Shard>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    limits: EngineLimits,
    ids: MessageIds,
    room: Arc<Notify>,
}

#[derive(Default)]
struct Shard {
    queue: Mutex<VecDeque<Vec<Message>>>,
    wake: Condvar,
    messages: AtomicUsize,
    bytes: AtomicUsize,
    stop: AtomicBool,
    counts: Arc<ShardCounts>,
}

/// What all shards have seen since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineCounts {
    /// Messages evaluated.
    pub received: u64,
    /// Of those: no rule wanted the topic.
    pub unmatched: u64,
    /// Messages that wait in the shards' queues.
    pub queued: u64,
}

impl Engine {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        limits: EngineLimits,
        facts: Arc<dyn DeviceFacts>,
        now_ms: u64,
    ) -> std::io::Result<Arc<Self>> {
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let room = Arc::new(Notify::new());
        let mut shards = Vec::new();
        let mut threads = Vec::new();
        for number in 0..limits.shards.max(1) {
            let shard = Arc::new(Shard::default());
            shards.push(Arc::clone(&shard));
            let (snapshot, room, facts) = (snapshot.clone(), room.clone(), facts.clone());
            let run = move || {
                let dispatcher = Dispatcher::new(number, facts, Arc::clone(&shard.counts));
                shard.run(dispatcher, &snapshot, &room);
            };
            threads.push(std::thread::Builder::new().name(format!("shard-{number}")).spawn(run)?);
        }
        let ids = MessageIds::starting_at(now_ms);
        let threads = Mutex::new(threads);
        Ok(Arc::new(Self { snapshot, shards, threads, limits, ids, room }))
    }

    /// Makes the shards run another set of rules from their next batch on.
    pub fn swap(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// The rules that run.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Threads that evaluate rules.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// What the shards have seen.
    #[must_use]
    pub fn counts(&self) -> EngineCounts {
        let mut sum = EngineCounts::default();
        for shard in &self.shards {
            sum.received += shard.counts.received.load(Ordering::Relaxed);
            sum.unmatched += shard.counts.unmatched.load(Ordering::Relaxed);
            sum.queued += shard.messages.load(Ordering::Relaxed) as u64;
        }
        sum
    }

    /// Evaluates what is queued, then ends the threads. Blocks; messages offered later are refused.
    pub fn stop(&self) {
        for shard in &self.shards {
            let queue = shard.queue.lock().unwrap_or_else(PoisonError::into_inner);
            shard.stop.store(true, Ordering::Release);
            drop(queue);
            shard.wake.notify_one();
        }
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a shard ended unexpectedly");
            }
        }
    }

    /// The shard of a message: one per device, so that a device's messages stay in order.
    fn shard_of(&self, message: &Message) -> usize {
        if self.shards.len() == 1 {
            return 0;
        }
        let state = FixedState::with_seed(0);
        let hash = match (message.product_key(), message.device_name()) {
            (Some(product_key), Some(device_name)) => state.hash_one((product_key, device_name)),
            _ => state.hash_one(message.topic.as_str()),
        };
        usize::try_from(hash % self.shards.len() as u64).unwrap_or(0)
    }

    fn is_stopped(&self) -> bool {
        self.shards.iter().any(|shard| shard.stop.load(Ordering::Acquire))
    }

    fn has_room(&self) -> bool {
        self.shards.iter().all(|shard| shard.has_room(self.limits))
    }
}

#[async_trait::async_trait]
impl Ingress for Engine {
    fn try_submit(&self, mut batch: Batch) -> Result<(), Batch> {
        if self.is_stopped() || !self.has_room() {
            return Err(batch);
        }
        let first = self.ids.reserve(batch.messages.len() as u64);
        for (id, message) in (first..).zip(&mut batch.messages) {
            message.id = id;
        }
        let shard = batch.messages.first().map_or(0, |message| self.shard_of(message));
        let one = batch.messages.iter().all(|message| self.shard_of(message) == shard);
        if one {
            self.shards[shard].push(batch.messages);
        } else {
            let mut parts: Vec<Vec<Message>> = vec![Vec::new(); self.shards.len()];
            for message in batch.messages {
                parts[self.shard_of(&message)].push(message);
            }
            for (shard, part) in self.shards.iter().zip(parts) {
                if !part.is_empty() {
                    shard.push(part);
                }
            }
        }
        batch.ack.accept();
        Ok(())
    }

    async fn ready(&self) {
        if self.is_stopped() {
            // There will be no room again; who waits is ended with the daemon.
            std::future::pending::<()>().await;
        }
        loop {
            let notified = self.room.notified();
            if self.has_room() {
                return;
            }
            notified.await;
        }
    }
}

impl Shard {
    /// Room is asked for before a batch, so that a queue may run over by one batch per source.
    fn has_room(&self, limits: EngineLimits) -> bool {
        self.messages.load(Ordering::Relaxed) < limits.messages
            && self.bytes.load(Ordering::Relaxed) < limits.bytes
    }

    fn push(&self, messages: Vec<Message>) {
        self.messages.fetch_add(messages.len(), Ordering::Relaxed);
        self.bytes.fetch_add(bytes(&messages), Ordering::Relaxed);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let wake = queue.is_empty();
        queue.push_back(messages);
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
    }

    fn run(&self, mut dispatcher: Dispatcher, snapshot: &ArcSwap<Snapshot>, room: &Notify) {
        let mut taken = VecDeque::new();
        loop {
            {
                let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                let idle = |queue: &mut VecDeque<_>| {
                    queue.is_empty() && !self.stop.load(Ordering::Acquire)
                };
                let mut queue =
                    self.wake.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
                std::mem::swap(&mut *queue, &mut taken);
            }
            if taken.is_empty() {
                return;
            }
            let rules = snapshot.load_full();
            for messages in taken.drain(..) {
                let (count, size) = (messages.len(), bytes(&messages));
                dispatcher.run(&rules, messages);
                self.messages.fetch_sub(count, Ordering::Relaxed);
                self.bytes.fetch_sub(size, Ordering::Relaxed);
            }
            room.notify_waiters();
        }
    }
}

fn bytes(messages: &[Message]) -> usize {
    messages.iter().map(|message| message.payload.len()).sum()
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("shards", &self.shards.len()).finish_non_exhaustive()
    }
}
