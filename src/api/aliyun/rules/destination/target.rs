//! What stands for a destination of the vendor: the first entry of `endpoints:` that fits, and what it
//! leads to.

use super::Kind;
use super::configuration::Configuration;
use crate::api::aliyun::wire::error::{self, ApiError};
use crate::api::exchange::form;
use crate::api::state::endpoint::{Destinations, HOST_IS_WRITTEN, names_host};

/// What stands for a destination.
pub(super) enum Target<'a> {
    Connection { name: &'a str, kind: &'static str },
    Url(&'a str),
}

/// Finds it.
pub(super) fn find<'a>(
    destinations: &'a Destinations,
    kind: &Kind,
    configuration: &Configuration<'_>,
) -> Result<Target<'a>, ApiError> {
    let region = configuration.text("regionName");
    let instance = configuration.text(kind.instance);
    let fits = |want: &str, have: &str| want == "*" || want == have;
    let of_kind = || destinations.endpoints.iter().filter(|endpoint| endpoint.kind == kind.name);
    let found = of_kind()
        .find(|endpoint| fits(&endpoint.region, region) && fits(&endpoint.instance, instance));
    let Some(endpoint) = found else {
        if of_kind().next().is_some() && !of_kind().any(|e| fits(&e.region, region)) {
            let known: Vec<_> = of_kind().map(|e| e.region.as_str()).collect();
            let text = format!(
                "`{region}`; `endpoints:` of the configuration has {} for {}",
                known.join(", "),
                kind.name
            );
            return Err(error::REGION.with(text));
        }
        let text = format!(
            "nothing stands for {} `{instance}` in region `{region}`; add to the configuration: endpoints: [{{ type: {}, region: \"{region}\", connection: … }}]",
            kind.name, kind.name
        );
        return Err(kind.missing.with(text));
    };
    match (&endpoint.url, &endpoint.connection) {
        (Some(url), None) if !names_host(url) => {
            Err(error::ENDPOINT.with(format!("`endpoints:` has `{url}`: {HOST_IS_WRITTEN}")))
        }
        (Some(url), None) => Ok(Target::Url(url)),
        (None, Some(name)) => match destinations.connections.kind(name) {
            Some(kind) => Ok(Target::Connection { name, kind }),
            None => Err(error::ENDPOINT.with(format!(
                "`endpoints:` names connection `{name}`, which is not below `connections:`"
            ))),
        },
        _ => Err(error::ENDPOINT.with(format!(
            "the entry for {} in `endpoints:` needs either `connection` or `url`",
            kind.name
        ))),
    }
}

/// What is told of a connection of the wrong kind.
pub(super) fn unfit(name: &str, kind: &str, expected: &str) -> ApiError {
    let text = format!("connection `{name}` is of kind {kind}; expected {expected}");
    error::ENDPOINT.with(text)
}

/// A text as a template that renders to the same text.
pub(super) fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

/// A URL with the texts of the configuration in the place of `{key}`; `${…}` stays for the record.
pub(super) fn filled(url: &str, configuration: &Configuration<'_>) -> String {
    let mut out = String::with_capacity(url.len());
    let mut rest = url;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        match after.split_once('}') {
            Some((key, after)) if !before.ends_with('$') && configuration.0.contains_key(key) => {
                out.push_str(&form::encode(configuration.text(key)));
                rest = after;
            }
            _ => {
                out.push('{');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}
