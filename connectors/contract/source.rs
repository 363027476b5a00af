//! Sources: what brings messages in from other systems.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use tokio::sync::watch;

use super::{AckWait, ConfigError, Ingress, Nacked};

/// Batches that the engine may hold of a source before more is read.
const IN_FLIGHT_MAX: usize = 16;

/// Pauses between connections: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Brings messages from one system until it is told to stop.
#[async_trait::async_trait]
pub trait Source: Send + 'static {
    /// Reads messages, hands them to `ingress`, acknowledges them to their system only after the
    /// engine has accepted them, in order. Reconnects by itself with a growing, bounded pause and
    /// logs that once per outage. Returns soon after `shutdown`.
    ///
    /// # Errors
    /// Only what no reconnect can heal.
    async fn run(
        self: Box<Self>,
        ingress: Arc<dyn Ingress>,
        shutdown: Shutdown,
    ) -> Result<(), SourceError>;
}

/// Why a source stopped for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// Batches that the engine holds, in order, each with what acknowledges it to the system that it is from.
pub struct InFlight<T>(FuturesOrdered<BoxFuture<'static, (Result<(), Nacked>, T)>>);

impl<T> Default for InFlight<T> {
    fn default() -> Self {
        Self(FuturesOrdered::new())
    }
}

impl<T: Send + 'static> InFlight<T> {
    /// A batch on its way to the engine.
    pub fn push(&mut self, wait: AckWait, acks: T) {
        self.0.push_back(wait.wait().map(move |accepted| (accepted, acks)).boxed());
    }

    /// Messages that no rule is to see: acknowledged, too, but not before those that came before them.
    pub fn push_skipped(&mut self, acks: T) {
        self.0.push_back(ready((Ok(()), acks)).boxed());
    }

    /// True while no more may be read.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.len() >= IN_FLIGHT_MAX
    }

    /// True when the engine holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the batch that is the next in order was accepted, when that is known; `None` when there
    /// is none. Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Option<(Result<(), Nacked>, T)> {
        self.0.next().await
    }
}

/// The pauses of a source between two connections: growing and bounded.
#[derive(Debug)]
pub struct Reconnect {
    pause: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self { pause: PAUSE_MIN }
    }
}

impl Reconnect {
    /// Notes that a connection failed, and whether it had worked before. True when an outage begins
    /// with it, which is worth a line in the log.
    pub fn failed(&mut self, worked: bool) -> bool {
        if worked {
            self.pause = PAUSE_MIN;
        }
        self.pause == PAUSE_MIN
    }

    /// Waits until it is time for the next connection, or until the signal.
    pub async fn pause(&mut self, shutdown: &mut Shutdown) {
        tokio::select! {
            () = shutdown.wait() => {}
            () = tokio::time::sleep(self.pause) => self.pause = (self.pause * 2).min(PAUSE_MAX),
        }
    }
}

/// The product key and the device name that the settings of a source give to all of its messages.
///
/// # Errors
/// When there is one without the other.
pub fn device_pair<T>(
    product_key: Option<T>,
    device_name: Option<T>,
) -> Result<Option<(T, T)>, ConfigError> {
    match (product_key, device_name) {
        (Some(product_key), Some(device_name)) => Ok(Some((product_key, device_name))),
        (None, None) => Ok(None),
        _ => {
            let text = "`product_key` and `device_name` go together: write both or none";
            Err(ConfigError::new("product_key", text))
        }
    }
}

/// Tells a task to stop. Clones watch the same signal.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// Gives the signal that [`Shutdown`] waits for.
#[derive(Debug)]
pub struct ShutdownHandle(watch::Sender<bool>);

/// A signal and the end that waits for it.
#[must_use]
pub fn shutdown() -> (ShutdownHandle, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (ShutdownHandle(sender), Shutdown(receiver))
}

impl ShutdownHandle {
    /// Tells all who wait to stop. Dropping the handle does the same.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Another end that waits for the signal.
    #[must_use]
    pub fn subscribe(&self) -> Shutdown {
        Shutdown(self.0.subscribe())
    }
}

impl Shutdown {
    /// Waits for the signal; returns at once when it was given before.
    pub async fn wait(&mut self) {
        // An error means that the handle is gone, which counts as the signal.
        drop(self.0.wait_for(|stop| *stop).await);
    }

    /// True when the signal was given.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ack;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_a_bound_and_begin_anew_after_a_connection_that_worked() {
        let (_handle, mut stopped) = shutdown();
        let mut reconnect = Reconnect::default();
        let mut seen = Vec::new();
        for worked in [false, false, false, false, false, false, false, false, false, true] {
            let news = reconnect.failed(worked);
            let start = tokio::time::Instant::now();
            reconnect.pause(&mut stopped).await;
            seen.push((news, start.elapsed().as_millis()));
        }
        let pauses = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 500];
        let wanted = pauses.map(|pause| (pause == 500, pause));
        assert_eq!(seen, wanted, "an outage is told once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_a_pause() {
        let (handle, mut stopped) = shutdown();
        handle.stop();
        let start = tokio::time::Instant::now();
        Reconnect::default().pause(&mut stopped).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn batches_are_settled_in_order() {
        let mut held = InFlight::default();
        let (first, wait) = Ack::pair();
        held.push(wait, 1);
        held.push_skipped(2);
        let (third, wait) = Ack::pair();
        held.push(wait, 3);
        drop(third);
        assert!(held.next().now_or_never().is_none(), "the first is not decided yet");
        first.accept();
        assert_eq!(held.next().await, Some((Ok(()), 1)));
        assert_eq!(held.next().await, Some((Ok(()), 2)));
        assert_eq!(held.next().await, Some((Err(Nacked), 3)));
        assert!(held.is_empty() && held.next().await.is_none());
        (0..IN_FLIGHT_MAX).for_each(|n| {
            assert!(!held.is_full());
            held.push_skipped(n);
        });
        assert!(held.is_full());
    }
}
