//! Functions of how a message came in: who sent it, with which properties, to which topic.

use bytestring::ByteString;
use contract::{Headers, TopicFilter, TopicLimits};

use crate::expr::Const;
use crate::functions::{Depends, Example, example, missing, required};
use crate::functions::{Fault, Function, Kind, NO_PREPARE, Nulls, Prepared, Problem, Site};
use crate::lex::shorten;
use crate::query::without_sys;
use crate::value::Value;
use crate::work::Price;
use crate::{eval, json};

/// What all functions here share.
const MESSAGE: Function = Function {
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

const fn fact(
    name: &'static str,
    signature: &'static str,
    result: Kind,
    summary: &'static str,
    examples: &'static [Example],
    eval: crate::functions::Eval,
) -> Function {
    Function { name, signature, result, summary, examples, eval, ..MESSAGE }
}

fn text<'a>(text: Option<&'a str>) -> Value<'a> {
    text.map_or(Value::Missing, Value::text)
}

fn header<'a>(site: &Site<'a>, of: fn(&Headers) -> Option<&str>) -> Value<'a> {
    text(site.input.message.headers.as_deref().and_then(of))
}

fn key<'v>(arguments: &'v [Value<'_>]) -> &'v str {
    match arguments.first() {
        Some(Value::String(text)) => text,
        _ => "",
    }
}

pub(in crate::functions) const CLIENT_ID: Function = Function {
    aliases: &["client_id"],
    ..fact(
        "clientId",
        "clientId()",
        Kind::Text,
        "The MQTT client id of the publisher; MISSING for messages of other sources and of rules.",
        &[
            example("clientId()", "{}", r#""client-1""#),
            example("clientId() LIKE 'client-%'", "{}", "true"),
        ],
        |_, site| Ok(text(site.input.message.origin.client_id.as_deref())),
    )
};

pub(in crate::functions) const USERNAME: Function = fact(
    "username",
    "username()",
    Kind::Text,
    "The user name of the publisher's MQTT connection; MISSING when it has none.",
    &[example("username()", "{}", r#""user-1""#), example("username() = 'admin'", "{}", "false")],
    |_, site| Ok(text(site.input.message.origin.username.as_deref())),
);

pub(in crate::functions) const SOURCE_IP: Function = Function {
    aliases: &["peerhost"],
    ..fact(
        "sourceIp",
        "sourceIp()",
        Kind::Text,
        "The IP address of the publisher's MQTT connection as text; MISSING for messages of other \
         sources and of rules.",
        &[
            example("sourceIp()", "{}", r#""192.0.2.7""#),
            example("ip_in_cidr(sourceIp(), '192.0.2.0/24')", "{}", "true"),
        ],
        |_, site| {
            let peer = site.input.message.origin.peer;
            Ok(peer.map_or(Value::Missing, |ip| Value::text(ip.to_string())))
        },
    )
};

pub(in crate::functions) const SOURCE: Function = fact(
    "source",
    "source()",
    Kind::Text,
    "Where the message came in: 'mqtt' for the embedded broker, 'http' for ingest, 'republish' for a \
     rule, else the source's name from the configuration.",
    &[example("source()", "{}", r#""mqtt""#), example("source() = 'http'", "{}", "false")],
    |_, site| Ok(text(site.input.message.origin.source.as_deref())),
);

pub(in crate::functions) const PRODUCT_KEY: Function = Function {
    aliases: &["product_key"],
    ..fact(
        "productKey",
        "productKey()",
        Kind::Text,
        "The product key of the device that sent the message; MISSING when there is none.",
        &[
            example("productKey()", "{}", r#""a1Pk""#),
            example("concat(productKey(), '/')", "{}", r#""a1Pk/""#),
        ],
        |_, site| {
            let message = site.input.message;
            let known = site.input.has_topic || message.device.is_some();
            Ok(text(message.product_key().filter(|_| known)))
        },
    )
};

pub(in crate::functions) const QOS: Function = fact(
    "qos",
    "qos()",
    Kind::Number,
    "The quality of service that the message was published with: 0, 1 or 2.",
    &[example("qos()", "{}", "1"), example("qos() >= 1", "{}", "true")],
    |_, site| Ok(crate::functions::time::moment::integer(site.input.message.qos.level())),
);

pub(in crate::functions) const RETAIN: Function = fact(
    "retain",
    "retain()",
    Kind::Boolean,
    "Whether the message was published to be kept as the topic's last value.",
    &[example("retain()", "{}", "false"), example("NOT retain()", "{}", "true")],
    |_, site| Ok(Value::Bool(site.input.message.retain)),
);

pub(in crate::functions) const HOPS: Function = fact(
    "hops",
    "hops()",
    Kind::Number,
    "How many times a rule has republished what led to this message; 0 from a device.",
    &[example("hops()", "{}", "0"), example("hops() < 2", "{}", "true")],
    |_, site| Ok(crate::functions::time::moment::integer(site.input.message.hops)),
);

pub(in crate::functions) const RULE_NAME: Function = Function {
    aliases: &["rule_name", "rule_id"],
    ..fact(
        "ruleName",
        "ruleName()",
        Kind::Text,
        "The name of the rule that evaluates the message.",
        &[example("ruleName()", "{}", r#""rule""#), example("ruleName() = 'x'", "{}", "false")],
        |_, site| Ok(Value::text(site.input.rule)),
    )
};

pub(in crate::functions) const PAYLOAD_SIZE: Function = fact(
    "payload_size",
    "payload_size()",
    Kind::Number,
    "The bytes of the payload.",
    &[
        example("payload_size()", r#"{"a":1}"#, "7"),
        example("payload_size() > 1024", r#"{"a":"温度"}"#, "false"),
    ],
    |_, site| Ok(crate::functions::document::array::size(site.payload().len())),
);

pub(in crate::functions) const USER_PROPERTY: Function = Function {
    aliases: &["user_property"],
    params: &[required("key", Kind::Text)],
    ..fact(
        "userProperty",
        "userProperty(key)",
        Kind::Text,
        "The first MQTT 5 user property with a key (or Kafka header); MISSING when there is none.",
        &[
            example("userProperty('region')", "{}", r#""north""#),
            missing("userProperty('no such key')", "{}"),
        ],
        |arguments, site| {
            properties(site, |_| 1)?;
            Ok(text(site.input.message.property(key(arguments))))
        },
    )
};

/// Units of work to look at the key of a property.
const LOOK: u64 = 50;

/// The user properties of the message, when it is paid for looking at each so many times.
fn properties<'a>(
    site: &Site<'a>,
    times: fn(u64) -> u64,
) -> Result<&'a [(ByteString, ByteString)], Fault> {
    let list = site.input.message.properties.as_deref().unwrap_or_default();
    let count = list.len() as u64;
    site.pay(count.saturating_mul(times(count)).saturating_mul(LOOK))?;
    Ok(list)
}

pub(in crate::functions) const USER_PROPERTIES: Function = Function {
    aliases: &["user_properties"],
    ..fact(
        "userProperties",
        "userProperties()",
        Kind::Object,
        "All MQTT 5 user properties (or Kafka headers) as an object; of several with one key the \
         first.",
        &[
            example("userProperties()", "{}", r#"{"region":"north","tag":"a"}"#),
            example("userProperties() IS MISSING", "{}", "false"),
        ],
        |_, site| {
            let list = properties(site, |count| count)?;
            let mut out = b"{".to_vec();
            for (at, (key, value)) in list.iter().enumerate() {
                if list.iter().take(at).any(|(before, _)| before == key) {
                    continue;
                }
                if out.len() > 1 {
                    out.push(b',');
                }
                json::write_string(key, &mut out);
                out.push(b':');
                json::write_string(value, &mut out);
                eval::fits(out.len())?;
            }
            out.push(b'}');
            Ok(Value::Json(String::from_utf8(out).unwrap_or_default().into()))
        },
    )
};

pub(in crate::functions) const GET_USER_PROPERTIES: Function = Function {
    params: &[required("key", Kind::Text)],
    ..fact(
        "get_user_properties",
        "get_user_properties(key)",
        Kind::Array,
        "All MQTT 5 user properties with a key, as an array of text; MISSING when there is none.",
        &[
            example("get_user_properties('tag')", "{}", r#"["a","b"]"#),
            missing("get_user_properties('no such key')", "{}"),
        ],
        |arguments, site| {
            let list = properties(site, |_| 1)?;
            let mut out = b"[".to_vec();
            for (_, value) in list.iter().filter(|(have, _)| have == key(arguments)) {
                if out.len() > 1 {
                    out.push(b',');
                }
                json::write_string(value, &mut out);
                eval::fits(out.len())?;
            }
            if out.len() == 1 {
                return Ok(Value::Missing);
            }
            out.push(b']');
            Ok(Value::Json(String::from_utf8(out).unwrap_or_default().into()))
        },
    )
};

pub(in crate::functions) const CONTENT_TYPE: Function = Function {
    aliases: &["content_type"],
    ..fact(
        "contentType",
        "contentType()",
        Kind::Text,
        "The MQTT 5 content type of the message; MISSING when it has none.",
        &[
            example("contentType()", "{}", r#""application/json""#),
            example("contentType() LIKE '%json'", "{}", "true"),
        ],
        |_, site| Ok(header(site, |headers| headers.content_type.as_deref())),
    )
};

pub(in crate::functions) const RESPONSE_TOPIC: Function = Function {
    aliases: &["response_topic"],
    ..fact(
        "responseTopic",
        "responseTopic()",
        Kind::Text,
        "The MQTT 5 response topic of the message: where an answer is expected; MISSING when it has \
         none.",
        &[
            example("responseTopic()", "{}", r#""/a1Pk/dev1/user/answer""#),
            example("responseTopic() IS MISSING", "{}", "false"),
        ],
        |_, site| Ok(header(site, |headers| headers.response_topic.as_deref())),
    )
};

pub(in crate::functions) const CORRELATION_DATA: Function = Function {
    aliases: &["correlation_data"],
    ..fact(
        "correlationData",
        "correlationData()",
        Kind::Bytes,
        "The MQTT 5 correlation data of the message as bytes, which to_base64 and to_hex write; \
         MISSING when it has none.",
        &[
            example("to_hex(correlationData())", "{}", r#""07ff""#),
            example("to_base64(correlationData())", "{}", r#""B/8=""#),
        ],
        |_, site| {
            let headers = site.input.message.headers.as_deref();
            let data = headers.and_then(|headers| headers.correlation_data.as_deref());
            Ok(data.map_or(Value::Missing, |data| Value::Binary(data.into())))
        },
    )
};

pub(in crate::functions) const TOPIC_LEVELS: Function = fact(
    "topic_levels",
    "topic_levels()",
    Kind::Array,
    "The levels of the topic without the leading slash, as topic(n) counts them from 1.",
    &[
        example("topic_levels()", "{}", r#"["a1Pk","dev1","user","data"]"#),
        example("topic_levels() IS MISSING", "{}", "false"),
    ],
    |_, site| {
        let Some(topic) = site.topic() else { return Ok(Value::Missing) };
        let mut out = Vec::with_capacity(topic.len() + 32);
        for level in topic.strip_prefix('/').unwrap_or(topic).split('/') {
            out.push(if out.is_empty() { b'[' } else { b',' });
            json::write_string(level, &mut out);
        }
        out.push(b']');
        Ok(Value::Json(String::from_utf8(out).unwrap_or_default().into()))
    },
);

/// Filters are bounded by the text of the statement or the payload.
const ANY_LENGTH: TopicLimits = TopicLimits { bytes: usize::MAX, levels: usize::MAX };

pub(in crate::functions) const TOPIC_MATCHES: Function = Function {
    params: &[required("filter", Kind::Text)],
    prepare: |arguments| {
        let Some(Some(Const::String(filter))) = arguments.first() else {
            return Ok(Prepared::Nothing);
        };
        TopicFilter::check(filter, ANY_LENGTH).map(|()| Prepared::Checked).map_err(|error| {
            let message = format!("`{}` is no topic filter: {error}", shorten(filter));
            Problem { message, expected: "a topic filter such as '/a1Pk/+/user/#'".into() }
        })
    },
    ..fact(
        "topic_matches",
        "topic_matches(filter)",
        Kind::Boolean,
        "Whether the topic matches an MQTT topic filter; a leading `/sys` of a system topic is left \
         out in both.",
        &[
            example("topic_matches('/a1Pk/+/user/#')", "{}", "true"),
            example("topic_matches('/a1Pk/+')", "{}", "false"),
            example("topic_matches(f)", r##"{"f":"#"}"##, "true"),
            missing("topic_matches(f)", r#"{"f":"a/b#"}"#),
        ],
        |arguments, site| {
            let filter = key(arguments);
            if !matches!(site.prepared(), Prepared::Checked) {
                TopicFilter::check(filter, ANY_LENGTH).map_err(|error| {
                    let message = format!("`{}` is no topic filter: {error}", shorten(filter));
                    Fault::new("domain", message)
                })?;
            }
            let Some(topic) = site.topic() else { return Ok(Value::Missing) };
            Ok(Value::Bool(TopicFilter::text_matches(without_sys(filter), topic)))
        },
    )
};
