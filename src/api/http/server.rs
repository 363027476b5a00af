//! Serving connections within bounds of number and time, until the daemon stops.
//!
//! What is answered on them, the routes say.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use connectors::contract::Shutdown;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::api::state::limits::ApiLimits;
use crate::broker::Crowd;

/// Before the next try when the system has no more descriptors for connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// When more than half of the connections are in use, a new one has so much less time to say what it
/// wants: a listener that was filled by clients that say nothing frees itself.
const CROWDED: u32 = 5;

/// Serves connections until the signal, then waits for requests that are under way, but not longer
/// than `limits.stop_wait`.
///
/// # Errors
/// The listener does not work.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ApiLimits,
    mut shutdown: Shutdown,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(limits.connections));
    let (crowd, mut crowded) = (Arc::new(Crowd::default()), false);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.wait() => break,
            // Finished tasks are taken out, so that the set is no longer than there are connections.
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, from, permit)) => {
                let most = limits.connections_per_address;
                let Some(place) = crowd.enter(from.ip(), most, false) else {
                    if !std::mem::replace(&mut crowded, true) {
                        tracing::warn!(
                            "{} has {most} HTTP connections, further ones are closed (`limits.api.connections_per_address`)",
                            from.ip()
                        );
                    }
                    continue;
                };
                let service = router.clone();
                let shutdown = shutdown.clone();
                let scarce = room.available_permits() < limits.connections / 2;
                let wait = limits.header_wait / if scarce { CROWDED } else { 1 };
                connections.spawn(async move {
                    connection(stream, service, wait, shutdown).await;
                    drop((permit, place));
                });
            }
            // A connection that broke off, or no descriptors: both pass.
            Err(problem) => {
                tracing::warn!(%problem, "an HTTP connection was not accepted");
                tokio::select! {
                    () = shutdown.wait() => break,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    drop(listener);
    let all_done = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.stop_wait, all_done).await.is_err() {
        tracing::warn!("HTTP requests were cut off because the daemon stops");
        connections.shutdown().await;
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, from) = listener.accept().await?;
    // Answers are small; waiting to fill a packet only makes them late.
    stream.set_nodelay(true)?;
    Ok((stream, from, permit))
}

/// Serves one connection. The time for headers also ends connections that are idle between
/// requests.
async fn connection(
    stream: TcpStream,
    router: Router,
    header_wait: Duration,
    mut shutdown: Shutdown,
) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(header_wait);
    let service = tower_service(router);
    let serving = http.serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = shutdown.wait() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(problem) = result {
        tracing::debug!(%problem, "an HTTP connection broke off");
    }
}

/// The router as hyper calls it.
fn tower_service(
    router: Router,
) -> impl hyper::service::Service<
    hyper::Request<hyper::body::Incoming>,
    Response = Response,
    Error = Infallible,
    Future: Send,
> + Clone {
    let service = TowerToHyperService::new(router);
    hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        hyper::service::Service::call(&service, request.map(Body::new))
    })
}
