//! A letter as a row of the table, and back.
//!
//! It knows the form of a row, not when one is written.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use bytestring::ByteString;
use contract::{Device, Headers, Message, Origin, QoS, Topic, TopicLimits};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{DeadError, DeadLetter};
use rule::store::unsigned;

/// What a letter takes beside its own bytes: the row, its entries in the indices, a shortened error.
pub(super) const OVERHEAD: usize = 512;

/// The most that is kept of what a destination said.
pub(super) const ERROR_MAX: usize = 2048;

/// How a letter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits for somebody to look.
    Dead,
    /// A replay is to deliver it, or does so right now.
    Wanted,
    /// A replay has delivered it, at that time in milliseconds since 1970.
    Replayed(u64),
}

impl State {
    /// From the columns `wanted` and `replayed_ms`.
    pub(super) fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let wanted: Option<i64> = row.try_get("wanted")?;
        let replayed: Option<i64> = row.try_get("replayed_ms")?;
        Ok(match (wanted, replayed) {
            (Some(_), _) => Self::Wanted,
            (None, Some(ms)) => Self::Replayed(unsigned(ms)),
            (None, None) => Self::Dead,
        })
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Wanted => "wanted",
            Self::Replayed(_) => "replayed",
        }
    }
}

/// A letter with all that is known about it.
#[derive(Debug, Clone)]
pub struct StoredLetter {
    /// Its number, never used twice.
    pub id: u64,
    /// The name of the rule.
    pub rule: Arc<str>,
    /// The version of the rule that gave it up.
    pub version: Arc<str>,
    /// The name of the action.
    pub action: Arc<str>,
    /// The class of the end.
    pub reason: String,
    /// What the destination said last.
    pub error: String,
    /// How often delivery was tried; a replay that failed counts once.
    pub attempts: u32,
    /// Which record of its message it is, from 0.
    pub nth: u32,
    /// When it was kept, in milliseconds since 1970.
    pub kept_ms: u64,
    /// How it stands.
    pub state: State,
    /// Somebody has changed topic or payload since.
    pub edited: bool,
    /// The message.
    pub message: Message,
    /// What the action would have got; `None` once it was edited.
    pub record: Option<Bytes>,
}

/// What is seldom there and never searched, as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Context {
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<(ByteString, ByteString)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Vec<(ByteString, ByteString)>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<ByteString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_topic: Option<ByteString>,
    /// In base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<ByteString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<ByteString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<IpAddr>,
    #[serde(skip_serializing_if = "is_default")]
    retain: bool,
    #[serde(skip_serializing_if = "is_default")]
    hops: u8,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Context {
    fn of(message: &Message) -> Self {
        let headers = message.headers.as_deref().cloned().unwrap_or_default();
        let origin = message.origin.as_ref().clone();
        let pair = |device: &Device| (device.product_key.clone(), device.device_name.clone());
        Self {
            device: message.device.as_deref().map(pair),
            properties: message.properties.as_ref().map(|all| all.to_vec()),
            content_type: headers.content_type,
            response_topic: headers.response_topic,
            correlation_data: headers.correlation_data.map(|bytes| STANDARD.encode(bytes)),
            source: origin.source.map(|source| source.to_string()),
            client_id: origin.client_id,
            username: origin.username,
            peer: origin.peer,
            retain: message.retain,
            hops: message.hops,
        }
    }

    fn fill(self, message: &mut Message) -> Result<(), String> {
        let correlation_data = match self.correlation_data {
            Some(text) => {
                Some(Bytes::from(STANDARD.decode(text).map_err(|error| error.to_string())?))
            }
            None => None,
        };
        let headers = Headers {
            content_type: self.content_type,
            response_topic: self.response_topic,
            correlation_data,
        };
        message.headers = (headers != Headers::default()).then(|| Arc::new(headers));
        message.device = self
            .device
            .map(|(product_key, device_name)| Arc::new(Device { product_key, device_name }));
        message.properties = self.properties.map(Into::into);
        message.origin = Arc::new(Origin {
            source: self.source.map(Into::into),
            client_id: self.client_id,
            username: self.username,
            peer: self.peer,
        });
        message.retain = self.retain;
        message.hops = self.hops;
        Ok(())
    }
}

/// The JSON text of a message's context.
pub(super) fn context(message: &Message) -> String {
    serde_json::to_string(&Context::of(message))
        .expect("invariant: texts and numbers are always JSON")
}

/// What a letter counts for against the limit.
pub(super) fn size(letter: &DeadLetter, context: &str) -> usize {
    let record = letter.record.as_ref().map_or(0, Bytes::len);
    let message = &letter.message;
    OVERHEAD + message.topic.as_str().len() + message.payload.len() + context.len() + record
}

/// The beginning of a text, at most [`ERROR_MAX`] bytes.
pub(super) fn shortened(error: &str) -> &str {
    let end = (0..=ERROR_MAX.min(error.len())).rev().find(|at| error.is_char_boundary(*at));
    end.and_then(|end| error.get(..end)).unwrap_or("")
}

/// Message ids use all 64 bits; 0 means none.
pub(super) fn stored_id(id: u64) -> Option<i64> {
    (id != 0).then(|| id.cast_signed())
}

impl StoredLetter {
    /// From all columns of a row.
    pub(super) fn read(row: &SqliteRow) -> Result<Self, DeadError> {
        let id = unsigned(row.try_get("id")?);
        let wrong = |problem: String| DeadError::Letter { id, problem };
        let number = |name: &str| row.try_get::<i64, _>(name).map(unsigned);
        let small = |name: &str| number(name).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        // It was a topic under the limits of its time.
        let limits = TopicLimits { bytes: usize::MAX, levels: usize::MAX };
        let topic = Topic::parse(row.try_get::<String, _>("topic")?, limits)
            .map_err(|error| wrong(format!("the topic: {error}")))?;
        let payload: Vec<u8> = row.try_get("payload")?;
        let mut message = Message::new(topic, payload, number("received_ms")?);
        message.id = row.try_get::<Option<i64>, _>("message_id")?.unwrap_or(0).cast_unsigned();
        message.qos = match number("qos")? {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        let context: Context = serde_json::from_str(row.try_get("context")?)
            .map_err(|error| wrong(format!("the context: {error}")))?;
        context.fill(&mut message).map_err(|error| wrong(format!("the context: {error}")))?;
        Ok(Self {
            id,
            rule: row.try_get::<&str, _>("rule")?.into(),
            version: row.try_get::<&str, _>("version")?.into(),
            action: row.try_get::<&str, _>("action")?.into(),
            reason: row.try_get("reason")?,
            error: row.try_get("error")?,
            attempts: small("attempts")?,
            nth: small("nth")?,
            kept_ms: number("kept_ms")?,
            state: State::read(row)?,
            edited: row.try_get("edited")?,
            message,
            record: row.try_get::<Option<Vec<u8>>, _>("record")?.map(Bytes::from),
        })
    }
}
