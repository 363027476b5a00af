//! Functions of places.

pub(super) mod grid;
pub(super) mod place;
