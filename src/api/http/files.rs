//! `GET /files/{id}/{name}?Expires=…&Signature=…`: a file of a device, by a link that QueryDeviceFile gave.
//!
//! The signature is the permission. Neither id nor name ever becomes a path.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;

use crate::api::exchange::form::{self, Parameters};
use crate::api::exchange::refusal::{Refusal, refuse};
use crate::api::state::Api;
use crate::thing::StoredFile;

/// Bytes that are read at once.
const READ: usize = 256 << 10;

/// Answers a request for a file.
pub(super) async fn handle(
    State(api): State<Arc<Api>>,
    Path((id, name)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    match find(&api, &id, &name, &uri).await {
        Ok(file) => send(&api, &file, &headers),
        Err(refusal) => refusal.response(),
    }
}

async fn find(api: &Api, id: &str, name: &str, uri: &Uri) -> Result<StoredFile, Refusal> {
    let mut parameters = Parameters::new();
    let read = form::read(uri.query().unwrap_or("").as_bytes(), &mut parameters);
    let text = |name: &str| parameters.get(name).map_or("", String::as_str);
    let expires = text("Expires").parse().unwrap_or(0);
    let links = &api.state.file_links;
    if read.is_err() || !links.signer.admits(id, expires, text("Signature"), api.now_ms()) {
        let text = "the link is wrong or too old; QueryDeviceFile gives another";
        return Err(refuse(StatusCode::FORBIDDEN, "link", text));
    }
    let file = api.state.things.file(id).await.map_err(|problem| {
        tracing::error!(%problem, "a file could not be looked up");
        refuse(StatusCode::INTERNAL_SERVER_ERROR, "store", "the store failed")
    })?;
    let gone = || refuse(StatusCode::NOT_FOUND, "file", "the file was deleted");
    file.filter(|file| file.name == name).ok_or_else(gone)
}

fn send(api: &Arc<Api>, file: &StoredFile, headers: &HeaderMap) -> Response {
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let (status, range) = match asked.map(|asked| wanted(asked, file.size)) {
        None | Some(Wanted::All) => (StatusCode::OK, 0..file.size),
        Some(Wanted::Part(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(Wanted::Nothing) => {
            let beyond = [(header::CONTENT_RANGE, format!("bytes */{}", file.size))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, beyond).into_response();
        }
    };
    let mut response = Response::new(body(api, &file.id, range.clone()));
    *response.status_mut() = status;
    let answers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::ACCEPT_RANGES, "bytes"),
        (header::CACHE_CONTROL, "private, no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        answers.insert(name, HeaderValue::from_static(value));
    }
    answers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    // A name has nothing but letters, digits, `_` and `.`.
    let disposition = format!("attachment; filename=\"{}\"", file.name);
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        answers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let text = format!("bytes {}-{}/{}", range.start, range.end - 1, file.size);
        answers.extend(HeaderValue::from_str(&text).ok().map(|text| (header::CONTENT_RANGE, text)));
    }
    response
}

/// The bytes of a file, read as they are sent. One that is deleted meanwhile ends the connection.
fn body(api: &Arc<Api>, id: &str, range: Range<u64>) -> Body {
    let (api, id) = (Arc::clone(api), id.to_owned());
    Body::from_stream(stream::try_unfold(range, move |left| {
        let (api, id) = (Arc::clone(&api), id.clone());
        async move {
            if left.is_empty() {
                return Ok(None);
            }
            let most = usize::try_from(left.end - left.start).unwrap_or(usize::MAX).min(READ);
            let bytes = api.state.things.read_file(&id, left.start, most).await?;
            if bytes.is_empty() {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
            }
            let next = left.start + bytes.len() as u64..left.end;
            Ok(Some((bytes, next)))
        }
    }))
}

/// What of a file is wanted.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    Nothing,
}

/// Reads a `Range` header. What is none, or several at once, is as if it were not there (RFC 9110 §14.2).
fn wanted(range: &str, size: u64) -> Wanted {
    let Some((from, to)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Wanted::All;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = |text: &str| digits(text).then(|| text.parse().unwrap_or(u64::MAX));
    let range = match (number(from), number(to)) {
        (Some(from), Some(to)) if from <= to => from..size.min(to.saturating_add(1)),
        (Some(from), None) if to.is_empty() => from..size,
        (None, Some(last)) if from.is_empty() => size.saturating_sub(last)..size,
        _ => return Wanted::All,
    };
    if range.is_empty() { Wanted::Nothing } else { Wanted::Part(range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        for (range, want) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=2-", Wanted::Part(2..10)),
            ("bytes=2-99999999999999999999", Wanted::Part(2..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-30", Wanted::Part(0..10)),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=3-2", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("lines=0-1", Wanted::All),
            ("bytes=-", Wanted::All),
        ] {
            assert_eq!(wanted(range, 10), want, "{range}");
        }
    }
}
