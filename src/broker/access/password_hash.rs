//! The hash of a password, as the configuration has it: reading, writing, making and checking one.
//!
//! How many are checked at the same time, and for whom, stands in `passwords`.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::pbkdf2;

/// What a hash starts with: PBKDF2 (RFC 8018) with HMAC-SHA-256.
const SCHEME: &str = "pbkdf2-sha256";

/// Rounds of a new hash, and the most that a hash may ask for.
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).expect("invariant: it is not 0");
const ROUNDS_MAX: u32 = 10_000_000;

/// Bytes of a hash, and of the salt of a new one.
const HASH_BYTES: usize = 32;
const SALT_BYTES: usize = 16;

/// The hash of a password: `$pbkdf2-sha256$i={rounds}${salt}${hash}`, salt and hash in Base64
/// without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    rounds: NonZeroU32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordHash").field("rounds", &self.rounds).finish_non_exhaustive()
    }
}

impl std::fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (salt, hash) = (STANDARD_NO_PAD.encode(&self.salt), STANDARD_NO_PAD.encode(&self.hash));
        write!(f, "${SCHEME}$i={}${salt}${hash}", self.rounds)
    }
}

impl PasswordHash {
    /// Hashes a password with a fresh salt.
    #[must_use]
    pub fn of(password: &[u8]) -> Self {
        Self::with_rounds(password, ROUNDS)
    }

    fn with_rounds(password: &[u8], rounds: NonZeroU32) -> Self {
        // The bits of a UUID that are no chance only make the salt no worse.
        let salt = uuid::Uuid::new_v4().into_bytes()[..SALT_BYTES].to_vec();
        let mut hash = vec![0; HASH_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password, &mut hash);
        Self { rounds, salt, hash }
    }

    /// Reads a hash.
    ///
    /// # Errors
    /// What is wrong, and how one is made.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "it is no hash of a password; expected `${SCHEME}$i=…$salt$hash`, as `tidegate hash-password` makes them"
            )
        };
        let parts: Vec<_> = text.split('$').collect();
        let ["", SCHEME, rounds, salt, hash] = parts.as_slice() else { return Err(wrong()) };
        let rounds = rounds.strip_prefix("i=").and_then(|rounds| rounds.parse().ok());
        let rounds = rounds.filter(|rounds: &NonZeroU32| rounds.get() <= ROUNDS_MAX);
        let rounds = rounds.ok_or_else(wrong)?;
        let decode = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| wrong());
        let (salt, hash) = (decode(salt)?, decode(hash)?);
        match hash.len() == HASH_BYTES && !salt.is_empty() {
            true => Ok(Self { rounds, salt, hash }),
            false => Err(wrong()),
        }
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::verify(algorithm, self.rounds, &self.salt, password, &self.hash).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A published vector of PBKDF2-HMAC-SHA-256: password `password`, salt `salt`, 4096 rounds.
    const VECTOR: &str = "$pbkdf2-sha256$i=4096$c2FsdA$xeR41ZKIyEGqUw22hFxMjZYok6ABzk4RpJY4c6qYE0o";

    #[test]
    fn passwords_are_checked_against_their_hash() {
        let hash = PasswordHash::parse(VECTOR).expect("a hash");
        assert!(hash.verify(b"password"));
        assert!(!hash.verify(b"Password") && !hash.verify(b""));
        assert_eq!(hash.to_string(), VECTOR);
        let few = NonZeroU32::MIN;
        let (one, two) =
            (PasswordHash::with_rounds(b"x", few), PasswordHash::with_rounds(b"x", few));
        assert_ne!(one.to_string(), two.to_string());
        let read = PasswordHash::parse(&one.to_string()).expect("what is written is read");
        assert!(read.verify(b"x") && !read.verify(b"y") && two.verify(b"x"));
        for bad in [
            "",
            "password",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$eA",
            "$pbkdf2-sha256$i=0$c2FsdA$xeR41ZKIyEGqUw22hFxMjZYok6ABzk4RpJY4c6qYE0o",
            "$pbkdf2-sha256$i=4096$c2FsdA$c2hvcnQ",
            "$pbkdf2-sha256$i=4096$c2FsdA",
        ] {
            assert!(PasswordHash::parse(bad).is_err(), "{bad}");
        }
    }
}
