//! Messages over HTTP: `POST /ingest/{topic}` and `POST /ingest?topic=…`.
//!
//! It answers only when the engine has taken the message, or says why it did not.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use connectors::contract::{Batch, Message, Origin, QoS, Topic};
use percent_encoding::percent_decode_str;
use serde_json::json;

use crate::api::exchange::body::body;
use crate::api::exchange::form::{self, Parameters};
use crate::api::exchange::key::authorize;
use crate::api::exchange::refusal::{Refusal, json_response, refuse};
use crate::api::state::Api;
use crate::rule::store::Role;

/// The name in `Origin` and in metrics.
const SOURCE: &str = "http";

/// Answers a request to `/ingest…`.
pub(super) async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    match take(&api, request).await {
        Ok(()) => json_response(StatusCode::ACCEPTED, &json!({ "accepted": true })),
        Err(refusal) => refusal.response(),
    }
}

async fn take(api: &Api, request: Request) -> Result<(), Refusal> {
    if request.method() != Method::POST {
        return Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "method", "use POST"));
    }
    authorize(api, request.headers(), Role::Operate).await?;
    let limits = &api.state.limits;
    let topic = topic_of(request.uri()).and_then(|text| {
        Topic::parse(text.clone(), limits.topics).map_err(|problem| format!("`{text}`: {problem}"))
    });
    let topic = topic.map_err(|text| refuse(StatusCode::BAD_REQUEST, "topic", text))?;
    if topic.as_str().starts_with('$') {
        let text = format!("`{topic}`: topics that start with `$` are the server's own");
        return Err(refuse(StatusCode::BAD_REQUEST, "topic", text));
    }
    let payload = body(api, request.into_body(), limits.payload, "payload").await?;
    let mut message = Message::new(topic, payload, api.now_ms());
    message.qos = QoS::AtLeastOnce;
    message.origin = Arc::new(Origin { source: Some(SOURCE.into()), ..Origin::default() });
    let (batch, accepted) = Batch::awaited(vec![message]);
    let busy = |text: &str| refuse(StatusCode::SERVICE_UNAVAILABLE, "busy", text);
    if api.state.ingress.try_submit(batch).is_err() {
        return Err(busy("the queue is full; try again"));
    }
    match tokio::time::timeout(limits.accept_wait, accepted.wait()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(problem)) => Err(busy(&problem.to_string())),
        Err(_) => Err(busy("the engine did not answer in time; the message may be taken yet")),
    }
}

/// The topic as text: from the path, or from the query when it does not start with a slash.
fn topic_of(uri: &Uri) -> Result<String, String> {
    let query = uri.query().unwrap_or("");
    if [uri.path(), query].into_iter().any(has_broken_escape) {
        return Err("`%` stands before two hexadecimal digits; write `%25` for itself".to_owned());
    }
    if let Some(rest) = uri.path().strip_prefix("/ingest/") {
        return match percent_decode_str(rest).decode_utf8() {
            Ok(rest) => Ok(format!("/{rest}")),
            Err(_) => Err("the path is not UTF-8".to_owned()),
        };
    }
    let mut parameters = Parameters::new();
    form::read(query.as_bytes(), &mut parameters).map_err(|e| e.to_string())?;
    if query.split('&').filter(|pair| pair.starts_with("topic=")).count() > 1 {
        return Err("`topic` is given twice; a message has one topic".to_owned());
    }
    parameters.remove("topic").ok_or_else(|| {
        "name the topic: POST /ingest/pk/device/… or POST /ingest?topic=…".to_owned()
    })
}

/// True when a `%` is not the start of an encoded byte (RFC 3986 §2.1).
fn has_broken_escape(text: &str) -> bool {
    text.split('%').skip(1).any(|rest| {
        let digits = rest.bytes().take(2);
        digits.filter(u8::is_ascii_hexdigit).count() < 2
    })
}
