//! HTTP itself: routes, health, metrics, and serving connections within bounds.
//!
//! It holds no operation and no protocol of a vendor.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use bytes::BytesMut;
use connectors::contract::Shutdown;
use futures_util::StreamExt as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::ingest::{Refusal, authorize};
use super::{Api, ApiLimits, ApiState, explain, ingest, onenet, pages, rpc, spool, tencent};
use crate::broker::Crowd;
use crate::rule::store::Role;

/// Before the next try when the system has no more descriptors for connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// When more than half of the connections are in use, a new one has so much less time to say what it
/// wants: a listener that was filled by clients that say nothing frees itself.
const CROWDED: u32 = 5;

/// The interface on all its paths.
pub fn router(state: ApiState) -> Router {
    let api = Arc::new(Api::new(state));
    let guard = middleware::from_fn_with_state(Arc::clone(&api), pages::guard);
    Router::new()
        .route("/", any(rpc::handle))
        .route("/ingest", any(ingest::handle))
        .route("/ingest/{*topic}", any(ingest::handle))
        .route("/explain", any(explain::handle))
        .route("/spool", get(spool::handle))
        .route("/api/exploreropen/serviceapi", any(tencent::handle))
        .route("/thingmodel/call-service", any(onenet::handle))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(async || {
            let text =
                "nothing is here; there are /, /ingest, /explain, /spool, /healthz, /readyz and /metrics";
            json_response(StatusCode::NOT_FOUND, &json!({ "code": "path", "message": text }))
        })
        .layer(guard)
        .with_state(api)
}

/// Whether the daemon is ready, for everybody; why not, and what is promised, for those who may know.
async fn ready(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    let reasons = (api.state.ready)();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let ready = reasons.is_empty();
    match may_know(&api, &headers).await {
        Ok(()) => json_response(
            status,
            &json!({
                "ready": ready,
                "reasons": reasons,
                "abnormal": (api.state.abnormal)(),
                "promise": api.state.promise.short,
                "promise_in_full": api.state.promise.full,
            }),
        ),
        Err(refusal) if headers.contains_key(header::AUTHORIZATION) => refusal.response(),
        Err(_) => json_response(status, &json!({ "ready": ready })),
    }
}

async fn metrics(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    match may_know(&api, &headers).await {
        Ok(()) => {
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            ([(header::CONTENT_TYPE, kind)], (api.state.metrics)()).into_response()
        }
        Err(refusal) => refusal.response(),
    }
}

/// Lets those pass who may know what rules and destinations there are.
async fn may_know(api: &Api, headers: &HeaderMap) -> Result<(), Refusal> {
    match api.state.open_details {
        true => Ok(()),
        false => authorize(api, headers, Role::Read).await,
    }
}

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

/// Why a body was not read.
pub(super) enum BodyError {
    TooLarge,
    TooSlow,
    Broken(String),
}

/// Reads a body of at most `max` bytes within `wait`.
pub(super) async fn read_body(body: Body, max: usize, wait: Duration) -> Result<Bytes, BodyError> {
    // A client that says how much it will send is turned away before it does.
    if body.size_hint().lower() > max as u64 {
        return Err(BodyError::TooLarge);
    }
    let reading = async {
        let mut read = BytesMut::new();
        let mut stream = body.into_data_stream();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|problem| BodyError::Broken(problem.to_string()))?;
            if read.len() + piece.len() > max {
                return Err(BodyError::TooLarge);
            }
            read.extend_from_slice(&piece);
        }
        Ok(read.freeze())
    };
    tokio::time::timeout(wait, reading).await.unwrap_or(Err(BodyError::TooSlow))
}

pub(super) fn json_response(status: StatusCode, body: &Value) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, kind)], body.to_string()).into_response()
}
