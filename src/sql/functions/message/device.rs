//! Functions of the message and the device that sent it. Chance comes from the message's record, so
//! that evaluating it again gives the same.

use crate::functions::message::chance::random_uuid;
use crate::functions::{
    Depends, Function, Kind, NO_PREPARE, Nulls, example, missing, optional, required,
};
use crate::number::Num;
use crate::value::Value;
use crate::work::Price;

/// What all functions here share.
const DEVICE: Function = Function {
    name: "",
    aliases: &[],
    family: "device and message",
    signature: "",
    price: Price::new(1_000, 30),
    params: &[],
    rest: None,
    result: Kind::Text,
    nulls: Nulls::Propagate,
    reads: &[],
    spreads: false,
    depends: Depends::Message,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

pub(in crate::functions) const ATTRIBUTE: Function = Function {
    name: "attribute",
    signature: "attribute(key)",
    params: &[required("key", Kind::Text)],
    summary: "The value of a tag of the device; NULL when it has no such tag.",
    examples: &[
        example("attribute('location')", "{}", r#""西溪湿地-洪园""#),
        example("attribute('no such tag')", "{}", "null"),
    ],
    eval: |arguments, site| {
        let message = site.input.message;
        let Some(Value::String(key)) = arguments.first() else { return Ok(Value::Missing) };
        let device = message.product_key().zip(message.device_name());
        let tag = device
            .filter(|_| site.input.has_topic || message.device.is_some())
            .and_then(|(product, device)| site.input.facts.tag(product, device, key));
        Ok(tag.map_or(Value::Null, Value::text))
    },
    ..DEVICE
};

pub(in crate::functions) const DEVICE_NAME: Function = Function {
    name: "deviceName",
    signature: "deviceName()",
    summary: "The name of the device that sent the message; MISSING when there is none.",
    examples: &[
        example("deviceName()", "{}", r#""dev1""#),
        example("deviceName() IN ('dev1', 'dev2')", "{}", "true"),
    ],
    eval: |_, site| {
        let message = site.input.message;
        let known = site.input.has_topic || message.device.is_some();
        Ok(message.device_name().filter(|_| known).map_or(Value::Missing, Value::text))
    },
    ..DEVICE
};

pub(in crate::functions) const MESSAGE_ID: Function = Function {
    name: "messageId",
    aliases: &["msgid"],
    signature: "messageId()",
    summary: "The id that the message was given when it was received, as text of digits.",
    examples: &[
        example("messageId()", "{}", r#""889455942124347392""#),
        example("messageId() = 889455942124347392", "{}", "true"),
    ],
    eval: |_, site| Ok(Value::text(site.input.message.id.to_string())),
    ..DEVICE
};

pub(in crate::functions) const NEWUUID: Function = Function {
    name: "newuuid",
    aliases: &["uuid", "uuid_v4"],
    signature: "newuuid()",
    depends: Depends::Chance,
    summary: "A random UUID. It depends on the message, the rule and the place of the call: \
              evaluating a message again gives the same one.",
    examples: &[
        example("newuuid()", "{}", r#""a0455da6-b286-4f5a-8410-22f97e32ea4c""#),
        example("newuuid() = newuuid()", "{}", "false"),
        example("is_uuid(newuuid())", "{}", "true"),
    ],
    eval: |_, site| Ok(Value::text(random_uuid(site).hyphenated().to_string())),
    ..DEVICE
};

pub(in crate::functions) const RAND: Function = Function {
    name: "rand",
    aliases: &["random"],
    signature: "rand()",
    result: Kind::Number,
    depends: Depends::Chance,
    summary: "A random number from 0 up to, and without, 1; see newuuid for what it depends on.",
    examples: &[
        example("rand()", "{}", "0.6260584384895324"),
        example("rand() = rand()", "{}", "false"),
    ],
    eval: |_, site| {
        // The 53 bits that an f64 holds.
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let value = (site.random(0) >> 11) as f64 / (1_u64 << 53) as f64;
        Ok(Num::from_f64(value).map_or(Value::Missing, Value::number))
    },
    ..DEVICE
};

pub(in crate::functions) const TOPIC: Function = Function {
    name: "topic",
    signature: "topic([level])",
    params: &[optional("level", Kind::Number)],
    summary: "The topic of the message, or one of its levels, counted from 1 without the leading \
              slash. A system topic is without `/sys`.",
    examples: &[
        example("topic()", "{}", r#""/a1Pk/dev1/user/data""#),
        example("topic(1)", "{}", r#""a1Pk""#),
        example("topic(2)", "{}", r#""dev1""#),
        missing("topic(5)", "{}"),
        missing("topic(0)", "{}"),
    ],
    eval: |arguments, site| {
        let Some(topic) = site.topic() else { return Ok(Value::Missing) };
        let Some(level) = arguments.first().and_then(Value::as_num) else {
            return Ok(Value::text(topic));
        };
        let index = usize::try_from(level.truncate()).ok().and_then(|level| level.checked_sub(1));
        let mut levels = topic.strip_prefix('/').unwrap_or(topic).split('/');
        Ok(index.and_then(|index| levels.nth(index)).map_or(Value::Missing, Value::text))
    },
    ..DEVICE
};
