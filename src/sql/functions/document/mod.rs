//! Functions of arrays, objects and JSON text.

pub(super) mod array;
pub(super) mod array_math;
pub(super) mod array_records;
pub(super) mod array_search;
pub(super) mod array_shape;
pub(super) mod compose;
pub(super) mod json_path;
pub(super) mod json_text;
pub(super) mod object;
pub(super) mod object_shape;
pub(super) mod property;
pub(super) mod sameness;
