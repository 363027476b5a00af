//! Real destinations behind a proxy that breaks connections: nothing is lost, order is kept, and what
//! comes twice says so. What the engine does with each answer is tested beside it, with a paused clock.

mod classes;
mod matrix;
mod poison;
pub(crate) mod proxy;
mod proxy_tests;
pub(crate) mod rig;
pub(crate) mod targets;
