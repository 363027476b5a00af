//! What an operation of the protocol is, and the list of their families.
//!
//! Each family declares its own operations beside what they do; here is only what they have in common.

use futures_util::future::BoxFuture;

use super::rpc::{Answer, Call};
use super::{
    Api, actions, device_batches, device_tags, devices, messages, product_topics, products,
    properties, rules, services, shadows, topic_routes,
};
use crate::rule::store::Role;

/// All families.
const FAMILIES: &[&[Operation]] = &[
    rules::OPERATIONS,
    actions::OPERATIONS,
    products::OPERATIONS,
    devices::OPERATIONS,
    device_batches::OPERATIONS,
    device_tags::OPERATIONS,
    product_topics::OPERATIONS,
    topic_routes::OPERATIONS,
    messages::OPERATIONS,
    services::OPERATIONS,
    properties::OPERATIONS,
    shadows::OPERATIONS,
];

/// An operation of the protocol.
pub struct Operation {
    /// What `Action` says.
    pub name: &'static str,
    /// Its own parameters; those of every request and those that mean nothing here
    /// (`IotInstanceId`, `ResourceGroupId`) are not among them.
    pub parameters: &'static [Parameter],
    /// What a key must be allowed to do.
    pub role: Role,
    pub(super) call: for<'a> fn(&'a Api, &'a Call) -> BoxFuture<'a, Answer>,
}

/// A parameter of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name on the wire; of a list or an object, what stands before the first dot.
    pub name: &'static str,
    /// Whether a request without it is refused.
    pub required: bool,
}

pub(super) const fn need(name: &'static str) -> Parameter {
    Parameter { name, required: true }
}

pub(super) const fn may(name: &'static str) -> Parameter {
    Parameter { name, required: false }
}

/// All operations, family by family.
pub fn operations() -> impl Iterator<Item = &'static Operation> {
    FAMILIES.iter().copied().flatten()
}

/// The operation of that name.
pub(super) fn operation(name: &str) -> Option<&'static Operation> {
    FAMILIES.iter().find_map(|family| {
        family.binary_search_by(|operation| operation.name.cmp(name)).ok().map(|at| &family[at])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_name() {
        for known in operations() {
            let found = operation(known.name).expect("families are sorted by name");
            assert!(std::ptr::eq(found, known), "{} is declared twice", known.name);
        }
        assert!(operation("Nothing").is_none());
    }
}
