//! Why the store could not do what it was asked for.

use std::io;
use std::path::PathBuf;

use super::seal::{MASTER_KEY, MASTER_KEY_MIN};

/// Why the store could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file or its folder can't be made or read.
    #[error("can't open the store {path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A newer version of the program wrote it.
    #[error(
        "the store {place} has version {found}, this program knows versions up to {known}: use the newer program, or another `data_dir` or database"
    )]
    TooNew {
        /// The file, or server and database.
        place: String,
        /// The version of the store.
        found: i64,
        /// The newest version that is known.
        known: usize,
    },
    /// The secrets are encrypted, and nobody has given the master key.
    #[error(
        "the access keys in {place} are encrypted: set the environment variable {MASTER_KEY} to their master key"
    )]
    NoMasterKey {
        /// The file, or server and database.
        place: String,
    },
    /// The secrets are encrypted with another master key.
    #[error(
        "{MASTER_KEY} is not the master key of the access keys in {place}: set it to the one with which the daemon first ran there"
    )]
    WrongMasterKey {
        /// The file, or server and database.
        place: String,
    },
    /// A master key that is easy to guess.
    #[error(
        "{MASTER_KEY} is too short: expected {MASTER_KEY_MIN} characters or more, such as `openssl rand -hex 32` makes"
    )]
    ShortMasterKey,
    /// A secret that can't be decrypted although the master key is right.
    #[error(
        "the secret of access key {0} is damaged: revoke it with `tidegate keys revoke {0}` and make another"
    )]
    DamagedSecret(String),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
    /// The PostgreSQL server is not there, or lets nobody in.
    #[error(
        "cannot reach the store {place}: {reason}; check `store.postgres` and that the server takes connections"
    )]
    Unreachable {
        /// Server and database, without the user and the password.
        place: String,
        /// What the system or the server said.
        reason: String,
    },
    /// Another daemon has the database.
    #[error(
        "another daemon uses the store {place}; stop it, or set another database in `store.postgres`"
    )]
    InUse {
        /// Server and database.
        place: String,
    },
    /// The database refused a statement.
    #[error("the store failed: {0}")]
    Database(#[from] sqlx::Error),
}
