//! The end of the line: what an action gives up goes to the rule's error action; where there is none, it
//! becomes a dead letter; where there is no place for those, it is dropped and counted.

use std::sync::Arc;
use std::time::Duration;

use contract::{DeliveryError, Message};

use super::counts::{Reason, add};
use super::fanout::Hold;
use super::item::Item;
use super::lane::{LOOK_EVERY, Lane};
use crate::dead::{DeadLetter, DeadLetters};
use rule::envelope::Failure;

/// Items that wait for an envelope at the same time; from half of it on an action that gives up does
/// not wait for the others of its rule.
const HELD_MAX: usize = 1024;

/// The pause between two tries to write dead letters.
const BURY_AGAIN: Duration = Duration::from_secs(1);

/// An item that the action has given up and that no error action takes.
pub(super) struct GivenUp {
    item: Item,
    pub(super) reason: Reason,
    pub(super) error: DeliveryError,
    calls: u32,
}

impl Lane {
    /// Hands a record over to the error action; comes back with it when there is none.
    pub(super) fn give_up(
        self: &Arc<Self>,
        item: Item,
        reason: Reason,
        error: &DeliveryError,
        calls: u32,
    ) -> Option<GivenUp> {
        let failures = &self.troubled().failures;
        add(&failures.failed, 1);
        if let Some(receipt) = &item.receipt {
            receipt.failed(reason, error);
            return None;
        }
        let Some(fanout) = &item.fanout else {
            return Some(GivenUp { item, reason, error: error.clone(), calls });
        };
        let mut held = 0;
        let hold = item.position.map(|_| {
            held = self.lock().hold(item.number, Arc::downgrade(fanout));
            Hold::new(Arc::clone(self), item.number)
        });
        fanout.fail(Failure::new(self.action(), &*self.parts.sink, error), hold);
        if held > HELD_MAX / 2 {
            fanout.flush();
        }
        None
    }

    /// The end of the line: what no error action takes becomes dead letters, durably. Where there is no
    /// place for them, and for what the log did not have, it is dropped and counted.
    pub(super) async fn bury(&self, last: Vec<GivenUp>) {
        if last.is_empty() {
            return self.wait_for_envelopes().await;
        }
        let dead = self.log.get().and_then(|log| log.storage.dead.clone());
        let Some(dead) = dead else {
            last.iter().for_each(|one| self.drop_for_good(one.reason, &one.error));
            return;
        };
        let version: Arc<str> = self.version().into();
        let letters: Vec<DeadLetter> = last.iter().map(|one| self.letter(one, &version)).collect();
        self.keep(&dead, &letters).await;
        let failures = &self.troubled().failures;
        last.iter().for_each(|one| failures.buried(one.reason));
        self.wait_for_envelopes().await;
    }

    /// Writes dead letters; comes back when they are on disk.
    async fn keep(&self, dead: &DeadLetters, letters: &[DeadLetter]) {
        let mut told = false;
        while let Err(error) = dead.keep(letters.to_vec()).await {
            if !told {
                let (rule, action) = (&*self.parts.rule.name, &**self.name());
                tracing::error!(
                    rule,
                    action,
                    "cannot write dead letters, the action waits: {error}"
                );
            }
            told = true;
            if self.is_stopped() {
                return std::future::pending().await;
            }
            tokio::time::sleep(BURY_AGAIN).await;
        }
    }

    fn letter(&self, one: &GivenUp, version: &Arc<str>) -> DeadLetter {
        let record = &one.item.record;
        DeadLetter {
            rule: self.parts.rule.name.as_str().into(),
            version: Arc::clone(version),
            action: Arc::clone(self.name()),
            reason: one.reason.as_str(),
            error: one.error.message.clone(),
            attempts: one.calls,
            nth: record.nth(),
            message: record.message().clone(),
            record: Some(record.bytes().clone()),
        }
    }

    /// Makes dead letters of messages that the daemon has ended over too often: without a record, which
    /// only evaluating them would give.
    pub(super) async fn bury_stalled(&self, messages: Vec<(Message, u32)>) {
        if messages.is_empty() {
            return;
        }
        let (count, version): (_, Arc<str>) = (messages.len(), self.version().into());
        let (rule, action) = (&*self.parts.rule.name, &**self.name());
        let reason = Reason::Stalled;
        let letter = |(message, attempts): (Message, u32)| {
            let error = format!(
                "the daemon ended {attempts} times while this message was being evaluated; a replay evaluates it again"
            );
            tracing::error!(
                rule,
                action,
                topic = message.topic.as_str(),
                "gave a message up: {error}"
            );
            DeadLetter {
                rule: rule.into(),
                version: Arc::clone(&version),
                action: Arc::clone(self.name()),
                reason: reason.as_str(),
                error,
                attempts,
                nth: 0,
                message,
                record: None,
            }
        };
        let letters: Vec<DeadLetter> = messages.into_iter().map(letter).collect();
        let failures = &self.troubled().failures;
        add(&self.counts.received, count);
        add(&failures.failed, count);
        match self.log.get().and_then(|log| log.storage.dead.clone()) {
            Some(dead) => {
                self.keep(&dead, &letters).await;
                letters.iter().for_each(|_| failures.buried(reason));
            }
            None => letters.iter().for_each(|_| failures.dropped(reason)),
        }
    }

    /// Nobody takes the record.
    pub(super) fn drop_for_good(&self, reason: Reason, error: &DeliveryError) {
        self.troubled().failures.dropped(reason);
        tracing::debug!(
            rule = &*self.parts.rule.name,
            action = &**self.name(),
            reason = reason.as_str(),
            "dropped a record: {error}"
        );
    }

    /// Waits until few items wait for an envelope: what waits is bounded.
    async fn wait_for_envelopes(&self) {
        while self.trouble.get().is_some() && self.lock().held() >= HELD_MAX && !self.is_stopped() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
