//! `tidegate run`: the daemon in the foreground, until a signal ends it.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::daemon::Daemon;
use super::{Outcome, cannot_start, greeting, install_tls};
use crate::config::Config;

/// The time that threads have to end which the daemon has not waited for.
const LEAVE_AFTER: Duration = Duration::from_millis(100);

pub(super) fn run(config: Config) -> Outcome {
    greeting::say_where(&config);
    start_logging();
    install_tls();
    config.check_exposure().map_err(cannot_start)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(cannot_start)?;
    let ended = runtime.block_on(async {
        // Before anybody can take the daemon for ready: a signal that nobody receives ends it at once.
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot_start)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot_start)?;
        let daemon = Daemon::start(&config).await.map_err(cannot_start)?;
        greeting::say_ready(&daemon, &config);
        let told = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!("{told}: stopping");
        daemon.stop().await;
        Ok(())
    });
    // A thread that does not come to an end must not keep the process.
    runtime.shutdown_timeout(LEAVE_AFTER);
    ended
}

fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // An error means that a logger is installed already.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init()
        .ok();
}
