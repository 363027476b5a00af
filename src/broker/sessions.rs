//! Who has a session: taking it up, taking it over, leaving it, and its end when its time is over.
//!
//! What is written of it is the journal's.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLockReadGuard};
use std::time::Duration;

use bytestring::ByteString;
use connectors::contract::Shutdown;
use tokio::time::Instant;

use super::codec::Reason;
use super::core::{Core, Sessions};
use super::counters::{add, sub};
use super::journal::{Group, Journal};
use super::route::Publication;
use super::session::{Left, Online, Session, State, Subscribed, Testament};
use super::trie::{Subscription, Wanted};

/// What a CONNECT asks for.
pub(super) struct Wish {
    pub client_id: ByteString,
    pub clean_start: bool,
    pub expiry_s: u32,
    pub online: Online,
    pub will: Option<Box<Testament>>,
    /// [`Sessions::kicks`] before the client was authenticated.
    pub kicks: u64,
}

/// A session with a connection.
pub(super) struct Attached {
    pub session: Arc<Session>,
    pub generation: u64,
    /// There was a session, and it goes on.
    pub present: bool,
    /// The will of the connection or session that this one displaced.
    pub will: Option<Publication>,
    /// The group of changes that the end of the session before is written with, which the client is not
    /// told of before.
    pub ended: Option<Group>,
}

/// How a connection leaves its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Leave {
    /// The client said goodbye, so that its will is void.
    pub will_is_void: bool,
    /// The session expiry that DISCONNECT asked for, in seconds.
    pub expiry_s: Option<u32>,
}

impl Core {
    /// Gives a client its session (MQTT 5.0 §3.1.2.4, §3.1.4): the one that is kept, unless the
    /// client wants to start clean, else a new one. A connection that holds it loses it.
    pub(super) fn attach(&self, wish: Wish) -> Result<Attached, Reason> {
        // The old session's end, what goes on from it to others, and the new one.
        let _whole = self.whole();
        let mut sessions = self.lock_sessions();
        // After a kick the authenticator might say something else.
        if sessions.closing || sessions.kicks != wish.kicks {
            return Err(Reason::SERVER_UNAVAILABLE);
        }
        let old = sessions.by_client.get(&wish.client_id).cloned();
        if let Some(session) = &old
            && !wish.clean_start
            && session.lock().outlives_connection()
        {
            return Ok(self.resume(session, wish));
        }
        if old.is_none() && sessions.by_client.len() >= self.limits.sessions {
            if self.counters.sessions_refused.fetch_add(1, Ordering::Relaxed) == 0 {
                let most = self.limits.sessions;
                tracing::warn!(
                    "no more than {most} MQTT sessions: clients that have none are refused (limits.mqtt.sessions; absent ones end after limits.mqtt.session_expiry_s)"
                );
            }
            return Err(Reason::QUOTA_EXCEEDED);
        }
        let (will, left) = match &old {
            Some(session) => self.discard(session),
            None => (None, Left::default()),
        };
        let number = self.next_session.fetch_add(1, Ordering::Relaxed);
        let session = Session::new(number, wish.client_id.clone());
        let generation = {
            let mut state = session.lock();
            state.expiry_s = wish.expiry_s;
            state.will = wish.will;
            session.attach(&mut state, wish.online, self)
        };
        sessions.by_client.insert(wish.client_id, Arc::clone(&session));
        self.count_sessions(&sessions);
        drop(sessions);
        let ended = left.group;
        if let Some(old) = old {
            self.settle_left(left, old.number);
        }
        Ok(Attached { session, generation, present: false, will, ended })
    }

    /// A will as it is published now; its expiry starts now (MQTT 5.0 §3.1.3.2.4).
    fn due(&self, will: Testament) -> Publication {
        let mut publication = will.publication;
        let now_ms = self.now_ms();
        publication.message.received_ms = now_ms;
        publication.expires_ms =
            will.expiry_s.map(|seconds| now_ms.saturating_add(u64::from(seconds) * 1_000));
        publication
    }

