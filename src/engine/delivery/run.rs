//! The task of a lane: takes what waits, calls the sink, and sees to what came of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use contract::{DeliveryError, Outcome, Record};
use tokio::time::Instant;

use super::counts::{Reason, add};
use super::course::{Line, Next, Told};
use super::give_up::GivenUp;
use super::item::Item;
use super::lane::Lane;
use super::{attempt, backlog};

/// An item with the tries that it has used up.
struct Pending {
    item: Item,
    tries: usize,
    calls: u32,
}

/// How long a lane waits before its next call.
#[derive(Debug, Clone, Copy)]
struct Pause {
    length: Duration,
    /// A reload ends it.
    resumable: bool,
}

impl Lane {
    /// Delivers until nothing waits.
    pub(super) async fn drain(self: Arc<Self>) {
        self.wait_for_earlier().await;
        let mut reading = None;
        loop {
            if self.is_stopped() {
                // It stays marked as running, so that no other task starts.
                return;
            }
            self.linger().await;
            let taken = {
                let mut queue = self.lock();
                let taken = queue.take(self.batch_max(), self.action().batch.bytes);
                if taken.is_empty() && queue.is_idle() {
                    queue.running = false;
                    return;
                }
                taken
            };
            if taken.is_empty() {
                backlog::read_on(&self, &mut reading).await;
            } else {
                self.deliver(taken).await;
                self.stir();
            }
        }
    }

    /// Waits for more records, as long as the action says, when those that wait do not fill a delivery.
    async fn linger(&self) {
        let batch = self.action().batch;
        if batch.linger.is_zero() {
            return;
        }
        let until = Instant::now() + batch.linger;
        let step = (batch.linger / 10).max(Duration::from_millis(1));
        let more = || self.lock().has_room(self.batch_max(), batch.bytes) && !self.is_stopped();
        while Instant::now() < until && more() {
            tokio::time::sleep_until(until.min(Instant::now() + step)).await;
        }
    }

    /// True when no further call may be made.
    pub(super) fn is_stopped(&self) -> bool {
        self.halted.load(Ordering::Acquire)
            || self.log.get().is_some_and(|log| log.storage.is_ending())
    }

    /// Delivers some records; comes back when each is delivered or given up, or no call may be made.
    async fn deliver(self: &Arc<Self>, taken: Vec<Item>) {
        let mut pending: VecDeque<Pending> =
            taken.into_iter().map(|item| Pending { item, tries: 0, calls: 0 }).collect();
        while !pending.is_empty() && !self.is_stopped() {
            let most = self.batch_max();
            let window = self.trouble.get().map_or(most, |t| t.window.load(Ordering::Relaxed));
            let count = pending.len().min(window).min(most);
            let records: Vec<Record> =
                pending.iter().take(count).map(|p| p.item.record.bound_for(self.name())).collect();
            if let Some(trouble) = self.trouble.get() {
                trouble.course().call();
            }
            let sink = &*self.parts.sink;
            let tried = attempt::attempt(sink, &records, self.action().deadline).await;
            if tried.late || window < most {
                let next = if tried.late { (count / 2).max(1) } else { count.saturating_mul(2) };
                self.troubled().window.store(next, Ordering::Relaxed);
            }
            let mut last = Vec::new();
            let before = pending.len();
            let pause = self.settle(&mut pending, tried.outcomes, &mut last);
            self.bury(last).await;
            self.settled(before - pending.len(), pending.front().map(|next| next.item.number));
            if let Some(pause) = pause {
                self.wait(pause).await;
            }
        }
    }

    /// Those items are done with, and all before the number.
    fn settled(&self, count: usize, first_open: Option<u64>) {
        let mut queue = self.lock();
        queue.in_flight -= count;
        queue.settle(first_open);
    }

