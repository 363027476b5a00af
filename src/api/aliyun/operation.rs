//! What an operation of the protocol is, and what all of them say when the store fails.
//!
//! Each family declares its own operations beside what they do; `table` lists the families.

use futures_util::future::BoxFuture;

use super::wire::answer::Answer;
use super::wire::call::Call;
use super::wire::error::{self, ApiError, ErrorCode};
use crate::api::state::Api;
use crate::rule::store::{Role, StoreError};

/// An operation of the protocol.
pub struct Operation {
    /// What `Action` says.
    pub name: &'static str,
    /// Its own parameters; those of every request and those that mean nothing here
    /// (`IotInstanceId`, `ResourceGroupId`) are not among them.
    pub parameters: &'static [Parameter],
    /// What a key must be allowed to do.
    pub role: Role,
    pub(crate) call: for<'a> fn(&'a Api, &'a Call) -> BoxFuture<'a, Answer>,
}

/// A parameter of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name on the wire; of a list or an object, what stands before the first dot.
    pub name: &'static str,
    /// Whether a request without it is refused.
    pub required: bool,
}

/// A parameter without which a request is refused.
pub(crate) const fn need(name: &'static str) -> Parameter {
    Parameter { name, required: true }
}

/// A parameter that a request may have.
pub(crate) const fn may(name: &'static str) -> Parameter {
    Parameter { name, required: false }
}

/// What a client is told when a store fails.
pub(crate) const STORE_FAILED: &str = "the store failed; the server's log has the reason";

/// What a client is told when the store of rules and keys fails; the log has the reason.
pub(crate) fn store_failed(problem: StoreError) -> ApiError {
    failed(error::SYSTEM)(problem)
}

/// The same with the code that an operation has for it.
pub(crate) fn failed(code: &'static ErrorCode) -> impl Fn(StoreError) -> ApiError {
    move |problem| {
        tracing::error!(%problem, "the store of rules and keys failed");
        code.with(STORE_FAILED)
    }
}
