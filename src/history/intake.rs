//! What comes to a history beside the log: messages that the log does not keep, calls of services, and
//! who waits for all of it to be there.
//!
//! The queue is bounded in number and bytes. What finds no room is counted, and nobody waits for any.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use contract::Message;
use tokio::sync::{mpsc, oneshot};

/// What may wait.
const WAITING: usize = 16_384;

/// Bytes that may wait.
const WAITING_BYTES: usize = 16 << 20;

/// What a message counts for beside its payload, in bytes.
const OVERHEAD: usize = 256;

/// Something that waits for the writer.
#[derive(Debug)]
pub(super) enum Arrived {
    /// A document.
    Document(Message),
    /// A call of a service, or the answer to one.
    Call(Message),
    /// Somebody wants to read what came before.
    Settle(oneshot::Sender<()>),
}

/// The way in.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    sender: mpsc::Sender<Arrived>,
    bytes: Arc<AtomicUsize>,
}

/// The other end.
#[derive(Debug)]
pub(super) struct Arrivals {
    receiver: mpsc::Receiver<Arrived>,
    bytes: Arc<AtomicUsize>,
}

/// Both ends of a queue.
pub(super) fn queue() -> (Intake, Arrivals) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let bytes = Arc::new(AtomicUsize::new(0));
    (Intake { sender, bytes: Arc::clone(&bytes) }, Arrivals { receiver, bytes })
}

fn weight(arrived: &Arrived) -> usize {
    match arrived {
        Arrived::Document(message) | Arrived::Call(message) => message.payload.len() + OVERHEAD,
        Arrived::Settle(_) => 0,
    }
}

impl Intake {
    /// Takes something; false when there is no room.
    pub(super) fn offer(&self, arrived: Arrived) -> bool {
        let weight = weight(&arrived);
        if self.bytes.fetch_add(weight, Ordering::Relaxed) + weight > WAITING_BYTES
            || self.sender.try_send(arrived).is_err()
        {
            self.bytes.fetch_sub(weight, Ordering::Relaxed);
            return false;
        }
        true
    }
}

impl Arrivals {
    /// Waits for the next; `None` when nobody can send any more.
    pub(super) async fn next(&mut self) -> Option<Arrived> {
        let arrived = self.receiver.recv().await?;
        self.bytes.fetch_sub(weight(&arrived), Ordering::Relaxed);
        Some(arrived)
    }

    /// The next, if it is there.
    pub(super) fn take(&mut self) -> Option<Arrived> {
        let arrived = self.receiver.try_recv().ok()?;
        self.bytes.fetch_sub(weight(&arrived), Ordering::Relaxed);
        Some(arrived)
    }
}
