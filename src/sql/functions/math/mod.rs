//! Functions of numbers.

pub(super) mod bits;
pub(super) mod number;
pub(super) mod range;
pub(super) mod rounding;
pub(super) mod trigonometry;
