//! A broker as the last run has left it: sessions with their subscriptions and messages, and retained
//! messages.
//!
//! All clients are absent, and the time that a session is kept goes on.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::core::Core;
use super::counters::add;
use super::journal::{Journal, SessionRow};
use super::received::Received;
use super::retained::Kept;
use super::session::{Session, reserve};
use super::store::{KeptError, Store};
use super::trie::Subscription;

impl Core {
    /// Takes over what the store has, as far as the limits allow, and writes there from now on.
    pub(super) async fn restore(&mut self, store: Store) -> Result<(), KeptError> {
        let now_ms = self.now_ms();
        let rows = store.sessions().await?;
        let last = rows.iter().map(|row| row.number).max().unwrap_or(0);
        self.next_session.store(last + 1, Ordering::Relaxed);
        let mut by_number = HashMap::new();
        let mut ended = Vec::new();
        for row in rows {
            let number = row.number;
            match self.restore_session(row, now_ms) {
                Some(session) => {
                    by_number.insert(number, session);
                }
                None => {
                    add(&self.counters.sessions_expired, 1);
                    ended.push(number);
                }
            }
        }
        let limits = self.limits.clone();
        // Sessions of which some messages are dropped.
        let mut cut = BTreeSet::new();
        store
            .messages(|number, entry| {
                let Some(session) = by_number.get(&number) else { return };
                let mut state = session.lock();
                let size = entry.outgoing.as_ref().map_or(0, |outgoing| outgoing.routed.size);
                let fits = state.outbox.bytes() + size <= limits.queue_bytes
                    && reserve(&self.counters.queued_bytes, size, limits.queue_bytes_total);
                if fits {
                    state.outbox.restore(entry);
                } else {
                    state.outbox.drop_stored(entry.key);
                    cut.insert(number);
                    add(&self.counters.dropped_qos1, 1);
                }
            })
            .await?;
        let retained = self.retained.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut refused = 0;
        store
            .retained(|message| {
                let alive = message.expires_ms.is_none_or(|at| at > now_ms);
                if !alive || retained.restore(message.clone(), &limits) == Kept::Full {
                    retained.drop_stored(&message.topic);
                    refused += usize::from(alive);
                }
            })
            .await?;
        self.counters.retained.store(retained.len() as u64, Ordering::Relaxed);
        add(&self.counters.refused_retained, refused);
        let journal = Journal::new(store);
        for number in ended {
            journal.note_end(number, &self.counters);
        }
        journal.note_retained(&self.counters);
        self.journal = Some(journal);
        for number in cut {
            if let Some(session) = by_number.get(&number) {
                session.touch(&mut session.lock(), self);
            }
        }
        Ok(())
    }

    /// `None` when the session's time is over, or there is no room for it.
    fn restore_session(&self, row: SessionRow, now_ms: u64) -> Option<Arc<Session>> {
        let left_ms = row.left_ms.unwrap_or(now_ms);
        // The limit may be lower than it was.
        let expiry_s = row.expiry_s.min(self.limits.session_expiry_s);
        let until_ms = left_ms.saturating_add(u64::from(expiry_s) * 1_000);
        let left = Duration::from_millis(until_ms.saturating_sub(now_ms));
        let mut sessions = self.lock_sessions();
        if left.is_zero() || sessions.by_client.len() >= self.limits.sessions {
            return None;
        }
        let session = Session::new(row.number, row.client_id.clone());
        {
            let mut state = session.lock();
            state.expiry_s = expiry_s;
            state.expires = Some(Instant::now() + left);
            state.received = Received::restored(row.received, row.routed);
            state.saved.exists = true;
            state.saved.left_ms = Some(left_ms);
            self.set_deadline(&session, &mut state);
            let mut trie = self.trie.write().unwrap_or_else(PoisonError::into_inner);
            add(&self.counters.subscriptions, row.subscriptions.len());
            for (text, subscribed) in row.subscriptions {
                let terms = subscribed.terms;
                let subscription = Subscription { session: Arc::clone(&session), terms };
                trie.insert(&subscribed.wanted, subscription);
                state.subscriptions.insert(text, subscribed);
            }
        }
        sessions.by_client.insert(row.client_id, Arc::clone(&session));
        self.count_sessions(&sessions);
        Some(session)
    }
}
