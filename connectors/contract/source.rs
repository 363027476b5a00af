//! Sources: what brings messages in from other systems.

use std::sync::Arc;

use tokio::sync::watch;

use super::Ingress;

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
