//! What waits for the writer, in order, and how much of it may.
//!
//! Producers put items at its end, the writer takes them from its start: as many appends as make a group
//! commit, with what passes between them, or one request. Nothing is written here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::cursor::{Place, Start};
use super::limits::{SpoolLimits, WhenFull};
use super::log::{Bodies, LEDGER_WRITE_MS};
use super::refused::{Refused, Room, Stored};
use super::shared::Shared;

/// Bytes of records that one group commit takes at most, beyond the first append.
const GROUP_BYTES: usize = 8 << 20;
/// What a pass counts at least, in bytes: its place in the queue and what it refers to.
const PASS_LEAST: usize = 128;

/// What is called with a result.
pub(super) type Done<T> = Box<dyn FnOnce(Result<T, Refused>) + Send>;
/// What is called when it is its turn.
pub(super) type Call = Box<dyn FnOnce() + Send>;
/// Cursors that were opened, and the position behind the last record then.
pub(super) type Opened = (Vec<Arc<Place>>, u64);

/// What waits for the writer.
#[derive(Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    /// Bytes of records among the items.
    records: usize,
    /// Bytes that the passes among the items hold.
    passes: usize,
    /// Bytes of records that are being written.
    pub writing: usize,
    /// Nothing more is taken.
    pub closed: bool,
}

/// One thing to do.
pub(super) enum Item {
    Append(Bodies, Done<Stored>),
    /// Bytes that it counts, and what to call.
    Pass(usize, Call),
    Open(Vec<(Arc<str>, Start)>, Done<Opened>),
    Remove(Vec<Arc<str>>, Done<()>),
    Complete(Done<()>),
    Flush(Done<()>),
}

/// A part of a group commit: what to call after it.
pub(super) enum Member {
    /// How many records, and who wants to know where.
    Append(u64, Done<Stored>),
    /// What came behind an append.
    Pass(Call),
}

/// What the writer does next.
pub(super) enum Work {
    /// Writes records, then calls the members in order.
    Group(Vec<Bodies>, Vec<Member>),
    /// Answers a request.
    Request(Item),
    /// Looks whether something is due.
    Idle,
    /// Ends.
    End,
}

/// What the queue says to an append.
pub(super) enum Admitted {
    /// It may be put into the queue.
    Yes,
    /// The policy drops it.
    Dropped,
    /// It may not.
    No(Refused),
}

impl Queue {
    /// Whether records of `span` bytes may be put into the queue, with `used` bytes in the log.
    pub(super) fn admit(
        &self,
        span: usize,
        used: u64,
        room: Room,
        limits: &SpoolLimits,
    ) -> Admitted {
        if let Err(refused) = self.admit_waiting(span, room, limits) {
            return Admitted::No(refused);
        }
        let limit = match room {
            Room::Source => limits.bytes,
            Room::Internal => limits.bytes.saturating_add(limits.bytes / 8),
        };
        let used = used + (self.records + self.writing + span) as u64;
        match (used > limit, limits.when_full, room) {
            (false, _, _) | (_, WhenFull::DropOldest, _) => Admitted::Yes,
            (_, WhenFull::DropNewest, Room::Source) => Admitted::Dropped,
            _ => Admitted::No(Refused::Full { used, limit }),
        }
    }

