//! One call: who signed it, which operation it names, whether its key may, and the answer in JSON or XML.
//!
//! What an operation does, and its row in the table of operations, stands in a file per family.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::operation::{Operation, store_failed};
use super::table::operation;
use super::wire::answer::{Answer, object};
use super::wire::call::Call;
use super::wire::error::{self, ApiError};
use super::wire::signature::acs3::{self, Authorization};
use super::wire::signature::{Claim, sign, string_to_sign};
use super::wire::xml;
use crate::api::access::Refused;
use crate::api::exchange::body::BodyError;
use crate::api::exchange::received::{Received, Unread};
use crate::api::state::Api;
use crate::api::state::limits::ApiLimits;
use crate::rule::store::Role;

/// The versions of the protocol that a request may name; both have the same rule operations.
const VERSIONS: &[&str] = &["2018-01-20", "2017-04-20"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Xml,
}

/// A parameter that newer clients put into a header.
fn named<'r>(received: &'r Received, name: &str, header: &str) -> &'r str {
    let parameter = received.all.get(name).map(String::as_str);
    parameter.or_else(|| received.header(header)).unwrap_or("")
}

/// XML is the default (development guide §2.4); clients of the newer signature know only JSON,
/// and so do those of another protocol, who send no version.
fn format(received: &Received) -> Format {
    let authorization = received.headers.get(header::AUTHORIZATION);
    let newer = authorization.is_some_and(|value| value.as_bytes().starts_with(b"ACS3-"));
    match received.all.get("Format") {
        Some(format) if format.eq_ignore_ascii_case("json") => Format::Json,
        Some(_) => Format::Xml,
        None if newer || named(received, "Version", acs3::VERSION).is_empty() => Format::Json,
        None => Format::Xml,
    }
}

/// Answers a request in this protocol, or in none.
pub(crate) async fn handle(
    api: &Arc<Api>,
    received: Received,
    read: Result<(), Unread>,
) -> Response {
    let id = uuid::Uuid::new_v4().to_string().to_uppercase();
    let format = format(&received);
    let action = named(&received, "Action", acs3::ACTION).to_owned();
    let host = received.header(header::HOST.as_str()).unwrap_or("").to_owned();
    let answer = match read {
        Ok(()) => run(api, received, &action, id.clone()).await,
        Err(problem) => Err(unreadable(problem, &api.state.limits)),
    };
    // Only a name from the table may become the name of an element.
    let known = operation(&action);
    let root = known.map_or("Error".to_owned(), |operation| format!("{}Response", operation.name));
    let (status, root, answer) = match answer {
        Ok(answer) => (200, root, answer),
        Err(ApiError { code, status: None, message, more }) => {
            let mut answer = object(json!({
                "RequestId": id, "Success": false, "Code": code, "ErrorMessage": message
            }));
            answer.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
            (200, root, answer)
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

/// Why a request was not read, in the protocol's codes.
fn unreadable(problem: Unread, limits: &ApiLimits) -> ApiError {
    match problem {
        Unread::Form(problem) => error::INVALID_FORMAT.with(problem),
        Unread::Body(BodyError::TooLarge) => error::BODY_TOO_LARGE.with(limits.body),
        Unread::Body(BodyError::TooSlow) => error::BODY_TIMEOUT.with(limits.body_wait.as_secs()),
        Unread::Body(BodyError::Broken(problem)) => error::INVALID_FORMAT.with(problem),
    }
}

async fn run(api: &Arc<Api>, received: Received, action: &str, id: String) -> Answer {
    if received.method != Method::GET && received.method != Method::POST {
        return Err(error::HTTP_METHOD.plain());
    }
    let role = authenticate(api, &received).await?;
    let version = named(&received, "Version", acs3::VERSION);
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
    let host = received.header(header::HOST.as_str()).unwrap_or("").to_owned();
    let call = Call::new(id, host, received.all);
    let mut needed = operation.parameters.iter().filter(|parameter| parameter.required);
    if let Some(missing) = needed.find(|parameter| !call.has(parameter.name)) {
        return Err(error::MISSING_PARAMETER.with(missing.name));
    }
    carry_out(api, operation, call).await
}

/// An operation that changes something is carried out to its end, also when its client goes meanwhile:
/// the store would have what memory and engine do not know of.
async fn carry_out(api: &Arc<Api>, operation: &'static Operation, call: Call) -> Answer {
    if operation.role == Role::Read {
        return (operation.call)(api, &call).await;
    }
    let api = Arc::clone(api);
    let work = tokio::spawn(async move { (operation.call)(&api, &call).await });
    work.await.unwrap_or_else(|problem| {
        tracing::error!(%problem, operation = operation.name, "an operation ended early");
        Err(error::SYSTEM.with("the operation ended early; the server's log has the reason"))
    })
}

/// Why a request that is well signed may not pass, in the protocol's codes.
fn refused(refused: Refused) -> ApiError {
    match refused {
        Refused::NonceUsed => error::NONCE_USED.plain(),
        Refused::Throttled(limit) => error::THROTTLED.with(limit),
    }
}

/// The role of the key that signed a request.
async fn authenticate(api: &Api, received: &Received) -> Result<Role, ApiError> {
    let now_ms = api.now_ms();
    let newer = Authorization::read(&received.headers)?;
    let claim = match &newer {
        Some(newer) => newer.claim(&received.headers, now_ms)?,
        None => Claim::read(&received.all, now_ms)?,
    };
    let key = api.key(claim.stamp.key_id).await.map_err(store_failed)?;
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
    api.admit(&claim.stamp, now_ms).map_err(refused)?;
    Ok(key.role)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, Uri};

    use super::*;
    use crate::api::exchange::form;

    #[test]
    fn the_format_is_what_the_client_can_read() {
        let format_of = |query: &str, headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, header::HeaderValue::from_static(value));
            }
            let mut received = Received::new(Method::POST, map, Uri::default());
            form::read(query.as_bytes(), &mut received.all).expect("form");
            super::format(&received)
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
