//! Who has a session: taking it up, taking it over, leaving it, and its end when its time is over.
//!
//! What is written of it is the journal's.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use bytestring::ByteString;
use contract::{Device, Message};
use tokio::time::Instant;

use super::Sessions;
use super::journal::Group;
use super::login::Login;
use super::publication::Publication;
use super::session::{Left, Online, Session, Testament};
use super::subscription::Subscribed;
use crate::codec::Reason;
use crate::counters::add;

/// The sessions by client identifier, and whether more are taken.
#[derive(Default)]
pub(super) struct Roster {
    pub(super) by_client: HashMap<ByteString, Arc<Session>, foldhash::fast::RandomState>,
    /// The devices that have logged in over gateways' connections.
    pub(super) logins: HashMap<ByteString, Login, foldhash::fast::RandomState>,
    closing: bool,
    /// How many clients were to be cut off so far. Who was let in before one of them may be it.
    pub(super) kicks: u64,
}

/// What a CONNECT asks for.
pub struct Wish {
    pub client_id: ByteString,
    pub clean_start: bool,
    pub expiry_s: u32,
    pub online: Online,
    pub will: Option<Box<Testament>>,
    /// [`Sessions::kicks`] before the client was authenticated.
    pub kicks: u64,
}

/// A session with a connection.
pub struct Attached {
    pub session: Arc<Session>,
    pub generation: u64,
    /// There was a session, and it goes on.
    pub present: bool,
    /// The will of the connection or session that this one displaced.
    pub will: Option<Publication>,
    /// The group of changes that the end of the session before is written with, which the client is not
    /// told of before.
    pub ended: Option<Group>,
    /// The number of the connection: larger than those of all connections and logins before.
    pub connection: u64,
    /// The login that the device had over a gateway's connection; it has ended with this.
    pub login: Option<Login>,
    /// Logins of other devices over the connection that this one displaced; they have ended.
    pub logins: Vec<Login>,
}

/// What goes on from a session to the one that takes its place.
#[derive(Default)]
struct Discarded {
    logins: Vec<Login>,
    told: Vec<Message>,
}

/// What a connection that leaves its session leaves behind.
#[derive(Default)]
pub struct Detached {
    /// The will, when it is due now.
    pub will: Option<Publication>,
    /// Devices that were logged in over it.
    pub logins: Vec<Login>,
    /// What the engine is yet to get of that connection.
    pub told: Vec<Message>,
}

/// How a connection leaves its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leave {
    /// The client said goodbye, so that its will is void.
    pub will_is_void: bool,
    /// The session expiry that DISCONNECT asked for, in seconds.
    pub expiry_s: Option<u32>,
}

impl Roster {
    /// Ends the logins over a connection, which ends.
    pub(super) fn end_logins(&mut self, online: Option<&Online>) -> Vec<Login> {
        let Some(online) = online.filter(|online| !online.identity.sub_devices.is_empty()) else {
            return Vec::new();
        };
        let devices = online.identity.sub_devices.take();
        devices.iter().filter_map(|device| self.logins.remove(online_id(device).as_str())).collect()
    }

    /// Ends a device's login, if it has one.
    pub(super) fn end_login(&mut self, client_id: &str) -> Option<Login> {
        let login = self.logins.remove(client_id)?;
        if let Some(device) = &login.device.device {
            login.gateway.sub_devices.remove(device);
        }
        Some(login)
    }
}

/// Under which a device's login is found: the name of the session that it has on its own.
fn online_id(device: &Device) -> String {
    registry::session_id(&device.product_key, &device.device_name)
}

impl Sessions {
    pub(super) fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session of a client, if it has one.
    pub fn of_client(&self, client_id: &str) -> Option<Arc<Session>> {
        self.roster().by_client.get(client_id).cloned()
    }

