//! The embedded broker, statement by statement, over raw packets, and with unmodified clients.
//!
//! Tests are named after the statements of the MQTT specifications that they show.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in what it calls too")]
mod access;
mod clients;
pub mod connections;
mod downlink;
mod durability;
mod handle;
mod oldest;
pub mod rig;
mod sessions;
mod sys;
