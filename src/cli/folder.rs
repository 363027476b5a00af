//! The folder of data: one daemon has it, and nobody but its user can look into it.

use std::fs::{File, Metadata, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::config::{Config, DEFAULT_FILE};
use crate::rule::store::private_folder;
use connectors::contract::private;

/// Who has it locked runs here.
const LOCK_FILE: &str = "lock";

/// What others may do with a file.
const OTHERS: u32 = 0o077;

/// Takes the data folder for this daemon: two of them would mix up their rules and keys. The system
/// gives it back when the process ends, however it ends.
pub(super) fn take(config: &Config) -> anyhow::Result<File> {
    let folder = config.path(&config.data_dir);
    make(&folder)?;
    let path = folder.join(LOCK_FILE);
    let mut options = OpenOptions::new();
    let file = private(options.create(true).truncate(false).write(true)).open(&path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!(
            "another daemon uses the folder {}; stop it, or set `data_dir` in the configuration",
            folder.display()
        ),
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    tighten(&folder, &config.path(&config.rules));
    Ok(file)
}

/// Makes the folder when it is missing.
pub(super) fn make(folder: &Path) -> anyhow::Result<()> {
    private_folder(folder)
        .with_context(|| format!("cannot make the folder {} (`data_dir`)", folder.display()))
}

/// The folder in which nothing of Tidegate is: no configuration, no rules, no data. A mistyped `cd`
/// looks like that.
pub(super) fn nothing_here(config: &Config) -> Option<PathBuf> {
    let parts = [Path::new(DEFAULT_FILE), &config.rules, &config.data_dir];
    let empty = config.file().is_none() && parts.iter().all(|part| !config.path(part).exists());
    empty.then(|| std::path::absolute(&config.base_dir).unwrap_or_else(|_| config.base_dir.clone()))
}

/// What a daemon or an earlier version of this program has left readable for others becomes readable
/// for its user only, and it is said.
fn tighten(folder: &Path, rules: &Path) {
    let mut open = Vec::new();
    // Rules below the folder are their author's, who may want others to read them.
    if rules.starts_with(folder) {
        if looser(folder).is_some() {
            tracing::warn!(
                "others can look into {}, the folder of data; give rules a folder elsewhere, and run `chmod 700` on this one",
                folder.display()
            );
        }
    } else {
        open.push(folder.to_owned());
    }
    let spool = folder.join("spool");
    for folder in [folder, &spool] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        open.extend(paths.filter(|path| path.is_file() || *path == spool));
    }
    let mut tightened = Vec::new();
    for path in open {
        let Some(data) = looser(&path) else { continue };
        let mode = data.permissions().mode() & !OTHERS;
        match std::fs::set_permissions(&path, Permissions::from_mode(mode)) {
            Ok(()) => tightened.push(path),
            Err(error) => tracing::warn!("others can read {}: {error}", path.display()),
        }
    }
    if let Some(first) = tightened.first() {
        tracing::warn!(
            "{} of the data could be read by other users, {} first; only the daemon's user can now",
            super::count(tightened.len(), "file or folder", "files and folders"),
            first.display()
        );
    }
}

/// What is known of a file of which others may do something; nothing of a link, which leads elsewhere.
fn looser(path: &Path) -> Option<Metadata> {
    let data = std::fs::symlink_metadata(path).ok()?;
    (!data.is_symlink() && data.permissions().mode() & OTHERS != 0).then_some(data)
}
