//! The spool as its users see it: many producers, one writer thread, tickets.
//!
//! Producers encode their messages and leave them in a queue that is bounded in bytes; the thread takes
//! all that waits, commits it as a group, and resolves the tickets. While it syncs, the next group
//! forms. What a group commit does is [`super::log`]'s.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use connectors::contract::Message;
use tokio::sync::oneshot;

use super::cursor::{Cursor, Place, Start};
use super::fs::{Fs, RealFs};
use super::limits::{SpoolLimits, WhenFull};
use super::log::{Bodies, LEDGER_WRITE_MS, Log, Now, WriteError};
use super::reader::Reader;
use super::record::encode;
use super::recover::{OpenError, Recovered};
use super::shared::Shared;
use super::status::SpoolStatus;

/// Bytes of records that one group commit takes at most, beyond the first append.
const GROUP_BYTES: usize = 8 << 20;
/// The longest name of a cursor, in bytes.
const NAME_MAX: usize = 1024;

/// Why messages or cursors were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The log has reached its limit and the policy is [`WhenFull::Block`]; wait for [`Spool::room`].
    #[error(
        "the spool is full: {used} of {limit} bytes; deliver or drop what waits, or raise the limit"
    )]
    Full {
        /// Bytes that are kept and queued.
        used: u64,
        /// The limit.
        limit: u64,
    },
    /// The disk does not keep up; wait for [`Spool::room`].
    #[error("{queued} bytes wait for the disk already, at most {limit} may")]
    Busy {
        /// Bytes that wait.
        queued: usize,
        /// The limit.
        limit: usize,
    },
    /// A message is longer than a record may be. It will never be taken.
    #[error(
        "a message takes {got} bytes in the spool, at most {most} are allowed; send less or raise the limit"
    )]
    TooLong {
        /// Bytes of the record.
        got: usize,
        /// The limit.
        most: usize,
    },
    /// A cursor's name is too long.
    #[error("the name of a cursor has {got} bytes, at most {NAME_MAX} are allowed")]
    Name {
        /// Bytes of the name.
        got: usize,
    },
    /// The write failed. Nothing was stored.
    #[error(transparent)]
    Failed(#[from] WriteError),
    /// The spool was closed.
    #[error("the spool is closed; nothing of this was stored")]
    Closed,
}

/// What became of messages that were appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The position of the first message; the others follow.
    pub first: u64,
    /// How many were stored: all of them, or none when they were dropped by [`WhenFull::DropNewest`].
    pub count: u64,
    /// How many were dropped, which is counted.
    pub dropped: u64,
}

/// A promise of the writer. Dropping it does not take the messages back.
#[derive(Debug)]
#[must_use = "messages are durable only when their ticket says so"]
pub struct Ticket<T>(oneshot::Receiver<Result<T, Refused>>);

impl<T> Ticket<T> {
    /// Waits until it is done and durable.
    ///
    /// # Errors
    /// [`Refused::Failed`] when writing failed, [`Refused::Closed`] when the spool ended before.
    pub async fn done(self) -> Result<T, Refused> {
        self.0.await.unwrap_or(Err(Refused::Closed))
    }

    /// Waits on a thread that runs no asynchronous task.
    ///
    /// # Errors
    /// Those of [`Ticket::done`].
    pub fn wait(self) -> Result<T, Refused> {
        self.0.blocking_recv().unwrap_or(Err(Refused::Closed))
    }
}

type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// What waits for the writer.
#[derive(Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    /// Bytes of records among the items.
    pub bytes: usize,
    closed: bool,
}

enum Item {
    Append(Bodies, Reply<Stored>),
    Open(Vec<Arc<str>>, Start, Reply<Vec<Arc<Place>>>),
    Remove(Vec<Arc<str>>, Reply<()>),
    Complete(Reply<()>),
    Flush(Reply<()>),
}

