//! A broker as the last run has left it: sessions with their subscriptions and messages, and retained
//! messages.
//!
//! All clients are absent, and the time that a session is kept goes on.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::rows::{KeptError, SessionRow};
use super::store::Store;
use crate::counters::{add, reserve};
use crate::sessions::{Kept, Received, Retained, Session, Sessions, Shared};

/// Takes over what the store has, as far as the limits allow. What of it is not taken over is noted in
/// the journal.
pub(super) async fn restore(store: &Store, sessions: &Sessions) -> Result<(), KeptError> {
    let Shared { limits, counters, .. } = &sessions.shared;
    let now_ms = sessions.shared.now_ms();
    let rows = store.sessions().await?;
    sessions.number_after(rows.iter().map(|row| row.number).max().unwrap_or(0));
    let mut by_number = HashMap::new();
    let mut ended = Vec::new();
    for row in rows {
        let number = row.number;
        match restore_session(row, sessions, now_ms) {
            Some(session) => {
                by_number.insert(number, session);
            }
            None => {
                add(&counters.sessions_expired, 1);
                ended.push(number);
            }
        }
    }
    // Sessions of which some messages are dropped.
    let mut cut = BTreeSet::new();
    store
        .messages(|number, entry| {
            let Some(session) = by_number.get(&number) else { return };
            let mut state = session.lock();
            let size = entry.outgoing.as_ref().map_or(0, |outgoing| outgoing.routed.size);
            let fits = state.outbox.bytes() + size <= limits.queue_bytes
                && reserve(&counters.queued_bytes, size, limits.queue_bytes_total);
            if fits {
                state.outbox.restore(entry);
            } else {
                state.outbox.drop_stored(entry.key);
                cut.insert(number);
                add(&counters.dropped_qos1, 1);
            }
        })
        .await?;
    restore_retained(store, sessions, now_ms).await?;
    if let Some(journal) = &sessions.shared.journal {
        for number in ended {
            journal.note_end(number, counters);
        }
        journal.note_retained(counters);
    }
    for number in cut {
        if let Some(session) = by_number.get(&number) {
            session.touch(&mut session.lock(), &sessions.shared);
        }
    }
    Ok(())
}

async fn restore_retained(
    store: &Store,
    sessions: &Sessions,
    now_ms: u64,
) -> Result<(), KeptError> {
    let Shared { limits, counters, .. } = &sessions.shared;
    let mut retained = Retained::default();
    let mut refused = 0;
    store
        .retained(|message| {
            let alive = message.expires_ms.is_none_or(|at| at > now_ms);
            if !alive || retained.restore(message.clone(), limits) == Kept::Full {
                retained.drop_stored(&message.topic);
                refused += usize::from(alive);
            }
        })
        .await?;
    counters.retained.store(retained.len() as u64, Ordering::Relaxed);
    add(&counters.refused_retained, refused);
    *sessions.retained.write().unwrap_or_else(PoisonError::into_inner) = retained;
    Ok(())
}

/// `None` when the session's time is over, or there is no room for it.
fn restore_session(row: SessionRow, sessions: &Sessions, now_ms: u64) -> Option<Arc<Session>> {
    let left_ms = row.left_ms.unwrap_or(now_ms);
    // The limit may be lower than it was.
    let expiry_s = row.expiry_s.min(sessions.shared.limits.session_expiry_s);
    let until_ms = left_ms.saturating_add(u64::from(expiry_s) * 1_000);
    let left = Duration::from_millis(until_ms.saturating_sub(now_ms));
    if left.is_zero() {
        return None;
    }
    let session = Session::new(row.number, row.client_id);
    {
        let mut state = session.lock();
        state.expiry_s = expiry_s;
        state.expires = Some(Instant::now() + left);
        state.received = Received::restored(row.received, row.routed);
        state.saved.exists = true;
        state.saved.left_ms = Some(left_ms);
    }
    sessions.adopt(&session, row.subscriptions).then_some(session)
}
