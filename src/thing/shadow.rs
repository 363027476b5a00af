//! Device shadows: the state that a device has reported and the one that is wanted of it, as a document
//! with a version.
//!
//! Here is what changes do to a document and what is answered; `shadows` keeps the documents.

use contract::object;
use serde_json::{Map, Value, json};

/// Bytes of a document that is sent, and of one that is kept.
pub const SHADOW_BYTES: usize = 16 << 10;

/// Attributes of the reported and of the wanted state, each.
pub const ATTRIBUTES_MAX: usize = 128;

/// What stands for "nothing" where a state or an attribute is cleared.
const NOTHING: &str = "null";

/// A shadow.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shadow {
    /// What the device has told.
    pub reported: Part,
    /// What is wanted of it.
    pub desired: Part,
    /// 0 before the first change.
    pub version: i64,
    /// When it was changed last, in seconds since 1970.
    pub timestamp: u64,
}

/// One of the two states.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Part {
    /// The attributes.
    pub state: Map<String, Value>,
    /// When each was changed last: `{"timestamp": seconds}`.
    pub metadata: Map<String, Value>,
}

/// Why a document changes nothing: the vendor's numbers for devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShadowError {
    /// 400
    #[error("the payload is no JSON object")]
    NotJson,
    /// 401
    #[error("`method` is missing")]
    NoMethod,
    /// 402
    #[error("`state` is missing or no object")]
    NoState,
    /// 403
    #[error("`version` is no whole number")]
    VersionNotNumber,
    /// 404
    #[error("`state.reported` is missing")]
    NoReported,
    /// 405
    #[error("`state.reported` is empty or no object")]
    EmptyReported,
    /// 406
    #[error("`method` is none of update, get and delete")]
    Method,
    /// 407
    #[error("the payload is empty")]
    Empty,
    /// 408
    #[error("more than 128 attributes, or more than 16 KiB")]
    TooMany,
    /// 409
    #[error("`version` is not greater than the shadow's")]
    Conflict,
    /// 500
    #[error("the shadow could not be read or written")]
    Server,
}

impl ShadowError {
    /// The vendor's number.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::NotJson => 400,
            Self::NoMethod => 401,
            Self::NoState => 402,
            Self::VersionNotNumber => 403,
            Self::NoReported => 404,
            Self::EmptyReported => 405,
            Self::Method => 406,
            Self::Empty => 407,
            Self::TooMany => 408,
            Self::Conflict => 409,
            Self::Server => 500,
        }
    }

    /// What the device is answered.
    #[must_use]
    pub fn reply(self, now_s: u64) -> Value {
        let content =
            json!({ "errorcode": self.code().to_string(), "errormessage": self.to_string() });
        json!({
            "method": "reply",
            "payload": { "status": "error", "content": content },
            "timestamp": now_s,
        })
    }
}

/// What the cloud's document asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wish {
    /// The attributes that are wanted; `None` leaves them, an empty map clears them.
    pub desired: Option<Map<String, Value>>,
    /// Attributes told in the device's place.
    pub reported: Option<Map<String, Value>>,
    /// Greater than the shadow's version; -1 starts again at 0.
    pub version: i64,
    /// Whether other attributes that are wanted stay.
    pub merge: bool,
}

/// What a device's message asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum DeviceAsks {
    /// The document.
    Get,
    /// New values.
    Update {
        /// What it reports.
        reported: Map<String, Value>,
        /// Whether what is wanted is done with.
        clear_desired: bool,
        /// Greater than the shadow's version; -1 starts again at 0.
        version: i64,
    },
    /// Attributes that it does not report any more; `None` for all of them.
    Delete {
        /// Their names.
        attributes: Option<Vec<String>>,
        /// Greater than the shadow's version.
        version: i64,
    },
}

