//! What the registry has against a request, in the protocol's codes.

use crate::api::aliyun::operation::STORE_FAILED;
use crate::api::aliyun::wire::error::{self, ApiError, ErrorCode};
use crate::registry::RegistryError;
use crate::rule::store::StoreError;

/// What a client is told when the store fails, in the code of what it wanted.
pub(super) fn failed(code: &'static ErrorCode) -> impl FnOnce(StoreError) -> ApiError {
    move |problem| {
        tracing::error!(%problem, code = code.code, "the store of products and devices failed");
        code.with(STORE_FAILED)
    }
}

/// What the registry has against a change, in the protocol's codes; `code` is that of the operation.
pub(super) fn refused(problem: RegistryError, code: &'static ErrorCode) -> ApiError {
    match problem {
        RegistryError::Store(problem) => failed(code)(problem),
        RegistryError::NoProduct(key) => error::NO_PRODUCT.with(key),
        RegistryError::NoDevice(text) => error::NO_DEVICE.with(text),
        RegistryError::NoTopicClass(id) => error::NO_TOPIC_CLASS.with(id),
        RegistryError::NoGroup(id) => error::NO_GROUP.with(format!("`{id}`")),
        RegistryError::NoApply(id) => error::NO_APPLY.with(id),
        problem @ RegistryError::ApplyState(..) => error::APPLY_INFO.with(problem),
        problem @ RegistryError::ApplyRunning(_) => error::APPLY_RUNNING.with(problem),
        other => code.with(other),
    }
}
