//! Messages over HTTP: `POST /ingest/{topic}` and `POST /ingest?topic=…`.
//!
//! It answers only when the engine has taken the message, or says why it did not.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connectors::contract::{Batch, Message, Origin, QoS, Topic};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::Api;
use super::form::{self, Parameters};
use super::server::{BodyError, json_response, read_body};
use super::signature::same;
use crate::rule::store::Role;

/// The name in `Origin` and in metrics.
const SOURCE: &str = "http";

/// Seconds after which a client that was turned away because of load should try again.
const RETRY_AFTER: &str = "1";

/// Why a request was not done.
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    /// The answer, with the headers that its status asks for.
    pub(super) fn response(self) -> Response {
        let Self { status, code, message } = self;
        let mut response = json_response(status, &json!({ "code": code, "message": message }));
        let headers = response.headers_mut();
        let mut set = |name, value| headers.insert(name, header::HeaderValue::from_static(value));
        match status {
            StatusCode::SERVICE_UNAVAILABLE => drop(set(header::RETRY_AFTER, RETRY_AFTER)),
            StatusCode::METHOD_NOT_ALLOWED => drop(set(header::ALLOW, "POST")),
            StatusCode::UNAUTHORIZED => drop(set(header::WWW_AUTHENTICATE, "Basic, Bearer")),
            _ => {}
        }
        response
    }
}

pub(super) fn refuse(
    status: StatusCode,
    code: &'static str,
    message: impl Into<String>,
) -> Refusal {
    Refusal { status, code, message: message.into() }
}

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

/// Reads a body; `what` is what it is called.
pub(super) async fn body(
    api: &Api,
    body: axum::body::Body,
    most: usize,
    what: &'static str,
) -> Result<Bytes, Refusal> {
    let wait = api.state.limits.body_wait;
    read_body(body, most, wait).await.map_err(|problem| match problem {
        BodyError::TooLarge => {
            let text = format!("the {what} has more than {most} bytes");
            refuse(StatusCode::PAYLOAD_TOO_LARGE, what, text)
        }
        BodyError::TooSlow => {
            let text = format!("the {what} did not arrive within {wait:?}");
            refuse(StatusCode::REQUEST_TIMEOUT, "timeout", text)
        }
        BodyError::Broken(text) => refuse(StatusCode::BAD_REQUEST, "body", text),
    })
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

/// Lets requests with a key of at least a role pass; without `require_key` all.
pub(super) async fn authorize(api: &Api, headers: &HeaderMap, needed: Role) -> Result<(), Refusal> {
    match api.state.require_key {
        true => identify(api, headers, needed).await,
        false => Ok(()),
    }
}

/// Lets requests with a key of at least a role pass.
pub(super) async fn identify(api: &Api, headers: &HeaderMap, needed: Role) -> Result<(), Refusal> {
    let denied = || {
        let text = "send an access key: `Authorization: Bearer <id>:<secret>` or Basic";
        refuse(StatusCode::UNAUTHORIZED, "key", text)
    };
    let (id, secret) = credentials(headers).ok_or_else(denied)?;
    let key = match api.key(&id).await {
        Ok(key) => key,
        Err(problem) => {
            tracing::error!(%problem, "the store of rules and keys failed");
            return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "store", "the store failed"));
        }
    };
    let key = key.filter(|key| same(&key.secret, &secret)).ok_or_else(denied)?;
    if key.role < needed {
        let (has, needed) = (key.role.as_str(), needed.as_str());
        let text = format!("the key has role {has}, {needed} is needed");
        return Err(refuse(StatusCode::FORBIDDEN, "role", text));
    }
    Ok(())
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, value) = text.split_once(' ')?;
    let value = value.trim();
    let pair = if scheme.eq_ignore_ascii_case("bearer") {
        value.to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") {
        String::from_utf8(STANDARD.decode(value).ok()?).ok()?
    } else {
        return None;
    };
    let (id, secret) = pair.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}
