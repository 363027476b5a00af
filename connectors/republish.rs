//! The `republish` sink: records as new messages to the embedded broker and to the rules again. What
//! keeps loops finite is the count of hops that a message carries; queues belong to the publisher.

use std::sync::{Arc, OnceLock};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::contract::{
    ConfigError, Confirms, DeliveryError, Env, FailureKind, Message, Origin, Outcome, PathGuard,
    Preview, Publisher, QoS, Record, Sink, SinkConfig, Template, Topic, TopicLimits,
};

/// Records in one call; they are published together.
const BATCH_MAX: usize = 100;

/// Publishes each record as a message: to subscribers and to the rules.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepublishSettings {
    /// The topic, such as `/a1Pk/${device}/user/alert`; a value may not hold `/`, `+` or `#`.
    topic: Template,
    /// The quality of service: 0, 1 or 2.
    #[serde(default = "at_least_once")]
    qos: QoS,
    /// Whether the broker keeps the message as the topic's last value.
    #[serde(default)]
    retain: bool,
    /// The payload, such as `{"text":"${device} is hot"}`; without it the record as it is.
    payload: Option<Template>,
}

fn at_least_once() -> QoS {
    QoS::AtLeastOnce
}

impl SinkConfig for RepublishSettings {
    const NAME: &'static str = "republish";
    const SUMMARY: &'static str = "Publishes each record to a topic of the embedded broker.";
    const EXAMPLE: &'static str = r#"{ topic: "/a1Pk/${device}/user/alert" }"#;

    fn build(self, env: &Env) -> Result<Arc<dyn Sink>, ConfigError> {
        let Some(publisher) = env.publisher.clone() else {
            let text =
                "republish needs the daemon's broker, which does not run here; use `tidegate run`";
            return Err(ConfigError::new("", text));
        };
        // A topic without `${…}` is checked now, one with it when it is known.
        if let Some(topic) = self.topic.literal() {
            Topic::parse(topic, env.topic_limits)
                .map_err(|error| ConfigError::new("topic", error.to_string()))?;
        }
        Ok(Arc::new(Republish {
            settings: self,
            publisher,
            limits: env.topic_limits,
            hops_max: env.hops_max,
        }))
    }
}

struct Republish {
    settings: RepublishSettings,
    publisher: Arc<dyn Publisher>,
    limits: TopicLimits,
    hops_max: u8,
}

#[async_trait::async_trait]
impl Sink for Republish {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        let mut messages = Vec::with_capacity(records.len());
        let mut made = Vec::with_capacity(records.len());
        for record in records {
            made.push(self.message(record).map(|message| messages.push(message)));
        }
        // One batch: what the engine accepts is durable at the cost of one write.
        let published = match messages.is_empty() {
            true => Ok(()),
            false => self.publisher.publish(messages).await,
        };
        let outcome = |made: Result<(), DeliveryError>| {
            made.and_then(|()| published.clone()).map_or_else(Outcome::from_error, |()| Outcome::Ok)
        };
        made.into_iter().map(outcome).collect()
    }

    async fn check(&self) -> Result<(), DeliveryError> {
        Ok(())
    }

    fn resource(&self) -> String {
        self.settings.topic.as_str().to_owned()
    }

    fn preview(&self, record: &Record) -> Result<Preview, DeliveryError> {
        let message = self.message(record)?;
        Ok(Preview::new()
            .with("topic", message.topic.as_str())
            .with("qos", message.qos.level())
            .with("retain", message.retain)
            .body(&message.payload))
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    fn confirms(&self) -> Confirms {
        match self.settings.qos.is_acknowledged() {
            true => Confirms::Kept,
            false => Confirms::HandedOver,
        }
    }
}

impl Republish {
    fn message(&self, record: &Record) -> Result<Message, DeliveryError> {
        let rejected = |text: String| DeliveryError::new(FailureKind::Rejected, text);
        let source = record.message();
        if source.hops >= self.hops_max {
            let text = format!(
                "hop limit reached: rules have republished this message {} times already; look for rules whose republish topic matches their own filter, or raise `limits: {{ hops: … }}`",
                source.hops
            );
            return Err(rejected(text));
        }
        let topic = self.settings.topic.render(record, PathGuard::Segment)?;
        let topic = Topic::parse(topic, self.limits).map_err(|e| rejected(e.to_string()))?;
        let payload = match &self.settings.payload {
            None => record.bytes().clone(),
            Some(template) if template.fits(record.body) => template.render_json(record).into(),
            Some(_) => {
                return Err(rejected("a binary result has no keys for `payload`".to_owned()));
            }
        };
        Ok(Message {
            qos: self.settings.qos,
            retain: self.settings.retain,
            origin: origin(),
            // At most `hops_max`, which is a u8 itself.
            hops: source.hops + 1,
            ..Message::new(topic, payload, source.received_ms)
        })
    }
}

/// The same origin for every message; made once.
fn origin() -> Arc<Origin> {
    static ORIGIN: OnceLock<Arc<Origin>> = OnceLock::new();
    let make = || Arc::new(Origin { source: Some("republish".into()), ..Origin::default() });
    ORIGIN.get_or_init(make).clone()
}
