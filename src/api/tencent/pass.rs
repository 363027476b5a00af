//! Which key a request names, and whether one that is well signed may pass. The vendor's application keys
//! and secret ids are access keys here.

use super::answer::{Problem, problem};
use crate::api::access::{Stamp, WINDOW_MINUTES, is_near};
use crate::api::state::Api;
use crate::rule::store::AccessKey;

/// The key of that id, if there is one.
pub(super) async fn key(api: &Api, key_id: &str) -> Result<Option<AccessKey>, Problem> {
    api.key(key_id).await.map_err(|failed| {
        tracing::error!(problem = %failed, "the store of rules and keys failed");
        problem("InternalError", "the store failed; the server's log has the reason")
    })
}

/// Lets a request whose signature is good pass once, within its time and its key's rate.
///
/// # Errors
/// Which of them it is.
pub(super) fn admit(api: &Api, stamp: &Stamp<'_>) -> Result<(), String> {
    let now_ms = api.now_ms();
    if !is_near(stamp.time_ms, now_ms) {
        return Err(format!("Timestamp: more than {WINDOW_MINUTES} minutes from the server's"));
    }
    api.admit(stamp, now_ms).map_err(|refused| refused.message())
}
