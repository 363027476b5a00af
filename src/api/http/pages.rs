//! Requests that browsers send for web pages: which are refused, and what those of listed origins are
//! told (CORS, <https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! It stands before all paths. What is a page's own origin is decided in [`crate::web`].

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HOST,
    ORIGIN, VARY,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::api::exchange::refusal::{Refusal, refuse};
use crate::api::state::Api;
use crate::web::{Foreign, Pages};

/// Seconds that a browser may go without asking again.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("600");

/// Refuses what foreign pages send, and tells browsers that a page of a listed origin may read the
/// answer.
pub(super) async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let pages = &api.state.pages;
    if let Err(refusal) = check(pages, &request) {
        return refusal.response();
    }
    let headers = request.headers();
    let listed = |origin: &&HeaderValue| origin.to_str().is_ok_and(|text| pages.lists(text));
    let Some(origin) = headers.get(ORIGIN).filter(listed).cloned() else {
        return next.run(request).await;
    };
    let asks_first =
        request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match asks_first {
        true => {
            let mut response = StatusCode::NO_CONTENT.into_response();
            let answers = response.headers_mut();
            answers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
            answers.insert(ACCESS_CONTROL_MAX_AGE, ASK_AGAIN);
            if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
                answers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
            }
            response
        }
        false => next.run(request).await,
    };
    let answers = response.headers_mut();
    answers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    answers.insert(VARY, HeaderValue::from_static("origin"));
    response
}

fn check(pages: &Pages, request: &Request) -> Result<(), Refusal> {
    let host = only(request, &HOST)?;
    let origin = only(request, &ORIGIN)?;
    // A target with a host of its own counts for both (RFC 9112 §3.2.2).
    let of_target = request.uri().authority().map(|authority| authority.as_str());
    let checked = pages.check(host, origin).and_then(|()| match of_target {
        Some(target) => pages.check(Some(target), origin),
        None => Ok(()),
    });
    checked.map_err(|foreign| {
        tracing::debug!("an HTTP request was refused: {foreign}");
        let (status, code) = match foreign {
            Foreign::Host(_) => (StatusCode::MISDIRECTED_REQUEST, "host"),
            Foreign::Origin(_) => (StatusCode::FORBIDDEN, "origin"),
        };
        refuse(status, code, foreign.to_string())
    })
}

/// The one value of a header.
fn only<'a>(request: &'a Request, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let wrong = || {
        let text = format!("the header `{name}` is there twice, or is no text");
        refuse(StatusCode::BAD_REQUEST, "header", text)
    };
    let mut values = request.headers().get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(wrong());
    }
    first.map(|value| value.to_str().map_err(|_| wrong())).transpose()
}
