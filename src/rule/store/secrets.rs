//! Secrets of the daemon's own: made once, kept in the store, encrypted where access keys are.

use sqlx::Row as _;

use super::seal::is_sealed;
use super::{Store, StoreError};

impl Store {
    /// The secret of that name: 64 hexadecimal digits, which are made the first time.
    ///
    /// # Errors
    /// [`StoreError::DamagedSecret`], [`StoreError::Random`], or what the database says.
    pub async fn secret(&self, name: &str) -> Result<String, StoreError> {
        let fresh = [(); 2].map(|()| uuid::Uuid::new_v4().simple().to_string()).concat();
        let fresh = self.sealed(name, &fresh)?;
        // Of two daemons that start at once, both get the one that came first.
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .bind(fresh)
        .execute(&self.pool)
        .await?;
        let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_one(&self.pool)
            .await?;
        let kept: String = row.try_get(0)?;
        let Some(seal) = &self.seal else { return Ok(kept) };
        if is_sealed(&kept) {
            return seal
                .open(name, &kept)
                .ok_or_else(|| StoreError::DamagedSecret(name.to_owned()));
        }
        // It is from a time when there was no master key.
        sqlx::query("UPDATE settings SET value = $1 WHERE name = $2")
            .bind(seal.seal(name, &kept)?)
            .bind(name)
            .execute(&self.pool)
            .await?;
        Ok(kept)
    }

    fn sealed(&self, name: &str, secret: &str) -> Result<String, StoreError> {
        match &self.seal {
            Some(seal) => seal.seal(name, secret),
            None => Ok(secret.to_owned()),
        }
    }
}
