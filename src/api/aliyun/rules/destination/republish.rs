//! `REPUBLISH`, the one type that stays inside: each record is a message on a topic of a device.

use connectors::contract::{Template, Topic, TopicLimits};
use serde_json::{Value, json};

use super::configuration::{Configuration, Settings};
use crate::api::aliyun::wire::error::{self, ApiError};

/// What stands for the configuration.
pub(super) fn republish(configuration: &Configuration<'_>, limits: TopicLimits) -> Settings {
    let topic = configuration.text("topic");
    if topic.is_empty() {
        return Err(error::NULL_TOPIC.plain());
    }
    // Some clients send the number as a text.
    let topic_type = match configuration.0.get("topicType") {
        None => Some(1),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_i64(),
    };
    let Some(topic_type) = topic_type else {
        return Err(error::TOPIC_TYPE.with("topicType is no number; expected 0 or 1"));
    };
    check_topic(topic, topic_type, limits)?;
    Ok(("republish", json!({ "topic": topic })))
}

/// Checks the topic of a `REPUBLISH` action: `${…}` may stand for whole levels or parts of them.
/// Type 0 allows the two downlink topics of the thing model (development guide §2.11.2), type 1
/// custom topics.
///
/// # Errors
/// [`error::TOPIC_NAME`], [`error::SYSTEM_TOPIC`] or [`error::TOPIC_TYPE`].
fn check_topic(topic: &str, topic_type: i64, limits: TopicLimits) -> Result<(), ApiError> {
    let name = |problem: String| error::TOPIC_NAME.with(format!("`{topic}`: {problem}"));
    Template::parse(topic).map_err(|problem| name(problem.to_string()))?;
    let plain = without_placeholders(topic);
    Topic::parse(plain.as_str(), limits).map_err(|problem| name(problem.to_string()))?;
    let levels: Vec<_> = plain.split('/').collect();
    match topic_type {
        0 => match levels.as_slice() {
            ["", "sys", _, _, "thing", "service", "property", "set"] => Ok(()),
            ["", "sys", _, _, "thing", "service", service] if !service.is_empty() => Ok(()),
            _ => Err(error::SYSTEM_TOPIC.with(format!(
                "`{topic}`; expected `/sys/productKey/deviceName/thing/service/property/set` or `/sys/productKey/deviceName/thing/service/identifier`"
            ))),
        },
        1 => match levels.as_slice() {
            ["", first, ..] if matches!(*first, "sys" | "as" | "ext" | "shadow" | "ota") => {
                Err(name(format!("topics below `/{first}` are the platform's own")))
            }
            ["", _, _, _, ..] if levels.iter().skip(1).all(|level| !level.is_empty()) => Ok(()),
            _ => Err(name("expected `/productKey/deviceName/…`".to_owned())),
        },
        other => Err(error::TOPIC_TYPE.with(format!("topicType {other}; expected 0 or 1"))),
    }
}

fn without_placeholders(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        out.push('x');
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn republish_has_its_topics() {
        let target = |topic: &str, kind| {
            check_topic(topic, kind, TopicLimits::default()).map_err(|e| e.code.into_owned())
        };
        assert_eq!(target("/sys/pk/${d}/thing/service/property/set", 0), Ok(()));
        assert_eq!(target("/sys/pk/d/thing/service/reboot", 0), Ok(()));
        assert_eq!(target("/pk/${d}/user/x-${n}", 1), Ok(()));
        let system = Err("iot.ruleng.IncorrectSysTopic".to_owned());
        assert_eq!(target("/sys/pk/d/thing/event/property/post", 0), system);
        assert_eq!(target("/pk/d/user/x", 0), system);
        let name = Err("iot.messagebroker.InvalidFormattedTopicName".to_owned());
        for bad in
            ["/sys/pk/d/thing/service/reboot", "pk/d/x", "/pk/d", "/pk/+/x", "/pk/d/${x", "/pk//x"]
        {
            assert_eq!(target(bad, 1), name, "{bad}");
        }
    }
}
