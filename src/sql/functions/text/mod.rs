//! Functions of text.

pub(super) mod decimal;
pub(super) mod escape;
pub(super) mod format;
pub(super) mod list;
pub(super) mod pad;
pub(super) mod part;
pub(super) mod pattern;
pub(super) mod regexp;
pub(super) mod string;
