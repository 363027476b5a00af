//! The `Configuration` of an action: a JSON object whose texts say where records go.

use connectors::contract::tree;
use serde_json::{Map, Value};

use crate::api::aliyun::wire::error::{self, ApiError};

/// A connector's name and its settings.
pub(super) type Settings = Result<(&'static str, Value), ApiError>;

/// Parses a configuration.
///
/// # Errors
/// [`error::NULL_CONFIGURATION`], [`error::NOT_JSON`] or [`error::CONFIGURATION`].
pub(crate) fn parse(configuration: &str) -> Result<Map<String, Value>, ApiError> {
    if configuration.trim().is_empty() {
        return Err(error::NULL_CONFIGURATION.plain());
    }
    match tree(configuration.as_bytes()) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(error::CONFIGURATION.with("expected a JSON object")),
        Err(problem) => Err(error::NOT_JSON.with(problem)),
    }
}

/// A configuration that is a JSON object.
pub(super) struct Configuration<'a>(pub(super) &'a Map<String, Value>);

impl Configuration<'_> {
    /// A text; empty when it is missing or no text.
    pub(super) fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or("")
    }

    /// A role means nothing here, but one that is given must look like one.
    pub(super) fn check_role(&self) -> Result<(), ApiError> {
        let role = match self.0.get("role") {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Object(role)) => Configuration(role),
            Some(_) => return Err(error::ROLE.with("expected {\"roleArn\": …, \"roleName\": …}")),
        };
        if role.text("roleArn").is_empty() {
            return Err(error::NULL_ROLE_ARN.plain());
        }
        if role.text("roleName").is_empty() {
            return Err(error::NULL_ROLE_NAME.plain());
        }
        Ok(())
    }
}
