//! The vendor's RPC protocol: one path, operations by name, signed parameters, answers in JSON or XML.
//!
//! What an operation does, and its row in the table of operations, stands in a file per family.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value, json};

pub(super) use super::call::{Call, object};
use super::error::{self, ApiError, ErrorCode};
use super::form::{self, Parameters};
use super::known::is_known;
use super::operation::operation;
use super::server::{BodyError, read_body};
use super::signature::acs3::{self, Authorization};
use super::signature::{Claim, sign, string_to_sign};
use super::{Api, tencent_cloud, xml};
use crate::rule::store::{Role, StoreError};

/// The versions of the protocol that a request may name; both have the same rule operations.
const VERSIONS: &[&str] = &["2018-01-20", "2017-04-20"];

/// What an operation answers: all keys in the order in which the vendor's documents show them.
pub(super) type Answer = Result<Map<String, Value>, ApiError>;

/// What a client is told when the store fails; the log has the reason.
pub(super) fn store_failed(problem: StoreError) -> ApiError {
    failed(error::SYSTEM)(problem)
}

/// The same with the code that an operation has for it.
pub(super) fn failed(code: &'static ErrorCode) -> impl Fn(StoreError) -> ApiError {
    move |problem| {
        tracing::error!(%problem, "the store of rules and keys failed");
        code.with("the store failed; the server's log has the reason")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Xml,
}

/// A request as it came, read but not believed yet.
struct Received {
    method: Method,
    headers: HeaderMap,
    /// The parameters of the query alone.
    query: Parameters,
    /// Those of the query and of a form body.
    all: Parameters,
    body: Bytes,
}

impl Received {
    /// A parameter that newer clients put into a header.
    fn named(&self, name: &str, header: &str) -> &str {
        let header = || self.headers.get(header).and_then(|value| value.to_str().ok());
        self.all.get(name).map(String::as_str).or_else(header).unwrap_or("")
    }

    /// XML is the default (development guide §2.4); clients of the newer signature know only JSON,
    /// and so do those of another protocol, who send no version.
    fn format(&self) -> Format {
        let authorization = self.headers.get(header::AUTHORIZATION);
        let newer = authorization.is_some_and(|value| value.as_bytes().starts_with(b"ACS3-"));
        match self.all.get("Format") {
            Some(format) if format.eq_ignore_ascii_case("json") => Format::Json,
            Some(_) => Format::Xml,
            None if newer || self.named("Version", acs3::VERSION).is_empty() => Format::Json,
            None => Format::Xml,
        }
    }
}

/// Answers a request to `/`.
pub(super) async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let id = uuid::Uuid::new_v4().to_string().to_uppercase();
    let (method, headers) = (parts.method, parts.headers);
    let (query, all, text) = (Parameters::new(), Parameters::new(), Bytes::new());
    let mut received = Received { method, headers, query, all, body: text };
    let read = read_parameters(&api, parts.uri.query(), body, &mut received).await;
    if read.is_ok() && tencent_cloud::speaks(&received.headers, &received.all) {
        let request = tencent_cloud::CloudRequest {
            method: &received.method,
            headers: &received.headers,
            query: parts.uri.query().unwrap_or(""),
            parameters: &received.all,
            body: &received.body,
        };
        return tencent_cloud::handle(&api, request, &id).await;
    }
    let format = received.format();
    let action = received.named("Action", acs3::ACTION).to_owned();
    let host = received.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.unwrap_or("").to_owned();
    let answer = match read {
        Ok(()) => run(&api, received, &action, id.clone()).await,
        Err(error) => Err(error),
    };
    // Only a name from the table may become the name of an element.
    let known = operation(&action);
    let root = known.map_or("Error".to_owned(), |operation| format!("{}Response", operation.name));
    let (status, root, answer) = match answer {
        Ok(answer) => (200, root, answer),
        Err(ApiError { code, status: None, message }) => {
            let answer = json!({
                "RequestId": id, "Success": false, "Code": code, "ErrorMessage": message
            });
            (200, root, object(answer))
        }
        Err(error @ ApiError { status: Some(status), .. }) => {
            let recommend = error.recommend();
            let ApiError { code, message, .. } = error;
            let answer = json!({
                "RequestId": id, "HostId": host, "Code": code, "Message": message,
                "Recommend": recommend
            });
            (status, "Error".to_owned(), object(answer))
        }
    };
    // Clients choose their parser by the exact type.
    let (kind, text) = match format {
        Format::Json => ("application/json", Value::Object(answer).to_string()),
        Format::Xml => ("text/xml;charset=utf-8", xml::write(&root, &answer)),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// Both query and form body may carry anything.
async fn read_parameters(
    api: &Api,
    query: Option<&str>,
    body: Body,
    into: &mut Received,
) -> Result<(), ApiError> {
    let unreadable = |problem| error::INVALID_FORMAT.with(problem);
    let read = form::read(query.unwrap_or("").as_bytes(), &mut into.query);
    into.all.clone_from(&into.query);
    read.map_err(unreadable)?;
    let limits = &api.state.limits;
    into.body = match read_body(body, limits.body, limits.body_wait).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => return Err(error::BODY_TOO_LARGE.with(limits.body)),
        Err(BodyError::TooSlow) => {
            return Err(error::BODY_TIMEOUT.with(limits.body_wait.as_secs()));
        }
        Err(BodyError::Broken(problem)) => return Err(error::INVALID_FORMAT.with(problem)),
    };
    // Clients are careless about the type, but a document of another kind holds no parameters.
    let kind = into.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or("").to_ascii_lowercase();
    if ["json", "xml", "multipart"].iter().any(|other| kind.contains(other)) {
        return Ok(());
    }
    form::read(&into.body, &mut into.all).map_err(unreadable)
}

async fn run(api: &Api, received: Received, action: &str, id: String) -> Answer {
    if received.method != Method::GET && received.method != Method::POST {
        return Err(error::HTTP_METHOD.plain());
    }
    let role = authenticate(api, &received).await?;
    let version = received.named("Version", acs3::VERSION);
    if !version.is_empty() && !VERSIONS.contains(&version) {
        return Err(error::INVALID_PARAMETER.with("Version"));
    }
    if action.is_empty() {
        return Err(error::MISSING_PARAMETER.with("Action"));
    }
    let Some(operation) = operation(action) else {
        return Err(match is_known(action) {
            true => error::UNKNOWN_ACTION.with(format!("{action} is known but not offered here")),
            false => error::UNKNOWN_ACTION.with(action),
        });
    };
    if role < operation.role {
        return Err(error::PERMISSION.with(format!(
            "{action} needs a key with role {}, this one has {}",
            operation.role.as_str(),
            role.as_str()
        )));
    }
    let call = Call::new(id, received.all);
    let mut needed = operation.parameters.iter().filter(|parameter| parameter.required);
    if let Some(missing) = needed.find(|parameter| !call.has(parameter.name)) {
        return Err(error::MISSING_PARAMETER.with(missing.name));
    }
    (operation.call)(api, &call).await
}

/// The role of the key that signed a request.
async fn authenticate(api: &Api, received: &Received) -> Result<Role, ApiError> {
    let now_ms = api.now_ms();
    let newer = Authorization::read(&received.headers)?;
    let claim = match &newer {
        Some(newer) => newer.claim(&received.headers, now_ms)?,
        None => Claim::read(&received.all, now_ms)?,
    };
    let key = api.key(claim.key_id).await.map_err(store_failed)?;
    let key = key.ok_or_else(|| error::UNKNOWN_KEY.plain())?;
    let method = received.method.as_str();
    let (text, signature) = match &newer {
        Some(newer) => {
            let (query, headers) = (&received.query, &received.headers);
            let text = newer.string_to_sign(method, query, headers, &received.body);
            let signature = acs3::sign(&text, &key.secret);
            (text, signature)
        }
        None => {
            let text = string_to_sign(method, &received.all);
            let signature = sign(&text, &key.secret);
            (text, signature)
        }
    };
    claim.verify(&text, &signature)?;
    // A request that is too much uses up no nonce.
    api.rates.take(claim.key_id, now_ms)?;
    api.state.nonces.claim(&claim, now_ms)?;
    Ok(key.role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_what_the_client_can_read() {
        let format_of = |query: &str, headers: &[(&'static str, &'static str)]| {
            let mut all = Parameters::new();
            form::read(query.as_bytes(), &mut all).expect("form");
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, header::HeaderValue::from_static(value));
            }
            let (query, body) = (Parameters::new(), Bytes::new());
            Received { method: Method::POST, headers: map, query, all, body }.format()
        };
        let format = |query: &str| format_of(query, &[]);
        assert_eq!(format("Format=JSON&Version=2018-01-20"), Format::Json);
        assert_eq!(format("Format=json"), Format::Json);
        assert_eq!(format("Version=2018-01-20"), Format::Xml);
        assert_eq!(format("Format=None&Version=2018-01-20"), Format::Xml);
        assert_eq!(format("Format=XML"), Format::Xml);
        assert_eq!(format("Action=x"), Format::Json);
        let newer = [("authorization", "ACS3-HMAC-SHA256 x"), ("x-acs-version", "2018-01-20")];
        assert_eq!(format_of("", &newer), Format::Json);
        assert_eq!(format_of("Format=xml", &newer), Format::Xml);
        assert_eq!(format_of("", &newer[1..]), Format::Xml);
    }
}
