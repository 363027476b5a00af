//! Statements of other rule engines: which work here, which need a change, which can't be said.
//!
//! What is known about the peers is data: `names` their functions, `idioms` what is refused and what
//! means something else, `aws`, `emqx` and `ekuiper` what is written differently. It is applied by
//! `judge` on the lexemes of our own lexer; there is no parser of another language.

mod aws;
mod edit;
mod ekuiper;
mod emqx;
mod idioms;
mod judge;
mod names;

pub use judge::{Finding, Reason, Report, check};
pub use names::{PEER_NAMES, advice};

/// A rule engine whose statements people bring along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// AWS IoT Core rules.
    Aws,
    /// The rule engine of EMQX.
    Emqx,
    /// eKuiper.
    Ekuiper,
}

impl Peer {
    /// As its makers write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "AWS IoT",
            Self::Emqx => "EMQX",
            Self::Ekuiper => "eKuiper",
        }
    }
}
