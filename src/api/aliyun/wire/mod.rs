//! The vendor's protocol as it is on the wire: how a request is signed, what its parameters may be, how
//! an answer and its error code are written.
//!
//! It knows no operation, no store and no rule.

pub mod answer;
pub mod call;
pub mod error;
pub mod page;
pub mod signature;
pub mod times;
pub mod xml;
