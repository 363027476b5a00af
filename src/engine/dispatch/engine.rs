//! The way in: the engine's [`Ingress`], and its threads, one shard per core. A device's messages go to
//! one shard.
//!
//! Messages that are kept go through the log first: the engine takes responsibility for a batch when the
//! log has it on disk. Full queues and a full log push back on the source; nothing is dropped here.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use contract::{Ack, AckWhen, Batch, DeviceFacts, Ingress, Message, MessageIds};
use tokio::sync::Notify;

use super::dispatcher::Dispatcher;
use super::shard::{EngineLimits, Shard, Work, bytes};
use super::snapshot::Snapshot;
use crate::spool::{Refused, Room, Stored};
use crate::storage::{Storage, shard_of};
use crate::watch::Watch;

/// How long a source waits at most before it looks again whether there is room in the log.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The engine's threads and their queues.
pub struct Engine {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    ids: MessageIds,
}

/// What the log's writer needs of the engine, too.
struct Core {
    snapshot: ArcSwap<Snapshot>,
    shards: Vec<Arc<Shard>>,
    limits: EngineLimits,
    room: Arc<Notify>,
    storage: Option<Arc<Storage>>,
    facts: Arc<dyn DeviceFacts>,
    /// Messages that the log could not write.
    refused: AtomicU64,
    watch: Arc<Watch>,
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
    /// Messages that the log could not write: nobody was told that they are accepted.
    pub refused: u64,
    /// Evaluations that have taken more than a second and still go on.
    pub long: u64,
}

impl Engine {
    /// Starts the threads. Without `storage` nothing survives the process.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        limits: EngineLimits,
        facts: Arc<dyn DeviceFacts>,
        storage: Option<Arc<Storage>>,
        now_ms: u64,
    ) -> std::io::Result<Arc<Self>> {
        let room = Arc::new(Notify::new());
        let shards: Vec<Arc<Shard>> =
            (0..limits.shards.max(1)).map(|number| Arc::new(Shard::new(number))).collect();
        let watch = match &storage {
            Some(storage) => Arc::clone(&storage.watch),
            None => Arc::new(Watch::open(None, 0)?),
        };
        let mut threads = Vec::new();
        for shard in &shards {
            let shard = Arc::clone(shard);
            let (room, facts, storage) = (room.clone(), facts.clone(), storage.clone());
            let name = format!("shard-{}", shard.number);
            let place = watch.place(None);
            let run = move || {
                let counts = Arc::clone(&shard.counts);
                let dispatcher = Dispatcher::new(shard.number, facts, counts).watched(place);
                shard.run(dispatcher, storage.as_deref(), &room);
            };
            threads.push(std::thread::Builder::new().name(name).spawn(run)?);
        }
        watch.keep_looking()?;
        let ids = MessageIds::starting_at(now_ms);
        let threads = Mutex::new(threads);
        let snapshot = ArcSwap::from_pointee(Snapshot::default());
        let core = Arc::new(Core {
            snapshot,
            shards,
            limits,
            room,
            storage,
            facts,
            refused: AtomicU64::new(0),
            watch,
        });
        Ok(Arc::new(Self { core, threads, ids }))
    }

    /// Makes the shards run another set of rules, from the next message on that is offered.
    pub fn swap(&self, snapshot: Snapshot) {
        self.core.swap(Arc::new(snapshot));
    }

    /// What puts another set of rules in force, when the log has come so far.
    pub(crate) fn swapper(&self) -> impl FnOnce(Snapshot) + Send + 'static {
        let core = Arc::clone(&self.core);
        move |snapshot| core.swap(Arc::new(snapshot))
    }

    /// The rules that run.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.core.snapshot.load_full()
    }

    /// Threads that evaluate rules.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.core.shards.len()
    }

    /// What is known about devices.
    pub(crate) fn facts(&self) -> Arc<dyn DeviceFacts> {
        Arc::clone(&self.core.facts)
    }

    /// What makes delivery survive.
    #[must_use]
    pub fn storage(&self) -> Option<&Arc<Storage>> {
        self.core.storage.as_ref()
    }

    /// What the shards have seen.
    #[must_use]
    pub fn counts(&self) -> EngineCounts {
        let refused = self.core.refused.load(Ordering::Relaxed);
        let long = self.core.watch.long();
        let mut sum = EngineCounts { refused, long, ..EngineCounts::default() };
        for shard in &self.core.shards {
            sum.received += shard.counts.received.load(Ordering::Relaxed);
            sum.unmatched += shard.counts.unmatched.load(Ordering::Relaxed);
            sum.queued += shard.messages.load(Ordering::Relaxed) as u64;
        }
        sum
    }

    /// Takes what the log does not keep: behind what waits for it, so that order is kept.
    fn pass(&self, storage: &Storage, batch: Batch) -> Result<(), Batch> {
        let core = Arc::clone(&self.core);
        let done = move |batch: Batch| {
            core.push(batch.messages);
            batch.ack.accept();
        };
        storage.spool.pass(bytes(&batch.messages), batch, done).map_err(|not| not.owner)
    }

    /// Evaluates what is queued, then ends the threads. Blocks; messages offered later are refused.
    pub fn stop(&self) {
        if let Some(flushed) = self.storage().and_then(|storage| storage.spool.flush().ok()) {
            // What the log has taken reaches the shards before they end.
            flushed.wait().ok();
        }
        for shard in &self.core.shards {
            shard.stop();
        }
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a shard ended unexpectedly");
            }
        }
    }
}

