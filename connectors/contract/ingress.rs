//! The way in: sources hand batches to the engine and learn when they may acknowledge them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::Message;

/// Where sources put messages. The engine implements it; a source never knows what stands behind it.
#[async_trait::async_trait]
pub trait Ingress: Send + Sync + 'static {
    /// Offers a batch without waiting. All messages of a batch are taken, or none.
    ///
    /// # Errors
    /// The batch itself, when the engine's queue is full: stop reading the connection that it came
    /// from, wait for [`Ingress::ready`], offer it again.
    fn try_submit(&self, batch: Batch) -> Result<(), Batch>;

    /// Waits until it is worth offering a batch again.
    async fn ready(&self);

    /// Offers a batch and waits for room.
    async fn submit(&self, mut batch: Batch) {
        while let Err(back) = self.try_submit(batch) {
            batch = back;
            self.ready().await;
        }
    }
}

/// Messages in the order in which they were received, and the one obligation that they share.
#[derive(Debug)]
pub struct Batch {
    /// At least one message.
    pub messages: Vec<Message>,
    /// Resolved when all messages have been accepted.
    pub ack: Ack,
    /// What the source has promised to those who send to it.
    pub promise: Promise,
}

impl Batch {
    /// A batch that nobody waits for.
    #[must_use]
    pub fn unacknowledged(messages: Vec<Message>) -> Self {
        Self { messages, ack: Ack::none(), promise: Promise::default() }
    }

    /// A batch, and the end at which its source waits until it is accepted.
    #[must_use]
    pub fn awaited(messages: Vec<Message>) -> (Self, AckWait) {
        let (ack, wait) = Ack::pair();
        (Self { messages, ack, promise: Promise::default() }, wait)
    }

    /// The same batch under another promise.
    #[must_use]
    pub fn under(mut self, promise: Promise) -> Self {
        self.promise = promise;
        self
    }
}

/// What a source promises about the messages that it brings in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Promise {
    /// Messages of QoS 0 are written to the log, too. Those of QoS 1 and 2 always are.
    pub durable: bool,
    /// When a batch counts as accepted.
    pub ack: AckWhen,
    /// The daemon's own rules made the messages: they are let through when the log is full, because
    /// what would make room may be waiting for them.
    pub internal: bool,
}

/// When a batch counts as accepted.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Hash,
    serde::Deserialize,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum AckWhen {
    /// When it is on disk.
    #[default]
    Durable,
    /// When it is in memory: a crash loses what was not yet on disk.
    Received,
}

/// The way in for one source: all of its batches carry its promise.
pub struct Promised {
    inner: Arc<dyn Ingress>,
    promise: Promise,
}

impl Promised {
    /// That ingress for a source that promises this.
    #[must_use]
    pub fn new(inner: Arc<dyn Ingress>, promise: Promise) -> Self {
        Self { inner, promise }
    }
}

#[async_trait::async_trait]
impl Ingress for Promised {
    fn try_submit(&self, batch: Batch) -> Result<(), Batch> {
        self.inner.try_submit(batch.under(self.promise))
    }

    async fn ready(&self) {
        self.inner.ready().await;
    }
}

/// The engine's side of an obligation. Dropping it without [`Ack::accept`] is a refusal: the source
/// must not acknowledge, so that the sender sends again.
#[derive(Debug)]
#[must_use = "an Ack that is dropped refuses the batch"]
pub struct Ack(Holder);

/// Who has an obligation.
#[derive(Debug)]
enum Holder {
    Nobody,
    One(oneshot::Sender<()>),
    /// The last of several who accepts tells; the first who refuses does.
    Several(Arc<Several>),
}

#[derive(Debug)]
struct Several {
    left: AtomicUsize,
    sender: Mutex<Option<oneshot::Sender<()>>>,
}

