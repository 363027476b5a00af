//! The end of the daemon: what stops in which order, and how long each part has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Daemon;

/// The time that is kept for the end of the shards and for what has to be written then; less when the
/// daemon may take less than four times as long.
const REST: Duration = Duration::from_secs(1);

/// The time that the disk has to take what has to be written at the end, however little is left.
const WRITE_AT_LEAST: Duration = Duration::from_secs(2);

/// How often a daemon that ends looks whether all is done.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What is left of the time that the end may take.
struct TimeLeft {
    start: Instant,
    all: Duration,
    rest: Duration,
}

impl TimeLeft {
    fn new(all: Duration) -> Self {
        Self { start: Instant::now(), all, rest: (all / 4).min(REST) }
    }

    fn of(&self, time: Duration) -> Duration {
        time.saturating_sub(self.start.elapsed())
    }

    /// For what ends in order: tasks and deliveries.
    fn orderly(&self) -> Duration {
        self.of(self.all.saturating_sub(self.rest))
    }

    /// For the shards.
    fn shards(&self) -> Duration {
        self.of(self.all.saturating_sub(self.rest / 2))
    }

    /// For what has to be written.
    fn disk(&self) -> Duration {
        WRITE_AT_LEAST.max(self.of(self.all))
    }
}

impl Daemon {
    /// Stops what brings messages in, lets the actions finish for a limited time, and ends. Whatever a
    /// shard or a destination does, it comes back within `limits.stop_seconds`, or as soon as the disk
    /// has what has to be written.
    pub async fn stop(mut self) {
        let time = TimeLeft::new(self.patience);
        self.stop.stop();
        self.end_tasks(&time).await;
        // What was accepted is evaluated and delivered, also what is republished on the way. What the
        // log has and whose destination does not work waits for the next start.
        self.settle(&time, Self::is_busy).await;
        self.stop_shards(&time).await;
        self.settle(&time, |daemon| daemon.rules.is_busy()).await;
        self.end_history(&time).await;
        // What rules have republished on the way waits for clients that are absent.
        self.save_sessions(&time).await;
        self.close_log(&time).await;
    }

    async fn end_tasks(&mut self, time: &TimeLeft) {
        for (name, task) in std::mem::take(&mut self.tasks) {
            if tokio::time::timeout(time.orderly(), task).await.is_err() {
                tracing::warn!("{name} did not stop in time");
            }
        }
    }

    /// Moves the cursors on as long as something is under way.
    async fn settle(&self, time: &TimeLeft, is_busy: impl Fn(&Self) -> bool) {
        while is_busy(self) && !time.orderly().is_zero() {
            self.rules.tend();
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn is_busy(&self) -> bool {
        self.engine.counts().queued > 0 || self.rules.is_busy()
    }

    /// Ends the shards, but for one that does not come to the end of a message: it ends with the process,
    /// and what it has not done is done after the next start.
    async fn stop_shards(&self, time: &TimeLeft) {
        let engine = Arc::clone(&self.engine);
        let stop = tokio::task::spawn_blocking(move || engine.stop());
        match tokio::time::timeout(time.shards(), stop).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the engine ended unexpectedly"),
            Err(_) => {
                tracing::error!("a message is still being evaluated; its shard is left behind")
            }
        }
    }

    /// Lets the history write what it has; what the log keeps for it waits for the next start.
    async fn end_history(&mut self, time: &TimeLeft) {
        let (stop, task) = &mut self.history;
        stop.stop();
        let Some(task) = task.take() else { return };
        let abort = task.abort_handle();
        if tokio::time::timeout(time.disk(), task).await.is_err() {
            abort.abort();
            tracing::warn!("the history of devices was not written to the end in time");
        }
    }

    async fn save_sessions(&self, time: &TimeLeft) {
        if tokio::time::timeout(time.disk(), self.broker.save()).await.is_err() {
            tracing::error!("the last changes of MQTT sessions were not written in time");
        }
    }

    /// Ends all deliveries, closes the log, and says what is left over.
    async fn close_log(&self, time: &TimeLeft) {
        let left_over = self.rules.queued();
        let Some(storage) = self.engine.storage().cloned() else {
            if left_over > 0 {
                tracing::warn!("{left_over} records were not delivered before the daemon ended");
            }
            return;
        };
        storage.end();
        self.rules.tend();
        let lost = self.rules.volatile();
        let close = tokio::task::spawn_blocking(move || storage.close());
        match tokio::time::timeout(time.disk(), close).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the log ended unexpectedly"),
            Err(_) => {
                tracing::error!("the log was not closed in time; some deliveries may be repeated")
            }
        }
        if left_over > lost {
            tracing::info!("{} records wait in the spool for the next start", left_over - lost);
        }
        if lost > 0 {
            tracing::warn!("{lost} records of QoS 0 were not delivered before the daemon ended");
        }
    }
}
