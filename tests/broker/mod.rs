//! The embedded broker, statement by statement, over raw packets, and with unmodified clients.
//!
//! Tests are named after the statements of the MQTT specifications that they show.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in what it calls too")]
mod acknowledged;
mod aliases;
mod clients;
mod connect;
mod daemon;
mod devices;
mod downlink;
mod guessing;
mod ingress;
mod keep_alive;
mod kept;
mod oldest;
mod publish;
mod qos2;
mod qos2_model;
mod retained;
pub mod rig;
mod session;
mod subscribe;
mod sys;
pub mod tls;
pub mod websocket;
mod will;
