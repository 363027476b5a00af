//! What operations answer: the fields of an object, in the order in which the vendor's documents show
//! them.
//!
//! How they are written on the wire is not known here.

use serde_json::{Map, Value};

use super::error::ApiError;

/// What an operation answers.
pub(crate) type Answer = Result<Map<String, Value>, ApiError>;

/// The account that everything belongs to, where the protocol asks for one (`uid`, `CreateUserId`).
pub(crate) const ACCOUNT: &str = "1000000000000000";

/// The same as a number, which clients expect in some places.
pub(crate) const ACCOUNT_ID: u64 = 1_000_000_000_000_000;

/// The fields of an answer, which are always written as an object.
pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Answers with nothing for what is `null`.
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(mut fields) => {
            fields.retain(|_, value| !value.is_null());
            Value::Object(fields)
        }
        other => other,
    }
}

/// A text that is left out of an answer when it is empty.
pub(crate) fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}
