//! What all protocols have in common of one request over HTTP: its parameters, its body within bounds,
//! the key that it shows, and how it is refused.
//!
//! It knows no path and no vendor.

pub mod body;
pub mod form;
pub mod key;
pub mod received;
pub mod refusal;
