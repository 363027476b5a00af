//! What is kept beside the messages: the store, the registry in it, the first access key, and the dead
//! letters.

use std::path::PathBuf;

use anyhow::Context as _;
use connectors::contract::now_ms;

use crate::cli::folder;
use crate::config::{self, Config};
use crate::engine::dead::{self, DeadLetters, DeadLimits};
use crate::registry::{Limits, Registry};
use crate::rule::store::{Claim, KEY_FILE, MASTER_KEY, Store};

/// Opens the store for this daemon alone. A folder was taken already, a database is taken here.
pub(super) async fn take(config: &Config) -> anyhow::Result<(Store, Option<Claim>)> {
    let Some(server) = config.store.server().map_err(anyhow::Error::msg)? else {
        return Ok((open(config).await?, None));
    };
    // Before its tables are brought up to date: that would be under the feet of another.
    let mut claim = server.claim().await?;
    let store = open(config).await?;
    claim.keep(store.clone());
    Ok((store, Some(claim)))
}

/// Opens the store, whoever else has it open.
pub(in crate::cli) async fn open(config: &Config) -> anyhow::Result<Store> {
    let folder = config.path(&config.data_dir);
    folder::make(&folder)?;
    // An empty variable is one that is not set.
    let master = std::env::var(MASTER_KEY).ok().filter(|key| !key.is_empty());
    if let Some(server) = config.store.server().map_err(anyhow::Error::msg)? {
        return Ok(Store::open_postgres(&server, master.as_deref()).await?);
    }
    Store::open_with(&folder, master.as_deref())
        .await
        .with_context(|| format!("cannot open the store in {}", folder.display()))
}

/// Makes the first access key, when there is none; the file with it, as long as it exists.
pub(super) async fn first_key(config: &Config, store: &Store) -> anyhow::Result<Option<PathBuf>> {
    let data_dir = config.path(&config.data_dir);
    store.first_key(&data_dir, now_ms()).await.context("cannot make the first access key")?;
    Ok(Some(data_dir.join(KEY_FILE)).filter(|file| file.exists()))
}

/// Opens the products and devices of the store.
pub(super) async fn registry(config: &Config, store: &Store) -> anyhow::Result<Registry> {
    let config::Limits { products, devices, groups, .. } = config.limits;
    let limits = Limits { products, devices, groups };
    Ok(Registry::open(store.clone(), limits).await?)
}

/// Opens what no action took.
pub(super) async fn dead_letters(config: &Config) -> anyhow::Result<DeadLetters> {
    let path = config.path(&config.data_dir).join(dead::FILE);
    let limits =
        DeadLimits { entries: config.limits.dead_letters, bytes: config.limits.dead_letter_bytes };
    DeadLetters::open(&path, limits)
        .await
        .with_context(|| format!("cannot open the dead letters in {}", path.display()))
}
