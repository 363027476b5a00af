//! Access keys: who may use the API, and what for.
//!
//! It checks no signature; secrets leave it only in an [`AccessKey`] and in the file of the first one,
//! which is plain even where the store's are encrypted: it is how the owner is told.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::seal::is_sealed;
use super::{Store, StoreError, signed, unsigned};
use contract::private;

/// The file below the data directory that the first access key is written to, as two lines that a
/// shell can read.
pub const KEY_FILE: &str = "access-key";

/// What the owner of a key may do; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look at rules.
    Read,
    /// Also start and stop rules, and send messages.
    Operate,
    /// Also create, change and delete.
    Admin,
}

impl Role {
    /// The name in the configuration and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Read, Self::Operate, Self::Admin].into_iter().find(|role| role.as_str() == text)
    }
}

/// An access key. Its `Debug` leaves the secret out.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// What a request names.
    pub id: String,
    /// What a request is signed with.
    pub secret: String,
    /// What its owner may do.
    pub role: Role,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Milliseconds since 1970; `None` while the key is good.
    pub revoked_ms: Option<u64>,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey")
            .field("id", &self.id)
            .field("role", &self.role)
            .field("revoked_ms", &self.revoked_ms)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Makes a key with a fresh id and secret.
    ///
    /// # Errors
    /// What the database says.
    pub async fn create_key(&self, role: Role, now_ms: u64) -> Result<AccessKey, StoreError> {
        let key = fresh_key(role, now_ms);
        self.insert_key(&key).await?;
        Ok(key)
    }

    /// Makes the key without which a new store could not be used, when there has never been a key,
    /// and writes it to [`KEY_FILE`] in the data directory, which only its owner can read. `None`
    /// when there has been a key.
    ///
    /// # Errors
    /// [`StoreError::File`], or what the database says.
    pub async fn first_key(
        &self,
        data_dir: &Path,
        now_ms: u64,
    ) -> Result<Option<(AccessKey, PathBuf)>, StoreError> {
        if !self.keys().await?.is_empty() {
            return Ok(None);
        }
        let key = fresh_key(Role::Admin, now_ms);
        let path = data_dir.join(KEY_FILE);
        // The file comes first: a key that is in the store and in no file could not be used.
        write_key(&path, &key).map_err(|source| StoreError::File { path: path.clone(), source })?;
        self.insert_key(&key).await?;
        Ok(Some((key, path)))
    }

    async fn insert_key(&self, key: &AccessKey) -> Result<(), StoreError> {
        let secret = match &self.seal {
            Some(seal) => seal.seal(&key.id, &key.secret)?,
            None => key.secret.clone(),
        };
        sqlx::query(
            "INSERT INTO access_keys (id, secret, role, created_ms) VALUES ($1, $2, $3, $4)",
        )
        .bind(&key.id)
        .bind(secret)
        .bind(key.role.as_str())
        .bind(signed(key.created_ms))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The key of that id, revoked or not.
    ///
    /// # Errors
    /// What the database says.
    pub async fn key(&self, id: &str) -> Result<Option<AccessKey>, StoreError> {
        // PostgreSQL has no such text; anybody can ask, and it is no failure of the store.
        if id.contains('\0') {
            return Ok(None);
        }
        let row = sqlx::query("SELECT * FROM access_keys WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(|row| self.read_key(row)).transpose()
    }

    /// All keys, the oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn keys(&self) -> Result<Vec<AccessKey>, StoreError> {
        let rows = sqlx::query("SELECT * FROM access_keys ORDER BY created_ms, id")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| self.read_key(row)).collect()
    }

    fn read_key(&self, row: &AnyRow) -> Result<AccessKey, StoreError> {
        let (id, secret): (String, String) = (row.try_get("id")?, row.try_get("secret")?);
        let secret = match &self.seal {
            Some(seal) if is_sealed(&secret) => {
                seal.open(&id, &secret).ok_or_else(|| StoreError::DamagedSecret(id.clone()))?
            }
            _ => secret,
        };
        Ok(AccessKey {
            id,
            secret,
            // The table's CHECK leaves no other text; should one get in, it gives the fewest rights.
            role: Role::parse(row.try_get("role")?).unwrap_or(Role::Read),
            created_ms: unsigned(row.try_get("created_ms")?),
            revoked_ms: row.try_get::<Option<i64>, _>("revoked_ms")?.map(unsigned),
        })
    }

    /// Revokes a key for good. False when there is no good key of that id.
    ///
    /// # Errors
    /// What the database says.
    pub async fn revoke_key(&self, id: &str, now_ms: u64) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE access_keys SET revoked_ms = $1 WHERE id = $2 AND revoked_ms IS NULL",
        )
        .bind(signed(now_ms))
        .bind(id)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}

/// Writes a key so that it is on the disk when this returns. A file of an earlier try is replaced.
fn write_key(path: &Path, key: &AccessKey) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(problem) if problem.kind() != io::ErrorKind::NotFound => return Err(problem),
        _ => {}
    }
    let mut file = private(std::fs::OpenOptions::new().create_new(true).write(true)).open(path)?;
    let (id, secret) = (&key.id, &key.secret);
    writeln!(file, "TIDEGATE_ACCESS_KEY_ID={id}\nTIDEGATE_ACCESS_KEY_SECRET={secret}")?;
    file.sync_all()
}

/// 20 and 40 hexadecimal digits, of which 76 and 152 bits are random.
fn fresh_key(role: Role, now_ms: u64) -> AccessKey {
    let digits = |count: usize| -> String {
        let parts = [(); 2].map(|()| uuid::Uuid::new_v4().simple().to_string());
        parts.concat().chars().take(count).collect()
    };
    AccessKey {
        id: format!("TG{}", digits(20).to_uppercase()),
        secret: digits(40),
        role,
        created_ms: now_ms,
        revoked_ms: None,
    }
}
