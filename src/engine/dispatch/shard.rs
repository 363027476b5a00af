//! A shard: one thread with a bounded queue. A change of rules stands in it between the messages before
//! it and those behind it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use contract::Message;
use tokio::sync::Notify;

use super::dispatcher::{Dispatcher, ShardCounts};
use super::snapshot::Snapshot;
use crate::storage::Storage;

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

/// A shard, whoever runs it.
#[derive(Default)]
pub(super) struct Shard {
    pub(super) number: usize,
    queue: Mutex<VecDeque<Work>>,
    wake: Condvar,
    pub(super) messages: AtomicUsize,
    pub(super) bytes: AtomicUsize,
    stop: AtomicBool,
    pub(super) counts: Arc<ShardCounts>,
}

/// What a shard does, in this order.
pub(super) enum Work {
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

impl Shard {
    /// The shard of that number, which nobody runs yet.
    pub(super) fn new(number: usize) -> Self {
        Self { number, ..Self::default() }
    }

    /// True when it was told to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Tells it to end when nothing is queued any more.
    pub(super) fn stop(&self) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        self.stop.store(true, Ordering::Release);
        drop(queue);
        self.wake.notify_one();
    }

    /// Room is asked for before a batch, so that a queue may run over by one batch per source, and by
    /// what the log has not written yet.
    pub(super) fn has_room(&self, limits: EngineLimits) -> bool {
        self.messages.load(Ordering::Relaxed) < limits.messages
            && self.bytes.load(Ordering::Relaxed) < limits.bytes
    }

    /// Queues work behind what is there.
    pub(super) fn push(&self, work: Work, storage: Option<&Storage>) {
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

    /// Does the work until told to stop and none is left.
    pub(super) fn run(&self, mut dispatcher: Dispatcher, storage: Option<&Storage>, room: &Notify) {
        let mut taken = VecDeque::new();
        let mut rules = Arc::new(Snapshot::default());
        loop {
            {
                let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(storage) = storage {
                    let open = queue.iter().find_map(Work::position);
                    storage.progress.done(self.number, open);
                }
                let idle = |queue: &mut VecDeque<_>| queue.is_empty() && !self.is_stopped();
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

/// Bytes of the payloads.
pub(super) fn bytes(messages: &[Message]) -> usize {
    messages.iter().map(|message| message.payload.len()).sum()
}
