//! What is on disk when the broker has acknowledged, and what is there again after a restart.

mod acknowledged;
mod restart;
