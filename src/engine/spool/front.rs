//! The spool as its users see it: many producers, one writer thread, callbacks and tickets.
//!
//! Producers encode their messages and leave them in a queue that is bounded in bytes; the thread takes
//! all that waits, commits it as a group, and calls back. While it syncs, the next group forms. What holds
//! for callbacks is said in [`super`].

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use contract::Message;

use super::cursor::{Cursor, Start};
use super::fs::{Fs, RealFs};
use super::limits::SpoolLimits;
use super::log::{Bodies, Log};
use super::queue::{Admitted, Done, Item, Queue};
use super::reader::Reader;
use super::record::encode;
use super::recover::{OpenError, Recovered};
use super::refused::{NotTaken, Refused, Room, Stored};
use super::shared::Shared;
use super::status::SpoolStatus;
use super::ticket::{Cursors, Ticket};
use super::writer::{Clock, write_all};

/// Messages as records, to be [offered](Spool::offer) until there is room.
#[derive(Debug)]
pub struct Prepared(pub(super) Bodies);

impl Prepared {
    /// How many records.
    #[must_use]
    pub fn records(&self) -> usize {
        self.0.each.len()
    }

    /// Bytes that they take in the log.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.span()
    }
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
        let clock = Clock::started();
        let (log, recovered) = Log::open(fs, limits.clone(), clock.now())?;
        let shared = log.shared.clone();
        let writer = std::thread::Builder::new()
            .name("tidegate-spool".to_owned())
            .spawn(move || write_all(log, &clock))
            .map_err(|source| OpenError::Io { doing: "starting the writer", source })?;
        Ok((Self { shared, limits, writer: Some(writer) }, recovered))
    }

    /// Encodes messages for [`Spool::offer`], on the calling thread.
    ///
    /// # Errors
    /// [`Refused::TooLong`].
    pub fn prepare<'m>(
        &self,
        messages: impl IntoIterator<Item = &'m Message>,
    ) -> Result<Prepared, Refused> {
        self.encode_all(messages, None)
    }

    /// Encodes messages that only the cursor of a name is to get ([`super::Record::bound`]).
    ///
    /// # Errors
    /// [`Refused::TooLong`] and [`Refused::Name`].
    pub fn prepare_bound<'m>(
        &self,
        name: &str,
        messages: impl IntoIterator<Item = &'m Message>,
    ) -> Result<Prepared, Refused> {
        Refused::check_name(name)?;
        self.encode_all(messages, Some(name))
    }

    fn encode_all<'m>(
        &self,
        messages: impl IntoIterator<Item = &'m Message>,
        bound: Option<&str>,
    ) -> Result<Prepared, Refused> {
        let mut bodies = Bodies::default();
        for message in messages {
            encode(message, bound, &mut bodies.bytes);
            let got = bodies.close();
            if got > self.limits.record_bytes {
                return Err(Refused::TooLong { got, most: self.limits.record_bytes });
            }
        }
        Ok(Prepared(bodies))
    }

    /// Takes records without waiting. They are stored in this order, without others between them; `done`
    /// is called with their owner when they are durable or when writing them failed. When nothing
    /// is to be stored (no records, or all dropped by [`super::WhenFull::DropNewest`]) it is called as
    /// [`Spool::pass`] does.
    ///
    /// # Errors
    /// [`NotTaken`] gives everything back, uncalled: [`Refused::Full`] and [`Refused::Busy`] pass,
    /// [`Refused::Closed`] does not.
    pub fn offer<T, F>(
        &self,
        prepared: Prepared,
        room: Room,
        owner: T,
        done: F,
    ) -> Result<(), NotTaken<Prepared, T, F>>
    where
        T: Send + 'static,
        F: FnOnce(T, Result<Stored, Refused>) + Send + 'static,
    {
        let (span, count) = (prepared.0.span() as usize, prepared.records() as u64);
        let queue = self.shared.queue();
        let used = self.shared.used.load(Ordering::Acquire);
        let dropped = match queue.admit(span, used, room, &self.limits) {
            Admitted::Yes if count > 0 => {
                let done = move |stored| done(owner, stored);
                self.shared.put(queue, Item::Append(prepared.0, Box::new(done)));
                return Ok(());
            }
            Admitted::Yes => 0,
            Admitted::Dropped => count,
            Admitted::No(why) => return Err(NotTaken { why, offered: prepared, owner, done }),
        };
        let shared = self.shared.clone();
        let tell = move || {
            done(owner, Ok(Stored { first: shared.end(), count: 0, dropped }));
        };
        if self.shared.idle() {
            drop(queue);
            self.shared.state().dropped_newest += dropped;
            tell();
        } else {
            self.shared.put(queue, Item::Pass(Queue::weight(span), Box::new(tell)));
            self.shared.state().dropped_newest += dropped;
        }
        Ok(())
    }

    /// [Prepares](Spool::prepare) and [offers](Spool::offer) messages.
    ///
    /// # Errors
    /// A [`Refused`]; then `done` was dropped without a call. Who wants it back offers by itself.
    pub fn append_then<'m>(
        &self,
        messages: impl IntoIterator<Item = &'m Message>,
        room: Room,
        done: impl FnOnce(Result<Stored, Refused>) + Send + 'static,
    ) -> Result<(), Refused> {
        let done = move |(), stored| done(stored);
        self.offer(self.prepare(messages)?, room, (), done).map_err(|not| not.why)
    }

    /// [`Spool::append_then`] of messages that only the cursor of a name is to get.
    ///
    /// # Errors
    /// Those of [`Spool::append_then`], and [`Refused::Name`].
    pub fn append_bound_then<'m>(
        &self,
        name: &str,
        messages: impl IntoIterator<Item = &'m Message>,
        room: Room,
        done: impl FnOnce(Result<Stored, Refused>) + Send + 'static,
    ) -> Result<(), Refused> {
        let done = move |(), stored| done(stored);
        self.offer(self.prepare_bound(name, messages)?, room, (), done).map_err(|not| not.why)
    }

    /// Takes messages of a source without waiting; they are durable when the ticket says so.
    ///
    /// # Errors
    /// [`Refused`]: [`Refused::Full`] and [`Refused::Busy`] pass, the others do not.
    pub fn append(&self, messages: &[Message]) -> Result<Ticket<Stored>, Refused> {
        let (done, ticket) = Ticket::new();
        self.append_then(messages, Room::Source, done).map(|()| ticket)
    }

    /// Takes messages of a source, waiting for room first.
    ///
    /// # Errors
    /// A [`Refused`] that does not pass.
    pub async fn append_when_room(&self, messages: &[Message]) -> Result<Ticket<Stored>, Refused> {
        let (done, ticket) = Ticket::new();
        let mut prepared = self.prepare(messages)?;
        let mut done = move |(), stored| done(stored);
        loop {
            let room = self.room();
            match self.offer(prepared, Room::Source, (), done) {
                Ok(()) => return Ok(ticket),
                Err(not) if !not.why.passes() => return Err(not.why),
                Err(not) => (prepared, done) = (not.offered, not.done),
            }
            room.await;
        }
    }

    /// Calls `done` with `owner` behind everything that was handed in before and without a disk: at once
    /// on the calling thread when nothing of that is left to do (one atomic load), else in its turn on
    /// the writer's. `bytes` is what it holds in memory meanwhile.
    ///
    /// # Errors
    /// [`NotTaken`] with [`Refused::Busy`] or [`Refused::Closed`], uncalled.
    pub fn pass<T, F>(&self, bytes: usize, owner: T, done: F) -> Result<(), NotTaken<(), T, F>>
    where
        T: Send + 'static,
        F: FnOnce(T) + Send + 'static,
    {
        if self.shared.idle() {
            done(owner);
            return Ok(());
        }
        let bytes = Queue::weight(bytes);
        let queue = self.shared.queue();
        if let Err(why) = queue.admit_waiting(bytes, Room::Source, &self.limits) {
            return Err(NotTaken { why, offered: (), owner, done });
        }
        self.shared.put(queue, Item::Pass(bytes, Box::new(move || done(owner))));
        Ok(())
    }

    /// Resolves when the queue has been emptied or segments have been deleted since this call; then it is
    /// worth offering messages again. Make the future before the attempt, so that nothing is missed
    /// between.
    pub fn room(&self) -> impl Future<Output = ()> + Send + '_ {
        self.shared.room.notified()
    }

    /// Opens cursors by name, each with its own start, all with one sync. `done` gets them in the order
    /// of the names, with the position behind the last record then: they are durable, and what is
    /// handed in after this call stands at that position or behind it.
    ///
    /// # Errors
    /// [`Refused::Name`] and [`Refused::Closed`], uncalled; `done` may get [`Refused::Failed`].
    pub fn open_cursors_then(
        &self,
        names: &[(&str, Start)],
        done: impl FnOnce(Result<(Vec<Cursor>, u64), Refused>) + Send + 'static,
    ) -> Result<(), Refused> {
        let shared = self.shared.clone();
        let done = move |opened: Result<_, _>| {
            done(opened.map(|(places, end)| (Cursor::all(&shared, places), end)));
        };
        self.ask_to_open(names.iter().copied(), Box::new(done))
    }

    /// Opens cursors by name. Those that do not exist start at `start`; they are durable when the ticket
    /// says so.
    ///
    /// # Errors
    /// [`Refused::Name`], [`Refused::Closed`], and through the ticket [`Refused::Failed`].
    pub fn open_cursors(&self, names: &[&str], start: Start) -> Result<Cursors, Refused> {
        let (done, ticket) = Ticket::new();
        self.ask_to_open(names.iter().map(|name| (*name, start)), Box::new(done))?;
        Ok(Cursors { shared: self.shared.clone(), ticket })
    }

    fn ask_to_open<'n>(
        &self,
        names: impl Iterator<Item = (&'n str, Start)>,
        done: Done<super::queue::Opened>,
    ) -> Result<(), Refused> {
        let checked = |(name, start)| Refused::check_name(name).map(|()| (Arc::from(name), start));
        let names = names.map(checked).collect::<Result<_, _>>()?;
        self.ask(Item::Open(names, done))
    }

    /// All cursors that exist; right after opening those that were found.
    #[must_use]
    pub fn cursors(&self) -> Vec<Cursor> {
        let places = self.shared.state().places.values().cloned().collect();
        Cursor::all(&self.shared, places)
    }

    /// Commits many cursors of this spool, each as [`Cursor::commit`] does, and wakes the writer once.
    pub fn commit_all<'c>(&self, moves: impl IntoIterator<Item = (&'c Cursor, u64)>) {
        let mut moved = false;
        for (cursor, next) in moves {
            moved |= cursor.advance(next);
        }
        if moved {
            self.shared.cursor_moved();
        }
    }

    /// Removes cursors by name; their segments may be deleted then. Unknown names are no error.
    ///
    /// # Errors
    /// [`Refused::Closed`], and through the ticket [`Refused::Failed`]: then they may be back after a restart.
    pub fn remove_cursors(&self, names: &[&str]) -> Result<Ticket<()>, Refused> {
        let (done, ticket) = Ticket::new();
        let names = names.iter().map(|name| Arc::from(*name)).collect();
        self.ask(Item::Remove(names, Box::new(done))).map(|()| ticket)
    }

    /// Says that all cursors that shall exist have been opened. Needed once after
    /// [`Recovered::cursors_lost`]: until then nothing is deleted and every new cursor starts at the oldest record.
    ///
    /// # Errors
    /// [`Refused::Closed`].
    pub fn cursors_complete(&self) -> Result<Ticket<()>, Refused> {
        let (done, ticket) = Ticket::new();
        self.ask(Item::Complete(Box::new(done))).map(|()| ticket)
    }

    /// Makes the positions of all cursors durable.
    ///
    /// # Errors
    /// [`Refused::Closed`], and through the ticket [`Refused::Failed`].
    pub fn flush(&self) -> Result<Ticket<()>, Refused> {
        let (done, ticket) = Ticket::new();
        self.ask(Item::Flush(Box::new(done))).map(|()| ticket)
    }

    /// Puts a request into the queue. Requests are few, so no limit holds for them.
    fn ask(&self, item: Item) -> Result<(), Refused> {
        let queue = self.shared.queue();
        if queue.closed {
            return Err(Refused::Closed);
        }
        self.shared.put(queue, item);
        Ok(())
    }

    /// A reader from a cursor's position on.
    #[must_use]
    pub fn reader(&self, cursor: &Cursor) -> Reader {
        Reader::new(cursor)
    }

    /// The position behind the last durable record.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.shared.end()
    }

    /// The numbers now.
    #[must_use]
    pub fn status(&self) -> SpoolStatus {
        self.shared.status(self.limits.bytes)
    }

    /// Writes what waits, calls back, makes everything durable and ends the writer. Blocks meanwhile.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.work.notify_one();
        // A callback that holds the last reference cannot wait for the thread on which it runs.
        let own = |writer: &JoinHandle<()>| writer.thread().id() == std::thread::current().id();
        if let Some(writer) = self.writer.take().filter(|writer| !own(writer)) {
            // It ends by itself; that it panicked was reported where it did.
            writer.join().ok();
        }
    }
}
