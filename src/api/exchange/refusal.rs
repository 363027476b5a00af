//! Answers in JSON, and how a request is refused on the paths that are Tidegate's own.
//!
//! Vendors have refusals of their own; theirs stand in their wings.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// Seconds after which a client that was turned away because of load should try again.
const RETRY_AFTER: &str = "1";

/// Why a request was not done.
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    /// The answer, with the headers that its status asks for.
    pub(crate) fn response(self) -> Response {
        let Self { status, code, message } = self;
        let mut response = json_response(status, &json!({ "code": code, "message": message }));
        let headers = response.headers_mut();
        let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
        match status {
            StatusCode::SERVICE_UNAVAILABLE => drop(set(header::RETRY_AFTER, RETRY_AFTER)),
            StatusCode::METHOD_NOT_ALLOWED => drop(set(header::ALLOW, "POST")),
            StatusCode::UNAUTHORIZED => drop(set(header::WWW_AUTHENTICATE, "Basic, Bearer")),
            _ => {}
        }
        response
    }
}

/// A refusal, to be answered.
pub(crate) fn refuse(
    status: StatusCode,
    code: &'static str,
    message: impl Into<String>,
) -> Refusal {
    Refusal { status, code, message: message.into() }
}

/// An answer in JSON.
pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response {
    json_text(status, body.to_string())
}

/// The same of a text that is JSON already.
pub(crate) fn json_text(status: StatusCode, body: String) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}
