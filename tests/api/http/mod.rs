//! What Tidegate answers on paths of its own, and connections.

mod connections;
mod explain;
mod ingest;
mod pages;
mod status;