impl Core {
    fn swap(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(Arc::clone(&snapshot));
        for shard in &self.shards {
            shard.push(Work::Rules(Arc::clone(&snapshot)), None);
        }
    }

    /// Gives messages to their shards.
    fn push(&self, messages: Vec<Message>) {
        let storage = self.storage.as_deref();
        let count = self.shards.len();
        let shard = messages.first().map_or(0, |message| shard_of(message, count));
        let one = count == 1 || messages.iter().all(|message| shard_of(message, count) == shard);
        if one {
            self.shards[shard].push(Work::Messages(messages), storage);
            return;
        }
        let mut parts: Vec<Vec<Message>> = vec![Vec::new(); count];
        for message in messages {
            parts[shard_of(&message, count)].push(message);
        }
        for (shard, part) in self.shards.iter().zip(parts) {
            if !part.is_empty() {
                shard.push(Work::Messages(part), storage);
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.shards.iter().any(|shard| shard.is_stopped())
    }

    fn has_room(&self) -> bool {
        self.shards.iter().all(|shard| shard.has_room(self.limits))
    }

    /// The log has the messages for which `keeps` holds, or could not take them.
    fn stored(&self, mut batch: Batch, result: Result<Stored, Refused>) {
        let Some(storage) = &self.storage else { return };
        match result {
            Ok(stored) => {
                let mut next = stored.first;
                let durable = batch.promise.durable;
                for message in &mut batch.messages {
                    if stored.count > 0 && is_kept(message, durable) {
                        message.position = Some(next);
                        next += 1;
                    }
                }
                if stored.dropped > 0 {
                    // The policy of a full log; counted there. The source need not send it again.
                    batch.messages.retain(|message| !is_kept(message, durable));
                }
                if !batch.messages.is_empty() {
                    self.push(batch.messages);
                }
                storage.progress.give(next);
                batch.ack.accept();
            }
            // The log says what happened. The source is refused and does not acknowledge.
            Err(_) => {
                self.refused.fetch_add(batch.messages.len() as u64, Ordering::Relaxed);
            }
        }
    }
}

/// Whether the log has the message.
fn is_kept(message: &Message, all: bool) -> bool {
    all || message.qos.is_acknowledged()
}

#[async_trait::async_trait]
impl Ingress for Engine {
    fn try_submit(&self, mut batch: Batch) -> Result<(), Batch> {
        if self.core.is_stopped() || !self.core.has_room() {
            return Err(batch);
        }
        let first = self.ids.reserve(batch.messages.len() as u64);
        for (id, message) in (first..).zip(&mut batch.messages) {
            message.id = id;
        }
        let Some(storage) = &self.core.storage else {
            self.core.push(batch.messages);
            batch.ack.accept();
            return Ok(());
        };
        let all = batch.promise.durable;
        if !batch.messages.iter().any(|message| is_kept(message, all)) {
            return self.pass(storage, batch);
        }
        let room = if batch.promise.internal { Room::Internal } else { Room::Source };
        let kept = batch.messages.iter().filter(|message| is_kept(message, all));
        let prepared = match storage.spool.prepare(kept) {
            Ok(prepared) => prepared,
            Err(error) => {
                tracing::error!(%error, "refused messages that can never be stored");
                return Ok(());
            }
        };
        // The ack of a batch that counts when it is received leaves it here.
        let early = match batch.promise.ack {
            AckWhen::Received => Some(std::mem::replace(&mut batch.ack, Ack::none())),
            AckWhen::Durable => None,
        };
        let core = Arc::clone(&self.core);
        let done = move |batch, stored| core.stored(batch, stored);
        match storage.spool.offer(prepared, room, batch, done) {
            Ok(()) => early.into_iter().for_each(Ack::accept),
            Err(not) => {
                let mut batch = not.owner;
                batch.ack = early.unwrap_or(batch.ack);
                return Err(batch);
            }
        }
        Ok(())
    }

    async fn ready(&self) {
        if self.core.is_stopped() {
            // There will be no room again; who waits is ended with the daemon.
            std::future::pending::<()>().await;
        }
        loop {
            let notified = self.core.room.notified();
            if self.core.storage.is_none() && self.core.has_room() {
                return;
            }
            match &self.core.storage {
                None => notified.await,
                Some(storage) => {
                    let look = async {
                        tokio::select! {
                            () = notified => {}
                            () = storage.spool.room() => {}
                        }
                    };
                    tokio::time::timeout(LOOK_AGAIN, look).await.ok();
                    if self.core.has_room() {
                        return;
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("shards", &self.core.shards.len()).finish_non_exhaustive()
    }
}
