//! The contract between the engine and its connectors: messages, records, sources, sinks.
//!
//! It knows no client library, no broker and no runtime: only the data that flows and the promises
//! that each side makes. Every connector depends on this crate and on nothing else of Tidegate.

mod decimal;
mod duration;
mod hint;
mod ingress;
mod json;
mod message;
mod network;
mod preview;
mod record;
mod secret;
mod sink;
mod source;
mod spec;
pub mod table;
mod template;
mod topic;
mod tree;

pub use decimal::{Decimal, compare_numbers};
pub use duration::{Period, PeriodError};
pub use hint::{Position, nearest};
pub use ingress::{Ack, AckWait, AckWhen, Batch, Ingress, Nacked, Promise, Promised};
pub use json::{Field, lookup};
pub use message::{Device, Headers, Message, MessageIds, Origin, QoS, now_ms};
pub use network::{Network, Unreachable};
pub use preview::Preview;
pub use record::{Body, Record};
pub use secret::Secret;
pub use sink::{Confirms, DeliveryError, FailureKind, Outcome, OutcomeClass, Sink};
pub use source::{
    InFlight, Reconnect, Shutdown, ShutdownHandle, Source, SourceError, device_pair, shutdown,
};
pub use spec::{
    AnyConnection, ConfigError, ConnectionConfig, ConnectionSpec, Connections, Env, HOPS_MAX,
    SinkConfig, SinkSpec, SourceConfig, SourceSpec, connection, read_fitting, sink, source,
};
pub use template::{PathGuard, Template, TemplateError};
pub use topic::{Topic, TopicError, TopicFilter, TopicLimits};
pub use tree::{misfit, object, tree};

use std::fs::OpenOptions;
use std::sync::Arc;

/// A file that is made with these options can only be read by its owner.
pub fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Where `republish` and other in-process publishers put a message: the embedded broker and the
/// rules. The daemon passes its own implementation in; without one, `republish` is refused.
#[async_trait::async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Routes messages to subscribers and to the rules again, in order. Returns when the engine has
    /// accepted all of them: those of QoS 1 are durable then.
    ///
    /// # Errors
    /// A [`DeliveryError`] when the engine accepted none of them; publish all of them again.
    async fn publish(&self, messages: Vec<Message>) -> Result<(), DeliveryError>;
}

/// What SQL may ask about the device that sent a message, and what only the test of a rule knows.
pub trait DeviceFacts: Send + Sync {
    /// The value of a device's tag, or `None` when the device or the tag does not exist.
    fn tag(&self, product_key: &str, device_name: &str, key: &str) -> Option<String>;

    /// The UUID that SQL makes, where a test fixes it; else `None`.
    fn fixed_uuid(&self) -> Option<u128> {
        None
    }

    /// The random bits that SQL draws, where a test fixes them; else `None`.
    fn fixed_random(&self) -> Option<u64> {
        None
    }
}

/// Facts about no device: every tag is absent.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoFacts;

impl DeviceFacts for NoFacts {
    fn tag(&self, _: &str, _: &str, _: &str) -> Option<String> {
        None
    }
}

/// A shared, immutable piece of text.
pub type Text = Arc<str>;
