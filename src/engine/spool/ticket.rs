//! Promises of the writer that can be waited for.
//!
//! They are made of the callbacks that [`super::Spool`] takes; nothing else waits here.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::cursor::Cursor;
use super::queue::Opened;
use super::refused::Refused;
use super::shared::Shared;

/// A promise of the writer. Dropping it does not take the messages back.
#[derive(Debug)]
#[must_use = "messages are durable only when their ticket says so"]
pub struct Ticket<T>(oneshot::Receiver<Result<T, Refused>>);

impl<T: Send + 'static> Ticket<T> {
    /// A callback, and the ticket that resolves when it is called.
    pub(super) fn new() -> (impl FnOnce(Result<T, Refused>) + Send + 'static, Self) {
        let (reply, ticket) = oneshot::channel();
        // Who dropped the ticket does not want to know.
        (move |result| drop(reply.send(result)), Self(ticket))
    }

    /// Waits until it is done and durable.
    ///
    /// # Errors
    /// [`Refused::Failed`] when writing failed, [`Refused::Closed`] when the spool ended before.
    pub async fn done(self) -> Result<T, Refused> {
        self.0.await.unwrap_or(Err(Refused::Closed))
    }

    /// Waits on a thread that runs no asynchronous task.
    ///
    /// # Errors
    /// Those of [`Ticket::done`].
    pub fn wait(self) -> Result<T, Refused> {
        self.0.blocking_recv().unwrap_or(Err(Refused::Closed))
    }
}

/// Cursors that are being opened.
#[must_use = "cursors are durable only when their ticket says so"]
pub struct Cursors {
    pub(super) shared: Arc<Shared>,
    pub(super) ticket: Ticket<Opened>,
}

impl Cursors {
    /// Waits until they are durable; in the order of the names.
    ///
    /// # Errors
    /// Those of [`Ticket::done`].
    pub async fn done(self) -> Result<Vec<Cursor>, Refused> {
        let (places, _) = self.ticket.done().await?;
        Ok(Cursor::all(&self.shared, places))
    }

    /// Waits on a thread that runs no asynchronous task.
    ///
    /// # Errors
    /// Those of [`Ticket::done`].
    pub fn wait(self) -> Result<Vec<Cursor>, Refused> {
        let (places, _) = self.ticket.wait()?;
        Ok(Cursor::all(&self.shared, places))
    }
}
