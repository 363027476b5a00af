//! `ONS`, `MNS` and `FC`: each record is a message of a topic, or a call.

use connectors::contract::Template;
use serde_json::{Map, Value, json};

use super::configuration::{Configuration, Settings};
use super::target::{Target, filled, literal, unfit};
use crate::api::aliyun::wire::error;

/// The longest tag of a message queue, in bytes (vendor's guide "forward to RocketMQ").
const TAG_MAX: usize = 128;

/// The settings of a message queue's topic, or of a function's URL.
pub(super) fn queue(
    configuration: &Configuration<'_>,
    target: &Target<'_>,
    topic: &str,
) -> Settings {
    let mut headers = Map::new();
    let tag = configuration.text("tag");
    if tag.len() > TAG_MAX {
        return Err(error::TAG.with(format!("{} bytes, at most {TAG_MAX} are allowed", tag.len())));
    }
    if !tag.is_empty() {
        Template::parse(tag).map_err(|problem| error::TAG.with(problem))?;
        headers.insert("tag".to_owned(), tag.into());
    }
    let mut settings = match target {
        Target::Url(url) => return Ok(("http", json!({ "url": filled(url, configuration) }))),
        Target::Connection { name, kind: "kafka" } => {
            // A `$` of the configuration is no placeholder: topics of queues are constants.
            json!({ "connection": name, "topic": literal(topic) })
        }
        Target::Connection { name, kind } => return Err(unfit(name, kind, "kafka")),
    };
    if !headers.is_empty() {
        settings["headers"] = Value::Object(headers);
    }
    Ok(("kafka", settings))
}
