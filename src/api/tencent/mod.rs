//! The protocols of Tencent's IoT platforms: that of its cloud on `/` (`cloud`), and that of
//! applications on a path of its own (`service_api`).
//!
//! Both have a device do an action (`act`); who may, `pass` says; what they are told, `answer`.

mod act;
mod answer;
pub mod cloud;
mod pass;
pub mod service_api;
