//! What stands here for a vendor's destinations: `endpoints:` of the configuration.
//!
//! Which of them an action means, and what becomes of it, is decided beside the operations on actions.

use std::sync::Arc;

use connectors::contract::{Connections, TopicLimits};
use schemars::JsonSchema;
use serde::Deserialize;

/// What a destination of the vendor's protocol is on this installation (`endpoints:`). The first
/// that matches type, region and instance is used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// `ONS`, `MNS`, `DATAHUB`, `FC` or `OTS`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The configuration's `regionName`; `*` is any.
    #[serde(default = "any")]
    pub region: String,
    /// The configuration's `instanceId` (ONS), `instanceName` (OTS), `projectName` (DATAHUB) or
    /// `serviceName` (FC); `*` is any.
    #[serde(default = "any")]
    pub instance: String,
    /// The name of a connection of kind `kafka`, `sqlite` or `postgres`.
    #[serde(default)]
    pub connection: Option<String>,
    /// Instead of a connection: the URL of a function or webhook that gets each record in a POST.
    /// `{serviceName}`, `{functionName}`, `{themeName}`, `{topicName}` and so on stand for the texts
    /// of the configuration, percent-encoded; not in the host, which only this file names.
    #[serde(default)]
    pub url: Option<String>,
}

/// The types of destinations that an endpoint may stand for.
pub const ENDPOINT_TYPES: [&str; 5] = ["DATAHUB", "FC", "MNS", "ONS", "OTS"];

fn any() -> String {
    "*".to_owned()
}

/// Where the actions of the API deliver to.
#[derive(Clone, Default)]
pub struct Destinations {
    /// `endpoints:` of the configuration.
    pub endpoints: Vec<Endpoint>,
    /// `connections:` of the configuration.
    pub connections: Arc<Connections>,
    /// Limits on the topics of `REPUBLISH`.
    pub topics: TopicLimits,
}

/// What is wrong with a URL whose host somebody else would choose.
pub const HOST_IS_WRITTEN: &str = "the host may not hold `{…}`: write it out, in one entry for each `instance` or `region` when there are several";

/// True when the URL of an endpoint says itself which host it leads to.
#[must_use]
pub fn names_host(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#', '\\']).next().unwrap_or(rest);
    !host.contains('{')
}
