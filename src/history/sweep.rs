//! Retention: what is older than may be kept is deleted, a step at a time between the batches.
//!
//! A pass goes over all series. When the file is too large after one, the next deletes a little more.

use super::Settings;
use super::database::{Database, Swept};
use rule::store::StoreError;

/// Passes within the time that values are kept.
const PASSES: u64 = 200;

/// The shortest and the longest time between two passes, in milliseconds.
const EVERY_MS: (u64, u64) = (1_000, 10 * 60 * 1_000);

/// A pass that is to make room deletes one part in so many of the time that is kept.
const PARTS: u64 = 50;

/// Where retention is.
#[derive(Debug)]
pub(super) struct Sweep {
    settings: Settings,
    /// The series that the pass has come to; `None` between two.
    at: Option<i64>,
    /// When the next pass begins.
    due_ms: u64,
    /// Older values are deleted to make room.
    floor_ms: u64,
}

/// What a step did.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub gone: Vec<i64>,
    /// Bytes that the values take, after a pass.
    pub bytes: Option<u64>,
}

impl Sweep {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, at: None, due_ms: 0, floor_ms: 0 }
    }

    /// The time from which on values are kept.
    pub(super) fn oldest_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.settings.keep_ms()).max(self.floor_ms)
    }

    /// True when a pass is under way, or should be.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.at.is_some() || now_ms >= self.due_ms
    }

    /// Does the next step when it is time for one.
    pub(super) async fn step(
        &mut self,
        database: &Database,
        now_ms: u64,
    ) -> Result<Option<Step>, StoreError> {
        if !self.is_due(now_ms) {
            return Ok(None);
        }
        let after = self.at.unwrap_or(0);
        let Swept { next, gone } = database.sweep(after, self.oldest_ms(now_ms)).await?;
        self.at = next;
        let mut step = Step { gone, bytes: None };
        if next.is_none() {
            let bytes = database.bytes().await?;
            step.bytes = Some(bytes);
            self.pass_over(bytes, database.is_file(), now_ms);
        }
        Ok(Some(step))
    }

    /// Tries again later.
    pub(super) fn put_off(&mut self, now_ms: u64) {
        self.at = None;
        self.due_ms = now_ms + EVERY_MS.0;
    }

    fn pass_over(&mut self, bytes: u64, in_file: bool, now_ms: u64) {
        let every = (self.settings.keep_ms() / PASSES).clamp(EVERY_MS.0, EVERY_MS.1);
        let too_large = self.settings.max_bytes.is_some_and(|most| bytes > most) && in_file;
        self.due_ms = now_ms + if too_large { 0 } else { every };
        if too_large {
            let oldest_ms = self.oldest_ms(now_ms);
            self.floor_ms = oldest_ms + ((now_ms - oldest_ms) / PARTS).max(1);
        }
    }
}
