//! A thread of low priority, for what is opened on it: SQLite's thread is a child of it and inherits that.
//!
//! On a machine that is busy, what devices wait for comes first, and the history lags. It still gets its
//! part: some tenth of a core that is fully used.

use std::future::Future;
use std::io;

use rule::store::StoreError;
use tokio::sync::oneshot;

/// Of the threads that are opened here: 0 is what others have, 19 the least.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Opens something on a thread of low priority, which ends then.
pub(super) async fn quietly<T: Send + 'static>(
    opening: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    let (sender, opened) = oneshot::channel();
    let open = move || {
        lower_priority();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let opened = match runtime {
            Ok(runtime) => runtime.block_on(opening),
            Err(problem) => Err(failed(problem)),
        };
        // Who asked may have gone.
        sender.send(opened).ok();
    };
    let thread = std::thread::Builder::new().name("tidegate-history".to_owned());
    thread.spawn(open).map_err(failed)?;
    opened.await.unwrap_or_else(|_| Err(failed(io::Error::other("its thread has ended"))))
}

fn failed(problem: io::Error) -> StoreError {
    StoreError::Database(sqlx::Error::Io(problem))
}

/// Of the calling thread, where a thread has one.
#[cfg(target_os = "linux")]
fn lower_priority() {
    if let Err(problem) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%problem, "the history is written with the priority of everything else");
    }
}

#[cfg(not(target_os = "linux"))]
fn lower_priority() {}
