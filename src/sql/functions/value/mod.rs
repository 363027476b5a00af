//! Functions of the kinds of values and of those that are not there.

pub(super) mod null;
pub(super) mod types;
