//! Sessions and retained messages on disk, over a restart and over a crash.
//!
//! The sessions note in their journal what has changed; the [`Writer`] takes it from there, one group
//! after the other, into the file, and tells the journal, which lets go of those who wait. `rows` says
//! what is written and how a row is read, `store` writes and reads the file, `restore` makes sessions of
//! it when the daemon starts.
//!
//! It uses the sessions, and the steps that files of the daemon have in common (`rule::store`). It knows
//! no connection: who may be answered when is decided with the journal.

mod restore;
mod rows;
mod store;
mod writer;

pub use rows::KeptError;
pub use store::FILE;
pub use writer::Writer;
