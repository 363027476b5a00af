//! The operations that reach devices and what is known of their state: messages, services, properties,
//! shadows.
//!
//! How a device is asked, and what is kept of it, is in [`crate::thing`]. Each file has one family of
//! operations; which device is meant, `target` finds for all.

pub mod desired;
pub mod files;
pub mod history;
pub mod messages;
pub mod properties;
pub mod services;
pub mod shadows;
mod target;