    fn resume(&self, session: &Arc<Session>, wish: Wish) -> Attached {
        let mut state = session.lock();
        self.cancel_deadline(session, &mut state);
        let taken_over = state.online.is_some();
        if taken_over {
            add(&self.counters.takeovers, 1);
        }
        // A will with a delay is void when the client is back in time (MQTT-3.1.3-9).
        let will = std::mem::replace(&mut state.will, wish.will)
            .filter(|will| taken_over && will.delay_s == 0)
            .map(|will| self.due(*will));
        state.expiry_s = wish.expiry_s;
        let generation = session.attach(&mut state, wish.online, self);
        drop(state);
        Attached { session: Arc::clone(session), generation, present: true, will, ended: None }
    }

    fn discard(&self, session: &Arc<Session>) -> (Option<Publication>, Left) {
        let mut state = session.lock();
        self.cancel_deadline(session, &mut state);
        if state.online.is_some() {
            add(&self.counters.takeovers, 1);
        }
        // The end of the session makes a delayed will due (MQTT 5.0 §3.1.3.2.2).
        let will = state.will.take().map(|will| self.due(*will));
        (will, session.end(&mut state, self))
    }

    /// Leaves a session. `None` when another connection has it; else the will that is due now.
    pub(super) fn detach(
        &self,
        session: &Arc<Session>,
        generation: u64,
        leave: Leave,
    ) -> Option<Option<Publication>> {
        let _whole = self.whole();
        let mut sessions = self.lock_sessions();
        let mut state = session.lock();
        if state.generation != generation {
            return None;
        }
        if let Some(expiry_s) = leave.expiry_s {
            state.expiry_s = expiry_s;
        }
        if leave.will_is_void {
            state.will = None;
        }
        let now = Instant::now();
        if state.expiry_s == 0 {
            let will = state.will.take().map(|will| self.due(*will));
            let left = session.end(&mut state, self);
            drop(state);
            sessions.by_client.remove(&session.client_id);
            self.count_sessions(&sessions);
            drop(sessions);
            self.settle_left(left, session.number);
            return Some(will);
        }
        session.leave(&mut state, self);
        state.expires = Some(now + Duration::from_secs(state.expiry_s.into()));
        let delay_s = state.will.as_ref().map_or(0, |will| will.delay_s);
        let mut will = None;
        if delay_s > 0 {
            state.will_due = Some(now + Duration::from_secs(delay_s.into()));
        } else {
            will = state.will.take().map(|will| self.due(*will));
        }
        self.set_deadline(session, &mut state);
        Some(will)
    }

    /// Ends the session of a client: at once when the client is absent, else when its connection has
    /// ended, which it does. False when there is none.
    pub(super) fn end_session(&self, client_id: &str, reason: Reason) -> bool {
        let mut sessions = self.lock_sessions();
        sessions.kicks += 1;
        let Some(session) = sessions.by_client.get(client_id).cloned() else { return false };
        let mut state = session.lock();
        state.expiry_s = 0;
        if state.online.is_none() {
            self.cancel_deadline(&session, &mut state);
            state.expires = Some(Instant::now());
            self.set_deadline(&session, &mut state);
        }
        drop(state);
        session.kick(reason);
        true
    }

