//! What has changed since it was last written: sessions that are kept, their messages, retained messages;
//! and who waits until it is on disk.
//!
//! Changes are found by comparing when it is time to write, so that what comes and goes in between is never
//! written, and a store that is slow or fails costs no memory. They are written in groups, one after the
//! other and each as a whole (`durability` does). Who has acknowledged nothing yet holds his obligation here
//! until the group is on disk that what he brought belongs to.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use contract::{Ack, Shutdown, ShutdownHandle, shutdown};
use tokio::sync::Notify;

use crate::counters::{Counters, add};

/// The number of a group of changes that are written together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group(u64);

/// What is to be written, and who waits for it. It looks into no session (`S`).
#[derive(Debug)]
pub struct Journal<S> {
    open: Mutex<Open<S>>,
    /// Held for reading around changes that belong into one group, although they are of several sessions.
    whole: RwLock<()>,
    failing: AtomicBool,
    /// Told when something has changed.
    pub noted: Notify,
    /// Told when somebody waits.
    pub urgent: Notify,
    closing: ShutdownHandle,
    closed: Shutdown,
}

/// The group that is open, and those who wait for it or for the one before.
#[derive(Debug)]
struct Open<S> {
    number: u64,
    /// The last that is on disk.
    durable: u64,
    /// Each at most once.
    sessions: Vec<Weak<S>>,
    /// Sessions that the store has, and that are over.
    ended: Vec<u64>,
    retained: bool,
    waiting: Vec<(Group, Ack)>,
    trouble: Option<String>,
    /// Nothing is written any more.
    closed: bool,
}

/// What has changed, by name.
#[derive(Debug)]
pub struct Noted<S> {
    pub group: Group,
    pub sessions: Vec<Weak<S>>,
    pub ended: Vec<u64>,
    pub retained: bool,
}

impl<S> Default for Journal<S> {
    fn default() -> Self {
        let open = Open {
            number: 1,
            durable: 0,
            sessions: Vec::new(),
            ended: Vec::new(),
            retained: false,
            waiting: Vec::new(),
            trouble: None,
            closed: false,
        };
        let (closing, closed) = shutdown();
        Self {
            open: Mutex::new(open),
            whole: RwLock::default(),
            failing: AtomicBool::new(false),
            noted: Notify::new(),
            urgent: Notify::new(),
            closing,
            closed,
        }
    }
}

impl<S> Journal<S> {
    fn lock(&self) -> MutexGuard<'_, Open<S>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session has changed that is not listed. Returns the group that it is written with.
    pub(super) fn note_session(&self, session: Weak<S>, counters: &Counters) -> Group {
        let group = {
            let mut open = self.lock();
            open.sessions.push(session);
            Group(open.number)
        };
        add(&counters.unsaved, 1);
        self.noted.notify_one();
        group
    }

    /// A session is over that the store has.
    pub fn note_end(&self, number: u64, counters: &Counters) -> Group {
        let group = {
            let mut open = self.lock();
            open.ended.push(number);
            Group(open.number)
        };
        add(&counters.unsaved, 1);
        self.noted.notify_one();
        group
    }

    /// A retained message has changed.
    pub fn note_retained(&self, counters: &Counters) -> Group {
        let (group, known) = {
            let mut open = self.lock();
            (Group(open.number), std::mem::replace(&mut open.retained, true))
        };
        add(&counters.unsaved, usize::from(!known));
        self.noted.notify_one();
        group
    }

    /// What has changed until now is written with this group, or before it.
    pub(super) fn latest(&self) -> Group {
        Group(self.lock().number)
    }

    /// Holds a share of an obligation until a group is on disk, and refuses it when that fails.
    pub(super) fn hold(&self, group: Group, ack: &mut Ack) {
        if !ack.is_awaited() {
            return;
        }
        let mut open = self.lock();
        if group.0 <= open.durable {
            return;
        }
        let share = ack.share();
        if open.closed || open.trouble.is_some() {
            return drop(share);
        }
        open.waiting.push((group, share));
        drop(open);
        self.urgent.notify_one();
    }

    /// Around changes that must not come into different groups. Not to be taken twice.
    pub(super) fn whole(&self) -> RwLockReadGuard<'_, ()> {
        self.whole.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// While a group is taken: no change is half done.
    pub fn still(&self) -> RwLockWriteGuard<'_, ()> {
        self.whole.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has changed since the last call, as the next group.
    pub fn take(&self) -> Noted<S> {
        let mut open = self.lock();
        let group = Group(open.number);
        open.number += 1;
        Noted {
            group,
            sessions: std::mem::take(&mut open.sessions),
            ended: std::mem::take(&mut open.ended),
            retained: std::mem::take(&mut open.retained),
        }
    }

    /// Nothing can be written at present, and those who wait for that are refused. True when that is new.
    pub fn fail(&self, trouble: String) -> bool {
        self.failing.store(true, Ordering::Relaxed);
        let mut open = self.lock();
        let is_new = open.trouble.replace(trouble).is_none();
        let refused = std::mem::take(&mut open.waiting);
        drop(open);
        drop(refused);
        is_new
    }

    /// A group is on disk. True when writing has failed until now.
    pub fn finish(&self, group: Group, unsaved: &AtomicU64) -> bool {
        let mut open = self.lock();
        open.durable = group.0;
        let was_failing = open.trouble.take().is_some();
        let (done, rest) =
            std::mem::take(&mut open.waiting).into_iter().partition(|(of, _)| *of <= group);
        open.waiting = rest;
        let left = open.sessions.len() + open.ended.len() + usize::from(open.retained);
        unsaved.store(left as u64, Ordering::Relaxed);
        drop(open);
        self.failing.store(false, Ordering::Relaxed);
        let done: Vec<(Group, Ack)> = done;
        done.into_iter().for_each(|(_, ack)| ack.accept());
        was_failing
    }

    /// True while nothing can be written.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Why nothing can be written at present.
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// Who writes ends; what is noted from now on is lost, and who waits for it is refused.
    pub fn close(&self) {
        let waiting = {
            let mut open = self.lock();
            open.closed = true;
            std::mem::take(&mut open.waiting)
        };
        drop(waiting);
        self.closing.stop();
    }

    /// Told when it is closed.
    pub fn closed(&self) -> Shutdown {
        self.closed.clone()
    }
}
