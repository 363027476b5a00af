//! Clients that prove who they are with a user name and a password from the configuration.
//!
//! Only hashes of passwords are known here. Devices of the registry sign instead.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use connectors::contract::{Topic, TopicError, TopicFilter, TopicLimits};
use ring::pbkdf2;

use super::passwords::{Asked, Passwords};

/// What a hash starts with: PBKDF2 (RFC 8018) with HMAC-SHA-256.
const SCHEME: &str = "pbkdf2-sha256";

/// Rounds of a new hash, and the most that a hash may ask for.
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).expect("invariant: it is not 0");
const ROUNDS_MAX: u32 = 10_000_000;

/// Bytes of a hash, and of the salt of a new one.
const HASH_BYTES: usize = 32;
const SALT_BYTES: usize = 16;

/// A user as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user name.
    pub name: String,
    /// What its password must hash to.
    pub password_hash: PasswordHash,
    /// Where it may publish.
    pub publish: Vec<TopicFilter>,
    /// What it may subscribe to: these filters and what lies within them.
    pub subscribe: Vec<TopicFilter>,
}

impl User {
    /// A user with filters from the configuration.
    ///
    /// # Errors
    /// The filter that is none, and why.
    pub fn new(
        name: &str,
        password_hash: PasswordHash,
        publish: &[String],
        subscribe: &[String],
        limits: TopicLimits,
    ) -> Result<Self, (String, TopicError)> {
        let parse = |list: &[String]| -> Result<Vec<_>, _> {
            let one = |text: &String| {
                TopicFilter::parse(text.as_str(), limits).map_err(|error| (text.clone(), error))
            };
            list.iter().map(one).collect()
        };
        Ok(Self {
            name: name.to_owned(),
            password_hash,
            publish: parse(publish)?,
            subscribe: parse(subscribe)?,
        })
    }
}

/// All users.
#[derive(Debug, Clone)]
pub struct Users {
    users: Arc<HashMap<String, User>>,
    passwords: Arc<Passwords>,
}

impl Default for Users {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Users {
    /// These users; of two with the same name the last counts.
    #[must_use]
    pub fn new(users: Vec<User>) -> Self {
        let users = users.into_iter().map(|user| (user.name.clone(), user)).collect();
        Self { users: Arc::new(users), passwords: Arc::default() }
    }

    /// True when there is a user of that name.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.users.contains_key(name)
    }

    /// True when the password is that of the user. Takes as long for a name that no user has.
    pub(super) async fn verify(&self, name: &str, password: &[u8], from: IpAddr) -> bool {
        let user = self.users.get(name);
        // Any hash will do for a name that nobody has; without users there is nothing to hide.
        let Some(like) = user.or_else(|| self.users.values().next()) else { return false };
        let asked =
            Asked { name, known: user.is_some(), hash: &like.password_hash, password, from };
        self.passwords.check(asked).await
    }

    pub(super) fn may_publish(&self, name: &str, topic: &Topic) -> bool {
        let user = self.users.get(name);
        user.is_some_and(|user| user.publish.iter().any(|filter| filter.matches(topic)))
    }

    pub(super) fn may_subscribe(&self, name: &str, wanted: &TopicFilter) -> bool {
        let user = self.users.get(name);
        user.is_some_and(|user| {
            user.subscribe.iter().any(|filter| covers(filter.as_str(), wanted.as_str()))
        })
    }
}

/// True when every topic that `wanted` matches is matched by `filter`.
fn covers(filter: &str, wanted: &str) -> bool {
    let mut filter = filter.split('/');
    let mut wanted = wanted.split('/');
    let mut first = true;
    loop {
        match (filter.next(), wanted.next()) {
            // A wildcard at the start does not match topics that start with `$` (MQTT 5.0 §4.7.2).
            (Some("#" | "+"), Some(want)) if first && want.starts_with('$') => return false,
            (Some("#"), _) => return true,
            (Some("+"), Some(want)) if want != "#" => {}
            (Some(have), Some(want)) if have == want => {}
            (None, None) => return true,
            // `a/#` matches `a`, too: only `a/#` itself covers that.
            _ => return false,
        }
        first = false;
    }
}

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

    #[test]
    fn a_filter_covers_what_lies_within() {
        for (filter, wanted) in [
            ("#", "a/b"),
            ("#", "+/#"),
            ("a/#", "a/#"),
            ("a/#", "a/+/c"),
            ("a/#", "a/b/#"),
            ("a/+", "a/b"),
            ("a/+", "a/+"),
            ("a/+/c", "a/b/c"),
            ("/pk/+/#", "/pk/dn/user/+"),
            ("$SYS/#", "$SYS/x"),
            ("a/#", "a"),
        ] {
            assert!(covers(filter, wanted), "{filter} {wanted}");
        }
        for (filter, wanted) in [
            ("a/+", "a/#"),
            ("a/+", "a"),
            ("a/b", "a/+"),
            ("a/+", "a/b/c"),
            ("a/b/#", "a/#"),
            ("+", "#"),
            ("#", "$SYS/#"),
            ("+/x", "$SYS/x"),
            ("a", "a/#"),
        ] {
            assert!(!covers(filter, wanted), "{filter} {wanted}");
        }
    }
}
