//! `/readyz` and `/metrics`: how the daemon is doing.
//!
//! What is told comes from the daemon; nothing is measured here.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::api::exchange::key::authorize;
use crate::api::exchange::refusal::{Refusal, json_response};
use crate::api::state::Api;
use crate::rule::store::Role;

/// Whether the daemon is ready, for everybody; why not, and what is promised, for those who may know.
pub(super) async fn ready(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
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

/// The metrics in Prometheus' text format, for those who may know.
pub(super) async fn metrics(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
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