/// An open spool. Dropping it closes it.
pub struct Spool {
    shared: Arc<Shared>,
    limits: SpoolLimits,
    writer: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Spool {
    /// Opens the spool in a folder, which is made when there is none.
    ///
    /// # Errors
    /// An [`OpenError`] that says what to do. Damage is no error: see [`Recovered`].
    pub fn open(folder: &Path, limits: SpoolLimits) -> Result<(Self, Recovered), OpenError> {
        let fs = RealFs::at(folder)
            .map_err(|source| OpenError::Io { doing: "making the folder", source })?;
        Self::open_on(Arc::new(fs), limits)
    }

    /// Opens the spool on a file system.
    ///
    /// # Errors
    /// Those of [`Spool::open`].
    pub fn open_on(fs: Arc<dyn Fs>, limits: SpoolLimits) -> Result<(Self, Recovered), OpenError> {
        let clock = Clock(Instant::now());
        let (log, recovered) = Log::open(fs, limits.clone(), clock.now())?;
        let shared = log.shared.clone();
        let writer = std::thread::Builder::new()
            .name("tidegate-spool".to_owned())
            .spawn(move || write_all(log, &clock))
            .map_err(|source| OpenError::Io { doing: "starting the writer", source })?;
        Ok((Self { shared, limits, writer: Some(writer) }, recovered))
    }

    /// Takes messages without waiting. They are stored in this order, without others between them, and
    /// are durable when the ticket says so.
    ///
    /// # Errors
    /// [`Refused`]: [`Refused::Full`] and [`Refused::Busy`] pass, the others do not.
    pub fn append(&self, messages: &[Message]) -> Result<Ticket<Stored>, Refused> {
        let mut bodies = Bodies::default();
        for message in messages {
            encode(message, None, &mut bodies.bytes);
            let got = bodies.close();
            if got > self.limits.record_bytes {
                return Err(Refused::TooLong { got, most: self.limits.record_bytes });
            }
        }
        let (reply, ticket) = oneshot::channel();
        let span = bodies.span();
        let mut queue = self.shared.queue();
        let used = self.shared.used.load(Ordering::Acquire) + queue.bytes as u64 + span;
        if queue.closed {
            return Err(Refused::Closed);
        }
        if messages.is_empty() {
            reply.send(Ok(Stored { first: self.shared.end(), count: 0, dropped: 0 })).ok();
            return Ok(Ticket(ticket));
        }
        if used > self.limits.bytes && self.limits.when_full == WhenFull::DropNewest {
            drop(queue);
            let dropped = messages.len() as u64;
            self.shared.state().dropped_newest += dropped;
            reply.send(Ok(Stored { first: self.shared.end(), count: 0, dropped })).ok();
            return Ok(Ticket(ticket));
        }
        if used > self.limits.bytes && self.limits.when_full == WhenFull::Block {
            return Err(Refused::Full { used, limit: self.limits.bytes });
        }
        // One append is taken however long it is, as long as none waits: its sender has limits too.
        if queue.bytes > 0 && queue.bytes + bodies.bytes.len() > self.limits.queue_bytes {
            return Err(Refused::Busy { queued: queue.bytes, limit: self.limits.queue_bytes });
        }
        queue.bytes += span as usize;
        queue.items.push_back(Item::Append(bodies, reply));
        drop(queue);
        self.shared.work.notify_one();
        Ok(Ticket(ticket))
    }

    /// Takes messages, waiting for room first.
    ///
    /// # Errors
    /// A [`Refused`] that does not pass.
    pub async fn append_when_room(&self, messages: &[Message]) -> Result<Ticket<Stored>, Refused> {
        loop {
            let room = self.shared.room.notified();
            match self.append(messages) {
                Err(Refused::Full { .. } | Refused::Busy { .. }) => room.await,
                other => return other,
            }
        }
    }

    /// Waits until the queue has been emptied or segments have been deleted; then it is worth offering
    /// messages again. Make the future before the attempt, so that nothing is missed between.
    pub async fn room(&self) {
        self.shared.room.notified().await;
    }

    /// Opens cursors by name, all with one sync. Those that do not exist start at `start`; they are
    /// durable when the ticket says so. A cursor counts from when it was opened: what is
    /// appended after the ticket is done is behind its start.
    ///
    /// # Errors
    /// [`Refused::Name`], [`Refused::Closed`], and through the ticket [`Refused::Failed`].
    pub fn open_cursors(&self, names: &[&str], start: Start) -> Result<Cursors, Refused> {
        if let Some(name) = names.iter().find(|name| name.len() > NAME_MAX) {
            return Err(Refused::Name { got: name.len() });
        }
        let names = names.iter().map(|name| Arc::from(*name)).collect();
        let ticket = self.ask(|reply| Item::Open(names, start, reply))?;
        Ok(Cursors { shared: self.shared.clone(), ticket })
    }

    /// Removes cursors by name; their segments may be deleted then. Unknown names are no error.
    ///
    /// # Errors
    /// [`Refused::Closed`], and through the ticket [`Refused::Failed`]: then they may be back after a restart.
    pub fn remove_cursors(&self, names: &[&str]) -> Result<Ticket<()>, Refused> {
        let names = names.iter().map(|name| Arc::from(*name)).collect();
        self.ask(|reply| Item::Remove(names, reply))
    }

    /// Says that all cursors that shall exist have been opened. Needed once after
    /// [`Recovered::cursors_lost`]: until then nothing is deleted and every new cursor starts at the oldest record.
    ///
    /// # Errors
    /// [`Refused::Closed`].
    pub fn cursors_complete(&self) -> Result<Ticket<()>, Refused> {
        self.ask(Item::Complete)
    }

    /// Makes the positions of all cursors durable.
    ///
    /// # Errors
    /// [`Refused::Closed`], and through the ticket [`Refused::Failed`].
    pub fn flush(&self) -> Result<Ticket<()>, Refused> {
        self.ask(Item::Flush)
    }

    /// A reader from a cursor's position on.
    #[must_use]
    pub fn reader(&self, cursor: &Cursor) -> Reader {
        Reader::new(cursor)
    }

    /// The numbers now.
    #[must_use]
    pub fn status(&self) -> SpoolStatus {
        self.shared.status(self.limits.bytes)
    }

    /// Writes what waits, makes everything durable and ends the writer. Blocks meanwhile.
    pub fn close(self) {
        drop(self);
    }

    fn ask<T>(&self, item: impl FnOnce(Reply<T>) -> Item) -> Result<Ticket<T>, Refused> {
        let (reply, ticket) = oneshot::channel();
        let mut queue = self.shared.queue();
        if queue.closed {
            return Err(Refused::Closed);
        }
        queue.items.push_back(item(reply));
        drop(queue);
        self.shared.work.notify_one();
        Ok(Ticket(ticket))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.work.notify_one();
        if let Some(writer) = self.writer.take() {
            // It ends by itself; that it panicked was reported where it did.
            writer.join().ok();
        }
    }
}

/// Cursors that are being opened.
#[must_use = "cursors are durable only when their ticket says so"]
pub struct Cursors {
    shared: Arc<Shared>,
    ticket: Ticket<Vec<Arc<Place>>>,
}

impl Cursors {
    /// Waits until they are durable; in the order of the names.
    ///
    /// # Errors
    /// Those of [`Ticket::done`].
    pub async fn done(self) -> Result<Vec<Cursor>, Refused> {
        let places = self.ticket.done().await?;
        Ok(handles(&self.shared, places))
    }

