//! The body of a request: no longer than it may be, and in time.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::StatusCode;
use bytes::BytesMut;
use futures_util::StreamExt as _;

use super::refusal::{Refusal, refuse};
use crate::api::state::Api;

/// Why a body was not read.
pub(crate) enum BodyError {
    TooLarge,
    TooSlow,
    Broken(String),
}

/// Reads a body of at most `max` bytes within `wait`.
pub(crate) async fn read_body(body: Body, max: usize, wait: Duration) -> Result<Bytes, BodyError> {
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

/// The same for a path that is Tidegate's own; `what` is what the body is called.
pub(crate) async fn body(
    api: &Api,
    body: Body,
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
