//! The listener, the paths, and what is answered on them that is Tidegate's own. It stands on top: it
//! knows which wing answers what, and no wing knows it.
//!
//! Read `server`, then `routes`; the others answer on one path each.

mod explain;
mod files;
mod ingest;
mod pages;
mod root;
pub mod routes;
pub mod server;
mod spool;
mod status;
