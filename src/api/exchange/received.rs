//! A request whose parameters stand in the query, in a form body, or both: read, but not believed yet.
//!
//! Whether it is signed, and what its parameters mean, each protocol says.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, Uri, header};

use super::body::{BodyError, read_body};
use super::form::{self, FormError, Parameters};
use crate::api::state::limits::ApiLimits;

/// A request as it came.
pub(crate) struct Received {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    uri: Uri,
    /// The parameters of the query alone.
    pub(crate) query: Parameters,
    /// Those of the query and of a form body.
    pub(crate) all: Parameters,
    pub(crate) body: Bytes,
}

/// Why a request was not read to its end.
pub(crate) enum Unread {
    Form(FormError),
    Body(BodyError),
}

impl Received {
    pub(crate) fn new(method: Method, headers: HeaderMap, uri: Uri) -> Self {
        let (query, all, body) = (Parameters::new(), Parameters::new(), Bytes::new());
        Self { method, headers, uri, query, all, body }
    }

    /// Reads a request. What was read of one that can't be read is there, too: it may say in which
    /// form the answer is wanted.
    pub(crate) async fn read(request: Request, limits: &ApiLimits) -> (Self, Result<(), Unread>) {
        let (parts, body) = request.into_parts();
        let mut received = Self::new(parts.method, parts.headers, parts.uri);
        let read = received.fill(body, limits).await;
        (received, read)
    }

    /// Both query and form body may carry anything.
    async fn fill(&mut self, body: Body, limits: &ApiLimits) -> Result<(), Unread> {
        let query = self.uri.query().unwrap_or("");
        let read = form::read(query.as_bytes(), &mut self.query);
        self.all.clone_from(&self.query);
        read.map_err(Unread::Form)?;
        let body = read_body(body, limits.body, limits.body_wait).await;
        self.body = body.map_err(Unread::Body)?;
        // Clients are careless about the type, but a document of another kind holds no parameters.
        let kind = self.header(header::CONTENT_TYPE.as_str()).unwrap_or("").to_ascii_lowercase();
        if ["json", "xml", "multipart"].iter().any(|other| kind.contains(other)) {
            return Ok(());
        }
        form::read(&self.body, &mut self.all).map_err(Unread::Form)
    }

    /// A header that is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The query as it came.
    pub(crate) fn query_text(&self) -> &str {
        self.uri.query().unwrap_or("")
    }
}
