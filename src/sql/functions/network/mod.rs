//! Functions of addresses and versions.

pub(super) mod address;
pub(super) mod version;
