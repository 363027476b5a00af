//! When rule files are read again: when the folder changes, and on SIGHUP.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use connectors::contract::Shutdown;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::cli::count;
use crate::engine::{Instead, Loaded, Refused, RuleSet};

/// Editors write a file in several steps; one reading serves for all that happens in this time.
const QUIET: Duration = Duration::from_millis(200);

/// Notices changes of a folder from the moment it is made.
pub(super) struct Watch {
    folder: PathBuf,
    changed: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    hangup: Option<Signal>,
}

impl Watch {
    /// Begins to watch. Made before the folder is read for the first time, so that no change falls in
    /// between, and so that no SIGHUP ends a daemon that is about to be ready.
    pub(super) fn new(folder: &Path) -> Self {
        let changed = Arc::new(Notify::new());
        let watcher = watcher(folder, Arc::clone(&changed));
        let hangup = signal(SignalKind::hangup())
            .inspect_err(|error| tracing::warn!("SIGHUP cannot be received: {error}"))
            .ok();
        Self { folder: folder.to_owned(), changed, watcher, hangup }
    }

    /// Reads the rules again whenever they change, until told to stop.
    pub(super) async fn run(mut self, rules: Arc<RuleSet>, mut shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                // The folder may be another one by now, which nobody watches yet.
                () = received(&mut self.hangup) => self.watcher = watcher(&self.folder, Arc::clone(&self.changed)),
                () = self.changed.notified() => tokio::time::sleep(QUIET).await,
            }
            let (set, folder) = (Arc::clone(&rules), self.folder.clone());
            let read = tokio::task::spawn_blocking(move || set.load_folder(&folder)).await;
            let Ok(loaded) = read else {
                tracing::error!("the rules could not be read again; the last good ones stay");
                continue;
            };
            tell(&loaded);
            tracing::info!("rules were read again: {}", summary(&loaded, &rules));
            if self.watcher.is_some() && !self.folder.exists() {
                self.watcher = None;
                tracing::warn!("{} is gone; send SIGHUP when it is back", self.folder.display());
            }
        }
    }
}

/// Waits for a signal; for ever when it cannot be received.
async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Says what is refused of rule files and what runs in its place, and what may surprise.
pub(super) fn tell(loaded: &Loaded) {
    for line in loaded.refused.iter().flat_map(Refused::lines) {
        tracing::error!("{line}");
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
}

/// How many rules run now, and in which version.
fn summary(loaded: &Loaded, rules: &RuleSet) -> String {
    let running = rules.report().iter().filter(|report| report.rule.enabled).count();
    let earlier = loaded.refused.iter().map(|refused| match refused.instead {
        Instead::Earlier { .. } => 1,
        Instead::File(rules) => rules,
        Instead::Nothing | Instead::Rules => 0,
    });
    let mut text = count(running, "rule runs", "rules run");
    let counts = [
        (earlier.sum(), "in its last good version", "in their last good versions"),
        (nothing(loaded), "is refused and does not run", "are refused and do not run"),
    ];
    for (number, one, many) in counts.into_iter().filter(|(number, ..)| *number > 0) {
        text.push_str(&format!(", {}", count(number, one, many)));
    }
    text
}

/// Rules that are refused and have no earlier version.
fn nothing(loaded: &Loaded) -> usize {
    loaded.refused.iter().filter(|refused| refused.instead == Instead::Nothing).count()
}

/// Watches a folder. Without a watcher SIGHUP still works.
fn watcher(folder: &Path, changed: Arc<Notify>) -> Option<RecommendedWatcher> {
    let tell = move |event: notify::Result<notify::Event>| match event {
        Ok(event) if event.kind.is_access() => {}
        _ => changed.notify_one(),
    };
    let watcher = notify::recommended_watcher(tell).and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watcher
        .inspect_err(|error| {
            let folder = folder.display();
            if matches!(error.kind, notify::ErrorKind::PathNotFound) {
                tracing::warn!(
                    "there is no folder {folder} to watch; send SIGHUP when there are rules"
                );
            } else {
                tracing::warn!("{folder} is not watched ({error}); send SIGHUP after a change");
            }
        })
        .ok()
}
