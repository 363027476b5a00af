//! Delivery: one lane per action. A lane is what waits for the action and, while something does, one
//! task that hands it to the sink under a deadline, tries again what can heal, and gives up what
//! cannot.
//!
//! A lane never waits for another: what does not fit into its memory stays in the log, and what the
//! log does not have goes to the error action or is dropped and counted. Records of one device stay in
//! order within a lane.
//!
//! To read, in this order: an `item` comes to a `lane`, waits in its `queue`, and its task (`run`) hands
//! it over in an `attempt`. What the answer leads to is the `course`, with `backoff` and `breaker`. What
//! fails for good leaves by `give_up`: over the `fanout` of its record as one of the `envelopes`, or as a
//! dead letter. `backlog` reads what only the log has, `succession` is what a change of rules does to a
//! lane, and `counts` is what can be seen of it.
//!
//! It uses the log, the dead letters and what belongs to both ([`super::storage`]). It chooses no rule
//! and evaluates one only to read the log again.

mod attempt;
mod backlog;
mod backoff;
mod breaker;
mod counts;
mod course;
mod envelopes;
mod fanout;
mod give_up;
mod item;
mod lane;
mod queue;
mod run;
mod succession;
#[cfg(test)]
mod tests;

pub use backoff::{BACKOFF_MAX, BACKOFF_MIN, RETRY_AFTER_MAX};
pub use breaker::{BREAKER_FAILURES, BreakerState};
pub use counts::{LaneCounts, Reason};
pub(super) use fanout::Fanout;
pub(super) use item::Item;
pub use item::Receipt;
pub use lane::{Lane, LaneParts};
pub use queue::LaneLimits;