    /// Waits on a thread that runs no asynchronous task.
    ///
    /// # Errors
    /// Those of [`Ticket::done`].
    pub fn wait(self) -> Result<Vec<Cursor>, Refused> {
        let places = self.ticket.wait()?;
        Ok(handles(&self.shared, places))
    }
}

fn handles(shared: &Arc<Shared>, places: Vec<Arc<Place>>) -> Vec<Cursor> {
    places.into_iter().map(|place| Cursor { shared: shared.clone(), place }).collect()
}

struct Clock(Instant);

impl Clock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Now { wall_ms: millis(wall), steady_ms: millis(self.0.elapsed()) }
    }
}

/// Work that was taken from the queue: a group of appends, or one request.
enum Work {
    Group(Vec<Bodies>, Vec<Reply<Stored>>),
    Request(Item),
    Idle,
    End,
}

/// The writer thread.
fn write_all(mut log: Log, clock: &Clock) {
    let mut pause = 0;
    loop {
        match take(&log.shared, pause) {
            Work::Group(bodies, replies) => commit(&mut log, &bodies, replies, clock.now()),
            Work::Request(item) => answer(&mut log, item, clock.now()),
            Work::Idle => {}
            Work::End => break,
        }
        pause = log.tend(clock.now());
    }
    if let Err(error) = log.close(clock.now()) {
        tracing::warn!(%error, "the spool did not end in order; some deliveries may be repeated");
    }
}