impl DeviceAsks {
    /// Reads a device's message on `/shadow/update/…`.
    ///
    /// # Errors
    /// A [`ShadowError`].
    pub fn parse(payload: &[u8]) -> Result<Self, ShadowError> {
        if payload.iter().all(u8::is_ascii_whitespace) {
            return Err(ShadowError::Empty);
        }
        if payload.len() > SHADOW_BYTES {
            return Err(ShadowError::TooMany);
        }
        let Ok(document) = object(payload) else {
            return Err(ShadowError::NotJson);
        };
        if document.is_empty() {
            return Err(ShadowError::Empty);
        }
        let method = document.get("method").ok_or(ShadowError::NoMethod)?;
        let state = || match document.get("state") {
            Some(Value::Object(state)) => Ok(state),
            _ => Err(ShadowError::NoState),
        };
        let version =
            || document.get("version").and_then(Value::as_i64).ok_or(ShadowError::VersionNotNumber);
        match method.as_str() {
            Some("get") => Ok(Self::Get),
            Some("update") => {
                let state = state()?;
                let clear_desired = state.get("desired").is_some_and(is_nothing);
                let reported = match state.get("reported") {
                    None if clear_desired => Map::new(),
                    None => return Err(ShadowError::NoReported),
                    Some(Value::Object(reported)) if !reported.is_empty() => reported.clone(),
                    Some(_) => return Err(ShadowError::EmptyReported),
                };
                Ok(Self::Update { reported, clear_desired, version: version()? })
            }
            Some("delete") => {
                let attributes = match state()?.get("reported") {
                    None => return Err(ShadowError::NoReported),
                    Some(all) if is_nothing(all) => None,
                    Some(Value::Object(some)) if !some.is_empty() => {
                        let cleared = some.iter().filter(|(_, value)| is_nothing(value));
                        Some(cleared.map(|(name, _)| name.clone()).collect())
                    }
                    Some(_) => return Err(ShadowError::EmptyReported),
                };
                Ok(Self::Delete { attributes, version: version()? })
            }
            _ => Err(ShadowError::Method),
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value == NOTHING
}

impl Shadow {
    /// Does what a device asks for and says what it is answered.
    ///
    /// # Errors
    /// A [`ShadowError`]; the shadow is as it was.
    pub fn obey(&mut self, asks: DeviceAsks, now_s: u64) -> Result<Value, ShadowError> {
        match asks {
            DeviceAsks::Get => return Ok(self.told("reply")),
            DeviceAsks::Update { reported, clear_desired, version } => {
                let mut next = self.advanced(version, now_s)?;
                next.reported.merge(reported, now_s);
                if clear_desired {
                    next.desired = Part::default();
                }
                *self = next.bounded()?;
            }
            DeviceAsks::Delete { attributes, version } => {
                let mut next = self.advanced(version, now_s)?;
                match attributes {
                    None => next.reported = Part::default(),
                    Some(names) => names.iter().for_each(|name| next.reported.remove(name)),
                }
                *self = next;
            }
        }
        Ok(json!({
            "method": "reply",
            "payload": { "status": "success", "version": self.version },
            "version": self.version,
            "timestamp": now_s,
        }))
    }

    /// Does what the cloud wishes.
    ///
    /// # Errors
    /// [`ShadowError::Conflict`] or [`ShadowError::TooMany`]; the shadow is as it was.
    pub fn grant(&mut self, wish: Wish, now_s: u64) -> Result<(), ShadowError> {
        let mut next = self.advanced(wish.version, now_s)?;
        if let Some(desired) = wish.desired {
            if !wish.merge || desired.is_empty() {
                next.desired = Part::default();
            }
            next.desired.merge(desired, now_s);
        }
        if let Some(reported) = wish.reported {
            next.reported.merge(reported, now_s);
        }
        *self = next.bounded()?;
        Ok(())
    }

    fn advanced(&self, version: i64, now_s: u64) -> Result<Self, ShadowError> {
        let version = match version {
            -1 => 0,
            version if version > self.version => version,
            _ => return Err(ShadowError::Conflict),
        };
        Ok(Self { version, timestamp: now_s, ..self.clone() })
    }

    fn bounded(self) -> Result<Self, ShadowError> {
        let parts = [&self.reported, &self.desired];
        let few = parts.iter().all(|part| part.state.len() <= ATTRIBUTES_MAX);
        let small = few && self.document().to_string().len() <= SHADOW_BYTES;
        if small { Ok(self) } else { Err(ShadowError::TooMany) }
    }

    /// The shadow as a message to its device: `reply` to what it asked, `control` for what is wanted.
    #[must_use]
    pub fn told(&self, method: &str) -> Value {
        let (state, metadata) = self.parts();
        json!({
            "method": method,
            "payload": { "status": "success", "state": state, "metadata": metadata },
            "version": self.version,
            "timestamp": self.timestamp,
        })
    }

    /// The shadow as the API shows it, and as it is kept.
    #[must_use]
    pub fn document(&self) -> Value {
        let (state, metadata) = self.parts();
        json!({
            "method": "update",
            "state": state,
            "metadata": metadata,
            "version": self.version,
            "timestamp": self.timestamp,
        })
    }

    /// Reads what [`Shadow::document`] has written.
    #[must_use]
    pub fn from_document(document: &Value) -> Self {
        let part = |name: &str| {
            let map = |kind: &str| document[kind][name].as_object().cloned().unwrap_or_default();
            Part { state: map("state"), metadata: map("metadata") }
        };
        Self {
            reported: part("reported"),
            desired: part("desired"),
            version: document["version"].as_i64().unwrap_or(0),
            timestamp: document["timestamp"].as_u64().unwrap_or(0),
        }
    }

    fn parts(&self) -> (Value, Value) {
        let (mut state, mut metadata) = (Map::new(), Map::new());
        for (name, part) in [("reported", &self.reported), ("desired", &self.desired)] {
            if !part.state.is_empty() {
                state.insert(name.to_owned(), Value::Object(part.state.clone()));
                metadata.insert(name.to_owned(), Value::Object(part.metadata.clone()));
            }
        }
        (Value::Object(state), Value::Object(metadata))
    }
}

impl Part {
    /// Takes new values; an attribute that is nothing goes.
    fn merge(&mut self, with: Map<String, Value>, now_s: u64) {
        for (name, value) in with {
            if is_nothing(&value) {
                self.remove(&name);
                continue;
            }
            self.metadata.insert(name.clone(), json!({ "timestamp": now_s }));
            match (self.state.get_mut(&name), value) {
                (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
                (_, value) => drop(self.state.insert(name, value)),
            }
        }
    }

    fn remove(&mut self, name: &str) {
        // What is left keeps its order.
        self.state.shift_remove(name);
        self.metadata.shift_remove(name);
    }
}

/// Objects are merged, arrays and all else replaced. No deeper than JSON may be: 128.
fn merge(old: &mut Map<String, Value>, new: Map<String, Value>) {
    for (name, value) in new {
        match (old.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => drop(old.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::tree;

    use super::*;

    fn obey(shadow: &mut Shadow, payload: &str) -> Result<Value, u16> {
        let asks = DeviceAsks::parse(payload.as_bytes()).map_err(ShadowError::code)?;
        shadow.obey(asks, 1_469_564_576).map_err(ShadowError::code)
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("object")
    }

    #[test]
    fn a_device_reports_and_is_told_what_is_wanted() {
        let mut shadow = Shadow::default();
        let update = r#"{"method":"update","state":{"reported":{"color":"red","at":{"x":1,"y":[1,2]}}},"version":1}"#;
        let reply = obey(&mut shadow, update).expect("reply");
        assert_eq!(
            reply,
            json!({"method":"reply","payload":{"status":"success","version":1},"version":1,"timestamp":1_469_564_576})
        );
        let wish =
            Wish { desired: Some(map(json!({"color": "green"}))), version: 2, ..Wish::default() };
        shadow.grant(wish, 1_469_564_577).expect("granted");
        let told = shadow.told("control");
        assert_eq!(told["payload"]["state"]["desired"], json!({"color": "green"}));
        assert_eq!(
            told["payload"]["metadata"]["desired"],
            json!({"color": {"timestamp": 1_469_564_577}})
        );
        assert_eq!((&told["version"], &told["method"]), (&json!(2), &json!("control")));
        let done = r#"{"method":"update","state":{"reported":{"color":"green","at":{"y":[3]}},"desired":"null"},"version":3}"#;
        obey(&mut shadow, done).expect("reply");
        let got = obey(&mut shadow, r#"{"method":"get"}"#).expect("reply");
        assert_eq!(
            got["payload"]["state"],
            json!({"reported": {"color": "green", "at": {"x": 1, "y": [3]}}})
        );
        assert_eq!(Shadow::from_document(&shadow.document()), shadow);
        obey(&mut shadow, r#"{"method":"delete","state":{"reported":{"at":"null"}},"version":4}"#)
            .expect("reply");
        assert_eq!(shadow.reported.state, map(json!({"color": "green"})));
        obey(&mut shadow, r#"{"method":"delete","state":{"reported":"null"},"version":5}"#)
            .expect("reply");
        assert_eq!((shadow.reported, shadow.version), (Part::default(), 5));
    }

    #[test]
    fn every_code_has_its_cause() {
        let mut shadow = Shadow { version: 5, ..Shadow::default() };
        let many: Map<_, _> = (0..129).map(|n| (n.to_string(), json!(n))).collect();
        let many = json!({"method": "update", "state": {"reported": many}, "version": 9});
        for (payload, code) in [
            ("{", 400),
            ("[1]", 400),
            (r#"{"state":{}}"#, 401),
            (r#"{"method":"update","version":6}"#, 402),
            (r#"{"method":"update","state":{"reported":{"a":1}},"version":"6"}"#, 403),
            (r#"{"method":"update","state":{},"version":6}"#, 404),
            (r#"{"method":"delete","state":{},"version":6}"#, 404),
            (r#"{"method":"update","state":{"reported":{}},"version":6}"#, 405),
            (r#"{"method":"delete","state":{"reported":1},"version":6}"#, 405),
            (r#"{"method":"reset"}"#, 406),
            (" ", 407),
            ("{}", 407),
            (&many.to_string(), 408),
            (&"x".repeat(SHADOW_BYTES + 1), 408),
            (r#"{"method":"update","state":{"reported":{"a":1}},"version":5}"#, 409),
        ] {
            assert_eq!(obey(&mut shadow, payload), Err(code), "{payload}");
        }
        let reply = ShadowError::Conflict.reply(7);
        assert_eq!(reply["payload"]["content"]["errorcode"], "409");
        assert_eq!(
            (&reply["payload"]["status"], &reply["timestamp"]),
            (&json!("error"), &json!(7))
        );
        assert_eq!(ShadowError::Server.code(), 500);
        // -1 starts again.
        let again = r#"{"method":"update","state":{"reported":{"a":1}},"version":-1}"#;
        obey(&mut shadow, again).expect("reply");
        assert_eq!(shadow.version, 0);
    }

    #[test]
    fn values_come_back_with_all_their_digits() {
        let mut shadow = Shadow::default();
        // The second key is one that serde_json has for itself.
        let values = r#"{"n":12345678901234567890.10,"o":{"$serde_json::private::Number":"12"}}"#;
        let update =
            format!(r#"{{"method":"update","state":{{"reported":{values}}},"version":1}}"#);
        obey(&mut shadow, &update).expect("reply");
        let kept = tree(shadow.document().to_string().as_bytes()).expect("a document");
        let mut shadow = Shadow::from_document(&kept);
        let told = obey(&mut shadow, r#"{"method":"get"}"#).expect("reply").to_string();
        assert!(told.contains(&format!(r#""reported":{values}"#)), "{told}");
    }

    #[test]
    fn the_cloud_replaces_what_is_wanted_or_adds_to_it() {
        let mut shadow = Shadow::default();
        let mut grant = |desired: Value, version, merge| {
            let wish = Wish { desired: Some(map(desired)), reported: None, version, merge };
            shadow.grant(wish, 1).map(|()| Value::Object(shadow.desired.state.clone()))
        };
        assert_eq!(grant(json!({"a": 1, "b": 2}), 1, false), Ok(json!({"a": 1, "b": 2})));
        assert_eq!(grant(json!({"c": 3}), 2, true), Ok(json!({"a": 1, "b": 2, "c": 3})));
        assert_eq!(grant(json!({"c": 4}), 3, false), Ok(json!({"c": 4})));
        assert_eq!(grant(json!({"c": 4}), 3, false), Err(ShadowError::Conflict));
        assert_eq!(grant(json!({}), 4, true), Ok(json!({})));
    }
}
