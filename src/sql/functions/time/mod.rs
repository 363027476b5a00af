//! Functions of time.

pub(super) mod calc;
pub(super) mod emqx;
pub(super) mod java_date;
pub(super) mod java_parse;
pub(super) mod moment;
pub(super) mod parts;
pub(super) mod stamp;
pub(super) mod text;
pub(super) mod words;
