//! What any signed request must pass, whichever vendor's: its time is near, its signature is the one
//! that the server makes, it comes once, and its key does not send too much.
//!
//! It knows no protocol and looks up no key. What a refusal is called, each vendor's wing says.

pub mod link;
pub mod mac;
pub mod nonces;
pub mod rate;

/// How far a request's time may be from the server's, in minutes.
pub const WINDOW_MINUTES: u64 = 15;

/// The same in milliseconds.
pub const WINDOW_MS: u64 = WINDOW_MINUTES * 60 * 1000;

/// True when a request of that time may still come, or come already.
#[must_use]
pub fn is_near(time_ms: u64, now_ms: u64) -> bool {
    time_ms.abs_diff(now_ms) <= WINDOW_MS
}

/// What tells a signed request from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// The key that it names.
    pub key_id: &'a str,
    /// A text that no other request of the key has.
    pub nonce: &'a str,
    /// When it was made, in milliseconds since 1970.
    pub time_ms: u64,
}

/// What a request is told whose nonce was used, in the words of Alibaba's gateway.
pub const NONCE_USED: &str = "Specified signature nonce was used already.";

/// What a request is told that is too much; `{}` stands for the limit that it met.
pub const THROTTLED: &str = "Request was denied due to user flow control: {}";

/// Why a request whose signature is good does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It, or another with its nonce, came already.
    NonceUsed,
    /// Its key sends too much: which limit it met.
    Throttled(String),
}

impl Refused {
    /// What its sender is told.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::NonceUsed => NONCE_USED.to_owned(),
            Self::Throttled(limit) => THROTTLED.replacen("{}", limit, 1),
        }
    }
}