impl Several {
    fn take(&self) -> Option<oneshot::Sender<()>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Ack {
    /// An obligation and the end at which a source waits for it.
    pub fn pair() -> (Self, AckWait) {
        let (sender, receiver) = oneshot::channel();
        (Self(Holder::One(sender)), AckWait(receiver))
    }

    /// No obligation (QoS 0).
    pub fn none() -> Self {
        Self(Holder::Nobody)
    }

    /// True when somebody waits for it.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        !matches!(self.0, Holder::Nobody)
    }

    /// A share for somebody else: it is kept once both have accepted, and refused when one refuses.
    pub fn share(&mut self) -> Self {
        match std::mem::replace(&mut self.0, Holder::Nobody) {
            Holder::Nobody => return Self::none(),
            Holder::One(sender) => {
                let sender = Mutex::new(Some(sender));
                self.0 = Holder::Several(Arc::new(Several { left: 1.into(), sender }));
            }
            several @ Holder::Several(_) => self.0 = several,
        }
        let Holder::Several(several) = &self.0 else { return Self::none() };
        several.left.fetch_add(1, Ordering::Relaxed);
        Self(Holder::Several(Arc::clone(several)))
    }

    /// Says that the engine has taken responsibility for the whole batch.
    pub fn accept(mut self) {
        let sender = match std::mem::replace(&mut self.0, Holder::Nobody) {
            Holder::Nobody => None,
            Holder::One(sender) => Some(sender),
            Holder::Several(several) => {
                let last = several.left.fetch_sub(1, Ordering::AcqRel) == 1;
                if last { several.take() } else { None }
            }
        };
        if let Some(sender) = sender {
            // A receiver that is gone belongs to a connection that is gone: nobody to tell.
            sender.send(()).ok();
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if let Holder::Several(several) = &self.0 {
            // A sender that is dropped is a refusal.
            drop(several.take());
        }
    }
}

/// The source's side of an obligation.
#[derive(Debug)]
pub struct AckWait(oneshot::Receiver<()>);

/// The engine refused a batch; it must not be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine did not accept the messages")]
pub struct Nacked;

impl AckWait {
    /// Waits for the engine's decision.
    ///
    /// # Errors
    /// [`Nacked`] when the obligation was dropped.
    pub async fn wait(self) -> Result<(), Nacked> {
        self.0.await.map_err(|_| Nacked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Topic, TopicLimits};

    /// Takes a batch only at the second offer.
    #[derive(Default)]
    struct Reluctant {
        refused: Mutex<bool>,
        seen: Mutex<Vec<Promise>>,
    }

    #[async_trait::async_trait]
    impl Ingress for Reluctant {
        fn try_submit(&self, batch: Batch) -> Result<(), Batch> {
            if !std::mem::replace(&mut *self.refused.lock().expect("lock"), true) {
                return Err(batch);
            }
            self.seen.lock().expect("lock").push(batch.promise);
            batch.ack.accept();
            Ok(())
        }

        async fn ready(&self) {}
    }

    #[tokio::test]
    async fn an_obligation_of_several_is_kept_by_all_or_refused_by_one() {
        for refuses in [None, Some(0), Some(1), Some(2)] {
            let (mut ack, wait) = Ack::pair();
            let shares = [ack.share(), ack.share(), ack];
            for (n, share) in shares.into_iter().enumerate() {
                if Some(n) != refuses {
                    share.accept();
                }
            }
            assert_eq!(wait.wait().await.is_ok(), refuses.is_none(), "{refuses:?}");
        }
        Ack::none().share().accept();
    }

    #[tokio::test]
    async fn batches_carry_the_promise_of_their_source() {
        let inner = Arc::new(Reluctant::default());
        let promise = Promise { durable: true, ack: AckWhen::Received, internal: false };
        let topic = Topic::parse("/a", TopicLimits::default()).expect("topic");
        let (batch, accepted) = Batch::awaited(vec![Message::new(topic, "", 0)]);
        Promised::new(inner.clone(), promise).submit(batch).await;
        assert_eq!(accepted.wait().await, Ok(()));
        assert_eq!(*inner.seen.lock().expect("lock"), [promise]);
    }
}
