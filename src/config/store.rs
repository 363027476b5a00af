//! Where the store is: `store:`.
//!
//! Opening it is no part of this.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::rule::store::Server;

/// Where rules, actions, access keys, products and devices are kept. By default that is the file
/// `tidegate.db` in `data_dir`.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreForm {
    /// The PostgreSQL database that they are kept in instead, such as
    /// `postgres://tidegate:${env:PASSWORD}@db.example:5432/tidegate?sslmode=require`. Write special
    /// characters of the password as in URLs: `@` as `%40`. The other files stay in `data_dir`.
    pub postgres: Option<String>,
}

/// Leaves the URL out: it has a password.
impl std::fmt::Debug for StoreForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let postgres = self.postgres.as_ref().map(|_| "…");
        f.debug_struct("StoreForm").field("postgres", &postgres).finish()
    }
}

impl StoreForm {
    /// The PostgreSQL server, when there is one.
    ///
    /// # Errors
    /// What is wrong with its URL, without repeating it.
    pub fn server(&self) -> Result<Option<Server>, String> {
        self.postgres.as_deref().map(Server::parse).transpose()
    }
}