    /// Whether `bytes` more may wait in memory.
    ///
    /// # Errors
    /// [`Refused::Closed`] and [`Refused::Busy`].
    pub(super) fn admit_waiting(
        &self,
        bytes: usize,
        room: Room,
        limits: &SpoolLimits,
    ) -> Result<(), Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        let (queued, mut limit) = (self.records + self.passes, limits.queue_bytes);
        if room == Room::Internal {
            limit = limit.saturating_add(limit / 8);
        }
        // One is taken however long it is, as long as none waits: its sender has limits too.
        if queued > 0 && queued.saturating_add(bytes) > limit {
            return Err(Refused::Busy { queued, limit });
        }
        Ok(())
    }

    /// What a pass that holds `bytes` counts.
    pub(super) fn weight(bytes: usize) -> usize {
        bytes.saturating_add(PASS_LEAST)
    }

    /// Bytes of records that are not durable yet.
    pub(super) fn records(&self) -> usize {
        self.records + self.writing
    }

    fn push(&mut self, item: Item) {
        match &item {
            Item::Append(bodies, _) => self.records += bodies.span() as usize,
            Item::Pass(bytes, _) => self.passes = self.passes.saturating_add(*bytes),
            _ => {}
        }
        self.items.push_back(item);
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        match &item {
            Item::Append(bodies, _) => self.records -= bodies.span() as usize,
            Item::Pass(bytes, _) => self.passes = self.passes.saturating_sub(*bytes),
            _ => {}
        }
        Some(item)
    }

    /// What the writer does next, when something waits.
    fn next(&mut self) -> Option<Work> {
        let (mut group, mut members, mut bytes) = (Vec::new(), Vec::new(), 0);
        loop {
            let joins = match self.items.front() {
                Some(Item::Append(bodies, _)) => {
                    group.is_empty() || bytes + bodies.bytes.len() <= GROUP_BYTES
                }
                Some(Item::Pass(..)) => !group.is_empty(),
                Some(_) => false,
                None => break,
            };
            if !joins {
                break;
            }
            match self.pop() {
                Some(Item::Append(bodies, done)) => {
                    bytes += bodies.bytes.len();
                    self.writing += bodies.span() as usize;
                    members.push(Member::Append(bodies.each.len() as u64, done));
                    group.push(bodies);
                }
                Some(Item::Pass(_, call)) => members.push(Member::Pass(call)),
                _ => break,
            }
        }
        if group.is_empty() {
            self.pop().map(Work::Request)
        } else {
            Some(Work::Group(group, members))
        }
    }

    /// Takes everything out.
    pub(super) fn clear(&mut self) -> VecDeque<Item> {
        (self.records, self.passes) = (0, 0);
        std::mem::take(&mut self.items)
    }
}

impl Item {
    /// Says that it will not be done. A pass is made: it asked for nothing but its turn.
    pub(super) fn refuse(self, why: Refused) {
        match self {
            Self::Append(_, done) => done(Err(why)),
            Self::Pass(_, call) => call(),
            Self::Open(_, done) => done(Err(why)),
            Self::Remove(_, done) | Self::Complete(done) | Self::Flush(done) => done(Err(why)),
        }
    }
}

impl Shared {
    /// Puts an item at the end of the queue; the caller has the lock and has asked for room.
    pub(super) fn put(&self, mut queue: std::sync::MutexGuard<'_, Queue>, item: Item) {
        // Before the item can be seen, so that the count is never less than what waits.
        self.pending.fetch_add(1, Ordering::Relaxed);
        queue.push(item);
        drop(queue);
        self.work.notify_one();
    }

    /// Whether everything that was put into the queue has been done, and its callbacks have returned.
    pub(super) fn idle(&self) -> bool {
        self.pending.load(Ordering::Acquire) == 0
    }

    /// Calls back, behind everything that came before. What panics there is reported and harms nobody
    /// else.
    pub(super) fn call(&self, call: impl FnOnce()) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err() {
            tracing::error!("a callback of the spool panicked; this is a bug, please report it");
        }
        self.pending.fetch_sub(1, Ordering::Release);
    }

    /// Waits at most `pause` milliseconds for something to do.
    pub(super) fn take(&self, pause: u64) -> Work {
        let mut queue = self.queue();
        if queue.items.is_empty() && !queue.closed {
            // Woken for an item, the end, or the first cursor that moves; one may have moved since the
            // pause was chosen.
            let moved = self.moved.is_set();
            let pause = if moved { pause.min(LEDGER_WRITE_MS) } else { pause };
            let woken = self.work.wait_timeout(queue, Duration::from_millis(pause));
            queue = woken.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        let work = queue.next();
        let closed = queue.closed;
        drop(queue);
        match work {
            Some(work) => {
                // Producers may fill the queue again while this is done.
                self.room.notify_waiters();
                work
            }
            None if closed => Work::End,
            None => Work::Idle,
        }
    }
}
