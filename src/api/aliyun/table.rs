//! The table of operations: all families, and an operation by its name.
//!
//! A new operation is a row of its family; a new family is a line here.

use super::operation::Operation;
use super::registry::{
    device_batches, device_groups, device_tags, device_topology, devices, group_members, lora,
    product_models, product_tags, product_topics, products, topic_routes,
};
use super::rules::{action, rule};
use super::things::{desired, files, history, messages, properties, services, shadows};

/// All families.
const FAMILIES: &[&[Operation]] = &[
    rule::OPERATIONS,
    action::OPERATIONS,
    products::OPERATIONS,
    product_tags::OPERATIONS,
    devices::OPERATIONS,
    device_batches::OPERATIONS,
    device_tags::OPERATIONS,
    device_topology::OPERATIONS,
    device_groups::OPERATIONS,
    group_members::OPERATIONS,
    lora::OPERATIONS,
    product_topics::OPERATIONS,
    product_models::OPERATIONS,
    topic_routes::OPERATIONS,
    messages::OPERATIONS,
    services::OPERATIONS,
    properties::OPERATIONS,
    desired::OPERATIONS,
    files::OPERATIONS,
    history::OPERATIONS,
    shadows::OPERATIONS,
];

/// All operations, family by family.
pub fn operations() -> impl Iterator<Item = &'static Operation> {
    FAMILIES.iter().copied().flatten()
}

/// The operation of that name.
pub(crate) fn operation(name: &str) -> Option<&'static Operation> {
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
