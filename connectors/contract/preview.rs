//! What a sink would send for one record: for dry runs of actions (`tidegate test`) and for the check
//! of their templates. It sends nothing, and it holds no passwords.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Record;

/// The parts of what a sink would send, by name: `topic`, `url`, `row`, `body`. Which there are is up
/// to the sink; the name of one and the same thing is the same in all sinks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preview(Map<String, Value>);

/// What stands in the place of a value that must not be seen.
const HIDDEN: &str = "(secret)";

/// Parts of the names of headers whose values are passwords.
const SECRET_NAMES: &[&str] =
    &["auth", "cookie", "credential", "key", "passw", "secret", "sign", "token"];

impl Preview {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The record as it is, for a sink that changes nothing.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self::new().body(record.bytes())
    }

    /// The same with a further part.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// The same with the part `headers`; values of headers that look like passwords are hidden.
    #[must_use]
    pub fn headers<'a>(self, headers: impl Iterator<Item = (&'a str, String)>) -> Self {
        let headers = headers.map(|(name, value)| {
            let lower = name.to_ascii_lowercase();
            let secret = SECRET_NAMES.iter().any(|part| lower.contains(part));
            (name.to_owned(), Value::from(if secret { HIDDEN.to_owned() } else { value }))
        });
        let headers: Map<String, Value> = headers.collect();
        self.with("headers", headers)
    }

    /// The same with the part `body`: JSON as a value, other text as text, bytes as
    /// `{"base64": "…"}`.
    #[must_use]
    pub fn body(self, bytes: &[u8]) -> Self {
        let value = match (super::tree(bytes), std::str::from_utf8(bytes)) {
            (Ok(value), _) => value,
            (_, Ok(text)) => Value::from(text),
            _ => json!({ "base64": STANDARD.encode(bytes) }),
        };
        self.with("body", value)
    }

    /// The parts, in the order in which they were added.
    #[must_use]
    pub fn into_parts(self) -> Map<String, Value> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_what_they_are() {
        let body = |bytes: &[u8]| Preview::new().body(bytes).into_parts()["body"].clone();
        assert_eq!(body(br#"{"a":1.0}"#), json!({ "a": 1.0 }));
        assert_eq!(body(b"dev1 is hot"), json!("dev1 is hot"));
        assert_eq!(body(&[0, 255]), json!({ "base64": "AP8=" }));
    }

    #[test]
    fn passwords_are_hidden() {
        let headers = [("Authorization", "Bearer x"), ("X-Api-Key", "y"), ("X-Device", "dev1")];
        let headers = headers.into_iter().map(|(name, value)| (name, value.to_owned()));
        let want = json!({ "headers": {
            "Authorization": "(secret)", "X-Api-Key": "(secret)", "X-Device": "dev1" } });
        assert_eq!(Value::Object(Preview::new().headers(headers).into_parts()), want);
    }
}
