//! The access key of a request that is not signed but shows it: `Authorization: Bearer` or `Basic`.

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::refusal::{Refusal, refuse};
use crate::api::access::mac::same;
use crate::api::state::Api;
use crate::rule::store::Role;

/// Lets requests with a key of at least a role pass; without `require_key` all.
pub(crate) async fn authorize(api: &Api, headers: &HeaderMap, needed: Role) -> Result<(), Refusal> {
    match api.state.require_key {
        true => identify(api, headers, needed).await,
        false => Ok(()),
    }
}

/// Lets requests with a key of at least a role pass.
pub(crate) async fn identify(api: &Api, headers: &HeaderMap, needed: Role) -> Result<(), Refusal> {
    let denied = || {
        let text = "send an access key: `Authorization: Bearer <id>:<secret>` or Basic";
        refuse(StatusCode::UNAUTHORIZED, "key", text)
    };
    let (id, secret) = credentials(headers).ok_or_else(denied)?;
    let key = match api.key(&id).await {
        Ok(key) => key,
        Err(problem) => {
            tracing::error!(%problem, "the store of rules and keys failed");
            return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "store", "the store failed"));
        }
    };
    let key = key.filter(|key| same(&key.secret, &secret)).ok_or_else(denied)?;
    if key.role < needed {
        let (has, needed) = (key.role.as_str(), needed.as_str());
        let text = format!("the key has role {has}, {needed} is needed");
        return Err(refuse(StatusCode::FORBIDDEN, "role", text));
    }
    Ok(())
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, value) = text.split_once(' ')?;
    let value = value.trim();
    let pair = if scheme.eq_ignore_ascii_case("bearer") {
        value.to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") {
        String::from_utf8(STANDARD.decode(value).ok()?).ok()?
    } else {
        return None;
    };
    let (id, secret) = pair.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}
