//! The operations on rules: what `CreateRule` and its siblings ask for, what is stored of it, and how a
//! stored rule comes to run.
//!
//! A rule is compiled and run by the engine, to which it goes through [`crate::api::Rules`]. Read `rule`
//! and `action`, which have the operations; `source` and `destination` say what the protocol's topics
//! and configurations mean; `running` makes one rule of all that for the engine.

pub mod action;
mod destination;
pub mod rule;
pub mod running;
mod source;