/// Waits at most `pause` milliseconds for something to do.
fn take(shared: &Shared, pause: u64) -> Work {
    let mut queue = shared.queue();
    if queue.items.is_empty() && !queue.closed {
        // Woken for an append, a request, the end, or the first cursor that moves; one may have moved
        // since the pause was chosen.
        let pause =
            if shared.moved.load(Ordering::Acquire) { pause.min(LEDGER_WRITE_MS) } else { pause };
        let woken = shared.work.wait_timeout(queue, Duration::from_millis(pause));
        queue = woken.unwrap_or_else(std::sync::PoisonError::into_inner).0;
    }
    let (mut group, mut replies, mut bytes) = (Vec::new(), Vec::new(), 0);
    while let Some(item) = queue.items.pop_front() {
        match item {
            Item::Append(bodies, reply)
                if group.is_empty() || bytes + bodies.bytes.len() <= GROUP_BYTES =>
            {
                bytes += bodies.bytes.len();
                queue.bytes = queue.bytes.saturating_sub(bodies.span() as usize);
                group.push(bodies);
                replies.push(reply);
            }
            item if group.is_empty() => return Work::Request(item),
            item => {
                queue.items.push_front(item);
                break;
            }
        }
    }
    match group.is_empty() {
        false => Work::Group(group, replies),
        true if queue.closed => Work::End,
        true => Work::Idle,
    }
}

fn commit(log: &mut Log, group: &[Bodies], replies: Vec<Reply<Stored>>, now: Now) {
    // Producers may fill the queue again while this group is written.
    log.shared.room.notify_waiters();
    let written = log.write(group, now);
    let mut first = written.as_ref().copied().unwrap_or(0);
    for (bodies, reply) in group.iter().zip(replies) {
        let count = bodies.each.len() as u64;
        // Who dropped the ticket does not want to know.
        reply
            .send(match &written {
                Ok(_) => Ok(Stored { first, count, dropped: 0 }),
                Err(error) => Err(error.clone().into()),
            })
            .ok();
        first += count;
    }
}

fn answer(log: &mut Log, item: Item, now: Now) {
    match item {
        Item::Open(names, start, reply) => {
            reply.send(log.open_cursors(&names, start, now).map_err(Into::into)).ok();
        }
        Item::Remove(names, reply) => {
            reply.send(log.remove_cursors(&names, now).map_err(Into::into)).ok();
        }
        Item::Complete(reply) => {
            log.cursors_complete();
            reply.send(Ok(())).ok();
        }
        Item::Flush(reply) => {
            reply.send(log.checkpoint(now).map_err(Into::into)).ok();
        }
        Item::Append(..) => {}
    }
}
