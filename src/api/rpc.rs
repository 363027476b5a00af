//! The vendor's RPC protocol: one path, operations by name, signed parameters, answers in JSON or XML.
//!
//! What an operation does, and its row in the table of operations, stands in a file per family.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::error::{self, ApiError};
use super::form::{self, Parameters};
use super::operation::operation;
use super::server::{BodyError, read_body};
use super::signature::Claim;
use super::{Api, xml};
use crate::rule::store::{Role, StoreError};

/// The versions of the protocol that a request may name; both have the same rule operations.
const VERSIONS: &[&str] = &["2018-01-20", "2017-04-20"];

/// What an operation answers: all keys in the order in which the vendor's documents show them.
pub(super) type Answer = Result<Map<String, Value>, ApiError>;

/// A request whose signature is good.
pub(super) struct Call {
    pub(super) id: String,
    parameters: Parameters,
}

impl Call {
    /// A parameter as it was given; `None` when it was not.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// A parameter that the operation's row requires.
    pub(super) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name).ok_or_else(|| error::MISSING_PARAMETER.with(name))
    }

    /// The answer of an operation that has nothing to tell.
    pub(super) fn done(&self) -> Map<String, Value> {
        object(json!({ "RequestId": self.id, "Success": true }))
    }
}

/// The fields of an answer, which are always written as an object.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// What a client is told when the store fails; the log has the reason.
pub(super) fn store_failed(problem: StoreError) -> ApiError {
    tracing::error!(%problem, "the store of rules and keys failed");
    error::SYSTEM.with("the store failed; the server's log has the reason")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Xml,
}

/// Answers a request to `/`.
pub(super) async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let id = uuid::Uuid::new_v4().to_string().to_uppercase();
    let mut parameters = Parameters::new();
    let read =
        read_parameters(&api, &parts.headers, parts.uri.query(), body, &mut parameters).await;
    let format = format_of(&parameters);
    let action = named(&parameters, &parts.headers, "Action", "x-acs-action").to_owned();
    let answer = match read {
        Ok(()) => {
            let call = Call { id: id.clone(), parameters };
            run(&api, &parts.method, &parts.headers, &action, &call).await
        }
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
        Err(ApiError { code, status: Some(status), message }) => {
            let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
            let recommend = "see the error codes in the documentation of Tidegate";
            let answer = json!({
                "RequestId": id, "HostId": host.unwrap_or(""), "Code": code, "Message": message,
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
    headers: &HeaderMap,
    query: Option<&str>,
    body: Body,
    into: &mut Parameters,
) -> Result<(), ApiError> {
    let unreadable = |problem| error::INVALID_FORMAT.with(problem);
    form::read(query.unwrap_or("").as_bytes(), into).map_err(unreadable)?;
    let limits = &api.state.limits;
    let body: Bytes = match read_body(body, limits.body, limits.body_wait).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => return Err(error::BODY_TOO_LARGE.with(limits.body)),
        Err(BodyError::TooSlow) => {
            return Err(error::BODY_TIMEOUT.with(limits.body_wait.as_secs()));
        }
        Err(BodyError::Broken(problem)) => return Err(error::INVALID_FORMAT.with(problem)),
    };
    // Clients are careless about the type, but a document of another kind holds no parameters.
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.to_ascii_lowercase();
    if ["json", "xml", "multipart"].iter().any(|other| kind.contains(other)) {
        return Ok(());
    }
    form::read(&body, into).map_err(unreadable)
}

/// A parameter that newer clients put into a header.
fn named<'a>(
    parameters: &'a Parameters,
    headers: &'a HeaderMap,
    name: &str,
    header: &str,
) -> &'a str {
    let header = || headers.get(header).and_then(|value| value.to_str().ok());
    parameters.get(name).map(String::as_str).or_else(header).unwrap_or("")
}

/// XML is the default (development guide §2.4); requests without a version come from clients of a
/// protocol that knows only JSON.
fn format_of(parameters: &Parameters) -> Format {
    match parameters.get("Format") {
        Some(format) if format.eq_ignore_ascii_case("json") => Format::Json,
        None if !parameters.contains_key("Version") => Format::Json,
        _ => Format::Xml,
    }
}

async fn run(api: &Api, method: &Method, headers: &HeaderMap, action: &str, call: &Call) -> Answer {
    if method != Method::GET && method != Method::POST {
        return Err(error::HTTP_METHOD.plain());
    }
    let role = authenticate(api, method, &call.parameters).await?;
    let version = named(&call.parameters, headers, "Version", "x-acs-version");
    if !version.is_empty() && !VERSIONS.contains(&version) {
        return Err(error::INVALID_PARAMETER.with("Version"));
    }
    if action.is_empty() {
        return Err(error::MISSING_PARAMETER.with("Action"));
    }
    let Some(operation) = operation(action) else {
        return Err(error::UNKNOWN_ACTION.with(action));
    };
    if role < operation.role {
        return Err(error::PERMISSION.with(format!(
            "{action} needs a key with role {}, this one has {}",
            operation.role.as_str(),
            role.as_str()
        )));
    }
    for parameter in operation.parameters.iter().filter(|parameter| parameter.required) {
        call.required(parameter.name)?;
    }
    (operation.call)(api, call).await
}

/// The role of the key that signed a request.
async fn authenticate(
    api: &Api,
    method: &Method,
    parameters: &Parameters,
) -> Result<Role, ApiError> {
    let now_ms = api.now_ms();
    let claim = Claim::read(parameters, now_ms)?;
    let key = api.key(claim.key_id).await.map_err(store_failed)?;
    let key = key.ok_or_else(|| error::UNKNOWN_KEY.plain())?;
    claim.verify(method.as_str(), parameters, &key.secret)?;
    // A thread that panicked while it held the nonces left them usable.
    let mut nonces = api.nonces.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    nonces.claim(&claim, now_ms)?;
    Ok(key.role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_what_the_client_can_read() {
        let format = |query: &str| {
            let mut parameters = Parameters::new();
            form::read(query.as_bytes(), &mut parameters).expect("form");
            format_of(&parameters)
        };
        assert_eq!(format("Format=JSON&Version=2018-01-20"), Format::Json);
        assert_eq!(format("Format=json"), Format::Json);
        assert_eq!(format("Version=2018-01-20"), Format::Xml);
        assert_eq!(format("Format=None&Version=2018-01-20"), Format::Xml);
        assert_eq!(format("Format=XML"), Format::Xml);
        assert_eq!(format("Action=x"), Format::Json);
    }
}