    /// Counts what came of a call, gives up what has to be, and says how long the rest waits.
    fn settle(
        self: &Arc<Self>,
        pending: &mut VecDeque<Pending>,
        outcomes: Vec<Outcome>,
        last: &mut Vec<GivenUp>,
    ) -> Option<Pause> {
        let mut kept: Vec<(Pending, DeliveryError)> = Vec::new();
        let mut told = Told::default();
        for outcome in outcomes {
            if outcome != Outcome::Ok {
                self.troubled().failures.tried(outcome.class());
            }
            told.note(&outcome);
            let Some(mut next) = pending.pop_front() else { break };
            next.calls += 1;
            match outcome {
                Outcome::Ok => {
                    add(&self.counts.delivered, 1);
                    if let Some(receipt) = next.item.receipt {
                        receipt.delivered();
                    }
                }
                Outcome::Poison(error) => {
                    last.extend(self.give_up(next.item, Reason::Poison, &error, next.calls));
                }
                Outcome::Retry(error) | Outcome::Misconfigured(error) => kept.push((next, error)),
            }
        }
        let trouble = self.trouble.get()?;
        let (next, line) = trouble.course().after(&told, Instant::now());
        self.say(line);
        let mut again = Vec::new();
        let mut expired = None;
        for (mut record, error) in kept {
            if next == Next::Retry {
                record.tries += 1;
            }
            match self.end_of(&record) {
                Some(reason) => {
                    if reason == Reason::Expired {
                        expired = Some(error.clone());
                    }
                    last.extend(self.give_up(record.item, reason, &error, record.calls));
                }
                None => again.push(record),
            }
        }
        if let Some(error) = expired {
            self.expire(&error, last);
        }
        add(&trouble.failures.retried, again.len());
        let tries = again.first().map(|record| record.tries);
        for record in again.into_iter().rev() {
            pending.push_front(record);
        }
        let mut course = trouble.course();
        let held = told.failed() && course.holds();
        if tries.is_none() && !held {
            return None;
        }
        let length = course.pause(next, tries.unwrap_or_default(), self.retry(), &told);
        drop(course);
        let most = pending.front().map_or(Duration::MAX, |first| {
            self.retry().max_age.saturating_sub(first.item.since.elapsed())
        });
        Some(Pause { length: length.min(most), resumable: held })
    }

    /// Gives up what has waited too long in the queue as well: those are the next in line, and each
    /// would cost a call of its own.
    fn expire(self: &Arc<Self>, error: &DeliveryError, last: &mut Vec<GivenUp>) {
        let max_age = self.retry().max_age;
        let old = self.lock().take_while(|item| item.since.elapsed() >= max_age);
        for item in old {
            last.extend(self.give_up(item, Reason::Expired, error, 0));
        }
    }

    /// Whether a record that failed is given up, and why.
    fn end_of(&self, record: &Pending) -> Option<Reason> {
        let retry = self.retry();
        if record.tries > retry.delays.len() && self.ends_with_schedule() {
            return Some(Reason::Exhausted);
        }
        (record.item.since.elapsed() >= retry.max_age).then_some(Reason::Expired)
    }

    async fn wait(&self, pause: Pause) {
        let ended = match self.log.get() {
            Some(log) => log.storage.ended(),
            None => return self.pause(pause).await,
        };
        tokio::select! {
            () = self.pause(pause) => {}
            () = ended => {}
        }
    }

    async fn pause(&self, pause: Pause) {
        if pause.resumable {
            // Either end of the wait is the same to what comes next.
            tokio::time::timeout(pause.length, self.troubled().resumed.notified()).await.ok();
        } else {
            tokio::time::sleep(pause.length).await;
        }
    }

    /// Says what has changed with the action.
    fn say(&self, line: Option<Line>) {
        let (rule, action) = (&*self.parts.rule.name, &**self.name());
        match line {
            None => {}
            Some(Line::Works) => tracing::info!(rule, action, "delivers again"),
            Some(Line::Fails(error)) => {
                tracing::warn!(rule, action, kind = error.kind.as_str(), "cannot deliver: {error}");
            }
            Some(Line::Paused(error)) => tracing::error!(
                rule,
                action,
                kind = error.kind.as_str(),
                "paused until the configuration is mended, here or at the destination: {error}"
            ),
        }
    }
}
