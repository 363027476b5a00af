//! The vendor's destinations as sinks of the catalogue: what a `Configuration` asks for, and which
//! connection stands for it here.
//!
//! Nothing here connects to anything; whether a sink takes the settings, its own parser decides. Here
//! is the table of the types; a new one gets a row here, and a file when no other translates alike.

pub mod configuration;
mod datahub;
mod ots;
mod queue;
mod republish;
mod target;

use serde_json::{Map, Value};

use self::configuration::{Configuration, Settings};
use self::datahub::datahub;
use self::ots::ots;
use self::queue::queue;
use self::republish::republish;
use self::target::Target;
use crate::api::aliyun::wire::error::{self, ApiError, ErrorCode};
use crate::api::state::endpoint::Destinations;
use crate::rule::{Action, Batching, DEADLINE, VendorAction};

/// A destination's type: what it needs, and what it says when nothing stands for it.
struct Kind {
    name: &'static str,
    /// The key that an endpoint's `instance` is compared with.
    instance: &'static str,
    /// Keys that must be there, with the code that says so.
    needs: &'static [(&'static str, &'static ErrorCode)],
    missing: &'static ErrorCode,
    translate: fn(&Configuration<'_>, &Target<'_>) -> Settings,
}

/// All types that need an endpoint, sorted by name.
const KINDS: &[Kind] = &[
    Kind {
        name: "DATAHUB",
        instance: "projectName",
        needs: &[
            ("projectName", error::NULL_DATAHUB_PROJECT),
            ("topicName", error::NULL_DATAHUB_TOPIC),
        ],
        missing: error::NO_DATAHUB,
        translate: datahub,
    },
    Kind {
        name: "FC",
        instance: "serviceName",
        needs: &[
            ("serviceName", error::NULL_FC_SERVICE),
            ("functionName", error::NULL_FC_FUNCTION),
        ],
        missing: error::NO_FC,
        translate: |configuration, target| {
            let [service, function] =
                ["serviceName", "functionName"].map(|k| configuration.text(k));
            queue(configuration, target, &format!("{service}.{function}"))
        },
    },
    Kind {
        name: "MNS",
        instance: "themeName",
        needs: &[("themeName", error::NULL_MNS_TOPIC)],
        missing: error::NO_MNS,
        translate: |configuration, target| {
            queue(configuration, target, configuration.text("themeName"))
        },
    },
    Kind {
        name: "ONS",
        instance: "instanceId",
        needs: &[("topic", error::NULL_TOPIC)],
        missing: error::NO_ONS,
        translate: |configuration, target| {
            queue(configuration, target, configuration.text("topic"))
        },
    },
    Kind {
        name: "OTS",
        instance: "instanceName",
        needs: &[("instanceName", error::NULL_OTS_INSTANCE), ("tableName", error::NULL_OTS_TABLE)],
        missing: error::ENDPOINT,
        translate: ots,
    },
];

/// The types that `CreateRuleAction` takes.
#[must_use]
pub fn is_type(kind: &str) -> bool {
    kind == REPUBLISH || KINDS.iter().any(|known| known.name == kind)
}

/// The one type that stays inside.
const REPUBLISH: &str = "REPUBLISH";

/// Names of all types, for messages.
#[must_use]
pub fn types() -> String {
    let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
    format!("{} or {REPUBLISH}", names.join(", "))
}

/// The action that stands for a type and configuration of the API. `name` is for metrics.
///
/// # Errors
/// What is missing or wrong in the configuration, or that no endpoint fits, with a code of the
/// type.
pub fn action(
    destinations: &Destinations,
    name: String,
    kind: &str,
    configuration: &Map<String, Value>,
) -> Result<Action, ApiError> {
    let configuration = Configuration(configuration);
    let (connector, settings) = if kind == REPUBLISH {
        republish(&configuration, destinations.topics)?
    } else {
        let Some(known) = KINDS.iter().find(|known| known.name == kind) else {
            return Err(error::ACTION_TYPE.with(format!("`{kind}`; expected {}", types())));
        };
        for (key, code) in known.needs {
            if configuration.text(key).is_empty() {
                return Err(code.plain());
            }
        }
        configuration.check_role()?;
        let target = target::find(destinations, known, &configuration)?;
        (known.translate)(&configuration, &target)?
    };
    let region = configuration.text("regionName").to_owned();
    Ok(Action {
        name: Some(name),
        connector: connector.to_owned(),
        settings,
        retry: None,
        deadline: DEADLINE,
        batch: Batching::default(),
        vendor: Some(VendorAction { kind: kind.to_owned(), region }),
    })
}

#[cfg(test)]
mod tests;
