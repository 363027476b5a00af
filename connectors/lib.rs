//! The sources and sinks of Tidegate, and the [`contract`] that they fulfil.
//!
//! One file (or folder) per *system*, source and sink together; no connector imports another, none
//! retries, sleeps or reads the clock of the engine. Adding one is a new file and two lines here.

pub mod contract;

use contract::{ConnectionSpec, SinkSpec, SourceSpec};

/// All connections, sorted by name.
pub const CONNECTIONS: &[ConnectionSpec] = &[];

/// All sinks, sorted by name.
pub const SINKS: &[SinkSpec] = &[];

/// All sources, sorted by name.
pub const SOURCES: &[SourceSpec] = &[];
