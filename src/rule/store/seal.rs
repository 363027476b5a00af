//! Secrets at rest: encrypted with a key that is derived from the operator's master key.
//!
//! The master key never gets into the store; whether it is the right one, an encrypted text tells.
//! AES-256-GCM with a random nonce per secret and the id of the access key as what goes with it, so that
//! nobody can exchange two of them. The key is PBKDF2-HMAC-SHA256 of the master key, with [`ROUNDS`]
//! rounds and a random salt; the store keeps both.

use std::fmt;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::pbkdf2;
use ring::rand::{SecureRandom as _, SystemRandom};
use sqlx::{AnyPool, Row as _};

use super::{Backend, StoreError, postgres, sqlite};

/// The environment variable that holds the master key.
pub const MASTER_KEY: &str = "TIDEGATE_MASTER_KEY";

/// The shortest master key that is taken, in bytes.
pub const MASTER_KEY_MIN: usize = 16;

/// Rounds of the derivation for a new store: some tenths of a second, once per start. The program
/// without optimisation takes many times as long for each.
const ROUNDS: u32 = if cfg!(debug_assertions) { 20_000 } else { 600_000 };

/// What an encrypted secret starts with; a plain one is made of hexadecimal digits.
const PREFIX: &str = "v1:";

/// What is encrypted to tell the right master key from others, and what goes with it.
const CHECK: (&str, &str) = ("master key", "tidegate");

/// Encrypts and decrypts secrets.
pub(super) struct Seal(LessSafeKey);

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

impl Seal {
    fn derive(master: &str, rounds: u32, salt: &[u8]) -> Self {
        let mut key = [0; 32];
        let rounds = NonZeroU32::new(rounds).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, master.as_bytes(), &mut key);
        let key = UnboundKey::new(&AES_256_GCM, &key).expect("invariant: the key has 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts the secret of an access key.
    ///
    /// # Errors
    /// [`StoreError::Random`].
    pub(super) fn seal(&self, id: &str, secret: &str) -> Result<String, StoreError> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut text = secret.as_bytes().to_vec();
        let sealed = Nonce::assume_unique_for_key(nonce);
        let sealed = self.0.seal_in_place_append_tag(sealed, Aad::from(id), &mut text);
        sealed.map_err(|_| StoreError::Random)?;
        Ok(format!("{PREFIX}{}", STANDARD.encode([&nonce[..], &text].concat())))
    }

    /// Decrypts the secret of an access key; `None` when the text is damaged, belongs to another, or
    /// was encrypted with another master key.
    pub(super) fn open(&self, id: &str, text: &str) -> Option<String> {
        let mut bytes = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
        if bytes.len() < NONCE_LEN {
            return None;
        }
        let mut rest = bytes.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).ok()?;
        let secret = self.0.open_in_place(nonce, Aad::from(id), &mut rest).ok()?;
        Some(std::str::from_utf8(secret).ok()?.to_owned())
    }
}

/// True for a secret that is encrypted.
pub(super) fn is_sealed(text: &str) -> bool {
    text.starts_with(PREFIX)
}

fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| StoreError::Random)?;
    Ok(bytes)
}

/// Makes ready what the secrets of a store need. With a master key, secrets that are still plain are
/// encrypted now, and nothing of them stays in the file.
///
/// # Errors
/// [`StoreError::NoMasterKey`], [`StoreError::WrongMasterKey`], [`StoreError::ShortMasterKey`], or what
/// the database says.
pub(super) async fn unlock(
    pool: &AnyPool,
    backend: Backend,
    place: &str,
    master: Option<&str>,
) -> Result<Option<Seal>, StoreError> {
    let setting = async |name: &str| {
        let row = sqlx::query("SELECT value FROM settings WHERE name = $1").bind(name);
        let row = row.fetch_optional(pool).await?;
        row.map(|row| row.try_get::<String, _>(0)).transpose()
    };
    let known = setting("key_salt").await?.zip(setting("key_check").await?);
    let Some(master) = master else {
        return match known {
            None => Ok(None),
            Some(_) => Err(StoreError::NoMasterKey { place: place.to_owned() }),
        };
    };
    if master.len() < MASTER_KEY_MIN {
        return Err(StoreError::ShortMasterKey);
    }
    let seal = match known {
        Some((salt, check)) => {
            let (rounds, salt) = salt.split_once(':').unwrap_or_default();
            let salt = STANDARD.decode(salt).unwrap_or_default();
            let seal = Seal::derive(master, rounds.parse().unwrap_or(ROUNDS), &salt);
            if seal.open(CHECK.0, &check).as_deref() != Some(CHECK.1) {
                return Err(StoreError::WrongMasterKey { place: place.to_owned() });
            }
            seal
        }
        None => {
            let salt: [u8; 16] = random()?;
            let seal = Seal::derive(master, ROUNDS, &salt);
            let check = seal.seal(CHECK.0, CHECK.1)?;
            let salt = format!("{ROUNDS}:{}", STANDARD.encode(salt));
            seal_all(pool, backend, &seal, &salt, &check).await?;
            seal
        }
    };
    Ok(Some(seal))
}

/// Encrypts the secrets of a store that has been without a master key, all of them or none.
async fn seal_all(
    pool: &AnyPool,
    backend: Backend,
    seal: &Seal,
    salt: &str,
    check: &str,
) -> Result<(), StoreError> {
    let mut change = match backend {
        Backend::Sqlite => pool.begin_with("BEGIN IMMEDIATE").await?,
        Backend::Postgres => {
            let mut change = pool.begin().await?;
            sqlx::raw_sql("LOCK TABLE access_keys IN EXCLUSIVE MODE").execute(&mut *change).await?;
            change
        }
    };
    for (name, value) in [("key_salt", salt), ("key_check", check)] {
        let insert = sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2)");
        insert.bind(name).bind(value).execute(&mut *change).await?;
    }
    let rows = sqlx::query("SELECT id, secret FROM access_keys").fetch_all(&mut *change).await?;
    for row in rows {
        let (id, secret): (String, String) = (row.try_get("id")?, row.try_get("secret")?);
        if is_sealed(&secret) {
            continue;
        }
        let update = sqlx::query("UPDATE access_keys SET secret = $1 WHERE id = $2");
        update.bind(seal.seal(&id, &secret)?).bind(id).execute(&mut *change).await?;
    }
    change.commit().await?;
    // The old texts are still in free places of the files and in the journal.
    let clean: &[&str] = match backend {
        Backend::Sqlite => sqlite::CLEAN,
        Backend::Postgres => postgres::CLEAN,
    };
    for statement in clean {
        sqlx::raw_sql(*statement).execute(pool).await?;
    }
    Ok(())
}
