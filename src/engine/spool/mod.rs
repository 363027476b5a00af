//! The spool: one shared append-only log on disk from which every action reads at its own pace.
//!
//! # What is where
//! A folder holds *segments* (`log-…`), which are appended to, then sealed, then deleted as a whole;
//! the *ledger* (`cursors.a`, `cursors.b`), which keeps a durable position for every cursor; and `lock`.
//! A message is stored once however many cursors have it ahead of them.
//!
//! # What is promised
//! - A callback is told, and a [`Ticket`] resolves to, success only after `fdatasync` of the log has returned for all its
//!   messages. One write and one sync serve everyone who waits ([`Spool`]).
//! - A cursor is never found ahead of what was committed to it, and never behind what was durable.
//! - A segment is deleted only after a synced ledger says that every cursor has passed it.
//! - A record is served with the bytes that were appended, or not at all: every head and every body
//!   has a checksum, and what is skipped is counted.
//! - A failed sync is never retried on the same file: its segment is abandoned at the last record that
//!   was durable, and the batch is written again to a new one (once; then the tickets fail).
//! - Positions are never given twice, so a cursor never skips a new record.
//!
//! # Callbacks
//! They run on the writer's thread, one after the other, in the order in which what they belong to was
//! handed in: after the sync of their group, before anything later is written. So they must not block
//! and not take long; they may append. One that panics is reported and caught. Each is called exactly
//! once, unless the call that takes it returns an error: then it never is.
//!
//! # What is checked when
//! Opening reads the header of every segment and the whole of the last one, where a torn end is cut.
//! All other records are verified when they are read.
//!
//! # What to read
//! On the way to the disk, `record` makes bytes of a message, `front` takes them in, they wait in the
//! `queue`, and the thread of the `writer` has the `log` append a group of them, each in a `frame`, to a
//! `segment`. `upkeep` moves the cursors, which the `ledger` keeps, and deletes what nobody needs. On the way
//! back, a `reader` goes through the segments with `walk`. `recover` opens what a run has left. All of it
//! asks the system through `fs` only, in whose place the tests put a disk that fails.
//!
//! # What is deliberately absent
//! It knows no rule, no action and no retry; it does not copy, compress or encrypt; it keeps no
//! records in memory (the system's page cache does).

mod cursor;
mod frame;
mod front;
mod fs;
mod ledger;
mod limits;
mod log;
mod queue;
mod reader;
mod record;
mod recover;
mod refused;
mod segment;
mod shared;
mod status;
#[cfg(test)]
pub(super) mod tests;
mod ticket;
mod upkeep;
mod walk;
mod writer;

pub use cursor::{Cursor, Start};
pub use front::{Prepared, Spool};
pub use fs::{File, Fs, Lock, RealFs};
pub use limits::{LimitsError, SpoolLimits, WhenFull};
pub use log::WriteError;
pub use reader::{Limit, ReadError, Reader, Record, Step};
pub use record::{RECORD_VERSION, RecordError, decode, encode, peek};
pub use recover::{OpenError, Recovered};
pub use refused::{NotTaken, Refused, Room, Stored};
pub use status::{CursorStatus, SpoolStatus};
pub use ticket::{Cursors, Ticket};
