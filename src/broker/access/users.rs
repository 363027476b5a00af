//! Clients that prove who they are with a user name and a password from the configuration.
//!
//! Only hashes of passwords are known here. Devices of the registry sign instead.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use contract::{Topic, TopicError, TopicFilter, TopicLimits};

use super::password_hash::PasswordHash;
use super::passwords::{Asked, Passwords};

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

#[cfg(test)]
mod tests {
    use super::*;

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
