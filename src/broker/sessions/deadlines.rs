//! When something is to happen to the sessions of absent clients: a delayed will, or the end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::session::{Session, State};

/// The sessions that something is to happen to, by time and number.
#[derive(Default)]
pub(super) struct Deadlines {
    by_time: Mutex<BTreeMap<(Instant, u64), Arc<Session>>>,
    /// Told when a deadline is added that may be the next.
    added: Notify,
}

impl Deadlines {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Instant, u64), Arc<Session>>> {
        self.by_time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a session for what is next to happen to it, if anything is.
    pub(super) fn set(&self, session: &Arc<Session>, state: &mut State) {
        let next = state.will_due.into_iter().chain(state.expires).min();
        state.deadline = next;
        let Some(at) = next else { return };
        self.lock().insert((at, session.number), Arc::clone(session));
        self.added.notify_one();
    }

    pub(super) fn cancel(&self, session: &Session, state: &mut State) {
        if let Some(at) = state.deadline.take() {
            self.lock().remove(&(at, session.number));
        }
    }

    /// Takes the first session whose time has come.
    pub(super) fn pop_due(&self) -> Option<Arc<Session>> {
        let mut by_time = self.lock();
        let first = by_time.first_entry()?;
        (first.key().0 <= Instant::now()).then(|| first.remove())
    }

    /// Waits until the time of a session has come.
    pub(super) async fn wait(&self) {
        loop {
            let next = self.lock().first_key_value().map(|((at, _), _)| *at);
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => return,
                () = self.added.notified() => {}
            }
        }
    }
}
