//! Users of the configuration: `users:`.
//!
//! What a user may do is decided in the broker.

use std::collections::HashSet;

use connectors::contract::TopicLimits;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::broker::{PasswordHash, User, Users};

/// A client with a user name and a password.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserForm {
    /// The user name.
    pub name: String,
    /// What `tidegate hash-password` prints.
    pub password_hash: String,
    /// Filters of the topics that it may publish to.
    #[serde(default)]
    pub publish: Vec<String>,
    /// Filters that it may subscribe to: these and what lies within them.
    #[serde(default)]
    pub subscribe: Vec<String>,
}

/// Leaves the hash out.
impl std::fmt::Debug for UserForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserForm").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The users, or the setting that is wrong and why.
pub(super) fn read(forms: &[UserForm], limits: TopicLimits) -> Result<Users, (String, String)> {
    let mut names = HashSet::new();
    let mut users = Vec::with_capacity(forms.len());
    for (index, form) in forms.iter().enumerate() {
        let at = |field: &str| format!("users[{index}].{field}");
        if form.name.is_empty() || !names.insert(&form.name) {
            let text = "expected a name that no other user has".to_owned();
            return Err((at("name"), text));
        }
        let hash = PasswordHash::parse(&form.password_hash);
        let hash = hash.map_err(|message| (at("password_hash"), message))?;
        let user = User::new(&form.name, hash, &form.publish, &form.subscribe, limits);
        users.push(user.map_err(|(text, error)| {
            let field = if form.publish.contains(&text) { "publish" } else { "subscribe" };
            (at(field), format!("`{text}`: {error}"))
        })?);
    }
    Ok(Users::new(users))
}
