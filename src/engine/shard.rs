//! The shards: one thread per core, each with a bounded queue; a device's messages go to one shard.
//!
//! This is the engine's [`Ingress`]. Messages that are kept go through the log first: the engine takes
//! responsibility for a batch when the log has it on disk. Full queues and a full log push back on the
//! source; nothing is dropped here. A change of rules stands in the queues between the messages before
//! it and those behind it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use connectors::contract::{Ack, AckWhen, Batch, DeviceFacts, Ingress, Message, MessageIds};
use tokio::sync::Notify;

use super::Dispatcher;
use super::dispatch::{ShardCounts, Snapshot};
use super::spool::{Refused, Room, Stored};
use super::storage::{Storage, shard_of};
use super::watch::{self, Watch};

/// How long a source waits at most before it looks again whether there is room in the log.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

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

#[derive(Default)]
struct Shard {
    number: usize,
    queue: Mutex<VecDeque<Work>>,
    wake: Condvar,
    messages: AtomicUsize,
    bytes: AtomicUsize,
    stop: AtomicBool,
    counts: Arc<ShardCounts>,
}

/// What a shard does, in this order.
enum Work {
    /// Evaluate.
    Messages(Vec<Message>),
    /// Run other rules from here on.
    Rules(Arc<Snapshot>),
}

impl Work {
    /// The first position of the log among its messages.
    fn position(&self) -> Option<u64> {
        match self {
            Self::Messages(messages) => messages.iter().find_map(|message| message.position),
            Self::Rules(_) => None,
        }
    }
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
        let shards: Vec<Arc<Shard>> = (0..limits.shards.max(1))
            .map(|number| Arc::new(Shard { number, ..Shard::default() }))
            .collect();
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
        look(&watch)?;
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
    pub(super) fn swapper(&self) -> impl FnOnce(Snapshot) + Send + 'static {
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
    pub(super) fn facts(&self) -> Arc<dyn DeviceFacts> {
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
}

/// Starts the thread that looks at what is being evaluated, until nobody evaluates any more.
fn look(watch: &Arc<Watch>) -> std::io::Result<()> {
    let watch = Arc::downgrade(watch);
    let look = move || {
        while let Some(watch) = watch.upgrade() {
            watch.look(std::time::Instant::now());
            drop(watch);
            std::thread::park_timeout(watch::EVERY);
        }
    };
    std::thread::Builder::new().name("watch".into()).spawn(look).map(drop)
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
        self.shards.iter().any(|shard| shard.stop.load(Ordering::Acquire))
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

impl Shard {
    /// Room is asked for before a batch, so that a queue may run over by one batch per source, and by
    /// what the log has not written yet.
    fn has_room(&self, limits: EngineLimits) -> bool {
        self.messages.load(Ordering::Relaxed) < limits.messages
            && self.bytes.load(Ordering::Relaxed) < limits.bytes
    }

    fn push(&self, work: Work, storage: Option<&Storage>) {
        if let Work::Messages(messages) = &work {
            self.messages.fetch_add(messages.len(), Ordering::Relaxed);
            self.bytes.fetch_add(bytes(messages), Ordering::Relaxed);
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let wake = queue.is_empty();
        if let (Some(storage), Some(position)) = (storage, work.position()) {
            storage.progress.open(self.number, position);
        }
        queue.push_back(work);
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
    }

    fn run(&self, mut dispatcher: Dispatcher, storage: Option<&Storage>, room: &Notify) {
        let mut taken = VecDeque::new();
        let mut rules = Arc::new(Snapshot::default());
        loop {
            {
                let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(storage) = storage {
                    let open = queue.iter().find_map(Work::position);
                    storage.progress.done(self.number, open);
                }
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
            for work in taken.drain(..) {
                match work {
                    Work::Rules(snapshot) => rules = snapshot,
                    Work::Messages(messages) => {
                        let (count, size) = (messages.len(), bytes(&messages));
                        dispatcher.run(&rules, messages);
                        self.messages.fetch_sub(count, Ordering::Relaxed);
                        self.bytes.fetch_sub(size, Ordering::Relaxed);
                    }
                }
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
        f.debug_struct("Engine").field("shards", &self.core.shards.len()).finish_non_exhaustive()
    }
}
