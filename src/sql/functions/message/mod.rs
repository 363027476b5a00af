//! Functions of the message, its device, and chance.

pub(super) mod chance;
pub(super) mod device;
pub(super) mod received;
