//! Tidegate: SQL rules over device messages, in one daemon.
//!
//! # The main job
//! A source hands [`Batch`](connectors::contract::Batch)es of messages to the engine's ingress. The
//! engine looks up which rules' topic filters match, reads the fields that those rules name out of
//! the payload in one pass, evaluates WHERE and SELECT, and hands the records to the actions. Each
//! action has a queue of its own, a deadline, a retry schedule and, at the end, the rule's error action.
//!
//! # Map (may use →)
//! `main → cli → api → engine → rule → sql → connectors::contract`; `api` may use `thing` and
//! `broker`; the broker and the thing models reach the engine only through the contract's `Ingress`,
//! and the engine reaches the broker only as a `Publisher` that `cli::run` passes in.
//!
//! # What is deliberately absent
//! - `sql` does no input or output, has nothing async, and knows no clock but the message's.
//! - A compiled rule is immutable: a change makes a new snapshot, which is swapped in. Start and
//!   reload are one path.
//! - The engine never looks into a payload; the compiled rules do.
//! - No connector retries, and none knows a rule.
//! - No unbounded queue, recursion or retry.

pub mod broker;
pub mod problem;
pub mod rule;
pub mod sql;
pub mod yaml;
