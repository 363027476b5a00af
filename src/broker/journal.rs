//! What has changed since it was last written: sessions that are kept, their messages, retained messages;
//! and the task that writes it, in groups.
//!
//! Changes are found by comparing when it is time to write, so that what comes and goes in between is never
//! written, and a store that is slow or fails costs no memory.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytestring::ByteString;
use connectors::contract::Shutdown;
use tokio::sync::Notify;

use super::core::Core;
use super::counters::{Counters, add};
use super::outbox::Difference;
use super::retained::Retention;
use super::session::{Session, Subscribed};
use super::store::Store;

/// How long changes are gathered before they are written.
const WRITE_EVERY: Duration = Duration::from_millis(200);

/// How long a store that has failed is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often the last changes are tried when the broker stops.
const LAST_TRIES: usize = 3;

/// What is to be written, and where.
#[derive(Debug)]
pub(super) struct Journal {
    store: Store,
    changed: Mutex<Changed>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Changed {
    /// Each at most once.
    sessions: Vec<Weak<Session>>,
    /// Sessions that the store has, and that are over.
    ended: Vec<u64>,
    retained: bool,
}

/// A session without its messages.
#[derive(Debug)]
pub(super) struct SessionRow {
    pub number: u64,
    pub client_id: ByteString,
    pub expiry_s: u32,
    /// When the client left, in milliseconds since 1970; `None` while it is there.
    pub left_ms: Option<u64>,
    /// Packet identifiers of QoS 2 messages that the engine has accepted and the client not released.
    pub received: Vec<u16>,
    /// Those of messages that subscribers have and the engine has refused.
    pub routed: Vec<u16>,
    /// With the text of their filters.
    pub subscriptions: Vec<(ByteString, Subscribed)>,
}

/// Something to write.
#[derive(Debug)]
pub(super) enum Change {
    End(u64),
    Session(SessionRow),
    /// A message of the session of that number.
    Message(u64, Difference),
    Retained(Retention),
}

impl Journal {
    pub(super) fn new(store: Store) -> Self {
        Self { store, changed: Mutex::default(), wake: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session has changed that is not listed.
    pub(super) fn note_session(&self, session: Weak<Session>, counters: &Counters) {
        self.lock().sessions.push(session);
        add(&counters.unsaved, 1);
        self.wake.notify_one();
    }

    /// A session is over that the store has.
    pub(super) fn note_end(&self, number: u64, counters: &Counters) {
        self.lock().ended.push(number);
        add(&counters.unsaved, 1);
        self.wake.notify_one();
    }

    /// A retained message has changed.
    pub(super) fn note_retained(&self, counters: &Counters) {
        if !std::mem::replace(&mut self.lock().retained, true) {
            add(&counters.unsaved, 1);
        }
        self.wake.notify_one();
    }
}

impl Changed {
    fn count(&self) -> usize {
        self.sessions.len() + self.ended.len() + usize::from(self.retained)
    }
}

impl Core {
    /// Writes what changes until told to stop, and then once more. What cannot be written is tried again.
    pub(super) async fn write_behind(self: Arc<Self>, mut stop: Shutdown) {
        let Some(journal) = &self.journal else { return };
        let mut last = false;
        while !last {
            tokio::select! {
                () = stop.wait() => last = true,
                () = journal.wake.notified() => tokio::select! {
                    () = stop.wait() => last = true,
                    () = tokio::time::sleep(WRITE_EVERY) => {}
                },
            }
            let changes = self.changes(journal);
            let mut failures = 0;
            while let Err(error) = journal.store.write(&changes).await {
                failures += 1;
                if failures == 1 {
                    let count = changes.len();
                    tracing::error!("cannot write {count} changes of MQTT sessions: {error}");
                }
                if last && failures >= LAST_TRIES {
                    tracing::error!("{} changes of MQTT sessions are lost", changes.len());
                    return;
                }
                tokio::select! {
                    () = stop.wait(), if !last => {
                        last = true;
                        failures = 0;
                    }
                    () = tokio::time::sleep(RETRY_AFTER) => {}
                }
            }
            if failures > 0 {
                tracing::info!("changes of MQTT sessions are written again");
            }
            let left = journal.lock().count();
            self.counters.unsaved.store(left as u64, Ordering::Relaxed);
        }
    }

    /// Writes what has changed since the broker has stopped, and closes the file.
    pub(super) async fn save(&self) {
        let Some(journal) = &self.journal else { return };
        let changes = self.changes(journal);
        for attempt in 1..=LAST_TRIES {
            match journal.store.write(&changes).await {
                Ok(()) => break,
                Err(error) if attempt == LAST_TRIES => {
                    let count = changes.len();
                    tracing::error!("{count} changes of MQTT sessions are lost: {error}");
                }
                Err(_) => tokio::time::sleep(RETRY_AFTER).await,
            }
        }
        journal.store.close().await;
    }

    /// What is to be written now. It is taken for written, so that the caller must not lose it.
    fn changes(&self, journal: &Journal) -> Vec<Change> {
        let changed = {
            let mut changed = journal.lock();
            self.counters.unsaved.store(changed.count() as u64, Ordering::Relaxed);
            std::mem::take(&mut *changed)
        };
        // The ends first: a client's new session takes the place of the old one.
        let mut changes: Vec<_> = changed.ended.into_iter().map(Change::End).collect();
        let mut differences = Vec::new();
        for session in changed.sessions.iter().filter_map(Weak::upgrade) {
            let mut state = session.lock();
            state.saved.listed = false;
            if state.ended {
                continue;
            }
            if state.saved.changed || !state.saved.exists {
                state.saved.changed = false;
                state.saved.exists = true;
                let subscriptions = state.subscriptions.iter();
                changes.push(Change::Session(SessionRow {
                    number: session.number,
                    client_id: session.client_id.clone(),
                    expiry_s: state.expiry_s,
                    left_ms: state.saved.left_ms,
                    received: state.received.accepted().to_vec(),
                    routed: state.received.routed().to_vec(),
                    subscriptions: subscriptions.map(|(f, s)| (f.clone(), s.clone())).collect(),
                }));
            }
            state.outbox.differences(&mut differences);
            drop(state);
            let of_session = |difference| Change::Message(session.number, difference);
            changes.extend(differences.drain(..).map(of_session));
        }
        if changed.retained {
            let mut retained = self.retained.write().unwrap_or_else(PoisonError::into_inner);
            changes.extend(retained.differences().into_iter().map(Change::Retained));
        }
        changes
    }
}
