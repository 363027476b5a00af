//! `GET /spool`: what is promised for acknowledged messages, and what waits for which action.
//!
//! The numbers come from the daemon; nothing is counted here.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::api::exchange::key::authorize;
use crate::api::exchange::refusal::{Refusal, json_text, refuse};
use crate::api::state::Api;
use crate::rule::store::Role;

/// Answers a request to `/spool`.
pub(super) async fn handle(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    match answer(&api, &headers).await {
        Ok(text) => json_text(StatusCode::OK, text),
        Err(refusal) => refusal.response(),
    }
}

async fn answer(api: &Api, headers: &HeaderMap) -> Result<String, Refusal> {
    authorize(api, headers, Role::Read).await?;
    serde_json::to_string(&(api.state.spool)())
        .map_err(|problem| refuse(StatusCode::INTERNAL_SERVER_ERROR, "failed", problem.to_string()))
}
