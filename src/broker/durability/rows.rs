//! The rows of the file: what is written, and what the columns of a row say.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use contract::{QoS, Topic, TopicLimits};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::codec::Properties;
use crate::sessions::{Difference, Entry, Outgoing, Retention, Routed, Subscribed, Terms, Wanted};
use rule::store::{StoreError, unsigned};

/// A session without its messages.
#[derive(Debug)]
pub(super) struct SessionRow {
    pub number: u64,
    pub client_id: ByteString,
    pub expiry_s: u32,
    /// When the client left, in milliseconds since 1970; `None` while it is there.
    pub left_ms: Option<u64>,
    /// Packet identifiers of QoS 2 messages that the engine has accepted and the client not released.
    pub received: Vec<u16>,
    /// Those of messages that subscribers have and the engine has not accepted.
    pub routed: Vec<u16>,
    /// With the text of their filters.
    pub subscriptions: Vec<(ByteString, Subscribed)>,
}

/// Something to write.
#[derive(Debug)]
pub(super) enum Change {
    End(u64),
    Session(SessionRow),
    /// A message of the session of that number.
    Message(u64, Difference),
    Retained(Retention),
}

/// What was accepted is read whatever the limits are now.
const ANY_TOPIC: TopicLimits = TopicLimits { bytes: usize::MAX, levels: usize::MAX };

/// Why what is kept cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row holds what was never written.
    #[error("{row} cannot be read: {problem}")]
    Row {
        /// Which.
        row: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl From<sqlx::Error> for KeptError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A subscription as it is written.
#[derive(Serialize, Deserialize)]
struct Line {
    filter: String,
    qos: u8,
    id: Option<u32>,
    no_local: bool,
    retain_as_published: bool,
}

/// The subscriptions of a session as they are written.
pub(super) fn subscription_lines(row: &SessionRow) -> Result<String, sqlx::Error> {
    let lines = row.subscriptions.iter().map(|(filter, subscribed)| Line {
        filter: filter.to_string(),
        qos: subscribed.terms.qos.level(),
        id: subscribed.terms.id,
        no_local: subscribed.terms.no_local,
        retain_as_published: subscribed.terms.retain_as_published,
    });
    serde_json::to_string(&lines.collect::<Vec<_>>())
        .map_err(|error| sqlx::Error::Encode(error.into()))
}

/// What is wrong with a row, before it is known which.
enum Fault {
    Database(sqlx::Error),
    Content(String),
}

impl Fault {
    fn at(self, row: &str) -> KeptError {
        match self {
            Self::Database(error) => error.into(),
            Self::Content(problem) => KeptError::Row { row: row.to_owned(), problem },
        }
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

fn content(problem: impl ToString) -> Fault {
    Fault::Content(problem.to_string())
}

fn level(row: &SqliteRow, column: &str) -> Result<QoS, Fault> {
    let level: i64 = row.try_get(column)?;
    u8::try_from(level).map_err(content).and_then(|level| QoS::try_from(level).map_err(content))
}

/// The session of a row.
pub(super) fn read_session(row: &SqliteRow) -> Result<SessionRow, KeptError> {
    let client_id: String = row.try_get("client_id")?;
    let named = format!("the session of `{}`", client_id.escape_debug());
    let read = || {
        let ids = |column: &str| {
            let bytes: Vec<u8> = row.try_get(column)?;
            Ok::<_, Fault>(bytes.as_chunks().0.iter().map(|id| u16::from_le_bytes(*id)).collect())
        };
        let lines: Vec<Line> =
            serde_json::from_str(row.try_get("subscriptions")?).map_err(content)?;
        let subscriptions = lines.into_iter().map(|line| {
            let terms = Terms {
                qos: QoS::try_from(line.qos).map_err(content)?,
                id: line.id,
                no_local: line.no_local,
                retain_as_published: line.retain_as_published,
            };
            let wanted = Wanted::parse(&line.filter, ANY_TOPIC).map_err(content)?;
            Ok::<_, Fault>((line.filter.into(), Subscribed { wanted, terms }))
        });
        let left: Option<i64> = row.try_get("left_ms")?;
        Ok(SessionRow {
            number: unsigned(row.try_get("number")?),
            client_id: ByteString::from(&*client_id),
            expiry_s: u32::try_from(row.try_get::<i64, _>("expiry_s")?).map_err(content)?,
            left_ms: left.map(unsigned),
            received: ids("received")?,
            routed: ids("routed")?,
            subscriptions: subscriptions.collect::<Result<_, _>>()?,
        })
    };
    read().map_err(|fault: Fault| fault.at(&named))
}

/// The message of a row, and the number of its session.
pub(super) fn read_message(row: &SqliteRow) -> Result<(u64, Entry), KeptError> {
    let session = unsigned(row.try_get("session")?);
    let key = unsigned(row.try_get("key")?);
    let read = || {
        let seq: Option<i64> = row.try_get("seq")?;
        let topic: Option<String> = row.try_get("topic")?;
        let ids: Vec<u8> = row.try_get("ids")?;
        let ids: SmallVec<[u32; 2]> =
            ids.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id)).collect();
        let outgoing = match topic {
            None => None,
            Some(topic) => Some(Outgoing {
                routed: Arc::new(read_routed(row, topic)?),
                qos: level(row, "qos")?,
                retain: row.try_get("retain")?,
                ids,
                shared: None,
            }),
        };
        Ok(Entry { key, seq: seq.map(unsigned), outgoing })
    };
    let entry = read();
    let entry = entry.map_err(|fault: Fault| fault.at(&format!("message {key} of {session}")))?;
    Ok((session, entry))
}

/// The retained message of a row.
pub(super) fn read_retained(row: &SqliteRow) -> Result<Routed, KeptError> {
    let topic: String = row.try_get("topic")?;
    let named = format!("the retained message of `{topic}`");
    read_routed(row, topic).map_err(|fault| fault.at(&named))
}

fn read_routed(row: &SqliteRow, topic: String) -> Result<Routed, Fault> {
    let properties: Vec<u8> = row.try_get("properties")?;
    let payload: Vec<u8> = row.try_get("payload")?;
    let expires: Option<i64> = row.try_get("expires_ms")?;
    Ok(Routed::new(
        Topic::parse(topic, ANY_TOPIC).map_err(content)?,
        payload.into(),
        Properties::from_bytes(&Bytes::from(properties)).map_err(content)?,
        expires.map(unsigned),
        level(row, "published_qos")?,
    ))
}
