//! The log as a history reads it: one more reader, at its own pace.
//!
//! The engine stands behind it, which nothing here knows.

use std::sync::Arc;

use contract::Message;

/// The position behind the last message.
pub type End = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Puts a message into the log that only this reader gets; false when that is not possible at present.
pub type WayIn = Arc<dyn Fn(&Message) -> bool + Send + Sync>;

/// A message of the log.
#[derive(Debug, Clone)]
pub struct Logged {
    /// As it came.
    pub message: Message,
    /// It came by the reader's own [`WayIn`].
    pub own: bool,
}

/// What a look into the log has found.
#[derive(Debug, Clone, Default)]
pub struct Looked {
    /// What was wanted.
    pub messages: Vec<Logged>,
    /// Messages that are not there any more, or are damaged.
    pub lost: u64,
}

/// A reader of the log with a position of its own, to which the log is kept.
#[async_trait::async_trait]
pub trait Log: Send + Sync + 'static {
    /// What its positions are called by: with another log it has another name.
    fn name(&self) -> &str;

    /// The position of the next message.
    fn position(&self) -> u64;

    /// Goes to a position.
    fn seek(&mut self, position: u64);

    /// The position behind the last message.
    fn end(&self) -> End;

    /// The way into it.
    fn way_in(&self) -> WayIn;

    /// Reads some of the next messages whose topics are wanted. Reads files: some milliseconds. Nothing
    /// and no step forward when that fails.
    fn read(&mut self, wanted: fn(&str) -> bool) -> Looked;

    /// Waits for a message.
    async fn ready(&self);

    /// Says that everything before a position may be deleted.
    fn commit(&self, position: u64);

    /// True when the log is filling up because of this reader alone.
    fn is_pressed(&self) -> bool;
}
