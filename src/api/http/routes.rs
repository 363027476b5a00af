//! Which paths there are, and who answers on each.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{any, get};
use serde_json::json;

use super::{explain, files, ingest, pages, root, spool, status};
use crate::api::exchange::refusal::json_response;
use crate::api::state::{Api, ApiState};
use crate::api::{onenet, tencent};

/// The interface on all its paths.
pub fn router(state: ApiState) -> Router {
    let api = Arc::new(Api::new(state));
    let guard = middleware::from_fn_with_state(Arc::clone(&api), pages::guard);
    Router::new()
        .route("/", any(root::handle))
        .route("/ingest", any(ingest::handle))
        .route("/ingest/{*topic}", any(ingest::handle))
        .route("/explain", any(explain::handle))
        .route("/files/{id}/{name}", get(files::handle))
        .route("/spool", get(spool::handle))
        .route("/api/exploreropen/serviceapi", any(tencent::service_api::handle))
        .route("/thingmodel/call-service", any(onenet::handle))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(status::ready))
        .route("/metrics", get(status::metrics))
        .fallback(async || {
            let text =
                "nothing is here; there are /, /ingest, /explain, /files, /spool, /healthz, /readyz and /metrics";
            json_response(StatusCode::NOT_FOUND, &json!({ "code": "path", "message": text }))
        })
        .layer(guard)
        .with_state(api)
}
