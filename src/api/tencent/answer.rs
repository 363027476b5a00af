//! What this vendor's clients are answered, in all of its protocols.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::api::exchange::refusal::json_response;

/// Why a request was not done: a code of the vendor's, and words.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// A problem, to be answered.
pub(super) fn problem(code: &'static str, message: impl Into<String>) -> Problem {
    Problem { code, message: message.into() }
}

/// The answer to a request: HTTP 200 whatever became of it. Clients read it only under exactly this
/// content type.
pub(super) fn answer(request_id: &str, outcome: Result<Map<String, Value>, Problem>) -> Response {
    let mut fields = match outcome {
        Ok(fields) => fields,
        Err(Problem { code, message }) => {
            Map::from_iter([("Error".to_owned(), json!({ "Code": code, "Message": message }))])
        }
    };
    fields.insert("RequestId".to_owned(), request_id.into());
    json_response(StatusCode::OK, &json!({ "Response": fields }))
}