    /// Around a change of several sessions that is written as a whole. Not to be taken twice.
    pub(super) fn whole(&self) -> Option<RwLockReadGuard<'_, ()>> {
        self.journal.as_ref().map(Journal::whole)
    }

    /// Adds a subscription: whether the session had none to that filter, and the group of changes that
    /// it is written with.
    pub(super) fn subscribe(
        &self,
        generation: u64,
        text: &str,
        wanted: &Wanted,
        subscription: Subscription,
    ) -> Result<(bool, Option<Group>), Reason> {
        let session = Arc::clone(&subscription.session);
        let mut state = session.lock();
        if state.generation != generation {
            return Err(Reason::UNSPECIFIED);
        }
        let terms = subscription.terms;
        let known = state.subscriptions.get_mut(text);
        let known = known.map(|known| std::mem::replace(&mut known.terms, terms));
        let (is_new, changed) = match known {
            Some(before) => (false, before != terms),
            None if state.subscriptions.len() >= self.limits.subscriptions => {
                return Err(Reason::QUOTA_EXCEEDED);
            }
            None => {
                let subscribed = Subscribed { wanted: wanted.clone(), terms };
                state.subscriptions.insert(text.into(), subscribed);
                add(&self.counters.subscriptions, 1);
                (true, true)
            }
        };
        let group = if changed { session.touch_all(&mut state, self) } else { None };
        // Under the session's lock, so that the end of the session cannot come in between.
        self.trie.write().unwrap_or_else(PoisonError::into_inner).insert(wanted, subscription);
        Ok((is_new, group))
    }

    /// Removes a subscription: `None` when there was none, else the group of changes that this is
    /// written with.
    pub(super) fn unsubscribe(
        &self,
        session: &Session,
        generation: u64,
        text: &str,
    ) -> Option<Option<Group>> {
        let mut state = session.lock();
        if state.generation != generation {
            return None;
        }
        let subscribed = state.subscriptions.remove(text)?;
        sub(&self.counters.subscriptions, 1);
        let group = session.touch_all(&mut state, self);
        self.forget(&[subscribed.wanted], session.number);
        Some(group)
    }

    /// Removes the subscriptions of a session that has ended, and gives its messages to others that
    /// share them.
    fn settle_left(&self, left: Left, number: u64) {
        self.forget(&left.orphans, number);
        self.hand_on(left.back);
    }

    /// Removes subscriptions of a session from the tree.
    fn forget(&self, orphans: &[Wanted], number: u64) {
        if orphans.is_empty() {
            return;
        }
        let mut trie = self.trie.write().unwrap_or_else(PoisonError::into_inner);
        for wanted in orphans {
            trie.remove(wanted, number);
        }
    }

    pub(super) fn count_sessions(&self, sessions: &Sessions) {
        self.counters.sessions.store(sessions.by_client.len() as u64, Ordering::Relaxed);
    }

    pub(super) fn set_deadline(&self, session: &Arc<Session>, state: &mut State) {
        let next = state.will_due.into_iter().chain(state.expires).min();
        state.deadline = next;
        let Some(at) = next else { return };
        self.deadlines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((at, session.number), Arc::clone(session));
        self.deadline_added.notify_one();
    }

    fn cancel_deadline(&self, session: &Session, state: &mut State) {
        if let Some(at) = state.deadline.take() {
            self.deadlines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&(at, session.number));
        }
    }

    /// Publishes delayed wills and ends sessions when they are due, until told to stop. While the
    /// engine takes no messages, wills and the ends after them wait.
    pub(super) async fn tend(&self, mut shutdown: Shutdown) {
        loop {
            let next = {
                let deadlines = self.deadlines.lock().unwrap_or_else(PoisonError::into_inner);
                deadlines.first_key_value().map(|((at, _), _)| *at)
            };
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.deadline_added.notified() => continue,
                () = shutdown.wait() => return,
            }
            while let Some(session) = self.next_due() {
                if let Some(will) = self.settle(&session) {
                    tokio::select! {
                        () = self.announce(will) => {}
                        () = shutdown.wait() => return,
                    }
                }
            }
        }
    }

    fn next_due(&self) -> Option<Arc<Session>> {
        let mut deadlines = self.deadlines.lock().unwrap_or_else(PoisonError::into_inner);
        let first = deadlines.first_entry()?;
        (first.key().0 <= Instant::now()).then(|| first.remove())
    }

    /// Does what is due for an absent client's session; returns its will when that is due.
    fn settle(&self, session: &Arc<Session>) -> Option<Publication> {
        let _whole = self.whole();
        let mut sessions = self.lock_sessions();
        let mut state = session.lock();
        if state.online.is_some() || state.ended {
            return None;
        }
        let now = Instant::now();
        state.deadline = None;
        let over = state.expires.is_some_and(|at| at <= now);
        let mut will = None;
        if over || state.will_due.is_some_and(|at| at <= now) {
            state.will_due = None;
            will = state.will.take().map(|will| self.due(*will));
        }
        if over {
            add(&self.counters.sessions_expired, 1);
            let left = session.end(&mut state, self);
            drop(state);
            sessions.by_client.remove(&session.client_id);
            self.count_sessions(&sessions);
            drop(sessions);
            self.settle_left(left, session.number);
        } else {
            self.set_deadline(session, &mut state);
        }
        will
    }
}
