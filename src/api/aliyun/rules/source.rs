//! Which topics a rule of the API reads: product key, short topic and topic type made into one filter.
//!
//! It keeps no list of products or devices.

use connectors::contract::{TopicFilter, TopicLimits};

use crate::api::aliyun::wire::error::{self, ApiError};

/// Topics of the thing model, `+` for any one level; the first level is the device.
const SYSTEM: &[&str] = &[
    "+/thing/event/+/post",
    "+/thing/event/+/history/post",
    "+/thing/lifecycle",
    "+/thing/topo/lifecycle",
    "+/thing/list/found",
    "+/thing/downlink/reply/message",
    "+/thing/deviceinfo/update",
    "+/ota/upgrade",
    "+/ota/version/post",
    "+/+/ota/job/status",
];

/// Where device status is published: below it product key and device name.
const STATUS: &str = "/as/mqtt/status/";

/// The parts of a topic filter as the API names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTopic {
    /// One product; no wildcard.
    pub product_key: String,
    /// What follows the product key.
    pub short_topic: String,
    /// 0 thing model, 1 custom, 2 status.
    pub topic_type: u8,
}

impl SourceTopic {
    /// Checks the parts. Without a type it is found from the short topic: development guide §2.11.1
    /// requires it, later clients leave it out.
    ///
    /// # Errors
    /// [`error::PRODUCT_KEY`], [`error::SYSTEM_TOPIC`], [`error::TOPIC_NAME`] or
    /// [`error::TOPIC_TYPE`].
    pub fn new(
        product_key: &str,
        short_topic: &str,
        topic_type: Option<u8>,
        limits: TopicLimits,
    ) -> Result<Self, ApiError> {
        if let Some(bad) =
            product_key.chars().find(|c| matches!(c, '/' | '+' | '#') || c.is_control())
        {
            let text = format!("{bad:?} is not allowed; a rule belongs to one product");
            return Err(error::PRODUCT_KEY.with(text));
        }
        let source = Self {
            product_key: product_key.to_owned(),
            short_topic: short_topic.to_owned(),
            topic_type: topic_type.unwrap_or_else(|| guess_type(short_topic)),
        };
        if let Err(problem) = TopicFilter::parse(source.filter(), limits) {
            return Err(error::TOPIC_NAME.with(problem));
        }
        match source.topic_type {
            0 if !is_system(short_topic) => {
                let text = format!(
                    "`{short_topic}` is no topic of the thing model; expected such as `+/thing/event/property/post`, or TopicType 1"
                );
                Err(error::SYSTEM_TOPIC.with(text))
            }
            1 if !short_topic.contains('/') => {
                let text = format!("`{short_topic}` is only a device; expected such as `+/user/#`");
                Err(error::TOPIC_NAME.with(text))
            }
            2 if short_topic.contains('/') || short_topic == "#" => {
                let text =
                    format!("`{short_topic}`: for device status expected a device name or `+`");
                Err(error::TOPIC_NAME.with(text))
            }
            0..=2 => Ok(source),
            other => Err(error::TOPIC_TYPE.with(format!("{other}; expected 0, 1 or 2"))),
        }
    }

    /// The parts of a whole topic, as newer clients pass it in `Topic`; a type that is given wins over
    /// what the topic looks like.
    ///
    /// # Errors
    /// As [`SourceTopic::new`].
    pub fn from_topic(
        topic: &str,
        topic_type: Option<u8>,
        limits: TopicLimits,
    ) -> Result<Self, ApiError> {
        let (rest, found) = match topic.strip_prefix(STATUS) {
            Some(rest) => (rest, Some(2)),
            None => match topic.strip_prefix("/sys/") {
                Some(rest) => (rest, Some(0)),
                None => (topic.strip_prefix('/').unwrap_or(topic), None),
            },
        };
        let Some((product_key, short_topic)) = rest.split_once('/') else {
            let text = format!("`{topic}`; expected `/productKey/deviceName/…`");
            return Err(error::TOPIC_NAME.with(text));
        };
        Self::new(product_key, short_topic, topic_type.or(found), limits)
    }

    /// The topic filter of the rule. Thing-model messages are forwarded without `/sys`.
    #[must_use]
    pub fn filter(&self) -> String {
        match self.topic_type {
            2 => format!("{STATUS}{}/{}", self.product_key, self.short_topic),
            _ => format!("/{}/{}", self.product_key, self.short_topic),
        }
    }
}

fn guess_type(short_topic: &str) -> u8 {
    if is_system(short_topic) {
        0
    } else if short_topic.contains('/') {
        1
    } else {
        2
    }
}

fn is_system(short_topic: &str) -> bool {
    let levels: Vec<_> = short_topic.split('/').collect();
    SYSTEM.iter().any(|form| {
        let form: Vec<_> = form.split('/').collect();
        form.len() == levels.len()
            && form.iter().zip(&levels).all(|(want, have)| *want == "+" || want == have)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(short: &str, topic_type: Option<u8>) -> Result<(String, u8), String> {
        SourceTopic::new("pk", short, topic_type, TopicLimits::default())
            .map(|source| (source.filter(), source.topic_type))
            .map_err(|error| error.code.into_owned())
    }

    #[test]
    fn parts_make_a_filter() {
        let ok = |topic: &str, kind| Ok((topic.to_owned(), kind));
        let post = "+/thing/event/property/post";
        assert_eq!(source(post, Some(0)), ok("/pk/+/thing/event/property/post", 0));
        assert_eq!(source(post, None), ok("/pk/+/thing/event/property/post", 0));
        assert_eq!(source(post, Some(1)), ok("/pk/+/thing/event/property/post", 1));
        assert_eq!(source("+/#", Some(1)), ok("/pk/+/#", 1));
        assert_eq!(source("dev1", None), ok("/as/mqtt/status/pk/dev1", 2));
        assert_eq!(source("车间/user/update", None), ok("/pk/车间/user/update", 1));
        assert_eq!(source("dev1/user/get", Some(0)), Err("iot.ruleng.IncorrectSysTopic".into()));
        assert_eq!(source("dev1/user/get", Some(3)), Err("iot.ruleng.IncorrectType".into()));
        let topic = Err("iot.messagebroker.InvalidFormattedTopicName".to_owned());
        assert_eq!(source("#/a", Some(1)), topic);
        assert_eq!(source("dev1", Some(1)), topic);
        assert_eq!(source("dev1/x", Some(2)), topic);
        let whole = |topic: &str| {
            let source =
                SourceTopic::from_topic(topic, None, TopicLimits::default()).expect("topic");
            (source.filter(), source.topic_type)
        };
        assert_eq!(whole("/sys/pk/d/thing/event/e/post"), ("/pk/d/thing/event/e/post".into(), 0));
        assert_eq!(whole("/as/mqtt/status/pk/+"), ("/as/mqtt/status/pk/+".into(), 2));
        assert_eq!(whole("/pk/+/user/#"), ("/pk/+/user/#".into(), 1));
    }
}
