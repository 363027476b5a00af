//! Devices that log in over a gateway's connection: they have no session of their own there, and what is
//! for them goes to the gateway's.
//!
//! A device is reached over one connection, its own or a gateway's: whichever came last. All of it happens
//! under the roster's lock. Who may log in, and who is told, is decided elsewhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use contract::{Origin, TopicFilter};

use super::Sessions;
use super::login::Login;
use super::roster::Roster;
use super::session::{Online, Session};
use crate::codec::Reason;
use crate::counters::sub;
use crate::hooks::Identity;

/// A device that is to log in.
#[derive(Debug)]
pub struct Entrant {
    /// The device.
    pub identity: Identity,
    /// What is kept of a session of its own is not wanted any more.
    pub clean_start: bool,
}

/// Who has logged in.
#[derive(Debug, Default)]
pub struct LoggedIn {
    /// The devices, in their order.
    pub logins: Vec<Login>,
    /// Their logins over other gateways' connections, which have ended with that.
    pub ended: Vec<Login>,
}

/// Why nobody has logged in, or out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotLoggedIn {
    /// The connection of the gateway has ended, or is another one now.
    NoConnection,
    /// Somebody was cut off since the devices were looked at: it may be one of them.
    LookAgain,
    /// The gateway would have too many.
    TooMany,
    /// A device that is to log out has not logged in over this connection.
    NotHere,
}

impl Sessions {
    /// Logs devices in over the connection that something came over, all of them or none. A connection of
    /// their own ends, as does a login over another gateway's. `kicks` is [`Sessions::kicks`] before the
    /// devices were looked at.
    ///
    /// # Errors
    /// A [`NotLoggedIn`]; nothing has changed.
    pub fn log_in(
        &self,
        over: &Arc<Origin>,
        entrants: Vec<Entrant>,
        kicks: u64,
        most: usize,
    ) -> Result<LoggedIn, NotLoggedIn> {
        let mut roster = self.roster();
        if roster.kicks != kicks {
            return Err(NotLoggedIn::LookAgain);
        }
        let (session, online) = self.connection_of(&roster, over)?;
        let known = &online.identity.sub_devices;
        let is_new = |entrant: &&Entrant| {
            let device = entrant.identity.device.as_deref();
            device.is_none_or(|d| known.find(&d.product_key, &d.device_name).is_none())
        };
        if known.len() + entrants.iter().filter(is_new).count() > most {
            return Err(NotLoggedIn::TooMany);
        }
        let mut done = LoggedIn::default();
        for Entrant { identity, clean_start } in entrants {
            let Some(device) = identity.device.clone() else { continue };
            let before = roster.end_login(&identity.client_id);
            done.ended.extend(before.filter(|before| before.over.number != session.number));
            if let Some(own) = roster.by_client.get(&identity.client_id).cloned() {
                match clean_start {
                    true => self.end_session(&own, Reason::SESSION_TAKEN_OVER),
                    false => drop(own.kick(Reason::SESSION_TAKEN_OVER)),
                }
            }
            let login = Login {
                device: Arc::new(identity),
                gateway: Arc::clone(&online.identity),
                over: Arc::clone(&session),
                peer: online.peer,
                connection: self.number_connection(),
            };
            roster.logins.insert(login.device.client_id.clone(), login.clone());
            online.identity.sub_devices.insert(&device);
            done.logins.push(login);
        }
        self.count_logins(&roster);
        Ok(done)
    }

    /// Logs devices out that have logged in over the connection that something came over, all or none.
    ///
    /// # Errors
    /// A [`NotLoggedIn`]; nothing has changed.
    pub fn log_out(
        &self,
        over: &Arc<Origin>,
        client_ids: &[String],
    ) -> Result<Vec<Login>, NotLoggedIn> {
        let mut roster = self.roster();
        let (session, _) = self.connection_of(&roster, over)?;
        let here = |id: &String| {
            roster.logins.get(id.as_str()).is_some_and(|login| login.over.number == session.number)
        };
        if !client_ids.iter().all(here) {
            return Err(NotLoggedIn::NotHere);
        }
        let out = client_ids.iter().filter_map(|id| roster.end_login(id)).collect();
        self.count_logins(&roster);
        Ok(out)
    }

    /// Ends a device's login over a gateway's connection, if it has one. Who is logging in meanwhile is
    /// looked at again.
    pub fn end_login(&self, client_id: &str) -> Option<Login> {
        let mut roster = self.roster();
        roster.kicks += 1;
        let login = roster.end_login(client_id);
        self.count_logins(&roster);
        login
    }

    /// Whom something came from: a connection is known by its messages' origin.
    fn connection_of(
        &self,
        roster: &Roster,
        over: &Arc<Origin>,
    ) -> Result<(Arc<Session>, Online), NotLoggedIn> {
        let session = over.client_id.as_ref().and_then(|id| roster.by_client.get(id));
        let session = session.cloned().ok_or(NotLoggedIn::NoConnection)?;
        let online = {
            let state = session.lock();
            let online = state.online.as_ref().filter(|_| state.kick.is_none());
            online.filter(|online| Arc::ptr_eq(&online.origin, over)).cloned()
        };
        Ok((session, online.ok_or(NotLoggedIn::NoConnection)?))
    }

    /// The session that gets what is for a client: its own, or that of the gateway that it has logged in
    /// over.
    pub fn receiver(&self, client_id: &str) -> Option<Arc<Session>> {
        let roster = self.roster();
        let login = roster.logins.get(client_id).map(|login| &login.over);
        login.or_else(|| roster.by_client.get(client_id)).cloned()
    }

    /// A client that is connected, or a device that has logged in over a connection.
    pub fn identity(&self, client_id: &str) -> Option<Arc<Identity>> {
        let (session, device) = {
            let roster = self.roster();
            match roster.logins.get(client_id) {
                Some(login) => (Arc::clone(&login.over), Some(Arc::clone(&login.device))),
                None => (roster.by_client.get(client_id).cloned()?, None),
            }
        };
        let state = session.lock();
        let online = state.online.as_ref().filter(|_| state.kick.is_none())?;
        Some(device.unwrap_or_else(|| Arc::clone(&online.identity)))
    }

    /// Removes the subscriptions of a session that its client may not have any more, unless it is there
    /// as somebody else by now.
    pub fn end_subscriptions(
        &self,
        session: &Session,
        identity: &Arc<Identity>,
        allowed: impl Fn(&TopicFilter) -> bool,
    ) {
        let mut state = session.lock();
        let is_other =
            state.online.as_ref().is_some_and(|online| !Arc::ptr_eq(&online.identity, identity));
        if is_other || state.ended {
            return;
        }
        let mut gone = Vec::new();
        state.subscriptions.retain(|_, subscribed| {
            let stays = allowed(&subscribed.wanted.filter);
            if !stays {
                gone.push(subscribed.wanted.clone());
            }
            stays
        });
        if !gone.is_empty() {
            sub(&self.shared.counters.subscriptions, gone.len());
            session.touch_all(&mut state, &self.shared);
            self.forget(&gone, session.number);
        }
    }

    /// A number for a connection or a login, larger than those before.
    pub(super) fn number_connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn count_logins(&self, roster: &Roster) {
        let count = roster.logins.len() as u64;
        self.shared.counters.sub_devices.store(count, Ordering::Relaxed);
    }
}