    /// The sessions of all clients.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.roster().by_client.values().cloned().collect()
    }

    /// Takes over the session of an earlier run, whose client is absent; false when there is no room.
    pub fn adopt(
        &self,
        session: &Arc<Session>,
        subscriptions: Vec<(ByteString, Subscribed)>,
    ) -> bool {
        let mut roster = self.roster();
        if roster.by_client.len() >= self.shared.limits.sessions {
            return false;
        }
        self.deadlines.set(session, &mut session.lock());
        self.subscribe_again(session, subscriptions);
        roster.by_client.insert(session.client_id.clone(), Arc::clone(session));
        self.count(&roster);
        true
    }

    /// Gives a client its session (MQTT 5.0 §3.1.2.4, §3.1.4): the one that is kept, unless the
    /// client wants to start clean, else a new one. A connection that holds it loses it.
    pub fn attach(&self, wish: Wish) -> Result<Attached, Reason> {
        // The old session's end, what goes on from it to others, and the new one.
        let _whole = self.shared.whole();
        let mut roster = self.roster();
        // After a kick the authenticator might say something else.
        if roster.closing || roster.kicks != wish.kicks {
            return Err(Reason::SERVER_UNAVAILABLE);
        }
        let old = roster.by_client.get(&wish.client_id).cloned();
        if let Some(session) = &old
            && !wish.clean_start
            && session.lock().outlives_connection()
        {
            return Ok(self.resume(&mut roster, session, wish));
        }
        if old.is_none() && roster.by_client.len() >= self.shared.limits.sessions {
            if self.shared.counters.sessions_refused.fetch_add(1, Ordering::Relaxed) == 0 {
                let most = self.shared.limits.sessions;
                tracing::warn!(
                    "no more than {most} MQTT sessions: clients that have none are refused (limits.mqtt.sessions; absent ones end after limits.mqtt.session_expiry_s)"
                );
            }
            return Err(Reason::QUOTA_EXCEEDED);
        }
        let (will, left, Discarded { logins, told }) = match &old {
            Some(session) => self.discard(&mut roster, session),
            None => Default::default(),
        };
        let login = roster.end_login(&wish.client_id);
        let connection = self.number_connection();
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let session = Session::new(number, wish.client_id.clone());
        let generation = {
            let mut state = session.lock();
            state.expiry_s = wish.expiry_s;
            state.will = wish.will;
            state.told = told;
            session.attach(&mut state, wish.online, &self.shared)
        };
        roster.by_client.insert(wish.client_id, Arc::clone(&session));
        self.count(&roster);
        self.count_logins(&roster);
        drop(roster);
        let ended = left.group;
        if let Some(old) = old {
            self.settle_left(left, old.number);
        }
        let present = false;
        Ok(Attached { session, generation, present, will, ended, connection, login, logins })
    }

    /// A will as it is published now; its expiry starts now (MQTT 5.0 §3.1.3.2.4).
    fn due(&self, will: Testament) -> Publication {
        let mut publication = will.publication;
        let now_ms = self.shared.now_ms();
        publication.message.received_ms = now_ms;
        publication.expires_ms =
            will.expiry_s.map(|seconds| now_ms.saturating_add(u64::from(seconds) * 1_000));
        publication
    }

    fn resume(&self, roster: &mut Roster, session: &Arc<Session>, wish: Wish) -> Attached {
        let login = roster.end_login(&wish.client_id);
        let mut state = session.lock();
        let logins = roster.end_logins(state.online.as_ref());
        self.count_logins(roster);
        self.deadlines.cancel(session, &mut state);
        let taken_over = state.online.is_some();
        if taken_over {
            add(&self.shared.counters.takeovers, 1);
        }
        // A will with a delay is void when the client is back in time (MQTT-3.1.3-9).
        let will = std::mem::replace(&mut state.will, wish.will)
            .filter(|will| taken_over && will.delay_s == 0)
            .map(|will| self.due(*will));
        state.expiry_s = wish.expiry_s;
        let generation = session.attach(&mut state, wish.online, &self.shared);
        drop(state);
        let (connection, ended) = (self.number_connection(), None);
        let (session, present) = (Arc::clone(session), true);
        Attached { session, generation, present, will, ended, connection, login, logins }
    }

    fn discard(
        &self,
        roster: &mut Roster,
        session: &Arc<Session>,
    ) -> (Option<Publication>, Left, Discarded) {
        let mut state = session.lock();
        let logins = roster.end_logins(state.online.as_ref());
        let told = std::mem::take(&mut state.told);
        self.deadlines.cancel(session, &mut state);
        if state.online.is_some() {
            add(&self.shared.counters.takeovers, 1);
        }
        // The end of the session makes a delayed will due (MQTT 5.0 §3.1.3.2.2).
        let will = state.will.take().map(|will| self.due(*will));
        (will, session.end(&mut state, &self.shared), Discarded { logins, told })
    }

    /// Leaves a session. `None` when another connection has it.
    pub fn detach(
        &self,
        session: &Arc<Session>,
        generation: u64,
        leave: Leave,
    ) -> Option<Detached> {
        let _whole = self.shared.whole();
        let mut roster = self.roster();
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
        let logins = roster.end_logins(state.online.as_ref());
        self.count_logins(&roster);
        let told = std::mem::take(&mut state.told);
        let now = Instant::now();
        if state.expiry_s == 0 {
            let will = state.will.take().map(|will| self.due(*will));
            let left = session.end(&mut state, &self.shared);
            drop(state);
            roster.by_client.remove(&session.client_id);
            self.count(&roster);
            drop(roster);
            self.settle_left(left, session.number);
            return Some(Detached { will, logins, told });
        }
        session.leave(&mut state, &self.shared);
        state.expires = Some(now + Duration::from_secs(state.expiry_s.into()));
        let delay_s = state.will.as_ref().map_or(0, |will| will.delay_s);
        let mut will = None;
        if delay_s > 0 {
            state.will_due = Some(now + Duration::from_secs(delay_s.into()));
        } else {
            will = state.will.take().map(|will| self.due(*will));
        }
        self.deadlines.set(session, &mut state);
        Some(Detached { will, logins, told })
    }

    /// How many clients were to be cut off so far.
    pub fn kicks(&self) -> u64 {
        self.roster().kicks
    }

    /// Closes the connection of a client; false when there is none.
    pub fn kick(&self, client_id: &str, reason: Reason) -> bool {
        let session = {
            let mut roster = self.roster();
            roster.kicks += 1;
            roster.by_client.get(client_id).cloned()
        };
        session.is_some_and(|session| session.kick(reason))
    }

    /// Closes all connections, and takes no more clients.
    pub fn close(&self, reason: Reason) {
        let sessions: Vec<_> = {
            let mut roster = self.roster();
            roster.closing = true;
            roster.by_client.values().cloned().collect()
        };
        for session in sessions {
            session.kick(reason);
        }
    }

    /// Ends the session of a client: at once when the client is absent, else when its connection has
    /// ended, which it does. False when there is none.
    pub fn end(&self, client_id: &str, reason: Reason) -> bool {
        let mut roster = self.roster();
        roster.kicks += 1;
        let Some(session) = roster.by_client.get(client_id).cloned() else { return false };
        self.end_session(&session, reason);
        true
    }

    /// The same for a session that is at hand; the roster is held.
    pub(super) fn end_session(&self, session: &Arc<Session>, reason: Reason) {
        let mut state = session.lock();
        state.expiry_s = 0;
        if state.online.is_none() {
            self.deadlines.cancel(session, &mut state);
            state.expires = Some(Instant::now());
            self.deadlines.set(session, &mut state);
        }
        drop(state);
        session.kick(reason);
    }

    fn count(&self, roster: &Roster) {
        self.shared.counters.sessions.store(roster.by_client.len() as u64, Ordering::Relaxed);
    }

    /// Waits until a delayed will is due and returns it, and ends sessions meanwhile whose time is over.
    pub async fn next_will(&self) -> Publication {
        loop {
            while let Some(session) = self.deadlines.pop_due() {
                if let Some(will) = self.settle(&session) {
                    return will;
                }
            }
            self.deadlines.wait().await;
        }
    }

    /// Does what is due for an absent client's session; returns its will when that is due.
    fn settle(&self, session: &Arc<Session>) -> Option<Publication> {
        let _whole = self.shared.whole();
        let mut roster = self.roster();
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
            add(&self.shared.counters.sessions_expired, 1);
            let left = session.end(&mut state, &self.shared);
            drop(state);
            roster.by_client.remove(&session.client_id);
            self.count(&roster);
            drop(roster);
            self.settle_left(left, session.number);
        } else {
            self.deadlines.set(session, &mut state);
        }
        will
    }
}
