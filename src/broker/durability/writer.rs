//! Who writes the journal's groups, and when: at once when somebody waits, else after a while.
//!
//! One group is written at a time. Meanwhile the next one gathers, so that one write serves all who wait.

use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Mutex;

use super::restore::restore;
use super::rows::{Change, KeptError, SessionRow};
use super::store::Store;
use crate::counters::add;
use crate::sessions::{Difference, Group, Journal, Noted, Session, Sessions};
use rule::store::StoreError;

/// How long changes are gathered that nobody waits for.
const GATHER: Duration = Duration::from_millis(200);

/// How long a store that has failed is left alone.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// How long a group may take. Then those who wait are refused, as if it had failed, so that no
/// connection waits without end for a disk that hangs.
const SLOW: Duration = Duration::from_secs(10);

/// How often the last changes are tried when the broker stops.
const LAST_TRIES: usize = 3;

/// A group as it is written.
#[derive(Debug)]
struct Taken {
    group: Group,
    changes: Vec<Change>,
    /// Sessions that send something once it is on disk.
    held: Vec<Arc<Session>>,
}

/// The file, and the group that is on its way there.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    /// The group that was taken and is not on disk yet. Who has this writes.
    pen: Mutex<Option<Taken>>,
}

impl Writer {
    /// Opens the file, or makes it, and gives the sessions back what the last run has left there.
    pub async fn open(file: &Path, sessions: &Sessions) -> Result<Self, KeptError> {
        let store = Store::open(file).await?;
        restore(&store, sessions).await?;
        Ok(Self { store, pen: Mutex::default() })
    }

    /// Writes what changes until the journal is closed. What cannot be written is tried again.
    pub async fn write_behind(&self, sessions: &Sessions) {
        let Some(journal) = &sessions.shared.journal else { return };
        let mut closed = journal.closed();
        loop {
            tokio::select! {
                () = closed.wait() => return,
                () = journal.urgent.notified() => {}
                () = journal.noted.notified() => tokio::select! {
                    () = closed.wait() => return,
                    () = journal.urgent.notified() => {}
                    () = tokio::time::sleep(GATHER) => {}
                },
            }
            while self.commit(journal, sessions).await.is_err() {
                tokio::select! {
                    () = closed.wait() => return,
                    () = tokio::time::sleep(RETRY_AFTER) => {}
                }
            }
        }
    }

    /// Writes what has changed until now.
    pub async fn flush(&self, sessions: &Sessions) {
        let Some(journal) = &sessions.shared.journal else { return };
        for attempt in 1..=LAST_TRIES {
            match self.commit(journal, sessions).await {
                Ok(()) => return,
                Err(error) if attempt == LAST_TRIES => {
                    tracing::error!("changes of MQTT sessions are lost: {error}");
                }
                Err(_) => tokio::time::sleep(RETRY_AFTER).await,
            }
        }
    }

    /// Writes what has changed until now, and closes the file.
    pub async fn save(&self, sessions: &Sessions) {
        let Some(journal) = &sessions.shared.journal else { return };
        journal.close();
        self.flush(sessions).await;
        self.store.close().await;
    }

    /// Writes the group that was taken and not written, or else the one that is open.
    async fn commit(
        &self,
        journal: &Journal<Session>,
        sessions: &Sessions,
    ) -> Result<(), StoreError> {
        let counters = &sessions.shared.counters;
        let mut pen = self.pen.lock().await;
        let taken = match &mut *pen {
            Some(taken) => taken,
            none => none.insert(take(journal, sessions)),
        };
        let written = {
            let mut write = pin!(self.store.write(&taken.changes));
            tokio::select! {
                written = &mut write => written,
                () = tokio::time::sleep(SLOW) => {
                    tell_trouble(journal, format!("a write takes longer than {SLOW:?}"));
                    write.await
                }
            }
        };
        if let Err(error) = written {
            add(&counters.commit_errors, 1);
            tell_trouble(journal, error.to_string());
            return Err(error);
        }
        let Some(taken) = pen.take() else { return Ok(()) };
        add(&counters.commits, usize::from(!taken.changes.is_empty()));
        taken.held.iter().for_each(|session| session.stored());
        if journal.finish(taken.group, &counters.unsaved) {
            tracing::info!("MQTT sessions are written again");
        }
        Ok(())
    }
}

fn tell_trouble(journal: &Journal<Session>, trouble: String) {
    let text = trouble.clone();
    if journal.fail(trouble) {
        tracing::error!(
            "MQTT sessions cannot be written, and what is for them is not acknowledged: {text}"
        );
    }
}

/// What is to be written now. It is taken for written, so that the caller must not lose it.
fn take(journal: &Journal<Session>, sessions: &Sessions) -> Taken {
    let _still = journal.still();
    let Noted { group, sessions: changed, ended, retained } = journal.take();
    // The ends first: a client's new session takes the place of the old one.
    let changes = ended.into_iter().map(Change::End).collect();
    let mut taken = Taken { group, changes, held: Vec::new() };
    let mut differences = Vec::new();
    for session in changed.iter().filter_map(Weak::upgrade) {
        take_session(session, &mut differences, &mut taken);
    }
    if retained {
        let mut retained = sessions.retained.write().unwrap_or_else(PoisonError::into_inner);
        taken.changes.extend(retained.differences().into_iter().map(Change::Retained));
    }
    taken
}

fn take_session(session: Arc<Session>, differences: &mut Vec<Difference>, taken: &mut Taken) {
    let mut state = session.lock();
    state.saved.listed = None;
    if state.ended {
        return;
    }
    if state.saved.changed || !state.saved.exists {
        state.saved.changed = false;
        state.saved.exists = true;
        let subscriptions = state.subscriptions.iter();
        taken.changes.push(Change::Session(SessionRow {
            number: session.number,
            client_id: session.client_id.clone(),
            expiry_s: state.expiry_s,
            left_ms: state.saved.left_ms,
            received: state.received.accepted().to_vec(),
            routed: state.received.routed(),
            subscriptions: subscriptions.map(|(f, s)| (f.clone(), s.clone())).collect(),
        }));
    }
    let holds = state.outbox.differences(differences);
    drop(state);
    let number = session.number;
    taken.changes.extend(differences.drain(..).map(|one| Change::Message(number, one)));
    if holds {
        taken.held.push(session);
    }
}
